/* Model inversion through a generator, on networks that have learnt people of plain patterns: looks and their
 * transposes, pseudo-labels, a training that goes on to the bit where it was stopped, and attacks that draw
 * what the weights remember. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/gan_inversion.h"
#include "core/attack/gan_training.h"
#include "core/attack/pseudo.h"
#include "core/base/file.h"
#include "unit/attack/known.h"
#include "unit/attack/units.h"

#define STRANGERS 30u
#define ALIKE 2u /* public faces that look like a person */
#define LESSONS 30u
#define SIDE 16u
#define LARGE 24u

static struct crowd strangers; /* public faces: like person 0, 1, ..., then others */
static char directory[] = "/tmp/guise-generator-XXXXXX";

static int setup(void **state) {
  if (known_setup(state) != 0 || !mkdtemp(directory))
    return -1;
  strangers = crowd_of(100, PEOPLE * ALIKE + STRANGERS, 1);
  for (uint32_t i = 0; i < strangers.count; i++)
    if (i < PEOPLE * ALIKE)
      draw_person(i % PEOPLE, IMAGES + i / PEOPLE, strangers.pixels + i * PIXELS);
    else
      draw_person(PEOPLE + i, 0, strangers.pixels + i * PIXELS);
  return 0;
}

static int teardown(void **state) {
  crowd_done(&strangers);
  return known_teardown(state) | directory_remove(directory);
}

/* A network that knows its people, as the attacks see it. */
struct seen {
  struct attack_context context;
  struct attack_loss loss;
  struct face_sample known, faces;
  struct model *model;
  struct inverted inverted;
};

static void seen_init(struct seen *seen, const struct mask *before) {
  struct guise_error err = {0};
  *seen = (struct seen){.context = context_of(attacked)};
  seen->context.open = faces_of(&strangers);
  seen->loss = seen->context.loss;
  seen->loss.options.margin = 0;
  assert_int_equal(face_sample_draw(&seen->context.members, victims.count, 1, &seen->known), 0);
  assert_int_equal(face_sample_draw(&seen->context.open, strangers.count, 1, &seen->faces), 0);
  assert_int_equal(model_load(attacked, INVERSION_BATCH, 1, &seen->model, &err), 0);
  const struct classifier_options options = {.model = seen->model,
                                             .mask = before,
                                             .known = &seen->known,
                                             .loss = &seen->loss,
                                             .batch = INVERSION_BATCH,
                                             .threads = 1,
                                             .seed = 1};
  seen->inverted = (struct inverted){.context = &seen->context, .mask = before, .role = "attacked"};
  if (classifier_new(&options, &seen->inverted.classifier, &err) != 0)
    fail_msg("%s", err.text);
}

static void seen_done(struct seen *seen) {
  classifier_free(seen->inverted.classifier);
  model_free(seen->model);
  face_sample_done(&seen->known);
  face_sample_done(&seen->faces);
}

/* ---- looks ---- */

static void looks_have_their_transposes(void **state) {
  (void)state;
  static float picture[3 * SIDE * SIDE], planes[3 * LARGE * LARGE], other[3 * LARGE * LARGE],
      back[3 * SIDE * SIDE];
  static const struct view views[] = {{false, 0, 0}, {true, 0, 0}, {false, 1.3f, -.6f}, {true, -2, 2}};
  struct rng rng;
  rng_init(&rng, 1, RNG_SYNTH, 0, 0);
  for (size_t i = 0; i < ARRAY_SIZE(picture); i++)
    picture[i] = rng_normal(&rng);
  for (size_t i = 0; i < ARRAY_SIZE(other); i++)
    other[i] = rng_normal(&rng);
  for (size_t v = 0; v < ARRAY_SIZE(views); v++) {
    double there = 0, here = 0;
    memset(back, 0, sizeof(back));
    view_show(&views[v], picture, SIDE, LARGE, planes);
    view_add_back(&views[v], other, SIDE, LARGE, back);
    for (size_t i = 0; i < ARRAY_SIZE(planes); i++)
      there += (double)(planes[i] * other[i]);
    for (size_t i = 0; i < ARRAY_SIZE(back); i++)
      here += (double)(picture[i] * back[i]);
    assert_true(fabs(there - here) < 1e-3);
  }
  view_show(&views[0], picture, SIDE, SIDE, planes); /* nothing is lost at the same size */
  assert_memory_equal(planes, picture, sizeof(picture));
  view_show(&(struct view){true, 0, 0}, picture, SIDE, SIDE, planes);
  assert_true(planes[0] == picture[SIDE - 1] && planes[SIDE] == picture[2 * SIDE - 1]);
  view_show(&(struct view){false, 2, 1}, picture, SIDE, SIDE, planes);
  assert_true(planes[SIDE + 2] == picture[0] && planes[0] == picture[0]); /* edges go on */
}

