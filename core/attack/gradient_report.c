/* The figures of gradient inversion, its pictures, and whom they show. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/gradient_internal.h"
#include "core/attack/identify.h"
#include "core/attack/student.h"

/* What the search must reach on gradients of undefended templates: more than what counts as a leak, both in
 * all and beyond somebody else's face. */
#define CONTROL_FOUND_SSIM 0.35
#define CONTROL_ABOVE_CHANCE 0.10
#define CONTROL_OF_CEILING 0.5 /* of what the teacher recognises on photographs */
#define LEAK_SHARE 0.10        /* of the way from chance to the control */

static const struct {
  const char *name, *unit, *description;
} rows[FIGURES] = {
    [SSIM] = {"ssim", "",
              "Structural similarity of the face and the picture behind its gradient (1 = the same)"},
    [PSNR] = {"psnr", "dB", "Peak signal-to-noise ratio of the face and the picture behind its gradient"},
    [COSINE] = {"cosine", "", "Cosine between the template and the one that was found"},
    [LABEL] = {"label", "",
               "Gradients whose label of the largest share is among those read off the class rows"},
    [SSIM_TEMPLATE] = {"ssim_template", "",
                       "Structural similarity of the face and the picture behind its template itself"},
};

static const struct identify_row identify_rows[] = {
    {SAME_IMAGE, MATCH_RANK_1, "rank_1_same_image",
     "Pictures whose most similar photograph, among those of other people, is the gradient's own"},
    {SAME_IMAGE, MATCH_AUROC, "auroc_same_image",
     "Probability that the gradient's own photograph is more similar to the picture than one of somebody "
     "else"},
};
_Static_assert(FIGURES + ARRAY_SIZE(identify_rows) <= ATTACK_METRICS_MAX, "every figure has its place");

static const char threat_model[] =
    "Receives the gradient of one training sample (a batch of one, norms in evaluation mode, no dropout), as "
    "a "
    "server of federated training does, and knows the weights, the class head, the loss and the mask. Has no "
    "template, no picture of the person, no public faces. Is granted the best brightness and colour "
    "constants, which the "
    "mask may hide.";

static int fill_metric(const struct assault *assault, enum figure figure, const struct found *attack,
                       const struct found *control, struct attack_metric *ret_metric) {
  const uint64_t seed = assault->context->seed;
  const bool share = figure == LABEL;
  double unused;
  struct interval chance;
  *ret_metric = (struct attack_metric){.name = rows[figure].name,
                                       .unit = rows[figure].unit,
                                       .description = rows[figure].description,
                                       .control_threshold = NAN,
                                       .ceiling = NAN};
  int r = people_interval(&assault->sample, attack->value[figure], share, seed, &ret_metric->value,
                          &ret_metric->worst_tenth);
  if (r == 0)
    r = people_interval(&assault->sample, attack->chance[figure], share, seed, &chance,
                        &ret_metric->chance_worst_tenth);
  if (r == 0)
    r = people_interval(&assault->sample, control->value[figure], share, seed, &ret_metric->control, &unused);
  if (r == 0)
    ret_metric->chance = chance.mean;
  return r;
}

static int add_pictures(const struct assault *assault, const struct found *found,
                        struct attack_surface_result *surface) {
  const uint32_t size = mask_size(assault->context->mask);
  const size_t bytes = (size_t)3 * size * size;
  const struct face_sample *sample = &assault->sample;
  for (uint32_t i = 0; i < MIN(ATTACK_PICTURES_MAX, sample->count); i++) {
    const struct mix *mix = &found->mixes[i];
    struct attack_picture *picture = &surface->picture[surface->pictures];
    uint8_t *strip = malloc(3 * bytes);
    if (!strip)
      return -ENOMEM;
    picture_panel(face_sample_image(sample, mix->member[mix_heaviest(sample, mix)]), size, 0, strip);
    picture_panel(found->seen + i * bytes, size, 1, strip);
    picture_panel(found->pictures + i * bytes, size, 2, strip);
    *picture = (struct attack_picture){.victim = true, .rgb = strip};
    (void)snprintf(picture->caption, sizeof(picture->caption),
                   "A victim's face%s: original, behind its template, behind its gradient",
                   mix->k > 1 ? " in a mix" : "");
    surface->pictures++;
  }
  return 0;
}

/* ---- whom the pictures show, by the teacher where there is one ---- */

