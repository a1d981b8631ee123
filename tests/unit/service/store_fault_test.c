/* The store on a disk that fails: each write, truncation and sync in turn, once and for good, over a script
 * of everything that the store changes. Whatever was told as done is there after reopening, what failed is
 * there wholly or not at all, and the store goes on once the disk does. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "daemon/store_internal.h"
#include "tests/unit/service/faulty_vfs.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SHA_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

struct fixture {
  char directory[64], path[96], template[96];
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  struct store *store;
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-faults-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  (void)snprintf(f->path, sizeof(f->path), "%s/guise.db", f->directory);
  (void)snprintf(f->template, sizeof(f->template), "%s/template.db", f->directory);
  faulty_arm(0, 0, false, false);
  if (store_open(f->template, NULL, &store, NULL) < 0)
    return -1;
  store_close(store);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

/* ---- the script ---- */

static int add_dataset(struct store *store) {
  struct dataset_row row = {.id = "ds_a", .name = "orl", .size = 112, .bytes = 9, .upload_sha256 = SHA_C};
  return store_dataset_insert(store, &row);
}

static int add_rejects(struct store *store) {
  struct reject_row rows[50] = {{.seq = 0}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    memset(rows[i].path, 'p', 300);
    (void)snprintf(rows[i].code, sizeof(rows[i].code), "corrupt");
  }
  return store_rejects_add(store, "ds_a", rows, ARRAY_SIZE(rows));
}

static int make_ready(struct store *store) {
  struct dataset_row row = {.id = "ds_a", .images = 20, .identities = 4, .bytes = 99, .sha256 = SHA_A};
  return store_dataset_ready(store, &row);
}

static int add_pairs(struct store *store) {
  struct pairs_row row = {.name = "view2", .sha256 = SHA_B, .bytes = 5, .count = 3, .folds = 1};
  char unused[SHA256_HEX];
  return store_pairs_put(store, "ds_a", &row, unused);
}

static int keep_network(struct store *store) {
  struct network_row row = {.key = SHA_B, .sha256 = SHA_C, .bytes = 9, .dataset = "ds_a", .used_at = 1};
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = store_network_put(store, &row, 100, &blobs, &count);
  free(blobs);
  return r;
}

static int clear_networks(struct store *store) {
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = store_network_clear(store, &blobs, &count);
  free(blobs);
  return r;
}

static int add_job(struct store *store) {
  static char spec[] = "{\"type\":\"train\"}";
  struct job_row row = {.id = "job_a",
                        .type = "train",
                        .dataset_id = "ds_a",
                        .spec = spec,
                        .inputs = {{.pointer = "/mask/public_dataset", .dataset_id = "ds_a"}},
                        .input_count = 1};
  const struct store_idempotency key = {.key = "again", .body_sha256 = SHA_A};
  json_t *labels = json_pack("{s:s, s:s}", "a", "1", "b", "2");
  char id[STORE_ID];
  bool replayed;
  int r = store_job_insert(store, &row, labels, &key, id, &replayed, NULL);
  json_decref(labels);
  return r;
}

static int claim_job(struct store *store) {
  int64_t seq;
  return store_job_claim(store, "job_a", NULL, &seq);
}

static int commit_epoch(struct store *store, uint32_t epoch) {
  struct checkpoint_row checkpoint = {.epochs = epoch, .step = epoch * 10, .at = 1};
  struct metric_row rows[3] = {
      {.name = "loss", .per_epoch = true}, {.name = "eer", .per_epoch = true}, {.name = "loss"}};
  struct job_progress progress = {.epoch = epoch};
  int64_t seq;
  (void)snprintf(checkpoint.file, sizeof(checkpoint.file), "checkpoint-%u", epoch);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    rows[i].epoch = epoch;
    rows[i].step = epoch * 10;
    rows[i].value = 1.0 / epoch;
  }
  return store_checkpoint_commit(store, "job_a", &checkpoint, rows, ARRAY_SIZE(rows), &progress, epoch, &seq);
}

static int first_epoch(struct store *store) {
  return commit_epoch(store, 1);
}
static int second_epoch(struct store *store) {
  return commit_epoch(store, 2);
}

static int finish_job(struct store *store) {
  static char facts[] = "{}", summary[] = "{\"accuracy\":0.9}";
  struct model_file_row files[] = {{.name = "card.md", .sha256 = SHA_B, .size = 4},
                                   {.name = "model.safetensors", .sha256 = SHA_C, .size = 9}};
  struct model_row row = {.id = "mdl_a",
                          .job_id = "job_a",
                          .dataset_id = "ds_a",
                          .facts = facts,
                          .summary = summary,
                          .files = files,
                          .file_count = 2};
  int64_t seq;
  return store_model_insert(store, &row, &seq);
}

