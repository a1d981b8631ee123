/* The handlers, one file a resource; router.c lists them. Each leaves an answer in the request. */
#pragma once

#include "api/server.h"

/* health.c */
void get_healthz(struct request *request);
void get_readyz(struct request *request);
void get_openapi(struct request *request);
void get_openapi_json(struct request *request);
void get_report_schema(struct request *request);

/* web.c */
void get_dashboard(struct request *request);
void get_asset(struct request *request);

/* datasets.c */
void put_dataset(struct request *request);
void list_datasets(struct request *request);
void get_dataset(struct request *request);
void delete_dataset(struct request *request);
void list_rejects(struct request *request);
void put_pairs(struct request *request);
void list_pairs(struct request *request);

/* Of an upload ?size=: pixels of the packed images, 0 when it was not given; templates have the size of the
 * faces that they were made of. False with a 422. */
bool dataset_size(struct request *request, uint32_t *ret_size);
/* The row of the path's data set; false with a 404 when there is none. */
bool dataset_find(struct request *request, struct dataset_row *ret_row);

/* people.c */
void list_identities(struct request *request);
void delete_identity(struct request *request);
void delete_image(struct request *request);

/* jobs.c */
void post_job(struct request *request);
void list_jobs(struct request *request);
void get_job(struct request *request);
void delete_job(struct request *request);
void cancel_job(struct request *request);
void cancel_jobs(struct request *request);
void pause_job(struct request *request);
void resume_job(struct request *request);
/* A job as the API shows it; takes the live values. New reference, NULL when out of memory. */
json_t *job_json(struct request *request, const struct job_row *row);
/* r < 0 from looking for the path's job: that there is none, or what failed. */
void reply_job_error(struct request *request, int r);

/* log.c */
void get_log(struct request *request);

/* prometheus.c */
void get_prometheus(struct request *request);

/* metrics.c */
void list_metrics(struct request *request);

/* events.c */
void stream_events(struct request *request);

/* models.c */
void list_models(struct request *request);
void get_model(struct request *request);
void delete_model(struct request *request);
void get_model_file(struct request *request);
/* The model of the path; false with an answer. model_row_clear. */
bool model_find(struct request *request, struct model_row *ret_row);
/* As reply_error, for what a file of the path's model met: -ENOENT is 404 when the model is gone, else 503.
 */
void reply_model_error(struct request *request, int r, const struct guise_error *err);
/* Whether the model may be handed out or used: audited, or asked for with ?unsafe=true; false with an answer.
 */
bool model_is_allowed(struct request *request, const struct model_row *model);

/* inference.c */
/* The model of the path, which may be used, and its weights' hash; false with an answer. model_row_clear. */
bool model_usable(struct request *request, struct model_row *ret_model, const char **ret_sha256);
/* NULL: the model has no such file. */
const char *model_file_hash(const struct model_row *model, const char *name);
void embed_face(struct request *request);
void verify_faces(struct request *request);

/* infer.c */
#define INFER_IMAGES_MAX 16u /* of a request */
void get_server(struct request *request);
void get_server_live(struct request *request);
void get_server_ready(struct request *request);
void get_model_metadata(struct request *request);
void get_model_ready(struct request *request);
void infer_model(struct request *request);

/* audit.c */
void list_audit(struct request *request);

/* tokens.c */
void list_tokens(struct request *request);
void post_token(struct request *request);
void delete_token(struct request *request);
