/* Decoys that the attacker knows: what is left of a face's templates when they are taken out, and that the
 * linear attack does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/attack.h"
#include "core/attack/faces.h"
#include "core/attack/subtract.h"
#include "core/base/memory.h"
#include "core/image/synth.h"

#define SIZE 64
#define PEOPLE 24
#define VICTIMS 8
#define PIXELS ((size_t)SIZE * SIZE * 3)

static uint8_t pixels[PEOPLE][PIXELS];
static uint32_t identity[PEOPLE];
static struct mask *mask;
static size_t elements;

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}
static const uint8_t *public_image(void *context, uint32_t i) {
  (void)context;
  return pixels[VICTIMS + i];
}

static int set_up(void **state) {
  (void)state;
  for (uint32_t p = 0; p < PEOPLE; p++) {
    identity[p] = p;
    synth_face(5, p, 0, SIZE, pixels[p]);
  }
  const struct mask_options options = mask_options_default(MASK_AHM, SIZE);
  if (mask_new(&options, &mask, NULL) != 0 || mask_fit(mask, test_image, NULL, PEOPLE, NULL) != 0)
    return -1;
  elements = mask_elements(mask);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mask_free(mask);
  return 0;
}

static struct decoys *make_decoys(uint32_t count) {
  struct decoys *decoys = NULL;
  float *templates = tensor_alloc(count * elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  for (uint32_t d = 0; d < count; d++)
    mask_template(mask, pixels[VICTIMS + d], false, NULL, scratch, templates + d * elements);
  assert_int_equal(decoys_new(count, DECOY_MIXES, elements, templates, &decoys, NULL), 0);
  tensor_free(templates);
  tensor_free(scratch);
  return decoys;
}

/* |a - scale b|^2 / |b|^2 for the best scale. */
static double error_of(const float *a, const float *b) {
  double aa = 0, ab = 0, bb = 0;
  for (size_t e = 0; e < elements; e++) {
    aa += (double)a[e] * (double)a[e];
    ab += (double)a[e] * (double)b[e];
    bb += (double)b[e] * (double)b[e];
  }
  return 1 - ab * ab / (aa * bb);
}

static void faces_come_back(void **state) {
  (void)state;
  static const uint32_t counts[] = {1, 3, 5, 16};
  float *z = tensor_alloc(elements * sizeof(float)), *estimate = tensor_alloc(elements * sizeof(float)),
        *seen = tensor_alloc(DECOY_MIXES * elements * sizeof(float)),
        *mean = tensor_alloc(elements * sizeof(float)),
        *scratch = tensor_alloc(mask_scratch(mask) * sizeof(float));
  for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
    struct decoys *decoys = make_decoys(counts[c]);
    double left = 0, untouched = 0, scale = 0;
    for (uint32_t f = 0; f < VICTIMS; f++) {
      struct mix first;
      const uint64_t seed = decoys_seed(pixels[f], PIXELS);
      mask_template(mask, pixels[f], false, NULL, scratch, z);
      memset(mean, 0, elements * sizeof(float));
      for (uint32_t t = 0; t < DECOY_MIXES; t++) {
        memcpy(seen + t * elements, z, elements * sizeof(float));
        decoys_apply(decoys, seed, false, t, seen + t * elements);
        for (size_t e = 0; e < elements; e++)
          mean[e] += seen[t * elements + e];
      }
      untouched += error_of(mean, z) / VICTIMS;
      const double lambda = subtract_decoys(decoys, seen, estimate);
      left += error_of(estimate, z) / VICTIMS;
      decoys_draw(decoys, seed, false, 0, &first);
      scale += fabs(lambda / (double)first.lambda[0] - 1) / VICTIMS;
    }
    if (!(left < 0.02 && left < 0.1 * untouched && scale < 0.08))
      fail_msg("%u decoys: %.4f of a face's energy is wrong, %.4f before; its scale by %.3f", counts[c], left,
               untouched, scale);
    decoys_free(decoys);
  }
  tensor_free(z);
  tensor_free(estimate);
  tensor_free(seen);
  tensor_free(mean);
  tensor_free(scratch);
}

