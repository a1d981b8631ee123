/* The report: its JSON fits the published schema, verdicts add up over audits, and the summary is drawn from
 * it. */
#include "tests/unit/model/report_sample.h"

#include "core/base/file.h"
#include "core/model/card.h"
#include "core/model/text.h"

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
  assert_true(json_is_null(json_object_get(first, "rank_1"))); /* nobody numbers the people of a list */
  assert_true(json_number_at(json_array_get(json_object_get(report, "utility"), 1), "rank_1") == .6875);
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

/* As whoever reads the file computes it: of the numbers that stand there. */
static void the_job_has_a_hash(void **state) {
  (void)state;
  json_t *spec = json_loads("{\"train\":{\"lr\":0.0333333333333333,\"seed\":1},\"a\":\"b\"}", 0, NULL);
  sample_spec = spec;
  json_t *report = sample_report(NULL, false);
  sample_spec = NULL;
  char sha256[SHA256_HEX];
  static const char canonical[] = "{\"a\":\"b\",\"train\":{\"lr\":0.0333333333,\"seed\":1}}";
  sha256_data(canonical, strlen(canonical), sha256);
  assert_string_equal(json_text_at(json_object_get(report, "job"), "spec_sha256"), sha256);
  check_schema(report);
  json_decref(report);
  json_decref(spec);
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
       "inconclusive", "No leak was found in 3 results, each of one attack on one surface, but linkage"},
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

static json_t *conditions_of(const char *job, const char *effort, const char *sha256, bool held_out) {
  return json_pack("{s:s, s:s, s:i, s:{s:s, s:s, s:i, s:i, s:b}, s:n, s:n, s:[s]}", "job", job, "effort",
                   effort, "seed", 1, "victims", "dataset", "faces", "sha256", sha256, "identities", 2,
                   "images", 8, "held_out", held_out, "public_dataset", "teacher", "attacks", "linear");
}

static json_t *sample_conditions(const char *job, const char *effort) {
  return conditions_of(job, effort, "0", true);
}

/* Linkage that found nobody, learnt from so many public faces. */
static json_t *sample_linkage(int public_faces) {
  json_t *attacks = sample_attacks("resists", "resists"), *first = json_array_get(attacks, 0);
  assert_int_equal(json_object_set_new(first, "attack", json_string("linkage")), 0);
  assert_int_equal(json_object_set_new(first, "public_faces", json_integer(public_faces)), 0);
  return attacks;
}

/* sha256: of the data set whose people are attacked. */
static void add_audit_of(json_t *report, const char *job, const char *effort, const char *verdict,
                         const char *sha256) {
  json_t *attacks = sample_attacks(verdict, "resists"),
         *conditions = conditions_of(job, effort, sha256, true);
  assert_int_equal(json_object_set_new(json_array_get(attacks, 0), "job", json_string(job)), 0);
  assert_int_equal(json_object_set_new(json_array_get(attacks, 0), "effort", json_string(effort)), 0);
  assert_int_equal(report_add_audit(report, attacks, conditions, NULL), 0);
  json_decref(attacks);
  json_decref(conditions);
}

static void add_audit(json_t *report, const char *job, const char *effort, const char *verdict) {
  add_audit_of(report, job, effort, verdict, "0");
}

/* What less effort had not found is told of the same people, and of what came before. */
static void contradictions_are_of_the_same_people(void **state) {
  (void)state;
  static const struct {
    const char *first, *effort, *people;
    bool told;
  } cases[] = {{"standard", "thorough", "0", true},
               {"standard", "thorough", "1", false},
               {"thorough", "standard", "0", false}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    json_t *report = sample_report(NULL, false);
    add_audit(report, "job_a", cases[i].first, "resists");
    add_audit_of(report, "job_b", cases[i].effort, "leaks", cases[i].people);
    const char *text = json_text_at(json_object_get(report, "headline"), "text");
    assert_int_equal(strstr(text, "had found nothing") != NULL, cases[i].told);
    json_decref(report);
  }
}

