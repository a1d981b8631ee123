#include "core/attack/gan_inversion.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/descent.h"
#include "core/attack/gan_training.h"
#include "core/attack/pseudo.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/philox.h"

#define RATE 0.1f         /* Adam's, of latents */
#define LOOKS 2u          /* a step */
#define COSINE_MOST 1.001 /* rounding included */
#define SEED_GENERATOR 0x47414e0000000001u
#define DRAW_START ((1ull << 38) - 2) /* sequences of RNG_ATTACK, beyond those of the other files */
#define DRAW_LOOK ((1ull << 39) + (1ull << 38))

const struct gan_inversion_budget gan_inversion_budgets[] = {
    [EFFORT_QUICK] =
        {.people = 16, .known = 200, .faces = 1000, .side = 64, .lessons = 500, .steps = 100, .restarts = 1},
    [EFFORT_STANDARD] =
        {.people = 48, .known = 800, .faces = 3000, .side = 64, .lessons = 2000, .steps = 300, .restarts = 2},
    [EFFORT_THOROUGH] = {.people = 96,
                         .known = 2000,
                         .faces = 10000,
                         .side = 64,
                         .lessons = 6000,
                         .steps = 600,
                         .restarts = 3},
};

/* The attack, on both networks. */
struct assault {
  const struct gan_inversion *inversion;
  const struct gan_inversion_budget *budget;
  struct attack_result *result;
  struct gan *shared; /* one that knows no people serves both; else NULL */
};

/* On one of them. */
struct search {
  const struct assault *assault;
  struct guide guide;
  struct artist *artist;
  struct descent descent;
  const uint32_t *wanted;
  uint32_t count;
  uint32_t person[INVERSION_BATCH];                          /* of the batch's searches, 0..count-1 */
  uint32_t classes[INVERSION_BATCH], drawn[INVERSION_BATCH]; /* the network's, the generator's */
  float *latents, *derivative;                               /* (INVERSION_BATCH, GAN_LATENT) */
  float *gradient;                                           /* (INVERSION_BATCH, 3, side, side) */
  double *best;                                              /* (count) */
  double scores[INVERSION_BATCH];                            /* of what the batch has found, and it */
  uint8_t *found;                                            /* (INVERSION_BATCH, size, size, 3) */
  struct ledger *ledger;                                     /* of batches */
};

static uint32_t side_of(const struct assault *assault, const struct inverted *inverted) {
  return MIN(mask_size(inverted->mask), assault->budget->side);
}

/* ---- the generator ---- */

/* classes x each public faces; without people all, for the one class there is. *ret_labelled is the caller's.
 */
static int label_faces(const struct assault *assault, const struct inverted *inverted,
                       const struct face_sample *faces, const uint32_t *wanted, struct gan_training *training,
                       uint32_t **ret_labelled, struct guise_error *err) {
  const uint32_t from = mask_size(inverted->context->mask), to = mask_size(inverted->mask);
  struct resized_faces seen;
  training->each =
      assault->inversion->labelled ? MIN(assault->inversion->labelled, faces->count) : faces->count;
  uint32_t *labelled = *ret_labelled =
      calloc((size_t)training->gan.classes * training->each, sizeof(*labelled));
  training->labelled = labelled;
  if (!labelled)
    return error_set(err, -ENOMEM, "out of memory for the labels of %u public faces", faces->count);
  for (uint32_t i = 0; i < training->each; i++)
    labelled[i] = i;
  if (!assault->inversion->labelled)
    return 0;
  int r = resized_faces_init(&seen, faces, from, to);
  r = r < 0 ? error_set(err, r, "out of memory for %u public faces", faces->count)
            : pseudo_label(inverted, &seen.sample, wanted, training->gan.classes, training->each, labelled,
                           err);
  resized_faces_done(&seen);
  return r;
}

