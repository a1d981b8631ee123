/* Mixed templates have batches and batch norms of their own. */
#include "core/train/auxiliary.h"

#include "core/image/synth.h"
#include "unit/train/defences.h"
#include "unit/train/initial.h"

#define HALF "\"method\":\"ahm\",\"policy\":\"uniform\",\"unmixed\":0.5"
#define LOSE                                                                                         \
  "\"method\":\"ahm\",\"policy\":\"fixed\",\"protect\":\"drop\",\"protect_drop\":20,\"drop_low\":1," \
  "\"unmixed\":0.5"
#define STEPS "\"epochs\":40,\"batch\":5,\"margin_warmup\":0"
enum { BATCHES = TRAINED / 5 };

/* Unmixed samples of batch `b` of the epoch under way. */
static uint32_t unmixed_of(const struct trainer *t, uint32_t b) {
  uint32_t unmixed = 0;
  for (uint32_t i = 0; i < t->batch; i++)
    unmixed += auxiliary_unmixed(t, t->order[b * t->batch + i]);
  return unmixed;
}

static void check_permutation(const struct trainer *t) {
  bool seen[TRAINED] = {false};
  for (uint32_t i = 0; i < TRAINED; i++) {
    assert_true(t->order[i] < TRAINED);
    assert_false(seen[t->order[i]]);
    seen[t->order[i]] = true;
  }
}

/* One batch of an epoch at most holds both kinds, no image comes twice, as many are left alone as were drawn,
 * and an epoch is laid out by (seed, epoch). */
static void kinds_have_batches(void **state) {
  (void)state;
  struct bench *b = open_bench(HALF, "", STEPS, "kinds");
  struct trainer *t = &b->t;
  uint32_t alone = 0, first = 0, order[TRAINED];
  assert_non_null(t->norms);
  for (t->epochs_done = 0; t->epochs_done < 40; t->epochs_done++) {
    auxiliary_order(t);
    check_permutation(t);
    uint32_t both = 0, drawn = 0, laid = 0;
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
      const uint32_t unmixed = unmixed_of(t, batch);
      both += unmixed > 0 && unmixed < t->batch;
      laid += unmixed;
    }
    for (uint32_t i = 0; i < TRAINED; i++)
      drawn += auxiliary_unmixed(t, i);
    assert_true(both <= 1);
    assert_true(laid <= drawn && laid + TRAINED % 5 >= drawn);
    alone += drawn;
    first += unmixed_of(t, 0) == t->batch;
    memcpy(order, t->order, sizeof(order));
    auxiliary_order(t);
    assert_memory_equal(order, t->order, sizeof(order));
  }
  assert_int_equal(alone, 40 * 3 * IMAGES); /* the same three of seven people each time */
  assert_in_range(first, 8, 34);            /* they do not all come first */
  close_bench(b);
}

/* Who stays unmixed is a matter of people, the same for the whole training and of as many as were asked for;
 * another seed picks others. */
static void people_stay_unmixed(void **state) {
  (void)state;
  static const char *const masks[] = {HALF, HALF ",\"recipes_per_image\":2"};
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct bench *b = open_bench(masks[m], "", STEPS, m ? "recipes" : "people");
    struct trainer *t = &b->t;
    const struct face_list *train = &t->data.train;
    bool kind[PEOPLE];
    uint32_t people = 0;
    for (uint32_t i = 0; i < TRAINED; i++)
      kind[train->identity[i]] = auxiliary_unmixed(t, i);
    for (t->epochs_done = 0; t->epochs_done < 4; t->epochs_done++)
      for (uint32_t i = 0; i < TRAINED; i++) {
        t->step = (uint64_t)t->epochs_done * t->steps_per_epoch;
        assert_int_equal(auxiliary_unmixed(t, i), kind[train->identity[i]]);
      }
    for (uint32_t p = 0; p < train->identities; p++)
      people += kind[p];
    assert_int_equal(people, 3); /* of seven */
    close_bench(b);
  }
}

