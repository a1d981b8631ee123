/* A12, membership inference: was this photograph trained on? Asked of whoever holds the model's file, which
 * has no class head: in its place stand prototypes, the mean embeddings of other photographs of each person
 * that are known to have been trained on. A network that knows its photographs by heart puts them nearer to
 * the person's others than photographs of the same person that it never saw.
 *
 * Two scores. Loss (Yeom et al., CSF 2018): the log-probability of the right person under a softmax over the
 * prototypes, one threshold for all. RMIA (Zarifzadeh et al., ICML 2024), in its offline form: its ratio to
 * the probability that models which never saw the photograph give to it, p = ((1 + a) mean + (1 - a)) / 2
 * with a = .3; it takes out that some photographs are easy for any model. RMIA then counts how many
 * photographs of a population have a smaller ratio; as the population is the same for all, this keeps the
 * ratios' order and changes none of the figures, so that it is left out.
 *
 * Members and non-members are of the same people, as many of each: images of strangers would be told apart
 * without any membership. Control: a network that was trained on the same members until it knew them by
 * heart. An attack that does not tell them there says nothing. Where there is an ordinary undefended model of
 * the same people, the same figure of it stands beside: what mask and defences have changed. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/attack/faces.h"
#include "core/attack/membership_figures.h"
#include "core/base/philox.h"
#include "core/image/pack.h"
#include "core/model/embed.h"
#include "core/model/model.h"

#define SCALE 30.0f /* of cosines, as in training */
#define OFFLINE_A 0.3
#define BATCH 32u
#define TARGETS_EACH \
  8u /* members of a person that are asked about, and as many others; more, where people are few */
#define PROTOTYPES_EACH 16u       /* images behind a prototype, at most */
#define CONTROL_LEAST 0.75        /* AUROC on what was learnt by heart */
#define LEAK_SHARE 0.10           /* of the way from chance to the control */
#define DRAW_MEMBERS (1ull << 36) /* sequences of RNG_ATTACK, beyond those of the other files */
#define DRAW_UNSEEN (DRAW_MEMBERS + 1)
#define DRAW_ORDER (DRAW_MEMBERS + 2)

static const uint32_t budgets[] = {/* photographs asked about, half of them members */
                                   [EFFORT_QUICK] = 400,
                                   [EFFORT_STANDARD] = 2000,
                                   [EFFORT_THOROUGH] = 20000};

/* ---- who is asked about ---- */

static void targets_done(struct membership_targets *targets) {
  free(targets->image);
  free(targets->person);
  free(targets->member);
}

/* The images of a person in a list that is sorted by person. */
static uint32_t range_of(const struct attack_faces *faces, uint32_t identity, uint32_t *cursor,
                         uint32_t *ret_first) {
  while (*cursor < faces->count && faces->identity[*cursor] < identity)
    (*cursor)++;
  *ret_first = *cursor;
  uint32_t end = *cursor;
  while (end < faces->count && faces->identity[end] == identity)
    end++;
  return end - *ret_first;
}

struct person {
  uint32_t members, unseen; /* their first images in the lists */
  uint32_t member_count, unseen_count;
};

/* Who has an unseen image, a member to ask about and one for the prototype. */
static uint32_t list_people(const struct attack_context *context, struct person *ret_people) {
  uint32_t at_members = 0, at_unseen = 0, count = 0;
  while (at_unseen < context->unseen.count) {
    const uint32_t identity = context->unseen.identity[at_unseen];
    struct person person;
    person.unseen_count = range_of(&context->unseen, identity, &at_unseen, &person.unseen);
    person.member_count = range_of(&context->members, identity, &at_members, &person.members);
    at_unseen += person.unseen_count;
    if (person.member_count >= 2)
      ret_people[count++] = person;
  }
  return count;
}

static void add_target(struct membership_targets *targets, const struct attack_faces *faces, uint32_t image,
                       bool member) {
  targets->image[targets->count] = faces->image(faces->context, image);
  targets->person[targets->count] = targets->people;
  targets->member[targets->count++] = member;
}

