/* Decoys: which ones, how they are mixed in, and templates against the sum written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/mask/decoys.h"

#define SIZE 32u
#define PIXELS (SIZE * SIZE * 3)
#define FACES 8u

static uint8_t pixels[FACES][PIXELS];

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

static int draw_faces(void **state) {
  (void)state;
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 1, 1);
  for (uint32_t f = 0; f < FACES; f++)
    for (uint32_t i = 0; i < PIXELS; i++)
      pixels[f][i] = (uint8_t)((i * (f + 1) / 40 + rng_below(&rng, 60)) & 255);
  return 0;
}

static struct mask *fitted_mask(void) {
  const struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  struct mask *mask = NULL;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, test_image, NULL, FACES, NULL), 0);
  return mask;
}

static struct decoys *make_decoys(const struct mask *mask, uint32_t count, uint32_t mixes) {
  const size_t elements = mask_elements(mask);
  float *templates = tensor_alloc(count * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  struct decoys *decoys = NULL;
  for (uint32_t d = 0; d < count; d++)
    mask_template(mask, pixels[d % FACES], d >= FACES, NULL, scratch, templates + d * elements);
  assert_int_equal(decoys_new(count, mixes, elements, templates, &decoys, NULL), 0);
  tensor_free(templates);
  tensor_free(scratch);
  return decoys;
}

static void draws(void **state) {
  (void)state;
  static const uint32_t counts[] = {1, 3, 5, 16};
  struct mask *mask = fitted_mask();
  for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
    struct decoys *decoys = make_decoys(mask, counts[c], DECOY_MIXES);
    double mean = 0;
    for (uint32_t draw = 0; draw < 1000; draw++) {
      struct mix mix, again;
      float sum = 0;
      decoys_draw(decoys, draw, draw & 1, draw % DECOY_MIXES, &mix);
      decoys_draw(decoys, draw, draw & 1, draw % DECOY_MIXES, &again);
      assert_memory_equal(&mix, &again, sizeof(mix));
      assert_int_equal(mix.k, 1 + MIN(counts[c], MIX_MAX - 1u));
      assert_true(mix.lambda[0] >= 0.5f && mix.lambda[0] <= 0.65f);
      for (uint32_t j = 0; j < mix.k; j++)
        sum += mix.lambda[j];
      assert_true(fabsf(sum - 1) < 1e-5f);
      for (uint32_t j = 1; j < mix.k; j++) {
        assert_true(mix.member[j] < counts[c] && mix.lambda[j] > 0);
        for (uint32_t i = 1; i < j; i++)
          assert_int_not_equal(mix.member[i], mix.member[j]);
      }
      mean += (double)mix.lambda[0] / 1000;
    }
    assert_true(fabs(mean - 0.575) < 0.01);
    decoys_free(decoys);
  }
  mask_free(mask);
}

static void inference_templates(void **state) {
  (void)state;
  struct mask *mask = fitted_mask();
  const size_t elements = mask_elements(mask);
  struct decoys *decoys = make_decoys(mask, 3, DECOY_MIXES);
  float *plain = tensor_alloc(elements * sizeof(float)), *mixed = tensor_alloc(elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  struct rng rng;
  mask_rng_inference(&rng, 0);
  assert_int_equal(mask_inference_mixes(mask), 1);
  mask_template(mask, pixels[6], true, NULL, scratch, plain);
  mask_inference_template(mask, pixels[6], true, 0, &rng, scratch, mixed);
  assert_memory_equal(plain, mixed, elements * sizeof(float)); /* nothing of it without decoys */
  assert_int_equal(mask_set_decoys(mask, decoys, NULL), 0);
  assert_ptr_equal(mask_decoys(mask), decoys);
  assert_int_equal(mask_inference_mixes(mask), DECOY_MIXES);
  float lambda = 0;
  for (uint32_t t = 0; t < DECOY_MIXES; t++) {
    struct mix mix;
    mask_inference_template(mask, pixels[6], true, t, &rng, scratch, mixed);
    decoys_draw(decoys, decoys_seed(pixels[6], PIXELS), true, t, &mix);
    for (size_t e = 0; e < elements; e++) {
      double want = (double)mix.lambda[0] * (double)plain[e];
      for (uint32_t j = 1; j < mix.k; j++)
        want += (double)mix.lambda[j] * (double)decoys->templates[mix.member[j] * elements + e];
      assert_true(fabs(want - (double)mixed[e]) < 1e-5);
    }
    assert_true(mix.lambda[0] != lambda); /* each t is a mix of its own */
    lambda = mix.lambda[0];
  }
  tensor_free(plain);
  tensor_free(mixed);
  tensor_free(scratch);
  mask_free(mask);
}

/* One pixel more or less makes other draws. */
static void seeds(void **state) {
  (void)state;
  uint8_t image[PIXELS];
  memcpy(image, pixels[0], PIXELS);
  const uint64_t seed = decoys_seed(image, PIXELS);
  assert_true(seed == decoys_seed(pixels[0], PIXELS));
  for (uint32_t i = 0; i < PIXELS; i += 17) {
    image[i] ^= 0x80;
    assert_true(decoys_seed(image, PIXELS) != seed);
    image[i] ^= 0x80;
  }
}

static void choice(void **state) {
  (void)state;
  static const uint32_t identity[10] = {0, 0, 0, 0, 1, 1, 2, 3, 3, 3};
  uint32_t chosen[4], again[4];
  struct guise_error err = {0};
  for (uint64_t seed = 0; seed < 50; seed++) {
    assert_int_equal(decoys_choose(seed, identity, 10, 4, 4, chosen, &err), 0);
    assert_int_equal(decoys_choose(seed, identity, 10, 4, 4, again, &err), 0);
    assert_memory_equal(chosen, again, sizeof(chosen));
    for (uint32_t i = 0; i < 4; i++)
      for (uint32_t j = 0; j < i; j++)
        assert_int_not_equal(identity[chosen[i]], identity[chosen[j]]);
  }
  assert_int_equal(decoys_choose(0, identity, 10, 4, 5, chosen, &err), -EINVAL);
  assert_non_null(strstr(err.text, "mask.decoys"));
}

static void errors(void **state) {
  (void)state;
  float templates[4] = {0, 1, NAN, 0};
  struct decoys *decoys = NULL;
  struct guise_error err = {0};
  struct mask *mask = fitted_mask();
  assert_int_equal(decoys_new(0, 1, 4, templates, &decoys, &err), -EINVAL);
  assert_int_equal(decoys_new(DECOYS_MAX + 1, 1, 4, templates, &decoys, &err), -EINVAL);
  assert_int_equal(decoys_new(1, 0, 4, templates, &decoys, &err), -EINVAL);
  assert_int_equal(decoys_new(1, DECOY_MIXES_MAX + 1, 4, templates, &decoys, &err), -EINVAL);
  assert_int_equal(decoys_new(1, 1, 4, templates, &decoys, &err), -EINVAL);
  assert_non_null(strstr(err.text, "not numbers"));
  assert_null(decoys);
  assert_int_equal(decoys_new(1, 1, 2, templates, &decoys, &err), 0);
  assert_int_equal(mask_set_decoys(mask, decoys, &err), -EINVAL); /* of another size: still the caller's */
  assert_null(mask_decoys(mask));
  decoys_free(decoys);
  assert_null(decoys_free(NULL));
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(draws), cmocka_unit_test(inference_templates),
                                     cmocka_unit_test(seeds), cmocka_unit_test(choice),
                                     cmocka_unit_test(errors)};
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
