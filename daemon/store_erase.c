/* Erasing a data set, a person or an image in one, or a job: rows, and what was made from them. Blobs that
 * nothing refers to afterwards are told to the caller, who unlinks them. */
#include <string.h>

#include "core/model/files.h"
#include "daemon/store_internal.h"

#define NOT_ENDED "state NOT IN ('canceled', 'succeeded', 'failed')"
#define DATASET_SEQ "(SELECT seq FROM datasets WHERE id = ?1)"

/* Models that saw the data set ?1: in training, in verification, mixed in, or under attack. */
#define MODELS                                                                                          \
  "SELECT seq FROM models WHERE dataset = ?1 "                                                          \
  "OR job IN (SELECT seq FROM jobs WHERE dataset = ?1 OR pairs_dataset = ?1) "                          \
  "OR job IN (SELECT job FROM job_inputs WHERE dataset = ?1) "                                          \
  "OR id IN (SELECT i.model FROM job_inputs i JOIN jobs j ON j.seq = i.job WHERE i.pointer = '/model' " \
  "AND (j.dataset = ?1 OR j.seq IN (SELECT job FROM job_inputs WHERE dataset = ?1)))"

/* Of models the files that tell of people of the data set ?1: pictures of whoever was looked at, and the
 * heads of those that were trained on it. */
#define PRIVATE_FILES                                                                            \
  "FROM model_files WHERE (name = '" REPORT_PRIVATE_FILE "' AND model IN (" MODELS               \
  ")) OR (name = '" MODEL_HEAD_FILE "' AND model IN (SELECT seq FROM models WHERE dataset = ?1 " \
  "OR job IN (SELECT seq FROM jobs WHERE dataset = ?1)))"

void store_erased_clear(struct store_erased *erased) {
  free(erased->blobs);
  free(erased->models);
  *erased = (struct store_erased){0};
}

/* Those that the statement gives for ?1 and, where it has one, ?2. */
static int append_blobs(sqlite3 *db, const char *sql, const char *first, const char *second,
                        struct store_erased *erased) {
  return store_append_texts(db, &erased->blobs, &erased->blob_count, SHA256_HEX, sql, second ? "tt" : "t",
                            first, second);
}

static int in_use(sqlite3 *db, const char *dataset) {
  int64_t users = 0;
  int r = store_integer(db, &users,
                        "SELECT count(*) FROM jobs WHERE (dataset = ?1 OR pairs_dataset = ?1 OR seq IN "
                        "(SELECT job FROM job_inputs WHERE dataset = ?1)) AND " NOT_ENDED,
                        "t", dataset);
  return r < 0 ? r : users > 0 ? -EBUSY : 0;
}

int store_dataset_unused(struct store *store, const char *id) {
  sqlite3 *db = store_read_begin(store);
  int r = in_use(db, id);
  store_read_end(store, db);
  return r;
}

int store_models_shown(struct store *store, const char *dataset, char (**ret_ids)[STORE_ID],
                       uint32_t *ret_count) {
#define ATTACKED_WITH "SELECT job FROM job_inputs WHERE pointer = '/audit/public_dataset' AND dataset = ?1"
  sqlite3 *db = store_read_begin(store);
  int r = store_append_texts(db, ret_ids, ret_count, STORE_ID,
                             "SELECT id FROM models WHERE job IN (" ATTACKED_WITH ") OR id IN "
                             "(SELECT model FROM job_inputs WHERE pointer = '/model' AND job IN "
                             "(" ATTACKED_WITH ")) ORDER BY seq",
                             "t", dataset);
  store_read_end(store, db);
  return r;
#undef ATTACKED_WITH
}

static int changed(sqlite3 *db, int r, uint32_t *ret_rows) {
  if (r == 0)
    *ret_rows += (uint32_t)sqlite3_changes(db);
  return r;
}

/* Models are marked, and lose the files that tell of people. */
static int erase_derived(sqlite3 *db, const char *dataset, struct store_erased *erased) {
  int r = store_append_texts(db, &erased->models, &erased->model_count, STORE_ID,
                             "SELECT id FROM models WHERE seq IN (" MODELS ") ORDER BY seq", "t", dataset);
  if (r == 0)
    r = store_exec(db, "UPDATE models SET erasures = erasures + 1 WHERE seq IN (" MODELS ")", "t", dataset);
  if (r == 0)
    r = append_blobs(db, "SELECT DISTINCT sha256 " PRIVATE_FILES, dataset, NULL, erased);
  if (r == 0)
    r = changed(db, store_exec(db, "DELETE " PRIVATE_FILES, "t", dataset), &erased->reports);
  return r;
}

/* Networks that were trained on the way and kept: they know the people. */
static int erase_networks(sqlite3 *db, const char *dataset, struct store_erased *erased) {
#define LEARNT "FROM networks WHERE dataset = ?1 OR public_dataset = ?1"
  int r = append_blobs(db, "SELECT DISTINCT sha256 " LEARNT, dataset, NULL, erased);
  return r < 0 ? r : store_exec(db, "DELETE " LEARNT, "t", dataset);
#undef LEARNT
}

/* Keeps of the blobs those that nothing refers to any more. */
static int settle(sqlite3 *db, int r, struct store_erased *erased) {
  const uint32_t all = erased->blob_count;
  if (r == 0)
    r = store_blobs_unused(db, erased->blobs, &erased->blob_count);
  erased->kept = all - erased->blob_count;
  return r;
}