/* Degenerate templates, as an untrusted model may hold: all zero, twice the same. */
static void broken_decoys_break_nothing(void **state) {
  (void)state;
  float *templates = tensor_alloc(3 * elements * sizeof(float)),
        *seen = tensor_alloc(2 * elements * sizeof(float)),
        *estimate = tensor_alloc(elements * sizeof(float));
  struct decoys *decoys = NULL;
  for (size_t e = 0; e < elements; e++) {
    templates[elements + e] = templates[2 * elements + e] = (float)(e % 7) - 3;
    seen[e] = seen[elements + e] = (float)(e % 5) - 2;
  }
  assert_int_equal(decoys_new(3, 2, elements, templates, &decoys, NULL), 0);
  assert_true(isfinite(subtract_decoys(decoys, seen, estimate)));
  for (size_t e = 0; e < elements; e++)
    assert_true(isfinite(estimate[e]));
  memset(seen, 0, 2 * elements * sizeof(float));
  assert_true(isfinite(subtract_decoys(decoys, seen, estimate)));
  for (size_t e = 0; e < elements; e++)
    assert_true(isfinite(estimate[e]));
  decoys_free(decoys);
  tensor_free(templates);
  tensor_free(seen);
  tensor_free(estimate);
}

static struct attack_result run(const struct attack_context *context) {
  struct attack_result result;
  struct guise_error err = {0};
  if (attack_run(attack_find("linear"), context, &result, &err) != 0)
    fail_msg("%s", err.text);
  return result;
}

static struct attack_context context_of(void) {
  return (struct attack_context){.victims = {test_image, NULL, identity, VICTIMS, NULL},
                                 .mask = mask,
                                 .mixing = {.unmixed = 0, .probability = {[3] = 1}},
                                 .effort = EFFORT_QUICK,
                                 .seed = 3,
                                 .threads = 2};
}

static const struct attack_surface_result *surface_of(const struct attack_result *result,
                                                      enum attack_surface which) {
  for (uint32_t s = 0; s < result->surfaces; s++)
    if (result->surface[s].surface == which)
      return &result->surface[s];
  fail_msg("the surface is missing");
  return NULL;
}

/* Decoys are no protection against who knows them: the attack gets nearly as far as without. */
static void the_attack_subtracts(void **state) {
  (void)state;
  struct attack_context context = context_of();
  double ssim[2];
  for (int with = 0; with < 2; with++) {
    assert_int_equal(mask_set_decoys(mask, with ? make_decoys(5) : NULL, NULL), 0);
    struct attack_result result = run(&context);
    const struct attack_surface_result *surface = surface_of(&result, SURFACE_INFERENCE_TEMPLATES);
    ssim[with] = surface->metric[0].value.mean;
    assert_true((strstr(surface->threat_model, "decoys") != NULL) == (with == 1));
    attack_result_done(&result);
  }
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
  if (!(ssim[1] > 0.9 * ssim[0]))
    fail_msg("SSIM %.3f with decoys, %.3f without", ssim[1], ssim[0]);
}

/* Public faces in a training mix are no secrets: only the private ones count as recovered. */
static void public_partners(void **state) {
  (void)state;
  struct attack_context context = context_of();
  context.mixing.pool = MIX_POOL_PUBLIC;
  context.mixing.partners =
      (struct attack_faces){public_image, NULL, identity + VICTIMS, PEOPLE - VICTIMS, NULL};
  struct face_sample sample;
  assert_int_equal(face_sample_draw(&context.victims, UINT32_MAX, 1, &sample), 0);
  sample.partners = &context.mixing.partners;
  for (uint32_t i = 0; i < sample.count; i++) {
    struct mix mix;
    face_sample_mix(&sample, &context.mixing, i, 1, &mix);
    assert_int_equal(mix.k, 3);
    assert_int_equal(mix.labels, 1);
    for (uint32_t j = 1; j < mix.k; j++) {
      assert_false(face_sample_owns(&sample, mix.member[j]));
      assert_ptr_equal(face_sample_image(&sample, mix.member[j]),
                       pixels[VICTIMS + mix.member[j] - sample.count]);
    }
    assert_true(face_sample_stranger(&sample, &mix, i, 0, 1) < sample.count);
  }
  face_sample_done(&sample);
  struct attack_result result = run(&context);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_TRAINING_TEMPLATES);
  /* one private face in each mix: the likest and the heaviest are the same */
  assert_true(surface->metric[0].value.mean == surface->metric[2].value.mean);
  assert_true(surface->mean_k == 3);
  attack_result_done(&result);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(faces_come_back), cmocka_unit_test(broken_decoys_break_nothing),
      cmocka_unit_test(the_attack_subtracts), cmocka_unit_test(public_partners)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
