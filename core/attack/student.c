#include "core/attack/student.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/image/pack.h"
#include "core/model/embed.h"

/* Sequences of RNG_ATTACK beyond those of faces.c. */
#define DRAW_ORDER (1ull << 32)
#define DRAW_MIRROR (1ull << 33)

#define SCRATCH_WIDTH 0.5f /* of a network that begins from nothing */
/* Adam's rate: fine-tuning must not forget what the teacher knows, training from nothing has nothing to
 * forget. */
#define RATE_FROM_TEACHER 3e-4f
#define RATE_FROM_SCRATCH 1e-3f

struct student {
  struct student_options options;
  struct graph *graph;
  uint32_t batch, embedding;
  float rate;
  float *scratch;   /* (threads, stride) of the mask */
  float *templates; /* (batch, elements) before mixing */
  float *part;      /* (threads, elements) one member of a mix */
  float *seen;      /* (threads, decoys' mixes, elements) what was sent; NULL without decoys */
  size_t stride, elements;
};

/* ---- the teacher ---- */

static int stop_code(const struct student_options *options, struct guise_error *err) {
  if (options->should_stop && options->should_stop(options->stop_context))
    return error_set(err, -ECANCELED, "the attack was stopped");
  return 0;
}

struct photographs {
  const struct face_sample *faces;
  uint8_t *pixels; /* (batch, wanted, wanted, 3), RGB as the teacher wants them */
  size_t bytes;    /* of one */
  uint32_t size, wanted, threads;
  bool mirrored;
};

static const uint8_t *photograph(void *context, uint32_t i) {
  const struct photographs *photographs = context;
  return photographs->pixels + photographs->bytes * i;
}

static void mirror(uint8_t *rgb, uint32_t size) {
  for (uint32_t y = 0; y < size; y++)
    for (uint32_t left = 0, right = size - 1; left < right; left++, right--)
      for (size_t c = 0; c < 3; c++) {
        uint8_t *a = rgb + ((size_t)y * size + left) * 3 + c, *b = rgb + ((size_t)y * size + right) * 3 + c;
        uint8_t kept = *a;
        *a = *b;
        *b = kept;
      }
}

/* The photographs from `first` on, `count` of them, at the teacher's size. */
static void load_photographs(const struct photographs *photographs, uint32_t first, uint32_t count) {
  uint32_t size = photographs->size, wanted = photographs->wanted;
#pragma omp parallel for schedule(static) num_threads(photographs->threads)
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *pixels = photographs->pixels + photographs->bytes * i;
    uint32_t face = (first + i) % photographs->faces->count;
    image_resize(face_sample_image(photographs->faces, face), size, size, pixels, wanted);
    if (photographs->mirrored)
      mirror(pixels, wanted);
  }
}

/* The teacher with its norms' statistics taken from these photographs. */
static int adapt_teacher(struct model *teacher, const struct photographs *photographs,
                         const struct student_options *options, struct graph *graph,
                         struct guise_error *err) {
  size_t elements = mask_elements(teacher->mask);
  float *scratch = tensor_alloc(mask_scratch(teacher->mask) * sizeof(float));
  int r = scratch ? graph_copy_parameters(graph, teacher->graph, err)
                  : error_set(err, -ENOMEM, "out of memory for the teacher's photographs");
  if (r == 0)
    graph_statistics_reset(graph);
  for (uint32_t first = 0; first < photographs->faces->count && r == 0; first += teacher->batch) {
    if ((r = stop_code(options, err)) < 0)
      break;
    load_photographs(photographs, first, teacher->batch);
    for (uint32_t i = 0; i < teacher->batch; i++) {
      struct rng rng;
      mask_rng_inference(&rng, first + i);
      mask_template(teacher->mask, photographs->pixels + photographs->bytes * i, false, &rng, scratch,
                    graph_input_data(graph) + i * elements);
    }
    r = graph_forward(graph, GRAPH_STATISTICS, 0, err);
  }
  if (r == 0)
    graph_statistics_finish(graph);
  tensor_free(scratch);
  return r;
}

