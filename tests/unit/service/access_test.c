/* Scopes and tokens: only what was issued is taken, a secret is nowhere, revoked and expired ones are
 * refused; a database of the version before tokens gets them. */
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "daemon/access.h"
#include "daemon/listen.h"
#include "daemon/peer.h"
#include "daemon/store_internal.h"

struct fixture {
  char directory[64], path[96];
  struct store *store;
};

static int set_up(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  (void)snprintf(f->directory, sizeof(f->directory), "/tmp/guise-access-XXXXXX");
  if (!mkdtemp(f->directory))
    return -1;
  (void)snprintf(f->path, sizeof(f->path), "%s/guise.db", f->directory);
  *state = f;
  return store_open(f->path, NULL, &f->store, NULL);
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  store_close(f->store);
  (void)directory_remove(f->directory);
  free(f);
  return 0;
}

static void issue(struct store *store, uint32_t scopes, int64_t expires_at, struct token_row *ret_row,
                  char ret_token[TOKEN_TEXT]) {
  struct token_row row = {.name = "laptop", .owner = "alice", .scopes = scopes, .expires_at = expires_at};
  row.created_at = time_now_ms();
  assert_int_equal(token_issue(store, &row, ret_token), 0);
  assert_int_equal(strlen(ret_token), TOKEN_TEXT - 1);
  *ret_row = row;
}

static void scopes_have_one_name_each(void **state) {
  (void)state;
  char text[SCOPES_TEXT];
  const uint32_t all = (1u << SCOPE_COUNT) - 1;
  scopes_text(all, text);
  assert_int_equal(scopes_parse(text), all);
  assert_true(strlen(text) + 1 < SCOPES_TEXT);
  for (uint32_t i = 0; i < SCOPE_COUNT; i++) {
    enum scope scope = SCOPE_NONE;
    assert_int_equal(scope_from_name(scope_name((enum scope)(1u << i)), &scope), 0);
    assert_int_equal(scope, 1u << i);
    scopes_text(1u << i, text);
    assert_string_equal(text, scope_name(scope));
  }
  enum scope scope;
  assert_int_equal(scope_from_name("", &scope), -EINVAL);
  assert_int_equal(scope_from_name("jobs", &scope), -EINVAL);
  assert_string_equal(scope_name(SCOPE_NONE), "");
  assert_int_equal(scopes_parse("jobs:read jobs:fly  admin "), SCOPE_JOBS_READ | SCOPE_ADMIN);
  assert_int_equal(SCOPES_LOCAL & (SCOPE_MODELS_PRIVATE | SCOPE_MODELS_HEAD), 0);
}

static void a_token_is_taken_and_nothing_near_it(void **state) {
  struct fixture *f = *state;
  struct token_row row, other, found;
  char token[TOKEN_TEXT], second[TOKEN_TEXT], bad[TOKEN_TEXT + 8];
  issue(f->store, SCOPE_JOBS_READ | SCOPE_MODELS_USE, 0, &row, token);
  issue(f->store, SCOPE_ADMIN, 0, &other, second);
  assert_int_equal(token_check(f->store, token, row.created_at, &found), 0);
  assert_string_equal(found.id, row.id);
  assert_string_equal(found.owner, "alice");
  assert_int_equal(found.scopes, SCOPE_JOBS_READ | SCOPE_MODELS_USE);
  assert_int_equal(token_check(f->store, second, row.created_at, &found), 0);
  assert_string_equal(found.id, other.id);
  for (size_t i = 0; i < TOKEN_TEXT - 1; i++) { /* each character counts */
    memcpy(bad, token, TOKEN_TEXT);
    bad[i] = bad[i] == 'a' ? 'b' : 'a';
    assert_int_equal(token_check(f->store, bad, row.created_at, &found), -EACCES);
    bad[i] = 0;
    assert_int_equal(token_check(f->store, bad, row.created_at, &found), -EACCES);
  }
  (void)snprintf(bad, sizeof(bad), "%s0", token);
  assert_int_equal(token_check(f->store, bad, row.created_at, &found), -EACCES);
  (void)snprintf(bad, sizeof(bad), "%.33s%s", token, second + 33); /* one's id, the other's secret */
  assert_int_equal(token_check(f->store, bad, row.created_at, &found), -EACCES);
  for (char *p = strcpy(bad, token) + 33; *p; p++)
    *p = (char)(*p >= 'a' ? *p - 32 : *p);
  assert_int_equal(token_check(f->store, bad, row.created_at, &found), -EACCES);
  char *huge = malloc(100001);
  memset(huge, 'a', 100000);
  huge[100000] = 0;
  memcpy(huge, token, TOKEN_TEXT - 1);
  assert_int_equal(token_check(f->store, huge, row.created_at, &found), -EACCES);
  free(huge);
  assert_int_equal(token_check(f->store, "", row.created_at, &found), -EACCES);
  assert_int_equal(token_check(f->store, "guise_\xff\xfe", row.created_at, &found), -EACCES);
}

