/* A2, the linkage attack: is this a template of the person in that photograph? Whoever knows the mask makes
 * templates of public faces, trains a student network to give from a template the embedding that a public
 * teacher gives to the photograph, and compares the victims' templates with photographs of them. A picture
 * that looks like nothing can still be linked, so this and not the look of a template is the measure of
 * privacy.
 *
 * The student begins with the teacher's weights where it can, the strongest cheap start; unmasked, it then is
 * the teacher from the first step, and the control shows that the chain works and that the victims can be
 * told apart, not how much the student learns. Statistics of norms are taken from what each network looks at.
 * Control: the same student, trained the same way, on the undefended templates of the same faces. Ceiling:
 * the teacher itself on the victims' photographs. On training templates the student learns from mixes made of
 * public faces in the same way; a mix counts as the face with the largest share.
 *
 * Teacher and student may learn from the same public faces: asking for two sets would halve what both learn
 * from. A teacher that has seen them is surer of them than of strangers, which makes the attack weaker, not
 * stronger, and how weak is measured: the control must come near the ceiling. Neither may have seen the
 * victims; that is the caller's part. */
#include "core/attack/linkage.h"

#include <math.h>
#include <string.h>

#include "core/attack/faces.h"
#include "core/attack/student.h"
#include "core/base/philox.h"
#include "core/metric/match.h"

/* The control must link ten times as many as chance, and most of what the teacher itself links: less would be
 * a weak attacker, whose failure on masked templates says nothing. */
#define CONTROL_LEAST 0.10
#define CONTROL_OF_CEILING 0.8
/* A mask leaks when the attacker keeps more than a tenth of the way from chance to what it reaches without a
 * mask. Measured from both ends, the same line holds for strong and weak teachers; and when the control is
 * hardly above chance the line is so near to chance that the interval holds it: inconclusive. */
#define LEAK_SHARE 0.10
#define BOOTSTRAP_DRAWS 1000u
#define CHANCE_DRAWS 50u
#define DRAW_CHANCE (1ull << 34) /* sequence of RNG_ATTACK, beyond those of faces.c and student.c */

const struct linkage_budget linkage_budgets[] = {
    [EFFORT_QUICK] = {.victims = 200, .pairs = 256, .passes = 8},
    [EFFORT_STANDARD] = {.victims = 500, .pairs = 2000, .passes = 10},
    [EFFORT_THOROUGH] = {.victims = 1000, .pairs = 5000, .passes = 20},
};

/* ---- which photograph belongs to which template ---- */

enum relation {
  ACROSS_IMAGES, /* other photographs of the person */
  SAME_IMAGE,    /* the photograph the template was made of */
  ANYONE,        /* other photographs of anybody in the mix */
  RELATIONS
};

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

struct figures {
  struct match_result result;
  double chance[MATCH_FIGURES], chance_worst_tenth[MATCH_FIGURES];
  double chance_worst_high[MATCH_FIGURES]; /* 97.5 % of chance's worst tenths lie below */
};

struct comparison {
  const struct face_sample *sample;
  const struct mix *mixes; /* (count) of the templates */
  uint32_t *owner;         /* (count) person of the largest share */
  uint8_t *kind;           /* (count, count) */
  struct match *match;
  uint64_t seed;
};

static void comparison_done(struct comparison *comparison) {
  free(comparison->owner);
  free(comparison->kind);
  match_free(comparison->match);
}

/* similarity: (count, count), row i template i, column j photograph j; kept by reference. */
static int comparison_init(struct comparison *comparison, const struct face_sample *sample,
                           const struct mix *mixes, const float *similarity, uint64_t seed) {
  *comparison = (struct comparison){.sample = sample, .mixes = mixes, .seed = seed};
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
  return match_measure(comparison->match, &labels, draws, comparison->seed, ret_result);
}