static void set_paper(json_t *attacks, const char *job, double s1) {
  json_t *attack = json_array_get(attacks, 0), *surfaces = json_object_get(attack, "surfaces");
  (void)json_object_set_new(attack, "attack", json_string("reconstruction"));
  (void)json_object_set_new(attack, "job", json_string(job));
  (void)json_object_set_new(
      json_array_get(surfaces, 0), "paper",
      json_pack("{s:f, s:f, s:f, s:f, s:f}", "s1", s1, "s2", .2, "s3", .3, "s4", .4, "score_pp", .27));
}

/* Beside the accuracy, of the newest attack that has them, surface by surface; without one null, and no
 * section. */
static void scores_of_the_paper(void **state) {
  (void)state;
  _cleanup_(freep) char *before = NULL;
  _cleanup_(freep) char *html = NULL;
  json_t *report = sample_report(NULL, false), *first = sample_attacks("leaks", "resists"),
         *second = sample_attacks("leaks", "resists"), *plain = sample_attacks("leaks", "resists");
  const json_t *paper = json_object_get(report, "paper_scores"),
               *templates = json_object_get(paper, "templates");
  check_schema(report);
  assert_true(json_number_at(paper, "score_cls") == .8125);
  assert_int_equal(json_array_size(templates), 2);
  assert_true(json_is_null(json_object_get(json_array_get(templates, 1), "s1")));
  assert_int_equal(report_html(report, NULL, &before, NULL), 0);
  assert_null(strstr(before, "comparison with the paper"));
  set_paper(first, "job_early", .9);
  set_paper(second, "job_late", .1);
  json_t *conditions = sample_conditions("job_late", "quick");
  assert_int_equal(report_add_audit(report, first, conditions, NULL), 0);
  assert_int_equal(report_add_audit(report, second, conditions, NULL), 0);
  assert_int_equal(report_add_audit(report, plain, conditions, NULL), 0);
  check_schema(report);
  templates = json_object_get(json_object_get(report, "paper_scores"), "templates");
  const json_t *inference = json_array_get(templates, 1);
  assert_string_equal(json_text_at(inference, "surface"), "I");
  assert_string_equal(json_text_at(inference, "job"), "job_late");
  assert_true(json_number_at(inference, "s1") == .1 && json_number_at(inference, "score_pp") == .27);
  assert_true(json_is_null(json_object_get(json_array_get(templates, 0), "s1"))); /* T has none */
  assert_int_equal(report_html(report, NULL, &html, NULL), 0);
  assert_non_null(strstr(html, "<td>inference templates</td><td>0.100</td><td>0.200</td><td>0.300</td>"
                               "<td>0.400</td><td>0.270</td><td>0.812</td>"));
  json_decref(conditions);
  json_decref(first);
  json_decref(second);
  json_decref(plain);
  json_decref(report);
}

/* Later audits stand beside earlier ones. A leak stays, whatever a later run says, and no surface is counted
 * twice. */
static void audits_add_up(void **state) {
  (void)state;
  _cleanup_(freep) char *html = NULL;
  json_t *report = sample_report(NULL, false);
  add_audit(report, "job_first", "standard", "inconclusive");
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "inconclusive");
  add_audit(report, "job_second", "standard", "resists");
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "inconclusive");
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "in 2 results"));
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "linkage"));
  json_t *linkage = sample_linkage(100), *conditions = sample_conditions("job_linkage", "standard");
  assert_int_equal(report_add_audit(report, linkage, conditions, NULL), 0);
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "resists");
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "None of 4 results"));
  json_decref(linkage);
  json_decref(conditions);
  add_audit(report, "job_third", "thorough", "leaks");
  add_audit(report, "job_fourth", "quick", "resists");
  check_schema(report);
  assert_string_equal(json_text_at(json_object_get(report, "headline"), "verdict"), "leaks");
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"), "1 of 4 results"));
  assert_non_null(strstr(json_text_at(json_object_get(report, "headline"), "text"),
                         "with the effort thorough, where standard had found nothing."));
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

