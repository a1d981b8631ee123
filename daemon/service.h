/* The service: configuration, store, ingest, scheduler and event bus under one handle. The API talks to this;
 * reads may also go straight to service_store().
 *
 * All functions are thread-safe. Those marked [blocks] write to the disk or hash and must not run in an HTTP
 * handler's thread: hand them to service_run() with the connection suspended. The rest only read the database
 * (well below a millisecond).
 *
 * Results are the store's (see store.h): -ENOENT 404, -EEXIST and -EBUSY 409, -EINVAL 422, -EFBIG 413,
 * -ENOSPC, -EIO and what else storage_reason() knows 503, -ESHUTDOWN 503.
 *
 * ---- what the daemon's main expects of api/http.h ----
 *   int http_start(struct service *service, int listen_fd, struct http **ret_http, struct guise_error *err);
 *       listen_fd is bound and listening (TCP or Unix; daemon/listen.[ch] or the service manager
 * made it); owned by http after success. void http_drain(struct http *http);   stop accepting, answer /readyz
 * with 503, end event streams and long polls; returns at once bool http_alive(struct http *http);   for the
 * watchdog: its threads answer void http_stop(struct http *http);    finish or cut what is open (at most 2
 * s), resume everything suspended, free; NULL is fine Order at SIGTERM: service_drain, http_drain,
 * service_stop_jobs (jobs write checkpoints), http_stop, service_free. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/train/spec.h"
#include "daemon/config.h"
#include "daemon/stats.h"
#include "daemon/store.h"

struct service;

/* Locks and prepares the state directory, opens the store, recovers what a killed daemon left, sweeps
 * orphans; starts nothing. The config must be resolved; it is copied. -EBUSY when another daemon uses the
 * state directory. */
int service_open(const struct config *config, struct service **ret_service, struct guise_error *err);
int service_start(struct service *service,
                  struct guise_error *err);  /* starts ingest, scheduler and workers */
void service_drain(struct service *service); /* not ready from now on; no job is claimed */
/* Jobs and ingest are asked to stop and get shutdown_timeout_s; what is late is left to the next start's
 * recovery (*ret_late of them). */
void service_stop_jobs(struct service *service, uint32_t *ret_late);
/* Joins all threads and closes. Not to be called when jobs were late: then the process must _exit(). NULL is
 * fine. */
struct service *service_free(struct service *service);

struct store *service_store(struct service *service);
const struct config *
service_config(const struct service *service); /* mutable fields: read through service_config_now */
void service_config_now(struct service *service, struct config *ret_config);
void service_reload(struct service *service,
                    const struct config *fresh); /* SIGHUP; logs what changed and what waits for a restart */
bool service_ready(struct service *service);     /* started, not draining, store answers */
/* 0, or why nothing can be written at present: -ENOSPC, -EDQUOT, -EROFS, -EIO, or -EUCLEAN (the database is
 * damaged). Reads go on. It ends by itself when the disk takes writes again. */
int service_storage(struct service *service);
const char *storage_reason(int r);           /* of such a value: a sentence for the user; of others NULL */
bool service_alive(struct service *service); /* for the watchdog: store and scheduler answer */

/* Runs work(context) soon in one of a few threads for blocking work. -ESHUTDOWN while draining is over,
 * -EAGAIN when too much waits (503). */
int service_run(struct service *service, void (*work)(void *context), void *context);

/* ---- events ---- After an event of `job` became durable (seq: its number or a later one's), every listener
 * is called from the committing thread; it must return quickly and must not call the service. Then read
 * store_event_list(after the last seq sent). */
struct listener;
int service_listen(struct service *service, void (*event)(void *context, const char *job, int64_t seq),
                   void *context, struct listener **ret_listener);
void service_unlisten(struct service *service,
                      struct listener *listener); /* no call is under way when it returns */

/* Who asks: what it makes is `owner`'s ("" = nobody's); it sees what is `sees`'s, NULL = everything. */
struct client {
  const char *owner, *sees;
};

