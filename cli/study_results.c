/* A study's results: results.jsonl, one line a job that ended, and what a line says of a job. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "cli/study.h"

#define RESULTS "results.jsonl"
#define RESULTS_LIMIT ((size_t)256 << 20)

int study_path(const char *directory, const char *sub, const char *name, char ret_path[4096],
               struct guise_error *err) {
  char path[4096];
  int n = snprintf(path, sizeof(path), "%s/%s%s%s", directory, sub ? sub : "", sub ? "/" : "", name);
  if (n < 0 || n >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path %.200s is too long", directory);
  memcpy(ret_path, path, sizeof(path));
  return 0;
}

/* ---- the file ---- */

int results_load(const char *directory, json_t **ret_rows, struct guise_error *err) {
  char path[4096];
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  json_t *rows = json_array();
  int r = rows ? study_path(directory, NULL, RESULTS, path, err) : -ENOMEM;
  if (r == 0)
    r = file_read(path, RESULTS_LIMIT, &text, &size, err);
  char *next = text;
  for (unsigned line = 1; r == 0 && next && *next; line++) {
    char *start = next;
    next = strchr(start, '\n');
    if (next)
      *next++ = 0;
    json_t *row = json_loads(start, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(row) || json_array_append(rows, row) < 0)
      r = error_set(err, -EINVAL, "line %u of %s is no result: restore the file, or remove the line", line,
                    path);
    json_decref(row);
  }
  if (r < 0 && r != -ENOENT) {
    json_decref(rows);
    return r;
  }
  *ret_rows = rows;
  return 0;
}

static bool is_recorded(const json_t *rows, const char *job) {
  const json_t *row;
  size_t i;
  json_array_foreach(rows, i, row) if (strcmp(json_text(row, "job", ""), job) == 0) return true;
  return false;
}

static char *rows_text(const json_t *rows, size_t *ret_size) {
  char *text = NULL;
  const json_t *row;
  size_t i;
  int r = 0;
  FILE *out = open_memstream(&text, ret_size);
  if (!out)
    return NULL;
  json_array_foreach(rows, i, row) {
    r |= json_dumpf(row, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    (void)putc('\n', out);
  }
  if (fclose(out) != 0 || r < 0) {
    free(text);
    return NULL;
  }
  return text;
}

int results_append(const char *directory, json_t *rows, json_t *row, struct guise_error *err) {
  char path[4096];
  size_t size = 0;
  if (row && is_recorded(rows, json_text(row, "job", ""))) {
    json_decref(row);
    return 0;
  }
  if (!row || json_array_append_new(rows, row) < 0)
    return error_set(err, -ENOMEM, "out of memory");
  _cleanup_(freep) char *text = rows_text(rows, &size);
  int r = text ? study_path(directory, NULL, RESULTS, path, err) : error_set(err, -ENOMEM, "out of memory");
  return r < 0 ? r : file_write_atomic(path, text, size, err);
}

const json_t *results_find(const json_t *rows, const char *cell, uint64_t seed, const char *hash) {
  const json_t *row, *found = NULL;
  size_t i;
  json_array_foreach(rows, i, row) {
    bool mine = strcmp(json_text(row, "cell", ""), cell) == 0 && json_count(row, "seed") == seed &&
                strcmp(json_text(row, "hash", ""), hash) == 0;
    bool better = strcmp(json_text(row, "state", ""), "succeeded") == 0 ||
                  strcmp(json_text(found, "state", ""), "succeeded") != 0;
    if (mine && better)
      found = row;
  }
  return found;
}

/* ---- a row ---- */

/* Seconds between two RFC 3339 times in UTC; NAN when one is missing. */
static double seconds_between(const char *from, const char *to) {
  struct tm start = {.tm_isdst = 0}, end = {.tm_isdst = 0};
  if (!from || !to || !strptime(from, "%Y-%m-%dT%H:%M:%S", &start) ||
      !strptime(to, "%Y-%m-%dT%H:%M:%S", &end))
    return NAN;
  return difftime(timegm(&end), timegm(&start));
}

static json_t *number_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

/* The entry whose figures are the job's: of the first protocol, with the view that the job asked for. */
static const json_t *leading_utility(const json_t *job, const json_t *report) {
  const json_t *entries = json_object_get(report, "utility"), *entry;
  const json_t *both =
      json_object_get(json_object_get(json_object_get(job, "spec"), "holdout"), "both_flips");
  const char *view = json_is_true(both) ? "both flips" : "one view";
  size_t i;
  json_array_foreach(entries, i, entry) if (strcmp(json_text(entry, "view", ""), view) == 0) return entry;
  return json_array_get(entries, 0);
}

/* One surface's metrics as flat objects; "decides" marks the one that the verdict rests on. */
static void add_figures(json_t *list, const json_t *attack, const json_t *surface) {
  const json_t *metric;
  size_t i;
  json_array_foreach(json_object_get(surface, "metrics"), i, metric) {
    const char *name = json_text(metric, "name", "?");
    const json_t *value = json_object_get(metric, "value"), *control = json_object_get(metric, "control");
    (void)json_array_append_new(list,
                                json_pack("{s:s,s:s,s:s,s:b,s:s,s:o,s:o,s:o,s:o,s:o}", "attack",
                                          json_text(attack, "attack", "?"), "surface",
                                          json_text(surface, "surface", "?"), "metric", name, "decides",
                                          (int)(strcmp(name, json_text(surface, "decided_by", "")) == 0),
                                          "verdict", json_text(surface, "verdict", "?"), "value",
                                          number_or_null(json_real_or(value, "mean", NAN)), "low",
                                          number_or_null(json_real_or(value, "low", NAN)), "high",
                                          number_or_null(json_real_or(value, "high", NAN)), "chance",
                                          number_or_null(json_real_or(metric, "chance", NAN)), "control",
                                          number_or_null(json_real_or(control, "mean", NAN))));
  }
}

static json_t *attacks_of(const json_t *report) {
  json_t *list = json_array();
  const json_t *attack, *surface;
  size_t a, s;
  json_array_foreach(json_object_get(report, "attacks"), a, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) add_figures(list, attack, surface);
  }
  return list;
}

