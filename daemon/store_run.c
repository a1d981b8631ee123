/* A job's life: changes of state, progress, checkpoints with the metrics they cover, recovery. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

/* ---- changes of state ---- */

struct job_now {
  int64_t seq;
  enum job_state state;
  uint32_t attempt, restarts;
  char phase[32], model[STORE_ID];
};

static int job_now(sqlite3 *db, const char *id, struct job_now *ret_now) {
  _statement_ *statement = NULL;
  char state[16];
  int r = store_prepare(db, &statement,
                        "SELECT seq, state, attempt, restarts, phase, " STORE_JOB_MODEL " "
                        "FROM jobs j WHERE id = ?1",
                        "t", id);
  if (r == 0)
    r = store_step(statement);
  if (r <= 0)
    return r < 0 ? r : -ENOENT;
  ret_now->seq = sqlite3_column_int64(statement, 0);
  store_text(statement, 1, state, sizeof(state));
  ret_now->attempt = store_u32(statement, 2);
  ret_now->restarts = store_u32(statement, 3);
  store_text(statement, 4, ret_now->phase, sizeof(ret_now->phase));
  store_text(statement, 5, ret_now->model, sizeof(ret_now->model));
  return job_state_from_name(state, &ret_now->state) < 0 ? -EIO : 0;
}

static int event_state(sqlite3 *db, const struct job_now *now, enum job_state state, const char *phase,
                       const char *reason, int64_t *ret_seq) {
  char at[TIME_TEXT];
  time_text(time_now_ms(), at);
  json_t *data = json_pack("{s:s, s:s, s:i, s:s, s:s}", "state", job_state_name(state), "phase", phase,
                           "attempt", (int)now->attempt, "reason", reason, "at", at);
  return store_event_in(db, now->seq, "state", data, ret_seq);
}

static int event_end(sqlite3 *db, const struct job_now *now, enum job_state state, const char *error,
                     int64_t *ret_seq) {
  json_t *problem = error ? json_loads(error, 0, NULL) : json_null();
  json_t *data = json_pack("{s:s, s:s?, s:o}", "state", job_state_name(state), "model",
                           now->model[0] ? now->model : NULL, "error", problem);
  return store_event_in(db, now->seq, "end", data, ret_seq);
}

static int update_state(sqlite3 *db, const struct job_now *now, enum job_state to, const char *reason,
                        const char *error) {
  int64_t at = time_now_ms();
  int r =
      store_exec(db,
                 "UPDATE jobs SET state = ?2, error = ?3, finished_at = CASE WHEN ?4 THEN ?5 END, "
                 "started_at = CASE WHEN ?2 = 'running' THEN coalesce(started_at, ?5) ELSE started_at END, "
                 "fraction = CASE WHEN ?2 = 'succeeded' THEN 1.0 ELSE fraction END, "
                 "eta_s = CASE WHEN ?2 = 'succeeded' THEN 0.0 ELSE eta_s END WHERE seq = ?1",
                 "lttil", now->seq, job_state_name(to), error, (int)job_state_terminal(to), at);
  if (r == 0)
    r = store_exec(db,
                   "INSERT INTO transitions (job, number, state, at, reason) "
                   "SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM transitions WHERE job = ?1",
                   "ltlt", now->seq, job_state_name(to), at, reason);
  if (r == 0 && job_state_terminal(to))
    r = store_exec(db, "DELETE FROM checkpoints WHERE job = ?1", "l", now->seq);
  return r;
}

static int move_first_in(sqlite3 *db, const char *id, const struct job_move *moves, uint32_t count,
                         enum job_state *ret_state, int64_t *ret_seq) {
  struct job_now now;
  uint32_t i = 0;
  int r = job_now(db, id, &now);
  if (r < 0)
    return r;
  if (ret_state)
    *ret_state = now.state;
  while (i < count && !(moves[i].from & (1u << now.state)))
    i++;
  if (i == count)
    return -EBUSY;
  const struct job_move *move = &moves[i];
  r = update_state(db, &now, move->to, move->reason, move->error);
  if (r == 0)
    r = event_state(db, &now, move->to, now.phase, move->reason, ret_seq);
  if (r == 0 && job_state_terminal(move->to))
    r = event_end(db, &now, move->to, move->error, ret_seq);
  return r;
}

int store_job_move_in(sqlite3 *db, const char *id, uint32_t from, enum job_state to, const char *reason,
                      const char *error, enum job_state *ret_state, int64_t *ret_seq) {
  return move_first_in(db, id, &(struct job_move){from, to, reason, error}, 1, ret_state, ret_seq);
}

