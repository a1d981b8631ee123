#include "daemon/inputs.h"

#include <stdio.h>
#include <string.h>

#include "core/attack/lessons.h"
#include "core/base/json.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "daemon/templates.h"

struct input {
  const char *section, *key, *pointer;
  bool model;         /* else a data set */
  const char *method; /* the mask that a model must have; NULL = any */
  size_t path;        /* member of struct job_inputs */
  bool foreign;       /* must know nobody of the job's own data set, as far as names tell */
  bool large;         /* images must be of the job's input size at least, whatever the job does with them */
  bool judges;        /* the generator of a mask that has one learns from it */
  bool alike;         /* must know the same people of the same data set, at the same size */
  bool undefended;    /* must have been trained without defences */
};

static const struct input table[] = {
    {"mask", "public_dataset", "/mask/public_dataset", false, NULL, offsetof(struct job_inputs, public_pack),
     false, false, false, false, false},
    {"mask", "embedder", "/mask/embedder", true, NULL, offsetof(struct job_inputs, embedder_model), false,
     false, true, false, false},
    {"mask", "reference", "/mask/reference", true, "none", offsetof(struct job_inputs, reference_model),
     false, false, false, false, false},
    {"defences", "model", "/defences/model", true, NULL, offsetof(struct job_inputs, pretrained_model), true,
     false, false, false, false},
    {"audit", "public_dataset", "/audit/public_dataset", false, NULL,
     offsetof(struct job_inputs, audit_public_pack), true, true, false, false, false},
    {"audit", "teacher", "/audit/teacher", true, NULL, offsetof(struct job_inputs, teacher_model), true,
     false, false, false, false},
    {"audit", "control", "/audit/control", true, "none", offsetof(struct job_inputs, control_model), false,
     false, false, true, true},
};
_Static_assert(ARRAY_SIZE(table) + AUDIT_INPUTS <= JOB_INPUTS_MAX,
               "a job has a place for each of its inputs");

/* ---- submitting ---- */

/* The name that the body gives the input, NULL = none. Where the section is a list, the first entry that has
 * one, and problems are told there. */
static const char *named(const json_t *body, struct input *input, char pointer[static 64]) {
  const json_t *section = json_object_get(body, input->section);
  size_t i;
  json_t *entry;
  json_array_foreach(section, i, entry) {
    const char *name = json_string_value(json_object_get(entry, input->key));
    if (!name)
      continue;
    (void)snprintf(pointer, 64, "/%.20s/%zu/%.20s", input->section, i, input->key);
    input->pointer = pointer;
    return name;
  }
  return json_string_value(json_object_get(section, input->key));
}

/* Attackers who have seen the people they attack would be no outsiders, and some defences promise that what
 * comes from public faces comes from nobody else. */
static bool must_be_foreign(const struct input *input, const json_t *body) {
  const json_t *defences = json_object_get(body, "defences");
  size_t i;
  json_t *entry;
  if (input->foreign || strcmp(input->pointer, "/mask/public_dataset") != 0)
    return input->foreign;
  json_array_foreach(defences, i, entry) {
    const char *name = json_string_value(json_object_get(entry, "method"));
    for (int method = 0; name && method < DEFENCES; method++) {
      const struct defence_traits *traits = defence_traits((enum defence_method)method);
      const bool trains = traits->pretrained && !json_is_string(json_object_get(entry, "model"));
      if (strcmp(traits->name, name) == 0 && (traits->public_constants || trains))
        return true;
    }
  }
  return false;
}

static int check_foreign(struct service *service, const struct client *client, const struct input *input,
                         const json_t *body, const char *dataset, const char *sha256,
                         struct spec_problems *problems) {
  const char *name = json_string_value(json_object_get(body, "dataset"));
  struct dataset_row own;
  int r =
      must_be_foreign(input, body) && name && *name ? store_dataset_get(service->store, name, &own) : -ENOENT;
  if (r < 0)
    return r == -ENOENT ? 0 : r; /* a missing data set is told at its own place */
  if (!owner_sees(client->sees, own.owner))
    return 0; /* likewise: what is in it is nobody else's business */
  bool same = strcmp(own.id, dataset) == 0 || (*own.sha256 && strcmp(own.sha256, sha256) == 0);
  if (!same)
    return 0;
  return spec_problems_add(
      problems, input->pointer, "conflict", NULL,
      input->model ? "the model was trained on the job's own data set: name one of other, public faces"
                   : "public faces cannot be the job's own: name another data set");
}

