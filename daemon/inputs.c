#include "daemon/inputs.h"

#include <stdio.h>
#include <string.h>

#include "core/model/model.h"

#define MODEL_FILE "model.safetensors"

struct input {
  const char *section, *key, *pointer;
  bool model;         /* else a data set */
  const char *method; /* the mask that a model must have; NULL = any */
  size_t path;        /* member of struct job_inputs */
};

static const struct input table[] = {
    {"mask", "public_dataset", "/mask/public_dataset", false, NULL, offsetof(struct job_inputs, public_pack)},
    {"mask", "embedder", "/mask/embedder", true, NULL, offsetof(struct job_inputs, embedder_model)},
    {"mask", "reference", "/mask/reference", true, "none", offsetof(struct job_inputs, reference_model)},
};
_Static_assert(ARRAY_SIZE(table) <= JOB_INPUTS_MAX, "a job has a place for each of its inputs");

/* ---- submitting ---- */

static int check_dataset(struct service *service, const struct input *input, const char *name,
                         struct job_input *ret_found, struct spec_problems *problems) {
  struct dataset_row row;
  int r = store_dataset_get(service->store, name, &row);
  if (r == -ENOENT)
    return spec_problems_add(problems, input->pointer, "unknown_value", NULL,
                             "there is no data set %.100s: upload it first", name);
  if (r == 0 && row.state == DATASET_FAILED)
    return spec_problems_add(problems, input->pointer, "conflict", NULL,
                             "the data set %.100s could not be read (%.100s)", name, row.error);
  if (r == 0)
    memcpy(ret_found->dataset_id, row.id, sizeof(row.id));
  return r;
}

static int check_method(const struct input *input, const struct model_row *model,
                        struct spec_problems *problems) {
  json_t *facts = json_loads(model->facts, 0, NULL);
  const char *method = json_string_value(json_object_get(json_object_get(facts, "mask"), "method"));
  bool fits = method && strcmp(method, input->method) == 0;
  int r = fits ? 0
               : spec_problems_add(problems, input->pointer, "conflict", NULL,
                                   "%s must be a model with the mask \"%s\"; that of %s is \"%.30s\"",
                                   input->key, input->method, model->id, method ? method : "unknown");
  json_decref(facts);
  return r;
}

static int check_model(struct service *service, const struct input *input, const char *id,
                       struct job_input *ret_found, struct spec_problems *problems) {
  struct model_file_row file;
  struct model_row model;
  int r = store_model_get(service->store, id, &model);
  if (r == 0 && (r = store_model_file(service->store, id, MODEL_FILE, &file)) < 0)
    model_row_clear(&model);
  if (r == -ENOENT)
    return spec_problems_add(problems, input->pointer, "unknown_value", NULL,
                             "there is no model %.60s: GET /v1/models lists those there are", id);
  if (r < 0)
    return r;
  memcpy(ret_found->model_id, model.id, sizeof(model.id));
  if (input->method)
    r = check_method(input, &model, problems);
  model_row_clear(&model);
  return r;
}

int inputs_check(struct service *service, const json_t *body, struct job_row *row,
                 struct spec_problems *problems) {
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(table) && r == 0; i++) {
    const struct input *input = &table[i];
    const char *name = json_string_value(json_object_get(json_object_get(body, input->section), input->key));
    struct job_input *found = &row->inputs[row->input_count];
    if (!name || !*name)
      continue; /* the spec's own checks tell */
    *found = (struct job_input){.pointer = input->pointer};
    r = (input->model ? check_model : check_dataset)(service, input, name, found, problems);
    row->input_count += found->dataset_id[0] || found->model_id[0];
  }
  return r;
}

/* ---- running ---- */

static int find(struct service *service, const struct input *input, const struct job_input *row,
                char ret_path[PATH_MAX], struct guise_error *err) {
  struct dataset_row dataset;
  struct model_file_row file;
  int r = input->model ? store_model_file(service->store, row->model_id, MODEL_FILE, &file)
                       : store_dataset_get(service->store, row->dataset_id, &dataset);
  if (r < 0)
    return error_set(err, r, "what %s names cannot be read: %s", input->pointer, strerror(-r));
  service_blob_path(service, input->model ? file.sha256 : dataset.sha256, ret_path);
  return 0;
}

int inputs_find(struct service *service, const char *job, struct input_files *files,
                struct job_inputs *inputs, struct guise_error *err) {
  for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
    struct job_input row;
    int r = store_job_input(service->store, job, table[i].pointer, &row);
    if (r == -ENOENT)
      continue;
    if (r < 0)
      return error_set(err, r, "the job's inputs cannot be read: %s", strerror(-r));
    if ((r = find(service, &table[i], &row, files->path[i], err)) < 0)
      return r;
    const char *path = files->path[i];
    memcpy((char *)inputs + table[i].path, &path, sizeof(path));
  }
  return 0;
}
