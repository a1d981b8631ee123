/* table.md and table.csv of a study: means over seeds with intervals, and differences to a baseline. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/study.h"
#include "cli/study_data.h"

#define NO_CELL UINT32_MAX

/* What a cell's name may hold must not end a table's cell or start markup of its own. */
static void put_markdown(FILE *out, const char *text) {
  for (; *text; text++) {
    if (strchr("|\\`*_<>[]", *text))
      (void)putc('\\', out);
    (void)putc((unsigned char)*text < 0x20 ? '?' : *text, out);
  }
}

static void format_value(const struct figure *figure, double value, char ret_text[32]) {
  if (figure->percent)
    (void)snprintf(ret_text, 32, "%.1f", 100 * value);
  else
    (void)snprintf(ret_text, 32, "%.3g", value);
}

/* "84.1 [82.9, 85.3]", "84.1 [-]" of one value, "-" of none; over: what else than seeds the interval is over,
 * "people: ", or "" */
static void put_estimate(FILE *out, const struct figure *figure, struct estimate estimate, const char *over) {
  char mean[32], low[32], high[32];
  format_value(figure, estimate.mean, mean);
  format_value(figure, estimate.low, low);
  format_value(figure, estimate.high, high);
  if (!isfinite(estimate.mean))
    (void)fputs("-", out);
  else if (isfinite(estimate.low))
    (void)fprintf(out, "%s [%s%s, %s]", mean, over, low, high);
  else
    (void)fprintf(out, "%s [-]", mean);
}

static void put_mean(FILE *out, const struct study_data *data, uint32_t figure, uint32_t cell) {
  const struct estimate over_people = study_data_over_people(data, figure, cell);
  if (isfinite(over_people.low))
    put_estimate(out, &data->figure[figure], over_people, "people: ");
  else
    put_estimate(out, &data->figure[figure],
                 estimate_mean(study_data_values(data, figure, cell), data->seeds), "");
}

static bool has_values(const struct study_data *data, uint32_t figure) {
  for (uint32_t c = 0; c < data->cells; c++)
    if (estimate_mean(study_data_values(data, figure, c), data->seeds).count > 0)
      return true;
  return false;
}

/* differences: of what a mask is judged by, not of speeds. */
static bool is_column(const struct study_data *data, uint32_t figure, bool differences) {
  const struct figure *f = &data->figure[figure];
  return f->shown && has_values(data, figure) && (!differences || f->percent || f->attack);
}

static uint32_t jobs_of(const struct study_data *data, uint32_t cell) {
  uint32_t jobs = 0;
  for (uint32_t s = 0; s < data->seeds; s++)
    jobs += data->row[cell * data->seeds + s] != NULL;
  return jobs;
}

/* ---- table.md ---- */

static void put_heading(FILE *out, const struct study_data *data, bool differences, bool pairs) {
  unsigned columns = 2;
  (void)fputs("| cell | seeds |", out);
  for (uint32_t f = 0; f < data->figures; f++) {
    if (!is_column(data, f, differences))
      continue;
    (void)putc(' ', out);
    put_markdown(out, data->figure[f].name);
    (void)fputs(data->figure[f].percent ? ", % |" : " |", out);
    columns++;
  }
  if (pairs)
    (void)fputs(" accuracy, %: interval over pairs and seeds |", out);
  (void)fputs("\n|", out);
  for (columns += pairs; columns > 0; columns--)
    (void)fputs("---|", out);
  (void)putc('\n', out);
}

static void put_means(FILE *out, const struct study_data *data) {
  put_heading(out, data, false, false);
  for (uint32_t c = 0; c < data->cells; c++) {
    (void)fputs("| ", out);
    put_markdown(out, study_data_cell(data, c));
    (void)fprintf(out, " | %u |", jobs_of(data, c));
    for (uint32_t f = 0; f < data->figures; f++) {
      if (!is_column(data, f, false))
        continue;
      (void)putc(' ', out);
      put_mean(out, data, f, c);
      (void)fputs(" |", out);
    }
    (void)putc('\n', out);
  }
}

static struct estimate difference(const struct study_data *data, uint32_t figure, uint32_t cell,
                                  uint32_t baseline) {
  return estimate_difference(study_data_values(data, figure, cell), study_data_values(data, figure, baseline),
                             data->seeds);
}

