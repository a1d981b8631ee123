/* Moving an image against its definition pixel by pixel; what augmentation draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/train/augment.h"

enum { SIZE = 16, BYTES = SIZE * SIZE * 3 };

static void random_image(uint8_t *rgb) {
  struct rng rng;
  rng_init(&rng, 5, RNG_ATTACK, 0, 0);
  for (int i = 0; i < BYTES; i++)
    rgb[i] = (uint8_t)rng_u32(&rng);
}

static void shifts(void **state) {
  (void)state;
  static uint8_t rgb[BYTES], moved[BYTES];
  random_image(rgb);
  for (int dy = -SIZE - 1; dy <= SIZE + 1; dy++)
    for (int dx = -SIZE - 1; dx <= SIZE + 1; dx++) {
      shift_image(rgb, SIZE, dx, dy, moved);
      for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
          int from_y = MIN(MAX(y + dy, 0), SIZE - 1), from_x = MIN(MAX(x + dx, 0), SIZE - 1);
          assert_memory_equal(moved + (y * SIZE + x) * 3, rgb + (from_y * SIZE + from_x) * 3, 3);
        }
    }
}

/* Every template of a shift of at most one pixel is one of nine, with or without the mirror; all are drawn.
 */
static void draws(void **state) {
  (void)state;
  static const struct augmentation still = {0, false}, all = {1, true};
  static uint8_t rgb[BYTES], shifted[BYTES], pixels[BYTES];
  struct mask *mask = NULL;
  assert_int_equal(mask_new(&(struct mask_options){.method = MASK_NONE, .size = SIZE}, &mask, NULL), 0);
  const size_t n = mask_elements(mask);
  float *want = calloc(18 * n, sizeof(float)), *out = calloc(n, sizeof(float)),
        *scratch = calloc(mask_scratch(mask), sizeof(float));
  bool seen[18] = {false};
  random_image(rgb);
  for (int i = 0; i < 18; i++) {
    shift_image(rgb, SIZE, i % 3 - 1, i / 3 % 3 - 1, shifted);
    mask_template(mask, shifted, i >= 9, NULL, scratch, want + (size_t)i * n);
  }
  for (uint32_t draw = 0; draw < 400; draw++) {
    struct rng rng;
    int i = 0;
    rng_init(&rng, 1, RNG_AUGMENT, draw, 0);
    augment_template(mask, &all, &rng, rgb, shifted, scratch, out);
    while (i < 18 && memcmp(out, want + (size_t)i * n, n * sizeof(float)) != 0)
      i++;
    assert_true(i < 18);
    seen[i] = true;
    /* the same draws as pixels */
    rng_init(&rng, 1, RNG_AUGMENT, draw, 0);
    augment_image(&all, &rng, rgb, SIZE, pixels);
    mask_template(mask, pixels, false, NULL, scratch, out);
    assert_memory_equal(out, want + (size_t)i * n, n * sizeof(float));
    rng_init(&rng, 1, RNG_AUGMENT, draw, 0);
    augment_template(mask, &still, &rng, rgb, shifted, scratch, out);
    assert_memory_equal(out, want + 4 * n, n * sizeof(float));
  }
  for (int i = 0; i < 18; i++)
    assert_true(seen[i]);
  free(want);
  free(out);
  free(scratch);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(shifts), cmocka_unit_test(draws)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
