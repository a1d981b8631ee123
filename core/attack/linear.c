/* A1, the linear attack: whoever knows the mask solves for the pixels. Nothing is learnt and no public face
 * is needed; what least squares gives back is the least that a template gives away.
 *
 * One constant a colour lies in the null space once the lowest coefficient is dropped; the attacker is
 * granted the best one. Training templates are mixes: the recovered picture is compared with each face in the
 * mix, with a constant for each. Control: the same on the unmasked transform of the same faces, unmixed.
 *
 * Who knows the mask need not know its key: of keyed masks the key is guessed first, from statistics and, in
 * figures of their own, from known pairs (core/attack/key.h). */
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/faces.h"
#include "core/attack/key.h"
#include "core/attack/recover.h"
#include "core/attack/subtract.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"

#define FACES_QUICK 100u
#define FACES_STANDARD 400u

/* What one recovered picture is worth. */
struct outcome {
  struct likeness lead, best; /* to the face with the largest lambda; to the likest in the mix */
  struct likeness lead_chance, best_chance; /* the same against as many faces of other people */
  uint32_t steps, k;
  bool solved;
};

/* One attacking thread. */
struct worker {
  struct recoverer recoverer;  /* with the mask as the attacker knows it */
  const struct mask *mask;     /* that templates are made with */
  float *part, *mixed;         /* templates */
  const struct decoys *decoys; /* in what is seen; NULL = none */
  float *seen;                 /* (decoys->mixes, elements) */
};

static int worker_init(struct worker *worker, const struct mask *mask, const struct mask *known,
                       const struct decoys *decoys) {
  memset(worker, 0, sizeof(*worker));
  worker->mask = mask;
  int r = recoverer_init(&worker->recoverer, known);
  if (r < 0)
    return r;
  size_t elements = mask_elements(mask) * sizeof(float);
  worker->part = tensor_alloc(elements);
  worker->mixed = tensor_alloc(elements);
  worker->decoys = decoys;
  worker->seen = decoys ? tensor_alloc(decoys->mixes * elements) : NULL;
  return worker->part && worker->mixed && (!decoys || worker->seen) ? 0 : -ENOMEM;
}

static void worker_done(struct worker *worker) {
  recoverer_done(&worker->recoverer);
  tensor_free(worker->part);
  tensor_free(worker->mixed);
  tensor_free(worker->seen);
}

/* worker->mixed := what is left of the templates sent for one recognition once the decoys are taken out;
 * worker->part: the first of those templates. */
static void make_decoyed(struct worker *worker, const struct face_sample *sample, uint32_t face) {
  struct rng rng;
  mask_rng_inference(&rng, sample->index[face]);
  decoyed_template(worker->mask, face_sample_image(sample, face), false, &rng,
                   worker->recoverer.solver.scratch, worker->seen, worker->part, worker->mixed);
}

static void make_template(struct worker *worker, const struct face_sample *sample, const struct mix *mix) {
  if (worker->decoys)
    make_decoyed(worker, sample, mix->member[0]);
  else
    face_sample_template(sample, worker->mask, mix, 0, worker->recoverer.solver.scratch, worker->part,
                         worker->mixed);
}

static void keep_best(struct likeness *best, struct likeness other) {
  best->ssim = fmax(best->ssim, other.ssim);
  best->psnr = fmax(best->psnr, other.psnr);
}

