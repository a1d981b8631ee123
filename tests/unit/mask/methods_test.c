/* Every masking method: golden templates, the linear operator and its transpose, the same for any number of
 * threads, constants from hostile files; and what each method has of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/freq/dct.h"
#include "core/image/synth.h"
#include "core/mask/dctdp.h"
#include "core/mask/mask.h"
#include "unit/mask/weights.h"

enum { SIDE = 32, FACES = 40, PIXELS = SIDE * SIDE * 3 };

static uint8_t faces[FACES][PIXELS];

static int setup(void **state) {
  (void)state;
  for (uint32_t i = 0; i < FACES; i++)
    synth_face(5, i / 2, i % 2, SIDE, faces[i]);
  return 0;
}

static const uint8_t *face(void *context, uint32_t i) {
  (void)context;
  return faces[i];
}

static struct mask *made(const struct mask_options *options) {
  struct mask *mask = NULL;
  struct guise_error err = {0};
  if (mask_new(options, &mask, &err) != 0)
    fail_msg("%s", err.text);
  return mask;
}

static struct mask *fitted(enum mask_method method, enum mask_dct dct) {
  struct mask_options options = mask_options_default(method, SIDE);
  options.dct = dct;
  options.seed = 3;
  struct mask *mask = made(&options);
  if (mask_learns(&options)) {
    float gates[192];
    for (uint32_t c = 0; c < 192; c++)
      gates[c] = (float)(41 * c % 192) / 192;
    assert_int_equal(mask_set_learnt(mask, gates, 192, NULL), 0);
  }
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  return mask;
}

/* Buffers of one mask. */
struct work {
  float *template_, *scratch, *planar;
};
static struct work work_for(const struct mask *mask) {
  const size_t pixels = (size_t)3 * mask_size(mask) * mask_size(mask);
  struct work work = {calloc(mask_elements(mask), 4), calloc(mask_scratch(mask), 4), calloc(pixels, 4)};
  assert_true(work.template_ && work.scratch && work.planar);
  return work;
}
static void work_done(struct work *work) {
  free(work->template_);
  free(work->scratch);
  free(work->planar);
}

/* ---- golden ---- */

static void golden_line(FILE *file, const char *name, const char *dct) {
  enum mask_method method;
  unsigned channels, every = strcmp(dct, "native") == 0 ? 37 : 997;
  double sum, square, my_sum = 0, my_square = 0, want;
  uint8_t image[16 * 16 * 3];
  uint32_t word = 12345;
  for (size_t i = 0; i < sizeof(image); i++) {
    word = word * 1664525u + 1013904223u;
    image[i] = (uint8_t)(word >> 24);
  }
  assert_int_equal(mask_method_from_name(name, &method), 0);
  struct mask_options options = mask_options_default(method, 16);
  assert_int_equal(mask_dct_from_name(dct, &options.dct), 0);
  options.seed = 7;
  if (method == MASK_DCTDP)
    options.parameter[DCTDP_LEARNT] = 1;
  struct mask *mask = made(&options);
  struct mask_constants constants = *mask_constants(mask);
  for (uint32_t c = 0; c < constants.channels; c++) {
    constants.mean[c] = (float)c / 2;
    constants.deviation[c] = (float)(10 + c);
  }
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_set_constants(mask, &constants, NULL), 0);
  struct work work = work_for(mask);
  struct rng rng;
  rng_init(&rng, 9, RNG_MASK, 3, 1);
  mask_template(mask, image, false, &rng, work.scratch, work.template_);
  mask_after_mix(mask, &rng, work.scratch, work.template_);
  assert_int_equal(fscanf(file, "%u %lf %lf", &channels, &sum, &square), 3);
  assert_int_equal(mask_channels(mask), channels);
  for (size_t i = 0; i < mask_elements(mask); i++) {
    const double value = (double)work.template_[i];
    my_sum += value;
    my_square += value * value;
    if (i % every == 0) {
      assert_int_equal(fscanf(file, "%lf", &want), 1);
      if (fabs(value - want) > 2e-3)
        fail_msg("%s, %s, value %zu: %g, %g expected", name, dct, i, value, want);
    }
  }
  if (fabs(my_sum - sum) > 1e-5 * fabs(sum) + 0.05 || fabs(my_square / square - 1) > 1e-4)
    fail_msg("%s, %s: sums %g %g, %g %g expected", name, dct, my_sum, my_square, sum, square);
  work_done(&work);
  mask_free(mask);
}

