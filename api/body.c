/* Request bodies: JSON and text are kept in memory up to a limit, an upload goes to its file in chunks that
 * pool threads write. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/range.h"
#include "api/reply.h"
#include "api/resources.h"

#define TEXT_BYTES_MAX (16u << 20)
#define JSON_AROUND 1024u
#define TENSORS_BYTES_MAX (16u << 20)
#define HEADER_LENGTH "Inference-Header-Content-Length"

static uint64_t limit_of(struct request *request) {
  struct config config;
  service_config_now(request->service, &config);
  switch (request->route->body) {
  case BODY_NONE:
    return 0;
  case BODY_JSON:
    return config.json_max_bytes;
  case BODY_TEXT:
    return TEXT_BYTES_MAX;
  case BODY_IMAGE:
    return config.image_max_bytes;
  case BODY_IMAGES: /* base64, and what stands around it */
    return route_images(request->route) * (config.image_max_bytes + 2) / 3 * 4 + JSON_AROUND;
  case BODY_TENSORS:
    return TENSORS_BYTES_MAX;
  case BODY_UPLOAD:
    break;
  }
  return config.upload_max_bytes;
}

/* All that can be told without the body is told before it is sent. */
static bool begin_upload(struct request *request) {
  const char *digest = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Content-Digest");
  struct guise_error err = {0};
  if (digest && digest_parse(digest, request->content_digest) < 0) {
    reply_problem(request, PROBLEM_MALFORMED_REQUEST,
                  "Content-Digest must be sha-256=:BASE64: of the body's 32 bytes");
    return false;
  }
  if (!dataset_size(request, &request->image_size))
    return false;
  request->body = malloc(CHUNK_BYTES);
  request->body_capacity = CHUNK_BYTES;
  const struct client client = auth_client(request);
  int r = request->body ? service_upload_begin(request->service, &client, request->parameter[0],
                                               request->announced.length, &request->upload, &err)
                        : -ENOMEM;
  if (r < 0)
    reply_error(request, r, &err);
  if (r == -EEXIST) /* somebody else's name */
    audit(request, false);
  return r == 0;
}

/* Clients of that extension send any media type or none. A web page cannot send the header without asking
 * first, as it could not send application/json. */
static bool begin_tensors(struct request *request, bool *ret_binary) {
  const char *text = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, HEADER_LENGTH);
  request->json_bytes = -1;
  *ret_binary = text != NULL;
  if (!text)
    return true;
  if (!*text || strlen(text) > 9 || text[strspn(text, "0123456789")]) {
    reply_problem(request, PROBLEM_MALFORMED_REQUEST,
                  HEADER_LENGTH " is the number of bytes of the JSON that comes first");
    return false;
  }
  request->json_bytes = strtoll(text, NULL, 10);
  return true;
}

bool body_begin(struct request *request, const char *content_type) {
  const struct guard_body *announced = &request->announced;
  const struct route *route = request->route;
  uint64_t limit = limit_of(request);
  if (route->body == BODY_NONE && (announced->chunked || announced->length > 0)) {
    reply_problem(request, PROBLEM_TOO_LARGE, "this request takes no body");
    return false;
  }
  if (route->body == BODY_NONE)
    return true;
  bool binary = false;
  if (route->body == BODY_TENSORS && !begin_tensors(request, &binary))
    return false;
  if (!binary && !media_type_is(content_type, route->types)) {
    reply_problem(request, PROBLEM_MEDIA_TYPE, "the body's Content-Type must be %s%s", route->types,
                  route->body == BODY_IMAGE ? "" : ", in UTF-8");
    reply_header(request, route->method == ROUTE_POST ? "Accept-Post" : "Accept", "%s", route->types);
    return false;
  }
  if (announced->length > limit) {
    reply_problem(request, PROBLEM_TOO_LARGE, "the body has %llu bytes; at most %llu are taken",
                  (unsigned long long)announced->length, (unsigned long long)limit);
    return false;
  }
  return route->body != BODY_UPLOAD || begin_upload(request);
}

static int keep(struct request *request, const char *data, size_t size) {
  uint64_t limit = limit_of(request);
  if (request->body_size + size > limit)
    return -EFBIG;
  if (request->body_size + size + 1 > request->body_capacity) {
    size_t capacity = MAX(2 * request->body_capacity, request->body_size + size + 1);
    char *grown = realloc(request->body, capacity);
    if (!grown)
      return -ENOMEM;
    request->body = grown;
    request->body_capacity = capacity;
  }
  memcpy(request->body + request->body_size, data, size);
  request->body_size += size;
  request->body[request->body_size] = 0;
  return 0;
}

int body_take(struct request *request, const char *data, size_t size) {
  if (!request->upload)
    return keep(request, data, size);
  if (request->upload_result < 0)
    return request->upload_result;
  memcpy(request->body + request->body_size, data, size); /* the caller gives at most what is free */
  request->body_size += size;
  return 0;
}

void body_write_chunk(struct request *request) {
  if (request->upload_result == 0)
    request->upload_result =
        service_upload_write(request->upload, request->body, request->body_size, &request->upload_error);
  request->body_size = 0;
}

static bool finish_upload(struct request *request) {
  body_write_chunk(request);
  if (request->upload_result < 0) {
    reply_error(request, request->upload_result, &request->upload_error);
    return false;
  }
  if (*request->content_digest) {
    char sha256[SHA256_HEX];
    service_upload_digest(request->upload, sha256);
    if (strcmp(sha256, request->content_digest) != 0) {
      reply_problem(request, PROBLEM_INVALID,
                    "the body's sha-256 is %s, not what Content-Digest says: send it again", sha256);
      return false;
    }
  }
  return true;
}

bool body_finish(struct request *request) {
  struct guise_error err = {0};
  if (request->upload)
    return finish_upload(request);
  if (request->route->body != BODY_JSON && request->route->body != BODY_IMAGES)
    return true;
  int r = json_read(request->body ? request->body : "", request->body_size, &request->json, &err);
  if (r == -EBADMSG)
    reply_problem(request, PROBLEM_MALFORMED_JSON, "%s", err.text);
  else if (r < 0)
    reply_error(request, r, &err);
  return r == 0;
}
