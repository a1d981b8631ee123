#include "core/attack/gan_training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/freq/dct.h"

#define CHECKPOINT_FORMAT "guise-gan-2"
#define CHECKPOINT_STEPS 250u
#define MOVED 24u               /* the side's share that a look is moved by, each way */
#define DRAW_BATCH (1ull << 39) /* sequence of RNG_ATTACK, beyond those of the other files */

struct course {
  const struct gan_training *training;
  struct gan *gan;
  struct resized_faces faces; /* of the generator's side */
  float *photographs;         /* (GAN_BATCH, 3, side, side) */
  uint32_t classes[GAN_BATCH], wanted[GAN_BATCH];
  struct view views[GAN_BATCH];
  uint64_t step;
  struct gan_losses losses;
  char photographed[SHA256_HEX], network[SHA256_HEX]; /* what is learnt from; "" = no network */
};

struct view random_view(struct rng *rng, uint32_t side) {
  const float reach = 2 * (float)side / MOVED;
  struct view view = {.mirrored = rng_u32(rng) & 1};
  view.right = reach * (rng_uniform(rng) - .5f);
  view.down = reach * (rng_uniform(rng) - .5f);
  return view;
}

/* ---- files ---- */

/* What must agree between a checkpoint and the training that goes on from it. */
static json_t *metadata_of(const struct course *course) {
  const struct gan_training *t = course->training;
  char text[240], step[32], labels[SHA256_HEX], rows[SHA256_HEX] = "";
  sha256_data(t->labelled, (size_t)t->gan.classes * t->each * sizeof(*t->labelled), labels);
  if (t->guide) {
    const struct classifier *classifier = t->guide->inverted->classifier;
    sha256_data(head_weights(classifier->head),
                (size_t)classifier->classes * classifier->embedding * sizeof(float), rows);
  }
  (void)snprintf(text, sizeof(text),
                 "side %u classes %u each %u seed %llu steps %u guidance %g scale %g faces %u threads %u",
                 t->gan.side, t->gan.classes, t->each, (unsigned long long)t->gan.seed, t->steps,
                 (double)t->guidance, t->guide ? (double)t->guide->inverted->context->loss.options.scale : 0,
                 t->faces->count, t->gan.threads);
  (void)snprintf(step, sizeof(step), "%llu", (unsigned long long)course->step);
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "format", CHECKPOINT_FORMAT, "training", text,
                   "faces", course->photographed, "labels", labels, "network", course->network, "rows", rows,
                   "step", step);
}

static int write_checkpoint(struct course *course, struct guise_error *err) {
  if (!course->training->path)
    return 0;
  json_t *metadata = metadata_of(course);
  int r = metadata ? gan_write(course->gan, course->training->path, metadata, err)
                   : error_set(err, -ENOMEM, "out of memory for a checkpoint");
  json_decref(metadata);
  return r;
}

static bool belongs(const struct course *course, const json_t *theirs) {
  static const char *const keys[] = {"format", "training", "faces", "labels", "network", "rows"};
  json_t *mine = metadata_of(course);
  bool same = mine != NULL;
  for (size_t i = 0; i < ARRAY_SIZE(keys) && same; i++)
    same = json_equal(json_object_get(mine, keys[i]), json_object_get(theirs, keys[i]));
  json_decref(mine);
  return same;
}

/* The step to go on from: 0 where there is no checkpoint of this training. */
static int read_checkpoint(struct course *course, struct guise_error *err) {
  const struct gan_training *t = course->training;
  struct guise_error unused = {0};
  struct safetensors *file = NULL;
  if (!t->path || access(t->path, R_OK) < 0 || safetensors_open(t->path, &file, &unused) < 0)
    return 0;
  int r = 0;
  if (belongs(course, safetensors_metadata(file))) {
    const char *step = json_string_value(json_object_get(safetensors_metadata(file), "step"));
    course->step = step ? strtoull(step, NULL, 10) : 0;
    if (course->step > t->steps || gan_read(course->gan, file, &unused) < 0) { /* damaged: from the start */
      course->step = 0;
      course->gan = gan_free(course->gan);
      r = gan_new(&t->gan, &course->gan, err);
    }
  }
  safetensors_free(file);
  return r;
}

/* ---- generators that earlier jobs have left ---- */

static int make_key(const struct course *course, char ret_key[SHA256_HEX], struct guise_error *err) {
  json_t *identity = metadata_of(course);
  (void)json_object_del(identity, "step");
  int r = cache_key(identity, ret_key);
  return r < 0 ? error_set(err, r, "out of memory looking for a generator that was trained before") : 0;
}

/* One that is finished, in the place of what is there. */
static int fetch(struct course *course, const char *key, struct guise_error *err) {
  const struct gan_training *t = course->training;
  return t->cache->fetch(t->cache->context, key, t->path) < 0 ? 0 : read_checkpoint(course, err);
}

