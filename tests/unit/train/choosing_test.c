/* What the choice of k goes by: how hard the leads of the mixes were, and the histogram that a job gives. */
#include "unit/train/defences.h"

#include "core/train/auxiliary.h"

#include "core/nn/head.h"

#define LEARNED "\"method\":\"ahm\",\"policy\":\"learned\",\"reward\":\"paper\",\"unmixed\":0.25"
enum { BATCH = 14, EMBEDDING = 16 };

/* ---- how hard leads were ---- */

static double cosine(const float *a, const float *b) {
  double dot = 0, aa = 0, bb = 0;
  for (uint32_t d = 0; d < EMBEDDING; d++) {
    dot += (double)a[d] * (double)b[d];
    aa += (double)a[d] * (double)a[d];
    bb += (double)b[d] * (double)b[d];
  }
  return dot / sqrt(aa * bb);
}

/* By the definitions: cos to the lead's class minus the best other; - sum w log p + sum w log w. */
static void measure(struct trainer *t, const float *embedding, const struct mix *mix, uint32_t lead,
                    double *ret_margin, double *ret_excess) {
  const uint32_t classes = head_classes(t->head);
  double best = -2, sum = 0;
  *ret_excess = 0;
  for (uint32_t c = 0; c < classes; c++) {
    const double cos_c = cosine(embedding, head_weights(t->head) + c * EMBEDDING);
    sum += exp(t->spec->train.scale * cos_c);
    best = c == lead ? best : fmax(best, cos_c);
  }
  for (uint32_t j = 0; j < mix->labels; j++) {
    const double weight = (double)mix->label[j].weight;
    const double own = cosine(embedding, head_weights(t->head) + mix->label[j].identity * EMBEDDING);
    *ret_excess += weight * (log(sum) - t->spec->train.scale * own + log(weight));
  }
  *ret_margin = cosine(embedding, head_weights(t->head) + lead * EMBEDDING) - best;
}

static void average(double *value, double now, bool *known) {
  *value = *known ? *value + 0.1 * (now - *value) : now;
  *known = true;
}

/* Each image and person begins with its first value and is credited with the mixes that it leads, also where
 * a partner has the larger share; no excess is negative, whatever the margin of the training. */
static void leads_are_credited(void **state) {
  (void)state;
  struct bench *b = open_bench(LEARNED, "", "\"epochs\":4,\"batch\":14,\"margin_warmup\":0.5", "credited");
  struct trainer *t = &b->t;
  double margin[TRAINED] = {0}, excess[TRAINED] = {0}, of_person[PEOPLE] = {0}, excess_person[PEOPLE] = {0};
  bool known[4][TRAINED] = {{false}};
  uint32_t others_lead = 0;
  assert_int_equal(t->batch, BATCH);
  assert_int_equal(t->steps_per_epoch, 2);
  for (t->step = 0; t->step < 4; t->step++) {
    float embeddings[BATCH * EMBEDDING];
    double now[2][BATCH];
    assert_int_equal(
        trainer_fill(t, t->order + (t->step % 2) * BATCH, BATCH, graph_input_data(t->graph), NULL), 0);
    assert_int_equal(graph_forward(t->graph, GRAPH_TRAIN, t->step, NULL), 0);
    memcpy(embeddings, graph_output_data(t->graph), sizeof(embeddings));
    for (uint32_t i = 0; i < BATCH; i++) {
      measure(t, embeddings + i * EMBEDDING, &t->mixes[i], t->identity[i], &now[0][i], &now[1][i]);
      others_lead += t->mixes[i].label[0].identity != t->identity[i];
    }
    assert_int_equal(trainer_recognition_step(t, NULL), 0); /* the same mixes and network again */
    for (uint32_t i = 0; i < BATCH; i++) {
      average(&margin[t->sample[i]], now[0][i], &known[0][t->sample[i]]);
      average(&excess[t->sample[i]], now[1][i], &known[1][t->sample[i]]);
      average(&of_person[t->identity[i]], now[0][i], &known[2][t->identity[i]]);
      average(&excess_person[t->identity[i]], now[1][i], &known[3][t->identity[i]]);
    }
    for (uint32_t i = 0; i < TRAINED; i++) {
      assert_true(fabs((double)t->difficulty.margin_sample[i] - margin[i]) < 1e-4);
      assert_true(fabs((double)t->difficulty.excess_sample[i] - excess[i]) < 1e-3);
      assert_true(t->difficulty.excess_sample[i] >= -1e-4f);
    }
    for (uint32_t p = 0; p < t->data.train.identities; p++) {
      assert_true(fabs((double)t->difficulty.margin_person[p] - of_person[p]) < 1e-4);
      assert_true(fabs((double)t->difficulty.excess_person[p] - excess_person[p]) < 1e-3);
    }
  }
  assert_true(others_lead > 5);
  close_bench(b);
}

