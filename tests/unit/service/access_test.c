/* Scopes and tokens: only what was issued is taken, a secret is nowhere, revoked and expired ones are
 * refused; a database of the version before tokens gets them. Who comes without one. */
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/model/files.h"
#include "daemon/listen.h"
#include "daemon/peer.h"
#include "tests/unit/service/access_fixture.h"

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
  /* the core knows them by name */
  assert_int_equal(scope_from_name(model_private_file(REPORT_PRIVATE_FILE)->scope, &scope), 0);
  assert_int_equal(scope, SCOPE_MODELS_PRIVATE);
  assert_int_equal(scope_from_name(model_private_file(MODEL_HEAD_FILE)->scope, &scope), 0);
  assert_int_equal(scope, SCOPE_MODELS_HEAD);
  assert_null(model_private_file(MODEL_FILE));
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scopes_have_one_name_each),
      TEST(a_token_is_taken_and_nothing_near_it),
      TEST(revoked_and_expired_tokens_are_refused),
      TEST(the_secret_is_not_stored),
      TEST(an_older_database_gets_tokens),
      TEST(sockets_that_need_tokens),
      TEST(peers_of_a_unix_socket),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
