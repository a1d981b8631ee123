/* Jobs: submit, list, show, cancel, pause, resume. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "core/train/level.h"

static json_t *progress_json(const struct job_row *row) {
  const struct job_progress *p = &row->progress;
  return json_pack("{s:f,s:I,s:I,s:I,s:I,s:o,s:f}", "fraction", p->fraction, "epoch", (json_int_t)p->epoch,
                   "epochs", (json_int_t)p->epochs, "step", (json_int_t)p->step, "total",
                   (json_int_t)p->total, "eta_s", p->eta_s < 0 ? json_null() : json_real(p->eta_s),
                   "images_per_s", p->images_per_s);
}

static json_t *queue_json(struct request *request, const struct job_row *row) {
  struct job_queue queue;
  if (row->state != JOB_STATE_QUEUED || !*row->id)
    return json_null();
  int r = service_job_queue(request->service, row, &queue);
  if (r < 0)
    return r == -ENOENT ? json_null() : NULL;
  return json_pack("{s:I,s:o,s:s,s:s}", "ahead", (json_int_t)queue.ahead, "eta_s",
                   queue.eta_s < 0 ? json_null() : json_real(queue.eta_s), "reason", queue.reason, "detail",
                   queue.detail);
}

static json_t *transitions_json(struct request *request, const char *id) {
  _cleanup_(freep) struct transition_row *rows = NULL;
  uint32_t count = 0;
  json_t *array = json_array();
  if (store_job_transitions(service_store(request->service), id, &rows, &count) < 0) {
    json_decref(array);
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++)
    array = json_append(array, json_pack("{s:s,s:o,s:s}", "state", job_state_name(rows[i].state), "at",
                                         json_time(rows[i].at), "reason", rows[i].reason));
  return array;
}

static json_t *latest_json(struct request *request, const char *id) {
  _cleanup_(freep) struct metric_value *rows = NULL;
  uint32_t count = 0;
  json_t *object = json_object();
  if (store_metric_latest(service_store(request->service), id, &rows, &count) < 0) {
    json_decref(object);
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++)
    object = json_put(object, rows[i].name, json_finite(rows[i].value));
  return object;
}

/* Rows that older versions wrote have the type that RFC 9457 gives to those without one. */
static json_t *error_json(const char *text) {
  json_t *error = json_from_text(text);
  const char *type = json_string_value(json_object_get(error, "type")),
             *code = json_string_value(json_object_get(error, "code"));
  if (type && code && strcmp(type, "about:blank") == 0)
    error = json_put(error, "type", json_sprintf("%s%s", JOB_PROBLEM_TYPE, code));
  return error;
}

json_t *job_json(struct request *request, const struct job_row *row) {
  json_t *spec = json_from_text(row->spec);
  json_t *labels = json_incref(json_object_get(spec, "labels"));
  return json_pack("{s:o,s:s,s:s,s:b,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id",
                   json_optional(row->id), "type", row->type, "state", job_state_name(row->state), "terminal",
                   (int)job_state_terminal(row->state), "phase", json_optional(row->phase), "attempt",
                   (json_int_t)row->attempt, "progress", progress_json(row), "queue",
                   queue_json(request, row), "metrics", latest_json(request, row->id), "model",
                   json_optional(row->model_id), "error", error_json(row->error), "transitions",
                   transitions_json(request, row->id), "spec", spec, "mask_level", mask_level_json(spec),
                   "labels", labels ? labels : json_object(), "created_at", json_time(row->created_at),
                   "started_at", json_time(row->started_at), "finished_at", json_time(row->finished_at),
                   "owner", json_optional(row->owner));
}

/* Owners' keys are apart: one that another owner used is not found. The hash keeps long ones apart, too. */
static void idempotency_key(const struct request *request, const struct client *client, char ret_key[256]) {
  char text[sizeof(request->idempotency_key) + STORE_NAME + 2], hash[SHA256_HEX];
  int length = snprintf(text, sizeof(text), "%s\n%s", client->owner, request->idempotency_key);
  if (!*client->owner) { /* as it was before there were owners */
    (void)snprintf(ret_key, 256, "%s", request->idempotency_key);
    return;
  }
  sha256_data(text, (size_t)length, hash);
  (void)snprintf(ret_key, 256, "owner:%s", hash);
}