/* ---- what the network says ---- */

/* The derivative by the pictures against differences of the loss. */
static void check_gradient(const struct mask *before, enum guide_loss loss, double step, double tolerance) {
  struct seen seen;
  struct guide guide;
  struct guise_error err = {0};
  struct view views[INVERSION_BATCH] = {{.mirrored = true}, {.right = 1.5f}};
  uint32_t classes[INVERSION_BATCH];
  seen_init(&seen, before);
  const size_t all = (size_t)INVERSION_BATCH * 3 * SIZE * SIZE;
  float *pictures = calloc(all, sizeof(float)), *gradient = calloc(all, sizeof(float)),
        *unused = calloc(all, sizeof(float));
  assert_int_equal(guide_init(&guide, &seen.inverted, SIZE, &seen.faces, SIZE, &err), 0);
  struct rng rng;
  rng_init(&rng, 2, RNG_SYNTH, 0, 0);
  for (size_t i = 0; i < all; i += 8) { /* blocks of pixels, as faces have them */
    const float value = .5f * rng_normal(&rng);
    for (size_t k = i; k < i + 8; k++)
      pictures[k] = value;
  }
  for (uint32_t i = 0; i < INVERSION_BATCH; i++)
    classes[i] = i % PEOPLE;
  assert_int_equal(guide_add(&guide, pictures, views, classes, loss, 1, 0, gradient, NULL, &err), 0);
  double length = 0, losses[2];
  for (size_t i = 0; i < all; i++)
    length += (double)(gradient[i] * gradient[i]);
  length = sqrt(length);
  for (int side = 0; side < 2; side++) {
    for (size_t i = 0; i < all; i++)
      pictures[i] += (float)((side ? -2 : 1) * step * (double)gradient[i] / length);
    assert_int_equal(guide_add(&guide, pictures, views, classes, loss, 1, 0, unused, &losses[side], &err), 0);
  }
  print_message("slope %.5f, of differences %.5f\n", length, (losses[0] - losses[1]) / (2 * step));
  assert_true(fabs((losses[0] - losses[1]) / (2 * step) - length) < tolerance * length);
  guide_done(&guide);
  seen_done(&seen);
  free(pictures);
  free(gradient);
  free(unused);
}

static void the_network_tells_the_way(void **state) {
  (void)state;
  check_gradient(mask, GUIDE_MARGIN, 2e-2, .05);
  check_gradient(mask, GUIDE_ENTROPY, 2e-2, .05);
}

/* Straight through a mask that attenuates a little: nearly the same way, in steps of whole grey levels. */
static void other_masks_are_passed(void **state) {
  (void)state;
  struct mask *regional = NULL;
  struct mask_options options = mask_options_default(MASK_REGIONAL, SIZE);
  for (uint32_t i = 0; i < mask_traits(MASK_REGIONAL)->parameter_count; i++)
    options.parameter[i] = .05;
  assert_int_equal(mask_new(&options, &regional, NULL), 0);
  assert_int_equal(mask_fit(regional, crowd_image, &victims, victims.count, NULL), 0);
  assert_false(mask_is_linear(regional));
  check_gradient(regional, GUIDE_MARGIN, 4, .4);
  mask_free(regional);
}

