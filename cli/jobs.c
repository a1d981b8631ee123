/* Commands on jobs: ls, show, cancel, pause, resume, log, metrics, ready. */
#include <getopt.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

/* A metric of the job's latest; rows may be plain numbers. */
static double latest(const json_t *job, const char *name) {
  return json_real_or(json_object_get(job, "metrics"), name, NAN);
}

static void job_row(struct table *table, const json_t *job) {
  const json_t *spec = json_object_get(job, "spec");
  char fraction[32], accuracy[32];
  format_percent(json_real_or(json_object_get(job, "progress"), "fraction", NAN), fraction, sizeof(fraction));
  format_percent(latest(job, "accuracy"), accuracy, sizeof(accuracy));
  table_cell(table, "%s", json_text(job, "id", "?"));
  table_cell(table, "%s", json_text(job, "state", "?"));
  table_cell(table, "%s", json_text(spec, "dataset", "?"));
  table_cell(table, "%s", json_text(json_object_get(spec, "mask"), "method", "?"));
  table_cell(table, "%s", fraction);
  table_cell(table, "%s", accuracy);
  table_cell(table, "%s", json_text(job, "created_at", "?"));
}

static const struct columns job_columns = {
    job_row, {"JOB", "STATE", "DATASET", "MASK", "PROGRESS", "ACCURACY", "CREATED"}};

/* "/v1/jobs?state=running" and "20" make "/v1/jobs?state=running&limit=20"; `path` is freed. */
static char *add_query(char *path, const char *name, const char *value) {
  char *longer =
      path ? http_path(path, "", strchr(path, '?') ? "&" : "?", "", name, "", "=", value, NULL) : NULL;
  free(path);
  return longer;
}

int command_ls(struct cli *cli, int argc, char **argv) {
  const char *limit = NULL;
  char *path = strdup("/v1/jobs");
  uint64_t number;
  int option, code = EXIT_DONE;
  while (code == EXIT_DONE && (option = cli_option(cli, argc, argv)) != -1) {
    if (option == 's' || option == 'L')
      path = add_query(path, option == 's' ? "state" : "label", optarg);
    else if (option == 'l' && cli_number(optarg, 1, 100, &number))
      limit = optarg;
    else
      code = option == 'l' ? cli_usage(cli, "--limit must be 1 to 100") : cli_usage_option(cli);
  }
  if (code == EXIT_DONE && optind != argc)
    code = cli_usage(cli, "ls takes no argument");
  if (code != EXIT_DONE) {
    free(path);
    return code;
  }
  json_t *jobs = NULL;
  if (limit) {
    json_t *page = NULL;
    code = cli_get(cli, add_query(path, "limit", limit), &page);
    jobs = json_incref(json_object_get(page, "data"));
    json_decref(page);
  } else {
    code = cli_get_all(cli, path, &jobs);
  }
  if (code == EXIT_DONE && cli->json)
    out_json(jobs);
  else if (code == EXIT_DONE)
    code = cli_print_rows(jobs, &job_columns);
  json_decref(jobs);
  return code;
}

static void print_progress(const json_t *job) {
  const json_t *progress = json_object_get(job, "progress");
  char fraction[32], eta[32], text[256], loss[32] = "-";
  format_percent(json_real_or(progress, "fraction", NAN), fraction, sizeof(fraction));
  format_duration(json_real_or(progress, "eta_s", -1), eta, sizeof(eta));
  (void)snprintf(text, sizeof(text), "%s, epoch %llu, step %llu of %llu, %s left", fraction,
                 (unsigned long long)json_count(progress, "epoch"),
                 (unsigned long long)json_count(progress, "step"),
                 (unsigned long long)json_count(progress, "total"), eta);
  out_line("progress", text);
  if (isfinite(latest(job, "loss")))
    (void)snprintf(loss, sizeof(loss), "%.3f", latest(job, "loss"));
  format_percent(latest(job, "accuracy"), fraction, sizeof(fraction));
  (void)snprintf(text, sizeof(text), "loss %s, accuracy %s", loss, fraction);
  out_line("metrics", text);
}

