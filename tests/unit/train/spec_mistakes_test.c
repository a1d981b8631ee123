/* Specifications that are refused: every mistake at once, each with where it stands and of which kind it is.
 */
#include <stdlib.h>

#include "tests/unit/train/spec_parse.h"

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

static void bf16_needs_its_processor(void **state) {
  (void)state;
  struct job_spec spec;
  struct spec_problems problems = {0};
  setenv("GUISE_KERNELS", "avx2", 1);
  const int r =
      parse("{\"type\":\"train\",\"dataset\":\"a\",\"train\":{\"precision\":\"bf16\"}}", &spec, &problems);
  unsetenv("GUISE_KERNELS");
  assert_int_equal(r, -EINVAL);
  assert_int_equal(problems.count, 1);
  assert_string_equal(problems.problem[0].pointer, "/train/precision");
  assert_string_equal(problems.problem[0].code, "conflict");
  assert_string_equal(problems.problem[0].detail,
                      "bf16 needs a processor with AVX512_BF16, which this one does not have: use f32");
  spec_problems_free(&problems);
}

/* What does not go with losing frequencies. */
static void protection_conflicts(void **state) {
  (void)state;
  static const struct {
    const char *mask, *pointer;
  } cases[] = {
      {"\"method\":\"mixup\",\"protect\":\"drop\"", "/mask/protect"},
      {"\"method\":\"hybrid\",\"public_dataset\":\"p\",\"protect_drop\":9", "/mask/protect_drop"},
      {"\"protect\":\"drop\",\"protect_drop\":3", "/mask/protect_drop"}, /* as many as all lose */
      {"\"protect_drop\":2", "/mask/protect_drop"},
      {"\"protect\":\"drop\",\"protect_drop\":6,\"drop_low\":6", "/mask/protect_drop"},
      {"\"protect\":\"drop\",\"dct\":\"upsampled\"", "/mask/protect_drop"},
      {"\"protect_drop\":9,\"key\":true", "/mask/key"},
      {"\"protect\":\"drop\",\"level\":\"high\"", "/mask/level"},
      {"\"protect\":\"drop\",\"decoys\":1,\"public_dataset\":\"p\"", "/mask/decoys"},
      {"\"protect\":\"drop\",\"k\":[1]", "/mask/k"},
      {"\"protect\":\"drop\",\"k\":[1,3]", "/mask/k"},
      {"\"protect\":\"drop\",\"recipes_per_image\":2", "/mask/recipes_per_image"},
      {"\"protect\":\"drop\",\"pool\":\"public\",\"public_dataset\":\"p\"", "/mask/pool"},
      {"\"protect\":\"drop\",\"reward\":\"paper\"", "/mask/reward"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_spec spec;
    struct spec_problems problems = {0};
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{%s}}", cases[i].mask);
    if (parse(body, &spec, &problems) != -EINVAL || problems.count != 1 ||
        strcmp(problems.problem[0].pointer, cases[i].pointer) != 0 ||
        strcmp(problems.problem[0].code, "conflict") != 0)
      fail_msg("%s: %u problems, %s", cases[i].mask, problems.count,
               problems.count > 0 ? problems.problem[0].pointer : "");
    spec_problems_free(&problems);
  }
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
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"every\":0}}", "/holdout/every", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"every\":2},\"mask\":{\"reference\":\"mdl_a\"}}",
       "/holdout/every", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"pairs\":{\"dataset\":\"b\"}}}",
       "/holdout/pairs/name", "missing"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"policy\":\"fixed\"}}", "/mask/k", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"k\":[0,2]}}", "/mask/k", "out_of_range"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"k\":[1]}}", "/mask/k", "conflict"},
      {"{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"instahide\",\"k\":[1,4]}}", "/mask/k",
       "conflict"},
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_mistake_at_once),    cmocka_unit_test(dp_sgd_and_the_defaults),
      cmocka_unit_test(protection_conflicts),     cmocka_unit_test(missing_and_conflicting),
      cmocka_unit_test(bf16_needs_its_processor),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