/* Draws one person's photographs; those behind the prototype are put at `behind` and counted there. */
static void add_person(const struct attack_context *context, const struct person *person, uint32_t each,
                       uint32_t *order, struct membership_targets *targets,
                       struct membership_targets *behind) {
  struct rng rng;
  rng_init(&rng, context->seed, RNG_ATTACK, DRAW_UNSEEN, person->unseen);
  rng_permutation(&rng, order, person->unseen_count);
  for (uint32_t i = 0; i < each; i++)
    add_target(targets, &context->unseen, person->unseen + order[i], false);
  rng_init(&rng, context->seed, RNG_ATTACK, DRAW_MEMBERS, person->members);
  rng_permutation(&rng, order, person->member_count);
  for (uint32_t i = 0; i < each; i++)
    add_target(targets, &context->members, person->members + order[i], true);
  behind->people = targets->people;
  for (uint32_t i = each; i < MIN(person->member_count, each + PROTOTYPES_EACH); i++)
    add_target(behind, &context->members, person->members + order[i], true);
  targets->people++;
}

static int targets_init(struct membership_targets *targets, uint32_t most) {
  *targets = (struct membership_targets){.count = 0};
  targets->image = calloc(most + 1u, sizeof(*targets->image));
  targets->person = calloc(most + 1u, sizeof(*targets->person));
  targets->member = calloc(most + 1u, 1);
  return targets->image && targets->person && targets->member ? 0 : -ENOMEM;
}

static void append(struct membership_targets *targets, const struct membership_targets *behind) {
  memcpy(targets->image + targets->count, behind->image, behind->count * sizeof(*behind->image));
  memcpy(targets->person + targets->count, behind->person, behind->count * sizeof(*behind->person));
  targets->prototypes = behind->count;
}

/* One image is left to the prototype, and where more than TARGETS_EACH are asked about PROTOTYPES_EACH, or
 * half of all: more effort must not make the attack worse. */
static uint32_t askable(const struct person *person) {
  const uint32_t few = MIN(TARGETS_EACH, person->member_count - 1),
                 many = person->member_count - MIN(PROTOTYPES_EACH, person->member_count / 2);
  return MIN(person->unseen_count, MAX(few, many));
}

/* How many of each person, at most: as many as all together fill the budget. */
static uint32_t limit_of(const struct person *people, uint32_t count, uint32_t most) {
  uint32_t limit = TARGETS_EACH;
  for (bool more = true; more; limit++) {
    uint64_t asked = 0;
    more = false;
    for (uint32_t i = 0; i < count; i++) {
      asked += 2 * (uint64_t)MIN(askable(&people[i]), limit);
      more |= askable(&people[i]) > limit;
    }
    if (asked >= most || !more)
      break;
  }
  return limit;
}

static int choose_targets(const struct attack_context *context, struct membership_targets *ret_targets) {
  const uint32_t all = context->members.count + context->unseen.count, most = budgets[context->effort];
  struct membership_targets targets, behind;
  _cleanup_(freep) struct person *people = calloc(all + 1u, sizeof(*people));
  _cleanup_(freep) uint32_t *order = calloc(all + 1u, sizeof(*order)),
                            *turn = calloc(all + 1u, sizeof(*turn));
  int r = targets_init(&targets, 2 * all);
  int r_behind = targets_init(&behind, all);
  if (r == 0 && r_behind == 0 && people && order && turn) {
    const uint32_t count = list_people(context, people), limit = limit_of(people, count, most);
    struct rng rng;
    rng_init(&rng, context->seed, RNG_ATTACK, DRAW_ORDER, 0);
    rng_permutation(&rng, turn, count);
    for (uint32_t i = 0; i < count && targets.count + 2 <= most; i++) {
      const struct person *person = &people[turn[i]];
      const uint32_t each = MIN(askable(person), limit);
      add_person(context, person, MIN(each, (most - targets.count) / 2), order, &targets, &behind);
    }
    append(&targets, &behind);
  } else {
    r = -ENOMEM;
  }
  targets_done(&behind);
  if (r < 0)
    targets_done(&targets);
  else
    *ret_targets = targets;
  return r;
}

