/* A11, gradient inversion: in federated training a client keeps its faces and sends gradients. What does the
 * gradient of one training sample give away to who knows the weights? The labels are read off the class rows'
 * gradient, the template is searched for whose gradient points the same way (core/attack/matcher.c), and the
 * mask is undone as in A1, the best constant of each colour granted. There are two ways to search, and the
 * one that does better on the control is taken: it is chosen without a look at the gradients under attack.
 *
 * The sample is a template as training makes it, mixes included; the picture is compared with the face of the
 * largest share. Granted to the attacker: a batch of one, norms in evaluation mode and no dropout, with all
 * of which a real client is better off. The class head, which is no part of the handed-out file, is made
 * again from photographs.
 *
 * Control: the same search on the gradients of undefended, unmixed templates of the same faces, by an
 * undefended network of the same people; where there is none, by the attacked weights behind the undefended
 * mask, if they fit there. Beside the figures of the search stands what the template itself would have given:
 * the mask's part of what holds, and the gradient's. */
#include "core/attack/gradient.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/attack/gradient_internal.h"
#include "core/attack/ledger.h"
#include "core/attack/matcher.h"
#include "core/attack/recover.h"
#include "core/base/memory.h"
#include "core/freq/dct.h"

const struct gradient_budget gradient_budgets[] = {
    [EFFORT_QUICK] = {.faces = 4, .known = 200, .steps = 150},
    [EFFORT_STANDARD] = {.faces = 10, .known = 400, .steps = 300},
    [EFFORT_THOROUGH] = {.faces = 30, .known = 2000, .steps = 1000},
};

static int found_init(const struct assault *assault, struct found *found) {
  const size_t count = assault->sample.count, size = assault->size;
  *found = (struct found){.size = assault->size,
                          .mixes = calloc(count, sizeof(*found->mixes)),
                          .pictures = malloc(count * size * size * 3),
                          .seen = malloc(count * size * size * 3)};
  double *values = calloc((size_t)2 * FIGURES * count, sizeof(*values));
  found->value[0] = values;
  if (!found->mixes || !found->pictures || !found->seen || !values)
    return -ENOMEM;
  for (size_t f = 0; f < FIGURES; f++) {
    found->value[f] = values + f * count;
    found->chance[f] = values + (FIGURES + f) * count;
  }
  return 0;
}

static void found_done(struct found *found) {
  free(found->mixes);
  free(found->pictures);
  free(found->seen);
  free(found->value[0]);
}

/* ---- one face ---- */

/* Memory of the attack on one kind of gradients. */
struct work {
  const struct mask *mask;
  struct classifier *classifier;
  struct matcher *matcher;
  struct recoverer recoverer;
  float *scratch, *part, *other, *truth, *recovered; /* templates but for scratch */
};

static int work_init(const struct assault *assault, const struct mask *mask, bool features, struct work *work,
                     struct guise_error *err) {
  const struct attack_context *context = assault->context;
  *work = (struct work){.mask = mask};
  const struct classifier_options of_network = {.model = assault->model,
                                                .mask = mask,
                                                .control = assault->foreign,
                                                .known = &assault->known,
                                                .loss = &assault->loss,
                                                .batch = 1,
                                                .threads = context->threads,
                                                .seed = context->seed,
                                                .should_stop = context->should_stop,
                                                .stop_context = context->stop_context};
  int r = classifier_new(&of_network, &work->classifier, err);
  if (r < 0)
    return r;
  const struct matcher_options of_search = {.classifier = work->classifier,
                                            .mask = mask,
                                            .steps = assault->budget->steps,
                                            .features = features,
                                            .seed = context->seed,
                                            .should_stop = context->should_stop,
                                            .stop_context = context->stop_context};
  r = matcher_new(&of_search, &work->matcher, err);
  if (r < 0)
    return r;
  float **templates[] = {&work->part, &work->other, &work->truth, &work->recovered};
  bool complete = recoverer_init(&work->recoverer, mask) == 0;
  for (size_t i = 0; i < ARRAY_SIZE(templates); i++)
    complete = (*templates[i] = tensor_alloc(mask_elements(mask) * sizeof(float))) && complete;
  work->scratch = tensor_alloc(MAX(mask_scratch(mask), (size_t)1) * sizeof(float));
  return complete && work->scratch ? 0 : gradient_out_of_memory(assault, err);
}

static void work_done(struct work *work) {
  matcher_free(work->matcher);
  classifier_free(work->classifier);
  recoverer_done(&work->recoverer);
  tensor_free(work->scratch);
  tensor_free(work->part);
  tensor_free(work->other);
  tensor_free(work->truth);
  tensor_free(work->recovered);
}

