/* Keys: derivation against an independent implementation, what a key does to templates and to the linear
 * operator, where it is refused, and its file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mask/decoys.h"
#include "core/mask/key.h"

enum { SIDE = 32, FACES = 12, PIXELS = SIDE * SIDE * 3 };

#include "unit/mask/drawn_faces.h"

static struct mask_key key_of(uint32_t first) {
  struct mask_key key;
  for (uint32_t i = 0; i < MASK_KEY_BYTES; i++)
    key.secret[i] = (uint8_t)(first + 7 * i);
  return key;
}

static void orders_are_the_documented_ones(void **state) {
  (void)state;
  unsigned first, channels, channel, sign, lines = 0;
  char id[MASK_KEY_ID], own[MASK_KEY_ID];
  FILE *file = fopen(GUISE_GOLDEN "/key.txt", "r");
  assert_non_null(file);
  while (fscanf(file, "%u %u %16s", &first, &channels, id) == 3) {
    const struct mask_key key = key_of(first);
    struct mask_order order;
    mask_key_id(&key, own);
    assert_string_equal(own, id);
    mask_key_order(&key, channels, &order);
    for (uint32_t c = 0; c < channels; c++) {
      assert_int_equal(fscanf(file, "%u %u", &channel, &sign), 2);
      assert_int_equal(order.channel[c], channel);
      assert_int_equal(order.negative[c], sign);
    }
    lines++;
  }
  assert_int_equal(lines, 4);
  (void)fclose(file);
}

static struct mask *fitted(enum mask_method method, enum mask_dct dct) {
  struct mask_options options = mask_options_default(method, SIDE);
  struct mask *mask = NULL;
  options.dct = dct;
  options.select = MASK_SELECT_ZIGZAG;
  options.seed = 3;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  return mask;
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (double)a[i] * (double)b[i];
  return sum;
}

/* `keyed` against the same mask without its key: templates, the operator and its transpose, the inverse. */
static void compare(const struct mask *plain, const struct mask *keyed, const struct mask_order *order) {
  const size_t elements = mask_elements(plain), cells = (size_t)mask_grid(plain) * mask_grid(plain);
  float *a = calloc(elements, 4), *b = calloc(elements, 4), *scratch = calloc(mask_scratch(plain), 4);
  float *x = calloc(PIXELS, 4), *y = calloc(PIXELS, 4);
  assert_true(a && b && scratch && x && y);
  mask_template(plain, faces[3], true, NULL, scratch, a);
  mask_template(keyed, faces[3], true, NULL, scratch, b);
  for (size_t i = 0; i < elements; i++) {
    const size_t place = i / cells;
    const float want = a[order->channel[place] * cells + i % cells];
    assert_true(b[i] == (order->negative[place] ? -want : want));
  }
  mask_invert(plain, a, scratch, x);
  mask_invert(keyed, b, scratch, y);
  assert_memory_equal(x, y, PIXELS * sizeof(float));
  mask_linear_forward(plain, 0, x, scratch, a);
  mask_linear_forward(keyed, 0, x, scratch, b);
  for (size_t i = 0; i < elements; i++) {
    const size_t place = i / cells;
    const float want = a[order->channel[place] * cells + i % cells];
    assert_true(b[i] == (order->negative[place] ? -want : want));
  }
  mask_linear_adjoint(keyed, 0, b, scratch, y);
  assert_true(fabs(dot(b, b, elements) / dot(x, y, PIXELS) - 1) < 1e-4);
  free(a);
  free(b);
  free(x);
  free(y);
  free(scratch);
}

static void a_key_permutes_and_signs(void **state) {
  (void)state;
  const struct mask_key key = key_of(17);
  for (int method = 0; method < MASK_METHODS; method++)
    for (int dct = 0; dct < MASK_DCTS; dct++) {
      if (!mask_traits((enum mask_method)method)->keyable)
        continue;
      struct mask *plain = fitted((enum mask_method)method, (enum mask_dct)dct),
                  *keyed = fitted((enum mask_method)method, (enum mask_dct)dct);
      assert_int_equal(mask_set_key(keyed, &key, NULL), 0);
      const struct mask_order *order = mask_order(keyed);
      uint32_t moved = 0, negative = 0;
      for (uint32_t c = 0; c < mask_channels(keyed); c++) {
        moved += order->channel[c] != c;
        negative += order->negative[c];
      }
      assert_true(moved > mask_channels(keyed) * 9 / 10);
      assert_in_range(negative, mask_channels(keyed) * 3 / 10, mask_channels(keyed) * 7 / 10);
      compare(plain, keyed, order);
      assert_memory_equal(mask_constants(plain), mask_constants(keyed), sizeof(struct mask_constants));
      assert_false(mask_is_exportable(keyed));
      assert_int_equal(strlen(mask_keyed_by(keyed)), MASK_KEY_ID - 1);
      assert_int_equal(mask_set_key(keyed, NULL, NULL), 0);
      assert_null(mask_order(keyed));
      assert_string_equal(mask_keyed_by(keyed), "");
      mask_free(plain);
      mask_free(keyed);
    }
}

