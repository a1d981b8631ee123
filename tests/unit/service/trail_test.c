/* The audit trail over HTTP: what is written with what it tells of, and records that find no thread. */
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/http.h"
#include "daemon/listen.h"
#include "tests/unit/service/service_fixture.h"

static struct http *http;
static char path[96];

static int serve(void **state) {
  char text[128];
  struct listen_address address;
  struct guise_error err = {0, ""};
  if (set_up(state) < 0)
    return -1;
  struct fixture *f = *state;
  (void)snprintf(path, sizeof(path), "%s/socket", f->directory);
  (void)snprintf(text, sizeof(text), "unix:%s", path);
  int r = listen_parse(text, &address, &err);
  if (r == 0)
    r = listen_open(&address, &err);
  if (r >= 0)
    r = http_start(f->service, r, &http, &err);
  if (r < 0)
    print_error("%s\n", err.text);
  return r < 0 ? -1 : 0;
}

static int stop(void **state) {
  http_stop(http);
  http = NULL;
  return tear_down(state);
}

static int ask(const char *line) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char text[4096];
  int status = 0;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  (void)snprintf(text, sizeof(text),
                 "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", line);
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
  ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
  assert_true(n > 0);
  text[n] = 0;
  (void)sscanf(text, "HTTP/1.1 %d", &status);
  (void)close(fd);
  return status;
}

/* Records there are; *ret_newest, if wanted, is freed by the caller. */
static uint32_t records(struct fixture *f, struct audit_row *ret_newest) {
  struct store_page page = {.limit = 100};
  struct audit_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  assert_int_equal(store_audit_list(service_store(f->service), NULL, NULL, &page, &rows, &count, &next), 0);
  if (ret_newest && count > 0) {
    *ret_newest = rows[0];
    rows[0].receipt = NULL;
  }
  audit_rows_free(rows, count);
  return count;
}

static void an_erasure_has_one_record_with_its_receipt(void **state) {
  struct fixture *f = *state;
  struct audit_row newest = {0};
  ready_dataset(f->service, "orl");
  assert_int_equal(ask("DELETE /v1/datasets/orl"), 200);
  assert_int_equal(records(f, &newest), 1);
  assert_string_equal(newest.action, "deleteDataset");
  assert_int_equal(strncmp(newest.object, "ds_", 3), 0);
  assert_int_equal(newest.status, 200);
  assert_non_null(strstr(newest.receipt, "\"kind\":\"dataset\""));
  free(newest.receipt);
  assert_int_equal(ask("DELETE /v1/datasets/orl"), 404);
  assert_int_equal(records(f, &newest), 2);
  assert_int_equal(newest.status, 404);
  assert_null(newest.receipt);
}

/* The record of "GET .../files/WHAT", which comes a moment after the answer. */
static void expect_file(struct fixture *f, const char *model, const char *what, int status,
                        const char *file) {
  struct audit_row newest = {0};
  char line[200];
  const uint32_t before = records(f, NULL);
  (void)snprintf(line, sizeof(line), "GET /v1/models/%s/files/%s", model, what);
  assert_int_equal(ask(line), status);
  for (int i = 0; i < 1000 && records(f, NULL) == before; i++)
    (void)usleep(5000);
  assert_int_equal(records(f, &newest), before + 1);
  free(newest.receipt);
  assert_string_equal(newest.action, "getModelFile");
  assert_string_equal(newest.object, model);
  assert_int_equal(newest.status, status);
  assert_string_equal(newest.file, file);
}

/* A card is not what a table of templates is. A name that no file has may be anything, and is not kept. */
static void which_file_was_fetched_is_told(void **state) {
  struct fixture *f = *state;
  char id[STORE_ID];
  struct job_row job;
  ready_dataset(f->service, "orl");
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_job_get(f->service, id, &job), 0);
  expect_file(f, job.model_id, "card.md?unsafe=true", 200, "card.md");
  expect_file(f, job.model_id, "report.json?unsafe=true", 200, "report.json");
  expect_file(f, job.model_id, "model.safetensors?unsafe=true", 200, "model.safetensors");
  expect_file(f, job.model_id, "Alice?unsafe=true", 404, "");
  expect_file(f, job.model_id, "report-private.html", 403, ""); /* there is none */
  job_row_clear(&job);
}

static sem_t gate;

static void hold(void *context) {
  (void)context;
  while (sem_wait(&gate) != 0)
    ;
}

/* The thread that serves everybody must not wait for the disk, also when no other has time: the record comes
 * when one has. */
static void records_wait_for_a_thread(void **state) {
  struct fixture *f = *state;
  uint32_t held = 0;
  assert_int_equal(sem_init(&gate, 0, 0), 0);
  while (service_run(f->service, hold, NULL) == 0)
    held++;
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(ask("GET /v1/models/mdl_none/files/model.onnx"), 404);
  assert_int_equal(records(f, NULL), 0);
  for (uint32_t i = 0; i < held; i++)
    assert_int_equal(sem_post(&gate), 0);
  for (int i = 0; i < 1000 && records(f, NULL) < 3; i++)
    (void)usleep(10000);
  assert_int_equal(records(f, NULL), 3);
  (void)sem_destroy(&gate);
}

/* Those that still wait at the end are written then. */
static void none_is_lost_at_the_end(void **state) {
  struct fixture *f = *state;
  uint32_t held = 0;
  assert_int_equal(sem_init(&gate, 0, 0), 0);
  while (service_run(f->service, hold, NULL) == 0)
    held++;
  assert_int_equal(ask("GET /v1/models/mdl_none/files/model.onnx"), 404);
  http_stop(http);
  http = NULL;
  assert_int_equal(records(f, NULL), 1);
  for (uint32_t i = 0; i < held; i++)
    assert_int_equal(sem_post(&gate), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve, stop)
  const struct CMUnitTest tests[] = {TEST(an_erasure_has_one_record_with_its_receipt),
                                     TEST(which_file_was_fetched_is_told), TEST(records_wait_for_a_thread),
                                     TEST(none_is_lost_at_the_end)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
