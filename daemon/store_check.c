/* Whether the database is whole. A small one is checked before it is opened; of a large one, which would make
 * the start wait, behind it: what is damaged is then only read (store_fault), as when a reader meets damage.
 */
#include "daemon/store_internal.h"

#define SMALL_BYTES (4LL << 20)
#define STEPS 10000 /* of SQLite's machine, between looks at whether to stop */

static int count_damage(sqlite3 *db, int64_t *ret_damaged) {
  return store_integer(db, ret_damaged,
                       "SELECT count(*) FROM pragma_quick_check(1) WHERE quick_check <> 'ok'", "");
}

int store_check_small(sqlite3 *db, bool whatever_size, bool *ret_checked, int64_t *ret_damaged) {
  int64_t bytes = 0;
  int r = store_integer(db, &bytes,
                        "SELECT c.page_count * s.page_size FROM pragma_page_count c, pragma_page_size s", "");
  if (r < 0)
    return r;
  *ret_checked = whatever_size || bytes <= SMALL_BYTES;
  return *ret_checked ? count_damage(db, ret_damaged) : 0;
}

struct check {
  const struct store *store;
  bool stopped; /* noted at once: a scrub may have ended before the check has */
};

static int must_stop(void *context) {
  struct check *check = context;
  check->stopped =
      check->stopped || atomic_load(&check->store->closing) || atomic_load(&check->store->scrubs) > 0;
  return check->stopped;
}

bool store_unchecked(const struct store *store) {
  return !atomic_load(&store->checked);
}

void store_check_stop(struct store *store) {
  atomic_store(&store->closing, true);
}

/* The check's own snapshot would keep the log from being emptied, so it makes way and is asked for again. */
int store_check(struct store *store) {
  struct check check = {.store = store};
  int64_t damaged = 0;
  sqlite3 *db = NULL;
  if (must_stop(&check))
    return -EINTR;
  int r = store_connect(store->path, false, &db, NULL);
  if (r < 0)
    return r;
  sqlite3_progress_handler(db, STEPS, must_stop, &check);
  r = count_damage(db, &damaged);
  store_disconnect(db);
  if (check.stopped)
    return -EINTR;
  if (r == 0 && damaged)
    r = -EUCLEAN;
  if (r == 0 || r == -EUCLEAN)
    atomic_store(&store->checked, true);
  return r == -EUCLEAN ? store_health(store, r) : r;
}
