#include "core/train/learnt.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/safetensors.h"

#define FORMAT "guise-analysis-1"

static int read_values(const struct safetensors *file, const struct learnt *learnt) {
  const struct safetensor *tensor = safetensors_find(file, learnt->name);
  const uint64_t bytes = learnt->count * sizeof(float);
  if (!tensor || strcmp(tensor->dtype, "F32") != 0 || tensor->bytes != bytes ||
      !learnt->is_sound(tensor->data, learnt->count))
    return -EBADMSG;
  memcpy(learnt->values, tensor->data, bytes);
  return safetensors_failed(file) ? -EIO : 0;
}

static int read_checkpoint(const char *path, const struct learnt *learnt, struct guise_error *err) {
  struct safetensors *file = NULL;
  int r = safetensors_open(path, &file, err);
  if (r < 0)
    return r;
  r = read_values(file, learnt);
  safetensors_free(file);
  return r < 0 ? error_set(err, r,
                           "the checkpoint lacks what the mask has learnt: it is of another version "
                           "or damaged")
               : 0;
}

/* Whose values they are. */
static json_t *fingerprint(const struct trainer *t, const struct job_inputs *inputs) {
  json_t *spec = job_spec_json(t->spec), *metadata = NULL;
  _cleanup_(freep) char *text = spec ? json_print(spec, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  if (text)
    metadata =
        json_pack("{s:s, s:s, s:s}", "format", FORMAT, "spec", text, "dataset", inputs->dataset_sha256);
  json_decref(spec);
  return metadata;
}

/* True when the file is there and is this job's. Whatever is wrong with it, training again mends it. */
static bool read_file(const char *path, const json_t *wanted, const struct learnt *learnt) {
  struct safetensors *file = NULL;
  bool found = false;
  if (access(path, R_OK) == 0 && safetensors_open(path, &file, NULL) == 0)
    found = json_equal(safetensors_metadata(file), wanted) && read_values(file, learnt) == 0;
  safetensors_free(file);
  return found;
}

static int train_and_write(struct trainer *t, const struct learnt *learnt, const char *directory,
                           const char *path, const json_t *metadata, struct guise_error *err) {
  const struct safetensor tensor = {.name = learnt->name,
                                    .dtype = "F32",
                                    .rank = 1,
                                    .shape = {learnt->count},
                                    .data = learnt->values,
                                    .bytes = learnt->count * sizeof(float)};
  int r = learnt->train(t, learnt->values, err);
  if (r == 0 && trainer_stop_code(t) == -ECANCELED) /* also for what it read does not count */
    r = -ECANCELED;
  if (r == 0)
    r = directory_make(directory, err);
  return r < 0 ? r : safetensors_write(path, &tensor, 1, metadata, err);
}

int learnt_fetch(struct trainer *t, const struct job_inputs *inputs, const struct learnt *learnt,
                 struct guise_error *err) {
  char path[4096], directory[4096];
  if (inputs->resume)
    return read_checkpoint(inputs->resume, learnt, err);
  if (snprintf(path, sizeof(path), "%s/%s", inputs->work_directory, learnt->file) >= (int)sizeof(path) ||
      snprintf(directory, sizeof(directory), "%s/" JOB_ANALYSIS_DIRECTORY, inputs->work_directory) >=
          (int)sizeof(directory))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  json_t *metadata = fingerprint(t, inputs);
  if (!metadata)
    return error_set(err, -ENOMEM, "out of memory before the analysis");
  int r = 0;
  if (!read_file(path, metadata, learnt))
    r = train_and_write(t, learnt, directory, path, metadata, err);
  json_decref(metadata);
  return r;
}
