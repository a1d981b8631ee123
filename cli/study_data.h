/* A study's results as a report needs them: figures by cell and seed. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "cli/statistics.h"
#include "core/base/base.h"

struct figure {
  char *key;   /* "accuracy", "linear/T/ssim" */
  char *name;  /* for a heading: "accuracy", "linear: SSIM on T" */
  bool attack; /* of an attack: what leaks */
  bool shown;  /* in table.md; table.csv has all */
  bool percent;
};

struct study_data {
  const char *directory;
  json_t *plan; /* plan.json */
  json_t *rows; /* results.jsonl */
  uint32_t cells, seeds, figures;
  struct figure *figure;
  const json_t **row; /* [cells][seeds], NULL = no result that succeeded */
  double *value;      /* [figures][cells][seeds], NAN = none */
  uint32_t stale;     /* rows that do not belong to the plan */
  char *versions;     /* "1.0.0 (3 jobs), 1.1.0 (6 jobs)": of the daemons that ran them; NULL = not several */
  char *teachers;     /* the same of the networks that attackers learnt from, by the first digits */
};

/* Reads plan.json and results.jsonl of a study's folder. -EINVAL, -ENOENT with err. */
int study_data_load(const char *directory, struct study_data *ret_data, struct guise_error *err);
void study_data_free(struct study_data *data);

const char *study_data_cell(const struct study_data *data, uint32_t cell);
/* -ENOENT */
int study_data_find_cell(const struct study_data *data, const char *name, uint32_t *ret_cell);
uint64_t study_data_seed(const struct study_data *data, uint32_t seed);
/* One figure of one cell: a value a seed. */
const double *study_data_values(const struct study_data *data, uint32_t figure, uint32_t cell);
/* An attack's figure that one job of the cell alone has, with that job's own 95 % interval over the people
 * attacked; all NAN of other figures, and when there is none. */
struct estimate study_data_over_people(const struct study_data *data, uint32_t figure, uint32_t cell);

/* One metric of a cell's jobs by epoch, from metrics/JOB.json: the mean over its seeds, least and greatest.
 * Free *ret_epochs. count 0 when there is none. */
struct epoch_value {
  double mean, low, high; /* NAN where no job has it */
};
int study_data_epochs(const struct study_data *data, uint32_t cell, const char *metric,
                      struct epoch_value **ret_epochs, uint32_t *ret_count, struct guise_error *err);

/* Difference of two cells' k-fold decisions by paired bootstrap over pairs and seeds (decisions/JOB.json);
 * all NAN when they are missing or the pairs are not the same ones. */
struct estimate study_data_bootstrap(const struct study_data *data, uint32_t cell, uint32_t baseline);

/* ---- study_table.c, study_plots.c: the files of a report ---- */

/* baseline: a cell, or UINT32_MAX = none. plots: names of the files in plots/, for the links of table.md. */
int study_table_write(const struct study_data *data, uint32_t baseline, const json_t *plots,
                      struct guise_error *err);
/* Writes plots/ (the *.svg of an earlier report are removed) and appends the files' names to `names`. */
int study_plots_write(const struct study_data *data, json_t *names, struct guise_error *err);
