/* A13, the demixing attack: an image that is used in training T times is mixed T times, with other partners
 * and other shares, and what the mixes have in common is the image. Nothing is learnt and no public face is
 * needed.
 *
 * Every template of the store is turned back into a picture as A1 does. The mean picture of the store is what
 * an average of partners looks like and is taken out; then the mixes of an image are averaged, each with the
 * weight of its regression on the mean of the others: what it shares with them is the image, and its share in
 * the mix is unknown. The average is enlarged as far as it is the image (Wiener). Masks that draw at random
 * are averaged in the same way.
 *
 * Twice: knowing which mixes belong together (a store keeps images in order, and epochs repeat it), for 1, 2,
 * 4, 8 and 16 mixes; and without, taking with one mix those that resemble it most in the whole store. Frozen
 * mixes (recipes) repeat themselves: of R recipes there are R mixes to see, or, where k is chosen anew, one
 * for each k that a recipe has been used with, but of a recipe that leaves the image unmixed only that one
 * template. Of an image with fewer mixes than a figure asks for all there are are taken. Granted are the best
 * constant a colour, as in A1, and that all mixes show the image in the same view, not mirrored or shifted.
 *
 * Control: the least squares of A1 on the unmasked transform of the same faces, unmixed. */
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/demix_store.h"
#include "core/attack/recover.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/freq/dct.h"

static const uint32_t most_faces[] = {[EFFORT_QUICK] = 50, [EFFORT_STANDARD] = 100, [EFFORT_THOROUGH] = 300};

/* ---- demixing ---- */

static void load_views(struct demix_worker *worker, const struct demix_store *store, const uint32_t *mixes,
                       uint32_t count) {
  for (uint32_t t = 0; t < count; t++) {
    float *view = worker->views + t * store->pixels;
    (void)demix_store_picture(worker, store, mixes[t]);
    for (size_t p = 0; p < store->pixels; p++)
      view[p] = worker->recoverer.solver.x[p] - store->mean[p];
  }
}

static void multiply_views(const struct demix_worker *worker, size_t pixels, uint32_t count,
                           double ret_product[DEMIX_TURNS][DEMIX_TURNS]) {
  for (uint32_t a = 0; a < count; a++)
    for (uint32_t b = 0; b <= a; b++)
      ret_product[a][b] = ret_product[b][a] =
          demix_dot(worker->views + a * pixels, worker->views + b * pixels, pixels);
}

/* The weight of each of the first `count` views: its regression on the mean of the others, so that it does
 * not find itself in what it is compared with. Of two views neither can be told from the other. */
static void weigh(double product[DEMIX_TURNS][DEMIX_TURNS], uint32_t count, double ret_weight[DEMIX_TURNS]) {
  double with_others[DEMIX_TURNS] = {0}, total = 0, sum = 0;
  for (uint32_t a = 0; a < count; a++)
    for (uint32_t b = 0; b < count; b++) {
      with_others[a] += a == b ? 0 : product[a][b];
      total += product[a][b];
    }
  for (uint32_t t = 0; t < count; t++) {
    const double others = total - 2 * with_others[t] - product[t][t]; /* squares of the others' sum */
    ret_weight[t] = count > 2 && others > 0 ? fmax(with_others[t] / others, 0) : 1;
    sum += ret_weight[t];
  }
  for (uint32_t t = 0; t < count; t++)
    ret_weight[t] = sum > 0 ? ret_weight[t] / sum : 1.0 / count;
}

/* Wiener's gain. The sum holds the image with an unknown share and power S, which is what different views
 * have in common, in all N; a face has the power P: sqrt(P / S) makes up for the share, S / N for the rest.
 * At least 1, since the image's share is no larger. */
static double gain_of(const struct demix_store *store, double product[DEMIX_TURNS][DEMIX_TURNS],
                      uint32_t count, const double weight[DEMIX_TURNS]) {
  double common = 0, pairs = 0, whole = 0;
  for (uint32_t a = 0; a < count; a++)
    for (uint32_t b = 0; b < count; b++) {
      const double both = weight[a] * weight[b];
      whole += both * product[a][b];
      common += a == b ? 0 : both * product[a][b];
      pairs += a == b ? 0 : both;
    }
  if (!store->mixing || !(pairs > 0) || !(common > 0) || !(whole > 0))
    return 1;
  return fmax(sqrt(store->power * common / pairs) / whole, 1);
}

