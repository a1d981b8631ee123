/* The audit trail in the store: rows are added and never changed, are one with what they tell of, and are
 * read by indexes. */
#include "tests/unit/service/access_fixture.h"

/* Rows that there are for this actor and object; *ret_first is the newest one's time. */
static uint32_t audited(struct store *store, const char *actor, const char *object, int64_t *ret_first) {
  struct store_page page = {.limit = 10};
  struct audit_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  assert_int_equal(store_audit_list(store, actor, object, &page, &rows, &count, &next), 0);
  *ret_first = count ? rows[0].at : 0;
  audit_rows_free(rows, count);
  return count;
}

static void the_audit_trail_is_added_to_and_forgets(void **state) {
  struct fixture *f = *state;
  int64_t first;
  sqlite3 *db;
  record(f->store, 100, "loopback", "job_a");
  record(f->store, 200, "uid:7", "job_a");
  record(f->store, 300, "uid:7", "");
  assert_int_equal(audited(f->store, NULL, NULL, &first), 3);
  assert_int_equal(first, 300);
  assert_int_equal(audited(f->store, "uid:7", NULL, &first), 2);
  assert_int_equal(audited(f->store, "uid:7", "job_a", &first), 1);
  assert_int_equal(first, 200);
  struct store_page page = {.limit = 1};
  struct audit_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  for (int64_t at = 300; at > 0; at -= 100) {
    assert_int_equal(store_audit_list(f->store, NULL, NULL, &page, &rows, &count, &next), 0);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].at, at);
    audit_rows_free(rows, count);
    page.cursor = next;
  }
  assert_int_equal(next, 0);
  assert_int_equal(store_write_begin(f->store, &db), 0);
  assert_true(store_write_end(f->store, store_exec(db, "UPDATE audit SET actor = 'nobody'", "")) < 0);
  record(f->store, 1150, "loopback", ""); /* 1000 ms are kept */
  assert_int_equal(audited(f->store, NULL, NULL, &first), 3);
  /* a flood pushes out what is older, and no more */
  assert_int_equal(store_write_begin(f->store, &db), 0);
  assert_int_equal(
      store_write_end(f->store, store_exec(db,
                                           "INSERT INTO audit (seq, at, actor, action, object, status) "
                                           "VALUES (?1, 1200, 'x', 'y', '', 200)",
                                           "l", (int64_t)STORE_AUDIT_ROWS + 2)),
      0);
  record(f->store, 1201, "loopback", "");
  assert_int_equal(audited(f->store, NULL, NULL, &first), 3);
}

static struct audit_row newest(struct store *store) {
  struct store_page page = {.limit = 1};
  struct audit_row *rows = NULL, row;
  uint32_t count = 0;
  int64_t next = 0;
  assert_int_equal(store_audit_list(store, NULL, NULL, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 1);
  row = rows[0];
  free(rows);
  return row;
}

/* However soon after its commit the daemon is killed, an erasure is in the trail; one that is refused is not.
 */
static void an_erasure_and_its_record_are_one(void **state) {
  struct fixture *f = *state;
  struct audit_row act = {.at = 1, .actor = "loopback", .action = "deleteDataset", .status = 200};
  struct store_erased erased = {0};
  int64_t first;
  sqlite3 *db;
  record(f->store, 1, "loopback", "before");
  add_owned(f->store, "a", "alice");
  assert_int_equal(insert_job(f->store, "alice"), 0); /* on that data set */
  store_audit_expect(&act);
  assert_int_equal(store_dataset_delete(f->store, "ds_a", &erased), -EBUSY);
  assert_int_equal(act.seq, 0);
  store_audit_expect(NULL);
  assert_int_equal(audited(f->store, NULL, NULL, &first), 1);
  add_owned(f->store, "b", "alice");
  store_audit_expect(&act);
  assert_int_equal(store_dataset_delete(f->store, "ds_b", &erased), 0);
  struct audit_row row = newest(f->store); /* what there is when the daemon is killed now */
  assert_int_equal(row.seq, act.seq);
  assert_string_equal(row.object, "ds_b");
  assert_int_equal(row.status, 200);
  assert_null(row.receipt);
  assert_int_equal(store_token_revoke(f->store, "tok_none", 1), -ENOENT);
  store_audit_expect(NULL);
  assert_int_equal(audited(f->store, NULL, NULL, &first), 2); /* once */
  act.receipt = (char[]){"{}"};
  assert_int_equal(store_audit_complete(f->store, &act, 1000), 0);
  row = newest(f->store);
  assert_string_equal(row.receipt, "{}");
  free(row.receipt);
  act.receipt = (char[]){"{\"more\":1}"};
  assert_true(store_audit_complete(f->store, &act, 1000) < 0);
  assert_int_equal(store_write_begin(f->store, &db), 0);
  assert_true(store_write_end(
                  f->store,
                  store_exec(db, "UPDATE audit SET receipt = '{}', actor = 'nobody' WHERE seq = 1", "")) < 0);
  store_erased_clear(&erased);
}

static void tokens_and_their_records_are_one(void **state) {
  struct fixture *f = *state;
  struct token_row token = {.id = "tok_a", .name = "a", .owner = "a", .scopes = SCOPE_ADMIN, .created_at = 1};
  struct audit_row made = {.at = 1, .actor = "loopback", .action = "postToken", .status = 201},
                   revoked = {.at = 1, .actor = "loopback", .action = "deleteToken", .status = 204};
  char hash[TOKEN_HASH];
  memset(hash, 'a', sizeof(hash) - 1);
  hash[sizeof(hash) - 1] = 0;
  store_audit_expect(&made);
  assert_int_equal(store_token_insert(f->store, &token, hash), 0);
  assert_int_equal(newest(f->store).seq, made.seq);
  assert_string_equal(newest(f->store).object, "tok_a");
  store_audit_expect(&revoked);
  assert_int_equal(store_token_revoke(f->store, "tok_a", 2), 0);
  assert_int_equal(newest(f->store).seq, revoked.seq);
  assert_int_equal(newest(f->store).status, 204);
  store_audit_expect(NULL);
  assert_int_equal(store_token_revoke(f->store, "tok_a", 2), 0);
  assert_int_equal(newest(f->store).seq, revoked.seq);
}

/* The trail may have a million rows: a list looks at those that it gives. */
static void the_audit_trail_is_read_by_its_indexes(void **state) {
  struct fixture *f = *state;
  static const char *const plans[] = {
      "USING INTEGER PRIMARY KEY (rowid<?)", "USING INDEX audit_actor (actor=? AND rowid<?)",
      "USING INDEX audit_object (object=? AND rowid<?)", "USING INDEX audit_"};
  for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
    char sql[512], plan[256];
    sqlite3_stmt *statement = NULL;
    sqlite3 *db = store_read_begin(f->store);
    (void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", store_audit_sql(i & 1, i & 2));
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    store_text(statement, 3, plan, sizeof(plan));
    if (!strstr(plan, plans[i]))
      fail_msg("%s: %s", sql, plan);
    assert_int_equal(sqlite3_step(statement), SQLITE_DONE); /* no sorting */
    (void)sqlite3_finalize(statement);
    store_read_end(f->store, db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_audit_trail_is_added_to_and_forgets),
      TEST(an_erasure_and_its_record_are_one),
      TEST(tokens_and_their_records_are_one),
      TEST(the_audit_trail_is_read_by_its_indexes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
