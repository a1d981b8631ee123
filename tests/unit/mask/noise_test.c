/* Methods that add noise: it has the size that is stated, wherever it goes, and to guess what it hides helps.
 */
#include "core/freq/dct.h"
#include "core/mask/dctdp.h"
#include "unit/mask/fitted.h"

/* ---- dctdp ---- */

/* Noise of scale 2 bound / budget, divided by the cell's share of it where there are shares: mean |noise| is
 * the scale, its median magnitude ln 2 of it. */
static void check_noise(const struct mask *mask, uint32_t channel, double scale, const float *shares) {
  enum { DRAWS = 400 };
  struct work work = work_for(mask);
  struct mask_options bare = mask_options_default(MASK_NONE, SIDE);
  const size_t cells = (size_t)mask_grid(mask) * mask_grid(mask);
  bare.drop_low = mask_options(mask)->drop_low;
  bare.clip = mask_options(mask)->clip;
  struct mask *plain = made(&bare);
  assert_int_equal(mask_set_constants(plain, mask_constants(mask), NULL), 0);
  struct work clean = work_for(plain);
  mask_template(plain, faces[0], false, NULL, clean.scratch, clean.template_);
  double size = 0, below = 0, mean = 0;
  for (uint32_t draw = 0; draw < DRAWS; draw++) {
    struct rng rng;
    rng_init(&rng, 4, RNG_MASK, draw, 0);
    mask_template(mask, faces[0], false, &rng, work.scratch, work.template_);
    for (size_t i = channel * cells; i < (channel + 1) * cells; i++) {
      const double noise =
          ((double)work.template_[i] - (double)clean.template_[i]) * (shares ? (double)shares[i] : 1);
      mean += noise / (DRAWS * (double)cells);
      size += fabs(noise) / (DRAWS * (double)cells);
      below += fabs(noise) < 0.6931471805599453 * scale;
    }
  }
  const double deviations = 5 / sqrt(DRAWS * (double)cells);
  assert_true(fabs(mean) < deviations * sqrt(2) * scale);
  assert_true(fabs(size / scale - 1) < deviations);
  assert_true(fabs(below / (DRAWS * (double)cells) - 0.5) < deviations / 2);
  work_done(&work);
  work_done(&clean);
  mask_free(plain);
}

static void laplace_noise_has_the_stated_scale(void **state) {
  (void)state;
  struct mask_guarantee guarantee;
  struct mask *mask = fitted(MASK_DCTDP, MASK_DCT_NATIVE);
  struct mask_constants k = *mask_constants(mask);
  check_noise(mask, 5, 2 * 3 / 1.0, NULL);
  assert_true(mask_guarantee(mask_options(mask), &k, mask_weights(mask), &guarantee));
  assert_true(guarantee.epsilon == 1 && guarantee.delta == 0);
  k.learnt_count = 192, refused_constants(mask, &k);
  k.learnt_count = 0, k.clip = 0, refused_constants(mask, &k);
  mask_free(mask);
}

/* Each value has its own noise, the mean budget stays, the largest is the promise; from a file they are
 * hostile. */