/* solver.x := the face that the first `count` views have in common. */
static void demix(struct demix_worker *worker, const struct demix_store *store, uint32_t count) {
  float *x = worker->recoverer.solver.x;
  double product[DEMIX_TURNS][DEMIX_TURNS], weight[DEMIX_TURNS];
  multiply_views(worker, store->pixels, count, product);
  weigh(product, count, weight);
  const double gain = gain_of(store, product, count, weight);
  memcpy(x, store->mean, store->pixels * sizeof(float));
  for (uint32_t t = 0; t < count; t++) {
    const float times = (float)(gain * weight[t]);
    for (size_t p = 0; p < store->pixels; p++)
      x[p] += times * worker->views[t * store->pixels + p];
  }
}

/* ret_mixes[0]: the first mix of the image; behind it those that resemble it most. Returns how many, at most
 * turns. */
static uint32_t find_similar(const struct demix_store *store, uint32_t face,
                             uint32_t ret_mixes[DEMIX_TURNS]) {
  const uint32_t all = store->sample->count * store->turns, first = face * store->turns;
  const float *sketch = store->sketch + (size_t)first * DEMIX_SKETCH;
  double best[DEMIX_TURNS] = {0};
  uint32_t found = 1;
  ret_mixes[0] = first;
  for (uint32_t mix = 0; mix < all; mix++) {
    const double similarity = demix_dot(sketch, store->sketch + (size_t)mix * DEMIX_SKETCH, DEMIX_SKETCH);
    if (mix == first || (found == store->turns && similarity <= best[found - 1]) ||
        demix_store_repeats(store, mix))
      continue;
    uint32_t at = found < store->turns ? found++ : found - 1;
    for (; at > 1 && best[at - 1] < similarity; at--) {
      best[at] = best[at - 1];
      ret_mixes[at] = ret_mixes[at - 1];
    }
    best[at] = similarity;
    ret_mixes[at] = mix;
  }
  return found;
}

/* ---- one image ---- */

enum figure {
  SSIM_1,
  SSIM_2,
  SSIM_4,
  SSIM_8,
  SSIM_16,
  SSIM_ALL,     /* with all mixes, where their number stands not above */
  PSNR_ALL,     /* with all mixes */
  SSIM_SIMILAR, /* with those that resemble one */
  FOUND,        /* of these, how many are of a face in that one */
  FIGURES
};

struct outcome {
  double value[FIGURES], chance[FIGURES];
};

/* Whether there is a figure for this number of mixes. */
static bool is_counted(uint32_t mixes) {
  return (mixes & (mixes - 1)) == 0;
}

static void attack_grouped(struct demix_worker *worker, const struct demix_store *store, uint32_t face,
                           struct outcome *outcome) {
  uint32_t mixes[DEMIX_TURNS];
  struct mix own;
  mix_single(face, &own);
  const uint32_t stranger = face_sample_stranger(store->sample, &own, face, 0, store->context->seed);
  const uint32_t seen = demix_store_mixes(store, face, mixes);
  load_views(worker, store, mixes, seen);
  for (int figure = SSIM_1; figure <= SSIM_ALL; figure++) {
    const uint32_t count = figure == SSIM_ALL ? store->turns : 1u << figure;
    if (count > store->turns || (figure == SSIM_ALL && is_counted(count)))
      continue;
    demix(worker, store, MIN(count, seen));
    struct likeness alike = recover_compare(&worker->recoverer, face_sample_image(store->sample, face)),
                    chance = recover_compare(&worker->recoverer, face_sample_image(store->sample, stranger));
    outcome->value[figure] = alike.ssim;
    outcome->chance[figure] = chance.ssim;
    outcome->value[PSNR_ALL] = alike.psnr; /* the last stays */
    outcome->chance[PSNR_ALL] = chance.psnr;
  }
}

