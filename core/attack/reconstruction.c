/* A3, the reconstruction attack: what does the face behind a template look like, and would a recogniser know
 * it? Whoever knows the mask makes templates of public faces, trains a U-Net to draw the faces they were made
 * of, and has it draw the victims. Drawn and true face are compared as pictures (SSIM, PSNR), and a public
 * teacher says whom each drawing shows: that decides, since a picture may be unlike and yet tell who it is,
 * or be like and tell nobody. The network learns to please both: pixels, and the teacher's embedding.
 *
 * Control: the same network, trained the same way, on the undefended templates of the same faces. Ceiling:
 * the teacher on the victims' photographs. On training templates the network learns from mixes made of public
 * faces in the same way; of a mix it draws the face with the largest share. The pictures of the report show
 * public faces that the network has not learnt from. */
#include "core/attack/reconstruction.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/identify.h"
#include "core/attack/painter.h"
#include "core/attack/paper.h"
#include "core/attack/recover.h"
#include "core/attack/student.h"
#include "core/attack/taught.h"
#include "core/attack/victims.h"
#include "core/metric/quality.h"

/* What the control must reach: a network that cannot draw what it plainly sees says nothing about what it
 * does not see. */
#define CONTROL_DRAWN_SSIM 0.70
#define CONTROL_OF_CEILING 0.5
#define SHOWN 8u /* public faces that are not learnt from */

const struct reconstruction_budget reconstruction_budgets[] = {
    [EFFORT_QUICK] = {.victims = 200, .pairs = 512, .passes = 8, .width = 1},
    [EFFORT_STANDARD] = {.victims = 500, .pairs = 2000, .passes = 10, .width = 1},
    [EFFORT_THOROUGH] = {.victims = 1000, .pairs = 5000, .passes = 20, .width = 2},
};

struct assault {
  const struct attack_context *context;
  const struct reconstruction_budget *budget;
  struct model *teacher;
  struct face_sample *victims, *open;
  struct face_sample shown;      /* the last of the open faces */
  struct recogniser *recogniser; /* of the open faces; NULL: the teacher cannot be differentiated */
  float *photographs;            /* (victims, embedding) by the teacher */
  uint32_t steps;
  uint64_t parameters;
};

/* What is attacked, and what was made of it. */
struct work {
  const char *role;
  const struct mask *mask;
  const struct attack_mixing *mixing; /* NULL: unmixed */
  bool inference;
  struct mix *mixes; /* (victims) */
  uint8_t *drawn;    /* (victims, size, size, 3) */
  uint8_t *seen;     /* the same; NULL when no picture is wanted */
  double mean_k;
};

/* Pictures of one surface: (SHOWN, size, size, 3). */
struct gallery {
  struct mix mixes[SHOWN];
  uint8_t *drawn, *seen;
};

static size_t image_bytes(const struct assault *assault) {
  return (size_t)3 * mask_size(assault->context->mask) * mask_size(assault->context->mask);
}

/* ---- drawing ---- */

static int work_init(const struct assault *assault, bool pictures, struct work *work,
                     struct gallery *gallery) {
  const size_t bytes = image_bytes(assault);
  work->mixes = calloc(assault->victims->count, sizeof(*work->mixes));
  work->drawn = malloc(assault->victims->count * bytes);
  if (!work->mixes || !work->drawn)
    return -ENOMEM;
  if (!pictures)
    return 0;
  work->seen = malloc(assault->victims->count * bytes);
  gallery->drawn = malloc(SHOWN * bytes);
  gallery->seen = malloc(SHOWN * bytes);
  return work->seen && gallery->drawn && gallery->seen ? 0 : -ENOMEM;
}

static void work_done(struct work *work, struct gallery *gallery) {
  free(work->mixes);
  free(work->drawn);
  free(work->seen);
  free(gallery->drawn);
  free(gallery->seen);
}

