/* Whole jobs whose mixes are made of public faces, of frozen recipes, and with decoys at inference: the same
 * to the bit after a stop and for any number of threads making templates, errors that say what to do, and
 * what a step's mixes are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/mask/decoys.h"
#include "core/mask/recipe.h"
#include "core/model/model.h"
#include "core/train/augment.h"
#include "core/train/partners.h"
#include "unit/train/pack.h"
#include "unit/train/quiet.h"

static char root[] = "/tmp/guise-partners-XXXXXX";
static char private_pack[256], public_pack[256];

struct record {
  char checkpoint[4096];
  uint64_t asked, stop_after; /* 0 = never */
};

static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct record *record = context;
  (void)epochs_done;
  (void)step;
  (void)rows;
  (void)count;
  (void)snprintf(record->checkpoint, sizeof(record->checkpoint), "%s", path);
  return 0;
}
static enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  return record->stop_after && ++record->asked >= record->stop_after ? JOB_SUSPEND : JOB_CONTINUE;
}

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(private_pack, sizeof(private_pack), "%s/private", root);
  (void)snprintf(public_pack, sizeof(public_pack), "%s/public", root);
  draw_pack(private_pack, 1, 8, 4, 32);
  draw_pack(public_pack, 77, 5, 4, 32);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static struct job_spec parse(const char *mask, uint32_t epochs) {
  char body[1024];
  struct job_spec spec;
  struct spec_problems problems = {0};
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"unmixed\":0,%s},"
                 "\"model\":{\"arch\":\"freq_conv\",\"input\":32,\"width\":0.25,\"embedding\":16},"
                 "\"audit\":{\"effort\":\"quick\"},\"train\":{\"epochs\":%u,\"batch\":6,\"shift\":2}}",
                 mask, epochs);
  json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(json);
  if (job_spec_parse(json, &spec, &problems) != 0)
    fail_msg("%s: %s", problems.problem[0].pointer, problems.problem[0].detail);
  json_decref(json);
  return spec;
}

static struct job_inputs inputs_of(const char *name, const char *public) {
  static char work[300], output[300];
  (void)snprintf(work, sizeof(work), "%s/work-%s", root, name);
  (void)snprintf(output, sizeof(output), "%s/out-%s", root, name);
  assert_int_equal(directory_make(work, NULL), 0);
  assert_int_equal(directory_make(output, NULL), 0);
  return (struct job_inputs){.job_id = "job_test",
                             .dataset_pack = private_pack,
                             .dataset_name = "synthetic",
                             .dataset_sha256 = "0",
                             .public_pack = public,
                             .work_directory = work,
                             .output_directory = output,
                             .threads = 1};
}

static int run(const char *mask, const char *name, const char *resume, const char *public,
               struct record *record, struct guise_error *err) {
  const struct job_callbacks callbacks = {
      record, quiet_phase, quiet_progress, quiet_log, on_checkpoint, on_should_stop, NULL};
  struct job_spec spec = parse(mask, 3);
  struct job_inputs inputs = inputs_of(name, public);
  struct job_outcome outcome = {NULL};
  inputs.resume = resume;
  int r = job_run(&spec, &inputs, &callbacks, &outcome, err);
  json_decref(outcome.summary);
  job_spec_free(&spec);
  return r;
}

static void model_path(const char *name, char path[400]) {
  (void)snprintf(path, 400, "%s/out-%s/model.safetensors", root, name);
}

#define PUBLIC "\"public_dataset\":\"p\","

static const char *const masks[] = {
    PUBLIC "\"pool\":\"public\",\"policy\":\"uniform\"",
    PUBLIC "\"pool\":\"both\",\"policy\":\"learned\",\"reward\":\"paper\",\"recipes_per_image\":2",
    "\"policy\":\"learned\",\"reward\":\"probe\",\"recipes_per_image\":2",
    "\"policy\":\"uniform\",\"recipes_per_image\":1",
    PUBLIC "\"pool\":\"both\",\"method\":\"mixup\",\"recipes_per_image\":4,\"margins\":\"equal\"",
    PUBLIC "\"decoys\":2,\"policy\":\"fixed\",\"k\":[3]",
};

