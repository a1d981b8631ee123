/* A backup beside a daemon at work, put back elsewhere: what was accepted is there and whole. What was
 * changed is refused, with the file's name; the check of a state directory finds what is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/integration/support/server.h"
#include "tests/integration/support/shell.h"

#define GUISED GUISE_BUILD "/guised"
#define JOB                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32}," \
  "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":%u,\"batch\":2},\"audit\":{\"attacks\":[]}}"

struct fixture {
  struct server server, second;  /* where a backup is put back */
  char trained[64], running[64]; /* jobs */
};

static int set_up(void **state) {
  static struct fixture f;
  char job[512];
  memset(&f, 0, sizeof(f));
  server_prepare(&f.server);
  server_start(&f.server);
  shell_start(&f.server);
  upload_faces(&f.server, "faces", 8, 6);
  upload_faces(&f.server, "others", 4, 4);
  (void)snprintf(job, sizeof(job), JOB, 1);
  (void)snprintf(f.trained, sizeof(f.trained), "%s", submit(&f.server, job));
  assert_string_equal(wait_job(&f.server, f.trained, 0, 120), "succeeded");
  (void)snprintf(job, sizeof(job), JOB, 1000);
  (void)snprintf(f.running, sizeof(f.running), "%s", submit(&f.server, job));
  assert_string_equal(wait_job(&f.server, f.running, 2, 120), "running");
  *state = &f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  server_kill(&f->second);
  server_clean(&f->server);
  return 0;
}

/* Lists of the directory's files that are not 0600 and directories that are not 0700. */
static void expect_private(const char *directory) {
  char command[256];
  (void)snprintf(command, sizeof(command), "find \"$D/%s\" -type f ! -perm 600 -o -type d ! -perm 700",
                 directory);
  assert_string_equal(shell(0, command)->out, "");
}

static void *upload_and_erase(void *context) {
  struct fixture *f = context;
  char path[64];
  for (unsigned i = 0; i < 15; i++) {
    struct reply reply;
    (void)snprintf(path, sizeof(path), "/v1/datasets/passing-%u", i);
    (void)ask_once(&f->server, "PUT", path, "Content-Type: application/x-tar", "no archive", 10, &reply);
    reply_done(&reply);
    (void)ask_once(&f->server, "DELETE", path, NULL, NULL, 0, &reply);
    reply_done(&reply);
  }
  return NULL;
}

static void restored(struct fixture *f) {
  struct server *second = &f->second;
  struct reply reply;
  (void)snprintf(second->root, sizeof(second->root), "%.48s/second", f->server.root);
  server_start(second);
  expect(second, "GET", "/v1/datasets/faces", NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "ready");
  reply_done(&reply);
  assert_string_equal(wait_job(second, f->trained, 0, 10), "succeeded");
  assert_string_equal(wait_job(second, f->running, 1, 60), "running"); /* begun anew, under its id */
  expect(second, "POST", "/v1/jobs", "{\"type\":\"train\",\"dataset\":\"others\",\"model\":{\"input\":32}}",
         201, NULL);
  assert_int_equal(server_stop(second), 0);
}

static void made_beside_work_and_put_back(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, upload_and_erase, f), 0);
  for (int i = 0; i < 3; i++)
    (void)shell(0, "rm -rf \"$D/backup\"; GUISE_TOKEN_FILE=/nowhere GUISE_URL=http://192.0.2.1 "
                   "\"$G\" backup \"$D/state\" \"$D/backup\""); /* neither is looked at */
  (void)pthread_join(thread, NULL);
  (void)shell(0, "rm -rf \"$D/backup\"");
  expect_text(shell(0, GUISED " --state \"$D/state\" --backup \"$D/backup\"")->out, "backed up to");
  expect_private("backup");
  expect_text(shell(1, GUISED " --state \"$D/state\" --backup \"$D/backup\"")->err, "is not empty");
  expect_text(shell(0, GUISED " --state \"$D/second/state\" --restore \"$D/backup\"")->out, "restored to");
  expect_private("second/state");
  expect_text(
      shell(0, "GUISE_TOKEN=t GUISE_URL=http://192.0.2.1 \"$G\" restore \"$D/backup\" \"$D/third\"")->out,
      "restored to");
  (void)shell(0, "diff -r \"$D/second/state/blobs\" \"$D/third/blobs\"");
  (void)shell(2, "\"$G\" backup \"$D/state\"");
  expect_text(
      shell(1, "cp \"$G\" \"$D/alone\" && PATH=/nowhere \"$D/alone\" backup \"$D/state\" \"$D/x\"")->err,
      "there is no guised here");
  expect_text(shell(0, GUISED " --state \"$D/second/state\" --check-state")->out, "all is well");
  expect_text(shell(1, GUISED " --state \"$D/second/state\" --restore \"$D/backup\"")->err, "is not empty");
  restored(f);
}

