/* study run: keeps the daemon busy with a study's jobs until each has ended.
 *
 * All state is the daemon's and results.jsonl's: a run that was interrupted finds its jobs by their labels,
 * and a submission whose answer was lost is sent again under the same Idempotency-Key. A job's metrics are
 * saved before its row of results, so that what has a row is whole. */
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/study_decisions.h"
#include "cli/study_run.h"
#include "core/model/files.h"

#define POLL_MS 500
#define PLAIN_LINE_S 60 /* between lines where no bar can be drawn */

/* ---- collecting ---- */

static int save_metrics(const struct study_run *run, const char *id, const json_t *metrics) {
  char path[4096], name[80];
  struct guise_error err = {0};
  _cleanup_(freep) char *text = json_dumps(metrics, JSON_COMPACT | JSON_REAL_PRECISION(9));
  (void)snprintf(name, sizeof(name), "%s.json", id);
  if (!text)
    return cli_error("out of memory");
  int r = study_path(run->directory, "metrics", name, path, &err);
  if (r == 0)
    r = file_write_atomic(path, text, strlen(text), &err);
  return r < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

static int write_decisions(const struct study_run *run, const char *id, const char *scores) {
  char path[4096], name[80];
  struct guise_error err = {0};
  struct decisions decisions;
  if (!decisions_from_scores(scores, &decisions))
    return cli_error("the daemon's scores.csv of job %s cannot be read", id);
  json_t *json = decisions_json(&decisions);
  decisions_free(&decisions);
  _cleanup_(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  (void)snprintf(name, sizeof(name), "%s.json", id);
  if (!text)
    return cli_error("out of memory");
  int r = study_path(run->directory, "decisions", name, path, &err);
  if (r == 0)
    r = file_write_atomic(path, text, strlen(text), &err);
  return r < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

/* How a model decided its pairs, where it has any. */
static int save_decisions(struct study_run *run, const char *id, const char *model) {
  struct reply reply = {0};
  _cleanup_(freep) char *url = http_path("/v1/models/", model, "/files/scores.csv?unsafe=true", NULL);
  if (!url)
    return cli_error("out of memory");
  int code = run_request(run, &(struct request){.method = "GET", .path = url}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (reply.status == 200)
    code = write_decisions(run, id, reply.text);
  reply_free(&reply);
  return code;
}

static int record(struct study_run *run, struct planned_job *planned, const json_t *job, const json_t *report,
                  const json_t *metrics) {
  struct guise_error err = {0};
  json_t *row = results_row(job, report, metrics);
  if (row && !report && strcmp(json_text(job, "state", ""), "succeeded") == 0) {
    (void)json_object_set_new(row, "state", json_string("failed"));
    (void)json_object_set_new(row, "error", json_string("its model was deleted before its report was read"));
  }
  planned->state = strcmp(json_text(row, "state", ""), "succeeded") == 0 ? SUCCEEDED : FAILED;
  (void)snprintf(planned->model, sizeof(planned->model), "%s", json_text(row, "model", ""));
  return results_append(run->directory, run->rows, row, &err) < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

/* A job that ran for its model alone: results.jsonl has its line. */
static void take_model(struct planned_job *planned, const json_t *job) {
  const char *model = json_text(job, "model", "");
  planned->state = *model ? SUCCEEDED : FAILED;
  (void)snprintf(planned->model, sizeof(planned->model), "%s", model);
  if (!*model)
    (void)snprintf(planned->reason, sizeof(planned->reason), "%s when it ran again for its model: %.180s",
                   json_text(job, "state", "failed"),
                   json_text(json_object_get(job, "error"), "detail", "no reason was given"));
}

static int collect(struct study_run *run, struct planned_job *planned, const json_t *job) {
  const char *model = json_text(job, "model", NULL);
  json_t *report = NULL, *metrics = NULL;
  bool missing = false;
  if (!name_is_plain(planned->id))
    return cli_error("the daemon names a job '%s', which is no name for a file here", planned->id);
  int code =
      run_get_all(run, http_path("/v1/jobs/", planned->id, "/metrics?resolution=epoch", NULL), &metrics);
  if (code == EXIT_DONE && model)
    code = run_get(run, http_path("/v1/models/", model, "/files/" REPORT_FILE "?unsafe=true", NULL), &missing,
                   &report);
  if (code == EXIT_DONE && report)
    code = save_decisions(run, planned->id, model);
  if (code == EXIT_DONE)
    code = save_metrics(run, planned->id, metrics);
  if (code == EXIT_DONE)
    code = record(run, planned, job, report, metrics);
  json_decref(report);
  json_decref(metrics);
  return code;
}

/* ---- following and submitting ---- */

static void take_state(struct planned_job *planned, const json_t *job) {
  const json_t *progress = json_object_get(job, "progress");
  (void)snprintf(planned->live, sizeof(planned->live), "%s", json_text(job, "state", "?"));
  planned->fraction = json_real_or(progress, "fraction", 0);
  planned->eta_s = json_real_or(progress, "eta_s", -1);
}

static int poll_job(struct study_run *run, struct planned_job *planned) {
  json_t *job = NULL;
  int code = run_get(run, http_path("/v1/jobs/", planned->id, NULL), NULL, &job);
  if (code == EXIT_DONE) {
    take_state(planned, job);
    if (json_is_true(json_object_get(job, "terminal")) && planned->for_model)
      take_model(planned, job);
    else if (json_is_true(json_object_get(job, "terminal")))
      code = collect(run, planned, job);
  }
  json_decref(job);
  return code;
}

/* The same job and attempt is the same key, whoever sends it: an answer that was lost makes no second job.
 * Another model that is gone is another reason to run it. */
static void idempotency_key(const struct planned_job *planned, const json_t *body, char ret_header[192]) {
  char hash[SHA256_HEX];
  _cleanup_(freep) char *text = json_dumps(body, JSON_COMPACT);
  sha256_data(text ? text : "", text ? strlen(text) : 0, hash);
  (void)snprintf(ret_header, 192, "Idempotency-Key: study-%s-%u%s%s", hash, planned->attempts,
                 planned->for_model ? "-" : "", planned->for_model ? planned->model : "");
}

/* What could not be checked before the models of other cells were there concerns this job alone. */
static void refused(struct study_run *run, struct planned_job *planned, const struct reply *reply) {
  (void)cli_error("the daemon refused the job of cell %s, seed %llu:", run->study.cell[planned->cell].name,
                  (unsigned long long)run->study.seed[planned->seed]);
  (void)cli_problem(reply);
  planned->state = FAILED;
  (void)snprintf(planned->reason, sizeof(planned->reason), "was refused by the daemon, as told above");
}

static int submit(struct study_run *run, struct planned_job *planned) {
  char header[192];
  struct reply reply = {0};
  json_t *models = models_ids(run, planned),
         *body = study_job(&run->study, planned->cell, planned->seed, planned->hash, models);
  const bool takes_models = json_object_size(models) > 0;
  json_decref(models);
  if (!body)
    return cli_error("out of memory");
  idempotency_key(planned, body, header);
  struct request request = {.method = "POST", .path = "/v1/jobs", .json = body, .headers = {header}};
  int code = run_request(run, &request, &reply);
  json_decref(body);
  if (code != EXIT_DONE)
    return code;
  if (reply.status == 201) {
    planned->state = ACTIVE;
    (void)snprintf(planned->id, sizeof(planned->id), "%s", json_text(reply.json, "id", ""));
    take_state(planned, reply.json);
  } else if (reply.status == 422 && takes_models) {
    bar_clear();
    refused(run, planned, &reply);
  } else {
    bar_clear();
    code = cli_problem(&reply);
  }
  reply_free(&reply);
  return code;
}

struct tally {
  uint32_t planned, active, running, queued, succeeded, failed;
};

static struct tally count(const struct study_run *run) {
  struct tally tally = {0};
  for (uint32_t i = 0; i < run->jobs; i++) {
    const struct planned_job *job = &run->job[i];
    tally.planned += job->state == PLANNED;
    tally.active += job->state == ACTIVE;
    tally.running += job->state == ACTIVE && strcmp(job->live, "running") == 0;
    tally.queued += job->state == ACTIVE && strcmp(job->live, "queued") == 0;
    tally.succeeded += job->state == SUCCEEDED;
    tally.failed += job->state == FAILED;
  }
  return tally;
}

/* Without --parallel one job is kept waiting in the queue: then no worker of the daemon is idle, however many
 * it has, and other people's jobs need not wait behind the whole study. */
static int submit_some(struct study_run *run) {
  int code = EXIT_DONE;
  for (uint32_t i = 0; i < run->jobs && code == EXIT_DONE && !cli_interrupted; i++) {
    struct tally tally = count(run);
    if (run->parallel ? tally.active >= run->parallel : tally.queued > 0)
      break;
    if (run->job[i].state == PLANNED && models_ready(run, &run->job[i]))
      code = submit(run, &run->job[i]);
  }
  return code;
}

/* ---- progress ---- */

/* Mean seconds of a job by those that ended; NAN before the first. */
static double mean_seconds(const struct study_run *run) {
  double sum = 0;
  unsigned n = 0;
  const json_t *row;
  size_t i;
  json_array_foreach(run->rows, i, row) {
    double seconds = json_real_or(row, "seconds", NAN);
    if (isfinite(seconds) && strcmp(json_text(row, "state", ""), "succeeded") == 0) {
      sum += seconds;
      n++;
    }
  }
  return n ? sum / n : NAN;
}

/* Seconds that the study still takes, -1 = unknown: what running jobs say of themselves, and the mean for the
 * others, shared by as many workers as run now. */
static double estimate(const struct study_run *run, const struct tally *tally) {
  double mean = mean_seconds(run), left = 0;
  uint32_t others = tally->planned + tally->active - tally->running;
  for (uint32_t i = 0; i < run->jobs; i++) {
    const struct planned_job *job = &run->job[i];
    if (job->state != ACTIVE || strcmp(job->live, "running") != 0)
      continue;
    if (job->eta_s < 0)
      return -1;
    if (isnan(mean) && job->fraction > 0.05)
      mean = job->eta_s / (1 - MIN(job->fraction, 0.99));
    left += job->eta_s;
  }
  if (others > 0 && isnan(mean))
    return -1;
  return (left + (others ? others * mean : 0)) / MAX(tally->running, 1u);
}

static const struct planned_job *first_active(const struct study_run *run, bool running) {
  for (uint32_t i = 0; i < run->jobs; i++)
    if (run->job[i].state == ACTIVE && (!running || strcmp(run->job[i].live, "running") == 0))
      return &run->job[i];
  return NULL;
}

/* "3 of 12 jobs" and "ahm seed 2: running 45 %, 1:10 h left, 1 failed" */
static void show(const struct study_run *run, int64_t *line_at, uint32_t *ended) {
  struct tally tally = count(run);
  const struct planned_job *job = first_active(run, true);
  char before[48], after[384] = "", left[32], failed[32] = "";
  double fraction = tally.succeeded + tally.failed, eta = estimate(run, &tally);
  for (uint32_t i = 0; i < run->jobs; i++)
    fraction += run->job[i].state == ACTIVE ? MIN(run->job[i].fraction, 1) : 0;
  (void)snprintf(before, sizeof(before), "%u of %u jobs", tally.succeeded + tally.failed, run->jobs);
  if (tally.failed)
    (void)snprintf(failed, sizeof(failed), ", %u failed", tally.failed);
  format_duration(eta, left, sizeof(left));
  if (!job)
    job = first_active(run, false);
  if (job)
    (void)snprintf(after, sizeof(after), "%.200s seed %llu: %s %.0f %%, %s left%s",
                   run->study.cell[job->cell].name, (unsigned long long)run->study.seed[job->seed], job->live,
                   100 * job->fraction, left, failed);
  if (bar_possible()) {
    bar_draw(fraction / MAX(run->jobs, 1u), before, after);
    return;
  }
  int64_t now = clock_ns();
  bool news = *ended != tally.succeeded + tally.failed;
  if (!job || (!news && now - *line_at < PLAIN_LINE_S * INT64_C(1000000000)))
    return;
  *line_at = now;
  *ended = tally.succeeded + tally.failed;
  (void)fprintf(stderr, "%s  ", before);
  out_text(stderr, after);
  (void)putc('\n', stderr);
}

static int run_jobs(struct study_run *run) {
  int64_t line_at = 0;
  uint32_t ended = UINT32_MAX;
  int code = EXIT_DONE;
  for (;;) {
    for (uint32_t i = 0; i < run->jobs && code == EXIT_DONE && !cli_interrupted; i++)
      if (run->job[i].state == ACTIVE)
        code = poll_job(run, &run->job[i]);
    models_give_up(run);
    if (code == EXIT_DONE && !cli_interrupted)
      code = submit_some(run);
    struct tally tally = count(run);
    if (code != EXIT_DONE || cli_interrupted || tally.planned + tally.active == 0)
      break;
    show(run, &line_at, &ended);
    (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
  }
  bar_clear();
  return code == EXIT_DONE && cli_interrupted ? EXIT_INTERRUPTED : code;
}

/* ---- the end ---- */

static int print_cells(const struct study_run *run) {
  static const char *const heading[] = {"CELL", "JOBS", "FAILED", "ACCURACY"};
  const struct study *study = &run->study;
  _cleanup_(table_freep) struct table *table = table_new(ARRAY_SIZE(heading));
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_cell(table, "%s", heading[i]);
  for (uint32_t c = 0; c < study->cells; c++) {
    uint32_t succeeded = 0, failed = 0, known = 0;
    double sum = 0;
    char accuracy[32];
    for (uint32_t s = 0; s < study->seeds; s++) {
      const struct planned_job *job = &run->job[c * study->seeds + s];
      const json_t *row = results_find(run->rows, study->cell[c].name, study->seed[s], job->hash);
      double value = json_real_or(row, "accuracy", NAN);
      succeeded += job->state == SUCCEEDED;
      failed += job->state == FAILED;
      if (job->state == SUCCEEDED && isfinite(value)) {
        sum += value;
        known++;
      }
    }
    format_percent(known ? sum / known : NAN, accuracy, sizeof(accuracy));
    table_cell(table, "%s", study->cell[c].name);
    table_cell(table, "%u of %u", succeeded, study->seeds);
    table_cell(table, "%u", failed);
    table_cell(table, "%s", accuracy);
  }
  return table_print(table, stdout) < 0 ? cli_error("out of memory") : EXIT_DONE;
}

static void tell_failures(const struct study_run *run) {
  for (uint32_t i = 0; i < run->jobs; i++) {
    const struct planned_job *job = &run->job[i];
    const char *cell = run->study.cell[job->cell].name;
    uint64_t seed = run->study.seed[job->seed];
    const json_t *row = results_find(run->rows, cell, seed, job->hash);
    if (job->state == FAILED && *job->reason)
      (void)cli_error("the job of cell %s, seed %llu %s", cell, (unsigned long long)seed, job->reason);
    else if (job->state == FAILED)
      (void)cli_error("%s (cell %s, seed %llu) %s: %s", json_text(row, "job", job->id), cell,
                      (unsigned long long)seed, json_text(row, "state", "failed"),
                      json_text(row, "error", "no reason was given"));
  }
}

static int finish(const struct study_run *run, int code) {
  struct tally tally = count(run);
  if (code == EXIT_INTERRUPTED) {
    (void)fprintf(
        stderr,
        "Stopped with %u of %u jobs done; the daemon goes on with those submitted. The same command goes "
        "on from here.\n",
        tally.succeeded, run->jobs);
    return code;
  }
  if (code != EXIT_DONE)
    return code;
  code = print_cells(run);
  tell_failures(run);
  if (tally.failed)
    (void)fputs("--retry runs the failed jobs once more\n", stderr);
  if (tally.succeeded > 0 && !run->cli->json)
    (void)printf("guise study report %s writes table and plots\n", run->directory);
  return code == EXIT_DONE && tally.failed ? EXIT_FAILED : code;
}

/* ---- the command ---- */

static int load(struct study_run *run, const char *file) {
  struct guise_error err = {0};
  json_t *document = NULL, *problems = json_array();
  int r = problems ? document_load(file, &document, &err) : -ENOMEM;
  if (r == 0)
    r = study_parse(document, &run->study, problems);
  json_decref(document);
  if (r < 0 && json_array_size(problems) > 0) {
    struct reply reply = {
        .json = json_pack("{s:s,s:O}", "detail", "the study file has mistakes", "errors", problems)};
    (void)cli_problem(&reply);
    reply_free(&reply);
  } else if (r < 0) {
    (void)cli_error("%s", r == -ENOMEM ? "out of memory" : err.text);
  }
  json_decref(problems);
  return r < 0 ? EXIT_USAGE : EXIT_DONE;
}

/* Makes the folder and keeps a second run out of it. */
static int open_folder(struct study_run *run, int *ret_lock) {
  char path[4096];
  static const char *const parts[] = {"metrics", "decisions"};
  struct guise_error err = {0};
  int r = directory_make(run->directory, &err);
  for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++) {
    r = study_path(run->directory, NULL, parts[i], path, &err);
    if (r == 0)
      r = directory_make(path, &err);
  }
  if (r < 0)
    return cli_error("%s", err.text);
  *ret_lock = open(run->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*ret_lock < 0 || flock(*ret_lock, LOCK_EX | LOCK_NB) < 0)
    return cli_error("%s is in use: another guise study run works on it", run->directory);
  return results_load(run->directory, &run->rows, &err) < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

static int run_study(struct study_run *run) {
  int code = plan_make(run);
  if (code == EXIT_DONE)
    code = plan_save(run);
  if (code == EXIT_DONE)
    code = plan_find(run);
  if (code == EXIT_DONE)
    code = models_find(run);
  if (code != EXIT_DONE)
    return code;
  return finish(run, run_jobs(run));
}

static int parse_options(struct study_run *run, int argc, char **argv) {
  int option;
  while ((option = cli_option(run->cli, argc, argv)) != -1) {
    if (option == 'o')
      run->directory = optarg;
    else if (option == 'r')
      run->retry = true;
    else if (option != 'p')
      return cli_usage_option(run->cli);
    else if (!cli_number(optarg, 1, STUDY_JOBS_MAX, &run->parallel))
      return cli_usage(run->cli, "--parallel takes a number from 1");
  }
  if (optind + 1 != argc)
    return cli_usage(run->cli, "study run takes one file");
  if (!run->directory)
    return cli_usage(run->cli, "name the folder for the results with -o DIR");
  return EXIT_DONE;
}

int command_study_run(struct cli *cli, int argc, char **argv) {
  struct study_run run = {.cli = cli};
  _cleanup_(closep) int lock = -1;
  int code = parse_options(&run, argc, argv);
  if (code == EXIT_DONE)
    code = load(&run, argv[optind]);
  if (code != EXIT_DONE)
    return code;
  cli_catch_interrupts();
  code = open_folder(&run, &lock);
  if (code == EXIT_DONE)
    code = run_study(&run);
  json_decref(run.rows);
  free(run.job);
  study_free(&run.study);
  return code;
}
