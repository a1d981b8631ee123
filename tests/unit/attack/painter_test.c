/* What the reconstruction attack's network is taught: its loss against differences, that the recogniser's
 * part makes drawings look more like themselves to it, and that nothing but the seed decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/attack/painter_loss.h"
#include "core/attack/student.h"
#include "unit/attack/teacher.h"
#include "unit/train/initial.h"

enum { SMALLER = 32, ALL = LESSON_BATCH * 3 * SIZE * SIZE, STEPS = 28 };

static uint8_t few[LESSON_BATCH][3 * SMALLER * SMALLER];
static float output[ALL], moved[ALL], gradient[ALL], unused[ALL];

static const uint8_t *few_image(void *context, uint32_t i) {
  (void)context;
  return few[i];
}

static struct face_sample sample_of(struct attack_faces *faces, struct crowd *crowd, uint32_t most) {
  struct face_sample sample;
  *faces = faces_of(crowd);
  assert_int_equal(face_sample_draw(faces, most, 1, &sample), 0);
  return sample;
}

static struct model *load(const char *path) {
  struct model *model = NULL;
  struct guise_error err = {0};
  if (model_load(path, LESSON_BATCH, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  return model;
}

static struct recogniser *made_recogniser(struct model *model, const struct face_sample *faces) {
  struct recogniser *recogniser = NULL;
  const struct lessons_options options = {.threads = 1};
  struct guise_error err = {0};
  if (recogniser_new(model, faces, SIZE, &options, &recogniser, &err) < 0)
    fail_msg("%s", err.text);
  return recogniser;
}

/* ---- the loss ---- */

/* Of a lesson whose i-th template counts as another's face, some of them mirrored. */
static struct lesson some_lesson(const struct face_sample *faces) {
  struct lesson lesson = {.face = {0}};
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    lesson.face[i] = (5 * i + 3) % faces->count;
    lesson.target[i] = (i + 1) % LESSON_BATCH;
    lesson.mirrored[i] = i % 3 == 0;
  }
  return lesson;
}

/* output[i] := a face in the unit of drawings. */
static void draw_face(const uint8_t *rgb, bool mirrored, uint32_t i) {
  for (size_t plane = 0; plane < 3; plane++)
    for (size_t y = 0; y < SIZE; y++)
      for (size_t x = 0; x < SIZE; x++)
        output[((i * 3 + plane) * SIZE + y) * SIZE + x] =
            ((float)rgb[3 * (y * SIZE + (mirrored ? SIZE - 1 - x : x)) + plane] - 128) / PAINTER_GREY;
}

/* Other faces than those that are wanted. */
static void draw_others(const struct face_sample *faces) {
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    draw_face(face_sample_image(faces, i), false, i);
}

static void draw_wanted(const struct face_sample *faces, const struct lesson *lesson) {
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    draw_face(face_sample_image(faces, lesson->face[lesson->target[i]]), lesson->mirrored[lesson->target[i]],
              i);
}

static double measure(struct painter_loss *loss, const struct lesson *lesson, const float *drawn,
                      float *ret_gradient) {
  struct guise_error err = {0};
  double value = NAN;
  if (painter_loss_measure(loss, drawn, lesson, &value, ret_gradient, &err) < 0)
    fail_msg("%s", err.text);
  return value;
}

static void against_differences(struct painter_loss *loss, const struct lesson *lesson) {
  (void)measure(loss, lesson, output, gradient);
  for (uint32_t round = 0; round < 3; round++) {
    double along = 0, differences = 0;
    struct rng rng;
    rng_init(&rng, 2, RNG_ATTACK, round, 0);
    for (int side = 1; side >= -1; side -= 2) {
      struct rng same = rng;
      along = 0;
      for (size_t i = 0; i < ALL; i++) {
        const float direction = rng_normal(&same) + 3e4f * gradient[i];
        along += (double)direction * (double)gradient[i];
        moved[i] = output[i] + (float)side * 2e-3f * direction;
      }
      differences += side * measure(loss, lesson, moved, unused) / 4e-3;
    }
    if (fabs(differences - along) > 0.02 * fabs(along) + 1e-5)
      fail_msg("%g, %g by differences", along, differences);
  }
}

