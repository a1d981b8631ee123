/* A job's thread: prepares its directories, calls job_run() of the core, and turns the result into the job's
 * last state. Whatever the job does ends as a row; the daemon goes on. */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/mask/key.h"
#include "core/train/job.h"
#include "daemon/audit.h"
#include "daemon/inputs.h"
#include "daemon/log.h"
#include "daemon/networks.h"
#include "daemon/service_internal.h"

#define PAIRS_MAX_BYTES (64u << 20)

struct job_files {
  char work[PATH_MAX], output[PATH_MAX], resume[PATH_MAX], pack[PATH_MAX], pairs_pack[PATH_MAX];
  struct dataset_row dataset;
  char *pairs_text;
  size_t pairs_bytes;
  struct input_files inputs;
  struct audit_files audit;
  struct networks networks;
};

/* ---- callbacks: they run in the job's thread ---- */

static void on_phase(void *context, const char *phase) {
  struct slot *slot = context;
  struct service *service = slot->service;
  int64_t seq = 0;
  (void)pthread_mutex_lock(&service->scheduler.lock);
  (void)snprintf(slot->phase, sizeof(slot->phase), "%s", phase);
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  if (store_job_phase(service->store, slot->row.id, phase, &seq) == 0)
    bus_emit(service, slot->row.id, seq);
}

static void on_progress(void *context, const struct job_progress *progress) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct config config;
  int64_t now = clock_ns();
  (void)pthread_mutex_lock(&service->scheduler.lock);
  slot->live = *progress;
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  service_config_now(service, &config);
  if (now - slot->persisted_ns < (int64_t)config.progress_interval_s * 1000000000)
    return;
  slot->persisted_ns = now;
  (void)store_job_progress(service->store, slot->row.id, progress,
                           slot_runtime(slot)); /* the next one tries again */
}

/* A line of the job's own log, which its owner reads. */
static void add_line(struct slot *slot, const char *level, const char *text) {
  json_t *data = json_pack("{s:s, s:s}", "level", level, "text", text);
  int64_t seq = 0;
  if (data && store_event_add(slot->service->store, slot->row.id, "log", data, &seq) == 0)
    bus_emit(slot->service, slot->row.id, seq);
  json_decref(data);
}

static void on_log(void *context, const char *level, const char *text) {
  struct slot *slot = context;
  if (strcmp(level, "warning") == 0)
    log_warning("%s: %s", slot->row.id, text);
  else
    log_debug("%s: %s", slot->row.id, text);
  add_line(slot, level, text);
}

/* To the job's log alone: the text may name people, which is not for the journal. */
static void say(struct slot *slot, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct slot *slot, const char *level, const char *format, ...) {
  char text[640];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  add_line(slot, level, text);
}

/* Removes the files in the work directory except `keep` (NULL = nothing) and a keyed job's key. Directories
 * stay: the output, and what a job made beforehand and finds again when it continues. */
static void clean_work(const char *work, const char *keep) {
  char path[PATH_MAX];
  DIR *directory = opendir(work);
  struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    struct stat st;
    if ((keep && strcmp(entry->d_name, keep) == 0) || strcmp(entry->d_name, MASK_KEY_FILE) == 0 ||
        snprintf(path, sizeof(path), "%s/%s", work, entry->d_name) >= (int)sizeof(path))
      continue;
    if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode))
      (void)unlink(path);
  }
  if (directory)
    (void)closedir(directory);
}

static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct checkpoint_row row = {.epochs = epochs_done, .step = step, .at = time_now_ms()};
  struct job_progress progress;
  char work[PATH_MAX];
  int64_t seq = 0;
  const char *slash = strrchr(path, '/');
  int r = state_path(work, service, "work/%s", slot->row.id);
  if (r == 0 && snprintf(row.file, sizeof(row.file), "%s", slash ? slash + 1 : path) >= (int)sizeof(row.file))
    r = -ENAMETOOLONG;
  if (r < 0)
    return r;
  if (atomic_load(&slot->watch.failed)) /* it learnt from zeros */
    return -EIO;
  (void)pthread_mutex_lock(&service->scheduler.lock);
  progress = slot->live;
  (void)pthread_mutex_unlock(&service->scheduler.lock);
  r = store_checkpoint_commit(service->store, slot->row.id, &row, rows, count, &progress, slot_runtime(slot),
                              &seq);
  if (r < 0)
    return r;
  bus_emit(service, slot->row.id, seq);
  slot->checkpoints++;
  clean_work(work, row.file);
  return 0;
}