/* A mix's labels, as classes. */
static uint32_t labels_of(const struct assault *assault, const struct mix *mix,
                          struct head_label ret_labels[MIX_MAX]) {
  const struct face_sample *sample = &assault->sample;
  if (mix->k == 1) {
    ret_labels[0] = (struct head_label){assault->known.person[mix->member[0]], 1};
    return 1;
  }
  for (uint32_t j = 0; j < mix->labels; j++)
    for (uint32_t i = 0; i < sample->count; i++)
      if (sample->person[i] == mix->label[j].identity)
        ret_labels[j] = (struct head_label){assault->known.person[i], mix->label[j].weight};
  return mix->labels;
}

static double cosine_of(const float *a, const float *b, size_t count) {
  double ab = 0, aa = 1e-12, bb = 1e-12;
  for (size_t i = 0; i < count; i++) {
    ab += (double)a[i] * (double)b[i];
    aa += (double)a[i] * (double)a[i];
    bb += (double)b[i] * (double)b[i];
  }
  return ab / sqrt(aa * bb);
}

/* How like the picture behind a template is to a face; the picture stays in the recoverer. */
static struct likeness likeness_of(struct work *work, const float *template_, const uint8_t *rgb) {
  (void)recover(&work->recoverer, template_);
  return recover_compare(&work->recoverer, rgb);
}

static void compare(const struct assault *assault, struct work *work, uint32_t face, struct found *found) {
  const struct face_sample *sample = &assault->sample;
  const struct mix *mix = &found->mixes[face];
  const size_t elements = mask_elements(work->mask);
  const uint32_t size = mask_size(work->mask),
                 stranger = face_sample_stranger(sample, mix, face, 0, assault->context->seed);
  const size_t bytes = (size_t)3 * size * size;
  const uint8_t *own = face_sample_image(sample, mix->member[mix_heaviest(sample, mix)]),
                *others = face_sample_image(sample, stranger);
  struct mix single;
  mix_single(stranger, &single);
  single.drop = mix->drop;
  face_sample_template(sample, work->mask, &single, 0, work->scratch, work->part, work->other);
  found->value[COSINE][face] = cosine_of(work->recovered, work->truth, elements);
  found->chance[COSINE][face] = cosine_of(work->recovered, work->other, elements);
  struct likeness likeness = likeness_of(work, work->recovered, others);
  found->chance[SSIM][face] = likeness.ssim;
  found->chance[PSNR][face] = likeness.psnr;
  likeness = likeness_of(work, work->recovered, own);
  found->value[SSIM][face] = likeness.ssim;
  found->value[PSNR][face] = likeness.psnr;
  memcpy(found->pictures + face * bytes, work->recoverer.rgb, bytes);
  found->chance[SSIM_TEMPLATE][face] = likeness_of(work, work->truth, others).ssim;
  found->value[SSIM_TEMPLATE][face] = likeness_of(work, work->truth, own).ssim;
  memcpy(found->seen + face * bytes, work->recoverer.rgb, bytes);
}

static int search_face(const struct assault *assault, struct work *work, uint32_t face, struct found *found,
                       struct guise_error *err) {
  const struct mix *mix = &found->mixes[face];
  struct head_label labels[MIX_MAX];
  uint32_t count = labels_of(assault, mix, labels);
  const uint32_t truth = labels[0].identity;
  face_sample_template(&assault->sample, work->mask, mix, 0, work->scratch, work->part, work->truth);
  int r = matcher_share(work->matcher, work->truth, labels, count, err);
  if (r < 0)
    return r;
  count = matcher_labels(work->matcher, labels);
  for (uint32_t j = 0; j < count; j++)
    found->value[LABEL][face] += labels[j].identity == truth;
  found->chance[LABEL][face] = (double)count / work->classifier->classes;
  r = matcher_recover(work->matcher, labels, count, face, work->recovered, err);
  if (r == 0)
    compare(assault, work, face, found);
  return r;
}

/* ---- faces that an earlier attempt has done ---- */

#define FACE_PARTS (2u * FIGURES + 2u)
#define ROUNDING 1e-3

