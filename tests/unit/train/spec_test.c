/* The job specification: defaults, what follows from what is given, and what is shown parses back. */
#include <math.h>
#include <stdio.h>

#include "core/train/level.h"
#include "tests/unit/train/spec_parse.h"

/* What is shown is the same when it is parsed and shown again. */
static void shown_is_parsed_back(const struct job_spec *spec) {
  struct job_spec again;
  struct spec_problems problems = {0};
  json_t *shown = job_spec_json(spec);
  assert_non_null(shown);
  assert_int_equal(job_spec_parse(shown, &again, &problems), 0);
  json_t *shown_again = job_spec_json(&again);
  assert_true(json_equal(shown, shown_again));
  json_decref(shown);
  json_decref(shown_again);
  job_spec_free(&again);
}

static void defaults(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(parse("{\"type\":\"train\",\"dataset\":\"orl\"}", &spec, &problems), 0);
  assert_int_equal(problems.count, 0);
  assert_string_equal(spec.dataset, "orl");
  assert_true(spec.holdout.identities == 0.25);
  assert_int_equal(spec.holdout.every, 1);
  assert_int_equal(spec.model.arch, ARCH_FREQ_IR);
  assert_int_equal(spec.model.input, 112);
  assert_int_equal(spec.model.embedding, 128);
  assert_int_equal(spec.mask.method, MASK_AHM);
  assert_int_equal(spec.mask.drop_low, 3);
  assert_int_equal(spec.mask.select, MASK_SELECT_ZIGZAG);
  assert_int_equal(spec.mask.analysis.epochs, 2);
  assert_true(spec.mask.analysis.gamma == 0.5);
  assert_int_equal(spec.mask.k_count, 5);
  assert_int_equal(spec.mask.negatives, HEAD_NEGATIVES_OTHERS);
  assert_int_equal(spec.mask.reward, REWARD_PROBE);
  assert_int_equal(spec.mask.ablation, ABLATION_NONE);
  assert_true(spec.mask.max_accuracy_drop == 0.01);
  assert_true(!*spec.mask.reference && !*spec.mask.embedder && !*spec.mask.public_dataset);
  assert_true(fabs(spec.train.lr - 0.1 * spec.train.batch / 128) < 1e-12);
  assert_true(spec.model.width == 0.75 && spec.model.dropout == 0.3);
  assert_true(spec.train.margin == 0.35 && spec.train.scale == 30);
  assert_int_equal(spec.train.shift, 112 / 20);
  assert_true(spec.audit.attack[0]);
  assert_int_equal(spec.mask.pool, MIX_POOL_PRIVATE);
  assert_int_equal(spec.mask.margins, HEAD_MARGINS_SCALED);
  assert_int_equal(spec.mask.recipes, 0);
  assert_int_equal(spec.mask.decoys, 0);
  assert_true(spec.mask.unmixed == 0.25);
  assert_true(spec.mask.auxiliary_norm);
  assert_int_equal(spec.mask.unmixed_by, UNMIXED_PEOPLE);
  assert_string_equal(spec.mask.public_dataset, "");
  json_t *all = job_spec_json(&spec), *shown = json_object_get(all, "mask");
  assert_true(json_is_null(json_object_get(shown, "public_dataset")));
  assert_true(json_is_null(json_object_get(shown, "recipes_per_image")));
  json_decref(all);
  job_spec_free(&spec);
}

/* Losing frequencies in the place of being mixed: what is not given, and the same job told again. */
static void protection(void **state) {
  (void)state;
  static const struct {
    const char *mask;
    uint32_t drop, k_count, first;
    bool alone;
  } cases[] = {
      {"\"drop_low\":2", 0, 5, 2, false},
      {"\"protect_drop\":6", 6, 5, 2, false}, /* mixes lose them, too */
      {"\"protect\":\"drop\"", 6, 2, 1, true},
      {"\"protect\":\"drop\",\"protect_drop\":10,\"policy\":\"uniform\"", 10, 2, 1, true},
      {"\"protect\":\"drop\",\"policy\":\"fixed\"", 6, 1, 2, true},
      {"\"protect\":\"drop\",\"k\":[2]", 6, 1, 2, true},
      {"\"protect\":\"drop\",\"drop_low\":6", 9, 2, 1, true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    char body[2048];
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s}}", cases[i].mask);
    for (int again = 0; again < 2; again++) {
      if (parse(body, &spec, &problems) < 0)
        fail_msg("%s: %s", body, problems.problem[0].detail);
      const struct mix_protection protection = job_spec_protection(&spec);
      assert_true(protection.drop == cases[i].drop && protection.alone == cases[i].alone);
      assert_true(spec.mask.k_count == cases[i].k_count && spec.mask.k[0] == cases[i].first);
      json_t *all = job_spec_json(&spec);
      char *text = json_dumps(json_object_get(all, "mask"), JSON_COMPACT);
      assert_true(again == 0 || strstr(body, text) != NULL);
      (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":%s}", text);
      free(text);
      json_decref(all);
      job_spec_free(&spec);
    }
  }
}

