/* A study: a grid of training jobs (cells) times seeds, read from a JSON file (docs/study.md).
 *
 * Its folder holds plan.json (the plan: cells, seeds, the hash of each job), results.jsonl (a line a job
 * that ended) and metrics/JOB.json (the job's metrics, a row an epoch). `run` writes them, `report` reads
 * them; a row of results belongs to the plan when cell, seed and hash agree, so that results of a cell that
 * was changed since are left out. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"

#define STUDY_JOBS_MAX 10000u
#define STUDY_PLAN "plan.json"
#define STUDY_FORMAT "guise-study-1"
#define STUDY_UNKNOWN "unknown" /* version of a daemon that a line does not tell */

struct study_cell {
  char *name;
  json_t *spec;   /* the job, without seed and the study's labels */
  json_t *models; /* fields that take the model of another cell: {"/mask/reference": "none"} */
};

struct study {
  char *name;
  struct study_cell *cell;
  uint32_t cells;
  uint64_t *seed;
  uint32_t seeds;
  uint32_t *order; /* (cells): each behind those whose models it takes */
};

/* Checks a study file's document and expands axes times cells. Everything that is wrong is appended to
 * `problems` as {"pointer","detail"}: -EINVAL. Free *ret_study with study_free. */
int study_parse(const json_t *document, struct study *ret_study, json_t *problems);
void study_free(struct study *study);

/* The last step of study_parse, for cells with specs: finds the models that cells take of each other, and the
 * order. Unknown cells and circles are appended to `problems`. -ENOMEM. */
int study_find_models(struct study *study, json_t *problems);
/* Puts models, {"none": "mdl_..."}, in the places of {"cell": "none"}; a field of a cell that is not among
 * them is left out. */
void study_put_models(json_t *spec, const json_t *models);

/* The job to submit: the cell's with its seed and the labels study, cell, seed and study_hash, keys in sorted
 * order, so that the same job is the same text. models: as for study_put_models, NULL = none. New reference;
 * NULL when out of memory. */
json_t *study_job(const struct study *study, uint32_t cell, uint32_t seed, const char *hash,
                  const json_t *models);
/* The data sets that a job names, by field: {"/dataset": "faces", "/audit/public_dataset": "lfw"}. New
 * reference; NULL when out of memory. */
json_t *study_datasets(const json_t *resolved);
/* Names a job's content: SHA-256 over what the daemon resolved the cell to without other cells' models, with
 * this seed, without what does not change the result (labels, priority, longest runtime). models: the hashes
 * of the jobs whose models it takes, by field; NULL = none. 0 or -ENOMEM. */
int study_hash(const json_t *resolved, uint64_t seed, const json_t *models, char ret_hash[SHA256_HEX]);

/* ---- the folder ---- */

/* "DIR/name" (or "DIR/sub/name" with sub). -ENAMETOOLONG. */
int study_path(const char *directory, const char *sub, const char *name, char ret_path[4096],
               struct guise_error *err);

/* results.jsonl as an array of rows; an empty one while there is no file. -EINVAL names the line that cannot
 * be read. */
int results_load(const char *directory, json_t **ret_rows, struct guise_error *err);
/* Appends the row (stolen) to rows and writes the file as a whole, so that a reader sees it with or without
 * the row. A row of a job that is there already is dropped. */
int results_append(const char *directory, json_t *rows, json_t *row, struct guise_error *err);

/* The row of a job that ended: figures and version of its model's report (NULL unless it succeeded) and its
 * last strategy.* and leak metrics. NULL when out of memory. */
json_t *results_row(const json_t *job, const json_t *report, const json_t *metrics);

/* The newest row of (cell, seed, hash), preferring one that succeeded; borrowed, NULL = none. */
const json_t *results_find(const json_t *rows, const char *cell, uint64_t seed, const char *hash);
