#include "cli/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pixels: a panel is its title, the plot, ticks and the axis' title below; the legend is to the right. */
#define WIDTH 900
#define LEFT 84
#define PLOT_WIDTH 560
#define TOP 44
#define PLOT_HEIGHT 270
#define BOTTOM 62
#define PANEL (TOP + PLOT_HEIGHT + BOTTOM)
#define LEGEND_LEFT (LEFT + PLOT_WIDTH + 24)
#define LEGEND_LINE 20
#define LEGEND_CHARACTERS 32u
#define COLOURS 8u /* classes c0..c7 */
#define RAMP 5u    /* classes r0..r4 */

static const char style[] =
    "<style>\n"
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#52514e}\n"
    ".title{font-size:14px;font-weight:600;fill:#0b0b0b}\n"
    ".page{fill:#fcfcfb}\n"
    ".grid{stroke:#e4e3df;stroke-width:1}\n"
    ".axis{stroke:#8a8984;stroke-width:1}\n"
    ".line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}\n"
    ".bar{stroke:currentColor;stroke-width:1.5}\n"
    ".mark{fill:currentColor}\n"
    ".band{fill:currentColor;fill-opacity:.15}\n"
    ".area{fill:currentColor;stroke:#fcfcfb;stroke-width:1}\n"
    ".c0{color:#2a78d6}.c1{color:#eb6834}.c2{color:#1baf7a}.c3{color:#4a3aa7}\n"
    ".c4{color:#eda100}.c5{color:#e34948}.c6{color:#008300}.c7{color:#d55181}\n"
    ".r0{color:#b7d3f6}.r1{color:#86b6ef}.r2{color:#5598e7}.r3{color:#256abf}.r4{color:#104281}\n"
    "@media(prefers-color-scheme:dark){\n"
    "text{fill:#c3c2b7}.title{fill:#fff}.page{fill:#1a1a19}.grid{stroke:#33332f}.axis{stroke:#8a8984}\n"
    ".area{stroke:#1a1a19}\n"
    ".c0{color:#3987e5}.c1{color:#d95926}.c2{color:#199e70}.c3{color:#9085e9}\n"
    ".c4{color:#c98500}.c5{color:#e66767}.c6{color:#2fa32f}.c7{color:#d55181}\n"
    "}\n"
    "</style>\n";

/* ---- texts ---- */

/* A character's bytes in UTF-8, by its first. */
static size_t character_bytes(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Escaped for XML; what XML has no way to hold becomes "?"; cut after `most` characters. */
static void put_text(FILE *out, const char *text, unsigned most) {
  unsigned shown = 0;
  for (const char *p = text; *p; shown++) {
    if (shown == most) {
      (void)fputs("\xe2\x80\xa6", out);
      return;
    }
    size_t bytes = strnlen(p, character_bytes((unsigned char)*p));
    if (*p == '&')
      (void)fputs("&amp;", out);
    else if (*p == '<')
      (void)fputs("&lt;", out);
    else if (*p == '>')
      (void)fputs("&gt;", out);
    else if (*p == '"')
      (void)fputs("&quot;", out);
    else if ((unsigned char)*p < 0x20)
      (void)putc('?', out);
    else
      (void)fwrite(p, 1, bytes, out);
    p += bytes;
  }
}

static void put_label(FILE *out, double x, double y, const char *attributes, const char *text) {
  (void)fprintf(out, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, attributes);
  put_text(out, text, 120);
  (void)fputs("</text>\n", out);
}

static void put_line(FILE *out, const char *class, double x1, double y1, double x2, double y2) {
  (void)fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1,
                x2, y2);
}

/* ---- scales ---- */

struct axis {
  double low, high, step;
};

struct panel {
  FILE *out;
  const struct chart *chart;
  double top; /* of the plot */
  struct axis x, y;
};

