/* The inference thread's models in memory (bound, order of use, erased ones), images that cannot be used, the
 * bounded queue; and the token buckets before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/limit.h"
#include "core/base/file.h"
#include "core/model/model.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"

#define SIZE 16
#define EMBEDDING 8
#define MODELS 3

struct fixture {
  char directory[64];
  struct config config;
  struct service *service;
  char sha256[MODELS][SHA256_HEX];
};

/* A blob of a small random network behind the whole block DCT. */
static void put_model(struct fixture *f, uint32_t index) {
  const struct graph_config config = {.batch = 1, .threads = 1, .seed = index + 1};
  const struct mask_options options = mask_options_default(MASK_NONE, SIZE);
  struct guise_error err = {0};
  struct graph *graph = NULL;
  struct mask *mask = NULL;
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/model", f->directory);
  assert_int_equal(mask_new(&options, &mask, &err), 0);
  const struct model_info info = {.arch = ARCH_FREQ_CONV,
                                  .input = SIZE,
                                  .embedding = EMBEDDING,
                                  .width = 0.25f,
                                  .mask = options,
                                  .constants = *mask_constants(mask)};
  const struct arch_options described = arch_options_for(mask, EMBEDDING, info.width, info.dropout);
  assert_int_equal(graph_new(&config, &graph, &err), 0);
  (void)arch_describe(graph, info.arch, &described);
  assert_int_equal(graph_build(graph, &err), 0);
  assert_int_equal(model_save(path, graph, &info, &err), 0);
  graph_free(graph);
  mask_free(mask);
  assert_int_equal(sha256_file(path, f->sha256[index], NULL), 0);
  (void)pthread_mutex_lock(&f->service->blob_lock);
  assert_int_equal(blob_publish(f->service, path, f->sha256[index], &err), 0);
  (void)pthread_mutex_unlock(&f->service->blob_lock);
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  struct guise_error err = {0};
  log_set_level(LOG_LEVEL_ERROR);
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-inference-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  config_defaults(&f->config);
  (void)snprintf(f->config.state, sizeof(f->config.state), "%s/state", f->directory);
  (void)snprintf(f->config.decoder, sizeof(f->config.decoder), "%s", GUISE_BUILD "/guise-decode");
  f->config.cores = f->config.workers = f->config.threads = f->config.decoders = 1;
  f->config.inference_queue = 2;
  (void)snprintf(f->config.log_level, sizeof(f->config.log_level), "error");
  if (service_open(&f->config, &f->service, &err) < 0 || service_start(f->service, &err) < 0)
    fail_msg("%s", err.text);
  for (uint32_t i = 0; i < MODELS; i++)
    put_model(f, i);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  service_free(f->service);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

/* A PPM of SIZE x SIZE pixels: the decoder goes by content. */
static size_t make_image(uint32_t seed, char ret_file[SIZE * SIZE * 3 + 32]) {
  const int head = sprintf(ret_file, "P6 %d %d 255\n", SIZE, SIZE);
  for (uint32_t i = 0; i < SIZE * SIZE * 3; i++)
    ret_file[(uint32_t)head + i] = (char)((i * (seed + 3)) % 251);
  return (size_t)head + SIZE * SIZE * 3;
}

static int embed(struct fixture *f, uint32_t model, float ret_embedding[EMBEDDING]) {
  char file[SIZE * SIZE * 3 + 32];
  const struct service_image image = {.data = file, .bytes = make_image(1, file)};
  _cleanup_(freep) float *embedding = NULL;
  uint32_t dimension = 0, bad = 0;
  struct guise_error err = {0};
  int r = service_embed(f->service, f->sha256[model], NULL, &image, 1, &embedding, &dimension, &bad, &err);
  if (r < 0)
    return r;
  assert_int_equal(dimension, EMBEDDING);
  memcpy(ret_embedding, embedding, EMBEDDING * sizeof(float));
  return 0;
}

static void bound_memory(struct fixture *f, uint64_t bytes) {
  f->config.inference_memory_bytes = bytes;
  service_reload(f->service, &f->config);
}

static void models_stay_loaded(void **state) {
  struct fixture *f = *state;
  const struct inference *inference = &f->service->inference;
  float first[EMBEDDING], other[EMBEDDING], again[EMBEDDING];
  bound_memory(f, UINT64_C(1) << 30);
  assert_int_equal(embed(f, 0, first), 0);
  assert_int_equal(embed(f, 1, other), 0);
  assert_int_equal(embed(f, 0, again), 0);
  assert_int_equal(inference->loads, 2);
  assert_int_equal(inference->models, 2);
  assert_memory_equal(first, again, sizeof(first));
  assert_memory_not_equal(first, other, sizeof(first)); /* each model its own answer */
}

static void the_bound_drops_what_was_used_longest_ago(void **state) {
  struct fixture *f = *state;
  const struct inference *inference = &f->service->inference;
  float embedding[EMBEDDING];
  bound_memory(f, UINT64_C(1) << 30);
  assert_int_equal(embed(f, 0, embedding), 0);
  const uint64_t each = inference->bytes;
  assert_true(each > 0);
  bound_memory(f, 2 * each + each / 2);
  assert_int_equal(embed(f, 1, embedding), 0);
  assert_int_equal(embed(f, 0, embedding), 0);
  assert_int_equal(embed(f, 2, embedding), 0); /* drops 1 */
  assert_int_equal(inference->models, 2);
  assert_int_equal(inference->loads, 3);
  assert_int_equal(embed(f, 0, embedding), 0);
  assert_int_equal(inference->loads, 3);
  assert_int_equal(embed(f, 1, embedding), 0);
  assert_int_equal(inference->loads, 4);
  bound_memory(f, 0); /* nothing stays, everything works */
  assert_int_equal(embed(f, 2, embedding), 0);
  assert_int_equal(inference->models, 0);
  assert_int_equal(inference->bytes, 0);
}

static void erased_models_leave_memory(void **state) {
  struct fixture *f = *state;
  float embedding[EMBEDDING];
  char path[PATH_MAX];
  bound_memory(f, UINT64_C(1) << 30);
  assert_int_equal(embed(f, 0, embedding), 0);
  service_blob_path(f->service, f->sha256[0], path);
  assert_int_equal(unlink(path), 0);
  inference_forget(f->service, f->sha256[0]);
  inference_forget(f->service, f->sha256[1]); /* not loaded: fine */
  assert_int_equal(f->service->inference.models, 0);
  assert_int_equal(embed(f, 0, embedding), -ENOENT);
  assert_int_equal(embed(f, 1, embedding), 0);
}

static void bad_images_are_told_apart(void **state) {
  struct fixture *f = *state;
  char file[SIZE * SIZE * 3 + 32];
  const struct service_image images[2] = {{.data = file, .bytes = make_image(2, file)},
                                          {.data = "no image", .bytes = 8}};
  _cleanup_(freep) float *embeddings = NULL;
  uint32_t dimension = 0, bad = 0;
  struct guise_error err = {0};
  assert_int_equal(
      service_embed(f->service, f->sha256[0], NULL, images, 2, &embeddings, &dimension, &bad, &err),
      -EBADMSG);
  assert_int_equal(bad, 1);
  assert_null(embeddings);
  assert_non_null(strstr(err.text, "unsupported_type"));
}

/* ---- the queue ---- */

struct gate {
  pthread_mutex_t lock;
  atomic_uint started, done;
};

static void pass_gate(void *context) {
  struct gate *gate = context;
  atomic_fetch_add(&gate->started, 1);
  (void)pthread_mutex_lock(&gate->lock);
  (void)pthread_mutex_unlock(&gate->lock);
  atomic_fetch_add(&gate->done, 1);
}

static void wait_for(atomic_uint *counter, unsigned value) {
  for (int i = 0; i < 2000 && atomic_load(counter) < value; i++)
    (void)usleep(1000);
  assert_int_equal(atomic_load(counter), value);
}

static void the_queue_is_bounded(void **state) {
  struct fixture *f = *state;
  struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
  (void)pthread_mutex_lock(&gate.lock);
  assert_true(service_infer_room(f->service));
  assert_int_equal(service_infer(f->service, pass_gate, &gate), 0);
  wait_for(&gate.started, 1); /* at work */
  assert_int_equal(service_infer(f->service, pass_gate, &gate), 0);
  assert_true(service_infer_room(f->service));
  assert_int_equal(service_infer(f->service, pass_gate, &gate), 0);
  assert_false(service_infer_room(f->service));
  assert_int_equal(service_infer(f->service, pass_gate, &gate), -EAGAIN);
  assert_int_equal(atomic_load(&gate.started), 1); /* one thread */
  (void)pthread_mutex_unlock(&gate.lock);
  wait_for(&gate.done, 3);
  assert_true(service_infer_room(f->service));
}

/* ---- token buckets ---- */

#define SECOND INT64_C(1000000000)

static void buckets_fill_and_empty(void **state) {
  (void)state;
  static struct limit limit;
  int64_t now = 5 * SECOND;
  memset(&limit, 0, sizeof(limit));
  for (int i = 0; i < 4; i++)
    assert_int_equal(limit_take(&limit, 7, 1, 2, 4, now), 0);
  assert_int_equal(limit_take(&limit, 7, 1, 2, 4, now), 1); /* half a second, rounded up */
  assert_int_equal(limit_take(&limit, 7, 4, 2, 4, now), 2);
  assert_int_equal(limit_take(&limit, 8, 4, 2, 4, now), 0); /* another client */
  now += SECOND;
  assert_int_equal(limit_take(&limit, 7, 2, 2, 4, now), 0);
  assert_int_equal(limit_take(&limit, 7, 1, 2, 4, now), 1);
  now += 100 * SECOND; /* no more than the burst */
  assert_int_equal(limit_take(&limit, 7, 4, 2, 4, now), 0);
  assert_int_equal(limit_take(&limit, 7, 1, 2, 4, now), 1);
  limit_give_back(&limit, 7, 3, 2, 4, now);
  assert_int_equal(limit_take(&limit, 7, 4, 2, 4, now), 1);
  assert_int_equal(limit_take(&limit, 7, 3, 2, 4, now), 0);
  limit_give_back(&limit, 7, 400, 2, 4, now); /* no more than the burst, either */
  assert_int_equal(limit_take(&limit, 7, 5, 2, 4, now), 1);
  assert_int_equal(limit_take(&limit, 7, 4, 2, 4, now), 0);
}

/* A thousand addresses at once get the table's buckets and one shared one; nobody's bucket is taken while it
 * is not full again. */
static void many_addresses_gain_nothing(void **state) {
  (void)state;
  static struct limit limit;
  unsigned taken = 0;
  memset(&limit, 0, sizeof(limit));
  assert_int_equal(limit_take(&limit, 1, 1, 1, 1, SECOND), 0);
  for (uint64_t client = 2; client < 1002; client++)
    taken += limit_take(&limit, client, 1, 1, 1, SECOND) == 0;
  assert_int_equal(taken, LIMIT_CLIENTS); /* 255 of the table and the shared one */
  assert_int_equal(limit_take(&limit, 1, 1, 1, 1, SECOND), 1);
  assert_int_equal(limit_take(&limit, 5000, 1, 1, 1, 2 * SECOND), 0); /* in place of a full one */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(models_stay_loaded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_bound_drops_what_was_used_longest_ago, set_up, tear_down),
      cmocka_unit_test_setup_teardown(erased_models_leave_memory, set_up, tear_down),
      cmocka_unit_test_setup_teardown(bad_images_are_told_apart, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_queue_is_bounded, set_up, tear_down),
      cmocka_unit_test(buckets_fill_and_empty),
      cmocka_unit_test(many_addresses_gain_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