static int teach(struct assault *assault, const struct painter_options *options, struct work *work,
                 struct gallery *gallery, struct guise_error *err) {
  _cleanup_(painter_freep) struct painter *painter = NULL;
  int r = painter_train(options, assault->open, &painter, err);
  if (r == 0)
    r = painter_draw(painter, assault->victims, work->mixes, work->drawn, work->seen, err);
  if (r == 0 && gallery->drawn && assault->shown.count > 0)
    r = painter_draw(painter, &assault->shown, gallery->mixes, gallery->drawn, gallery->seen, err);
  if (r == 0)
    assault->parameters = painter_parameters(painter);
  return r;
}

/* The victims, and the faces that are shown, by a network for the work's templates, which has been taught
 * already or is taught now. */
static int draw(struct assault *assault, struct work *work, struct gallery *gallery,
                struct guise_error *err) {
  const size_t victims = assault->victims->count * image_bytes(assault),
               shown = gallery->drawn ? assault->shown.count * image_bytes(assault) : 0;
  const struct ledger_part parts[] = {
      {.data = work->drawn, .bytes = victims}, {.data = &assault->parameters, .bytes = sizeof(uint64_t)},
      {.data = work->seen, .bytes = victims},  {.data = gallery->drawn, .bytes = shown},
      {.data = gallery->seen, .bytes = shown},
  };
  const uint32_t count = !work->seen ? 2 : shown > 0 ? 5 : 3;
  _cleanup_(ledger_freep) struct ledger *ledger = NULL;
  struct painter_options options = {.lessons = lessons_options_of(assault->context),
                                    .steps = assault->steps,
                                    .width = assault->budget->width,
                                    .recogniser = assault->recogniser};
  const uint64_t seed = assault->context->seed;
  options.lessons.mask = work->mask;
  options.lessons.mixing = work->mixing;
  options.lessons.inference = work->inference;
  work->mean_k = face_sample_compose(assault->victims, work->mixing, seed, work->mixes);
  if (shown > 0)
    (void)face_sample_compose(&assault->shown, work->mixing, seed, gallery->mixes);
  char name[64];
  (void)snprintf(name, sizeof(name), "reconstruction-%s", work->role);
  int r =
      taught_ledger(assault->context, name, &options.lessons, assault->open, assault->victims, work->mixes,
                    json_pack("{s:i, s:i, s:b}", "steps", (int)options.steps, "width", (int)options.width,
                              "recogniser", options.recogniser != NULL),
                    &ledger, err);
  if (r < 0 || ledger_take(ledger, parts, count))
    return r;
  r = teach(assault, &options, work, gallery, err);
  return r < 0 ? r : ledger_add(ledger, parts, count, err);
}

/* ---- whom a drawing shows ---- */

static int identify_drawings(const struct assault *assault, const struct work *work, bool chance,
                             struct figures ret_figures[RELATIONS], struct guise_error *err) {
  const uint32_t count = assault->victims->count, dimension = assault->teacher->info.embedding;
  _cleanup_(freep) float *made = calloc((size_t)count * dimension, sizeof(float));
  if (!made)
    return error_set(err, -ENOMEM, "out of memory comparing %u faces", count);
  const struct lessons_options options = lessons_options_of(assault->context);
  int r = teacher_embed_pictures(assault->teacher, work->drawn, assault->victims,
                                 mask_size(assault->context->mask), &options, made, err);
  if (r < 0)
    return r;
  const struct identify_input input = {assault->victims, work->mixes,      made,  assault->photographs,
                                       dimension,        assault->context, chance};
  return identify(&input, ret_figures, err);
}

/* ---- how alike drawings look ---- */

enum looks { SSIM, PSNR, LIKENESSES };

struct alike {
  struct interval value[LIKENESSES];
  double worst_tenth[LIKENESSES], chance[LIKENESSES], chance_worst_tenth[LIKENESSES];
};

/* One a victim. */
struct likenesses {
  double *value[LIKENESSES], *chance[LIKENESSES];
};