void post_job(struct request *request) {
  struct spec_problems problems = {0};
  struct job_row row;
  struct guise_error err = {0};
  struct store_idempotency idempotency;
  bool replayed = false, keyed = *request->idempotency_key != 0;
  const bool dry_run = query_flag(&request->target, "dry_run");
  const struct client client = auth_client(request);
  if (keyed) {
    idempotency_key(request, &client, idempotency.key);
    sha256_data(request->body, request->body_size, idempotency.body_sha256);
  }
  int r = service_job_submit(request->service, &client, request->json, dry_run,
                             keyed && !dry_run ? &idempotency : NULL, &problems, &row, &replayed, &err);
  if (r == -EINVAL && problems.count > 0) {
    reply_problems(request, &problems);
    return;
  }
  spec_problems_free(&problems); /* of a lack of memory in between */
  if (r < 0) {
    reply_error(request, r, &err);
    return;
  }
  memcpy(request->object, row.id, sizeof(request->object));
  reply_json(request, dry_run ? MHD_HTTP_OK : MHD_HTTP_CREATED, job_json(request, &row));
  if (!dry_run)
    reply_header(request, "Location", "/v1/jobs/%s", row.id);
  job_row_clear(&row);
}

static void tell_state(struct spec_problems *problems, const char *text) {
  json_t *names = json_array();
  for (uint32_t i = 0; i < JOB_STATE_COUNT; i++)
    names = json_append(names, json_string(job_state_name((enum job_state)i)));
  (void)spec_problems_add(problems, "?state", "unknown_value", names, "the state \"%.60s\" is not known",
                          text);
}

/* Filters of a list; mistakes are added to problems. `label`: storage for the label's key. */
static void parse_filter(struct request *request, struct job_filter *filter, char label[300],
                         struct spec_problems *problems) {
  const char *text;
  memset(filter, 0, sizeof(*filter));
  for (uint32_t i = 0; (text = target_query(&request->target, "state", i)); i++) {
    enum job_state state;
    if (job_state_from_name(text, &state) < 0)
      tell_state(problems, text);
    else
      filter->states |= 1u << state;
  }
  if ((text = target_query(&request->target, "label", 0))) {
    char *colon;
    (void)snprintf(label, 300, "%s", text);
    filter->label_key = label;
    if ((colon = strchr(label, ':'))) {
      *colon = 0;
      filter->label_value = colon + 1;
    }
  }
  if ((text = target_query(&request->target, "created_after", 0)) &&
      time_parse(text, &filter->created_after) < 0)
    (void)spec_problems_add(problems, "?created_after", "out_of_range", NULL,
                            "created_after is a time such as 2026-01-31T12:00:00Z");
}

static void parse_sort(struct request *request, struct store_page *page, struct spec_problems *problems) {
  const char *sort = target_query(&request->target, "sort", 0);
  page->descending = true; /* newest first */
  if (!sort || strcmp(sort, "-created_at") == 0)
    return;
  if (strcmp(sort, "created_at") == 0)
    page->descending = false;
  else
    (void)spec_problems_add(problems, "?sort", "unknown_value",
                            json_pack("[s,s]", "created_at", "-created_at"),
                            "jobs are sorted by created_at or -created_at");
}

