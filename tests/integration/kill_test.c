/* kill -9 at random instants, in the middle of its start, too, while clients upload, submit, erase and jobs
 * run. Nothing that was accepted is lost, nothing that was erased comes back, no metric has two rows, the
 * database is whole.
 *
 *   integration_kill_test [CYCLES [SEED [SECONDS]]]     at most so many seconds of them; few cycles by
 * default, so that every check runs it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/tar_write.h"
#include "tests/integration/support/server.h"

#define THINGS_MOST 20000u
#define EPOCHS 40
#define END_EVERY 20u /* cycles: then a job ends before the kill */
#define JOB                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32}," \
  "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":40,\"batch\":4},\"audit\":{\"attacks\":[]}}"

static uint32_t cycles = 3;
static uint64_t seed = 1;
static time_t seconds = 3600;

/* What a client knows of a thing that it made. */
enum known { ASKED, ACCEPTED, ERASING, ERASED };
struct things {
  uint32_t count;
  enum known known[THINGS_MOST];
  char id[THINGS_MOST][40]; /* of jobs */
};

static struct client {
  struct server server;
  pthread_mutex_t lock; /* guards the things */
  struct things sets, jobs;
  char *tar;
  size_t tar_bytes;
  atomic_bool stop, gone; /* gone: no server to ask */
  atomic_uint asked, answered;
} client = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint32_t chance(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static void sleep_ms(uint32_t ms) {
  (void)usleep(ms * 1000);
}

static void learn(struct things *things, uint32_t i, enum known known, const char *id) {
  (void)pthread_mutex_lock(&client.lock);
  things->known[i] = known;
  if (id)
    (void)snprintf(things->id[i], sizeof(things->id[i]), "%s", id);
  (void)pthread_mutex_unlock(&client.lock);
}

static enum known known_of(struct things *things, uint32_t i) {
  (void)pthread_mutex_lock(&client.lock);
  enum known known = things->known[i];
  (void)pthread_mutex_unlock(&client.lock);
  return known;
}

/* One request; 0 without an answer. */
static long try(const char *method, const char *path, const char *header, const void *body, size_t bytes,
                char ret_id[40]) {
  struct reply reply;
  long status = 0;
  (void)atomic_fetch_add(&client.asked, 1);
  if (ask_once(&client.server, method, path, header, body, bytes, &reply)) {
    const char *id = json_string_value(json_object_get(reply.json, "id"));
    status = reply.status;
    if (id && ret_id)
      (void)snprintf(ret_id, 40, "%s", id);
    (void)atomic_fetch_add(&client.answered, 1);
  }
  reply_done(&reply);
  return status;
}

/* ---- clients: each asks again what was not answered ---- */

/* Asks for the erasure of an accepted set: 200 with a receipt, or 404 when an earlier request was carried out
 * and its answer lost. A set that is not there at the first request is lost: the next check finds it so. */
static void erase(uint32_t i) {
  char path[64];
  const bool first = known_of(&client.sets, i) == ACCEPTED;
  (void)snprintf(path, sizeof(path), "/v1/datasets/set-%u", i);
  learn(&client.sets, i, ERASING, NULL);
  long status = try("DELETE", path, NULL, NULL, 0, NULL);
  if (status == 404 && first)
    learn(&client.sets, i, ACCEPTED, NULL);
  else if (status == 200 || status == 404)
    learn(&client.sets, i, ERASED, NULL);
}

static void *upload_and_erase(void *context) {
  uint32_t next = 2; /* to be erased: every third */
  (void)context;
  for (uint32_t i = 0; i < THINGS_MOST && !atomic_load(&client.stop);) {
    char path[64];
    if (atomic_load(&client.gone)) {
      sleep_ms(5);
      continue;
    }
    client.sets.count = i + 1;
    (void)snprintf(path, sizeof(path), "/v1/datasets/set-%u?size=32", i);
    long status = try("PUT", path, "Content-Type: application/x-tar", client.tar, client.tar_bytes, NULL);
    if (status == 202 || status == 200)
      learn(&client.sets, i++, ACCEPTED, NULL);
    if (i >= next + 2) {
      erase(next);
      next += known_of(&client.sets, next) == ERASED ? 3 : 0;
    }
    sleep_ms(20);
  }
  return NULL;
}

static void *submit_jobs(void *context) {
  (void)context;
  for (uint32_t i = 0; i < THINGS_MOST && !atomic_load(&client.stop);) {
    char header[128], id[40] = "", path[64];
    struct reply reply;
    bool busy = true;
    if (atomic_load(&client.gone)) {
      sleep_ms(5);
      continue;
    }
    (void)snprintf(path, sizeof(path), "/v1/jobs?state=queued&limit=3");
    if (ask_once(&client.server, "GET", path, NULL, NULL, 0, &reply))
      busy = json_array_size(json_object_get(reply.json, "data")) >= 2;
    reply_done(&reply);
    if (busy) {
      sleep_ms(30);
      continue;
    }
    client.jobs.count = i + 1;
    (void)snprintf(header, sizeof(header), "Content-Type: application/json\nIdempotency-Key: job-%u", i);
    long status = try("POST", "/v1/jobs", header, JOB, strlen(JOB), id);
    if (status == 201 || status == 200)
      learn(&client.jobs, i++, ACCEPTED, id);
  }
  return NULL;
}

static uint32_t erased_sets(void) {
  uint32_t erased = 0;
  for (uint32_t i = 0; i < client.sets.count; i++)
    erased += known_of(&client.sets, i) == ERASED;
  return erased;
}

/* ---- what must hold of the files of a killed daemon ---- */

static void copy(const char *from, const char *to) {
  char *data = NULL;
  size_t bytes = 0;
  (void)unlink(to);
  if (file_read(from, (size_t)1 << 30, &data, &bytes, NULL) < 0)
    return; /* no log */
  FILE *out = fopen(to, "we");
  assert_non_null(out);
  assert_int_equal(fwrite(data, 1, bytes, out), bytes);
  assert_int_equal(fclose(out), 0);
  free(data);
}

static int64_t count(sqlite3 *db, const char *sql, const char *argument) {
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
    fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  if (argument)
    assert_int_equal(sqlite3_bind_text(statement, 1, argument, -1, SQLITE_STATIC), SQLITE_OK);
  if (sqlite3_step(statement) != SQLITE_ROW)
    fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  int64_t value = sqlite3_column_int64(statement, 0);
  (void)sqlite3_finalize(statement);
  return value;
}

static void check_database(sqlite3 *db) {
  static const char *const never[] = {
      "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
      "SELECT count(*) FROM pragma_foreign_key_check",
      "SELECT count(*) FROM (SELECT 1 FROM metrics WHERE per_epoch GROUP BY job, name, epoch HAVING count(*) "
      "> 1)",
      "SELECT count(*) FROM (SELECT 1 FROM metrics WHERE NOT per_epoch GROUP BY job, name, step HAVING "
      "count(*) > 1)",
      "SELECT count(*) FROM jobs j WHERE state = 'succeeded' AND NOT EXISTS (SELECT 1 FROM models WHERE job "
      "= j.seq)",
      "SELECT count(*) FROM (SELECT 1 FROM checkpoints GROUP BY job HAVING count(*) > 1)",
      "SELECT count(*) FROM jobs j WHERE state <> (SELECT state FROM transitions WHERE job = j.seq ORDER BY "
      "number "
      "DESC LIMIT 1)",
  };
  for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
    if (count(db, never[i], NULL) != 0)
      fail_msg("not 0: %s", never[i]);
}

static void check_things(sqlite3 *db) {
  char name[64];
  for (uint32_t i = 0; i < client.sets.count; i++) {
    enum known known = known_of(&client.sets, i);
    (void)snprintf(name, sizeof(name), "set-%u", i);
    int64_t there = count(db, "SELECT count(*) FROM datasets WHERE name = ?1", name);
    if ((known == ACCEPTED && there != 1) || (known == ERASED && there != 0))
      fail_msg("the data set %s is %s", name, there ? "back" : "lost");
  }
  for (uint32_t i = 0; i < client.jobs.count; i++) {
    if (known_of(&client.jobs, i) != ACCEPTED)
      continue;
    (void)snprintf(name, sizeof(name), "job-%u", i);
    if (count(db, "SELECT count(*) FROM jobs WHERE id = ?1", client.jobs.id[i]) != 1)
      fail_msg("the job %s is lost", client.jobs.id[i]);
    if (count(db, "SELECT count(*) FROM idempotency WHERE key = ?1", name) != 1)
      fail_msg("the key of the job %s is lost", client.jobs.id[i]);
  }
}

struct counts {
  int64_t continued; /* how often a job went on from a checkpoint */
  int64_t succeeded; /* jobs */
};

/* On a copy: the daemon is to find the log as it was left. */
static struct counts check_files(void) {
  static const char *const suffixes[] = {"", "-wal"};
  char from[128], to[128];
  sqlite3 *db;
  for (size_t i = 0; i < 2; i++) {
    (void)snprintf(from, sizeof(from), "%s/state/guise.db%s", client.server.root, suffixes[i]);
    (void)snprintf(to, sizeof(to), "%s/copy.db%s", client.server.root, suffixes[i]);
    copy(from, to);
  }
  (void)snprintf(to, sizeof(to), "%s/copy.db-shm", client.server.root);
  (void)unlink(to);
  (void)snprintf(to, sizeof(to), "%s/copy.db", client.server.root);
  assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
  check_database(db);
  check_things(db);
  const struct counts counts = {
      .continued = count(db, "SELECT count(*) FROM transitions WHERE reason = 'continues'", NULL),
      .succeeded = count(db, "SELECT count(*) FROM jobs WHERE state = 'succeeded'", NULL),
  };
  (void)sqlite3_close(db);
  return counts;
}

/* ---- cycles ---- */

/* Until a job has a checkpoint to continue from; at most 20 s. */
static void wait_for_checkpoint(void) {
  for (int i = 0; i < 200; i++) {
    struct reply reply;
    bool there = false;
    if (ask_once(&client.server, "GET", "/v1/jobs?state=running", NULL, NULL, 0, &reply)) {
      const json_t *job = json_array_get(json_object_get(reply.json, "data"), 0);
      there = json_integer_value(json_object_get(json_object_get(job, "progress"), "epoch")) >= 2;
    }
    reply_done(&reply);
    if (there)
      return;
    sleep_ms(100);
  }
}

/* Until the job that runs has ended; on a slow machine none would between two kills. At most 120 s. */
static void wait_for_an_end(void) {
  char path[64], id[40] = "";
  for (int i = 0; i < 1200; i++) {
    struct reply reply;
    bool ended = false;
    (void)snprintf(path, sizeof(path), *id ? "/v1/jobs/%s" : "/v1/jobs?state=running%s", id);
    if (ask_once(&client.server, "GET", path, NULL, NULL, 0, &reply)) {
      const json_t *job = json_array_get(json_object_get(reply.json, "data"), 0);
      const char *running = json_string_value(json_object_get(job, "id"));
      ended = json_is_true(json_object_get(reply.json, "terminal"));
      if (running)
        (void)snprintf(id, sizeof(id), "%s", running);
    }
    reply_done(&reply);
    if (ended)
      return;
    sleep_ms(100);
  }
}

static void one_cycle(bool to_an_end) {
  const uint32_t kind = chance(4);
  if (kind == 0 && !to_an_end) { /* killed while it starts */
    server_launch(&client.server);
    sleep_ms(chance(250));
  } else {
    server_start(&client.server);
    atomic_store(&client.gone, false);
    if (to_an_end)
      wait_for_an_end();
    else if (kind == 1)
      wait_for_checkpoint();
    sleep_ms(chance(kind == 1 ? 500 : 2500));
  }
  atomic_store(&client.gone, true);
  server_kill(&client.server);
  (void)check_files();
}

/* Jobs end well; one may have been given up, as documented, when it was killed four times in a row before it
 * reached a checkpoint. */
static uint32_t wait_for_jobs(void) {
  uint32_t given_up = 0;
  for (uint32_t i = 0; i < client.jobs.count; i++) {
    char path[160];
    struct reply reply;
    if (known_of(&client.jobs, i) != ACCEPTED)
      continue;
    const char *state = wait_job(&client.server, client.jobs.id[i], 0, 120);
    (void)snprintf(path, sizeof(path), "/v1/jobs/%s", client.jobs.id[i]);
    expect(&client.server, "GET", path, NULL, 200, &reply);
    const char *code = json_string_value(json_object_get(json_object_get(reply.json, "error"), "code"));
    if (strcmp(state, "succeeded") != 0) {
      if (strcmp(state, "failed") != 0 || !code || strcmp(code, "restarts") != 0)
        fail_msg("%s: %s", state, reply.body);
      given_up++;
      reply_done(&reply);
      continue;
    }
    reply_done(&reply);
    (void)snprintf(path, sizeof(path), "/v1/jobs/%s/metrics?resolution=epoch&name=loss", client.jobs.id[i]);
    expect(&client.server, "GET", path, NULL, 200, &reply);
    const json_t *rows = json_object_get(reply.json, "data");
    assert_int_equal(json_array_size(rows), EPOCHS);
    for (size_t row = 0; row < EPOCHS; row++)
      assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, row), "epoch")), row + 1);
    reply_done(&reply);
  }
  return given_up;
}