static struct outcome attack_face(struct worker *worker, const struct face_sample *sample,
                                  const struct mix *mix, uint32_t lead, uint64_t seed) {
  struct outcome outcome = {.k = mix->k};
  uint32_t heavy = mix_heaviest(sample, mix);
  make_template(worker, sample, mix);
  outcome.steps = recover(&worker->recoverer, worker->mixed);
  outcome.solved = worker->recoverer.solver.solved;
  for (uint32_t j = 0; j < mix->k; j++) {
    if (!face_sample_owns(sample, mix->member[j]))
      continue;
    struct likeness own = recover_compare(&worker->recoverer, face_sample_image(sample, mix->member[j]));
    uint32_t stranger = face_sample_stranger(sample, mix, lead, j, seed);
    struct likeness chance = recover_compare(&worker->recoverer, face_sample_image(sample, stranger));
    if (j == heavy)
      outcome.lead = own;
    if (j == 0) {
      outcome.best = own;
      outcome.lead_chance = outcome.best_chance = chance;
    }
    keep_best(&outcome.best, own);
    keep_best(&outcome.best_chance, chance);
  }
  return outcome;
}

/* ---- all faces of a surface ---- */

struct campaign {
  const struct attack_context *context;
  const struct face_sample *sample;
  const struct mask *mask;
  const struct mask *known;           /* the same as the attacker knows it */
  const struct mask *seen;            /* without a key: what a template looks like */
  const struct attack_mixing *mixing; /* NULL: unmixed */
  const struct decoys *decoys;        /* in what is seen; NULL: none */
};

static void campaign_mix(const struct campaign *campaign, uint32_t face, struct mix *ret_mix) {
  if (campaign->mixing)
    face_sample_mix(campaign->sample, campaign->mixing, face, campaign->context->seed, ret_mix);
  else
    mix_single(face, ret_mix);
}

/* Only the calling thread asks, so that should_stop need not be thread-safe. */
static bool stop_now(const struct attack_context *context, atomic_int *status) {
  if (omp_get_thread_num() == 0 && context->should_stop && context->should_stop(context->stop_context))
    atomic_store(status, -ECANCELED);
  return atomic_load(status) < 0;
}

static int run_campaign(const struct campaign *campaign, struct outcome *ret_outcomes,
                        struct guise_error *err) {
  const struct attack_context *context = campaign->context;
  atomic_int status = 0;
#pragma omp parallel num_threads(context->threads)
  {
    struct worker worker;
    int r = worker_init(&worker, campaign->mask, campaign->known, campaign->decoys);
    if (r < 0)
      atomic_store(&status, r);
#pragma omp for schedule(dynamic)
    for (uint32_t i = 0; i < campaign->sample->count; i++) {
      struct mix mix;
      if (stop_now(context, &status))
        continue;
      campaign_mix(campaign, i, &mix);
      ret_outcomes[i] = attack_face(&worker, campaign->sample, &mix, i, context->seed);
    }
    worker_done(&worker);
  }
  int r = atomic_load(&status);
  if (r == -ECANCELED)
    return error_set(err, r, "the attack was stopped");
  return r < 0 ? error_set(err, r, "out of memory attacking %u faces", campaign->sample->count) : 0;
}

/* ---- figures ---- */

enum figure { SSIM_LEAD, PSNR_LEAD, SSIM_BEST, PSNR_BEST };

static double figure_of(const struct outcome *outcome, enum figure figure, bool chance) {
  const struct likeness *lead = chance ? &outcome->lead_chance : &outcome->lead;
  const struct likeness *best = chance ? &outcome->best_chance : &outcome->best;
  switch (figure) {
  case SSIM_LEAD:
    return lead->ssim;
  case PSNR_LEAD:
    return lead->psnr;
  case SSIM_BEST:
    return best->ssim;
  case PSNR_BEST:
    return best->psnr;
  }
  return NAN;
}

struct figure_row {
  enum figure figure, control;
  const char *name, *unit, *description;
  double control_threshold;
};