/* Whom a class is of. */
static uint32_t person_of(const struct seen *seen, uint32_t class_) {
  for (uint32_t i = 0; i < seen->known.count; i++)
    if (seen->known.person[i] == class_)
      return seen->context.members.identity[seen->known.index[i]];
  fail_msg("class %u is nobody's", class_);
  return 0;
}

static void the_nearest_faces_are_labelled(void **state) {
  (void)state;
  struct seen seen;
  struct guise_error err = {0};
  uint32_t wanted[PEOPLE], faces[PEOPLE * ALIKE];
  seen_init(&seen, mask);
  for (uint32_t i = 0; i < PEOPLE; i++)
    wanted[i] = i;
  assert_int_equal(pseudo_label(&seen.inverted, &seen.faces, wanted, PEOPLE, ALIKE, faces, &err), 0);
  for (uint32_t i = 0; i < PEOPLE * ALIKE; i++) {
    const uint32_t person = person_of(&seen, i / ALIKE), shown = seen.faces.index[faces[i]];
    assert_true(shown < PEOPLE * ALIKE);
    assert_int_equal(shown % PEOPLE, person);
  }
  assert_true(faces[0] != faces[1]);
  seen_done(&seen);
}

/* ---- the generator ---- */

static const struct model_cache *cache; /* of the next trainings; NULL = none */

static int train_generator(struct seen *seen, struct guide *guide, uint32_t steps, const char *path,
                           uint32_t *patience, struct gan **ret_gan) {
  static uint32_t wanted[PEOPLE], labelled[PEOPLE * ALIKE];
  struct guise_error err = {0};
  for (uint32_t i = 0; i < PEOPLE; i++)
    wanted[i] = i;
  assert_int_equal(pseudo_label(&seen->inverted, &seen->faces, wanted, PEOPLE, ALIKE, labelled, &err), 0);
  const struct gan_training training = {
      .gan = {.side = SIDE, .classes = PEOPLE, .threads = 1, .seed = 5},
      .faces = &seen->faces,
      .size = SIZE,
      .labelled = labelled,
      .each = ALIKE,
      .steps = steps,
      .guide = guide,
      .guidance = .2f,
      .wanted = wanted,
      .network = attacked,
      .path = path,
      .cache = cache,
      .sources = CACHE_PUBLIC | CACHE_MODEL,
      .stop = {.should_stop = patience ? out_of_patience : NULL, .stop_context = patience}};
  return gan_train(&training, ret_gan, &err);
}

/* Pictures of everybody, each from the same latents. */
static void draw_everybody(struct gan *gan, float *ret_pictures) {
  struct artist *artist = NULL;
  static float latents[INVERSION_BATCH * GAN_LATENT];
  uint32_t classes[INVERSION_BATCH];
  const float *pictures = NULL;
  struct rng rng;
  rng_init(&rng, 9, RNG_SYNTH, 0, 0);
  for (size_t i = 0; i < ARRAY_SIZE(latents); i++)
    latents[i] = rng_normal(&rng);
  for (uint32_t i = 0; i < INVERSION_BATCH; i++)
    classes[i] = i % PEOPLE;
  assert_int_equal(artist_new(gan, INVERSION_BATCH, false, &artist, NULL), 0);
  assert_int_equal(artist_draw(artist, latents, classes, &pictures, NULL), 0);
  memcpy(ret_pictures, pictures, (size_t)INVERSION_BATCH * 3 * SIDE * SIDE * sizeof(float));
  artist_free(artist);
}

static double loss_of(struct guide *guide, const float *pictures) {
  static float unused[INVERSION_BATCH * 3 * SIDE * SIDE];
  static const struct view as_it_is[INVERSION_BATCH];
  uint32_t classes[INVERSION_BATCH];
  double loss = NAN;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++)
    classes[i] = i % PEOPLE;
  assert_int_equal(guide_add(guide, pictures, as_it_is, classes, GUIDE_MARGIN, 0, 0, unused, &loss, NULL), 0);
  return loss;
}

