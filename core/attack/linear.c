/* A1, the linear attack: whoever knows the mask solves for the pixels. Nothing is learnt and no public face
 * is needed; what least squares gives back is the least that a template gives away.
 *
 * One constant a colour lies in the null space once the lowest coefficient is dropped; the attacker is
 * granted the best one. Training templates are mixes: the recovered picture is compared with each face in the
 * mix, with a constant for each. Control: the same on the unmasked transform of the same faces, unmixed. */
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/faces.h"
#include "core/attack/recover.h"
#include "core/attack/subtract.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"

#define DRAWN_PEOPLE 8u
#define FACES_QUICK 100u
#define FACES_STANDARD 400u

/* What one recovered picture is worth. */
struct outcome {
  struct likeness lead, best; /* to the face with the largest lambda; to the likest in the mix */
  struct likeness lead_chance, best_chance; /* the same against as many faces of other people */
  uint32_t steps, k;
};

/* One attacking thread. */
struct worker {
  struct recoverer recoverer;
  float *part, *mixed;         /* templates */
  const struct decoys *decoys; /* in what is seen; NULL = none */
  float *seen;                 /* (decoys->mixes, elements) */
};

static int worker_init(struct worker *worker, const struct mask *mask, const struct decoys *decoys) {
  memset(worker, 0, sizeof(*worker));
  int r = recoverer_init(&worker->recoverer, mask);
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
  decoyed_template(worker->recoverer.solver.mask, face_sample_image(sample, face), false, &rng,
                   worker->recoverer.solver.scratch, worker->seen, worker->part, worker->mixed);
}

static void make_template(struct worker *worker, const struct face_sample *sample, const struct mix *mix) {
  if (worker->decoys)
    make_decoyed(worker, sample, mix->member[0]);
  else
    face_sample_template(sample, worker->recoverer.solver.mask, mix, 0, worker->recoverer.solver.scratch,
                         worker->part, worker->mixed);
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
    int r = worker_init(&worker, campaign->mask, campaign->decoys);
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
  int r = people_interval(sample, values, seed, &metric->value, &metric->worst_tenth);
  if (r == 0)
    r = people_interval(sample, chances, seed, &chance, &metric->chance_worst_tenth);
  if (r == 0)
    r = people_interval(sample, controls, seed, &metric->control, &unused);
  if (r == 0)
    metric->chance = chance.mean;
  return r;
}

/* ---- pictures ---- */

static int take_picture(struct worker *worker, const struct campaign *campaign, uint32_t face, bool victim,
                        struct attack_picture *ret_picture) {
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
  mask_invert(campaign->mask, worker->decoys ? worker->part : worker->mixed, worker->recoverer.solver.scratch,
              worker->recoverer.recovered);
  ycbcr_to_rgb(worker->recoverer.recovered, size, worker->recoverer.rgb);
  picture_panel(worker->recoverer.rgb, size, 1, strip);
  (void)recover(&worker->recoverer, worker->mixed);
  recover_render(&worker->recoverer, truth);
  picture_panel(worker->recoverer.rgb, size, 2, strip);
  *ret_picture = (struct attack_picture){.victim = victim, .rgb = strip};
  (void)snprintf(ret_picture->caption, sizeof(ret_picture->caption),
                 "%s face%s: original, template seen, recovered", victim ? "A victim's" : "A drawn",
                 mix.k > 1 ? " in a mix" : "");
  return 0;
}

static int take_pictures(const struct campaign *campaign, bool victims,
                         struct attack_surface_result *surface) {
  struct worker worker;
  int r = worker_init(&worker, campaign->mask, campaign->decoys);
  for (uint32_t i = 0; i < ATTACK_PICTURES_MAX && i < campaign->sample->count && r == 0; i++) {
    r = take_picture(&worker, campaign, i, victims, &surface->picture[surface->pictures]);
    if (r == 0)
      surface->pictures++;
  }
  worker_done(&worker);
  return r;
}

