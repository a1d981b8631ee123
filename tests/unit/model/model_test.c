/* The model container: what is saved embeds the same after loading; what does not fit is refused by name. */
#include "core/mask/dctdp.h"
#include "core/mask/key.h"
#include "tests/unit/mask/weights.h"
#include "tests/unit/model/model_fixture.h"

static void loaded_model_embeds_the_same(void **state) {
  (void)state;
  float before[FACES * EMBEDDING], after[FACES * EMBEDDING], single[FACES * EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  for (uint32_t batch = 1; batch <= 16; batch += 15) {
    _cleanup_(model_freep) struct model *model = NULL;
    if (model_load(path, batch, 2, &model, &err) != 0)
      fail_msg("%s", err.text);
    for (uint32_t i = 0; i < FACES; i++)
      rgb[i] = pixels[i];
    for (int flip = 0; flip < 2; flip++) {
      embed(graph, 4, flip == 1, before);
      assert_int_equal(model_embed(model, rgb, FACES, flip == 1, after, NULL), 0);
      for (uint32_t i = 0; i < FACES; i++) {
        assert_true(fabs(cosine(after + i * EMBEDDING, after + i * EMBEDDING) - 1) < 1e-5);
        assert_true(cosine(before + i * EMBEDDING, after + i * EMBEDDING) > 1 - 1e-5);
      }
    }
    assert_int_equal(model_embed(model, rgb + 2, 1, true, single, NULL), 0);
    assert_true(cosine(single, after + 2 * EMBEDDING) > 1 - 1e-5); /* whatever else is in the batch */
  }
}

static void information_comes_back(void **state) {
  (void)state;
  _cleanup_(model_freep) struct model *model = NULL;
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  const struct model_info *back = &model->info;
  assert_int_equal(back->arch, info.arch);
  assert_int_equal(back->input, SIZE);
  assert_int_equal(back->embedding, EMBEDDING);
  assert_true(back->width == info.width && back->dropout == info.dropout);
  assert_int_equal(back->mask.method, MASK_AHM);
  assert_int_equal(back->mask.drop_low, 3);
  assert_int_equal(back->constants.channels, info.constants.channels);
  assert_memory_equal(back->constants.channel, info.constants.channel,
                      info.constants.channels * sizeof(uint16_t));
  assert_memory_equal(back->constants.mean, info.constants.mean, info.constants.channels * sizeof(float));
  assert_memory_equal(back->constants.deviation, info.constants.deviation,
                      info.constants.channels * sizeof(float));
  assert_true(back->constants.clip == info.constants.clip);
  assert_true(back->constants.pixel_scale == info.constants.pixel_scale);
  assert_string_equal(back->training.job, "job_1");
  assert_string_equal(back->training.dataset, info.training.dataset);
  assert_true(back->training.steps == 1ull << 40);
  assert_int_equal(back->training.images, FACES);
}

/* Method, transform, seed, numbers and all constants, so that a loaded model masks as it was trained. */
static void mask_comes_back(enum mask_method method) {
  const struct mask_traits *traits = mask_traits(method);
  _cleanup_(model_freep) struct model *model = NULL;
  struct guise_error err = {0};
  struct model_info written = info;
  struct graph *small = NULL;
  struct mask *one = NULL;
  written.arch = traits->located ? ARCH_FREQ_IR : ARCH_FREQ_CONV;
  written.width = 0.25f;
  written.mask = mask_options_default(method, SIZE);
  written.mask.seed = 1ull << 40;
  if (traits->parameter_count > 0)
    written.mask.parameter[0] = 0.3;
  if (method == MASK_DCTDP)
    written.mask.parameter[DCTDP_LEARNT] = 1;
  assert_int_equal(mask_new(&written.mask, &one, &err), 0);
  if (mask_learns(&written.mask)) {
    float gates[192];
    for (uint32_t c = 0; c < 192; c++)
      gates[c] = (float)(41 * c % 192) / 192;
    assert_int_equal(mask_set_learnt(one, gates, 192, &err), 0);
  }
  assert_int_equal(give_weights(one, NULL), 0);
  assert_int_equal(mask_fit(one, test_image, NULL, FACES, &err), 0);
  written.constants = *mask_constants(one);
  written.weights = mask_weights(one);
  struct graph_config config = {.batch = 1, .threads = 1, .seed = 3};
  struct arch_options options = arch_options_for(one, EMBEDDING, written.width, written.dropout);
  assert_int_equal(graph_new(&config, &small, &err), 0);
  (void)arch_describe(small, written.arch, &options);
  assert_int_equal(graph_build(small, &err), 0);
  assert_int_equal(model_save(damaged, small, &written, &err), 0);
  if (model_load(damaged, 1, 1, &model, &err) < 0)
    fail_msg("%s: %s", traits->name, err.text);
  assert_int_equal(model->info.mask.method, method);
  assert_true(model->info.mask.seed == written.mask.seed);
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    assert_true((float)model->info.mask.parameter[i] == (float)written.mask.parameter[i]);
  assert_memory_equal(mask_constants(model->mask), &written.constants, sizeof(written.constants));
  const size_t weights = mask_weight_count(&written.mask);
  if (weights > 0) {
    assert_memory_equal(mask_weights(model->mask), written.weights, weights * sizeof(float));
    assert_ptr_equal(model->info.weights, mask_weights(model->mask));
    written.weights = NULL; /* a file without them is damaged */
    model = model_free(model);
    assert_int_equal(model_save(damaged, small, &written, &err), 0);
    assert_int_equal(model_load(damaged, 1, 1, &model, &err), -EBADMSG);
  }
  graph_free(small);
  mask_free(one);
}

static void every_mask_comes_back(void **state) {
  (void)state;
  for (int method = 0; method < MASK_METHODS; method++)
    mask_comes_back((enum mask_method)method);
}

/* Models of before do not say how faces were mixed, and load all the same; so do those that say it wrongly.
 */
static void mixing_comes_back(void **state) {
  (void)state;
  struct model_info with = info;
  struct guise_error err = {0};
  const struct damage harmless[] = {{.key = "mix.format"},
                                    {.key = "mix.format", .value = "3"},
                                    {.key = "mix.format", .value = "2"}, /* without mix.drop */
                                    {.key = "mix.drop", .value = "61"},
                                    {.key = "mix.probability", .value = "1 1 0 0 0"},
                                    {.key = "mix.unmixed", .value = "-1"}};
  with.mixing =
      (struct mask_mixing){.mixes = true, .unmixed = 0.3f, .probability = {0, 0, 0.1f, 0.2f, 0, 0, 0.7f}};
  if (model_save(decoyed, graph, &with, &err) != 0)
    fail_msg("%s", err.text);
  for (size_t i = 0; i <= ARRAY_SIZE(harmless); i++) {
    _cleanup_(model_freep) struct model *model = NULL;
    if (i < ARRAY_SIZE(harmless)) {
      assert_int_equal(load_damaged(decoyed, &harmless[i], NULL), 0);
      continue;
    }
    assert_int_equal(model_load(decoyed, 1, 1, &model, NULL), 0);
    assert_memory_equal(&model->info.mixing, &with.mixing, sizeof(with.mixing));
  }
  for (int alone = 0; alone < 2; alone++) { /* those that lose frequencies */
    _cleanup_(model_freep) struct model *model = NULL;
    with.mixing.protection = (struct mix_protection){.drop = 6, .alone = alone};
    assert_int_equal(model_save(decoyed, graph, &with, &err), 0);
    assert_int_equal(model_load(decoyed, 1, 1, &model, NULL), 0);
    assert_memory_equal(&model->info.mixing, &with.mixing, sizeof(with.mixing));
  }
  _cleanup_(model_freep) struct model *model = NULL;
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  assert_false(model->info.mixing.mixes);
}

/* Both flips: the raw embeddings are added, then scaled. Mirrored images must give the same sum. */
static void flip_sum_is_symmetric(void **state) {
  (void)state;
  float straight[FACES * EMBEDDING], mirrored[FACES * EMBEDDING], one[FACES * EMBEDDING];
  static uint8_t saved[FACES][PIXELS];
  embed(graph, 4, true, straight);
  embed(graph, 4, false, one);
  memcpy(saved, pixels, sizeof(pixels));
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t y = 0; y < SIZE; y++)
      for (uint32_t x = 0; x < SIZE; x++)
        memcpy(&pixels[f][(y * SIZE + x) * 3], &saved[f][(y * SIZE + SIZE - 1 - x) * 3], 3);
  embed(graph, 4, true, mirrored);
  memcpy(pixels, saved, sizeof(pixels));
  for (uint32_t i = 0; i < FACES; i++) {
    assert_true(cosine(straight + i * EMBEDDING, mirrored + i * EMBEDDING) > 1 - 1e-5);
    assert_true(cosine(straight + i * EMBEDDING, one + i * EMBEDDING) < 1 - 1e-4);
  }
}