static void golden_templates(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/mask_methods.txt", "re");
  char name[32], dct[16];
  int lines = 0;
  assert_non_null(file);
  for (; fscanf(file, "%31s %15s", name, dct) == 2; lines++)
    golden_line(file, name, dct);
  (void)fclose(file);
  assert_int_equal(lines, 14);
}

/* ---- what holds of every method ---- */

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

static void check_adjoint(const struct mask *mask, uint32_t layout) {
  struct work x = work_for(mask), y = work_for(mask);
  const size_t pixels = PIXELS, elements = mask_elements(mask);
  struct rng rng;
  rng_init(&rng, 3, RNG_ATTACK, layout, 0);
  for (size_t i = 0; i < pixels; i++)
    x.planar[i] = rng_normal(&rng);
  for (size_t i = 0; i < elements; i++)
    y.template_[i] = rng_normal(&rng);
  mask_linear_forward(mask, layout, x.planar, x.scratch, x.template_);
  mask_linear_adjoint(mask, layout, y.template_, y.scratch, y.planar);
  const double left = dot(x.template_, y.template_, elements), right = dot(x.planar, y.planar, pixels);
  const double size = sqrt(dot(x.template_, x.template_, elements) * dot(y.template_, y.template_, elements));
  if (fabs(left - right) > 1e-5 * size)
    fail_msg("%s: %g and %g", mask_traits(mask_method(mask))->name, left, right);
  work_done(&x);
  work_done(&y);
}

static void the_adjoint_is_the_transpose(void **state) {
  (void)state;
  for (int m = 0; m < MASK_METHODS; m++)
    for (int dct = 0; dct < MASK_DCTS; dct++) {
      struct mask_options options = mask_options_default((enum mask_method)m, SIDE);
      options.dct = (enum mask_dct)dct;
      if (mask_check_options(&options, NULL) < 0) /* generators are native */
        continue;
      struct mask *mask = fitted((enum mask_method)m, (enum mask_dct)dct);
      for (uint32_t layout = 0; layout < mask_layouts(mask); layout++)
        check_adjoint(mask, layout);
      mask_free(mask);
    }
}

/* Of methods that draw nothing for a face, the operator is the template but for mean and clip. */
static void the_operator_is_the_template(void **state) {
  (void)state;
  for (int m = 0; m < MASK_METHODS; m++)
    for (int dct = 0; dct < MASK_DCTS; dct++) {
      const struct mask_traits *traits = mask_traits((enum mask_method)m);
      if (traits->random && m != MASK_INSTAHIDE) /* which draws after the mix */
        continue;
      struct mask *mask = fitted((enum mask_method)m, (enum mask_dct)dct);
      const struct mask_constants *k = mask_constants(mask);
      struct work made_ = work_for(mask), image = work_for(mask);
      const size_t cells = (size_t)mask_grid(mask) * mask_grid(mask);
      rgb_to_ycbcr(faces[1], SIDE, false, image.planar);
      mask_linear_forward(mask, 0, image.planar, image.scratch, image.template_);
      mask_template(mask, faces[1], false, NULL, made_.scratch, made_.template_);
      for (size_t i = 0; i < mask_elements(mask); i++) {
        float value = image.template_[i] - k->mean[i / cells] / k->deviation[i / cells];
        value = k->clip > 0 ? fminf(fmaxf(value, -k->clip), k->clip) : value;
        if (fabsf(value - made_.template_[i]) > 5e-3f)
          fail_msg("%s, element %zu: %g and %g", traits->name, i, (double)value, (double)made_.template_[i]);
      }
      work_done(&made_);
      work_done(&image);
      mask_free(mask);
    }
}

static void threads_change_nothing(void **state) {
  (void)state;
  for (int m = 0; m < MASK_METHODS; m++) {
    omp_set_num_threads(1);
    struct mask *one = fitted((enum mask_method)m, MASK_DCT_NATIVE);
    omp_set_num_threads(3);
    struct mask *three = fitted((enum mask_method)m, MASK_DCT_NATIVE);
    assert_memory_equal(mask_constants(one), mask_constants(three), sizeof(struct mask_constants));
    struct work a = work_for(one), b = work_for(three);
    struct rng first, second;
    rng_init(&first, 1, RNG_MASK, 9, 2);
    rng_init(&second, 1, RNG_MASK, 9, 2);
    mask_template(one, faces[3], true, &first, a.scratch, a.template_);
    mask_after_mix(one, &first, a.scratch, a.template_);
    mask_template(three, faces[3], true, &second, b.scratch, b.template_);
    mask_after_mix(three, &second, b.scratch, b.template_);
    assert_memory_equal(a.template_, b.template_, mask_elements(one) * sizeof(float));
    work_done(&a);
    work_done(&b);
    mask_free(one);
    mask_free(three);
  }
}