/* ---- data sets ---- */
struct upload; /* one streamed body: a temporary file in uploads/ and its running sha256; used by one thread
                  at a time */
/* For the data set `name` of the client. bytes: how many will come, 0 = not known. -EINVAL: bad name.
 * -EEXIST: the name is somebody else's. -EUSERS: with the bytes, and what else of the owner's is on its way,
 * the owner would have more than owner_bytes, or has as many images as owner_images. */
int service_upload_begin(struct service *service, const struct client *client, const char *name,
                         uint64_t bytes, struct upload **ret_upload, struct guise_error *err);
/* Appends and hashes; no fsync. [blocks] a little: hashing runs at some 400 MB/s. -EFBIG above
 * upload_max_bytes, -EUSERS as service_upload_begin, -ENOSPC. */
int service_upload_write(struct upload *upload, const void *data, size_t size, struct guise_error *err);
void service_upload_digest(struct upload *upload,
                           char ret_sha256[SHA256_HEX]); /* of what was written; no write may follow */
struct upload *
service_upload_free(struct upload *upload); /* removes the file unless it was accepted; NULL is fine */
/* [blocks] Makes a data set of the upload and queues its ingest; durable on return. size: 0 = 112, or 16..224
 * in steps of 8; of templates it is that of the file, once it was read. *ret_created false: a data set of
 * that name with the same sha256 and size exists (200). -EEXIST: with another, or somebody else's (409).
 * -EINVAL: bad name or size. The upload is freed by the caller in any case. */
int service_dataset_accept(struct service *service, const struct client *client, const char *name,
                           struct upload *upload, enum dataset_kind kind, uint32_t size,
                           struct dataset_row *ret_row, bool *ret_created, struct guise_error *err);
/* As store_dataset_get, with the running ingest's counts so far. */
int service_dataset_get(struct service *service, const char *key, struct dataset_row *ret_row);
/* [blocks] People of a ready data set in the pack's order (-EBUSY: it is not ready); the cursor counts them.
 */
struct person_row {
  char name[256];
  uint32_t images;
};
int service_people_list(struct service *service, const char *key, const struct store_page *page,
                        struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                        struct guise_error *err);
/* [blocks] Checks the list against the pack (err names the line, -EINVAL) and stores it; an old one of the
 * name is replaced
 * (*ret_created false). -EBUSY while the data set is not ready. */
int service_pairs_put(struct service *service, const char *key, const char *name, const char *text,
                      size_t bytes, struct pairs_row *ret_row, bool *ret_created, struct guise_error *err);

/* ---- jobs ---- */
/* [blocks] Parses and checks the body of POST /v1/jobs, all mistakes at once: -EINVAL with *problems filled
 * (spec_problems_free). Then the row is durable (unless dry_run: ret_job then holds the resolved job without
 * an id). A job may wait for a data set that is still being ingested. idempotency: key and sha256 of the
 * body, or NULL; -EKEYREJECTED: the key belongs to another body (422). */
int service_job_submit(struct service *service, const struct client *client, const json_t *body, bool dry_run,
                       const struct store_idempotency *idempotency, struct spec_problems *problems,
                       struct job_row *ret_job, bool *ret_replayed, struct guise_error *err);
/* As store_job_get, with live phase, progress and run time. job_row_clear. */
int service_job_get(struct service *service, const char *id, struct job_row *ret_row);
void service_job_overlay(struct service *service, struct job_row *row); /* the same for rows of a list */
struct running_job {
  char id[STORE_ID];
  struct job_progress progress;
};
/* What runs now; freed by the caller. -ENOMEM. */
int service_jobs_running(struct service *service, struct running_job **ret_jobs, uint32_t *ret_count);
const struct stats *service_stats(struct service *service);
/* Of a queued job. */
struct job_queue {
  uint32_t ahead;     /* jobs that are claimed before it, as things stand */
  double eta_s;       /* until it starts; < 0 = unknown */
  const char *reason; /* why it waits: data_set, storage, retry, jobs_ahead, workers, threads, ending,
                         starting, stopping */
  char detail[160];   /* the same as a sentence */
};
int service_job_queue(struct service *service, const struct job_row *row, struct job_queue *ret_queue);
int64_t service_logs_end(struct service *service); /* logs of jobs that ended before are gone */
/* [blocks] 0: asked for, done, or already so (200; ret_row may be NULL, else job_row_clear). -EBUSY with err:
 * the state forbids it (409). cancel: queued, paused -> canceled; running, pausing -> canceling.  pause:
 * queued -> paused; running -> pausing. resume: paused -> queued; pausing -> running. */
