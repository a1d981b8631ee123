#include "core/attack/identify.h"

#include <math.h>

#include "core/base/philox.h"

#define BOOTSTRAP_DRAWS 1000u
#define CHANCE_DRAWS 50u
#define DRAW_CHANCE (1ull << 34) /* sequence of RNG_ATTACK, beyond those of faces.c and lessons.c */

/* The control must link ten times as many as chance: less would be a weak attacker, whose failure on masked
 * templates says nothing. */
#define CONTROL_LEAST 0.10
/* A mask leaks when the attacker keeps more than a tenth of the way from chance to what it reaches without a
 * mask. Measured from both ends, the same line holds for strong and weak teachers; and when the control is
 * hardly above chance the line is so near to chance that the interval holds it: inconclusive. */
#define LEAK_SHARE 0.10

/* ---- which photograph belongs to which template ---- */

/* Chance: the templates are said to be of other people. stand_in: for each person another one, and for each
 * person one photograph. */
struct stand_in {
  uint32_t *person, *photograph; /* (people) */
};

/* Public partners are nobody that could be linked. */
static bool has_person(const struct face_sample *sample, const struct mix *mix, uint32_t person) {
  for (uint32_t j = 0; j < mix->k; j++)
    if (face_sample_owns(sample, mix->member[j]) && sample->person[mix->member[j]] == person)
      return true;
  return false;
}

static bool has_face(const struct mix *mix, uint32_t face) {
  for (uint32_t j = 0; j < mix->k; j++)
    if (mix->member[j] == face)
      return true;
  return false;
}

static enum match_kind true_kind(const struct face_sample *sample, const struct mix *mix, uint32_t face,
                                 enum relation relation) {
  uint32_t heavy = mix->member[mix_heaviest(sample, mix)];
  if (relation == SAME_IMAGE && face == heavy)
    return MATCH_SAME;
  if (!has_person(sample, mix, sample->person[face]))
    return MATCH_DIFFERENT;
  if (relation == SAME_IMAGE || has_face(mix, face))
    return MATCH_IGNORED;
  return relation == ANYONE || sample->person[face] == sample->person[heavy] ? MATCH_SAME : MATCH_IGNORED;
}

static enum match_kind chance_kind(const struct face_sample *sample, const struct mix *mix, uint32_t face,
                                   enum relation relation, const struct stand_in *stand_in) {
  uint32_t person = sample->person[face], heavy = sample->person[mix->member[mix_heaviest(sample, mix)]];
  if (has_person(sample, mix, person))
    return MATCH_IGNORED;
  if (relation == SAME_IMAGE)
    return stand_in->photograph[stand_in->person[heavy]] == face ? MATCH_SAME : MATCH_DIFFERENT;
  if (relation == ACROSS_IMAGES)
    return stand_in->person[heavy] == person ? MATCH_SAME : MATCH_DIFFERENT;
  for (uint32_t j = 0; j < mix->k; j++)
    if (face_sample_owns(sample, mix->member[j]) &&
        stand_in->person[sample->person[mix->member[j]]] == person)
      return MATCH_SAME;
  return MATCH_DIFFERENT;
}

/* ---- one set of templates against the photographs ---- */

struct comparison {
  const struct face_sample *sample;
  const struct mix *mixes; /* (count) of the templates */
  uint32_t *owner;         /* (count) person of the largest share */
  uint8_t *kind;           /* (count, count) */
  struct match *match;
  const struct attack_context *context;
};

static void comparison_done(struct comparison *comparison) {
  free(comparison->owner);
  free(comparison->kind);
  match_free(comparison->match);
}

/* similarity: (count, count), row i template i, column j photograph j; kept by reference. */
static int comparison_init(struct comparison *comparison, const struct face_sample *sample,
                           const struct mix *mixes, const float *similarity,
                           const struct attack_context *context) {
  *comparison = (struct comparison){.sample = sample, .mixes = mixes, .context = context};
  comparison->owner = calloc(sample->count, sizeof(*comparison->owner));
  comparison->kind = malloc((size_t)sample->count * sample->count);
  int r = comparison->owner && comparison->kind ? 0 : -ENOMEM;
  for (uint32_t i = 0; i < sample->count && r == 0; i++)
    comparison->owner[i] = sample->person[mixes[i].member[mix_heaviest(sample, &mixes[i])]];
  if (r == 0)
    r = match_new(similarity, sample->count, sample->count, &comparison->match);
  if (r < 0)
    comparison_done(comparison);
  return r;
}

static int measure(struct comparison *comparison, enum relation relation, const struct stand_in *stand_in,
                   uint32_t draws, struct match_result *ret_result) {
  const struct face_sample *sample = comparison->sample;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < sample->count; i++)
    for (uint32_t j = 0; j < sample->count; j++)
      comparison->kind[(size_t)i * sample->count + j] =
          (uint8_t)(stand_in ? chance_kind(sample, &comparison->mixes[i], j, relation, stand_in)
                             : true_kind(sample, &comparison->mixes[i], j, relation));
  const struct match_labels labels = {comparison->kind, comparison->owner, sample->person, sample->people};
  const struct match_options options = {.draws = draws,
                                        .seed = comparison->context->seed,
                                        .should_stop = comparison->context->should_stop,
                                        .stop_context = comparison->context->stop_context};
  return match_measure(comparison->match, &labels, &options, ret_result);
}

