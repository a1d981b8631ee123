/* Jobs: accepting, reading, listing. What happens to them while they run is in store_run.c. */
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

#define IDEMPOTENCY_KEPT_MS (7LL * 24 * 3600 * 1000)

static const char *const state_names[JOB_STATE_COUNT] = {
    [JOB_STATE_QUEUED] = "queued",       [JOB_STATE_RUNNING] = "running",
    [JOB_STATE_PAUSING] = "pausing",     [JOB_STATE_PAUSED] = "paused",
    [JOB_STATE_CANCELING] = "canceling", [JOB_STATE_CANCELED] = "canceled",
    [JOB_STATE_SUCCEEDED] = "succeeded", [JOB_STATE_FAILED] = "failed"};

const char *job_state_name(enum job_state state) {
  return state_names[state];
}

int job_state_from_name(const char *name, enum job_state *ret_state) {
  for (uint32_t i = 0; i < JOB_STATE_COUNT; i++)
    if (strcmp(name, state_names[i]) == 0) {
      *ret_state = (enum job_state)i;
      return 0;
    }
  return -EINVAL;
}

bool job_state_terminal(enum job_state state) {
  return state == JOB_STATE_CANCELED || state == JOB_STATE_SUCCEEDED || state == JOB_STATE_FAILED;
}

void job_row_clear(struct job_row *row) {
  free(row->spec);
  free(row->error);
  row->spec = row->error = NULL;
}

void job_rows_free(struct job_row *rows, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    job_row_clear(&rows[i]);
  free(rows);
}

#define COLUMNS                                                                                            \
  "SELECT j.seq, j.id, j.dataset, " STORE_JOB_MODEL ", j.pairs_dataset, "                                  \
  "j.pairs_name, j.state, "                                                                                \
  "j.type, j.phase, j.attempt, j.threads, j.max_runtime_s, j.runtime_s, j.priority, j.fraction, j.epoch, " \
  "j.epochs, "                                                                                             \
  "j.step, j.total, j.images_per_s, j.eta_s, j.loss, j.spec, j.error, j.created_at, j.started_at, "        \
  "j.finished_at, j.owner "                                                                                \
  "FROM jobs j "

static int read_job(sqlite3_stmt *s, struct job_row *row) {
  char state[16];
  memset(row, 0, sizeof(*row));
  row->seq = sqlite3_column_int64(s, 0);
  store_text(s, 1, row->id, sizeof(row->id));
  store_text(s, 2, row->dataset_id, sizeof(row->dataset_id));
  store_text(s, 3, row->model_id, sizeof(row->model_id));
  store_text(s, 4, row->pairs_dataset_id, sizeof(row->pairs_dataset_id));
  store_text(s, 5, row->pairs_name, sizeof(row->pairs_name));
  store_text(s, 6, state, sizeof(state));
  if (job_state_from_name(state, &row->state) < 0)
    return -EIO;
  store_text(s, 7, row->type, sizeof(row->type));
  store_text(s, 8, row->phase, sizeof(row->phase));
  row->attempt = store_u32(s, 9);
  row->threads = store_u32(s, 10);
  row->max_runtime_s = store_u32(s, 11);
  row->runtime_s = store_double(s, 12);
  row->priority = sqlite3_column_int(s, 13);
  row->progress = (struct job_progress){.fraction = store_double(s, 14),
                                        .epoch = store_u32(s, 15),
                                        .epochs = store_u32(s, 16),
                                        .step = (uint64_t)sqlite3_column_int64(s, 17),
                                        .total = (uint64_t)sqlite3_column_int64(s, 18),
                                        .images_per_s = store_double(s, 19),
                                        .eta_s = store_double(s, 20),
                                        .loss = store_double(s, 21)};
  row->created_at = sqlite3_column_int64(s, 24);
  row->started_at = sqlite3_column_int64(s, 25);
  row->finished_at = sqlite3_column_int64(s, 26);
  store_text(s, 27, row->owner, sizeof(row->owner));
  row->spec = store_text_dup(s, 22);
  row->error = store_text_dup(s, 23);
  if (!row->spec || (!row->error && sqlite3_column_type(s, 23) != SQLITE_NULL)) {
    job_row_clear(row);
    return -ENOMEM;
  }
  return 0;
}

int store_job_seq(sqlite3 *db, const char *id, int64_t *ret_seq) {
  return store_integer(db, ret_seq, "SELECT seq FROM jobs WHERE id = ?1", "t", id);
}

