/* Data sets: upload, state, rejects, pairs, erasure. */
#include <string.h>

#include "api/guard.h"
#include "api/page.h"
#include "api/range.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "core/template/templates.h"

static json_t *dataset_json(const struct dataset_row *row) {
  return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:o,s:I,s:o,s:o,s:o}", "id", row->id, "name", row->name,
                   "state", dataset_state_name(row->state), "kind", dataset_kind_name(row->kind),
                   "identities", (json_int_t)row->identities, "images", (json_int_t)row->images, "rejected",
                   (json_int_t)row->rejected, "bytes", (json_int_t)row->bytes, "sha256",
                   json_optional(row->upload_sha256), "size", (json_int_t)row->size, "created_at",
                   json_time(row->created_at), "error", json_optional(row->error), "owner",
                   json_optional(row->owner));
}

/* ?size= */
static bool parse_size(struct request *request, uint32_t *ret_size) {
  const char *text = target_query(&request->target, "size", 0);
  char *end = NULL;
  unsigned long size = text ? strtoul(text, &end, 10) : 0;
  if (text && (!*text || *end || size < 16 || size > 224 || size % 8 != 0)) {
    struct spec_problems problems = {0};
    (void)spec_problems_add(&problems, "?size", "out_of_range",
                            json_pack("{s:i,s:i,s:i}", "minimum", 16, "maximum", 224, "multipleOf", 8),
                            "size is the side of the packed images in pixels: 16 to 224, a multiple of 8");
    reply_problems(request, &problems);
    return false;
  }
  *ret_size = (uint32_t)size;
  return true;
}

/* The body's type was among those of the route. */
static enum dataset_kind uploaded_kind(const struct request *request) {
  const char *type = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Type");
  return media_type_is(type, TEMPLATES_MEDIA_TYPE) ? DATASET_TEMPLATES : DATASET_FACES;
}

bool dataset_size(struct request *request, uint32_t *ret_size) {
  struct spec_problems problems = {0};
  if (!parse_size(request, ret_size))
    return false;
  if (uploaded_kind(request) == DATASET_FACES || *ret_size == 0)
    return true;
  (void)spec_problems_add(&problems, "?size", "conflict", NULL,
                          "templates bring their size along: leave size out");
  reply_problems(request, &problems);
  return false;
}

void put_dataset(struct request *request) {
  struct dataset_row row;
  struct guise_error err = {0};
  bool created = false;
  const struct client client = auth_client(request);
  int r = service_dataset_accept(request->service, &client, request->parameter[0], request->upload,
                                 uploaded_kind(request), request->image_size, &row, &created, &err);
  if (r < 0) {
    reply_error(request, r, &err);
    return;
  }
  memcpy(request->object, row.id, sizeof(request->object));
  reply_json(request, created ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK, dataset_json(&row));
  reply_header(request, "Location", "/v1/datasets/%s", row.id);
}

void list_datasets(struct request *request) {
  struct store_page page;
  struct spec_problems problems = {0};
  _cleanup_(freep) struct dataset_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  page_parse(&request->target, "datasets", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  page.owner = auth_client(request).sees;
  int r = store_dataset_list(service_store(request->service), &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, dataset_json(&rows[i]));
  reply_page(request, "datasets", data, next);
}

bool dataset_find(struct request *request, struct dataset_row *ret_row) {
  int r = service_dataset_get(request->service, request->parameter[0], ret_row);
  if (r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND,
                  "there is no data set %s; GET /v1/datasets lists those there are", request->parameter[0]);
  else if (r < 0)
    reply_error(request, r, NULL);
  else
    memcpy(request->object, ret_row->id, sizeof(request->object));
  return r == 0;
}

void get_dataset(struct request *request) {
  struct dataset_row row;
  if (dataset_find(request, &row))
    reply_json(request, MHD_HTTP_OK, dataset_json(&row));
}

void delete_dataset(struct request *request) {
  struct guise_error err = {0};
  struct dataset_row row;
  if (!dataset_find(request, &row))
    return;
  json_t *receipt = NULL;
  int r = service_dataset_delete(request->service, row.id, &receipt, &err);
  reply_receipt(request, r, receipt, &err);
}

void list_rejects(struct request *request) {
  struct dataset_row row;
  struct store_page page;
  struct spec_problems problems = {0};
  _cleanup_(freep) struct reject_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  if (!dataset_find(request, &row))
    return;
  page_parse(&request->target, "rejects", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = store_reject_list(service_store(request->service), row.id, &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, json_pack("{s:s,s:s,s:s}", "path", rows[i].path, "code", rows[i].code, "detail",
                                       rows[i].detail));
  reply_page(request, "rejects", data, next);
}

static json_t *pairs_json(const struct pairs_row *row) {
  return json_pack("{s:s,s:I,s:I,s:s,s:I}", "name", row->name, "pairs", (json_int_t)row->count, "folds",
                   (json_int_t)row->folds, "sha256", row->sha256, "bytes", (json_int_t)row->bytes);
}

void put_pairs(struct request *request) {
  struct dataset_row dataset;
  struct pairs_row row;
  struct guise_error err = {0};
  bool created = false;
  if (!dataset_find(request, &dataset))
    return;
  int r = service_pairs_put(request->service, dataset.id, request->parameter[1],
                            request->body ? request->body : "", request->body_size, &row, &created, &err);
  if (r < 0) {
    reply_error(request, r, &err);
    return;
  }
  reply_json(request, created ? MHD_HTTP_CREATED : MHD_HTTP_OK, pairs_json(&row));
}

void list_pairs(struct request *request) {
  struct dataset_row dataset;
  struct store_page page;
  struct spec_problems problems = {0};
  _cleanup_(freep) struct pairs_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  if (!dataset_find(request, &dataset))
    return;
  page_parse(&request->target, "pairs", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = store_pairs_list(service_store(request->service), dataset.id, &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, pairs_json(&rows[i]));
  reply_page(request, "pairs", data, next);
}