/* The figure "accuracy" is the first. */
static void put_difference_row(FILE *out, const struct study_data *data, uint32_t cell, uint32_t baseline,
                               const struct estimate *pairs) {
  (void)fputs("| ", out);
  put_markdown(out, study_data_cell(data, cell));
  (void)fprintf(out, " | %u |", difference(data, 0, cell, baseline).count);
  for (uint32_t f = 0; f < data->figures; f++) {
    if (!is_column(data, f, true))
      continue;
    (void)putc(' ', out);
    put_estimate(out, &data->figure[f], difference(data, f, cell, baseline), "");
    (void)fputs(" |", out);
  }
  if (pairs) {
    (void)putc(' ', out);
    put_estimate(out, &data->figure[0], *pairs, "");
    (void)fputs(" |", out);
  }
  (void)putc('\n', out);
}

static void put_differences(FILE *out, const struct study_data *data, uint32_t baseline,
                            const struct estimate *bootstrap) {
  bool pairs = false;
  for (uint32_t c = 0; c < data->cells; c++)
    pairs = pairs || bootstrap[c].count > 0;
  (void)fputs("\n## Differences to ", out);
  put_markdown(out, study_data_cell(data, baseline));
  (void)fputs(
      "\n\nCell minus baseline over the seeds that both have, with the 95 % interval of the mean difference "
      "(t distribution).",
      out);
  if (pairs)
    (void)fputs(" The last column compares the decisions on each verification pair: mean and 95 % interval "
                "of a paired "
                "bootstrap that draws pairs and seeds anew.",
                out);
  (void)fputs("\n\n", out);
  put_heading(out, data, true, pairs);
  for (uint32_t c = 0; c < data->cells; c++)
    if (c != baseline)
      put_difference_row(out, data, c, baseline, pairs ? &bootstrap[c] : NULL);
}

/* "held-out people, one view" of the jobs, each once. */
static void put_protocols(FILE *out, const struct study_data *data) {
  json_t *seen = json_object();
  const char *key;
  json_t *value;
  unsigned n = 0;
  for (uint32_t i = 0; i < data->cells * data->seeds; i++) {
    char text[128];
    (void)snprintf(text, sizeof(text), "%.60s, %.60s", json_text(data->row[i], "protocol", "none"),
                   json_text(data->row[i], "view", "none"));
    if (data->row[i])
      (void)json_object_set_new(seen, text, json_null());
  }
  (void)fputs("Verification: ", out);
  json_object_foreach(seen, key, value) {
    (void)fputs(n++ ? "; " : "", out);
    put_markdown(out, key);
  }
  (void)fputs(n > 1 ? " (cells differ in it: compare with care).\n\n"
              : n   ? ".\n\n"
                    : "no job has succeeded.\n\n",
              out);
  json_decref(seen);
}

static bool is_failure(const struct study_data *data, const json_t *row) {
  for (uint32_t c = 0; c < data->cells; c++)
    for (uint32_t s = 0; s < data->seeds; s++) {
      const json_t *cell = json_array_get(json_object_get(data->plan, "cells"), c);
      const char *hash = json_string_value(json_array_get(json_object_get(cell, "hashes"), s));
      if (!data->row[c * data->seeds + s] && results_find(data->rows, study_data_cell(data, c),
                                                          study_data_seed(data, s), hash ? hash : "") == row)
        return true;
    }
  return false;
}

static void put_failures(FILE *out, const struct study_data *data) {
  const json_t *row;
  size_t i;
  bool any = false;
  json_array_foreach(data->rows, i, row) {
    if (!is_failure(data, row))
      continue;
    if (!any)
      (void)fputs("\n## Jobs that did not succeed\n\n", out);
    any = true;
    (void)fputs("- ", out);
    put_markdown(out, json_text(row, "cell", "?"));
    (void)fprintf(out, ", seed %llu, ", (unsigned long long)json_count(row, "seed"));
    put_markdown(out, json_text(row, "job", "?"));
    (void)fprintf(out, ", %s: ", json_text(row, "state", "?"));
    put_markdown(out, json_text(row, "error", "no reason was given"));
    (void)putc('\n', out);
  }
}

static void put_plots(FILE *out, const json_t *plots) {
  const json_t *name;
  size_t i;
  if (json_array_size(plots) > 0)
    (void)fputs("\n## Plots\n\n", out);
  json_array_foreach(plots, i, name)(void)
      fprintf(out, "![%s](plots/%s)\n\n", json_string_value(name), json_string_value(name));
}

