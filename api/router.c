/* The one table of what the API offers. Scopes, statuses, media types, query parameters and the OpenAPI
 * document follow from it. */
#include <stdio.h>
#include <string.h>

#include "api/resources.h"
#include "core/template/templates.h"

#define UPLOADS "application/x-tar,application/gzip,application/zip," TEMPLATES_MEDIA_TYPE

const struct route routes[] = {
    {ROUTE_GET, "/", get_dashboard, SCOPE_NONE, false, BODY_NONE, "", "", "getDashboard"},
    {ROUTE_GET, "/assets/{file}", get_asset, SCOPE_NONE, false, BODY_NONE, "", "", "getAsset"},
    {ROUTE_GET, "/healthz", get_healthz, SCOPE_NONE, false, BODY_NONE, "", "", "getHealth"},
    {ROUTE_GET, "/readyz", get_readyz, SCOPE_NONE, false, BODY_NONE, "", "", "getReadiness"},
    {ROUTE_GET, "/openapi.yaml", get_openapi, SCOPE_NONE, false, BODY_NONE, "", "", "getOpenapi"},
    {ROUTE_GET, "/openapi.json", get_openapi_json, SCOPE_NONE, false, BODY_NONE, "", "", "getOpenapiJson"},
    {ROUTE_GET, "/report.schema.json", get_report_schema, SCOPE_NONE, false, BODY_NONE, "", "",
     "getReportSchema"},
    {ROUTE_GET, "/metrics", get_prometheus, SCOPE_METRICS_READ, false, BODY_NONE, "", "", "getMetrics"},
    {ROUTE_GET, "/v1/datasets", list_datasets, SCOPE_DATASETS_READ, false, BODY_NONE, "", "limit,cursor",
     "listDatasets"},
    {ROUTE_PUT, "/v1/datasets/{name}", put_dataset, SCOPE_DATASETS_WRITE, true, BODY_UPLOAD, UPLOADS, "size",
     "putDataset"},
    {ROUTE_GET, "/v1/datasets/{name}", get_dataset, SCOPE_DATASETS_READ, false, BODY_NONE, "", "",
     "getDataset"},
    {ROUTE_DELETE, "/v1/datasets/{name}", delete_dataset, SCOPE_DATASETS_WRITE, true, BODY_NONE, "", "",
     "deleteDataset"},
    {ROUTE_GET, "/v1/datasets/{name}/rejects", list_rejects, SCOPE_DATASETS_READ, false, BODY_NONE, "",
     "limit,cursor", "listRejects"},
    {ROUTE_GET, "/v1/datasets/{name}/identities", list_identities, SCOPE_DATASETS_READ, true, BODY_NONE, "",
     "limit,cursor", "listIdentities"},
    {ROUTE_DELETE, "/v1/datasets/{name}/identities/{identity}", delete_identity, SCOPE_DATASETS_WRITE, true,
     BODY_NONE, "", "", "deleteIdentity"},
    {ROUTE_DELETE, "/v1/datasets/{name}/identities/{identity}/images/{image}", delete_image,
     SCOPE_DATASETS_WRITE, true, BODY_NONE, "", "", "deleteImage"},
    {ROUTE_GET, "/v1/datasets/{name}/pairs", list_pairs, SCOPE_DATASETS_READ, false, BODY_NONE, "",
     "limit,cursor", "listPairs"},
    {ROUTE_PUT, "/v1/datasets/{name}/pairs/{pairs}", put_pairs, SCOPE_DATASETS_WRITE, true, BODY_TEXT,
     "text/plain", "", "putPairs"},
    {ROUTE_GET, "/v1/jobs", list_jobs, SCOPE_JOBS_READ, true, BODY_NONE, "",
     "limit,cursor,state*,label,created_after,sort", "listJobs"},
    {ROUTE_POST, "/v1/jobs", post_job, SCOPE_JOBS_WRITE, true, BODY_JSON, "application/json", "dry_run",
     "postJob"},
    {ROUTE_POST, "/v1/jobs/cancel", cancel_jobs, SCOPE_JOBS_WRITE, true, BODY_NONE, "",
     "state*,label,created_after", "cancelJobs"},
    {ROUTE_GET, "/v1/jobs/{id}", get_job, SCOPE_JOBS_READ, false, BODY_NONE, "", "wait,state", "getJob"},
    {ROUTE_DELETE, "/v1/jobs/{id}", delete_job, SCOPE_JOBS_WRITE, true, BODY_NONE, "", "", "deleteJob"},
    {ROUTE_POST, "/v1/jobs/{id}/cancel", cancel_job, SCOPE_JOBS_WRITE, true, BODY_NONE, "", "", "cancelJob"},
    {ROUTE_POST, "/v1/jobs/{id}/pause", pause_job, SCOPE_JOBS_WRITE, true, BODY_NONE, "", "", "pauseJob"},
    {ROUTE_POST, "/v1/jobs/{id}/resume", resume_job, SCOPE_JOBS_WRITE, true, BODY_NONE, "", "", "resumeJob"},
    {ROUTE_GET, "/v1/jobs/{id}/metrics", list_metrics, SCOPE_JOBS_READ, false, BODY_NONE, "",
     "limit,cursor,name,resolution,format", "listMetrics"},
    {ROUTE_GET, "/v1/jobs/{id}/log", get_log, SCOPE_JOBS_READ, false, BODY_NONE, "", "limit,cursor,format",
     "getJobLog"},
    {ROUTE_GET, "/v1/jobs/{id}/events", stream_events, SCOPE_JOBS_READ, false, BODY_NONE, "", "after",
     "streamEvents"},
    {ROUTE_GET, "/v1/models", list_models, SCOPE_MODELS_READ, true, BODY_NONE, "", "limit,cursor",
     "listModels"},
    {ROUTE_GET, "/v1/models/{id}", get_model, SCOPE_MODELS_READ, false, BODY_NONE, "", "", "getModel"},
    {ROUTE_DELETE, "/v1/models/{id}", delete_model, SCOPE_MODELS_WRITE, true, BODY_NONE, "", "",
     "deleteModel"},
    {ROUTE_GET, "/v1/models/{id}/files/{file}", get_model_file, SCOPE_MODELS_READ, false, BODY_NONE, "",
     "unsafe,key,head", "getModelFile"},
    {ROUTE_POST, "/v1/models/{id}/embed", embed_face, SCOPE_MODELS_USE, true, BODY_IMAGE,
     "image/jpeg,image/png", "unsafe", "embedFace"},
    {ROUTE_POST, "/v1/models/{id}/verify", verify_faces, SCOPE_MODELS_USE, true, BODY_IMAGES,
     "application/json", "unsafe", "verifyFaces"},
    {ROUTE_GET, "/v2", get_server, SCOPE_NONE, false, BODY_NONE, "", "", "getServer"},
    {ROUTE_GET, "/v2/health/live", get_server_live, SCOPE_NONE, false, BODY_NONE, "", "", "getServerLive"},
    {ROUTE_GET, "/v2/health/ready", get_server_ready, SCOPE_NONE, false, BODY_NONE, "", "", "getServerReady"},
    {ROUTE_GET, "/v2/models/{id}", get_model_metadata, SCOPE_MODELS_USE, false, BODY_NONE, "", "",
     "getModelMetadata"},
    {ROUTE_GET, "/v2/models/{id}/ready", get_model_ready, SCOPE_MODELS_USE, false, BODY_NONE, "", "unsafe",
     "getModelReady"},
    {ROUTE_POST, "/v2/models/{id}/infer", infer_model, SCOPE_MODELS_USE, true, BODY_TENSORS,
     "application/json,application/octet-stream", "unsafe", "inferModel"},
    {ROUTE_GET, "/v1/tokens", list_tokens, SCOPE_ADMIN, false, BODY_NONE, "", "limit,cursor", "listTokens"},
    {ROUTE_POST, "/v1/tokens", post_token, SCOPE_ADMIN, true, BODY_JSON, "application/json", "", "postToken"},
    {ROUTE_DELETE, "/v1/tokens/{id}", delete_token, SCOPE_ADMIN, true, BODY_NONE, "", "", "deleteToken"},
    {ROUTE_GET, "/v1/audit", list_audit, SCOPE_ADMIN, true, BODY_NONE, "", "limit,cursor,actor,object",
     "listAudit"},
};
const size_t route_count = ARRAY_SIZE(routes);

const char *route_method_name(enum route_method method) {
  static const char *const names[] = {"GET", "POST", "PUT", "DELETE"};
  return names[method];
}

bool route_blocks(const struct route *route, const struct target *target) {
  return route->blocks || target_query(target, "format", 0);
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