static const struct figure_row inference_rows[] = {
    {SSIM_LEAD, SSIM_LEAD, "ssim", "", "Structural similarity of recovered and true face (1 = the same)",
     CONTROL_SSIM},
    {PSNR_LEAD, PSNR_LEAD, "psnr", "dB", "Peak signal-to-noise ratio of recovered and true face",
     CONTROL_PSNR},
};
static const struct figure_row training_rows[] = {
    {SSIM_BEST, SSIM_LEAD, "ssim_best", "",
     "Structural similarity to the likest face in the mix (1 = the same)", CONTROL_SSIM},
    {PSNR_BEST, PSNR_LEAD, "psnr_best", "dB", "Peak signal-to-noise ratio to the likest face in the mix",
     CONTROL_PSNR},
    {SSIM_LEAD, SSIM_LEAD, "ssim_lead", "",
     "Structural similarity to the face with the largest share in the mix", CONTROL_SSIM},
    {PSNR_LEAD, PSNR_LEAD, "psnr_lead", "dB", "Peak signal-to-noise ratio to the face with the largest share",
     CONTROL_PSNR},
};

static int fill_metric(const struct face_sample *sample, const struct figure_row *row,
                       const struct outcome *outcomes, const struct outcome *control, uint64_t seed,
                       struct attack_metric *metric) {
  _cleanup_(freep) double *values = calloc((size_t)3 * sample->count + 1, sizeof(*values));
  if (!values)
    return -ENOMEM;
  double *chances = values + sample->count, *controls = chances + sample->count, unused = 0;
  struct interval chance;
  for (uint32_t i = 0; i < sample->count; i++) {
    values[i] = figure_of(&outcomes[i], row->figure, false);
    chances[i] = figure_of(&outcomes[i], row->figure, true);
    controls[i] = figure_of(&control[i], row->control, false);
  }
  *metric = (struct attack_metric){.name = row->name,
                                   .unit = row->unit,
                                   .description = row->description,
                                   .control_threshold = row->control_threshold,
                                   .ceiling = NAN};
  int r = people_interval(sample, values, false, seed, &metric->value, &metric->worst_tenth);
  if (r == 0)
    r = people_interval(sample, chances, false, seed, &chance, &metric->chance_worst_tenth);
  if (r == 0)
    r = people_interval(sample, controls, false, seed, &metric->control, &unused);
  if (r == 0)
    metric->chance = chance.mean;
  return r;
}

/* ---- pictures ---- */

static int take_picture(struct worker *worker, const struct campaign *campaign, uint32_t face,
                        const struct attack_picture *kind, struct attack_picture *ret_picture) {
  uint32_t size = mask_size(campaign->mask);
  struct mix mix;
  uint8_t *strip = malloc(worker->recoverer.solver.pixels * 3);
  if (!strip)
    return -ENOMEM;
  campaign_mix(campaign, face, &mix);
  const uint8_t *truth =
      face_sample_image(campaign->sample, mix.member[mix_heaviest(campaign->sample, &mix)]);
  make_template(worker, campaign->sample, &mix);
  picture_panel(truth, size, 0, strip);
  mask_invert(campaign->seen, worker->decoys ? worker->part : worker->mixed, worker->recoverer.solver.scratch,
              worker->recoverer.recovered);
  ycbcr_to_rgb(worker->recoverer.recovered, size, worker->recoverer.rgb);
  picture_panel(worker->recoverer.rgb, size, 1, strip);
  (void)recover(&worker->recoverer, worker->mixed);
  recover_render(&worker->recoverer, truth);
  picture_panel(worker->recoverer.rgb, size, 2, strip);
  *ret_picture = *kind;
  ret_picture->rgb = strip;
  (void)snprintf(ret_picture->caption, sizeof(ret_picture->caption),
                 "%s face%s: original, template seen, recovered", picture_whose(kind),
                 mix.k > 1 ? " in a mix" : "");
  return 0;
}

/* kind: whom they show. */
static int take_pictures(const struct campaign *campaign, const struct attack_picture *kind,
                         struct attack_surface_result *surface) {
  struct worker worker;
  int r = worker_init(&worker, campaign->mask, campaign->known, campaign->decoys);
  for (uint32_t i = 0; i < ATTACK_PICTURES_MAX && i < campaign->sample->count && r == 0; i++) {
    r = take_picture(&worker, campaign, i, kind, &surface->picture[surface->pictures]);
    if (r == 0)
      surface->pictures++;
  }
  worker_done(&worker);
  return r;
}