static void both_views_at_once(void **state) {
  (void)state;
  check_both(1);
}

static bool stop_second(void *count) {
  return (*(uint32_t *)count)++ == 1;
}

static void embedding_stops_and_refuses(void **state) {
  (void)state;
  float out[FACES * EMBEDDING];
  uint32_t asked = 0;
  assert_int_equal(
      embed_images(graph, mask, 4, EMBEDDING, test_image, NULL, FACES, false, out, stop_second, &asked, NULL),
      -ECANCELED);
  assert_int_equal(asked, 2);
  assert_int_equal(
      embed_images(graph, mask, 0, EMBEDDING, test_image, NULL, FACES, false, out, NULL, NULL, NULL),
      -EINVAL);
  struct graph *broken = new_graph(4, 1);
  struct graph_parameter *p = graph_parameter(broken, graph_parameters(broken) - 1);
  struct guise_error err = {0};
  for (size_t i = 0; i < p->count; i++)
    p->value[i] = NAN;
  graph_parameters_changed(broken);
  assert_int_equal(
      embed_images(broken, mask, 4, EMBEDDING, test_image, NULL, FACES, false, out, NULL, NULL, &err), -EDOM);
  graph_free(broken);
}

static void no_class_head_and_no_names(void **state) {
  (void)state;
  struct safetensors *file = NULL;
  assert_int_equal(safetensors_open(path, &file, NULL), 0);
  assert_int_equal(safetensors_count(file), graph_parameters(graph) + 3);
  for (uint32_t i = 0; i < safetensors_count(file); i++)
    assert_null(strstr(safetensors_at(file, i)->name, "head"));
  assert_string_equal(json_string_value(json_object_get(safetensors_metadata(file), "format")),
                      "guise-model-1");
  safetensors_free(file);
}

