#include "daemon/state_files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

static const char *const directories[] = {
    [STATE_UPLOAD] = "uploads", [STATE_WORK] = "work", [STATE_BLOB] = "blobs"};

bool is_sha256(const char *name) {
  return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* ---- files ---- */

struct walk {
  const char *state;
  int (*visit)(void *context, enum state_file kind, const char *path, const char *name);
  void *context;
  enum state_file kind;
};

static int walk_directory(const struct walk *walk, const char *directory, bool prefixes,
                          struct guise_error *err) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s/%s", walk->state, directory) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
  DIR *entries = opendir(path);
  if (!entries)
    return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
  int r = 0;
  for (struct dirent *entry; r == 0 && (entry = readdir(entries));) {
    char below[PATH_MAX];
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
      continue;
    if (snprintf(below, sizeof(below), "%s/%s", directory, name) >= (int)sizeof(below))
      r = error_set(err, -ENAMETOOLONG, "the path of the state directory is too long");
    else if (prefixes && strlen(name) == 2)
      r = walk_directory(walk, below, false, err);
    else if ((r = walk->visit(walk->context, walk->kind, below, name)) < 0)
      error_set(err, r, "cannot tidy or check %s: %s", below, strerror(-r));
  }
  (void)closedir(entries);
  return r;
}

int state_each_file(const char *state,
                    int (*visit)(void *context, enum state_file kind, const char *path, const char *name),
                    void *context, struct guise_error *err) {
  int r = 0;
  for (uint32_t i = 0; i < ARRAY_SIZE(directories) && r == 0; i++) {
    const struct walk walk = {state, visit, context, (enum state_file)i};
    r = walk_directory(&walk, directories[i], i == STATE_BLOB, err);
  }
  return r;
}

/* ---- rows ---- */

int state_file_owned(sqlite3 *db, enum state_file kind, const char *name, bool *ret_owned) {
  static const char *const sql[] = {
      [STATE_UPLOAD] = "SELECT EXISTS (SELECT 1 FROM datasets WHERE id = ?1 AND state = 'ingesting')",
      [STATE_WORK] = ("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1 AND state NOT IN "
                      "('canceled', 'succeeded', 'failed'))"),
      [STATE_BLOB] = "SELECT EXISTS (SELECT 1 FROM blob_references WHERE sha256 = ?1)"};
  int64_t owned = 0;
  int r = store_integer(db, &owned, sql[kind], "t", name);
  if (r == 0)
    *ret_owned = owned != 0;
  return r;
}

/* Networks that are kept for later jobs are not among them: what is missing or damaged of these is trained
 * again, and no backup needs them. */
static int read_references(sqlite3 *db, struct state_reference **rows, uint32_t *count) {
  static const char sql[] =
      "SELECT sha256, bytes, 'data set ' || id, NULL FROM datasets WHERE sha256 IS NOT NULL "
      "UNION ALL SELECT p.sha256, p.bytes, 'pairs list of ' || d.id, NULL FROM pairs p "
      "JOIN datasets d ON d.seq = p.dataset "
      "UNION ALL SELECT f.sha256, f.size, 'model ' || m.id, NULL FROM model_files f "
      "JOIN models m ON m.seq = f.model "
      "UNION ALL SELECT upload_sha256, bytes, 'upload of data set ' || id, id FROM datasets "
      "WHERE state = 'ingesting'";
  uint32_t capacity = 0;
  _statement_ *statement = NULL;
  int r = store_prepare(db, &statement, sql, "");
  while (r == 0 && (r = store_step(statement)) > 0) {
    struct state_reference *row = store_grow(rows, *count, &capacity, sizeof(*row));
    char upload[STORE_ID];
    if (!row)
      return -ENOMEM;
    store_text(statement, 0, row->sha256, sizeof(row->sha256));
    row->bytes = sqlite3_column_int64(statement, 1);
    store_text(statement, 2, row->owner, sizeof(row->owner));
    store_text(statement, 3, upload, sizeof(upload));
    if (*upload)
      (void)snprintf(row->path, sizeof(row->path), "%s/%s", directories[STATE_UPLOAD], upload);
    else
      (void)snprintf(row->path, sizeof(row->path), "%s/%.2s/%s", directories[STATE_BLOB], row->sha256,
                     row->sha256);
    (*count)++;
    r = 0;
  }
  return r;
}

int state_each_reference(sqlite3 *db, int (*visit)(void *context, const struct state_reference *reference),
                         void *context) {
  _cleanup_(freep) struct state_reference *rows = NULL;
  uint32_t count = 0;
  int r = read_references(db, &rows, &count);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = visit(context, &rows[i]);
  return r;
}