static double squares(const float *a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < ALL; i++)
    sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
  return sum;
}

/* What the recogniser adds, alone: the rest is the same in both and falls out. */
static void likeness_against_differences(struct painter_loss *loss, struct painter_loss *plain,
                                         const struct lesson *lesson) {
  static float without[ALL];
  (void)measure(loss, lesson, output, gradient);
  (void)measure(plain, lesson, output, without);
  const double deviation = sqrt(squares(gradient, without) / ALL);
  double along = 0, differences = 0;
  assert_true(deviation > 0);
  for (int side = 1; side >= -1; side -= 2) {
    along = 0;
    for (size_t i = 0; i < ALL; i++) {
      const double part = (double)(gradient[i] - without[i]), direction = part / deviation;
      along += part * direction;
      moved[i] = output[i] + (float)(side * 2e-3 * direction);
    }
    differences +=
        side * (measure(loss, lesson, moved, unused) - measure(plain, lesson, moved, unused)) / 4e-3;
  }
  if (fabs(differences - along) > 0.05 * along)
    fail_msg("%g, %g by differences", along, differences);
}

/* A model of initial weights that sees small faces; path: of mkstemp. */
static void write_small_model(char *path, enum mask_method method) {
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  (void)close(fd);
  for (uint32_t i = 0; i < LESSON_BATCH; i++)
    synth_face(11, 3000 + i, 0, SMALLER, few[i]);
  write_initial_model(path, method, ARCH_NORM_BATCH, SMALLER, few_image, LESSON_BATCH);
}

/* By a teacher of the drawings' size and by one that sees them smaller. */
static void the_loss_against_differences(void **state) {
  (void)state;
  char smaller[] = "/tmp/guise-smaller-XXXXXX";
  write_small_model(smaller, MASK_NONE);
  const char *const paths[] = {NULL, teacher, smaller};
  struct attack_faces from;
  struct face_sample faces = sample_of(&from, &open, 64);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  const struct lesson lesson = some_lesson(&faces);
  for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
    struct model *model = paths[i] ? load(paths[i]) : NULL;
    struct recogniser *recogniser = model ? made_recogniser(model, &faces) : NULL;
    struct painter_loss *loss = NULL;
    struct painter_options options = {.lessons = {.mask = mask, .seed = 1, .threads = 1},
                                      .recogniser = recogniser};
    assert_int_equal(painter_loss_new(&options, &faces, &loss, NULL), 0);
    assert_true(!model || recogniser);
    draw_wanted(&faces, &lesson);
    assert_true(fabs(measure(loss, &lesson, output, unused)) < 1e-5); /* nothing could be better */
    draw_others(&faces);
    against_differences(loss, &lesson);
    if (model) {
      struct painter_loss *plain = NULL;
      options.recogniser = NULL;
      assert_int_equal(painter_loss_new(&options, &faces, &plain, NULL), 0);
      likeness_against_differences(loss, plain, &lesson);
      painter_loss_free(plain);
    }
    painter_loss_free(loss);
    recogniser_free(recogniser);
    model_free(model);
  }
  mask_free(mask);
  face_sample_done(&faces);
  assert_int_equal(unlink(smaller), 0);
}

/* Its own mask draws at random: there is nothing to climb. */
static void a_teacher_nobody_sees_through(void **state) {
  (void)state;
  char random[] = "/tmp/guise-random-XXXXXX";
  write_small_model(random, MASK_REGIONAL);
  struct attack_faces from;
  struct face_sample faces = sample_of(&from, &open, 64);
  struct model *model = load(random);
  assert_null(made_recogniser(model, &faces));
  model_free(model);
  face_sample_done(&faces);
  assert_int_equal(unlink(random), 0);
}

/* ---- what it is good for ---- */

/* How like themselves the faces that a network has learnt from look to the teacher in what it draws of them.
 */
