/* card.md: the model card (Mitchell et al., "Model Cards for Model Reporting", 2019), rendered from the
 * report's JSON. */
#pragma once

#include <jansson.h>

#include "core/base/base.h"

/* *ret_markdown is freed by the caller. -EINVAL when the JSON is no report; -ENOMEM. */
int card_markdown(const json_t *report, char **ret_markdown, struct guise_error *err);