int store_job_move_first(struct store *store, const char *id, const struct job_move *moves, uint32_t count,
                         enum job_state *ret_state, int64_t *ret_seq) {
  sqlite3 *db;
  int64_t seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_write_end(store, move_first_in(db, id, moves, count, ret_state, &seq));
  if (r == 0 && ret_seq)
    *ret_seq = seq;
  return r;
}

int store_job_move(struct store *store, const char *id, uint32_t from, enum job_state to, const char *reason,
                   const char *error, enum job_state *ret_state, int64_t *ret_seq) {
  return store_job_move_first(store, id, &(struct job_move){from, to, reason, error}, 1, ret_state, ret_seq);
}

int store_job_claim(struct store *store, const char *id, const struct checkpoint_row *checkpoint,
                    int64_t *ret_seq) {
  sqlite3 *db;
  int64_t seq = 0, job = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_job_move_in(db, id, 1u << JOB_STATE_QUEUED, JOB_STATE_RUNNING,
                        checkpoint ? "continues" : "started", NULL, NULL, &seq);
  if (r == 0)
    r = store_job_seq(db, id, &job);
  if (r == 0) /* what the job is going to compute again */
    r = store_exec(
        db, "DELETE FROM metrics WHERE job = ?1 AND CASE per_epoch WHEN 1 THEN epoch > ?2 ELSE step > ?3 END",
        "luL", job, checkpoint ? checkpoint->epochs : 0, checkpoint ? checkpoint->step : 0);
  r = store_write_end(store, r);
  if (r == 0)
    *ret_seq = seq;
  return r;
}

/* ---- trying again ---- */

/* running -> queued, or failed when that was tried often enough. The count starts anew with each checkpoint
 * and with what else the job keeps. */
static int retry_running(sqlite3 *db, const struct job_now *now, const char *id, const char *problem,
                         int64_t delay_ms, bool *ret_retry, int64_t *ret_seq) {
  const bool again = now->restarts < FAILURES_IN_A_ROW;
  int r = 0;
  if (again)
    r = store_exec(db,
                   "UPDATE jobs SET restarts = restarts + 1, attempt = attempt + 1, retry_at = ?2 "
                   "WHERE seq = ?1",
                   "ll", now->seq, time_now_ms() + (delay_ms << (2 * now->restarts)));
  if (r == 0)
    r = store_job_move_in(db, id, 1u << JOB_STATE_RUNNING, again ? JOB_STATE_QUEUED : JOB_STATE_FAILED,
                          again ? "failed for want of memory or disk; tried again" : "failed again and again",
                          again ? NULL : problem, NULL, ret_seq);
  *ret_retry = again;
  return r;
}

static int retry_in(sqlite3 *db, const char *id, const char *problem, int64_t delay_ms, bool *ret_retry,
                    int64_t *ret_seq) {
  const struct job_move others[] = {
      {1u << JOB_STATE_CANCELING, JOB_STATE_CANCELED, "canceled", NULL},
      {1u << JOB_STATE_PAUSING, JOB_STATE_PAUSED, "failed for want of memory or disk; paused", NULL}};
  struct job_now now;
  int r = job_now(db, id, &now);
  if (r < 0)
    return r;
  if (now.state == JOB_STATE_RUNNING)
    return retry_running(db, &now, id, problem, delay_ms, ret_retry, ret_seq);
  return move_first_in(db, id, others, ARRAY_SIZE(others), NULL, ret_seq);
}

static int wait_running(sqlite3 *db, const struct job_now *now, const char *id, int64_t delay_ms,
                        int64_t *ret_seq) {
  int r = store_exec(db, "UPDATE jobs SET retry_at = ?2, phase = ?3 WHERE seq = ?1", "llt", now->seq,
                     time_now_ms() + delay_ms, STORE_PHASE_WAITS);
  return r < 0 ? r
               : store_job_move_in(db, id, 1u << JOB_STATE_RUNNING, JOB_STATE_QUEUED,
                                   "waiting for disk space", NULL, NULL, ret_seq);
}

static int wait_in(sqlite3 *db, const char *id, int64_t delay_ms, int64_t *ret_seq) {
  const struct job_move others[] = {
      {1u << JOB_STATE_CANCELING, JOB_STATE_CANCELED, "canceled", NULL},
      {1u << JOB_STATE_PAUSING, JOB_STATE_PAUSED, "waiting for disk space; paused", NULL}};
  struct job_now now;
  int r = job_now(db, id, &now);
  if (r < 0)
    return r;
  return now.state == JOB_STATE_RUNNING ? wait_running(db, &now, id, delay_ms, ret_seq)
                                        : move_first_in(db, id, others, ARRAY_SIZE(others), NULL, ret_seq);
}