static int compare_drawings(const struct assault *assault, const struct work *work, struct likenesses *ret) {
  const uint32_t size = mask_size(assault->context->mask);
  const size_t bytes = image_bytes(assault);
  int status = 0;
#pragma omp parallel num_threads(assault->context->threads)
  {
    float *planes = calloc(2 * bytes, sizeof(float));
    if (!planes) {
#pragma omp atomic write
      status = -ENOMEM;
    }
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < assault->victims->count; i++) {
      const struct mix *mix = &work->mixes[i];
      const uint32_t faces[2] = {mix->member[mix_heaviest(assault->victims, mix)],
                                 face_sample_stranger(assault->victims, mix, i, 0, assault->context->seed)};
      if (!planes)
        continue;
      split_planes(work->drawn + i * bytes, bytes / 3, planes);
      for (int other = 0; other < 2; other++) {
        double *const *values = other ? ret->chance : ret->value;
        split_planes(face_sample_image(assault->victims, faces[other]), bytes / 3, planes + bytes);
        values[SSIM][i] = quality_ssim(planes, planes + bytes, 3, size);
        values[PSNR][i] = quality_psnr(planes, planes + bytes, 3, size);
      }
    }
    free(planes);
  }
  return status;
}

static int likeness_of(const struct assault *assault, const struct work *work, struct alike *ret_alike,
                       struct guise_error *err) {
  const uint32_t count = assault->victims->count;
  const uint64_t seed = assault->context->seed;
  _cleanup_(freep) double *values = calloc((size_t)2 * LIKENESSES * count, sizeof(double));
  struct alike alike;
  struct interval chance = {NAN, NAN, NAN};
  if (!values)
    return error_set(err, -ENOMEM, "out of memory comparing %u faces", count);
  struct likenesses lists = {{values, values + count},
                             {values + (size_t)2 * count, values + (size_t)3 * count}};
  int r = compare_drawings(assault, work, &lists);
  for (int l = 0; l < LIKENESSES && r == 0; l++) {
    r = people_interval(assault->victims, lists.value[l], false, seed, &alike.value[l],
                        &alike.worst_tenth[l]);
    if (r == 0)
      r = people_interval(assault->victims, lists.chance[l], false, seed, &chance,
                          &alike.chance_worst_tenth[l]);
    alike.chance[l] = chance.mean;
  }
  if (r < 0)
    return error_set(err, r, "out of memory comparing %u faces", count);
  *ret_alike = alike;
  return 0;
}

/* ---- the report ---- */

static const struct identify_row rows[] = {
    {ACROSS_IMAGES, MATCH_TAR_2, "tar_at_far_1e-2",
     "Drawn faces linked to other photographs of the person, at 1 % false links"},
    {ACROSS_IMAGES, MATCH_RANK_1, "rank_1",
     "Drawn faces whose most similar photograph, the template's own left out, shows the person"},
    {ACROSS_IMAGES, MATCH_AUROC, "auroc",
     "Probability that another photograph of the person is more similar to the drawn face than one of "
     "somebody "
     "else"},
    {SAME_IMAGE, MATCH_TAR_2, "tar_at_far_1e-2_same_image",
     "Drawn faces linked to the template's own photograph, at 1 % false links"},
    {SAME_IMAGE, MATCH_RANK_1, "rank_1_same_image",
     "Drawn faces whose most similar photograph, among those of other people, is the template's own"},
    {ANYONE, MATCH_TAR_2, "tar_at_far_1e-2_anyone",
     "Drawn faces linked to photographs of anybody in the mix, at 1 % false links"},
};
#define SAME_IMAGE_ROW 3u /* decides where nobody has two photographs */

static const struct {
  const char *name, *unit, *description;
  double control_threshold;
} likeness_rows[LIKENESSES] = {
    {"ssim", "", "Structural similarity of drawn and true face (1 = the same)", CONTROL_DRAWN_SSIM},
    {"psnr", "dB", "Peak signal-to-noise ratio of drawn and true face", NAN},
};
_Static_assert(ARRAY_SIZE(rows) + LIKENESSES <= ATTACK_METRICS_MAX, "every figure has its place");

