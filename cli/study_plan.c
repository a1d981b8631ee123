/* The plan of a study: which jobs there are to be, by what the daemon resolves each cell to, and which of
 * them exist already. */
#include <string.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/study_run.h"

/* ---- dry runs ---- */

/* Mistakes of many cells: each once, with the cells that have it. {"pointer: detail": ["cell", ..]} */
static void collect(json_t *mistakes, const json_t *problem, const char *cell) {
  const json_t *errors = json_object_get(problem, "errors"), *error;
  size_t i;
  json_array_foreach(errors, i, error) {
    _cleanup_(freep) char *key = NULL;
    if (asprintf(&key, "%s: %s", json_text(error, "pointer", "?"), json_text(error, "detail", "?")) < 0) {
      key = NULL;
      return;
    }
    if (!json_object_get(mistakes, key))
      (void)json_object_set_new(mistakes, key, json_array());
    (void)json_array_append_new(json_object_get(mistakes, key), json_string(cell));
  }
}

static int tell(const json_t *mistakes, uint32_t cells) {
  const char *text;
  json_t *list;
  int code = cli_error("the daemon would refuse jobs of this study; nothing was started");
  json_object_foreach((json_t *)mistakes, text, list) {
    (void)fputs("  ", stderr);
    out_text(stderr, text);
    (void)fputs(json_array_size(list) == cells ? " (every cell" : " (cell", stderr);
    for (size_t i = 0; i < json_array_size(list) && json_array_size(list) < cells; i++) {
      (void)fputs(i ? ", " : " ", stderr);
      out_text(stderr, json_string_value(json_array_get(list, i)));
    }
    (void)fputs(")\n", stderr);
  }
  return code;
}

/* A data set of another content under the same name makes another job: beside the job's own fields stand
 * {"/dataset": SHA-256}. */
static int add_contents(struct study_run *run, json_t *resolved) {
  json_t *datasets = study_datasets(resolved), *name;
  const char *pointer;
  int code = datasets ? EXIT_DONE : cli_error("out of memory");
  json_object_foreach(datasets, pointer, name) {
    json_t *dataset = NULL;
    if (code == EXIT_DONE)
      code = run_get(run, http_path("/v1/datasets/", json_string_value(name), NULL), NULL, &dataset);
    if (code == EXIT_DONE)
      (void)json_object_set_new(resolved, pointer, json_string(json_text(dataset, "sha256", "")));
    json_decref(dataset);
  }
  json_decref(datasets);
  return code;
}

/* *ret_resolved is NULL when the daemon found mistakes, which are then collected. */
static int dry_run(struct study_run *run, uint32_t cell, json_t *mistakes, json_t **ret_resolved) {
  struct reply reply = {0};
  json_t *job = study_job(&run->study, cell, 0, "dry-run", NULL); /* models of other cells: when there are */
  if (!job)
    return cli_error("out of memory");
  int code = run_request(
      run, &(struct request){.method = "POST", .path = "/v1/jobs?dry_run=true", .json = job}, &reply);
  json_decref(job);
  if (code != EXIT_DONE)
    return code;
  *ret_resolved = NULL;
  if (reply.status == 200)
    *ret_resolved = json_deep_copy(json_object_get(reply.json, "spec"));
  if (reply.status == 422)
    collect(mistakes, reply.json, run->study.cell[cell].name);
  else if (!*ret_resolved)
    code = cli_problem(&reply);
  reply_free(&reply);
  if (code == EXIT_DONE && *ret_resolved)
    code = add_contents(run, *ret_resolved);
  return code;
}

static int plan_cell(struct study_run *run, uint32_t cell, const json_t *resolved) {
  const struct study *study = &run->study;
  int r = 0;
  for (uint32_t s = 0; s < study->seeds && r == 0; s++) {
    struct planned_job *job = &run->job[cell * study->seeds + s];
    *job = (struct planned_job){.cell = cell, .seed = s, .eta_s = -1};
    json_t *models = models_hashes(run, cell, s);
    r = models ? study_hash(resolved, study->seed[s], models, job->hash) : -ENOMEM;
    json_decref(models);
  }
  return r < 0 ? cli_error("out of memory") : EXIT_DONE;
}

int plan_make(struct study_run *run) {
  const struct study *study = &run->study;
  json_t *mistakes = json_object();
  int code = EXIT_DONE;
  run->jobs = study->cells * study->seeds;
  run->job = calloc(run->jobs, sizeof(*run->job));
  if (!run->job || !mistakes) {
    json_decref(mistakes);
    return cli_error("out of memory");
  }
  for (uint32_t i = 0; i < study->cells && code == EXIT_DONE; i++) {
    json_t *resolved = NULL;
    code = dry_run(run, study->order[i], mistakes, &resolved);
    if (code == EXIT_DONE && resolved)
      code = plan_cell(run, study->order[i], resolved);
    json_decref(resolved);
  }
  if (code == EXIT_DONE && json_object_size(mistakes) > 0)
    code = tell(mistakes, study->cells);
  json_decref(mistakes);
  return code;
}

