/* embed and verify over real HTTP: the core's own embeddings, thresholds from the model's verification,
 * hostile bodies, rates, a full queue, erased models. One daemon, started again with other limits; the tests
 * build on each other in the order of main(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/image/synth.h"
#include "core/model/model.h"
#include "tests/integration/support/contract.h"
#include "tests/integration/support/faces.h"

#define SIDE 32
#define PNG "Content-Type: image/png"

/* 6 people held out of 24, with 28 pairs each: 168 pairs of different people, enough for a rate of 0.1 alone.
 */
#define JOB                                                                                          \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"ahm\"},\"model\":{\"input\":32," \
  "\"width\":0.5,"                                                                                   \
  "\"embedding\":32},\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":2,\"batch\":16}}"

static struct server server;
static char id[64];
static struct model *model; /* the daemon's, loaded here */

struct face {
  uint32_t side;
  uint8_t rgb[224 * 224 * 3];
  char *base64; /* of the PNG */
  uint8_t *png;
  size_t bytes;
};

static struct face *make_face(uint32_t identity, uint32_t image, uint32_t side) {
  struct face *face = calloc(1, sizeof(*face));
  assert_non_null(face);
  const size_t room = sizeof(face->rgb) + 4096,
               length = sodium_base64_ENCODED_LEN(room, sodium_base64_VARIANT_ORIGINAL);
  face->side = side;
  synth_face(1, identity, image, side, face->rgb);
  face->png = malloc(room);
  face->base64 = malloc(length);
  assert_true(face->png && face->base64);
  face->bytes = face_png(face->rgb, side, face->png, room);
  (void)sodium_bin2base64(face->base64, length, face->png, face->bytes, sodium_base64_VARIANT_ORIGINAL);
  return face;
}

static void free_face(struct face *face) {
  free(face->base64);
  free(face->png);
  free(face);
}

static const char *path_of(const char *what) {
  static char path[256];
  (void)snprintf(path, sizeof(path), "/v1/models/%s%s", id, what);
  return path;
}

static void load_model(void) {
  char path[128];
  struct reply reply;
  struct guise_error err = {0};
  ask(&server, "GET", path_of("/files/model.safetensors?unsafe=true"), NULL, NULL, 0, &reply);
  assert_int_equal(reply.status, 200);
  (void)snprintf(path, sizeof(path), "%s/model.safetensors", server.root);
  assert_int_equal(file_write_atomic(path, reply.body, reply.size, &err), 0);
  reply_done(&reply);
  if (model_load(path, 1, 1, &model, &err) != 0)
    fail_msg("%s", err.text);
}

static int setup(void **state) {
  (void)state;
  (void)setenv("GUISE_INFERENCE_RATE", "1000", 1);
  (void)setenv("GUISE_INFERENCE_BURST", "1000", 1);
  (void)setenv("GUISE_INFERENCE_QUEUE", "2", 1);
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 24, 8);
  train_model(&server, JOB, id);
  load_model();
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  model_free(model);
  server_clean(&server);
  return status;
}

/* The model is there, its files are not: nothing that the client did wrong, and no path of the daemon's to
 * tell. */
static void ask_unserved(const char *method, const char *path, const char *header, const void *body,
                         size_t bytes) {
  struct reply reply;
  ask(&server, method, path, header, body, bytes, &reply);
  if (reply.status != 503 || strstr(reply.body, server.root) || !strstr(reply.body, "restore a backup"))
    fail_msg("%s %s: %ld %s", method, path, reply.status, reply.body);
  assert_string_not_equal(header_of(&reply, "Retry-After"), "");
  reply_done(&reply);
}

static void missing_files_are_told(void **state) {
  (void)state;
  char blobs[256], away[256], *body;
  struct face *face = make_face(1, 0, 32);
  (void)snprintf(blobs, sizeof(blobs), "%s/state/blobs", server.root);
  (void)snprintf(away, sizeof(away), "%s/state/away", server.root);
  assert_true(asprintf(&body, "{\"a\":\"%s\",\"b\":\"%s\",\"far\":0.1}", face->base64, face->base64) > 0);
  assert_int_equal(rename(blobs, away), 0);
  ask_unserved("GET", path_of("/files/model.safetensors?unsafe=true"), NULL, NULL, 0);
  ask_unserved("POST", path_of("/embed?unsafe=true"), PNG, face->png, face->bytes);
  ask_unserved("POST", path_of("/verify?unsafe=true"), "Content-Type: application/json", body, strlen(body));
  assert_int_equal(rename(away, blobs), 0);
  free(body);
  free_face(face);
}

