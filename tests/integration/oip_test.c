/* The Open Inference Protocol over real HTTP: what it tells of server and models, tensors in each of their
 * forms against POST /v1/models/{id}/embed, what is wrong told in its own form, rates and the full queue. One
 * daemon, started again with other limits; the tests build on each other in the order of main(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/image/synth.h"
#include "tests/integration/support/contract.h"
#include "tests/integration/support/faces.h"

#define SIDE 32
#define VALUES (3 * SIDE * SIDE)
#define DIMENSION 16
#define FACES 3
#define MOST 17 /* one more than a request may have */
#define JSON "Content-Type: application/json"
#define JOB                                                                                          \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"ahm\"},\"model\":{\"input\":32," \
  "\"width\":0.25,\"embedding\":16},\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":1,\"batch\":16}}"

static struct server server;
static char id[64];
static uint8_t rgb[MOST][VALUES];
static const uint8_t *faces[MOST];
static double expected[FACES][DIMENSION]; /* what /v1 makes of the first faces */

static const char *path_of(const char *version, const char *what) {
  static char path[256];
  (void)snprintf(path, sizeof(path), "/%s/models/%s%s", version, id, what);
  return path;
}

#define INFER path_of("v2", "/infer?unsafe=true")

static void limits(const char *rate, const char *burst, const char *queue) {
  (void)setenv("GUISE_INFERENCE_RATE", rate, 1);
  (void)setenv("GUISE_INFERENCE_BURST", burst, 1);
  (void)setenv("GUISE_INFERENCE_QUEUE", queue, 1);
}

static void embed_over_v1(const uint8_t *face, double ret_embedding[DIMENSION]) {
  uint8_t png[VALUES + 1024];
  struct reply reply;
  const size_t bytes = face_png(face, SIDE, png, sizeof(png));
  ask(&server, "POST", path_of("v1", "/embed?unsafe=true"), "Content-Type: image/png", png, bytes, &reply);
  assert_int_equal(reply.status, 200);
  for (size_t i = 0; i < DIMENSION; i++)
    ret_embedding[i] = json_number_value(json_array_get(json_object_get(reply.json, "embedding"), i));
  reply_done(&reply);
}

static int setup(void **state) {
  (void)state;
  limits("1000", "1000", "16");
  server_prepare(&server);
  server_start(&server);
  upload_faces(&server, "faces", 8, 4);
  train_model(&server, JOB, id);
  for (uint32_t i = 0; i < MOST; i++) {
    synth_face(1, i, 2 * i, SIDE, rgb[i]);
    faces[i] = rgb[i];
  }
  for (uint32_t i = 0; i < FACES; i++)
    embed_over_v1(rgb[i], expected[i]);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

/* ---- what there is ---- */

static const char *text_at(const struct reply *reply, const char *list, const char *key) {
  return json_string_value(json_object_get(json_array_get(json_object_get(reply->json, list), 0), key));
}

static json_int_t shape_at(const struct reply *reply, const char *list, size_t index) {
  return json_integer_value(
      json_array_get(json_object_get(json_array_get(json_object_get(reply->json, list), 0), "shape"), index));
}

static void tells_what_there_is(void **state) {
  (void)state;
  struct reply reply;
  expect(&server, "GET", "/v2", NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "name")), "guise");
  reply_done(&reply);
  expect(&server, "GET", "/v2/health/live", NULL, 200, NULL);
  expect(&server, "GET", "/v2/health/ready", NULL, 200, NULL);
  expect(&server, "GET", path_of("v2", ""), NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "name")), id);
  assert_string_equal(text_at(&reply, "inputs", "name"), "image");
  assert_string_equal(text_at(&reply, "inputs", "datatype"), "UINT8");
  assert_int_equal(shape_at(&reply, "inputs", 0), -1);
  assert_int_equal(shape_at(&reply, "inputs", 3), SIDE);
  assert_string_equal(text_at(&reply, "outputs", "name"), "embedding");
  assert_int_equal(shape_at(&reply, "outputs", 1), DIMENSION);
  reply_done(&reply);
  expect(&server, "GET", path_of("v2", "/ready"), NULL, 403, NULL); /* nothing attacked this model */
  expect(&server, "GET", path_of("v2", "/ready?unsafe=true"), NULL, 200, NULL);
}