static void refused_constants(struct mask *mask, const struct mask_constants *constants) {
  struct guise_error err = {0};
  assert_int_equal(mask_set_constants(mask, constants, &err), -EINVAL);
  assert_true(err.text[0]);
}

static void hostile_files(void **state) {
  (void)state;
  for (int m = 0; m < MASK_METHODS; m++) {
    struct mask *mask = fitted((enum mask_method)m, MASK_DCT_NATIVE);
    const struct mask_traits *traits = mask_traits((enum mask_method)m);
    const struct mask_constants good = *mask_constants(mask);
    struct mask_constants bad;
    assert_int_equal(mask_set_constants(mask, &good, NULL), 0);
    bad = good, bad.reach[2] = NAN, refused_constants(mask, &bad);
    bad = good, bad.reach[2] = -1, refused_constants(mask, &bad);
    bad = good, bad.channels--, refused_constants(mask, &bad);
    bad = good, bad.channel[0] = 192, refused_constants(mask, &bad);
    if (traits->own_channels)
      bad = good, bad.channel[good.channels - 1]++, refused_constants(mask, &bad);
    struct mask_options options = mask_options_default((enum mask_method)m, SIDE);
    options.drop_low = 1;
    assert_int_equal(mask_check_options(&options, NULL), traits->own_channels ? -EINVAL : 0);
    for (uint32_t p = 0; p < traits->parameter_count; p++) {
      options = mask_options_default((enum mask_method)m, SIDE);
      options.parameter[p] = traits->parameters[p].maximum * 1.01;
      assert_int_equal(mask_check_options(&options, NULL), -EINVAL);
      options.parameter[p] = NAN;
      assert_int_equal(mask_check_options(&options, NULL), -EINVAL);
    }
    mask_free(mask);
  }
}

/* ---- instahide ---- */

/* |x| does not depend on the signs, and the signs are gone: the inverse of a signed template is that of the
 * picture itself. Signs drawn twice differ. */
static void only_signs_are_hidden(void **state) {
  (void)state;
  for (int dct = 0; dct < MASK_DCTS; dct++) {
    struct mask *mask = fitted(MASK_INSTAHIDE, (enum mask_dct)dct);
    struct work plain = work_for(mask), signed_ = work_for(mask);
    double flipped = 0;
    mask_template(mask, faces[0], false, NULL, plain.scratch, plain.template_);
    mask_template(mask, faces[0], false, NULL, signed_.scratch, signed_.template_);
    for (uint32_t draw = 0; draw < 2; draw++) {
      struct rng rng;
      rng_init(&rng, 1, RNG_AFTER_MIX, draw, 0);
      mask_after_mix(mask, &rng, signed_.scratch, signed_.template_);
      mask_invert(mask, plain.template_, plain.scratch, plain.planar);
      mask_invert(mask, signed_.template_, signed_.scratch, signed_.planar);
      for (size_t i = 0; i < PIXELS; i++)
        if (fabsf(plain.planar[i] - signed_.planar[i]) > 0.1f)
          fail_msg("pixel %zu: %g and %g", i, (double)plain.planar[i], (double)signed_.planar[i]);
    }
    for (size_t i = 0; i < mask_elements(mask); i++)
      flipped += fabs((double)plain.template_[i] - (double)signed_.template_[i]) > 0.1;
    assert_true(flipped > 0.5 * (double)mask_elements(mask));
    work_done(&plain);
    work_done(&signed_);
    mask_free(mask);
  }
}

/* ---- partialface ---- */

