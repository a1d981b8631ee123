/* The report: its JSON fits the published schema, its pages hold what they must, escape what comes from
 * outside and never show a victim in public. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/model/card.h"
#include "core/model/png.h"
#include "core/model/report.h"
#include "core/model/text.h"
#include "schema.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HOSTILE "<script>alert(1)</script>\"'&"

static json_t *interval_of(double mean, double low, double high) {
  return json_pack("{s:f, s:f, s:f}", "mean", mean, "low", low, "high", high);
}

static json_t *sample_picture(const char *source) {
  uint8_t rgb[16 * 48 * 3];
  char *uri = NULL;
  memset(rgb, source[0], sizeof(rgb)); /* so that pictures of victims and drawn ones differ */
  assert_int_equal(png_data_uri(rgb, 48, 16, &uri), 0);
  json_t *picture = json_pack("{s:s, s:s, s:s}", "source", source, "caption", HOSTILE, "image", uri);
  free(uri);
  return picture;
}

static json_t *sample_surface(const char *letter, const char *verdict) {
  json_t *metric = json_pack("{s:s, s:s, s:s, s:o, s:f, s:f, s:f, s:o, s:n, s:n}", "name", "ssim", "unit", "",
                             "description", "Likeness", "value", interval_of(.8125, .75, .875), "worst_tenth",
                             .9, "chance", .2, "chance_worst_tenth", .25, "control", interval_of(1, 1, 1),
                             "control_threshold", "ceiling");
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:[o], s:[o]}", "surface", letter,
                   "surface_name", "inference templates", "threat_model", "Holds a template.", "verdict",
                   verdict, "reason", HOSTILE, "decided_by", "ssim", "threshold", .3, "threshold_worst_tenth",
                   .42, "mean_k", 1.0, "metrics", metric, "pictures", sample_picture("synthetic"));
}

static json_t *sample_attacks(const char *verdict_i, const char *verdict_t) {
  return json_pack("[{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:[o, o]}]", "attack", "linear",
                   "summary", "Least squares", "effort", "quick", "seed", 1, "size", 16, "faces", 100,
                   "people", 20, "steps", 3, "public_faces", 0, "parameters", 0, "seconds", 1.5, "surfaces",
                   sample_surface("I", verdict_i), sample_surface("T", verdict_t));
}

static struct model_info sample_info(void) {
  return (struct model_info){.arch = ARCH_FREQ_IR,
                             .input = 112,
                             .embedding = 128,
                             .width = 1,
                             .dropout = 0.2f,
                             .mask = {.method = MASK_AHM, .drop_low = 3},
                             .constants = {.channels = 183, .clip = 3, .pixel_scale = 60},
                             .training = {.epochs = 24, .steps = 1000, .seed = 1}};
}

#define ONNX_SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct report_verification verifications[] = {
    {.protocol = "pairs",
     .dataset = "lfw",
     .pairs = HOSTILE,
     .result = {.pairs = 6000,
                .positives = 3000,
                .negatives = 3000,
                .accuracy = .8125,
                .accuracy_low = .80,
                .accuracy_high = .825,
                .eer = .19,
                .auroc = .9,
                .tar_at_far_2 = .25,
                .tar_at_far_3 = NAN,
                .threshold_at_far = {.2, .4, NAN}}},
    {.protocol = "held-out people",
     .dataset = "orl",
     .both_flips = true,
     .result = {.pairs = 90,
                .positives = 45,
                .negatives = 45,
                .accuracy = .9,
                .accuracy_low = .85,
                .accuracy_high = .95,
                .eer = .1,
                .auroc = .96,
                .tar_at_far_2 = NAN,
                .tar_at_far_3 = NAN,
                .threshold_at_far = {NAN, NAN, NAN}}},
};

static const json_t *sample_defences; /* of the next reports; NULL = none */
static bool sample_by_owner;          /* likewise */
static double sample_unmixed = .25;   /* likewise */

