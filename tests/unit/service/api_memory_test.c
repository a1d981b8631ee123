// wraps: malloc calloc realloc reallocarray strdup open_memstream
/* Every allocation of a request fails in turn: the daemon's own (by the linker), jansson's and SQLite's (by
 * their hooks). What comes back is the whole answer, an error, or a closed connection; what the request was
 * to change has happened wholly or not at all; and the next request works. AddressSanitizer sees what leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/http.h"
#include "core/base/file.h"
#include "daemon/access.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/service.h"
#include "daemon/store_internal.h"
#include "tests/unit/service/replaced_core.h"

/* ---- allocations ---- */

static atomic_bool armed;
static atomic_uint calls, fail_at;

static bool fails(void) {
  return atomic_load(&armed) && atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
FILE *__real_open_memstream(char **text, size_t *size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
FILE *__wrap_open_memstream(char **text, size_t *size);

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size) {
  return fails() ? NULL : __real_realloc(old, size);
}
void *__wrap_reallocarray(void *old, size_t count, size_t size) {
  return fails() ? NULL : __real_reallocarray(old, count, size);
}
char *__wrap_strdup(const char *text) {
  return fails() ? NULL : __real_strdup(text);
}
FILE *__wrap_open_memstream(char **text, size_t *size) {
  return fails() ? NULL : __real_open_memstream(text, size);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size) {
  return fails() ? NULL : sqlite_memory.xMalloc(size);
}
static void *sqlite_realloc(void *old, int size) {
  return fails() ? NULL : sqlite_memory.xRealloc(old, size);
}

/* Before the first use of both libraries. */
static int hook_libraries(void) {
  sqlite3_mem_methods mine;
  json_set_alloc_funcs(__wrap_malloc, free);
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
    return -1;
  mine = sqlite_memory;
  mine.xMalloc = sqlite_malloc;
  mine.xRealloc = sqlite_realloc;
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK ? 0 : -1;
}

/* ---- fixture: a server on a Unix socket; data sets stay in their ingest, so that jobs stay queued ---- */

struct fixture {
  char directory[64], socket[96];
  struct config config;
  struct service *service;
  struct http *http;
  char job[STORE_ID];
};

struct answer {
  int status; /* 0 = none: the connection was closed */
  char text[32768];
  size_t body; /* where in text it begins */
};

/* Sends a request and reads until the connection is closed. Allocates nothing. */
static void ask(struct fixture *f, const char *request, struct answer *ret_answer) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t have = 0;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->socket);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
  for (;;) {
    struct pollfd poller = {fd, POLLIN, 0};
    if (poll(&poller, 1, 10000) <= 0)
      fail_msg("no answer and no end after 10 s: %.60s", request);
    ssize_t n = recv(fd, ret_answer->text + have, sizeof(ret_answer->text) - 1 - have, 0);
    if (n <= 0)
      break;
    have += (size_t)n;
  }
  (void)close(fd);
  ret_answer->text[have] = 0;
  ret_answer->status = 0;
  (void)sscanf(ret_answer->text, "HTTP/1.%*d %d", &ret_answer->status);
  const char *end = strstr(ret_answer->text, "\r\n\r\n");
  ret_answer->body = end ? (size_t)(end + 4 - ret_answer->text) : have;
}

static void request_of(char text[2048], const char *line, const char *type, const char *body) {
  (void)snprintf(text, 2048,
                 "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
                 line, *type ? "Content-Type: " : "", type, *type ? "\r\n" : "", strlen(body), body);
}

static void expect(struct fixture *f, const char *line, const char *type, const char *body, int status,
                   struct answer *ret_answer) {
  char request[2048];
  request_of(request, line, type, body);
  ask(f, request, ret_answer);
  if (ret_answer->status != status)
    fail_msg("%s: %d instead of %d: %s", line, ret_answer->status, status, ret_answer->text);
}

