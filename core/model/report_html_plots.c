/* The attacks' figures in report.html as drawings: one for each surface, since a figure of one says nothing
 * about another. Inline SVG without scripts or anything to load; colours follow the page's, and every mark
 * has a shape of its own, so that nobody has to tell colours apart. */
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/report.h"
#include "core/model/report_html.h"
#include "core/model/report_parts.h"

/* In the drawing's own units, which the page stretches to its width. */
#define WIDTH 720.0
#define LEFT 210.0 /* of the axis */
#define LENGTH 400.0
#define RIGHT 626.0 /* of the row's words */
#define TOP 8.0
#define ROW 46.0
#define FOOT 26.0
#define TICKS 4

const char report_html_plots_style[] =
    ".plot{width:100%;min-width:36rem;height:auto;display:block;font-size:13px}"
    ".plot text{fill:var(--fg)}.plot .soft,.marks{color:var(--soft)}.plot .soft{fill:var(--soft);"
    "font-size:11.5px}"
    ".plot .grid{stroke:var(--line);fill:none}.plot .row{stroke:var(--line);stroke-dasharray:1 3;fill:none}"
    ".plot .bar{stroke:var(--open);stroke-width:2.5;fill:none}.plot .value,.plot .worst{fill:var(--open)}"
    ".plot text.verdict{fill:var(--open)}"
    ".plot .leaks .bar{stroke:var(--leaks)}.plot .leaks .value,.plot .leaks .worst,"
    ".plot .leaks text.verdict{fill:var(--leaks)}"
    ".plot .resists .bar{stroke:var(--resists)}.plot .resists .value,.plot .resists .worst,"
    ".plot .resists text.verdict{fill:var(--resists)}"
    ".plot .limit,.mark .limit{stroke:var(--fg);stroke-width:2;fill:none}"
    ".plot .limit.worst,.mark .limit.worst{stroke-width:1.5;stroke-dasharray:2 2;fill:none}"
    ".plot .hollow,.mark .hollow{stroke:var(--fg);stroke-width:1.5;fill:var(--card)}"
    ".mark{height:1em;width:1.5em;vertical-align:-.15em}.mark .value,.mark .worst{fill:var(--fg)}"
    ".mark .bar{stroke:var(--fg);stroke-width:2;fill:none}"
    ".marks{list-style:none;padding:0;margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;"
    "font-size:.85rem}";

/* A result on a surface, NAN where nothing was measured. */
struct row {
  const char *attack, *effort, *verdict, *name, *unit;
  double value, low, high, worst, chance, control, threshold, threshold_worst;
  double most; /* of the row's axis, which begins at 0 */
};

/* ---- marks, around (x, y) ---- */

static void add_limit(struct text *html, double x, double y, double half, bool worst) {
  text_add(html, "<path class=\"limit%s\" d=\"M%.1f %.1fV%.1f\"/>", worst ? " worst" : "", x, y - half,
           y + half);
}

static void add_control(struct text *html, double x, double y) {
  text_add(html, "<rect class=\"hollow control\" x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\"/>", x - 5.5,
           y - 5.5);
}

static void add_chance(struct text *html, double x, double y) {
  text_add(html, "<path class=\"hollow chance\" d=\"M%.1f %.1fl5 5-5 5-5-5z\"/>", x, y - 5);
}

static void add_bar(struct text *html, double low, double high, double y) {
  text_add(html, "<path class=\"bar\" d=\"M%.1f %.1fv8m0-4H%.1fm0-4v8\"/>", low, y - 4, high);
}

static void add_worst(struct text *html, double x, double y) {
  text_add(html, "<path class=\"worst\" d=\"M%.1f %.1fl5 9h-10z\"/>", x, y - 5);
}

static void add_value(struct text *html, double x, double y) {
  text_add(html, "<circle class=\"value\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", x, y);
}

/* ---- rows ---- */

