/* A2, the linkage attack: is this a template of the person in that photograph? Whoever knows the mask makes
 * templates of public faces, trains a student network to give from a template the embedding that a public
 * teacher gives to the photograph, and compares the victims' templates with photographs of them. A picture
 * that looks like nothing can still be linked, so this and not the look of a template is the measure of
 * privacy.
 *
 * The student begins with the teacher's weights where it can, the strongest cheap start; unmasked, it then is
 * the teacher from the first step, and the control shows that the chain works and that the victims can be
 * told apart, not how much the student learns. Where it cannot, since a template is no picture, both the
 * student and its control begin from nothing, with more lessons where there are few. Statistics of norms are
 * taken from what each network looks at. Control: the same student, trained the same way, on the undefended
 * templates of the same faces. Ceiling: the teacher itself on the victims' photographs. On training templates
 * the student learns from mixes made of public faces in the same way; a mix counts as the face with the
 * largest share.
 *
 * Teacher and student may learn from the same public faces: asking for two sets would halve what both learn
 * from. A teacher that has seen them is surer of them than of strangers, which makes the attack weaker, not
 * stronger, and how weak is measured: the control must come near the ceiling. Neither may have seen the
 * victims; that is the caller's part. */
#include "core/attack/linkage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/identify.h"
#include "core/attack/student.h"
#include "core/attack/taught.h"
#include "core/attack/victims.h"

/* Of what the teacher itself links: less would be a weak attacker, whose failure on masked templates says
 * nothing. */
#define CONTROL_OF_CEILING 0.8

const struct linkage_budget linkage_budgets[] = {
    [EFFORT_QUICK] = {.victims = 200, .pairs = 256, .passes = 8, .scratch_pairs = 1024, .scratch_passes = 16},
    [EFFORT_STANDARD] = {.victims = 500, .pairs = 2000, .passes = 10, .scratch_passes = 20},
    [EFFORT_THOROUGH] = {.victims = 1000, .pairs = 5000, .passes = 20},
};

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
  bool from_scratch; /* every student, the control's among them */
};

/* Whose templates are looked at. */
struct target {
  const char *role;
  const struct mask *mask; /* NULL: photographs, by the teacher */
  const struct attack_mixing *mixing;
  bool inference;
};

static int teach(const struct assault *assault, const struct student_options *options,
                 const struct mix *mixes, float *ret_templates, uint64_t *ret_parameters,
                 struct guise_error *err) {
  _cleanup_(student_freep) struct student *student = NULL;
  int r = student_train(assault->teacher, options, assault->open, assault->targets, &student, err);
  if (r < 0)
    return r;
  *ret_parameters = student_parameters(student);
  return student_embed(student, assault->victims, mixes, ret_templates, err);
}

/* Embeddings of the victims' templates by a student, which has been taught already or is taught now. */
static int embed_victims(struct assault *assault, const struct target *target, const struct mix *mixes,
                         float *ret_templates, struct guise_error *err) {
  const size_t bytes =
      (size_t)assault->victims->count * assault->teacher->info.embedding * sizeof(*ret_templates);
  struct student_options options = {.lessons = lessons_options_of(assault->context),
                                    .steps = assault->steps,
                                    .from_scratch = assault->from_scratch};
  _cleanup_(ledger_freep) struct ledger *ledger = NULL;
  const struct ledger_part parts[] = {
      {.data = ret_templates, .bytes = bytes},
      {.data = &assault->parameters, .bytes = sizeof(assault->parameters)},
  };
  char name[64];
  options.lessons.mask = target->mask;
  options.lessons.mixing = target->mixing;
  options.lessons.inference = target->inference;
  (void)snprintf(name, sizeof(name), "linkage-%s", target->role);
  int r = taught_ledger(
      assault->context, name, &options.lessons, assault->open, assault->victims, mixes,
      json_pack("{s:i, s:b}", "steps", (int)options.steps, "from_scratch", (int)options.from_scratch),
      &ledger, err);
  if (r < 0 || ledger_take(ledger, parts, ARRAY_SIZE(parts)))
    return r;
  r = teach(assault, &options, mixes, ret_templates, &assault->parameters, err);
  return r < 0 ? r : ledger_add(ledger, parts, ARRAY_SIZE(parts), err);
}

static int attack_templates(struct assault *assault, const struct target *target, bool chance,
                            struct figures ret_figures[RELATIONS], double *ret_mean_k,
                            struct guise_error *err) {
  uint32_t count = assault->victims->count, dimension = assault->teacher->info.embedding;
  _cleanup_(freep) struct mix *mixes = calloc(count, sizeof(*mixes));
  _cleanup_(freep) float *templates = calloc((size_t)count * dimension, sizeof(float));
  if (!mixes || !templates)
    return error_set(err, -ENOMEM, "out of memory attacking %u faces", count);
  double mean_k = face_sample_compose(assault->victims, target->mixing, assault->context->seed, mixes);
  int r = 0;
  if (target->mask)
    r = embed_victims(assault, target, mixes, templates, err);
  else
    memcpy(templates, assault->photographs, (size_t)count * dimension * sizeof(float));
  if (r < 0)
    return r;
  const struct identify_input input = {assault->victims, mixes, templates, assault->photographs, dimension,
                                       assault->context, chance};
  *ret_mean_k = mean_k;
  return identify(&input, ret_figures, err);
}