static int start_server(struct fixture *f, struct guise_error *err) {
  char text[128];
  struct listen_address address;
  (void)snprintf(f->socket, sizeof(f->socket), "%s/socket", f->directory);
  (void)snprintf(text, sizeof(text), "unix:%s", f->socket);
  int r = listen_parse(text, &address, err);
  if (r == 0)
    r = listen_open(&address, err);
  return r < 0 ? r : http_start(f->service, r, &f->http, err);
}

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  struct guise_error err = {0, ""};
  struct answer answer;
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-memory-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  log_set_level(LOG_LEVEL_ERROR - 1);
  config_defaults(&f->config);
  (void)snprintf(f->config.state, sizeof(f->config.state), "%s/state", f->directory);
  f->config.cores = f->config.workers = f->config.threads = f->config.decoders = 1;
  atomic_store(&ingest_hangs, true);
  if (service_open(&f->config, &f->service, &err) < 0 || service_start(f->service, &err) < 0 ||
      start_server(f, &err) < 0) {
    print_error("%s\n", err.text);
    return -1;
  }
  expect(f, "PUT /v1/datasets/orl", "application/x-tar", "faces", 202, &answer);
  expect(f, "POST /v1/jobs", "application/json",
         "{\"type\":\"train\",\"dataset\":\"orl\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}", 201, &answer);
  const char *id = strstr(answer.text + answer.body, "\"job_");
  assert_non_null(id);
  (void)snprintf(f->job, sizeof(f->job), "%.*s", (int)strcspn(id + 1, "\""), id + 1);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  http_stop(f->http);
  service_free(f->service);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

/* ---- what must hold ---- */

static int64_t integer(struct fixture *f, const char *sql) {
  int64_t value = -1;
  sqlite3 *db = store_read_begin(service_store(f->service));
  assert_int_equal(store_integer(db, &value, sql, ""), 0);
  store_read_end(service_store(f->service), db);
  return value;
}

static void settle(void) {
  const struct timespec moment = {.tv_nsec = 2000000};
  (void)nanosleep(&moment, NULL);
}

static int64_t uploads(struct fixture *f) {
  char path[128];
  int64_t files = 0;
  (void)snprintf(path, sizeof(path), "%s/state/uploads", f->directory);
  DIR *directory = opendir(path);
  assert_non_null(directory);
  for (const struct dirent *entry; (entry = readdir(directory));)
    files += entry->d_name[0] != '.';
  (void)closedir(directory);
  return files;
}

static void nothing_is_half_done(struct fixture *f) {
  static const char *const never[] = {
      "SELECT count(*) FROM jobs j WHERE (SELECT count(*) FROM labels WHERE job = j.seq) <> 2",
      "SELECT count(*) FROM jobs j WHERE state <> (SELECT state FROM transitions WHERE job = j.seq ORDER BY "
      "number DESC "
      "LIMIT 1)",
      "SELECT count(*) FROM jobs j WHERE (SELECT count(*) FROM transitions WHERE job = j.seq) <> "
      "(SELECT count(*) FROM events WHERE job = j.seq AND type = 'state')",
      "SELECT count(*) FROM jobs j WHERE (state IN ('canceled', 'succeeded', 'failed')) <> "
      "EXISTS (SELECT 1 FROM events WHERE job = j.seq AND type = 'end')",
      "SELECT count(*) FROM pragma_foreign_key_check",
  };
  const int64_t sets = integer(f, "SELECT count(*) FROM datasets");
  int64_t files = -1;
  for (size_t i = 0; i < ARRAY_SIZE(never); i++)
    if (integer(f, never[i]) != 0)
      fail_msg("not 0: %s", never[i]);
  /* all wait for their ingest; an upload that was broken off goes a moment after its answer */
  for (int i = 0; i < 500 && (files = uploads(f)) != sets; i++)
    settle();
  assert_int_equal(files, sets);
}

/* Every n up to 60; then SQLite's many allocations for a row after the other, of which a part will do, unless
 * the program is given an argument. */