static enum job_stop on_should_stop(void *context) {
  struct slot *slot = context;
  if (slot->row.max_runtime_s && slot_runtime(slot) > slot->row.max_runtime_s)
    atomic_store(&slot->timed_out, true);
  if (atomic_load(&slot->cancel) || atomic_load(&slot->timed_out) || atomic_load(&slot->watch.failed))
    return JOB_CANCEL;
  return atomic_load(&slot->pause) || atomic_load(&slot->service->scheduler.stopping) ? JOB_SUSPEND
                                                                                      : JOB_CONTINUE;
}

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
  clean_work(files->work, slot->resumes ? slot->checkpoint.file : NULL);
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

/* ---- a disk that is full or fails ---- */

/* The job ended with `r` because something could not be written: it waits until the state directory takes
 * writes, and until the time that trials_wait() tells when `shortest`. 0; -ECANCELED and -EINTR when it is
 * asked to end. The wait is no run time. */
static int wait_for_storage(struct slot *slot, int r, bool shortest) {
  struct service *service = slot->service;
  const int64_t until = shortest ? clock_ns() + trials_wait(&service->trials, slot->row.id) : 0;
  char phase[sizeof(slot->phase)];
  memcpy(phase, slot->phase, sizeof(phase)); /* this thread alone writes it */
  on_phase(slot, STORE_PHASE_WAITS);
  on_log(slot, "warning", storage_reason(r));
  for (int64_t now = clock_ns(); now < until || service_storage(service) < 0;) {
    const enum job_stop stop = on_should_stop(slot);
    if (stop != JOB_CONTINUE)
      return stop == JOB_CANCEL ? -ECANCELED : -EINTR;
    (void)usleep(50000);
    int64_t passed = clock_ns() - now;
    now += passed;
    (void)pthread_mutex_lock(&service->scheduler.lock);
    slot->started_ns += passed;
    (void)pthread_mutex_unlock(&service->scheduler.lock);
  }
  on_log(slot, "info",
         shortest ? "the state directory takes writes again: going on"
                  : "the state directory takes writes again: queued until the next try");
  if (shortest)
    on_phase(slot, phase);
  return 0;
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

/* ---- after success: the files become blobs, the model a row ---- */

static json_t *model_facts(const struct slot *slot, const struct job_files *files) {
  static const char *const sections[] = {"holdout", "model", "mask", "train", "defences"};
  json_t *spec = json_loads(slot->row.spec, 0, NULL);
  json_t *facts = json_pack("{s:s, s:s, s:s}", "type", slot->row.type, "dataset", files->dataset.name,
                            "dataset_sha256", files->dataset.sha256);
  for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
    json_t *section = json_object_get(spec, sections[i]);
    if (section && json_object_set(facts, sections[i], section) < 0) {
      json_decref(facts);
      facts = NULL;
      break;
    }
  }
  json_decref(spec);
  return facts;
}

static int list_output(const char *output, struct model_row *model, struct guise_error *err) {
  char path[PATH_MAX];
  struct dirent *entry;
  int r = 0;
  DIR *directory = opendir(output);
  if (!directory)
    return error_set(err, -errno, "cannot read the job's results: %s", strerror(errno));
  while (r == 0 && (entry = readdir(directory))) {
    struct stat st;
    struct model_file_row file = {.size = 0};
    if (snprintf(path, sizeof(path), "%s/%s", output, entry->d_name) >= (int)sizeof(path) ||
        lstat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
        snprintf(file.name, sizeof(file.name), "%s", entry->d_name) >= (int)sizeof(file.name))
      continue;
    struct model_file_row *grown = reallocarray(model->files, model->file_count + 1, sizeof(*grown));
    if (grown)
      model->files = grown;
    r = grown ? sha256_file(path, file.sha256, &file.size) : -ENOMEM;
    if (r == 0)
      model->files[model->file_count++] = file;
  }
  (void)closedir(directory);
  if (r == 0 && model->file_count == 0)
    return error_set(err, -EIO, "the job left no results: this is a fault of guise, please report it");
  return r < 0 ? error_set(err, r, "cannot read the job's results: %s", strerror(-r)) : 0;
}

/* What training and audit leave alike. */
static int describe_results(const struct job_files *files, const struct job_outcome *outcome,
                            struct model_row *model, struct guise_error *err) {
  model->audited = json_is_true(json_object_get(json_object_get(outcome->summary, "audit"), "complete"));
  model->summary = json_print(outcome->summary, JSON_COMPACT);
  if (!model->summary)
    return error_set(err, -ENOMEM, "out of memory storing the model");
  return list_output(files->output, model, err);
}