/* Everybody stands in for the next one in a seeded order of the people. */
static void draw_stand_in(const struct comparison *comparison, uint32_t draw, uint32_t *order,
                          struct stand_in *stand_in) {
  const struct face_sample *sample = comparison->sample;
  struct rng rng;
  rng_init(&rng, comparison->seed, RNG_ATTACK, DRAW_CHANCE, draw);
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

/* ---- the faces ---- */

/* People with two photographs at least, when there are two of them: only they can be linked across images.
 * The others are then left out, so that both kinds of figure speak of the same people. */
struct choice {
  const struct attack_faces *from;
  uint32_t *index, *identity; /* into from */
  uint32_t count;
};

static const uint8_t *chosen_image(void *context, uint32_t i) {
  const struct choice *choice = context;
  return choice->from->image(choice->from->context, choice->index[i]);
}

struct entry {
  uint32_t identity, face;
};

static int by_identity(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->identity != y->identity)
    return x->identity < y->identity ? -1 : 1;
  return (x->face > y->face) - (x->face < y->face);
}

/* Appends the faces of people with at least `least` of them. Returns how many people. */
static uint32_t choose_with(struct choice *choice, const struct entry *entries, uint32_t least) {
  uint32_t people = 0;
  choice->count = 0;
  for (uint32_t i = 0, end; i < choice->from->count; i = end) {
    for (end = i; end < choice->from->count && entries[end].identity == entries[i].identity;)
      end++;
    if (end - i < least)
      continue;
    people++;
    for (uint32_t k = i; k < end; k++) {
      choice->index[choice->count] = entries[k].face;
      choice->identity[choice->count++] = entries[k].identity;
    }
  }
  return people;
}

/* Keeps `most` of `people` people, drawn. */
static int keep_people(struct choice *choice, uint32_t people, uint32_t most, uint64_t seed) {
  if (people <= most)
    return 0;
  _cleanup_(freep) uint32_t *order = calloc(people, sizeof(*order));
  if (!order)
    return -ENOMEM;
  struct rng rng;
  uint32_t kept = 0, person = 0, identity = choice->identity[0];
  rng_init(&rng, seed, RNG_ATTACK, DRAW_CHANCE + 1, 0);
  rng_permutation(&rng, order, people);
  for (uint32_t i = 0; i < choice->count; i++) {
    person += choice->identity[i] != identity;
    identity = choice->identity[i];
    if (order[person] >= most)
      continue;
    choice->index[kept] = choice->index[i];
    choice->identity[kept++] = identity;
  }
  choice->count = kept;
  return 0;
}

static void choice_done(struct choice *choice) {
  free(choice->index);
  free(choice->identity);
}

static int choose_victims(const struct attack_faces *victims, uint32_t most, uint64_t seed,
                          struct choice *ret_choice) {
  struct choice choice = {.from = victims};
  _cleanup_(freep) struct entry *entries = calloc(victims->count, sizeof(*entries));
  choice.index = calloc(victims->count, sizeof(*choice.index));
  choice.identity = calloc(victims->count, sizeof(*choice.identity));
  int r = entries && choice.index && choice.identity ? 0 : -ENOMEM;
  if (r == 0) {
    for (uint32_t i = 0; i < victims->count; i++)
      entries[i] = (struct entry){victims->identity[i], i};
    qsort(entries, victims->count, sizeof(*entries), by_identity);
    uint32_t least = 2, people = choose_with(&choice, entries, least);
    if (people < 2)
      people = choose_with(&choice, entries, least = 1);
    r = keep_people(&choice, people, MAX(most / least, 2u), seed);
  }
  if (r < 0)
    choice_done(&choice);
  else
    *ret_choice = choice;
  return r;
}

/* ---- the attack on one kind of template ---- */

struct assault {
  const struct attack_context *context;
  const struct linkage_budget *budget;
  struct model *teacher;
  struct face_sample *victims, *open;
  float *photographs; /* (victims, embedding) by the teacher */
  float *targets;     /* (2, open, embedding) */
  uint32_t steps;
  uint64_t parameters;
};

static struct student_options student_options_of(const struct assault *assault) {
  return (struct student_options){.steps = assault->steps,
                                  .from_scratch = assault->budget->from_scratch,
                                  .seed = assault->context->seed,
                                  .threads = assault->context->threads,
                                  .should_stop = assault->context->should_stop,
                                  .stop_context = assault->context->stop_context};
}

static void similarities(const struct assault *assault, const float *templates, float *ret_similarity) {
  uint32_t count = assault->victims->count, n = assault->teacher->info.embedding;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = 0; j < count; j++) {
      const float *a = templates + (size_t)i * n, *b = assault->photographs + (size_t)j * n;
      float sum = 0;
      for (uint32_t c = 0; c < n; c++)
        sum += a[c] * b[c];
      ret_similarity[(size_t)i * count + j] = sum;
    }
}