/* A level's settings are defaults: what is given overrides them, on whichever side of level it stands. */
static void levels(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"level\":\"highest\"}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"level\":3}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"method\":\"mixup\",\"level\":\"low\"}}"};
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"level\":\"low\"}}", &spec, &problems), 0);
  assert_int_equal(spec.mask.drop_low, 3);
  assert_true(spec.mask.unmixed == 1);
  assert_int_equal(spec.mask.policy, POLICY_FIXED);
  assert_int_equal(spec.mask.k_count, 1);
  json_t *all = job_spec_json(&spec), *measured = mask_level_json(all);
  const json_t *linkage = json_object_get(measured, "linkage");
  assert_true(json_number_value(json_object_get(linkage, "in_use")) >=
              json_number_value(json_object_get(linkage, "training")));
  assert_true(json_number_value(json_object_get(linkage, "training")) > 0.01 &&
              json_number_value(json_object_get(linkage, "in_use")) <
                  json_number_value(json_object_get(linkage, "without_mask")));
  assert_string_equal(json_string_value(json_object_get(json_object_get(all, "mask"), "level")), "low");
  assert_true(json_number_value(json_object_get(measured, "accuracy")) <
              json_number_value(json_object_get(measured, "accuracy_without_mask")));
  json_decref(measured);
  json_decref(all);
  job_spec_free(&spec);
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"drop_low\":6,\"k\":[3],\"level\":\"low\"}}",
            &spec, &problems),
      0);
  assert_int_equal(spec.mask.drop_low, 6);
  assert_true(spec.mask.k_count == 1 && spec.mask.k[0] == 3);
  assert_true(spec.mask.unmixed == 1);
  job_spec_free(&spec);
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    assert_int_equal(parse(wrong[i], &spec, &problems), -EINVAL);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.problem[0].pointer, "/mask/level");
    spec_problems_free(&problems);
    problems = (struct spec_problems){0};
  }
}

/* Settings beside the level, and what then is said of its figures. */
static void levels_as_measured(void **state) {
  (void)state;
  static const struct {
    const char *level, *beside;
    bool as_measured;
  } jobs[] = {{"low", "", true},
              {"medium", "", true},
              {"high", "", true},
              {"low", ",\"drop_low\":6,\"k\":[3]", false},
              {"low", ",\"clip\":0", false},
              {"medium", ",\"unmixed\":0.5", false},
              {"high", ",\"policy\":\"uniform\"", false},
              {"high", ",\"max_accuracy_drop\":0.05", false},
              /* an embedder changes what a level that mixes does, and no other */
              {"low", ",\"public_dataset\":\"lfw\"", true},
              {"medium", ",\"public_dataset\":\"lfw\"", true},
              {"high", ",\"public_dataset\":\"lfw\"", false},
              {"high", ",\"embedder\":\"mdl_a\"", false},
              {"low", ",\"public_dataset\":\"lfw\",\"pool\":\"public\"", false}};
  for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    char text[200];
    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"level\":\"%s\"%s}}", jobs[i].level,
                   jobs[i].beside);
    assert_int_equal(parse(text, &spec, &problems), 0);
    json_t *all = job_spec_json(&spec), *measured = mask_level_json(all);
    assert_string_equal(json_string_value(json_object_get(measured, "level")), jobs[i].level);
    if (json_is_true(json_object_get(measured, "as_measured")) != jobs[i].as_measured)
      fail_msg("as_measured of %s", text);
    json_decref(measured);
    json_decref(all);
    job_spec_free(&spec);
  }
}

