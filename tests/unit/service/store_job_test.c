/* Jobs in the store: transitions, order, events and logs, checkpoints with their metrics, a kill in a
 * transaction, readers beside a writer. */
#include "tests/unit/service/store_fixture.h"

/* ---- jobs ---- */

static void only_legal_transitions(void **state) {
  struct fixture *f = *state;
  static const char *const legal[] = {
      "queued>running",  "queued>paused",     "queued>canceled",   "queued>failed",  "running>queued",
      "running>pausing", "running>canceling", "running>succeeded", "running>failed", "pausing>running",
      "pausing>paused",  "pausing>canceling", "pausing>succeeded", "pausing>failed", "paused>queued",
      "paused>canceled", "canceling>canceled"};
  static const enum job_state path[JOB_STATE_COUNT][3] = {
      [JOB_STATE_RUNNING] = {JOB_STATE_RUNNING, JOB_STATE_COUNT},
      [JOB_STATE_QUEUED] = {JOB_STATE_COUNT},
      [JOB_STATE_PAUSING] = {JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_COUNT},
      [JOB_STATE_PAUSED] = {JOB_STATE_PAUSED, JOB_STATE_COUNT},
      [JOB_STATE_CANCELING] = {JOB_STATE_RUNNING, JOB_STATE_CANCELING, JOB_STATE_COUNT},
      [JOB_STATE_CANCELED] = {JOB_STATE_CANCELED, JOB_STATE_COUNT},
      [JOB_STATE_SUCCEEDED] = {JOB_STATE_RUNNING, JOB_STATE_SUCCEEDED, JOB_STATE_COUNT},
      [JOB_STATE_FAILED] = {JOB_STATE_FAILED, JOB_STATE_COUNT},
  };
  struct dataset_row dataset;
  uint32_t allowed = 0;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  for (uint32_t from = 0; from < JOB_STATE_COUNT; from++)
    for (uint32_t to = 0; to < JOB_STATE_COUNT; to++) {
      char job[STORE_ID], name[32];
      bool listed = false;
      if (from == to)
        continue;
      add_job(f->store, &dataset, 0, job);
      for (uint32_t i = 0; i < 3 && path[from][i] != JOB_STATE_COUNT; i++)
        move(f->store, job, path[from][i]);
      assert_int_equal(state_of(f->store, job), from);
      (void)snprintf(name, sizeof(name), "%s>%s", job_state_name((enum job_state)from),
                     job_state_name((enum job_state)to));
      for (size_t i = 0; i < ARRAY_SIZE(legal); i++)
        listed |= strcmp(legal[i], name) == 0;
      int r = store_job_move(f->store, job, 0xff, (enum job_state)to, "test",
                             to == JOB_STATE_FAILED ? "{}" : NULL, NULL, NULL);
      if (r != (listed ? 0 : -EBUSY))
        fail_msg("%s: %d", name, r);
      assert_int_equal(state_of(f->store, job), listed ? to : from);
      allowed += listed;
    }
  assert_int_equal(allowed, ARRAY_SIZE(legal));
}

static void transitions_and_their_events(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct transition_row *rows;
  struct event_row *events;
  uint32_t count;
  enum job_state before;
  int64_t seq = 0;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_move(f->store, job, BIT(RUNNING), JOB_STATE_PAUSING, "no", NULL, &before, NULL),
                   -EBUSY);
  assert_int_equal(before, JOB_STATE_QUEUED);
  assert_int_equal(
      store_job_move(f->store, job, BIT(QUEUED), JOB_STATE_CANCELED, "asked", NULL, &before, &seq), 0);
  assert_int_equal(store_job_transitions(f->store, job, &rows, &count), 0);
  assert_int_equal(count, 2);
  assert_int_equal(rows[0].state, JOB_STATE_QUEUED);
  assert_string_equal(rows[1].reason, "asked");
  free(rows);
  assert_int_equal(store_event_list(f->store, job, 0, 100, &events, &count), 0);
  assert_int_equal(count, 3);
  assert_string_equal(events[0].type, "state");
  assert_string_equal(events[1].type, "state");
  assert_string_equal(events[2].type, "end");
  assert_int_equal(events[2].seq, seq);
  assert_non_null(strstr(events[2].data, "\"canceled\""));
  int64_t after = events[0].seq;
  event_rows_free(events, count);
  assert_int_equal(store_event_list(f->store, job, after, 100, &events, &count),
                   0); /* replay after a lost connection */
  assert_int_equal(count, 2);
  event_rows_free(events, count);
  assert_int_equal(store_job_move(f->store, "job_none", 0xff, JOB_STATE_CANCELED, "", NULL, NULL, NULL),
                   -ENOENT);
}

