/* Models and their files. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/page.h"
#include "api/range.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "core/model/report.h"

static json_t *model_json(const struct model_row *row) {
  json_t *files = json_array(), *summary = json_from_text(row->summary), *facts = json_from_text(row->facts);
  for (uint32_t i = 0; i < row->file_count; i++)
    files = json_append(files, json_pack("{s:s,s:I,s:s}", "name", row->files[i].name, "size",
                                         (json_int_t)row->files[i].size, "sha256", row->files[i].sha256));
  if (report_cap_summary(summary) < 0) { /* rather nothing than too much */
    json_decref(summary);
    summary = NULL;
  }
  json_t *accuracy = json_incref(json_object_get(summary, "accuracy")),
         *audit = json_incref(json_object_get(summary, "audit"));
  return json_pack("{s:s,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:o}", "id", row->id, "job",
                   json_optional(row->job_id), "dataset", json_optional(row->dataset_id), "audited",
                   (int)row->audited, "created_at", json_time(row->created_at), "facts", facts, "accuracy",
                   accuracy ? accuracy : json_null(), "privacy", audit ? audit : json_null(), "summary",
                   summary, "files", files, "erasures", (json_int_t)row->erasures, "owner",
                   json_optional(row->owner));
}

void list_models(struct request *request) {
  struct store_page page;
  struct spec_problems problems = {0};
  struct model_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  page_parse(&request->target, "models", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  page.owner = auth_client(request).sees;
  int r = store_model_list(service_store(request->service), &page, &rows, &count, &next);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data = json_append(data, model_json(&rows[i]));
  model_rows_free(rows, count);
  reply_page(request, "models", data, next);
}

bool model_find(struct request *request, struct model_row *ret_row) {
  int r = store_model_get(service_store(request->service), request->parameter[0], ret_row);
  if (r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND, "there is no model %s; GET /v1/models lists those there are",
                  request->parameter[0]);
  else if (r < 0)
    reply_error(request, r, NULL);
  return r == 0;
}

void reply_model_error(struct request *request, int r, const struct guise_error *err) {
  struct model_row row;
  if (r != -ENOENT) {
    reply_error(request, r, err);
    return;
  }
  if (!model_find(request, &row)) /* it was erased meanwhile */
    return;
  reply_problem(
      request, PROBLEM_UNAVAILABLE,
      "a file of the model %s is missing from the state directory: restore a backup, or erase the model",
      row.id);
  model_row_clear(&row);
}

void get_model(struct request *request) {
  struct model_row row;
  if (!model_find(request, &row))
    return;
  reply_json(request, MHD_HTTP_OK, model_json(&row));
  model_row_clear(&row);
}

void delete_model(struct request *request) {
  struct guise_error err = {0};
  struct model_row row;
  if (!model_find(request, &row))
    return;
  model_row_clear(&row);
  json_t *receipt = NULL;
  int r = service_model_delete(request->service, request->parameter[0], &receipt, &err);
  reply_receipt(request, r, receipt, &err);
}

bool model_is_allowed(struct request *request, const struct model_row *model) {
  if (model->audited || query_flag(&request->target, "unsafe"))
    return true;
  reply_problem(request, PROBLEM_FORBIDDEN,
                "no attack has been run on this model, so nothing is known of what it gives away: audit "
                "it with a job of the type audit, or ask with ?unsafe=true");
  return false;
}

static bool holds_key(const struct model_row *model, const char *name) {
  bool keyed = false;
  for (uint32_t i = 0; i < model->file_count; i++)
    keyed |= strcmp(model->files[i].name, MASK_KEY_FILE) == 0;
  if (!keyed)
    return false;
  json_t *facts = json_loads(model->facts, 0, NULL);
  const bool holds = model_file_holds_key(name, facts);
  json_decref(facts);
  return holds;
}

static bool has_scope(struct request *request, const char *name) {
  const struct model_private_file *file = model_private_file(name);
  enum scope scope;
  if (!file || (scope_from_name(file->scope, &scope) == 0 && (request->principal.scopes & scope)))
    return true;
  reply_problem(request, PROBLEM_SCOPE, "%s %s: it takes a token with the scope %s", name, file->why,
                file->scope);
  return false;
}

/* What may be handed out; false with an answer. */
static bool may_have(struct request *request, const struct model_row *model, const char *name) {
  if (!has_scope(request, name))
    return false;
  if (holds_key(model, name) && !query_flag(&request->target, "key")) {
    reply_problem(request, PROBLEM_FORBIDDEN,
                  "%s holds the model's key: whoever has it undoes what the key hides; who is meant to have "
                  "it asks with ?key=true",
                  name);
    return false;
  }
  return model_is_allowed(request, model);
}

static void file_headers(struct request *request, const struct model_file_row *file) {
  char digest[DIGEST_TEXT];
  digest_format(file->sha256, digest);
  reply_header(request, MHD_HTTP_HEADER_ETAG, "\"%s\"", file->sha256);
  reply_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
  reply_header(request, "Repr-Digest", "%s", digest);
  reply_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "private, no-cache");
}