/* ---- what a model says of them ---- */

static const uint8_t *target_image(void *context, uint32_t i) {
  return ((const struct membership_targets *)context)->image[i];
}

static int embed_all(struct model *model, const struct attack_context *context,
                     const struct membership_targets *targets, float *ret_embeddings,
                     struct guise_error *err) {
  return model_embed_faces(model, target_image, (void *)targets, mask_size(context->mask),
                           targets->count + targets->prototypes, ret_embeddings, context->should_stop,
                           context->stop_context, err);
}

static void make_prototypes(const struct membership_targets *targets, const float *embeddings, uint32_t n,
                            float *ret_prototypes) {
  memset(ret_prototypes, 0, (size_t)targets->people * n * sizeof(float));
  for (uint32_t i = targets->count; i < targets->count + targets->prototypes; i++)
    for (uint32_t d = 0; d < n; d++)
      ret_prototypes[(size_t)targets->person[i] * n + d] += embeddings[(size_t)i * n + d];
  for (uint32_t p = 0; p < targets->people; p++)
    (void)embedding_normalise(ret_prototypes + (size_t)p * n, n);
}

/* log of the softmax at the right person */
static double log_probability(const float *embedding, const float *prototypes, uint32_t n, uint32_t people,
                              uint32_t right) {
  double own = 0, sum = 0;
  for (uint32_t p = 0; p < people; p++) {
    double cosine = 0;
    for (uint32_t d = 0; d < n; d++)
      cosine += (double)(embedding[d] * prototypes[(size_t)p * n + d]);
    own = p == right ? cosine : own;
    sum += exp((double)SCALE * (cosine - 1));
  }
  return (double)SCALE * (own - 1) - log(sum);
}

/* ret_scores: (targets) log-probabilities */
static int ask_model(const char *path, const struct attack_context *context,
                     const struct membership_targets *targets, double *ret_scores, struct guise_error *err) {
  _cleanup_(model_freep) struct model *model = NULL;
  const struct mask_key *key = path == context->model ? context->key : NULL;
  int r = model_load_keyed(path, key, BATCH, context->threads, &model, err);
  if (r < 0)
    return r;
  const uint32_t n = model->info.embedding;
  _cleanup_(freep) float *embeddings =
      calloc((size_t)(targets->count + targets->prototypes) * n, sizeof(float));
  _cleanup_(freep) float *prototypes = calloc((size_t)targets->people * n, sizeof(float));
  if (!embeddings || !prototypes)
    return error_set(err, -ENOMEM, "out of memory for the embeddings of %u images", targets->count);
  omp_set_num_threads((int)context->threads);
  r = embed_all(model, context, targets, embeddings, err);
  if (r < 0)
    return r;
  make_prototypes(targets, embeddings, n, prototypes);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < targets->count; i++)
    ret_scores[i] =
        log_probability(embeddings + (size_t)i * n, prototypes, n, targets->people, targets->person[i]);
  return 0;
}

/* log p, p = ((1 + a) mean of the references + (1 - a)) / 2 */
static int ask_references(const struct attack_context *context, const struct membership_targets *targets,
                          double *ret_expected, struct guise_error *err) {
  _cleanup_(freep) double *one = calloc(targets->count + 1u, sizeof(*one));
  int r = one ? 0 : error_set(err, -ENOMEM, "out of memory for %u scores", targets->count);
  memset(ret_expected, 0, targets->count * sizeof(double));
  for (uint32_t m = 0; m < context->reference_count && r == 0; m++) {
    r = ask_model(context->references[m], context, targets, one, err);
    for (uint32_t i = 0; r == 0 && i < targets->count; i++)
      ret_expected[i] += exp(one[i]) / context->reference_count;
  }
  for (uint32_t i = 0; r == 0 && i < targets->count; i++)
    ret_expected[i] = log(((1 + OFFLINE_A) * ret_expected[i] + 1 - OFFLINE_A) / 2);
  return r;
}