static json_t *sample_report_of(const struct model_info *info, const json_t *attacks, bool synthetic) {
  static const char *const notes[] = {"A note with " HOSTILE};
  struct report_input input = {
      .job_id = "job_1",
      .dataset_name = "faces " HOSTILE,
      .dataset_sha256 = SHA,
      .dataset_synthetic = synthetic,
      .masked_by_owner = sample_by_owner,
      .identities = 40,
      .images = 400,
      .train_identities = 30,
      .train_images = 300,
      .held_out_identities = 10,
      .held_out_images = 100,
      .split_sha256 = SHA,
      .model = info,
      .model_sha256 = SHA,
      .model_bytes = 12345,
      .defences = sample_defences,
      .reward = {.mixes = true, .policy = "learned", .reward = "paper", .unmixed = sample_unmixed},
      .verifications = verifications,
      .verification_count = 2,
      .attacks = attacks,
      .seed = 7,
      .notes = notes,
      .note_count = 1,
      .train_seconds = 100};
  input.reward.probability[2] = .5;
  input.reward.probability[6] = .5;
  input.reward.stored[2] = .75;
  input.reward.stored[6] = .25;
  input.reward.decided[2] = 10;
  input.reward.decided[6] = 30;
  json_t *spec = json_pack("{s:{s:s}}", "labels", "x", HOSTILE), *report = NULL;
  struct guise_error err = {0};
  input.spec = spec;
  if (report_json(&input, &report, &err) != 0 ||
      report_set_onnx(report, "model.onnx", "image", ONNX_SHA, 7, &err) != 0)
    fail_msg("%s", err.text);
  json_decref(spec);
  return report;
}

static json_t *sample_report(const json_t *attacks, bool synthetic) {
  const struct model_info info = sample_info();
  return sample_report_of(&info, attacks, synthetic);
}

static void check_schema(const json_t *report) {
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  assert_non_null(schema);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, schema, report, ""))
    fail_msg("%s", check.problem);
  json_decref(schema);
}

static void json_fits_the_schema(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists");
  json_t *report = sample_report(attacks, false), *bare = sample_report(NULL, true);
  check_schema(report);
  check_schema(bare);
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "leaks");
  assert_string_equal(json_text_at(json_object_get(bare, "headline"), "verdict"), "not audited");
  const json_t *first = json_array_get(json_object_get(report, "utility"), 0);
  assert_true(json_is_null(json_object_get(first, "tar_at_far_1e-3"))); /* NAN: too few pairs */
  assert_true(json_number_at(first, "tar_at_far_1e-2") == .25);
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  assert_true(json_number_at(mixing, "mean_k") == 4);
  assert_true(json_number_at(mixing, "stored_mean_k") == 3);
  assert_true(json_number_at(json_object_get(mixing, "stored"), "2") == .75);
  assert_true(json_number_at(mixing, "decided_mean_k") == 5);
  assert_true(json_number_at(json_object_get(mixing, "decided"), "2") == .25);
  assert_string_equal(json_text_at(json_object_get(report, "formal"), "guarantee"), "none");
  json_decref(report);
  json_decref(bare);
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

/* No more than the mask keeps: `none` keeps nothing, and a template of one face is one of a face. */
static void what_masking_removes(void **state) {
  (void)state;
  static const struct {
    enum mask_method method;
    double unmixed;
    const char *says, *says_not;
  } cases[] = {{MASK_AHM, 0, "neither its operator nor a thief finds any", "one face alone"},
               {MASK_AHM, .25, "templates of one face alone", "finds any"},
               {MASK_NONE, 0, "back into the picture", "thief"}};
  sample_by_owner = true;
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct model_info info = sample_info();
    info.mask.method = cases[i].method;
    sample_unmixed = cases[i].unmixed;
    json_t *report = sample_report_of(&info, NULL, false);
    const json_t *removes = json_object_get(json_object_get(report, "data"), "removes");
    const char *text = json_string_value(json_array_get(removes, 0));
    assert_int_equal(json_array_size(removes), 1);
    assert_non_null(strstr(text, cases[i].says));
    assert_null(strstr(text, cases[i].says_not));
    json_decref(report);
  }
  sample_by_owner = false;
  sample_unmixed = .25;
}