/* ---- the report ---- */

static const struct identify_row rows[] = {
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
    "and trains on them. Has a public face recogniser and no weights of this model.";
static const char threat_training[] =
    "Holds templates of the training store and photographs of people they may be of. Knows the mask and how "
    "faces are mixed or lose frequencies, so it makes such templates of public faces and trains on them; "
    "does not know which "
    "faces "
    "a template mixes, nor with which shares. Has a public face recogniser and no weights of this model.";

#define SAME_IMAGE_ROW 4u /* of the row that decides where nobody has two photographs */

static void write_surface(enum attack_surface which, bool keyed, const struct identification *measured,
                          struct attack_result *result) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  bool training = which == SURFACE_TRAINING_TEMPLATES;
  *surface = (struct attack_surface_result){.surface = which,
                                            .threat_model = training ? threat_training : threat_inference,
                                            .given_key = keyed,
                                            .mean_k = measured->mean_k};
  for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (rows[i].relation != ANYONE || measured->mean_k > 1)
      identify_metric(&rows[i], measured, &surface->metric[surface->metrics++]);
  bool across = identify_across(measured);
  identify_decide(measured, across ? ACROSS_IMAGES : SAME_IMAGE, across ? 0 : SAME_IMAGE_ROW,
                  CONTROL_OF_CEILING, surface);
}

/* ---- the whole attack ---- */

static int run_surfaces(struct assault *assault, const struct mask *control, struct attack_result *result,
                        struct guise_error *err) {
  const struct attack_context *context = assault->context;
  _cleanup_(freep) struct identification *measured = calloc(1, sizeof(*measured));
  double unmixed;
  if (!measured)
    return error_set(err, -ENOMEM, "out of memory for the attack's figures");
  const bool mixes = mask_traits(mask_method(context->mask))->mixes;
  const struct target photographs = {"photographs", NULL, NULL, false},
                      undefended = {"control", control, NULL, false},
                      sent = {"inference", context->mask, NULL, true},
                      stored = {"training", context->mask, mixes ? &context->mixing : NULL, false};
  int r = attack_templates(assault, &photographs, false, measured->ceiling, &unmixed, err);
  if (r == 0)
    r = attack_templates(assault, &undefended, false, measured->control, &unmixed, err);
  if (r == 0)
    r = attack_templates(assault, &sent, true, measured->attack, &measured->mean_k, err);
  if (r < 0)
    return r;
  const bool keyed = mask_order(context->mask) != NULL;
  write_surface(SURFACE_INFERENCE_TEMPLATES, keyed, measured, result);
  if (mixes || mask_decoys(context->mask)) /* else it trains on what is sent */
    r = attack_templates(assault, &stored, true, measured->attack, &measured->mean_k, err);
  if (r < 0)
    return r;
  write_surface(SURFACE_TRAINING_TEMPLATES, keyed, measured, result);
  result->parameters = assault->parameters;
  return 0;
}

/* The teacher's embeddings of victims and public faces. */
static int ask_teacher(struct assault *assault, struct guise_error *err) {
  struct lessons_options options = lessons_options_of(assault->context);
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
  const uint32_t over = assault->from_scratch && assault->budget->scratch_passes
                            ? assault->budget->scratch_passes
                            : assault->budget->passes;
  uint64_t passes = (uint64_t)over * (assault->open->count / LESSON_BATCH);
  assault->steps = (uint32_t)MAX(assault->budget->steps ? MIN(passes, assault->budget->steps) : passes, 1u);
  result->faces = assault->victims->count;
  result->people = assault->victims->people;
  result->public_faces = assault->open->count;
  result->steps = assault->steps;
  int r = ask_teacher(assault, err);
  if (r == 0 && !context->control)
    r = control_mask(mask_size(context->mask), MASK_DCT_NATIVE, assault->victims, &fitted, err);
  if (r == 0)
    r = run_surfaces(assault, context->control ? context->control : fitted, result, err);
  mask_free(fitted);
  free(assault->photographs);
  free(assault->targets);
  return r;
}

int linkage_run(const struct attack_context *context, const struct linkage_budget *budget,
                struct attack_result *ret_result, struct guise_error *err) {
  struct lesson_plan plan;
  struct assault assault = {.context = context, .budget = budget};
  int r = lesson_plan_open(context, "linkage", &plan, err);
  if (r == 0) {
    assault.from_scratch = budget->from_scratch || !student_fits(plan.teacher, context->mask);
    r = lesson_plan_faces(
        context, budget->victims,
        assault.from_scratch && budget->scratch_pairs ? budget->scratch_pairs : budget->pairs, &plan, err);
  }
  assault.teacher = plan.teacher;
  assault.victims = &plan.victims.sample;
  assault.open = &plan.open;
  if (r == 0)
    r = run_on(&assault, ret_result, err);
  lesson_plan_done(&plan);
  return r;
}

int attack_linkage_run(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  return linkage_run(context, &linkage_budgets[context->effort], ret_result, err);
}