/* ---- the report ---- */

static const char threat_model[] =
    "Holds the model's file, which has neither class head nor names, and of each person photographs of which "
    "it "
    "knows that they were trained on; asks of further photographs of these people. Masks them as a client "
    "does (one face a template).";

static const struct {
  enum figure figure;
  const char *name[2], *description;
} rows[] = {
    {AUROC,
     {"auroc_loss", "auroc_rmia"},
     "Probability that a photograph that was trained on scores higher than one that was not"},
    {TPR_2, {"tpr_at_fpr_1e-2_loss", "tpr_at_fpr_1e-2_rmia"}, "Members found, at 1 % false ones"},
    {TPR_3, {"tpr_at_fpr_1e-3_loss", "tpr_at_fpr_1e-3_rmia"}, "Members found, at 0.1 % false ones"},
};

/* TPR_LEAST, in the order of membership_rates */
static const struct {
  const char *name[2], *description;
} least_rows[MEMBERSHIP_RATES] = {
    {{"tpr_at_fpr_2e-3_loss", "tpr_at_fpr_2e-3_rmia"},
     "Members found, at 0.2 % false ones, the fewest that can be told"},
    {{"tpr_at_fpr_5e-3_loss", "tpr_at_fpr_5e-3_rmia"},
     "Members found, at 0.5 % false ones, the fewest that can be told"},
    {{"tpr_at_fpr_2e-2_loss", "tpr_at_fpr_2e-2_rmia"},
     "Members found, at 2 % false ones, the fewest that can be told"},
    {{"tpr_at_fpr_5e-2_loss", "tpr_at_fpr_5e-2_rmia"},
     "Members found, at 5 % false ones, the fewest that can be told"},
    {{"tpr_at_fpr_1e-1_loss", "tpr_at_fpr_1e-1_rmia"},
     "Members found, at 10 % false ones, the fewest that can be told"},
};

/* AUROC of an undefended model, of each score. */
static const char *const undefended_names[] = {"auroc_loss_undefended", "auroc_rmia_undefended"};

static void add_metric(const struct membership_figures *attack, const struct membership_figures *control,
                       enum figure f, const char *name, const char *description,
                       struct attack_surface_result *surface) {
  surface->metric[surface->metrics++] = (struct attack_metric){.name = name,
                                                               .unit = "",
                                                               .description = description,
                                                               .value = attack->value[f],
                                                               .worst_tenth = attack->worst[f],
                                                               .chance = attack->chance[f],
                                                               .chance_worst_tenth = attack->chance_worst[f],
                                                               .control = control->value[f],
                                                               .control_threshold = NAN,
                                                               .ceiling = NAN};
}

/* of a score: 0 loss, 1 RMIA; least: membership_least_rate */
static void add_metrics(const struct membership_figures *attack, const struct membership_figures *control,
                        int score, double least, struct attack_surface_result *surface) {
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    add_metric(attack, control, rows[i].figure, rows[i].name[score], rows[i].description, surface);
  for (size_t i = 0; i < MEMBERSHIP_RATES; i++)
    if (membership_rates[i] == least)
      add_metric(attack, control, TPR_LEAST, least_rows[i].name[score], least_rows[i].description, surface);
}

/* The score that does better on the control decides: it is chosen without a look at the model under attack.
 */
static void write_surface(const struct membership_figures attack[2],
                          const struct membership_figures control[2],
                          const struct membership_figures *undefended, int scores, double least,
                          struct attack_surface_result *surface) {
  const int best = scores > 1 && control[1].value[AUROC].mean > control[0].value[AUROC].mean;
  uint32_t first[2] = {0, 0}; /* the AUROC stands first */
  for (int score = 0; score < scores; score++) {
    first[score] = surface->metrics;
    add_metrics(&attack[score], &control[score], score, least, surface);
  }
  for (int score = 0; undefended && score < scores; score++)
    add_metric(&undefended[score], &control[score], AUROC, undefended_names[score],
               "The same of an undefended model of these people, to compare with: nothing rests on it",
               surface);
  struct attack_metric *metric = &surface->metric[first[best]];
  const double margin = LEAK_SHARE * (metric->control.mean - metric->chance);
  surface->decided_by = metric->name;
  surface->threshold = metric->chance + margin;
  /* of few people chance alone may rank a tenth without a fault: then no tenth can be told from chance */
  surface->threshold_worst_tenth = MIN(1.0, attack[best].chance_worst_high + margin);
  metric->control_threshold = CONTROL_LEAST;
  attack_decide(surface);
}

