/* The plots of a study: accuracy against what leaks, accuracy over epochs, and how each strategy went. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/chart.h"
#include "cli/output.h"
#include "cli/study.h"
#include "cli/study_data.h"

#define K_LEAST 1u
#define K_MOST 6u

/* Lower-case letters, digits and dashes of a text: part of a file's name. */
static void slug(const char *text, char *ret_slug, size_t size) {
  size_t n = 0;
  for (; *text && n + 1 < size; text++) {
    bool letter =
        (*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || (*text >= 'A' && *text <= 'Z');
    if (letter)
      ret_slug[n++] = (char)(*text >= 'A' && *text <= 'Z' ? *text - 'A' + 'a' : *text);
    else if (n > 0 && ret_slug[n - 1] != '-')
      ret_slug[n++] = '-';
  }
  while (n > 0 && ret_slug[n - 1] == '-')
    n--;
  ret_slug[n] = 0;
}

static int write_plot(const struct study_data *data, const char *name, const struct chart *panels,
                      uint32_t count, json_t *names, struct guise_error *err) {
  char path[4096];
  _cleanup_(freep) char *svg = NULL;
  if (chart_svg(panels, count, &svg) < 0 || json_array_append_new(names, json_string(name)) < 0)
    return error_set(err, -ENOMEM, "out of memory");
  int r = study_path(data->directory, "plots", name, path, err);
  return r < 0 ? r : file_write_atomic(path, svg, strlen(svg), err);
}

/* ---- series of one point a cell ---- */

struct cell_series {
  struct chart_series *series;
  struct chart_point *point;
};

static void cell_series_done(struct cell_series *s) {
  free(s->series);
  free(s->point);
}

/* Accuracy (figure 0) over figure f. */
static int frontier_series(const struct study_data *data, uint32_t f, struct cell_series *ret) {
  struct cell_series s = {calloc(MAX(data->cells, 1u), sizeof(*s.series)),
                          calloc(MAX(data->cells, 1u), sizeof(*s.point))};
  if (!s.series || !s.point) {
    cell_series_done(&s);
    return -ENOMEM;
  }
  for (uint32_t c = 0; c < data->cells; c++) {
    struct estimate x = estimate_mean(study_data_values(data, f, c), data->seeds);
    struct estimate y = estimate_mean(study_data_values(data, 0, c), data->seeds);
    s.point[c] = (struct chart_point){x.mean, 100 * y.mean, x.low, x.high, 100 * y.low, 100 * y.high};
    s.series[c] = (struct chart_series){study_data_cell(data, c), &s.point[c], 1};
  }
  *ret = s;
  return 0;
}

static int write_frontier(const struct study_data *data, uint32_t f, json_t *names, struct guise_error *err) {
  char name[160], part[120], title[200];
  struct cell_series s;
  if (frontier_series(data, f, &s) < 0)
    return error_set(err, -ENOMEM, "out of memory");
  slug(data->figure[f].key, part, sizeof(part));
  (void)snprintf(name, sizeof(name), "frontier-%s.svg", part);
  (void)snprintf(title, sizeof(title), "Accuracy against leak (%.80s); bars: 95 %% intervals over seeds",
                 data->figure[f].name);
  const struct chart chart = {.kind = CHART_POINTS,
                              .title = title,
                              .x_title = data->figure[f].name,
                              .y_title = "accuracy, %",
                              .series = s.series,
                              .count = data->cells};
  int r = write_plot(data, name, &chart, 1, names, err);
  cell_series_done(&s);
  return r;
}

/* ---- series over epochs ---- */

struct epoch_series {
  struct chart_series series;
  struct chart_point *point;
};

/* scale: 100 for per cent. count 0 when no job has the metric. */
static int epoch_series(const struct study_data *data, uint32_t cell, const char *metric, const char *name,
                        double scale, struct epoch_series *ret, struct guise_error *err) {
  _cleanup_(freep) struct epoch_value *value = NULL;
  uint32_t count = 0;
  int r = study_data_epochs(data, cell, metric, &value, &count, err);
  if (r < 0)
    return r;
  struct chart_point *point = calloc(MAX(count, 1u), sizeof(*point));
  if (!point)
    return error_set(err, -ENOMEM, "out of memory");
  for (uint32_t e = 0; e < count; e++)
    point[e] = (struct chart_point){e + 1, scale * value[e].mean, NAN,
                                    NAN,   scale * value[e].low,  scale * value[e].high};
  *ret = (struct epoch_series){{name, point, count}, point};
  return 0;
}

/* A line goes on over epochs that no job has verified. */
static void leave_out_unknown(struct chart_series *series, struct chart_point *point) {
  uint32_t known = 0;
  for (uint32_t i = 0; i < series->count; i++)
    if (isfinite(point[i].y))
      point[known++] = point[i];
  series->count = known;
}

static int write_accuracy(const struct study_data *data, json_t *names, struct guise_error *err) {
  struct epoch_series *all = calloc(MAX(data->cells, 1u), sizeof(*all));
  struct chart_series *series = calloc(MAX(data->cells, 1u), sizeof(*series));
  uint32_t points = 0;
  int r = all && series ? 0 : error_set(err, -ENOMEM, "out of memory");
  for (uint32_t c = 0; c < data->cells && r == 0; c++) {
    r = epoch_series(data, c, "accuracy", study_data_cell(data, c), 100, &all[c], err);
    if (r == 0) {
      leave_out_unknown(&all[c].series, all[c].point);
      series[c] = all[c].series;
    }
    points += r == 0 ? all[c].series.count : 0;
  }
  const struct chart chart = {.kind = CHART_LINES,
                              .title = "Accuracy over epochs: mean over seeds, band from least to greatest",
                              .whole_x = true,
                              .x_title = "epoch",
                              .y_title = "accuracy, %",
                              .series = series,
                              .count = data->cells};
  if (r == 0 && points > 0)
    r = write_plot(data, "accuracy.svg", &chart, 1, names, err);
  for (uint32_t c = 0; all && c < data->cells; c++)
    free(all[c].point);
  free(all);
  free(series);
  return r;
}

/* ---- a cell's strategy ---- */

#define PANELS_MAX 8u
#define KS (K_MOST - K_LEAST + 1)

struct strategy_plot {
  struct epoch_series pi[KS], line[PANELS_MAX];
  struct chart_series stack[KS], bars;
  struct chart_point share[KS];
  struct chart panel[PANELS_MAX];
  uint32_t ks, lines, panels;
  char title[200];
};

static int add_pi(const struct study_data *data, uint32_t cell, struct strategy_plot *plot,
                  struct guise_error *err) {
  static const char *const names[KS] = {"k = 1", "k = 2", "k = 3", "k = 4", "k = 5", "k = 6"};
  for (uint32_t k = K_LEAST; k <= K_MOST; k++) {
    struct epoch_series *pi = &plot->pi[plot->ks];
    char metric[32];
    (void)snprintf(metric, sizeof(metric), "strategy.pi_%u", k);
    int r = epoch_series(data, cell, metric, names[k - K_LEAST], 1, pi, err);
    if (r < 0)
      return r;
    if (pi->series.count == 0) {
      free(pi->point);
      *pi = (struct epoch_series){.point = NULL};
      continue;
    }
    plot->stack[plot->ks] = pi->series;
    plot->share[plot->ks] = CHART_POINT(k, pi->point[pi->series.count - 1].y);
    plot->ks++;
  }
  if (plot->ks == 0)
    return 0;
  plot->panel[plot->panels++] = (struct chart){.kind = CHART_STACK,
                                               .ordered = true,
                                               .title = plot->title,
                                               .whole_x = true,
                                               .x_title = "epoch",
                                               .y_title = "pi, mean over seeds",
                                               .series = plot->stack,
                                               .count = plot->ks};
  return 0;
}

static int add_line(const struct study_data *data, uint32_t cell, const char *metric, const char *title,
                    struct strategy_plot *plot, struct guise_error *err) {
  struct epoch_series *line = &plot->line[plot->lines++];
  int r = epoch_series(data, cell, metric, metric, 1, line, err);
  if (r == 0 && line->series.count > 0)
    plot->panel[plot->panels++] = (struct chart){.kind = CHART_LINES,
                                                 .title = title,
                                                 .whole_x = true,
                                                 .x_title = "epoch",
                                                 .y_title = metric,
                                                 .series = &line->series,
                                                 .count = 1};
  return r;
}

static void add_histogram(struct strategy_plot *plot) {
  if (plot->ks == 0)
    return;
  plot->bars = (struct chart_series){"share", plot->share, plot->ks};
  plot->panel[plot->panels++] =
      (struct chart){.kind = CHART_BARS,
                     .title = "Mean probability of each k (pi) in the last epoch, over seeds",
                     .whole_x = true,
                     .x_title = "k, faces mixed",
                     .y_title = "pi, mean over seeds",
                     .series = &plot->bars,
                     .count = 1};
}

/* earlier: what the metric was once called; NULL = the same. */
static int add_known_line(const struct study_data *data, uint32_t cell, const char *metric,
                          const char *earlier, const char *title, struct strategy_plot *plot,
                          struct guise_error *err) {
  const uint32_t panels = plot->panels;
  int r = add_line(data, cell, metric, title, plot, err);
  if (r < 0 || !earlier || plot->panels > panels)
    return r;
  free(plot->line[--plot->lines].point);
  plot->line[plot->lines] = (struct epoch_series){.point = NULL};
  return add_line(data, cell, earlier, title, plot, err);
}

static int fill_strategy(const struct study_data *data, uint32_t cell, struct strategy_plot *plot,
                         struct guise_error *err) {
  static const struct {
    const char *metric, *earlier, *title;
  } lines[] = {
      {"strategy.reward", NULL, "Reward"},
      {"leak", "strategy.leak", "Leak of the mixes that the policy was updated from"},
      {"strategy.cost", NULL, "What mixing costs: mean dilution of the mixes"},
      {"strategy.tau", NULL, "Bound on that cost (tau)"},
      {"strategy.mu", NULL, "Price of that cost in the reward (mu)"},
      {"strategy.entropy", NULL, "Entropy of pi, nats"},
  };
  int r = add_pi(data, cell, plot, err);
  for (size_t i = 0; i < ARRAY_SIZE(lines) && r == 0; i++)
    r = add_known_line(data, cell, lines[i].metric, lines[i].earlier, lines[i].title, plot, err);
  if (r == 0)
    add_histogram(plot);
  return r;
}

static int write_strategy(const struct study_data *data, uint32_t cell, json_t *names,
                          struct guise_error *err) {
  struct strategy_plot *plot = calloc(1, sizeof(*plot));
  char name[128], part[80];
  if (!plot)
    return error_set(err, -ENOMEM, "out of memory");
  (void)snprintf(plot->title, sizeof(plot->title), "%.120s: share of each k", study_data_cell(data, cell));
  int r = fill_strategy(data, cell, plot, err);
  slug(study_data_cell(data, cell), part, sizeof(part));
  (void)snprintf(name, sizeof(name), "strategy-%02u-%s.svg", cell + 1, part);
  if (r == 0 && plot->panels > 0)
    r = write_plot(data, name, plot->panel, plot->panels, names, err);
  for (size_t i = 0; i < ARRAY_SIZE(plot->pi); i++)
    free(plot->pi[i].point);
  for (size_t i = 0; i < ARRAY_SIZE(plot->line); i++)
    free(plot->line[i].point);
  free(plot);
  return r;
}

/* ---- all ---- */

/* Plots of an earlier report whose cells or attacks are no more would be taken for this one's. */
static int clear_plots(const struct study_data *data, struct guise_error *err) {
  char path[4096];
  struct dirent *entry;
  int r = study_path(data->directory, NULL, "plots", path, err);
  if (r == 0)
    r = directory_make(path, err);
  DIR *directory = r == 0 ? opendir(path) : NULL;
  while (directory && (entry = readdir(directory))) {
    size_t n = strlen(entry->d_name);
    if (n > 4 && strcmp(entry->d_name + n - 4, ".svg") == 0)
      (void)unlinkat(dirfd(directory), entry->d_name, 0);
  }
  if (directory)
    (void)closedir(directory);
  return r;
}

int study_plots_write(const struct study_data *data, json_t *names, struct guise_error *err) {
  int r = clear_plots(data, err);
  for (uint32_t f = 0; f < data->figures && r == 0; f++)
    if (data->figure[f].attack && data->figure[f].shown)
      r = write_frontier(data, f, names, err);
  if (r == 0)
    r = write_accuracy(data, names, err);
  for (uint32_t c = 0; c < data->cells && r == 0; c++)
    r = write_strategy(data, c, names, err);
  return r;
}