static void budgets_share_out_epsilon(void **state) {
  (void)state;
  struct mask_guarantee guarantee;
  struct guise_error err = {0};
  struct mask_options options = mask_options_default(MASK_DCTDP, SIDE);
  options.parameter[DCTDP_EPSILON] = 2;
  options.parameter[DCTDP_LEARNT] = 1;
  struct mask *mask = made(&options);
  const size_t count = mask_weight_count(&options);
  assert_int_equal(count, mask_elements(mask));
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), -EINVAL); /* has learnt nothing */
  float *weights = calloc(count, sizeof(float)), *shares = calloc(count, sizeof(float));
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    weights[i] = (float)(1 + i % 7 + i / 16 % 3);
    sum += (double)weights[i];
  }
  for (size_t i = 0; i < count; i++)
    shares[i] = (float)((double)weights[i] * (double)count / sum);
  assert_int_equal(mask_set_weights(mask, weights, count, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  check_noise(mask, 5, 2 * 3 / 2.0, shares);
  check_noise(mask, 6, 2 * 3 / 2.0, shares);
  assert_true(mask_guarantee(&options, mask_constants(mask), mask_weights(mask), &guarantee));
  assert_true(fabs(guarantee.epsilon - 2 * 9 * (double)count / sum) < 1e-6);
  assert_non_null(strstr(guarantee.text, "budget of its own"));
  assert_non_null(strstr(guarantee.text, "not covered"));
  static const float hostile[] = {0, -1, 1e-7f, NAN, INFINITY};
  for (size_t h = 0; h < ARRAY_SIZE(hostile); h++) {
    weights[9] = hostile[h];
    assert_int_equal(mask_set_weights(mask, weights, count, &err), -EINVAL);
  }
  assert_true(mask_weights(mask)[9] > 0); /* the old ones stay */
  options.parameter[DCTDP_LEARNT] = 0.5;
  assert_int_equal(mask_check_options(&options, &err), -EINVAL);
  free(weights);
  free(shares);
  mask_free(mask);
}

/* With measured sensitivity no value of the fit is clamped, and others are. */
static void measured_sensitivity(void **state) {
  (void)state;
  struct mask_options options = mask_options_default(MASK_DCTDP, SIDE);
  options.clip = 0;
  assert_int_equal(mask_check_options(&options, NULL), -EINVAL);
  options.parameter[DCTDP_MEASURED] = 0.5;
  assert_int_equal(mask_check_options(&options, NULL), -EINVAL);
  options.parameter[DCTDP_MEASURED] = 1;
  struct mask *mask = made(&options);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  const struct mask_constants *k = mask_constants(mask);
  struct mask_options bare = mask_options_default(MASK_NONE, SIDE);
  bare.drop_low = 1;
  struct mask *plain = made(&bare);
  assert_int_equal(mask_set_constants(plain, k, NULL), 0);
  struct work work = work_for(plain);
  float largest[192] = {0};
  for (uint32_t f = 0; f < FACES; f++) {
    mask_template(plain, faces[f], false, NULL, work.scratch, work.template_);
    for (size_t i = 0; i < mask_elements(plain); i++)
      largest[i / 16] = fmaxf(largest[i / 16], fabsf(work.template_[i]));
  }
  for (uint32_t c = 0; c < k->channels; c++)
    assert_true(fabsf(largest[c] - k->reach[c]) < 1e-3f * k->reach[c] && k->reach[c] > 0.5f);
  check_noise(mask, 5, 2 * (double)k->reach[5], NULL);
  struct mask_constants bad = *k;
  memset(bad.reach, 0, sizeof(bad.reach));
  refused_constants(mask, &bad);
  work_done(&work);
  mask_free(plain);
  mask_free(mask);
}

/* ---- ldp_slicing ---- */

static double mean_square(const float *a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < PIXELS; i++)
    sum += (double)((a[i] - b[i]) * (a[i] - b[i])) / PIXELS;
  return sum;
}

/* Without the mean of each 2x2 block. */
static void high_pass(const uint8_t *rgb, float ret_planar[PIXELS]) {
  float planar[PIXELS];
  rgb_to_ycbcr(rgb, SIDE, false, planar);
  for (size_t i = 0; i < PIXELS; i++) {
    const size_t block = i / (2 * SIDE) * 2 * SIDE + i % SIDE / 2 * 2;
    ret_planar[i] =
        planar[i] - (planar[block] + planar[block + 1] + planar[block + SIDE] + planar[block + SIDE + 1]) / 4;
  }
}

/* The transform alone, with the constants of a mask that keeps all coefficients. */
static struct mask *bare_of(const struct mask *mask) {
  struct mask_options bare = mask_options_default(MASK_NONE, SIDE);
  bare.dct = mask_options(mask)->dct;
  bare.drop_low = mask_options(mask)->drop_low;
  struct mask *plain = made(&bare);
  assert_int_equal(mask_set_constants(plain, mask_constants(mask), NULL), 0);
  return plain;
}