/* An audit says what to attack, with what, and nothing of a training; what it shows parses back. */
static void audits(void **state) {
  (void)state;
  static const char *const nothing_of[] = {"holdout", "mask", "train", "defences"};
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(
      parse("{\"type\":\"audit\",\"model\":\"mdl_a\",\"dataset\":\"orl\",\"priority\":3,\"audit\":{"
            "\"effort\":\"thorough\",\"public_dataset\":\"lfw\"},\"labels\":{\"a\":\"b\"}}",
            &spec, &problems),
      0);
  assert_int_equal(spec.type, JOB_AUDIT);
  assert_string_equal(spec.audited, "mdl_a");
  assert_int_equal(spec.audit.effort, EFFORT_THOROUGH);
  json_t *shown = job_spec_json(&spec);
  assert_string_equal(json_string_value(json_object_get(shown, "type")), "audit");
  assert_string_equal(json_string_value(json_object_get(shown, "model")), "mdl_a");
  for (size_t i = 0; i < ARRAY_SIZE(nothing_of); i++)
    assert_null(json_object_get(shown, nothing_of[i]));
  json_decref(shown);
  shown_is_parsed_back(&spec);
  job_spec_free(&spec);
  /* the model's own people, and the attacks that need no public faces */
  assert_int_equal(parse("{\"type\":\"audit\",\"model\":\"mdl_a\"}", &spec, &problems), 0);
  assert_string_equal(spec.dataset, "");
  for (uint32_t i = 0; i < attack_count; i++)
    assert_int_equal(spec.audit.attack[i], !attacks[i].needs_public_faces && !attacks[i].needs_unseen);
  job_spec_free(&spec);
  /* a training that keeps images out asks for membership, too */
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"images\":0.2}}", &spec, &problems), 0);
  for (uint32_t i = 0; i < attack_count; i++)
    assert_int_equal(spec.audit.attack[i], !attacks[i].needs_public_faces);
  job_spec_free(&spec);
}

static void runs(const struct job_spec *spec, const char *const *names) {
  for (uint32_t i = 0; i < attack_count; i++) {
    bool named = false;
    for (size_t n = 0; names[n]; n++)
      named |= strcmp(names[n], attacks[i].name) == 0;
    if (spec->audit.attack[i] != named)
      fail_msg("%s %s at the effort %s", attacks[i].name, named ? "does not run" : "runs",
               effort_name(spec->audit.effort));
  }
}

/* What runs without being named: the cheap ones always, the dear ones not in a hurry. */
static void efforts(void **state) {
  (void)state;
  static const struct {
    const char *audit;
    bool unseen;
    const char *names[10];
  } cases[] = {
      {"{\"effort\":\"quick\"}", false, {"linear"}},
      {"{\"effort\":\"quick\",\"public_dataset\":\"lfw\"}", true, {"linear", "linkage", "membership"}},
      {"{}", true, {"linear", "membership", "mi_face", "gradient", "demix"}},
      {"{\"effort\":\"standard\",\"public_dataset\":\"lfw\"}",
       true,
       {"linear", "linkage", "membership", "reconstruction", "mi_face", "gradient", "demix"}},
      {"{\"effort\":\"thorough\",\"public_dataset\":\"lfw\"}",
       false,
       {"linear", "linkage", "reconstruction", "mi_face", "gradient", "demix", "plg_mi", "gmi"}},
      /* by name at any effort */
      {"{\"effort\":\"quick\",\"attacks\":[\"demix\",\"reconstruction\"],\"public_dataset\":\"lfw\"}",
       true,
       {"demix", "reconstruction"}},
      /* who names a teacher for the one attack that it serves is understood */
      {"{\"effort\":\"quick\",\"teacher\":\"mdl_t\"}", true, {"linear", "membership"}},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    char body[200];
    (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",\"model\":\"mdl_a\",\"audit\":%s}",
                   cases[i].audit);
    json_t *json = json_loads(body, 0, NULL);
    assert_int_equal(job_spec_parse_unseen(json, cases[i].unseen, &spec, &problems), 0);
    runs(&spec, cases[i].names);
    job_spec_free(&spec);
    json_decref(json);
  }
}

/* Numbers have defaults and are shown; norms follow dp_sgd. */
static void defences(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(parse("{\"type\":\"train\",\"dataset\":\"a\"}", &spec, &problems), 0);
  assert_int_equal(spec.defences.count, 0);
  assert_int_equal(spec.model.norm, ARCH_NORM_BATCH);
  job_spec_free(&spec);
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"public_dataset\":"
            "\"p\"},\"defences\":[{\"noise\":0.5,\"method\":\"dp_sgd\"},{\"method\":\"negative_ls\"}]}",
            &spec, &problems),
      0);
  assert_int_equal(spec.defences.count, 2);
  assert_int_equal(spec.defences.list[0].method, DEFENCE_DP_SGD);
  assert_true(spec.defences.list[0].parameter[0] == 0.5 && spec.defences.list[0].parameter[1] == 1);
  assert_int_equal(spec.defences.list[1].method, DEFENCE_NEGATIVE_LS);
  assert_true(spec.defences.list[1].parameter[0] == -0.05);
  assert_int_equal(spec.model.norm, ARCH_NORM_GROUP);
  json_t *shown = job_spec_json(&spec);
  const json_t *first = json_array_get(json_object_get(shown, "defences"), 0);
  assert_string_equal(json_string_value(json_object_get(first, "method")), "dp_sgd");
  assert_true(json_number_value(json_object_get(first, "delta")) == 1e-5);
  json_decref(shown);
  shown_is_parsed_back(&spec);
  job_spec_free(&spec);
}

