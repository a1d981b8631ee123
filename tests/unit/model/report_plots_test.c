/* The drawings of the report: one a surface, each value in its place, and nothing where nothing was measured.
 */
#include "tests/unit/model/report_sample.h"

/* From the drawing of a surface to its end. */
static char *plot_of(const char *html, const char *letter) {
  char start[80];
  (void)snprintf(start, sizeof(start), "aria-labelledby=\"plot-%s plot-%s-words\"", letter, letter);
  const char *plot = strstr(html, start), *end = plot ? strstr(plot, "</svg>") : NULL;
  if (!end)
    return NULL;
  return strndup(plot, (size_t)(end - plot));
}

/* One drawing a surface, each with its own results alone, in the place of their values. */
static void plots_are_of_one_surface_each(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists"), *other = sample_attacks("inconclusive", "leaks");
  json_t *second = json_array_get(other, 0);
  assert_int_equal(json_object_set_new(second, "attack", json_string("other" HOSTILE)), 0);
  json_t *weights = json_array_get(json_object_get(second, "surfaces"), 0);
  assert_int_equal(json_object_set_new(weights, "surface", json_string("W")), 0);
  assert_int_equal(json_array_extend(attacks, other), 0);
  json_t *report = sample_report(attacks, false), *bare = sample_report(NULL, false);
  _cleanup_(freep) char *html = NULL, *html_bare = NULL;
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_int_equal(report_html(bare, NULL, &html_bare, NULL), 0);
  assert_null(strstr(html_bare, "<svg"));
  assert_int_equal(occurrences(html, "<svg class=\"plot\""), 3);
  assert_null(plot_of(html, "G"));
  assert_null(strstr(html, "other<script"));
  assert_null(strstr(html, " style=\""));
  _cleanup_(freep) char *t = plot_of(html, "T"), *i = plot_of(html, "I"), *w = plot_of(html, "W");
  assert_non_null(t);
  assert_non_null(i);
  assert_non_null(w);
  assert_true(strstr(html, "id=\"plot-T\"") < strstr(html, "id=\"plot-I\""));
  assert_int_equal(occurrences(t, "<circle"), 2); /* both attacks */
  assert_int_equal(occurrences(i, "<circle"), 1);
  assert_int_equal(occurrences(w, "<circle"), 1);
  assert_non_null(strstr(i, "linear, quick</text>"));
  assert_null(strstr(i, "other"));
  assert_non_null(strstr(w, "other&lt;script"));
  /* From 210 on, 400 long: .8125, its interval, chance, control and both thresholds. */
  assert_non_null(strstr(i, "cx=\"535.0\" cy=\"31.0\""));
  assert_non_null(strstr(i, "class=\"bar\" d=\"M510.0 27.0v8m0-4H560.0m0-4v8\""));
  assert_non_null(strstr(i, "class=\"hollow chance\" d=\"M290.0 26.0"));
  assert_non_null(strstr(i, "class=\"hollow control\" x=\"604.5\""));
  assert_non_null(strstr(i, "class=\"limit\" d=\"M330.0 "));
  assert_non_null(strstr(i, "class=\"limit worst\" d=\"M378.0 "));
  assert_non_null(strstr(i, "class=\"worst\" d=\"M570.0 "));
  assert_non_null(strstr(i, "linear, quick: leaks; ssim 0.812 (95 % range 0.75 to 0.875); worst tenth of "
                            "people 0.9; chance 0.2; undefended control 1; threshold 0.3; threshold of the "
                            "worst tenth 0.42. </desc>"));
  assert_non_null(strstr(i, "<g class=\"leaks\">"));
  assert_non_null(strstr(w, "<g class=\"open\">"));
  json_decref(report);
  json_decref(bare);
  json_decref(attacks);
  json_decref(other);
}

/* What was not measured has no mark, and what lies beyond the axis stays on the paper. */
static void plots_show_no_value_that_is_missing(void **state) {
  (void)state;
  static const char *const in_metric[] = {"control", "chance", "worst_tenth"};
  json_t *attacks = sample_attacks("inconclusive", "leaks");
  json_t *both = json_object_get(json_array_get(attacks, 0), "surfaces");
  json_t *empty = json_array_get(both, 0), *far = json_array_get(both, 1);
  json_t *metric = json_array_get(json_object_get(empty, "metrics"), 0);
  for (size_t k = 0; k < ARRAY_SIZE(in_metric); k++)
    assert_int_equal(json_object_set_new(metric, in_metric[k], json_null()), 0);
  assert_int_equal(json_object_set_new(json_object_get(metric, "value"), "low", json_null()), 0);
  assert_int_equal(json_object_set_new(empty, "threshold", json_null()), 0);
  assert_int_equal(json_object_set_new(empty, "threshold_worst_tenth", json_null()), 0);
  metric = json_array_get(json_object_get(far, "metrics"), 0);
  assert_int_equal(json_object_set_new(metric, "value", interval_of(20, -3, 40)), 0);
  assert_int_equal(json_object_set_new(metric, "unit", json_string("dB")), 0);
  json_t *report = sample_report(attacks, false);
  _cleanup_(freep) char *html = NULL, *without = NULL;
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  _cleanup_(freep) char *i = plot_of(html, "I"), *t = plot_of(html, "T");
  assert_non_null(i);
  assert_int_equal(occurrences(i, "<circle"), 1);
  assert_null(strstr(i, "class=\"bar\""));
  assert_null(strstr(i, "hollow"));
  assert_null(strstr(i, "class=\"limit"));
  assert_null(strstr(i, "class=\"worst\""));
  assert_non_null(strstr(i, "ssim 0.812; worst tenth of people not measured; chance not measured; undefended "
                            "control not measured; threshold not measured"));
  assert_non_null(t);
  assert_non_null(strstr(t, "cx=\"410.0\"")); /* 20 of 40 */
  assert_non_null(strstr(t, "M210.0 27.0v8m0-4H610.0"));
  assert_non_null(strstr(t, "(axis to 40 dB)"));
  assert_non_null(strstr(t, ">20 dB</text>"));
  assert_null(strstr(t, "nan"));
  assert_null(strstr(i, "nan"));
  json_decref(report);
  assert_int_equal(json_object_set_new(empty, "decided_by", json_string("nothing")), 0);
  report = sample_report(attacks, false);
  assert_int_equal(report_html(report, NULL, &without, NULL), 0);
  _cleanup_(freep) char *nothing = plot_of(without, "I");
  assert_non_null(nothing);
  assert_null(strstr(nothing, "<circle"));
  assert_non_null(strstr(nothing, ">not measured</text>"));
  assert_non_null(strstr(nothing, "nothing not measured; worst tenth"));
  json_decref(report);
  json_decref(attacks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plots_are_of_one_surface_each),
      cmocka_unit_test(plots_show_no_value_that_is_missing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
