/* What the store's files share: connections, statements with typed arguments, growing arrays of rows. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>

#include "daemon/store.h"

#define STORE_READERS 4u

struct store {
  sqlite3 *writer;
  pthread_mutex_t write_lock; /* holds one transaction of the writer */
  pthread_mutex_t read_lock;
  pthread_cond_t reader_free;
  sqlite3 *reader[STORE_READERS]; /* the first reader_count are free */
  uint32_t reader_count;
  atomic_ullong owner_jobs, owner_bytes, owner_images; /* store_set_quota */
  atomic_int fault;                                    /* store_fault */
  atomic_ullong version;                               /* store_version */
  char *path;
  atomic_bool checked, closing; /* store_check */
  atomic_uint scrubs;           /* under way, which a check makes way for */
};

int store_connect(const char *path, bool writer, sqlite3 **ret_db, struct guise_error *err);
void store_disconnect(sqlite3 *db);
int store_health(struct store *store, int r); /* notes what a call met; returns r */

/* ---- store_check.c ---- */
/* Counts what is damaged, unless the database is so large that this would take long. */
int store_check_small(sqlite3 *db, bool whatever_size, bool *ret_checked, int64_t *ret_damaged);

/* ---- store_audit.c ---- */
/* In a transaction that changes `object`: adds the row that the thread expects (store_audit_expect), if it
 * does. */
int store_audit_due(sqlite3 *db, const char *object);
void store_audit_ended(bool committed); /* the transaction */
const char *store_audit_sql(bool actor,
                            bool object); /* lists; the arguments are cursor, actor, object, limit */

/* The negative errno of what the connection's last call returned. */
int store_code(sqlite3 *db);

/* A write transaction: begin takes the lock, end commits when r >= 0, else rolls back, and returns r or the
 * commit's error. After a failed begin there is no end. */
int store_write_begin(struct store *store, sqlite3 **ret_db);
int store_write_end(struct store *store, int r);
/* A connection for reading; one statement sees one state of the database. */
sqlite3 *store_read_begin(struct store *store);
void store_read_end(struct store *store, sqlite3 *db);

/* `types` names the C types of the arguments bound to ?1, ?2, ...: i int, u uint32_t, l int64_t, L uint64_t,
 * d double (not finite = NULL), t const char * (NULL = NULL). */
int store_prepare(sqlite3 *db, sqlite3_stmt **ret_statement, const char *sql, const char *types, ...);
int store_step(sqlite3_stmt *statement); /* 1 = a row, 0 = done, negative errno */
/* Runs a statement to its end; 0 or negative errno. sqlite3_changes() tells how many rows it changed. */
int store_exec(sqlite3 *db, const char *sql, const char *types, ...);
/* The first column of the first row: 0, -ENOENT without a row, or negative errno. */
int store_integer(sqlite3 *db, int64_t *ret_value, const char *sql, const char *types, ...);

/* ---- store_statement.c: statements are kept for the next time ---- */
void store_statements_open(sqlite3 *db);  /* from now on, for this connection */
void store_statements_close(sqlite3 *db); /* before the connection is closed */
int store_statement(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement); /* without its arguments */
void store_finish(sqlite3_stmt *statement);                                      /* NULL is fine */

static inline void store_finishp(sqlite3_stmt **statement) {
  store_finish(*statement);
}
#define _statement_ _cleanup_(store_finishp) sqlite3_stmt

/* Column readers. store_text cuts at the buffer's size; store_text_dup returns NULL for NULL or without
 * memory. */
void store_text(sqlite3_stmt *statement, int column, char *ret_text, size_t size);
char *store_text_dup(sqlite3_stmt *statement, int column);
uint32_t store_u32(sqlite3_stmt *statement, int column);
double store_double(sqlite3_stmt *statement, int column); /* NULL = NAN */

/* Room for one more element: *array grows by doubling, the new element is zeroed. NULL without memory. */
void *store_grow(void *array_pointer, uint32_t count, uint32_t *capacity, size_t size);

/* Pages: the cursor to compare with and the limit to ask for (one more than the page has). */
int64_t store_page_cursor(const struct store_page *page);
uint32_t store_page_limit(const struct store_page *page);

/* The model that the job `j` made, or of an audit the one it attacks. */
#define STORE_JOB_MODEL                                  \
  "coalesce((SELECT id FROM models WHERE job = j.seq), " \
  "(SELECT model FROM job_inputs WHERE job = j.seq AND pointer = '/model'))"

/* ---- inside a write transaction ---- */
int store_job_seq(sqlite3 *db, const char *id, int64_t *ret_seq); /* -ENOENT */
/* data is stolen, NULL = out of memory. */
int store_event_in(sqlite3 *db, int64_t job, const char *type, json_t *data, int64_t *ret_seq);
int store_job_move_in(sqlite3 *db, const char *id, uint32_t from, enum job_state to, const char *reason,
                      const char *error, enum job_state *ret_state, int64_t *ret_seq);
/* Appends the first column of each row, texts of `width` bytes with their NUL, to an array. */
int store_append_texts(sqlite3 *db, void *array_pointer, uint32_t *count, size_t width, const char *sql,
                       const char *types, ...);
/* Those of blobs[0..count) that nothing refers to, at the array's start; *count becomes their number. */
int store_blobs_unused(sqlite3 *db, char (*blobs)[SHA256_HEX], uint32_t *count);
/* Ends a write that let go of blobs, which are taken: gives back those that nothing refers to any more. With
 * r < 0, or when that fails, nothing was written and nothing is given. */
int store_write_end_blobs(struct store *store, sqlite3 *db, int r, char (*blobs)[SHA256_HEX], uint32_t count,
                          char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count);
