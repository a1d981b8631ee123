/* The study file: checking it, expanding axes times cells, and making jobs of it. What a job's fields may be
 * is the daemon's business; here only the study's own parts are checked. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/output.h"
#include "cli/study.h"

#define NAME_MAX_BYTES 200u /* a label's value has 256 at most */
#define SEED_POINTER "/train/seed"

/* ---- problems ---- */

static void add_problem(json_t *problems, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_problem(json_t *problems, const char *pointer, const char *format, ...) {
  char detail[400];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(detail, sizeof(detail), format, args);
  va_end(args);
  (void)json_array_append_new(problems, json_pack("{s:s,s:s}", "pointer", pointer, "detail", detail));
}

static void check_keys(const json_t *object, const char *pointer, const char *const *known,
                       json_t *problems) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    const char *const *name = known;
    while (*name && strcmp(*name, key) != 0)
      name++;
    if (*name)
      continue;
    _cleanup_(freep) char *at = pointer_append(pointer, key);
    add_problem(problems, at ? at : pointer, "the study file has no such field");
  }
}

/* ---- names and seeds ---- */

static char *parse_name(const json_t *document, json_t *problems) {
  const char *name = json_text(document, "name", "");
  size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
  if (good == 0 || name[good] || good > NAME_MAX_BYTES)
    add_problem(problems, "/name",
                "name must be a text of 1 to %u letters, digits, '.', '_' or '-': jobs are labelled with it",
                NAME_MAX_BYTES);
  return strdup(name);
}

static bool seed_is_new(const json_t *seeds, size_t i) {
  for (size_t before = 0; before < i; before++)
    if (json_equal(json_array_get(seeds, before), json_array_get(seeds, i)))
      return false;
  return true;
}

static int parse_seeds(const json_t *document, struct study *study, json_t *problems) {
  const json_t *seeds = json_object_get(document, "seeds"), *seed;
  size_t i, count = json_array_size(seeds);
  if (count == 0 || count > STUDY_JOBS_MAX) {
    add_problem(problems, "/seeds", "seeds must be a list of 1 to %u whole numbers, for example [1, 2, 3]",
                STUDY_JOBS_MAX);
    return 0;
  }
  study->seed = calloc(count, sizeof(*study->seed));
  if (!study->seed)
    return -ENOMEM;
  json_array_foreach(seeds, i, seed) {
    json_int_t value = json_integer_value(seed);
    char pointer[48];
    (void)snprintf(pointer, sizeof(pointer), "/seeds/%zu", i);
    if (!json_is_integer(seed) || value < 0 || value > (INT64_C(1) << 53) - 1)
      add_problem(problems, pointer, "a seed must be a whole number from 0 to 9007199254740991");
    else if (!seed_is_new(seeds, i))
      add_problem(problems, pointer, "the seed %lld stands there twice", (long long)value);
    study->seed[i] = (uint64_t)value;
  }
  study->seeds = (uint32_t)count;
  return 0;
}

/* ---- base ---- */

static json_t *parse_base(const json_t *document, json_t *problems) {
  const json_t *base = json_object_get(document, "base");
  const json_t *labels = json_object_get(base, "labels");
  static const char *const own[] = {"study", "cell", "seed", "study_hash"};
  if (!json_is_object(base)) {
    add_problem(problems, "/base", "base must be a job as for POST /v1/jobs: an object with a dataset");
    return json_object();
  }
  if (pointer_get(base, SEED_POINTER))
    add_problem(problems, "/base" SEED_POINTER, "the seeds are listed in /seeds: leave this out");
  if (labels && !json_is_object(labels))
    add_problem(problems, "/base/labels", "labels must be an object of strings");
  for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
    char pointer[64];
    (void)snprintf(pointer, sizeof(pointer), "/base/labels/%s", own[i]);
    if (json_object_get(labels, own[i]))
      add_problem(problems, pointer, "this label is the study's own");
  }
  json_t *copy = json_deep_copy(base);
  if (copy && !json_object_get(copy, "type"))
    (void)json_object_set_new(copy, "type", json_string("train"));
  return copy;
}

/* ---- cells and axes ---- */

