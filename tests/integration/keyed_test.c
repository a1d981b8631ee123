/* A keyed model over real HTTP: the key is a file of its own that has to be asked for, the daemon embeds and
 * verifies under it, audits attack it, and other jobs cannot use the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/synth.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "tests/integration/support/faces.h"
#include "tests/integration/support/server.h"

#define SIDE 32
#define JOB                                                                                           \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\",\"key\":true},\"model\":{" \
  "\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":1," \
  "\"batch\":16}}"
#define LONG_JOB                                                                                        \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\",\"key\":true},\"model\":{"   \
  "\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":120," \
  "\"batch\":16}}"

#define ORDERED_JOB                                                                                   \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\",\"key\":true},\"model\":{" \
  "\"arch\":\"freq_conv\",\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"attacks\":[]},"  \
  "\"train\":{\"epochs\":1,\"batch\":16}}"

#define AUDITED_JOB                                                                                          \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\",\"key\":true},\"model\":{"        \
  "\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\"]}," \
  "\"train\":{\"epochs\":1,\"batch\":16}}"

static struct server server;
static char id[64];

static const char *path_of(const char *what) {
  static char path[256];
  (void)snprintf(path, sizeof(path), "/v1/models/%s%s", id, what);
  return path;
}

static void train(const char *body, char ret_model[64]) {
  char job[64], path[128];
  struct reply reply;
  (void)snprintf(job, sizeof(job), "%s", submit(&server, body));
  if (strcmp(wait_job(&server, job, 0, 120), "succeeded") != 0)
    fail_msg("the job did not succeed");
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  expect(&server, "GET", path, NULL, 200, &reply);
  (void)snprintf(ret_model, 64, "%s", json_string_value(json_object_get(reply.json, "model")));
  reply_done(&reply);
}

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 8, 4);
  train(JOB, id);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  const int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static void the_key_has_to_be_asked_for(void **state) {
  (void)state;
  static const char *const holders[] = {"key.json", "model.onnx", "model-template.onnx"};
  char what[128];
  struct reply reply;
  for (size_t i = 0; i < ARRAY_SIZE(holders); i++) {
    (void)snprintf(what, sizeof(what), "/files/%s?unsafe=true", holders[i]);
    expect(&server, "GET", path_of(what), NULL, 403, &reply);
    assert_non_null(strstr(reply.body, "?key=true"));
    reply_done(&reply);
    (void)snprintf(what, sizeof(what), "/files/%s?key=true", holders[i]); /* and the model is not audited */
    expect(&server, "GET", path_of(what), NULL, 403, NULL);
    (void)snprintf(what, sizeof(what), "/files/%s?unsafe=true&key=true", holders[i]);
    expect(&server, "GET", path_of(what), NULL, 200, NULL);
  }
  expect(&server, "GET", path_of("/files/model.safetensors?unsafe=true"), NULL, 200, NULL);
}

/* Weights that were learnt in the key's order are handed out like the key. */
static void weights_in_its_order_too(void **state) {
  (void)state;
  char path[160], model[64];
  struct reply reply;
  train(ORDERED_JOB, model);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors?unsafe=true", model);
  expect(&server, "GET", path, NULL, 403, &reply);
  assert_non_null(strstr(reply.body, "?key=true"));
  reply_done(&reply);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/model.safetensors?unsafe=true&key=true", model);
  expect(&server, "GET", path, NULL, 200, NULL);
}

static double epoch_of(const char *job) {
  char path[128];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  expect(&server, "GET", path, NULL, 200, &reply);
  const double epoch = json_number_value(json_object_get(json_object_get(reply.json, "progress"), "epoch"));
  reply_done(&reply);
  return epoch;
}

/* The key is made at the start and outlives the checkpoints. */
static void a_paused_job_has_its_key(void **state) {
  (void)state;
  char job[64], path[128];
  bool paused = false;
  (void)snprintf(job, sizeof(job), "%s", submit(&server, LONG_JOB));
  for (int i = 0; i < 1200 && epoch_of(job) < 3; i++)
    (void)usleep(50000);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/pause", job);
  expect(&server, "POST", path, NULL, 200, NULL);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  for (int i = 0; i < 1200 && !paused; i++) {
    struct reply reply;
    expect(&server, "GET", path, NULL, 200, &reply);
    paused = strcmp(json_string_value(json_object_get(reply.json, "state")), "paused") == 0;
    reply_done(&reply);
    (void)usleep(50000);
  }
  assert_true(paused);
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/resume", job);
  expect(&server, "POST", path, NULL, 200, NULL);
  assert_string_equal(wait_job(&server, job, 0, 120), "succeeded");
}

