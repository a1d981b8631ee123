/* What is made of the report for readers, HTML and card: they hold what they must, escape what comes from
 * outside and never show a victim in public. */
#include <unistd.h>

#include "core/base/file.h"
#include "core/model/card.h"
#include "core/model/text.h"
#include "tests/unit/model/report_sample.h"

static void html_is_safe_and_complete(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "inconclusive"), *report = sample_report(attacks, false);
  _cleanup_(freep) char *html = NULL;
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_null(strstr(html, "<script"));
  assert_null(strstr(html, "http:"));
  assert_null(strstr(html, "https:"));
  assert_non_null(strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
  assert_non_null(strstr(html, "81.2&nbsp;%"));
  assert_non_null(strstr(html, "80.0&nbsp;% to 82.5&nbsp;%"));
  assert_non_null(strstr(html, "too few pairs"));
  assert_non_null(strstr(html, "<strong>not measured</strong>"));
  assert_non_null(strstr(html, "accuracy bound not enforced"));
  assert_non_null(strstr(html, "above 0.300 on average or 0.420 for the worst tenth"));
  assert_non_null(strstr(html, "synthetic: drawn by a program"));
  assert_non_null(strstr(html, "prefers-color-scheme:dark"));
  assert_int_equal(occurrences(html, "<img "), 2);
  assert_null(strstr(html, "Drawn faces."));
  json_decref(report);
  json_decref(attacks);
}

/* Who judged what was drawn, and what to think of the judge; and a threshold that there is not. */
static void conditions_of_an_attack(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("inconclusive", "inconclusive"), *attack = json_array_get(attacks, 0);
  json_t *surface = json_array_get(json_object_get(attack, "surfaces"), 0);
  assert_int_equal(json_object_set_new(attack, "evaluator",
                                       json_pack("{s:s, s:i, s:b, s:f}", "arch", "mobilefacenet", "images",
                                                 120, "unseen", 1, "accuracy", 0.875)),
                   0);
  assert_int_equal(json_object_set_new(surface, "threshold", json_null()), 0);
  for (int seen = 0; seen < 2; seen++) {
    _cleanup_(freep) char *html = NULL;
    (void)json_object_set_new(json_object_get(attack, "evaluator"), "unseen", json_boolean(!seen));
    json_t *report = sample_report(attacks, false);
    check_schema(report);
    assert_int_equal(report_html(report, NULL, &html, NULL), 0);
    assert_non_null(strstr(html, "architecture mobilefacenet, trained on 120 photographs of these people, "));
    assert_int_equal(strstr(html, "none of which the model was trained on") != NULL, !seen);
    assert_non_null(strstr(html, "it recognises 87.5 %"));
    assert_non_null(strstr(html, "Too few people were attacked for a threshold."));
    assert_int_equal(occurrences(html, "above 0.300 on average or 0.420 for the worst tenth"), 1);
    assert_null(strstr(html, "above nan"));
    json_decref(report);
  }
  json_decref(attacks);
}

/* What the owner's masking removes and what stays is told everywhere, and whether attacks were run. */
static void masked_by_the_owner(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists");
  sample_by_owner = true;
  json_t *bare = sample_report(NULL, false), *attacked = sample_report(attacks, false);
  sample_by_owner = false;
  json_t *service = sample_report(NULL, false);
  check_schema(bare);
  assert_null(json_object_get(json_object_get(service, "data"), "stays"));
  const json_t *data = json_object_get(bare, "data"), *stays = json_object_get(data, "stays");
  assert_int_equal(json_array_size(json_object_get(data, "removes")), 1);
  assert_int_equal(json_array_size(stays), 4);
  assert_non_null(strstr(json_string_value(json_array_get(stays, 0)), "some of them of one face alone"));
  assert_non_null(strstr(json_string_value(json_array_get(stays, 3)), "verification"));
  char *html = NULL, *card = NULL;
  assert_int_equal(report_html(bare, NULL, &html, NULL), 0);
  assert_int_equal(card_markdown(bare, &card, NULL), 0);
  assert_non_null(strstr(html, "What that removes"));
  assert_non_null(strstr(html, "whoever has its weights can attack them"));
  assert_non_null(strstr(card, "Stays: W: the model has learnt the people"));
  assert_non_null(strstr(card, "were not run"));
  free(card);
  assert_int_equal(card_markdown(attacked, &card, NULL), 0);
  assert_null(strstr(card, "were not run"));
  assert_non_null(strstr(card, "run with pictures of other people"));
  free(card);
  free(html);
  json_decref(bare);
  json_decref(attacked);
  json_decref(service);
  json_decref(attacks);
}