/* What the mask's level cost and gained where it was measured. */
static void print_level(const json_t *level) {
  const json_t *ssim = json_object_get(level, "linear_ssim"), *linkage = json_object_get(level, "linkage");
  char text[512], accuracy[32], without[32];
  if (!json_is_object(level))
    return;
  (void)snprintf(text, sizeof(text), "%s, %s %s", json_text(level, "level", "?"),
                 json_is_true(json_object_get(level, "as_measured")) ? "as measured on"
                                                                     : "but not as measured on",
                 json_text(level, "measured_on", "?"));
  out_line("level", text);
  format_percent(json_real_or(level, "accuracy", NAN), accuracy, sizeof(accuracy));
  format_percent(json_real_or(level, "accuracy_without_mask", NAN), without, sizeof(without));
  (void)snprintf(
      text, sizeof(text),
      "accuracy %s (without a mask %s); templates in use and trained on: linear's SSIM %.3f, %.3f; "
      "linkage's TAR %.3f, %.3f (without a mask %.3f)",
      accuracy, without, json_real_or(ssim, "in_use", NAN), json_real_or(ssim, "training", NAN),
      json_real_or(linkage, "in_use", NAN), json_real_or(linkage, "training", NAN),
      json_real_or(linkage, "without_mask", NAN));
  out_line("", text);
}

static void print_job(const json_t *job) {
  const json_t *spec = json_object_get(job, "spec"), *transition;
  const json_t *problem = json_object_get(job, "error");
  size_t i;
  out_line("job", json_text(job, "id", "?"));
  out_line("state", json_text(job, "state", "?"));
  if (json_text(job, "phase", NULL))
    out_line("phase", json_text(job, "phase", ""));
  if (json_is_object(json_object_get(job, "queue")))
    out_line("waits", json_text(json_object_get(job, "queue"), "detail", "?"));
  out_line("dataset", json_text(spec, "dataset", "?"));
  out_line("mask", json_text(json_object_get(spec, "mask"), "method", "?"));
  print_level(json_object_get(job, "mask_level"));
  print_progress(job);
  out_line("model", json_text(job, "model", "-"));
  if (json_is_object(problem))
    out_line("error", json_text(problem, "detail", json_text(problem, "title", "?")));
  json_array_foreach(json_object_get(job, "transitions"), i, transition) {
    char text[256];
    (void)snprintf(text, sizeof(text), "%s  %s  %s", json_text(transition, "at", "?"),
                   json_text(transition, "state", "?"), json_text(transition, "reason", ""));
    out_line(i ? "" : "history", text);
  }
}

int command_show(struct cli *cli, int argc, char **argv) {
  json_t *job = NULL;
  if (argc != 2)
    return cli_usage(cli, "show takes a job's id");
  int code = cli_get(cli, http_path("/v1/jobs/", argv[1], NULL), &job);
  if (code == EXIT_DONE && cli->json)
    out_json(job);
  else if (code == EXIT_DONE)
    print_job(job);
  json_decref(job);
  return code;
}

