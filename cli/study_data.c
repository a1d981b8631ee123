#include "cli/study_data.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/study.h"
#include "cli/study_decisions.h"

/* ---- figures ---- */

static const struct {
  const char *key, *name;
  bool shown, percent;
} plain_figures[] = {
    {"accuracy", "accuracy", true, true},          {"eer", "EER", true, true},
    {"tar_at_far_1e-2", "TAR@FAR 1%", true, true}, {"tar_at_far_1e-3", "TAR@FAR .1%", true, true},
    {"images_per_s", "images/s", true, false},     {"train_seconds", "seconds of training", false, false},
    {"seconds", "seconds", false, false},
};

static int add_figure(struct study_data *data, const struct figure *figure) {
  struct figure *grown = realloc(data->figure, (data->figures + 1) * sizeof(*grown));
  if (grown)
    data->figure = grown;
  if (!grown || !figure->key || !figure->name) {
    free(figure->key);
    free(figure->name);
    return -ENOMEM;
  }
  data->figure[data->figures++] = *figure;
  return 0;
}

static uint32_t find_figure(const struct study_data *data, const char *key) {
  uint32_t f = 0;
  while (f < data->figures && strcmp(data->figure[f].key, key) != 0)
    f++;
  return f;
}

/* "linear/T/ssim" */
static char *attack_key(const json_t *entry) {
  char *key = NULL;
  return asprintf(&key, "%s/%s/%s", json_text(entry, "attack", "?"), json_text(entry, "surface", "?"),
                  json_text(entry, "metric", "?")) < 0
             ? NULL
             : key;
}

static int add_attack_figures(struct study_data *data, const json_t *row) {
  const json_t *entry;
  size_t i;
  json_array_foreach(json_object_get(row, "attacks"), i, entry) {
    struct figure figure = {.key = attack_key(entry), .attack = true};
    figure.shown = json_is_true(json_object_get(entry, "decides"));
    uint32_t known = figure.key ? find_figure(data, figure.key) : data->figures;
    if (known < data->figures) {
      data->figure[known].shown |= figure.shown;
      free(figure.key);
      continue;
    }
    if (asprintf(&figure.name, "%s: %s on %s", json_text(entry, "attack", "?"),
                 json_text(entry, "metric", "?"), json_text(entry, "surface", "?")) < 0)
      figure.name = NULL;
    if (add_figure(data, &figure) < 0)
      return -ENOMEM;
  }
  return 0;
}

static int list_figures(struct study_data *data) {
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(plain_figures) && r == 0; i++)
    r = add_figure(data, &(struct figure){strdup(plain_figures[i].key), strdup(plain_figures[i].name), false,
                                          plain_figures[i].shown, plain_figures[i].percent});
  for (uint32_t i = 0; i < data->cells * data->seeds && r == 0; i++)
    if (data->row[i])
      r = add_attack_figures(data, data->row[i]);
  return r;
}

/* A row's entry of an attack's figure, NULL = none. */
static const json_t *find_entry(const json_t *row, const struct figure *figure) {
  const json_t *entry;
  size_t i;
  json_array_foreach(json_object_get(row, "attacks"), i, entry) {
    _cleanup_(freep) char *key = attack_key(entry);
    if (key && strcmp(key, figure->key) == 0)
      return entry;
  }
  return NULL;
}

static double figure_of(const json_t *row, const struct figure *figure) {
  return figure->attack ? json_real_or(find_entry(row, figure), "value", NAN)
                        : json_real_or(row, figure->key, NAN);
}

static int fill_values(struct study_data *data) {
  size_t jobs = (size_t)data->cells * data->seeds;
  data->value = malloc(sizeof(double) * MAX(jobs * data->figures, (size_t)1));
  if (!data->value)
    return -ENOMEM;
  for (uint32_t f = 0; f < data->figures; f++)
    for (size_t i = 0; i < jobs; i++)
      data->value[f * jobs + i] = data->row[i] ? figure_of(data->row[i], &data->figure[f]) : NAN;
  return 0;
}

/* ---- loading ---- */

static const json_t *cell_of(const struct study_data *data, uint32_t cell) {
  return json_array_get(json_object_get(data->plan, "cells"), cell);
}

static void find_rows(struct study_data *data) {
  uint32_t used = 0;
  for (uint32_t c = 0; c < data->cells; c++)
    for (uint32_t s = 0; s < data->seeds; s++) {
      const json_t *hash = json_array_get(json_object_get(cell_of(data, c), "hashes"), s);
      const json_t *row = results_find(data->rows, study_data_cell(data, c), study_data_seed(data, s),
                                       json_is_string(hash) ? json_string_value(hash) : "");
      used += row != NULL;
      if (row && strcmp(json_text(row, "state", ""), "succeeded") == 0)
        data->row[c * data->seeds + s] = row;
    }
  data->stale = (uint32_t)json_array_size(data->rows) - used;
}

