/* The store: migrations, the states' guards, one row an epoch, readers beside a writer, a killed process, a
 * full disk. */
#include "tests/unit/service/store_fixture.h"

/* ---- migrations ---- */

static void fresh_database(void **state) {
  struct fixture *f = *state;
  uint32_t newest = 0;
  for (const struct schema_migration *m = schema_migrations; m->number; m++)
    newest = MAX(newest, m->number);
  assert_int_equal(integer(f->store, "PRAGMA user_version"), newest);
  assert_int_equal(integer(f->store, "PRAGMA application_id"), STORE_APPLICATION_ID);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"),
                   1);
  assert_int_equal(integer(f->store,
                           "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND NOT strict "
                           "AND name NOT LIKE 'sqlite_%'"),
                   0);
  assert_true(store_alive(f->store));
  assert_true(schema_openapi_size > 10);
  assert_memory_equal(schema_openapi, "openapi:", 8);
}

static const struct schema_migration two_steps[] = {{1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
                                                    {2, "0002-b.sql", "CREATE TABLE b (y INTEGER) STRICT;"},
                                                    {0, NULL, NULL}};
static const struct schema_migration one_step[] = {{1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
                                                   {0, NULL, NULL}};
static const struct schema_migration broken_step[] = {
    {1, "0001-a.sql", "CREATE TABLE a (x INTEGER) STRICT;"},
    {2, "0002-b.sql", "CREATE TABLE b (y INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"},
    {0, NULL, NULL}};

static void migrating_backs_up_and_refuses_newer(void **state) {
  struct fixture *f = *state;
  struct store *store;
  struct guise_error err;
  char path[96], backup[128];
  (void)snprintf(path, sizeof(path), "%s/other.db", f->directory);
  (void)snprintf(backup, sizeof(backup), "%s.before-2.bak", path);
  assert_int_equal(store_open(path, one_step, &store, &err), 0);
  store_close(store);
  assert_int_not_equal(access(backup, F_OK), 0);

  /* a migration that fails changes nothing */
  assert_true(store_open(path, broken_step, &store, &err) < 0);
  assert_non_null(strstr(err.text, "0002-b.sql"));
  assert_int_equal(store_open(path, one_step, &store, &err), 0);
  assert_int_equal(integer(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0);
  store_close(store);

  assert_int_equal(store_open(path, two_steps, &store, &err), 0);
  assert_int_equal(integer(store, "PRAGMA user_version"), 2);
  store_close(store);
  assert_int_equal(access(backup, F_OK), 0);
  assert_int_equal(store_open(backup, one_step, &store, &err),
                   0); /* the backup is a whole database of the old version */
  store_close(store);

  assert_int_equal(store_open(path, one_step, &store, &err), -EPROTONOSUPPORT);
  assert_non_null(strstr(err.text, "newer"));
}

static void foreign_and_damaged_files_are_refused(void **state) {
  struct fixture *f = *state;
  struct store *store;
  struct guise_error err;
  char path[96];
  sqlite3 *db;
  (void)snprintf(path, sizeof(path), "%s/foreign.db", f->directory);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x); PRAGMA user_version = 1;", NULL, NULL, NULL),
                   SQLITE_OK);
  (void)sqlite3_close(db);
  assert_int_equal(store_open(path, NULL, &store, &err), -EMEDIUMTYPE);
  (void)snprintf(path, sizeof(path), "%s/garbage.db", f->directory);
  char garbage[8192];
  memset(garbage, 'x', sizeof(garbage));
  assert_int_equal(file_write_atomic(path, garbage, sizeof(garbage), NULL), 0);
  assert_int_equal(store_open(path, NULL, &store, &err), -EUCLEAN);
}

/* ---- data sets ---- */

static void datasets(void **state) {
  struct fixture *f = *state;
  struct dataset_row first, second, row, *rows;
  struct pairs_row pairs = {.name = "view2", .sha256 = SHA_B, .bytes = 5, .count = 3, .folds = 1};
  uint32_t count;
  int64_t next;
  char unused[SHA256_HEX];
  add_dataset(f->store, "orl", SHA_A, &first);
  add_dataset(f->store, "lfw", NULL, &second);
  row = second;
  id_make("ds_", row.id);
  assert_int_equal(store_dataset_insert(f->store, &row), -EEXIST);
  assert_int_equal(store_dataset_get(f->store, "orl", &row), 0);
  assert_string_equal(row.id, first.id);
  assert_int_equal(row.state, DATASET_READY);
  assert_int_equal(store_dataset_get(f->store, second.id, &row), 0);
  assert_int_equal(store_dataset_get(f->store, "nothing", &row), -ENOENT);
  assert_int_equal(store_dataset_next_ingest(f->store, 0, &row), 0);
  assert_string_equal(row.name, "lfw");
  assert_int_equal(store_dataset_ready(f->store, &first), 0); /* no change of state */

  struct store_page page = {.limit = 1};
  assert_int_equal(store_dataset_list(f->store, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(rows[0].name, "orl");
  free(rows);
  page.cursor = next;
  assert_int_equal(store_dataset_list(f->store, &page, &rows, &count, &next), 0);
  assert_string_equal(rows[0].name, "lfw");
  assert_int_equal(next, 0);
  free(rows);

  struct reject_row reject = {.path = "x/y.jpg", .code = "corrupt", .detail = "cut off"}, *rejects;
  assert_int_equal(store_rejects_add(f->store, second.id, &reject, 1), 0);
  assert_int_equal(store_dataset_restart(f->store, second.id), 0);
  assert_int_equal(store_rejects_add(f->store, second.id, &reject, 1), 0);
  page = (struct store_page){.limit = 10};
  assert_int_equal(store_reject_list(f->store, second.id, &page, &rejects, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(rejects[0].code, "corrupt");
  free(rejects);

  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  assert_string_equal(unused, "");
  (void)snprintf(pairs.sha256, sizeof(pairs.sha256), SHA_C);
  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  assert_string_equal(unused, SHA_B);
  assert_int_equal(store_pairs_get(f->store, first.id, "view2", &pairs), 0);
  assert_int_equal(store_pairs_get(f->store, first.id, "view1", &pairs), -ENOENT);
}

static void deleting_a_dataset(void **state) {
  struct fixture *f = *state;
  struct dataset_row first, twin;
  struct job_row row;
  struct store_erased erased;
  char job[STORE_ID], unused[SHA256_HEX];
  struct pairs_row pairs = {.name = "view2", .sha256 = SHA_B, .bytes = 5, .count = 3, .folds = 1};
  add_dataset(f->store, "orl", SHA_A, &first);
  add_dataset(f->store, "same-content", SHA_A, &twin);
  assert_int_equal(store_pairs_put(f->store, first.id, &pairs, unused), 0);
  add_job(f->store, &first, 0, job);
  assert_int_equal(store_dataset_delete(f->store, first.id, &erased), -EBUSY);
  move(f->store, job, JOB_STATE_CANCELED);
  assert_int_equal(store_dataset_delete(f->store, first.id, &erased), 0);
  assert_int_equal(erased.blob_count, 1);
  assert_int_equal(erased.kept, 1); /* the pack is also the twin's */
  assert_int_equal(erased.pairs, 1);
  assert_string_equal(erased.blobs[0], SHA_B);
  store_erased_clear(&erased);
  assert_int_equal(store_job_get(f->store, job, &row), 0);
  assert_string_equal(row.dataset_id, "");
  job_row_clear(&row);
  assert_int_equal(store_dataset_delete(f->store, twin.id, &erased), 0);
  assert_int_equal(erased.blob_count, 1);
  assert_string_equal(erased.blobs[0], SHA_A);
  store_erased_clear(&erased);
  assert_int_equal(store_dataset_delete(f->store, twin.id, &erased), -ENOENT);
}

static void note_failed(void *context, const char *job, int64_t seq) {
  assert_true(seq > 0);
  (void)snprintf(context, STORE_ID, "%s", job);
}

static void a_failed_dataset_fails_its_jobs(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  char job[STORE_ID], told[STORE_ID] = "";
  add_dataset(f->store, "orl", NULL, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_next(f->store, &row), -ENOENT); /* it waits for the data */
  assert_int_equal(store_dataset_fail(f->store, dataset.id, 3, "no image in it", note_failed, told), 0);
  assert_string_equal(told, job);
  assert_int_equal(store_job_get(f->store, job, &row), 0);
  assert_int_equal(row.state, JOB_STATE_FAILED);
  assert_non_null(strstr(row.error, "no image in it"));
  assert_true(row.finished_at > 0);
  job_row_clear(&row);
  assert_int_equal(store_dataset_ready(f->store, &dataset), -EBUSY); /* failed stays failed */
  assert_int_equal(store_dataset_again(f->store, dataset.id), 0);
  assert_int_equal(store_dataset_again(f->store, dataset.id), -ENOENT); /* it is not failed */
  assert_int_equal(store_dataset_get(f->store, dataset.id, &dataset), 0);
  assert_int_equal(dataset.state, DATASET_INGESTING);
  assert_int_equal(dataset.rejected, 0);
  assert_string_equal(dataset.error, "");
}

/* ---- a full disk ---- */

static void full_disk(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset, row;
  struct reject_row *rejects = calloc(1000, sizeof(*rejects));
  add_dataset(f->store, "orl", NULL, &dataset);
  for (int i = 0; i < 1000; i++)
    memset(rejects[i].path, 'p', 500);
  int64_t pages = integer(f->store, "PRAGMA page_count");
  char sql[64];
  (void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld", (long long)pages + 4);
  assert_int_equal(sqlite3_exec(f->store->writer, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(store_rejects_add(f->store, dataset.id, rejects, 1000), -ENOSPC);
  assert_int_equal(store_fault(f->store), -ENOSPC);
  assert_true(store_alive(f->store));
  assert_int_equal(store_dataset_get(f->store, "orl", &row), 0); /* still readable */
  assert_int_equal(integer(f->store, "SELECT count(*) FROM rejects"), 0);
  assert_int_equal(sqlite3_exec(f->store->writer, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(store_probe(f->store), 0);
  assert_int_equal(store_fault(f->store), 0);
  assert_int_equal(store_rejects_add(f->store, dataset.id, rejects, 1000), 0);
  free(rejects);
}

/* ---- models ---- */

static void models(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct model_file_row files[2] = {{"model.safetensors", SHA_A, 10}, {"card.md", SHA_B, 3}}, file;
  char facts[] = "{\"arch\":\"freq_ir\"}", summary[] = "{\"accuracy\":0.9}";
  struct model_row model = {.audited = true,
                            .facts = facts,
                            .summary = summary,
                            .files = files,
                            .file_count = 2},
                   row, *rows;
  struct store_page page = {.limit = 5};
  struct job_row job_row;
  struct event_row *events;
  char job[STORE_ID], (*blobs)[SHA256_HEX];
  uint32_t count;
  int64_t next, seq;
  add_dataset(f->store, "orl", SHA_A, &dataset); /* its pack is one of the files' twins */
  add_job(f->store, &dataset, 0, job);
  id_make("mdl_", model.id);
  memcpy(model.job_id, job, sizeof(model.job_id));
  memcpy(model.dataset_id, dataset.id, sizeof(model.dataset_id));
  model.created_at = time_now_ms();
  assert_int_equal(store_model_insert(f->store, &model, &seq), -EBUSY); /* the job does not run */
  assert_int_equal(store_model_get(f->store, model.id, &row), -ENOENT);
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &model, &seq), 0);
  assert_int_equal(store_job_get(f->store, job, &job_row), 0);
  assert_int_equal(job_row.state, JOB_STATE_SUCCEEDED);
  assert_string_equal(job_row.model_id, model.id);
  assert_true(job_row.progress.fraction == 1);
  job_row_clear(&job_row);
  assert_int_equal(store_event_list(f->store, job, seq - 1, 10, &events, &count), 0);
  assert_string_equal(events[0].type, "end");
  assert_non_null(strstr(events[0].data, model.id));
  event_rows_free(events, count);
  assert_int_equal(store_model_get(f->store, model.id, &row), 0);
  assert_int_equal(row.file_count, 2);
  assert_string_equal(row.files[0].name, "card.md");
  assert_true(row.audited);
  model_row_clear(&row);
  assert_int_equal(store_model_file(f->store, model.id, "card.md", &file), 0);
  assert_int_equal(file.size, 3);
  assert_int_equal(store_model_file(f->store, model.id, "../card.md", &file), -ENOENT);
  assert_int_equal(store_model_list(f->store, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  model_rows_free(rows, count);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), 0);
  assert_int_equal(count, 1); /* SHA_A stays: the data set refers to it */
  assert_string_equal(blobs[0], SHA_B);
  free(blobs);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), -ENOENT);
}

/* An audit replaces a model's report, unless another one was faster, and keeps its other files. */
static void auditing_a_model(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct model_file_row files[2] = {{"model.safetensors", SHA_A, 10}, {"report.json", SHA_B, 3}}, file;
  struct model_file_row later[2] = {{"report.html", SHA_A, 5}, {"report.json", SHA_C, 4}};
  char facts[] = "{}", summary[] = "{\"accuracy\":0.9}", audited[] = "{\"accuracy\":0.9,\"audit\":{}}";
  struct model_row model = {.facts = facts, .summary = summary, .files = files, .file_count = 2}, row;
  struct model_row audit = {.summary = audited, .audited = true, .files = later, .file_count = 2};
  struct job_row job_row = {.created_at = time_now_ms(), .type = "audit", .input_count = 1}, ended;
  char job[STORE_ID], review[STORE_ID], spec[] = "{\"type\":\"audit\"}", (*blobs)[SHA256_HEX];
  uint32_t count;
  int64_t seq;
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  id_make("mdl_", model.id);
  memcpy(model.job_id, job, sizeof(model.job_id));
  model.created_at = time_now_ms();
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &model, &seq), 0);
  id_make("job_", job_row.id);
  memcpy(job_row.dataset_id, dataset.id, sizeof(dataset.id));
  job_row.spec = spec;
  job_row.inputs[0].pointer = "/model";
  memcpy(job_row.inputs[0].model_id, model.id, sizeof(model.id));
  memcpy(audit.id, model.id, sizeof(model.id));
  assert_int_equal(store_job_insert(f->store, &job_row, NULL, NULL, review, &replayed, NULL), 0);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_B, &blobs, &count, &seq), -EBUSY);
  assert_int_equal(store_job_claim(f->store, review, NULL, &seq), 0);
  assert_int_equal(store_model_delete(f->store, model.id, &blobs, &count), -EBUSY);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_A, &blobs, &count, &seq), -ESTALE);
  assert_int_equal(state_of(f->store, review), JOB_STATE_RUNNING);
  assert_int_equal(store_model_audited(f->store, &audit, review, SHA_B, &blobs, &count, &seq), 0);
  assert_int_equal(count, 1);
  assert_string_equal(blobs[0], SHA_B);
  free(blobs);
  assert_int_equal(store_model_get(f->store, model.id, &row), 0);
  assert_true(row.audited);
  assert_string_equal(row.summary, audited);
  assert_int_equal(row.file_count, 3);
  model_row_clear(&row);
  assert_int_equal(store_model_file(f->store, model.id, "report.json", &file), 0);
  assert_string_equal(file.sha256, SHA_C);
  assert_int_equal(store_job_get(f->store, review, &ended), 0);
  assert_int_equal(ended.state, JOB_STATE_SUCCEEDED);
  assert_string_equal(ended.model_id, model.id);
  job_row_clear(&ended);
}

