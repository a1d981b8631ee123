/* A job's thread: prepares its directories, calls job_run() of the core, and turns the result into the job's
 * last state. Whatever the job does ends as a row; the daemon goes on. */
#include <string.h>

#include "core/base/file.h"
#include "daemon/log.h"
#include "daemon/runner_internal.h"

#define PAIRS_MAX_BYTES (64u << 20)

/* ---- before ---- */

static int find_pairs(struct slot *slot, struct job_files *files, struct guise_error *err) {
  struct service *service = slot->service;
  struct dataset_row dataset;
  struct pairs_row pairs;
  char path[PATH_MAX];
  if (!slot->row.pairs_dataset_id[0])
    return 0;
  int r = store_dataset_get(service->store, slot->row.pairs_dataset_id, &dataset);
  if (r == 0)
    r = store_pairs_get(service->store, dataset.id, slot->row.pairs_name, &pairs);
  if (r < 0)
    return error_set(err, r, "the pairs list or its data set cannot be read: %s", strerror(-r));
  service_blob_path(service, dataset.sha256, files->pairs_pack);
  service_blob_path(service, pairs.sha256, path);
  return file_read(path, PAIRS_MAX_BYTES, &files->pairs_text, &files->pairs_bytes, err);
}

static int prepare(struct slot *slot, struct job_files *files, struct guise_error *err) {
  struct service *service = slot->service;
  const char *id = slot->row.id;
  int r = store_dataset_get(service->store, slot->row.dataset_id, &files->dataset);
  if (r < 0)
    return error_set(err, r, "the job's data set cannot be read: %s", strerror(-r));
  service_blob_path(service, files->dataset.sha256, files->pack);
  if (state_path(files->work, service, "work/%s", id) < 0 ||
      state_path(files->output, service, "work/%s/output", id) < 0 ||
      state_path(files->resume, service, "work/%s/%s", id, slot->checkpoint.file) < 0)
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  (void)directory_remove(files->output);
  r = directory_make(files->output, err);
  if (r < 0)
    return r;
  runner_clean(files->work, slot->resumes ? slot->checkpoint.file : NULL);
  return find_pairs(slot, files, err);
}

/* Prepares for another run, from the last checkpoint. */
static int prepare_again(struct slot *slot, struct job_files *files, struct guise_error *err) {
  _cleanup_(freep) struct checkpoint_row *rows = NULL;
  uint32_t count = 0;
  int r = store_checkpoint_list(slot->service->store, slot->row.id, &rows, &count);
  if (r < 0)
    return error_set(err, r, "the job's checkpoint cannot be found: %s", strerror(-r));
  slot->resumes = count > 0;
  if (count > 0)
    slot->checkpoint = rows[0];
  free(TAKE(files->pairs_text));
  return prepare(slot, files, err);
}

static int parse_spec(const struct job_row *row, struct job_spec *ret_spec, struct guise_error *err) {
  struct spec_problems problems = {0};
  json_t *body = json_loads(row->spec, 0, NULL);
  int r = body ? job_spec_parse(body, ret_spec, &problems) : -EINVAL;
  json_decref(body);
  if (r < 0)
    error_set(
        err, r,
        "the job was accepted by another version of guised that knew more or less: submit it again (%s)",
        problems.count ? problems.problem[0].detail : "unreadable");
  spec_problems_free(&problems);
  return r;
}

/* ---- runs ---- */

static void remove_work(struct slot *slot, const char *work) {
  struct job_row row;
  int r = store_job_get(slot->service->store, slot->row.id, &row);
  const bool ended =
      r == -ENOENT || (r == 0 && job_state_terminal(row.state)); /* ENOENT: erased this instant */
  if (ended && work[0])
    (void)directory_remove(work);
  if (r == 0)
    job_row_clear(&row);
}

/* Whatever came of reading zeros in the place of a file's pages does not count. */
static int run_watched(struct slot *slot, const struct job_spec *spec, const struct job_inputs *inputs,
                       const struct job_callbacks *callbacks, struct job_outcome *ret_outcome,
                       struct guise_error *err) {
  mapping_watch_begin(&slot->watch);
  int r = job_run(spec, inputs, callbacks, ret_outcome, err);
  mapping_watch_end(&slot->watch);
  if (!atomic_exchange(&slot->watch.failed, false))
    return r;
  if (atomic_load(&slot->cancel))
    return -ECANCELED;
  return error_set(err, -EIO,
                   "a file of the job's data set or models cannot be read from the disk: look into the "
                   "system's log, find it with guised --check-state, and restore it from a backup");
}

