/* Submitting, canceling, pausing and resuming jobs. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "daemon/audit.h"
#include "daemon/inputs.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"
#include "daemon/templates.h"

#define BIT(state) (1u << JOB_STATE_##state)

/* ---- submitting ---- */

/* What only the store knows about a body. Fields are looked up in the body, not in the parsed spec, so that
 * these mistakes are told together with the others. */
struct references {
  struct dataset_row dataset, pairs_dataset; /* id "" = none */
  char pairs_name[STORE_NAME];
};

static const char *text_at(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static int check_dataset(struct service *service, const struct client *client, const char *pointer,
                         const char *name, struct dataset_row *ret_row, struct spec_problems *problems) {
  struct dataset_row row = {.id = ""};
  int r = store_dataset_get(service->store, name, &row);
  if (r == 0 && !owner_sees(client->sees, row.owner))
    r = -ENOENT;
  if (r == 0)
    *ret_row = row;
  if (r == -ENOENT)
    return spec_problems_add(problems, pointer, "unknown_value", NULL,
                             "there is no data set %.100s: upload it first", name);
  if (r == 0 && ret_row->kind == DATASET_TEMPLATES && strcmp(pointer, "/dataset") != 0)
    return templates_no_pictures(pointer, ret_row, problems);
  if (r == 0 && ret_row->state == DATASET_FAILED)
    return spec_problems_add(problems, pointer, "conflict", NULL,
                             "the data set %.100s could not be read (%.100s)", name, ret_row->error);
  return r;
}

static int check_pairs(struct service *service, const struct client *client, const json_t *pairs,
                       struct references *found, struct spec_problems *problems) {
  const char *dataset = text_at(pairs, "dataset"), *name = text_at(pairs, "name");
  struct pairs_row row;
  if (!dataset || !name)
    return 0; /* the spec's own checks tell */
  int r = check_dataset(service, client, "/holdout/pairs/dataset", dataset, &found->pairs_dataset, problems);
  if (r < 0 || !found->pairs_dataset.id[0])
    return r;
  r = store_pairs_get(service->store, found->pairs_dataset.id, name, &row);
  (void)snprintf(found->pairs_name, sizeof(found->pairs_name), "%s", name);
  if (r != -ENOENT)
    return r;
  return spec_problems_add(
      problems, "/holdout/pairs/name", "unknown_value", NULL,
      "the data set %.100s has no pairs list %.100s: upload it with PUT /v1/datasets/%.100s/pairs/%.100s",
      dataset, name, dataset, name);
}

static int check_size(const struct dataset_row *dataset, const char *pointer, uint32_t input,
                      struct spec_problems *problems) {
  if (!dataset->id[0] || input <= dataset->size)
    return 0;
  return spec_problems_add(
      problems, pointer, "out_of_range", json_pack("{s:i}", "maximum", (int)dataset->size),
      "input is %u pixels but the data set %.100s holds images of %u: upload it with a larger size, or "
      "choose a smaller input",
      input, dataset->name, dataset->size);
}

static int check_references(struct service *service, const struct client *client, const json_t *body,
                            struct references *found, struct spec_problems *problems) {
  const json_t *pairs = json_object_get(json_object_get(body, "holdout"), "pairs");
  const json_t *threads = json_object_get(json_object_get(body, "resources"), "threads");
  const char *dataset = text_at(body, "dataset");
  uint64_t cores = service->config.cores;
  int r = dataset && *dataset ? check_dataset(service, client, "/dataset", dataset, &found->dataset, problems)
                              : 0;
  if (r == 0 && pairs)
    r = check_pairs(service, client, pairs, found, problems);
  if (r == 0 && json_integer_value(threads) > (json_int_t)cores && json_integer_value(threads) <= 256)
    r = spec_problems_add(problems, "/resources/threads", "out_of_range",
                          json_pack("{s:i, s:I}", "minimum", 1, "maximum", (json_int_t)cores),
                          "threads must be 1 to %llu, the cores that the daemon has",
                          (unsigned long long)cores);
  return r;
}

static int fill_row(const struct job_spec *spec, const struct client *client, const struct references *found,
                    struct job_row *row) {
  json_t *resolved = job_spec_json(spec);
  row->state = JOB_STATE_QUEUED;
  row->attempt = 1;
  row->threads = spec->resources.threads;
  row->max_runtime_s = spec->resources.max_runtime_s;
  row->priority = spec->priority;
  row->created_at = time_now_ms();
  row->progress.eta_s = -1;
  (void)snprintf(row->type, sizeof(row->type), "%s", job_type_name(spec->type));
  (void)snprintf(row->owner, sizeof(row->owner), "%s", client->owner);
  memcpy(row->dataset_id, found->dataset.id, sizeof(row->dataset_id));
  memcpy(row->pairs_dataset_id, found->pairs_dataset.id, sizeof(row->pairs_dataset_id));
  memcpy(row->pairs_name, found->pairs_name, sizeof(row->pairs_name));
  row->spec = resolved ? json_print(resolved, JSON_COMPACT) : NULL;
  json_decref(resolved);
  return row->spec ? 0 : -ENOMEM;
}

static int insert(struct service *service, const struct job_spec *spec,
                  const struct store_idempotency *idempotency, struct job_row *row, bool *ret_replayed,
                  struct guise_error *err) {
  char id[STORE_ID];
  int64_t seq = 0;
  id_make("job_", row->id);
  int r = store_job_insert(service->store, row, spec->labels, idempotency, id, ret_replayed, &seq);
  if (r == -EKEYREJECTED)
    return error_set(err, r, "this Idempotency-Key was used with another body: send a new key");
  if (r == -EUSERS)
    return error_set(err, r,
                     "%s has as many jobs that have not ended as the option owner_jobs allows: cancel one or "
                     "wait for its end",
                     row->owner);
  if (r == -ENOENT)
    return error_set(err, r, "a data set or model of the job was deleted meanwhile");
  if (r < 0)
    return error_set(err, r, "the job could not be recorded: %s", strerror(-r));
  job_row_clear(row);
  r = service_job_get(service, id, row);
  if (r == 0 && !*ret_replayed) {
    log_info("%s: accepted", id);
    bus_emit(service, id, seq);
    scheduler_kick(service);
  }
  return r;
}

/* A request that is sent again is answered before its references are checked: the data set may have gone
 * meanwhile. */
static int replayed_before(struct service *service, const struct store_idempotency *idempotency,
                           struct job_row *ret_job, bool *ret_replayed, struct guise_error *err) {
  char id[STORE_ID];
  int r = store_job_replay(service->store, idempotency, id);
  if (r == -EKEYREJECTED)
    return error_set(err, r, "this Idempotency-Key was used with another body: send a new key");
  if (r == 0)
    r = service_job_get(service, id, ret_job);
  if (r == 0)
    *ret_replayed = true;
  return r;
}

/* Everything that is wrong with a body is told at once; fills the row. */
static int check_submission(struct service *service, const struct client *client, const json_t *body,
                            struct job_row *row, struct job_spec *ret_spec, struct spec_problems *problems,
                            struct guise_error *err) {
  struct references found = {.pairs_name = ""};
  json_t *resolved = NULL; /* as far as references are concerned */
  const char *type = text_at(body, "type");
  const bool audit = type && strcmp(type, job_type_name(JOB_AUDIT)) == 0;
  uint32_t before = problems->count;
  bool unseen = false;
  json_t *imposed = NULL; /* the body with what templates leave no choice of */
  int r = audit ? 0 : templates_impose(service, client, body, &imposed, problems);
  if (r < 0)
    return r;
  if (imposed)
    body = imposed;
  r = audit_has_unseen(service, client, body, &unseen);
  int parsed = r < 0 ? r : job_spec_parse_unseen(body, unseen, ret_spec, problems);
  r = parsed < 0 && parsed != -EINVAL ? parsed
                                      : audit_resolve(service, client, body, row, &resolved, problems);
  if (r == 0)
    r = check_references(service, client, resolved, &found, problems);
  if (r == 0)
    r = check_size(&found.dataset, audit ? "/dataset" : "/model/input", inputs_wanted_size(resolved),
                   problems);
  if (r == 0 && audit && found.dataset.kind == DATASET_TEMPLATES)
    r = templates_no_pictures("/dataset", &found.dataset, problems);
  if (r == 0 && audit)
    r = audit_check_victims(service, body, &found.dataset, problems);
  if (r == 0)
    r = inputs_check(service, client, resolved, row, problems);
  if (r == 0 && problems->count > before)
    r = error_set(err, -EINVAL, "the job has %u mistakes", problems->count - before);
  if (r == 0 && !*ret_spec->dataset) /* an audit of the model's own people */
    (void)snprintf(ret_spec->dataset, sizeof(ret_spec->dataset), "%s", found.dataset.name);
  if (r == 0)
    r = fill_row(ret_spec, client, &found, row);
  if (r < 0 && parsed == 0)
    job_spec_free(ret_spec);
  json_decref(resolved);
  json_decref(imposed);
  return r;
}

int service_job_submit(struct service *service, const struct client *client, const json_t *body, bool dry_run,
                       const struct store_idempotency *idempotency, struct spec_problems *problems,
                       struct job_row *ret_job, bool *ret_replayed, struct guise_error *err) {
  struct job_row row = {.spec = NULL};
  struct job_spec spec;
  bool replayed = false;
  if (atomic_load(&service->draining))
    return error_set(err, -ESHUTDOWN, "the daemon is stopping: send the job again in a moment");
  int r =
      idempotency && !dry_run ? replayed_before(service, idempotency, ret_job, ret_replayed, err) : -ENOENT;
  if (r != -ENOENT)
    return r;
  r = check_submission(service, client, body, &row, &spec, problems, err);
  if (r == 0) {
    r = dry_run ? 0 : insert(service, &spec, idempotency, &row, &replayed, err);
    job_spec_free(&spec);
  }
  if (r < 0) {
    job_row_clear(&row);
    return r == -EINVAL ? r : error_set(err, r, "%s", err && err->code == r ? err->text : strerror(-r));
  }
  *ret_job = row;
  *ret_replayed = replayed;
  return 0;
}

/* ---- reading ---- */

int service_job_get(struct service *service, const char *id, struct job_row *ret_row) {
  int r = store_job_get(service->store, id, ret_row);
  if (r == 0)
    scheduler_overlay(service, ret_row);
  return r;
}

void service_job_overlay(struct service *service, struct job_row *row) {
  scheduler_overlay(service, row);
}

/* Why it does not run; what is asked first is what keeps it longest. */
static void tell_reason(struct service *service, const struct job_row *row, const struct store_queue *queue,
                        struct job_queue *ret_queue) {
  const uint32_t threads = scheduler_threads(service, row);
  char *detail = ret_queue->detail, at[TIME_TEXT];
  const size_t size = sizeof(ret_queue->detail);
  const int fault = service_storage(service);
  uint32_t workers_free, threads_free;
  bool ending;
  scheduler_room(service, row->id, &workers_free, &threads_free, &ending);
  if (atomic_load(&service->draining)) {
    ret_queue->reason = "stopping";
    (void)snprintf(detail, size, "the daemon is about to stop; it is claimed after the next start");
  } else if (fault < 0) {
    ret_queue->reason = "storage";
    (void)snprintf(detail, size, "%s", storage_reason(fault));
  } else if (queue->ingesting) {
    ret_queue->reason = "data_set";
    (void)snprintf(detail, size, "a data set that it needs is still being read in");
  } else if (queue->retry_at && strcmp(row->phase, STORE_PHASE_WAITS) == 0) {
    time_text(queue->retry_at, at);
    ret_queue->reason = "storage";
    (void)snprintf(detail, size,
                   "waiting for disk space: it needs more than there was; it is tried again at %s", at);
  } else if (queue->retry_at) {
    time_text(queue->retry_at, at);
    ret_queue->reason = "retry";
    (void)snprintf(detail, size, "it failed for want of memory or disk and is tried again at %s", at);
  } else if (queue->ahead > 0) {
    ret_queue->reason = "jobs_ahead";
    (void)snprintf(detail, size, "%u job%s of the same or a higher priority %s first", queue->ahead,
                   queue->ahead == 1 ? "" : "s", queue->ahead == 1 ? "comes" : "come");
  } else if (workers_free == 0 && service->config.workers < service->config.cores) {
    ret_queue->reason = "workers";
    (void)snprintf(detail, size, "as many jobs run as the option workers allows");
  } else if (threads > threads_free) {
    ret_queue->reason = "threads";
    (void)snprintf(detail, size, "it takes %u thread%s and %u of %llu cores are free", threads,
                   threads == 1 ? "" : "s", threads_free, (unsigned long long)service->config.cores);
  } else {
    ret_queue->reason = ending ? "ending" : "starting";
    (void)snprintf(detail, size, ending ? "its last run is ending" : "it is about to start");
  }
}

int service_job_queue(struct service *service, const struct job_row *row, struct job_queue *ret_queue) {
  struct store_queue queue;
  const uint32_t threads = scheduler_threads(service, row);
  const uint64_t at_once = MIN(service->config.workers, service->config.cores / threads); /* of such jobs */
  const double wait = scheduler_wait_s(service, threads);
  int r = store_job_queue(service->store, row->id, &queue);
  if (r < 0)
    return r;
  const bool unknown = queue.ingesting || wait < 0 || service_storage(service) < 0 ||
                       (queue.ahead > 0 && queue.mean_runtime_s < 0);
  ret_queue->ahead = queue.ahead;
  ret_queue->eta_s = unknown ? -1 : wait + queue.ahead * MAX(queue.mean_runtime_s, 0) / (double)at_once;
  if (ret_queue->eta_s >= 0 && queue.retry_at)
    ret_queue->eta_s = MAX(ret_queue->eta_s, (double)(queue.retry_at - time_now_ms()) / 1000);
  tell_reason(service, row, &queue, ret_queue);
  return 0;
}

/* ---- controlling ---- */

/* One row for each thing that can be asked; a state in no set is refused. */
struct request {
  const char *verb;
  uint32_t already; /* nothing to do */
  uint32_t at_once; /* moves to at_once_to */
  enum job_state at_once_to;
  uint32_t running; /* moves to running_to, then the job's thread is told */
  enum job_state running_to;
  enum slot_request slot;
};

static const struct request cancel_request = {
    "cancel",           BIT(CANCELING) | BIT(CANCELED), BIT(QUEUED) | BIT(PAUSED),
    JOB_STATE_CANCELED, BIT(RUNNING) | BIT(PAUSING),    JOB_STATE_CANCELING,
    SLOT_CANCEL};
static const struct request pause_request = {
    "pause",      BIT(PAUSING) | BIT(PAUSED), BIT(QUEUED), JOB_STATE_PAUSED,
    BIT(RUNNING), JOB_STATE_PAUSING,          SLOT_PAUSE};
static const struct request resume_request = {
    "resume",     BIT(QUEUED) | BIT(RUNNING), BIT(PAUSED), JOB_STATE_QUEUED,
    BIT(PAUSING), JOB_STATE_RUNNING,          SLOT_RESUME};

/* The state and what the job's thread is told must not come apart when two clients ask at once: with
 * control_lock held. */
static int move_and_tell(struct service *service, const char *id, const struct request *request,
                         enum job_state *ret_state, int64_t *ret_seq) {
  char reason[32];
  (void)snprintf(reason, sizeof(reason), "%s requested", request->verb);
  const struct job_move moves[] = {{request->at_once, request->at_once_to, reason, NULL},
                                   {request->running, request->running_to, reason, NULL}};
  int r = store_job_move_first(service->store, id, moves, ARRAY_SIZE(moves), ret_state, ret_seq);
  if (r == -EBUSY && (request->already & (1u << *ret_state)))
    return 0;
  if (r == 0 && (request->running & (1u << *ret_state)))
    scheduler_request(service, id, request->slot);
  return r;
}

static int control(struct service *service, const char *id, const struct request *request,
                   struct job_row *ret_row, struct guise_error *err) {
  enum job_state state = JOB_STATE_QUEUED;
  int64_t seq = 0;
  (void)pthread_mutex_lock(&service->control_lock);
  int r = move_and_tell(service, id, request, &state, &seq);
  (void)pthread_mutex_unlock(&service->control_lock);
  if (r == -EBUSY)
    return error_set(err, r, "a job that is %s cannot be %s%s", job_state_name(state), request->verb,
                     request->slot == SLOT_CANCEL ? "ed" : "d");
  if (r == -ENOENT)
    return error_set(err, r, "there is no job %s", id);
  if (r < 0)
    return error_set(err, r, "the job's state could not be changed: %s", strerror(-r));
  if (seq) {
    log_info("%s: %s requested", id, request->verb);
    bus_emit(service, id, seq);
    scheduler_kick(service);
  }
  return ret_row ? service_job_get(service, id, ret_row) : 0;
}

/* What a paused or queued job left: its checkpoints go with it. */
static void drop_work(struct service *service, const char *id) {
  char path[PATH_MAX];
  struct job_row row;
  int r = store_job_get(service->store, id, &row);
  const bool canceled = r == -ENOENT || (r == 0 && row.state == JOB_STATE_CANCELED); /* ENOENT: and erased */
  if (canceled && state_path(path, service, "work/%s", id) == 0)
    (void)directory_remove(path);
  if (r == 0)
    job_row_clear(&row);
}

int service_job_cancel(struct service *service, const char *id, struct job_row *ret_row,
                       struct guise_error *err) {
  int r = control(service, id, &cancel_request, ret_row, err);
  if (r == 0)
    drop_work(service, id);
  return r;
}

/* One page of the jobs that the filter finds; *last is the row that the next page starts behind, 0 = there
 * is none. */
static int cancel_page(struct service *service, const struct job_filter *filter, const char *owner,
                       int64_t *last, void (*canceled)(void *context, const struct job_row *row),
                       void *context) {
  const struct store_page page = {.cursor = *last, .limit = 100, .owner = owner};
  struct job_row *rows = NULL;
  uint32_t count = 0;
  int r = store_job_list(service->store, filter, &page, &rows, &count, last);
  for (uint32_t i = 0; i < count && r == 0; i++) {
    struct job_row row;
    r = service_job_cancel(service, rows[i].id, &row, NULL);
    if (r == 0) {
      canceled(context, &row);
      job_row_clear(&row);
    } else if (r == -EBUSY || r == -ENOENT) { /* it ended, or was erased, this instant */
      r = 0;
    }
  }
  job_rows_free(rows, count);
  return r;
}

int service_jobs_cancel(struct service *service, const struct client *client, const struct job_filter *filter,
                        void (*canceled)(void *context, const struct job_row *row), void *context,
                        struct guise_error *err) {
  const uint32_t open =
      BIT(QUEUED) | BIT(RUNNING) | BIT(PAUSING) | BIT(PAUSED); /* those canceling already are left alone */
  struct job_filter wanted = *filter;
  int64_t last = 0;
  int r = 0;
  wanted.states = filter->states ? filter->states & open : open;
  if (!wanted.states)
    return 0;
  do
    r = cancel_page(service, &wanted, client->sees, &last, canceled, context);
  while (r == 0 && last != 0);
  return r < 0 ? error_set(err, r, "not all jobs could be canceled: %s; ask again", strerror(-r)) : 0;
}

int service_job_pause(struct service *service, const char *id, struct job_row *ret_row,
                      struct guise_error *err) {
  return control(service, id, &pause_request, ret_row, err);
}

int service_job_resume(struct service *service, const char *id, struct job_row *ret_row,
                       struct guise_error *err) {
  return control(service, id, &resume_request, ret_row, err);
}
