/* The job specification: defaults, every mistake at once, and what is shown parses back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/train/level.h"
#include "core/train/spec.h"

static int parse(const char *text, struct job_spec *spec, struct spec_problems *problems) {
  json_t *body = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
  assert_non_null(body);
  int r = job_spec_parse(body, spec, problems);
  json_decref(body);
  return r;
}

static const struct spec_problem *find(const struct spec_problems *problems, const char *pointer) {
  for (uint32_t i = 0; i < problems->count; i++)
    if (strcmp(problems->problem[i].pointer, pointer) == 0)
      return &problems->problem[i];
  return NULL;
}

static void defaults(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(parse("{\"type\":\"train\",\"dataset\":\"orl\"}", &spec, &problems), 0);
  assert_int_equal(problems.count, 0);
  assert_string_equal(spec.dataset, "orl");
  assert_true(spec.holdout.identities == 0.25);
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
  assert_string_equal(spec.mask.public_dataset, "");
  json_t *all = job_spec_json(&spec), *shown = json_object_get(all, "mask");
  assert_true(json_is_null(json_object_get(shown, "public_dataset")));
  assert_true(json_is_null(json_object_get(shown, "recipes_per_image")));
  json_decref(all);
  job_spec_free(&spec);
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
  assert_string_equal(json_string_value(json_object_get(json_object_get(all, "mask"), "level")), "low");
  assert_true(json_is_true(json_object_get(measured, "as_measured")));
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
  all = job_spec_json(&spec);
  measured = mask_level_json(all);
  assert_true(json_is_false(json_object_get(measured, "as_measured")));
  json_decref(measured);
  json_decref(all);
  job_spec_free(&spec);
  assert_int_equal(parse("{\"type\":\"train\",\"dataset\":\"orl\",\"mask\":{\"clip\":0,\"level\":\"low\"}}",
                         &spec, &problems),
                   0);
  all = job_spec_json(&spec);
  measured = mask_level_json(all);
  assert_true(json_is_false(json_object_get(measured, "as_measured")));
  json_decref(measured);
  json_decref(all);
  job_spec_free(&spec);
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    assert_int_equal(parse(wrong[i], &spec, &problems), -EINVAL);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.problem[0].pointer, "/mask/level");
    spec_problems_free(&problems);
    problems = (struct spec_problems){0};
  }
}

static void every_mistake_at_once(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(
      parse(
          "{\"type\":\"train\",\"dataset\":\"orl\",\"model\":{\"arch\":\"vgg\",\"input\":50},"
          "\"train\":{\"epochs\":0,\"batch\":\"many\",\"lr\":0},\"mask\":{\"k\":[1,7],\"reward\":\"prize\"},"
          "\"audit\":{\"attacks\":[\"linear\",\"magic\"]},\"colour\":1}",
          &spec, &problems),
      -EINVAL);
  static const struct {
    const char *pointer, *code;
  } wanted[] = {
      {"/model/arch", "unknown_value"},  {"/model/input", "out_of_range"},
      {"/train/epochs", "out_of_range"}, {"/train/batch", "wrong_type"},
      {"/train/lr", "out_of_range"},     {"/mask/k", "out_of_range"},
      {"/mask/reward", "unknown_value"}, {"/audit/attacks/1", "unknown_value"},
      {"/colour", "unknown_field"},
  };
  assert_int_equal(problems.count, ARRAY_SIZE(wanted));
  for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
    const struct spec_problem *problem = find(&problems, wanted[i].pointer);
    assert_non_null(problem);
    assert_string_equal(problem->code, wanted[i].code);
  }
  assert_non_null(json_object_get(find(&problems, "/train/epochs")->allowed, "minimum"));
  assert_int_equal(json_array_size(find(&problems, "/model/arch")->allowed), ARCHS);
  spec_problems_free(&problems);
}

#define DP "\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"dp_sgd\"}]"

/* Numbers have defaults and are shown; norms follow dp_sgd. */
static void defences(void **state) {
  (void)state;
  struct job_spec spec, again;
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
  assert_int_equal(job_spec_parse(shown, &again, &problems), 0);
  json_t *shown_again = job_spec_json(&again);
  assert_true(json_equal(shown, shown_again));
  json_decref(shown);
  json_decref(shown_again);
  job_spec_free(&spec);
  job_spec_free(&again);
}