/* With which of the mix's faces a cluster grows is luck: any of them counts, against as many strangers. */
static void attack_similar(struct demix_worker *worker, const struct demix_store *store, uint32_t face,
                           struct outcome *outcome) {
  const struct face_sample *sample = store->sample;
  uint32_t mixes[DEMIX_TURNS];
  struct mix first;
  demix_store_mix(store, face * store->turns, &first);
  const uint32_t found = find_similar(store, face, mixes);
  load_views(worker, store, mixes, found);
  demix(worker, store, found);
  outcome->value[SSIM_SIMILAR] = outcome->chance[SSIM_SIMILAR] = -1;
  for (uint32_t j = 0; j < first.k; j++) {
    const uint32_t member = first.member[j];
    if (!face_sample_owns(sample, member))
      continue;
    const uint32_t stranger = face_sample_stranger(sample, &first, face, j, store->context->seed);
    outcome->value[SSIM_SIMILAR] =
        fmax(outcome->value[SSIM_SIMILAR],
             recover_compare(&worker->recoverer, face_sample_image(sample, member)).ssim);
    outcome->chance[SSIM_SIMILAR] =
        fmax(outcome->chance[SSIM_SIMILAR],
             recover_compare(&worker->recoverer, face_sample_image(sample, stranger)).ssim);
    for (uint32_t t = 1; t < found; t++) {
      outcome->value[FOUND] += mixes[t] / store->turns == member ? 1.0 / (found - 1) : 0;
      outcome->chance[FOUND] += mixes[t] / store->turns == stranger ? 1.0 / (found - 1) : 0;
    }
  }
}

static int attack_faces(const struct demix_store *store, struct outcome *ret_outcomes) {
  const struct attack_context *context = store->context;
  atomic_int status = 0;
#pragma omp parallel num_threads(context->threads)
  {
    struct demix_worker worker;
    int r = demix_worker_init(&worker, store->mask);
    if (r < 0)
      atomic_store(&status, r);
#pragma omp for schedule(dynamic)
    for (uint32_t i = 0; i < store->sample->count; i++) {
      if (demix_stop(context, &status))
        continue;
      attack_grouped(&worker, store, i, &ret_outcomes[i]);
      if (store->turns > 1)
        attack_similar(&worker, store, i, &ret_outcomes[i]);
    }
    demix_worker_done(&worker);
  }
  return atomic_load(&status);
}

/* ---- the report ---- */

static const struct {
  enum figure figure, control; /* the control is unmixed: its one figure */
  uint32_t least;              /* mixes of an image that there must be */
  const char *name, *unit, *description;
  double control_threshold;
} rows[] = {
    {SSIM_1, SSIM_1, 1, "ssim_1", "",
     "Structural similarity of the true face and what one mix shows (1 = the same)", CONTROL_SSIM},
    {SSIM_2, SSIM_1, 2, "ssim_2", "", "The same of what two mixes of the image have in common", NAN},
    {SSIM_4, SSIM_1, 4, "ssim_4", "", "The same of four mixes", NAN},
    {SSIM_8, SSIM_1, 8, "ssim_8", "", "The same of eight mixes", NAN},
    {SSIM_16, SSIM_1, 16, "ssim_16", "", "The same of sixteen mixes", NAN},
    {SSIM_ALL, SSIM_1, 1, "ssim_all", "", "The same of all mixes there are", NAN},
    {PSNR_ALL, PSNR_ALL, 1, "psnr", "dB",
     "Peak signal-to-noise ratio of the true face and what most mixes show", CONTROL_PSNR},
    {SSIM_SIMILAR, SSIM_1, 2, "ssim_similar", "",
     "Structural similarity to the likest face in one mix, of what it shares with those mixes that resemble "
     "it "
     "most, not knowing whose they are",
     NAN},
    {FOUND, FIGURES, 2, "found", "",
     "Share of the mixes that resemble one most which are mixes of a face in it", NAN},
};
_Static_assert(ARRAY_SIZE(rows) <= ATTACK_METRICS_MAX, "every figure has its place in the report");

static const char threat_model[] =
    "Holds the training store, with every template of an image that was used again and again, and knows the "
    "mask: its method, which coefficients it keeps, its constants, and how faces are mixed, but neither "
    "partners nor shares; of templates that lost frequencies in the place of being mixed, the one that lost "
    "least is taken. Knows which templates are of one image, because a store keeps their order, or for "
    "ssim_similar does not. Has no model weights and no other picture of the person. Is granted the best "
    "brightness and colour constants, and that an image is always seen in the same view.";

