#include "daemon/audit.h"

#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/mask/key.h"
#include "core/model/files.h"

#define PARTNERS "/mask/public_dataset"

/* ---- submitting ---- */

/* Training templates are made as the model's training made them, also of public faces. Of templates that
 * their owner has mixed only the histogram is known: each mix is a fresh one, which the report says. */
static int add_partners(struct service *service, const struct model_row *model, const json_t *facts,
                        struct job_row *row, struct spec_problems *problems) {
  const char *pool = json_string_value(json_object_get(json_object_get(facts, "mask"), "pool"));
  struct job_input *input = &row->inputs[row->input_count];
  if (!pool || strcmp(pool, "private") == 0)
    return 0;
  int r = store_job_input(service->store, model->job_id, PARTNERS, input);
  if (r == 0)
    row->input_count++;
  if (r != -ENOENT)
    return r;
  return spec_problems_add(
      problems, "/model", "conflict", NULL,
      "the training of %s mixed faces with public ones, whose data set has been deleted: "
      "what it did cannot be repeated",
      model->id);
}

/* Some attacks need what only the training could keep. */
static int check_attacks(const json_t *body, const json_t *facts, struct spec_problems *problems) {
  const json_t *names = json_object_get(json_object_get(body, "audit"), "attacks"), *name;
  const bool unseen = json_number_value(json_object_get(json_object_get(facts, "holdout"), "images")) > 0;
  size_t i;
  int r = 0;
  json_array_foreach(names, i, name) {
    const struct attack *attack = json_is_string(name) ? attack_find(json_string_value(name)) : NULL;
    char pointer[64];
    (void)snprintf(pointer, sizeof(pointer), "/audit/attacks/%zu", i);
    if (r == 0 && attack && attack->needs_unseen && !unseen)
      r = spec_problems_add(problems, pointer, "conflict", NULL,
                            "%s compares what was trained on with other images of the same people, and the "
                            "model's training kept none out: train with holdout.images",
                            attack->name);
  }
  return r;
}

static int resolve_model(struct service *service, const struct model_row *model, struct job_row *row,
                         json_t *body, struct spec_problems *problems) {
  json_t *facts = json_loads(model->facts, 0, NULL);
  const json_t *holdout = json_object_get(facts, "holdout"), *train = json_object_get(facts, "train");
  int r = facts ? json_object_set(body, "model", json_object_get(facts, "model")) : -1;
  if (r == 0) /* which people were trained on */
    r = json_object_set_new(body, "holdout",
                            json_pack("{s:f, s:f}", "identities",
                                      json_number_value(json_object_get(holdout, "identities")), "images",
                                      json_number_value(json_object_get(holdout, "images"))));
  if (r == 0)
    r = json_object_set_new(body, "train",
                            json_pack("{s:I}", "seed", json_integer_value(json_object_get(train, "seed"))));
  if (r == 0 && !json_object_get(body, "dataset") && model->dataset_id[0])
    r = json_object_set_new(body, "dataset", json_string(model->dataset_id));
  if (r < 0)
    r = -ENOMEM;
  else if (!json_object_get(body, "dataset"))
    r = spec_problems_add(problems, "/dataset", "missing", NULL,
                          "the data set that the model was trained on has been deleted: name the people to "
                          "attack");
  row->inputs[row->input_count] = (struct job_input){.pointer = "/model"};
  memcpy(row->inputs[row->input_count++].model_id, model->id, sizeof(model->id));
  if (r == 0)
    r = add_partners(service, model, facts, row, problems);
  if (r == 0)
    r = check_attacks(body, facts, problems);
  json_decref(facts);
  return r;
}

/* What an audit reads must be there. */
static int find_model(struct service *service, const struct client *client, const char *id,
                      struct model_row *ret_model) {
  static const char *const names[] = {MODEL_FILE, REPORT_FILE};
  struct model_file_row file;
  int r = store_model_get(service->store, id, ret_model);
  if (r == 0 && !owner_sees(client->sees, ret_model->owner)) {
    model_row_clear(ret_model);
    return -ENOENT;
  }
  for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++)
    if ((r = store_model_file(service->store, id, names[i], &file)) < 0)
      model_row_clear(ret_model);
  return r;
}

int audit_resolve(struct service *service, const struct client *client, const json_t *body,
                  struct job_row *row, json_t **ret_body, struct spec_problems *problems) {
  const char *type = json_string_value(json_object_get(body, "type"));
  const char *id = json_string_value(json_object_get(body, "model"));
  struct model_row model;
  json_t *resolved = json_clone(body);
  int r = resolved ? 0 : -ENOMEM;
  if (r == 0 && type && strcmp(type, job_type_name(JOB_AUDIT)) == 0 && id && *id) {
    r = find_model(service, client, id, &model);
    if (r == 0) {
      r = resolve_model(service, &model, row, resolved, problems);
      model_row_clear(&model);
    } else if (r == -ENOENT) {
      r = spec_problems_add(problems, "/model", "unknown_value", NULL,
                            "there is no model %.60s: GET /v1/models lists those there are", id);
    }
  }
  if (r < 0)
    json_decref(resolved);
  else
    *ret_body = resolved;
  return r;
}

