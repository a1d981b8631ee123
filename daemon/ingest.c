/* The ingest thread: takes data sets in state "ingesting" one after the other, decodes the upload into a pack
 * and publishes that as a blob. The upload stays until the end, so that an ingest that was broken off simply
 * starts again. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/image/ingest.h"
#include "core/image/pack.h"
#include "core/image/pairs.h"
#include "core/template/templates.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

#define REJECT_BATCH 256u
#define REJECTS_KEPT 100000u /* rows of one data set; further ones are only counted */
struct run {
  struct service *service;
  struct dataset_row row;
  char archive[PATH_MAX], pack[PATH_MAX];
  pthread_mutex_t lock; /* rejects may come from several threads */
  struct reject_row *batch;
  uint32_t batched, kept;
  int failed; /* the store's answer to a batch */
  bool again; /* the machine failed it, and it is known when it is tried again */
  bool waits; /* for the machine to be put right: not the upload's fault */
  struct guise_error err;
};

static void flush_rejects(struct run *run) {
  int r = run->batched ? store_rejects_add(run->service->store, run->row.id, run->batch, run->batched) : 0;
  run->batched = 0;
  if (r < 0)
    run->failed = r;
}

static void on_reject(void *context, const char *path, const char *code, const char *detail) {
  struct run *run = context;
  struct ingest *ingest = &run->service->ingest;
  stats_refused(&run->service->stats, code);
  (void)pthread_mutex_lock(&ingest->lock);
  ingest->rejected++;
  (void)pthread_mutex_unlock(&ingest->lock);
  (void)pthread_mutex_lock(&run->lock);
  if (run->kept < REJECTS_KEPT) {
    struct reject_row *row = &run->batch[run->batched++];
    (void)snprintf(row->path, sizeof(row->path), "%s", path);
    (void)snprintf(row->code, sizeof(row->code), "%s", code);
    (void)snprintf(row->detail, sizeof(row->detail), "%s", detail);
    run->kept++;
    if (run->batched == REJECT_BATCH)
      flush_rejects(run);
  }
  (void)pthread_mutex_unlock(&run->lock);
}

static void on_progress(void *context, uint32_t images, uint64_t bytes_read) {
  struct ingest *ingest = &((struct run *)context)->service->ingest;
  (void)bytes_read;
  (void)pthread_mutex_lock(&ingest->lock);
  ingest->images = images;
  (void)pthread_mutex_unlock(&ingest->lock);
}

static bool on_should_stop(void *context) {
  struct run *run = context;
  return atomic_load(&run->service->ingest.cancel) || run->failed < 0;
}

