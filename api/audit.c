/* The audit trail: who did what, with which result. Recorded are requests that change something, that use a
 * model or fetch its files, and those of a known principal that lack the scope or reach for another owner's
 * object. Only ids are kept: names of data sets are people's choice, and what is erased must not stay here.
 *
 * What a pool thread carried out is recorded before it is answered. Where the record would keep a thread that
 * must not wait, it is handed to the pool. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "daemon/log.h"

struct record {
  struct service *service;
  struct audit_row row;
};

static void write_record(struct record *record) {
  struct config config;
  service_config_now(record->service, &config);
  int r = store_audit_add(service_store(record->service), &record->row,
                          (int64_t)config.audit_keep_days * 24 * 3600 * 1000);
  if (r < 0)
    log_error("audit: %s %s %s (%u) could not be recorded: %s", record->row.actor, record->row.action,
              record->row.object, record->row.status, strerror(-r));
  free(record->row.receipt);
}

static void write_later(void *context) {
  struct record *record = context;
  write_record(record);
  free(record);
}

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

void audit(struct request *request, bool may_wait) {
  struct record record = {.service = request->service,
                          .row = {.at = time_now_ms(), .status = request->status}};
  if (!request->response)
    return; /* nothing is answered */
  (void)snprintf(record.row.actor, sizeof(record.row.actor), "%s", request->principal.id);
  (void)snprintf(record.row.action, sizeof(record.row.action), "%s", request->route->operation);
  name_object(request, record.row.object);
  record.row.receipt = request->receipt ? json_print(request->receipt, JSON_COMPACT) : NULL;
  struct record *copy = may_wait ? NULL : malloc(sizeof(*copy));
  if (copy)
    *copy = record;
  if (copy && service_run(request->service, write_later, copy) == 0)
    return;
  free(copy);
  write_record(&record); /* rather late than never */
}

static json_t *row_json(const struct audit_row *row) {
  return json_pack("{s:o,s:s,s:s,s:o,s:I,s:o}", "at", json_time(row->at), "actor", row->actor, "action",
                   row->action, "object", json_optional(row->object), "status", (json_int_t)row->status,
                   "receipt", json_from_text(row->receipt));
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