/* Samples are drawn anew each epoch, as many as were asked for on average; with recipes an image is the same
 * kind each time its recipe comes round. */
static void samples_are_drawn_anew(void **state) {
  (void)state;
  static const char *const masks[] = {HALF ",\"unmixed_by\":\"samples\"",
                                      HALF ",\"unmixed_by\":\"samples\",\"recipes_per_image\":2"};
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct bench *b = open_bench(masks[m], "", STEPS, m ? "drawn-recipes" : "drawn");
    struct trainer *t = &b->t;
    uint32_t alone = 0, changed = 0;
    bool kind[40][TRAINED];
    for (t->epochs_done = 0; t->epochs_done < 40; t->epochs_done++) {
      t->step = (uint64_t)t->epochs_done * t->steps_per_epoch;
      for (uint32_t i = 0; i < TRAINED; i++) {
        kind[t->epochs_done][i] = auxiliary_unmixed(t, i);
        alone += kind[t->epochs_done][i];
        changed += t->epochs_done > 0 && kind[t->epochs_done][i] != kind[t->epochs_done - 1][i];
        if (m == 1 && t->epochs_done >= 2)
          assert_int_equal(kind[t->epochs_done][i], kind[t->epochs_done - 2][i]);
      }
    }
    assert_in_range(changed, 39 * TRAINED / 4, 39 * TRAINED * 3 / 4);
    if (m == 0)
      assert_in_range(alone, 40 * TRAINED * 45 / 100, 40 * TRAINED * 55 / 100); /* 1 deviation is .015 */
    close_bench(b);
  }
}

/* ---- a policy that may leave samples unmixed ---- */

#define MAY_LEAVE \
  "\"method\":\"ahm\",\"policy\":\"fixed\",\"k\":[1,6],\"probability\":[0.4,0.6],\"unmixed\":0"

static uint32_t left_people(const struct trainer *t) {
  uint32_t people = 0;
  for (uint32_t p = 0; p < t->data.train.identities; p++)
    people += t->left[p] > 0;
  return people;
}

/* It leaves people for a whole epoch, as many as its probability of k = 1 says, behind those whom
 * mask.unmixed leaves, and they have batches of their own. */
static void a_policy_leaves_people(void **state) {
  (void)state;
  struct bench *b = open_bench(MAY_LEAVE, "", STEPS, "leaves");
  struct trainer *t = &b->t;
  assert_non_null(t->norms);
  assert_false(auxiliary_is_apart(t));
  auxiliary_order(t);
  check_permutation(t);
  assert_true(auxiliary_is_apart(t));
  assert_int_equal(left_people(t), 3); /* .4 of seven */
  uint32_t both = 0;
  for (uint32_t batch = 0; batch < BATCHES; batch++) {
    uint32_t k[5], left = 0;
    memcpy(t->sample, t->order + (size_t)batch * 5, sizeof(k));
    assert_int_equal(trainer_choose_k(t, 5, k), 0);
    for (uint32_t i = 0; i < 5; i++) {
      assert_int_equal(k[i], auxiliary_left(t, t->sample[i]) ? 1 : 5); /* no more faces in a batch */
      left += k[i] == 1;
    }
    both += left > 0 && left < 5;
  }
  assert_true(both <= 1);
  close_bench(b);

  b = open_bench(
      "\"method\":\"ahm\",\"policy\":\"fixed\",\"k\":[1,6],\"probability\":[0.5,0.5],\"unmixed\":0.3", "",
      STEPS, "behind");
  t = &b->t;
  auxiliary_order(t);
  uint32_t unmixed = 0, left = 0;
  for (uint32_t i = 0; i < TRAINED; i++) {
    assert_false(auxiliary_unmixed(t, i) && auxiliary_left(t, i));
    unmixed += auxiliary_unmixed(t, i);
    left += auxiliary_left(t, i);
  }
  assert_int_equal(unmixed, 2 * IMAGES);
  assert_int_equal(left, 3 * IMAGES); /* half of what is behind .3 */
  close_bench(b);
}