int store_job_wait(struct store *store, const char *id, int64_t delay_ms, int64_t *ret_seq) {
  sqlite3 *db;
  int64_t seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_write_end(store, wait_in(db, id, delay_ms, &seq));
  if (r == 0)
    *ret_seq = seq;
  return r;
}

int store_job_retry(struct store *store, const char *id, const char *problem, int64_t delay_ms,
                    bool *ret_retry, int64_t *ret_seq) {
  sqlite3 *db;
  int64_t seq = 0;
  bool again = false;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_write_end(store, retry_in(db, id, problem, delay_ms, &again, &seq));
  if (r == 0 && ret_retry)
    *ret_retry = again;
  if (r == 0)
    *ret_seq = seq;
  return r;
}

/* ---- progress ---- */

static int update_progress(sqlite3 *db, const char *id, const struct job_progress *p, double runtime_s) {
  return store_exec(
      db,
      "UPDATE jobs SET fraction = ?2, epoch = ?3, epochs = ?4, step = ?5, total = ?6, images_per_s = ?7, "
      "eta_s = ?8, loss = ?9, runtime_s = ?10 WHERE id = ?1",
      "tduuLLdddd", id, isfinite(p->fraction) ? p->fraction : 0, p->epoch, p->epochs, p->step, p->total,
      isfinite(p->images_per_s) ? p->images_per_s : 0, isfinite(p->eta_s) ? p->eta_s : -1, p->loss,
      runtime_s);
}

int store_job_progress(struct store *store, const char *id, const struct job_progress *progress,
                       double runtime_s) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  return r < 0 ? r : store_write_end(store, update_progress(db, id, progress, runtime_s));
}

int store_job_phase(struct store *store, const char *id, const char *phase, int64_t *ret_seq) {
  sqlite3 *db;
  struct job_now now;
  int64_t seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = job_now(db, id, &now);
  if (r == 0)
    r = store_exec(db, "UPDATE jobs SET phase = ?2 WHERE seq = ?1", "lt", now.seq, phase);
  if (r == 0)
    r = event_state(db, &now, now.state, phase, "", &seq);
  r = store_write_end(store, r);
  if (r == 0)
    *ret_seq = seq;
  return r;
}

/* ---- checkpoints ---- */

int store_checkpoint_list(struct store *store, const char *id, struct checkpoint_row **ret_rows,
                          uint32_t *ret_count) {
  static const char sql[] = "SELECT file, epochs, step, at FROM checkpoints "
                            "WHERE job = (SELECT seq FROM jobs WHERE id = ?1) ORDER BY seq DESC";
  _cleanup_(freep) struct checkpoint_row *rows = NULL;
  uint32_t count = 0, capacity = 0;
  sqlite3 *db = store_read_begin(store);
  sqlite3_stmt *statement = NULL;
  int r = store_prepare(db, &statement, sql, "t", id);
  while (r == 0 && (r = store_step(statement)) > 0) {
    struct checkpoint_row *row = store_grow(&rows, count, &capacity, sizeof(*row));
    r = row ? 0 : -ENOMEM;
    if (!row)
      break;
    store_text(statement, 0, row->file, sizeof(row->file));
    row->epochs = store_u32(statement, 1);
    row->step = (uint64_t)sqlite3_column_int64(statement, 2);
    row->at = sqlite3_column_int64(statement, 3);
    count++;
  }
  store_finish(statement);
  store_read_end(store, db);
  if (r < 0)
    return r;
  *ret_rows = TAKE(rows);
  *ret_count = count;
  return 0;
}

static int insert_metric(sqlite3 *db, int64_t job, const struct metric_row *row, int64_t *ret_seq) {
  static const char sql[] =
      "INSERT INTO metrics (job, name, epoch, step, per_epoch, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
      "ON CONFLICT (job, name, epoch) WHERE per_epoch = 1 "
      "DO UPDATE SET step = excluded.step, value = excluded.value";
  int r =
      store_exec(db, sql, "ltuLid", job, row->name, row->epoch, row->step, (int)row->per_epoch, row->value);
  if (r < 0 || !row->per_epoch)
    return r;
  json_t *value = isfinite(row->value) ? json_real(row->value) : json_null();
  return store_event_in(db, job, "metric",
                        json_pack("{s:s, s:I, s:I, s:o}", "name", row->name, "epoch", (json_int_t)row->epoch,
                                  "step", (json_int_t)row->step, "value", value),
                        ret_seq);
}