/* Models of earlier versions do not resist either where nobody tried to link. */
static void summaries_of_before(void **state) {
  (void)state;
  static const struct {
    const char *summary, *verdict, *reason;
  } cases[] = {
      {"{\"audit\":{\"verdict\":\"resists\",\"reason\":\"r\",\"attacks\":["
       "{\"attack\":\"linear\",\"surface\":\"I\"},{\"attack\":\"linear\",\"surface\":\"T\"},"
       "{\"attack\":\"linear\",\"surface\":\"I\"},{\"attack\":\"demix\",\"surface\":\"T\"}]}}",
       "inconclusive", "No leak was found on 3 attacked surfaces, but linkage"},
      {"{\"audit\":{\"verdict\":\"resists\",\"reason\":\"r\",\"attacks\":["
       "{\"attack\":\"linear\",\"surface\":\"I\"},{\"attack\":\"linkage\",\"surface\":\"I\"}]}}",
       "resists", "r"},
      {"{\"audit\":{\"verdict\":\"leaks\",\"reason\":\"r\",\"attacks\":["
       "{\"attack\":\"linear\",\"surface\":\"I\"}]}}",
       "leaks", "r"},
      {"{}", "", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    json_t *summary = json_loads(cases[i].summary, 0, NULL);
    assert_int_equal(report_cap_summary(summary), 0);
    const json_t *audit = json_object_get(summary, "audit");
    assert_string_equal(json_text_at(audit, "verdict"), cases[i].verdict);
    assert_non_null(strstr(json_text_at(audit, "reason"), cases[i].reason));
    json_decref(summary);
  }
  assert_int_equal(report_cap_summary(NULL), 0);
}

/* The schema and its checker are worth something only if they refuse. */
static void schema_refuses(void **state) {
  (void)state;
  json_error_t problem;
  json_t *schema = json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", 0, &problem);
  json_t *attacks = sample_attacks("leaks", "leaks"), *report = sample_report(attacks, false);
  struct {
    const char *in, *key;
    json_t *value;
  } edits[] = {{NULL, "extra", json_true()},
               {NULL, "format", json_string("guise-report-2")},
               {NULL, "created_at", json_string("yesterday")},
               {"headline", "verdict", json_string("private")},
               {"data", "images", json_integer(-1)},
               {"data", "images", json_string("7")},
               {"data", "sha256", json_string("abc")},
               {"mask", "mixing", json_string("some")},
               {"formal", "epsilon", json_real(1)}};
  for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
    json_t *copy = json_deep_copy(report), *target = edits[i].in ? json_object_get(copy, edits[i].in) : copy;
    assert_int_equal(json_object_set_new(target, edits[i].key, edits[i].value), 0);
    struct schema_check check = {.root = schema};
    if (schema_valid(&check, schema, copy, ""))
      fail_msg("edit %zu passed", i);
    json_decref(copy);
  }
  json_object_del(report, "utility");
  struct schema_check check = {.root = schema};
  assert_false(schema_valid(&check, schema, report, ""));
  json_decref(report);
  json_decref(attacks);
  json_decref(schema);
}

/* The linkage figures stand before all others, and what was measured is not said to be missing. */
static void linkage_comes_first(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists"), *other = sample_attacks("resists", "resists");
  assert_int_equal(json_object_set_new(json_array_get(other, 0), "attack", json_string("linkage")), 0);
  assert_int_equal(json_array_extend(attacks, other), 0);
  json_t *report = sample_report(attacks, false), *without = sample_report(NULL, false);
  _cleanup_(freep) char *html = NULL, *html_without = NULL, *card = NULL, *card_without = NULL;
  check_schema(report);
  check_schema(without);
  const json_t *linkage = json_object_get(json_object_get(report, "headline"), "linkage");
  assert_int_equal(json_array_size(linkage), 2);
  assert_true(json_number_at(json_array_get(linkage, 0), "mean") == .8125);
  assert_string_equal(json_text_at(json_array_get(linkage, 0), "verdict"), "resists");
  assert_int_equal(json_array_size(json_object_get(report, "not_measured")) + 1,
                   json_array_size(json_object_get(without, "not_measured")));
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_int_equal(report_html(without, NULL, &html_without, NULL), 0);
  const char *figure = strstr(html, "Linked to the person");
  assert_non_null(figure);
  assert_true(figure < strstr(html, "What attackers got"));
  assert_non_null(strstr(figure, "81.2"));
  assert_null(strstr(html_without, "Linked to the person"));
  assert_non_null(strstr(html_without, "<strong>not measured</strong>"));
  assert_int_equal(card_markdown(report, &card, NULL), 0);
  assert_int_equal(card_markdown(without, &card_without, NULL), 0);
  assert_null(strstr(card, "headline measure, is not measured"));
  assert_non_null(strstr(card_without, "headline measure, is not measured"));
  json_t *summary = report_summary(report);
  assert_int_equal(json_array_size(json_object_get(json_object_get(summary, "audit"), "linkage")), 2);
  json_decref(summary);
  json_decref(report);
  json_decref(without);
  json_decref(attacks);
  json_decref(other);
}

