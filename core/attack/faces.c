#include "core/attack/faces.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/subtract.h"
#include "core/base/philox.h"
#include "core/image/pack.h"
#include "core/image/synth.h"

#define BOOTSTRAP_DRAWS 1000u

/* Sequences of RNG_ATTACK: one `step` a purpose. */
enum draw_purpose { DRAW_FACES, DRAW_MIX, DRAW_STRANGER };
#define DRAW_TURN 0x7475726eull /* seed of what random masks draw for a later turn */

/* ---- choosing faces ---- */

struct candidate {
  uint32_t face, identity;
  uint32_t position; /* in the seeded order */
  uint32_t rank;     /* how many faces of the same person stand before it there */
};

static int by_identity_then_position(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->identity != y->identity)
    return x->identity < y->identity ? -1 : 1;
  return (x->position > y->position) - (x->position < y->position);
}

static int by_rank_then_position(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->rank != y->rank)
    return x->rank < y->rank ? -1 : 1;
  return (x->position > y->position) - (x->position < y->position);
}

static void order_candidates(struct candidate *all, const uint32_t *order, const struct attack_faces *faces) {
  for (uint32_t i = 0; i < faces->count; i++)
    all[i] = (struct candidate){.face = order[i], .identity = faces->identity[order[i]], .position = i};
  qsort(all, faces->count, sizeof(*all), by_identity_then_position);
  for (uint32_t i = 1; i < faces->count; i++)
    all[i].rank = all[i].identity == all[i - 1].identity ? all[i - 1].rank + 1 : 0;
  qsort(all, faces->count, sizeof(*all), by_rank_then_position);
}

/* People among the chosen are numbered without gaps, as the bootstrap wants it. */
static void number_people(struct face_sample *sample, struct candidate *chosen) {
  for (uint32_t i = 0; i < sample->count; i++)
    chosen[i].position = i;
  qsort(chosen, sample->count, sizeof(*chosen), by_identity_then_position);
  sample->people = 0;
  for (uint32_t i = 0; i < sample->count; i++) {
    if (i == 0 || chosen[i].identity != chosen[i - 1].identity)
      sample->people++;
    sample->person[chosen[i].position] = sample->people - 1;
  }
}

int face_sample_draw(const struct attack_faces *faces, uint32_t most, uint64_t seed,
                     struct face_sample *ret_sample) {
  uint32_t count = faces->count;
  _cleanup_(freep) uint32_t *order = calloc(count + 1, sizeof(*order));
  _cleanup_(freep) struct candidate *all = calloc(count + 1, sizeof(*all));
  struct face_sample sample = {.from = faces, .count = MIN(count, most)};
  sample.index = calloc(sample.count + 1, sizeof(*sample.index));
  sample.person = calloc(sample.count + 1, sizeof(*sample.person));
  if (!order || !all || !sample.index || !sample.person) {
    face_sample_done(&sample);
    return -ENOMEM;
  }
  struct rng rng;
  rng_init(&rng, seed, RNG_ATTACK, DRAW_FACES, 0);
  rng_permutation(&rng, order, count);
  order_candidates(all, order, faces);
  for (uint32_t i = 0; i < sample.count; i++)
    sample.index[i] = all[i].face;
  number_people(&sample, all);
  *ret_sample = sample;
  return 0;
}

void face_sample_done(struct face_sample *sample) {
  free(sample->index);
  free(sample->person);
  sample->index = NULL;
  sample->person = NULL;
}

/* ---- at another size ---- */

static const uint8_t *resized_image(void *context, uint32_t i) {
  const struct resized_faces *resized = context;
  return resized->rgb + resized->bytes * i;
}