/* ?1 is the id; without one ?2 is now. */
static int get_job(struct store *store, const char *sql, const char *id, struct job_row *ret_row) {
  struct job_row row;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, id ? "t" : "tl", id, time_now_ms());
  if (r == 0)
    r = store_step(statement);
  if (r == 0)
    r = -ENOENT;
  if (r > 0)
    r = read_job(statement, &row);
  store_finish(statement);
  store_read_end(store, db);
  if (r == 0)
    *ret_row = row;
  return r;
}

int store_job_get(struct store *store, const char *id, struct job_row *ret_row) {
  return get_job(store, COLUMNS "WHERE j.id = ?1", id, ret_row);
}

/* Nothing but a worker is lacking at the time ?2: the data sets are ready, and a job that failed is due. */
#define STARTABLE(job)                                                                                    \
  job ".state = 'queued' AND " job ".retry_at <= ?2 "                                                     \
      "AND EXISTS (SELECT 1 FROM datasets d WHERE d.id = " job ".dataset AND d.state = 'ready') "         \
      "AND NOT EXISTS (SELECT 1 FROM job_inputs i JOIN datasets o ON o.id = i.dataset WHERE i.job = " job \
      ".seq AND o.state = 'ingesting') "
#define STARTABLE_JOB STARTABLE("j")
#define STARTABLE_OTHER STARTABLE("other")

int store_job_next(struct store *store, struct job_row *ret_row) {
  return get_job(store, COLUMNS "WHERE " STARTABLE_JOB "ORDER BY j.priority DESC, j.seq LIMIT 1", NULL,
                 ret_row);
}

/* ---- accepting ---- */

static int replay(sqlite3 *db, const struct store_idempotency *idempotency, char ret_id[STORE_ID],
                  bool *ret_replayed) {
  _statement_ *statement = NULL;
  char sha256[SHA256_HEX];
  int r = store_exec(db, "DELETE FROM idempotency WHERE created_at < ?1", "l",
                     time_now_ms() - IDEMPOTENCY_KEPT_MS);
  if (r == 0)
    r = store_prepare(
        db, &statement,
        "SELECT j.id, i.body_sha256 FROM idempotency i JOIN jobs j ON j.seq = i.job WHERE i.key = ?1", "t",
        idempotency->key);
  if (r == 0)
    r = store_step(statement);
  if (r <= 0)
    return r;
  store_text(statement, 1, sha256, sizeof(sha256));
  if (strcmp(sha256, idempotency->body_sha256) != 0)
    return -EKEYREJECTED;
  store_text(statement, 0, ret_id, STORE_ID);
  *ret_replayed = true;
  return 0;
}

int store_job_replay(struct store *store, const struct store_idempotency *idempotency,
                     char ret_id[STORE_ID]) {
  sqlite3 *db;
  bool replayed = false;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_write_end(store, replay(db, idempotency, ret_id, &replayed));
  return r < 0 ? r : replayed ? 0 : -ENOENT;
}

static int insert_labels(sqlite3 *db, int64_t job, const json_t *labels) {
  const char *key;
  json_t *value;
  int r = 0;
  json_object_foreach((json_t *)labels, key, value) {
    r = store_exec(db, "INSERT INTO labels (job, key, value) VALUES (?1, ?2, ?3)", "ltt", job, key,
                   json_string_value(value));
    if (r < 0)
      break;
  }
  return r;
}

static int insert_inputs(sqlite3 *db, int64_t job, const struct job_row *row) {
  int r = 0;
  for (uint32_t i = 0; i < row->input_count && r == 0; i++) {
    const struct job_input *input = &row->inputs[i];
    r = store_exec(db, "INSERT INTO job_inputs (job, pointer, dataset, model) VALUES (?1, ?2, ?3, ?4)",
                   "lttt", job, input->pointer, input->dataset_id[0] ? input->dataset_id : NULL,
                   input->model_id[0] ? input->model_id : NULL);
  }
  return r;
}

static int check_quota(struct store *store, sqlite3 *db, const char *owner) {
  const uint64_t most = atomic_load(&store->owner_jobs);
  int64_t open = 0;
  if (!most || !*owner)
    return 0;
  int r = store_integer(db, &open,
                        "SELECT count(*) FROM jobs WHERE owner = ?1 AND state NOT IN ('canceled', "
                        "'succeeded', 'failed')",
                        "t", owner);
  return r < 0 ? r : (uint64_t)open < most ? 0 : -EUSERS;
}