/* Whether public faces of the training become its templates, or those of the network that it begins with;
 * embedders are trained on smaller ones as well. Other mistakes of the body are told elsewhere. */
static int masks_public(const json_t *body, bool *ret_masks) {
  const char *type = json_string_value(json_object_get(body, "type"));
  struct spec_problems unused = {0};
  struct job_spec spec;
  *ret_masks = false;
  if (type && strcmp(type, job_type_name(JOB_AUDIT)) == 0)
    return 0;
  const int r = job_spec_parse(body, &spec, &unused);
  *ret_masks = job_spec_public_pictures(&spec) || (job_spec_pretrained(&spec) && !*spec.defences.model);
  if (r == 0)
    job_spec_free(&spec);
  spec_problems_free(&unused);
  return r == -EINVAL ? 0 : r;
}

static int check_size(const struct input *input, const json_t *body, const struct dataset_row *row,
                      struct spec_problems *problems) {
  uint32_t size = inputs_wanted_size(body);
  bool masks = true;
  if (size <= row->size)
    return 0;
  const int r = input->large ? 0 : masks_public(body, &masks);
  if (r < 0 || !masks)
    return r;
  return spec_problems_add(problems, input->pointer, "out_of_range", NULL,
                           "model.input is %u pixels but the data set %.100s holds images of %u: upload it "
                           "with a larger size, or choose a smaller input",
                           size, row->name, row->size);
}