/* A learned policy's probabilities count from the next epoch on, as its average for each person. */
static void a_policy_is_asked_by_person(void **state) {
  (void)state;
  struct bench *b = open_bench("\"method\":\"ahm\",\"policy\":\"learned\",\"reward\":\"paper\",\"k\":[1,2],"
                               "\"unmixed\":0",
                               "", STEPS, "asked");
  struct trainer *t = &b->t;
  auxiliary_order(t);
  assert_int_equal(left_people(t), 3); /* half, until it was asked */
  for (uint32_t i = 0; i < TRAINED; i++)
    for (int times = 0; times < 60; times++)
      auxiliary_asked(t, i, t->data.train.identity[i] == 3 ? 1 : 0);
  t->step++;
  auxiliary_order(t);
  assert_int_equal(left_people(t), 3); /* as of a checkpoint within the epoch */
  t->epochs_done = 1;
  t->step = t->steps_per_epoch;
  auxiliary_order(t);
  assert_int_equal(left_people(t), 1);
  assert_true(t->left[3] > 0);
  close_bench(b);
}

/* FNV-1a over what the model keeps of the batch norms (gains, biases, running statistics), or over all else.
 */
static uint64_t hash_of(struct trainer *t, bool norms) {
  uint64_t hash = 14695981039346656037u;
  for (uint32_t i = 0; i < graph_parameters(t->graph); i++) {
    const struct graph_parameter *p = graph_parameter(t->graph, i);
    if ((strstr(p->name, "norm") != NULL) != norms)
      continue;
    const uint8_t *bytes = (const uint8_t *)p->value;
    for (size_t j = 0; j < p->count * sizeof(float); j++)
      hash = (hash ^ bytes[j]) * 1099511628211u;
  }
  return hash;
}

/* Where an epoch has too few of one kind for a batch, they are trained on all the same, in a plain order, and
 * all share the norms that move; a set of their own begins as what all had. */
static void few_share_the_norms_of_many(void **state) {
  (void)state;
  struct bench *b = open_bench(MAY_LEAVE, "", STEPS, "few");
  struct trainer *t = &b->t;
  uint32_t want[TRAINED];
  struct rng rng;
  auxiliary_order(t);
  assert_true(auxiliary_is_apart(t));
  for (uint32_t batch = 0; batch < BATCHES; batch++, t->step++)
    assert_int_equal(trainer_recognition_step(t, NULL), 0);
  const uint64_t unmixed = hash_of(t, true);
  auxiliary_use(t, true);
  const uint64_t mixed = hash_of(t, true);
  auxiliary_use(t, false);
  assert_true(mixed != unmixed);
  for (uint32_t p = 0; p < t->data.train.identities; p++)
    t->alone[p] = 0.1f; /* one of seven, four images, less than a batch */
  t->epochs_done = 1;
  auxiliary_order(t);
  assert_int_equal(left_people(t), 1);
  assert_false(auxiliary_is_apart(t));
  assert_true(hash_of(t, true) == mixed);
  rng_init(&rng, b->spec.train.seed, RNG_SHUFFLE, 1, 0);
  rng_permutation(&rng, want, TRAINED);
  assert_memory_equal(want, t->order, sizeof(want));
  auxiliary_order(t); /* as of a checkpoint */
  assert_true(hash_of(t, true) == mixed);
  for (uint32_t p = 0; p < t->data.train.identities; p++)
    t->alone[p] = 0.5f;
  t->epochs_done = 2;
  t->step = 2 * t->steps_per_epoch;
  auxiliary_order(t);
  assert_true(auxiliary_is_apart(t) && hash_of(t, true) == mixed);
  auxiliary_use(t, true);
  assert_true(hash_of(t, true) == mixed);
  auxiliary_use(t, false);
  close_bench(b);
}