/* ---- tensors ---- */

static void check_values(const json_t *values, uint32_t images) {
  assert_int_equal(json_array_size(values), images * DIMENSION);
  for (uint32_t i = 0; i < images; i++)
    for (size_t d = 0; d < DIMENSION; d++) {
      const double got = json_number_value(json_array_get(values, i * DIMENSION + d));
      if (fabs(got - expected[i][d]) > 1e-5)
        fail_msg("face %u, value %zu: %g instead of %g", i, d, got, expected[i][d]);
    }
}

static void check_answer(struct reply *reply, uint32_t images) {
  if (reply->status != 200)
    fail_msg("%ld %s", reply->status, reply->body);
  assert_string_equal(json_string_value(json_object_get(reply->json, "model_name")), id);
  assert_int_equal(shape_at(reply, "outputs", 0), images);
  assert_int_equal(shape_at(reply, "outputs", 1), DIMENSION);
  check_values(json_object_get(json_array_get(json_object_get(reply->json, "outputs"), 0), "data"), images);
  reply_done(reply);
}

/* Of the first `images` faces; nested as the shape is, or flat; `format` of each number. */
static char *tensor_text(uint32_t images, bool nested, const char *format) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  (void)fputs("[ ", out);
  for (uint32_t i = 0; i < images; i++) {
    uint8_t planes[VALUES];
    face_planes(rgb[i], SIDE, planes);
    for (uint32_t k = 0; k < VALUES; k++) {
      if (i + k > 0)
        (void)fputs(k % SIDE == 0 ? " ,\n" : ",", out);
      if (nested && k % SIDE == 0)
        (void)fputs(k == 0 ? "[[[" : k % (SIDE * SIDE) == 0 ? "[[" : "[", out);
      (void)fprintf(out, format, planes[k]); /* NOLINT: the tests' own formats */
      if (nested && (k + 1) % SIDE == 0)
        (void)fputs(k + 1 == VALUES ? "]]]" : (k + 1) % (SIDE * SIDE) == 0 ? "]]" : "]", out);
    }
  }
  (void)fputs("]", out);
  (void)fclose(out);
  return text;
}

/* POSTs the request with the members `more` around a tensor. */
static void infer_text(uint32_t images, const char *type, const char *data, const char *more,
                       struct reply *ret_reply) {
  char *body = NULL;
  if (asprintf(&body,
               "{%s\"inputs\":[{\"name\":\"image\",\"data\":%s,\"datatype\":\"%s\",\"shape\":[%u,3,%d,%d]}]}",
               more, data, type, images, SIDE, SIDE) < 0)
    fail();
  ask(&server, "POST", INFER, JSON, body, strlen(body), ret_reply);
  free(body);
}

static void json_tensors(void **state) {
  (void)state;
  static const struct {
    const char *type, *format;
    bool nested;
  } forms[] = {
      {"UINT8", "%d", false}, {"UINT8", "%d", true}, {"FP32", "%d.0", true}, {"FP32", "%d0e-1", false}};
  for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
    char *data = tensor_text(FACES, forms[i].nested, forms[i].format);
    struct reply reply;
    infer_text(FACES, forms[i].type, data, "\"id\":\"42\",\"outputs\":[{\"name\":\"embedding\"}],", &reply);
    assert_string_equal(json_string_value(json_object_get(reply.json, "id")), "42");
    check_answer(&reply, FACES);
    free(data);
  }
}

static void binary_tensors(void **state) {
  (void)state;
  uint8_t body[1024 + FACES * VALUES];
  char header[64];
  struct reply reply;
  const size_t bytes = face_tensor(faces, FACES, SIDE, body, sizeof(body), header);
  ask(&server, "POST", INFER, header, body, bytes, &reply); /* no media type, as Triton's client sends it */
  check_answer(&reply, FACES);
}