static int add_token(struct store *store) {
  struct token_row row = {.id = "tok_a", .name = "root", .owner = "root", .scopes = 1};
  return store_token_insert(store, &row, SHA_A);
}

static int add_audit(struct store *store) {
  struct audit_row row = {
      .at = 1, .actor = "loopback", .action = "deleteModel", .object = "mdl_a", .status = 204};
  return store_audit_add(store, &row, 1000);
}

static int delete_model(struct store *store) {
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = store_model_delete(store, "mdl_a", &blobs, &count);
  free(blobs);
  store_scrub(store);
  return r;
}

#define COUNT(from) "(SELECT count(*) FROM " from ")"
/* Each step with what it leaves: a share that is 1 after it, 0 before it, and in between when it was torn. */
static const struct {
  const char *name;
  int (*run)(struct store *store);
  const char *done;
} script[] = {
    {"insert a data set", add_dataset, COUNT("datasets")},
    {"add rejects", add_rejects, COUNT("rejects") " / 50.0"},
    {"make it ready", make_ready, COUNT("datasets WHERE state = 'ready' AND images = 20")},
    {"add pairs", add_pairs, COUNT("pairs")},
    {"keep a network", keep_network, COUNT("sqlite_sequence WHERE name = 'networks' AND seq = 1")},
    {"give up the networks", clear_networks, "1 - " COUNT("networks")},
    {"insert a job", add_job,
     "(" COUNT("jobs") "+" COUNT("labels") "+" COUNT("job_inputs") "+" COUNT("idempotency") "+" COUNT(
         "transitions WHERE number = 1") "+" COUNT("events WHERE data LIKE '%submitted%'") ") / 7.0"},
    {"claim it", claim_job,
     "(" COUNT("jobs WHERE started_at > 0") "+" COUNT("transitions WHERE state = 'running'") "+" COUNT(
         "events WHERE data LIKE '%started%'") ") / 3.0"},
    {"first epoch", first_epoch,
     "(" COUNT("metrics WHERE epoch = 1") "+" COUNT("events WHERE data LIKE '%\"epoch\":1,%'") ") / 5.0"},
    {"second epoch", second_epoch,
     "(" COUNT("metrics WHERE epoch = 2") "+" COUNT("events WHERE data LIKE '%\"epoch\":2,%'") ") / 5.0"},
    {"insert the model", finish_job,
     "(" COUNT("transitions WHERE state = 'succeeded'") "+" COUNT("events WHERE type = 'end'") "+" COUNT(
         "jobs WHERE state = 'succeeded'") ") / 3.0"},
    {"insert a token", add_token, COUNT("tokens")},
    {"add to the audit trail", add_audit, COUNT("audit")},
    {"delete the model", delete_model, "1 - " COUNT("models")},
};
#define STEPS ARRAY_SIZE(script)

static void run_script(struct store *store, int results[STEPS]) {
  for (size_t i = 0; i < STEPS; i++)
    results[i] = script[i].run(store);
}

/* ---- what must hold ---- */

static double value_of(sqlite3 *db, const char *expression) {
  char sql[1024];
  _statement_ *statement = NULL;
  (void)snprintf(sql, sizeof(sql), "SELECT %s", expression);
  assert_int_equal(store_prepare(db, &statement, sql, ""), 0);
  assert_int_equal(store_step(statement), 1);
  return store_double(statement, 0);
}

static void check_consistency(sqlite3 *db) {
  static const char *const never[] = {
      COUNT("pragma_integrity_check WHERE integrity_check <> 'ok'"),
      COUNT("pragma_foreign_key_check"),
      COUNT("jobs j WHERE state <> (SELECT state FROM transitions WHERE job = j.seq ORDER BY number DESC "
            "LIMIT 1)"),
      COUNT("jobs j WHERE (state IN ('succeeded', 'failed', 'canceled')) <> "
            "EXISTS (SELECT 1 FROM events WHERE job = j.seq AND type = 'end')"),
      COUNT("(SELECT 1 FROM metrics WHERE per_epoch GROUP BY job, name, epoch HAVING count(*) > 1)"),
      COUNT("(SELECT 1 FROM checkpoints GROUP BY job HAVING count(*) > 1)"),
      COUNT("jobs j JOIN checkpoints c ON c.job = j.seq WHERE c.epochs <> (SELECT max(epoch) FROM metrics "
            "WHERE "
            "job = j.seq)"),
      COUNT("models m WHERE (SELECT count(*) FROM model_files WHERE model = m.seq) <> 2"),
      COUNT("models m WHERE (SELECT state FROM jobs WHERE seq = m.job) <> 'succeeded'"),
      COUNT("(SELECT 1 WHERE " COUNT("model_files") " <> 2 * " COUNT("models") ")"),
  };
  for (size_t i = 0; i < ARRAY_SIZE(never); i++)
    if (value_of(db, never[i]) != 0)
      fail_msg("%s is not 0", never[i]);
}