/* Of each image one template of all that it led is remembered, each with the same chance: whom attacks meet.
 */
static void a_store_holds_templates_of_all_epochs(void **state) {
  (void)state;
  struct bench *b = open_bench(MAY_LEAVE, "", STEPS, "store");
  struct trainer *t = &b->t;
  uint32_t first = 0;
  for (t->epochs_done = 0; t->epochs_done < 4; t->epochs_done++) {
    for (uint32_t p = 0; p < t->data.train.identities; p++)
      t->alone[p] = t->epochs_done == 0 ? 1 : 0; /* all unmixed in the first of four epochs, nobody later */
    t->step = (uint64_t)t->epochs_done * t->steps_per_epoch;
    auxiliary_order(t);
    for (uint32_t i = 0; i < TRAINED; i++) /* also those that a batch of five leaves over */
      assert_int_equal(trainer_fill(t, &i, 1, graph_input_data(t->graph), NULL), 0);
  }
  for (uint32_t i = 0; i < TRAINED; i++)
    first += t->stored_k[i] == 1;
  assert_in_range(first, 2, 14); /* 7 of 28, one deviation is 2.3 */
  close_bench(b);
}

/* A step on mixes moves the weights, and the model's batch norms not at all; one on unmixed faces moves both,
 * and the other set not at all. */
static void check_norms(const char *mask) {
  struct bench *b = open_bench(mask, "", STEPS, "apart");
  struct trainer *t = &b->t;
  uint32_t steps[2] = {0, 0};
  _cleanup_(freep) float *other = calloc(t->norm_count, sizeof(float));
  assert_non_null(other);
  auxiliary_order(t);
  for (uint32_t batch = 0; batch < BATCHES; batch++, t->step++) {
    const uint64_t norms = hash_of(t, true), weights = hash_of(t, false);
    const bool mixed = unmixed_of(t, batch) < t->batch;
    memcpy(other, t->norms, t->norm_count * sizeof(float));
    assert_int_equal(trainer_recognition_step(t, NULL), 0);
    assert_int_not_equal(hash_of(t, false), weights);
    assert_int_equal(hash_of(t, true) != norms, !mixed);
    assert_int_equal(memcmp(other, t->norms, t->norm_count * sizeof(float)) != 0, mixed);
    steps[mixed]++;
  }
  assert_true(steps[0] > 0 && steps[1] > 0);
  close_bench(b);
}

static void norms_are_apart(void **state) {
  (void)state;
  check_norms(HALF);
  check_norms(LOSE);
}

/* In the place of being mixed the templates of those who are not left, and theirs alone, lose frequencies. */
static void the_others_lose_frequencies(void **state) {
  (void)state;
  struct bench *b = open_bench(LOSE, "", STEPS, "lose");
  struct trainer *t = &b->t;
  const size_t elements = mask_elements(t->mask);
  _cleanup_(freep) float *filled = calloc(t->batch * elements, sizeof(float)), *lower = NULL;
  uint32_t lost = 0, left = 0;
  lower = calloc(elements, sizeof(float));
  assert_true(filled && lower);
  auxiliary_order(t);
  for (uint32_t batch = 0; batch < BATCHES; batch++, t->step++) {
    assert_int_equal(trainer_fill(t, t->order + (size_t)batch * t->batch, t->batch, filled, NULL), 0);
    for (uint32_t i = 0; i < t->batch; i++) {
      const float *template_ = filled + i * elements;
      memcpy(lower, template_, elements * sizeof(float));
      mask_lower(t->mask, 20, lower);
      const bool has_lost = memcmp(lower, template_, elements * sizeof(float)) == 0;
      assert_int_equal(has_lost, !auxiliary_unmixed(t, t->sample[i]));
      assert_int_equal(t->label_counts[i], 1);
      lost += has_lost;
      left += !has_lost;
    }
  }
  assert_true(lost > 0 && left > 0);
  close_bench(b);
}

