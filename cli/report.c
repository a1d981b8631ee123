/* report: a model's report.json as text. Fetched from the daemon or read from a file; figures are printed as
 * they stand there, and a missing one as "-", never as zero. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/model/files.h"

/* "0.482 [0.441, 0.523]" of {"mean","low","high"} */
static void format_interval(const json_t *interval, char *ret_text, size_t size) {
  double mean = json_real_or(interval, "mean", NAN), low = json_real_or(interval, "low", NAN),
         high = json_real_or(interval, "high", NAN);
  if (!isfinite(mean))
    (void)snprintf(ret_text, size, "-");
  else if (!isfinite(low) || !isfinite(high))
    (void)snprintf(ret_text, size, "%.3g", mean);
  else
    (void)snprintf(ret_text, size, "%.3g [%.3g, %.3g]", mean, low, high);
}

static void format_figure(double value, char *ret_text, size_t size) {
  if (isfinite(value))
    (void)snprintf(ret_text, size, "%.3g", value);
  else
    (void)snprintf(ret_text, size, "-");
}

/* ---- verification ---- */

static void verification_row(struct table *table, const json_t *entry) {
  static const char *const fraction[] = {"eer", "tar_at_far_1e-2", "tar_at_far_1e-3", "rank_1"};
  const json_t *interval = json_object_get(entry, "accuracy");
  char text[64], low[32], high[32];
  format_percent(json_is_object(interval) ? json_real_or(interval, "mean", NAN)
                                          : json_real_or(entry, "accuracy", NAN),
                 text, sizeof(text));
  if (json_text(entry, "pairs", NULL))
    table_cell(table, "%s %s/%s", json_text(entry, "protocol", "?"), json_text(entry, "dataset", "?"),
               json_text(entry, "pairs", "?"));
  else
    table_cell(table, "%s", json_text(entry, "protocol", "?"));
  table_cell(table, "%s", json_text(entry, "view", "?"));
  table_cell(table, "%s", text);
  format_percent(json_real_or(interval, "low", NAN), low, sizeof(low));
  format_percent(json_real_or(interval, "high", NAN), high, sizeof(high));
  table_cell(table, "%s to %s", low, high);
  for (size_t i = 0; i < ARRAY_SIZE(fraction); i++) {
    format_percent(json_real_or(entry, fraction[i], NAN), text, sizeof(text));
    table_cell(table, "%s", text);
  }
}

static int print_verification(const json_t *report) {
  static const char *const heading[] = {"VERIFICATION", "VIEW",       "ACCURACY",    "95 %",
                                        "EER",          "TAR@FAR 1%", "TAR@FAR .1%", "RANK-1"};
  const json_t *entries = json_object_get(report, "utility"), *entry;
  _cleanup_(table_freep) struct table *table = table_new(ARRAY_SIZE(heading));
  size_t i;
  if (json_array_size(entries) == 0)
    return 0;
  for (i = 0; i < ARRAY_SIZE(heading); i++)
    table_cell(table, "%s", heading[i]);
  json_array_foreach(entries, i, entry) verification_row(table, entry);
  (void)putchar('\n');
  return table_print(table, stdout);
}

/* ---- attacks ---- */

static void metric_row(struct table *table, const json_t *attack, const json_t *surface,
                       const json_t *metric) {
  const char *name = json_text(metric, "name", "?"), *unit = json_text(metric, "unit", "");
  bool decides = strcmp(name, json_text(surface, "decided_by", "")) == 0;
  char text[96];
  table_cell(table, "%s", json_text(attack, "attack", "?"));
  table_cell(table, "%s", json_text(attack, "effort", "?"));
  table_cell(table, "%s (%s)", json_text(surface, "surface", "?"), json_text(surface, "surface_name", "?"));
  table_cell(table, "%s%s%s", name, *unit ? " " : "", unit);
  format_interval(json_object_get(metric, "value"), text, sizeof(text));
  table_cell(table, "%s", text);
  format_figure(json_real_or(metric, "worst_tenth", NAN), text, sizeof(text));
  table_cell(table, "%s", text);
  format_figure(json_real_or(metric, "chance", NAN), text, sizeof(text));
  table_cell(table, "%s", text);
  format_interval(json_object_get(metric, "control"), text, sizeof(text));
  table_cell(table, "%s", text);
  format_figure(json_real_or(metric, "ceiling", NAN), text, sizeof(text));
  table_cell(table, "%s", text);
  table_cell(table, "%s", decides ? json_text(surface, "verdict", "?") : "");
}

static void attack_rows(struct table *table, const json_t *attack) {
  const json_t *surface, *metric;
  size_t s, m;
  json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
    json_array_foreach(json_object_get(surface, "metrics"), m, metric)
        metric_row(table, attack, surface, metric);
  }
}

static void print_reasons(const json_t *attacks) {
  const json_t *attack, *surface;
  size_t a, s;
  json_array_foreach(attacks, a, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      out_text(stdout, json_text(attack, "attack", "?"));
      (void)printf(" (%s) on ", json_text(attack, "effort", "?"));
      out_text(stdout, json_text(surface, "surface_name", "?"));
      (void)fputs(": ", stdout);
      out_text(stdout, json_text(surface, "verdict", "?"));
      (void)fputs(". ", stdout);
      out_text(stdout, json_text(surface, "reason", ""));
      (void)putchar('\n');
    }
  }
}