static bool every_one;

static uint32_t next(uint32_t n) {
#ifdef GUISE_SANITIZED
  const uint32_t step = 2 + n / 10;
#else
  const uint32_t step = 1 + n / 60;
#endif
  return n + (every_one ? 1 : step);
}

/* The request with its n-th allocation failing, for every n. `line` may hold one %u, which becomes n, for
 * requests that make something, or erase what prepare (may be NULL) makes before each of them. status:
 * without a fault. same: a success has the body it has without one. */
static void every_allocation_after(struct fixture *f, void (*prepare)(struct fixture *f, uint32_t n),
                                   const char *line, const char *type, const char *body, int status,
                                   bool same) {
  static struct answer wanted, answer; /* large */
  char request[2048], numbered[256];
  uint32_t failed = 0;
  for (uint32_t n = 0;; n = next(n)) {
    (void)snprintf(numbered, sizeof(numbered), line, n); /* NOLINT(clang-diagnostic-format-nonliteral) */
    request_of(request, numbered, type, body);
    if (prepare)
      prepare(f, n);
    atomic_store(&calls, 0);
    atomic_store(&fail_at, n);
    atomic_store(&armed, n > 0);
    ask(f, request, &answer);
    settle(); /* what follows an answer: the record in the audit trail, freeing */
    atomic_store(&armed, false);
    const bool met = atomic_load(&calls) >= n;
    if (n == 0)
      wanted = answer;
    /* jansson tells of a string that it had no memory for as of a mistake in the text */
    const bool misread = answer.status == 400 && strstr(answer.text, "malformed-json");
    if (answer.status && answer.status < 500 && answer.status != status && !misread)
      fail_msg("%s, allocation %u: %s", numbered, n, answer.text);
    if (same && answer.status && answer.status < 400 &&
        strcmp(answer.text + answer.body, wanted.text + wanted.body) != 0)
      fail_msg("%s, allocation %u: an answer that is not whole: %s", numbered, n, answer.text);
    if (answer.status >= 400 && answer.status != status &&
        !strstr(answer.text, strstr(line, " /v2") ? "{\"error\":\"" : "application/problem+json"))
      fail_msg("%s, allocation %u: an error of another form: %s", numbered, n, answer.text);
    nothing_is_half_done(f);
    failed += answer.status != status;
    if (n > 0 && !met)
      break;
  }
  if (failed == 0)
    fail_msg("%s: no allocation matters", line);
  print_message("%-60s %u allocations\n", line, atomic_load(&calls));
}

static void every_allocation(struct fixture *f, const char *line, const char *type, const char *body,
                             int status, bool same) {
  every_allocation_after(f, NULL, line, type, body, status, same);
}

/* ---- things that are made before ---- */

static void make_dataset(struct fixture *f, uint32_t n) {
  char line[64];
  struct answer answer;
  (void)snprintf(line, sizeof(line), "PUT /v1/datasets/erased-%u", n);
  expect(f, line, "application/x-tar", "faces", 202, &answer);
}

static void make_token(struct fixture *f, uint32_t n) {
  struct token_row row = {.name = "t", .owner = "t", .scopes = SCOPE_ADMIN, .created_at = 1};
  char hash[TOKEN_HASH];
  memset(hash, 'a', sizeof(hash) - 1);
  hash[sizeof(hash) - 1] = 0;
  (void)snprintf(row.id, sizeof(row.id), "tok_x%u", n);
  assert_int_equal(store_token_insert(service_store(f->service), &row, hash), 0);
}