/* How many jobs of the report have which value of `field`: {"1.0.0": 3}. */
static json_t *count_by(const struct study_data *data, const char *field) {
  json_t *jobs = json_object();
  for (uint32_t i = 0; jobs && i < data->cells * data->seeds; i++) {
    const char *value = json_text(data->row[i], field, STUDY_UNKNOWN);
    if (data->row[i])
      (void)json_object_set_new(jobs, value, json_integer((json_int_t)json_count(jobs, value) + 1));
  }
  return jobs;
}

/* Nothing where all that is known is one value. most: characters of a value that are told. */
static int tell_differences(const struct study_data *data, const char *field, int most, char **ret_text) {
  json_t *jobs = count_by(data, field), *count;
  const char *value;
  size_t size = 0;
  unsigned n = 0;
  const size_t known = json_object_size(jobs) - (json_object_get(jobs, STUDY_UNKNOWN) != NULL);
  FILE *out = known > 1 ? open_memstream(ret_text, &size) : NULL;
  json_object_foreach(out ? jobs : NULL, value, count) {
    const json_int_t of_it = json_integer_value(count);
    (void)fprintf(out, "%s%.*s (%lld %s)", n++ ? ", " : "", most, value, (long long)of_it,
                  of_it == 1 ? "job" : "jobs");
  }
  int r = jobs && (known <= 1 || (out && fclose(out) == 0)) ? 0 : -ENOMEM;
  json_decref(jobs);
  return r;
}

int study_data_load(const char *directory, struct study_data *ret_data, struct guise_error *err) {
  struct study_data data = {.directory = directory};
  char path[4096];
  json_error_t error;
  int r = study_path(directory, NULL, STUDY_PLAN, path, err);
  if (r == 0 && !(data.plan = json_load_file(path, JSON_REJECT_DUPLICATES, &error)))
    r = error_set(err, -ENOENT, "%s is no folder of a study (%s): guise study run makes one", directory,
                  error.text);
  if (r == 0 && strcmp(json_text(data.plan, "format", ""), STUDY_FORMAT) != 0)
    r = error_set(err, -EINVAL, "%s is no plan of a study that this version knows", path);
  if (r == 0)
    r = results_load(directory, &data.rows, err);
  if (r == 0) {
    data.cells = (uint32_t)json_array_size(json_object_get(data.plan, "cells"));
    data.seeds = (uint32_t)json_array_size(json_object_get(data.plan, "seeds"));
    data.row = calloc(MAX((size_t)data.cells * data.seeds, (size_t)1), sizeof(json_t *));
    if (!data.row)
      r = error_set(err, -ENOMEM, "out of memory");
  }
  if (r == 0) {
    find_rows(&data);
    if (list_figures(&data) < 0 || fill_values(&data) < 0 ||
        tell_differences(&data, "version", 64, &data.versions) < 0 ||
        tell_differences(&data, "teacher_sha256", 8, &data.teachers) < 0)
      r = error_set(err, -ENOMEM, "out of memory");
  }
  if (r < 0) {
    study_data_free(&data);
    return r;
  }
  *ret_data = data;
  return 0;
}

void study_data_free(struct study_data *data) {
  for (uint32_t f = 0; f < data->figures; f++) {
    free(data->figure[f].key);
    free(data->figure[f].name);
  }
  free(data->figure);
  free((void *)data->row);
  free(data->value);
  free(data->versions);
  free(data->teachers);
  json_decref(data->plan);
  json_decref(data->rows);
  *data = (struct study_data){.directory = NULL};
}

const char *study_data_cell(const struct study_data *data, uint32_t cell) {
  return json_text(cell_of(data, cell), "name", "?");
}

int study_data_find_cell(const struct study_data *data, const char *name, uint32_t *ret_cell) {
  for (uint32_t c = 0; c < data->cells; c++)
    if (strcmp(study_data_cell(data, c), name) == 0) {
      *ret_cell = c;
      return 0;
    }
  return -ENOENT;
}

uint64_t study_data_seed(const struct study_data *data, uint32_t seed) {
  return (uint64_t)json_integer_value(json_array_get(json_object_get(data->plan, "seeds"), seed));
}

const double *study_data_values(const struct study_data *data, uint32_t figure, uint32_t cell) {
  return data->value + ((size_t)figure * data->cells + cell) * data->seeds;
}

struct estimate study_data_over_people(const struct study_data *data, uint32_t figure, uint32_t cell) {
  const double *value = study_data_values(data, figure, cell);
  struct estimate estimate = {0, NAN, NAN, NAN};
  if (!data->figure[figure].attack || estimate_mean(value, data->seeds).count != 1)
    return estimate;
  uint32_t seed = 0;
  while (!isfinite(value[seed]))
    seed++;
  const json_t *entry = find_entry(data->row[cell * data->seeds + seed], &data->figure[figure]);
  return (struct estimate){1, value[seed], json_real_or(entry, "low", NAN), json_real_or(entry, "high", NAN)};
}

/* ---- metrics by epoch ---- */