/* Linkage was run again and again: which of its results the headline goes by. */
static void weaker_audits_undo_nothing(void **state) {
  (void)state;
  static const struct {
    struct {
      const char *effort, *victims, *verdict; /* NULL = no more */
      bool others;                            /* of the model's own data set, but not held out */
    } audit[3];
    const char *headline, *effort; /* of the result that counts */
  } cases[] = {
      {{{"thorough", "a", "inconclusive", 0}, {"quick", "a", "resists", 0}}, "inconclusive", "thorough"},
      {{{"thorough", "a", "resists", 0}, {"quick", "a", "inconclusive", 0}}, "resists", "thorough"},
      {{{"standard", "a", "inconclusive", 0}, {"standard", "a", "resists", 0}}, "resists", "standard"},
      {{{"standard", "a", "resists", 0}, {"standard", "a", "inconclusive", 0}}, "inconclusive", "standard"},
      {{{"quick", "a", "inconclusive", 0}, {"thorough", "a", "resists", 0}}, "resists", "thorough"},
      /* of other people */
      {{{"quick", "a", "inconclusive", 0}, {"thorough", "b", "resists", 0}}, "inconclusive", "quick"},
      {{{"thorough", "b", "resists", 0}, {"quick", "a", "inconclusive", 0}}, "inconclusive", "quick"},
      {{{"standard", "a", "inconclusive", 0}, {"standard", "a", "resists", 1}}, "inconclusive", "standard"},
      {{{"quick", "a", "inconclusive", 0}, {"thorough", "b", "resists", 0}, {"standard", "a", "resists", 0}},
       "resists",
       "standard"},
      /* a leak stays */
      {{{"quick", "b", "leaks", 0}, {"thorough", "a", "resists", 0}, {"thorough", "b", "resists", 0}},
       "leaks",
       "quick"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    json_t *report = sample_report(NULL, false);
    for (size_t k = 0; k < ARRAY_SIZE(cases[i].audit) && cases[i].audit[k].effort; k++) {
      char job[16];
      (void)snprintf(job, sizeof(job), "job_%zu", k);
      json_t *attacks = sample_linkage(100), *attack = json_array_get(attacks, 0);
      json_t *conditions =
          conditions_of(job, cases[i].audit[k].effort, cases[i].audit[k].victims, !cases[i].audit[k].others);
      json_t *surfaces = json_object_get(attack, "surfaces");
      (void)json_array_remove(surfaces, 1);
      (void)json_object_set_new(json_array_get(surfaces, 0), "verdict",
                                json_string(cases[i].audit[k].verdict));
      (void)json_object_set_new(attack, "job", json_string(job));
      (void)json_object_set_new(attack, "effort", json_string(cases[i].audit[k].effort));
      assert_int_equal(report_add_audit(report, attacks, conditions, NULL), 0);
      json_decref(attacks);
      json_decref(conditions);
    }
    check_schema(report);
    const json_t *headline = json_object_get(report, "headline"),
                 *linkage = json_object_get(headline, "linkage");
    if (strcmp(json_text_at(headline, "verdict"), cases[i].headline) != 0)
      fail_msg("case %zu: %s", i, json_text_at(headline, "text"));
    assert_int_equal(json_array_size(linkage), 1); /* counted once */
    assert_string_equal(json_text_at(json_array_get(linkage, 0), "effort"), cases[i].effort);
    json_decref(report);
  }
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
      cmocka_unit_test(contradictions_are_of_the_same_people),
      cmocka_unit_test(json_fits_the_schema),
      cmocka_unit_test(the_job_has_a_hash),
      cmocka_unit_test(scores_of_the_paper),
      cmocka_unit_test(what_masking_removes),
      cmocka_unit_test(summaries_of_before),
      cmocka_unit_test(schema_refuses),
      cmocka_unit_test(linkage_comes_first),
      cmocka_unit_test(audits_add_up),
      cmocka_unit_test(weaker_audits_undo_nothing),
      cmocka_unit_test(headline_is_the_worst),
      cmocka_unit_test(summary_for_the_model_resource),
      cmocka_unit_test(other_documents_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