/* Pictures that may be published show drawn faces. Sizes that cannot be drawn go without. */
static int take_public_pictures(const struct campaign *campaign, struct attack_surface_result *surface) {
  struct shown_faces shown;
  int r = shown_faces_init(campaign->context, &shown);
  if (r < 0)
    return r == -ERANGE ? 0 : r;
  struct campaign open = *campaign;
  open.sample = &shown.sample;
  r = take_pictures(&open, &(struct attack_picture){.victim = false}, surface);
  shown_faces_done(&shown);
  return r;
}

/* ---- the attack ---- */

static const char threat_inference[] = "Holds a template sent for recognition, of one face, and knows the "
                                       "mask: its method, which coefficients it keeps, its "
                                       "constants. Has no key, no model weights and no other picture of the "
                                       "person. Is granted the best brightness and colour "
                                       "constants, which the mask may hide.";
static const char threat_decoys[] =
    "Holds all templates sent for one recognition, each the same face mixed with decoys, and knows the mask, "
    "the decoys (they are in the model) and how their weights are drawn, but not the weights. Takes the "
    "decoys out by least squares. Has no key, no other picture of the person, and uses no model weights. Is "
    "granted the best brightness and colour constants, which the mask may hide.";
static const char threat_training[] =
    "Holds one template of the training store and knows the mask: its "
    "method, which coefficients it keeps, its constants. "
    "Does not know which faces were mixed, nor how, and does not look for "
    "public ones among them; has no model weights "
    "and no second template of the same image. Frequencies that a "
    "template lost in the place of being mixed stay at their mean. Is "
    "granted the best brightness and colour constants, which the mask may hide.";

static const char threat_keyed_inference[] =
    "Holds templates sent for recognition under one key, of one face each, and knows the mask but not "
    "the key; has no weights and no picture of the person. Matches their channels with statistics of "
    "other people's faces: of public ones where the audit has them, else of half of the attacked "
    "people, whose own templates are then left out; then solves. Figures in _pairs: knows pictures of "
    "some of those people with their templates as well, as who enrols pictures does. Is granted the "
    "best brightness and colour constants, which the mask may hide.";
static const char threat_keyed_training[] =
    "Holds the training store, under one key, and knows the mask but not the key, nor which faces were "
    "mixed; has no model weights. Matches the store's channels with statistics of other people's faces: "
    "of public ones where the audit has them, else of half of the attacked people, whose own mixes are "
    "then left out; then solves a template. Figures in _pairs: knows pictures of some of those people "
    "with their unmixed templates as well. Is granted the best brightness and colour constants, which "
    "the mask may hide.";

static const char *threat_of(const struct campaign *campaign, bool training) {
  if (mask_order(campaign->mask))
    return training ? threat_keyed_training : threat_keyed_inference;
  return training ? threat_training : campaign->decoys ? threat_decoys : threat_inference;
}

/* The same figures of who knows pairs, beside the surface's own; and how much of the key each has found. */
static const struct figure_row pairs_rows[2][2] = {
    {{SSIM_LEAD, SSIM_LEAD, "ssim_pairs", "",
      "Structural similarity for who knows pairs of face and template", CONTROL_SSIM},
     {PSNR_LEAD, PSNR_LEAD, "psnr_pairs", "dB", "Peak signal-to-noise ratio for who knows pairs",
      CONTROL_PSNR}},
    {{SSIM_BEST, SSIM_LEAD, "ssim_best_pairs", "",
      "Structural similarity to the likest face in the mix, for who knows pairs of face and template",
      CONTROL_SSIM},
     {PSNR_BEST, PSNR_LEAD, "psnr_best_pairs", "dB",
      "Peak signal-to-noise ratio to the likest face in the mix, for who knows pairs", CONTROL_PSNR}}};

