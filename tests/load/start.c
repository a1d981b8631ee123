/* A start with many jobs in the database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/load/load.h"

static void run(sqlite3 *db, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *sql = sqlite3_vmprintf(format, args), *message = NULL;
  va_end(args);
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
    fail_msg("%s: %s", sql, message);
  sqlite3_free(sql);
}

#define ADDED "FROM jobs WHERE id GLOB 'job_load*'"
#define EPOCHS \
  "(WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 20) SELECT v FROM n)"

void jobs_add(const struct server *server, const char *like, uint32_t count) {
  char path[128];
  sqlite3 *db = NULL;
  (void)snprintf(path, sizeof(path), "%s/state/guise.db", server->root);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  run(db, "BEGIN");
  run(db,
      "WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < %u) "
      "INSERT INTO jobs (id, type, state, priority, threads, max_runtime_s, dataset, spec, created_at) "
      "SELECT printf('job_load%%06d', v), type, 'queued', 0, 0, 0, dataset, spec, 1700000000000 + v "
      "FROM n, (SELECT type, dataset, spec FROM jobs WHERE id = %Q)",
      count, like);
  run(db, "UPDATE jobs SET state = 'running', started_at = created_at WHERE id GLOB 'job_load*'");
  run(db, "UPDATE jobs SET state = 'failed', finished_at = created_at, error = '{\"title\":\"load\"}', "
          "runtime_s = 60 WHERE id GLOB 'job_load*'");
  run(db, "INSERT INTO transitions SELECT seq, 1, 'queued', created_at, 'submitted' " ADDED
          " UNION ALL SELECT seq, 2, 'running', created_at, 'started' " ADDED
          " UNION ALL SELECT seq, 3, 'failed', created_at, 'failed' " ADDED);
  run(db, "INSERT INTO labels SELECT seq, 'load', 'yes' " ADDED);
  run(db, "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) "
          "SELECT seq, 'loss', v, 100 * v, 1, 1.0 / v FROM (SELECT seq " ADDED "), " EPOCHS);
  run(db, "INSERT INTO events (job, type, at, data) "
          "SELECT seq, 'metric', 1700000000000, json_object('name', 'loss', 'epoch', v, 'value', 1.0 / v) "
          "FROM (SELECT seq " ADDED "), " EPOCHS);
  run(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

double start_run(struct server *server, double *ret_processor_ms) {
  struct reply reply = {0};
  const int64_t began = now_ns();
  server_start(server);
  while (reply.status != 200) {
    reply_done(&reply);
    if (!ask_once(server, "GET", "/readyz", NULL, NULL, 0, &reply))
      fail_msg("GET /readyz: %s", reply.failure);
    if (reply.status != 200)
      (void)usleep(1000);
  }
  reply_done(&reply);
  *ret_processor_ms = processor_s(server->pid) * 1e3;
  return (double)(now_ns() - began) * 1e-6;
}