static const char threat_inference[] =
    "Holds templates sent for recognition, of one face each. Knows the mask: its method, which coefficients "
    "it "
    "keeps, its constants, its decoys if it has some, which are taken out by least squares; so it makes "
    "templates of public faces and trains a network to draw the faces. To name who was drawn, it has a "
    "public "
    "face recogniser and photographs of people they may be of. Has no weights of this model.";
static const char threat_training[] =
    "Holds templates of the training store. Knows the mask and how faces are mixed or lose frequencies, so "
    "it makes such "
    "templates "
    "of public faces and trains a network to draw the face with the largest share; does not know which faces "
    "a "
    "template mixes, nor with which shares. To name who was drawn, it has a public face recogniser and "
    "photographs of people they may be of. Has no weights of this model.";

struct measured {
  struct identification who;
  struct alike attack, control;
  double paper[PAPER_SCORES];
};

static void likeness_metric(const struct measured *measured, enum looks which,
                            struct attack_metric *ret_metric) {
  *ret_metric = (struct attack_metric){.name = likeness_rows[which].name,
                                       .unit = likeness_rows[which].unit,
                                       .description = likeness_rows[which].description,
                                       .value = measured->attack.value[which],
                                       .worst_tenth = measured->attack.worst_tenth[which],
                                       .chance = measured->attack.chance[which],
                                       .chance_worst_tenth = measured->attack.chance_worst_tenth[which],
                                       .control = measured->control.value[which],
                                       .control_threshold = likeness_rows[which].control_threshold,
                                       .ceiling = NAN};
}

static int add_picture(struct attack_surface_result *surface, bool victim, const struct face_sample *sample,
                       const struct mix *mix, uint32_t size, const uint8_t *seen, const uint8_t *drawn) {
  struct attack_picture *picture = &surface->picture[surface->pictures];
  uint8_t *strip = malloc((size_t)9 * size * size);
  if (!strip)
    return -ENOMEM;
  picture_panel(face_sample_image(sample, mix->member[mix_heaviest(sample, mix)]), size, 0, strip);
  picture_panel(seen, size, 1, strip);
  picture_panel(drawn, size, 2, strip);
  *picture = (struct attack_picture){.victim = victim, .open = !victim, .rgb = strip};
  (void)snprintf(picture->caption, sizeof(picture->caption), "%s face%s: original, template seen, drawn",
                 picture_whose(picture), mix->k > 1 ? " in a mix" : "");
  surface->pictures++;
  return 0;
}

static int add_pictures(const struct assault *assault, const struct work *work, const struct gallery *gallery,
                        struct attack_surface_result *surface) {
  const uint32_t size = mask_size(assault->context->mask);
  const size_t bytes = image_bytes(assault);
  int r = 0;
  for (uint32_t i = 0; i < MIN(ATTACK_PICTURES_MAX, assault->shown.count) && r == 0; i++)
    r = add_picture(surface, false, &assault->shown, &gallery->mixes[i], size, gallery->seen + i * bytes,
                    gallery->drawn + i * bytes);
  for (uint32_t i = 0; i < MIN(ATTACK_PICTURES_MAX, assault->victims->count) && r == 0; i++)
    r = add_picture(surface, true, assault->victims, &work->mixes[i], size, work->seen + i * bytes,
                    work->drawn + i * bytes);
  return r;
}