int service_job_cancel(struct service *service, const char *id, struct job_row *ret_row,
                       struct guise_error *err);
/* [blocks] Cancels those of the client's jobs that the filter finds and that are not terminal, one after the
 * other; each is told to `canceled`. */
int service_jobs_cancel(struct service *service, const struct client *client, const struct job_filter *filter,
                        void (*canceled)(void *context, const struct job_row *row), void *context,
                        struct guise_error *err);
int service_job_pause(struct service *service, const char *id, struct job_row *ret_row,
                      struct guise_error *err);
int service_job_resume(struct service *service, const char *id, struct job_row *ret_row,
                       struct guise_error *err);

/* ---- erasing ---- (erase.c)
 * [block] All are done when they return: files unlinked, rows overwritten, the write-ahead log emptied.
 * *ret_receipt (may be NULL): {"kind","object","at","files":[{"sha256","bytes","erased"}],...} and counts; it
 * names nobody. -EBUSY: a job that has not ended uses it. */
/* Rows, rejects, pairs, the pack and the upload, also of an ingest under way; and the private reports of
 * models that saw it. */
int service_dataset_delete(struct service *service, const char *key, json_t **ret_receipt,
                           struct guise_error *err);
/* A person, or one image (NULL = all): the pack is written anew, rejects and pairs lists that name the person
 * and the private reports go. Models that were made with the data set are marked (model_row.erasures). -EBUSY
 * also when it is not ready, or nobody would be left. */
int service_person_erase(struct service *service, const char *key, const char *identity, const char *image,
                         json_t **ret_receipt, struct guise_error *err);
int service_model_delete(struct service *service, const char *id, json_t **ret_receipt,
                         struct guise_error *err);
/* An ended job's rows: metrics, events, log. -EBUSY also while the model with its results is there. */
int service_job_delete(struct service *service, const char *id, json_t **ret_receipt,
                       struct guise_error *err);

/* ---- models and blobs ---- */
/* [blocks] Embeds `count` image files (JPEG, PNG, PGM, PPM) with the model whose model.safetensors has this
 * sha256, under the key whose file has the sha256 `key` (NULL: the model has none): (count, *ret_dimension)
 * floats of length 1 each, freed by the caller. Images are resized to the model's input as at ingest and
 * masked the way the model was trained. -EBADMSG: image *ret_bad cannot be used; -ENOENT: its file is gone;
 * -EINVAL: decoded data have another size; -ENOMEM, -EIO. One at a time: run it through service_infer. */
struct service_image {
  const void *data;
  size_t bytes;
  bool decoded; /* data are the model's input already: (input,input,3) RGB bytes */
};
int service_embed(struct service *service, const char *sha256, const char *key,
                  const struct service_image *images, uint32_t count, float **ret_embeddings,
                  uint32_t *ret_dimension, uint32_t *ret_bad, struct guise_error *err);
/* Runs work(context) on the inference thread. -EAGAIN: inference_queue requests wait already. -ESHUTDOWN. */
int service_infer(struct service *service, void (*work)(void *context), void *context);
bool service_infer_room(struct service *service); /* whether the queue has room for one more */
/* Opens a blob for reading: an fd >= 0 (the caller closes it; it stays readable when the blob is deleted
 * meanwhile), or -ENOENT ... */
int service_blob_open(struct service *service, const char *sha256);
void service_blob_path(struct service *service, const char *sha256, char ret_path[PATH_MAX]);