static json_t *sample_conditions(const char *job, const char *effort) {
  return json_pack("{s:s, s:s, s:i, s:{s:s, s:s, s:i, s:i, s:b}, s:n, s:n, s:[s]}", "job", job, "effort",
                   effort, "seed", 1, "victims", "dataset", "faces", "sha256", "0", "identities", 2, "images",
                   8, "held_out", 1, "public_dataset", "teacher", "attacks", "linear");
}

/* Linkage that found nobody, learnt from so many public faces. */
static json_t *sample_linkage(int public_faces) {
  json_t *attacks = sample_attacks("resists", "resists"), *first = json_array_get(attacks, 0);
  assert_int_equal(json_object_set_new(first, "attack", json_string("linkage")), 0);
  assert_int_equal(json_object_set_new(first, "public_faces", json_integer(public_faces)), 0);
  return attacks;
}

static void add_audit(json_t *report, const char *job, const char *effort, const char *verdict) {
  json_t *attacks = sample_attacks(verdict, "resists"), *conditions = sample_conditions(job, effort);
  assert_int_equal(json_object_set_new(json_array_get(attacks, 0), "job", json_string(job)), 0);
  assert_int_equal(json_object_set_new(json_array_get(attacks, 0), "effort", json_string(effort)), 0);
  assert_int_equal(report_add_audit(report, attacks, conditions, NULL), 0);
  json_decref(attacks);
  json_decref(conditions);
}

/* Later audits stand beside earlier ones. A leak stays, whatever a later run says; otherwise the newest
 * result counts, and no surface is counted twice. */
static void audits_add_up(void **state) {
  (void)state;
  _cleanup_(freep) char *html = NULL;
  json_t *report = sample_report(NULL, false);
  add_audit(report, "job_first", "standard", "inconclusive");
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "inconclusive");
  add_audit(report, "job_second", "standard", "resists");
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "inconclusive");
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "2 attacked surfaces"));
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "linkage"));
  json_t *linkage = sample_linkage(100), *conditions = sample_conditions("job_linkage", "standard");
  assert_int_equal(report_add_audit(report, linkage, conditions, NULL), 0);
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "resists");
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "any of 4 surfaces"));
  json_decref(linkage);
  json_decref(conditions);
  add_audit(report, "job_third", "thorough", "leaks");
  add_audit(report, "job_fourth", "quick", "resists");
  check_schema(report);
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "leaks");
  assert_non_null(
      strstr(json_text_at(json_object_get(report, "headline"), "text"), "1 of 4 attacked surfaces"));
  assert_int_equal(json_array_size(json_object_get(report, "attacks")), 5);
  json_t *summary = report_summary(report), *audit = json_object_get(summary, "audit");
  assert_true(json_is_true(json_object_get(audit, "complete")));
  assert_int_equal(json_array_size(json_object_get(audit, "attacks")), 10);
  assert_int_equal(json_array_size(json_object_get(audit, "history")), 5);
  assert_string_equal(json_text_at(audit, "reason"),
                      json_text_at(json_object_get(report, "headline"), "text"));
  assert_string_equal(json_text_at(json_array_get(json_object_get(audit, "attacks"), 6), "verdict"), "leaks");
  assert_string_equal(json_text_at(json_array_get(json_object_get(audit, "attacks"), 6), "effort"),
                      "thorough");
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  const char *history = strstr(html, "<h2>Audits</h2>");
  assert_non_null(history);
  assert_non_null(strstr(history, "job_third"));
  json_decref(summary);
  json_decref(report);
}

/* Without linkage, or without public faces that it could learn from, nothing is said to resist, and every
 * page says why. */
