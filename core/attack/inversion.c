#include "core/attack/inversion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/evaluator.h"
#include "core/base/philox.h"
#include "core/image/pack.h"

#define LEAK_SHARE 0.10       /* of the way from chance to the control */
#define CONTROL_OF_CHANCE 4.0 /* and so many times what guessing reaches */
#define CHANCE_DRAWS 50u
#define DRAW_CHANCE ((1ull << 37) + 1) /* sequence of RNG_ATTACK, beyond those of the other files */

enum figure { FIRST, FIFTH, DISTANCE, FIGURES };

/* The people and the pictures of them. */
struct gallery {
  const struct attack_context *context;
  const struct inversion *inversion;
  struct face_sample known;
  uint32_t count;           /* people that are drawn: those of the first faces of `known` */
  uint32_t *wanted;         /* (count) their classes */
  uint32_t *number;         /* (count) 0, 1, ...: everybody is drawn once */
  uint8_t *drawn, *control; /* (count, size, size, 3) */
};

struct figures {
  double *value[FIGURES]; /* (count) */
  double chance[FIGURES], chance_worst[FIGURES], chance_worst_high[FIGURES];
};

static int out_of_memory(const struct gallery *gallery, struct guise_error *err) {
  return error_set(err, -ENOMEM, "out of memory drawing %u people", gallery->count);
}

/* ---- whom to draw ---- */

static void gallery_done(struct gallery *gallery) {
  face_sample_done(&gallery->known);
  free(gallery->wanted);
  free(gallery->number);
  free(gallery->drawn);
  free(gallery->control);
}

static int gallery_init(struct gallery *gallery) {
  const struct attack_context *context = gallery->context;
  const size_t bytes = (size_t)3 * mask_size(context->mask) * mask_size(context->mask);
  int r = face_sample_draw(&context->members, gallery->inversion->known, context->seed, &gallery->known);
  if (r < 0)
    return r;
  gallery->count = MIN(gallery->inversion->people, gallery->known.people);
  gallery->wanted = calloc(gallery->count, sizeof(*gallery->wanted));
  gallery->number = calloc(gallery->count, sizeof(*gallery->number));
  gallery->drawn = malloc(gallery->count * bytes);
  gallery->control = malloc(gallery->count * bytes);
  if (!gallery->wanted || !gallery->number || !gallery->drawn || !gallery->control)
    return -ENOMEM;
  for (uint32_t i = 0; i < gallery->count; i++) {
    gallery->wanted[i] = gallery->known.person[i]; /* the first faces are of as many people */
    gallery->number[i] = i;
  }
  return 0;
}

/* ---- drawing ---- */

int inversion_ledger(const struct inverted *inverted, const uint32_t *wanted, uint32_t count, json_t *search,
                     struct ledger **ret_ledger, struct guise_error *err) {
  const struct attack_context *context = inverted->context;
  const struct classifier *classifier = inverted->classifier;
  char name[64];
  json_t *network = json_null();
  int r = context->work_directory ? ledger_digest_of_file(inverted->network, &network, err) : 0;
  if (r < 0) {
    json_decref(search);
    return r;
  }
  json_t *identity =
      json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:f, s:I, s:i, s:i, s:o}", "attack", inverted->attack, "role",
                inverted->role, "network", network, "rows",
                ledger_digest(head_weights(classifier->head),
                              (size_t)classifier->classes * classifier->embedding * sizeof(float)),
                "wanted", ledger_digest(wanted, count * sizeof(*wanted)), "head", (int)context->loss.kind,
                "scale", (double)classifier->loss.scale, "seed", (json_int_t)context->seed, "size",
                (int)mask_size(inverted->mask), "threads", (int)context->threads, "search", search);
  (void)snprintf(name, sizeof(name), "%s-%s", inverted->attack, inverted->role);
  return ledger_open(context, name, identity, ret_ledger, err);
}