static void layouts_are_disjoint(void **state) {
  (void)state;
  struct mask *mask = fitted(MASK_PARTIALFACE, MASK_DCT_NATIVE);
  uint32_t seen[162] = {0};
  assert_int_equal(mask_channels(mask), 27);
  assert_int_equal(mask_constants(mask)->channels, 162);
  assert_int_equal(mask_layouts(mask), 18);
  for (uint32_t layout = 0; layout < 18; layout++) {
    uint16_t index[MASK_CHANNELS_MAX];
    mask_layout(mask, layout, index);
    for (uint32_t c = 0; c < 27; c++)
      seen[index[c]]++;
  }
  for (uint32_t i = 0; i < 162; i++)
    assert_int_equal(seen[i], 3); /* one subset, three orders */
  mask_free(mask);
}

/* How often the layout is found among `count` draws; on the up-sampled transform always, whichever it is. */
static uint32_t found_layouts(enum mask_dct dct, uint32_t count, bool ret_seen[18]) {
  struct mask *mask = fitted(MASK_PARTIALFACE, dct);
  struct work work = work_for(mask);
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++) {
    struct rng rng, same;
    mask_rng_inference(&rng, i);
    same = rng;
    mask_template(mask, faces[i % FACES], false, &rng, work.scratch, work.template_);
    const uint32_t drawn = rng_below(&same, 18);
    ret_seen[drawn] = true;
    found += mask_find_layout(mask, work.template_, work.scratch) == drawn;
  }
  work_done(&work);
  mask_free(mask);
  return found;
}

static void upsampling_gives_the_layout_away(void **state) {
  (void)state;
  bool seen[18] = {false}, all = true;
  assert_int_equal(found_layouts(MASK_DCT_UPSAMPLED, 150, seen), 150);
  for (int i = 0; i < 18; i++)
    all &= seen[i];
  assert_true(all);
}

/* Native blocks have no redundancy: borders help some. Chance is 1 in 18; of 180 draws more than 20 are above
 * it by three deviations. */
static void borders_help_to_guess(void **state) {
  (void)state;
  bool seen[18] = {false};
  const uint32_t found = found_layouts(MASK_DCT_NATIVE, 180, seen);
  print_message("native layouts guessed: %u of 180\n", found);
  assert_true(found > 20);
}

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