static void revoked_and_expired_tokens_are_refused(void **state) {
  struct fixture *f = *state;
  struct token_row row, brief, found, *rows;
  struct store_page page = {.limit = 10};
  char token[TOKEN_TEXT], short_lived[TOKEN_TEXT];
  uint32_t count;
  int64_t next, now = time_now_ms();
  bool any = true;
  assert_int_equal(store_token_any(f->store, now, &any), 0);
  assert_false(any);
  issue(f->store, SCOPE_ADMIN, 0, &row, token);
  issue(f->store, SCOPE_ADMIN, now + 1000000, &brief, short_lived);
  assert_int_equal(token_check(f->store, short_lived, brief.expires_at - 1, &found), 0);
  assert_int_equal(token_check(f->store, short_lived, brief.expires_at, &found), -EKEYEXPIRED);
  assert_int_equal(store_token_revoke(f->store, row.id, now), 0);
  assert_int_equal(store_token_revoke(f->store, row.id, now + 5), 0);
  assert_int_equal(store_token_revoke(f->store, "tok_none", now), -ENOENT);
  assert_int_equal(token_check(f->store, token, now, &found), -EACCES);
  assert_int_equal(store_token_any(f->store, now, &any), 0);
  assert_true(any);
  assert_int_equal(store_token_any(f->store, brief.expires_at, &any), 0);
  assert_false(any);
  assert_int_equal(store_token_list(f->store, &page, &rows, &count, &next), 0);
  assert_int_equal(count, 2);
  assert_int_equal(rows[0].revoked_at, now); /* the first time counts */
  assert_int_equal(rows[1].revoked_at, 0);
  free(rows);
}

static bool file_has(const char *path, const char *text) {
  char *data = NULL;
  size_t size = 0;
  if (file_read(path, 16 << 20, &data, &size, NULL) < 0)
    return false;
  bool found = memmem(data, size, text, strlen(text)) != NULL;
  free(data);
  return found;
}

static void the_secret_is_not_stored(void **state) {
  struct fixture *f = *state;
  struct token_row row;
  char token[TOKEN_TEXT], wal[128];
  issue(f->store, SCOPE_ADMIN, 0, &row, token);
  (void)snprintf(wal, sizeof(wal), "%s-wal", f->path);
  assert_true(file_has(wal, row.id) || file_has(f->path, row.id));
  assert_false(file_has(wal, token + 33) || file_has(f->path, token + 33));
  store_scrub(f->store);
  assert_true(file_has(f->path, row.id));
  assert_false(file_has(f->path, token + 33));
}

static void add_dataset(struct store *store, const char *id, const char *owner) {
  struct dataset_row row = {.size = 112, .bytes = 10, .created_at = 1};
  (void)snprintf(row.id, sizeof(row.id), "ds_%s", id);
  (void)snprintf(row.name, sizeof(row.name), "%s", id);
  (void)snprintf(row.owner, sizeof(row.owner), "%s", owner);
  memset(row.upload_sha256, 'c', 64);
  assert_int_equal(store_dataset_insert(store, &row), 0);
}

/* Whoever it is for sees `count` data sets. */
static void expect_datasets(struct store *store, const char *owner, bool descending, uint32_t count) {
  struct store_page page = {.limit = 10, .owner = owner, .descending = descending};
  struct dataset_row *rows = NULL;
  uint32_t found = 0;
  int64_t next = 0;
  assert_int_equal(store_dataset_list(store, &page, &rows, &found, &next), 0);
  assert_int_equal(found, count);
  for (uint32_t i = 0; i < found; i++)
    assert_true(owner_sees(owner, rows[i].owner));
  free(rows);
}

