/* What the probe compares with: other photographs of the person, and how alike they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "core/image/synth.h"
#include "core/train/gallery.h"
#include "core/train/probe.h"
#include "unit/train/initial.h"

/* The first person's photographs are one and the same, the last one has a single one, the one before it has
 * more than are kept. */
enum { SIDE = 48, SMALL = 40, PEOPLE = 5, FEW = 4, MANY = 21, FACES = (PEOPLE - 2) * FEW + MANY + 1 };

static uint8_t faces[FACES][3 * SIDE * SIDE];
static uint32_t identity[FACES];
static char path[] = "/tmp/guise-gallery-XXXXXX";
static struct model *embedder;
static float embeddings[FACES][32];

static const uint8_t *face(void *context, uint32_t i) {
  (void)context;
  return faces[i];
}

static const uint8_t *small_face(void *context, uint32_t i) {
  static uint8_t small[FACES][3 * SMALL * SMALL];
  (void)context;
  image_resize(faces[i], SIDE, SIDE, small[i], SMALL);
  return small[i];
}

static uint32_t person_of(uint32_t i) {
  return i < (PEOPLE - 2) * FEW ? i / FEW : i == FACES - 1 ? PEOPLE - 1 : PEOPLE - 2;
}

static int set_up(void **state) {
  (void)state;
  const int fd = mkstemp(path);
  if (fd < 0 || close(fd) < 0)
    return -1;
  for (uint32_t i = 0; i < FACES; i++) {
    identity[i] = person_of(i);
    synth_face(9, identity[i], identity[i] == 0 ? 0 : i, SIDE, faces[i]);
  }
  write_initial_model(path, MASK_NONE, ARCH_NORM_BATCH, SMALL, small_face, FACES);
  if (model_load(path, 8, 1, &embedder, NULL) < 0)
    return -1;
  for (uint32_t i = 0; i < FACES; i++) {
    const uint8_t *picture = small_face(NULL, i);
    if (model_embed(embedder, &picture, 1, false, embeddings[i], NULL) < 0)
      return -1;
  }
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  model_free(embedder);
  return unlink(path);
}

static struct gallery_faces everybody(void) {
  return (struct gallery_faces){
      .face = face, .identity = identity, .count = FACES, .people = PEOPLE, .size = SIDE};
}

static struct gallery *make(void) {
  const struct gallery_faces people = everybody();
  struct guise_error err = {0};
  struct gallery *gallery = NULL;
  if (gallery_new(embedder, &people, &gallery, &err) < 0)
    fail_msg("%s", err.text);
  return gallery;
}

static double cosine(uint32_t i, uint32_t j) {
  double sum = 0;
  for (uint32_t k = 0; k < 32; k++)
    sum += (double)embeddings[i][k] * (double)embeddings[j][k];
  return sum;
}

/* Of image i and the person's images from `first` on, without `masked`. */
static double mean_cosine(uint32_t i, uint32_t first, uint32_t count, uint32_t masked) {
  double sum = 0;
  uint32_t others = 0;
  for (uint32_t j = first; j < first + count; j++)
    if (j != masked) {
      sum += cosine(i, j);
      others++;
    }
  return sum / others;
}

static void others_count_and_the_masked_one_does_not(void **state) {
  (void)state;
  struct gallery *gallery = make();
  for (uint32_t i = 0; i < FACES; i++) {
    const double second = (double)gallery_cosine(gallery, 1, FEW + 2, embeddings[i]);
    assert_true(fabs(second - mean_cosine(i, FEW, FEW, FEW + 2)) < 1e-4);
    assert_true(fabs((double)gallery_cosine(gallery, 1, UINT32_MAX, embeddings[i]) -
                     mean_cosine(i, FEW, FEW, UINT32_MAX)) < 1e-4);
    /* who has one photograph is compared with that */
    assert_true(fabs((double)gallery_cosine(gallery, PEOPLE - 1, FACES - 1, embeddings[i]) -
                     cosine(i, FACES - 1)) < 1e-4);
  }
  gallery_free(gallery);
}

