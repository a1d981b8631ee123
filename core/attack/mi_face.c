/* A5, MI-Face (Fredrikson et al., "Model Inversion Attacks that Exploit Confidence Information", CCS 2015): a
 * picture is changed until the network takes it for the wanted person. Pixels go the way of a template
 * through the mask to the score of the class,
 *
 *   min_x  -log softmax(class | x) + 1e-2 variation(x) + 1e-4 |x|^2 / n,
 *
 * by Adam from grey; nothing is learnt and no public face is needed. A mask that is not linear is left out of
 * the way: the template itself is searched for and undone by the mask's public inverse.
 *
 * Whether the picture shows the person, an evaluator says: the attacked network itself is always content.
 * Control: the same on an undefended network, trained on the same people. */
#include "core/attack/mi_face.h"

#include <string.h>

#include "core/attack/canvas.h"
#include "core/attack/descent.h"
#include "core/attack/inversion.h"
#include "core/base/memory.h"

#define RATE 0.05f /* Adam's, in the canvas's unit */
#define SMOOTHNESS 1e-2
#define SIZE 1e-4

const struct mi_face_budget mi_face_budgets[] = {
    [EFFORT_QUICK] = {.people = 16, .known = 200, .steps = 100},
    [EFFORT_STANDARD] = {.people = 48, .known = 800, .steps = 300},
    [EFFORT_THOROUGH] = {.people = 96, .known = 2000, .steps = 1000},
};

/* One batch of searches. */
struct search {
  const struct inverted *inverted;
  struct canvas canvas;
  struct head_label label[INVERSION_BATCH];
  uint32_t counts[INVERSION_BATCH];
  float *x, *derivative; /* (INVERSION_BATCH, numbers) */
  struct descent descent;
};

static int search_init(struct search *search, const struct inverted *inverted, struct guise_error *err) {
  *search = (struct search){.inverted = inverted};
  int r = canvas_init(&search->canvas, inverted->mask, err);
  if (r < 0)
    return r;
  const size_t all = INVERSION_BATCH * search->canvas.numbers;
  search->x = tensor_alloc(all * sizeof(float));
  search->derivative = tensor_alloc(all * sizeof(float));
  return descent_init(&search->descent, all) == 0 && search->x && search->derivative
             ? 0
             : error_set(err, -ENOMEM, "out of memory for %u pictures", INVERSION_BATCH);
}

static void search_done(struct search *search) {
  canvas_done(&search->canvas);
  tensor_free(search->x);
  tensor_free(search->derivative);
  descent_done(&search->descent);
}

/* derivative := that of the batch's loss, a person's share of its own. */
static int differentiate(struct search *search, struct guise_error *err) {
  struct graph *graph = search->inverted->classifier->graph;
  const size_t elements = mask_elements(search->inverted->mask), numbers = search->canvas.numbers;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++)
    canvas_template(&search->canvas, search->x + i * numbers, graph_input_data(graph) + i * elements);
  int r = classifier_differentiate(search->inverted->classifier, search->label, 1, search->counts, NULL, err);
  for (uint32_t i = 0; i < INVERSION_BATCH && r == 0; i++) {
    float *derivative = search->derivative + i * numbers;
    canvas_pull_back(&search->canvas, graph_input_gradient(graph) + i * elements, derivative);
    r = canvas_add_prior(&search->canvas, search->x + i * numbers, SMOOTHNESS / INVERSION_BATCH,
                         SIZE / INVERSION_BATCH, derivative, err);
  }
  return r;
}

/* Everybody in the batch at once; a batch that is not full searches for its first person again. */
static int draw_batch(struct search *search, uint32_t steps, const uint32_t *wanted, uint32_t count,
                      uint8_t *ret_rgb, struct guise_error *err) {
  const struct attack_context *context = search->inverted->context;
  const uint32_t size = mask_size(search->inverted->mask);
  const size_t numbers = search->canvas.numbers;
  int r = 0;
  for (uint32_t i = 0; i < INVERSION_BATCH; i++) {
    search->label[i] = (struct head_label){wanted[i < count ? i : 0], 1};
    search->counts[i] = 1;
  }
  memset(search->x, 0, INVERSION_BATCH * numbers * sizeof(float));
  descent_start(&search->descent);
  for (uint32_t step = 0; step < steps && r == 0; step++) {
    if (attack_stop_code(context, err) < 0)
      return -ECANCELED;
    r = differentiate(search, err);
    if (r == 0)
      descent_step(&search->descent, RATE, step, steps, search->derivative, search->x);
  }
  for (uint32_t i = 0; i < count && r == 0; i++)
    canvas_picture(&search->canvas, search->x + i * numbers, ret_rgb + (size_t)3 * size * size * i);
  return r;
}

static int draw(const struct inverted *inverted, void *method, const uint32_t *wanted, uint32_t count,
                uint8_t *ret_rgb, struct guise_error *err) {
  const struct mi_face_budget *budget = method;
  const size_t bytes = (size_t)3 * mask_size(inverted->mask) * mask_size(inverted->mask);
  _cleanup_(ledger_freep) struct ledger *ledger = NULL;
  struct search search;
  int r = search_init(&search, inverted, err);
  if (r == 0)
    r = inversion_ledger(inverted, wanted, count, json_pack("{s:i}", "steps", (int)budget->steps), &ledger,
                         err);
  for (uint32_t first = 0; first < count && r == 0; first += INVERSION_BATCH) {
    const uint32_t people = MIN(INVERSION_BATCH, count - first);
    const struct ledger_part pictures = {.data = ret_rgb + first * bytes, .bytes = people * bytes};
    if (ledger_take(ledger, &pictures, 1))
      continue;
    r = draw_batch(&search, budget->steps, wanted + first, people, pictures.data, err);
    if (r == 0)
      r = ledger_add(ledger, &pictures, 1, err);
  }
  search_done(&search);
  return r;
}

static const char threat_model[] = "Holds the weights, the mask and the class head: a row for each trained "
                                   "person, made again here as the mean "
                                   "embedding of their photographs, as a service that recognises them keeps "
                                   "it. Has no template, no picture of "
                                   "anybody and no public faces.";

int mi_face_run(const struct attack_context *context, const struct mi_face_budget *budget,
                struct attack_result *ret_result, struct guise_error *err) {
  const struct inversion inversion = {.name = "mi_face",
                                      .threat_model = threat_model,
                                      .people = budget->people,
                                      .known = budget->known,
                                      .control_least = INVERSION_CONTROL_LEAST,
                                      .method = (void *)budget,
                                      .draw = draw};
  ret_result->steps = budget->steps;
  return inversion_run(&inversion, context, ret_result, err);
}

int attack_mi_face_run(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err) {
  return mi_face_run(context, &mi_face_budgets[context->effort], ret_result, err);
}
