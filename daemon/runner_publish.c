/* A job's results: its files become blobs, the model a row. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "daemon/log.h"
#include "daemon/runner_internal.h"

static json_t *model_facts(const struct slot *slot, const struct job_files *files) {
  static const char *const sections[] = {"holdout", "model", "mask", "train", "defences"};
  json_t *spec = json_loads(slot->row.spec, 0, NULL);
  json_t *facts = json_pack("{s:s, s:s, s:s}", "type", slot->row.type, "dataset", files->dataset.name,
                            "dataset_sha256", files->dataset.sha256);
  for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
    json_t *section = json_object_get(spec, sections[i]);
    if (section && json_object_set(facts, sections[i], section) < 0) {
      json_decref(facts);
      facts = NULL;
      break;
    }
  }
  json_decref(spec);
  return facts;
}

static int list_output(const char *output, struct model_row *model, struct guise_error *err) {
  char path[PATH_MAX];
  struct dirent *entry;
  int r = 0;
  DIR *directory = opendir(output);
  if (!directory)
    return error_set(err, -errno, "cannot read the job's results: %s", strerror(errno));
  while (r == 0 && (entry = readdir(directory))) {
    struct stat st;
    struct model_file_row file = {.size = 0};
    if (snprintf(path, sizeof(path), "%s/%s", output, entry->d_name) >= (int)sizeof(path) ||
        lstat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
        snprintf(file.name, sizeof(file.name), "%s", entry->d_name) >= (int)sizeof(file.name))
      continue;
    struct model_file_row *grown = reallocarray(model->files, model->file_count + 1, sizeof(*grown));
    if (grown)
      model->files = grown;
    r = grown ? sha256_file(path, file.sha256, &file.size) : -ENOMEM;
    if (r == 0)
      model->files[model->file_count++] = file;
  }
  (void)closedir(directory);
  if (r == 0 && model->file_count == 0)
    return error_set(err, -EIO, "the job left no results: this is a fault of guise, please report it");
  return r < 0 ? error_set(err, r, "cannot read the job's results: %s", strerror(-r)) : 0;
}

/* What training and audit leave alike. */
static int describe_results(const struct job_files *files, const struct job_outcome *outcome,
                            struct model_row *model, struct guise_error *err) {
  model->audited = json_is_true(json_object_get(json_object_get(outcome->summary, "audit"), "complete"));
  model->summary = json_print(outcome->summary, JSON_COMPACT);
  if (!model->summary)
    return error_set(err, -ENOMEM, "out of memory storing the model");
  return list_output(files->output, model, err);
}

static int describe_model(const struct slot *slot, const struct job_files *files,
                          const struct job_outcome *outcome, struct model_row *model,
                          struct guise_error *err) {
  json_t *facts = model_facts(slot, files);
  id_make("mdl_", model->id);
  memcpy(model->job_id, slot->row.id, sizeof(model->job_id));
  memcpy(model->dataset_id, files->dataset.id, sizeof(model->dataset_id));
  model->created_at = time_now_ms();
  model->facts = facts ? json_print(facts, JSON_COMPACT) : NULL;
  json_decref(facts);
  if (!model->facts)
    return error_set(err, -ENOMEM, "out of memory storing the model");
  return describe_results(files, outcome, model, err);
}

static int publish_model(struct service *service, const struct job_files *files,
                         const struct model_row *model, int64_t *ret_seq, struct guise_error *err) {
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish_files(service, files->output, model, err);
  if (r == 0 && (r = store_model_insert(service->store, model, ret_seq)) < 0)
    error_set(err, r, "the model could not be recorded: %s", strerror(-r));
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}

int runner_publish(struct slot *slot, const struct job_files *files, const struct job_outcome *outcome,
                   struct guise_error *err) {
  struct service *service = slot->service;
  struct model_row model = {.files = NULL};
  int64_t seq = 0;
  (void)store_job_progress(service->store, slot->row.id, &slot->live, slot_runtime(slot));
  const bool audit = files->audit.model_id[0] != 0;
  int r = audit ? describe_results(files, outcome, &model, err)
                : describe_model(slot, files, outcome, &model, err);
  if (r == 0)
    do
      r = audit ? audit_publish(service, slot->row.id, &files->audit, files->output, &model, &seq, err)
                : publish_model(service, files, &model, &seq, err);
    while (storage_stops(service, r) && (r = runner_wait_for_storage(slot, r, true)) == 0);
  if (r == 0) {
    log_info("%s: succeeded, model %s", slot->row.id, audit ? files->audit.model_id : model.id);
    bus_emit(service, slot->row.id, seq);
  } else {
    (void)pthread_mutex_lock(&service->blob_lock);
    blob_remove_files(service, &model);
    (void)pthread_mutex_unlock(&service->blob_lock);
  }
  model_row_clear(&model);
  return r;
}