/* job_xN: one that ran. */
static void make_running(struct fixture *f, uint32_t n) {
  struct store *store = service_store(f->service);
  struct dataset_row dataset;
  struct job_row row = {.type = "train", .created_at = 1, .spec = (char[]){"{}"}};
  char id[STORE_ID];
  bool replayed;
  int64_t seq = 0;
  json_t *labels = json_pack("{s:s, s:s}", "a", "2", "b", "2");
  assert_int_equal(store_dataset_get(store, "orl", &dataset), 0);
  memcpy(row.dataset_id, dataset.id, sizeof(row.dataset_id));
  (void)snprintf(row.id, sizeof(row.id), "job_x%u", n);
  assert_int_equal(store_job_insert(store, &row, labels, NULL, id, &replayed, &seq), 0);
  json_decref(labels);
  assert_int_equal(store_job_claim(store, row.id, NULL, &seq), 0);
}

static void make_failed(struct fixture *f, uint32_t n) {
  static const char problem[] = "{\"type\":\"about:blank\",\"title\":\"The job failed\",\"status\":500,"
                                "\"code\":\"job_failed\",\"detail\":\"as older versions told it\"}";
  char id[STORE_ID];
  int64_t seq = 0;
  make_running(f, n);
  (void)snprintf(id, sizeof(id), "job_x%u", n);
  assert_int_equal(store_job_move(service_store(f->service), id, 1u << JOB_STATE_RUNNING, JOB_STATE_FAILED,
                                  "test", problem, NULL, &seq),
                   0);
}

/* job_xN that made mdl_xN with a file. */
/* As earlier versions left it: it "resists" although nobody tried to link. */
static void make_model(struct fixture *f, uint32_t n) {
  struct model_file_row file = {.name = "report.json", .size = 2};
  struct model_row row = {.audited = true,
                          .facts = (char[]){"{}"},
                          .summary = (char[]){"{\"accuracy\":0.9,\"audit\":{\"complete\":true,"
                                              "\"verdict\":\"resists\",\"reason\":\"r\",\"attacks\":[{"
                                              "\"attack\":\"linear\",\"surface\":\"I\"}]}}"},
                          .created_at = 1,
                          .files = &file,
                          .file_count = 1};
  char path[256];
  int64_t seq = 0;
  make_running(f, n);
  (void)snprintf(row.id, sizeof(row.id), "mdl_x%u", n);
  (void)snprintf(row.job_id, sizeof(row.job_id), "job_x%u", n);
  (void)snprintf(file.sha256, sizeof(file.sha256), "%064x", n);
  (void)snprintf(path, sizeof(path), "%s/state/blobs/00", f->directory);
  assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
  (void)snprintf(path, sizeof(path), "%s/state/blobs/00/%s", f->directory, file.sha256);
  assert_int_equal(file_write_atomic(path, "{}", 2, NULL), 0);
  assert_int_equal(store_model_insert(service_store(f->service), &row, &seq), 0);
}

/* ---- tests ---- */

static void reading(void **state) {
  struct fixture *f = *state;
  char line[128];
  every_allocation(f, "GET /healthz", "", "", 200, true);
  every_allocation(f, "GET /readyz", "", "", 200, true);
  every_allocation(f, "GET /v1/datasets", "", "", 200, true);
  every_allocation(f, "GET /v1/datasets/orl", "", "", 200, true);
  every_allocation(f, "GET /v1/jobs?label=a:1&state=queued", "", "", 200, true);
  (void)snprintf(line, sizeof(line), "GET /v1/jobs/%s", f->job);
  every_allocation(f, line, "", "", 200, true);
  every_allocation(f, "GET /v1/nothing", "", "", 404, true);
  every_allocation(f, "GET /v1/audit", "", "", 200, false);
  every_allocation(f, "GET /v2", "", "", 200, true);
  every_allocation(f, "GET /v2/models/mdl_none", "", "", 404, true);
  every_allocation(f, "GET /v2?a=1&b=2", "", "", 422, true);
}

