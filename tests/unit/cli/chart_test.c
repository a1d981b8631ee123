/* Charts: well-formed XML whatever the names, marks where the numbers are, ticks on round numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/chart.h"

/* As much of XML as a chart may use: elements that nest, attributes in double quotes, five entities, no
 * control characters. Fails the test at the first mistake. */
static void check_xml(const char *text) {
  char open[64][32];
  int depth = 0, roots = 0;
  for (const char *p = text; *p;) {
    if ((unsigned char)*p < 0x20 && *p != '\n')
      fail_msg("a control character");
    if (*p == '&') {
      size_t n = strcspn(p, ";");
      if (strncmp(p, "&amp;", 5) != 0 && strncmp(p, "&lt;", 4) != 0 && strncmp(p, "&gt;", 4) != 0 &&
          strncmp(p, "&quot;", 6) != 0)
        fail_msg("entity %.*s", (int)n, p);
    }
    if (*p != '<') {
      assert_true(*p != '>');
      p++;
      continue;
    }
    bool closing = p[1] == '/';
    const char *name = p + 1 + closing, *end = name;
    size_t length = strcspn(name, " />\n");
    assert_true(length > 0 && length < sizeof(open[0]));
    for (bool quoted = false; *end && (quoted || *end != '>'); end++) {
      quoted ^= *end == '"';
      assert_true(*end != '<');
    }
    assert_true(*end == '>');
    if (closing) {
      assert_true(depth > 0);
      depth--;
      if (strlen(open[depth]) != length || strncmp(open[depth], name, length) != 0)
        fail_msg("</%.*s> closes <%s>", (int)length, name, open[depth]);
    } else if (end[-1] != '/') {
      assert_true(depth < 64);
      roots += depth == 0;
      (void)snprintf(open[depth++], sizeof(open[0]), "%.*s", (int)length, name);
    }
    p = end + 1;
  }
  assert_int_equal(depth, 0);
  assert_int_equal(roots, 1);
}

static char *draw(const struct chart *panels, uint32_t count) {
  char *svg = NULL;
  assert_int_equal(chart_svg(panels, count, &svg), 0);
  check_xml(svg);
  assert_null(strstr(svg, "nan"));
  assert_null(strstr(svg, "inf"));
  return svg;
}

static unsigned occurrences(const char *text, const char *part) {
  unsigned n = 0;
  for (const char *p = text; (p = strstr(p, part)); p++)
    n++;
  return n;
}

static void texts_are_escaped(void **state) {
  (void)state;
  const struct chart_point point[] = {CHART_POINT(1, 2)};
  const struct chart_series series[] = {{"a<b>&\"c\"\x01 \xc3\xa4", point, 1},
                                        {"a name that is longer than the legend is wide, by far", point, 1}};
  const struct chart chart = {
      .kind = CHART_POINTS, .title = "<&>", .x_title = "x", .y_title = "y", .series = series, .count = 2};
  char *svg = draw(&chart, 1);
  assert_non_null(strstr(svg, "a&lt;b&gt;&amp;&quot;c&quot;? \xc3\xa4"));
  assert_non_null(strstr(svg, "than the l\xe2\x80\xa6<"));
  assert_non_null(strstr(svg, "prefers-color-scheme:dark"));
  assert_null(strstr(svg, "http://www.w3.org/1999/xlink"));
  free(svg);
}

/* The plot's box is known by its axes: two points at its corners. */
static void points_are_where_they_belong(void **state) {
  (void)state;
  const struct chart_point point[] = {
      {0, 0, NAN, NAN, NAN, NAN}, {10, 100, 5, 10, 50, 100}, {NAN, 3, 1, 2, 3, 4}};
  const struct chart_series series = {"s", point, 3};
  const struct chart chart = {
      .kind = CHART_POINTS, .title = "t", .x_title = "x", .y_title = "y", .series = &series, .count = 1};
  char *svg = draw(&chart, 1);
  double left, top, bottom, right, again;
  const char *axis = strstr(svg, "<line class=\"axis\" x1=\"84.0\" y1=\"314.0\" x2=\"644.0\"");
  assert_non_null(axis);
  (void)sscanf(axis, "<line class=\"axis\" x1=\"%lf\" y1=\"%lf\" x2=\"%lf\"", &left, &bottom,
               &right); /* NOLINT */
  top = 44;
  char first[64], second[64], bar[96];
  (void)snprintf(first, sizeof(first), "cx=\"%.1f\" cy=\"%.1f\"", left, bottom);
  (void)snprintf(second, sizeof(second), "cx=\"%.1f\" cy=\"%.1f\"", right, top);
  (void)snprintf(bar, sizeof(bar), "<line class=\"bar\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\"",
                 (left + right) / 2, top, right);
  assert_non_null(strstr(svg, first));
  assert_non_null(strstr(svg, second));
  assert_non_null(strstr(svg, bar));
  again = occurrences(svg, "<circle");
  assert_int_equal((int)again, 3); /* two points and the legend's: a point without x is not drawn */
  assert_int_equal(occurrences(svg, "class=\"bar\""), 2);
  free(svg);
}