static void headline_is_the_worst(void **state) {
  (void)state;
  static const struct {
    const char *verdict_i, *verdict_t;
    int linkage; /* public faces; -1: not run */
    const char *headline;
  } cases[] = {
      {"leaks", "inconclusive", -1, "leaks"},           {"leaks", "inconclusive", 100, "leaks"},
      {"resists", "inconclusive", 100, "inconclusive"}, {"resists", "inconclusive", -1, "inconclusive"},
      {"resists", "resists", -1, "inconclusive"},       {"resists", "resists", 0, "inconclusive"},
      {"resists", "resists", 100, "resists"},           {"resists", "leaks", 100, "leaks"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    json_t *attacks = sample_attacks(cases[i].verdict_i, cases[i].verdict_t);
    json_t *linkage = cases[i].linkage >= 0 ? sample_linkage(cases[i].linkage) : json_array();
    assert_int_equal(json_array_extend(attacks, linkage), 0);
    json_t *report = sample_report(attacks, false), *headline = json_object_get(report, "headline");
    _cleanup_(freep) char *html = NULL, *card = NULL;
    check_schema(report);
    assert_string_equal(json_text_at(headline, "verdict"), cases[i].headline);
    assert_int_equal(report_html(report, NULL, &html, NULL), 0);
    assert_int_equal(card_markdown(report, &card, NULL), 0);
    const bool lacks = strcmp(cases[i].headline, "inconclusive") == 0 && cases[i].linkage <= 0;
    assert_int_equal(strstr(json_text_at(headline, "text"), "needs public faces") != NULL, lacks);
    assert_int_equal(strstr(html, "needs public faces") != NULL, lacks);
    assert_int_equal(strstr(card, "needs public faces") != NULL, lacks);
    json_decref(report);
    json_decref(linkage);
    json_decref(attacks);
  }
}

static uint32_t occurrences(const char *text, const char *what) {
  uint32_t n = 0;
  for (const char *p = text; (p = strstr(p, what)); p++)
    n++;
  return n;
}

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

static void summary_for_the_model_resource(void **state) {
  (void)state;
  json_t *attacks = sample_attacks("leaks", "resists"), *report = sample_report(attacks, false),
         *bare = sample_report(NULL, false);
  json_t *summary = report_summary(report), *unaudited = report_summary(bare);
  assert_true(json_number_at(summary, "accuracy") == .8125);
  assert_string_equal(json_text_at(summary, "protocol"), "pairs");
  assert_true(json_is_null(json_object_get(summary, "tar_at_far_1e-3")));
  assert_true(json_number_at(summary, "threshold_at_far_1e-2") == .4);
  assert_true(json_is_null(json_object_get(summary, "threshold_at_far_1e-3")));
  const json_t *audit = json_object_get(summary, "audit");
  assert_true(json_is_true(json_object_get(audit, "complete")));
  assert_int_equal(json_array_size(json_object_get(audit, "attacks")), 2);
  assert_string_equal(json_text_at(json_array_get(json_object_get(audit, "attacks"), 1), "verdict"),
                      "resists");
  assert_true(json_is_false(json_object_get(json_object_get(unaudited, "audit"), "complete")));
  json_decref(summary);
  json_decref(unaudited);
  json_decref(report);
  json_decref(bare);
  json_decref(attacks);
}

static void other_documents_are_refused(void **state) {
  (void)state;
  json_t *other = json_pack("{s:s}", "format", "something");
  struct guise_error err;
  char *text = NULL;
  assert_int_equal(report_html(other, NULL, &text, &err), -EINVAL);
  assert_int_equal(card_markdown(other, &text, &err), -EINVAL);
  assert_int_equal(report_html(NULL, NULL, &text, &err), -EINVAL);
  assert_null(text);
  json_decref(other);
  struct model_info info = sample_info();
  struct report_input input = {
      .job_id = "\xff", .dataset_name = "a", .dataset_sha256 = SHA, .model = &info, .model_sha256 = SHA};
  json_t *report = NULL;
  assert_int_equal(report_json(&input, &report, &err), -EINVAL);
  input.job_id = NULL;
  assert_int_equal(report_json(&input, &report, &err), -EINVAL);
  assert_null(report);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_fits_the_schema),
      cmocka_unit_test(masked_by_the_owner),
      cmocka_unit_test(what_masking_removes),
      cmocka_unit_test(summaries_of_before),
      cmocka_unit_test(schema_refuses),
      cmocka_unit_test(linkage_comes_first),
      cmocka_unit_test(audits_add_up),
      cmocka_unit_test(headline_is_the_worst),
      cmocka_unit_test(html_is_safe_and_complete),
      cmocka_unit_test(plots_are_of_one_surface_each),
      cmocka_unit_test(plots_show_no_value_that_is_missing),
      cmocka_unit_test(synthetic_data_is_called_so),
      cmocka_unit_test(html_takes_no_foreign_pictures),
      cmocka_unit_test(victims_are_on_the_private_page_only),
      cmocka_unit_test(card_escapes_markup),
      cmocka_unit_test(guarantee_is_shown),
      cmocka_unit_test(defences_are_shown),
      cmocka_unit_test(summary_for_the_model_resource),
      cmocka_unit_test(other_documents_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
