/* Audit jobs, which attack a model that is in the store: what they take over from the model's own job, and
 * how their results are added to it. */
#pragma once

#include <limits.h>

#include "daemon/service_internal.h"

/* The body of an audit as if the model's own job were spelled out in it, as far as references are concerned:
 * "model" becomes the model's own section, "dataset" its data set where the body names none. Inputs that come
 * with the model are added to row->inputs; what is wrong is told. Any other body is returned as it is. New
 * reference. 0 or a negative errno. */
int audit_resolve(struct service *service, const struct client *client, const json_t *body,
                  struct job_row *row, json_t **ret_body, struct spec_problems *problems);

/* Whether the people whom the audit `body` attacks are those that the model was trained on, with images of
 * theirs that it has not seen; false of any other body, and where something is wrong, which is told
 * elsewhere. 0 or a negative errno. */
int audit_has_unseen(struct service *service, const struct client *client, const json_t *body,
                     bool *ret_unseen);

/* An audit's victims end as pictures in the model's private report, so they must be its owner's own. What is
 * wrong is told. `body` is that of the audit, `victims` its data set (id "": there is none). 0 or a negative
 * errno. */
int audit_check_victims(struct service *service, const json_t *body, const struct dataset_row *victims,
                        struct spec_problems *problems);

struct audit_files {
  char model_id[STORE_ID];
  char report_sha256[SHA256_HEX]; /* what the job started from */
  char model[PATH_MAX], report[PATH_MAX], key[PATH_MAX], onnx[JOB_ONNX_FILES][PATH_MAX];
};
/* Of an audit job, whose victims are of `dataset`: sets the paths in *inputs, which point into *files. Other
 * jobs: nothing. */
int audit_find(struct service *service, const char *job, const char *dataset, struct audit_files *files,
               struct job_inputs *inputs, struct guise_error *err);

/* Replaces the model's report, its renderings and its ONNX files by the files of `model` (whose id is filled
 * in), which lie in `output`, and ends the job. -ESTALE when another audit was faster: find again and let the
 * job write once more. */
int audit_publish(struct service *service, const char *job, const struct audit_files *files,
                  const char *output, struct model_row *model, int64_t *ret_seq, struct guise_error *err);
