/* The one table of what the API offers. Statuses, media types, query parameters and the OpenAPI document
 * follow from it. */
#include <stdio.h>
#include <string.h>

#include "api/resources.h"

#define ARCHIVES "application/x-tar,application/gzip,application/zip"

const struct route routes[] = {
    {ROUTE_GET, "/healthz", get_healthz, false, BODY_NONE, "", "", "getHealth"},
    {ROUTE_GET, "/readyz", get_readyz, false, BODY_NONE, "", "", "getReadiness"},
    {ROUTE_GET, "/openapi.yaml", get_openapi, false, BODY_NONE, "", "", "getOpenapi"},
    {ROUTE_GET, "/v1/datasets", list_datasets, false, BODY_NONE, "", "limit,cursor", "listDatasets"},
    {ROUTE_PUT, "/v1/datasets/{name}", put_dataset, true, BODY_UPLOAD, ARCHIVES, "size", "putDataset"},
    {ROUTE_GET, "/v1/datasets/{name}", get_dataset, false, BODY_NONE, "", "", "getDataset"},
    {ROUTE_DELETE, "/v1/datasets/{name}", delete_dataset, true, BODY_NONE, "", "", "deleteDataset"},
    {ROUTE_GET, "/v1/datasets/{name}/rejects", list_rejects, false, BODY_NONE, "", "limit,cursor",
     "listRejects"},
    {ROUTE_GET, "/v1/datasets/{name}/pairs", list_pairs, false, BODY_NONE, "", "", "listPairs"},
    {ROUTE_PUT, "/v1/datasets/{name}/pairs/{pairs}", put_pairs, true, BODY_TEXT, "text/plain", "",
     "putPairs"},
    {ROUTE_GET, "/v1/jobs", list_jobs, false, BODY_NONE, "", "limit,cursor,state,label,created_after,sort",
     "listJobs"},
    {ROUTE_POST, "/v1/jobs", post_job, true, BODY_JSON, "application/json", "dry_run", "postJob"},
    {ROUTE_GET, "/v1/jobs/{id}", get_job, false, BODY_NONE, "", "", "getJob"},
    {ROUTE_POST, "/v1/jobs/{id}/cancel", cancel_job, true, BODY_NONE, "", "", "cancelJob"},
    {ROUTE_POST, "/v1/jobs/{id}/pause", pause_job, true, BODY_NONE, "", "", "pauseJob"},
    {ROUTE_POST, "/v1/jobs/{id}/resume", resume_job, true, BODY_NONE, "", "", "resumeJob"},
    {ROUTE_GET, "/v1/jobs/{id}/metrics", list_metrics, false, BODY_NONE, "",
     "limit,cursor,name,resolution,format", "listMetrics"},
    {ROUTE_GET, "/v1/jobs/{id}/events", stream_events, false, BODY_NONE, "", "after", "streamEvents"},
    {ROUTE_GET, "/v1/models", list_models, false, BODY_NONE, "", "limit,cursor", "listModels"},
    {ROUTE_GET, "/v1/models/{id}", get_model, false, BODY_NONE, "", "", "getModel"},
    {ROUTE_DELETE, "/v1/models/{id}", delete_model, true, BODY_NONE, "", "", "deleteModel"},
    {ROUTE_GET, "/v1/models/{id}/files/{file}", get_model_file, false, BODY_NONE, "", "unsafe,key",
     "getModelFile"},
    {ROUTE_POST, "/v1/models/{id}/embed", embed_face, true, BODY_IMAGE, "image/jpeg,image/png", "unsafe",
     "embedFace"},
    {ROUTE_POST, "/v1/models/{id}/verify", verify_faces, true, BODY_IMAGES, "application/json", "unsafe",
     "verifyFaces"},
};
const size_t route_count = ARRAY_SIZE(routes);

const char *route_method_name(enum route_method method) {
  static const char *const names[] = {"GET", "POST", "PUT", "DELETE"};
  return names[method];
}

/* Whether the path has the pattern's form; parameters are its {..} segments. */
static bool matches(const char *pattern, const struct target *target, const char *parameters[4]) {
  uint32_t segment = 0, found = 0;
  for (const char *p = pattern + 1;; segment++) {
    size_t length = strcspn(p, "/");
    if (segment >= target->segments)
      return false;
    const char *text = target->segment[segment];
    if (*p == '{') {
      if (!*text || found == 4)
        return false;
      parameters[found++] = text;
    } else if (strlen(text) != length || strncmp(text, p, length) != 0) {
      return false;
    }
    if (p[length] == 0)
      return segment + 1 == target->segments;
    p += length + 1;
  }
}

int route_find(const char *method, const struct target *target, const struct route **ret_route,
               const char *ret_parameters[4], char ret_allow[64]) {
  bool known = false;
  const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
  ret_allow[0] = 0;
  for (size_t i = 0; i < route_count && !target->path_too_deep; i++) {
    const char *parameters[4] = {NULL, NULL, NULL, NULL}, *name = route_method_name(routes[i].method);
    if (!matches(routes[i].pattern, target, parameters))
      continue;
    known = true;
    if (strcmp(name, wanted) == 0) {
      *ret_route = &routes[i];
      memcpy(ret_parameters, parameters, sizeof(parameters));
      return 0;
    }
    size_t used = strlen(ret_allow);
    (void)snprintf(ret_allow + used, 64 - used, "%s%s", used ? ", " : "",
                   routes[i].method == ROUTE_GET ? "GET, HEAD" : name);
  }
  return known ? -EOPNOTSUPP : -ENOENT;
}