/* Everybody stands in for the next one in a seeded order of the people. */
static void draw_stand_in(const struct comparison *comparison, uint32_t draw, uint32_t *order,
                          struct stand_in *stand_in) {
  const struct face_sample *sample = comparison->sample;
  struct rng rng;
  rng_init(&rng, comparison->context->seed, RNG_ATTACK, DRAW_CHANCE, draw);
  rng_permutation(&rng, order, sample->people);
  for (uint32_t p = 0; p < sample->people; p++)
    stand_in->person[order[p]] = order[(p + 1) % sample->people];
  uint32_t start = rng_below(&rng, sample->count);
  for (uint32_t i = 0; i < sample->count; i++) {
    uint32_t face = (start + i) % sample->count;
    stand_in->photograph[sample->person[face]] = face;
  }
}

static void add_chance(const struct match_result *draws, struct figures *figures) {
  for (int f = 0; f < MATCH_FIGURES; f++) {
    double worst[CHANCE_DRAWS];
    struct interval interval = {NAN, NAN, NAN};
    figures->chance[f] = figures->chance_worst_tenth[f] = 0;
    for (uint32_t d = 0; d < CHANCE_DRAWS; d++) {
      figures->chance[f] += draws[d].value[f].mean / CHANCE_DRAWS;
      figures->chance_worst_tenth[f] += draws[d].worst_tenth[f] / CHANCE_DRAWS;
      worst[d] = draws[d].worst_tenth[f];
    }
    bootstrap_interval(worst, CHANCE_DRAWS, &interval);
    figures->chance_worst_high[f] = interval.high;
  }
}

static int measure_chance(struct comparison *comparison, enum relation relation, struct figures *figures) {
  uint32_t people = comparison->sample->people;
  _cleanup_(freep) uint32_t *numbers = calloc((size_t)3 * people, sizeof(*numbers));
  _cleanup_(freep) struct match_result *draws = calloc(CHANCE_DRAWS, sizeof(*draws));
  if (!numbers || !draws)
    return -ENOMEM;
  struct stand_in stand_in = {numbers, numbers + people};
  int r = 0;
  for (uint32_t d = 0; d < CHANCE_DRAWS && r == 0; d++) {
    draw_stand_in(comparison, d, numbers + (size_t)2 * people, &stand_in);
    r = measure(comparison, relation, &stand_in, 0, &draws[d]);
  }
  if (r == 0)
    add_chance(draws, figures);
  return r;
}

static int measure_all(struct comparison *comparison, bool chance, struct figures ret_figures[RELATIONS]) {
  int r = 0;
  for (int relation = 0; relation < RELATIONS && r == 0; relation++) {
    r = measure(comparison, (enum relation)relation, NULL, BOOTSTRAP_DRAWS, &ret_figures[relation].result);
    if (r == 0 && chance)
      r = measure_chance(comparison, (enum relation)relation, &ret_figures[relation]);
  }
  return r;
}

static void similarities(const struct identify_input *input, float *ret_similarity) {
  const uint32_t count = input->sample->count, n = input->dimension;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = 0; j < count; j++) {
      const float *a = input->made + (size_t)i * n, *b = input->photographs + (size_t)j * n;
      float sum = 0;
      for (uint32_t c = 0; c < n; c++)
        sum += a[c] * b[c];
      ret_similarity[(size_t)i * count + j] = sum;
    }
}

int identify(const struct identify_input *input, struct figures ret_figures[RELATIONS],
             struct guise_error *err) {
  const size_t count = input->sample->count;
  struct comparison comparison;
  _cleanup_(freep) float *similarity = calloc(count * count, sizeof(float));
  int r = similarity ? 0 : -ENOMEM;
  if (r == 0) {
    similarities(input, similarity);
    r = comparison_init(&comparison, input->sample, input->mixes, similarity, input->context);
  }
  if (r == 0) {
    r = measure_all(&comparison, input->chance, ret_figures);
    comparison_done(&comparison);
  }
  if (r == -ECANCELED)
    return error_set(err, r, "the attack was stopped");
  return r < 0 ? error_set(err, r, "out of memory comparing %zu faces", count) : 0;
}

/* ---- the report ---- */

void identify_metric(const struct identify_row *row, const struct identification *identification,
                     struct attack_metric *ret_metric) {
  const struct figures *figures = &identification->attack[row->relation];
  /* the control is unmixed, so that anybody in its mix is the person */
  *ret_metric = (struct attack_metric){
      .name = row->name,
      .unit = "",
      .description = row->description,
      .value = figures->result.value[row->figure],
      .worst_tenth = figures->result.worst_tenth[row->figure],
      .chance = figures->chance[row->figure],
      .chance_worst_tenth = figures->chance_worst_tenth[row->figure],
      .control = identification->control[row->relation].result.value[row->figure],
      .control_threshold = NAN,
      .ceiling = identification->ceiling[row->relation].result.value[row->figure].mean};
}

bool identify_across(const struct identification *identification) {
  return identification->attack[ACROSS_IMAGES].result.same > 0;
}

void identify_decide(const struct identification *identification, enum relation relation, uint32_t number,
                     double of_ceiling, struct attack_surface_result *surface) {
  struct attack_metric *metric = &surface->metric[number];
  const struct figures *figures = &identification->attack[relation];
  double margin = LEAK_SHARE * (metric->control.mean - metric->chance);
  surface->decided_by = metric->name;
  surface->threshold = metric->chance + margin;
  /* Some tenth of people is always linked more often than the rest: counted is only what luck does not
   * explain. */
  surface->threshold_worst_tenth = figures->chance_worst_high[MATCH_TAR_2] + margin;
  if (isfinite(metric->control.mean))
    metric->control_threshold = fmax(CONTROL_LEAST, of_ceiling * metric->ceiling);
  attack_decide(surface);
}