static void compose_victims(const struct assault *assault, const struct attack_mixing *mixing,
                            struct mix *ret_mixes) {
  for (uint32_t i = 0; i < assault->victims->count; i++)
    if (mixing)
      face_sample_mix(assault->victims, mixing, i, assault->context->seed, &ret_mixes[i]);
    else
      mix_single(i, &ret_mixes[i]);
}

/* Embeddings of the victims' templates: by a student of `mask`, or with mask NULL by the teacher, which sees
 * the photographs. */
static int embed_victims(struct assault *assault, const struct mask *mask, const struct attack_mixing *mixing,
                         bool inference, const struct mix *mixes, float *ret_templates,
                         struct guise_error *err) {
  _cleanup_(student_freep) struct student *student = NULL;
  struct student_options options = student_options_of(assault);
  size_t floats = (size_t)assault->victims->count * assault->teacher->info.embedding;
  if (!mask) {
    memcpy(ret_templates, assault->photographs, floats * sizeof(float));
    return 0;
  }
  options.mask = mask;
  options.mixing = mixing;
  options.inference = inference;
  int r = student_train(assault->teacher, &options, assault->open, assault->targets, &student, err);
  if (r < 0)
    return r;
  assault->parameters = student_parameters(student);
  return student_embed(student, assault->victims, mixes, ret_templates, err);
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

static int attack_templates(struct assault *assault, const struct mask *mask,
                            const struct attack_mixing *mixing, bool inference, bool chance,
                            struct figures ret_figures[RELATIONS], double *ret_mean_k,
                            struct guise_error *err) {
  uint32_t count = assault->victims->count, faces = 0;
  size_t floats = (size_t)count * assault->teacher->info.embedding;
  struct comparison comparison;
  _cleanup_(freep) struct mix *mixes = calloc(count, sizeof(*mixes));
  _cleanup_(freep) float *templates = calloc(floats, sizeof(float));
  _cleanup_(freep) float *similarity = calloc((size_t)count * count, sizeof(float));
  if (!mixes || !templates || !similarity)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", count);
  compose_victims(assault, mixing, mixes);
  for (uint32_t i = 0; i < count; i++)
    faces += mixes[i].k;
  int r = embed_victims(assault, mask, mixing, inference, mixes, templates, err);
  if (r < 0)
    return r;
  similarities(assault, templates, similarity);
  r = comparison_init(&comparison, assault->victims, mixes, similarity, assault->context->seed);
  if (r == 0) {
    r = measure_all(&comparison, chance, ret_figures);
    comparison_done(&comparison);
  }
  *ret_mean_k = (double)faces / count;
  return r < 0 ? error_set(err, r, "out of memory comparing %u faces", count) : 0;
}

/* ---- the report ---- */

struct row {
  enum relation relation;
  enum match_figure figure;
  const char *name, *description;
};

static const struct row rows[] = {
    {ACROSS_IMAGES, MATCH_TAR_2, "tar_at_far_1e-2",
     "Templates linked to other photographs of the person, at 1 % false links"},
    {ACROSS_IMAGES, MATCH_TAR_3, "tar_at_far_1e-3",
     "Templates linked to other photographs of the person, at 0.1 % false links"},
    {ACROSS_IMAGES, MATCH_RANK_1, "rank_1",
     "Templates whose most similar photograph, their own left out, shows the person"},
    {ACROSS_IMAGES, MATCH_AUROC, "auroc",
     "Probability that another photograph of the person is more similar than one of somebody else"},
    {SAME_IMAGE, MATCH_TAR_2, "tar_at_far_1e-2_same_image",
     "Templates linked to their own photograph, at 1 % false links"},
    {SAME_IMAGE, MATCH_TAR_3, "tar_at_far_1e-3_same_image",
     "Templates linked to their own photograph, at 0.1 % false links"},
    {SAME_IMAGE, MATCH_RANK_1, "rank_1_same_image",
     "Templates whose most similar photograph, among those of other people, is their own"},
    {SAME_IMAGE, MATCH_AUROC, "auroc_same_image",
     "Probability that a template's own photograph is more similar than one of somebody else"},
    {ANYONE, MATCH_TAR_2, "tar_at_far_1e-2_anyone",
     "Templates linked to photographs of anybody in the mix, at 1 % false links"},
    {ANYONE, MATCH_RANK_1, "rank_1_anyone",
     "Templates whose most similar photograph, the mixed ones left out, shows anybody in the mix"},
};
_Static_assert(ARRAY_SIZE(rows) <= ATTACK_METRICS_MAX, "every figure has its place in the report");

static const char threat_inference[] =
    "Holds templates sent for recognition, of one face each, and photographs of people they may be of. Knows "
    "the mask: its method, which coefficients it keeps, its constants, its decoys if it has some, which are "
    "taken out by least squares; so it makes templates of public faces "
    "and trains on them. Has a public face recogniser, no key and no weights of this model.";
static const char threat_keyed[] =
    "Holds templates under one key and photographs of people they may be of. Knows the mask, how faces "
    "are mixed, and the key, as who runs the recognition does; so it makes such templates of public "
    "faces and trains on them. Has a public face recogniser and no weights of this model. Without the "
    "key it would have to be guessed first: the attack linear tells how well that works.";
static const char threat_training[] =
    "Holds templates of the training store and photographs of people they may be of. Knows the mask and how "
    "faces are mixed, so it makes such templates of public faces and trains on them; does not know which "
    "faces "
    "a template mixes, nor with which shares. Has a public face recogniser, no key and no weights of this "
    "model.";

struct measured {
  struct figures attack[RELATIONS], control[RELATIONS], ceiling[RELATIONS];
  double mean_k;
};

static void fill_metric(const struct row *row, const struct measured *measured,
                        struct attack_metric *metric) {
  const struct figures *figures = &measured->attack[row->relation];
  /* the control is unmixed, so that anybody in its mix is the person */
  *metric =
      (struct attack_metric){.name = row->name,
                             .unit = "",
                             .description = row->description,
                             .value = figures->result.value[row->figure],
                             .worst_tenth = figures->result.worst_tenth[row->figure],
                             .chance = figures->chance[row->figure],
                             .chance_worst_tenth = figures->chance_worst_tenth[row->figure],
                             .control = measured->control[row->relation].result.value[row->figure],
                             .control_threshold = NAN,
                             .ceiling = measured->ceiling[row->relation].result.value[row->figure].mean};
}

/* The verdict rests on the first figure, or where nobody has two photographs on the same of the own
 * photograph. */
static void decide(const struct measured *measured, struct attack_surface_result *surface) {
  bool across = measured->attack[ACROSS_IMAGES].result.same > 0;
  struct attack_metric *metric = &surface->metric[across ? 0 : 4];
  const struct figures *figures = &measured->attack[across ? ACROSS_IMAGES : SAME_IMAGE];
  double margin = LEAK_SHARE * (metric->control.mean - metric->chance);
  surface->decided_by = metric->name;
  surface->threshold = metric->chance + margin;
  /* Some tenth of people is always linked more often than the rest: counted is only what luck does not
   * explain. */
  surface->threshold_worst_tenth = figures->chance_worst_high[MATCH_TAR_2] + margin;
  if (isfinite(metric->control.mean))
    metric->control_threshold = fmax(CONTROL_LEAST, CONTROL_OF_CEILING * metric->ceiling);
  attack_decide(surface);
}

static void write_surface(enum attack_surface which, bool keyed, const struct measured *measured,
                          struct attack_result *result) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  bool training = which == SURFACE_TRAINING_TEMPLATES;
  *surface = (struct attack_surface_result){.surface = which,
                                            .threat_model = keyed      ? threat_keyed
                                                            : training ? threat_training
                                                                       : threat_inference,
                                            .mean_k = measured->mean_k};
  for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (rows[i].relation != ANYONE || measured->mean_k > 1)
      fill_metric(&rows[i], measured, &surface->metric[surface->metrics++]);
  decide(measured, surface);
}