static void lists_show_what_is_the_owners(void **state) {
  struct fixture *f = *state;
  struct job_row job = {.id = "job_a",
                        .type = "train",
                        .created_at = 1,
                        .spec = (char[]){"{}"},
                        .owner = "alice"},
                 *jobs;
  struct store_page page = {.limit = 10, .owner = "bob"};
  struct job_filter filter = {0};
  char id[STORE_ID];
  bool replayed;
  uint32_t count = 0;
  int64_t next = 0;
  add_dataset(f->store, "a", "alice");
  add_dataset(f->store, "b", "bob");
  add_dataset(f->store, "c", "alice");
  add_dataset(f->store, "d", "");
  for (int descending = 0; descending < 2; descending++) {
    expect_datasets(f->store, NULL, descending, 4);
    expect_datasets(f->store, "alice", descending, 2);
    expect_datasets(f->store, "bob", descending, 1);
    expect_datasets(f->store, "carol", descending, 0);
  }
  (void)snprintf(job.dataset_id, sizeof(job.dataset_id), "ds_a");
  assert_int_equal(store_job_insert(f->store, &job, NULL, NULL, id, &replayed, NULL), 0);
  assert_int_equal(store_job_list(f->store, &filter, &page, &jobs, &count, &next), 0);
  assert_int_equal(count, 0);
  job_rows_free(jobs, count);
  page.owner = "alice";
  assert_int_equal(store_job_list(f->store, &filter, &page, &jobs, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(jobs[0].owner, "alice");
  job_rows_free(jobs, count);
}

static int insert_job(struct store *store, const char *owner) {
  struct job_row job = {.type = "train", .created_at = 1, .spec = (char[]){"{}"}, .dataset_id = "ds_a"};
  char id[STORE_ID];
  bool replayed;
  id_make("job_", job.id);
  (void)snprintf(job.owner, sizeof(job.owner), "%s", owner);
  return store_job_insert(store, &job, NULL, NULL, id, &replayed, NULL);
}

static int insert_dataset(struct store *store, const char *name, const char *owner, uint64_t bytes) {
  struct dataset_row row = {.size = 112, .bytes = bytes, .created_at = 1};
  id_make("ds_", row.id);
  (void)snprintf(row.name, sizeof(row.name), "%s", name);
  (void)snprintf(row.owner, sizeof(row.owner), "%s", owner);
  memset(row.upload_sha256, 'c', 64);
  return store_dataset_insert(store, &row);
}

static void quotas_are_an_owners(void **state) {
  struct fixture *f = *state;
  struct job_filter filter = {0};
  struct store_page page = {.limit = 1, .owner = "alice"};
  struct job_row *rows;
  uint32_t count;
  int64_t next;
  add_dataset(f->store, "a", "alice"); /* 10 bytes */
  store_set_quota(f->store, 2, 100, 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_job(f->store, "alice"), -EUSERS);
  assert_int_equal(insert_job(f->store, "bob"), 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(insert_job(f->store, ""), 0);
  assert_int_equal(store_job_list(f->store, &filter, &page, &rows, &count, &next), 0);
  assert_int_equal(store_job_move(f->store, rows[0].id, 0xff, JOB_STATE_CANCELED, "test", NULL, NULL, NULL),
                   0);
  job_rows_free(rows, count);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_dataset(f->store, "b", "alice", 91), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "b", "alice", UINT64_C(1) << 62), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "b", "alice", 90), 0);
  assert_int_equal(insert_dataset(f->store, "c", "alice", 1), -EUSERS);
  assert_int_equal(insert_dataset(f->store, "d", "bob", 100), 0);
  assert_int_equal(insert_dataset(f->store, "e", "", 1000), 0);
  store_set_quota(f->store, 0, 0, 5);
  struct dataset_row images = {
      .id = "ds_images", .name = "images", .size = 112, .created_at = 1, .owner = "erin"};
  memset(images.upload_sha256, 'd', 64);
  memset(images.sha256, 'e', 64);
  assert_int_equal(store_dataset_insert(f->store, &images), 0);
  images.images = 6;
  assert_int_equal(store_dataset_ready(f->store, &images), -EUSERS);
  images.images = 5;
  assert_int_equal(store_dataset_ready(f->store, &images), 0);
  assert_int_equal(insert_dataset(f->store, "more", "erin", 1), -EUSERS); /* it would have one at least */
  store_set_quota(f->store, 0, 0, 0);
  assert_int_equal(insert_job(f->store, "alice"), 0);
  assert_int_equal(insert_dataset(f->store, "c", "alice", 1000), 0);
}