static void suspended_and_resumed_to_the_bit(void **state) {
  (void)state;
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    struct guise_error err = {0};
    struct record straight = {.stop_after = 0}, resumed = {.stop_after = 6};
    const char *public = strstr(masks[m], "public_dataset") ? public_pack : NULL;
    char checkpoint[4096], path[400], whole[SHA256_HEX], parts[SHA256_HEX];
    if (run(masks[m], "straight", NULL, public, &straight, &err) < 0)
      fail_msg("%s: %s", masks[m], err.text);
    assert_int_equal(run(masks[m], "resumed", NULL, public, &resumed, &err), -EINTR);
    resumed.stop_after = 0;
    memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
    assert_true(*checkpoint);
    if (run(masks[m], "resumed", checkpoint, public, &resumed, &err) < 0)
      fail_msg("%s: %s", masks[m], err.text);
    model_path("straight", path);
    assert_int_equal(sha256_file(path, whole, NULL), 0);
    model_path("resumed", path);
    assert_int_equal(sha256_file(path, parts, NULL), 0);
    if (strcmp(whole, parts) != 0)
      fail_msg("%s: the resumed job's model differs", masks[m]);
  }
}

/* The model that comes out has the decoys in it, and they are public people's templates. */
static void decoys_are_in_the_model(void **state) {
  (void)state;
  char path[400];
  struct record record = {.stop_after = 0};
  struct guise_error err = {0};
  struct model *model = NULL;
  if (run(masks[ARRAY_SIZE(masks) - 1], "decoys", NULL, public_pack, &record, &err) < 0)
    fail_msg("%s", err.text);
  model_path("decoys", path);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  const struct decoys *decoys = mask_decoys(model->mask);
  assert_non_null(decoys);
  assert_int_equal(decoys->count, 2);
  assert_int_equal(decoys->mixes, DECOY_MIXES);
  struct job_data open;
  assert_int_equal(job_data_open(public_pack, 32, NULL, &open, &err), 0);
  float template_[mask_elements(model->mask)], scratch[mask_scratch(model->mask)];
  uint32_t found = 0;
  for (uint32_t i = 0; i < open.train.count; i++) {
    mask_template(model->mask, job_data_image(&open, i), false, NULL, scratch, template_);
    for (uint32_t d = 0; d < decoys->count; d++) {
      double difference = 0;
      for (size_t e = 0; e < decoys->elements; e++)
        difference = fmax(difference,
                          fabs((double)template_[e] - (double)decoys->templates[d * decoys->elements + e]));
      found += difference < 1e-4;
    }
  }
  assert_int_equal(found, 2);
  job_data_close(&open);
  model_free(model);
}

/* ---- one step at a time ---- */

struct bench {
  struct trainer trainer;
  struct job_spec spec;
  struct record record;
  struct job_callbacks callbacks;
};

static void open_trainer(struct bench *b, const char *mask, uint32_t threads) {
  struct guise_error err = {0};
  memset(b, 0, sizeof(*b));
  b->spec = parse(mask, 8);
  b->callbacks = (struct job_callbacks){&b->record,     quiet_phase, quiet_progress, quiet_log, on_checkpoint,
                                        on_should_stop, NULL};
  struct job_inputs inputs = inputs_of("step", public_pack);
  inputs.threads = threads;
  if (job_data_open(private_pack, 32, &(struct data_split){.identities = 0.25, .seed = 1}, &b->trainer.data,
                    &err) < 0 ||
      trainer_init(&b->trainer, &b->spec, &inputs, &b->callbacks, &err) < 0)
    fail_msg("%s", err.text);
}

static void close_trainer(struct bench *b) {
  trainer_done(&b->trainer);
  job_spec_free(&b->spec);
}

#define IMAGES_MAX 64
#define DISTINCT_MAX 16

/* Trains `epochs` epochs step by step and keeps every input that was made of each image as the lead. */
struct store {
  float *template_[IMAGES_MAX][DISTINCT_MAX];
  uint32_t distinct[IMAGES_MAX], seen[IMAGES_MAX];
};

static void keep(struct store *store, uint32_t image, const float *template_, size_t elements) {
  store->seen[image]++;
  for (uint32_t i = 0; i < store->distinct[image]; i++)
    if (memcmp(store->template_[image][i], template_, elements * sizeof(float)) == 0)
      return;
  assert_true(store->distinct[image] < DISTINCT_MAX);
  float *copy = malloc(elements * sizeof(float));
  memcpy(copy, template_, elements * sizeof(float));
  store->template_[image][store->distinct[image]++] = copy;
}