static struct attack_metric found_metric(const char *name, const char *description, double found,
                                         uint32_t channels) {
  return (struct attack_metric){.name = name,
                                .unit = "",
                                .description = description,
                                .value = {found, NAN, NAN}, /* of one key: nobody's, so over no people */
                                .worst_tenth = NAN,
                                .chance = 0.5 / channels,
                                .chance_worst_tenth = 0.5 / channels,
                                .control = {1, 1, 1}, /* without a key all are known */
                                .control_threshold = NAN,
                                .ceiling = NAN};
}

/* The same faces again, with a key from known pairs. */
static int add_pairs_figures(const struct campaign *campaign, bool training, double found,
                             const struct outcome *control, struct attack_surface_result *surface,
                             struct guise_error *err) {
  const uint32_t channels = mask_channels(campaign->mask);
  struct campaign informed = *campaign;
  struct key_guess pairs = {.mask = NULL};
  _cleanup_(freep) struct outcome *outcomes = calloc(campaign->sample->count + 1, sizeof(*outcomes));
  if (!outcomes)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", campaign->sample->count);
  int r = key_from_pairs(campaign->context, campaign->sample, &pairs, err);
  if (r < 0)
    return r;
  informed.known = pairs.mask;
  r = run_campaign(&informed, outcomes, err);
  for (uint32_t i = 0; i < ARRAY_SIZE(pairs_rows[0]) && r == 0; i++)
    r = fill_metric(campaign->sample, &pairs_rows[training][i], outcomes, control, campaign->context->seed,
                    &surface->metric[surface->metrics++]);
  surface->metric[surface->metrics++] = found_metric(
      "key_found", "Share of the channels whose place and sign in the key were found by statistics", found,
      channels);
  surface->metric[surface->metrics++] = found_metric(
      "key_found_pairs", "Share of the channels whose place and sign in the key were found from known pairs",
      pairs.found, channels);
  key_guess_done(&pairs);
  return r;
}

/* The verdict is that of the attacker without pairs; its reason tells what pairs change. */
static void add_pairs_reason(struct attack_surface_result *surface, uint32_t pairs_metric) {
  const size_t length = strlen(surface->reason);
  (void)snprintf(surface->reason + length, sizeof(surface->reason) - length,
                 " Who knows pairs of face and template gets %.3f.",
                 surface->metric[pairs_metric].value.mean);
}

static int attack_surface(const struct campaign *campaign, enum attack_surface which, double found,
                          const struct outcome *control, struct attack_result *result,
                          struct guise_error *err) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  bool training = which == SURFACE_TRAINING_TEMPLATES, keyed = mask_order(campaign->mask) != NULL;
  const struct figure_row *rows = training ? training_rows : inference_rows;
  uint32_t count = campaign->sample->count, faces_in_mixes = 0, unfinished = 0;
  _cleanup_(freep) struct outcome *outcomes = calloc(count + 1, sizeof(*outcomes));
  if (!outcomes)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", count);
  int r = run_campaign(campaign, outcomes, err);
  if (r < 0)
    return r;
  *surface = (struct attack_surface_result){
      .surface = which, .threat_model = threat_of(campaign, training), .decided_by = rows[0].name};
  surface->metrics = training ? ARRAY_SIZE(training_rows) : ARRAY_SIZE(inference_rows);
  for (uint32_t i = 0; i < surface->metrics && r == 0; i++)
    r = fill_metric(campaign->sample, &rows[i], outcomes, control, campaign->context->seed,
                    &surface->metric[i]);
  for (uint32_t i = 0; i < count; i++) {
    faces_in_mixes += outcomes[i].k;
    result->steps = MAX(result->steps, outcomes[i].steps);
    unfinished += !outcomes[i].solved;
  }
  surface->mean_k = (double)faces_in_mixes / count;
  surface->threshold = fmax(LEAK_SSIM, surface->metric[0].chance + LEAK_ABOVE_CHANCE);
  surface->threshold_worst_tenth = fmax(LEAK_SSIM, surface->metric[0].chance_worst_tenth + LEAK_ABOVE_CHANCE);
  attack_decide(surface);
  if (unfinished > 0) /* less is seen than the template gives away */
    attack_doubt(surface,
                 "for %u of %u faces the equations were not solved after %u steps: who goes on sees more",
                 unfinished, count, SOLVER_STEPS_MAX);
  const uint32_t own_metrics = surface->metrics;
  if (r == 0 && keyed)
    r = add_pairs_figures(campaign, training, found, control, surface, err);
  if (r == 0 && keyed)
    add_pairs_reason(surface, own_metrics);
  if (r == 0)
    r = take_public_pictures(campaign, surface);
  if (r == 0)
    r = take_pictures(campaign, &(struct attack_picture){.victim = true}, surface);
  return r < 0 ? error_set(err, r, "out of memory attacking %u faces", count) : 0;
}