static void priority_then_age(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  char low[STORE_ID], high[STORE_ID], old[STORE_ID];
  struct store_queue queue;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, old);
  add_job(f->store, &dataset, -5, low);
  add_job(f->store, &dataset, 9, high);
  assert_int_equal(store_job_next(f->store, &row), 0);
  assert_string_equal(row.id, high);
  job_row_clear(&row);
  assert_int_equal(store_job_queue(f->store, low, &queue), 0);
  assert_int_equal(queue.ahead, 2);
  assert_true(queue.mean_runtime_s < 0 && !queue.ingesting && queue.retry_at == 0);
  move(f->store, high, JOB_STATE_RUNNING);
  assert_int_equal(store_job_next(f->store, &row), 0);
  assert_string_equal(row.id, old);
  job_row_clear(&row);
}

static void lists_filter_and_page(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row = {.type = "train", .created_at = 1000}, *rows;
  struct job_filter filter = {.states = 0};
  struct store_page page = {.limit = 2, .descending = true};
  char spec[] = "{}", id[STORE_ID], plain[STORE_ID];
  uint32_t count, total = 0;
  int64_t next;
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  memcpy(row.dataset_id, dataset.id, sizeof(row.dataset_id));
  row.spec = spec;
  json_t *labels = json_pack("{s:s}", "team", "red' OR 1=1");
  for (int i = 0; i < 5; i++) {
    id_make("job_", row.id);
    assert_int_equal(store_job_insert(f->store, &row, labels, NULL, id, &replayed, NULL), 0);
  }
  json_decref(labels);
  add_job(f->store, &dataset, 0, plain);
  move(f->store, plain, JOB_STATE_CANCELED);
  do {
    assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
    if (total == 0)
      assert_string_equal(rows[0].id, plain); /* newest first */
    total += count;
    job_rows_free(rows, count);
    page.cursor = next;
  } while (next);
  assert_int_equal(total, 6);
  page = (struct store_page){.limit = 0};
  filter.states = BIT(CANCELED) | BIT(FAILED);
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  job_rows_free(rows, count);
  filter = (struct job_filter){.label_key = "team", .label_value = "red' OR 1=1"};
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 5);
  job_rows_free(rows, count);
  filter = (struct job_filter){.created_after = 1000};
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  job_rows_free(rows, count);
}

static void logs_are_kept_for_a_while(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct store_page page = {.limit = 2};
  struct event_row *rows;
  char job[STORE_ID];
  uint32_t count;
  int64_t next, now;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  json_t *line = json_pack("{s:s, s:s}", "level", "info", "text", "hello");
  for (int i = 0; i < 3; i++)
    assert_int_equal(store_event_add(f->store, job, "log", line, NULL), 0);
  json_decref(line);
  assert_int_equal(store_log_list(f->store, job, INT64_MAX, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2);
  event_rows_free(rows, count);
  page.cursor = next;
  assert_int_equal(store_log_list(f->store, job, INT64_MAX, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_int_equal(next, 0);
  event_rows_free(rows, count);
  assert_int_equal(store_log_list(f->store, "job_none", 0, &page, &rows, &count, &next), -ENOENT);
  move(f->store, job, JOB_STATE_CANCELED);
  now = time_now_ms();
  assert_int_equal(store_log_list(f->store, job, now + 1000, &page, &rows, &count, &next), -ENODATA);
  assert_int_equal(store_log_prune(f->store, now - 1000), 0); /* not yet */
  assert_int_equal(store_log_list(f->store, job, now - 1000, &page, &rows, &count, &next), 0);
  event_rows_free(rows, count);
  assert_int_equal(store_log_prune(f->store, now + 1000), 0);
  assert_int_equal(store_log_list(f->store, job, 0, &page, &rows, &count, &next), -ENODATA); /* for good */
  assert_int_equal(store_event_list(f->store, job, 0, 100, &rows, &count), 0);
  assert_int_equal(count, 3); /* two states and the end */
  event_rows_free(rows, count);
}

static void idempotency_keys(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row = {.type = "train", .created_at = time_now_ms()};
  struct store_idempotency key = {"k1", SHA_A}, other = {"k1", SHA_B};
  char spec[] = "{}", first[STORE_ID], again[STORE_ID];
  bool replayed;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  memcpy(row.dataset_id, dataset.id, sizeof(row.dataset_id));
  row.spec = spec;
  id_make("job_", row.id);
  assert_int_equal(store_job_replay(f->store, &key, first), -ENOENT);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &key, first, &replayed, NULL), 0);
  assert_false(replayed);
  id_make("job_", row.id);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &key, again, &replayed, NULL), 0);
  assert_true(replayed);
  assert_string_equal(first, again);
  assert_int_equal(store_job_insert(f->store, &row, NULL, &other, again, &replayed, NULL), -EKEYREJECTED);
  assert_int_equal(store_job_replay(f->store, &other, again), -EKEYREJECTED);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM jobs"), 1);
  (void)snprintf(row.dataset_id, sizeof(row.dataset_id), "ds_gone");
  assert_int_equal(store_job_insert(f->store, &row, NULL, NULL, again, &replayed, NULL), -ENOENT);
}