static int replace_checkpoint(sqlite3 *db, int64_t job, const struct checkpoint_row *checkpoint) {
  int r = store_exec(db, "DELETE FROM checkpoints WHERE job = ?1", "l", job);
  if (r == 0)
    r = store_exec(db, "INSERT INTO checkpoints (job, file, epochs, step, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                   "ltuLl", job, checkpoint->file, checkpoint->epochs, checkpoint->step, checkpoint->at);
  if (r == 0)
    r = store_exec(db, "UPDATE jobs SET restarts = 0 WHERE seq = ?1", "l", job);
  return r;
}

int store_checkpoint_commit(struct store *store, const char *id, const struct checkpoint_row *checkpoint,
                            const struct metric_row *rows, uint32_t count,
                            const struct job_progress *progress, double runtime_s, int64_t *ret_seq) {
  sqlite3 *db;
  int64_t job, seq = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = store_job_seq(db, id, &job);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = insert_metric(db, job, &rows[i], &seq);
  if (r == 0)
    r = replace_checkpoint(db, job, checkpoint);
  if (r == 0)
    r = update_progress(db, id, progress, runtime_s);
  r = store_write_end(store, r);
  if (r == 0)
    *ret_seq = seq; /* 0: no event */
  return r;
}

int store_job_kept(struct store *store, const char *id) {
  sqlite3 *db;
  int r = store_write_begin(store, &db);
  return r < 0 ? r
               : store_write_end(store, store_exec(db,
                                                   "UPDATE jobs SET restarts = 0 "
                                                   "WHERE id = ?1 AND restarts > 0",
                                                   "t", id));
}

/* ---- recovery ---- */

static const char restart_problem[] =
    "{\"type\":\"" JOB_PROBLEM_TYPE "restarts\",\"title\":\"The job stopped the daemon\",\"status\":500,"
    "\"code\":\"restarts\","
    "\"detail\":\"This job was broken off four times in a row without a new checkpoint, by ends of the "
    "daemon or "
    "for want of memory or disk. It may need more memory than "
    "there is: look into the system's log, lower train.batch or the model's width, and submit it again.\"}";

static int recover_running(sqlite3 *db, const char *id, uint32_t *ret_requeued, uint32_t *ret_failed) {
  struct job_now now;
  int r = job_now(db, id, &now);
  if (r < 0)
    return r;
  if (now.restarts >= FAILURES_IN_A_ROW) {
    (*ret_failed)++;
    return store_job_move_in(db, id, 1u << JOB_STATE_RUNNING, JOB_STATE_FAILED,
                             "broken off again and again without a checkpoint", restart_problem, NULL, NULL);
  }
  (*ret_requeued)++;
  r = store_exec(db, "UPDATE jobs SET restarts = restarts + 1 WHERE seq = ?1", "l", now.seq);
  return r < 0 ? r
               : store_job_move_in(db, id, 1u << JOB_STATE_RUNNING, JOB_STATE_QUEUED, "daemon restarted",
                                   NULL, NULL, NULL);
}

static int recover_one(sqlite3 *db, const char *id, enum job_state state, uint32_t *ret_requeued,
                       uint32_t *ret_failed) {
  switch (state) {
  case JOB_STATE_RUNNING:
    return recover_running(db, id, ret_requeued, ret_failed);
  case JOB_STATE_PAUSING:
    return store_job_move_in(db, id, 1u << state, JOB_STATE_PAUSED, "daemon restarted", NULL, NULL, NULL);
  default:
    return store_job_move_in(db, id, 1u << state, JOB_STATE_CANCELED, "canceled; daemon restarted", NULL,
                             NULL, NULL);
  }
}

struct interrupted_job {
  char id[STORE_ID];
  enum job_state state;
};

static int interrupted_jobs(sqlite3 *db, struct interrupted_job **rows, uint32_t *count) {
  uint32_t capacity = 0;
  _statement_ *statement = NULL;
  int r = store_prepare(
      db, &statement,
      "SELECT id, state FROM jobs WHERE state IN ('running', 'pausing', 'canceling') ORDER BY seq", "");
  while (r == 0 && (r = store_step(statement)) > 0) {
    char state[16];
    struct interrupted_job *row = store_grow(rows, *count, &capacity, sizeof(*row));
    if (!row)
      return -ENOMEM;
    store_text(statement, 0, row->id, sizeof(row->id));
    store_text(statement, 1, state, sizeof(state));
    r = job_state_from_name(state, &row->state);
    (*count)++;
  }
  return r;
}

int store_recover(struct store *store, uint32_t *ret_requeued, uint32_t *ret_failed) {
  sqlite3 *db;
  _cleanup_(freep) struct interrupted_job *jobs = NULL;
  uint32_t count = 0, requeued = 0, failed = 0;
  int r = store_write_begin(store, &db);
  if (r < 0)
    return r;
  r = interrupted_jobs(db, &jobs, &count);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = recover_one(db, jobs[i].id, jobs[i].state, &requeued, &failed);
  r = store_write_end(store, r);
  if (r < 0)
    return r;
  *ret_requeued = requeued;
  *ret_failed = failed;
  return 0;
}