/* In a directory of its own: jobs that go on find those again, not files. "" = nowhere. */
static int find_place(const struct assault *assault, const struct inverted *inverted,
                      char ret_path[static PATH_MAX], struct guise_error *err) {
  static const char file[] = "/generator.safetensors";
  const bool people = assault->inversion->labelled > 0;
  *ret_path = 0;
  if (!inverted->context->work_directory)
    return 0;
  if (snprintf(ret_path, PATH_MAX - sizeof(file), "%s/%s%s%s", inverted->context->work_directory,
               assault->inversion->name, people ? "-" : "",
               people ? inverted->role : "") >= PATH_MAX - (int)sizeof(file))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = directory_make(ret_path, err);
  if (r == 0)
    memcpy(ret_path + strlen(ret_path), file, sizeof(file));
  return r;
}

static int make_generator(const struct assault *assault, const struct inverted *inverted,
                          const struct face_sample *faces, const uint32_t *wanted, uint32_t count,
                          struct guide *guide, struct gan **ret_gan, struct guise_error *err) {
  const struct attack_context *context = inverted->context;
  const bool people = assault->inversion->labelled > 0;
  _cleanup_(freep) uint32_t *labelled = NULL;
  const bool control = strcmp(inverted->role, "control") == 0;
  char path[PATH_MAX];
  int r = find_place(assault, inverted, path, err);
  if (r < 0)
    return r;
  struct gan_training training = {
      .gan = {.side = side_of(assault, inverted),
              .classes = people ? count : 1,
              .threads = context->threads,
              .seed = context->seed ^ SEED_GENERATOR},
      .faces = faces,
      .size = mask_size(context->mask),
      .steps = assault->budget->lessons,
      .guide = people ? guide : NULL,
      .network = inverted->network,
      .guidance = assault->inversion->guidance,
      .wanted = people ? wanted : NULL,
      .path = *path ? path : NULL,
      .cache = people && control && context->undefended_given ? NULL : context->cache,
      .sources = CACHE_PUBLIC | (people ? CACHE_PEOPLE : 0) | (people && !control ? CACHE_MODEL : 0),
      .stop = lessons_options_of(context),
      .kept = context->kept};
  r = label_faces(assault, inverted, faces, wanted, &training, &labelled, err);
  return r < 0 ? r : gan_train(&training, ret_gan, err);
}

/* ---- the search ---- */

static int search_init(struct search *search, struct gan *gan, struct guise_error *err) {
  const size_t latents = (size_t)INVERSION_BATCH * GAN_LATENT;
  const uint32_t side = search->guide.side;
  search->latents = tensor_alloc(latents * sizeof(float));
  search->derivative = tensor_alloc(latents * sizeof(float));
  search->gradient = tensor_alloc((size_t)INVERSION_BATCH * 3 * side * side * sizeof(float));
  search->best = calloc(search->count, sizeof(*search->best));
  search->found = malloc((size_t)INVERSION_BATCH * 3 * search->guide.size * search->guide.size);
  if (descent_init(&search->descent, latents) < 0 || !search->latents || !search->derivative ||
      !search->gradient || !search->best || !search->found)
    return error_set(err, -ENOMEM, "out of memory for %u pictures", INVERSION_BATCH);
  for (uint32_t i = 0; i < search->count; i++)
    search->best[i] = -INFINITY;
  return artist_new(gan, INVERSION_BATCH, search->assault->inversion->realism > 0, &search->artist, err);
}

static void search_done(struct search *search) {
  guide_done(&search->guide);
  artist_free(search->artist);
  descent_done(&search->descent);
  tensor_free(search->latents);
  tensor_free(search->derivative);
  tensor_free(search->gradient);
  free(search->best);
  free(search->found);
  ledger_free(search->ledger);
}

