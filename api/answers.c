/* Answers about jobs that have ended, which clients ask for again and again: kept as they are until anything
 * is written to the database. libmicrohttpd's thread only. */
#include <string.h>

#include "api/reply.h"

static struct answer *slot_of(struct http *http, const char *id) {
  uint32_t hash = 0;
  for (; *id; id++)
    hash = hash * 31 + (uint8_t)*id;
  return &http->answers[hash % ANSWERS];
}

static void drop(struct answer *answer) {
  if (answer->response)
    MHD_destroy_response(answer->response);
  answer->response = NULL;
}

bool answers_give(struct request *request, const char *id) {
  const struct answer *answer = slot_of(request->http, id);
  if (!answer->response || strcmp(answer->id, id) != 0 || request->announced.chunked ||
      answer->version != store_version(service_store(request->service)))
    return false;
  request->status = MHD_HTTP_OK;
  request->response = answer->response;
  request->kept = true;
  return true;
}

void answers_keep(struct request *request, const char *id, uint64_t version) {
  struct answer *answer = slot_of(request->http, id);
  if (request->status != MHD_HTTP_OK || !request->response || request->announced.chunked ||
      strlen(id) >= sizeof(answer->id))
    return;
  drop(answer);
  (void)strcpy(answer->id,
               id); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): its length was looked at
  answer->version = version;
  answer->response = request->response;
  request->kept = true;
}

void answers_clear(struct http *http) {
  for (uint32_t i = 0; i < ANSWERS; i++)
    drop(&http->answers[i]);
}