/* A grey picture has bytes 128 everywhere: every bit that differs was flipped. */
static void bits_are_flipped_as_stated(void **state) {
  (void)state;
  static const double weight[3] = {4, 1, 1};
  enum { PICTURES = 40, AREA = SIDE * SIDE };
  struct mask_options options = mask_options_default(MASK_LDP_SLICING, SIDE);
  uint8_t grey[PIXELS];
  uint32_t flips[3][8] = {{0}};
  double sum = 0;
  struct mask *mask = made(&options);
  struct work work = work_for(mask);
  memset(grey, 128, sizeof(grey));
  for (uint32_t picture = 0; picture < PICTURES; picture++) {
    struct rng rng;
    rng_init(&rng, 11, RNG_MASK, picture, 0);
    mask_template(mask, grey, false, &rng, work.scratch, work.template_);
    mask_invert(mask, work.template_, work.scratch, work.planar);
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
  mask_free(mask);
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
  static const enum mask_method perturbed[] = {MASK_DCTDP, MASK_REGIONAL};
  for (size_t m = 0; m < ARRAY_SIZE(perturbed); m++) {
    struct mask *mask = fitted(perturbed[m], MASK_DCT_NATIVE), *plain = NULL;
    struct mask_options bare = mask_options_default(MASK_NONE, SIDE);
    bare.drop_low = mask_options(mask)->drop_low;
    plain = made(&bare);
    assert_int_equal(mask_set_constants(plain, mask_constants(mask), NULL), 0);
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

/* ---- as matrices ---- */

/* M P M of each plane. */
static void from_both_sides(const float *matrix, float *planar) {
  float *turned = calloc((size_t)3 * SIDE * SIDE, sizeof(float));
  assert_non_null(turned);
  for (int side = 0; side < 2; side++) { /* M P, turned; and once more */
    for (uint32_t i = 0; i < 3 * SIDE * SIDE; i++) {
      const uint32_t plane = i / (SIDE * SIDE), y = i / SIDE % SIDE, x = i % SIDE;
      double sum = 0;
      for (uint32_t k = 0; k < SIDE; k++)
        sum += (double)matrix[y * SIDE + k] * (double)planar[(plane * SIDE + k) * SIDE + x];
      turned[(plane * SIDE + x) * SIDE + y] = (float)sum;
    }
    memcpy(planar, turned, (size_t)3 * SIDE * SIDE * sizeof(float));
  }
  free(turned);
}

/* Filter, transform, gather of a mask without constants, from its matrices. */
static void composed(const struct mask *mask, const float *face_, float *ret_template) {
  const struct mask_options options = mask_options_default(MASK_NONE, SIDE);
  struct mask *none = made(&options);
  struct work work = work_for(none);
  const size_t cells = (size_t)mask_grid(mask) * mask_grid(mask), kept = mask_channels(mask);
  float *matrix = calloc(MAX((size_t)SIDE * SIDE, kept * DCT_CHANNELS), sizeof(float));
  assert_non_null(matrix);
  memcpy(work.planar, face_, (size_t)3 * SIDE * SIDE * sizeof(float));
  if (mask_filters(mask)) {
    mask_filter_matrix(mask, matrix);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
      assert_true(fabsf(matrix[i] - matrix[i % SIDE * SIDE + i / SIDE]) < 1e-6f);
    from_both_sides(matrix, work.planar);
  }
  mask_linear_forward(none, 0, work.planar, work.scratch, work.template_);
  memset(matrix, 0, kept * DCT_CHANNELS * sizeof(float));
  if (mask_gathers(mask))
    mask_gather_matrix(mask, matrix);
  for (size_t c = 0; c < kept; c++)
    for (size_t i = 0; i < cells; i++) {
      double sum = mask_gathers(mask) ? 0 : (double)work.template_[c * cells + i];
      for (size_t k = 0; k < DCT_CHANNELS; k++)
        sum += (double)matrix[c * DCT_CHANNELS + k] * (double)work.template_[k * cells + i];
      ret_template[c * cells + i] = (float)sum;
    }
  free(matrix);
  work_done(&work);
  mask_free(none);
}

/* What an exported graph computes, also of a kernel that reaches beyond the picture and its mirror image. */
static void matrices_are_the_operator(void **state) {
  (void)state;
  static const struct {
    enum mask_method method;
    double sigma;
    uint32_t drop_low;
  } cases[] = {{MASK_BLUR, 0.5, 0},
               {MASK_BLUR, 2, 0},
               {MASK_BLUR, 16, 0},
               {MASK_PPFR_FD, 0, 28},
               {MASK_PPFR_FD, 0, 5}};
  for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
    struct mask_options options = mask_options_default(cases[n].method, SIDE);
    if (cases[n].sigma > 0)
      options.parameter[0] = cases[n].sigma;
    options.drop_low = cases[n].drop_low;
    options.select = MASK_SELECT_ZIGZAG;
    options.seed = 3;
    struct mask *mask = made(&options);
    struct work work = work_for(mask);
    float *expected = calloc(mask_elements(mask), sizeof(float));
    assert_non_null(expected);
    for (uint32_t i = 0; i < 3 * SIDE * SIDE; i++)
      work.planar[i] = (float)faces[0][i] - 128;
    composed(mask, work.planar, expected);
    mask_linear_forward(mask, 0, work.planar, work.scratch, work.template_);
    for (size_t i = 0; i < mask_elements(mask); i++)
      if (!(fabsf(work.template_[i] - expected[i]) < 2e-3f))
        fail_msg("%s %g, value %zu: %g, %g expected", mask_traits(cases[n].method)->name, cases[n].sigma, i,
                 (double)work.template_[i], (double)expected[i]);
    assert_true(mask_is_exportable(mask));
    free(expected);
    work_done(&work);
    mask_free(mask);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(golden_templates),
                                     cmocka_unit_test(the_adjoint_is_the_transpose),
                                     cmocka_unit_test(the_operator_is_the_template),
                                     cmocka_unit_test(matrices_are_the_operator),
                                     cmocka_unit_test(threads_change_nothing),
                                     cmocka_unit_test(hostile_files),
                                     cmocka_unit_test(only_signs_are_hidden),
                                     cmocka_unit_test(layouts_are_disjoint),
                                     cmocka_unit_test(upsampling_gives_the_layout_away),
                                     cmocka_unit_test(borders_help_to_guess),
                                     cmocka_unit_test(laplace_noise_has_the_stated_scale),
                                     cmocka_unit_test(budgets_share_out_epsilon),
                                     cmocka_unit_test(measured_sensitivity),
                                     cmocka_unit_test(bits_are_flipped_as_stated),
                                     cmocka_unit_test(full_strength_leaves_nothing),
                                     cmocka_unit_test(restoring_helps)};
  return cmocka_run_group_tests(tests, setup, NULL);
}