static int draw(const struct gallery *gallery, struct model *model, const struct mask *mask,
                const struct face_sample *known, const char *role, const char *network, uint8_t *ret_rgb,
                struct guise_error *err) {
  const struct attack_context *context = gallery->context;
  struct attack_loss loss = context->loss;
  _cleanup_(classifier_freep) struct classifier *classifier = NULL;
  loss.options.margin = loss.options.smoothing = 0; /* whom the network takes a picture for, plainly */
  const struct classifier_options options = {.model = model,
                                             .mask = mask,
                                             .known = known,
                                             .loss = &loss,
                                             .batch = INVERSION_BATCH,
                                             .threads = context->threads,
                                             .seed = context->seed,
                                             .should_stop = context->should_stop,
                                             .stop_context = context->stop_context};
  int r = classifier_new(&options, &classifier, err);
  if (r < 0)
    return r;
  const struct inverted inverted = {context, classifier, mask, role, gallery->inversion->name, network};
  return gallery->inversion->draw(&inverted, gallery->inversion->method, gallery->wanted, gallery->count,
                                  ret_rgb, err);
}

static int draw_attacked(const struct gallery *gallery, struct guise_error *err) {
  const struct attack_context *context = gallery->context;
  _cleanup_(model_freep) struct model *model = NULL;
  int r = model_load_keyed(context->model, context->key, INVERSION_BATCH, context->threads, &model, err);
  return r < 0 ? r
               : draw(gallery, model, context->mask, &gallery->known, "attacked", context->model,
                      gallery->drawn, err);
}

/* The control works at a size of its own. */
static int draw_control(const struct gallery *gallery, struct guise_error *err) {
  const struct attack_context *context = gallery->context;
  const uint32_t size = mask_size(context->mask);
  _cleanup_(model_freep) struct model *model = NULL;
  int r = model_load(context->undefended, INVERSION_BATCH, context->threads, &model, err);
  if (r < 0)
    return r;
  const uint32_t to = model->info.input;
  const size_t bytes = (size_t)3 * to * to;
  struct resized_faces smaller;
  _cleanup_(freep) uint8_t *drawn = malloc(bytes * gallery->count);
  r = resized_faces_init(&smaller, &gallery->known, size, to);
  r = r < 0 || !drawn
          ? out_of_memory(gallery, err)
          : draw(gallery, model, model->mask, &smaller.sample, "control", context->undefended, drawn, err);
  for (uint32_t i = 0; i < gallery->count && r == 0; i++)
    image_resize(drawn + bytes * i, to, to, gallery->control + (size_t)3 * size * size * i, size);
  resized_faces_done(&smaller);
  return r;
}

/* ---- figures ---- */

static void judge(const struct evaluator *evaluator, const uint32_t *wanted, uint32_t count,
                  double *const ret_value[FIGURES]) {
  for (uint32_t i = 0; i < count; i++) {
    const struct judgement judgement = evaluator_judge(evaluator, i, wanted[i]);
    ret_value[FIRST][i] = judgement.rank < 1;
    ret_value[FIFTH][i] = judgement.rank < 5;
    ret_value[DISTANCE][i] = -judgement.distance; /* the nearer, the worse for the person */
  }
}