/* What dp_sgd cannot live with is told at once. */
static void dp_sgd_and_the_defaults(void **state) {
  (void)state;
  static const char *const pointers[] = {"/mask/policy", "/mask/pool", "/mask/public_dataset", "/model/norm"};
  struct job_spec spec;
  struct spec_problems problems = {0};
  assert_int_equal(parse("{" DP ",\"model\":{\"norm\":\"batch\"}}", &spec, &problems), -EINVAL);
  assert_int_equal(problems.count, ARRAY_SIZE(pointers));
  for (size_t i = 0; i < ARRAY_SIZE(pointers); i++) {
    assert_non_null(find(&problems, pointers[i]));
    assert_non_null(strstr(find(&problems, pointers[i])->detail, "dp_sgd"));
  }
  spec_problems_free(&problems);
}

static void missing_and_conflicting(void **state) {
  (void)state;
  static const struct {
    const char *body, *pointer, *code;
  } cases[] = {
      {"{}", "/type", "missing"},
      {"{\"type\":\"train\"}", "/dataset", "missing"},
      {"[]", "", "wrong_type"},
      {"{\"type\":\"review\",\"dataset\":\"a\"}", "/type", "unknown_value"},
      {"{\"type\":7,\"dataset\":\"a\"}", "/type", "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"model\":\"mdl_a\"}", "/model", "wrong_type"},
      {"{\"type\":\"audit\",\"dataset\":\"a\"}", "/model", "missing"},
      {"{\"type\":\"audit\",\"model\":{\"arch\":\"freq_ir\"}}", "/model", "wrong_type"},
      {"{\"type\":\"audit\",\"model\":\"mdl_a\",\"train\":{\"epochs\":2}}", "/train", "unknown_field"},
      {"{\"type\":\"audit\",\"model\":\"mdl_a\",\"defences\":[]}", "/defences", "unknown_field"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"membership\"]}}", "/holdout/images",
       "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"images\":0.6}}", "/holdout/images",
       "out_of_range"},
      {"{\"type\":\"audit\",\"model\":\"mdl_a\",\"audit\":{\"attacks\":[]}}", "/audit/attacks",
       "out_of_range"},
      {"{\"type\":\"audit\",\"model\":\"mdl_a\",\"audit\":{\"attacks\":[\"linkage\"]}}",
       "/audit/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"../a\"}", "/dataset", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"pairs\":{\"dataset\":\"b\"}}}",
       "/holdout/pairs/name", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"policy\":\"fixed\"}}", "/mask/k", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"dct\":\"polar\"}}", "/mask/dct", "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"arch\":\"freq_conv\"},\"mask\":{\"dct\":"
       "\"upsampled\"}}",
       "/model/arch", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"parameters\":{\"sigma\":1}}}",
       "/mask/parameters/sigma", "unknown_field"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"blur\",\"parameters\":{\"sigma\":99}}}",
       "/mask/parameters/sigma", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"instahide\",\"policy\":\"learned\"}}",
       "/mask/policy", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"duetface\",\"drop_low\":3}}", "/mask",
       "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"dctdp\",\"clip\":0}}", "/mask",
       "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"partialface\"}}", "/model/arch",
       "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"parameters\":3}}", "/mask/parameters",
       "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"policy\":\"uniform\",\"reference\":\"mdl_a\"}}",
       "/mask/reference", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"reward\":\"paper\",\"embedder\":\"mdl_a\"}}",
       "/mask/embedder", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"mixup\",\"ablation\":\"bandit\"}}",
       "/mask/ablation", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"ablation\":\"luck\"}}", "/mask/ablation",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"identities\":0},\"mask\":{\"reference\":"
       "\"mdl_a\"}}",
       "/mask/reference", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"max_accuracy_drop\":0}}", "/mask/max_accuracy_drop",
       "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"embedder\":\"../a\"}}", "/mask/embedder",
       "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"select\":\"lowest\"}}", "/mask/select",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"select\":\"learnt\"}}",
       "/mask/drop_low", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"duetface\",\"select\":\"learnt\"}}",
       "/mask/select", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"analysis\":{\"epochs\":0}}}",
       "/mask/analysis/epochs", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"analysis\":{\"steps\":9}}}", "/mask/analysis/steps",
       "unknown_field"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ppfr_fd\"}}", "/model/arch", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"pool\":\"public\"}}", "/mask/public_dataset",
       "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"pool\":\"both\",\"public_dataset\":null}}",
       "/mask/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"decoys\":2}}", "/mask/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"decoys\":17,\"public_dataset\":\"p\"}}",
       "/mask/decoys", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"decoys\":1,"
       "\"public_dataset\":\"p\"}}",
       "/mask/decoys", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"key\":true,\"decoys\":1,"
       "\"public_dataset\":\"p\"}}",
       "/mask/decoys", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"dctdp\",\"key\":true}}", "/mask/key",
       "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"key\":\"0123\"}}", "/mask/key", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"minusface\",\"dct\":\"upsampled\"}}",
       "/mask", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":72},\"mask\":{\"method\":\"minusface\"}}",
       "/mask", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"generative\"}}", "/mask/public_dataset",
       "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"hybrid\",\"embedder\":\"m\"}}",
       "/mask/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"generative\",\"public_dataset\":\"p\","
       "\"dct\":\"upsampled\"}}",
       "/mask", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":72},\"mask\":{\"method\":\"hybrid\","
       "\"public_dataset\":\"p\"}}",
       "/mask", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"hybrid\",\"public_dataset\":\"p\","
       "\"key\":true}}",
       "/mask/key", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"dctdp\",\"parameters\":{\"learnt\":0.5}}"
       "}",
       "/mask", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"public_dataset\":\"../p\"}}",
       "/mask/public_dataset", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"recipes_per_image\":3}}", "/mask/recipes_per_image",
       "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"recipes_per_image\":\"few\"}}",
       "/mask/recipes_per_image", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"margins\":\"none\"}}", "/mask/margins",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"train\":{\"precision\":\"f16\"}}", "/train/precision",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"linkage\"]}}",
       "/audit/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"linear\"],\"public_dataset\":\"b\","
       "\"teacher\":\"mdl_x\"}}",
       "/audit/teacher", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"plg_mi\",\"gmi\"]}}",
       "/audit/public_dataset", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"gmi\"],\"public_dataset\":\"b\","
       "\"teacher\":\"mdl_x\"}}",
       "/audit/teacher", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"public_dataset\":7}}", "/audit/public_dataset",
       "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"attacks\":[\"linear\"],\"control\":\"mdl_x\"}}",
       "/audit/control", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"audit\":{\"control\":7}}", "/audit/control", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"train\":5}", "/train", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"norm\":\"layer\"}}", "/model/norm",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":{}}", "/defences", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[3]}", "/defences/0/method", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"walls\"}]}", "/defences/0/method",
       "unknown_value"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"negative_ls\",\"alpha\":0.1}]}",
       "/defences/0/alpha", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"negative_ls\",\"noise\":1}]}",
       "/defences/0/noise", "unknown_field"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"negative_ls\"},{\"method\":"
       "\"negative_ls\"}]}",
       "/defences/1", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"at_at\",\"steps\":2.5}]}",
       "/defences/0/steps", "wrong_type"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"public_dataset\":\"p\"},"
       "\"defences\":[{\"method\":\"bido\"},{\"method\":\"dp_sgd\"}]}",
       "/defences/1", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"public_dataset\":\"p\"},"
       "\"defences\":[{\"method\":\"dp_sgd\"},{\"method\":\"at_at\"}]}",
       "/defences/1", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"tl_dmi\"}]}", "/defences/0",
       "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"public_dataset\":\"a\"},"
       "\"defences\":[{\"method\":\"tl_dmi\"}]}",
       "/mask/public_dataset", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"tl_dmi\",\"model\":\"../a\"}]}",
       "/defences/0/model", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"defences\":[{\"method\":\"tl_dmi\",\"model\":\"mdl_a\"},{"
       "\"method\":"
       "\"at_at\"}]}",
       "/defences/1", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"select\":\"learnt\"},\"defences\":[{\"method\":"
       "\"tl_dmi\","
       "\"model\":\"mdl_a\"}]}",
       "/defences/0", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\",\"public_dataset\":\"p\"},"
       "\"defences\":[{\"method\":\"tl_dmi\",\"model\":\"mdl_a\"},{\"method\":\"dp_sgd\"}]}",
       "/defences/1", "conflict"},
      {"{" DP ",\"mask\":{\"public_dataset\":\"p\"}}", "/mask/policy", "conflict"},
      {"{" DP ",\"mask\":{\"policy\":\"uniform\",\"public_dataset\":\"p\"}}", "/mask/pool", "conflict"},
      {"{" DP ",\"mask\":{\"policy\":\"uniform\",\"pool\":\"both\",\"public_dataset\":\"p\"}}", "/mask/pool",
       "conflict"},
      {"{" DP ",\"mask\":{\"method\":\"mixup\",\"public_dataset\":\"p\"}}", "/mask/pool", "conflict"},
      {"{" DP ",\"mask\":{\"method\":\"none\"}}", "/mask/public_dataset", "missing"},
      {"{" DP ",\"mask\":{\"method\":\"none\",\"public_dataset\":\"a\"}}", "/mask/public_dataset",
       "conflict"},
      {"{" DP
       ",\"mask\":{\"method\":\"none\",\"drop_low\":3,\"select\":\"learnt\",\"public_dataset\":\"p\"}}",
       "/mask", "conflict"},
      {"{" DP ",\"mask\":{\"method\":\"minusface\",\"public_dataset\":\"p\"}}", "/mask", "conflict"},
      {"{" DP ",\"mask\":{\"method\":\"none\",\"public_dataset\":\"p\"},\"model\":{\"norm\":\"batch\"}}",
       "/model/norm", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"labels\":{\"a\":1}}", "/labels", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"train\":{\"seed\":-1}}", "/train/seed", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"train\":{\"epochs\":1e300}}", "/train/epochs", "wrong_type"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    assert_int_equal(parse(cases[i].body, &spec, &problems), -EINVAL);
    const struct spec_problem *problem = find(&problems, cases[i].pointer);
    assert_non_null(problem);
    assert_string_equal(problem->code, cases[i].code);
    spec_problems_free(&problems);
  }
}