static int fill_metric(const struct demix_store *store, size_t row, const struct outcome *outcomes,
                       const struct outcome *controls, struct attack_metric *ret_metric) {
  const struct face_sample *sample = store->sample;
  const uint64_t seed = store->context->seed;
  const bool has_control = rows[row].control < FIGURES, share = rows[row].figure == FOUND;
  _cleanup_(freep) double *values = calloc((size_t)3 * sample->count + 1, sizeof(*values));
  if (!values)
    return -ENOMEM;
  double *chances = values + sample->count, *undefended = chances + sample->count, unused = 0;
  struct interval chance = {NAN, NAN, NAN}, control = {NAN, NAN, NAN};
  for (uint32_t i = 0; i < sample->count; i++) {
    values[i] = outcomes[i].value[rows[row].figure];
    chances[i] = outcomes[i].chance[rows[row].figure];
    undefended[i] = has_control ? controls[i].value[rows[row].control] : 0;
  }
  struct attack_metric metric = {.name = rows[row].name,
                                 .unit = rows[row].unit,
                                 .description = rows[row].description,
                                 .control_threshold = rows[row].control_threshold,
                                 .ceiling = NAN};
  int r = people_interval(sample, values, share, seed, &metric.value, &metric.worst_tenth);
  if (r == 0)
    r = people_interval(sample, chances, share, seed, &chance, &metric.chance_worst_tenth);
  if (r == 0 && has_control)
    r = people_interval(sample, undefended, share, seed, &control, &unused);
  metric.chance = chance.mean;
  metric.control = control;
  if (r == 0)
    *ret_metric = metric;
  return r;
}

/* The verdict rests on the most mixes of a known image. */
static int write_surface(const struct demix_store *store, const struct outcome *outcomes,
                         const struct outcome *controls, struct attack_surface_result *surface) {
  uint32_t faces = 0, mixes = 0, decides = 0;
  *surface = (struct attack_surface_result){.surface = SURFACE_TRAINING_TEMPLATES,
                                            .threat_model = threat_model,
                                            .given_key = mask_order(store->context->mask) != NULL};
  for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
    if (rows[row].least > store->turns || (rows[row].figure == SSIM_ALL && is_counted(store->turns)))
      continue;
    if (rows[row].figure <= SSIM_ALL)
      decides = surface->metrics;
    int r = fill_metric(store, row, outcomes, controls, &surface->metric[surface->metrics++]);
    if (r < 0)
      return r;
  }
  for (uint32_t m = 0; m < store->sample->count * store->turns; m++) {
    struct mix mix;
    if (demix_store_repeats(store, m))
      continue;
    demix_store_mix(store, m, &mix);
    faces += mix.k;
    mixes++;
  }
  const struct attack_metric *metric = &surface->metric[decides];
  surface->mean_k = (double)faces / mixes;
  surface->decided_by = metric->name;
  surface->threshold = fmax(LEAK_SSIM, metric->chance + LEAK_ABOVE_CHANCE);
  surface->threshold_worst_tenth = fmax(LEAK_SSIM, metric->chance_worst_tenth + LEAK_ABOVE_CHANCE);
  attack_decide(surface);
  return 0;
}

/* ---- pictures ---- */

static int take_picture(struct demix_worker *worker, const struct demix_store *store, uint32_t face,
                        const struct attack_picture *kind, struct attack_picture *ret_picture) {
  const uint32_t size = mask_size(store->mask);
  const uint8_t *truth = face_sample_image(store->sample, face);
  uint32_t mixes[DEMIX_TURNS];
  uint8_t *strip = malloc(store->pixels * 3);
  if (!strip)
    return -ENOMEM;
  const uint32_t seen = demix_store_mixes(store, face, mixes);
  load_views(worker, store, mixes, seen);
  picture_panel(truth, size, 0, strip);
  for (uint32_t panel = 1; panel < 3; panel++) {
    demix(worker, store, panel == 1 ? 1 : seen);
    recover_render(&worker->recoverer, truth);
    picture_panel(worker->recoverer.rgb, size, panel, strip);
  }
  *ret_picture = *kind;
  ret_picture->rgb = strip;
  (void)snprintf(ret_picture->caption, sizeof(ret_picture->caption),
                 "%s face: original, what one template shows, what %u show together", picture_whose(kind),
                 seen);
  return 0;
}

/* kind: whom they show. */
static int take_pictures(const struct demix_store *store, const struct attack_picture *kind,
                         struct attack_surface_result *surface) {
  struct demix_worker worker;
  int r = demix_worker_init(&worker, store->mask);
  for (uint32_t i = 0; i < ATTACK_PICTURES_MAX && i < store->sample->count && r == 0; i++) {
    r = take_picture(&worker, store, i, kind, &surface->picture[surface->pictures]);
    if (r == 0)
      surface->pictures++;
  }
  demix_worker_done(&worker);
  return r;
}