/* A grey picture has bytes 128 everywhere: every bit that differs was flipped. */
static void bits_are_flipped_as_stated(void **state) {
  (void)state;
  static const double weight[3] = {4, 1, 1};
  enum { PICTURES = 40, AREA = SIDE * SIDE };
  struct mask_options options = mask_options_default(MASK_LDP_SLICING, SIDE);
  uint8_t grey[PIXELS];
  uint32_t flips[3][8] = {{0}};
  double sum = 0;
  struct mask *mask = made(&options), *plain = bare_of(mask);
  struct work work = work_for(mask);
  memset(grey, 128, sizeof(grey));
  for (uint32_t picture = 0; picture < PICTURES; picture++) {
    struct rng rng;
    rng_init(&rng, 11, RNG_MASK, picture, 0);
    mask_template(mask, grey, false, &rng, work.scratch, work.template_);
    mask_invert(plain, work.template_, work.scratch, work.planar);
    for (size_t i = 0; i < PIXELS; i++)
      for (uint32_t bit = 0; bit < 8; bit++)
        flips[i / AREA][bit] += ((uint32_t)lrintf(work.planar[i] + 128) ^ 128u) >> bit & 1u;
  }
  for (int c = 0; c < 3; c++)
    for (int bit = 0; bit < 8; bit++)
      sum += sqrt(weight[c] * (1 << bit));
  for (int c = 0; c < 3; c++)
    for (int bit = 0; bit < 8; bit++) {
      const double budget = 20 * sqrt(weight[c] * (1 << bit)) / sum, p = 1 / (1 + exp(budget));
      const double n = (double)PICTURES * AREA, deviation = sqrt(p * (1 - p) * n);
      if (fabs(flips[c][bit] - p * n) > 4.5 * deviation)
        fail_msg("colour %d, bit %d: %u flips, %g +- %g expected", c, bit, flips[c][bit], p * n, deviation);
    }
  work_done(&work);
  mask_free(plain);
  mask_free(mask);
}

/* Mean squares of what is left wrong of the high-pass picture, of what was dropped too, and of the bytes
 * taken as they are. */
static void guess_bytes(enum mask_dct dct, uint32_t drop_low, double *ret_guessed, double *ret_taken) {
  struct mask_options options = mask_options_default(MASK_LDP_SLICING, SIDE);
  options.dct = dct;
  options.drop_low = drop_low;
  struct mask *mask = made(&options);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  struct mask *plain = bare_of(mask);
  struct work work = work_for(mask);
  float truth[PIXELS], *guess = calloc(mask_elements(mask), sizeof(float));
  *ret_guessed = *ret_taken = 0;
  for (uint32_t f = 0; f < 10; f++) {
    struct rng rng;
    mask_rng_inference(&rng, f);
    high_pass(faces[f], truth);
    mask_template(mask, faces[f], false, &rng, work.scratch, work.template_);
    mask_invert(plain, work.template_, work.scratch, work.planar);
    *ret_taken += mean_square(work.planar, truth) / 10;
    mask_invert(mask, work.template_, work.scratch, work.planar);
    *ret_guessed += mean_square(work.planar, truth) / 10;
    memcpy(guess, work.template_, mask_elements(mask) * sizeof(float));
    mask_denoise(mask, guess, work.scratch);
    mask_invert(plain, guess, work.scratch, truth); /* the same picture, as a template */
    assert_true(mean_square(work.planar, truth) < 1e-4);
  }
  free(guess);
  work_done(&work);
  mask_free(plain);
  mask_free(mask);
}