static int describe_model(const struct slot *slot, const struct job_files *files,
                          const struct job_outcome *outcome, struct model_row *model,
                          struct guise_error *err) {
  json_t *facts = model_facts(slot, files);
  id_make("mdl_", model->id);
  memcpy(model->job_id, slot->row.id, sizeof(model->job_id));
  memcpy(model->dataset_id, files->dataset.id, sizeof(model->dataset_id));
  model->created_at = time_now_ms();
  model->facts = facts ? json_print(facts, JSON_COMPACT) : NULL;
  json_decref(facts);
  if (!model->facts)
    return error_set(err, -ENOMEM, "out of memory storing the model");
  return describe_results(files, outcome, model, err);
}

static int publish_model(struct service *service, const struct job_files *files,
                         const struct model_row *model, int64_t *ret_seq, struct guise_error *err) {
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish_files(service, files->output, model, err);
  if (r == 0 && (r = store_model_insert(service->store, model, ret_seq)) < 0)
    error_set(err, r, "the model could not be recorded: %s", strerror(-r));
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}

/* A full disk does not cost the attacks, which may have taken hours: only publishing is repeated, and finds
 * the files that are blobs already. When it fails for good, or the job was canceled meanwhile (-EBUSY), the
 * blobs go again. */
static int publish(struct slot *slot, const struct job_files *files, const struct job_outcome *outcome,
                   struct guise_error *err) {
  struct service *service = slot->service;
  struct model_row model = {.files = NULL};
  int64_t seq = 0;
  (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
  const bool audit = files->audit.model_id[0] != 0;
  int r = audit ? describe_results(files, outcome, &model, err)
                : describe_model(slot, files, outcome, &model, err);
  if (r == 0)
    do
      r = audit ? audit_publish(service, slot->row.id, &files->audit, files->output, &model, &seq, err)
                : publish_model(service, files, &model, &seq, err);
    while (storage_stops(service, r) && (r = wait_for_storage(slot, r, true)) == 0);
  if (r == 0) {
    log_info("%s: succeeded, model %s", slot->row.id, audit ? files->audit.model_id : model.id);
    bus_emit(service, slot->row.id, seq);
  } else {
    (void)pthread_mutex_lock(&service->blob_lock);
    blob_remove_files(service, &model);
    (void)pthread_mutex_unlock(&service->blob_lock);
  }
  model_row_clear(&model);
  return r;
}

/* ---- the end ---- */

static char *problem_json(const char *code, const char *title, const char *detail) {
  json_t *problem = json_pack("{s:s+, s:s, s:i, s:s, s:s}", "type", JOB_PROBLEM_TYPE, code, "title", title,
                              "status", 500, "code", code, "detail", detail);
  char *text = problem ? json_print(problem, JSON_COMPACT) : NULL;
  json_decref(problem);
  return text;
}

static char *failure_problem(const struct slot *slot, int r, const struct guise_error *err) {
  char detail[160];
  if (atomic_load(&slot->timed_out)) {
    (void)snprintf(detail, sizeof(detail),
                   "The job ran longer than resources.max_runtime_s (%u s): raise it, or train fewer epochs.",
                   slot->row.max_runtime_s);
    return problem_json("max_runtime", "The job took too long", detail);
  }
  const char *code = r == -ENOMEM ? "out_of_memory" : "job_failed";
  return problem_json(code, "The job failed", err->text[0] ? err->text : strerror(-r));
}

#define BIT(state) (1u << JOB_STATE_##state)

/* Which move fits a result depends on what was asked for last. */
static int move_to_end(struct slot *slot, int r, const char *problem, int64_t *ret_seq) {
  const char *late = atomic_load(&slot->timed_out) ? "max_runtime_s exceeded" : "failed";
  const char *again = atomic_load(&slot->service->scheduler.stopping) ? "daemon stops" : "resumed";
  const struct job_move failed[] = {
      {BIT(CANCELING), JOB_STATE_CANCELED, "canceled", NULL},
      {BIT(RUNNING) | BIT(PAUSING), JOB_STATE_FAILED, late, problem},
  };
  const struct job_move suspended[] = {
      {BIT(CANCELING), JOB_STATE_CANCELED, "canceled", NULL},
      {BIT(PAUSING), JOB_STATE_PAUSED, "checkpoint written", NULL},
      {BIT(RUNNING), JOB_STATE_QUEUED, again, NULL},
  };
  const struct job_move *moves = r == -EINTR ? suspended : failed;
  uint32_t count = r == -EINTR ? ARRAY_SIZE(suspended) : ARRAY_SIZE(failed);
  return store_job_move_first(slot->service->store, slot->row.id, moves, count, NULL, ret_seq);
}

/* A disk that takes no writes does not end a job: give_way. */
static bool machine_failed(const struct slot *slot, int r) {
  return !atomic_load(&slot->timed_out) && machine_lacks(r);
}

static int retry(struct slot *slot, const char *problem, bool *ret_retry, int64_t *ret_seq) {
  struct config config;
  service_config_now(slot->service, &config);
  return store_job_retry(slot->service->store, slot->row.id, problem, (int64_t)config.retry_delay_s * 1000,
                         ret_retry, ret_seq);
}

/* A full disk must not lose the end of a job: tried until it works or the daemon stops (then recovery does
 * it). */
static void end_job(struct slot *slot, int r, const struct guise_error *err) {
  struct service *service = slot->service;
  _cleanup_(freep) char *text = failure_problem(slot, r, err);
  if (r != -EINTR && r != -ECANCELED) /* before the end, behind which nothing is said */
    say(slot, "warning", "failed: %s", err->text[0] ? err->text : strerror(-r));
  const char *problem = text ? text : "{\"title\":\"The job failed\",\"detail\":\"out of memory\"}";
  int64_t seq = 0;
  bool again = false;
  int moved;
  for (;;) {
    (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
    moved =
        machine_failed(slot, r) ? retry(slot, problem, &again, &seq) : move_to_end(slot, r, problem, &seq);
    if (moved >= 0 || (moved != -ENOSPC && moved != -EIO && moved != -ENOMEM))
      break;
    log_error("%s: its end cannot be recorded: %s; make room, it is tried again", slot->row.id,
              strerror(-moved));
    for (int i = 0; i < 50 && !atomic_load(&service->scheduler.stopping); i++)
      (void)usleep(100000);
    if (atomic_load(&service->scheduler.stopping))
      break;
  }
  if (moved < 0)
    log_error("%s: its end cannot be recorded: %s", slot->row.id, strerror(-moved));
  else if (r != -EINTR && r != -ECANCELED)
    log_warning("%s: failed%s: %s", slot->row.id, again ? ", is tried again" : "",
                strerror(-r)); /* err may name people: not for the journal */
  bus_emit(service, slot->row.id, seq);
}

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
  struct job_callbacks callbacks = {slot, on_phase, on_progress, on_log, on_checkpoint, on_should_stop};
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
    r = audit_find(slot->service, slot->row.id, &files->audit, &inputs, err);
  networks_begin(slot->service, slot, files->dataset.id, files->audit.model_id, &files->networks, &inputs);
  if (r == 0)
    r = run_watched(slot, spec, &inputs, &callbacks, &outcome, err);
  if (r == 0)
    r = publish(slot, files, &outcome, err);
  json_decref(outcome.summary);
  return r;
}

/* Another audit of the model was faster: its attacks stay, ours are added to them. */
static int run_after_other_audit(struct slot *slot, const struct job_spec *spec, struct job_files *files,
                                 struct guise_error *err) {
  char before[SHA256_HEX];
  memcpy(before, files->audit.report_sha256, sizeof(before));
  const enum job_stop stop = on_should_stop(slot);
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

/* There is no room for the job: as soon as that can be recorded it is queued again, so that others get its
 * worker, and goes on from its last checkpoint after a time that grows until there is a new one. 0; else what
 * the job ends with. */
static int give_way(struct slot *slot, int r) {
  struct service *service = slot->service;
  int64_t seq = 0;
  if (slot->checkpoints > 0)
    trials_forget(&service->trials, slot->row.id);
  const int64_t delay_ns = trials_wait(&service->trials, slot->row.id);
  do {
    r = wait_for_storage(slot, r, false);
    if (r < 0)
      return r;
    (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
    r = store_job_wait(service->store, slot->row.id, delay_ns / 1000000, &seq);
  } while (storage_stops(service, r));
  if (r == 0)
    bus_emit(service, slot->row.id, seq);
  return r;
}

void *runner_main(void *context) {
  struct slot *slot = context;
  struct service *service = slot->service;
  struct guise_error err = {0, ""};
  struct job_files *files = calloc(1, sizeof(*files)); /* paths are too large for the stack of a thread */
  log_info("%s: %s with %u threads", slot->row.id, slot->resumes ? "continues" : "starts", slot->threads);
  if (slot->resumes)
    say(slot, "info", "continues behind epoch %u with %u threads, attempt %u", slot->checkpoint.epochs,
        slot->threads, slot->row.attempt);
  else
    say(slot, "info", "starts with %u threads, attempt %u", slot->threads, slot->row.attempt);
  int r = files ? run(slot, files, &err) : error_set(&err, -ENOMEM, "out of memory starting the job");
  const bool waits = r < 0 && storage_stops(service, r);
  if (waits)
    r = give_way(slot, r);
  if (r < 0)
    end_job(slot, r, &err);
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