static void a_model_is_its_jobs_owners(void **state) {
  struct fixture *f = *state;
  struct job_row job = {
      .id = "job_a", .type = "train", .created_at = 1, .spec = (char[]){"{}"}, .owner = "alice"};
  struct model_row row = {
      .id = "mdl_a", .job_id = "job_a", .facts = (char[]){"{}"}, .summary = (char[]){"{}"}};
  struct model_row *models;
  struct store_page page = {.limit = 10, .owner = "alice"};
  char id[STORE_ID];
  bool replayed;
  uint32_t count = 0;
  int64_t seq = 0, next = 0;
  add_dataset(f->store, "a", "alice");
  (void)snprintf(job.dataset_id, sizeof(job.dataset_id), "ds_a");
  assert_int_equal(store_job_insert(f->store, &job, NULL, NULL, id, &replayed, NULL), 0);
  assert_int_equal(store_job_claim(f->store, id, NULL, &seq), 0);
  assert_int_equal(store_model_insert(f->store, &row, &seq), 0);
  assert_int_equal(store_model_list(f->store, &page, &models, &count, &next), 0);
  assert_int_equal(count, 1);
  assert_string_equal(models[0].owner, "alice");
  model_rows_free(models, count);
  page.owner = "bob";
  assert_int_equal(store_model_list(f->store, &page, &models, &count, &next), 0);
  assert_int_equal(count, 0);
  model_rows_free(models, count);
}

static void record(struct store *store, int64_t at, const char *actor, const char *object) {
  struct audit_row row = {.at = at, .action = "getJob", .status = 200};
  (void)snprintf(row.actor, sizeof(row.actor), "%s", actor);
  (void)snprintf(row.object, sizeof(row.object), "%s", object);
  assert_int_equal(store_audit_add(store, &row, 1000), 0);
}

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
  add_dataset(f->store, "a", "alice");
  assert_int_equal(insert_job(f->store, "alice"), 0); /* on that data set */
  store_audit_expect(&act);
  assert_int_equal(store_dataset_delete(f->store, "ds_a", &erased), -EBUSY);
  assert_int_equal(act.seq, 0);
  store_audit_expect(NULL);
  assert_int_equal(audited(f->store, NULL, NULL, &first), 1);
  add_dataset(f->store, "b", "alice");
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

static void an_older_database_gets_tokens(void **state) {
  struct fixture *f = *state;
  struct schema_migration older[3] = {schema_migrations[0], schema_migrations[1], {0, NULL, NULL}};
  struct dataset_row dataset = {.size = 112, .bytes = 10, .created_at = 1, .name = "orl"};
  struct token_row row, found;
  struct store *store;
  char path[96], token[TOKEN_TEXT];
  (void)snprintf(path, sizeof(path), "%s/older.db", f->directory);
  assert_int_equal(older[1].number, 2);
  assert_int_equal(store_open(path, older, &store, NULL), 0);
  sqlite3 *db;
  assert_int_equal(store_write_begin(store, &db), 0);
  assert_int_equal(
      store_write_end(store, store_exec(db,
                                        "INSERT INTO datasets (id, name, state, size, bytes, "
                                        "upload_sha256, created_at) VALUES ('ds_a', 'orl', 'ingesting', "
                                        "112, 10, hex(zeroblob(32)), 1)",
                                        "")),
      0);
  store_close(store);
  assert_int_equal(store_open(path, NULL, &store, NULL), 0);
  assert_int_equal(store_dataset_get(store, "orl", &dataset), 0);
  assert_string_equal(dataset.owner, ""); /* nobody's: what was there is for those who see everything */
  issue(store, SCOPE_ADMIN, 0, &row, token);
  assert_int_equal(token_check(store, token, row.created_at, &found), 0);
  record(store, 1, "loopback", "ds_a");
  store_close(store);
}