/* ---- checkpoints and metrics ---- */

static void commit_epoch(struct store *store, const char *job, uint32_t epoch, double loss) {
  struct checkpoint_row checkpoint = {.epochs = epoch, .step = epoch * 10, .at = time_now_ms()};
  struct metric_row rows[3] = {
      {.name = "loss", .epoch = epoch, .step = epoch * 10, .value = loss, .per_epoch = true},
      {.name = "accuracy", .epoch = epoch, .step = epoch * 10, .value = NAN, .per_epoch = true},
      {.name = "loss", .epoch = epoch, .step = epoch * 10 - 5, .value = 9, .per_epoch = false}};
  struct job_progress progress = {
      .fraction = 0.1 * epoch, .epoch = epoch, .epochs = 10, .step = epoch * 10, .loss = loss};
  int64_t seq;
  (void)snprintf(checkpoint.file, sizeof(checkpoint.file), "c-%u", epoch);
  assert_int_equal(store_checkpoint_commit(store, job, &checkpoint, rows, 3, &progress, 1.5, &seq), 0);
  assert_true(seq > 0);
}

static void one_row_an_epoch(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct metric_value *rows;
  struct checkpoint_row *checkpoints;
  struct store_page page = {.limit = 100};
  uint32_t count;
  int64_t next, seq;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_job_claim(f->store, job, NULL, &seq), 0);
  commit_epoch(f->store, job, 1, 3.0);
  commit_epoch(f->store, job, 2, 2.0);
  commit_epoch(f->store, job, 2, 1.9); /* computed again after a crash: replaces */
  assert_int_equal(store_metric_list(f->store, job, "loss", METRIC_EPOCH, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2);
  assert_true(rows[1].value == 1.9);
  free(rows);
  assert_int_equal(store_metric_list(f->store, job, NULL, METRIC_ALL, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2 * 2 + 3);
  free(rows);
  assert_int_equal(store_metric_list(f->store, job, "loss", METRIC_STEP, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 3);
  free(rows);
  assert_int_equal(store_metric_latest(f->store, job, &rows, &count), 0);
  assert_int_equal(count, 2);
  assert_string_equal(rows[0].name, "accuracy");
  assert_true(isnan(rows[0].value));
  free(rows);
  assert_int_equal(store_checkpoint_list(f->store, job, &checkpoints, &count), 0);
  assert_int_equal(count, 1);
  assert_string_equal(checkpoints[0].file, "c-2");
  /* the file of epoch 2 is lost: the job goes on from epoch 1, so epoch 2 is going to be written again */
  struct checkpoint_row older = {.file = "c-1", .epochs = 1, .step = 10};
  free(checkpoints);
  move(f->store, job, JOB_STATE_QUEUED);
  assert_int_equal(store_job_claim(f->store, job, &older, &seq), 0);
  assert_int_equal(store_metric_list(f->store, job, NULL, METRIC_ALL, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 3);
  free(rows);
}

static void the_unique_index_refuses_a_second_row(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  sqlite3 *db;
  char job[STORE_ID];
  static const char sql[] =
      "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) VALUES (1, 'loss', 1, 1, 1, 1.0)";
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  assert_int_equal(store_write_begin(f->store, &db), 0);
  assert_int_equal(store_exec(db, sql, ""), 0);
  assert_int_equal(store_exec(db, sql, ""), -EEXIST);
  assert_int_equal(
      store_exec(db, "INSERT INTO metrics (job, name, epoch, step, per_epoch) VALUES (99, 'x', 1, 1, 0)", ""),
      -ENOENT);
  assert_int_equal(store_exec(db, "UPDATE jobs SET state = 'sleeping'", ""),
                   -EBUSY); /* not a legal transition either */
  assert_int_equal(store_write_end(f->store, 0), 0);
}

/* ---- crash ---- */

/* A child commits epochs and dies in the middle of a transaction; what was acknowledged is there, nothing of
 * the rest is. */
static void killed_in_a_transaction(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  uint32_t requeued, failed;
  char job[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, job);
  store_close(f->store);
  f->store = NULL;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct store *store;
    sqlite3 *db;
    int64_t seq;
    if (store_open(f->path, NULL, &store, NULL) < 0 || store_job_claim(store, job, NULL, &seq) < 0)
      _exit(1);
    commit_epoch(store, job, 1, 3.0);
    if (store_write_begin(store, &db) < 0 || store_exec(db, "DELETE FROM metrics", "") < 0 ||
        store_exec(db, "UPDATE jobs SET state = 'succeeded', finished_at = 1", "") < 0)
      _exit(2);
    _exit(42);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(WEXITSTATUS(status), 42);
  assert_int_equal(store_open(f->path, NULL, &f->store, NULL), 0);
  assert_int_equal(state_of(f->store, job), JOB_STATE_RUNNING);
  assert_int_equal(integer(f->store, "SELECT count(*) FROM metrics"), 3);
  assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
  assert_int_equal(requeued, 1);
  assert_int_equal(state_of(f->store, job), JOB_STATE_QUEUED);
}

static void recovery(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct job_row row;
  uint32_t requeued, failed;
  int64_t seq;
  char running[STORE_ID], pausing[STORE_ID], canceling[STORE_ID];
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, running);
  add_job(f->store, &dataset, 0, pausing);
  add_job(f->store, &dataset, 0, canceling);
  move(f->store, pausing, JOB_STATE_RUNNING);
  move(f->store, pausing, JOB_STATE_PAUSING);
  move(f->store, canceling, JOB_STATE_RUNNING);
  move(f->store, canceling, JOB_STATE_CANCELING);
  /* two restarts without a checkpoint, one checkpoint, two more, something else that is kept, then three:
   * still going */
  for (int i = 0; i < 8; i++) {
    assert_int_equal(store_job_claim(f->store, running, NULL, &seq), 0);
    if (i == 2)
      commit_epoch(f->store, running, 1, 1.0);
    if (i == 5)
      assert_int_equal(store_job_kept(f->store, running), 0);
    reopen(f);
    assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
    assert_int_equal(state_of(f->store, running), JOB_STATE_QUEUED);
  }
  assert_int_equal(state_of(f->store, pausing), JOB_STATE_PAUSED);
  assert_int_equal(state_of(f->store, canceling), JOB_STATE_CANCELED);
  assert_int_equal(store_job_claim(f->store, running, NULL, &seq), 0);
  assert_int_equal(store_recover(f->store, &requeued, &failed), 0);
  assert_int_equal(failed, 1); /* after three restarts in a row that made none */
  assert_int_equal(store_job_get(f->store, running, &row), 0);
  assert_int_equal(row.state, JOB_STATE_FAILED);
  assert_int_equal(row.attempt, 1);
  assert_non_null(strstr(row.error, "four times in a row"));
  job_row_clear(&row);
}

/* ---- readers beside a writer ---- */

struct reading {
  struct store *store;
  char job[STORE_ID];
  atomic_bool stop;
  atomic_uint reads, failures;
};

static void *read_on(void *context) {
  struct reading *reading = context;
  while (!atomic_load(&reading->stop)) {
    struct job_row row;
    if (store_job_get(reading->store, reading->job, &row) < 0)
      atomic_fetch_add(&reading->failures, 1);
    else
      job_row_clear(&row);
    atomic_fetch_add(&reading->reads, 1);
  }
  return NULL;
}

static void readers_do_not_wait_for_the_writer(void **state) {
  struct fixture *f = *state;
  struct dataset_row dataset;
  struct reading reading = {.store = f->store};
  pthread_t threads[6]; /* more than connections */
  sqlite3 *db;
  int64_t seq;
  add_dataset(f->store, "orl", SHA_A, &dataset);
  add_job(f->store, &dataset, 0, reading.job);
  assert_int_equal(store_job_claim(f->store, reading.job, NULL, &seq), 0);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
  for (uint32_t epoch = 1; epoch <= 20; epoch++)
    commit_epoch(f->store, reading.job, epoch, 1.0);
  assert_int_equal(store_write_begin(f->store, &db), 0); /* an open write transaction ... */
  assert_int_equal(store_exec(db, "UPDATE jobs SET phase = 'x'", ""), 0);
  uint32_t before = atomic_load(&reading.reads);
  for (int i = 0; i < 500 && atomic_load(&reading.reads) < before + 50; i++)
    (void)usleep(10000);
  assert_true(atomic_load(&reading.reads) >= before + 50); /* ... stops no reader */
  assert_int_equal(store_write_end(f->store, -ECANCELED), -ECANCELED);
  atomic_store(&reading.stop, true);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    (void)pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&reading.failures), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(only_legal_transitions),
      TEST(transitions_and_their_events),
      TEST(priority_then_age),
      TEST(lists_filter_and_page),
      TEST(logs_are_kept_for_a_while),
      TEST(idempotency_keys),
      TEST(one_row_an_epoch),
      TEST(the_unique_index_refuses_a_second_row),
      TEST(killed_in_a_transaction),
      TEST(recovery),
      TEST(readers_do_not_wait_for_the_writer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
