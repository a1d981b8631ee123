/* A job's metrics, as pages of JSON or as CSV. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"

struct question {
  const char *name;
  enum metric_resolution resolution;
  bool csv;
};

static void parse_question(struct request *request, struct question *q, struct spec_problems *problems) {
  const char *resolution = target_query(&request->target, "resolution", 0),
             *format = target_query(&request->target, "format", 0);
  q->name = target_query(&request->target, "name", 0);
  q->resolution = METRIC_ALL;
  if (resolution && strcmp(resolution, "epoch") == 0)
    q->resolution = METRIC_EPOCH;
  else if (resolution && strcmp(resolution, "step") == 0)
    q->resolution = METRIC_STEP;
  else if (resolution)
    (void)spec_problems_add(problems, "?resolution", "unknown_value", json_pack("[s,s]", "epoch", "step"),
                            "resolution is epoch or step");
  q->csv = format && strcmp(format, "csv") == 0;
  if (format && !q->csv && strcmp(format, "json") != 0)
    (void)spec_problems_add(problems, "?format", "unknown_value", json_pack("[s,s]", "json", "csv"),
                            "format is json or csv");
}

/* All rows: a stream of pages into one text. */
static void reply_csv(struct request *request, const struct question *q) {
  char *text = NULL;
  size_t bytes = 0;
  struct store_page page = {.limit = 1000};
  FILE *out = open_memstream(&text, &bytes);
  int r = out ? 0 : -ENOMEM;
  if (out)
    (void)fputs("step,epoch,name,value\r\n", out);
  do {
    _cleanup_(freep) struct metric_value *rows = NULL;
    uint32_t count = 0;
    if (r == 0)
      r = store_metric_list(service_store(request->service), request->parameter[0], q->name, q->resolution,
                            &page, &rows, &count, &page.cursor);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
      (void)fprintf(out, "%llu,%u,%s,", (unsigned long long)rows[i].step, rows[i].epoch, rows[i].name);
      if (isfinite(rows[i].value))
        (void)fprintf(out, "%.9g", rows[i].value);
      (void)fputs("\r\n", out);
    }
  } while (r == 0 && page.cursor != 0);
  if (out && fclose(out) != 0 && r == 0)
    r = -ENOMEM;
  if (r < 0) {
    free(text);
    reply_error(request, r, NULL);
    return;
  }
  reply_text_take(request, MHD_HTTP_OK, "text/csv; charset=utf-8", text, bytes);
}

void list_metrics(struct request *request) {
  struct question q;
  struct store_page page;
  struct spec_problems problems = {0};
  struct job_row job;
  _cleanup_(freep) struct metric_value *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  int r = store_job_get(service_store(request->service), request->parameter[0], &job);
  if (r < 0) {
    reply_job_error(request, r);
    return;
  }
  job_row_clear(&job);
  page_parse(&request->target, "metrics", &page, &problems);
  parse_question(request, &q, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  if (q.csv) {
    reply_csv(request, &q);
    return;
  }
  r = store_metric_list(service_store(request->service), request->parameter[0], q.name, q.resolution, &page,
                        &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, json_pack("{s:I,s:I,s:s,s:o}", "step", (json_int_t)rows[i].step, "epoch",
                                       (json_int_t)rows[i].epoch, "name", rows[i].name, "value",
                                       json_finite(rows[i].value)));
  reply_page(request, "metrics", data, next);
}