static int insert_job(sqlite3 *db, const struct job_row *row, const json_t *labels,
                      const struct store_idempotency *idempotency, int64_t *ret_seq) {
  static const char sql[] =
      "INSERT INTO jobs (id, type, state, priority, threads, max_runtime_s, dataset, pairs_dataset, "
      "pairs_name, spec, created_at, owner) "
      "VALUES (?1, ?2, 'queued', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, nullif(?11, ''))";
  int r =
      store_exec(db, sql, "ttiuuttttlt", row->id, row->type, row->priority, row->threads, row->max_runtime_s,
                 row->dataset_id, row->pairs_dataset_id[0] ? row->pairs_dataset_id : NULL,
                 row->pairs_name[0] ? row->pairs_name : NULL, row->spec, row->created_at, row->owner);
  if (r < 0)
    return r;
  int64_t job = sqlite3_last_insert_rowid(db);
  if (labels)
    r = insert_labels(db, job, labels);
  if (r == 0)
    r = insert_inputs(db, job, row);
  if (r == 0 && idempotency)
    r = store_exec(db, "INSERT INTO idempotency (key, body_sha256, job, created_at) VALUES (?1, ?2, ?3, ?4)",
                   "ttll", idempotency->key, idempotency->body_sha256, job, row->created_at);
  if (r == 0)
    r = store_exec(
        db,
        "INSERT INTO transitions (job, number, state, at, reason) VALUES (?1, 1, 'queued', ?2, 'submitted')",
        "ll", job, row->created_at);
  if (r == 0)
    r = store_event_in(db, job, "state",
                       json_pack("{s:s, s:s, s:i, s:s}", "state", "queued", "phase", "", "attempt", 1,
                                 "reason", "submitted"),
                       ret_seq);
  return r;
}

int store_job_insert(struct store *store, const struct job_row *row, const json_t *labels,
                     const struct store_idempotency *idempotency, char ret_id[STORE_ID], bool *ret_replayed,
                     int64_t *ret_seq) {
  sqlite3 *db;
  char id[STORE_ID];
  bool replayed = false;
  int64_t seq = 0;
  memcpy(id, row->id, sizeof(id));
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  if (idempotency)
    r = replay(db, idempotency, id, &replayed);
  if (r == 0 && !replayed)
    r = check_quota(store, db, row->owner);
  if (r == 0 && !replayed)
    r = insert_job(db, row, labels, idempotency, &seq);
  r = store_write_end(store, r);
  if (r < 0)
    return r;
  memcpy(ret_id, id, sizeof(id));
  *ret_replayed = replayed;
  if (ret_seq)
    *ret_seq = seq;
  return 0;
}

int store_job_input(struct store *store, const char *job, const char *pointer, struct job_input *ret_input) {
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r =
      store_prepare(db, &statement,
                    "SELECT dataset, model FROM job_inputs WHERE job = (SELECT seq FROM jobs WHERE id = ?1) "
                    "AND pointer = ?2 AND coalesce(dataset, model) IS NOT NULL",
                    "tt", job, pointer);
  if (r == 0)
    r = store_step(statement);
  if (r > 0) {
    ret_input->pointer = pointer;
    store_text(statement, 0, ret_input->dataset_id, sizeof(ret_input->dataset_id));
    store_text(statement, 1, ret_input->model_id, sizeof(ret_input->model_id));
  }
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

/* ---- lists ---- */

/* "[\"queued\",...]" of the states whose bits are set; "" when all are wanted. */
static void states_json(uint32_t states, char ret_text[128]) {
  size_t used = 0;
  ret_text[0] = 0;
  if (states == 0)
    return;
  for (uint32_t i = 0; i < JOB_STATE_COUNT; i++)
    if (states & (1u << i))
      used += (size_t)snprintf(ret_text + used, 128 - used, "%s\"%s\"", used ? "," : "[", state_names[i]);
  (void)snprintf(ret_text + used, 128 - used, "%s", used ? "]" : "[]");
}

static int read_jobs(sqlite3_stmt *statement, struct job_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct job_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    r = row ? read_job(statement, row) : -ENOMEM;
    if (r < 0)
      return r;
    (*count)++;
  }
  return r;
}