/* The pack becomes a blob and the row "ready"; nothing stays when the data set was deleted meanwhile. */
static int publish(struct run *run, const struct ingest_result *result, struct guise_error *err) {
  struct service *service = run->service;
  struct dataset_row row = run->row;
  char blob[1][SHA256_HEX];
  row.identities = result->identities;
  row.images = result->images;
  row.rejected = result->rejected;
  row.bytes = result->bytes;
  memcpy(row.sha256, result->sha256, sizeof(row.sha256));
  memcpy(blob[0], result->sha256, sizeof(blob[0]));
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish(service, run->pack, result->sha256, err);
  if (r == 0 && (r = store_dataset_ready(service->store, &row)) < 0) {
    if (r == -EUSERS)
      error_set(err, r,
                "with its %u images in %llu bytes %s would have more than the options owner_images and "
                "owner_bytes allow: erase another data set first",
                row.images, (unsigned long long)row.bytes, row.owner);
    else
      error_set(err, r, "the data set could not be recorded: %s", strerror(-r));
    blob_remove(service, blob, 1);
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}

/* Whether what the machine did to it is worth another try; ingest_next keeps the time. */
static bool machine_lacks_again(struct run *run, int r) {
  struct config config;
  service_config_now(run->service, &config);
  run->again = machine_lacks(r) &&
               trials_again(&run->service->trials, run->row.id, (int64_t)config.retry_delay_s * 1000000000);
  return run->again;
}

/* Whether r tells something about the upload, or about what its owner may have. Everything else is the
 * machine's: a decoder that cannot be run, a file that may not be opened. */
static bool upload_fails(int r) {
  return r == -EBADMSG || r == -ENODATA || r == -EFBIG || r == -EUSERS;
}

static void job_failed(void *context, const char *job, int64_t seq) {
  bus_emit(context, job, seq);
}

/* The row and the upload go together, or one that is sent again in between would be lost. */
static int give_up(struct run *run, const char *reason) {
  struct service *service = run->service;
  (void)pthread_mutex_lock(&service->ingest.lock);
  uint32_t rejected = service->ingest.rejected;
  (void)pthread_mutex_unlock(&service->ingest.lock);
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = store_dataset_fail(service->store, run->row.id, rejected, reason, job_failed, service);
  if (r == 0)
    (void)unlink(run->archive);
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r == -ENOENT ? -ECANCELED : r;
}

/* 0 when the data set has come to an end, -ECANCELED when it was deleted or the daemon stops, else why to try
 * again later. */
static int finish(struct run *run, int r, const struct ingest_result *result) {
  struct service *service = run->service;
  struct guise_error *err = &run->err;
  flush_rejects(run);
  if (run->failed < 0)
    return run->failed; /* the store does not take rows: start again when it does */
  if (r == 0) {
    r = publish(run, result, err);
    if (r == 0) {
      (void)unlink(run->archive);
      atomic_fetch_add(&service->stats.ingested, result->images);
      log_info("data set %s: ready, %u images of %u people, %u files not usable", run->row.id, result->images,
               result->identities, result->rejected);
    }
    if (r != -EUSERS)
      return r == -ENOENT ? -ECANCELED : r;
  }
  if (r == -ECANCELED || storage_stops(service, r) || machine_lacks_again(run, r))
    return r;
  run->waits = !machine_lacks(r) && !upload_fails(r);
  if (run->waits)
    return r;
  log_warning("data set %s: failed: %s", run->row.id,
              strerror(-r)); /* err may name files: not for the journal */
  return give_up(run, err->text[0] ? err->text : strerror(-r));
}

/* A file of templates is looked at and then is the blob: a second name, so that the upload stays until the
 * end. */
static int take_templates(struct run *run, const struct ingest_callbacks *callbacks,
                          struct ingest_result *ret_result, struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  struct ingest_result result = {0};
  int r = templates_open(run->archive, &templates, err);
  if (r == 0)
    r = templates_check(templates, callbacks->should_stop, callbacks->context, err);
  if (r < 0)
    return r;
  (void)unlink(run->pack); /* of a try that was broken off */
  if (link(run->archive, run->pack) < 0)
    return error_set(err, -errno, "cannot store the templates: %s", strerror(errno));
  result.identities = templates_people(templates);
  result.images = templates_count(templates);
  run->row.size = templates_input(templates);
  r = sha256_file(run->pack, result.sha256, &result.bytes);
  if (r == 0)
    *ret_result = result;
  return r < 0 ? error_set(err, r, "the uploaded file cannot be read: %s", strerror(-r)) : 0;
}

static int ingest_run(struct run *run) {
  struct service *service = run->service;
  struct ingest_callbacks callbacks = {run, on_reject, on_progress, on_should_stop};
  struct ingest_result result;
  struct guise_error *err = &run->err;
  int r = store_dataset_restart(service->store, run->row.id);
  if (r < 0)
    return r;
  if (access(run->archive, R_OK) < 0)
    r = errno == ENOENT ? error_set(err, -ENODATA, "the uploaded file is gone: upload it again")
                        : error_set(err, -errno, "the uploaded file cannot be read: %s", strerror(errno));
  else
    r = run->row.kind == DATASET_TEMPLATES
            ? take_templates(run, &callbacks, &result, err)
            : ingest_archive(run->archive, run->pack, run->row.size, service->config.decoder,
                             (uint32_t)service->config.decoders, NULL, &callbacks, &result, err);
  r = finish(run, r, &result);
  (void)unlink(run->pack);
  return r;
}

static int ingest_one(struct service *service, const struct dataset_row *row) {
  _cleanup_(freep) struct reject_row *batch = calloc(REJECT_BATCH, sizeof(*batch));
  struct run run = {.service = service, .row = *row, .batch = batch};
  if (!batch)
    return -ENOMEM;
  if (state_path(run.archive, service, "uploads/%s", row->id) < 0 ||
      state_path(run.pack, service, "uploads/%s.pack", row->id) < 0)
    return -ENAMETOOLONG;
  (void)pthread_mutex_init(&run.lock, NULL);
  int r = ingest_run(&run);
  (void)pthread_mutex_destroy(&run.lock);
  const char *reason = storage_reason(r);
  if (!reason)
    reason = run.err.text[0] ? run.err.text : strerror(-r);
  if (!run.waits && (r == 0 || r == -ECANCELED || r == -ENOENT)) /* ENOENT: erased this instant */
    trials_forget(&service->trials, row->id);
  else {
    log_warning("data set %s: %s; trying again", row->id, run.waits ? reason : strerror(-r));
    trials_tell(&service->trials, row->id, reason);
    if (!run.again)
      (void)trials_wait(&service->trials, row->id);
  }
  return 0;
}

/* The oldest that is not waiting for its next try. */
static int find_due(struct service *service, struct dataset_row *ret_row) {
  int64_t after = 0;
  int r;
  while ((r = store_dataset_next_ingest(service->store, after, ret_row)) == 0 &&
         !trials_due(&service->trials, ret_row->id))
    after = ret_row->seq;
  return r;
}

/* The next data set, marked as current so that a deletion can stop it; -ENOENT when there is none. */
static int take_next(struct service *service, struct dataset_row *ret_row) {
  struct ingest *ingest = &service->ingest;
  int r = find_due(service, ret_row);
  if (r < 0)
    return r;
  (void)pthread_mutex_lock(&ingest->lock);
  memcpy(ingest->current, ret_row->id, sizeof(ingest->current));
  ingest->images = ingest->rejected = 0;
  atomic_store(&ingest->cancel, ingest->stopping);
  (void)pthread_mutex_unlock(&ingest->lock);
  struct dataset_row again; /* deleted between the two: then nobody told this thread */
  return store_dataset_get(service->store, ret_row->id, &again);
}

/* 0 when the next may follow at once, else why there is nothing to do. */
static int ingest_next(struct service *service) {
  struct dataset_row row;
  if (service_storage(service) < 0)
    return -EAGAIN;
  int r = take_next(service, &row);
  if (r < 0 && r != -ENOENT)
    log_warning("ingest: %s; trying again", strerror(-r));
  return r < 0 ? r : ingest_one(service, &row);
}

/* What does not work is tried again after a time that grows, since each try decodes the whole upload; others
 * pass it meanwhile. While nothing can be written nothing is tried. */
static void *ingest_main(void *context) {
  struct service *service = context;
  struct ingest *ingest = &service->ingest;
  (void)pthread_mutex_lock(&ingest->lock);
  while (!ingest->stopping) {
    ingest->kicked = false;
    (void)pthread_mutex_unlock(&ingest->lock);
    const bool more = ingest_next(service) == 0;
    (void)pthread_mutex_lock(&ingest->lock);
    ingest->current[0] = 0;
    const int64_t until = clock_ns() + STORAGE_RETRY_NS;
    while (!more && !ingest->stopping && !ingest->kicked &&
           condition_wait(&ingest->changed, &ingest->lock, until))
      ;
  }
  ingest->done = true;
  (void)pthread_cond_broadcast(&ingest->changed);
  (void)pthread_mutex_unlock(&ingest->lock);
  return NULL;
}

int ingest_start(struct service *service, struct guise_error *err) {
  int r = pthread_create(&service->ingest.thread, NULL, ingest_main, service);
  if (r != 0)
    return error_set(err, -r, "cannot start a thread: %s", strerror(r));
  service->ingest.running = true;
  return 0;
}

void ingest_kick(struct service *service) {
  (void)pthread_mutex_lock(&service->ingest.lock);
  service->ingest.kicked = true;
  (void)pthread_cond_broadcast(&service->ingest.changed);
  (void)pthread_mutex_unlock(&service->ingest.lock);
}

void ingest_stop(struct service *service) {
  (void)pthread_mutex_lock(&service->ingest.lock);
  service->ingest.stopping = true;
  atomic_store(&service->ingest.cancel, true);
  (void)pthread_cond_broadcast(&service->ingest.changed);
  (void)pthread_mutex_unlock(&service->ingest.lock);
}

bool ingest_wait(struct service *service, int64_t deadline_ns) {
  struct ingest *ingest = &service->ingest;
  (void)pthread_mutex_lock(&ingest->lock);
  while (ingest->running && !ingest->done && condition_wait(&ingest->changed, &ingest->lock, deadline_ns))
    ;
  bool done = !ingest->running || ingest->done;
  (void)pthread_mutex_unlock(&ingest->lock);
  return done;
}

void ingest_join(struct service *service) {
  if (service->ingest.running)
    (void)pthread_join(service->ingest.thread, NULL);
  service->ingest.running = false;
}

void ingest_overlay(struct service *service, struct dataset_row *row) {
  (void)pthread_mutex_lock(&service->ingest.lock);
  if (row->state == DATASET_INGESTING && strcmp(service->ingest.current, row->id) == 0) {
    row->images = service->ingest.images;
    row->rejected = service->ingest.rejected;
  }
  (void)pthread_mutex_unlock(&service->ingest.lock);
  if (row->state == DATASET_INGESTING)
    trials_reason(&service->trials, row->id, row->error);
}

void ingest_forget(struct service *service, const char *id) {
  (void)pthread_mutex_lock(&service->ingest.lock);
  if (strcmp(service->ingest.current, id) == 0)
    atomic_store(&service->ingest.cancel, true);
  (void)pthread_mutex_unlock(&service->ingest.lock);
}
