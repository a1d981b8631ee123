/* study report: table and plots of what study run saved. Metrics that are not there, because a run was broken
 * off or the folder came without them, are fetched from the daemon where it still has them. */
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/study.h"
#include "cli/study_data.h"

/* The metrics of one job; true = they are there now. */
static bool fetch_metrics(struct cli *cli, const char *id, const char *path) {
  struct guise_error err = {0};
  struct reply reply = {0};
  json_t *rows = json_array();
  _cleanup_(freep) char *cursor = NULL;
  bool good = rows != NULL;
  do {
    _cleanup_(freep) char *url =
        cursor ? http_path("/v1/jobs/", id, "/metrics?resolution=epoch&cursor=", cursor, NULL)
               : http_path("/v1/jobs/", id, "/metrics?resolution=epoch", NULL);
    good = good && url &&
           http_send(cli->http, &(struct request){.method = "GET", .path = url}, &reply, &err) == 0 &&
           reply.status == 200;
    const char *next = good ? json_text(reply.json, "next", NULL) : NULL;
    free(cursor);
    cursor = next ? strdup(next) : NULL;
    if (good)
      (void)json_array_extend(rows, json_object_get(reply.json, "data"));
    reply_free(&reply);
  } while (good && cursor);
  _cleanup_(freep) char *text = good ? json_dumps(rows, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(rows);
  return text && file_write_atomic(path, text, strlen(text), &err) == 0;
}

static int complete_metrics(struct cli *cli, const struct study_data *data) {
  char path[4096], name[128];
  struct guise_error err = {0};
  unsigned missing = 0;
  if (study_path(data->directory, NULL, "metrics", path, &err) < 0 || directory_make(path, &err) < 0)
    return cli_error("%s", err.text);
  for (uint32_t i = 0; i < data->cells * data->seeds; i++) {
    const char *id = json_text(data->row[i], "job", "");
    (void)snprintf(name, sizeof(name), "%s.json", id);
    if (data->row[i] && study_path(data->directory, "metrics", name, path, &err) == 0 &&
        access(path, F_OK) != 0)
      missing += !fetch_metrics(cli, id, path);
  }
  if (missing)
    (void)cli_error(
        "the metrics of %u jobs are not in %s/metrics and the daemon did not give them: the plots over "
        "epochs are without them",
        missing, data->directory);
  return EXIT_DONE;
}

static void warn_of_differences(const struct study_data *data) {
  if (data->versions)
    (void)cli_error("the jobs of this study were run by different versions of guised, compare with care: %s",
                    data->versions);
  if (data->teachers)
    (void)cli_error(
        "the attackers of this study's jobs learnt from different networks, compare with care: %s",
        data->teachers);
}

static int write_report(const struct study_data *data, uint32_t baseline) {
  struct guise_error err = {0};
  json_t *plots = json_array();
  int r = plots ? study_plots_write(data, plots, &err) : error_set(&err, -ENOMEM, "out of memory");
  if (r == 0)
    r = study_table_write(data, baseline, plots, &err);
  if (r == 0)
    (void)printf("%s/table.md, %s/table.csv, %zu plots in %s/plots\n", data->directory, data->directory,
                 json_array_size(plots), data->directory);
  json_decref(plots);
  return r < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

static int no_cell(const struct study_data *data, const char *name) {
  (void)cli_error("the study has no cell '%s'; its cells are:", name);
  for (uint32_t c = 0; c < data->cells; c++) {
    (void)fputs("  ", stderr);
    out_text(stderr, study_data_cell(data, c));
    (void)putc('\n', stderr);
  }
  return EXIT_USAGE;
}

int command_study_report(struct cli *cli, int argc, char **argv) {
  const char *baseline = NULL;
  uint32_t cell = UINT32_MAX;
  struct study_data data;
  struct guise_error err = {0};
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option != 'b')
      return cli_usage_option(cli);
    baseline = optarg;
  }
  if (optind + 1 != argc)
    return cli_usage(cli, "study report takes one folder");
  if (study_data_load(argv[optind], &data, &err) < 0)
    return cli_error("%s", err.text);
  int code = EXIT_DONE;
  if (baseline && study_data_find_cell(&data, baseline, &cell) < 0)
    code = no_cell(&data, baseline);
  if (code == EXIT_DONE) {
    warn_of_differences(&data);
    code = complete_metrics(cli, &data);
  }
  if (code == EXIT_DONE)
    code = write_report(&data, cell);
  study_data_free(&data);
  return code;
}