static void synthetic_data_is_called_so(void **state) {
  (void)state;
  json_t *report = sample_report(NULL, true);
  _cleanup_(freep) char *html = NULL, *card = NULL;
  assert_int_equal(report_set_onnx(report, "second.onnx", "template", ONNX_SHA, 7, NULL), 0);
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_int_equal(card_markdown(report, &card, NULL), 0);
  assert_non_null(strstr(html, "Drawn faces."));
  assert_non_null(strstr(html, "No attack was run"));
  assert_non_null(strstr(html, ONNX_SHA));
  assert_non_null(strstr(html, "Input of model.onnx</th><td>image (RGB pixels, the mask inside)<"));
  assert_non_null(strstr(html, "Input of second.onnx</th><td>template (masked before)<"));
  assert_non_null(strstr(card, "ONNX from the image on: model.onnx, SHA-256 `" ONNX_SHA "`"));
  assert_non_null(strstr(card, "no figure below says anything about real faces"));
  json_decref(report);
}

/* src holds pictures of our own making only, even when the JSON was tampered with. */
static void html_takes_no_foreign_pictures(void **state) {
  (void)state;
  static const char *const sources[] = {"http://example.org/x.png", "data:image/svg+xml;base64,AAAA",
                                        "data:image/png;base64,AA\" onerror=\"x", "data:image/png;base64,"};
  for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
    json_t *attacks = sample_attacks("leaks", "leaks"), *report = sample_report(attacks, false), *surface;
    size_t s;
    _cleanup_(freep) char *html = NULL;
    json_t *surfaces = json_object_get(json_array_get(json_object_get(report, "attacks"), 0), "surfaces");
    json_array_foreach(surfaces, s, surface) {
      json_t *picture = json_array_get(json_object_get(surface, "pictures"), 0);
      assert_int_equal(json_object_set_new(picture, "image", json_string(sources[i])), 0);
    }
    assert_int_equal(report_html(report, NULL, &html, NULL), 0);
    assert_int_equal(occurrences(html, "<img "), 0);
    assert_null(strstr(html, "onerror"));
    json_decref(report);
    json_decref(attacks);
  }
}