/* Pictures that may be published show drawn faces. Sizes that cannot be drawn go without. */
static int take_public_pictures(const struct demix_store *store, struct attack_surface_result *surface) {
  struct shown_faces shown;
  uint32_t steps = 0;
  int r = shown_faces_init(store->context, &shown);
  if (r < 0)
    return r == -ERANGE ? 0 : r;
  struct demix_store open = {.context = store->context,
                             .sample = &shown.sample,
                             .mask = store->mask,
                             .mixing = store->mixing,
                             .turns = store->turns};
  r = demix_store_init(&open, &steps);
  if (r == 0)
    r = take_pictures(&open, &(struct attack_picture){.victim = false}, surface);
  demix_store_done(&open);
  shown_faces_done(&shown);
  return r;
}

/* ---- the attack ---- */

static int run_store(struct demix_store *store, struct outcome *ret_outcomes, uint32_t *ret_steps) {
  int r = demix_store_init(store, ret_steps);
  return r < 0 ? r : attack_faces(store, ret_outcomes);
}

/* How many of a recipe's mixes, one for each k, have been used at least once: the expected number. */
static double mixes_a_recipe(const struct attack_mixing *mixing) {
  double total = 0, used = 0;
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    total += mixing->probability[k];
  for (uint32_t k = 1; k <= MIX_MAX && mixing->uses > 1; k++)
    used += 1 - pow(1 - mixing->probability[k] / total, mixing->uses);
  return fmax(used, 1);
}

/* Mixes of an image that differ. Templates that show another part of the face each time are not put together:
 * one of them is attacked; so it is where nothing is mixed and a person is protected each time or never. */
static uint32_t turns_of(const struct attack_context *context) {
  const struct mask_traits *traits = mask_traits(mask_method(context->mask));
  if (traits->mixes && context->mixing.recipes > 0) {
    const double mixes = context->mixing.recipes * mixes_a_recipe(&context->mixing);
    return (uint32_t)fmin(round(mixes), DEMIX_TURNS);
  }
  if (traits->mixes && context->mixing.protection.alone && !context->mixing.by_samples)
    return 1;
  return mask_layouts(context->mask) == 1 && (traits->mixes || traits->random) ? DEMIX_TURNS : 1;
}

static int run_on(const struct attack_context *context, const struct face_sample *sample,
                  const struct mask *control, struct attack_result *result) {
  const bool mixes = mask_traits(mask_method(context->mask))->mixes;
  struct demix_store undefended = {.context = context, .sample = sample, .mask = control, .turns = 1};
  struct demix_store store = {.context = context,
                              .sample = sample,
                              .mask = context->mask,
                              .mixing = mixes ? &context->mixing : NULL,
                              .turns = turns_of(context)};
  _cleanup_(freep) struct outcome *outcomes = calloc((size_t)2 * sample->count, sizeof(*outcomes));
  if (!outcomes)
    return -ENOMEM;
  int r = run_store(&undefended, outcomes + sample->count, &result->steps);
  if (r == 0)
    r = run_store(&store, outcomes, &result->steps);
  if (r == 0) {
    struct attack_surface_result *surface = &result->surface[result->surfaces++];
    r = write_surface(&store, outcomes, outcomes + sample->count, surface);
    if (r == 0)
      r = take_public_pictures(&store, surface);
    if (r == 0)
      r = take_pictures(&store, &(struct attack_picture){.victim = true}, surface);
  }
  demix_store_done(&undefended);
  demix_store_done(&store);
  return r;
}

int attack_demix_run(const struct attack_context *context, struct attack_result *ret_result,
                     struct guise_error *err) {
  struct face_sample sample;
  struct mask *fitted = NULL;
  struct attack_faces victims = context->victims;
  victims.k = NULL; /* it is that of one template, and there are many */
  int r = face_sample_draw(&victims, most_faces[context->effort], context->seed, &sample);
  if (r < 0)
    return error_set(err, r, "out of memory choosing faces to attack");
  sample.partners = context->mixing.partners.count > 0 ? &context->mixing.partners : NULL;
  ret_result->faces = sample.count;
  ret_result->people = sample.people;
  if (!context->control)
    r = control_mask(mask_size(context->mask), mask_options(context->mask)->dct, &sample, &fitted, err);
  if (r == 0) {
    r = run_on(context, &sample, context->control ? context->control : fitted, ret_result);
    if (r == -ECANCELED)
      (void)error_set(err, r, "the attack was stopped");
    else if (r < 0)
      (void)error_set(err, r, "out of memory attacking %u faces", sample.count);
  }
  mask_free(fitted);
  face_sample_done(&sample);
  return r;
}