static int falling(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Everybody's picture is said to be of somebody else among those who are drawn. values: (FIGURES, count) and
 * classes: (2, count), spent. */
static void judge_strangers(const struct gallery *gallery, const struct evaluator *evaluator, double *values,
                            uint32_t *classes, struct figures *figures) {
  const uint32_t count = gallery->count, tenth = (count + 9) / 10;
  double worst[FIGURES][CHANCE_DRAWS];
  double *value[FIGURES];
  for (size_t f = 0; f < FIGURES; f++)
    value[f] = values + f * count;
  for (uint32_t d = 0; d < CHANCE_DRAWS; d++) {
    struct rng rng;
    rng_init(&rng, gallery->context->seed, RNG_ATTACK, DRAW_CHANCE, d);
    rng_permutation(&rng, classes + count, count);
    for (uint32_t i = 0; i < count; i++)
      classes[classes[count + i]] = gallery->wanted[classes[count + (i + 1) % count]];
    judge(evaluator, classes, count, value);
    for (int f = 0; f < FIGURES; f++) {
      qsort(value[f], count, sizeof(double), falling);
      worst[f][d] = mean_of(value[f], tenth);
      figures->chance[f] += mean_of(value[f], count) / CHANCE_DRAWS;
      figures->chance_worst[f] += worst[f][d] / CHANCE_DRAWS;
    }
  }
  for (int f = 0; f < FIGURES; f++) {
    struct interval interval = {NAN, NAN, NAN};
    bootstrap_interval(worst[f], CHANCE_DRAWS, &interval);
    figures->chance_worst_high[f] = interval.high;
  }
}

static int measure(const struct gallery *gallery, struct evaluator *evaluator, const uint8_t *rgb,
                   bool chance, struct figures *figures, struct guise_error *err) {
  const struct lessons_options options = lessons_options_of(gallery->context);
  const uint32_t count = gallery->count;
  _cleanup_(freep) double *values = calloc((size_t)FIGURES * count, sizeof(*values));
  _cleanup_(freep) uint32_t *classes = calloc((size_t)2 * count, sizeof(*classes));
  if (!values || !classes)
    return out_of_memory(gallery, err);
  int r = evaluator_look(evaluator, rgb, count, mask_size(gallery->context->mask), &options, err);
  if (r < 0)
    return r;
  judge(evaluator, gallery->wanted, count, figures->value);
  if (chance)
    judge_strangers(gallery, evaluator, values, classes, figures);
  return 0;
}

/* ---- the report ---- */

static const struct {
  const char *name, *description;
} rows[FIGURES] = {
    [FIRST] = {"accuracy_at_1", "Drawn people whom the evaluator recognises"},
    [FIFTH] = {"accuracy_at_5", "Drawn people who are among the evaluator's first five"},
    [DISTANCE] = {"knn_distance",
                  "1 - cosine between a drawing and the nearest photograph of the person, as the evaluator "
                  "embeds them"},
};

static int add_metrics(const struct gallery *gallery, const struct figures *attack,
                       const struct figures *control, struct attack_surface_result *surface) {
  const struct face_sample everybody = {
      .person = gallery->number, .count = gallery->count, .people = gallery->count};
  const uint64_t seed = gallery->context->seed;
  int r = 0;
  for (int f = 0; f < FIGURES && r == 0; f++) {
    struct attack_metric *metric = &surface->metric[surface->metrics++];
    const bool share = f != DISTANCE;
    double unused;
    *metric = (struct attack_metric){.name = rows[f].name,
                                     .unit = "",
                                     .description = rows[f].description,
                                     .chance = attack->chance[f],
                                     .chance_worst_tenth = attack->chance_worst[f],
                                     .control_threshold = NAN,
                                     .ceiling = NAN};
    r = people_interval(&everybody, attack->value[f], share, seed, &metric->value, &metric->worst_tenth);
    if (r == 0)
      r = people_interval(&everybody, control->value[f], share, seed, &metric->control, &unused);
  }
  struct attack_metric *distance = &surface->metric[DISTANCE];
  distance->value = (struct interval){-distance->value.mean, -distance->value.high, -distance->value.low};
  distance->control =
      (struct interval){-distance->control.mean, -distance->control.high, -distance->control.low};
  distance->worst_tenth *= -1;
  distance->chance *= -1;
  distance->chance_worst_tenth *= -1;
  return r;
}

static int add_pictures(const struct gallery *gallery, struct attack_surface_result *surface) {
  const uint32_t size = mask_size(gallery->context->mask);
  const size_t bytes = (size_t)3 * size * size;
  for (uint32_t i = 0; i < MIN(ATTACK_PICTURES_MAX, gallery->count); i++) {
    struct attack_picture *picture = &surface->picture[surface->pictures];
    uint8_t *strip = malloc(3 * bytes);
    if (!strip)
      return -ENOMEM;
    picture_panel(face_sample_image(&gallery->known, i), size, 0, strip);
    picture_panel(gallery->control + i * bytes, size, 1, strip);
    picture_panel(gallery->drawn + i * bytes, size, 2, strip);
    *picture = (struct attack_picture){.victim = true, .rgb = strip};
    (void)snprintf(picture->caption, sizeof(picture->caption),
                   "A trained person: photograph, drawn out of the control, out of the model");
    surface->pictures++;
  }
  return 0;
}

static int write_surface(const struct gallery *gallery, const struct figures *attack,
                         const struct figures *control, struct attack_result *result,
                         struct guise_error *err) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  *surface = (struct attack_surface_result){.surface = SURFACE_WEIGHTS,
                                            .threat_model = gallery->inversion->threat_model,
                                            .given_key = gallery->context->key != NULL,
                                            .decided_by = rows[FIRST].name,
                                            .mean_k = 1};
  if (add_metrics(gallery, attack, control, surface) < 0)
    return out_of_memory(gallery, err);
  struct attack_metric *metric = &surface->metric[FIRST];
  const double margin = LEAK_SHARE * (metric->control.mean - metric->chance);
  surface->threshold = metric->chance + margin;
  surface->threshold_worst_tenth = attack->chance_worst_high[FIRST] + margin;
  metric->control_threshold =
      fmax(gallery->inversion->control_least, CONTROL_OF_CHANCE / gallery->known.people);
  attack_decide(surface);
  return add_pictures(gallery, surface) < 0 ? out_of_memory(gallery, err) : 0;
}