/* The header may also say that all of the body is JSON. */
static void json_tensors_with_a_length(void **state) {
  (void)state;
  char *data = tensor_text(1, true, "%d"), *body = NULL, header[64];
  struct reply reply;
  const int bytes = asprintf(
      &body, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1,3,%d,%d],\"data\":%s}]}",
      SIDE, SIDE, data);
  assert_true(bytes > 0);
  (void)snprintf(header, sizeof(header), "Inference-Header-Content-Length: %d", bytes);
  ask(&server, "POST", INFER, header, body, (size_t)bytes, &reply);
  check_answer(&reply, 1);
  free(body);
  free(data);
}

/* As Triton's client asks when it names no outputs. */
static void binary_answers(void **state) {
  (void)state;
  char *data = tensor_text(1, false, "%d");
  struct reply reply;
  infer_text(1, "UINT8", data, "\"parameters\":{\"binary_data_output\":true},", &reply);
  assert_int_equal(reply.status, 200);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/octet-stream");
  const size_t length = (size_t)strtol(header_of(&reply, "Inference-Header-Content-Length"), NULL, 10);
  assert_int_equal(reply.size, length + DIMENSION * sizeof(float));
  json_t *head = json_loadb(reply.body, length, 0, NULL);
  const json_t *output = json_array_get(json_object_get(head, "outputs"), 0);
  assert_int_equal(
      json_integer_value(json_object_get(json_object_get(output, "parameters"), "binary_data_size")),
      DIMENSION * sizeof(float));
  assert_null(json_object_get(output, "data"));
  for (size_t d = 0; d < DIMENSION; d++) {
    float value;
    memcpy(&value, reply.body + length + d * sizeof(float), sizeof(value));
    assert_true(fabs((double)value - expected[0][d]) < 1e-5);
  }
  json_decref(head);
  reply_done(&reply);
  free(data);
}

/* ---- what is wrong ---- */

static void refuses(const char *header, const char *body, size_t bytes, long status, const char *text) {
  struct reply reply;
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  const char *error = json_string_value(json_object_get(reply.json, "error"));
  if (reply.status != status || !error || !strstr(error, text))
    fail_msg("%.200s: %ld %s instead of %ld with \"%s\"", body, reply.status, reply.body, status, text);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/json");
  reply_done(&reply);
}

#define INPUT(name, type, shape, rest) \
  "{\"inputs\":[{\"name\":\"" name "\",\"datatype\":\"" type "\",\"shape\":" shape rest "}]}"
#define ONE "[1,3,32,32]"

static void tells_what_is_wrong(void **state) {
  (void)state;
  static const struct {
    const char *body, *text;
    long status;
  } cases[] = {
      {"{\"inputs\":", "line 1", 400},
      {"[]", "object", 400},
      {"{}", "/inputs: ", 422},
      {INPUT("x", "INT64", "[1,1,32,32]", ",\"data\":[1]"), "/inputs/0/datatype: ", 422},
      {INPUT("x", "INT64", "[1,1,32,32]", ",\"data\":[1]"), "/inputs/0/name: ", 422},
      {INPUT("x", "INT64", "[1,1,32,32]", ",\"data\":[1]"), "; /inputs/0/shape: ", 422},
      {INPUT("image", "UINT8", "[17,3,32,32]", ",\"data\":[1]"), "at most 16 images", 422},
      {INPUT("image", "UINT8", "[-1,3,32,32]", ",\"data\":[1]"), "/inputs/0/shape: ", 422},
      {INPUT("image", "UINT8", ONE, ""), "/inputs/0/data: ", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":\"AA==\""), "/inputs/0/data: ", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[\"1\"]"), "/inputs/0/data: ", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[1,2]"), "after value 2", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[[1,2]]"), "no array where value 0", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[1,,2]"), "no number where value 1", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[0x1]"), "after value 1", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[1,256]"), "value 1 is 256", 422},
      {INPUT("image", "UINT8", ONE, ",\"data\":[1.5]"), "whole numbers", 422},
      {INPUT("image", "FP32", ONE, ",\"data\":[1e999]"), "value 0 is inf", 422},
      {INPUT("image", "UINT8", ONE, ",\"parameters\":{\"binary_data_size\":3072}"),
       "binary_data_size: ", 422},
      {"{\"inputs\":[],\"outputs\":[{\"name\":\"logits\"}],\"id\":7}", "/outputs: ", 422},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    refuses(JSON, cases[i].body, strlen(cases[i].body), cases[i].status, cases[i].text);
}