struct series {
  struct epoch_value *epoch;
  uint32_t *jobs; /* that have it, of each epoch */
  uint32_t count;
};

static int add_value(struct series *series, uint64_t epoch, double value) {
  if (epoch == 0 || epoch > 100000 || !isfinite(value))
    return 0;
  if (epoch > series->count) {
    struct epoch_value *grown = realloc(series->epoch, epoch * sizeof(*grown));
    if (grown)
      series->epoch = grown;
    uint32_t *jobs = realloc(series->jobs, epoch * sizeof(*jobs));
    if (jobs)
      series->jobs = jobs;
    if (!grown || !jobs)
      return -ENOMEM;
    for (; series->count < epoch; series->count++) {
      series->epoch[series->count] = (struct epoch_value){NAN, NAN, NAN};
      series->jobs[series->count] = 0;
    }
  }
  struct epoch_value *at = &series->epoch[epoch - 1];
  double before = series->jobs[epoch - 1]++;
  at->mean = before > 0 ? (at->mean * before + value) / (before + 1) : value;
  at->low = before > 0 ? fmin(at->low, value) : value;
  at->high = before > 0 ? fmax(at->high, value) : value;
  return 0;
}

static int add_job(const struct study_data *data, const char *job, const char *metric,
                   struct series *series) {
  char path[4096], name[128];
  const json_t *row;
  size_t i;
  int r = 0;
  (void)snprintf(name, sizeof(name), "%s.json", job);
  if (study_path(data->directory, "metrics", name, path, NULL) < 0)
    return 0;
  json_t *metrics = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
  json_array_foreach(metrics, i, row) {
    if (r == 0 && strcmp(json_text(row, "name", ""), metric) == 0)
      r = add_value(series, json_count(row, "epoch"), json_real_or(row, "value", NAN));
  }
  json_decref(metrics);
  return r;
}

int study_data_epochs(const struct study_data *data, uint32_t cell, const char *metric,
                      struct epoch_value **ret_epochs, uint32_t *ret_count, struct guise_error *err) {
  struct series series = {.count = 0};
  int r = 0;
  for (uint32_t s = 0; s < data->seeds && r == 0; s++) {
    const json_t *row = data->row[cell * data->seeds + s];
    if (row)
      r = add_job(data, json_text(row, "job", ""), metric, &series);
  }
  free(series.jobs);
  if (r < 0) {
    free(series.epoch);
    return error_set(err, r, "out of memory");
  }
  *ret_epochs = series.epoch;
  *ret_count = series.count;
  return 0;
}

/* ---- pairs ---- */

#define BOOTSTRAP_DRAWS 2000u

static bool load_decisions(const struct study_data *data, const json_t *row,
                           struct decisions *ret_decisions) {
  char path[4096], name[128];
  (void)snprintf(name, sizeof(name), "%s.json", json_text(row, "job", ""));
  if (study_path(data->directory, "decisions", name, path, NULL) < 0)
    return false;
  json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
  const bool good = decisions_from_json(json, ret_decisions);
  json_decref(json);
  return good;
}

/* Right here minus right there, of one seed. NULL when the lists of pairs are not alike. */
static int8_t *subtract(const struct study_data *data, const json_t *here, const json_t *there,
                        uint32_t *ret_pairs) {
  struct decisions a = {.pairs = 0}, b = {.pairs = 0};
  int8_t *difference = NULL;
  if (load_decisions(data, here, &a) && load_decisions(data, there, &b) && a.pairs == b.pairs &&
      memcmp(a.kind, b.kind, a.pairs) == 0)
    difference = malloc(a.pairs);
  for (uint32_t i = 0; difference && i < a.pairs; i++)
    difference[i] = (int8_t)(a.right[i] - b.right[i]);
  *ret_pairs = a.pairs;
  decisions_free(&a);
  decisions_free(&b);
  return difference;
}

struct estimate study_data_bootstrap(const struct study_data *data, uint32_t cell, uint32_t baseline) {
  struct estimate estimate = {0, NAN, NAN, NAN};
  struct paired_decisions *seed = calloc(MAX(data->seeds, 1u), sizeof(*seed));
  uint32_t used = 0;
  bool shared = true;
  for (uint32_t s = 0; seed && s < data->seeds; s++) {
    const json_t *here = data->row[cell * data->seeds + s], *there = data->row[baseline * data->seeds + s];
    if (!here || !there)
      continue;
    seed[used].difference = subtract(data, here, there, &seed[used].pairs);
    if (!seed[used].difference)
      continue;
    /* held-out people, and so their pairs, are drawn anew by each seed */
    shared =
        shared && strcmp(json_text(here, "protocol", ""), "pairs") == 0 && seed[used].pairs == seed[0].pairs;
    used++;
  }
  if (used > 0)
    estimate = bootstrap_decisions(seed, used, shared, BOOTSTRAP_DRAWS);
  for (uint32_t s = 0; s < used; s++)
    free((void *)seed[s].difference);
  free(seed);
  return estimate;
}