/* What the core makes of the face, resized as the daemon is to do it. */
static void embed_here(const struct face *face, float ret_embedding[32]) {
  uint8_t rgb[SIDE * SIDE * 3];
  image_resize(face->rgb, face->side, face->side, rgb, SIDE);
  assert_int_equal(model->info.embedding, 32);
  assert_int_equal(model_embed(model, (const uint8_t *const[]){rgb}, 1, false, ret_embedding, NULL), 0);
}

static double similarity_here(const struct face *a, const struct face *b) {
  float x[32], y[32];
  double sum = 0;
  embed_here(a, x);
  embed_here(b, y);
  for (int i = 0; i < 32; i++)
    sum += (double)x[i] * (double)y[i];
  return sum;
}

static void embed_over_http(const struct face *face, double ret_embedding[32]) {
  struct reply reply;
  ask(&server, "POST", path_of("/embed?unsafe=true"), PNG, face->png, face->bytes, &reply);
  if (reply.status != 200)
    fail_msg("%ld %s", reply.status, reply.body);
  const json_t *values = json_object_get(reply.json, "embedding");
  assert_int_equal(json_array_size(values), 32);
  for (size_t i = 0; i < 32; i++)
    ret_embedding[i] = json_number_value(json_array_get(values, i));
  reply_done(&reply);
}

static void the_cores_own_embeddings(void **state) {
  (void)state;
  for (uint32_t k = 0; k < 6; k++) {
    struct face *face = make_face(k, 3 * k, k < 4 ? SIDE : 7 * SIDE / 4 + k); /* also of other sizes */
    float expected[32];
    double got[32], cosine = 0, length = 0;
    embed_here(face, expected);
    embed_over_http(face, got);
    for (int i = 0; i < 32; i++) {
      cosine += (double)expected[i] * got[i];
      length += got[i] * got[i];
    }
    if (!(cosine > 0.99999) || fabs(length - 1) > 1e-5)
      fail_msg("face %u: cosine %.7f, length %.7f", k, cosine, length);
    free_face(face);
  }
}

static void onnx_files_are_served(void **state) {
  (void)state;
  static const char *const names[] = {"/files/model.onnx?unsafe=true",
                                      "/files/model-template.onnx?unsafe=true"};
  struct reply reply;
  for (int i = 0; i < 2; i++) {
    ask(&server, "GET", path_of(names[i]), NULL, NULL, 0, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/octet-stream");
    assert_true(reply.size > 10000 && memcmp(reply.body, "\x08\x08", 2) == 0); /* ir_version 8 */
    reply_done(&reply);
  }
  expect(&server, "GET", path_of("/files/model.onnx"), NULL, 403, NULL);
}

/* ---- verify ---- */

static void ask_verify(const char *a, const char *b, const char *rest, long status, struct reply *ret_reply) {
  char *body = NULL;
  if (asprintf(&body, "{\"a\":\"%s\",\"b\":\"%s\"%s}", a, b, rest) < 0)
    fail();
  expect(&server, "POST", path_of("/verify?unsafe=true"), body, status, ret_reply);
  free(body);
}

static double threshold_of_summary(void) {
  struct reply reply;
  expect(&server, "GET", path_of(""), NULL, 200, &reply);
  const json_t *summary = json_object_get(reply.json, "summary");
  const double threshold = json_number_value(json_object_get(summary, "threshold_at_far_1e-1"));
  assert_true(json_is_null(json_object_get(summary, "threshold_at_far_1e-2")));
  reply_done(&reply);
  return threshold;
}

static void verifies_pairs(void **state) {
  (void)state;
  static const uint32_t pairs[][4] = {{0, 0, 0, 0}, {0, 0, 0, 1}, {3, 2, 3, 5}, {0, 0, 1, 0}, {5, 1, 9, 4}};
  const double threshold = threshold_of_summary();
  assert_true(threshold > -1 && threshold < 1);
  for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
    struct face *a = make_face(pairs[i][0], pairs[i][1], SIDE),
                *b = make_face(pairs[i][2], pairs[i][3], SIDE);
    struct reply reply;
    ask_verify(a->base64, b->base64, ",\"far\":0.1", 200, &reply);
    const double similarity = json_number_value(json_object_get(reply.json, "similarity"));
    assert_true(fabs(similarity - similarity_here(a, b)) < 1e-4);
    assert_true(fabs(json_number_value(json_object_get(reply.json, "threshold")) - threshold) < 1e-9);
    assert_true(json_is_true(json_object_get(reply.json, "match")) == (similarity > threshold));
    if (i == 0) /* the same picture */
      assert_true(similarity > 0.9999 && json_is_true(json_object_get(reply.json, "match")));
    reply_done(&reply);
    free_face(a);
    free_face(b);
  }
}