/* Deleted text is in none of the database's files. */
static void deleting_leaves_no_trace(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct reject_row reject = {.path = "someone-nobody-should-find/1.jpg", .code = "corrupt", .detail = "x"};
  struct store_erased erased;
  char command[256];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  assert_int_equal(store_rejects_add(f->store, dataset.id, &reject, 1), 0);
  (void)snprintf(command, sizeof(command), "%s-wal", f->path);
  char *data;
  size_t size;
  assert_int_equal(file_read(command, 1 << 24, &data, &size, NULL), 0);
  assert_non_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
  assert_int_equal(store_dataset_delete(f->store, dataset.id, &erased), 0);
  assert_int_equal(erased.rejects, 1);
  store_erased_clear(&erased);
  assert_true(store_scrub(f->store));
  assert_int_equal(file_read(command, 1 << 24, &data, &size, NULL), 0);
  assert_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
  assert_int_equal(file_read(f->path, 1 << 24, &data, &size, NULL), 0);
  assert_null(memmem(data, size, "nobody-should-find", 18));
  free(data);
}

/* A private report shows whoever was looked at; a head knows those alone whom its model was trained on. */
static void a_head_goes_with_its_own_people(void **state) {
  struct fixture *f = *state;
  struct dataset_row trained, mixed;
  struct model_file_row files[2] = {{"model-head.safetensors", SHA_B, 10}, {"report-private.html", SHA_C, 3}},
                        file;
  char facts[] = "{}", summary[] = "{}", spec[] = "{\"type\":\"train\"}", job[STORE_ID];
  struct model_row model = {.facts = facts, .summary = summary, .files = files, .file_count = 2};
  struct job_row row = {.created_at = time_now_ms(), .type = "train", .spec = spec, .input_count = 1};
  struct store_erased erased;
  int64_t seq;
  bool replayed;
  add_dataset(f->store, "trained", SHA_A, &trained);
  add_dataset(f->store, "mixed", SHA_A, &mixed);
  id_make("job_", row.id);
  memcpy(row.dataset_id, trained.id, sizeof(trained.id));
  row.inputs[0].pointer = "/mask/public_dataset";
  memcpy(row.inputs[0].dataset_id, mixed.id, sizeof(mixed.id));
  assert_int_equal(store_job_insert(f->store, &row, NULL, NULL, job, &replayed, NULL), 0);
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  id_make("mdl_", model.id);
  memcpy(model.job_id, job, sizeof(model.job_id));
  model.created_at = time_now_ms();
  assert_int_equal(store_model_insert(f->store, &model, &seq), 0);
  assert_int_equal(store_dataset_delete(f->store, mixed.id, &erased), 0);
  assert_int_equal(erased.reports, 1);
  assert_int_equal(erased.model_count, 1);
  store_erased_clear(&erased);
  assert_int_equal(store_model_file(f->store, model.id, "report-private.html", &file), -ENOENT);
  assert_int_equal(store_model_file(f->store, model.id, "model-head.safetensors", &file), 0);
  assert_int_equal(store_dataset_delete(f->store, trained.id, &erased), 0);
  assert_int_equal(erased.reports, 1);
  store_erased_clear(&erased);
  assert_int_equal(store_model_file(f->store, model.id, "model-head.safetensors", &file), -ENOENT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(fresh_database),
      TEST(migrating_backs_up_and_refuses_newer),
      TEST(foreign_and_damaged_files_are_refused),
      TEST(datasets),
      TEST(deleting_a_dataset),
      TEST(a_failed_dataset_fails_its_jobs),
      TEST(full_disk),
      TEST(models),
      TEST(auditing_a_model),
      TEST(a_head_goes_with_its_own_people),
      TEST(deleting_leaves_no_trace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