/* One field of a cell or one value of an axis. */
static void apply(json_t *spec, const char *field, const json_t *value, const char *pointer,
                  json_t *problems) {
  if (strcmp(field, SEED_POINTER) == 0)
    add_problem(problems, pointer, "the seeds are listed in /seeds: leave this out");
  else if (strcmp(field, "/labels") == 0 || strncmp(field, "/labels/", 8) == 0)
    add_problem(problems, pointer, "labels belong into /base");
  else if (pointer_set(spec, field, json_deep_copy(value)) < 0)
    add_problem(problems, pointer,
                "'%.100s' is no field of a job: give a JSON pointer through objects, such as /mask/method",
                field);
}

static int add_cell(struct study *study, const char *name, json_t *spec) {
  struct study_cell *grown = realloc(study->cell, (study->cells + 1) * sizeof(*grown));
  char *copy = strdup(name);
  if (grown)
    study->cell = grown;
  if (!grown || !copy || !spec) {
    free(copy);
    json_decref(spec);
    return -ENOMEM;
  }
  study->cell[study->cells++] = (struct study_cell){copy, spec, NULL};
  return 0;
}

static bool name_is_usable(const char *name) {
  for (const unsigned char *p = (const unsigned char *)name; *p; p++)
    if (*p < 0x20 || *p == 0x7f)
      return false;
  return *name && strlen(name) <= NAME_MAX_BYTES;
}

static int parse_cell(const json_t *entry, size_t i, const json_t *base, struct study *study,
                      json_t *problems) {
  static const char *const known[] = {"name", "set", NULL};
  const char *name = json_text(entry, "name", ""), *field;
  json_t *set = json_object_get(entry, "set"), *value;
  char at[64], inside[80];
  (void)snprintf(at, sizeof(at), "/cells/%zu", i);
  (void)snprintf(inside, sizeof(inside), "%s/name", at);
  if (!name_is_usable(name))
    add_problem(problems, inside, "a cell needs a name: a text of 1 to %u bytes", NAME_MAX_BYTES);
  for (uint32_t c = 0; c < study->cells; c++)
    if (*name && strcmp(study->cell[c].name, name) == 0)
      add_problem(problems, inside, "two cells are called '%.100s'", name);
  check_keys(entry, at, known, problems);
  (void)snprintf(inside, sizeof(inside), "%s/set", at);
  if (set && !json_is_object(set))
    add_problem(problems, inside, "set must be an object of JSON pointers and values");
  json_t *spec = json_deep_copy(base);
  json_object_foreach(set, field, value) {
    _cleanup_(freep) char *pointer = pointer_append(inside, field);
    if (spec)
      apply(spec, field, value, pointer ? pointer : inside, problems);
  }
  return add_cell(study, name, spec);
}

static int parse_cells(const json_t *document, const json_t *base, struct study *study, json_t *problems) {
  const json_t *cells = json_object_get(document, "cells"), *entry;
  size_t i;
  int r = 0;
  if (!cells)
    return add_cell(study, "", json_deep_copy(base)); /* axes alone name the cells */
  if (json_array_size(cells) == 0) {
    add_problem(problems, "/cells",
                "cells must be a list such as [{\"name\": \"none\", \"set\": {\"/mask/method\": \"none\"}}]");
    return 0;
  }
  if (json_array_size(cells) > STUDY_JOBS_MAX) {
    add_problem(problems, "/cells", "at most %u cells", STUDY_JOBS_MAX);
    return 0;
  }
  json_array_foreach(cells, i, entry) {
    if (r == 0)
      r = parse_cell(entry, i, base, study, problems);
  }
  return r;
}

/* "ahm drop_low=3": what the cell of this value is called. NULL when out of memory. */
static char *axis_cell_name(const char *cell, const char *field, const json_t *value) {
  const char *last = strrchr(field, '/');
  _cleanup_(freep) char *text = json_is_string(value) ? strdup(json_string_value(value))
                                                      : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  char *name = NULL;
  if (!text || asprintf(&name, "%s%s%s=%s", cell, *cell ? " " : "", last ? last + 1 : field, text) < 0)
    return NULL;
  return name;
}