/* An audit says what to attack, with what, and nothing of a training; what it shows parses back. */
static void audits(void **state) {
  (void)state;
  static const char *const nothing_of[] = {"holdout", "mask", "train", "defences"};
  struct job_spec spec, again;
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
  assert_int_equal(job_spec_parse(shown, &again, &problems), 0);
  json_t *shown_again = job_spec_json(&again);
  assert_true(json_equal(shown, shown_again));
  json_decref(shown);
  json_decref(shown_again);
  job_spec_free(&spec);
  job_spec_free(&again);
  /* the model's own people, and the attacks that need no public faces */
  assert_int_equal(parse("{\"type\":\"audit\",\"model\":\"mdl_a\"}", &spec, &problems), 0);
  assert_string_equal(spec.dataset, "");
  for (uint32_t i = 0; i < attack_count; i++)
    assert_int_equal(spec.audit.attack[i], !attacks[i].needs_public_faces && !attacks[i].needs_unseen);
  job_spec_free(&spec);
  /* the dear ones not in a hurry */
  assert_int_equal(
      parse("{\"type\":\"audit\",\"model\":\"mdl_a\",\"audit\":{\"effort\":\"quick\"}}", &spec, &problems),
      0);
  for (uint32_t i = 0; i < attack_count; i++)
    assert_int_equal(spec.audit.attack[i], !attacks[i].needs_public_faces && !attacks[i].needs_unseen &&
                                               attacks[i].from == EFFORT_QUICK);
  assert_int_equal(attack_find("gradient")->from, EFFORT_STANDARD);
  job_spec_free(&spec);
  /* a training that keeps images out asks for membership, too */
  assert_int_equal(
      parse("{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"images\":0.2}}", &spec, &problems), 0);
  for (uint32_t i = 0; i < attack_count; i++)
    assert_int_equal(spec.audit.attack[i], !attacks[i].needs_public_faces);
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
    struct job_spec spec, again;
    struct spec_problems problems = {0};
    assert_int_equal(parse(bodies[i], &spec, &problems), 0);
    json_t *shown = job_spec_json(&spec);
    assert_non_null(shown);
    assert_int_equal(job_spec_parse(shown, &again, &problems), 0);
    json_t *shown_again = job_spec_json(&again);
    assert_true(json_equal(shown, shown_again));
    json_decref(shown);
    json_decref(shown_again);
    job_spec_free(&spec);
    job_spec_free(&again);
  }
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
    struct job_spec spec, again;
    struct spec_problems problems = {0};
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s}}", right[i].mask);
    assert_int_equal(parse(body, &spec, &problems), 0);
    assert_int_equal(spec.mask.policy, POLICY_FIXED);
    assert_int_equal(spec.mask.probability_count, right[i].count);
    assert_true(spec.mask.probability[0] == right[i].first);
    assert_true(right[i].count == 0 || spec.mask.probability[right[i].count - 1] == right[i].last);
    json_t *shown = job_spec_json(&spec);
    assert_int_equal(job_spec_parse(shown, &again, &problems), 0);
    json_t *shown_again = job_spec_json(&again);
    assert_true(json_equal(shown, shown_again));
    json_decref(shown);
    json_decref(shown_again);
    job_spec_free(&spec);
    job_spec_free(&again);
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