/* ---- the whole attack ---- */

static int run_surfaces(struct assault *assault, const struct mask *control, struct attack_result *result,
                        struct guise_error *err) {
  const struct attack_context *context = assault->context;
  _cleanup_(freep) struct measured *measured = calloc(1, sizeof(*measured));
  double unmixed;
  if (!measured)
    return error_set(err, -ENOMEM, "out of memory for the attack's figures");
  int r = attack_templates(assault, NULL, NULL, false, false, measured->ceiling, &unmixed, err);
  if (r == 0)
    r = attack_templates(assault, control, NULL, false, false, measured->control, &unmixed, err);
  if (r == 0)
    r = attack_templates(assault, context->mask, NULL, true, true, measured->attack, &measured->mean_k, err);
  if (r < 0)
    return r;
  const bool keyed = mask_order(context->mask) != NULL;
  write_surface(SURFACE_INFERENCE_TEMPLATES, keyed, measured, result);
  bool mixes = mask_traits(mask_method(context->mask))->mixes;
  if (mixes || mask_decoys(context->mask)) /* else it trains on what is sent */
    r = attack_templates(assault, context->mask, mixes ? &context->mixing : NULL, false, true,
                         measured->attack, &measured->mean_k, err);
  if (r < 0)
    return r;
  write_surface(SURFACE_TRAINING_TEMPLATES, keyed, measured, result);
  result->parameters = assault->parameters;
  return 0;
}