static void read_named(const char *directory, const char *name, char **ret_text) {
  char path[256];
  size_t size = 0;
  (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
  assert_int_equal(file_read(path, 1 << 24, ret_text, &size, NULL), 0);
}

static void victims_are_on_the_private_page_only(void **state) {
  (void)state;
  char directory[] = "/tmp/guise-report-XXXXXX";
  assert_non_null(mkdtemp(directory));
  json_t *attacks = sample_attacks("leaks", "leaks"), *report = sample_report(attacks, false);
  json_t *victim = sample_picture("victims");
  char *uri = strdup(json_text_at(victim, "image"));
  json_t *private = json_pack("[{s:s, s:[{s:s, s:[o]}]}]", "attack", "linear", "surfaces", "surface", "T",
                              "pictures", victim);
  _cleanup_(freep) char *json = NULL, *html = NULL, *secret = NULL, *card = NULL;
  struct guise_error err = {0};
  if (report_write(directory, report, private, &err) != 0)
    fail_msg("%s", err.text);
  read_named(directory, "report.json", &json);
  read_named(directory, "report.html", &html);
  read_named(directory, "report-private.html", &secret);
  read_named(directory, "card.md", &card);
  assert_null(strstr(json, uri));
  assert_null(strstr(html, uri));
  assert_null(strstr(card, uri));
  assert_int_equal(occurrences(secret, uri), 1); /* on its own surface alone */
  assert_non_null(strstr(secret, "real people"));
  json_t *again = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
  check_schema(again); /* also as it lies on disk */
  json_decref(again);
  json_decref(private);
  json_decref(report);
  json_decref(attacks);
  free(uri);
  assert_int_equal(directory_remove(directory), 0);
}

static void card_escapes_markup(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists"), *report = sample_report(attacks, false);
  _cleanup_(freep) char *card = NULL;
  assert_int_equal(card_markdown(report, &card, NULL), 0);
  assert_null(strstr(card, "<script>"));
  assert_non_null(strstr(card, "81.2 % (80.0 % to 82.5 %)"));
  assert_non_null(strstr(card, "| linear, quick | inference templates | ssim 0.812 (0.750 to 0.875) |"));
  assert_non_null(strstr(card, "too few pairs"));
  json_decref(report);
  json_decref(attacks);
}

/* The verdict in a word, which surfaces were attacked and which not, and nothing where nothing was measured.
 */
static void card_says_what_is_known(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists"), *report = sample_report(NULL, false);
  _cleanup_(freep) char *unaudited = NULL, *card = NULL, *html = NULL;
  assert_int_equal(card_markdown(report, &unaudited, NULL), 0);
  assert_non_null(strstr(unaudited, "**not audited**: No attack was run"));
  assert_null(strstr(unaudited, "ttacked:"));
  json_decref(report);
  json_t *surface = json_array_get(json_object_get(json_array_get(attacks, 0), "surfaces"), 0),
         *metric = json_array_get(json_object_get(surface, "metrics"), 0),
         *value = json_object_get(metric, "value");
  json_object_set_new(value, "mean", json_null());
  json_object_set_new(value, "low", json_null());
  json_object_set_new(metric, "chance", json_null());
  report = sample_report(attacks, false);
  assert_int_equal(card_markdown(report, &card, NULL), 0);
  assert_non_null(strstr(card, "**leaks**: Faces leak: 1 of 2 results"));
  assert_non_null(strstr(card, "Not attacked: weights, gradients."));
  assert_non_null(strstr(card, "not measured | not measured |"));
  assert_null(strstr(card, "nan"));
  json_decref(report);
  json_object_set_new(value, "mean", json_real(.25)); /* of nobody in particular */
  json_object_set_new(value, "high", json_null());
  report = sample_report(attacks, false);
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_non_null(strstr(html, "<strong>0.25</strong></td>"));
  assert_null(strstr(html, ">nan") ? strstr(html, ">nan") : strstr(html, " nan"));
  json_decref(report);
  json_decref(attacks);
}

/* Method, its numbers, seed and guarantee with its unit, in the report and both renderings. */
static void guarantee_is_shown(void **state) {
  (void)state;
  struct model_info info = sample_info();
  _cleanup_(freep) char *card = NULL, *html = NULL;
  info.mask = mask_options_default(MASK_LDP_SLICING, 112);
  info.mask.parameter[0] = 12.5;
  info.mask.seed = 77;
  json_t *report = sample_report_of(&info, NULL, false);
  check_schema(report);
  const json_t *formal = json_object_get(report, "formal"), *mask = json_object_get(report, "mask");
  assert_true(json_number_at(formal, "epsilon") == 12.5);
  assert_true(json_number_at(formal, "delta") == 0);
  assert_non_null(strstr(json_text_at(formal, "unit"), "one pixel"));
  assert_true(json_number_at(json_object_get(mask, "parameters"), "epsilon") == 12.5);
  assert_int_equal(json_integer_value(json_object_get(mask, "seed")), 77);
  assert_int_equal(card_markdown(report, &card, NULL), 0);
  assert_non_null(strstr(card, "epsilon 12.5; transform native, seed 77"));
  assert_non_null(strstr(card, "12.5-local differential privacy of one pixel"));
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_non_null(strstr(html, "Epsilon 12.5, delta 0; unit: one pixel"));
  assert_null(strstr(html, "No differential privacy"));
  json_decref(report);
}

/* A defence's guarantee stands for itself, and for the report's where the mask gives none. */
static void defences_are_shown(void **state) {
  (void)state;
  struct model_info info = sample_info();
  json_t *defences = json_pack("[{s:s,s:s,s:{s:f},s:{s:s,s:f,s:f,s:s}},{s:s,s:s,s:{},s:n}]", "method",
                               "dp_sgd", "summary", "noise " HOSTILE, "parameters", "clip", 2.5, "formal",
                               "guarantee", "little is told " HOSTILE, "epsilon", 3.5, "delta", 1e-5, "unit",
                               "one image", "method", "other", "summary", "loss", "parameters", "formal");
  assert_non_null(defences);
  for (int masked = 0; masked < 2; masked++) {
    _cleanup_(freep) char *card = NULL, *html = NULL;
    if (masked)
      info.mask = mask_options_default(MASK_LDP_SLICING, 112);
    sample_defences = defences;
    json_t *report = sample_report_of(&info, NULL, false);
    sample_defences = NULL;
    check_schema(report);
    assert_true(json_number_at(json_object_get(report, "formal"), "epsilon") == (masked ? 20 : 3.5));
    assert_int_equal(report_html(report, NULL, &html, NULL), 0);
    assert_int_equal(card_markdown(report, &card, NULL), 0);
    assert_non_null(strstr(html, "Defence of the weights"));
    assert_non_null(strstr(html, "clip 2.5"));
    assert_non_null(strstr(html, "little is told"));
    assert_null(strstr(html, HOSTILE));
    assert_non_null(strstr(card, "Defence of the weights: dp\\_sgd"));
    assert_non_null(strstr(card, "clip 2.5; formal guarantee: little is told"));
    assert_non_null(strstr(card, "(loss); formal guarantee: none"));
    json_decref(report);
  }
  json_decref(defences);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(html_is_safe_and_complete),
      cmocka_unit_test(conditions_of_an_attack),
      cmocka_unit_test(masked_by_the_owner),
      cmocka_unit_test(synthetic_data_is_called_so),
      cmocka_unit_test(html_takes_no_foreign_pictures),
      cmocka_unit_test(victims_are_on_the_private_page_only),
      cmocka_unit_test(card_escapes_markup),
      cmocka_unit_test(card_says_what_is_known),
      cmocka_unit_test(guarantee_is_shown),
      cmocka_unit_test(defences_are_shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