/* ---- the whole attack ---- */

static int attack_model(const char *path, const struct attack_context *context,
                        const struct membership_targets *targets, const double *expected,
                        struct membership_figures ret_figures[2], struct guise_error *err) {
  _cleanup_(freep) double *scores = calloc(targets->count, sizeof(*scores));
  int r = scores ? ask_model(path, context, targets, scores, err)
                 : error_set(err, -ENOMEM, "out of memory for %u scores", targets->count);
  if (r == 0)
    r = membership_measure(targets, scores, context->seed, &ret_figures[0], err);
  if (r < 0 || context->reference_count == 0)
    return r;
  for (uint32_t i = 0; i < targets->count; i++)
    scores[i] -= expected[i];
  return membership_measure(targets, scores, context->seed, &ret_figures[1], err);
}

static int run_on(const struct attack_context *context, const struct membership_targets *targets,
                  struct attack_result *result, struct guise_error *err) {
  struct membership_figures attack[2], control[2], undefended[2];
  _cleanup_(freep) double *expected = calloc(targets->count, sizeof(*expected));
  int r = expected ? 0 : error_set(err, -ENOMEM, "out of memory for %u scores", targets->count);
  if (r == 0 && context->reference_count > 0)
    r = ask_references(context, targets, expected, err);
  if (r == 0)
    r = attack_model(context->model, context, targets, expected, attack, err);
  if (r == 0)
    r = attack_model(context->overfitted, context, targets, expected, control, err);
  if (r == 0 && context->undefended)
    r = attack_model(context->undefended, context, targets, expected, undefended, err);
  if (r < 0)
    return r;
  result->faces = targets->count;
  result->people = targets->people;
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  *surface = (struct attack_surface_result){.surface = SURFACE_WEIGHTS,
                                            .threat_model = threat_model,
                                            .given_key = context->key != NULL,
                                            .mean_k = 1};
  write_surface(attack, control, context->undefended ? undefended : NULL,
                context->reference_count > 0 ? 2 : 1, membership_least_rate(targets), surface);
  return 0;
}

/* Of those whom the control knows too few have enough photographs. */
static void say_nothing(struct attack_result *result) {
  struct membership_figures none = {.chance_worst_high = NAN};
  for (int f = 0; f < FIGURES; f++) {
    none.value[f] = (struct interval){NAN, NAN, NAN};
    none.worst[f] = none.chance[f] = none.chance_worst[f] = NAN;
  }
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  *surface = (struct attack_surface_result){.surface = SURFACE_WEIGHTS,
                                            .threat_model = threat_model,
                                            .mean_k = 1,
                                            .decided_by = rows[0].name[0],
                                            .threshold = NAN,
                                            .threshold_worst_tenth = NAN};
  add_metrics(&none, &none, 0, NAN, surface);
  attack_decide(surface);
}

int attack_membership_run(const struct attack_context *context, struct attack_result *ret_result,
                          struct guise_error *err) {
  struct membership_targets targets;
  if (!context->model || !context->overfitted)
    return error_set(err, -EINVAL, "the attack membership needs the model and a control for it");
  int r = choose_targets(context, &targets);
  if (r < 0)
    return error_set(err, r, "out of memory choosing images to ask about");
  if (targets.people >= 2)
    r = run_on(context, &targets, ret_result, err);
  else
    say_nothing(ret_result);
  targets_done(&targets);
  return r;
}