/* One run of the job and its publication. */
static int run_once(struct slot *slot, const struct job_spec *spec, struct job_files *files,
                    struct guise_error *err) {
  const struct job_callbacks callbacks = runner_callbacks(slot);
  struct job_outcome outcome = {NULL};
  struct job_inputs inputs = {.job_id = slot->row.id,
                              .dataset_pack = files->pack,
                              .dataset_name = files->dataset.name,
                              .dataset_sha256 = files->dataset.sha256,
                              .pairs_pack = files->pairs_text ? files->pairs_pack : NULL,
                              .pairs_text = files->pairs_text,
                              .pairs_bytes = files->pairs_bytes,
                              .work_directory = files->work,
                              .resume = slot->resumes ? files->resume : NULL,
                              .output_directory = files->output,
                              .threads = slot->threads};
  int r = inputs_find(slot->service, slot->row.id, &files->inputs, &inputs, err);
  if (r == 0)
    r = audit_find(slot->service, slot->row.id, files->dataset.id, &files->audit, &inputs, err);
  networks_begin(slot->service, slot, files->dataset.id, files->audit.model_id, &files->networks, &inputs);
  if (r == 0)
    r = run_watched(slot, spec, &inputs, &callbacks, &outcome, err);
  if (r == 0)
    r = runner_publish(slot, files, &outcome, err);
  json_decref(outcome.summary);
  return r;
}

/* Another audit of the model was faster: its attacks stay, ours are added to them. */
static int run_after_other_audit(struct slot *slot, const struct job_spec *spec, struct job_files *files,
                                 struct guise_error *err) {
  char before[SHA256_HEX];
  memcpy(before, files->audit.report_sha256, sizeof(before));
  const enum job_stop stop = runner_should_stop(slot);
  if (stop != JOB_CONTINUE)
    return stop == JOB_CANCEL ? -ECANCELED : -EINTR;
  int r = prepare_again(slot, files, err);
  if (r == 0)
    r = run_once(slot, spec, files, err);
  if (r == -ESTALE && strcmp(before, files->audit.report_sha256) == 0)
    r = error_set(err, -EIO,
                  "the model's report or an ONNX file of it is missing from the state directory: restore it "
                  "from a backup");
  return r;
}

static int run(struct slot *slot, struct job_files *files, struct guise_error *err) {
  struct job_spec spec;
  int r = parse_spec(&slot->row, &spec, err);
  if (r < 0)
    return r;
  r = prepare(slot, files, err);
  if (r == 0)
    r = run_once(slot, &spec, files, err);
  while (r == -ESTALE)
    r = run_after_other_audit(slot, &spec, files, err);
  job_spec_free(&spec);
  return r;
}

void *runner_main(void *context) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct guise_error err = {0, ""};
  struct job_files *files = calloc(1, sizeof(*files)); /* paths are too large for the stack of a thread */
  log_info("%s: %s with %u threads", slot->row.id, slot->resumes ? "continues" : "starts", slot->threads);
  if (slot->resumes)
    runner_say(slot, "info", "continues behind epoch %u with %u threads, attempt %u", slot->checkpoint.epochs,
               slot->threads, slot->row.attempt);
  else
    runner_say(slot, "info", "starts with %u threads, attempt %u", slot->threads, slot->row.attempt);
  int r = files ? run(slot, files, &err) : error_set(&err, -ENOMEM, "out of memory starting the job");
  const bool waits = r < 0 && storage_stops(service, r);
  if (waits)
    r = runner_give_way(slot, r);
  if (r < 0)
    runner_end(slot, r, &err);
  if (!waits || r < 0)
    trials_forget(&service->trials, slot->row.id);
  if (files) {
    remove_work(slot, files->work);
    free(files->pairs_text);
  }
  free(files);
  (void)pthread_mutex_lock(&service->scheduler.lock);
  slot->done = true;
  service->scheduler.kicked = true;
  (void)pthread_cond_broadcast(&service->scheduler.changed);
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  return NULL;
}
