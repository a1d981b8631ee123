#include "daemon/check_state.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/backup_internal.h"
#include "daemon/store_internal.h"

struct check {
  const char *state;
  sqlite3 *db;
  FILE *out;
  uint32_t files, damages, orphans;
};

static void damaged(void *context, const char *text) {
  struct check *check = context;
  check->damages++;
  (void)fprintf(check->out, "damaged: the database: %s\n", text);
}

/* What was erased since the row was read is no damage. */
static int still_damaged(struct check *check, const struct state_reference *reference, const char *what) {
  const char *name = strrchr(reference->path, '/') + 1;
  bool named = false;
  int r = state_file_owned(check->db, is_sha256(name) ? STATE_BLOB : STATE_UPLOAD, name, &named);
  if (r == 0 && named) {
    check->damages++;
    (void)fprintf(check->out, "%s: %s, of %s\n", what, reference->path, reference->owner);
  }
  return r;
}

static int check_reference(void *context, const struct state_reference *reference) {
  struct check *check = context;
  char path[PATH_MAX], sha256[SHA256_HEX];
  uint64_t bytes = 0;
  int r = path_join(path, check->state, reference->path, NULL);
  if (r < 0)
    return r;
  check->files++;
  r = sha256_file(path, sha256, &bytes);
  if (r == -ENOMEM)
    return r;
  if (r < 0)
    return still_damaged(check, reference, r == -ENOENT ? "missing" : "unreadable");
  if (strcmp(sha256, reference->sha256) != 0 || bytes != (uint64_t)reference->bytes)
    return still_damaged(check, reference, "changed");
  return 0;
}

static int check_orphan(void *context, enum state_file kind, const char *path, const char *name) {
  struct check *check = context;
  bool owned = false;
  int r = state_file_owned(check->db, kind, name, &owned);
  if (r == 0 && !owned) {
    check->orphans++;
    (void)fprintf(check->out, "orphan: %s\n", path);
  }
  return r;
}

/* Whether no daemon runs, and none starts while *ret_lock is open. */
static bool take_lock(const char *state, int *ret_lock) {
  char path[PATH_MAX];
  if (path_join(path, state, "lock", NULL) < 0)
    return false;
  *ret_lock = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return *ret_lock >= 0 && flock(*ret_lock, LOCK_EX | LOCK_NB) == 0;
}

int state_check(const char *state, FILE *out, uint32_t *ret_damages, struct guise_error *err) {
  struct check check = {.state = state, .out = out};
  char path[PATH_MAX];
  uint32_t schema = 0;
  _cleanup_(closep) int lock = -1;
  _cleanup_(database_closep) sqlite3 *db = NULL;
  const bool alone = take_lock(state, &lock);
  int r = path_join(path, state, BACKUP_DATABASE, err);
  if (r == 0)
    r = database_open(path, &db, &schema, err);
  if (r < 0)
    return r;
  check.db = db;
  r = database_check(db, damaged, &check);
  if (r == 0)
    r = state_each_reference(db, check_reference, &check);
  if (r < 0)
    return error_set(err, r, "the check was broken off: %s", sqlite3_errmsg(db));
  if (alone && (r = state_each_file(state, check_orphan, &check, err)) < 0)
    return r;
  (void)fprintf(out, "%u files of the database's version %u checked: %s\n", check.files, schema,
                check.damages ? "there is damage: restore a backup, or erase what is damaged"
                              : "all is well");
  if (!alone)
    (void)fprintf(out, "a guised uses the directory: what nothing refers to may be of work under way and is "
                       "not listed\n");
  else if (check.orphans)
    (void)fprintf(out, "%u files are referred to by nothing: the next start of guised removes them\n",
                  check.orphans);
  *ret_damages = check.damages;
  return 0;
}