static void put_page(FILE *out, const struct study_data *data, uint32_t baseline, const json_t *plots,
                     const struct estimate *bootstrap) {
  (void)fputs("# ", out);
  put_markdown(out, json_text(data->plan, "name", "?"));
  (void)fputs(
      "\n\nMean over seeds [95 % interval of the mean, t distribution over seeds]. A single seed says "
      "nothing of how far seeds move a figure: [people: low, high] is then the job's own 95 % interval "
      "of an attack's figure, over the people attacked, and [-] none. ",
      out);
  put_protocols(out, data);
  put_means(out, data);
  if (baseline != NO_CELL)
    put_differences(out, data, baseline, bootstrap);
  put_failures(out, data);
  if (data->stale > 0)
    (void)fprintf(
        out,
        "\nNot counted: %u lines of results.jsonl, of cells as they were before the study was changed or "
        "of jobs that were run again.\n",
        data->stale);
  if (data->versions) {
    (void)fputs("\nRun by different versions of guised, compare with care: ", out);
    put_markdown(out, data->versions);
    (void)fputs(".\n", out);
  }
  if (data->teachers) {
    (void)fputs(
        "\nIn these jobs attackers learnt from different networks, of which the first digits are told; "
        "compare linkage and other figures of attacks that learn with care: ",
        out);
    put_markdown(out, data->teachers);
    (void)fputs(".\n", out);
  }
  put_plots(out, plots);
}

/* ---- table.csv: a row for each cell and figure ---- */

static void put_csv_text(FILE *out, const char *text) {
  (void)putc('"', out);
  for (; *text; text++)
    (void)fprintf(out, "%s%c", *text == '"' ? "\"" : "", *text);
  (void)putc('"', out);
}

static void put_csv_number(FILE *out, double number) {
  (void)putc(',', out);
  if (isfinite(number))
    (void)fprintf(out, "%.9g", number);
}

static void put_csv_numbers(FILE *out, struct estimate estimate) {
  put_csv_number(out, estimate.mean);
  put_csv_number(out, estimate.low);
  put_csv_number(out, estimate.high);
}

static void put_csv(FILE *out, const struct study_data *data, uint32_t baseline,
                    const struct estimate *bootstrap) {
  const struct estimate none = {0, NAN, NAN, NAN};
  (void)fputs(
      "cell,figure,seeds,mean,low,high,baseline,paired_seeds,difference,difference_low,difference_high,"
      "bootstrap,bootstrap_low,bootstrap_high,people_low,people_high\n",
      out);
  for (uint32_t c = 0; c < data->cells; c++)
    for (uint32_t f = 0; f < data->figures; f++) {
      bool compared = baseline != NO_CELL && c != baseline;
      struct estimate mean = estimate_mean(study_data_values(data, f, c), data->seeds),
                      paired = compared ? difference(data, f, c, baseline) : none,
                      over_people = study_data_over_people(data, f, c);
      put_csv_text(out, study_data_cell(data, c));
      (void)fprintf(out, ",%s,%u", data->figure[f].key, mean.count);
      put_csv_numbers(out, mean);
      (void)putc(',', out);
      if (compared)
        put_csv_text(out, study_data_cell(data, baseline));
      (void)fprintf(out, ",%u", paired.count);
      put_csv_numbers(out, paired);
      put_csv_numbers(out, compared && f == 0 ? bootstrap[c] : none);
      put_csv_number(out, over_people.low);
      put_csv_number(out, over_people.high);
      (void)putc('\n', out);
    }
}

/* ---- both ---- */

static int publish(const struct study_data *data, const char *name, FILE *out, char **text,
                   const size_t *size, struct guise_error *err) {
  char path[4096];
  if (fclose(out) != 0)
    return error_set(err, -ENOMEM, "out of memory");
  int r = study_path(data->directory, NULL, name, path, err);
  return r < 0 ? r : file_write_atomic(path, *text, *size, err);
}

int study_table_write(const struct study_data *data, uint32_t baseline, const json_t *plots,
                      struct guise_error *err) {
  _cleanup_(freep) char *page = NULL, *csv = NULL;
  size_t page_size = 0, csv_size = 0;
  _cleanup_(freep) struct estimate *bootstrap = calloc(MAX(data->cells, 1u), sizeof(*bootstrap));
  FILE *out;
  if (!bootstrap || !(out = open_memstream(&page, &page_size)))
    return error_set(err, -ENOMEM, "out of memory");
  for (uint32_t c = 0; c < data->cells; c++)
    bootstrap[c] = baseline == NO_CELL || c == baseline ? (struct estimate){0, NAN, NAN, NAN}
                                                        : study_data_bootstrap(data, c, baseline);
  put_page(out, data, baseline, plots, bootstrap);
  int r = publish(data, "table.md", out, &page, &page_size, err);
  if (r < 0)
    return r;
  out = open_memstream(&csv, &csv_size);
  if (!out)
    return error_set(err, -ENOMEM, "out of memory");
  put_csv(out, data, baseline, bootstrap);
  return publish(data, "table.csv", out, &csv, &csv_size, err);
}