static int print_attacks(const json_t *report) {
  static const char *const heading[] = {"ATTACK",      "EFFORT", "SURFACE", "METRIC",  "WITH THE MASK [95 %]",
                                        "WORST TENTH", "CHANCE", "CONTROL", "CEILING", "VERDICT"};
  const json_t *attacks = json_object_get(report, "attacks"), *attack;
  _cleanup_(table_freep) struct table *table = table_new(ARRAY_SIZE(heading));
  size_t i;
  (void)putchar('\n');
  if (json_array_size(attacks) == 0) {
    (void)puts("No attack was run: nothing is known about privacy.");
    return 0;
  }
  for (i = 0; i < ARRAY_SIZE(heading); i++)
    table_cell(table, "%s", heading[i]);
  json_array_foreach(attacks, i, attack) attack_rows(table, attack);
  int r = table_print(table, stdout);
  (void)puts("control: the same attack without the mask; chance: against somebody else's face; ceiling: with "
             "photographs instead of templates");
  print_reasons(attacks);
  return r;
}

static void print_left_out(const json_t *audits) {
  const json_t *audit, *entry;
  size_t i, a;
  json_array_foreach(audits, i, audit) {
    json_array_foreach(json_object_get(audit, "left_out"), a, entry) {
      (void)fputs("Left out by ", stdout);
      out_text(stdout, json_text(audit, "job", "?"));
      (void)fputs(" of the people of ", stdout);
      out_text(stdout, json_text(json_object_get(audit, "victims"), "dataset", "?"));
      (void)fputs(": ", stdout);
      out_text(stdout, json_text(entry, "attack", "?"));
      (void)fputs(", ", stdout);
      out_text(stdout, json_text(entry, "reason", "?"));
      (void)putchar('\n');
    }
  }
}

static void print_unknown(const json_t *report) {
  const json_t *entry;
  size_t i;
  (void)fputs("\n", stdout);
  out_text(stdout, json_text(json_object_get(report, "headline"), "text", ""));
  (void)fputs("\nNot measured: ", stdout);
  json_array_foreach(json_object_get(report, "not_measured"), i, entry) {
    (void)fputs(i ? ", " : "", stdout);
    out_text(stdout, json_text(entry, "attack", "?"));
  }
  (void)putchar('\n');
  print_left_out(json_object_get(report, "audits"));
}

/* ---- the command ---- */

static void print_split(const json_t *data) {
  const json_t *train = json_object_get(data, "training"), *held = json_object_get(data, "held_out");
  const json_t *unseen = json_object_get(data, "unseen");
  (void)fputs("data set ", stdout);
  out_text(stdout, json_text(data, "name", "?"));
  (void)printf(
      ": trained on %llu people (%llu images), %llu people (%llu images) kept out\n",
      (unsigned long long)json_count(train, "identities"), (unsigned long long)json_count(train, "images"),
      (unsigned long long)json_count(held, "identities"), (unsigned long long)json_count(held, "images"));
  if (json_count(unseen, "images") > 0)
    (void)printf("%llu images of people trained on were kept out, too\n",
                 (unsigned long long)json_count(unseen, "images"));
}

static void print_sentences(const char *before, const json_t *list) {
  const json_t *sentence;
  size_t i;
  json_array_foreach(list, i, sentence) {
    (void)fputs(before, stdout);
    out_text(stdout, json_string_value(sentence) ? json_string_value(sentence) : "?");
    (void)putchar('\n');
  }
}

/* Whose faces the service never had. */
static void print_owner(const json_t *data) {
  if (strcmp(json_text(data, "masked_by", ""), "owner") != 0)
    return;
  (void)puts("masked by the faces' owner: images are templates here");
  print_sentences("  removed: ", json_object_get(data, "removes"));
  print_sentences("  stays: ", json_object_get(data, "stays"));
}

static int print_report(const json_t *report) {
  const json_t *data = json_object_get(report, "data");
  if (json_is_true(json_object_get(data, "synthetic")))
    (void)puts("SYNTHETIC FACES: a demonstration. No figure here says anything about real people.");
  print_split(data);
  print_owner(data);
  int r = print_verification(report);
  if (r == 0)
    r = print_attacks(report);
  print_unknown(report);
  print_sentences("note: ", json_object_get(report, "notes"));
  return r < 0 ? cli_error("out of memory") : EXIT_DONE;
}

static int fetch_report(struct cli *cli, const char *id, json_t **ret_report) {
  int code = EXIT_DONE;
  _cleanup_(freep) char *model = model_resolve(cli, id, &code);
  if (!model)
    return code;
  /* The figures are what tells whether a model is safe, so that they may be read of any. */
  return cli_get(cli, http_path("/v1/models/", model, "/files/" REPORT_FILE "?unsafe=true", NULL),
                 ret_report);
}

int command_report(struct cli *cli, int argc, char **argv) {
  json_error_t error;
  json_t *report = NULL;
  int code = EXIT_DONE;
  if (argc != 2)
    return cli_usage(cli, "report takes a model's or a job's id, or a report's file");
  if (access(argv[1], F_OK) == 0 || strchr(argv[1], '/')) {
    report = json_load_file(argv[1], JSON_REJECT_DUPLICATES, &error);
    if (!report)
      return cli_error("cannot read %s: %s", argv[1], error.text);
  } else {
    code = fetch_report(cli, argv[1], &report);
  }
  if (code == EXIT_DONE && cli->json)
    out_json(report);
  else if (code == EXIT_DONE)
    code = print_report(report);
  json_decref(report);
  return code;
}