static void train_and_keep(struct bench *b, uint32_t epochs, struct store *store) {
  struct trainer *t = &b->trainer;
  struct guise_error err = {0};
  char work[] = "/nonexistent";
  /* one step an epoch() call: the trainer stops when asked, before the next step */
  for (uint32_t epoch = 0; epoch < epochs; epoch++) {
    for (uint32_t step = 0; step < t->steps_per_epoch; step++) {
      b->record.asked = 0;
      b->record.stop_after = 2;
      const bool last = step + 1 == t->steps_per_epoch;
      assert_int_equal(trainer_epoch(t, work, &err), last ? 0 : -EINTR);
      for (uint32_t i = 0; i < t->batch; i++)
        keep(store, t->sample[i], graph_input_data(t->graph) + i * mask_elements(t->mask),
             mask_elements(t->mask));
    }
    t->epochs_done++;
  }
}

static void store_done(struct store *store) {
  for (uint32_t i = 0; i < IMAGES_MAX; i++)
    for (uint32_t d = 0; d < store->distinct[i]; d++)
      free(store->template_[i][d]);
}

/* What a network, or a stolen store of its inputs, ever sees of an image as the lead: R templates. */
static void exactly_r_templates_an_image(void **state) {
  (void)state;
  static const struct {
    const char *mask;
    uint32_t recipes, most; /* most: distinct templates of an image */
  } cases[] = {
      {PUBLIC "\"pool\":\"both\",\"policy\":\"uniform\",\"recipes_per_image\":2", 2, 2},
      {"\"policy\":\"fixed\",\"k\":[4],\"recipes_per_image\":1", 1, 1},
      {"\"method\":\"mixup\",\"recipes_per_image\":2", 2, 2},
      {"\"policy\":\"learned\",\"reward\":\"paper\",\"k\":[2,3],\"recipes_per_image\":1", 1,
       2}, /* one for each k */
  };
  for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
    static struct store store;
    struct bench b;
    memset(&store, 0, sizeof(store));
    open_trainer(&b, cases[c].mask, 1);
    assert_true(b.trainer.data.train.count <= IMAGES_MAX);
    train_and_keep(&b, 6, &store);
    for (uint32_t i = 0; i < b.trainer.data.train.count; i++) {
      const uint32_t want = MIN(cases[c].recipes, store.seen[i]);
      if (store.distinct[i] > cases[c].most ||
          (cases[c].most == cases[c].recipes && store.seen[i] >= 4 && store.distinct[i] != want))
        fail_msg("case %zu: %u different templates of image %u in %u uses", c, store.distinct[i], i,
                 store.seen[i]);
    }
    store_done(&store);
    close_trainer(&b);
  }
}

/* A frozen mix against the same made by hand: members' images, their views, their lambdas. */
static void recipes_by_hand(void **state) {
  (void)state;
  struct bench b;
  struct guise_error err = {0};
  open_trainer(&b, PUBLIC "\"pool\":\"both\",\"policy\":\"fixed\",\"k\":[5],\"recipes_per_image\":2", 1);
  struct trainer *t = &b.trainer;
  const size_t elements = mask_elements(t->mask);
  b.record.stop_after = 2;
  assert_int_equal(trainer_epoch(t, "/nonexistent", &err), -EINTR);
  const float *input = graph_input_data(t->graph);
  float part[elements], scratch[mask_scratch(t->mask)];
  uint8_t shifted[32 * 32 * 3];
  uint32_t publics = 0;
  for (uint32_t i = 0; i < t->batch; i++) {
    const struct mix_pool pool = {MIX_POOL_BOTH, t->data.train.identity, t->data.train.count,
                                  t->open.train.count};
    const struct augmentation augmentation = {2, true};
    struct mix mix;
    double want[elements];
    memset(want, 0, sizeof(want));
    recipe_compose(t->spec->train.seed, t->sample[i], 0, 5, 0, &pool, &mix);
    for (uint32_t j = 0; j < mix.k; j++) {
      const bool public = mix.member[j] >= pool.privates;
      const uint8_t *rgb = public
                               ? job_data_image(&t->open, t->open.train.image[mix.member[j] - pool.privates])
                               : job_data_image(&t->data, t->data.train.image[mix.member[j]]);
      struct rng rng;
      recipe_view(t->spec->train.seed, t->sample[i], 0, 5, j, &rng);
      augment_template(t->mask, &augmentation, &rng, rgb, shifted, scratch, part);
      for (size_t e = 0; e < elements; e++)
        want[e] += (double)mix.lambda[j] * (double)part[e];
      publics += public;
    }
    for (size_t e = 0; e < elements; e++)
      assert_true(fabs(want[e] - (double)input[i * elements + e]) < 1e-4);
    assert_int_equal(t->label_counts[i], mix.labels);
    for (uint32_t l = 0; l < mix.labels; l++) {
      assert_int_equal(t->labels[i * MIX_MAX + l].identity, mix.label[l].identity);
      assert_true(t->labels[i * MIX_MAX + l].weight == mix.label[l].weight);
    }
  }
  assert_true(publics > 0);
  close_trainer(&b);
}