/* Of 21 photographs eight are kept, from all over: those of numbers 21 i/8. */
static void of_many_some_are_kept(void **state) {
  (void)state;
  const uint32_t first = (PEOPLE - 2) * FEW;
  struct gallery *gallery = make();
  double sum = 0;
  for (uint32_t i = 0; i < GALLERY_MOST; i++)
    sum += cosine(0, first + i * MANY / GALLERY_MOST) / GALLERY_MOST;
  assert_true(fabs((double)gallery_cosine(gallery, PEOPLE - 2, first + 1, embeddings[0]) - sum) < 1e-4);
  gallery_free(gallery);
}

static void alike_in_deviations_from_the_mean(void **state) {
  (void)state;
  struct gallery *gallery = make();
  double sum = 0, squares = 0;
  for (uint32_t p = 0; p + 1 < PEOPLE; p++) {
    const double alike = (double)gallery_alike(gallery, p);
    sum += alike;
    squares += alike * alike;
    assert_true(p == 0 || alike < (double)gallery_alike(gallery, 0)); /* whose photographs are all the same */
  }
  assert_true(fabs(sum) < 1e-3 && fabs(squares - (PEOPLE - 1)) < 1e-3);
  assert_true(gallery_alike(gallery, PEOPLE - 1) == 0);
  gallery_free(gallery);
}

/* Against all pairs, of a person and of two, by hand. */
static void the_scale_is_own_before_strange(void **state) {
  (void)state;
  struct gallery *gallery = make();
  double own = 0, strange = 0;
  for (uint32_t p = 0; p + 1 < PEOPLE; p++) {
    const uint32_t first = p * FEW, all = p == PEOPLE - 2 ? MANY : FEW, count = MIN(all, GALLERY_MOST);
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
      for (uint32_t j = 0; j < count; j++)
        sum += i == j ? 0 : cosine(first + i * all / count, first + j * all / count);
    own += sum / (count * (count - 1)) / (PEOPLE - 1);
  }
  for (uint32_t p = 0; p < PEOPLE; p++) {
    const uint32_t first = p == PEOPLE - 1 ? FACES - 1 : p * FEW, next = (p + 1) % PEOPLE;
    strange += (double)gallery_cosine(gallery, next, UINT32_MAX, embeddings[first]) / PEOPLE;
  }
  const double scale = (double)gallery_scale(gallery);
  assert_true(own - strange > 0.05 && fabs(scale - (own - strange)) < 1e-4);
  gallery_free(gallery);
}

/* Everybody has one photograph. */
static const uint8_t *any_face(void *context, uint32_t i) {
  (void)context;
  return faces[i % FACES];
}

static bool second_time(void *context) {
  return (*(int *)context)++ == 1;
}

static void can_be_stopped(void **state) {
  (void)state;
  static uint32_t alone[100];
  int asked = 0;
  for (uint32_t i = 0; i < ARRAY_SIZE(alone); i++)
    alone[i] = i;
  const struct gallery_faces people = {.face = any_face,
                                       .identity = alone,
                                       .count = ARRAY_SIZE(alone),
                                       .people = ARRAY_SIZE(alone),
                                       .size = SIDE,
                                       .should_stop = second_time,
                                       .stop_context = &asked};
  struct gallery *gallery = NULL;
  assert_int_equal(gallery_new(embedder, &people, &gallery, NULL), -ECANCELED); /* between two chunks */
  assert_int_equal(asked, 2);
  assert_int_equal(gallery_new(embedder, &people, &gallery, NULL), 0);
  assert_true(gallery_alike(gallery, 7) == 0);
  gallery_free(gallery);
}

/* One photograph of each person is masked, and whatever the mask, nothing is left of it: the same picture
 * each time. Who are in the mix then look no more like it than as many others, on average over all mixes of k
 * people, to the rounding: each person is as often in as out. */