/* Steps that were told as done are there; the others wholly or not. */
static void check_steps(struct store *store, const int results[STEPS], const char *when) {
  for (size_t i = 0; i < STEPS; i++) {
    const double done = value_of(store->writer, script[i].done);
    if (done != 1 && (results[i] == 0 || done != 0))
      fail_msg("%s: \"%s\" returned %d and %g of it is there", when, script[i].name, results[i], done);
  }
}

static uint32_t run_with_fault(struct fixture *f, uint32_t fail_at, int code, bool lasting, bool torn) {
  int results[STEPS];
  char when[64], side[128], *data = NULL;
  size_t bytes = 0;
  struct store *store;
  (void)snprintf(when, sizeof(when), "call %u, code %d%s", fail_at, code, lasting ? ", lasting" : "");
  for (int i = 0; i < 2; i++) {
    (void)snprintf(side, sizeof(side), "%s%s", f->path, i ? "-shm" : "-wal");
    (void)unlink(side);
  }
  assert_int_equal(file_read(f->template, 1 << 24, &data, &bytes, NULL), 0);
  FILE *out = fopen(f->path, "we");
  assert_non_null(out);
  assert_int_equal(fwrite(data, bytes, 1, out), 1);
  assert_int_equal(fclose(out), 0);
  free(data);
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  faulty_arm(fail_at, code, lasting, torn);
  run_script(store, results);
  const uint32_t calls = faulty.calls;
  const bool met = fail_at && calls >= fail_at;
  for (size_t i = 0; i < STEPS; i++)
    if (results[i] < 0 && !met)
      fail_msg("\"%s\" returned %d without a fault", script[i].name, results[i]);
  if (lasting && met && results[STEPS - 1] < 0)
    assert_int_equal(store_fault(store), code == SQLITE_FULL ? -ENOSPC : -EIO);
  check_consistency(store->writer); /* reading goes on */
  faulty_arm(0, 0, false, false);
  store_close(store);

  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  check_consistency(store->writer);
  check_steps(store, results, when);
  assert_int_equal(store_probe(store), 0);
  store_close(store);
  return calls;
}

#ifdef GUISE_SANITIZED
#define STRIDE 7u
#else
#define STRIDE 1u
#endif

static void every_call(struct fixture *f, uint32_t stride, int code, bool lasting, bool torn) {
  const uint32_t calls = run_with_fault(f, 0, 0, false, false);
  assert_true(calls > 50); /* there is something to fail */
  for (uint32_t n = 1; n <= calls; n += stride)
    (void)run_with_fault(f, n, code, lasting, torn);
}

static void one_call_fails(void **state) {
  every_call(*state, STRIDE, SQLITE_IOERR, false, false);
}

static void the_disk_is_full_from_a_call_on(void **state) {
  every_call(*state, 3 * STRIDE, SQLITE_FULL, true, false);
}

static void the_disk_dies_in_the_middle_of_a_write(void **state) {
  every_call(*state, 3 * STRIDE, SQLITE_IOERR, true, true);
}

/* The same store, not reopened, works again when the disk does. */
static void it_goes_on_without_a_restart(void **state) {
  struct fixture *f = *state;
  int results[STEPS];
  struct store *store;
  for (uint32_t n = 1; n < 40; n += 3) {
    assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
    faulty_arm(n, SQLITE_FULL, true, false);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++)
      r = add_audit(store);
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(store_fault(store), -ENOSPC);
    assert_int_equal(store_probe(store), -ENOSPC);
    assert_true(store_alive(store));
    faulty_arm(0, 0, false, false);
    assert_int_equal(store_probe(store), 0);
    assert_int_equal(store_fault(store), 0);
    run_script(store, results);
    for (size_t i = 0; i < STEPS; i++)
      assert_int_equal(results[i], 0);
    check_consistency(store->writer);
    store_close(store);
    assert_int_equal(unlink(f->path), 0);
  }
}