static void lines_part_at_gaps(void **state) {
  (void)state;
  const struct chart_point point[] = {{1, 1, NAN, NAN, 0, 2},
                                      {2, 2, NAN, NAN, 1, 3},
                                      {3, NAN, NAN, NAN, NAN, NAN},
                                      {4, 4, NAN, NAN, 3, 5},
                                      {5, 5, NAN, NAN, 4, 6}};
  const struct chart_series series[] = {{"s", point, 5}, {"one", point, 1}, {"none", NULL, 0}};
  const struct chart chart = {.kind = CHART_LINES,
                              .whole_x = true,
                              .title = "t",
                              .x_title = "x",
                              .y_title = "y",
                              .series = series,
                              .count = 3};
  char *svg = draw(&chart, 1);
  const char *line = strstr(svg, "<path class=\"line\"");
  assert_non_null(line);
  char copy[256];
  (void)snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "\n"), line);
  assert_int_equal(occurrences(copy, "M"), 2);
  assert_int_equal(occurrences(copy, "L"), 2);
  assert_int_equal(occurrences(svg, "class=\"band\""), 2);
  assert_int_equal(occurrences(svg, "<circle"), 1); /* the series of one point */
  assert_null(strstr(svg, ">1.5<"));                /* epochs are whole */
  free(svg);
}

static void stacks_and_bars(void **state) {
  (void)state;
  const struct chart_point low[] = {CHART_POINT(1, 0.25), CHART_POINT(2, 0.5)},
                           high[] = {CHART_POINT(1, 0.75), CHART_POINT(2, 0.5)};
  const struct chart_series series[] = {{"k = 2", low, 2}, {"k = 3", high, 2}};
  const struct chart panels[] = {
      {.kind = CHART_STACK,
       .ordered = true,
       .title = "t",
       .x_title = "x",
       .y_title = "y",
       .series = series,
       .count = 2},
      {.kind = CHART_BARS, .title = "t", .x_title = "k", .y_title = "share", .series = series, .count = 1}};
  char *svg = draw(panels, 2);
  assert_non_null(strstr(svg, "d=\"M84.0 246.5L644.0 179.0L644.0 314.0L84.0 314.0z\"")); /* 0 to .25 and .5 */
  assert_non_null(strstr(svg, "d=\"M84.0 44.0L644.0 44.0L644.0 179.0L84.0 246.5z\""));   /* up to 1 */
  assert_int_equal(occurrences(svg, "<rect class=\"mark\""), 2);
  free(svg);
}

static void nothing_to_draw_is_a_chart_too(void **state) {
  (void)state;
  const struct chart_point point[] = {CHART_POINT(3, 0)};
  const struct chart_series series = {"s", point, 1};
  struct chart chart = {
      .kind = CHART_LINES, .title = "t", .x_title = "x", .y_title = "y", .series = NULL, .count = 0};
  free(draw(&chart, 1));
  free(draw(NULL, 0));
  chart.series = &series;
  chart.count = 1;
  free(draw(&chart, 1));
}

static void steps_are_round(void **state) {
  (void)state;
  static const double cases[][3] = {{10, 5, 2}, {1, 10, 0.1}, {7, 6, 2}, {0.03, 6, 0.005}, {900, 8, 200}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    assert_true(fabs(chart_step(cases[i][0], (unsigned)cases[i][1]) / cases[i][2] - 1) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_are_escaped),  cmocka_unit_test(points_are_where_they_belong),
      cmocka_unit_test(lines_part_at_gaps), cmocka_unit_test(stacks_and_bars),
      cmocka_unit_test(steps_are_round),    cmocka_unit_test(nothing_to_draw_is_a_chart_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
