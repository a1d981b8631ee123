/* Models and their files. */
#include <string.h>

#include "core/model/files.h"
#include "daemon/store_internal.h"

void model_row_clear(struct model_row *row) {
  free(row->facts);
  free(row->summary);
  free(row->files);
  row->facts = row->summary = NULL;
  row->files = NULL;
  row->file_count = 0;
}

void model_rows_free(struct model_row *rows, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    model_row_clear(&rows[i]);
  free(rows);
}

static int insert_files(sqlite3 *db, int64_t model, const struct model_row *row) {
  int r = 0;
  for (uint32_t i = 0; i < row->file_count && r == 0; i++)
    r = store_exec(db, "INSERT INTO model_files (model, name, sha256, size) VALUES (?1, ?2, ?3, ?4)", "lttL",
                   model, row->files[i].name, row->files[i].sha256, row->files[i].size);
  return r;
}

int store_model_insert(struct store *store, const struct model_row *row, int64_t *ret_seq) {
  sqlite3 *db;
  int64_t job, seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_job_seq(db, row->job_id, &job);
  if (r == 0)
    r = store_exec(db,
                   "INSERT INTO models (id, job, dataset, audited, facts, summary, created_at) "
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                   "tltittl", row->id, job, row->dataset_id[0] ? row->dataset_id : NULL, (int)row->audited,
                   row->facts, row->summary, row->created_at);
  if (r == 0)
    r = insert_files(db, sqlite3_last_insert_rowid(db), row);
  if (r == 0)
    r = store_job_move_in(db, row->job_id, 1u << JOB_STATE_RUNNING | 1u << JOB_STATE_PAUSING,
                          JOB_STATE_SUCCEEDED, "finished", NULL, NULL, &seq);
  r = store_write_end(store, r);
  if (r == 0)
    *ret_seq = seq;
  return r;
}

/* Those of the model's files that `row` replaces. */
static int replaced_blobs(sqlite3 *db, int64_t model, const struct model_row *row, char (**blobs)[SHA256_HEX],
                          uint32_t *count) {
  int r = 0;
  for (uint32_t i = 0; i < row->file_count && r == 0; i++)
    r = store_append_texts(db, blobs, count, SHA256_HEX,
                           "SELECT sha256 FROM model_files WHERE model = ?1 AND name = ?2", "lt", model,
                           row->files[i].name);
  return r;
}

static int is_current(sqlite3 *db, int64_t model, const char *name, const char *sha256) {
  int64_t same = 0;
  int r = store_integer(db, &same,
                        "SELECT count(*) FROM model_files WHERE model = ?1 AND name = ?2 AND sha256 = ?3",
                        "ltt", model, name, sha256);
  return r < 0 ? r : same ? 0 : -ESTALE;
}

static int replace_files(sqlite3 *db, int64_t model, const struct model_row *row) {
  int r = store_exec(db, "UPDATE models SET audited = ?2, summary = ?3 WHERE seq = ?1", "lit", model,
                     (int)row->audited, row->summary);
  for (uint32_t i = 0; i < row->file_count && r == 0; i++)
    r = store_exec(db, "DELETE FROM model_files WHERE model = ?1 AND name = ?2", "lt", model,
                   row->files[i].name);
  return r < 0 ? r : insert_files(db, model, row);
}

int store_model_audited(struct store *store, const struct model_row *row, const char *job,
                        const char *report_sha256, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count,
                        int64_t *ret_seq) {
  sqlite3 *db;
  int64_t model = 0, seq = 0;
  uint32_t count = 0;
  char(*blobs)[SHA256_HEX] = NULL;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_integer(db, &model, "SELECT seq FROM models WHERE id = ?1", "t", row->id);
  if (r == 0)
    r = is_current(db, model, REPORT_FILE, report_sha256);
  if (r == 0)
    r = replaced_blobs(db, model, row, &blobs, &count);
  if (r == 0)
    r = replace_files(db, model, row);
  if (r == 0 && job)
    r = store_job_move_in(db, job, 1u << JOB_STATE_RUNNING | 1u << JOB_STATE_PAUSING, JOB_STATE_SUCCEEDED,
                          "finished", NULL, NULL, &seq);
  r = store_write_end_blobs(store, db, r, blobs, count, ret_blobs, ret_count);
  if (r == 0 && job)
    *ret_seq = seq;
  return r;
}

#define COLUMNS                                                                                             \
  "SELECT m.seq, m.id, (SELECT id FROM jobs WHERE seq = m.job), m.dataset, m.audited, m.facts, m.summary, " \
  "m.created_at, m.owner, m.erasures FROM models m "

static int read_files(sqlite3 *db, struct model_row *row) {
  uint32_t capacity = 0;
  _statement_ *statement = NULL;
  int r = store_prepare(db, &statement,
                        "SELECT name, sha256, size FROM model_files WHERE model = ?1 ORDER BY name", "l",
                        row->seq);
  while (r == 0 && (r = store_step(statement)) > 0) {
    struct model_file_row *file = store_grow(&row->files, row->file_count, &capacity, sizeof(*file));
    if (!file)
      return -ENOMEM;
    store_text(statement, 0, file->name, sizeof(file->name));
    store_text(statement, 1, file->sha256, sizeof(file->sha256));
    file->size = (uint64_t)sqlite3_column_int64(statement, 2);
    row->file_count++;
    r = 0;
  }
  return r;
}