static void has_error(const struct reply *reply, const char *pointer, const char *code) {
  const json_t *error;
  size_t i;
  json_array_foreach(json_object_get(reply->json, "errors"), i, error) {
    if (strcmp(json_string_value(json_object_get(error, "pointer")), pointer) == 0 &&
        strcmp(json_string_value(json_object_get(error, "code")), code) == 0)
      return;
  }
  fail_msg("no %s at \"%s\" in %s", code, pointer, reply->body);
}

static void verify_tells_what_is_wrong(void **state) {
  (void)state;
  struct face *face = make_face(1, 1, SIDE);
  struct reply reply;
  ask_verify(face->base64, face->base64, "", 422, &reply); /* far 0.01: too few pairs */
  has_error(&reply, "/far", "too_few_pairs");
  reply_done(&reply);
  ask_verify(face->base64, face->base64, ",\"far\":0.5", 422, &reply);
  has_error(&reply, "/far", "unknown_value");
  reply_done(&reply);
  ask_verify("?", face->base64, ",\"far\":0.1,\"person\":1", 422, &reply);
  has_error(&reply, "/a", "wrong_type");
  has_error(&reply, "/person", "unknown_field");
  reply_done(&reply);
  ask_verify(face->base64, "aGVsbG8=", ",\"far\":0.1", 422, &reply);
  has_error(&reply, "/b", "bad_image");
  reply_done(&reply);
  expect(&server, "POST", path_of("/verify?unsafe=true"), "{\"a\":7}", 422, &reply);
  has_error(&reply, "/a", "wrong_type");
  has_error(&reply, "/b", "missing");
  reply_done(&reply);
  expect(&server, "POST", path_of("/verify?unsafe=true"), "{\"a\":", 400, NULL);
  free_face(face);
}

/* ---- the client ---- */