void list_jobs(struct request *request) {
  struct store_page page;
  struct job_filter filter;
  struct spec_problems problems = {0};
  struct job_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  char label[300];
  page_parse(&request->target, "jobs", &page, &problems);
  parse_filter(request, &filter, label, &problems);
  parse_sort(request, &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  page.owner = auth_client(request).sees;
  int r = store_job_list(service_store(request->service), &filter, &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++) {
    service_job_overlay(request->service, &rows[i]);
    data = json_append(data, job_json(request, &rows[i]));
  }
  job_rows_free(rows, count);
  reply_page(request, "jobs", data, next);
}

/* ---- one job ---- */

void reply_job_error(struct request *request, int r) {
  if (r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND, "there is no job %s; GET /v1/jobs lists those there are",
                  request->parameter[0]);
  else
    reply_error(request, r, NULL);
}

#define WAIT_S_MAX 60u
#define KEPT_SPEC_BYTES (16u << 10) /* answers about jobs with a longer specification are not kept */

/* ?wait=30 or 30s, and ?state=, the state that the client knows; *ret_seconds 0: it does not want to wait. */
static void parse_wait(struct request *request, uint32_t *ret_seconds, enum job_state *state,
                       struct spec_problems *problems) {
  const char *text = target_query(&request->target, "wait", 0),
             *known = target_query(&request->target, "state", 0);
  char *end = NULL;
  const unsigned long seconds = text && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
  *ret_seconds = (uint32_t)MIN(seconds, WAIT_S_MAX + 1ul);
  if (text && (*ret_seconds < 1 || *ret_seconds > WAIT_S_MAX || (*end && strcmp(end, "s") != 0)))
    (void)spec_problems_add(problems, "?wait", "out_of_range",
                            json_pack("{s:i, s:i}", "minimum", 1, "maximum", (int)WAIT_S_MAX),
                            "wait is 1 to %u seconds, such as 30 or 30s", WAIT_S_MAX);
  if (known && job_state_from_name(known, state) < 0)
    tell_state(problems, known);
  else if (known && !text)
    (void)spec_problems_add(problems, "?state", "conflict", NULL,
                            "state says from when to wait: give wait, too");
}

/* Whether the request is to wait on: the job is still in the state that it was in at the request's first
 * look, or that the client knows. */
static bool waits_on(struct request *request, const struct job_row *row, uint32_t seconds,
                     enum job_state known) {
  if (request->wait_ns == 0) {
    request->waited_state = target_query(&request->target, "state", 0) ? known : row->state;
    request->wait_ns = clock_ns() + (int64_t)seconds * 1000000000;
  }
  return row->state == request->waited_state && !job_state_terminal(row->state) &&
         clock_ns() < request->wait_ns && !request->http->draining;
}

void get_job(struct request *request) {
  struct spec_problems problems = {0};
  struct job_row row;
  enum job_state known = JOB_STATE_QUEUED;
  uint32_t seconds = 0;
  parse_wait(request, &seconds, &known, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  const uint64_t version = store_version(service_store(request->service));
  if (seconds == 0 && answers_give(request, request->parameter[0]))
    return;
  if (seconds > 0 && !request->waiter.listed)
    waiter_add(request->http, &request->waiter, request->connection, request->parameter[0]);
  if (seconds > 0) /* before looking */
    waiter_arm(request->http, &request->waiter);
  int r = service_job_get(request->service, request->parameter[0], &row);
  if (r < 0) {
    reply_job_error(request, r);
    return;
  }
  if (seconds > 0 && waits_on(request, &row, seconds, known)) {
    request->waits = true;
    job_row_clear(&row);
    return;
  }
  reply_json(request, MHD_HTTP_OK, job_json(request, &row));
  /* others change without a write: progress, time, what is free */
  if (job_state_terminal(row.state) && strlen(row.spec) < KEPT_SPEC_BYTES)
    answers_keep(request, row.id, version);
  job_row_clear(&row);
}

static void control(struct request *request, int (*act)(struct service *service, const char *id,
                                                        struct job_row *ret_row, struct guise_error *err)) {
  struct job_row row;
  struct guise_error err = {0};
  int r = act(request->service, request->parameter[0], &row, &err);
  if (r == -ENOENT) {
    reply_job_error(request, r);
    return;
  }
  if (r < 0) {
    reply_error(request, r, &err);
    return;
  }
  reply_json(request, MHD_HTTP_OK, job_json(request, &row));
  job_row_clear(&row);
}

void delete_job(struct request *request) {
  struct guise_error err = {0};
  json_t *receipt = NULL;
  int r = service_job_delete(request->service, request->parameter[0], &receipt, &err);
  reply_receipt(request, r, receipt, &err);
}

void cancel_job(struct request *request) {
  control(request, service_job_cancel);
}
void pause_job(struct request *request) {
  control(request, service_job_pause);
}
void resume_job(struct request *request) {
  control(request, service_job_resume);
}

/* ---- many jobs ---- */

static void note_canceled(void *context, const struct job_row *row) {
  json_t **jobs = context;
  *jobs = json_append(*jobs, json_pack("{s:s, s:s}", "id", row->id, "state", job_state_name(row->state)));
}

void cancel_jobs(struct request *request) {
  const struct client client = auth_client(request);
  struct job_filter filter;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  char label[300];
  parse_filter(request, &filter, label, &problems);
  if (!filter.states && !filter.label_key && !filter.created_after && !spec_problems_any(&problems))
    (void)spec_problems_add(&problems, "?state", "missing", NULL,
                            "say which jobs: with state (repeatable), label or created_after");
  if (spec_problems_any(&problems)) { /* one that is lost would cancel more than was meant */
    reply_problems(request, &problems);
    return;
  }
  json_t *jobs = json_array();
  int r =
      jobs ? service_jobs_cancel(request->service, &client, &filter, note_canceled, &jobs, &err) : -ENOMEM;
  if (json_array_size(jobs) > 0) /* also when not all could be: who looks it up sees which */
    request->receipt = json_pack("{s:s, s:O}", "kind", "cancel", "jobs", jobs);
  if (r < 0) {
    json_decref(jobs);
    reply_error(request, r, &err);
    return;
  }
  reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "jobs", jobs));
}