/* Where there is nothing to tell apart, or it is not asked for, an epoch is a plain permutation. */
static void shared_norms(void **state) {
  (void)state;
  static const char one_set[] = HALF ",\"auxiliary_norm\":false";
  static const char *const masks[] = {one_set,
                                      "\"method\":\"ahm\",\"policy\":\"uniform\",\"unmixed\":0",
                                      "\"method\":\"ahm\",\"policy\":\"uniform\",\"unmixed\":1",
                                      "\"method\":\"ahm\",\"policy\":\"uniform\",\"unmixed\":0.05",
                                      "\"method\":\"mixup\"",
                                      "\"method\":\"none\""};
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct bench *b = open_bench(masks[m], "", STEPS, "shared");
    uint32_t want[TRAINED];
    struct rng rng;
    assert_null(b->t.norms);
    auxiliary_order(&b->t);
    rng_init(&rng, b->spec.train.seed, RNG_SHUFFLE, 0, 0);
    rng_permutation(&rng, want, TRAINED);
    assert_memory_equal(want, b->t.order, sizeof(want));
    close_bench(b);
  }
}

enum { EMBEDDER_SIDE = 40, EMBEDDER_FACES = 8 };

static const uint8_t *embedder_face(void *context, uint32_t i) {
  static uint8_t face[EMBEDDER_FACES][3 * EMBEDDER_SIDE * EMBEDDER_SIDE];
  (void)context;
  synth_face(2, i, 0, EMBEDDER_SIDE, face[i]);
  return face[i];
}

/* With an embedder whose photographs are least alike stands first; a policy without anything that tells
 * people apart takes them as the seed draws them, as does one without an embedder. */
static void who_is_hardest_to_find_stands_first(void **state) {
  (void)state;
  char path[300];
  uint32_t drawn[TRAINED];
  static const char *const masks[] = {
      "\"method\":\"ahm\",\"policy\":\"learned\",\"k\":[1,2,6],\"unmixed\":0.4",
      "\"method\":\"ahm\",\"policy\":\"learned\",\"k\":[1,2,6],\"unmixed\":0.4,\"ablation\":\"random\""};
  (void)snprintf(path, sizeof(path), "%s/embedder.safetensors", root);
  write_initial_model(path, MASK_NONE, ARCH_NORM_BATCH, EMBEDDER_SIDE, embedder_face, EMBEDDER_FACES);
  struct bench *b = open_bench(masks[0], "", STEPS, "drawn-order");
  const uint32_t people = b->t.data.train.identities;
  memcpy(drawn, b->t.rank, people * sizeof(*drawn));
  close_bench(b);
  embedder_path = path;
  b = open_bench(masks[0], "", STEPS, "alike");
  uint32_t taken = 0;
  for (uint32_t p = 0; p < people; p++) {
    taken |= 1u << b->t.rank[p];
    for (uint32_t q = 0; q < people; q++)
      if (probe_alike(b->t.probe, p) < probe_alike(b->t.probe, q))
        assert_true(b->t.rank[p] < b->t.rank[q]);
  }
  assert_int_equal(taken, (1u << people) - 1);
  for (uint32_t i = 0; i < TRAINED; i++) /* three of seven */
    assert_int_equal(auxiliary_unmixed(&b->t, i), b->t.rank[b->t.data.train.identity[i]] < 3);
  close_bench(b);
  b = open_bench(masks[1], "", STEPS, "random");
  assert_memory_equal(drawn, b->t.rank, people * sizeof(*drawn));
  close_bench(b);
  embedder_path = NULL;
}