static void bytes_are_guessed(void **state) {
  (void)state;
  double power = 0;
  for (uint32_t f = 0; f < 10; f++) {
    float truth[PIXELS];
    static const float nothing[PIXELS];
    high_pass(faces[f], truth);
    power += mean_square(truth, nothing) / 10;
  }
  static const struct {
    enum mask_dct dct;
    uint32_t drop_low;
  } forms[] = {{MASK_DCT_NATIVE, 0}, {MASK_DCT_NATIVE, 3}, {MASK_DCT_UPSAMPLED, 0}};
  for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
    double guessed, taken;
    guess_bytes(forms[i].dct, forms[i].drop_low, &guessed, &taken);
    print_message("%s, %u dropped: %.1f of %.1f grey levels squared, %.1f taken as they are\n",
                  mask_dct_name(forms[i].dct), forms[i].drop_low, guessed, power, taken);
    assert_true(guessed < 0.05 * taken && guessed < 0.9 * power);
  }
}

/* ---- regional ---- */

static void full_strength_leaves_nothing(void **state) {
  (void)state;
  struct mask_options options = mask_options_default(MASK_REGIONAL, 112);
  struct mask *mask;
  static uint8_t a[112 * 112 * 3], b[112 * 112 * 3];
  const double strengths[4] = {1, 0, 0, 0}; /* eyes alone */
  memcpy(options.parameter, strengths, sizeof(strengths));
  mask = made(&options);
  struct work first = work_for(mask), second = work_for(mask);
  struct rng rng;
  synth_face(5, 1, 0, 112, a);
  synth_face(5, 2, 0, 112, b);
  rng_init(&rng, 1, RNG_MASK, 0, 0);
  mask_template(mask, a, false, &rng, first.scratch, first.template_);
  rng_init(&rng, 1, RNG_MASK, 0, 0);
  mask_template(mask, b, false, &rng, second.scratch, second.template_);
  for (uint32_t row = 0; row < 14; row++)
    for (uint32_t column = 0; column < 14; column++) {
      const bool eyes = row >= 3 && row < 6 && column >= 2 && column < 12;
      bool same = true;
      for (uint32_t c = 0; c < 192; c++)
        same &= first.template_[c * 196 + row * 14 + column] == second.template_[c * 196 + row * 14 + column];
      assert_int_equal(same, eyes); /* the same noise, whoever it was */
    }
  work_done(&first);
  work_done(&second);
  mask_free(mask);
}

/* ---- the guesses at what was perturbed beat taking the template as it is ---- */

static void restoring_helps(void **state) {
  (void)state;
  static const enum mask_method perturbed[] = {MASK_DCTDP, MASK_REGIONAL, MASK_LDP_SLICING};
  for (size_t m = 0; m < ARRAY_SIZE(perturbed); m++) {
    struct mask *mask = fitted(perturbed[m], MASK_DCT_NATIVE), *plain = bare_of(mask);
    struct work work = work_for(mask);
    float *truth = calloc(PIXELS, 4), *naive = calloc(PIXELS, 4), *clean = calloc(mask_elements(plain), 4);
    double with = 0, without = 0;
    for (uint32_t f = 0; f < 10; f++) {
      struct rng rng;
      mask_rng_inference(&rng, f);
      mask_template(plain, faces[f], false, NULL, work.scratch, clean);
      mask_invert(plain, clean, work.scratch, truth);
      mask_template(mask, faces[f], false, &rng, work.scratch, work.template_);
      mask_invert(mask, work.template_, work.scratch, work.planar);
      mask_invert(plain, work.template_, work.scratch, naive);
      for (size_t i = 0; i < PIXELS; i++) {
        with += (double)((work.planar[i] - truth[i]) * (work.planar[i] - truth[i]));
        without += (double)((naive[i] - truth[i]) * (naive[i] - truth[i]));
      }
    }
    assert_true(with < 0.9 * without);
    free(truth);
    free(naive);
    free(clean);
    work_done(&work);
    mask_free(plain);
    mask_free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(laplace_noise_has_the_stated_scale),
      cmocka_unit_test(budgets_share_out_epsilon),
      cmocka_unit_test(measured_sensitivity),
      cmocka_unit_test(bits_are_flipped_as_stated),
      cmocka_unit_test(bytes_are_guessed),
      cmocka_unit_test(full_strength_leaves_nothing),
      cmocka_unit_test(restoring_helps),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