static void parts_of(const struct found *found, uint32_t face, struct ledger_part ret_parts[FACE_PARTS]) {
  static const struct {
    double least, most;
  } bounds[FIGURES] = {[SSIM] = {-1, 1},
                       [PSNR] = {-100, 100},
                       [COSINE] = {-1, 1},
                       [LABEL] = {0, 1},
                       [SSIM_TEMPLATE] = {-1, 1}};
  const size_t bytes = (size_t)3 * found->size * found->size;
  for (int f = 0; f < FIGURES; f++)
    for (int chance = 0; chance < 2; chance++)
      *ret_parts++ = (struct ledger_part){.data = (chance ? found->chance : found->value)[f] + face,
                                          .bytes = sizeof(double),
                                          .numbers = true,
                                          .least = bounds[f].least - ROUNDING,
                                          .most = bounds[f].most + ROUNDING};
  *ret_parts++ = (struct ledger_part){.data = found->pictures + face * bytes, .bytes = bytes};
  *ret_parts = (struct ledger_part){.data = found->seen + face * bytes, .bytes = bytes};
}

/* The faces and the templates of which gradients are shared. */
static json_t *digests_of(const struct assault *assault, struct work *work, const struct found *found) {
  const struct face_sample *sample = &assault->sample;
  json_t *digests = json_array();
  int r = digests ? 0 : -1;
  for (uint32_t i = 0; i < sample->count && r == 0; i++) {
    face_sample_template(sample, work->mask, &found->mixes[i], 0, work->scratch, work->part, work->truth);
    r = json_array_append_new(digests, ledger_digest(work->truth, mask_elements(work->mask) * sizeof(float)));
    if (r == 0)
      r = json_array_append_new(
          digests, ledger_digest(face_sample_image(sample, i), (size_t)3 * found->size * found->size));
  }
  if (r == 0)
    return digests;
  json_decref(digests);
  return NULL;
}

static int open_ledger(const struct assault *assault, struct work *work, const char *role, bool features,
                       const struct found *found, struct ledger **ret_ledger, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const struct classifier *classifier = work->classifier;
  json_t *network;
  char name[64];
  if (!context->work_directory)
    return 0;
  int r = ledger_digest_of_file(assault->path, &network, err);
  if (r < 0)
    return r;
  json_t *identity = json_pack(
      "{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:i, s:o, s:i, s:i, s:I, s:i}", "attack", "gradient", "role", role,
      "features", (int)features, "network", network, "rows",
      ledger_digest(head_weights(classifier->head),
                    (size_t)classifier->classes * classifier->embedding * sizeof(float)),
      "faces", digests_of(assault, work, found), "mixes",
      ledger_digest(found->mixes, assault->sample.count * sizeof(*found->mixes)), "head",
      (int)assault->loss.kind, "loss", ledger_digest(&assault->loss.options, sizeof(assault->loss.options)),
      "frozen", (int)assault->loss.frozen, "steps", (int)assault->budget->steps, "seed",
      (json_int_t)context->seed, "threads", (int)context->threads);
  (void)snprintf(name, sizeof(name), "gradient-%s-%d", role, (int)features);
  return ledger_open(context, name, identity, ret_ledger, err);
}

static int attack_face(const struct assault *assault, struct work *work, uint32_t face, struct ledger *ledger,
                       struct found *found, struct guise_error *err) {
  struct ledger_part parts[FACE_PARTS];
  parts_of(found, face, parts);
  if (ledger_take(ledger, parts, FACE_PARTS))
    return 0;
  int r = search_face(assault, work, face, found, err);
  return r < 0 ? r : ledger_add(ledger, parts, FACE_PARTS, err);
}

static int attack_gradients(const struct assault *assault, const struct mask *mask,
                            const struct attack_mixing *mixing, const char *role, bool features,
                            struct found *found, struct guise_error *err) {
  _cleanup_(ledger_freep) struct ledger *ledger = NULL;
  struct work work;
  int r = work_init(assault, mask, features, &work, err);
  found->mean_k = face_sample_compose(&assault->sample, mixing, assault->context->seed, found->mixes);
  if (r == 0)
    r = open_ledger(assault, &work, role, features, found, &ledger, err);
  for (uint32_t i = 0; i < assault->sample.count && r == 0; i++)
    r = attack_face(assault, &work, i, ledger, found, err);
  work_done(&work);
  return r;
}

/* ---- the whole attack ---- */

/* The same faces, undefended. */
struct control {
  struct assault assault;
  struct model *model;          /* that was trained without a mask; NULL: the attacked one's weights */
  struct resized_faces resized; /* it works at a size of its own */
  struct mask *fitted;
  const struct mask *mask;
};

static void control_done(struct control *control) {
  resized_faces_done(&control->resized);
  model_free(control->model);
  mask_free(control->fitted);
}