/* Without recipes partners are the step's public faces, which have no class: the lead alone is labelled, with
 * its own share. */
static void public_steps(void **state) {
  (void)state;
  struct bench b;
  struct guise_error err = {0};
  open_trainer(&b, PUBLIC "\"pool\":\"public\",\"policy\":\"fixed\",\"k\":[4]", 1);
  struct trainer *t = &b.trainer;
  assert_int_equal(trainer_step_publics(t), 6);
  for (uint32_t step = 0; step + 1 < t->steps_per_epoch; step++) {
    b.record.asked = 0;
    b.record.stop_after = 2;
    assert_int_equal(trainer_epoch(t, "/nonexistent", &err), -EINTR);
    for (uint32_t i = 0; i < t->batch; i++) {
      const struct mix *mix = &t->mixes[i];
      assert_int_equal(t->label_counts[i], 1);
      assert_int_equal(t->labels[i * MIX_MAX].identity, t->identity[i]);
      assert_true(t->labels[i * MIX_MAX].weight == mix->lambda[0]);
      for (uint32_t j = 1; j < mix->k; j++)
        assert_in_range(mix->member[j], t->batch, t->batch + 5);
    }
  }
  close_trainer(&b);
}

static void any_number_of_threads(void **state) {
  (void)state;
  static const char *const cases[] = {
      PUBLIC "\"pool\":\"both\",\"policy\":\"uniform\"",
      PUBLIC "\"pool\":\"both\",\"policy\":\"uniform\",\"recipes_per_image\":4",
  };
  for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
    float *inputs[2];
    size_t bytes = 0;
    for (uint32_t run_number = 0; run_number < 2; run_number++) {
      struct bench b;
      struct guise_error err = {0};
      open_trainer(&b, cases[c], 1 + 2 * run_number);
      b.record.stop_after = 2;
      assert_int_equal(trainer_epoch(&b.trainer, "/nonexistent", &err), -EINTR);
      bytes = b.trainer.batch * mask_elements(b.trainer.mask) * sizeof(float);
      inputs[run_number] = malloc(bytes);
      memcpy(inputs[run_number], graph_input_data(b.trainer.graph), bytes);
      close_trainer(&b);
    }
    assert_memory_equal(inputs[0], inputs[1], bytes);
    free(inputs[0]);
    free(inputs[1]);
  }
}

static void errors_say_what_to_do(void **state) {
  (void)state;
  struct record record = {.stop_after = 0};
  struct guise_error err = {0};
  assert_int_equal(run(masks[0], "lost", NULL, NULL, &record, &err), -EINVAL);
  assert_non_null(strstr(err.text, "mask.public_dataset"));
  assert_int_equal(
      run(PUBLIC "\"decoys\":6,\"policy\":\"uniform\"", "many", NULL, public_pack, &record, &err), -EINVAL);
  assert_non_null(strstr(err.text, "lower mask.decoys"));
  assert_int_equal(run(masks[0], "gone", NULL, "/nonexistent/pack", &record, &err), -ENOENT);
  assert_non_null(strstr(err.text, "mask.public_dataset: "));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(suspended_and_resumed_to_the_bit),
      cmocka_unit_test(decoys_are_in_the_model),
      cmocka_unit_test(exactly_r_templates_an_image),
      cmocka_unit_test(recipes_by_hand),
      cmocka_unit_test(public_steps),
      cmocka_unit_test(any_number_of_threads),
      cmocka_unit_test(errors_say_what_to_do),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