int store_job_list(struct store *store, const struct job_filter *filter, const struct store_page *page,
                   struct job_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
/* Jobs that have not ended are few among many: they are found by their state, others in their order. */
#define FILTER(index, state)                                                                            \
  COLUMNS index "WHERE " state "AND (?2 IS NULL OR EXISTS (SELECT 1 FROM labels l WHERE l.job = j.seq " \
                "AND l.key = ?2 AND (?3 IS NULL OR l.value = ?3))) AND j.created_at > ?4 "              \
                "AND (?7 IS NULL OR j.owner = ?7) "
#define ANY FILTER("", "(?1 = '' OR j.state IN (SELECT value FROM json_each(iif(?1 = '', '[]', ?1)))) ")
#define OPEN FILTER("INDEXED BY jobs_claim ", "j.state IN (SELECT value FROM json_each(?1)) ")
#define DOWN "AND j.seq < ?5 ORDER BY j.seq DESC LIMIT ?6"
#define UP "AND j.seq > ?5 ORDER BY j.seq LIMIT ?6"
  static const char *const queries[2][2] = {{ANY UP, ANY DOWN}, {OPEN UP, OPEN DOWN}};
#undef UP
#undef DOWN
#undef OPEN
#undef ANY
#undef FILTER
  const uint32_t ended = 1u << JOB_STATE_CANCELED | 1u << JOB_STATE_SUCCEEDED | 1u << JOB_STATE_FAILED;
  const bool open = filter->states && !(filter->states & ended);
  const char *sql = queries[open][page->descending];
  struct job_row *rows = NULL;
  uint32_t count = 0, limit = store_page_limit(page);
  char states[128];
  states_json(filter->states, states);
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "tttllut", states, filter->label_key, filter->label_value,
                        filter->created_after, store_page_cursor(page), limit, page->owner);
  if (r == 0)
    r = read_jobs(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0) {
    job_rows_free(rows, count);
    return r;
  }
  *ret_next = 0;
  if (count == limit) {
    *ret_next = rows[limit - 2].seq;
    job_row_clear(&rows[--count]);
  }
  *ret_count = count;
  *ret_rows = rows;
  return 0;
}

static int read_transitions(sqlite3_stmt *statement, struct transition_row **rows, uint32_t *count) {
  uint32_t capacity = 0;
  int r;
  while ((r = store_step(statement)) > 0) {
    struct transition_row *row = store_grow(rows, *count, &capacity, sizeof(*row));
    char state[16];
    if (!row)
      return -ENOMEM;
    store_text(statement, 0, state, sizeof(state));
    if (job_state_from_name(state, &row->state) < 0)
      return -EIO;
    row->at = sqlite3_column_int64(statement, 1);
    store_text(statement, 2, row->reason, sizeof(row->reason));
    (*count)++;
  }
  return r;
}

int store_job_transitions(struct store *store, const char *id, struct transition_row **ret_rows,
                          uint32_t *ret_count) {
  static const char sql[] =
      "SELECT state, at, reason FROM transitions WHERE job = (SELECT seq FROM jobs WHERE id = ?1) "
      "ORDER BY number";
  _cleanup_(freep) struct transition_row *rows = NULL;
  uint32_t count = 0;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "t", id);
  if (r == 0)
    r = read_transitions(statement, &rows, &count);
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_rows = TAKE(rows);
  *ret_count = count;
  return 0;
}

int store_job_queue(struct store *store, const char *id, struct store_queue *ret_queue) {
  static const char sql[] =
      "SELECT (SELECT count(*) FROM jobs other WHERE " STARTABLE_OTHER
      "AND (other.priority > j.priority OR (other.priority = j.priority AND other.seq < j.seq))),"
      "  (SELECT avg(runtime_s) FROM (SELECT runtime_s FROM jobs WHERE state = 'succeeded' ORDER BY seq DESC "
      "LIMIT 10)),"
      "  EXISTS (SELECT 1 FROM datasets d WHERE d.state = 'ingesting' AND (d.id = j.dataset OR d.id IN "
      "(SELECT dataset FROM job_inputs WHERE job = j.seq))),"
      "  iif(j.retry_at > ?2, j.retry_at, 0) "
      "FROM jobs j WHERE j.id = ?1";
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "tl", id, time_now_ms());
  if (r == 0)
    r = store_step(statement);
  if (r > 0)
    *ret_queue = (struct store_queue){.ahead = store_u32(statement, 0),
                                      .mean_runtime_s = sqlite3_column_type(statement, 1) == SQLITE_NULL
                                                            ? -1
                                                            : sqlite3_column_double(statement, 1),
                                      .ingesting = sqlite3_column_int(statement, 2) != 0,
                                      .retry_at = sqlite3_column_int64(statement, 3)};
  store_finish(statement);
  store_read_end(store, db);
  return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

int store_job_counts(struct store *store, uint32_t ret_counts[JOB_STATE_COUNT]) {
  uint32_t counts[JOB_STATE_COUNT] = {0};
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, "SELECT state, count(*) FROM jobs GROUP BY state", "");
  while (r == 0 && (r = store_step(statement)) > 0) {
    enum job_state state;
    char name[16];
    store_text(statement, 0, name, sizeof(name));
    r = job_state_from_name(name, &state);
    if (r == 0)
      counts[state] = store_u32(statement, 1);
  }
  store_finish(statement);
  store_read_end(store, db);
  if (r == 0)
    memcpy(ret_counts, counts, sizeof(counts));
  return r;
}