/* The teacher's embeddings of victims and public faces. */
static int ask_teacher(struct assault *assault, struct guise_error *err) {
  struct student_options options = student_options_of(assault);
  uint32_t size = mask_size(assault->context->mask);
  size_t row = assault->teacher->info.embedding, learnt = assault->open->count * row;
  assault->photographs = calloc(assault->victims->count * row, sizeof(float));
  assault->targets = calloc(2 * learnt, sizeof(float));
  if (!assault->photographs || !assault->targets)
    return error_set(err, -ENOMEM, "out of memory for the teacher's embeddings");
  int r = teacher_embed(assault->teacher, assault->victims, size, false, &options, assault->photographs, err);
  for (int mirrored = 0; mirrored < 2 && r == 0; mirrored++)
    r = teacher_embed(assault->teacher, assault->open, size, mirrored, &options,
                      assault->targets + (mirrored ? learnt : 0), err);
  return r;
}

static int run_on(struct assault *assault, struct attack_result *result, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  struct mask *fitted = NULL;
  uint64_t passes = (uint64_t)assault->budget->passes * (assault->open->count / STUDENT_BATCH);
  assault->steps = (uint32_t)MAX(assault->budget->steps ? MIN(passes, assault->budget->steps) : passes, 1u);
  result->faces = assault->victims->count;
  result->people = assault->victims->people;
  result->public_faces = assault->open->count;
  result->steps = assault->steps;
  int r = ask_teacher(assault, err);
  if (r == 0 && !context->control)
    r = control_mask(mask_size(context->mask), assault->victims, &fitted, err);
  if (r == 0)
    r = run_surfaces(assault, context->control ? context->control : fitted, result, err);
  mask_free(fitted);
  free(assault->photographs);
  free(assault->targets);
  return r;
}

int linkage_run(const struct attack_context *context, const struct linkage_budget *budget,
                struct attack_result *ret_result, struct guise_error *err) {
  _cleanup_(model_freep) struct model *teacher = NULL;
  struct choice choice = {.index = NULL};
  struct face_sample victims = {.index = NULL}, open = {.index = NULL};
  if (!context->teacher)
    return error_set(err, -EINVAL, "the attack linkage needs a teacher; name a model in audit.teacher");
  int r = model_load(context->teacher, STUDENT_BATCH, context->threads, &teacher, err);
  if (r < 0)
    return r;
  r = choose_victims(&context->victims, budget->victims, context->seed, &choice);
  const struct attack_faces chosen = {chosen_image, &choice, choice.identity, choice.count};
  if (r == 0)
    r = face_sample_draw(&chosen, budget->victims, context->seed, &victims);
  if (r == 0)
    r = face_sample_draw(&context->open, budget->pairs, context->seed, &open);
  victims.partners = context->mixing.partners.count > 0 ? &context->mixing.partners : NULL;
  struct assault assault = {
      .context = context, .budget = budget, .teacher = teacher, .victims = &victims, .open = &open};
  r = r < 0 ? error_set(err, r, "out of memory choosing faces to attack") : run_on(&assault, ret_result, err);
  face_sample_done(&victims);
  face_sample_done(&open);
  choice_done(&choice);
  return r;
}

int attack_linkage_run(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  return linkage_run(context, &linkage_budgets[context->effort], ret_result, err);
}