/* ---- plan.json ---- */

static json_t *plan_json(const struct study_run *run) {
  const struct study *study = &run->study;
  json_t *cells = json_array(), *seeds = json_array();
  for (uint32_t s = 0; s < study->seeds; s++)
    (void)json_array_append_new(seeds, json_integer((json_int_t)study->seed[s]));
  for (uint32_t c = 0; c < study->cells; c++) {
    json_t *hashes = json_array();
    for (uint32_t s = 0; s < study->seeds; s++)
      (void)json_array_append_new(hashes, json_string(run->job[c * study->seeds + s].hash));
    (void)json_array_append_new(cells, json_pack("{s:s,s:O,s:o}", "name", study->cell[c].name, "job",
                                                 study->cell[c].spec, "hashes", hashes));
  }
  return json_pack("{s:s,s:s,s:o,s:o}", "format", STUDY_FORMAT, "name", study->name, "seeds", seeds, "cells",
                   cells);
}

int plan_save(const struct study_run *run) {
  char path[4096];
  json_t *before = NULL;
  struct guise_error err = {0};
  if (study_path(run->directory, NULL, STUDY_PLAN, path, &err) < 0)
    return cli_error("%s", err.text);
  if (access(path, F_OK) == 0) {
    before = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool mine = strcmp(json_text(before, "format", ""), STUDY_FORMAT) == 0 &&
                strcmp(json_text(before, "name", ""), run->study.name) == 0;
    json_decref(before);
    if (!mine) {
      (void)cli_error("%s is not the plan of the study %s: give another folder with -o", path,
                      run->study.name);
      return EXIT_USAGE;
    }
  }
  json_t *plan = plan_json(run);
  _cleanup_(freep) char *text = plan ? json_dumps(plan, JSON_INDENT(2)) : NULL;
  json_decref(plan);
  if (!text)
    return cli_error("out of memory");
  return file_write_atomic(path, text, strlen(text), &err) < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

/* ---- what there is already ---- */

static struct planned_job *match(const struct study_run *run, const json_t *job) {
  const json_t *labels = json_object_get(job, "labels");
  const char *cell = json_text(labels, "cell", ""), *hash = json_text(labels, "study_hash", "");
  for (uint32_t i = 0; i < run->jobs; i++) {
    struct planned_job *planned = &run->job[i];
    char seed[32];
    (void)snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->study.seed[planned->seed]);
    if (strcmp(planned->hash, hash) == 0 && strcmp(run->study.cell[planned->cell].name, cell) == 0 &&
        strcmp(json_text(labels, "seed", ""), seed) == 0)
      return planned;
  }
  return NULL;
}

/* A job that succeeded or may still do so is followed to its end like one submitted just now; of the ones
 * that failed the newest counts, unless they are to be tried again. */
static void take_job(struct study_run *run, const json_t *job) {
  struct planned_job *planned = match(run, job);
  const char *state = json_text(job, "state", "");
  if (!planned)
    return;
  bool failed = strcmp(state, "failed") == 0 || strcmp(state, "canceled") == 0;
  planned->attempts += failed;
  const char *id = json_text(job, "id", "");
  if (planned->state == SUCCEEDED && !failed && !*planned->again && strcmp(planned->id, id) != 0)
    (void)snprintf(planned->again, sizeof(planned->again), "%s", id); /* the newest comes first */
  if (planned->state == SUCCEEDED || planned->state == ACTIVE)
    return;
  if (failed && (run->retry || planned->state == FAILED))
    return;
  planned->state = ACTIVE;
  (void)snprintf(planned->id, sizeof(planned->id), "%s", id);
  (void)snprintf(planned->live, sizeof(planned->live), "%s", state);
}

int plan_find(struct study_run *run) {
  json_t *jobs = NULL;
  const json_t *job;
  size_t i;
  for (uint32_t n = 0; n < run->jobs; n++) {
    struct planned_job *planned = &run->job[n];
    const json_t *row = results_find(run->rows, run->study.cell[planned->cell].name,
                                     run->study.seed[planned->seed], planned->hash);
    if (row && strcmp(json_text(row, "state", ""), "succeeded") == 0)
      planned->state = SUCCEEDED;
    else if (row && !run->retry)
      planned->state = FAILED;
    if (row)
      (void)snprintf(planned->id, sizeof(planned->id), "%s", json_text(row, "job", ""));
    if (row)
      (void)snprintf(planned->model, sizeof(planned->model), "%s", json_text(row, "model", ""));
  }
  int code =
      run_get_all(run, http_path("/v1/jobs?sort=-created_at&label=study%3A", run->study.name, NULL), &jobs);
  json_array_foreach(jobs, i, job) take_job(run, job);
  json_decref(jobs);
  return code;
}