/* strategy.* and leak of the last epoch that has them. */
static json_t *strategy_of(const json_t *metrics) {
  json_t *last = json_object();
  const json_t *row;
  size_t i;
  json_array_foreach(metrics, i, row) {
    const char *name = json_text(row, "name", "");
    if (strncmp(name, "strategy.", 9) == 0 || strcmp(name, "leak") == 0)
      (void)json_object_set_new(last, name, number_or_null(json_real_or(row, "value", NAN)));
  }
  return last;
}

/* The network that the job's own attackers learnt from; null where none was told. Later audits of the model
 * are in its report, too. */
static json_t *teacher_of(const json_t *job, const json_t *report) {
  const json_t *audit;
  size_t i;
  const char *digest = NULL;
  json_array_foreach(json_object_get(report, "audits"), i, audit) {
    if (strcmp(json_text(audit, "job", ""), json_text(job, "id", "?")) == 0)
      digest = json_text(audit, "teacher_sha256", NULL);
  }
  return digest ? json_string(digest) : json_null();
}

/* How many faces the templates are of, as the report tells it; null where nothing mixes. */
static json_t *mixing_of(const json_t *report) {
  json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  return json_is_object(mixing) ? json_incref(mixing) : json_null();
}

json_t *results_row(const json_t *job, const json_t *report, const json_t *metrics) {
  static const char *const fractions[] = {"eer", "tar_at_far_1e-2", "tar_at_far_1e-3"};
  const json_t *labels = json_object_get(job, "labels"), *problem = json_object_get(job, "error");
  const json_t *utility = leading_utility(job, report), *cost = json_object_get(report, "cost");
  const json_t *accuracy = json_object_get(utility, "accuracy");
  json_t *row = json_pack(
      "{s:s,s:s,s:I,s:s,s:s,s:s?,s:s?,s:o}", "job", json_text(job, "id", "?"), "cell",
      json_text(labels, "cell", "?"), "seed", (json_int_t)strtoull(json_text(labels, "seed", "0"), NULL, 10),
      "hash", json_text(labels, "study_hash", ""), "state", json_text(job, "state", "?"), "model",
      json_text(job, "model", NULL), "error",
      json_is_object(problem) ? json_text(problem, "detail", json_text(problem, "title", "?")) : NULL,
      "seconds",
      number_or_null(
          seconds_between(json_text(job, "started_at", NULL), json_text(job, "finished_at", NULL))));
  if (!row || !report)
    return row;
  int r = json_object_set_new(row, "version", json_string(json_text(report, "guise_version", STUDY_UNKNOWN)));
  r |= json_object_set_new(row, "teacher_sha256", teacher_of(job, report));
  r |= json_object_set_new(row, "accuracy", number_or_null(json_real_or(accuracy, "mean", NAN)));
  for (size_t i = 0; i < ARRAY_SIZE(fractions); i++)
    r |= json_object_set_new(row, fractions[i], number_or_null(json_real_or(utility, fractions[i], NAN)));
  r |= json_object_set_new(row, "protocol", json_string(json_text(utility, "protocol", "none")));
  r |= json_object_set_new(row, "view", json_string(json_text(utility, "view", "none")));
  r |= json_object_set_new(row, "images_per_s", number_or_null(json_real_or(cost, "images_per_s", NAN)));
  r |= json_object_set_new(row, "train_seconds", number_or_null(json_real_or(cost, "train_seconds", NAN)));
  r |= json_object_set_new(row, "mixing", mixing_of(report));
  r |= json_object_set_new(row, "attacks", attacks_of(report));
  r |= json_object_set_new(row, "strategy", strategy_of(metrics));
  if (r < 0) {
    json_decref(row);
    return NULL;
  }
  return row;
}
