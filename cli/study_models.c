/* Cells that take the models of other cells: {"cell": NAME} in the place of a model's id. In the study they
 * are found and put in an order; in a run, jobs wait for the jobs whose models they take. */
#include <string.h>

#include "cli/document.h"
#include "cli/study_run.h"

/* ---- in the study ---- */

/* The cell that a value names, NULL = it is an ordinary value. */
static const char *named_cell(const json_t *value) {
  return json_object_size(value) == 1 ? json_string_value(json_object_get(value, "cell")) : NULL;
}

/* Adds every field below `value` that takes a model: {"/mask/reference": "none"}. */
static int collect(const json_t *value, const char *pointer, json_t *models) {
  const char *key, *cell = named_cell(value);
  json_t *entry;
  size_t i;
  int r = 0;
  if (cell && *pointer)
    return json_object_set_new(models, pointer, json_string(cell));
  json_object_foreach((json_t *)value, key, entry) {
    _cleanup_(freep) char *at = pointer_append(pointer, key);
    r |= at ? collect(entry, at, models) : -ENOMEM;
  }
  json_array_foreach(value, i, entry) {
    char number[24];
    (void)snprintf(number, sizeof(number), "%zu", i);
    _cleanup_(freep) char *at = pointer_append(pointer, number);
    r |= at ? collect(entry, at, models) : -ENOMEM;
  }
  return r < 0 ? -ENOMEM : 0;
}

static void tell(json_t *problems, const char *format, const char *cell, const char *other) {
  char detail[800];
  (void)snprintf(detail, sizeof(detail), format, cell, other); /* NOLINT: constants of this file */
  (void)json_array_append_new(problems, json_pack("{s:s,s:s}", "pointer", "/cells", "detail", detail));
}

enum mark { NEW, OPEN, PLACED };

/* Puts the cell behind those that it takes models of; `numbers`: cells by name. */
static void place(struct study *study, uint32_t cell, const json_t *numbers, unsigned char *mark,
                  uint32_t *placed, json_t *problems) {
  const char *field;
  json_t *name;
  mark[cell] = OPEN;
  json_object_foreach(study->cell[cell].models, field, name) {
    const json_t *number = json_object_get(numbers, json_string_value(name));
    const uint32_t other = (uint32_t)json_integer_value(number);
    if (!number)
      tell(problems,
           "the cell '%.200s' takes the model of '%.200s', and the study has no such cell (with axes, a "
           "cell's name ends with their values: \"none drop_low=3\")",
           study->cell[cell].name, json_string_value(name));
    else if (mark[other] == OPEN)
      tell(problems, "the cell '%.200s' takes the model of '%.200s', which in the end waits for it itself",
           study->cell[cell].name, study->cell[other].name);
    else if (mark[other] == NEW)
      place(study, other, numbers, mark, placed, problems);
  }
  mark[cell] = PLACED;
  study->order[(*placed)++] = cell;
}

int study_find_models(struct study *study, json_t *problems) {
  _cleanup_(freep) unsigned char *mark = calloc(study->cells, sizeof(*mark));
  json_t *numbers = json_object();
  uint32_t placed = 0;
  int r = mark && numbers ? 0 : -ENOMEM;
  study->order = calloc(study->cells, sizeof(*study->order));
  for (uint32_t c = 0; c < study->cells && r == 0; c++) {
    struct study_cell *cell = &study->cell[c];
    cell->models = json_object();
    r = study->order && cell->models && json_object_set_new(numbers, cell->name, json_integer(c)) == 0
            ? collect(cell->spec, "", cell->models)
            : -ENOMEM;
  }
  for (uint32_t c = 0; c < study->cells && r == 0; c++)
    if (mark[c] == NEW)
      place(study, c, numbers, mark, &placed, problems);
  json_decref(numbers);
  return r;
}

void study_put_models(json_t *spec, const json_t *models) {
  const char *key;
  json_t *entry;
  void *next;
  size_t i;
  json_object_foreach_safe(spec, next, key, entry) {
    const char *cell = named_cell(entry);
    json_t *model = cell ? json_object_get(models, cell) : NULL;
    if (model)
      (void)json_object_set(spec, key, model);
    else if (cell)
      (void)json_object_del(spec, key);
    else
      study_put_models(entry, models);
  }
  json_array_foreach(spec, i, entry) {
    json_t *model = named_cell(entry) ? json_object_get(models, named_cell(entry)) : NULL;
    if (model)
      (void)json_array_set(spec, i, model);
    else
      study_put_models(entry, models);
  }
}

/* ---- in a run ---- */

