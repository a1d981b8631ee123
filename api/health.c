/* Liveness, readiness, and the interface's description. */
#include "api/reply.h"
#include "api/resources.h"

void get_healthz(struct request *request) {
  reply_json(request, MHD_HTTP_OK, json_pack("{s:s,s:s}", "status", "ok", "version", GUISE_VERSION));
}

void get_readyz(struct request *request) {
  struct http *http = request->http;
  if (http->draining || !service_ready(request->service)) {
    reply_problem(request, PROBLEM_UNAVAILABLE,
                  "guised is starting, stopping, or cannot use its database; try again soon");
    return;
  }
  if (!store_writable(service_store(request->service))) {
    reply_problem(request, PROBLEM_STORAGE,
                  "the disk of the state directory is full or failing: free space there");
    return;
  }
  reply_json(request, MHD_HTTP_OK, json_pack("{s:s}", "status", "ready"));
}

void get_openapi(struct request *request) {
  reply_text_static(request, MHD_HTTP_OK, "application/yaml", schema_openapi, schema_openapi_size);
}
