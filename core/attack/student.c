#include "core/attack/student.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/image/pack.h"
#include "core/model/embed.h"

#define SCRATCH_WIDTH 0.5f /* of a network that begins from nothing */
/* Adam's rate: fine-tuning must not forget what the teacher knows, training from nothing has nothing to
 * forget. */
#define RATE_FROM_TEACHER 3e-4f
#define RATE_FROM_SCRATCH 1e-3f

struct student {
  struct student_options options;
  struct graph *graph;
  struct lessons *lessons;
  const float *targets; /* (2, faces, embedding) */
  uint32_t faces, embedding;
  float rate;
};

/* ---- the teacher ---- */

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
                         const struct lessons_options *options, struct graph *graph,
                         struct guise_error *err) {
  size_t elements = mask_elements(teacher->mask);
  float *scratch = tensor_alloc(mask_scratch(teacher->mask) * sizeof(float));
  int r = scratch ? graph_copy_parameters(graph, teacher->graph, err)
                  : error_set(err, -ENOMEM, "out of memory for the teacher's photographs");
  if (r == 0)
    graph_statistics_reset(graph);
  for (uint32_t first = 0; first < photographs->faces->count && r == 0; first += teacher->batch) {
    if ((r = lessons_stop_code(options, err)) < 0)
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
                         const struct lessons_options *options, struct graph **ret_graph,
                         struct guise_error *err) {
  const struct graph_config config = {.batch = teacher->batch, .threads = options->threads, .winograd = true};
  const struct arch_options described = model_arch_options(&teacher->info, teacher->mask);
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

static int photographs_init(const struct model *teacher, const struct face_sample *faces, uint32_t size,
                            bool mirrored, uint32_t threads, struct photographs *photographs,
                            struct guise_error *err) {
  const uint32_t wanted = teacher->info.input;
  *photographs = (struct photographs){.faces = faces,
                                      .bytes = (size_t)wanted * wanted * 3,
                                      .size = size,
                                      .wanted = wanted,
                                      .threads = threads,
                                      .mirrored = mirrored};
  photographs->pixels = tensor_alloc(photographs->bytes * teacher->batch);
  return photographs->pixels ? 0 : error_set(err, -ENOMEM, "out of memory for the teacher's photographs");
}

int teacher_adapt(struct model *teacher, const struct face_sample *faces, uint32_t size,
                  const struct lessons_options *options, struct graph **ret_graph, struct guise_error *err) {
  struct photographs photographs;
  int r = photographs_init(teacher, faces, size, false, options->threads, &photographs, err);
  if (r == 0)
    r = adapted_graph(teacher, &photographs, options, ret_graph, err);
  tensor_free(photographs.pixels);
  return r;
}

int lesson_plan_open(const struct attack_context *context, const char *attack, struct lesson_plan *ret_plan,
                     struct guise_error *err) {
  *ret_plan = (struct lesson_plan){.teacher = NULL};
  if (!context->teacher)
    return error_set(err, -EINVAL, "the attack %s needs a teacher; name a model in audit.teacher", attack);
  return model_load(context->teacher, LESSON_BATCH, context->threads, &ret_plan->teacher, err);
}

int lesson_plan_faces(const struct attack_context *context, uint32_t victims, uint32_t pairs,
                      struct lesson_plan *plan, struct guise_error *err) {
  int r = victims_choose(&context->victims, victims, context->seed, &plan->victims, err);
  if (r < 0)
    return r;
  plan->victims.sample.partners = context->mixing.partners.count > 0 ? &context->mixing.partners : NULL;
  r = face_sample_draw(&context->open, pairs, context->seed, &plan->open);
  return r < 0 ? error_set(err, r, "out of memory choosing faces to attack") : 0;
}

void lesson_plan_done(struct lesson_plan *plan) {
  model_free(plan->teacher);
  face_sample_done(&plan->open);
  victims_done(&plan->victims);
}

int teacher_embed(struct model *teacher, const struct face_sample *faces, uint32_t size, bool mirrored,
                  const struct lessons_options *options, float *ret_embeddings, struct guise_error *err) {
  const uint32_t dimension = teacher->info.embedding;
  struct photographs photographs;
  struct graph *adapted = NULL;
  int r = photographs_init(teacher, faces, size, mirrored, options->threads, &photographs, err);
  if (r == 0)
    r = adapted_graph(teacher, &photographs, options, &adapted, err);
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

struct pictures {
  const uint8_t *rgb;
  size_t bytes; /* of one */
};

static const uint8_t *picture(void *context, uint32_t i) {
  const struct pictures *pictures = context;
  return pictures->rgb + pictures->bytes * i;
}

int teacher_embed_pictures(struct model *teacher, const uint8_t *rgb, const struct face_sample *sample,
                           uint32_t size, const struct lessons_options *options, float *ret_embeddings,
                           struct guise_error *err) {
  struct pictures pictures = {rgb, (size_t)3 * size * size};
  _cleanup_(freep) uint32_t *index = calloc(sample->count, sizeof(*index));
  if (!index)
    return error_set(err, -ENOMEM, "out of memory comparing %u faces", sample->count);
  for (uint32_t i = 0; i < sample->count; i++)
    index[i] = i;
  const struct attack_faces faces = {picture, &pictures, sample->person, sample->count, NULL};
  const struct face_sample made = {.from = &faces,
                                   .index = index,
                                   .person = sample->person,
                                   .count = sample->count,
                                   .people = sample->people};
  return teacher_embed(teacher, &made, size, false, options, ret_embeddings, err);
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
  if (from_teacher) { /* pixels reach the teacher's weights as they did in its own training */
    options.mask.pixel_scale = teacher->info.constants.pixel_scale;
    options.norm = teacher->info.norm;
  }
  return arch_describe(graph, from_teacher ? teacher->info.arch : ARCH_FREQ_IR, &options);
}

static int make_graph(struct student *student, struct model *teacher, struct guise_error *err) {
  const struct student_options *options = &student->options;
  const struct mask *mask = options->lessons.mask;
  bool from_teacher = !options->from_scratch && student_fits(teacher, mask);
  struct graph_config config = {.batch = LESSON_BATCH,
                                .threads = options->lessons.threads,
                                .training = true,
                                .winograd = true,
                                .optimizer = GRAPH_ADAM,
                                .seed = options->lessons.seed};
  int r = graph_new(&config, &student->graph, err);
  if (r < 0)
    return r;
  (void)describe(teacher, from_teacher, mask, student->graph); /* graph_build tells what it says */
  r = graph_build(student->graph, err);
  if (r == 0 && from_teacher)
    r = graph_copy_parameters(student->graph, teacher->graph, err);
  student->rate = from_teacher ? RATE_FROM_TEACHER : RATE_FROM_SCRATCH;
  return r;
}

static int student_new(struct model *teacher, const struct student_options *options,
                       const struct face_sample *faces, struct student **ret_student,
                       struct guise_error *err) {
  _cleanup_(student_freep) struct student *student = calloc(1, sizeof(*student));
  if (!student)
    return error_set(err, -ENOMEM, "out of memory for a student network");
  *student =
      (struct student){.options = *options, .faces = faces->count, .embedding = teacher->info.embedding};
  student->options.lessons.denoised = true;
  int r = lessons_new(&student->options.lessons, faces, &student->lessons, err);
  if (r == 0)
    r = make_graph(student, teacher, err);
  if (r == 0)
    *ret_student = TAKE(student);
  return r;
}

struct student *student_free(struct student *student) {
  if (!student)
    return NULL;
  graph_free(student->graph);
  lessons_free(student->lessons);
  free(student);
  return NULL;
}

uint64_t student_parameters(const struct student *student) {
  return graph_trained_numbers(student->graph);
}

/* ---- training ---- */

/* What template i should say. */
static const float *target_of(const struct student *student, const struct lesson *lesson, uint32_t i) {
  uint32_t member = lesson->target[i];
  size_t row = (lesson->mirrored[member] ? student->faces : 0) + (size_t)lesson->face[member];
  return student->targets + row * student->embedding;
}

/* The mean of 1 - cos(y, t) and its gradient, (cos y/|y| - t) / |y|. */
static double cosine_loss(const struct student *student, const struct lesson *lesson) {
  const uint32_t n = student->embedding;
  const float *output = graph_output_data(student->graph);
  float *gradient = graph_output_gradient(student->graph);
  double total = 0;
  for (uint32_t i = 0; i < LESSON_BATCH; i++) {
    const float *y = output + (size_t)i * n, *t = target_of(student, lesson, i);
    double squares = 1e-12, product = 0;
    for (uint32_t c = 0; c < n; c++) {
      squares += (double)y[c] * (double)y[c];
      product += (double)y[c] * (double)t[c];
    }
    double length = sqrt(squares), cosine = product / length;
    for (uint32_t c = 0; c < n; c++)
      gradient[(size_t)i * n + c] =
          (float)((cosine * (double)y[c] / length - (double)t[c]) / (length * LESSON_BATCH));
    total += 1 - cosine;
  }
  return total / LESSON_BATCH;
}

static int train_step(struct student *student, uint32_t step, struct guise_error *err) {
  const double pi = 3.14159265358979323846, done = (double)step / student->options.steps;
  const struct adam_options adam = {.rate = student->rate * (float)(0.5 * (1 + cos(pi * done))),
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .epsilon = 1e-8f};
  const struct lesson *lesson = lessons_draw(student->lessons, step, graph_input_data(student->graph));
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
  _cleanup_(student_freep) struct student *student = NULL;
  int r = student_new(teacher, options, faces, &student, err);
  if (r == 0)
    student->targets = targets;
  for (uint32_t step = 0; r == 0 && step < options->steps; step++) {
    r = lessons_stop_code(&options->lessons, err);
    if (r == 0)
      r = train_step(student, step, err);
  }
  if (r == 0)
    *ret_student = TAKE(student);
  return r;
}

/* ---- what it says ---- */

/* Whoever holds the templates also knows how they are distributed: the norms' statistics, learnt from public
 * faces, are taken again from what is attacked. */
static int adapt(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                 struct guise_error *err) {
  int r = 0;
  graph_statistics_reset(student->graph);
  for (uint32_t first = 0; first < faces->count && r == 0; first += LESSON_BATCH) {
    r = lessons_stop_code(&student->options.lessons, err);
    if (r < 0)
      break;
    lessons_templates(student->lessons, faces, mixes, first, graph_input_data(student->graph));
    r = graph_forward(student->graph, GRAPH_STATISTICS, 0, err);
  }
  if (r == 0)
    graph_statistics_finish(student->graph);
  return r;
}

int student_embed(struct student *student, const struct face_sample *faces, const struct mix *mixes,
                  float *ret_embeddings, struct guise_error *err) {
  int r = adapt(student, faces, mixes, err);
  for (uint32_t first = 0; first < faces->count && r == 0; first += LESSON_BATCH) {
    uint32_t count = MIN(LESSON_BATCH, faces->count - first);
    float *rows = ret_embeddings + (size_t)first * student->embedding;
    if ((r = lessons_stop_code(&student->options.lessons, err)) < 0)
      break;
    lessons_templates(student->lessons, faces, mixes, first, graph_input_data(student->graph));
    if ((r = graph_forward(student->graph, GRAPH_EVAL, 0, err)) < 0)
      break;
    memcpy(rows, graph_output_data(student->graph), (size_t)count * student->embedding * sizeof(float));
    for (uint32_t i = 0; i < count; i++)
      if (!embedding_normalise(rows + (size_t)i * student->embedding, student->embedding))
        r = error_set(err, -EDOM, "the attack's student network diverged");
  }
  return r;
}