static int adapted_graph(struct model *teacher, const struct photographs *photographs,
                         const struct student_options *options, struct graph **ret_graph,
                         struct guise_error *err) {
  const struct graph_config config = {.batch = teacher->batch, .threads = options->threads, .winograd = true};
  const struct arch_options described =
      arch_options_for(teacher->mask, teacher->info.embedding, teacher->info.width, teacher->info.dropout);
  struct graph *graph = NULL;
  int r = graph_new(&config, &graph, err);
  if (r < 0)
    return r;
  (void)arch_describe(graph, teacher->info.arch, &described); /* graph_build tells what it says */
  r = graph_build(graph, err);
  if (r == 0)
    r = adapt_teacher(teacher, photographs, options, graph, err);
  if (r < 0)
    graph_free(graph);
  else
    *ret_graph = graph;
  return r;
}

int teacher_embed(struct model *teacher, const struct face_sample *faces, uint32_t size, bool mirrored,
                  const struct student_options *options, float *ret_embeddings, struct guise_error *err) {
  uint32_t wanted = teacher->info.input, dimension = teacher->info.embedding;
  struct photographs photographs = {.faces = faces,
                                    .bytes = (size_t)wanted * wanted * 3,
                                    .size = size,
                                    .wanted = wanted,
                                    .threads = options->threads,
                                    .mirrored = mirrored};
  struct graph *adapted = NULL;
  photographs.pixels = tensor_alloc(photographs.bytes * teacher->batch);
  if (!photographs.pixels)
    return error_set(err, -ENOMEM, "out of memory for the teacher's photographs");
  int r = adapted_graph(teacher, &photographs, options, &adapted, err);
  for (uint32_t first = 0; first < faces->count && r == 0; first += teacher->batch) {
    uint32_t count = MIN(teacher->batch, faces->count - first);
    load_photographs(&photographs, first, count);
    r = embed_images(adapted, teacher->mask, teacher->batch, dimension, photograph, &photographs, count,
                     false, ret_embeddings + (size_t)first * dimension, options->should_stop,
                     options->stop_context, err);
  }
  graph_free(adapted);
  tensor_free(photographs.pixels);
  return r;
}

/* ---- making a student ---- */

bool student_fits(const struct model *teacher, const struct mask *mask) {
  return teacher->info.input == mask_size(mask) && teacher->info.arch != ARCH_FREQ_CONV &&
         mask_inverts_to_pixels(teacher->mask) && mask_inverts_to_pixels(mask);
}

/* What the student looks like: the teacher behind this mask's inverse, or the default network at half the
 * width. Whoever knows the mask undoes it first, so that the network sees pixels again. */
static int describe(const struct model *teacher, bool from_teacher, const struct mask *mask,
                    struct graph *graph) {
  struct arch_options options =
      arch_options_for(mask, teacher->info.embedding, from_teacher ? teacher->info.width : SCRATCH_WIDTH, 0);
  if (from_teacher) /* pixels reach the teacher's weights as they did in its own training */
    options.mask.pixel_scale = teacher->info.constants.pixel_scale;
  return arch_describe(graph, from_teacher ? teacher->info.arch : ARCH_FREQ_IR, &options);
}

static int make_graph(struct student *student, struct model *teacher, struct guise_error *err) {
  const struct student_options *options = &student->options;
  bool from_teacher = !options->from_scratch && student_fits(teacher, options->mask);
  struct graph_config config = {.batch = student->batch,
                                .threads = options->threads,
                                .training = true,
                                .winograd = true,
                                .optimizer = GRAPH_ADAM,
                                .seed = options->seed};
  int r = graph_new(&config, &student->graph, err);
  if (r < 0)
    return r;
  (void)describe(teacher, from_teacher, options->mask, student->graph); /* graph_build tells what it says */
  r = graph_build(student->graph, err);
  if (r == 0 && from_teacher)
    r = graph_copy_parameters(student->graph, teacher->graph, err);
  student->rate = from_teacher ? RATE_FROM_TEACHER : RATE_FROM_SCRATCH;
  return r;
}

static bool takes_decoys_out(const struct student *student) {
  return student->options.inference && mask_decoys(student->options.mask) != NULL;
}