static void logs(void **state) {
  struct fixture *f = *state;
  char line[128];
  for (int i = 0; i < 3; i++) {
    int64_t seq = 0;
    json_t *data = json_pack("{s:s, s:s}", "level", "info", "text", "preparing");
    assert_int_equal(store_event_add(service_store(f->service), f->job, "log", data, &seq), 0);
    json_decref(data);
  }
  (void)snprintf(line, sizeof(line), "GET /v1/jobs/%s/log", f->job);
  every_allocation(f, line, "", "", 200, true);
  (void)snprintf(line, sizeof(line), "GET /v1/jobs/%s/log?format=text", f->job);
  every_allocation(f, line, "", "", 200, true);
}

static void canceling_many(void **state) {
  struct fixture *f = *state;
  /* a mistake that is lost would leave a filter that finds every job */
  every_allocation(f, "POST /v1/jobs/cancel?label=a:1&state=unheard", "", "", 422, false);
  assert_int_equal(integer(f, "SELECT count(*) FROM jobs WHERE state = 'canceled'"), 0);
  every_allocation(f, "POST /v1/jobs/cancel?state=queued", "", "", 200, false);
}

static void uploading(void **state) {
  struct fixture *f = *state;
  every_allocation(f, "PUT /v1/datasets/more-%u", "application/x-tar", "faces of others", 202, false);
}

static void submitting(void **state) {
  struct fixture *f = *state;
  every_allocation(f, "POST /v1/jobs", "application/json",
                   "{\"type\":\"train\",\"dataset\":\"orl\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}", 201,
                   false);
}

static void mistakes(void **state) {
  struct fixture *f = *state;
  every_allocation(f, "POST /v1/jobs?dry_run=true", "application/json",
                   "{\"type\":\"train\",\"dataset\":\"gone\",\"train\":{\"epochs\":-1},\"x\":1}", 422, false);
}

static void pausing_and_resuming(void **state) {
  struct fixture *f = *state;
  char line[128];
  (void)snprintf(line, sizeof(line), "POST /v1/jobs/%s/pause", f->job);
  every_allocation(f, line, "", "", 200, false);
  (void)snprintf(line, sizeof(line), "POST /v1/jobs/%s/resume", f->job);
  every_allocation(f, line, "", "", 200, false);
}

static void tokens(void **state) {
  struct fixture *f = *state;
  every_allocation(f, "POST /v1/tokens", "application/json", "{\"name\":\"root\",\"scopes\":[\"admin\"]}",
                   201, false);
  every_allocation(f, "POST /v1/tokens", "application/json", "{\"name\":\"root\",\"scopes\":[\"nothing\"]}",
                   422, false); /* never made with the scopes that were understood */
  every_allocation(f, "GET /v1/jobs?limit=0&state=unheard", "", "", 422, false);
  every_allocation(f, "GET /v1/tokens?limit=2", "", "", 200, false);
}

static void revoking(void **state) {
  struct fixture *f = *state;
  every_allocation_after(f, make_token, "DELETE /v1/tokens/tok_x%u", "", "", 204, false);
  assert_int_equal(integer(f, "SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"),
                   integer(f, "SELECT count(*) FROM audit WHERE action = 'deleteToken' AND status = 204"));
}

/* What is gone has a record, and what has one is gone. */
static void erasing(void **state) {
  struct fixture *f = *state;
  every_allocation_after(f, make_dataset, "DELETE /v1/datasets/erased-%u", "", "", 200, false);
  assert_int_equal(integer(f, "SELECT count(*) FROM audit WHERE action = 'putDataset' AND status = 202") -
                       integer(f, "SELECT count(*) FROM datasets"),
                   integer(f, "SELECT count(*) FROM audit WHERE action = 'deleteDataset' AND status = 200"));
  every_allocation_after(f, make_failed, "DELETE /v1/jobs/job_x%u", "", "", 200, false);
  assert_int_equal(
      integer(f, "SELECT count(*) FROM audit JOIN jobs ON id = object WHERE action = 'deleteJob' AND "
                 "audit.status = 200"),
      0);
  every_allocation(f, "DELETE /v1/datasets/none/identities/a", "", "", 404, false);
}