/* Replaces the cells so far by their product with the axis. */
static int multiply(struct study *study, const char *field, const json_t *values, const char *pointer,
                    json_t *problems) {
  struct study product = {.name = NULL};
  const json_t *value;
  size_t i;
  int r = 0;
  for (uint32_t c = 0; c < study->cells; c++) {
    const struct study_cell *cell = &study->cell[c];
    json_array_foreach(values, i, value) {
      _cleanup_(freep) char *name = axis_cell_name(cell->name, field, value);
      json_t *spec = json_deep_copy(cell->spec);
      if (!name || !spec) {
        json_decref(spec);
        r = -ENOMEM;
        break;
      }
      /* mistakes of an axis are the same for every cell but for what the cell set on the way */
      apply(spec, field, value, pointer, c == 0 ? problems : NULL);
      if (!name_is_usable(name) && c == 0)
        add_problem(problems, pointer, "the name '%.60s...' of the cell is too long or not printable", name);
      r = add_cell(&product, name, spec);
    }
    if (r < 0)
      break;
  }
  if (r < 0) {
    study_free(&product);
    return r;
  }
  product.name = TAKE(study->name);
  product.seed = TAKE(study->seed);
  product.seeds = study->seeds;
  study_free(study);
  *study = product;
  return 0;
}

static bool values_differ(const json_t *values) {
  for (size_t i = 0; i < json_array_size(values); i++)
    for (size_t j = 0; j < i; j++)
      if (json_equal(json_array_get(values, i), json_array_get(values, j)))
        return false;
  return true;
}

/* A cell that sets the axis' field would be overridden without a word. */
static void check_overlap(const json_t *document, const char *field, const char *pointer, json_t *problems) {
  const json_t *cell, *axis;
  size_t i, uses = 0;
  json_array_foreach(json_object_get(document, "cells"), i, cell) {
    if (json_object_get(json_object_get(cell, "set"), field))
      add_problem(problems, pointer, "the cell '%.60s' sets %.60s too", json_text(cell, "name", "?"), field);
  }
  json_array_foreach(json_object_get(document, "axes"), i, axis) {
    uses += strcmp(json_text(axis, "field", ""), field) == 0;
  }
  if (uses > 1)
    add_problem(problems, pointer, "another axis sets %.60s too", field);
}

static int parse_axis(const json_t *document, const json_t *axis, size_t i, struct study *study,
                      json_t *problems) {
  static const char *const known[] = {"field", "values", NULL};
  const char *field = json_text(axis, "field", NULL);
  const json_t *values = json_object_get(axis, "values");
  char at[64], inside[80];
  (void)snprintf(at, sizeof(at), "/axes/%zu", i);
  check_keys(axis, at, known, problems);
  (void)snprintf(inside, sizeof(inside), "%s/values", at);
  if (json_array_size(values) == 0 || !values_differ(values)) {
    add_problem(problems, inside, "values must be a list of different values");
    values = NULL;
  }
  (void)snprintf(inside, sizeof(inside), "%s/field", at);
  if (!field)
    add_problem(problems, inside, "an axis needs a field: a JSON pointer such as /mask/drop_low");
  else
    check_overlap(document, field, inside, problems);
  if (!field || !values)
    return 0;
  if ((uint64_t)study->cells * json_array_size(values) > STUDY_JOBS_MAX) {
    add_problem(problems, at, "the product of axes and cells has more than %u cells", STUDY_JOBS_MAX);
    return 0;
  }
  return multiply(study, field, values, inside, problems);
}

static int parse_axes(const json_t *document, struct study *study, json_t *problems) {
  const json_t *axes = json_object_get(document, "axes"), *axis;
  size_t i;
  int r = 0;
  if (axes && !json_is_array(axes))
    add_problem(problems, "/axes",
                "axes must be a list such as [{\"field\": \"/mask/drop_low\", "
                "\"values\": [0, 3]}]");
  if (json_array_size(axes) == 0 && !json_object_get(document, "cells"))
    add_problem(problems, "/cells", "give cells, axes or both: there is nothing to compare");
  json_array_foreach(axes, i, axis) {
    if (r == 0)
      r = parse_axis(document, axis, i, study, problems);
  }
  return r;
}