static int check_dataset(struct service *service, const struct client *client, const struct input *input,
                         const json_t *body, const char *name, struct job_input *ret_found,
                         struct spec_problems *problems) {
  struct dataset_row row;
  int r = store_dataset_get(service->store, name, &row);
  if (r == 0 && !owner_sees(client->sees, row.owner))
    r = -ENOENT;
  if (r == -ENOENT)
    return spec_problems_add(problems, input->pointer, "unknown_value", NULL,
                             "there is no data set %.100s: upload it first", name);
  if (r == 0 && row.kind == DATASET_TEMPLATES)
    return templates_no_pictures(input->pointer, &row, problems);
  if (r == 0 && row.state == DATASET_FAILED)
    return spec_problems_add(problems, input->pointer, "conflict", NULL,
                             "the data set %.100s could not be read (%.100s)", name, row.error);
  if (r == 0)
    memcpy(ret_found->dataset_id, row.id, sizeof(row.id));
  if (r == 0)
    r = check_foreign(service, client, input, body, row.id, row.sha256, problems);
  if (r == 0 && input->large && row.state == DATASET_READY && row.images < LESSON_BATCH)
    r = spec_problems_add(
        problems, input->pointer, "out_of_range", NULL,
        "attacks that learn need at least %u public faces, and the data set %.100s holds %u: name a "
        "larger one",
        LESSON_BATCH, row.name, row.images);
  return r < 0 ? r : check_size(input, body, &row, problems);
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

/* The defences that it was trained with, an array of the caller's; NULL where nobody knows any more. */
static int defences_of(struct service *service, const struct model_row *model, json_t **ret_defences) {
  json_t *facts = json_loads(model->facts, 0, NULL), *spec;
  struct job_row job;
  *ret_defences = json_incref(json_object_get(facts, "defences"));
  json_decref(facts);
  if (*ret_defences)
    return 0;
  int r = store_job_get(service->store, model->job_id, &job); /* facts of earlier versions have none */
  if (r < 0)
    return r == -ENOENT ? 0 : r;
  spec = json_loads(job.spec, 0, NULL);
  job_row_clear(&job);
  *ret_defences = json_incref(json_object_get(spec, "defences"));
  if (spec && !*ret_defences) /* it was trained before there were any */
    *ret_defences = json_array();
  json_decref(spec);
  return 0;
}

/* What a defence did to the weights would be taken for the attack's weakness. */
static int check_undefended(struct service *service, const struct input *input, const struct model_row *model,
                            struct spec_problems *problems) {
  json_t *defences = NULL;
  if (!input->undefended)
    return 0;
  int r = defences_of(service, model, &defences);
  const char *method = json_string_value(json_object_get(json_array_get(defences, 0), "method"));
  if (r == 0 && !defences)
    r = spec_problems_add(
        problems, input->pointer, "conflict", NULL,
        "nobody knows any more whether %s was trained with a defence, as the job that "
        "trained it is gone: train another, or leave control out and a small one is trained",
        model->id);
  else if (r == 0 && json_array_size(defences) > 0)
    r = spec_problems_add(problems, input->pointer, "conflict", NULL,
                          "%s was trained with the defence %.30s, and a control is undefended: name a model "
                          "that was trained without, or leave control out and a small one is trained",
                          model->id, method ? method : "?");
  json_decref(defences);
  return r;
}

/* What it looks at are pictures of the job's size, and how they would have to change must follow from it. */
static int check_judge(const struct input *input, const json_t *body, const struct model_row *model,
                       struct spec_problems *problems) {
  const char *wanted = json_string_value(json_object_get(json_object_get(body, "mask"), "method"));
  enum mask_method method;
  if (!input->judges || !wanted || mask_method_from_name(wanted, &method) < 0 ||
      !mask_traits(method)->needs_public)
    return 0;
  json_t *facts = json_loads(model->facts, 0, NULL);
  const char *own = json_string_value(json_object_get(json_object_get(facts, "mask"), "method"));
  const json_int_t size = json_integer_value(json_object_get(json_object_get(facts, "model"), "input"));
  int r = 0;
  if (size != inputs_wanted_size(body))
    r = spec_problems_add(problems, input->pointer, "conflict", NULL,
                          "the mask %s needs an embedder of the job's own input, %u pixels; that of %s is "
                          "%" JSON_INTEGER_FORMAT ": name another, or leave it out and one is trained",
                          wanted, inputs_wanted_size(body), model->id, size);
  else if (own && mask_method_from_name(own, &method) == 0 && mask_traits(method)->random)
    r = spec_problems_add(
        problems, input->pointer, "conflict", NULL,
        "the mask %s cannot learn from an embedder whose mask draws, like %s: name one with "
        "the mask \"none\", or leave it out and one is trained",
        wanted, own);
  json_decref(facts);
  return r;
}

/* The training whose model is attacked, as far as it says who was trained on: that of the job itself, or of
 * an audit what audit_resolve has put in. NULL: its mistakes are told elsewhere, or memory is out. */
static json_t *training_of(const json_t *body) {
  const char *type = json_string_value(json_object_get(body, "type"));
  struct spec_problems unused = {0};
  struct job_spec spec;
  if (type && strcmp(type, job_type_name(JOB_AUDIT)) == 0)
    return json_clone(body);
  json_t *training = NULL;
  if (job_spec_parse(body, &spec, &unused) == 0) {
    training = job_spec_json(&spec);
    job_spec_free(&spec);
  }
  spec_problems_free(&unused);
  return training;
}

static double number_in(const json_t *object, const char *section, const char *key) {
  return json_number_value(json_object_get(json_object_get(object, section), key));
}

static int compare_trainings(struct service *service, const struct client *client, const struct input *input,
                             const json_t *training, const json_t *facts, const struct model_row *model,
                             struct spec_problems *problems) {
  static const char *const of_people[][2] = {
      {"holdout", "identities"}, {"holdout", "images"}, {"train", "seed"}};
  const char *name = json_string_value(json_object_get(training, "dataset"));
  const char *sha256 = json_string_value(json_object_get(facts, "dataset_sha256"));
  struct dataset_row own;
  int r = name && *name ? store_dataset_get(service->store, name, &own) : -ENOENT;
  if (r < 0)
    return r == -ENOENT ? 0 : r; /* told at its own place */
  if (!owner_sees(client->sees, own.owner))
    return 0; /* likewise */
  if (!sha256 || strcmp(sha256, own.sha256) != 0)
    return spec_problems_add(problems, input->pointer, "conflict", NULL,
                             "%s was not trained on the faces that the data set holds now: name a model with "
                             "the mask \"none\" that was, or leave control out and a small one is trained",
                             model->id);
  for (size_t i = 0; i < ARRAY_SIZE(of_people); i++)
    if (number_in(training, of_people[i][0], of_people[i][1]) !=
        number_in(facts, of_people[i][0], of_people[i][1]))
      return spec_problems_add(
          problems, input->pointer, "conflict", NULL,
          "%s knows other people of the data set than the model under attack: %s.%s must "
          "be the same in both trainings",
          model->id, of_people[i][0], of_people[i][1]);
  if (number_in(training, "model", "input") != number_in(facts, "model", "input"))
    return spec_problems_add(problems, input->pointer, "conflict", NULL,
                             "the input of %s is %.0f pixels and that of the model under attack %.0f: they "
                             "must be the same",
                             model->id, number_in(facts, "model", "input"),
                             number_in(training, "model", "input"));
  return 0;
}

/* What succeeds on a control says something of the model only where both know the same people alike. */
static int check_alike(struct service *service, const struct client *client, const struct input *input,
                       const json_t *body, const struct model_row *model, struct spec_problems *problems) {
  if (!input->alike)
    return 0;
  json_t *training = training_of(body), *facts = json_loads(model->facts, 0, NULL);
  int r = training ? compare_trainings(service, client, input, training, facts, model, problems) : 0;
  json_decref(training);
  json_decref(facts);
  return r;
}

static int check_model(struct service *service, const struct client *client, const struct input *input,
                       const json_t *body, const char *id, struct job_input *ret_found,
                       struct spec_problems *problems) {
  struct model_file_row file;
  struct model_row model = {.facts = NULL};
  int r = store_model_get(service->store, id, &model);
  if (r == 0 && !owner_sees(client->sees, model.owner))
    r = -ENOENT;
  else if (r == 0)
    r = store_model_file(service->store, id, MODEL_FILE, &file);
  if (r < 0)
    model_row_clear(&model);
  if (r == -ENOENT)
    return spec_problems_add(problems, input->pointer, "unknown_value", NULL,
                             "there is no model %.60s: GET /v1/models lists those there are", id);
  if (r < 0)
    return r;
  memcpy(ret_found->model_id, model.id, sizeof(model.id));
  if (store_model_file(service->store, id, MASK_KEY_FILE, &file) == 0)
    r = spec_problems_add(problems, input->pointer, "conflict", NULL,
                          "%s is a keyed model, which a job can attack but not use: name one without a key",
                          model.id);
  if (r == 0 && input->method)
    r = check_method(input, &model, problems);
  if (r == 0)
    r = check_undefended(service, input, &model, problems);
  if (r == 0)
    r = check_judge(input, body, &model, problems);
  if (r == 0)
    r = check_foreign(service, client, input, body, model.dataset_id, "", problems);
  if (r == 0)
    r = check_alike(service, client, input, body, &model, problems);
  model_row_clear(&model);
  return r;
}

uint32_t inputs_wanted_size(const json_t *body) {
  const json_t *input = json_object_get(json_object_get(body, "model"), "input");
  json_int_t value = json_integer_value(input);
  return !input || json_is_null(input) ? 112 : value > 0 && value <= 224 ? (uint32_t)value : 0;
}

int inputs_check(struct service *service, const struct client *client, const json_t *body,
                 struct job_row *row, struct spec_problems *problems) {
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(table) && r == 0; i++) {
    struct input input = table[i];
    char pointer[64];
    const char *name = named(body, &input, pointer);
    struct job_input *found = &row->inputs[row->input_count];
    if (!name || !*name)
      continue; /* the spec's own checks tell */
    *found = (struct job_input){.pointer = table[i].pointer};
    r = (input.model ? check_model : check_dataset)(service, client, &input, body, name, found, problems);
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

/* What the model that a job is compared with reaches itself; 0 = it was not verified. */
static double accuracy_of(struct service *service, const char *id) {
  struct model_row model;
  if (store_model_get(service->store, id, &model) < 0)
    return 0;
  json_t *summary = json_loads(model.summary, 0, NULL);
  const double accuracy = json_number_value(json_object_get(summary, "accuracy"));
  json_decref(summary);
  model_row_clear(&model);
  return accuracy;
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
    if (table[i].undefended)
      inputs->control_accuracy = accuracy_of(service, row.model_id);
  }
  return 0;
}