/* ---- a histogram ---- */

#define HISTOGRAM                                                                          \
  "\"method\":\"ahm\",\"policy\":\"fixed\",\"k\":[6,2,4],\"probability\":[0.3,0.05,0.15]," \
  "\"unmixed\":0"

static void k_follows_the_given_histogram(void **state) {
  (void)state;
  struct bench *b = open_bench(HISTOGRAM, "", "\"epochs\":400,\"batch\":14", "histogram");
  struct trainer *t = &b->t;
  uint32_t drawn[MIX_MAX + 1] = {0}, k[BATCH];
  for (t->step = t->total / 2; t->step < t->total / 2 + 200; t->step++) {
    assert_false(trainer_in_warmup(t));
    assert_int_equal(trainer_choose_k(t, BATCH, k), 0);
    for (uint32_t i = 0; i < BATCH; i++)
      drawn[k[i]]++;
  }
  assert_int_equal(drawn[2] + drawn[4] + drawn[6], 200 * BATCH); /* 2,800: 280, 840 and 1,680 expected */
  assert_in_range(drawn[2], 220, 340);
  assert_in_range(drawn[4], 740, 940);
  assert_in_range(drawn[6], 1575, 1785);
  t->step = 0;
  assert_int_equal(trainer_choose_k(t, BATCH, k), 0);
  for (uint32_t i = 0; i < BATCH; i++)
    assert_int_equal(k[i], 2); /* the margin warms up */
  close_bench(b);
}

/* 0 is what mask.unmixed leaves alone, 1 what the policy does; both by people, the rest by the policy. */
static void a_policy_may_leave_samples_unmixed(void **state) {
  (void)state;
  struct bench *b =
      open_bench("\"method\":\"ahm\",\"policy\":\"uniform\",\"k\":[1,2,3,4,5,6],\"unmixed\":0.25", "",
                 "\"epochs\":400,\"batch\":14", "alone");
  struct trainer *t = &b->t;
  uint32_t drawn[MIX_MAX + 1] = {0}, k[BATCH];
  t->epochs_done = 200;
  t->step = (uint64_t)t->epochs_done * t->steps_per_epoch;
  auxiliary_order(t);
  for (uint32_t half = 0; half < 2 * 200; half++, t->step += half % 2 == 0) {
    memcpy(t->sample, t->order + half % 2 * BATCH, sizeof(k));
    assert_int_equal(trainer_choose_k(t, BATCH, k), 0);
    for (uint32_t i = 0; i < BATCH; i++)
      drawn[k[i]]++;
  }
  assert_int_equal(drawn[0], 200 * 2 * 4); /* two of seven people with four images each, and one of them */
  assert_int_equal(drawn[1], 200 * 4);
  for (uint32_t each = 2; each <= MIX_MAX; each++) /* 640 each */
    assert_in_range(drawn[each], 560, 720);
  const struct epoch_sums before = t->sums;
  assert_int_equal(trainer_fill(t, t->order, BATCH, graph_input_data(t->graph), NULL), 0);
  uint32_t alone = 0;
  for (uint32_t i = 0; i < BATCH; i++)
    alone += t->mixes[i].k == 1;
  assert_true(t->sums.chosen[0] - before.chosen[0] + t->sums.chosen[1] - before.chosen[1] == alone);
  assert_true(t->sums.unmixed - before.unmixed == t->sums.chosen[0] - before.chosen[0]);
  assert_true(t->sums.mixed - before.mixed + t->sums.unmixed - before.unmixed == BATCH);
  close_bench(b);
}

/* Frozen mixes have one k each, of the same histogram. */
static void recipes_freeze_what_the_histogram_gave(void **state) {
  (void)state;
  struct bench *b =
      open_bench(HISTOGRAM ",\"recipes_per_image\":2", "", "\"epochs\":4,\"batch\":14", "frozen");
  struct trainer *t = &b->t;
  uint32_t first[BATCH], again[BATCH], other[BATCH];
  memcpy(t->sample, t->order, BATCH * sizeof(*t->sample));
  assert_int_equal(trainer_choose_k(t, BATCH, first), 0);
  t->epochs_done = 1;
  assert_int_equal(trainer_choose_k(t, BATCH, other), 0);
  t->epochs_done = 2;
  t->step = 5;
  assert_int_equal(trainer_choose_k(t, BATCH, again), 0);
  assert_memory_equal(first, again, sizeof(first));
  assert_memory_not_equal(first, other, sizeof(first));
  close_bench(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(leads_are_credited),
                                     cmocka_unit_test(k_follows_the_given_histogram),
                                     cmocka_unit_test(a_policy_may_leave_samples_unmixed),
                                     cmocka_unit_test(recipes_freeze_what_the_histogram_gave)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
