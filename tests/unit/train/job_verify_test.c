/* Which epochs of a job are verified, and that nothing else depends on it; at the end each image is seen once
 * a view. */
// wraps: graph_forward
#include "core/model/safetensors.h"
#include "core/nn/graph.h"
#include "unit/train/jobs.h"

static uint32_t passes; /* forward, of networks that are not trained */

int __real_graph_forward(struct graph *graph, enum graph_mode mode, uint64_t step, struct guise_error *err);
int __wrap_graph_forward(struct graph *graph, enum graph_mode mode, uint64_t step, struct guise_error *err);
int __wrap_graph_forward(struct graph *graph, enum graph_mode mode, uint64_t step, struct guise_error *err) {
  passes += mode == GRAPH_EVAL;
  return __real_graph_forward(graph, mode, step, err);
}

static bool has_row(const struct record *record, const char *name, uint32_t epoch) {
  for (uint32_t i = 0; i < record->count; i++)
    if (record->rows[i].epoch == epoch && strcmp(record->rows[i].name, name) == 0)
      return true;
  return false;
}

static json_t *weights_of(const char *name) {
  char path[512];
  struct safetensors *file = NULL;
  json_t *hashes = json_object();
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  assert_int_equal(safetensors_open(path, &file, NULL), 0);
  for (uint32_t i = 0; i < safetensors_count(file); i++) {
    const struct safetensor *tensor = safetensors_at(file, i);
    char hash[SHA256_HEX];
    sha256_data(tensor->data, tensor->bytes, hash);
    assert_int_equal(json_object_set_new(hashes, tensor->name, json_string(hash)), 0);
  }
  safetensors_free(file);
  return hashes;
}

/* Epochs between are not verified, which nothing else learns of: neither the weights, whatever the strategy
 * reads off the networks that verify, nor the epochs that are verified; also across interruptions. */
static void verified_now_and_then(void **state) {
  (void)state;
  static const char *const names[] = {"loss", "leak", "accuracy", "eer"};
  char always[512], seldom[512], checkpoint[4096];
  struct record each = {.count = 0}, third = {.count = 0};
  struct record resumed = {.stop_after = 13, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(always, sizeof(always), AHM, "learned", "");
  (void)snprintf(seldom, sizeof(seldom), "%.*s,\"holdout\":{\"every\":3}}", (int)strlen(always) - 1, always);
  run_through(always, "each", NULL, &each);
  run_through(seldom, "third", NULL, &third);
  for (uint32_t epoch = 1; epoch <= 4; epoch++)
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
      const bool verified = epoch >= 3 || i < 2; /* the last one too */
      if (!has_row(&each, names[i], epoch))
        assert_false(has_row(&third, names[i], epoch));
      else if (!verified)
        assert_false(has_row(&third, names[i], epoch));
      else
        assert_true(epoch_value(&third, names[i], epoch) == epoch_value(&each, names[i], epoch));
    }
  assert_true(has_row(&each, "accuracy", 1));
  assert_int_equal(run(seldom, "again", NULL, &resumed, &outcome, &err), -EINTR);
  memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
  resumed.stop_after = 0;
  run_through(seldom, "again", checkpoint, &resumed);
  compare(&third, &resumed);
  same_model("third", "again");
  json_t *a = weights_of("each"), *b = weights_of("third");
  assert_true(json_object_size(a) > 0 && json_equal(a, b));
  json_decref(a);
  json_decref(b);
  json_t *first = report_of("each"), *second = report_of("third");
  assert_true(json_equal(json_object_get(first, "utility"), json_object_get(second, "utility")));
  json_decref(first);
  json_decref(second);
}

static void each_view_is_seen_once(void **state) {
  (void)state;
  static const char *const whose[] = {"pairs", "no pairs"};
  uint32_t seen[2];
  for (size_t i = 0; i < ARRAY_SIZE(whose); i++) {
    char body[512];
    struct record record = {.count = 0};
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"},\"holdout\":{"
                   "\"identities\":%s},\"model\":{\"input\":32," NARROW
                   ",\"train\":{\"epochs\":1,\"batch\":8}}",
                   i ? "0" : "0.2");
    passes = 0;
    run_through(body, whose[i], NULL, &record);
    seen[i] = passes;
  }
  /* two people's twelve images, four a pass: after the epoch, then one view and the other */
  assert_int_equal(seen[0] - seen[1], 3 * 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(verified_now_and_then),
                                     cmocka_unit_test(each_view_is_seen_once)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