static void too_many_values(void **state) {
  (void)state;
  char *data = tensor_text(2, false, "%d");
  struct reply reply;
  infer_text(1, "UINT8", data, "", &reply);
  assert_int_equal(reply.status, 422);
  assert_non_null(strstr(reply.body, "more values"));
  reply_done(&reply);
  free(data);
}

/* What a hostile client may send around a tensor. */
static void odd_framings(void **state) {
  (void)state;
  const size_t large = 2 << 20;
  uint8_t body[1024 + VALUES];
  char header[64], *text = malloc(large + 16);
  const size_t bytes = face_tensor(faces, 1, SIDE, body, sizeof(body), header);
  refuses("Inference-Header-Content-Length: 99999", (const char *)body, bytes, 400, "Inference-Header");
  refuses("Inference-Header-Content-Length: -1", (const char *)body, bytes, 400, "Inference-Header");
  refuses("Inference-Header-Content-Length: 0", (const char *)body, bytes, 400, "");
  refuses(header, (const char *)body, bytes - 1, 422, "binary_data_size: ");
  refuses("Content-Type: text/plain", "{}", 2, 415, "application/octet-stream");
  assert_non_null(text);
  for (size_t i = 0; i < large; i++) /* a tree of JSON that would take much memory */
    text[i] = i < 6 ? "{\"x\":["[i] : "1,"[i % 2];
  (void)snprintf(text + large, 4, "1]}");
  refuses(JSON, text, large + 3, 413, "around the tensor");
  free(text);
}

static void errors_have_the_protocols_form(void **state) {
  (void)state;
  static const struct {
    const char *method, *path, *header;
    long status;
  } cases[] = {{"GET", "/v2/nothing", NULL, 404},
               {"GET", "/v2/models/mdl_unknown", NULL, 404},
               {"GET", "/v2/models", NULL, 404},
               {"POST", "/v2", JSON, 405},
               {"GET", "/v2?x=1", NULL, 422},
               {"GET", "/v2/%zz", NULL, 400},
               {"GET", "/v2", "Host: evil.example", 403}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct reply reply;
    ask(&server, cases[i].method, cases[i].path, cases[i].header, NULL, 0, &reply);
    assert_int_equal(reply.status, cases[i].status);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/json");
    assert_true(strlen(json_string_value(json_object_get(reply.json, "error"))) > 10);
    reply_done(&reply);
  }
}

/* ---- limits ---- */

static atomic_uint answered, refused;

static void *send_batch(void *context) {
  static uint8_t body[1024 + 16 * VALUES];
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  char header[64];
  struct reply reply;
  (void)context;
  (void)pthread_mutex_lock(&lock);
  const size_t bytes = face_tensor(faces, 16, SIDE, body, sizeof(body), header);
  (void)pthread_mutex_unlock(&lock);
  if (!ask_once(&server, "POST", path_of("v2", "/infer?unsafe=true"), header, body, bytes, &reply))
    return NULL;
  if (reply.status == 200)
    atomic_fetch_add(&answered, 1);
  if (reply.status == 503 && strstr(reply.body, "\"error\"") && *header_of(&reply, "Retry-After"))
    atomic_fetch_add(&refused, 1);
  reply_done(&reply);
  return NULL;
}

static void a_full_queue_says_so(void **state) {
  enum { THREADS = 16 };
  pthread_t thread[THREADS];
  (void)state;
  limits("1000", "1000", "1");
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, send_batch, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    (void)pthread_join(thread[i], NULL);
  if (answered == 0 || refused == 0 || answered + refused != THREADS)
    fail_msg("%u answered, %u refused", answered, refused);
  contract_note("POST", INFER, 503);
}