static int identify_pictures(const struct assault *assault, struct model *teacher, const float *photographs,
                             const struct found *found, bool chance, struct figures ret_figures[RELATIONS],
                             struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const uint32_t count = assault->sample.count, dimension = teacher->info.embedding;
  const struct lessons_options options = {.threads = context->threads,
                                          .should_stop = context->should_stop,
                                          .stop_context = context->stop_context};
  _cleanup_(freep) float *made = calloc((size_t)count * dimension, sizeof(float));
  if (!made)
    return gradient_out_of_memory(assault, err);
  int r =
      teacher_embed_pictures(teacher, found->pictures, &assault->sample, found->size, &options, made, err);
  if (r < 0)
    return r;
  const struct identify_input input = {&assault->sample, found->mixes, made,  photographs,
                                       dimension,        context,      chance};
  return identify(&input, ret_figures, err);
}

/* A picture may be unlike the face and yet tell whose it is: where a teacher can say so, that decides. Among
 * very few faces, all in each other's mixes, there is no chance to compare with. */
static void decide_by_teacher(const struct identification *who, struct attack_metric *metric,
                              struct attack_surface_result *surface) {
  const double margin = LEAK_SHARE * (metric->control.mean - metric->chance);
  if (!isfinite(margin))
    return;
  surface->decided_by = metric->name;
  surface->threshold = metric->chance + margin;
  surface->threshold_worst_tenth = who->attack[SAME_IMAGE].chance_worst_high[MATCH_RANK_1] + margin;
  metric->control_threshold = CONTROL_OF_CEILING * metric->ceiling;
  attack_decide(surface);
}

static int ask_teacher(const struct assault *assault, const struct found *attack, const struct found *control,
                       struct attack_surface_result *surface, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const struct lessons_options options = {.threads = context->threads,
                                          .should_stop = context->should_stop,
                                          .stop_context = context->stop_context};
  _cleanup_(model_freep) struct model *teacher = NULL;
  _cleanup_(freep) struct identification *who = calloc(1, sizeof(*who));
  _cleanup_(freep) float *photographs = NULL;
  if (!who)
    return gradient_out_of_memory(assault, err);
  int r = model_load(context->teacher, LOOK_BATCH, context->threads, &teacher, err);
  if (r < 0)
    return r;
  const uint32_t dimension = teacher->info.embedding;
  photographs = calloc((size_t)assault->sample.count * dimension, sizeof(float));
  if (!photographs)
    return gradient_out_of_memory(assault, err);
  r = teacher_embed(teacher, &assault->sample, mask_size(context->mask), false, &options, photographs, err);
  if (r == 0)
    r = identify_pictures(assault, teacher, photographs, attack, true, who->attack, err);
  if (r == 0)
    r = identify_pictures(assault, teacher, photographs, control, false, who->control, err);
  const struct identify_input input = {&assault->sample, control->mixes, photographs, photographs,
                                       dimension,        context,        false};
  if (r == 0)
    r = identify(&input, who->ceiling, err);
  if (r < 0)
    return r;
  struct attack_metric *rank = &surface->metric[surface->metrics]; /* the first of the rows */
  for (uint32_t i = 0; i < ARRAY_SIZE(identify_rows); i++)
    identify_metric(&identify_rows[i], who, &surface->metric[surface->metrics++]);
  decide_by_teacher(who, rank, surface);
  return 0;
}

/* ---- all of it ---- */

int gradient_write_surface(const struct assault *assault, const struct found *attack,
                           const struct found *control, struct attack_result *result,
                           struct guise_error *err) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  *surface = (struct attack_surface_result){.surface = SURFACE_GRADIENTS,
                                            .threat_model = threat_model,
                                            .given_key = mask_order(assault->context->mask) != NULL,
                                            .decided_by = rows[SSIM].name,
                                            .mean_k = attack->mean_k};
  memcpy(surface->granted, assault->loss.granted, sizeof(surface->granted));
  int r = 0;
  for (int f = 0; f < FIGURES && r == 0; f++)
    r = fill_metric(assault, (enum figure)f, attack, control, &surface->metric[surface->metrics++]);
  struct attack_metric *ssim = &surface->metric[SSIM];
  ssim->control_threshold =
      fmax(CONTROL_FOUND_SSIM, mean_of(control->chance[SSIM], assault->sample.count) + CONTROL_ABOVE_CHANCE);
  surface->threshold = fmax(LEAK_SSIM, ssim->chance + LEAK_ABOVE_CHANCE);
  surface->threshold_worst_tenth = fmax(LEAK_SSIM, ssim->chance_worst_tenth + LEAK_ABOVE_CHANCE);
  attack_decide(surface);
  if (r == 0)
    r = add_pictures(assault, attack, surface);
  if (r < 0)
    return gradient_out_of_memory(assault, err);
  return assault->context->teacher ? ask_teacher(assault, attack, control, surface, err) : 0;
}
