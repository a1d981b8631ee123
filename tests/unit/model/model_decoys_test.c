/* Models with decoys: a loaded one mixes them in as it was trained, and damaged ones are refused. */
#include "core/base/memory.h"
#include "core/mask/decoys.h"
#include "tests/unit/model/model_fixture.h"

/* Two faces of the set as decoys; the mask owns them until it gets others or none. */
static void set_decoys(struct mask *of, uint32_t mixes) {
  const size_t elements = mask_elements(of);
  float *templates = tensor_alloc(2 * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(of) * sizeof(float));
  struct decoys *decoys = NULL;
  for (uint32_t d = 0; d < 2; d++)
    mask_template(of, pixels[5 + d], false, NULL, scratch, templates + d * elements);
  assert_int_equal(decoys_new(2, mixes, elements, templates, &decoys, NULL), 0);
  assert_int_equal(mask_set_decoys(of, decoys, NULL), 0);
  tensor_free(templates);
  tensor_free(scratch);
}

static void save_with_decoys(void) {
  struct guise_error err = {0};
  set_decoys(mask, 3);
  struct model_info with = info;
  with.decoys = mask_decoys(mask);
  if (model_save(decoyed, graph, &with, &err) != 0)
    fail_msg("%s", err.text);
}

/* The embedding of face `f` written out: each view's mixes, made from the plain templates, run alone and
 * normalised, then their sum normalised. */
static void embed_by_hand(const struct decoys *decoys, uint32_t f, bool flip_sum, float *ret_embedding) {
  const size_t elements = mask_elements(mask);
  float *plain = tensor_alloc(elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  double sum[EMBEDDING] = {0}, length = 0;
  for (int flip = 0; flip <= flip_sum; flip++)
    for (uint32_t t = 0; t < decoys->mixes; t++) {
      struct mix mix;
      double squares = 0;
      mask_template(mask, pixels[f], flip == 1, NULL, scratch, plain);
      decoys_draw(decoys, decoys_seed(pixels[f], PIXELS), flip == 1, t, &mix);
      float *input = graph_input_data(graph);
      memset(input, 0, 4 * elements * sizeof(float));
      for (size_t e = 0; e < elements; e++) {
        input[e] = mix.lambda[0] * plain[e];
        for (uint32_t j = 1; j < mix.k; j++)
          input[e] += mix.lambda[j] * decoys->templates[mix.member[j] * elements + e];
      }
      assert_int_equal(graph_forward(graph, GRAPH_EVAL, 0, NULL), 0);
      for (int d = 0; d < EMBEDDING; d++)
        squares += (double)graph_output_data(graph)[d] * (double)graph_output_data(graph)[d];
      for (int d = 0; d < EMBEDDING; d++)
        sum[d] += (double)graph_output_data(graph)[d] / sqrt(squares);
    }
  for (int d = 0; d < EMBEDDING; d++)
    length += sum[d] * sum[d];
  for (int d = 0; d < EMBEDDING; d++)
    ret_embedding[d] = (float)(sum[d] / sqrt(length));
  tensor_free(plain);
  tensor_free(scratch);
}

static void decoys_are_mixed_in(void **state) {
  (void)state;
  float without[FACES * EMBEDDING], with[FACES * EMBEDDING], loaded[FACES * EMBEDDING], want[EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  _cleanup_(model_freep) struct model *model = NULL;
  for (uint32_t i = 0; i < FACES; i++)
    rgb[i] = pixels[i];
  embed(graph, 4, false, without);
  save_with_decoys();
  if (model_load(decoyed, 1, 1, &model, &err) != 0)
    fail_msg("%s", err.text);
  const struct decoys *back = mask_decoys(model->mask), *sent = mask_decoys(mask);
  assert_non_null(back);
  assert_ptr_equal(model->info.decoys, back);
  assert_int_equal(back->count, 2);
  assert_int_equal(back->mixes, 3);
  assert_memory_equal(back->templates, sent->templates, 2 * sent->elements * sizeof(float));
  for (int flip = 0; flip < 2; flip++) {
    embed(graph, 4, flip == 1, with);
    assert_int_equal(model_embed(model, rgb, FACES, flip == 1, loaded, NULL), 0);
    for (uint32_t f = 0; f < FACES; f++) {
      embed_by_hand(sent, f, flip == 1, want);
      assert_true(cosine(with + f * EMBEDDING, want) > 1 - 1e-5);
      assert_true(cosine(loaded + f * EMBEDDING, want) > 1 - 1e-5); /* wherever it stands in a batch */
      assert_true(flip == 1 || cosine(without + f * EMBEDDING, want) < 1 - 1e-4);
    }
  }
  check_both(sent->mixes);
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
}

static void damaged_decoys_are_refused(void **state) {
  (void)state;
  static const struct damage cases[] = {
      {.key = "mask.decoys"},
      {.key = "mask.decoys", .value = "0"},
      {.key = "mask.decoys", .value = "1"},
      {.key = "mask.decoys", .value = "3"},
      {.key = "mask.decoys", .value = "17"},
      {.key = "mask.decoys", .value = "4294967298"},
      {.key = "mask.decoy_mixes"},
      {.key = "mask.decoy_mixes", .value = "0"},
      {.key = "mask.decoy_mixes", .value = "1000000"},
      {.key = "mask.drop_low", .value = "4"}, /* other templates */
      {.tensor = "mask.decoys"},
      {.tensor = "mask.decoys", .transpose = true},
      {.tensor = "mask.decoys", .relabel = true},
      {.tensor = "mask.decoys", .nan = true},
  };
  save_with_decoys();
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    int r = load_damaged(decoyed, &cases[i], &err);
    if (r != -EBADMSG)
      fail_msg("case %zu: %d %s", i, r, err.text);
    assert_true(strlen(err.text) > 10);
  }
  const struct damage added = {.key = "mask.decoys", .value = "2"}; /* to a model that has none */
  assert_int_equal(load_damaged(path, &added, NULL), -EBADMSG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(decoys_are_mixed_in),
      cmocka_unit_test(damaged_decoys_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