static void sockets_that_need_tokens(void **state) {
  struct fixture *f = *state;
  struct config config;
  struct listen_address address;
  struct guise_error err = {0};
  struct token_row row;
  char token[TOKEN_TEXT];
  config_defaults(&config);
  assert_int_equal(listen_parse("127.0.0.1:0", &address, NULL), 0);
  int local = listen_open(&address, NULL);
  assert_int_equal(listen_parse("0.0.0.0:0", &address, NULL), 0);
  int remote = listen_open(&address, NULL);
  assert_true(local >= 0 && remote >= 0);
  assert_false(access_needs_tokens(&config, local));
  assert_true(access_needs_tokens(&config, remote));
  assert_int_equal(access_check(&config, f->store, local, &err), 0);
  assert_int_equal(access_check(&config, f->store, remote, &err), -EPERM);
  assert_non_null(strstr(err.text, "--tls-certificate"));
  assert_int_equal(config_set(&config, "tls", "elsewhere", "test", NULL), 0);
  assert_int_equal(access_check(&config, f->store, remote, &err), -EPERM);
  assert_non_null(strstr(err.text, "guise token add"));
  assert_int_equal(config_set(&config, "auth", "token", "test", NULL), 0);
  assert_true(access_needs_tokens(&config, local));
  assert_int_equal(access_check(&config, f->store, local, &err), -EPERM);
  issue(f->store, SCOPE_ADMIN, 0, &row, token);
  assert_int_equal(access_check(&config, f->store, local, &err), 0);
  (void)close(local);
  (void)close(remote);
}

/* Connects to the socket as a process with this further group; the accepted end. */
static int connect_with_group(int listener, const struct sockaddr_un *address, gid_t group) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    _exit(setgroups(1, &group) == 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0
              ? 0
              : 1);
  }
  int status = 0, fd = accept(listener, NULL, NULL);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  return fd;
}

static void peers_of_a_unix_socket(void **state) {
  struct fixture *f = *state;
  struct peers peers;
  struct guise_error err = {0};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char mine[32];
  uid_t user = 0;
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  (void)snprintf(mine, sizeof(mine), "%u", (unsigned)getuid());
  assert_int_equal(peers_parse("", "", &peers, &err), 0);
  assert_true(peers_allow(&peers, ends[0], &user));
  assert_int_equal(user, getuid());
  assert_int_equal(peers_parse("54321 , root,,1", "root", &peers, &err), 0);
  assert_int_equal(peers.users, 3);
  assert_int_equal(peers.groups, 1);
  assert_int_equal(peers.user[1], 0);
  assert_int_equal(peers_parse(mine, "", &peers, &err), 0);
  assert_true(peers_allow(&peers, ends[0], &user));
  assert_int_equal(peers_parse("54321", "54322", &peers, &err), 0);
  assert_false(peers_allow(&peers, ends[0], &user));
  assert_false(peers_allow(&peers, -1, &user));
  assert_int_equal(peers_parse("nobody-of-this-name", "", &peers, &err), -EINVAL);
  assert_non_null(strstr(err.text, "nobody-of-this-name"));
  assert_int_equal(peers_parse("4294967295", "", &peers, &err), -EINVAL);
  assert_int_equal(peers_parse("12x", "", &peers, &err), -EINVAL);
  (void)close(ends[0]);
  (void)close(ends[1]);
  if (getuid() != 0) /* only root can give a process groups */
    return;
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", f->directory);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(listener, 1), 0);
  assert_int_equal(peers_parse("54321", "54322", &peers, &err), 0);
  int fd = connect_with_group(listener, &address, 54322);
  assert_true(peers_allow(&peers, fd, &user));
  (void)close(fd);
  fd = connect_with_group(listener, &address, 54323);
  assert_false(peers_allow(&peers, fd, &user));
  (void)close(fd);
  (void)close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scopes_have_one_name_each),
      TEST(a_token_is_taken_and_nothing_near_it),
      TEST(revoked_and_expired_tokens_are_refused),
      TEST(the_secret_is_not_stored),
      TEST(lists_show_what_is_the_owners),
      TEST(a_model_is_its_jobs_owners),
      TEST(quotas_are_an_owners),
      TEST(an_older_database_gets_tokens),
      TEST(the_audit_trail_is_added_to_and_forgets),
      TEST(an_erasure_and_its_record_are_one),
      TEST(tokens_and_their_records_are_one),
      TEST(the_audit_trail_is_read_by_its_indexes),
      TEST(sockets_that_need_tokens),
      TEST(peers_of_a_unix_socket),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