static struct row row_of(const json_t *attack, const json_t *surface) {
  const json_t *metric = report_deciding_metric(surface), *value = json_object_get(metric, "value");
  struct row row = {.attack = json_text_at(attack, "attack"),
                    .effort = json_text_at(attack, "effort"),
                    .verdict = json_text_at(surface, "verdict"),
                    .name = json_text_at(surface, "decided_by"),
                    .unit = json_text_at(metric, "unit"),
                    .value = json_number_at(value, "mean"),
                    .low = json_number_at(value, "low"),
                    .high = json_number_at(value, "high"),
                    .worst = json_number_at(metric, "worst_tenth"),
                    .chance = json_number_at(metric, "chance"),
                    .control = json_number_at(json_object_get(metric, "control"), "mean"),
                    .threshold = json_number_at(surface, "threshold"),
                    .threshold_worst = json_number_at(surface, "threshold_worst_tenth"),
                    .most = 1};
  const double all[] = {row.value,   row.high,      row.worst,          row.chance,
                        row.control, row.threshold, row.threshold_worst};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    if (isfinite(all[i]))
      row.most = fmax(row.most, all[i]);
  return row;
}

/* What lies below the axis, as a likeness can that is worse than none, is drawn at its start. */
static double place(const struct row *row, double value) {
  return LEFT + LENGTH * fmin(fmax(value / row->most, 0), 1);
}

static bool has_interval(const struct row *row) {
  return isfinite(row->low) && isfinite(row->high);
}

static void add_marks(struct text *html, const struct row *row, double y) {
  if (isfinite(row->threshold))
    add_limit(html, place(row, row->threshold), y, 14, false);
  if (isfinite(row->threshold_worst))
    add_limit(html, place(row, row->threshold_worst), y, 14, true);
  if (isfinite(row->control))
    add_control(html, place(row, row->control), y);
  if (isfinite(row->chance))
    add_chance(html, place(row, row->chance), y);
  if (has_interval(row))
    add_bar(html, place(row, row->low), place(row, row->high), y);
  if (isfinite(row->worst))
    add_worst(html, place(row, row->worst), y);
  if (isfinite(row->value))
    add_value(html, place(row, row->value), y);
}

static void add_row(struct text *html, const struct row *row, uint32_t number) {
  const double y = TOP + ROW * (number + .5);
  text_add(html, "<g class=\"%s\"><path class=\"row\" d=\"M%.1f %.1fh%.1f\"/><text x=\"0\" y=\"%.1f\">",
           report_html_verdict(row->verdict), LEFT, y, LENGTH, y - 4);
  text_add_html(html, row->attack);
  text_add(html, ", ");
  text_add_html(html, row->effort);
  text_add(html, "</text><text class=\"soft\" x=\"0\" y=\"%.1f\">", y + 12);
  text_add_html(html, row->name);
  if (row->most > 1) {
    text_add(html, " (axis to %.3g", row->most);
    text_add(html, "%s", *row->unit ? " " : "");
    text_add_html(html, row->unit);
    text_add(html, ")");
  }
  text_add(html, "</text>");
  add_marks(html, row, y);
  text_add(html, "<text x=\"%.1f\" y=\"%.1f\">", RIGHT, y - 4);
  if (isfinite(row->value))
    text_add(html, "%.3g%s", row->value, *row->unit ? " " : "");
  else
    text_add(html, "not measured");
  text_add_html(html, isfinite(row->value) ? row->unit : "");
  text_add(html, "</text><text class=\"verdict\" x=\"%.1f\" y=\"%.1f\">", RIGHT, y + 12);
  text_add_html(html, row->verdict);
  text_add(html, "</text></g>\n");
}

/* ---- in words ---- */

static void add_number(struct text *html, const char *what, double value) {
  if (isfinite(value))
    text_add(html, "; %s %.3g", what, value);
  else
    text_add(html, "; %s not measured", what);
}

static void add_words(struct text *html, const struct row *row) {
  text_add_html(html, row->attack);
  text_add(html, ", ");
  text_add_html(html, row->effort);
  text_add(html, ": ");
  text_add_html(html, row->verdict);
  text_add(html, "; ");
  text_add_html(html, row->name);
  if (isfinite(row->value))
    text_add(html, " %.3g", row->value);
  else
    text_add(html, " not measured");
  if (has_interval(row))
    text_add(html, " (95 %% range %.3g to %.3g)", row->low, row->high);
  add_number(html, "worst tenth of people", row->worst);
  add_number(html, "chance", row->chance);
  add_number(html, "undefended control", row->control);
  add_number(html, "threshold", row->threshold);
  add_number(html, "threshold of the worst tenth", row->threshold_worst);
  text_add(html, ". ");
}