/* Puts the backup back after `damage`, which must fail and say `words`; nothing stays. */
static void expect_refused(const char *damage, const char *words) {
  char command[1024];
  (void)snprintf(command, sizeof(command),
                 "rm -rf \"$D/damaged\" && cp -a \"$D/backup\" \"$D/damaged\" && cd \"$D/damaged\" && %s",
                 damage);
  (void)shell(0, command);
  expect_text(shell(1, GUISED " --state \"$D/third\" --restore \"$D/damaged\"")->err, words);
  (void)shell(1, "test -e \"$D/third\"");
}

static void changed_backups_are_refused(void **state) {
  struct fixture *f = *state;
  (void)f;
  (void)shell(0, GUISED " --state \"$D/state\" --backup \"$D/backup\"");
  expect_refused("printf x >>$(find blobs -type f | sort | head -n 1)", "was changed");
  expect_refused("rm $(find blobs -type f | sort | head -n 1)", "lacks its file blobs/");
  expect_refused("printf x | dd of=guise.db bs=1 seek=5000 conv=notrunc", "file guise.db was changed");
  expect_refused("rm guise-backup.json", "is no backup, or one that was broken off");
  expect_refused("sed -i 's,\"blobs/,\"../blobs/,' guise-backup.json", "which is no file of guise");
  /* a list that fits its files, whose database names more */
  expect_refused(
      "blob=$(find blobs -type f | sort | head -n 1) && rm $blob && tr -d '\\n' <guise-backup.json | "
      "sed \"s,\\\"$blob\\\": {[^}]*}\\,,,\" >list && mv list guise-backup.json",
      "lacks the file blobs/");
}

static void the_check_finds_damage(void **state) {
  struct fixture *f = *state;
  const struct output *output = shell(0, GUISED " --state \"$D/state\" --check-state");
  expect_text(output->out, "all is well");
  expect_text(output->out, "a guised uses the directory");
  assert_int_equal(server_stop(&f->server), 0);
  (void)shell(0, "echo x >\"$D/state/uploads/upload-left\"; mkdir \"$D/state/work/job_gone\"");
  output = shell(0, GUISED " --state \"$D/state\" --check-state");
  expect_text(output->out, "orphan: uploads/upload-left");
  expect_text(output->out, "orphan: work/job_gone");
  expect_text(output->out, "2 files are referred to by nothing");

  (void)shell(
      0, "printf x | dd of=$(find \"$D/state/blobs\" -type f | sort | head -n 1) bs=1 seek=3 conv=notrunc");
  (void)shell(0, "rm $(find \"$D/state/blobs\" -type f | sort | tail -n 1)");
  output = shell(1, GUISED " --state \"$D/state\" --check-state");
  expect_text(output->out, "changed: blobs/");
  expect_text(output->out, "missing: blobs/");
  expect_text(output->err, "2 things are damaged");
  expect_text(shell(1, GUISED " --state \"$D/state\" --backup \"$D/backup\"")->err, "--check-state");
  (void)shell(1, "test -e \"$D/backup\"");

  server_start(&f->server); /* starts all the same, removes what nobody needs, and says what is missing */
  assert_int_equal(server_stop(&f->server), 0);
  expect_text(shell(0, "cat \"$D/log\"")->out,
              "1 files that the database refers to are missing or were changed");
  (void)shell(1, "test -e \"$D/state/uploads/upload-left\"");
}

static void a_newer_database_is_refused(void **state) {
  struct fixture *f = *state;
  sqlite3 *db;
  char path[128];
  assert_int_equal(server_stop(&f->server), 0);
  (void)snprintf(path, sizeof(path), "%s/state/guise.db", f->server.root);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
  (void)sqlite3_close(db);
  expect_text(server_refuses(&f->server), "start the newer guised");
  expect_text(shell(1, GUISED " --state \"$D/state\" --backup \"$D/backup\"")->err, "has version 999");
  expect_text(shell(1, GUISED " --state \"$D/state\" --check-state")->err, "has version 999");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(made_beside_work_and_put_back),
      TEST(changed_backups_are_refused),
      TEST(the_check_finds_damage),
      TEST(a_newer_database_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