/* Its own data set, as it was: what was erased since then makes it another one. */
static int has_unseen(struct service *service, const struct client *client, const struct model_row *model,
                      const char *dataset, bool *ret_unseen) {
  json_t *facts = json_loads(model->facts, 0, NULL);
  const char *sha256 = json_string_value(json_object_get(facts, "dataset_sha256"));
  struct dataset_row row;
  int r = -ENOENT;
  if (sha256 && json_number_value(json_object_get(json_object_get(facts, "holdout"), "images")) > 0)
    r = store_dataset_get(service->store, dataset ? dataset : model->dataset_id, &row);
  if (r == 0)
    *ret_unseen = owner_sees(client->sees, row.owner) && strcmp(row.sha256, sha256) == 0;
  json_decref(facts);
  return r == -ENOENT ? 0 : r;
}

int audit_has_unseen(struct service *service, const struct client *client, const json_t *body,
                     bool *ret_unseen) {
  const char *type = json_string_value(json_object_get(body, "type"));
  const char *id = json_string_value(json_object_get(body, "model"));
  struct model_row model;
  *ret_unseen = false;
  if (!type || strcmp(type, job_type_name(JOB_AUDIT)) != 0 || !id || !*id)
    return 0;
  int r = find_model(service, client, id, &model);
  if (r < 0)
    return r == -ENOENT ? 0 : r;
  r = has_unseen(service, client, &model, json_string_value(json_object_get(body, "dataset")), ret_unseen);
  model_row_clear(&model);
  return r;
}

int audit_check_victims(struct service *service, const json_t *body, const struct dataset_row *victims,
                        struct spec_problems *problems) {
  const char *id = json_string_value(json_object_get(body, "model"));
  struct model_row model;
  if (!id || !*victims->id)
    return 0; /* told elsewhere */
  int r = store_model_get(service->store, id, &model);
  if (r < 0)
    return r == -ENOENT ? 0 : r; /* likewise */
  if (!owner_sees(model.owner, victims->owner))
    r = spec_problems_add(
        problems, "/dataset", "conflict", NULL,
        "the people of %.100s would be shown in the private report of a model that belongs to somebody "
        "else: name a data set of the model's owner",
        victims->name);
  model_row_clear(&model);
  return r;
}

/* ---- running ---- */

/* Of a keyed model. */
static int find_key(struct service *service, const char *model, struct audit_files *files,
                    struct job_inputs *inputs, struct guise_error *err) {
  struct model_file_row file;
  int r = store_model_file(service->store, model, MASK_KEY_FILE, &file);
  if (r == 0) {
    service_blob_path(service, file.sha256, files->key);
    inputs->audited_key = files->key;
  }
  return r < 0 && r != -ENOENT
             ? error_set(err, r, "the key of the model under attack cannot be read: %s", strerror(-r))
             : 0;
}

static int find_own(struct service *service, const char *id, const char *dataset, bool *ret_own) {
  struct model_row model;
  int r = store_model_get(service->store, id, &model);
  if (r < 0)
    return r;
  *ret_own = strcmp(model.dataset_id, dataset) == 0;
  model_row_clear(&model);
  return 0;
}

/* Not every model has them. */
static int find_onnx(struct service *service, const char *model, struct audit_files *files,
                     struct job_inputs *inputs, struct guise_error *err) {
  struct model_file_row file;
  for (size_t i = 0; i < JOB_ONNX_FILES; i++) {
    int r = store_model_file(service->store, model, job_onnx_names[i], &file);
    if (r < 0 && r != -ENOENT)
      return error_set(err, r, "the model under attack cannot be read: %s", strerror(-r));
    if (r == 0)
      service_blob_path(service, file.sha256, files->onnx[i]);
    inputs->audited_onnx[i] = r == 0 ? files->onnx[i] : NULL;
  }
  return 0;
}

int audit_find(struct service *service, const char *job, const char *dataset, struct audit_files *files,
               struct job_inputs *inputs, struct guise_error *err) {
  struct job_input row;
  struct model_file_row model, report;
  int r = store_job_input(service->store, job, "/model", &row);
  if (r == -ENOENT)
    return 0;
  if (r == 0)
    r = store_model_file(service->store, row.model_id, MODEL_FILE, &model);
  if (r == 0)
    r = store_model_file(service->store, row.model_id, REPORT_FILE, &report);
  if (r == 0)
    r = find_own(service, row.model_id, dataset, &inputs->dataset_own);
  if (r < 0)
    return error_set(err, r, "the model under attack cannot be read: %s", strerror(-r));
  memcpy(files->model_id, row.model_id, sizeof(files->model_id));
  memcpy(files->report_sha256, report.sha256, sizeof(files->report_sha256));
  service_blob_path(service, model.sha256, files->model);
  service_blob_path(service, report.sha256, files->report);
  inputs->audited_model = files->model;
  inputs->audited_report = files->report;
  r = find_key(service, row.model_id, files, inputs, err);
  return r < 0 ? r : find_onnx(service, row.model_id, files, inputs, err);
}

int audit_publish(struct service *service, const char *job, const struct audit_files *files,
                  const char *output, struct model_row *model, int64_t *ret_seq, struct guise_error *err) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  memcpy(model->id, files->model_id, sizeof(model->id));
  (void)pthread_mutex_lock(&service->blob_lock);
  int r = blob_publish_files(service, output, model, err);
  if (r == 0) {
    r = store_model_audited(service->store, model, job, files->report_sha256, &blobs, &count, ret_seq);
    if (r == 0)
      blob_remove(service, blobs, count);
    else
      error_set(err, r, "the audit could not be recorded: %s", strerror(-r));
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}