/* The paper's reward is the recognition loss, so both then use the plain soft label. */
static void negatives_of_the_reward(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"reward\":\"paper\"}}", &spec, &problems), 0);
  assert_int_equal(spec.mask.reward, REWARD_PAPER);
  assert_int_equal(spec.mask.negatives, HEAD_NEGATIVES_ALL);
  job_spec_free(&spec);
}

/* k and who picks it, of a method that has no strategy network. */
static void k_of_instahide(void **state) {
  (void)state;
  static const struct {
    const char *more;
    uint32_t k, count;
    enum strategy_policy policy;
  } cases[] = {{"", 4, 1, POLICY_FIXED},
               {",\"k\":[3]", 3, 1, POLICY_FIXED},
               {",\"k\":[2,5]", 2, 2, POLICY_UNIFORM},
               {",\"policy\":\"uniform\"", 4, 1, POLICY_UNIFORM}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    char body[200];
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"instahide\"%s}}",
                   cases[i].more);
    assert_int_equal(parse(body, &spec, &problems), 0);
    assert_int_equal(spec.mask.k[0], cases[i].k);
    assert_int_equal(spec.mask.k_count, cases[i].count);
    assert_int_equal(spec.mask.policy, cases[i].policy);
    assert_int_equal(spec.mask.negatives, HEAD_NEGATIVES_OTHERS);
    job_spec_free(&spec);
  }
}

/* Weights belong to the entries of k as they were given; the policy is then the fixed one. */
static void a_histogram_of_k(void **state) {
  (void)state;
  static const struct {
    const char *mask;
    uint32_t count;
    double first, last;
  } right[] = {{"\"k\":[6,2],\"probability\":[0.9,0.1]", 2, 0.1, 0.9},
               {"\"probability\":[0.2,1],\"policy\":\"fixed\",\"k\":[3,5]", 2, 0.2, 1},
               {"\"probability\":[1,0,0,0,0.5]", 5, 1, 0.5},
               {"\"k\":[6,5,4,3,2,1],\"probability\":[0.9,0,0,0,0,0.1]", 6, 0.1, 0.9},
               {"\"method\":\"instahide\",\"k\":[4,2],\"probability\":[0,1]", 2, 1, 0},
               {"\"probability\":null,\"policy\":\"fixed\",\"k\":[3]", 0, 0, 0}};
  static const char *const wrong[][2] = {{"\"k\":[2,3],\"probability\":[1]", "conflict"},
                                         {"\"probability\":[1,1]", "conflict"},
                                         {"\"k\":[2],\"policy\":\"uniform\",\"probability\":[1]", "conflict"},
                                         {"\"k\":[2],\"policy\":\"learned\",\"probability\":[1]", "conflict"},
                                         {"\"method\":\"mixup\",\"k\":[2],\"probability\":[1]", "conflict"},
                                         {"\"k\":[2,3],\"probability\":[0,0]", "out_of_range"},
                                         {"\"k\":[2,3],\"probability\":[0.5,-0.5]", "out_of_range"},
                                         {"\"k\":[2,3],\"probability\":[0.5,\"1\"]", "out_of_range"},
                                         {"\"k\":[2],\"probability\":[]", "wrong_type"},
                                         {"\"k\":[2],\"probability\":1", "wrong_type"}};
  char body[200];
  for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s}}", right[i].mask);
    assert_int_equal(parse(body, &spec, &problems), 0);
    assert_int_equal(spec.mask.policy, POLICY_FIXED);
    assert_int_equal(spec.mask.probability_count, right[i].count);
    assert_true(spec.mask.probability[0] == right[i].first);
    assert_true(right[i].count == 0 || spec.mask.probability[right[i].count - 1] == right[i].last);
    shown_is_parsed_back(&spec);
    job_spec_free(&spec);
  }
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s}}", wrong[i][0]);
    assert_int_equal(parse(body, &spec, &problems), -EINVAL);
    assert_non_null(find(&problems, "/mask/probability"));
    assert_string_equal(find(&problems, "/mask/probability")->code, wrong[i][1]);
    spec_problems_free(&problems);
  }
}