/* Pictures that may be published show drawn faces. Sizes that cannot be drawn go without. */
static int take_drawn_pictures(const struct campaign *campaign, struct attack_surface_result *surface) {
  struct attack_faces faces;
  struct face_sample sample;
  int r = synthetic_faces(mask_size(campaign->mask), DRAWN_PEOPLE, campaign->context->seed, &faces);
  if (r < 0)
    return r == -ERANGE ? 0 : r;
  r = face_sample_draw(&faces, DRAWN_PEOPLE, campaign->context->seed, &sample);
  if (r == 0) {
    struct campaign drawn = *campaign;
    drawn.sample = &sample;
    r = take_pictures(&drawn, false, surface);
    face_sample_done(&sample);
  }
  synthetic_faces_done(&faces);
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
static const char threat_training[] = "Holds one template of the training store and knows the mask: its "
                                      "method, which coefficients it keeps, its constants. "
                                      "Does not know which faces were mixed, nor how, and does not look for "
                                      "public ones among them; has no model weights "
                                      "and no second mix of the same face. Is granted the "
                                      "best brightness and colour constants, which the mask may hide.";

static int attack_surface(const struct campaign *campaign, enum attack_surface which,
                          const struct outcome *control, struct attack_result *result,
                          struct guise_error *err) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  bool training = which == SURFACE_TRAINING_TEMPLATES;
  const struct figure_row *rows = training ? training_rows : inference_rows;
  uint32_t count = campaign->sample->count, faces_in_mixes = 0;
  _cleanup_(freep) struct outcome *outcomes = calloc(count + 1, sizeof(*outcomes));
  if (!outcomes)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", count);
  int r = run_campaign(campaign, outcomes, err);
  if (r < 0)
    return r;
  *surface = (struct attack_surface_result){.surface = which,
                                            .threat_model = training           ? threat_training
                                                            : campaign->decoys ? threat_decoys
                                                                               : threat_inference,
                                            .decided_by = rows[0].name};
  surface->metrics = training ? ARRAY_SIZE(training_rows) : ARRAY_SIZE(inference_rows);
  for (uint32_t i = 0; i < surface->metrics && r == 0; i++)
    r = fill_metric(campaign->sample, &rows[i], outcomes, control, campaign->context->seed,
                    &surface->metric[i]);
  for (uint32_t i = 0; i < count; i++) {
    faces_in_mixes += outcomes[i].k;
    result->steps = MAX(result->steps, outcomes[i].steps);
  }
  surface->mean_k = (double)faces_in_mixes / count;
  surface->threshold = fmax(LEAK_SSIM, surface->metric[0].chance + LEAK_ABOVE_CHANCE);
  surface->threshold_worst_tenth = fmax(LEAK_SSIM, surface->metric[0].chance_worst_tenth + LEAK_ABOVE_CHANCE);
  attack_decide(surface);
  if (r == 0)
    r = take_drawn_pictures(campaign, surface);
  if (r == 0)
    r = take_pictures(campaign, true, surface);
  return r < 0 ? error_set(err, r, "out of memory attacking %u faces", count) : 0;
}

static int run_surfaces(const struct attack_context *context, struct face_sample *sample,
                        const struct mask *control, struct attack_result *result, struct guise_error *err) {
  _cleanup_(freep) struct outcome *undefended = calloc(sample->count + 1, sizeof(*undefended));
  if (!undefended)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", sample->count);
  struct campaign campaign = {.context = context, .sample = sample, .mask = control};
  int r = run_campaign(&campaign, undefended, err);
  campaign.mask = context->mask;
  campaign.decoys = mask_decoys(context->mask);
  if (r == 0)
    r = attack_surface(&campaign, SURFACE_INFERENCE_TEMPLATES, undefended, result, err);
  campaign.decoys = NULL; /* training templates have none */
  if (mask_traits(mask_method(context->mask))->mixes)
    campaign.mixing = &context->mixing;
  if (r == 0)
    r = attack_surface(&campaign, SURFACE_TRAINING_TEMPLATES, undefended, result, err);
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
    r = control_mask(mask_size(context->mask), &sample, &fitted, err);
  if (r == 0)
    r = run_surfaces(context, &sample, context->control ? context->control : fitted, ret_result, err);
  mask_free(fitted);
  face_sample_done(&sample);
  return r;
}