static int write_surface(enum attack_surface which, const struct assault *assault, const struct work *work,
                         const struct gallery *gallery, const struct measured *measured,
                         struct attack_result *result) {
  struct attack_surface_result *surface = &result->surface[result->surfaces++];
  const bool across = identify_across(&measured->who);
  *surface = (struct attack_surface_result){
      .surface = which,
      .threat_model = which == SURFACE_TRAINING_TEMPLATES ? threat_training : threat_inference,
      .given_key = mask_order(assault->context->mask) != NULL,
      .mean_k = work->mean_k,
      .on_paper = true};
  memcpy(surface->paper, measured->paper, sizeof(surface->paper));
  for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (rows[i].relation != ANYONE || work->mean_k > 1)
      identify_metric(&rows[i], &measured->who, &surface->metric[surface->metrics++]);
  for (int l = 0; l < LIKENESSES; l++)
    likeness_metric(measured, (enum looks)l, &surface->metric[surface->metrics++]);
  identify_decide(&measured->who, across ? ACROSS_IMAGES : SAME_IMAGE, across ? 0 : SAME_IMAGE_ROW,
                  CONTROL_OF_CEILING, surface);
  return add_pictures(assault, work, gallery, surface);
}

/* ---- the whole attack ---- */

static int out_of_memory(const struct assault *assault, struct guise_error *err) {
  return error_set(err, -ENOMEM, "out of memory attacking %u faces", assault->victims->count);
}

static int attack_control(struct assault *assault, const struct mask *control, struct measured *measured,
                          struct guise_error *err) {
  struct work work = {.role = "control", .mask = control, .inference = true};
  struct gallery gallery = {.drawn = NULL};
  int r = work_init(assault, false, &work, &gallery) < 0 ? out_of_memory(assault, err) : 0;
  if (r == 0)
    r = draw(assault, &work, &gallery, err);
  if (r == 0)
    r = identify_drawings(assault, &work, false, measured->who.control, err);
  if (r == 0)
    r = likeness_of(assault, &work, &measured->control, err);
  work_done(&work, &gallery);
  return r;
}

static int score(const struct assault *assault, const struct work *work, struct measured *measured,
                 struct guise_error *err) {
  const struct lessons_options options = lessons_options_of(assault->context);
  const struct paper_input input = {.teacher = assault->teacher,
                                    .victims = assault->victims,
                                    .mixes = work->mixes,
                                    .photographs = assault->photographs,
                                    .pictures = {work->seen, work->drawn},
                                    .size = mask_size(assault->context->mask),
                                    .options = &options};
  return paper_scores(&input, measured->paper, err);
}

/* `stored`: training templates are what is sent, and so are the figures. */
static int attack_surface(struct assault *assault, enum attack_surface which, bool stored,
                          const struct attack_mixing *mixing, struct measured *measured,
                          struct attack_result *result, struct guise_error *err) {
  const bool inference = which == SURFACE_INFERENCE_TEMPLATES;
  struct work work = {.role = inference ? "inference" : "training",
                      .mask = assault->context->mask,
                      .mixing = mixing,
                      .inference = inference};
  struct gallery gallery = {.drawn = NULL};
  int r = work_init(assault, true, &work, &gallery) < 0 ? out_of_memory(assault, err) : 0;
  if (r == 0)
    r = draw(assault, &work, &gallery, err);
  if (r == 0)
    r = identify_drawings(assault, &work, true, measured->who.attack, err);
  if (r == 0)
    r = likeness_of(assault, &work, &measured->attack, err);
  if (r == 0)
    r = score(assault, &work, measured, err);
  if (r == 0 && write_surface(which, assault, &work, &gallery, measured, result) < 0)
    r = out_of_memory(assault, err);
  if (r == 0 && stored &&
      write_surface(SURFACE_TRAINING_TEMPLATES, assault, &work, &gallery, measured, result) < 0)
    r = out_of_memory(assault, err);
  work_done(&work, &gallery);
  return r;
}