static double drawn_cosine(struct model *model, const struct mask *mask, struct recogniser *recogniser,
                           const struct face_sample *faces, uint32_t steps, uint8_t *ret_drawn) {
  const struct painter_options options = {
      .lessons = {.mask = mask, .inference = true, .seed = 5, .threads = 2},
      .steps = steps,
      .width = 1,
      .recogniser = recogniser};
  struct painter *painter = NULL;
  struct guise_error err = {0};
  const size_t count = faces->count;
  struct mix *mixes = calloc(count, sizeof(*mixes));
  float *made = calloc(count * EMBEDDING, sizeof(float)), *true_ = calloc(count * EMBEDDING, sizeof(float));
  double sum = 0;
  (void)face_sample_compose(faces, NULL, 0, mixes);
  if (painter_train(&options, faces, &painter, &err) < 0 ||
      painter_draw(painter, faces, mixes, ret_drawn, NULL, &err) < 0 ||
      teacher_embed_pictures(model, ret_drawn, faces, SIZE, &options.lessons, made, &err) < 0 ||
      teacher_embed(model, faces, SIZE, false, &options.lessons, true_, &err) < 0)
    fail_msg("%s", err.text);
  for (size_t i = 0; i < count * EMBEDDING; i++)
    sum += (double)made[i] * (double)true_[i];
  painter_free(painter);
  free(mixes);
  free(made);
  free(true_);
  return sum / (double)count;
}

/* Of faces it has learnt from: what a few steps carry over to strangers is less than what chance moves. */
static void drawings_show_whom_they_should(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: what a network learns is tested without a sanitizer\n");
  skip();
#endif
  struct attack_faces from;
  struct face_sample faces = sample_of(&from, &open, 128);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct model *model = load(teacher);
  struct recogniser *recogniser = made_recogniser(model, &faces);
  uint8_t *drawn = malloc(faces.count * PIXELS);
  const double without = drawn_cosine(model, mask, NULL, &faces, STEPS, drawn),
               with = drawn_cosine(model, mask, recogniser, &faces, STEPS, drawn);
  print_message("cosine to the true face %.4f, %.4f without the recogniser\n", with, without);
  assert_true(with > without + .04);
  free(drawn);
  recogniser_free(recogniser);
  model_free(model);
  mask_free(mask);
  face_sample_done(&faces);
}

/* To the byte, also by a recogniser that has served another network before. */
static void the_same_again(void **state) {
  (void)state;
  struct attack_faces from;
  struct face_sample faces = sample_of(&from, &open, 64);
  struct mask *mask = fitted_mask(MASK_AHM, 3, 3);
  struct model *model = load(teacher);
  struct recogniser *recogniser = made_recogniser(model, &faces);
  uint8_t *drawn[2];
  for (int i = 0; i < 2; i++) {
    drawn[i] = malloc(faces.count * PIXELS);
    (void)drawn_cosine(model, mask, recogniser, &faces, 3, drawn[i]);
  }
  assert_memory_equal(drawn[0], drawn[1], faces.count * PIXELS);
  free(drawn[0]);
  free(drawn[1]);
  recogniser_free(recogniser);
  model_free(model);
  mask_free(mask);
  face_sample_done(&faces);
}

static bool at_once(void *context) {
  (void)context;
  return true;
}

static void a_recogniser_stops_when_asked(void **state) {
  (void)state;
  const struct lessons_options options = {.threads = 1, .should_stop = at_once};
  struct attack_faces from;
  struct face_sample faces = sample_of(&from, &open, 64);
  struct model *model = load(teacher);
  struct recogniser *recogniser = NULL;
  assert_int_equal(recogniser_new(model, &faces, SIZE, &options, &recogniser, NULL), -ECANCELED);
  assert_null(recogniser);
  model_free(model);
  face_sample_done(&faces);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_against_differences), cmocka_unit_test(a_teacher_nobody_sees_through),
      cmocka_unit_test(drawings_show_whom_they_should), cmocka_unit_test(the_same_again),
      cmocka_unit_test(a_recogniser_stops_when_asked)};
  return cmocka_run_group_tests(tests, train_teacher, forget_teacher);
}