static void models(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  make_model(f, 1000000);
  make_model(f, 1000001);
  static const char *const lines[] = {"GET /v1/models", "GET /v1/models/mdl_x1000000"};
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
    expect(f, lines[i], "", "", 200, &answer);
    assert_null(strstr(answer.text, "\"resists\""));
    assert_non_null(strstr(answer.text, "\"verdict\":\"inconclusive\""));
    assert_non_null(strstr(answer.text, "linkage, which decides"));
  }
  every_allocation(f, "GET /v1/models", "", "", 200, true);
  every_allocation(f, "GET /v1/models/mdl_x1000000", "", "", 200, true);
  every_allocation(f, "GET /v1/models/mdl_x1000000/files/report.json", "", "", 200, true);
  every_allocation(f, "GET /v1/models/mdl_x1000000/files/none", "", "", 404, true);
  every_allocation_after(f, make_model, "DELETE /v1/models/mdl_x%u", "", "", 200, false);
  assert_int_equal(
      integer(f, "SELECT count(*) FROM audit JOIN models ON id = object WHERE action = 'deleteModel' AND "
                 "status = 200"),
      0);
  expect(f, "GET /v1/models/mdl_x1000000/files/report.json", "", "", 200, &answer);
  assert_string_equal(answer.text + answer.body, "{}");
}

static void figures(void **state) {
  struct fixture *f = *state;
  sqlite3 *db;
  make_model(f, 1000000);
  assert_int_equal(store_write_begin(service_store(f->service), &db), 0);
  assert_int_equal(
      store_write_end(
          service_store(f->service),
          store_exec(
              db,
              "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) SELECT j.seq, 'loss', "
              "n.value, n.value, 1, 0.5 FROM jobs j, json_each('[1,2,3,4,5]') n WHERE j.id = 'job_x1000000'",
              "")),
      0);
  every_allocation(f, "GET /v1/jobs/job_x1000000/metrics?limit=3", "", "", 200, true);
  every_allocation(f, "GET /v1/jobs/job_x1000000/metrics?format=csv", "", "", 200, true);
  every_allocation(f, "GET /v1/jobs/job_x1000000/events", "", "", 200, false);
  every_allocation(f, "GET /metrics", "", "", 200, false);
}

static void pairs(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  char unused[SHA256_HEX];
  assert_int_equal(store_dataset_get(service_store(f->service), "orl", &dataset), 0);
  for (unsigned i = 0; i < 3; i++) {
    struct pairs_row row = {.bytes = 10, .count = 2, .folds = 1};
    (void)snprintf(row.name, sizeof(row.name), "pairs-%u", i);
    (void)snprintf(row.sha256, sizeof(row.sha256), "%064x", i + 1);
    assert_int_equal(store_pairs_put(service_store(f->service), dataset.id, &row, unused), 0);
  }
  every_allocation(f, "GET /v1/datasets/orl/pairs?limit=2", "", "", 200, true);
  every_allocation(f, "PUT /v1/datasets/orl/pairs/p", "text/plain", "1\na 1 2\na 1 b 1\n", 409, true);
}

static void errors_of_older_versions(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  make_failed(f, 1);
  expect(f, "GET /v1/jobs/job_x1", "", "", 200, &answer);
  assert_non_null(strstr(answer.text, "\"type\":\"urn:guise:problem:job_failed\""));
  assert_null(strstr(answer.text, "about:blank"));
  every_allocation(f, "GET /v1/jobs/job_x1", "", "", 200, true);
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(reading),
      TEST(logs),
      TEST(uploading),
      TEST(submitting),
      TEST(mistakes),
      TEST(tokens),
      TEST(pausing_and_resuming),
      TEST(canceling_many),
      TEST(revoking),
      TEST(erasing),
      TEST(models),
      TEST(figures),
      TEST(pairs),
      TEST(errors_of_older_versions),
  };
  (void)argv;
  every_one = argc > 1;
  if (hook_libraries() < 0)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