/* The names of the files that the client fetches, with these options. */
static int get(const char *directory, const char *options) {
  char command[512];
  (void)snprintf(command, sizeof(command), "%s/guise --url %s get %s -o %s/%s --unsafe %s > /dev/null 2>&1",
                 GUISE_BUILD, server.url, id, server.root, directory, options);
  const int status = system(command); /* NOLINT(cert-env33-c): the tests' own command */
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool there(const char *directory, const char *name, char path[256]) {
  (void)snprintf(path, 256, "%s/%s/%s", server.root, directory, name);
  return access(path, R_OK) == 0;
}

static void the_client_asks_when_told(void **state) {
  (void)state;
  char path[256];
  assert_int_equal(get("without", ""), 0);
  assert_true(there("without", "model.safetensors", path) && there("without", "report.json", path));
  assert_false(there("without", "key.json", path) || there("without", "model.onnx", path));
  assert_int_equal(get("with", "--key"), 0);
  assert_true(there("with", "key.json", path) && there("with", "model.onnx", path));
}

static void same_direction(struct reply *reply, const json_t *values, const float expected[32]) {
  double cosine = 0;
  if (reply->status != 200)
    fail_msg("%ld %s", reply->status, reply->body);
  for (size_t i = 0; i < 32; i++)
    cosine += (double)expected[i] * json_number_value(json_array_get(values, i));
  assert_true(cosine > 0.99999);
  reply_done(reply);
}

/* What the daemon answers is what the files that were fetched above give. */
static void the_daemon_embeds_under_the_key(void **state) {
  (void)state;
  char path[256], header[64];
  uint8_t rgb[SIDE * SIDE * 3], body[SIDE * SIDE * 3 + 1024];
  const uint8_t *faces[1] = {rgb};
  float expected[32];
  struct mask_key key;
  struct model *model = NULL;
  struct reply reply;
  assert_true(there("with", "key.json", path));
  assert_int_equal(mask_key_read(path, &key, NULL), 0);
  assert_true(there("with", "model.safetensors", path));
  assert_int_equal(model_load(path, 1, 1, &model, NULL), -ENOKEY);
  assert_int_equal(model_load_keyed(path, &key, 1, 1, &model, NULL), 0);
  synth_face(1, 3, 1, SIDE, rgb);
  assert_int_equal(model_embed(model, faces, 1, false, expected, NULL), 0);
  model_free(model);
  size_t bytes = face_png(rgb, SIDE, body, sizeof(body));
  ask(&server, "POST", path_of("/embed?unsafe=true"), "Content-Type: image/png", body, bytes, &reply);
  same_direction(&reply, json_object_get(reply.json, "embedding"), expected);
  bytes = face_tensor(faces, 1, SIDE, body, sizeof(body), header);
  (void)snprintf(path, sizeof(path), "/v2/models/%s/infer?unsafe=true", id);
  ask(&server, "POST", path, header, body, bytes, &reply);
  same_direction(&reply, json_object_get(json_array_get(json_object_get(reply.json, "outputs"), 0), "data"),
                 expected);
}

static void hide_job(json_t *attack) {
  (void)json_object_del(attack, "job");
  (void)json_object_del(attack, "seconds");
}

/* The report of an audited model, which does not give the key away. */
static json_t *report_without(const char *model, const char *secret) {
  char path[128];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/report.json", model);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_null(strstr(reply.body, secret));
  json_t *report = json_incref(reply.json);
  reply_done(&reply);
  return report;
}

/* The daemon has the key: what the training's own audit found is found again, and its files hide it as
 * before.
 */
static void an_audit_attacks_it(void **state) {
  (void)state;
  char path[160], body[256], model[64], secret[80];
  struct reply reply;
  train(AUDITED_JOB, model);
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/key.json?key=true", model);
  expect(&server, "GET", path, NULL, 200, &reply);
  (void)snprintf(secret, sizeof(secret), "%s", json_string_value(json_object_get(reply.json, "key")));
  assert_int_equal(strlen(secret), 2 * MASK_KEY_BYTES);
  reply_done(&reply);
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"audit\",\"model\":\"%s\",\"audit\":{\"effort\":\"quick\",\"attacks\":["
                 "\"linear\"]}}",
                 model);
  train(body, model);
  json_t *report = report_without(model, secret), *attacks = json_object_get(report, "attacks");
  assert_int_equal(json_array_size(attacks), 2);
  hide_job(json_array_get(attacks, 0));
  hide_job(json_array_get(attacks, 1));
  assert_true(json_equal(json_array_get(attacks, 0), json_array_get(attacks, 1)));
  json_decref(report);
  static const char *const holders[] = {"key.json", "model.onnx", "model-template.onnx"};
  for (size_t i = 0; i < ARRAY_SIZE(holders); i++) {
    (void)snprintf(path, sizeof(path), "/v1/models/%s/files/%s", model, holders[i]);
    expect(&server, "GET", path, NULL, 403, NULL);
    (void)snprintf(path, sizeof(path), "/v1/models/%s/files/%s?key=true", model, holders[i]);
    expect(&server, "GET", path, NULL, 200, NULL);
  }
}

static void other_jobs_cannot_use_it(void **state) {
  (void)state;
  char body[256];
  struct reply reply;
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32},\"mask\":{\"reference\":"
                 "\"%s\"}}",
                 id);
  expect(&server, "POST", "/v1/jobs", body, 422, &reply);
  assert_non_null(strstr(reply.body, "/mask/reference"));
  assert_non_null(strstr(reply.body, "keyed"));
  reply_done(&reply);
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"audit\",\"model\":\"%s\",\"audit\":{\"attacks\":[\"gradient\"],\"control\":"
                 "\"%s\"}}",
                 id, id);
  expect(&server, "POST", "/v1/jobs", body, 422, &reply);
  assert_non_null(strstr(reply.body, "/audit/control"));
  reply_done(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_key_has_to_be_asked_for),     cmocka_unit_test(the_client_asks_when_told),
      cmocka_unit_test(the_daemon_embeds_under_the_key), cmocka_unit_test(a_paused_job_has_its_key),
      cmocka_unit_test(weights_in_its_order_too),        cmocka_unit_test(an_audit_attacks_it),
      cmocka_unit_test(other_jobs_cannot_use_it),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