/* Takes fd. */
static void send_file(struct request *request, const struct model_file_row *file, int fd) {
  _cleanup_(closep) int held = fd;
  const char *range =
      MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_RANGE);
  const char *if_range =
      MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_RANGE);
  const char *if_none =
      MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
  uint64_t offset = 0, length = file->size;
  unsigned status = MHD_HTTP_OK;
  if (etag_matches(if_none, file->sha256)) {
    reply_empty(request, MHD_HTTP_NOT_MODIFIED);
    file_headers(request, file);
    return;
  }
  if (range && if_range_holds(if_range, file->sha256)) {
    switch (range_parse(range, file->size, &offset, &length)) {
    case RANGE_UNSATISFIABLE:
      reply_problem(request, PROBLEM_RANGE, "the file has %llu bytes", (unsigned long long)file->size);
      reply_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */%llu", (unsigned long long)file->size);
      return;
    case RANGE_PART:
      status = MHD_HTTP_PARTIAL_CONTENT;
      break;
    case RANGE_FULL:
      offset = 0;
      length = file->size;
      break;
    }
  }
  struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(length, held, offset);
  if (response)
    held = -1; /* the response's own now */
  reply_take(request, status, response);
  file_headers(request, file);
  reply_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, "%s", media_type_of(file->name));
  reply_header(request, MHD_HTTP_HEADER_CONTENT_DISPOSITION, "attachment; filename=\"%s\"", file->name);
  if (strcmp(media_type_of(file->name), "text/html; charset=utf-8") == 0)
    reply_header(request, "Content-Security-Policy",
                 "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox");
  if (status == MHD_HTTP_PARTIAL_CONTENT)
    reply_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, "bytes %llu-%llu/%llu", (unsigned long long)offset,
                 (unsigned long long)(offset + length - 1), (unsigned long long)file->size);
}

/* The row as ret_file and the file open, -1 when it is lost. An audit or an erasure may put another in its
 * place, or none, between the two. -ENOENT: the model has no such file. */
static int open_file(struct request *request, const char *name, struct model_file_row *ret_file,
                     int *ret_fd) {
  char before[SHA256_HEX] = "";
  for (;;) {
    int r = store_model_file(service_store(request->service), request->parameter[0], name, ret_file);
    if (r < 0)
      return r;
    *ret_fd = service_blob_open(request->service, ret_file->sha256);
    if (*ret_fd != -ENOENT || strcmp(before, ret_file->sha256) == 0)
      return *ret_fd >= 0 || *ret_fd == -ENOENT ? 0 : *ret_fd;
    memcpy(before, ret_file->sha256, sizeof(before));
  }
}

/* For the audit trail, whether it is handed out or not: of files there are, as a path may hold anything. */
static void note_file(struct request *request, const struct model_row *model, const char *name) {
  for (uint32_t i = 0; i < model->file_count; i++)
    if (strcmp(model->files[i].name, name) == 0)
      (void)snprintf(request->file, sizeof(request->file), "%s", name);
}

void get_model_file(struct request *request) {
  struct model_row model;
  struct model_file_row file;
  const char *name = request->parameter[1];
  if (query_flag(&request->target, "head") && strcmp(name, MODEL_FILE) == 0)
    name = MODEL_HEAD_FILE;
  if (!model_find(request, &model))
    return;
  note_file(request, &model, name);
  bool allowed = may_have(request, &model, name);
  model_row_clear(&model);
  if (!allowed)
    return;
  int fd = -1, r = open_file(request, name, &file, &fd);
  if (r == -ENOENT)
    reply_problem(request, PROBLEM_NOT_FOUND, "the model has no file %s; GET /v1/models/%s lists its files",
                  name, request->parameter[0]);
  else if (r < 0)
    reply_error(request, r, NULL);
  else if (fd < 0)
    reply_model_error(request, fd, NULL);
  else
    send_file(request, &file, fd);
}