/* On failure *row holds nothing. */
static int read_model(sqlite3 *db, sqlite3_stmt *s, struct model_row *row) {
  memset(row, 0, sizeof(*row));
  row->seq = sqlite3_column_int64(s, 0);
  store_text(s, 1, row->id, sizeof(row->id));
  store_text(s, 2, row->job_id, sizeof(row->job_id));
  store_text(s, 3, row->dataset_id, sizeof(row->dataset_id));
  row->audited = sqlite3_column_int(s, 4) != 0;
  row->facts = store_text_dup(s, 5);
  row->summary = store_text_dup(s, 6);
  row->created_at = sqlite3_column_int64(s, 7);
  store_text(s, 8, row->owner, sizeof(row->owner));
  row->erasures = store_u32(s, 9);
  int r = row->facts && row->summary ? read_files(db, row) : -ENOMEM;
  if (r < 0)
    model_row_clear(row);
  return r;
}

int store_model_get(struct store *store, const char *id, struct model_row *ret_row) {
  struct model_row row;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, COLUMNS "WHERE m.id = ?1", "t", id);
  if (r == 0)
    r = store_step(statement);
  if (r == 0)
    r = -ENOENT;
  if (r > 0)
    r = read_model(db, statement, &row);
  store_finish(statement);
  store_read_end(store, db);
  if (r == 0)
    *ret_row = row;
  return r;
}

static int read_models(sqlite3 *db, sqlite3_stmt *statement, struct model_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct model_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    r = row ? read_model(db, statement, row) : -ENOMEM;
    if (r < 0)
      return r;
    (*count)++;
  }
  return r;
}

int store_model_list(struct store *store, const struct store_page *page, struct model_row **ret_rows,
                     uint32_t *ret_count, int64_t *ret_next) {
#define OWNED "(?3 IS NULL OR m.owner = ?3) "
  const char *sql = page->descending ? COLUMNS "WHERE m.seq < ?1 AND " OWNED "ORDER BY m.seq DESC LIMIT ?2"
                                     : COLUMNS "WHERE m.seq > ?1 AND " OWNED "ORDER BY m.seq LIMIT ?2";
#undef OWNED
  struct model_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "lut", store_page_cursor(page), limit, page->owner);
  if (r == 0)
    r = read_models(db, statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0) {
    model_rows_free(rows, count);
    return r;
  }
  *ret_next = 0;
  if (count == limit) {
    *ret_next = rows[limit - 2].seq;
    model_row_clear(&rows[--count]);
  }
  *ret_rows = rows;
  *ret_count = count;
  return 0;
}

int store_model_file(struct store *store, const char *id, const char *name, struct model_file_row *ret_row) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement,
                        "SELECT name, sha256, size FROM model_files "
                        "WHERE model = (SELECT seq FROM models WHERE id = ?1) AND name = ?2",
                        "tt", id, name);
  if (r == 0)
    r = store_step(statement);
  if (r > 0) {
    memset(ret_row, 0, sizeof(*ret_row));
    store_text(statement, 0, ret_row->name, sizeof(ret_row->name));
    store_text(statement, 1, ret_row->sha256, sizeof(ret_row->sha256));
    ret_row->size = (uint64_t)sqlite3_column_int64(statement, 2);
  }
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

/* With those of networks that its weights taught: their rows go with the model's. */
static int model_blobs(sqlite3 *db, const char *id, char (**blobs)[SHA256_HEX], uint32_t *count) {
  return store_append_texts(
      db, blobs, count, SHA256_HEX,
      "SELECT sha256 FROM model_files WHERE model = (SELECT seq FROM models WHERE id = ?1) "
      "UNION SELECT sha256 FROM networks WHERE model = ?1",
      "t", id);
}

static int model_in_use(sqlite3 *db, const char *id) {
  int64_t users = 0;
  int r =
      store_integer(db, &users,
                    "SELECT count(*) FROM jobs WHERE seq IN (SELECT job FROM job_inputs WHERE model = ?1) "
                    "AND state NOT IN ('canceled', 'succeeded', 'failed')",
                    "t", id);
  return r < 0 ? r : users > 0 ? -EBUSY : 0;
}

int store_model_delete(struct store *store, const char *id, char (**ret_blobs)[SHA256_HEX],
                       uint32_t *ret_count) {
  sqlite3 *db;
  char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = model_in_use(db, id);
  if (r == 0)
    r = model_blobs(db, id, &blobs, &count);
  if (r == 0)
    r = store_exec(db, "DELETE FROM models WHERE id = ?1", "t", id);
  if (r == 0 && sqlite3_changes(db) == 0)
    r = -ENOENT;
  if (r == 0)
    r = store_audit_due(db, id);
  return store_write_end_blobs(store, db, r, blobs, count, ret_blobs, ret_count);
}