/* Search `number` is of person number % count. A batch that is not full begins anew with the first. */
static void begin(struct search *search, uint32_t first) {
  const struct assault *assault = search->assault;
  const uint32_t all = search->count * assault->budget->restarts;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    const uint32_t number = (first + i) % all;
    struct rng rng;
    search->person[i] = number % search->count;
    search->classes[i] = search->wanted[search->person[i]];
    search->drawn[i] = assault->inversion->labelled ? search->person[i] : 0;
    rng_init(&rng, search->guide.inverted->context->seed, RNG_ATTACK, DRAW_START, number);
    for (uint32_t k = 0; k < GAN_LATENT; k++)
      search->latents[i * GAN_LATENT + k] = rng_normal(&rng);
  }
  descent_start(&search->descent);
}

static int look(struct search *search, const float *pictures, uint32_t first, uint32_t step, uint32_t turn,
                struct guise_error *err) {
  struct view views[INVERSION_BATCH];
  const uint32_t number = step * LOOKS + turn;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    struct rng rng;
    rng_init(&rng, search->guide.inverted->context->seed, RNG_ATTACK, DRAW_LOOK + number, first + i);
    views[i] = random_view(&rng, search->guide.side);
  }
  return guide_add(&search->guide, pictures, views, search->classes, search->assault->inversion->loss,
                   1.0f / LOOKS, number * INVERSION_BATCH, search->gradient, NULL, err);
}

static int advance(struct search *search, uint32_t first, uint32_t step, struct guise_error *err) {
  const struct gan_inversion *inversion = search->assault->inversion;
  const size_t picture = (size_t)3 * search->guide.side * search->guide.side;
  const float *pictures = NULL;
  int r = artist_draw(search->artist, search->latents, search->drawn, &pictures, err);
  memset(search->gradient, 0, INVERSION_BATCH * picture * sizeof(float));
  for (uint32_t turn = 0; turn < LOOKS && r == 0; turn++)
    r = look(search, pictures, first, step, turn, err);
  if (r == 0 && inversion->realism > 0)
    r = artist_doubt(search->artist, search->drawn, inversion->realism, search->gradient, err);
  if (r == 0)
    r = artist_pull_back(search->artist, search->gradient, search->derivative, err);
  if (r == 0)
    descent_step(&search->descent, RATE, step, search->assault->budget->steps, search->derivative,
                 search->latents);
  return r;
}

static size_t found_bytes(const struct search *search) {
  return (size_t)3 * search->guide.size * search->guide.size;
}

static int look_at_found(struct search *search, struct guise_error *err) {
  const size_t picture = (size_t)3 * search->guide.side * search->guide.side;
  const float *pictures = NULL;
  int r = artist_draw(search->artist, search->latents, search->drawn, &pictures, err);
  if (r == 0)
    r = guide_scores(&search->guide, pictures, search->classes, search->scores, err);
  for (uint32_t i = 0; i < INVERSION_BATCH && r == 0; i++) {
    if (!isfinite(search->scores[i]))
      return error_set(err, -EDOM, "the attack's search among faces diverged");
    guide_picture(&search->guide, pictures + i * picture, search->found + i * found_bytes(search));
  }
  return r;
}

/* Whoever is better taken for the person than before is kept. */
static void keep_best(struct search *search, uint32_t first, uint8_t *ret_rgb) {
  const size_t bytes = found_bytes(search);
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    const uint32_t person = search->person[i];
    if (first + i >= search->count * search->assault->budget->restarts ||
        search->scores[i] <= search->best[person])
      continue;
    search->best[person] = search->scores[i];
    memcpy(ret_rgb + person * bytes, search->found + i * bytes, bytes);
  }
}

/* The batch that has begun. */
static int search_on(struct search *search, uint32_t first, struct guise_error *err) {
  const struct lessons_options stop = lessons_options_of(search->guide.inverted->context);
  int r = 0;
  for (uint32_t step = 0; step < search->assault->budget->steps && r == 0; step++) {
    r = lessons_stop_code(&stop, err);
    if (r == 0)
      r = advance(search, first, step, err);
  }
  return r < 0 ? r : look_at_found(search, err);
}