/* What the network's first layer gets: coefficient = mean + deviation * value, at the template's places. */
static void placed_constants_undo_the_key(void **state) {
  (void)state;
  const struct mask_key key = key_of(17);
  struct mask *mask = fitted(MASK_AHM, MASK_DCT_NATIVE);
  assert_memory_equal(mask_placed_constants(mask), mask_constants(mask), sizeof(struct mask_constants));
  assert_int_equal(mask_set_key(mask, &key, NULL), 0);
  const struct mask_constants *k = mask_constants(mask), *placed = mask_placed_constants(mask);
  const struct mask_order *order = mask_order(mask);
  for (uint32_t c = 0; c < k->channels; c++) {
    assert_int_equal(placed->channel[c], k->channel[order->channel[c]]);
    assert_true(placed->mean[c] == k->mean[order->channel[c]]);
    assert_true(placed->deviation[c] ==
                (order->negative[c] ? -k->deviation[order->channel[c]] : k->deviation[order->channel[c]]));
  }
  mask_free(mask);
}

static void not_every_mask_takes_a_key(void **state) {
  (void)state;
  struct guise_error err = {0};
  const struct mask_key key = key_of(1);
  struct mask_order order;
  struct mask *mask = fitted(MASK_DCTDP, MASK_DCT_NATIVE);
  assert_int_equal(mask_set_key(mask, &key, &err), -EINVAL);
  assert_non_null(strstr(err.text, "dctdp"));
  mask_free(mask);
  mask = fitted(MASK_AHM, MASK_DCT_NATIVE);
  mask_key_order(&key, mask_channels(mask), &order);
  order.channel[0] = order.channel[1];
  assert_int_equal(mask_set_order(mask, &order, NULL), -EINVAL);
  order.channel[0] = (uint16_t)mask_channels(mask);
  assert_int_equal(mask_set_order(mask, &order, NULL), -EINVAL);
  float *template_ = calloc(mask_elements(mask), sizeof(float));
  struct decoys *decoys = NULL;
  assert_int_equal(decoys_new(1, 4, mask_elements(mask), template_, &decoys, NULL), 0);
  assert_int_equal(mask_set_decoys(mask, decoys, NULL), 0);
  assert_int_equal(mask_set_key(mask, &key, NULL), -EINVAL);
  assert_int_equal(mask_set_decoys(mask, NULL, NULL), 0);
  assert_int_equal(mask_set_key(mask, &key, NULL), 0);
  assert_int_equal(decoys_new(1, 4, mask_elements(mask), template_, &decoys, NULL), 0);
  assert_int_equal(mask_set_decoys(mask, decoys, NULL), -EINVAL);
  decoys_free(decoys);
  free(template_);
  mask_free(mask);
}

static void a_key_has_a_file(void **state) {
  (void)state;
  char path[] = "/tmp/guise-key-XXXXXX", text[256];
  struct mask_key key, other, back;
  struct stat st;
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  (void)close(fd);
  assert_int_equal(mask_key_generate(&key, NULL), 0);
  assert_int_equal(mask_key_generate(&other, NULL), 0);
  assert_memory_not_equal(key.secret, other.secret, MASK_KEY_BYTES);
  assert_int_equal(mask_key_write(path, &key, NULL), 0);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_equal(mask_key_read(path, &back, NULL), 0);
  assert_memory_equal(&key, &back, sizeof(key));
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  const size_t length = fread(text, 1, sizeof(text) - 1, file);
  text[length] = 0;
  char *digit = strstr(text, "\"key\": \"") + 8;
  *digit = *digit == '0' ? '1' : '0'; /* another secret under the same id */
  rewind(file);
  (void)fwrite(text, 1, length, file);
  (void)fclose(file);
  back = other;
  assert_int_equal(mask_key_read(path, &back, NULL), -EBADMSG);
  assert_memory_equal(&back, &other, sizeof(back));
  (void)unlink(path);
  assert_int_equal(mask_key_read(path, &back, NULL), -ENOENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(orders_are_the_documented_ones),
      cmocka_unit_test(a_key_permutes_and_signs),
      cmocka_unit_test(placed_constants_undo_the_key),
      cmocka_unit_test(not_every_mask_takes_a_key),
      cmocka_unit_test(a_key_has_a_file),
  };
  return cmocka_run_group_tests(tests, draw_faces, NULL);
}