/* cancel, pause and resume differ in their last word only. */
static int job_action(struct cli *cli, int argc, char **argv, const char *action) {
  struct reply reply = {0};
  if (argc != 2)
    return cli_usage(cli, "%s takes a job's id", argv[0]);
  _cleanup_(freep) char *path = http_path("/v1/jobs/", argv[1], action, NULL);
  if (!path)
    return cli_error("out of memory");
  int code = cli_request(cli, &(struct request){.method = "POST", .path = path}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (cli->json)
    out_json(reply.json);
  else
    out_line(json_text(reply.json, "id", argv[1]), json_text(reply.json, "state", "done"));
  reply_free(&reply);
  return EXIT_DONE;
}

/* ?state=..&label=..: "/v1/jobs/cancel" with what was given. */
static int cancel_many(struct cli *cli, char *path) {
  _cleanup_(freep) char *owned = path;
  struct reply reply = {0};
  const json_t *job;
  size_t i;
  if (!owned)
    return cli_error("out of memory");
  int code = cli_request(cli, &(struct request){.method = "POST", .path = owned}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (cli->json)
    out_json(reply.json);
  else
    json_array_foreach(json_object_get(reply.json, "jobs"), i, job)
        out_line(json_text(job, "id", "?"), json_text(job, "state", "?"));
  reply_free(&reply);
  return EXIT_DONE;
}

int command_cancel(struct cli *cli, int argc, char **argv) {
  char *path = strdup("/v1/jobs/cancel");
  unsigned filters = 0;
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1 && option != '?') {
    path = add_query(path, option == 's' ? "state" : "label", optarg);
    filters++;
  }
  if (option != '?' && filters > 0 && optind == argc)
    return cancel_many(cli, path);
  free(path);
  if (option == '?')
    return cli_usage_option(cli);
  if (filters > 0)
    return cli_usage(cli, "cancel takes a job's id, or --state and --label");
  return job_action(cli, argc, argv, "/cancel");
}
int command_pause(struct cli *cli, int argc, char **argv) {
  return job_action(cli, argc, argv, "/pause");
}
int command_resume(struct cli *cli, int argc, char **argv) {
  return job_action(cli, argc, argv, "/resume");
}

/* ---- log ---- */

int command_log(struct cli *cli, int argc, char **argv) {
  json_t *rows = NULL;
  const json_t *row;
  size_t i;
  if (argc != 2)
    return cli_usage(cli, "log takes a job's id");
  int code = cli_get_all(cli, http_path("/v1/jobs/", argv[1], "/log", NULL), &rows);
  if (code != EXIT_DONE)
    return code;
  if (cli->json)
    out_json(rows);
  else
    json_array_foreach(rows, i, row) {
      (void)printf("%s  %-7s  ", json_text(row, "at", "?"), json_text(row, "level", "?"));
      out_text(stdout, json_text(row, "text", ""));
      (void)putchar('\n');
    }
  json_decref(rows);
  return EXIT_DONE;
}

/* ---- metrics ---- */

static void metric_row(struct table *table, const json_t *row) {
  table_cell(table, "%llu", (unsigned long long)json_count(row, "epoch"));
  table_cell(table, "%llu", (unsigned long long)json_count(row, "step"));
  table_cell(table, "%s", json_text(row, "name", "?"));
  table_cell(table, "%.6g", json_real_or(row, "value", NAN));
}

int command_metrics(struct cli *cli, int argc, char **argv) {
  static const struct columns columns = {metric_row, {"EPOCH", "STEP", "NAME", "VALUE"}};
  const char *name = NULL;
  bool steps = false;
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'n')
      name = optarg;
    else if (option == 's')
      steps = true;
    else
      return cli_usage_option(cli);
  }
  if (optind + 1 != argc)
    return cli_usage(cli, "metrics takes a job's id");
  const char *resolution = steps ? "/metrics?resolution=step" : "/metrics?resolution=epoch";
  char *path = name ? http_path("/v1/jobs/", argv[optind], resolution, "", "&name=", name, NULL)
                    : http_path("/v1/jobs/", argv[optind], resolution, NULL);
  return cli_list(cli, path, &columns);
}

/* ---- ready ---- */

int command_ready(struct cli *cli, int argc, char **argv) {
  uint64_t wait_s = 0;
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1)
    if (option != 'w' || !cli_number(optarg, 0, 86400, &wait_s))
      return option == 'w' ? cli_usage(cli, "--wait must be a number of seconds") : cli_usage_option(cli);
  if (optind != argc)
    return cli_usage(cli, "ready takes no argument");
  int64_t deadline = clock_ns() + (int64_t)wait_s * 1000000000;
  for (;;) {
    struct guise_error err = {0};
    struct reply reply = {0};
    int r = http_send(cli->http, &(struct request){.method = "GET", .path = "/readyz"}, &reply, &err);
    bool ready = r == 0 && reply.status == 200;
    bool last = clock_ns() >= deadline;
    int code = ready ? EXIT_DONE : r < 0 ? EXIT_CONNECTION : EXIT_FAILED;
    if (ready && cli->json)
      out_json(reply.json);
    else if (ready)
      (void)puts("ready");
    else if (last && r < 0)
      (void)cli_error("%s", err.text);
    else if (last)
      (void)cli_problem(&reply);
    reply_free(&reply);
    if (ready || last)
      return code;
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
  }
}
