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
  int r = service_storage(request->service);
  if (r < 0) {
    reply_error(request, r, NULL);
    return;
  }
  reply_json(request, MHD_HTTP_OK, json_pack("{s:s}", "status", "ready"));
}

void get_openapi(struct request *request) {
  reply_text_static(request, MHD_HTTP_OK, "application/yaml", schema_openapi, schema_openapi_size);
}

void get_openapi_json(struct request *request) {
  reply_text_static(request, MHD_HTTP_OK, "application/json", schema_openapi_json, schema_openapi_json_size);
}

void get_report_schema(struct request *request) {
  reply_text_static(request, MHD_HTTP_OK, "application/schema+json", schema_report, schema_report_size);
}