/* ---- a step ---- */

static void choose(struct course *course) {
  const struct gan_training *t = course->training;
  const uint32_t side = t->gan.side;
  const size_t picture = (size_t)3 * side * side;
#pragma omp parallel for schedule(static) num_threads(t->gan.threads)
  for (uint32_t i = 0; i < GAN_BATCH; i++) {
    float *photograph = course->photographs + i * picture;
    struct rng rng;
    rng_init(&rng, t->gan.seed, RNG_ATTACK, DRAW_BATCH + course->step, i);
    const uint32_t class_ = course->classes[i] = rng_below(&rng, t->gan.classes);
    const uint32_t face = t->labelled[(size_t)class_ * t->each + rng_below(&rng, t->each)];
    course->wanted[i] = t->wanted ? t->wanted[class_] : 0;
    rgb_to_ycbcr(face_sample_image(&course->faces.sample, face), side, rng_u32(&rng) & 1, photograph);
    for (size_t k = 0; k < picture; k++)
      photograph[k] /= CANVAS_UNIT;
    course->views[i] = random_view(&rng, side);
  }
}

/* What the attacked network wants. */
static int guide_generator(void *context, const float *pictures, float *gradient, struct guise_error *err) {
  struct course *course = context;
  const struct gan_training *t = course->training;
  const size_t picture = (size_t)3 * t->gan.side * t->gan.side;
  int r = 0;
  for (uint32_t first = 0; first < GAN_BATCH && r == 0; first += INVERSION_BATCH)
    r = guide_add(t->guide, pictures + first * picture, course->views + first, course->wanted + first,
                  GUIDE_MARGIN, t->guidance * INVERSION_BATCH / GAN_BATCH,
                  (uint32_t)(course->step * GAN_BATCH) + first, gradient + first * picture, NULL, err);
  return r;
}

_Static_assert(GAN_BATCH % INVERSION_BATCH == 0, "the attacked network sees whole batches");

/* Of a training that is stopped the last steps are kept; why it ends counts, not whether that worked. */
static int stop_code(struct course *course, struct guise_error *err) {
  struct guise_error unused = {0};
  int r = lessons_stop_code(&course->training->stop, err);
  if (r < 0)
    (void)write_checkpoint(course, &unused);
  return r;
}

static int keep_on(struct course *course, struct guise_error *err) {
  const struct gan_training *t = course->training;
  int r = write_checkpoint(course, err);
  if (r == 0 && t->path && t->kept)
    t->kept(t->stop.stop_context);
  return r;
}

static int train(struct course *course, struct guise_error *err) {
  const struct gan_training *t = course->training;
  const bool keeps = t->cache && t->path;
  char key[SHA256_HEX];
  int r = read_checkpoint(course, err);
  if (r == 0 && keeps)
    r = make_key(course, key, err);
  if (r == 0 && keeps && course->step < t->steps)
    r = fetch(course, key, err);
  const bool found = course->step == t->steps;
  while (r == 0 && course->step < t->steps) {
    r = stop_code(course, err);
    if (r < 0)
      break;
    choose(course);
    r = gan_step(course->gan, course->step, course->photographs, course->classes,
                 t->guide ? guide_generator : NULL, course, &course->losses, err);
    course->step++;
    if (r == 0 && (course->step % CHECKPOINT_STEPS == 0 || course->step == t->steps))
      r = keep_on(course, err);
  }
  if (r == 0 && keeps && !found)
    t->cache->keep(t->cache->context, key, t->path, t->sources);
  return r < 0 ? r : gan_settle(course->gan, err);
}

/* Hashes what is learnt from. */
static int identify(struct course *course, struct guise_error *err) {
  const struct gan_training *t = course->training;
  sha256_data(course->faces.rgb, course->faces.bytes * t->faces->count, course->photographed);
  int r = t->guide && t->network ? sha256_file(t->network, course->network, NULL) : 0;
  return r < 0 ? error_set(err, r, "cannot read %s: %s", t->network, strerror(-r)) : 0;
}

int gan_train(const struct gan_training *training, struct gan **ret_gan, struct guise_error *err) {
  struct course course = {.training = training};
  const uint32_t side = training->gan.side;
  course.photographs = tensor_alloc((size_t)GAN_BATCH * 3 * side * side * sizeof(float));
  int r = resized_faces_init(&course.faces, training->faces, training->size, side);
  if (r < 0 || !course.photographs)
    r = error_set(err, -ENOMEM, "out of memory for %u public faces", training->faces->count);
  if (r == 0)
    r = identify(&course, err);
  if (r == 0)
    r = gan_new(&training->gan, &course.gan, err);
  if (r == 0)
    r = train(&course, err);
  resized_faces_done(&course.faces);
  tensor_free(course.photographs);
  if (r < 0) {
    gan_free(course.gan);
    return r;
  }
  *ret_gan = course.gan;
  return 0;
}