/* Sets what a JSON pointer through objects names. */
static void set_at(json_t *object, const char *pointer, json_t *value) {
  char key[64];
  const char *next = strchr(pointer + 1, '/');
  (void)snprintf(key, sizeof(key), "%.*s", next ? (int)(next - pointer - 1) : 63, pointer + 1);
  if (!next) {
    assert_int_equal(json_object_set(object, key, value), 0);
    return;
  }
  if (!json_object_get(object, key))
    assert_int_equal(json_object_set_new(object, key, json_object()), 0);
  set_at(json_object_get(object, key), next, value);
}

static void check_cell(const char *file, const json_t *base, const json_t *cell) {
  json_t *body = json_deep_copy(base), *value;
  const char *pointer;
  struct job_spec spec;
  struct spec_problems problems = {0};
  json_object_foreach(json_object_get(cell, "set"), pointer, value) set_at(body, pointer, value);
  if (job_spec_parse(body, &spec, &problems) < 0)
    fail_msg("%s, %s: %s: %s", file, json_string_value(json_object_get(cell, "name")),
             problems.problem[0].pointer, problems.problem[0].detail);
  job_spec_free(&spec);
  json_decref(body);
}

/* The studies that the docs' tables are made by: every cell is a job. */
static void studies_are_jobs(void **state) {
  (void)state;
  static const char directory[] = GUISE_GOLDEN "/../bench/studies";
  DIR *files = opendir(directory);
  const struct dirent *entry;
  uint32_t studies = 0;
  assert_non_null(files);
  while ((entry = readdir(files))) {
    char path[512];
    size_t i;
    json_t *cell;
    if (!strstr(entry->d_name, ".json"))
      continue;
    (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
    json_t *study = json_load_file(path, JSON_REJECT_DUPLICATES, NULL),
           *cells = json_object_get(study, "cells");
    assert_true(json_array_size(cells) > 1);
    assert_null(json_object_get(study, "axes")); /* else they were not all checked */
    json_array_foreach(cells, i, cell) check_cell(entry->d_name, json_object_get(study, "base"), cell);
    json_decref(study);
    studies++;
  }
  (void)closedir(files);
  assert_true(studies >= 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(levels),
      cmocka_unit_test(every_mistake_at_once),
      cmocka_unit_test(audits),
      cmocka_unit_test(defences),
      cmocka_unit_test(dp_sgd_and_the_defaults),
      cmocka_unit_test(missing_and_conflicting),
      cmocka_unit_test(negatives_of_the_reward),
      cmocka_unit_test(k_of_instahide),
      cmocka_unit_test(a_histogram_of_k),
      cmocka_unit_test(attacks_that_learn),
      cmocka_unit_test(shown_and_parsed_again),
      cmocka_unit_test(studies_are_jobs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