/* How often a trainer asks whether it should stop before its first step. */
static uint64_t asked_before_steps(const struct job_spec *spec) {
  struct record record = {.training = true, .stop_after = UINT64_MAX};
  const struct job_callbacks callbacks = {&record,        on_phase, quiet_progress, quiet_log, on_checkpoint,
                                          on_should_stop, NULL};
  const struct job_inputs inputs = inputs_of("asked");
  const struct data_split split = job_spec_split(spec);
  struct trainer t = {.data = {.pack = NULL}};
  assert_int_equal(job_data_open(private_pack, SIZE, &split, &t.data, NULL), 0);
  assert_int_equal(trainer_init(&t, spec, &inputs, &callbacks, NULL), 0);
  trainer_done(&t);
  return record.asked;
}

/* Wherever a job is stopped before its first step, the embedding of photographs among it, it leaves no
 * checkpoint and begins again as if nothing had been. */
static void stopped_before_it_trains(void **state) {
  (void)state;
  char path[300];
  struct job_spec spec = parse("\"method\":\"ahm\",\"policy\":\"learned\",\"k\":[1,2,6]", "", SHORT);
  const uint64_t without = asked_before_steps(&spec);
  (void)snprintf(path, sizeof(path), "%s/early.safetensors", root);
  write_initial_model(path, MASK_NONE, ARCH_NORM_BATCH, EMBEDDER_SIDE, embedder_face, EMBEDDER_FACES);
  embedder_path = path;
  const uint64_t all = asked_before_steps(&spec);
  assert_true(all > without);
  for (uint64_t stop = 1; stop <= all; stop++) {
    struct record record = {.training = true, .stop_after = stop};
    assert_int_equal(run(&spec, "early", NULL, &record, NULL), -EINTR);
    assert_string_equal(record.checkpoint, "");
  }
  run_whole(&spec, "early");
  run_whole(&spec, "not-early");
  assert_true(same_model("early", "not-early"));
  job_spec_free(&spec);
  embedder_path = NULL;
}

/* A checkpoint has both sets and whom the policy left, and the epoch it falls into goes on in the same order;
 * also with two threads and an embedder, whose ranking of people is made again. */
static void resumed_to_the_bit(void **state) {
  (void)state;
  static const char left[] = "\"method\":\"ahm\",\"policy\":\"learned\",\"k\":[1,2,6],\"unmixed\":0";
  static const struct {
    const char *mask, *whole, *two;
    bool embedder;
    uint32_t threads;
  } cases[] = {{HALF, "whole", "two", false, 1},
               {left, "left-whole", "left-two", false, 1},
               {left, "alike-whole", "alike-two", true, 2}};
  char path[300];
  (void)snprintf(path, sizeof(path), "%s/ranking.safetensors", root);
  write_initial_model(path, MASK_NONE, ARCH_NORM_BATCH, EMBEDDER_SIDE, embedder_face, EMBEDDER_FACES);
  for (size_t m = 0; m < ARRAY_SIZE(cases); m++) {
    struct job_spec spec = parse(cases[m].mask, "", SHORT);
    embedder_path = cases[m].embedder ? path : NULL;
    training_threads = cases[m].threads;
    run_whole(&spec, cases[m].whole);
    run_in_two(&spec, cases[m].two);
    assert_true(same_model(cases[m].whole, cases[m].two));
    job_spec_free(&spec);
  }
  embedder_path = NULL;
  training_threads = 1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kinds_have_batches),
      cmocka_unit_test(people_stay_unmixed),
      cmocka_unit_test(samples_are_drawn_anew),
      cmocka_unit_test(a_policy_leaves_people),
      cmocka_unit_test(a_policy_is_asked_by_person),
      cmocka_unit_test(few_share_the_norms_of_many),
      cmocka_unit_test(a_store_holds_templates_of_all_epochs),
      cmocka_unit_test(who_is_hardest_to_find_stands_first),
      cmocka_unit_test(norms_are_apart),
      cmocka_unit_test(the_others_lose_frequencies),
      cmocka_unit_test(shared_norms),
      cmocka_unit_test(stopped_before_it_trains),
      cmocka_unit_test(resumed_to_the_bit),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
