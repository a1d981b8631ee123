/* A job's log, as pages of JSON or whole as text, for some time after its end. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"

static void refuse(struct request *request, int r) {
  if (r == -ENODATA)
    reply_problem(
        request, PROBLEM_GONE,
        "the log is kept for the option log_keep_days after a job's end; its metrics and its history "
        "are still there");
  else
    reply_job_error(request, r);
}

static json_t *line_json(const struct event_row *row) {
  json_t *data = json_loads(row->data, 0, NULL); /* {"level","text"} */
  json_t *line = json_pack("{s:I, s:o}", "seq", (json_int_t)row->seq, "at", json_time(row->at));
  if (line && json_object_update(line, data) < 0) {
    json_decref(line);
    line = NULL;
  }
  json_decref(data);
  return line;
}

/* "2026-01-31T12:00:00.000Z info preparing" */
static int print_line(FILE *out, const struct event_row *row) {
  char at[TIME_TEXT];
  json_t *data = json_loads(row->data, 0, NULL);
  const char *level = json_string_value(json_object_get(data, "level"));
  const char *text = json_string_value(json_object_get(data, "text"));
  time_text(row->at, at);
  int r = level && text && fprintf(out, "%s %s %s\n", at, level, text) > 0 ? 0 : -ENOMEM;
  json_decref(data);
  return r;
}

static void reply_lines(struct request *request) {
  const int64_t ended_before = service_logs_end(request->service);
  struct store_page page = {.limit = 1000};
  char *text = NULL;
  size_t bytes = 0;
  FILE *out = open_memstream(&text, &bytes);
  int r = out ? 0 : -ENOMEM;
  do {
    struct event_row *rows = NULL;
    uint32_t count = 0;
    if (r == 0)
      r = store_log_list(service_store(request->service), request->parameter[0], ended_before, &page, &rows,
                         &count, &page.cursor);
    for (uint32_t i = 0; i < count && r == 0; i++)
      r = print_line(out, &rows[i]);
    event_rows_free(rows, count);
  } while (r == 0 && page.cursor != 0);
  if (out && fclose(out) != 0 && r == 0)
    r = -ENOMEM;
  if (r == 0) {
    reply_text_take(request, MHD_HTTP_OK, "text/plain; charset=utf-8", text, bytes);
    return;
  }
  free(text);
  refuse(request, r);
}

static void reply_rows(struct request *request, const struct store_page *page) {
  struct event_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  int r = store_log_list(service_store(request->service), request->parameter[0],
                         service_logs_end(request->service), page, &rows, &count, &next);
  if (r < 0) {
    refuse(request, r);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, line_json(&rows[i]));
  event_rows_free(rows, count);
  reply_page(request, "log", data, next);
}

void get_log(struct request *request) {
  const char *format = target_query(&request->target, "format", 0);
  const bool lines = format && strcmp(format, "text") == 0;
  struct store_page page;
  struct spec_problems problems = {0};
  page_parse(&request->target, "log", &page, &problems);
  if (format && !lines && strcmp(format, "json") != 0)
    (void)spec_problems_add(&problems, "?format", "unknown_value", json_pack("[s,s]", "json", "text"),
                            "format is json or text");
  if (spec_problems_any(&problems))
    reply_problems(request, &problems);
  else if (lines)
    reply_lines(request);
  else
    reply_rows(request, &page);
}
