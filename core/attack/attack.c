#include "core/attack/attack.h"

#include <string.h>

#include "core/attack/faces.h"

const struct attack attacks[] = {
    {.name = "linear",
     .summary = "Least-squares recovery of the pixels from templates, knowing the mask",
     .surface = {[SURFACE_TRAINING_TEMPLATES] = true, [SURFACE_INFERENCE_TEMPLATES] = true},
     .run = attack_linear_run},
    {.name = "linkage",
     .summary = "A student of a public face recogniser links templates to photographs, knowing the mask",
     .surface = {[SURFACE_TRAINING_TEMPLATES] = true, [SURFACE_INFERENCE_TEMPLATES] = true},
     .needs_public_faces = true,
     .needs_teacher = true,
     .run = attack_linkage_run},
    {.name = "reconstruction",
     .summary = "A network trained on public faces draws the face from its template, knowing the mask",
     .surface = {[SURFACE_TRAINING_TEMPLATES] = true, [SURFACE_INFERENCE_TEMPLATES] = true},
     .needs_public_faces = true,
     .needs_teacher = true,
     .from = EFFORT_STANDARD,
     .run = attack_reconstruction_run},
    {.name = "demix",
     .summary = "Averages the mixes of one image in the training store and undoes the mask, knowing it",
     .surface = {[SURFACE_TRAINING_TEMPLATES] = true},
     .from = EFFORT_STANDARD,
     .run = attack_demix_run},
    {.name = "membership",
     .summary = "Tells from the weights which photographs of a person were trained on",
     .surface = {[SURFACE_WEIGHTS] = true},
     .needs_unseen = true,
     .shows_undefended = true,
     .run = attack_membership_run},
    {.name = "mi_face",
     .summary = "Draws trained people by changing a picture until the network takes it for them",
     .surface = {[SURFACE_WEIGHTS] = true},
     .needs_undefended = true,
     .needs_evaluator = true,
     .from = EFFORT_STANDARD,
     .run = attack_mi_face_run},
    {.name = "plg_mi",
     .summary =
         "Draws trained people with a generator of public faces that the network's weights have taught",
     .surface = {[SURFACE_WEIGHTS] = true},
     .needs_public_faces = true,
     .needs_undefended = true,
     .needs_evaluator = true,
     .from = EFFORT_THOROUGH,
     .run = attack_plg_mi_run},
    {.name = "gmi",
     .summary = "Draws trained people with a generator of public faces",
     .surface = {[SURFACE_WEIGHTS] = true},
     .needs_public_faces = true,
     .needs_undefended = true,
     .needs_evaluator = true,
     .from = EFFORT_THOROUGH,
     .run = attack_gmi_run},
    {.name = "gradient",
     .summary = "Searches for the face behind the gradient of one training sample, knowing weights and mask",
     .surface = {[SURFACE_GRADIENTS] = true},
     .needs_undefended = true,
     .from = EFFORT_STANDARD,
     .run = attack_gradient_run},
};
const uint32_t attack_count = ARRAY_SIZE(attacks);

static const char *const letters[SURFACES] = {"T", "I", "W", "G"};
static const char *const surfaces[SURFACES] = {"training templates", "inference templates", "weights",
                                               "gradients"};
static const char *const verdicts[] = {"leaks", "resists", "inconclusive"};
static const char *const efforts[] = {"quick", "standard", "thorough"};

const char *surface_letter(enum attack_surface surface) {
  return letters[surface];
}

const char *surface_name(enum attack_surface surface) {
  return surfaces[surface];
}

const char *verdict_name(enum attack_verdict verdict) {
  return verdicts[verdict];
}

const char *effort_name(enum attack_effort effort) {
  return efforts[effort];
}

int effort_from_name(const char *name, enum attack_effort *ret_effort) {
  for (uint32_t i = 0; i < ARRAY_SIZE(efforts); i++)
    if (strcmp(name, efforts[i]) == 0) {
      *ret_effort = (enum attack_effort)i;
      return 0;
    }
  return -ENOENT;
}

const struct attack *attack_find(const char *name) {
  for (uint32_t i = 0; i < attack_count; i++)
    if (strcmp(name, attacks[i].name) == 0)
      return &attacks[i];
  return NULL;
}

int attack_stop_code(const struct attack_context *context, struct guise_error *err) {
  return context->should_stop && context->should_stop(context->stop_context)
             ? error_set(err, -ECANCELED, "the attack was stopped")
             : 0;
}

static uint32_t people_at_most_two(const struct attack_faces *faces) {
  for (uint32_t i = 1; i < faces->count; i++)
    if (faces->identity[i] != faces->identity[0])
      return 2;
  return faces->count > 0;
}

static void add_sentence(const char *sentence, struct attack_surface_result *surface) {
  const size_t length = strlen(surface->reason);
  (void)snprintf(surface->reason + length, sizeof(surface->reason) - length, "%s%s", length ? " " : "",
                 sentence);
}

/* What a reader of the verdict must know beside the figures. */
static void add_conditions(const struct attack *attack, const struct attack_context *context,
                           struct attack_surface_result *surface) {
  const bool resists = surface->verdict == VERDICT_RESISTS;
  if (context->mixing.doubt &&
      (surface->surface == SURFACE_TRAINING_TEMPLATES || surface->surface == SURFACE_GRADIENTS))
    add_sentence(context->mixing.doubt, surface);
  if (resists && context->undefended_differs)
    add_sentence(context->undefended_differs, surface);
  if (resists && attack->needs_evaluator && !context->evaluator_unseen)
    add_sentence("The evaluator learnt from photographs that the model was trained on.", surface);
}

int attack_run(const struct attack *attack, const struct attack_context *context,
               struct attack_result *ret_result, struct guise_error *err) {
  int64_t start = clock_ns();
  if (context->threads == 0)
    return error_set(err, -EINVAL, "an attack needs at least one thread");
  if (people_at_most_two(&context->victims) < 2)
    return error_set(err, -EINVAL,
                     "the attack %s needs faces of at least two people; hold out more people from training",
                     attack->name);
  if (attack->needs_public_faces && context->open.count == 0)
    return error_set(err, -EINVAL,
                     "the attack %s needs public faces; name a data set in audit.public_dataset",
                     attack->name);
  struct attack_result result = {.name = attack->name,
                                 .summary = attack->summary,
                                 .effort = context->effort,
                                 .seed = context->seed,
                                 .size = mask_size(context->mask)};
  int r = attack->run(context, &result, err);
  if (r < 0) {
    attack_result_done(&result);
    return r;
  }
  for (uint32_t s = 0; s < result.surfaces; s++)
    add_conditions(attack, context, &result.surface[s]);
  result.seconds = (double)(clock_ns() - start) * 1e-9;
  *ret_result = result;
  return 0;
}

void attack_result_done(struct attack_result *result) {
  for (uint32_t s = 0; s < result->surfaces; s++) {
    struct attack_surface_result *surface = &result->surface[s];
    for (uint32_t i = 0; i < surface->pictures; i++)
      free(surface->picture[i].rgb);
    surface->pictures = 0;
  }
  result->surfaces = 0;
}