/* The critic learns to tell plain grey from what is drawn: 2 is what one loses that cannot. */
static void a_critic_learns(void **state) {
  (void)state;
  static float grey[GAN_BATCH * 3 * SIDE * SIDE];
  const struct gan_options options = {.side = SIDE, .classes = 2, .threads = 1, .seed = 3};
  uint32_t classes[GAN_BATCH];
  struct gan_losses losses;
  struct gan *gan = NULL;
  double least = 2;
  for (uint32_t i = 0; i < GAN_BATCH; i++)
    classes[i] = i % 2;
  for (size_t i = 0; i < ARRAY_SIZE(grey); i++)
    grey[i] = i / (3 * SIDE * SIDE) % 2 ? 1 : -1;
  assert_int_equal(gan_new(&options, &gan, NULL), 0);
  for (uint32_t step = 0; step < 15; step++) {
    assert_int_equal(gan_step(gan, step, grey, classes, NULL, NULL, &losses, NULL), 0);
    least = fmin(least, losses.critic);
  }
  print_message("least loss of the critic %.3f\n", least);
  assert_true(least < 1.5);
  gan_free(gan);
}

static void a_generator_learns_and_goes_on(void **state) {
  (void)state;
  static float before[INVERSION_BATCH * 3 * SIDE * SIDE], after[ARRAY_SIZE(before)],
      resumed[ARRAY_SIZE(before)];
  struct seen seen;
  struct guide guide;
  struct guise_error err = {0};
  struct gan *gan = NULL;
  char path[64];
  uint32_t patience = LESSONS / 2;
  (void)snprintf(path, sizeof(path), "%s/generator.safetensors", directory);
  seen_init(&seen, mask);
  assert_int_equal(guide_init(&guide, &seen.inverted, SIDE, &seen.faces, SIZE, &err), 0);
  assert_int_equal(train_generator(&seen, &guide, 0, NULL, NULL, &gan), 0);
  draw_everybody(gan, before);
  gan_free(gan);
  assert_int_equal(train_generator(&seen, &guide, LESSONS, NULL, NULL, &gan), 0);
  draw_everybody(gan, after);
  gan_free(gan);
  print_message("margin loss %.3f, after %u steps %.3f\n", loss_of(&guide, before), LESSONS,
                loss_of(&guide, after));
  assert_true(loss_of(&guide, after) < loss_of(&guide, before) - .2);
  assert_int_equal(train_generator(&seen, &guide, LESSONS, path, &patience, &gan), -ECANCELED);
  assert_int_equal(train_generator(&seen, &guide, LESSONS, path, NULL, &gan), 0);
  draw_everybody(gan, resumed);
  gan_free(gan);
  assert_memory_equal(resumed, after, sizeof(after));
  patience = 0; /* it is there already: nobody asks */
  assert_int_equal(train_generator(&seen, &guide, LESSONS, path, &patience, &gan), 0);
  draw_everybody(gan, resumed);
  gan_free(gan);
  assert_memory_equal(resumed, after, sizeof(after));
  assert_int_equal(train_generator(&seen, &guide, LESSONS + 1, path, &patience, &gan), -ECANCELED);
  guide_done(&guide);
  seen_done(&seen);
}

/* One place for what is kept, whatever the key. */
struct place {
  char path[64], key[SHA256_HEX];
  uint32_t kept;
};

static int copy(const char *from, const char *to) {
  _cleanup_(freep) char *data = NULL;
  size_t bytes;
  int r = file_read(from, 1 << 26, &data, &bytes, NULL);
  return r < 0 ? r : file_write_atomic(to, data, bytes, NULL);
}

static int on_fetch(void *context, const char *key, const char *path) {
  const struct place *place = context;
  return strcmp(place->key, key) == 0 ? copy(place->path, path) : -ENOENT;
}