/* Damage is met by a reader: from then on nothing is written, which could make it worse, and it is told. */
static void a_damaged_database_is_only_read(void **state) {
  struct fixture *f = *state;
  int results[STEPS];
  struct reject_row *rows = NULL;
  struct store_page page = {.limit = 100};
  struct dataset_row dataset;
  struct store *store;
  uint32_t count;
  int64_t next, root = 0;
  char page_of_x[4096];
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  run_script(store, results);
  assert_int_equal(
      store_integer(store->writer, &root, "SELECT rootpage FROM sqlite_schema WHERE name = 'rejects'", ""),
      0);
  store_close(store); /* with it the log goes into the database */
  FILE *file = fopen(f->path, "r+be");
  assert_non_null(file);
  assert_int_equal(fseek(file, (root - 1) * 4096, SEEK_SET), 0);
  memset(page_of_x, 'x', sizeof(page_of_x));
  assert_int_equal(fwrite(page_of_x, sizeof(page_of_x), 1, file), 1);
  assert_int_equal(fclose(file), 0);

  struct guise_error err = {0, ""};
  assert_int_equal(store_open(f->path, NULL, &store, &err), -EUCLEAN); /* told at start ... */
  assert_non_null(strstr(err.text, "restore a backup"));

  assert_int_equal(unlink(f->path), 0); /* ... and when it happens under a running daemon */
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  run_script(store, results);
  store_scrub(store);
  file = fopen(f->path, "r+be");
  assert_non_null(file);
  assert_int_equal(
      store_integer(store->writer, &root, "SELECT rootpage FROM sqlite_schema WHERE name = 'rejects'", ""),
      0);
  assert_int_equal(fseek(file, (root - 1) * 4096, SEEK_SET), 0);
  assert_int_equal(fwrite(page_of_x, sizeof(page_of_x), 1, file), 1);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(store_reject_list(store, "ds_a", &page, &rows, &count, &next), -EUCLEAN);
  assert_int_equal(store_fault(store), -EUCLEAN);
  assert_int_equal(add_token(store), -EUCLEAN);
  assert_int_equal(store_probe(store), -EUCLEAN);
  assert_int_equal(store_fault(store), -EUCLEAN);
  assert_int_equal(store_dataset_get(store, "orl", &dataset), 0); /* what is whole is read */
  store_close(store);
}

static atomic_bool scrubs_end;

static void *scrub_again_and_again(void *context) {
  while (!atomic_load(&scrubs_end)) {
    (void)store_scrub(context);
    (void)usleep(100);
  }
  return NULL;
}

/* One that made way for a scrub asks to be called again, whenever the scrub ended. */
static void check_beside_scrubs(struct store *store) {
  pthread_t thread;
  atomic_store(&scrubs_end, false);
  assert_int_equal(pthread_create(&thread, NULL, scrub_again_and_again, store), 0);
  for (int i = 0; i < 50; i++) {
    const int r = store_check(store);
    if (r != 0 && r != -EINTR)
      fail_msg("check %d: %d", i, r);
  }
  atomic_store(&scrubs_end, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

/* A large database is not checked before it is opened but beside the work; damage is told then. */
static void a_large_database_is_checked_later(void **state) {
  struct fixture *f = *state;
  struct store *store;
  int64_t root = 0;
  char page_of_x[4096];
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  assert_false(store_unchecked(store));
  assert_int_equal(add_dataset(store), 0);
  for (int i = 0; i < 400; i++)
    assert_int_equal(add_rejects(store), 0);
  assert_int_equal(
      store_integer(store->writer, &root, "SELECT rootpage FROM sqlite_schema WHERE name = 'rejects'", ""),
      0);
  store_close(store);
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  assert_true(store_unchecked(store));
  assert_int_equal(store_check(store), 0);
  assert_false(store_unchecked(store));
  check_beside_scrubs(store);
  store_check_stop(store);
  assert_int_equal(store_check(store), -EINTR);
  store_close(store);
  FILE *file = fopen(f->path, "r+be");
  assert_non_null(file);
  assert_int_equal(fseek(file, (root - 1) * 4096, SEEK_SET), 0);
  memset(page_of_x, 'x', sizeof(page_of_x));
  assert_int_equal(fwrite(page_of_x, sizeof(page_of_x), 1, file), 1);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(store_open(f->path, NULL, &store, NULL), 0);
  assert_int_equal(store_check(store), -EUCLEAN);
  assert_int_equal(store_fault(store), -EUCLEAN);
  assert_int_equal(add_token(store), -EUCLEAN);
  store_close(store);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(one_call_fails),
      TEST(the_disk_is_full_from_a_call_on),
      TEST(the_disk_dies_in_the_middle_of_a_write),
      TEST(it_goes_on_without_a_restart),
      TEST(a_damaged_database_is_only_read),
      TEST(a_large_database_is_checked_later),
  };
  if (faulty_register() != SQLITE_OK)
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
