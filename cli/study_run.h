/* Inside of `guise study run`: requests that outlast a restart of the daemon, the plan, and the run. */
#pragma once

#include "cli/cli.h"
#include "cli/study.h"

enum planned_state { PLANNED, ACTIVE, SUCCEEDED, FAILED }; /* ACTIVE: submitted, not ended */

struct planned_job {
  uint32_t cell, seed; /* indices into the study */
  char hash[SHA256_HEX];
  enum planned_state state;
  char id[64];       /* "" = none yet */
  char model[64];    /* of one that succeeded; one that is to run again for its model: the one that is gone */
  char again[64];    /* a job that an earlier run submitted for the model alone; "" = none */
  bool for_model;    /* its line is in results.jsonl: it runs for its model alone */
  bool looked_for;   /* the model has been asked for */
  char reason[256];  /* why it failed without a line in results.jsonl; "" = it has one */
  uint32_t attempts; /* jobs of it that failed or were canceled */
  char live[32];     /* the job's own state, of the last poll */
  double fraction, eta_s;
};

struct study_run {
  struct cli *cli;
  struct study study;
  const char *directory;
  json_t *rows; /* results.jsonl */
  struct planned_job *job;
  uint32_t jobs;
  uint64_t parallel; /* 0 = as many as keep one waiting in the daemon's queue */
  bool retry;
  bool met; /* the daemon has answered before: from then on it is waited for */
};

/* ---- study_request.c: exit codes; what they print is said ---- */

/* Sends until an answer below 502 comes, for ten minutes at most once the daemon has been met; safe for GET
 * and for what carries an Idempotency-Key. *ret_reply may be of any such status. */
int run_request(struct study_run *run, const struct request *request, struct reply *ret_reply);
/* GET of `path` (freed here, may be NULL) that must succeed: *ret_json. With `missing` not NULL a 404 is told
 * by *missing and EXIT_DONE without *ret_json. */
int run_get(struct study_run *run, char *path, bool *missing, json_t **ret_json);
/* All pages of a list. `path` has a query already, and is freed here. */
int run_get_all(struct study_run *run, char *path, json_t **ret_rows);

/* ---- study_plan.c ---- */

/* Resolves every cell by a dry run; tells all mistakes of all cells at once. Fills run->job. */
int plan_make(struct study_run *run);
/* Writes plan.json; refuses a folder of another study. */
int plan_save(const struct study_run *run);
/* Marks what results.jsonl and the daemon have of the plan's jobs already. */
int plan_find(struct study_run *run);

/* ---- study_models.c: jobs that take models of other cells' jobs of the same seed ---- */

/* By field, the hash of the job whose model it takes; new reference. Those jobs' hashes are known. */
json_t *models_hashes(const struct study_run *run, uint32_t cell, uint32_t seed);
/* By cell, the models that a job takes; new reference. */
json_t *models_ids(const struct study_run *run, const struct planned_job *planned);
/* Whether all of them are there. */
bool models_ready(const struct study_run *run, const struct planned_job *planned);
/* After plan_find(): of jobs that succeeded, those run again whose models are wanted and gone. */
int models_find(struct study_run *run);
/* Jobs that wait for one that failed have failed. */
void models_give_up(struct study_run *run);