static void on_keep(void *context, const char *key, const char *path, unsigned sources) {
  struct place *place = context;
  assert_int_equal(sources, CACHE_PUBLIC | CACHE_MODEL);
  assert_int_equal(copy(path, place->path), 0);
  memcpy(place->key, key, SHA256_HEX);
  place->kept++;
}

/* A generator serves other jobs that have the same faces, number by number: with one face changed it is
 * another, neither taken from them nor gone on from. */
static void a_generator_serves_later_jobs(void **state) {
  (void)state;
  static float first[INVERSION_BATCH * 3 * SIDE * SIDE], second[ARRAY_SIZE(first)];
  static struct place place;
  const struct model_cache kept = {&place, on_fetch, on_keep};
  struct seen seen;
  struct gan *gan = NULL;
  char path[64], elsewhere[64];
  uint32_t patience = 0;
  (void)snprintf(place.path, sizeof(place.path), "%s/kept", directory);
  (void)snprintf(path, sizeof(path), "%s/one.safetensors", directory);
  (void)snprintf(elsewhere, sizeof(elsewhere), "%s/other.safetensors", directory);
  seen_init(&seen, mask);
  cache = &kept;
  assert_int_equal(train_generator(&seen, NULL, 3, path, NULL, &gan), 0);
  assert_int_equal(place.kept, 1);
  draw_everybody(gan, first);
  gan_free(gan);
  assert_int_equal(train_generator(&seen, NULL, 3, elsewhere, &patience, &gan), 0); /* nobody asks */
  draw_everybody(gan, second);
  gan_free(gan);
  assert_memory_equal(second, first, sizeof(first));
  assert_int_equal(place.kept, 1);
  uint8_t *pixel = &strangers.pixels[(strangers.count - 1) * PIXELS];
  *pixel ^= 0x80;
  assert_int_equal(train_generator(&seen, NULL, 3, path, &patience, &gan), -ECANCELED);
  *pixel ^= 0x80;
  patience = 0;
  assert_int_equal(train_generator(&seen, NULL, 4, elsewhere, &patience, &gan), -ECANCELED);
  cache = NULL;
  seen_done(&seen);
}

/* ---- the attacks ---- */