/* ---- the whole attack ---- */

static int run_on(struct gallery *gallery, struct attack_result *result, struct guise_error *err) {
  const struct attack_context *context = gallery->context;
  const struct lessons_options options = lessons_options_of(context);
  const uint32_t count = gallery->count;
  _cleanup_(evaluator_freep) struct evaluator *evaluator = NULL;
  _cleanup_(freep) double *values = calloc((size_t)2 * FIGURES * count, sizeof(*values));
  struct figures attack = {.chance = {0}}, control = {.chance = {0}};
  if (!values)
    return out_of_memory(gallery, err);
  for (size_t f = 0; f < FIGURES; f++) {
    attack.value[f] = values + f * count;
    control.value[f] = values + (FIGURES + f) * count;
  }
  int r =
      evaluator_new(context->evaluator, &gallery->known, mask_size(context->mask), &options, &evaluator, err);
  if (r == 0) {
    result->evaluator = evaluator_facts(evaluator, context->evaluator_unseen);
    r = draw_control(gallery, err);
  }
  if (r == 0)
    r = draw_attacked(gallery, err);
  if (r == 0)
    r = measure(gallery, evaluator, gallery->control, false, &control, err);
  if (r == 0)
    r = measure(gallery, evaluator, gallery->drawn, true, &attack, err);
  return r < 0 ? r : write_surface(gallery, &attack, &control, result, err);
}

int inversion_run(const struct inversion *inversion, const struct attack_context *context,
                  struct attack_result *result, struct guise_error *err) {
  struct gallery gallery = {.context = context, .inversion = inversion};
  if (!context->model || !context->undefended || !context->evaluator || context->members.count == 0)
    return error_set(err, -EINVAL, "the attack %s needs the model, a control for it and an evaluator",
                     inversion->name);
  int r = gallery_init(&gallery);
  if (r < 0)
    r = out_of_memory(&gallery, err);
  else
    r = run_on(&gallery, result, err);
  result->faces = result->people = gallery.count;
  gallery_done(&gallery);
  return r;
}