/* The first line that a command of the client prints, and its exit code. */
static int run_client(const char *arguments, char *ret_line, size_t room) {
  char command[512];
  (void)snprintf(command, sizeof(command), "cd %s && %s/guise --url %s %s 2>&1", server.root, GUISE_BUILD,
                 server.url, arguments);
  FILE *out = popen(command, "r"); /* NOLINT(cert-env33-c): the tests' own commands */
  assert_non_null(out);
  size_t have = fread(ret_line, 1, room - 1, out);
  ret_line[have] = 0;
  ret_line[strcspn(ret_line, "\n")] = 0;
  const int status = pclose(out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_face(const struct face *face, const char *name) {
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/%s", server.root, name);
  assert_int_equal(file_write_atomic(path, face->png, face->bytes, NULL), 0);
}

static void the_client_uses_models(void **state) {
  (void)state;
  struct face *a = make_face(3, 2, SIDE), *b = make_face(3, 5, SIDE);
  char command[256], line[4096], expected[64];
  float embedding[32];
  write_face(a, "a.png");
  write_face(b, "b.png");
  (void)snprintf(command, sizeof(command), "embed %s a.png --unsafe", id);
  assert_int_equal(run_client(command, line, sizeof(line)), 0);
  embed_here(a, embedding);
  char *at = line;
  for (int i = 0; i < 32; i++)
    assert_true(fabs(strtod(at, &at) - (double)embedding[i]) < 1e-4);
  assert_int_equal(*at, 0);
  (void)snprintf(command, sizeof(command), "verify %s a.png b.png --far 0.1 --unsafe", id);
  assert_int_equal(run_client(command, line, sizeof(line)), 0);
  (void)snprintf(expected, sizeof(expected), "%s: similarity",
                 similarity_here(a, b) > threshold_of_summary() ? "same person" : "different people");
  assert_non_null(strstr(line, expected));
  (void)snprintf(command, sizeof(command), "verify %s a.png b.png --far 0.01 --unsafe", id);
  assert_int_equal(run_client(command, line, sizeof(line)), 1); /* too few pairs */
  (void)snprintf(command, sizeof(command), "verify %s a.png b.png --unsafe", id);
  assert_int_equal(run_client(command, line, sizeof(line)), 0);
  assert_non_null(strstr(line, "at a false accept rate of 0.1"));
  (void)snprintf(command, sizeof(command), "embed %s a.png", id);
  assert_int_equal(run_client(command, line, sizeof(line)), 1);
  assert_int_equal(run_client("embed", line, sizeof(line)), 2);
  free_face(a);
  free_face(b);
}

/* ---- hostile bodies ---- */

/* A PNG whose head promises far more pixels than there are. */
static size_t make_bomb(const struct face *face, uint8_t *ret_bomb, size_t room) {
  const uint32_t side = htonl(30000);
  assert_true(face->bytes <= room);
  memcpy(ret_bomb, face->png, face->bytes);
  memcpy(ret_bomb + 16, &side, 4);
  memcpy(ret_bomb + 20, &side, 4);
  return face->bytes;
}

static void refuse(const char *query, const char *header, const void *body, size_t bytes, long status) {
  char what[64];
  struct reply reply;
  (void)snprintf(what, sizeof(what), "/embed%s", query);
  ask(&server, "POST", path_of(what), header, body, bytes, &reply);
  if (reply.status != status)
    fail_msg("%ld instead of %ld: %s", reply.status, status, reply.body);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
  if (status == 422)
    has_error(&reply, "", "bad_image");
  reply_done(&reply);
}

/* Before a byte of the body is sent. */
static void refuse_large(void) {
  char head[512], answer[4096];
  const int length = snprintf(head, sizeof(head),
                              "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" PNG
                              "\r\nContent-Length: 4194305\r\n\r\n",
                              path_of("/embed?unsafe=true"));
  assert_int_equal(ask_raw(&server, head, (size_t)length, answer, sizeof(answer)), 413);
  assert_non_null(strstr(answer, "application/problem+json"));
}

static void hostile_bodies_are_refused(void **state) {
  (void)state;
  struct face *face = make_face(2, 2, SIDE);
  uint8_t bomb[16384];
  double embedding[32];
  refuse("?unsafe=true", PNG, "this is no image", 16, 422);
  refuse("?unsafe=true", PNG, "", 0, 422);
  refuse("?unsafe=true", PNG, bomb, make_bomb(face, bomb, sizeof(bomb)), 422);
  refuse("?unsafe=true", PNG, face->png, face->bytes / 2, 422);
  refuse("?unsafe=true", "Content-Type: image/jpeg", "\xff\xd8\xff\xe0 no more", 12, 422);
  refuse_large();
  refuse("?unsafe=true", "Content-Type: image/gif", face->png, face->bytes, 415);
  refuse("", PNG, face->png, face->bytes, 403); /* nothing attacked this model */
  embed_over_http(face, embedding);             /* and it still works */
  free_face(face);
}

static void unknown_models_and_methods(void **state) {
  (void)state;
  struct reply reply;
  ask(&server, "POST", "/v1/models/mdl_unknown/embed", PNG, "x", 1, &reply);
  assert_int_equal(reply.status, 404);
  reply_done(&reply);
  ask(&server, "GET", path_of("/embed"), NULL, NULL, 0, &reply);
  assert_int_equal(reply.status, 405);
  assert_string_equal(header_of(&reply, "Allow"), "POST");
  reply_done(&reply);
}

/* ---- limits ---- */

static int send_face(const struct face *face, bool verify) {
  char head[512], *pair = NULL;
  unsigned port = 0;
  assert_int_equal(sscanf(server.url, "http://127.0.0.1:%u", &port), 1);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  if (verify && asprintf(&pair, "{\"a\":\"%s\",\"b\":\"%s\",\"far\":0.1}", face->base64, face->base64) < 0)
    fail();
  const size_t bytes = verify ? strlen(pair) : face->bytes;
  int length = snprintf(head, sizeof(head),
                        "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: %s\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        path_of(verify ? "/verify?unsafe=true" : "/embed?unsafe=true"),
                        verify ? "application/json" : "image/png", bytes);
  assert_int_equal(send(fd, head, (size_t)length, MSG_NOSIGNAL | MSG_MORE), length);
  assert_int_equal(send(fd, verify ? (const void *)pair : face->png, bytes, MSG_NOSIGNAL), bytes);
  free(pair);
  return fd;
}

static int read_status(int fd, char *ret_answer, size_t room) {
  size_t have = 0;
  int status = 0;
  for (ssize_t n; have + 1 < room && (n = recv(fd, ret_answer + have, room - 1 - have, 0)) > 0;)
    have += (size_t)n;
  ret_answer[have] = 0;
  (void)close(fd);
  (void)sscanf(ret_answer, "HTTP/1.%*d %d", &status);
  return status;
}

#define REQUESTS 24

/* Many at once, each other one a pair; how many were answered, and told to come again of both kinds. */
static unsigned crowd(const struct face *face, unsigned ret_refused[2]) {
  int fd[REQUESTS];
  unsigned done = 0;
  char answer[8192];
  ret_refused[0] = ret_refused[1] = 0;
  for (int i = 0; i < REQUESTS; i++)
    fd[i] = send_face(face, i % 2);
  for (int i = 0; i < REQUESTS; i++) {
    const int status = read_status(fd[i], answer, sizeof(answer));
    done += status == 200;
    ret_refused[i % 2] += status == 503;
    contract_note("POST", path_of(i % 2 ? "/verify" : "/embed"), status);
    if (status == 503)
      assert_non_null(strstr(answer, "Retry-After: "));
    else
      assert_int_equal(status, 200);
  }
  return done;
}

/* Two may wait: of many at once some are answered and the others are told to come again. */
static void a_full_queue_says_so(void **state) {
  (void)state;
  struct face *face = make_face(4, 4, 224);
  unsigned refused[2];
  const unsigned done = crowd(face, refused);
  if (done < 2 || refused[0] == 0 || refused[1] == 0)
    fail_msg("%u answered, %u and %u refused", done, refused[0], refused[1]);
  free_face(face);
}

/* What was refused as too many waited does not count against the client's rate. */
static void a_full_queue_costs_nothing(void **state) {
  (void)state;
  struct face *face = make_face(4, 4, 224);
  unsigned refused[2];
  char *body = NULL;
  (void)setenv("GUISE_INFERENCE_RATE", "1", 1);
  (void)setenv("GUISE_INFERENCE_BURST", "36", 1); /* REQUESTS/2 images and as many pairs */
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  if (asprintf(&body, "{\"a\":\"%s\",\"b\":\"%s\",\"far\":0.1}", face->base64, face->base64) < 0)
    fail();
  (void)crowd(face, refused);
  const unsigned left = refused[0] + 2 * refused[1];
  assert_true(left >= 8);
  for (unsigned i = 0; i < left / 2; i++)
    expect(&server, "POST", path_of("/verify?unsafe=true"), body, 200, NULL);
  free(body);
  free_face(face);
}

static void rates_are_kept(void **state) {
  (void)state;
  struct face *face = make_face(4, 4, SIDE);
  struct reply reply;
  char *body = NULL;
  (void)setenv("GUISE_INFERENCE_RATE", "1", 1);
  (void)setenv("GUISE_INFERENCE_BURST", "3", 1);
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  if (asprintf(&body, "{\"a\":\"%s\",\"b\":\"%s\",\"far\":0.1}", face->base64, face->base64) < 0)
    fail();
  expect(&server, "POST", path_of("/verify?unsafe=true"), body, 200, NULL); /* two images */
  expect(&server, "POST", path_of("/verify?unsafe=true"), body, 429, &reply);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
  assert_in_range(strtol(header_of(&reply, "Retry-After"), NULL, 10), 1, 3);
  reply_done(&reply);
  expect(&server, "GET", path_of(""), NULL, 200, NULL); /* nothing else is limited */
  (void)sleep(3);
  expect(&server, "POST", path_of("/verify?unsafe=true"), body, 200, NULL);
  free(body);
  free_face(face);
}

static void a_deleted_model_is_gone(void **state) {
  (void)state;
  struct reply reply;
  (void)sleep(1);
  expect(&server, "DELETE", path_of(""), NULL, 200, NULL);
  ask(&server, "POST", path_of("/embed?unsafe=true"), PNG, "x", 1, &reply);
  assert_int_equal(reply.status, 404);
  reply_done(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(missing_files_are_told), /* before the daemon has the model in memory */
      cmocka_unit_test(the_cores_own_embeddings),
      cmocka_unit_test(onnx_files_are_served),
      cmocka_unit_test(verifies_pairs),
      cmocka_unit_test(verify_tells_what_is_wrong),
      cmocka_unit_test(the_client_uses_models),
      cmocka_unit_test(hostile_bodies_are_refused),
      cmocka_unit_test(unknown_models_and_methods),
      cmocka_unit_test(a_full_queue_says_so),
      cmocka_unit_test(a_full_queue_costs_nothing),
      cmocka_unit_test(rates_are_kept),
      cmocka_unit_test(a_deleted_model_is_gone),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