static int search_all(struct search *search, uint8_t *ret_rgb, struct guise_error *err) {
  const struct ledger_part parts[] = {
      {search->scores, sizeof(search->scores), .numbers = true, .least = -COSINE_MOST, .most = COSINE_MOST},
      {search->found, INVERSION_BATCH * found_bytes(search), .numbers = false}};
  const uint32_t all = search->count * search->assault->budget->restarts;
  int r = 0;
  for (uint32_t first = 0; first < all && r == 0; first += INVERSION_BATCH) {
    begin(search, first);
    if (!ledger_take(search->ledger, parts, ARRAY_SIZE(parts))) {
      r = search_on(search, first, err);
      if (r == 0)
        r = ledger_add(search->ledger, parts, ARRAY_SIZE(parts), err);
    }
    if (r == 0)
      keep_best(search, first, ret_rgb);
  }
  return r;
}

/* The generator is the one in the work directory. */
static int open_ledger(struct search *search, struct guise_error *err) {
  const struct inverted *inverted = search->guide.inverted;
  const struct gan_inversion_budget *budget = search->assault->budget;
  char path[PATH_MAX];
  json_t *generator;
  int r = find_place(search->assault, inverted, path, err);
  if (r < 0 || !*path)
    return r;
  r = ledger_digest_of_file(path, &generator, err);
  return r < 0 ? r
               : inversion_ledger(inverted, search->wanted, search->count,
                                  json_pack("{s:o, s:i, s:i, s:i}", "generator", generator, "side",
                                            (int)search->guide.side, "steps", (int)budget->steps, "restarts",
                                            (int)budget->restarts),
                                  &search->ledger, err);
}

/* ---- the attack on one network ---- */

static int draw_with(struct assault *assault, struct search *search, const struct inverted *inverted,
                     struct face_sample *faces, uint8_t *ret_rgb, struct guise_error *err) {
  struct gan *gan = assault->shared;
  int r = guide_init(&search->guide, inverted, side_of(assault, inverted), faces,
                     mask_size(inverted->context->mask), err);
  if (r == 0 && !gan)
    r = make_generator(assault, inverted, faces, search->wanted, search->count, &search->guide, &gan, err);
  if (r < 0)
    return r;
  assault->result->parameters = gan_parameters(gan);
  assault->result->public_faces = faces->count;
  r = search_init(search, gan, err);
  if (r == 0)
    r = open_ledger(search, err);
  if (r == 0)
    r = search_all(search, ret_rgb, err);
  if (assault->inversion->labelled)
    gan_free(gan);
  else
    assault->shared = gan;
  return r;
}

static int draw(const struct inverted *inverted, void *method, const uint32_t *wanted, uint32_t count,
                uint8_t *ret_rgb, struct guise_error *err) {
  struct assault *assault = method;
  struct search search = {.assault = assault, .wanted = wanted, .count = count};
  struct face_sample faces;
  int r = face_sample_draw(&inverted->context->open, assault->budget->faces, inverted->context->seed, &faces);
  if (r < 0)
    return error_set(err, r, "out of memory for %u public faces", inverted->context->open.count);
  r = lessons_check_faces(&faces, err);
  if (r == 0)
    r = draw_with(assault, &search, inverted, &faces, ret_rgb, err);
  search_done(&search);
  face_sample_done(&faces);
  return r;
}

int gan_inversion_run(const struct gan_inversion *inversion, const struct gan_inversion_budget *budget,
                      const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err) {
  struct assault assault = {.inversion = inversion, .budget = budget, .result = ret_result};
  const struct inversion common = {.name = inversion->name,
                                   .threat_model = inversion->threat_model,
                                   .people = budget->people,
                                   .known = budget->known,
                                   .control_least = INVERSION_CONTROL_LEAST,
                                   .method = &assault,
                                   .draw = draw};
  ret_result->steps = budget->lessons;
  int r = inversion_run(&common, context, ret_result, err);
  gan_free(assault.shared);
  return r;
}