int resized_faces_init(struct resized_faces *resized, const struct face_sample *sample, uint32_t from,
                       uint32_t to) {
  *resized = (struct resized_faces){.bytes = (size_t)3 * to * to};
  resized->rgb = malloc(resized->bytes * sample->count);
  resized->index = calloc(sample->count, sizeof(*resized->index));
  if (sample->from->k)
    resized->k = calloc(sample->count, sizeof(*resized->k));
  if (!resized->rgb || !resized->index || (sample->from->k && !resized->k))
    return -ENOMEM;
  for (uint32_t i = 0; i < sample->count; i++) {
    resized->index[i] = i;
    if (resized->k)
      resized->k[i] = sample->from->k[sample->index[i]];
    image_resize(face_sample_image(sample, i), from, from, resized->rgb + resized->bytes * i, to);
  }
  resized->faces = (struct attack_faces){resized_image, resized, sample->person, sample->count, resized->k};
  resized->sample = (struct face_sample){.from = &resized->faces,
                                         .index = resized->index,
                                         .person = sample->person,
                                         .count = sample->count,
                                         .people = sample->people};
  return 0;
}

void resized_faces_done(struct resized_faces *resized) {
  free(resized->rgb);
  free(resized->index);
  free(resized->k);
}

/* ---- mixing ---- */

/* Whoever stays unmixed does so in each of their templates: people stand along the unit interval by the
 * golden ratio, so that of any number of them the share that was asked for lies below it. Samples are drawn.
 */
static bool is_unmixed(struct rng *rng, const struct attack_mixing *mixing, uint32_t person) {
  const double golden = 0.6180339887498949, place = golden * (person + 1);
  double alone = mixing->by_samples ? 0 : mixing->unmixed, total = 0;
  if (mixing->by_samples && (double)rng_uniform(rng) < mixing->unmixed)
    return true;
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    total += mixing->probability[k];
  if (mixing->recipes == 0 && total > 0) /* the policy leaves people, too, but recipe by recipe */
    alone += (1 - alone) * mixing->probability[1] / total;
  return place - floor(place) < alone;
}

static uint32_t draw_k(struct rng *rng, const struct attack_mixing *mixing, uint32_t person) {
  const uint32_t least = mixing->recipes == 0 ? 2 : 1;
  double total = 0;
  if (is_unmixed(rng, mixing, person))
    return 1;
  if (mixing->beta)
    return 2;
  for (uint32_t k = least; k <= MIX_MAX; k++)
    total += mixing->probability[k];
  double u = (double)rng_uniform(rng) * total;
  uint32_t last = 1;
  for (uint32_t k = least; k <= MIX_MAX; k++) {
    if (mixing->probability[k] <= 0)
      continue;
    last = k;
    u -= mixing->probability[k];
    if (u < 0)
      break;
  }
  return last;
}

void face_sample_mix(const struct face_sample *sample, const struct attack_mixing *mixing, uint32_t lead,
                     uint64_t seed, struct mix *ret_mix) {
  float lambda[MIX_MAX] = {1};
  struct rng rng;
  rng_init(&rng, seed, RNG_ATTACK, DRAW_MIX, lead);
  const bool open = sample->partners && sample->partners->count > 0;
  const struct mix_pool pool = {open ? mixing->pool : MIX_POOL_PRIVATE, sample->person, sample->count,
                                open ? sample->partners->count : 0};
  const uint32_t known = sample->from->k ? sample->from->k[sample->index[lead]] : 0;
  const uint32_t drawn = known > 0 ? known : draw_k(&rng, mixing, sample->person[lead]),
                 k = MIN(mix_size(&mixing->protection, drawn), mix_pool_most(&pool));
  if (k == 2 && mixing->beta)
    mix_draw_beta(&rng, mixing->alpha, lambda);
  else if (k > 1)
    mix_draw_lambdas(&rng, k, lambda);
  mix_compose_from(&rng, lead, k, lambda, &pool, ret_mix);
  ret_mix->drop = mix_drop(&mixing->protection, drawn);
}

void mix_single(uint32_t face, struct mix *ret_mix) {
  *ret_mix = (struct mix){.k = 1, .member = {face}, .lambda = {1}};
}

double face_sample_compose(const struct face_sample *sample, const struct attack_mixing *mixing,
                           uint64_t seed, struct mix *ret_mixes) {
  uint64_t faces = 0;
  for (uint32_t i = 0; i < sample->count; i++) {
    if (mixing)
      face_sample_mix(sample, mixing, i, seed, &ret_mixes[i]);
    else
      mix_single(i, &ret_mixes[i]);
    faces += ret_mixes[i].k;
  }
  return (double)faces / sample->count;
}