static struct attack_result run(const struct gan_inversion *inversion, const struct attack_context *context,
                                uint32_t lessons, uint32_t steps) {
  const struct gan_inversion_budget budget = {.people = PEOPLE,
                                              .known = victims.count,
                                              .faces = strangers.count,
                                              .side = SIDE, /* enough for plain patterns */
                                              .lessons = lessons,
                                              .steps = steps,
                                              .restarts = 1};
  struct attack_result result = {
      .name = inversion->name, .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  if (gan_inversion_run(inversion, &budget, context, &result, &err) != 0)
    fail_msg("%s", err.text);
  print_result(&result);
  return result;
}

static struct attack_context with_public_faces(const char *model) {
  struct attack_context context = context_of(model);
  context.open = faces_of(&strangers);
  return context;
}

/* A minute's training makes nobody's likeness, but comes nearer to everybody than to others: by how much the
 * evaluator's distances tell more surely than twelve people's ranks. */
static void check_likeness(const struct gan_inversion *inversion, uint32_t lessons, uint32_t steps,
                           double nearer) {
#ifdef GUISE_SANITIZED /* a few lessons and steps run the same code; how far they lead is told without */
  lessons = steps = 4;
#endif
  const struct attack_context context = with_public_faces(attacked);
  struct attack_result result = run(inversion, &context, lessons, steps);
  const struct attack_surface_result *surface = surface_of(&result, SURFACE_WEIGHTS);
  const struct attack_metric *distance = metric_of(surface, "knn_distance"),
                             *fifth = metric_of(surface, "accuracy_at_5");
#ifdef GUISE_SANITIZED
  assert_true(isfinite(distance->value.mean) && nearer > 0);
#else
  assert_true(distance->value.mean < distance->chance - nearer);
#endif
  assert_true(fifth->value.mean >= metric_of(surface, "accuracy_at_1")->value.mean);
  assert_int_equal(result.people, PEOPLE);
  assert_int_equal(result.public_faces, strangers.count);
  assert_true(result.parameters > 0);
  check_schema(&result);
  attack_result_done(&result);
}

static void people_are_drawn_by_plg_mi(void **state) {
  (void)state;
  struct gan_inversion few = plg_mi;
  few.labelled = ALIKE; /* 30 would be most of the faces */
  check_likeness(&few, 60, 60, .15);
}

static void people_are_drawn_by_gmi(void **state) {
  (void)state;
  check_likeness(&gmi, 100, 120, .03);
}

static void a_search_that_does_nothing_is_inconclusive(void **state) {
  (void)state;
  const struct attack_context context = with_public_faces(attacked);
  struct attack_result result = run(&gmi, &context, 1, 0);
  assert_int_equal(result.surface[0].verdict, VERDICT_INCONCLUSIVE);
  assert_non_null(strstr(result.surface[0].reason, "On its control"));
  attack_result_done(&result);
}

static int run_briefly(const struct gan_inversion *inversion, const struct attack_context *context,
                       struct attack_result *ret_result, struct guise_error *err) {
  const struct gan_inversion_budget budget = {.people = PEOPLE,
                                              .known = victims.count,
                                              .faces = strangers.count,
                                              .side = SIDE,
                                              .lessons = 2,
                                              .steps = 2,
                                              .restarts = 2};
  return gan_inversion_run(inversion, &budget, context, ret_result, err);
}

static int run_gmi(const struct attack_context *context, struct attack_result *ret_result,
                   struct guise_error *err) {
  return run_briefly(&gmi, context, ret_result, err);
}

static int run_plg_mi(const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err) {
  return run_briefly(&plg_mi, context, ret_result, err);
}

/* Two batches for either network, and the generators. */
static void finished_searches_are_kept(void **state) {
  (void)state;
  const struct attack_context context = with_public_faces(ignorant);
  check_units(run_gmi, &context, 5, "gmi-control", 1);
  check_units(run_plg_mi, &context, 6, "plg_mi-attacked", 1);
}

static void stops_when_asked(void **state) {
  (void)state;
  static const char *const names[] = {"plg_mi", "gmi"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    struct attack_context context = with_public_faces(attacked);
    struct attack_result result = {.faces = 77};
    struct guise_error err = {0};
    uint32_t patience = 20;
    char path[96];
    context.should_stop = out_of_patience;
    context.stop_context = &patience;
    context.work_directory = directory;
    assert_int_equal(attack_run(attack_find(names[i]), &context, &result, &err), -ECANCELED);
    assert_int_equal(result.faces, 77);
    /* what was learnt is kept in a directory, which is what jobs that go on find again */
    (void)snprintf(path, sizeof(path), "%s/%s/generator.safetensors", directory,
                   i == 0 ? "plg_mi-control" : "gmi");
    assert_int_equal(access(path, R_OK), 0);
    context.open.count = 0;
    assert_int_equal(attack_run(attack_find(names[i]), &context, &result, &err), -EINVAL);
    assert_non_null(strstr(err.text, "public_dataset"));
    context.open.count = 31;
    context.should_stop = NULL;
    assert_int_equal(attack_run(attack_find(names[i]), &context, &result, &err), -EINVAL);
    assert_non_null(strstr(err.text, "at least 32"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(looks_have_their_transposes),
      cmocka_unit_test(the_network_tells_the_way),
      cmocka_unit_test(other_masks_are_passed),
      cmocka_unit_test(the_nearest_faces_are_labelled),
      cmocka_unit_test(a_critic_learns),
      cmocka_unit_test(a_generator_learns_and_goes_on),
      cmocka_unit_test(a_generator_serves_later_jobs),
      cmocka_unit_test(people_are_drawn_by_plg_mi),
      cmocka_unit_test(people_are_drawn_by_gmi),
      cmocka_unit_test(a_search_that_does_nothing_is_inconclusive),
      cmocka_unit_test(finished_searches_are_kept),
      cmocka_unit_test(stops_when_asked),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