/* ---- a surface ---- */

static void describe(struct text *html, const struct row *row, uint32_t number) {
  (void)number;
  add_words(html, row);
}

static void count(struct text *html, const struct row *row, uint32_t number) {
  (void)html;
  (void)row;
  (void)number;
}

/* Every result on the surface, also where an attack was run more than once. Returns how many there are. */
static uint32_t add_results(struct text *html, const json_t *report, const char *letter,
                            void (*add)(struct text *html, const struct row *row, uint32_t number)) {
  uint32_t number = 0;
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(json_object_get(report, "attacks"), i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      if (strcmp(json_text_at(surface, "surface"), letter) != 0)
        continue;
      const struct row row = row_of(attack, surface);
      add(html, &row, number++);
    }
  }
  return number;
}

static void add_axis(struct text *html, uint32_t rows) {
  const double foot = TOP + ROW * rows;
  for (uint32_t i = 0; i <= TICKS; i++) {
    const double x = LEFT + LENGTH * i / TICKS;
    text_add(html,
             "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/><text class=\"soft\" text-anchor=\"middle\" "
             "x=\"%.1f\" y=\"%.1f\">%.4g</text>",
             x, TOP, foot, x, foot + 15, (double)i / TICKS);
  }
  text_add(html, "\n");
}

static void add_plot(struct text *html, const json_t *report, const char *letter, const char *what,
                     uint32_t rows) {
  const double height = TOP + ROW * rows + FOOT;
  text_add(
      html,
      "<figure><figcaption>On %s (%s)</figcaption><div class=\"scroll\"><svg class=\"plot\" role=\"img\" "
      "aria-labelledby=\"plot-%s plot-%s-words\" viewBox=\"0 0 %.0f %.0f\"><title id=\"plot-%s\">What "
      "attackers got out of %s</title><desc id=\"plot-%s-words\">",
      what, letter, letter, letter, WIDTH, height, letter, what, letter);
  (void)add_results(html, report, letter, describe);
  text_add(html, "</desc>\n");
  add_axis(html, rows);
  (void)add_results(html, report, letter, add_row);
  text_add(html, "</svg></div></figure>\n");
}

/* ---- what the marks mean ---- */

static void begin_mark(struct text *html) {
  text_add(html, "<li><svg class=\"mark\" aria-hidden=\"true\" viewBox=\"0 0 24 16\">");
}

static void end_mark(struct text *html, const char *meaning) {
  text_add(html, "</svg> %s</li>", meaning);
}

static void add_legend(struct text *html) {
  text_add(html, "<ul class=\"marks\">");
  begin_mark(html);
  add_bar(html, 2, 22, 8);
  add_value(html, 12, 8);
  end_mark(html, "the attack, and its 95&nbsp;% range");
  begin_mark(html);
  add_worst(html, 12, 8);
  end_mark(html, "the worst tenth of people");
  begin_mark(html);
  add_chance(html, 12, 8);
  end_mark(html, "chance");
  begin_mark(html);
  add_control(html, 12, 8);
  end_mark(html, "the undefended control");
  begin_mark(html);
  add_limit(html, 12, 8, 7, false);
  end_mark(html, "above it counts as a leak");
  begin_mark(html);
  add_limit(html, 12, 8, 7, true);
  end_mark(html, "the same for the worst tenth");
  text_add(html, "</ul>\n");
}

void report_html_plots(struct text *html, const json_t *report) {
  uint32_t rows[REPORT_SURFACES], all = 0;
  for (size_t i = 0; i < REPORT_SURFACES; i++)
    all += rows[i] = add_results(html, report, report_surfaces[i][0], count);
  if (!all)
    return;
  text_add(html, "<h2>The attacks at a glance</h2>\n<p>Further right is worse: the figure that decides each "
                 "verdict. Surfaces are apart, for what leaks from one does not have to leak from another. "
                 "The numbers stand in the tables below.</p>\n");
  add_legend(html);
  for (size_t i = 0; i < REPORT_SURFACES; i++)
    if (rows[i])
      add_plot(html, report, report_surfaces[i][0], report_surfaces[i][1], rows[i]);
}