static int student_new(struct model *teacher, const struct student_options *options,
                       struct student **ret_student, struct guise_error *err) {
  _cleanup_(student_freep) struct student *student = calloc(1, sizeof(*student));
  if (!student)
    return error_set(err, -ENOMEM, "out of memory for a student network");
  *student = (struct student){.options = *options,
                              .batch = STUDENT_BATCH,
                              .embedding = teacher->info.embedding,
                              .stride = (mask_scratch(options->mask) + 15) / 16 * 16,
                              .elements = mask_elements(options->mask)};
  int r = make_graph(student, teacher, err);
  if (r < 0)
    return r;
  size_t elements = student->elements * sizeof(float);
  student->scratch = tensor_alloc(options->threads * student->stride * sizeof(float));
  student->templates = tensor_alloc(student->batch * elements);
  student->part = tensor_alloc(options->threads * elements);
  if (takes_decoys_out(student))
    student->seen = tensor_alloc(options->threads * mask_inference_mixes(options->mask) * elements);
  if (!student->scratch || !student->templates || !student->part ||
      (takes_decoys_out(student) && !student->seen))
    return error_set(err, -ENOMEM, "out of memory for a student network");
  *ret_student = TAKE(student);
  return 0;
}

struct student *student_free(struct student *student) {
  if (!student)
    return NULL;
  graph_free(student->graph);
  tensor_free(student->scratch);
  tensor_free(student->templates);
  tensor_free(student->part);
  tensor_free(student->seen);
  free(student);
  return NULL;
}

uint64_t student_parameters(const struct student *student) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < graph_parameters(student->graph); i++) {
    const struct graph_parameter *parameter = graph_parameter(student->graph, i);
    count += parameter->gradient ? parameter->count : 0;
  }
  return count;
}

/* ---- training ---- */

struct lesson {
  const struct face_sample *faces;
  const float *targets; /* (2, faces->count, embedding) */
  uint32_t *order;      /* (faces->count) of this pass over the faces */
  uint32_t face[STUDENT_BATCH], index[STUDENT_BATCH], person[STUDENT_BATCH];
  bool mirrored[STUDENT_BATCH];
  uint32_t
      target[STUDENT_BATCH]; /* the face, 0..batch-1, that a template counts as: that of the largest share */
  struct mix mix[STUDENT_BATCH];
};

/* Chooses the step's faces, in a new order each time all have been seen. */
static void choose_faces(const struct student *student, struct lesson *lesson, uint32_t step) {
  uint32_t per_pass = lesson->faces->count / student->batch, at = step % per_pass * student->batch;
  struct rng rng;
  if (step % per_pass == 0) {
    rng_init(&rng, student->options.seed, RNG_ATTACK, DRAW_ORDER + step / per_pass, 0);
    rng_permutation(&rng, lesson->order, lesson->faces->count);
  }
  rng_init(&rng, student->options.seed, RNG_ATTACK, DRAW_MIRROR + step, 0);
  for (uint32_t i = 0; i < student->batch; i++) {
    lesson->face[i] = lesson->order[at + i];
    lesson->index[i] = lesson->faces->index[lesson->face[i]];
    lesson->person[i] = lesson->faces->person[lesson->face[i]];
    lesson->target[i] = i;
    lesson->mirrored[i] = rng_u32(&rng) & 1;
  }
}

/* The template of one face: as it is sent, or as it goes into a mix. */
static void face_template(struct student *student, const uint8_t *rgb, bool mirrored, struct rng *rng,
                          float *ret_template) {
  size_t thread = (size_t)omp_get_thread_num();
  float *scratch = student->scratch + thread * student->stride;
  if (!takes_decoys_out(student)) {
    mask_template(student->options.mask, rgb, mirrored, rng, scratch, ret_template);
    return;
  }
  size_t sent = mask_inference_mixes(student->options.mask) * student->elements;
  decoyed_template(student->options.mask, rgb, mirrored, rng, scratch, student->seen + thread * sent, NULL,
                   ret_template);
}

/* What a random mask draws for the step's i-th template; from STUDENT_BATCH on: for the partners of mix i. */
static void draws_of(const struct student *student, uint32_t step, uint32_t i, struct rng *ret_rng) {
  rng_init(ret_rng, student->options.seed, RNG_MASK, step + 1ull, i);
}

