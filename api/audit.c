/* The audit trail: who did what, with which result. Recorded are requests that change something, that use a
 * model or fetch its files, and those of a known principal that lack the scope or reach for another owner's
 * object. Only ids are kept: names of data sets are people's choice, and what is erased must not stay here.
 *
 * Erasures, and what makes or revokes a token, are recorded in the transaction that carries them out; an
 * erasure's receipt is added to that record before the answer. What else a pool thread carried out is
 * recorded before it is answered. Where the record would keep a thread that must not wait, it is handed to
 * the pool; when that has too much to do, the timer tries again. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "daemon/log.h"

#define RECORDS_WAITING 10000u /* at most; further ones go to the log */

struct audit_record {
  struct audit_record *next;
  struct audit_row row; /* seq: it is in the trail, but for its receipt; 0 = it is not */
};

static void tell(const struct audit_row *row, const char *why) {
  log_error("audit: %s %s %s (%u) could not be recorded: %s", row->actor, row->action, row->object,
            row->status, why);
}

static void write_row(struct service *service, struct audit_row *row) {
  struct config config;
  service_config_now(service, &config);
  int r = (row->seq ? store_audit_complete : store_audit_add)(
      service_store(service), row, (int64_t)config.audit_keep_days * 24 * 3600 * 1000);
  if (r < 0)
    tell(row, strerror(-r));
  free(row->receipt);
}

/* ---- records that wait for a thread ---- */

static struct audit_record *take(struct http *http) {
  (void)pthread_mutex_lock(&http->trail.lock);
  struct audit_record *record = http->trail.first;
  if (record) {
    http->trail.first = record->next;
    http->trail.waiting--;
  } else {
    http->trail.written = false;
  }
  (void)pthread_mutex_unlock(&http->trail.lock);
  return record;
}

void audit_write(struct http *http) {
  struct audit_record *record;
  while ((record = take(http))) {
    write_row(http->service, &record->row);
    free(record);
  }
}

static void write_later(void *context) {
  struct http *http = context;
  audit_write(http);
  http_unref(http);
}

void audit_hand_on(struct http *http) {
  (void)pthread_mutex_lock(&http->trail.lock);
  const bool mine = http->trail.first && !http->trail.written;
  http->trail.written |= mine;
  (void)pthread_mutex_unlock(&http->trail.lock);
  if (!mine)
    return;
  atomic_fetch_add(&http->references, 1);
  int r = service_run(http->service, write_later, http);
  if (r == -ESHUTDOWN) /* nobody is served any more */
    audit_write(http);
  if (r == 0)
    return;
  (void)pthread_mutex_lock(&http->trail.lock);
  http->trail.written = false;
  (void)pthread_mutex_unlock(&http->trail.lock);
  http_unref(http);
}

/* False: too many wait. */
static bool wait_for_thread(struct http *http, struct audit_record *record) {
  (void)pthread_mutex_lock(&http->trail.lock);
  const bool room = http->trail.waiting < RECORDS_WAITING;
  struct audit_record **end = &http->trail.first;
  if (room) {
    if (http->trail.first)
      end = &http->trail.last->next;
    *end = http->trail.last = record;
    http->trail.waiting++;
  }
  (void)pthread_mutex_unlock(&http->trail.lock);
  if (room)
    audit_hand_on(http);
  return room;
}

/* ---- requests ---- */

/* An id, or nothing: a path may hold anything. */
static void name_object(const struct request *request, char ret_object[STORE_ID]) {
  const char *text = *request->object ? request->object : request->parameter[0];
  ret_object[0] = 0;
  if (text && id_valid(text))
    (void)snprintf(ret_object, STORE_ID, "%s", text);
}

bool route_is_audited(const struct route *route) {
  return route->method != ROUTE_GET || route->handle == get_model_file;
}

static void name_act(const struct request *request, struct audit_row *row) {
  row->at = time_now_ms();
  (void)snprintf(row->actor, sizeof(row->actor), "%s", request->principal.id);
  (void)snprintf(row->action, sizeof(row->action), "%s", request->route->operation);
}

void audit_expect(struct request *request) {
  static const struct {
    void (*handle)(struct request *request);
    uint32_t status; /* of the answer, once it is carried out */
  } acts[] = {{delete_dataset, 200}, {delete_identity, 200}, {delete_image, 200}, {delete_model, 200},
              {delete_job, 200},     {post_token, 201},      {delete_token, 204}};
  for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
    if (acts[i].handle == request->route->handle) {
      name_act(request, &request->act);
      request->act.status = acts[i].status;
      store_audit_expect(&request->act);
    }
}

void audit(struct request *request, bool may_wait) {
  struct audit_row row = request->act;
  store_audit_expect(NULL);
  if (!request->response && !row.seq)
    return; /* nothing is answered */
  if (!row.seq) {
    name_act(request, &row);
    row.status = request->status;
    name_object(request, row.object);
    memcpy(row.file, request->file, sizeof(row.file));
  }
  row.receipt = request->receipt ? json_print(request->receipt, JSON_COMPACT) : NULL;
  struct audit_record *record = may_wait ? NULL : malloc(sizeof(*record));
  if (!record) { /* without memory: rather late than never */
    write_row(request->service, &row);
    return;
  }
  *record = (struct audit_record){.row = row};
  if (wait_for_thread(request->http, record))
    return;
  tell(&row, "too many wait");
  free(row.receipt);
  free(record);
}

static json_t *row_json(const struct audit_row *row) {
  return json_pack("{s:o,s:s,s:s,s:o,s:o,s:I,s:o}", "at", json_time(row->at), "actor", row->actor, "action",
                   row->action, "object", json_optional(row->object), "file", json_optional(row->file),
                   "status", (json_int_t)row->status, "receipt", json_from_text(row->receipt));
}

void list_audit(struct request *request) {
  const char *actor = target_query(&request->target, "actor", 0),
             *object = target_query(&request->target, "object", 0);
  struct store_page page;
  struct spec_problems problems = {0};
  struct audit_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  page_parse(&request->target, "audit", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = store_audit_list(service_store(request->service), actor, object, &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, row_json(&rows[i]));
  audit_rows_free(rows, count);
  reply_page(request, "audit", data, next);
}