static void damaged_models_are_refused(void **state) {
  (void)state;
  const char *weight = graph_parameter(graph, 0)->name;
  const struct damage cases[] = {
      {.key = "format", .value = "guise-model-2"},
      {.key = "format"},
      {.key = "arch", .value = "resnet9000"},
      {.key = "mask", .value = "paint"},
      {.key = "input", .value = "33"},
      {.key = "input", .value = "1000000"},
      {.key = "input", .value = "-32"},
      {.key = "input", .value = "32 "},
      {.key = "input"},
      {.key = "embedding", .value = "0"},
      {.key = "embedding", .value = "23"},
      {.key = "embedding", .value = "99999999999999999999999"},
      {.key = "width", .value = "nan"},
      {.key = "width", .value = "1"},
      {.key = "width", .value = "1e9"},
      {.key = "dropout", .value = "1"},
      {.key = "mask.drop_low", .value = "61"},
      {.key = "mask.clip", .value = "inf"},
      {.key = "mask.pixel_scale", .value = "0"},
      {.tensor = weight},
      {.tensor = weight, .transpose = true},
      {.tensor = weight, .relabel = true},
      {.tensor = weight, .nan = true},
      {.tensor = "mask.mean"},
      {.tensor = "mask.mean", .nan = true},
      {.tensor = "mask.deviation", .nan = true},
      {.tensor = "mask.deviation", .transpose = true},
      {.tensor = "mask.channel", .relabel = true},
      {.tensor = "mask.channel", .shift = true},
      {.tensor = "mask.channel"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    int r = load_damaged(path, &cases[i], &err);
    if (r != -EBADMSG)
      fail_msg("case %zu (%s%s): %d %s", i, cases[i].key ? cases[i].key : "",
               cases[i].tensor ? cases[i].tensor : "", r, err.text);
    assert_true(strlen(err.text) > 10);
  }
  const struct damage harmless = {.key = "training.job"};
  assert_int_equal(load_damaged(path, &harmless, NULL), 0);
}

/* The network undoes the key, whatever it is: the same weights under two keys embed alike. Without its key a
 * model does not load, and nothing of the key is in its file. */
static void keyed_models_need_their_key(void **state) {
  (void)state;
  float without[FACES * EMBEDDING], with[FACES * EMBEDDING], loaded[FACES * EMBEDDING];
  const uint8_t *rgb[FACES];
  struct guise_error err = {0};
  struct mask_key key, other;
  _cleanup_(model_freep) struct model *model = NULL;
  memset(&key, 5, sizeof(key));
  memset(&other, 6, sizeof(other));
  for (uint32_t i = 0; i < FACES; i++)
    rgb[i] = pixels[i];
  embed(graph, 4, false, without);
  assert_int_equal(mask_set_key(mask, &key, NULL), 0);
  struct graph *keyed = new_graph(4, 3);
  embed(keyed, 4, false, with);
  assert_memory_equal(without, with, sizeof(with));
  struct model_info named = info;
  mask_key_id(&key, named.key_id);
  assert_int_equal(model_save(damaged, keyed, &named, NULL), 0);
  assert_int_equal(mask_set_key(mask, NULL, NULL), 0);
  graph_free(keyed);
  assert_int_equal(model_load(damaged, 1, 1, &model, &err), -ENOKEY);
  assert_non_null(strstr(err.text, named.key_id));
  assert_int_equal(model_load_keyed(damaged, &other, 1, 1, &model, &err), -ENOKEY);
  assert_int_equal(model_load_keyed(path, &key, 1, 1, &model, &err), -EINVAL);
  assert_null(model);
  if (model_load_keyed(damaged, &key, 4, 1, &model, &err) != 0)
    fail_msg("%s", err.text);
  assert_string_equal(mask_keyed_by(model->mask), named.key_id);
  assert_int_equal(model_embed(model, rgb, FACES, false, loaded, &err), 0);
  for (uint32_t i = 0; i < FACES; i++)
    assert_true(cosine(loaded + i * EMBEDDING, with + i * EMBEDDING) > 0.9999);
  char *a = NULL, *b = NULL;
  size_t bytes = 0, more = 0;
  assert_int_equal(file_read(path, 1u << 26, &a, &bytes, NULL), 0);
  assert_int_equal(file_read(damaged, 1u << 26, &b, &more, NULL), 0);
  /* the same tensors, to the byte; the head tells the key's id alone */
  const size_t tail = bytes - 65536;
  assert_true(bytes > 131072 && more > bytes - 8);
  assert_memory_equal(a + tail, b + more - 65536, 65536);
  assert_null(memmem(b, more, key.secret, sizeof(key.secret)));
  free(a);
  free(b);
}

static void other_files_are_refused(void **state) {
  (void)state;
  struct model *model = NULL;
  struct guise_error err;
  assert_int_equal(model_load("/nonexistent", 1, 1, &model, &err), -ENOENT);
  assert_int_equal(model_load(path, 0, 1, &model, &err), -EINVAL);
  assert_int_equal(safetensors_write(damaged, NULL, 0, NULL, NULL), 0);
  assert_int_equal(model_load(damaged, 1, 1, &model, &err), -EBADMSG);
  assert_null(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(loaded_model_embeds_the_same),
      cmocka_unit_test(information_comes_back),
      cmocka_unit_test(mixing_comes_back),
      cmocka_unit_test(every_mask_comes_back),
      cmocka_unit_test(flip_sum_is_symmetric),
      cmocka_unit_test(both_views_at_once),
      cmocka_unit_test(embedding_stops_and_refuses),
      cmocka_unit_test(no_class_head_and_no_names),
      cmocka_unit_test(damaged_models_are_refused),
      cmocka_unit_test(keyed_models_need_their_key),
      cmocka_unit_test(other_files_are_refused),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