/* ret_template := mix i of the batch's templates and of public faces. */
static void blend(struct student *student, const struct face_sample *batch, const struct lesson *lesson,
                  uint32_t step, uint32_t i, float *ret_template) {
  const struct mix *mix = &lesson->mix[i];
  float *part = student->part + (size_t)omp_get_thread_num() * student->elements;
  memset(ret_template, 0, student->elements * sizeof(float));
  for (uint32_t j = 0; j < mix->k; j++) {
    const float *member = student->templates + (size_t)mix->member[j] * student->elements;
    if (!face_sample_owns(batch, mix->member[j])) {
      struct rng rng;
      draws_of(student, step, STUDENT_BATCH + i * MIX_MAX + j, &rng);
      face_template(student, face_sample_image(batch, mix->member[j]), false, &rng, part);
      member = part;
    }
    for (size_t e = 0; e < student->elements; e++)
      ret_template[e] += mix->lambda[j] * member[e];
  }
}

/* Mixes within the batch and with the pool's public faces, as the training that is attacked does, anew each
 * step. */
static void mix_faces(struct student *student, struct lesson *lesson, uint32_t step) {
  const struct attack_mixing *mixing = student->options.mixing;
  const struct face_sample batch = {.from = lesson->faces->from,
                                    .index = lesson->index,
                                    .person = lesson->person,
                                    .count = student->batch,
                                    .partners = mixing->partners.count > 0 ? &mixing->partners : NULL};
  uint64_t seed = student->options.seed + (step + 1) * 0x9E3779B97F4A7C15ull;
#pragma omp parallel for schedule(static) num_threads(student->options.threads)
  for (uint32_t i = 0; i < student->batch; i++) {
    face_sample_mix(&batch, mixing, i, seed, &lesson->mix[i]);
    lesson->target[i] = lesson->mix[i].member[mix_heaviest(&batch, &lesson->mix[i])];
    blend(student, &batch, lesson, step, i, graph_input_data(student->graph) + i * student->elements);
  }
}

/* The last step of methods that hide the mix itself; part of a template that is sent. */
static void hide_mixes(struct student *student, uint32_t step) {
  if (!mask_has_after_mix(student->options.mask) || takes_decoys_out(student))
    return;
#pragma omp parallel for schedule(static) num_threads(student->options.threads)
  for (uint32_t i = 0; i < student->batch; i++) {
    struct rng rng;
    rng_init(&rng, student->options.seed, RNG_AFTER_MIX, step + 1ull, i);
    mask_after_mix(student->options.mask, &rng,
                   student->scratch + (size_t)omp_get_thread_num() * student->stride,
                   graph_input_data(student->graph) + i * student->elements);
  }
}

static void fill_batch(struct student *student, struct lesson *lesson, uint32_t step) {
  float *templates = student->options.mixing ? student->templates : graph_input_data(student->graph);
  choose_faces(student, lesson, step);
#pragma omp parallel for schedule(static) num_threads(student->options.threads)
  for (uint32_t i = 0; i < student->batch; i++) {
    struct rng rng;
    draws_of(student, step, i, &rng); /* a random mask draws anew each time */
    face_template(student, face_sample_image(lesson->faces, lesson->face[i]), lesson->mirrored[i], &rng,
                  templates + i * student->elements);
  }
  if (student->options.mixing)
    mix_faces(student, lesson, step);
  hide_mixes(student, step);
}

/* What template i should say. */
static const float *target_of(const struct student *student, const struct lesson *lesson, uint32_t i) {
  uint32_t member = lesson->target[i];
  size_t row = (lesson->mirrored[member] ? lesson->faces->count : 0) + (size_t)lesson->face[member];
  return lesson->targets + row * student->embedding;
}

/* The mean of 1 - cos(y, t) and its gradient, (cos y/|y| - t) / |y|. */
static double cosine_loss(const struct student *student, const struct lesson *lesson) {
  const uint32_t n = student->embedding;
  const float *output = graph_output_data(student->graph);
  float *gradient = graph_output_gradient(student->graph);
  double total = 0;
  for (uint32_t i = 0; i < student->batch; i++) {
    const float *y = output + (size_t)i * n, *t = target_of(student, lesson, i);
    double squares = 1e-12, product = 0;
    for (uint32_t c = 0; c < n; c++) {
      squares += (double)y[c] * (double)y[c];
      product += (double)y[c] * (double)t[c];
    }
    double length = sqrt(squares), cosine = product / length;
    for (uint32_t c = 0; c < n; c++)
      gradient[(size_t)i * n + c] =
          (float)((cosine * (double)y[c] / length - (double)t[c]) / (length * student->batch));
    total += 1 - cosine;
  }
  return total / student->batch;
}