static int control_init(struct assault *assault, struct control *control, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  struct assault *own = &control->assault;
  *own = *assault;
  own->loss.options.smoothing = 0; /* no defence */
  own->loss.frozen = 0;
  if (!context->undefended) {
    own->foreign = true;
    control->mask = context->control;
    int r = control->mask
                ? 0
                : control_mask(assault->size, MASK_DCT_NATIVE, &assault->known, &control->fitted, err);
    if (r == 0 && !control->mask)
      control->mask = control->fitted;
    return r;
  }
  int r = model_load(context->undefended, LOOK_BATCH, context->threads, &control->model, err);
  if (r < 0)
    return r;
  own->model = control->model;
  own->path = context->undefended;
  own->size = control->model->info.input;
  control->mask = control->model->mask;
  if (resized_faces_init(&control->resized, &assault->known, assault->size, own->size) < 0)
    return gradient_out_of_memory(assault, err);
  own->known = control->resized.sample;
  own->sample.from = own->known.from; /* the first of them */
  own->sample.index = own->known.index;
  own->sample.partners = NULL;
  return 0;
}

static int attack_both(struct assault *assault, const struct control *control, struct found found[3],
                       struct attack_result *result, struct guise_error *err) {
  const struct attack_context *context = assault->context;
  const uint32_t count = assault->sample.count;
  const bool mixes = mask_traits(mask_method(context->mask))->mixes;
  int r = 0;
  for (int i = 0; i < 3 && r == 0; i++)
    r = found_init(i < 2 ? &control->assault : assault, &found[i]) < 0 ? gradient_out_of_memory(assault, err)
                                                                       : 0;
  for (int features = 0; features < 2 && r == 0; features++)
    r = attack_gradients(&control->assault, control->mask, NULL, "control", features, &found[features], err);
  if (r < 0)
    return r;
  const bool features = mean_of(found[1].value[SSIM], count) > mean_of(found[0].value[SSIM], count);
  r = attack_gradients(assault, context->mask, mixes ? &context->mixing : NULL, "attacked", features,
                       &found[2], err);
  return r < 0 ? r : gradient_write_surface(assault, &found[2], &found[features], result, err);
}

static int run_on(struct assault *assault, struct attack_result *result, struct guise_error *err) {
  struct control control = {.model = NULL};
  struct found found[3] = {{.mixes = NULL}, {.mixes = NULL}, {.mixes = NULL}}; /* two controls, the attack */
  int r = control_init(assault, &control, err);
  if (r == 0)
    r = attack_both(assault, &control, found, result, err);
  for (size_t i = 0; i < ARRAY_SIZE(found); i++)
    found_done(&found[i]);
  control_done(&control);
  return r;
}

/* The faces behind the class rows are drawn as those that are attacked, which are the first of them. */
static int draw_faces(struct assault *assault) {
  const struct attack_context *context = assault->context;
  const struct attack_faces *from = context->members.count > 0 ? &context->members : &context->victims;
  const struct gradient_budget *budget = assault->budget;
  int r = face_sample_draw(from, MAX(budget->known, budget->faces), context->seed, &assault->known);
  if (r == 0)
    r = face_sample_draw(from, budget->faces, context->seed, &assault->sample);
  assault->sample.partners = context->mixing.partners.count > 0 ? &context->mixing.partners : NULL;
  return r;
}

int gradient_run(const struct attack_context *context, const struct gradient_budget *budget,
                 struct attack_result *ret_result, struct guise_error *err) {
  _cleanup_(model_freep) struct model *model = NULL;
  struct assault assault = {.context = context, .budget = budget, .loss = context->loss};
  if (!context->model)
    return error_set(err, -EINVAL, "the attack gradient needs the model");
  int r = model_load_keyed(context->model, context->key, LOOK_BATCH, context->threads, &model, err);
  if (r < 0)
    return r;
  assault.model = model;
  assault.path = context->model;
  assault.size = mask_size(context->mask);
  r = draw_faces(&assault) < 0 ? gradient_out_of_memory(&assault, err) : 0;
  ret_result->faces = assault.sample.count;
  ret_result->people = assault.sample.people;
  ret_result->steps = budget->steps;
  if (r == 0)
    r = run_on(&assault, ret_result, err);
  face_sample_done(&assault.sample);
  face_sample_done(&assault.known);
  return r;
}

int attack_gradient_run(const struct attack_context *context, struct attack_result *ret_result,
                        struct guise_error *err) {
  return gradient_run(context, &gradient_budgets[context->effort], ret_result, err);
}