/* The job of the same seed in the cell that is called `name`. */
static struct planned_job *job_of(const struct study_run *run, const char *name, uint32_t seed) {
  const struct study *study = &run->study;
  for (uint32_t c = 0; c < study->cells; c++)
    if (strcmp(study->cell[c].name, name) == 0)
      return &run->job[c * study->seeds + seed];
  return NULL; /* study_find_models() refused such a study */
}

json_t *models_hashes(const struct study_run *run, uint32_t cell, uint32_t seed) {
  json_t *hashes = json_object(), *name;
  const char *field;
  json_object_foreach(run->study.cell[cell].models, field, name)(void)
      json_object_set_new(hashes, field, json_string(job_of(run, json_string_value(name), seed)->hash));
  return hashes;
}

json_t *models_ids(const struct study_run *run, const struct planned_job *planned) {
  json_t *ids = json_object(), *name;
  const char *field;
  json_object_foreach(run->study.cell[planned->cell].models, field, name) {
    const char *cell = json_string_value(name);
    (void)json_object_set_new(ids, cell, json_string(job_of(run, cell, planned->seed)->model));
  }
  return ids;
}

bool models_ready(const struct study_run *run, const struct planned_job *planned) {
  const char *field;
  json_t *name;
  json_object_foreach(run->study.cell[planned->cell].models, field, name) {
    const struct planned_job *other = job_of(run, json_string_value(name), planned->seed);
    if (other->state != SUCCEEDED || !*other->model)
      return false;
  }
  return true;
}

void models_give_up(struct study_run *run) {
  const struct study *study = &run->study;
  for (uint32_t i = 0; i < run->jobs; i++) { /* what waits for a job of this loop comes behind it */
    struct planned_job *planned = &run->job[study->order[i / study->seeds] * study->seeds + i % study->seeds];
    const char *field;
    json_t *name;
    if (planned->state != PLANNED)
      continue;
    json_object_foreach(study->cell[planned->cell].models, field, name) {
      const struct planned_job *other = job_of(run, json_string_value(name), planned->seed);
      if (other->state != FAILED)
        continue;
      planned->state = FAILED;
      (void)snprintf(planned->reason, sizeof(planned->reason),
                     "was not run: it takes the model of the cell %.160s, which there is none of",
                     json_string_value(name));
    }
  }
}

/* ---- models that the daemon does not have (any more) ---- */

static int model_exists(struct study_run *run, const char *model, bool *ret_exists) {
  json_t *row = NULL;
  bool missing = !*model;
  int code = missing ? EXIT_DONE : run_get(run, http_path("/v1/models/", model, NULL), &missing, &row);
  json_decref(row);
  *ret_exists = !missing;
  return code;
}

/* A job that an earlier run submitted for the model alone: its model, or it is followed to its end. */
static int take_again(struct study_run *run, struct planned_job *planned) {
  json_t *job = NULL;
  bool exists = false;
  int code = run_get(run, http_path("/v1/jobs/", planned->again, NULL), NULL, &job);
  if (code == EXIT_DONE && json_is_true(json_object_get(job, "terminal"))) {
    (void)snprintf(planned->model, sizeof(planned->model), "%s", json_text(job, "model", ""));
    code = model_exists(run, planned->model, &exists);
    planned->state = exists ? SUCCEEDED : PLANNED;
  } else if (code == EXIT_DONE) {
    planned->state = ACTIVE;
    (void)snprintf(planned->id, sizeof(planned->id), "%s", planned->again);
  }
  json_decref(job);
  return code;
}

/* Sees that the model of a job that has its line in results.jsonl is there, or comes. */
static int want_model(struct study_run *run, struct planned_job *planned) {
  bool exists = false;
  if (planned->state != SUCCEEDED || planned->looked_for)
    return EXIT_DONE;
  planned->looked_for = true;
  int code = model_exists(run, planned->model, &exists);
  if (code != EXIT_DONE || exists)
    return code;
  planned->for_model = true;
  if (*planned->again)
    return take_again(run, planned);
  planned->state = PLANNED;
  return EXIT_DONE;
}

int models_find(struct study_run *run) {
  const struct study *study = &run->study;
  int code = EXIT_DONE;
  for (uint32_t i = run->jobs; i-- > 0;) { /* who takes a model comes before the one that makes it */
    const struct planned_job *planned =
        &run->job[study->order[i / study->seeds] * study->seeds + i % study->seeds];
    const char *field;
    json_t *name;
    if (planned->state != PLANNED)
      continue;
    json_object_foreach(study->cell[planned->cell].models, field, name) {
      if (code == EXIT_DONE)
        code = want_model(run, job_of(run, json_string_value(name), planned->seed));
    }
  }
  return code;
}