/* The teacher on the photographs: what drawings are compared with, and the ceiling. */
static int ask_teacher(struct assault *assault, struct measured *measured, struct guise_error *err) {
  const struct lessons_options options = lessons_options_of(assault->context);
  const uint32_t count = assault->victims->count, dimension = assault->teacher->info.embedding;
  _cleanup_(freep) struct mix *mixes = calloc(count, sizeof(*mixes));
  assault->photographs = calloc((size_t)count * dimension, sizeof(float));
  if (!mixes || !assault->photographs)
    return out_of_memory(assault, err);
  (void)face_sample_compose(assault->victims, NULL, 0, mixes);
  int r = teacher_embed(assault->teacher, assault->victims, mask_size(assault->context->mask), false,
                        &options, assault->photographs, err);
  if (r < 0)
    return r;
  const struct identify_input input = {
      assault->victims, mixes, assault->photographs, assault->photographs, dimension,
      assault->context, false};
  return identify(&input, measured->who.ceiling, err);
}

static int run_surfaces(struct assault *assault, const struct mask *control, struct attack_result *result,
                        struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const bool mixes = mask_traits(mask_method(context->mask))->mixes,
             stored = !mixes && !mask_decoys(context->mask);
  const struct lessons_options options = lessons_options_of(context);
  _cleanup_(freep) struct measured *measured = calloc(1, sizeof(*measured));
  if (!measured)
    return out_of_memory(assault, err);
  int r = ask_teacher(assault, measured, err);
  if (r == 0)
    r = recogniser_new(assault->teacher, assault->open, mask_size(context->mask), &options,
                       &assault->recogniser, err);
  if (r == 0)
    r = attack_control(assault, control, measured, err);
  if (r == 0)
    r = attack_surface(assault, SURFACE_INFERENCE_TEMPLATES, stored, NULL, measured, result, err);
  if (r == 0 && !stored)
    r = attack_surface(assault, SURFACE_TRAINING_TEMPLATES, false, mixes ? &context->mixing : NULL, measured,
                       result, err);
  return r;
}

/* The last few public faces are shown and not learnt from, where there are enough. */
static void keep_shown(struct assault *assault) {
  struct face_sample *open = assault->open;
  const uint32_t shown = open->count > LESSON_BATCH ? MIN(SHOWN, open->count - LESSON_BATCH) : 0;
  open->count -= shown;
  assault->shown = *open;
  assault->shown.index += open->count;
  assault->shown.person += open->count;
  assault->shown.count = shown;
}

static int run_on(struct assault *assault, struct attack_result *result, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const struct reconstruction_budget *budget = assault->budget;
  struct mask *fitted = NULL;
  keep_shown(assault);
  uint64_t passes = (uint64_t)budget->passes * (assault->open->count / LESSON_BATCH);
  assault->steps = (uint32_t)MAX(budget->steps ? MIN(passes, budget->steps) : passes, 1u);
  result->faces = assault->victims->count;
  result->people = assault->victims->people;
  result->public_faces = assault->open->count;
  result->steps = assault->steps;
  int r = 0;
  if (!context->control)
    r = control_mask(mask_size(context->mask), MASK_DCT_NATIVE, assault->victims, &fitted, err);
  if (r == 0)
    r = run_surfaces(assault, context->control ? context->control : fitted, result, err);
  result->parameters = assault->parameters;
  mask_free(fitted);
  recogniser_free(assault->recogniser);
  free(assault->photographs);
  return r;
}

int reconstruction_run(const struct attack_context *context, const struct reconstruction_budget *budget,
                       struct attack_result *ret_result, struct guise_error *err) {
  struct lesson_plan plan;
  int r = lesson_plan_open(context, "reconstruction", &plan, err);
  if (r == 0)
    r = lesson_plan_faces(context, budget->victims, budget->pairs, &plan, err);
  struct assault assault = {.context = context,
                            .budget = budget,
                            .teacher = plan.teacher,
                            .victims = &plan.victims.sample,
                            .open = &plan.open};
  if (r == 0)
    r = run_on(&assault, ret_result, err);
  lesson_plan_done(&plan);
  return r;
}

int attack_reconstruction_run(const struct attack_context *context, struct attack_result *ret_result,
                              struct guise_error *err) {
  return reconstruction_run(context, &reconstruction_budgets[context->effort], ret_result, err);
}