static void wait_for_sets(void) {
  for (uint32_t i = 0; i < client.sets.count; i++) {
    char path[64], state[32] = "";
    (void)snprintf(path, sizeof(path), "/v1/datasets/set-%u", i);
    for (int wait = 0; known_of(&client.sets, i) == ACCEPTED && wait < 600 && strcmp(state, "ready") != 0;
         wait++) {
      struct reply reply;
      expect(&client.server, "GET", path, NULL, 200, &reply);
      (void)snprintf(state, sizeof(state), "%s", json_string_value(json_object_get(reply.json, "state")));
      assert_string_not_equal(state, "failed");
      reply_done(&reply);
      if (strcmp(state, "ready") != 0)
        sleep_ms(100);
    }
    if (known_of(&client.sets, i) == ACCEPTED)
      assert_string_equal(state, "ready");
  }
}

static void read_tar(void) {
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/few.tar", client.server.root);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_int_equal(synth_write_tar(fd, 2, 3, 2, 32, NULL), 0);
  (void)close(fd);
  assert_int_equal(file_read(path, 1 << 24, &client.tar, &client.tar_bytes, NULL), 0);
}

static void killed_at_random(void **state) {
  pthread_t threads[2];
  char command[256];
  const time_t began = time(NULL);
  (void)state;
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  server_prepare(&client.server);
  client.server.option[0] = "--log-level=warning";
  server_start(&client.server);
  upload_faces(&client.server, "faces", 8, 6);
  read_tar();
  assert_int_equal(pthread_create(&threads[0], NULL, upload_and_erase, NULL), 0);
  assert_int_equal(pthread_create(&threads[1], NULL, submit_jobs, NULL), 0);
  sleep_ms(300);
  for (int i = 0; i < 600 && erased_sets() == 0; i++)
    sleep_ms(100);
  atomic_store(&client.gone, true);
  server_kill(&client.server);
  uint32_t kills = 1;
  for (; kills <= cycles && time(NULL) - began < seconds; kills++) {
    one_cycle(kills % END_EVERY == 0);
    if (kills % 20 == 0)
      print_message("%u kills, %lld s: %u data sets, %u jobs\n", kills, (long long)(time(NULL) - began),
                    client.sets.count, client.jobs.count);
  }
  atomic_store(&client.stop, true);
  (void)pthread_join(threads[0], NULL);
  (void)pthread_join(threads[1], NULL);
  const struct counts killed = check_files();
  const time_t lasted = time(NULL) - began;
  server_start(&client.server);
  wait_for_sets();
  const uint32_t given_up = wait_for_jobs();
  assert_int_equal(server_stop(&client.server), 0);
  const struct counts ended = check_files();
  const uint32_t erased = erased_sets();
  (void)snprintf(command, sizeof(command), GUISE_BUILD "/guised --state %s/state --check-state",
                 client.server.root);
  assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): the program under test */
  print_message(
      "%u kills in %lld s, %u requests, %u answered; %u data sets and %u jobs accepted, none lost; "
      "%u data sets erased, none back; %lld jobs succeeded between kills and %lld in all, they went "
      "on from a checkpoint %lld times, %u were given up after restarts without one\n",
      kills, (long long)lasted, atomic_load(&client.asked), atomic_load(&client.answered), client.sets.count,
      client.jobs.count, erased, (long long)killed.succeeded, (long long)ended.succeeded,
      (long long)ended.continued, given_up);
  assert_true(client.sets.count > 0 && client.jobs.count > given_up);
  assert_true(erased > 0);
  if (kills > END_EVERY)
    assert_true(killed.succeeded > 0);
  free(client.tar);
  server_clean(&client.server);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_random)};
  if (argc > 1)
    cycles = (uint32_t)strtoul(argv[1], NULL, 10);
  if (argc > 2)
    seed = strtoull(argv[2], NULL, 10);
  if (argc > 3)
    seconds = (time_t)strtol(argv[3], NULL, 10);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
