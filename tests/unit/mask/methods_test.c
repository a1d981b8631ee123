/* Every masking method: golden templates, mixes and inverses, the linear operator and its transpose, the same
 * for any number of threads, constants from hostile files; what instahide and partialface have of their own.
 */
#include <omp.h>
#include <stdio.h>

#include "core/freq/dct.h"
#include "core/mask/dctdp.h"
#include "core/mask/mixing.h"
#include "unit/mask/adjoint.h"
#include "unit/mask/fitted.h"

/* ---- golden ---- */

static void golden_image(uint32_t word, uint8_t ret_rgb[16 * 16 * 3]) {
  for (size_t i = 0; i < 16 * 16 * 3; i++) {
    word = word * 1664525u + 1013904223u;
    ret_rgb[i] = (uint8_t)(word >> 24);
  }
}

static struct mask *golden_mask(const char *name, const char *dct) {
  enum mask_method method;
  assert_int_equal(mask_method_from_name(name, &method), 0);
  struct mask_options options = mask_options_default(method, 16);
  assert_int_equal(mask_dct_from_name(dct, &options.dct), 0);
  options.seed = 7;
  if (method == MASK_DCTDP)
    options.parameter[DCTDP_LEARNT] = 1;
  struct mask *mask = made(&options);
  if (mask_learns(&options)) {
    float gates[192];
    for (uint32_t c = 0; c < 192; c++)
      gates[c] = (float)((37 * c + 11) % 193) / 193;
    assert_int_equal(mask_set_learnt(mask, gates, 192, NULL), 0);
  }
  struct mask_constants constants = *mask_constants(mask);
  for (uint32_t c = 0; c < constants.channels; c++) {
    constants.mean[c] = (float)c / 2;
    constants.deviation[c] = (float)(10 + c);
  }
  assert_int_equal(give_weights(mask, NULL), 0);
  assert_int_equal(mask_set_constants(mask, &constants, NULL), 0);
  return mask;
}

/* work->template_ := the mix of k images, or the template of one. */
static void golden_template(const struct mask *mask, uint32_t k, struct work *work) {
  const size_t elements = mask_elements(mask);
  struct mix mix = {.k = k};
  struct rng rng;
  float *members = calloc(k * elements, sizeof(*members));
  assert_non_null(members);
  rng_init(&rng, 9, RNG_MASK, 3, 1);
  for (uint32_t j = 0; j < k; j++) {
    uint8_t image[16 * 16 * 3];
    golden_image(12345 + j, image);
    mask_template(mask, image, false, &rng, work->scratch, members + j * elements);
    mix.member[j] = j;
    mix.lambda[j] = 2 * (float)(k - j) / (float)(k * (k + 1));
  }
  mix_templates(&mix, 1, members, elements, work->template_);
  mask_after_mix(mask, &rng, work->scratch, work->template_);
  free(members);
}

static void golden_values(FILE *file, const char *where, const float *values, size_t count, size_t every,
                          double tolerance) {
  double sum, square, my_sum = 0, my_square = 0, want;
  assert_int_equal(fscanf(file, "%lf %lf", &sum, &square), 2);
  for (size_t i = 0; i < count; i++) {
    const double value = (double)values[i];
    my_sum += value;
    my_square += value * value;
    if (i % every == 0) {
      assert_int_equal(fscanf(file, "%lf", &want), 1);
      if (fabs(value - want) > tolerance)
        fail_msg("%s, value %zu: %g, %g expected", where, i, value, want);
    }
  }
  if (fabs(my_sum - sum) > 1e-5 * fabs(sum) + 0.05 || fabs(my_square / square - 1) > 1e-4)
    fail_msg("%s: sums %g %g, %g %g expected", where, my_sum, my_square, sum, square);
}

static void golden_line(FILE *file, const char *name, const char *dct, const char *what) {
  struct mask *mask = golden_mask(name, dct);
  struct work work = work_for(mask);
  char where[80];
  uint32_t k = 1, planes;
  (void)snprintf(where, sizeof(where), "%s, %s, %s", name, dct, what);
  assert_int_equal(fscanf(file, "%u", &planes), 1);
  (void)sscanf(what, "mix-%u", &k);
  assert_in_range(k, 1, MIX_MAX);
  golden_template(mask, k, &work);
  if (strcmp(what, "inverse") == 0) {
    mask_invert(mask, work.template_, work.scratch, work.planar);
    assert_int_equal(planes, 3);
    golden_values(file, where, work.planar, 3 * 16 * 16, 37, 1e-2);
  } else {
    assert_int_equal(mask_channels(mask), planes);
    golden_values(file, where, work.template_, mask_elements(mask), strcmp(dct, "native") == 0 ? 37 : 997,
                  2e-3);
  }
  work_done(&work);
  mask_free(mask);
}

/* Every method but `none`, of which they all are made. */
static void golden_templates(void **state) {
  (void)state;
  FILE *file = fopen(GUISE_GOLDEN "/mask_methods.txt", "re");
  char name[32], dct[16], what[16];
  int lines = 0;
  assert_non_null(file);
  for (; fscanf(file, "%31s %15s %15s", name, dct, what) == 3; lines++)
    golden_line(file, name, dct, what);
  (void)fclose(file);
  assert_int_equal(lines, 52);
}

/* ---- what holds of every method ---- */

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
  print_message("up-sampled layouts found: 150 of 150, all 18 among them\n");
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_templates),
      cmocka_unit_test(the_adjoint_is_the_transpose),
      cmocka_unit_test(the_operator_is_the_template),
      cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(hostile_files),
      cmocka_unit_test(only_signs_are_hidden),
      cmocka_unit_test(layouts_are_disjoint),
      cmocka_unit_test(upsampling_gives_the_layout_away),
      cmocka_unit_test(borders_help_to_guess),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