/* Attacks that learn run where they can: when public faces are given, and always by name. */
static void attacks_that_learn(void **state) {
  (void)state;
  static const struct {
    const char *audit;
    bool linear, linkage, plg_mi;
  } cases[] = {
      {"{}", true, false, false},
      {"{\"public_dataset\":null,\"effort\":\"thorough\"}", true, false, false},
      {"{\"public_dataset\":\"lfw\"}", true, true, false},
      {"{\"public_dataset\":\"lfw\",\"effort\":\"thorough\"}", true, true, true},
      {"{\"public_dataset\":\"lfw\",\"attacks\":[\"linear\"]}", true, false, false},
      {"{\"public_dataset\":\"lfw\",\"attacks\":[\"plg_mi\"]}", false, false, true},
      {"{\"public_dataset\":\"lfw\",\"attacks\":[\"linkage\"],\"teacher\":\"mdl_1\"}", false, true, false}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    char body[256];
    struct job_spec spec;
    struct spec_problems problems = {0};
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"audit\":%s}", cases[i].audit);
    assert_int_equal(parse(body, &spec, &problems), 0);
    for (uint32_t a = 0; a < attack_count; a++) {
      if (strcmp(attacks[a].name, "linear") == 0)
        assert_int_equal(spec.audit.attack[a], cases[i].linear);
      if (strcmp(attacks[a].name, "linkage") == 0)
        assert_int_equal(spec.audit.attack[a], cases[i].linkage);
      if (strcmp(attacks[a].name, "plg_mi") == 0)
        assert_int_equal(spec.audit.attack[a], cases[i].plg_mi);
    }
    job_spec_free(&spec);
  }
}

static void shown_and_parsed_again(void **state) {
  (void)state;
  static const char *const bodies[] = {
      "{\"type\":\"train\",\"dataset\":\"orl\"}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"pool\":\"both\",\"public_dataset\":\"p\","
      "\"recipes_per_image\":4,\"decoys\":5,\"margins\":\"equal\"}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"reference\":\"mdl_r\",\"embedder\":\"mdl_e\","
      "\"public_dataset\":\"lfw\",\"max_accuracy_drop\":0.02,\"ablation\":\"shuffled\"}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"reward\":\"paper\",\"reference\":null,"
      "\"ablation\":"
      "null}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"method\":\"mixup\",\"key\":true}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"audit\":{\"public_dataset\":\"lfw\",\"teacher\":\"mdl_1\","
      "\"control\":\"mdl_2\"}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"select\":\"learnt\",\"analysis\":{\"epochs\":5,"
      "\"gamma\":0.25}}}",
      "{\"type\":\"train\",\"dataset\":\"orl\",\"model\":{\"arch\":\"freq_conv\"},\"mask\":{\"method\":"
      "\"ppfr_fd\",\"select\":null}}",
      "{\"type\":\"train\",\"dataset\":\"c\",\"holdout\":{\"identities\":0,\"pairs\":{\"dataset\":\"lfw\","
      "\"name\":\"view2\"}},"
      "\"model\":{\"arch\":\"iresnet18\",\"input\":64},\"mask\":{\"method\":\"ahm\",\"drop_low\":10,\"k\":[4]"
      ",\"policy\":\"fixed\"},"
      "\"train\":{\"epochs\":3,\"lr\":0.07,\"head\":\"arcface\",\"seed\":9007199254740991},\"audit\":{"
      "\"attacks\":[]},"
      "\"priority\":-3,\"labels\":{\"team\":\"door\"},\"resources\":{\"threads\":1,\"max_runtime_s\":60}}",
  };
  for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    assert_int_equal(parse(bodies[i], &spec, &problems), 0);
    shown_is_parsed_back(&spec);
    job_spec_free(&spec);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(protection),
      cmocka_unit_test(levels),
      cmocka_unit_test(levels_as_measured),
      cmocka_unit_test(audits),
      cmocka_unit_test(efforts),
      cmocka_unit_test(defences),
      cmocka_unit_test(negatives_of_the_reward),
      cmocka_unit_test(k_of_instahide),
      cmocka_unit_test(a_histogram_of_k),
      cmocka_unit_test(attacks_that_learn),
      cmocka_unit_test(shown_and_parsed_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