uint32_t mix_heaviest(const struct face_sample *sample, const struct mix *mix) {
  uint32_t best = 0; /* the lead is never public */
  for (uint32_t j = 1; j < mix->k; j++)
    if (face_sample_owns(sample, mix->member[j]) && mix->lambda[j] > mix->lambda[best])
      best = j;
  return best;
}

void face_sample_template(const struct face_sample *sample, const struct mask *mask, const struct mix *mix,
                          uint32_t turn, float *scratch, float *part, float *ret_template) {
  size_t elements = mask_elements(mask);
  struct rng rng;
  memset(ret_template, 0, elements * sizeof(float));
  for (uint32_t j = 0; j < mix->k; j++) {
    const uint32_t member = mix->member[j];
    const uint32_t index = face_sample_owns(sample, member) ? sample->index[member] : ~member;
    if (turn > 0)
      rng_init(&rng, DRAW_TURN, RNG_MASK, turn, index);
    else
      mask_rng_inference(&rng, index);
    mask_template(mask, face_sample_image(sample, member), false, &rng, scratch, part);
    for (size_t i = 0; i < elements; i++)
      ret_template[i] += mix->lambda[j] * part[i];
  }
  mask_lower(mask, mix->drop, ret_template);
  rng_init(&rng, 0, RNG_AFTER_MIX, turn, sample->index[mix->member[0]]);
  mask_after_mix(mask, &rng, scratch, ret_template);
}

void decoyed_template(const struct mask *mask, const uint8_t *rgb, bool flip, const struct rng *start,
                      float *scratch, float *seen, float *ret_first, float *ret_template) {
  const struct decoys *decoys = mask_decoys(mask);
  const size_t elements = mask_elements(mask);
  for (uint32_t t = 0; t < decoys->mixes; t++) {
    struct rng rng = *start;
    mask_inference_template(mask, rgb, flip, t, &rng, scratch, seen + t * elements);
  }
  if (ret_first)
    memcpy(ret_first, seen, elements * sizeof(float));
  if (mask_has_after_mix(mask)) /* what is sent is no sum with the decoys any more */
    memcpy(ret_template, seen, elements * sizeof(float));
  else
    (void)subtract_decoys(decoys, seen, ret_template);
}

static bool member_of(const struct mix *mix, uint32_t face) {
  for (uint32_t j = 0; j < mix->k; j++)
    if (mix->member[j] == face)
      return true;
  return false;
}

static bool person_in(const struct face_sample *sample, const struct mix *mix, uint32_t face) {
  for (uint32_t j = 0; j < mix->k; j++)
    if (face_sample_owns(sample, mix->member[j]) && sample->person[mix->member[j]] == sample->person[face])
      return true;
  return false;
}

uint32_t face_sample_stranger(const struct face_sample *sample, const struct mix *mix, uint32_t lead,
                              uint32_t turn, uint64_t seed) {
  struct rng rng;
  rng_init(&rng, seed, RNG_ATTACK, DRAW_STRANGER + turn, lead);
  uint32_t start = rng_below(&rng, sample->count), outside = (lead + 1) % sample->count;
  bool found = false;
  for (uint32_t i = 0; i < sample->count; i++) {
    uint32_t face = (start + i) % sample->count;
    if (!person_in(sample, mix, face))
      return face;
    if (!found && !member_of(mix, face)) {
      outside = face;
      found = true;
    }
  }
  return outside;
}

/* ---- the control ---- */

static const uint8_t *sampled_image(void *context, uint32_t i) {
  return face_sample_image(context, i);
}

int control_mask(uint32_t size, enum mask_dct dct, struct face_sample *sample, struct mask **ret_mask,
                 struct guise_error *err) {
  struct mask *mask = NULL;
  struct mask_options options = mask_options_default(MASK_NONE, size);
  options.dct = dct;
  int r = mask_new(&options, &mask, err);
  if (r == 0)
    r = mask_fit(mask, sampled_image, sample, sample->count, err);
  if (r < 0)
    mask_free(mask);
  else
    *ret_mask = mask;
  return r;
}

