/* Jobs on data sets whose faces their owner has masked: what such a data set leaves no choice of, and what
 * cannot be done without the faces. */
#pragma once

#include <jansson.h>

#include "core/train/spec.h"
#include "daemon/service_internal.h"

/* A training job's body as it must be when its data set holds templates: a copy with the mask, the input and
 * the holdout that follow from the file, and no attacks. NULL where it holds faces or there is none. Fields
 * that say otherwise are told in *problems. -ENOMEM or an error of the store. */
int templates_impose(struct service *service, const struct client *client, const json_t *body,
                     json_t **ret_body, struct spec_problems *problems);
/* Of places where pictures are needed. */
int templates_no_pictures(const char *pointer, const struct dataset_row *dataset,
                          struct spec_problems *problems);