static void nothing_shown_is_nothing_leaked(void **state) {
  (void)state;
  const struct gallery_faces people = everybody();
  const struct mask_options options = mask_options_default(MASK_AHM, SIDE);
  const struct probe_options probing = {
      .batch = 4, .mixes = 10, .faces = PEOPLE, .threads = 1, .seed = 7, .embedder = path, .people = &people};
  static const uint32_t image[PEOPLE] = {0, FEW, 2 * FEW, 3 * FEW, FACES - 1},
                        person[PEOPLE] = {0, 1, 2, 3, 4};
  const struct probe_members members = {.image = image, .person = person};
  struct mask *mask = NULL;
  struct probe *probe = NULL;
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  assert_int_equal(probe_new(mask, &probing, &probe, NULL), 0);
  float *mixed = tensor_alloc(10 * mask_elements(mask) * sizeof(float));
  for (uint32_t k = 1; k <= 2; k++) {
    struct mix mixes[10];
    float leaks[10], again[10];
    double sum = 0, largest = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < PEOPLE; i++)
      for (uint32_t j = k == 1 ? i : i + 1; j < (k == 1 ? i + 1 : PEOPLE); j++)
        mixes[count++] = (struct mix){.k = k, .member = {i, j}, .lambda = {0.5f, 0.5f}};
    assert_int_equal(probe_leaks(probe, mixes, count, mixed, &members, leaks, NULL), 0);
    assert_int_equal(probe_leaks(probe, mixes, count, mixed, &members, again, NULL), 0);
    assert_memory_equal(leaks, again, count * sizeof(float));
    for (uint32_t i = 0; i < count; i++) {
      sum += (double)leaks[i] / count;
      largest = fmax(largest, fabs((double)leaks[i]));
    }
    assert_true(largest > 1e-3 && fabs(sum) < 1e-4 * fmax(largest, 1));
  }
  assert_true(probe_alike(probe, 0) > probe_alike(probe, 1));
  assert_true(probe_scale(probe) > GALLERY_SCALE_LEAST);
  tensor_free(mixed);
  probe_free(probe);
  mask_free(mask);
}

/* A person who is in the batch twice is one stranger, and one of the mix. */
static void a_person_counts_once(void **state) {
  (void)state;
  const struct gallery_faces people = everybody();
  const struct mask_options options = mask_options_default(MASK_AHM, SIDE);
  struct mask *mask = NULL;
  float leaks[2][2];
  assert_int_equal(mask_new(&options, &mask, NULL), 0);
  assert_int_equal(mask_fit(mask, face, NULL, FACES, NULL), 0);
  float *mixed = tensor_alloc(2 * mask_elements(mask) * sizeof(float));
  for (uint32_t twice = 0; twice < 2; twice++) {
    /* photographs of person 0 are all the same; the second time there are three more of two strangers */
    static const uint32_t image[7] = {0, 1, FEW, 2 * FEW, FEW, FEW, 2 * FEW},
                          person[7] = {0, 0, 1, 2, 1, 1, 2};
    const uint32_t faces_used = twice ? 7 : 4;
    const struct probe_options probing = {.batch = 4,
                                          .mixes = 2,
                                          .faces = faces_used,
                                          .threads = 1,
                                          .seed = 7,
                                          .embedder = path,
                                          .people = &people};
    const struct probe_members members = {.image = image, .person = person};
    const struct mix mixes[2] = {{.k = 1, .member = {0}, .lambda = {1}},
                                 {.k = 2, .member = {0, 1}, .lambda = {0.5f, 0.5f}}};
    struct probe *probe = NULL;
    assert_int_equal(probe_new(mask, &probing, &probe, NULL), 0);
    assert_int_equal(probe_leaks(probe, mixes, 2, mixed, &members, leaks[twice], NULL), 0);
    probe_free(probe);
  }
  assert_true(leaks[0][0] == leaks[0][1]);
  assert_memory_equal(leaks[0], leaks[1], sizeof(leaks[0]));
  tensor_free(mixed);
  mask_free(mask);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(others_count_and_the_masked_one_does_not),
      cmocka_unit_test(of_many_some_are_kept),
      cmocka_unit_test(alike_in_deviations_from_the_mean),
      cmocka_unit_test(the_scale_is_own_before_strange),
      cmocka_unit_test(can_be_stopped),
      cmocka_unit_test(nothing_shown_is_nothing_leaked),
      cmocka_unit_test(a_person_counts_once),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