/* Commits or rolls back; what was gathered is the caller's after a success only. */
static int finish(struct store *store, int r, struct store_erased *erased, struct store_erased *ret_erased) {
  r = store_write_end(store, r);
  if (r < 0)
    store_erased_clear(erased);
  else
    *ret_erased = *erased;
  return r;
}

static int delete_dataset(sqlite3 *db, const char *id, struct store_erased *erased) {
  uint32_t rows = 0;
  int r = in_use(db, id);
  if (r == 0)
    r = append_blobs(db,
                     "SELECT sha256 FROM datasets WHERE id = ?1 AND sha256 IS NOT NULL UNION "
                     "SELECT sha256 FROM pairs WHERE dataset = " DATASET_SEQ,
                     id, NULL, erased);
  if (r == 0)
    r = erase_derived(db, id, erased);
  if (r == 0)
    r = erase_networks(db, id, erased);
  if (r == 0)
    r = changed(db, store_exec(db, "DELETE FROM rejects WHERE dataset = " DATASET_SEQ, "t", id),
                &erased->rejects);
  if (r == 0)
    r = changed(db, store_exec(db, "DELETE FROM pairs WHERE dataset = " DATASET_SEQ, "t", id),
                &erased->pairs);
  if (r == 0)
    r = changed(db, store_exec(db, "DELETE FROM datasets WHERE id = ?1", "t", id), &rows);
  return r == 0 && rows == 0 ? -ENOENT : r;
}

int store_dataset_delete(struct store *store, const char *id, struct store_erased *ret_erased) {
  struct store_erased erased = {0};
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = settle(db, delete_dataset(db, id, &erased), &erased);
  if (r == 0)
    r = store_audit_due(db, id);
  return finish(store, r, &erased, ret_erased);
}

/* ---- a person, or an image of one ---- */

static int swap_pack(sqlite3 *db, const struct store_rewrite *rewrite) {
  const struct dataset_row *to = rewrite->to;
  uint32_t rows = 0;
  int r = changed(db,
                  store_exec(db,
                             "UPDATE datasets SET identities = ?3, images = ?4, bytes = ?5, sha256 = ?6, "
                             "upload_sha256 = ?6 WHERE id = ?1 AND sha256 = ?2",
                             "ttuuLt", rewrite->dataset, rewrite->old_sha256, to->identities, to->images,
                             to->bytes, to->sha256),
                  &rows);
  return r == 0 && rows == 0 ? -ESTALE : r;
}

/* A rejected file's path has the person's name as a folder: IDENTITY/IMAGE, perhaps below others. */
static int erase_rejects(sqlite3 *db, const struct store_rewrite *rewrite, struct store_erased *erased) {
  static const char sql[] = "DELETE FROM rejects WHERE dataset = " DATASET_SEQ
                            " AND instr('/' || path || '/', '/' || ?2 || '/' || iif(?3 IS NULL, '', ?3 || "
                            "'/')) > 0";
  return changed(db, store_exec(db, sql, "ttt", rewrite->dataset, rewrite->identity, rewrite->image),
                 &erased->rejects);
}

static int erase_pairs(sqlite3 *db, const struct store_rewrite *rewrite, struct store_erased *erased) {
  int r = 0;
  for (uint32_t i = 0; i < rewrite->pair_count && r == 0; i++) {
    r = append_blobs(db, "SELECT sha256 FROM pairs WHERE dataset = " DATASET_SEQ " AND name = ?2",
                     rewrite->dataset, rewrite->pairs[i], erased);
    if (r == 0)
      r = changed(db,
                  store_exec(db, "DELETE FROM pairs WHERE dataset = " DATASET_SEQ " AND name = ?2", "tt",
                             rewrite->dataset, rewrite->pairs[i]),
                  &erased->pairs);
  }
  return r;
}

int store_dataset_rewrite(struct store *store, const struct store_rewrite *rewrite,
                          struct store_erased *ret_erased) {
  struct store_erased erased = {0};
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = in_use(db, rewrite->dataset);
  if (r == 0)
    r = append_blobs(db, "SELECT sha256 FROM datasets WHERE id = ?1 AND sha256 IS NOT NULL", rewrite->dataset,
                     NULL, &erased);
  if (r == 0)
    r = swap_pack(db, rewrite);
  if (r == 0)
    r = erase_rejects(db, rewrite, &erased);
  if (r == 0)
    r = erase_pairs(db, rewrite, &erased);
  if (r == 0)
    r = erase_derived(db, rewrite->dataset, &erased);
  if (r == 0)
    r = erase_networks(db, rewrite->dataset, &erased);
  r = settle(db, r, &erased);
  if (r == 0)
    r = store_audit_due(db, rewrite->dataset);
  return finish(store, r, &erased, ret_erased);
}

/* ---- jobs ---- */

int store_job_delete(struct store *store, const char *id) {
  sqlite3 *db;
  int64_t kept = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_integer(db, &kept,
                    "SELECT " NOT_ENDED " OR (state = 'succeeded' AND " STORE_JOB_MODEL " IS NOT NULL) "
                    "FROM jobs j WHERE id = ?1",
                    "t", id);
  if (r == 0 && kept)
    r = -EBUSY;
  if (r == 0)
    r = store_exec(db, "DELETE FROM jobs WHERE id = ?1", "t", id);
  if (r == 0)
    r = store_audit_due(db, id);
  return store_write_end(store, r);
}