static int train_step(struct student *student, struct lesson *lesson, uint32_t step,
                      struct guise_error *err) {
  const double pi = 3.14159265358979323846, done = (double)step / student->options.steps;
  const struct adam_options adam = {.rate = student->rate * (float)(0.5 * (1 + cos(pi * done))),
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .epsilon = 1e-8f};
  fill_batch(student, lesson, step);
  int r = graph_forward(student->graph, GRAPH_TRAIN, step, err);
  if (r < 0)
    return r;
  if (!isfinite(cosine_loss(student, lesson)))
    return error_set(err, -EDOM, "the attack's student network diverged at step %u", step);
  r = graph_backward(student->graph, err);
  return r < 0 ? r : graph_adam(student->graph, &adam, step + 1, err);
}

int student_train(struct model *teacher, const struct student_options *options,
                  const struct face_sample *faces, const float *targets, struct student **ret_student,
                  struct guise_error *err) {
  if (faces->count < STUDENT_FACES_LEAST)
    return error_set(err, -EINVAL,
                     "an attack that learns needs at least %u public faces, not %u: name a larger data set "
                     "in audit.public_dataset",
                     STUDENT_FACES_LEAST, faces->count);
  _cleanup_(student_freep) struct student *student = NULL;
  _cleanup_(freep) uint32_t *order = calloc(faces->count, sizeof(*order));
  struct lesson lesson = {.faces = faces, .targets = targets, .order = order};
  if (!order)
    return error_set(err, -ENOMEM, "out of memory for %u public faces", faces->count);
  int r = student_new(teacher, options, &student, err);
  for (uint32_t step = 0; step < options->steps && r == 0; step++) {
    r = stop_code(options, err);
    if (r == 0)
      r = train_step(student, &lesson, step, err);
  }
  if (r == 0)
    *ret_student = TAKE(student);
  return r;
}

/* ---- what it says ---- */

/* Fills the input with templates from `first` on, beginning anew after the last. */
static void fill_templates(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                           uint32_t first) {
  float *input = graph_input_data(student->graph);
#pragma omp parallel for schedule(static) num_threads(student->options.threads)
  for (uint32_t i = 0; i < student->batch; i++) {
    const struct mix *mix = &mixes[(first + i) % faces->count];
    size_t thread = (size_t)omp_get_thread_num();
    struct rng rng;
    mask_rng_inference(&rng, faces->index[mix->member[0]]);
    if (takes_decoys_out(student))
      face_template(student, face_sample_image(faces, mix->member[0]), false, &rng,
                    input + i * student->elements);
    else
      face_sample_template(faces, student->options.mask, mix, student->scratch + thread * student->stride,
                           student->part + thread * student->elements, input + i * student->elements);
  }
}

/* Whoever holds the templates also knows how they are distributed: the norms' statistics, learnt from public
 * faces, are taken again from what is attacked. */
static int adapt(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                 struct guise_error *err) {
  int r = 0;
  graph_statistics_reset(student->graph);
  for (uint32_t first = 0; first < faces->count && r == 0; first += student->batch) {
    r = stop_code(&student->options, err);
    if (r < 0)
      break;
    fill_templates(student, faces, mixes, first);
    r = graph_forward(student->graph, GRAPH_STATISTICS, 0, err);
  }
  if (r == 0)
    graph_statistics_finish(student->graph);
  return r;
}

int student_embed(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                  float *ret_embeddings, struct guise_error *err) {
  int r = adapt(student, faces, mixes, err);
  for (uint32_t first = 0; first < faces->count && r == 0; first += student->batch) {
    uint32_t count = MIN(student->batch, faces->count - first);
    float *rows = ret_embeddings + (size_t)first * student->embedding;
    if ((r = stop_code(&student->options, err)) < 0)
      break;
    fill_templates(student, faces, mixes, first);
    if ((r = graph_forward(student->graph, GRAPH_EVAL, 0, err)) < 0)
      break;
    memcpy(rows, graph_output_data(student->graph), (size_t)count * student->embedding * sizeof(float));
    for (uint32_t i = 0; i < count; i++)
      if (!embedding_normalise(rows + (size_t)i * student->embedding, student->embedding))
        r = error_set(err, -EDOM, "the attack's student network diverged");
  }
  return r;
}