/* One surface, by an attacker who has guessed the key where there is one. */
static int guess_and_attack(const struct campaign *given, enum attack_surface which,
                            const struct outcome *control, struct attack_result *result,
                            struct guise_error *err) {
  struct campaign campaign = *given;
  struct key_guess guess = {.mask = NULL};
  struct mask *plain = NULL;
  int r = 0;
  campaign.known = campaign.seen = campaign.mask;
  if (mask_order(campaign.mask)) {
    r = key_ignored(campaign.mask, &plain, err);
    if (r == 0)
      r = key_from_statistics(campaign.context, campaign.sample, campaign.mixing, &guess, err);
    campaign.known = guess.mask;
    campaign.seen = plain;
  }
  if (r == 0)
    r = attack_surface(&campaign, which, guess.found, control, result, err);
  key_guess_done(&guess);
  mask_free(plain);
  return r;
}

static int run_surfaces(const struct attack_context *context, struct face_sample *sample,
                        const struct mask *control, struct attack_result *result, struct guise_error *err) {
  _cleanup_(freep) struct outcome *undefended = calloc(sample->count + 1, sizeof(*undefended));
  if (!undefended)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", sample->count);
  struct campaign campaign = {.context = context, .sample = sample, .mask = control, .known = control};
  int r = run_campaign(&campaign, undefended, err);
  campaign.mask = context->mask;
  campaign.decoys = mask_decoys(context->mask);
  if (r == 0)
    r = guess_and_attack(&campaign, SURFACE_INFERENCE_TEMPLATES, undefended, result, err);
  campaign.decoys = NULL; /* training templates have none */
  if (mask_traits(mask_method(context->mask))->mixes)
    campaign.mixing = &context->mixing;
  if (r == 0)
    r = guess_and_attack(&campaign, SURFACE_TRAINING_TEMPLATES, undefended, result, err);
  return r;
}

int attack_linear_run(const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err) {
  static const uint32_t most[] = {
      [EFFORT_QUICK] = FACES_QUICK, [EFFORT_STANDARD] = FACES_STANDARD, [EFFORT_THOROUGH] = UINT32_MAX};
  struct face_sample sample;
  struct mask *fitted = NULL;
  int r = face_sample_draw(&context->victims, most[context->effort], context->seed, &sample);
  if (r < 0)
    return error_set(err, r, "out of memory choosing faces to attack");
  sample.partners = context->mixing.partners.count > 0 ? &context->mixing.partners : NULL;
  ret_result->faces = sample.count;
  ret_result->people = sample.people;
  if (!context->control)
    r = control_mask(mask_size(context->mask), mask_options(context->mask)->dct, &sample, &fitted, err);
  if (r == 0)
    r = run_surfaces(context, &sample, context->control ? context->control : fitted, ret_result, err);
  mask_free(fitted);
  face_sample_done(&sample);
  return r;
}