/* ---- figures over people ---- */

double mean_of(const double *values, uint32_t count) {
  double sum = 0;
  for (uint32_t i = 0; i < count; i++)
    sum += values[i];
  return count ? sum / count : NAN;
}

static int falling(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

int people_interval(const struct face_sample *sample, const double *values, bool share, uint64_t seed,
                    struct interval *ret_interval, double *ret_worst_tenth) {
  _cleanup_(freep) double *mean = calloc(sample->people + 1, sizeof(*mean));
  _cleanup_(freep) uint32_t *images = calloc(sample->people + 1, sizeof(*images));
  if (!mean || !images)
    return -ENOMEM;
  for (uint32_t i = 0; i < sample->count; i++) {
    mean[sample->person[i]] += values[i];
    images[sample->person[i]]++;
  }
  for (uint32_t p = 0; p < sample->people; p++)
    mean[p] /= images[p];
  qsort(mean, sample->people, sizeof(*mean), falling);
  struct interval interval =
      bootstrap_mean(values, sample->person, sample->count, sample->people, BOOTSTRAP_DRAWS, seed);
  if (isnan(interval.low) && !isnan(interval.mean))
    return -ENOMEM;
  if (share)
    bootstrap_widen(mean, sample->people, &interval);
  *ret_interval = interval;
  *ret_worst_tenth = mean_of(mean, (sample->people + 9) / 10);
  return 0;
}

/* ---- pictures ---- */

void picture_panel(const uint8_t *rgb, uint32_t size, uint32_t panel, uint8_t *strip) {
  for (uint32_t y = 0; y < size; y++)
    memcpy(strip + ((size_t)y * 3 + panel) * size * 3, rgb + (size_t)y * size * 3, (size_t)size * 3);
}

const char *picture_whose(const struct attack_picture *picture) {
  return picture->victim ? "A victim's" : picture->open ? "A public" : "A drawn";
}

/* ---- faces that may be shown ---- */

#define SHOWN_FACES 8u

struct drawn {
  uint32_t size;
  uint32_t identity[SHOWN_FACES];
  uint8_t pixels[];
};

static const uint8_t *drawn_image(void *context, uint32_t i) {
  const struct drawn *drawn = context;
  return drawn->pixels + (size_t)i * drawn->size * drawn->size * 3;
}

/* One face of each of SHOWN_FACES people. */
static int draw_faces(uint32_t size, uint64_t seed, struct attack_faces *ret_faces) {
  const size_t bytes = (size_t)size * size * 3;
  if (size < 32 || size > 224)
    return -ERANGE;
  struct drawn *drawn = malloc(sizeof(*drawn) + bytes * SHOWN_FACES);
  if (!drawn)
    return -ENOMEM;
  drawn->size = size;
  for (uint32_t i = 0; i < SHOWN_FACES; i++) {
    drawn->identity[i] = i;
    synth_face(seed, i, 0, size, drawn->pixels + bytes * i);
  }
  *ret_faces = (struct attack_faces){drawn_image, drawn, drawn->identity, SHOWN_FACES, NULL};
  return 0;
}

int shown_faces_init(const struct attack_context *context, struct shown_faces *shown) {
  int r = draw_faces(mask_size(context->mask), context->seed, &shown->faces);
  if (r < 0)
    return r;
  r = face_sample_draw(&shown->faces, SHOWN_FACES, context->seed, &shown->sample);
  if (r < 0)
    free(shown->faces.context);
  return r;
}

void shown_faces_done(struct shown_faces *shown) {
  face_sample_done(&shown->sample);
  free(shown->faces.context);
  shown->faces = (struct attack_faces){NULL, NULL, NULL, 0, NULL};
}

/* ---- verdict ---- */

static const struct attack_metric *find_metric(const struct attack_surface_result *surface,
                                               const char *name) {
  for (uint32_t i = 0; i < surface->metrics; i++)
    if (strcmp(surface->metric[i].name, name) == 0)
      return &surface->metric[i];
  return NULL;
}

#define REASON(surface, ...) ((void)snprintf((surface)->reason, sizeof((surface)->reason), __VA_ARGS__))

/* The first metric whose control misses what it must reach; NULL: none does. */
static const struct attack_metric *failed_control(const struct attack_surface_result *surface) {
  for (uint32_t i = 0; i < surface->metrics; i++) {
    const struct attack_metric *metric = &surface->metric[i];
    if (!isnan(metric->control_threshold) && !(metric->control.mean >= metric->control_threshold))
      return metric;
  }
  return NULL;
}

/* Chance, and so what is above it, takes enough pairs of people who are neither in the template nor stand in
 * for them. */
static void say_too_few(const struct attack_metric *metric, struct attack_surface_result *surface) {
  const bool templates =
      surface->surface == SURFACE_TRAINING_TEMPLATES || surface->surface == SURFACE_INFERENCE_TEMPLATES;
  REASON(surface,
         "%s is %.3f, and too few people were attacked to tell what chance or the control reaches, so that "
         "there is no threshold to judge it by: %s.",
         metric->name, metric->value.mean,
         templates ? "hold out more people from training (holdout.identities), or audit with a data set of "
                     "more people with several images each"
                   : "it takes a data set of more people");
}

static void decide_by(const struct attack_metric *metric, struct attack_surface_result *surface) {
  if (metric->value.low > surface->threshold) {
    surface->verdict = VERDICT_LEAKS;
    REASON(surface, "%s is %.3f (95 %%: %.3f to %.3f), above the threshold of %.3f; chance is %.3f.",
           metric->name, metric->value.mean, metric->value.low, metric->value.high, surface->threshold,
           metric->chance);
  } else if (metric->worst_tenth > surface->threshold_worst_tenth) {
    surface->verdict = VERDICT_LEAKS;
    REASON(surface,
           "%s is %.3f on average, but %.3f for the tenth of people that fare worst, above the threshold of "
           "%.3f.",
           metric->name, metric->value.mean, metric->worst_tenth, surface->threshold_worst_tenth);
  } else if (!isfinite(surface->threshold) || !isfinite(surface->threshold_worst_tenth) ||
             !isfinite(metric->worst_tenth)) {
    say_too_few(metric, surface);
  } else if (metric->value.high > surface->threshold) {
    REASON(surface,
           "%s is %.3f, and its interval (%.3f to %.3f) holds the threshold of %.3f: more people would tell.",
           metric->name, metric->value.mean, metric->value.low, metric->value.high, surface->threshold);
  } else {
    surface->verdict = VERDICT_RESISTS;
    REASON(surface,
           "%s is %.3f (95 %%: %.3f to %.3f), below the threshold of %.3f, also for the tenth of people that "
           "fare worst "
           "(%.3f). This holds for this attack only.",
           metric->name, metric->value.mean, metric->value.low, metric->value.high, surface->threshold,
           metric->worst_tenth);
  }
}

void attack_decide(struct attack_surface_result *surface) {
  const struct attack_metric *failed = failed_control(surface),
                             *metric = find_metric(surface, surface->decided_by);
  surface->verdict = VERDICT_INCONCLUSIVE;
  if (failed)
    REASON(surface,
           "On its control this attack reached %s %.3g; %.3g is needed to trust it, so it says nothing "
           "here.",
           failed->name, failed->control.mean, failed->control_threshold);
  else if (!metric || !isfinite(metric->value.low) || !isfinite(metric->value.high))
    REASON(surface, "The figure that decides could not be measured.");
  else
    decide_by(metric, surface);
}

void attack_doubt(struct attack_surface_result *surface, const char *format, ...) {
  const struct attack_metric *metric = find_metric(surface, surface->decided_by);
  char doubt[sizeof(surface->reason) / 2];
  va_list arguments;
  if (surface->verdict != VERDICT_RESISTS)
    return;
  va_start(arguments, format);
  (void)vsnprintf(doubt, sizeof(doubt), format, arguments);
  va_end(arguments);
  surface->verdict = VERDICT_INCONCLUSIVE;
  REASON(surface, "%s is %.3f, but %s.", metric->name, metric->value.mean, doubt);
}