int study_parse(const json_t *document, struct study *ret_study, json_t *problems) {
  static const char *const known[] = {"name", "base", "seeds", "cells", "axes", NULL};
  struct study study = {.name = parse_name(document, problems)};
  if (!study.name)
    return -ENOMEM;
  check_keys(document, "", known, problems);
  json_t *base = parse_base(document, problems);
  int r = base ? parse_seeds(document, &study, problems) : -ENOMEM;
  if (r == 0)
    r = parse_cells(document, base, &study, problems);
  if (r == 0)
    r = parse_axes(document, &study, problems);
  json_decref(base);
  if (r == 0 && (uint64_t)study.cells * study.seeds > STUDY_JOBS_MAX)
    add_problem(problems, "/seeds", "the study has %llu jobs; at most %u",
                (unsigned long long)study.cells * study.seeds, STUDY_JOBS_MAX);
  if (r == 0 && json_array_size(problems) == 0)
    r = study_find_models(&study, problems);
  if (r == 0 && json_array_size(problems) > 0)
    r = -EINVAL;
  if (r < 0) {
    study_free(&study);
    return r;
  }
  *ret_study = study;
  return 0;
}

void study_free(struct study *study) {
  for (uint32_t c = 0; c < study->cells; c++) {
    free(study->cell[c].name);
    json_decref(study->cell[c].spec);
    json_decref(study->cell[c].models);
  }
  free(study->cell);
  free(study->order);
  free(study->seed);
  free(study->name);
  *study = (struct study){.name = NULL};
}

/* ---- jobs ---- */

json_t *study_job(const struct study *study, uint32_t cell, uint32_t seed, const char *hash,
                  const json_t *models) {
  char number[32];
  json_t *job = json_deep_copy(study->cell[cell].spec);
  study_put_models(job, models);
  (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)study->seed[seed]);
  if (!job || pointer_set(job, SEED_POINTER, json_integer((json_int_t)study->seed[seed])) < 0 ||
      pointer_set(job, "/labels/study", json_string(study->name)) < 0 ||
      pointer_set(job, "/labels/cell", json_string(study->cell[cell].name)) < 0 ||
      pointer_set(job, "/labels/seed", json_string(number)) < 0 ||
      pointer_set(job, "/labels/study_hash", json_string(hash)) < 0) {
    json_decref(job);
    return NULL;
  }
  _cleanup_(freep) char *text = json_dumps(job, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(job);
  return text ? json_loads(text, 0, NULL) : NULL;
}

/* The fields that name a data set are called so, and labels as anyone likes. */
static int collect_datasets(const json_t *value, const char *pointer, json_t *datasets) {
  const char *key;
  json_t *entry;
  int r = 0;
  json_object_foreach((json_t *)value, key, entry) {
    _cleanup_(freep) char *at = pointer_append(pointer, key);
    const bool called_so = strcmp(key, "dataset") == 0 || strcmp(key, "public_dataset") == 0;
    if (!at)
      return -ENOMEM;
    if (json_is_string(entry) && called_so)
      r |= json_object_set(datasets, at, entry);
    else if (strcmp(at, "/labels") != 0)
      r |= collect_datasets(entry, at, datasets);
  }
  return r < 0 ? -ENOMEM : 0;
}

json_t *study_datasets(const json_t *resolved) {
  json_t *datasets = json_object();
  if (datasets && collect_datasets(resolved, "", datasets) < 0) {
    json_decref(datasets);
    return NULL;
  }
  return datasets;
}

int study_hash(const json_t *resolved, uint64_t seed, const json_t *models, char ret_hash[SHA256_HEX]) {
  json_t *copy = json_deep_copy(resolved);
  if (json_object_size(models) > 0) /* a job's body has no such field */
    (void)json_object_set(copy, "models", (json_t *)models);
  (void)json_object_del(copy, "labels");
  (void)json_object_del(copy, "priority");
  (void)json_object_del(json_object_get(copy, "resources"), "max_runtime_s");
  _cleanup_(freep) char *text = copy && pointer_set(copy, SEED_POINTER, json_integer((json_int_t)seed)) == 0
                                    ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS)
                                    : NULL;
  json_decref(copy);
  if (!text)
    return -ENOMEM;
  sha256_data(text, strlen(text), ret_hash);
  return 0;
}