double chart_step(double range, unsigned wanted) {
  double raw = range / MAX(wanted, 1u), power = pow(10, floor(log10(raw)));
  double lead = raw / power;
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

static void widen(struct axis *axis, double value) {
  if (!isfinite(value))
    return;
  axis->low = isnan(axis->low) ? value : fmin(axis->low, value);
  axis->high = isnan(axis->high) ? value : fmax(axis->high, value);
}

/* Ends on ticks when `round`; a single value gets room on both sides. */
static void settle(struct axis *axis, unsigned ticks, bool round) {
  if (isnan(axis->low))
    *axis = (struct axis){0, 1, 0};
  if (axis->high - axis->low <= 1e-9 * fmax(fabs(axis->low), fabs(axis->high)) || axis->high == axis->low) {
    double room = axis->high == 0 ? 1 : fabs(axis->high) * 0.1;
    axis->low -= room;
    axis->high += room;
  }
  axis->step = chart_step(axis->high - axis->low, ticks);
  if (round) {
    axis->low = floor(axis->low / axis->step + 1e-9) * axis->step;
    axis->high = ceil(axis->high / axis->step - 1e-9) * axis->step;
  }
}

static double stacked_height(const struct chart *chart, uint32_t series, uint32_t i) {
  double sum = 0;
  for (uint32_t s = 0; s <= series; s++)
    if (i < chart->series[s].count && isfinite(chart->series[s].point[i].y))
      sum += chart->series[s].point[i].y;
  return sum;
}

static void measure(struct panel *panel) {
  const struct chart *chart = panel->chart;
  panel->x = panel->y = (struct axis){NAN, NAN, 0};
  for (uint32_t s = 0; s < chart->count; s++)
    for (uint32_t i = 0; i < chart->series[s].count; i++) {
      const struct chart_point *p = &chart->series[s].point[i];
      const double xs[] = {p->x, p->x_low, p->x_high}, ys[] = {p->y, p->y_low, p->y_high};
      for (size_t j = 0; j < ARRAY_SIZE(xs); j++) {
        widen(&panel->x, xs[j]);
        widen(&panel->y, ys[j]);
      }
      if (chart->kind == CHART_STACK)
        widen(&panel->y, stacked_height(chart, s, i));
    }
  if (chart->kind == CHART_STACK || chart->kind == CHART_BARS)
    widen(&panel->y, 0);
  if (chart->kind == CHART_BARS && isfinite(panel->x.low)) {
    panel->x.low -= 0.6;
    panel->x.high += 0.6;
  }
  settle(&panel->x, 8, chart->kind == CHART_POINTS);
  if (chart->whole_x)
    panel->x.step = fmax(1, panel->x.step);
  settle(&panel->y, 6, true);
}

static double at_x(const struct panel *panel, double x) {
  return LEFT + (x - panel->x.low) / (panel->x.high - panel->x.low) * PLOT_WIDTH;
}

static double at_y(const struct panel *panel, double y) {
  return panel->top + PLOT_HEIGHT - (y - panel->y.low) / (panel->y.high - panel->y.low) * PLOT_HEIGHT;
}

static bool drawable(const struct chart_point *p) {
  return isfinite(p->x) && isfinite(p->y);
}

/* ---- frame ---- */

static void tick_text(double value, double step, char ret_text[32]) {
  int decimals = MAX(0, (int)ceil(-log10(step) - 1e-9));
  if (fabs(value) < step * 1e-6)
    value = 0;
  if (decimals > 6 || fabs(value) >= 1e7)
    (void)snprintf(ret_text, 32, "%.3g", value);
  else
    (void)snprintf(ret_text, 32, "%.*f", decimals, value);
}

static void draw_ticks(const struct panel *panel) {
  const struct axis *x = &panel->x, *y = &panel->y;
  double bottom = panel->top + PLOT_HEIGHT;
  char text[32];
  for (int64_t n = (int64_t)ceil(y->low / y->step - 1e-9); (double)n * y->step <= y->high + 1e-9 * y->step;
       n++) {
    double at = at_y(panel, (double)n * y->step);
    put_line(panel->out, "grid", LEFT, at, LEFT + PLOT_WIDTH, at);
    tick_text((double)n * y->step, y->step, text);
    put_label(panel->out, LEFT - 8, at + 4, " text-anchor=\"end\"", text);
  }
  for (int64_t n = (int64_t)ceil(x->low / x->step - 1e-9); (double)n * x->step <= x->high + 1e-9 * x->step;
       n++) {
    double at = at_x(panel, (double)n * x->step);
    put_line(panel->out, "axis", at, bottom, at, bottom + 5);
    tick_text((double)n * x->step, x->step, text);
    put_label(panel->out, at, bottom + 20, " text-anchor=\"middle\"", text);
  }
  put_line(panel->out, "axis", LEFT, bottom, LEFT + PLOT_WIDTH, bottom);
  put_line(panel->out, "axis", LEFT, panel->top, LEFT, bottom);
}

static void draw_titles(const struct panel *panel) {
  char turned[96];
  double middle = panel->top + PLOT_HEIGHT / 2.0;
  put_label(panel->out, LEFT, panel->top - 18, " class=\"title\"", panel->chart->title);
  put_label(panel->out, LEFT + PLOT_WIDTH / 2.0, panel->top + PLOT_HEIGHT + 42, " text-anchor=\"middle\"",
            panel->chart->x_title);
  (void)snprintf(turned, sizeof(turned), " text-anchor=\"middle\" transform=\"rotate(-90 16 %.1f)\"", middle);
  put_label(panel->out, 16, middle, turned, panel->chart->y_title);
}

static void put_class(const struct chart *chart, uint32_t series, char ret_class[8]) {
  if (chart->ordered && chart->count > 1)
    (void)snprintf(ret_class, 8, "r%u", series * (RAMP - 1) / (chart->count - 1));
  else
    (void)snprintf(ret_class, 8, "c%u", series % COLOURS);
}

/* After eight series colours repeat: dashes and another mark tell them apart. */
static const char *dash_of(uint32_t series) {
  static const char *const dashes[] = {"", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 3\""};
  return dashes[series / COLOURS % ARRAY_SIZE(dashes)];
}

static void put_mark(FILE *out, uint32_t series, double x, double y) {
  if (series / COLOURS % 3 == 0)
    (void)fprintf(out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", x, y);
  else if (series / COLOURS % 3 == 1)
    (void)fprintf(out, "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"9\" height=\"9\"/>\n", x - 4.5,
                  y - 4.5);
  else
    (void)fprintf(out, "<path class=\"mark\" d=\"M%.1f %.1fl6 10h-12z\"/>\n", x, y - 6);
}

static void draw_legend(const struct panel *panel) {
  const struct chart *chart = panel->chart;
  bool rising = chart->kind == CHART_STACK; /* listed as they lie: the last on top */
  if (chart->kind == CHART_BARS || (chart->kind == CHART_LINES && chart->count == 1))
    return; /* the axis says what it is */
  for (uint32_t row = 0; row < chart->count; row++) {
    uint32_t s = rising ? chart->count - 1 - row : row;
    double y = panel->top + 6 + (double)row * LEGEND_LINE;
    char class[8];
    put_class(chart, s, class);
    (void)fprintf(panel->out, "<g class=\"%s\">", class);
    if (chart->kind == CHART_LINES)
      (void)fprintf(panel->out, "<path class=\"line\"%s d=\"M%d %.1fh18\"/>", dash_of(s), LEGEND_LEFT, y);
    else if (chart->kind == CHART_STACK)
      (void)fprintf(panel->out, "<rect class=\"area\" x=\"%d\" y=\"%.1f\" width=\"18\" height=\"12\"/>",
                    LEGEND_LEFT, y - 6);
    else
      put_mark(panel->out, s, LEGEND_LEFT + 9, y);
    (void)fprintf(panel->out, "</g><text x=\"%d\" y=\"%.1f\">", LEGEND_LEFT + 26, y + 4);
    put_text(panel->out, chart->series[s].name, LEGEND_CHARACTERS);
    (void)fputs("</text>\n", panel->out);
  }
}

/* ---- the four kinds ---- */

/* Runs of drawable points: the outline of the band there and back, or the line. */
static void draw_band(const struct panel *panel, const struct chart_series *series) {
  for (uint32_t i = 0; i < series->count;) {
    const struct chart_point *p = series->point;
    uint32_t end = i;
    while (end < series->count && drawable(&p[end]) && isfinite(p[end].y_low) && isfinite(p[end].y_high))
      end++;
    if (end > i + 1) {
      (void)fputs("<path class=\"band\" d=\"", panel->out);
      for (uint32_t j = i; j < end; j++)
        (void)fprintf(panel->out, "%c%.1f %.1f", j == i ? 'M' : 'L', at_x(panel, p[j].x),
                      at_y(panel, p[j].y_high));
      for (uint32_t j = end; j-- > i;)
        (void)fprintf(panel->out, "L%.1f %.1f", at_x(panel, p[j].x), at_y(panel, p[j].y_low));
      (void)fputs("z\"/>\n", panel->out);
    }
    i = end + 1;
  }
}

static void draw_curve(const struct panel *panel, uint32_t s) {
  const struct chart_series *series = &panel->chart->series[s];
  uint32_t drawn = 0;
  bool pen = false;
  draw_band(panel, series);
  (void)fprintf(panel->out, "<path class=\"line\"%s d=\"", dash_of(s));
  for (uint32_t i = 0; i < series->count; i++) {
    const struct chart_point *p = &series->point[i];
    if (drawable(p)) {
      (void)fprintf(panel->out, "%c%.1f %.1f", pen ? 'L' : 'M', at_x(panel, p->x), at_y(panel, p->y));
      drawn++;
    }
    pen = drawable(p);
  }
  (void)fprintf(panel->out, "%s\"/>\n", drawn ? "" : "M0 0");
  for (uint32_t i = 0; drawn == 1 && i < series->count; i++) /* a line of one point would not be seen */
    if (drawable(&series->point[i]))
      put_mark(panel->out, s, at_x(panel, series->point[i].x), at_y(panel, series->point[i].y));
}

static void draw_points(const struct panel *panel, uint32_t s) {
  const struct chart_series *series = &panel->chart->series[s];
  for (uint32_t i = 0; i < series->count; i++) {
    const struct chart_point *p = &series->point[i];
    if (!drawable(p))
      continue;
    double x = at_x(panel, p->x), y = at_y(panel, p->y);
    if (isfinite(p->x_low) && isfinite(p->x_high))
      put_line(panel->out, "bar", at_x(panel, p->x_low), y, at_x(panel, p->x_high), y);
    if (isfinite(p->y_low) && isfinite(p->y_high))
      put_line(panel->out, "bar", x, at_y(panel, p->y_low), x, at_y(panel, p->y_high));
    put_mark(panel->out, s, x, y);
  }
}

static void draw_area(const struct panel *panel, uint32_t s) {
  const struct chart_series *series = &panel->chart->series[s];
  if (series->count == 0)
    return;
  (void)fputs("<path class=\"area\" d=\"", panel->out);
  for (uint32_t i = 0; i < series->count; i++)
    (void)fprintf(panel->out, "%c%.1f %.1f", i ? 'L' : 'M', at_x(panel, series->point[i].x),
                  at_y(panel, stacked_height(panel->chart, s, i)));
  for (uint32_t i = series->count; i-- > 0;)
    (void)fprintf(panel->out, "L%.1f %.1f", at_x(panel, series->point[i].x),
                  at_y(panel, s ? stacked_height(panel->chart, s - 1, i) : 0));
  (void)fputs("z\"/>\n", panel->out);
}

static void draw_bars(const struct panel *panel, uint32_t s) {
  const struct chart_series *series = &panel->chart->series[s];
  double half = 0.36 / (panel->x.high - panel->x.low) * PLOT_WIDTH;
  for (uint32_t i = 0; i < series->count; i++) {
    const struct chart_point *p = &series->point[i];
    if (!drawable(p))
      continue;
    double x = at_x(panel, p->x), y = at_y(panel, p->y);
    char text[32];
    (void)fprintf(panel->out, "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                  x - half, y, 2 * half, fmax(0, at_y(panel, 0) - y));
    (void)snprintf(text, sizeof(text), "%.3g", p->y);
    put_label(panel->out, x, y - 5, " text-anchor=\"middle\"", text);
  }
}

static void draw_panel(FILE *out, const struct chart *chart, uint32_t row) {
  static void (*const draw[])(const struct panel *panel, uint32_t series) = {[CHART_LINES] = draw_curve,
                                                                             [CHART_POINTS] = draw_points,
                                                                             [CHART_STACK] = draw_area,
                                                                             [CHART_BARS] = draw_bars};
  struct panel panel = {.out = out, .chart = chart, .top = (double)row * PANEL + TOP};
  measure(&panel);
  draw_ticks(&panel);
  draw_titles(&panel);
  for (uint32_t s = 0; s < chart->count; s++) {
    char class[8];
    put_class(chart, s, class);
    (void)fprintf(out, "<g class=\"%s\">\n", class);
    draw[chart->kind](&panel, s);
    (void)fputs("</g>\n", out);
  }
  draw_legend(&panel);
}

/* Tall enough for the last panel's legend. */
static unsigned height_of(const struct chart *panels, uint32_t count) {
  unsigned legend = count > 0 ? TOP + panels[count - 1].count * LEGEND_LINE + 10 : 0;
  return count > 0 ? (count - 1) * PANEL + MAX((unsigned)PANEL, legend) : PANEL;
}

int chart_svg(const struct chart *panels, uint32_t count, char **ret_svg) {
  char *svg = NULL;
  size_t size = 0;
  unsigned height = height_of(panels, count);
  FILE *out = open_memstream(&svg, &size);
  if (!out)
    return -ENOMEM;
  (void)fprintf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" viewBox=\"0 0 %d %u\" "
                "role=\"img\">\n",
                WIDTH, height, WIDTH, height);
  if (count > 0) {
    (void)fputs("<title>", out);
    put_text(out, panels[0].title, 200);
    (void)fputs("</title>\n", out);
  }
  (void)fputs(style, out);
  (void)fputs("<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n", out);
  for (uint32_t i = 0; i < count; i++)
    draw_panel(out, &panels[i], i);
  (void)fputs("</svg>\n", out);
  bool failed = ferror(out) != 0;
  if (fclose(out) != 0 || failed) {
    free(svg);
    return -ENOMEM;
  }
  *ret_svg = svg;
  return 0;
}