static void each_image_counts(void **state) {
  (void)state;
  uint8_t body[1024 + 8 * VALUES];
  char header[64];
  struct reply reply;
  limits("1", "6", "16");
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  size_t bytes = face_tensor(faces, 7, SIDE, body, sizeof(body), header);
  refuses(header, (const char *)body, bytes, 422, "at most 6 images");
  (void)sleep(2); /* it was counted as one */
  bytes = face_tensor(faces, FACES, SIDE, body, sizeof(body), header);
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  check_answer(&reply, FACES);
  bytes = face_tensor(faces, 4, SIDE, body, sizeof(body), header); /* more than are left */
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  assert_int_equal(reply.status, 429);
  assert_in_range(strtol(header_of(&reply, "Retry-After"), NULL, 10), 1, 4);
  assert_non_null(json_object_get(reply.json, "error"));
  reply_done(&reply);
}

/* After the seconds that Retry-After says the same batch is taken. */
static void a_batch_fits_when_it_was_promised(void **state) {
  (void)state;
  uint8_t body[1024 + 6 * VALUES];
  char header[64];
  struct reply reply;
  limits("1", "6", "16");
  assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  size_t bytes = face_tensor(faces, FACES, SIDE, body, sizeof(body), header);
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  check_answer(&reply, FACES);
  bytes = face_tensor(faces, 6, SIDE, body, sizeof(body), header);
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  assert_int_equal(reply.status, 429);
  const long seconds = strtol(header_of(&reply, "Retry-After"), NULL, 10);
  assert_in_range(seconds, 1, 6);
  reply_done(&reply);
  (void)sleep((unsigned)seconds);
  ask(&server, "POST", INFER, header, body, bytes, &reply);
  assert_int_equal(reply.status, 200);
  reply_done(&reply);
}

static int connect_to_server(void) {
  unsigned port = 0;
  assert_int_equal(sscanf(server.url, "http://127.0.0.1:%u", &port), 1);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  const struct timeval patience = {.tv_sec = 10};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
  return fd;
}

static int get(int fd, const char *path, char ret_answer[2048]) {
  char text[128];
  int status = 0;
  const int length = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  assert_int_equal(send(fd, text, (size_t)length, MSG_NOSIGNAL), length);
  const ssize_t got = recv(fd, ret_answer, 2047, 0);
  ret_answer[got > 0 ? got : 0] = 0;
  (void)sscanf(ret_answer, "HTTP/1.1 %d", &status);
  contract_note("GET", path, status);
  return status;
}

/* A body that does not come keeps the daemon from ending at once. */
static void not_ready_while_it_stops(void **state) {
  static const char unfinished[] = "POST /v2/models/x/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                   "application/json\r\nContent-Length: 9\r\n\r\n{";
  char answer[2048];
  int status = 200;
  (void)state;
  const int slow = connect_to_server(), fd = connect_to_server();
  assert_int_equal(get(fd, "/v2/health/ready", answer), 200);
  assert_int_equal(send(slow, unfinished, sizeof(unfinished) - 1, MSG_NOSIGNAL), sizeof(unfinished) - 1);
  (void)usleep(200000);
  assert_int_equal(kill(server.pid, SIGTERM), 0);
  for (int i = 0; i < 100 && status == 200; i++) {
    (void)usleep(10000);
    status = get(fd, "/v2/health/ready", answer);
  }
  assert_int_equal(status, 503);
  assert_non_null(strstr(answer, "{\"error\":"));
  assert_non_null(strstr(answer, "Retry-After: "));
  (void)close(slow);
  (void)close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tells_what_there_is),
      cmocka_unit_test(json_tensors),
      cmocka_unit_test(binary_tensors),
      cmocka_unit_test(binary_answers),
      cmocka_unit_test(json_tensors_with_a_length),
      cmocka_unit_test(tells_what_is_wrong),
      cmocka_unit_test(too_many_values),
      cmocka_unit_test(odd_framings),
      cmocka_unit_test(errors_have_the_protocols_form),
      cmocka_unit_test(a_full_queue_says_so),
      cmocka_unit_test(a_batch_fits_when_it_was_promised),
      cmocka_unit_test(each_image_counts),
      cmocka_unit_test(not_ready_while_it_stops),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
