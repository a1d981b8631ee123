/* The store: every durable fact of the daemon in one SQLite database, guise.db.
 *
 * One writer connection under a mutex (BEGIN IMMEDIATE, short, synchronous=FULL: a function that changes
 * something returns after it is on disk), and a pool of read-only connections, so that in WAL mode a status
 * poll never waits for a writer's fsync. All functions are thread-safe and may block on the disk.
 *
 * Results: 0; -ENOENT no such row; -EEXIST a unique value is taken; -EBUSY the state or a reference forbids
 * it; -EUSERS the owner's quota is used up; -EINVAL a constraint refused the values; -ENOMEM; -ENOSPC the
 * disk is full, -EIO it fails, -EUCLEAN the file is damaged (answer these three with 503). After them the
 * store is still readable. Later writes are tried again, but in a damaged file, which they could make worse.
 *
 * Times are milliseconds since 1970 UTC. Lists are pages: rows after (or, descending, before) `cursor`, a row
 * number of that list; 0 starts. *ret_next is the next page's cursor, 0 at the end. Ids are a prefix and 26
 * random base32 characters. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"
#include "core/train/job.h"

#define STORE_ID 40    /* bytes of an id with its NUL */
#define STORE_NAME 128 /* of a data set's, pairs list's or file's name with its NUL */

#define STORE_APPLICATION_ID 0x67756973 /* "guis" */

struct store;

/* A numbered file of schema/, embedded by schema/embed.sh. The last entry has number 0. */
struct schema_migration {
  uint32_t number;
  const char *name; /* "0001-initial.sql" */
  const char *sql;
};
extern const struct schema_migration schema_migrations[];
extern const char schema_openapi[]; /* schema/openapi.yaml */
extern const size_t schema_openapi_size;
extern const char schema_openapi_json[]; /* the same document in JSON */
extern const size_t schema_openapi_json_size;
extern const char schema_report[]; /* schema/report.schema.json */
extern const size_t schema_report_size;

/* Opens or creates `path`, migrates (after a copy to PATH.before-N.bak when there is something to lose).
 * -EPROTONOSUPPORT when a newer guise wrote it, -EMEDIUMTYPE when it is another program's database.
 * migrations NULL = schema_migrations. */
int store_open(const char *path, const struct schema_migration *migrations, struct store **ret_store,
               struct guise_error *err);
struct store *store_close(struct store *store); /* NULL is fine; no call may be under way */
bool store_alive(struct store *store);          /* a read succeeds; for the watchdog */
/* Whether it was too large to be checked when it was opened: store_check() is to do it beside the work. That
 * returns 0, -EUCLEAN, which store_fault() tells from then on, or -EINTR: ask again, unless
 * store_check_stop() ended it for good. */
bool store_unchecked(const struct store *store);
int store_check(struct store *store);
void store_check_stop(struct store *store);
/* Another number after every write: what was read before it may have changed. */
uint64_t store_version(const struct store *store);
/* What the last write met: 0, -ENOSPC, -EIO; or -EUCLEAN, for good, when damage was met in any call. */
int store_fault(struct store *store);
int store_probe(struct store *store); /* writes nothing new, durably: tells whether the disk works again */
/* After an erasure: what was deleted also leaves the write-ahead log. False when a reader was in the way for
 * longer than 5 s; a later checkpoint does it then. */
bool store_scrub(struct store *store);

/* What one owner may have: jobs that have not ended, bytes and images of data sets; 0 = any number. Checked
 * in the transaction that adds one. What has no owner is not counted. */
void store_set_quota(struct store *store, uint64_t jobs, uint64_t bytes, uint64_t images);
/* How many bytes the owner may still add, UINT64_MAX = any number; -EUSERS when he may have no more images.
 * His data set `name` is not counted: what is sent for it again is no addition. */
int store_owner_room(struct store *store, const char *owner, const char *name, uint64_t *ret_bytes);

int64_t time_now_ms(void);
#define TIME_TEXT 32
void time_text(int64_t ms, char ret_text[TIME_TEXT]);    /* "2026-01-31T12:34:56.789Z" */
int time_parse(const char *text, int64_t *ret_ms);       /* RFC 3339 with Z or an offset; -EINVAL */
void id_make(const char *prefix, char ret_id[STORE_ID]); /* "ds_", "job_", "mdl_" */
bool id_valid(const char *text);                         /* of the form that id_make gives */
bool name_valid(const char *name); /* 1..100 of [A-Za-z0-9._-], starts with a letter or digit, no id's prefix
                                      (ds_, job_, mdl_, tok_) */

struct store_page {
  int64_t cursor; /* 0 = from the start */
  uint32_t limit; /* 1..1000; 0 = 100 */
  bool descending;
  const char *owner; /* of data sets, jobs, models: only this one's; NULL = everybody's */
};

/* Whether a client that may see what is `owner`'s (NULL: everything) may see an object of `object_owner`. */
bool owner_sees(const char *owner, const char *object_owner);

/* ---- data sets ---- */
enum dataset_state { DATASET_INGESTING, DATASET_READY, DATASET_FAILED };
const char *dataset_state_name(enum dataset_state state); /* "ingesting", ... */
/* What it holds: a pack of pictures, or a file of templates (core/template/templates.h). */
enum dataset_kind { DATASET_FACES, DATASET_TEMPLATES };
const char *dataset_kind_name(enum dataset_kind kind); /* "faces", "templates" */

struct dataset_row {
  int64_t seq;
  char id[STORE_ID], name[STORE_NAME];
  enum dataset_state state;
  enum dataset_kind kind;
  uint32_t size; /* pixels of a side of the pack's images, or of those that templates were made of */
  uint32_t identities, images, rejected; /* images: templates where it holds those */
  uint64_t bytes;                        /* of the pack; of the upload until ready */
  char sha256[SHA256_HEX];               /* of the pack, "" until ready: names the blob */
  char upload_sha256[SHA256_HEX];        /* of the uploaded file: the 200 or 409 of a second PUT */
  int64_t created_at;
  char error[512];        /* why it failed, one sentence; "" otherwise */
  char owner[STORE_NAME]; /* "" = made without a token; so in jobs and models */
};
struct reject_row {
  int64_t seq;
  char path[520], code[32], detail[256];
};
struct pairs_row {
  char name[STORE_NAME];
  char sha256[SHA256_HEX]; /* of the text: names the blob */
  uint64_t bytes;
  uint32_t count, folds;
};

/* `key` is an id or a name everywhere. Arrays are freed by the caller with free(). */
int store_dataset_get(struct store *store, const char *key, struct dataset_row *ret_row);
int store_dataset_list(struct store *store, const struct store_page *page, struct dataset_row **ret_rows,
                       uint32_t *ret_count, int64_t *ret_next);
/* The oldest in state ingesting behind the row `after`. */
int store_dataset_next_ingest(struct store *store, int64_t after, struct dataset_row *ret_row);
/* row: id, name, kind, size, bytes, upload_sha256, created_at, owner. -EEXIST when the name is taken. */
int store_dataset_insert(struct store *store, const struct dataset_row *row);
int store_dataset_restart(struct store *store,
                          const char *id); /* forgets the rejects of a broken off ingest */
int store_rejects_add(struct store *store, const char *id, const struct reject_row *rows, uint32_t count);
/* By id: counts, bytes, sha256, size (0: as it was). -EUSERS when that is more than its owner may have. */
int store_dataset_ready(struct store *store, const struct dataset_row *row);
/* Also fails the jobs that wait for it; their ids are told to `failed` (may be NULL) after the commit. */
int store_dataset_fail(struct store *store, const char *id, uint32_t rejected, const char *error,
                       void (*failed)(void *context, const char *job, int64_t seq), void *context);
/* From failed to ingesting, when its upload is there again. -ENOENT when it is not failed. */
int store_dataset_again(struct store *store, const char *id);
int store_reject_list(struct store *store, const char *dataset_id, const struct store_page *page,
                      struct reject_row **ret_rows, uint32_t *ret_count, int64_t *ret_next);
/* Inserts or replaces. ret_unused: "" or the blob that the old text had and nobody uses now. */
int store_pairs_put(struct store *store, const char *dataset_id, const struct pairs_row *row,
                    char ret_unused[SHA256_HEX]);
int store_pairs_get(struct store *store, const char *dataset_id, const char *name, struct pairs_row *ret_row);
int store_pairs_list(struct store *store, const char *dataset_id, const struct store_page *page,
                     struct pairs_row **ret_rows, uint32_t *ret_count, int64_t *ret_next);

/* ---- networks that jobs trained on the way, kept for later ones ---- (store_network.c) */
struct network_row {
  char key[SHA256_HEX], sha256[SHA256_HEX];
  uint64_t bytes;
  const char *dataset, *public_dataset, *model; /* ids of what it is erased with; NULL = none */
  int64_t used_at;
};
int store_network_get(struct store *store, const char *key, char ret_sha256[SHA256_HEX]); /* -ENOENT */
int store_network_used(struct store *store, const char *key, int64_t at);
int store_network_remove(struct store *store, const char *sha256); /* all of this content */
/* In the place of one of the same key; those that were used longest ago go until the others have most_bytes
 * at most. *ret_blobs: what nothing refers to any more, which the caller unlinks and frees. -ENOENT: what it
 * has to be erased with is not there. */
int store_network_put(struct store *store, const struct network_row *row, uint64_t most_bytes,
                      char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count);
/* All of them; the blobs as above. Writes nothing when there are none. */
int store_network_clear(struct store *store, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count);
int store_network_bytes(struct store *store, uint64_t *ret_bytes);

/* ---- erasing ---- (store_erase.c) */
struct store_erased {
  char (*blobs)[SHA256_HEX]; /* that nothing refers to any more; the caller unlinks them */
  char (*models)[STORE_ID];  /* that were trained on the data set or attacked with it, all of them marked */
  uint32_t blob_count, model_count;
  uint32_t kept;                    /* blobs that something else refers to, too */
  uint32_t rejects, pairs, reports; /* rows; reports: private ones, which show faces */
  uint32_t shown; /* public reports that showed public faces; not the store's to count: erase_reports.c */
};
void store_erased_clear(struct store_erased *erased);
/* Row, rejects, pairs, the networks that learnt from it, and the private reports of its models. -EBUSY while
 * a job that is not terminal uses it. */
int store_dataset_delete(struct store *store, const char *id, struct store_erased *ret_erased);
/* A data set whose pack was written anew without a person, or an image of one. */
struct store_rewrite {
  const char *dataset;             /* id */
  const char *old_sha256;          /* of the pack that was read */
  const struct dataset_row *to;    /* identities, images, bytes, sha256 */
  const char *identity, *image;    /* whose rejects go; image NULL = all of the person's */
  const char (*pairs)[STORE_NAME]; /* lists to erase, because they name the person */
  uint32_t pair_count;
};
/* -EBUSY as store_dataset_delete; -ESTALE when the data set's pack is another one. Its upload_sha256 becomes
 * the new pack's: the upload's bytes are no longer what is here. */
int store_dataset_rewrite(struct store *store, const struct store_rewrite *rewrite,
                          struct store_erased *ret_erased);
/* Models whose reports may show faces of the data set: it was the attackers' public one, in training or in a
 * later audit. ret_ids is freed by the caller. */
int store_models_shown(struct store *store, const char *dataset, char (**ret_ids)[STORE_ID],
                       uint32_t *ret_count);
/* Whether a job that is not terminal uses the data set: 0 or -EBUSY. */
int store_dataset_unused(struct store *store, const char *id);
/* A job's row with all that hangs on it. -EBUSY when it is not terminal, or its results are in a model that
 * is there. */
int store_job_delete(struct store *store, const char *id);

/* ---- jobs ---- */
enum job_state {
  JOB_STATE_QUEUED,
  JOB_STATE_RUNNING,
  JOB_STATE_PAUSING,
  JOB_STATE_PAUSED,
  JOB_STATE_CANCELING,
  JOB_STATE_CANCELED,
  JOB_STATE_SUCCEEDED,
  JOB_STATE_FAILED,
  JOB_STATE_COUNT
};
const char *job_state_name(enum job_state state);                     /* "queued", ... */
int job_state_from_name(const char *name, enum job_state *ret_state); /* -EINVAL */
bool job_state_terminal(enum job_state state);

/* A data set or a model that a job needs besides its own. */
#define JOB_INPUTS_MAX 9
struct job_input {
  const char *pointer; /* where the specification names it, "/mask/reference"; a literal */
  char dataset_id[STORE_ID], model_id[STORE_ID]; /* one of them; "" = none */
};

#define JOB_PROBLEM_TYPE "urn:guise:problem:"
struct job_row {
  int64_t seq;
  char id[STORE_ID], dataset_id[STORE_ID] /* "" once deleted */, model_id[STORE_ID] /* "" = none */;
  char pairs_dataset_id[STORE_ID], pairs_name[STORE_NAME];
  enum job_state state;
  char type[16], phase[32];     /* phase "" before the first */
  uint32_t attempt;             /* from 1 */
  uint32_t threads;             /* 0 = the daemon's default */
  uint32_t max_runtime_s;       /* 0 = none */
  double runtime_s;             /* spent running, earlier runs included; persisted with progress */
  int32_t priority;             /* higher first */
  struct job_progress progress; /* as last persisted; service_job_get overlays the live values */
  char *spec;                   /* resolved spec, JSON text */
  char *error;                  /* NULL or a problem object, JSON text, of the type JOB_PROBLEM_TYPE "CODE" */
  int64_t created_at, started_at, finished_at; /* 0 = not yet */
  struct job_input inputs[JOB_INPUTS_MAX];     /* for store_job_insert; not read back */
  uint32_t input_count;
  char owner[STORE_NAME];
};
void job_row_clear(struct job_row *row); /* frees the strings */
void job_rows_free(struct job_row *rows, uint32_t count);

struct transition_row {
  enum job_state state;
  int64_t at;
  char reason[256];
};
struct checkpoint_row {
  char file[STORE_NAME]; /* in the job's work directory */
  uint32_t epochs;       /* done */
  uint64_t step;
  int64_t at;
};

struct store_idempotency {
  char key[256];
  char body_sha256[SHA256_HEX];
};
/* row: id, type, dataset_id, pairs_*, inputs, threads, max_runtime_s, priority, spec, created_at, owner.
 * labels: object of strings or NULL. idempotency may be NULL. When its key was used before: with the same
 * body 0, *ret_replayed = true and ret_id the first job's id; with another body -EKEYREJECTED. ret_seq (may
 * be NULL): number of the event. Keys are kept for 7 days. -ENOENT when a data set or model of it has gone.
 */
int store_job_insert(struct store *store, const struct job_row *row, const json_t *labels,
                     const struct store_idempotency *idempotency, char ret_id[STORE_ID], bool *ret_replayed,
                     int64_t *ret_seq);
/* The job that was submitted with this key and body: 0, -ENOENT, -EKEYREJECTED. */
int store_job_replay(struct store *store, const struct store_idempotency *idempotency, char ret_id[STORE_ID]);
int store_job_get(struct store *store, const char *id, struct job_row *ret_row); /* job_row_clear */

/* -ENOENT when the job names nothing there, or what it named has gone. ret_input->pointer is `pointer`. */
int store_job_input(struct store *store, const char *job, const char *pointer, struct job_input *ret_input);

struct job_filter {
  uint32_t states;                     /* bit (1 << state) for each wanted; 0 = all */
  const char *label_key, *label_value; /* NULL = any; label_value NULL = any value */
  int64_t created_after;               /* 0 = any */
};
int store_job_list(struct store *store, const struct job_filter *filter, const struct store_page *page,
                   struct job_row **ret_rows, uint32_t *ret_count, int64_t *ret_next);
int store_job_transitions(struct store *store, const char *id, struct transition_row **ret_rows,
                          uint32_t *ret_count);
struct store_queue {
  uint32_t ahead;        /* jobs that are claimed before this queued one, as things stand */
  double mean_runtime_s; /* of the last 10 that succeeded; < 0 = none */
  bool ingesting;        /* it waits for a data set */
  int64_t retry_at;      /* it is not claimed before; 0 = at once */
};
int store_job_queue(struct store *store, const char *id, struct store_queue *ret_queue);
int store_job_counts(struct store *store, uint32_t ret_counts[JOB_STATE_COUNT]); /* for /metrics */

/* Moves a job to `to` if its state is in the set `from` (bits), with transition row and events (`end` when
 * terminal). error: problem JSON for failed, else NULL. -EBUSY when it is in another state; ret_state (may be
 * NULL) tells which in either case before the move. *ret_seq (may be NULL): number of the last event. */
struct job_move {
  uint32_t from; /* bits of states */
  enum job_state to;
  const char *reason, *error; /* problem JSON for failed, else NULL */
};
/* The first of `moves` whose set holds the job's state, found and made in one transaction. -EBUSY: none does.
 */
int store_job_move_first(struct store *store, const char *id, const struct job_move *moves, uint32_t count,
                         enum job_state *ret_state, int64_t *ret_seq);
int store_job_move(struct store *store, const char *id, uint32_t from, enum job_state to, const char *reason,
                   const char *error, enum job_state *ret_state, int64_t *ret_seq);
/* The queued job that is next by priority, then age, whose data sets are ready and whose time of retrial has
 * come. -ENOENT = none. It stays queued. */
int store_job_next(struct store *store, struct job_row *ret_row);
/* queued -> running. Metric rows after the checkpoint (NULL = all) are forgotten. -EBUSY when no longer
 * queued. */
int store_job_claim(struct store *store, const char *id, const struct checkpoint_row *checkpoint,
                    int64_t *ret_seq);
int store_job_progress(struct store *store, const char *id, const struct job_progress *progress,
                       double runtime_s);
int store_job_phase(struct store *store, const char *id, const char *phase, int64_t *ret_seq);
/* Newest first. */
int store_checkpoint_list(struct store *store, const char *id, struct checkpoint_row **ret_rows,
                          uint32_t *ret_count);
/* In one transaction: metric rows, the checkpoint's row (older ones go), progress, events. */
int store_checkpoint_commit(struct store *store, const char *id, const struct checkpoint_row *checkpoint,
                            const struct metric_row *rows, uint32_t count,
                            const struct job_progress *progress, double runtime_s, int64_t *ret_seq);
/* A job has got on without a checkpoint of its own: failures in a row are counted anew. */
int store_job_kept(struct store *store, const char *id);
/* After a failure that is the machine's and not the job's: running -> queued, to be claimed again from its
 * last checkpoint after delay_ms * 4^n, n being how often in a row that made no new checkpoint and kept
 * nothing else; the fourth time -> failed with `problem`. pausing -> paused, canceling -> canceled. ret_retry
 * (may be NULL): it is queued again. */
#define FAILURES_IN_A_ROW 3u /* restarts of the daemon included; the next one is the last */
int store_job_retry(struct store *store, const char *id, const char *problem, int64_t delay_ms,
                    bool *ret_retry, int64_t *ret_seq);
/* There is no room on the disk: running -> queued, to be claimed again from its last checkpoint after
 * delay_ms, in the phase STORE_PHASE_WAITS; nothing is counted. pausing -> paused, canceling -> canceled. */
#define STORE_PHASE_WAITS "waiting for storage"
int store_job_wait(struct store *store, const char *id, int64_t delay_ms, int64_t *ret_seq);
/* After a crash: running -> queued (failed when it was broken off three times in a row before, without a new
 * checkpoint or anything else that it kept), pausing -> paused, canceling -> canceled. */
int store_recover(struct store *store, uint32_t *ret_requeued, uint32_t *ret_failed);

/* ---- metrics ---- */
enum metric_resolution { METRIC_ALL, METRIC_EPOCH, METRIC_STEP };
struct metric_value {
  int64_t seq;
  char name[40];
  uint32_t epoch;
  uint64_t step;
  double value; /* NAN where the job had no finite value (null in JSON) */
};
int store_metric_list(struct store *store, const char *job, const char *name /* NULL = all */,
                      enum metric_resolution resolution, const struct store_page *page,
                      struct metric_value **ret_rows, uint32_t *ret_count, int64_t *ret_next);
int store_metric_latest(struct store *store, const char *job, struct metric_value **ret_rows,
                        uint32_t *ret_count);

/* ---- events ---- */
struct event_row {
  int64_t seq;   /* the stream's id: */
  char type[16]; /* state, metric, log, end */
  int64_t at;
  char *data; /* JSON text:
               * state {"state","phase","attempt","reason","at"}, metric {"name","epoch","step","value"}, log
               * {"level","text"}, end {"state","model","error"} */
};
void event_rows_free(struct event_row *rows, uint32_t count);
/* Events of the job with seq > after, oldest first, `limit` at most. */
int store_event_list(struct store *store, const char *job, int64_t after, uint32_t limit,
                     struct event_row **ret_rows, uint32_t *ret_count);
int store_event_add(struct store *store, const char *job, const char *type, const json_t *data,
                    int64_t *ret_seq);
/* Those of the type log, as a page, oldest first. -ENODATA when the log is gone: pruned, or the job ended
 * before `ended_before`. */
int store_log_list(struct store *store, const char *job, int64_t ended_before, const struct store_page *page,
                   struct event_row **ret_rows, uint32_t *ret_count, int64_t *ret_next);
/* Forgets the logs of jobs that ended before. */
int store_log_prune(struct store *store, int64_t ended_before);

/* ---- models ---- */
struct model_file_row {
  char name[STORE_NAME]; /* "model.safetensors" */
  char sha256[SHA256_HEX];
  uint64_t size;
};
struct model_row {
  int64_t seq;
  char id[STORE_ID], job_id[STORE_ID], dataset_id[STORE_ID]; /* dataset_id "" once deleted */
  bool audited;
  char *facts;   /* JSON object: what it is: dataset (name), dataset_sha256, and the spec's holdout, model,
                    mask,   train, and, of models of before not, defences */
  char *summary; /* JSON object: struct job_outcome's */
  int64_t created_at;
  struct model_file_row *files; /* sorted by name */
  uint32_t file_count;
  char owner[STORE_NAME]; /* the job's; not for store_model_insert */
  uint32_t erasures;      /* from the data sets it was made with, since; likewise */
};
void model_row_clear(struct model_row *row);
void model_rows_free(struct model_row *rows, uint32_t count);
/* Model row, files, job -> succeeded and events in one transaction. -EBUSY when the job is no longer running
 * or pausing. */
int store_model_insert(struct store *store, const struct model_row *row, int64_t *ret_seq);
/* An audit's end: summary, audited and the listed files of the model `row->id` are replaced, other files
 * stay, and the audit's job succeeds, in one transaction. -ESTALE when the model's report.json is not the one
 * that `report_sha256` names, -EBUSY as store_model_insert. ret_blobs: what the replaced files leave unused.
 * job NULL: no job ends with it, and ret_seq is not written. */
int store_model_audited(struct store *store, const struct model_row *row, const char *job,
                        const char *report_sha256, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count,
                        int64_t *ret_seq);
int store_model_get(struct store *store, const char *id, struct model_row *ret_row);
int store_model_list(struct store *store, const struct store_page *page, struct model_row **ret_rows,
                     uint32_t *ret_count, int64_t *ret_next);
int store_model_file(struct store *store, const char *id, const char *name, struct model_file_row *ret_row);
/* -EBUSY while a job that has not ended needs it; ret_blobs as of a data set. */
int store_model_delete(struct store *store, const char *id, char (**ret_blobs)[SHA256_HEX],
                       uint32_t *ret_count);

/* ---- tokens ---- (daemon/access.h makes and checks them) */
#define TOKEN_HASH 65 /* of a secret: 64 hex digits and a NUL */
struct token_row {
  int64_t seq;
  char id[STORE_ID];      /* "tok_.." */
  char name[STORE_NAME];  /* what it is for */
  char owner[STORE_NAME]; /* who holds it */
  uint32_t scopes;        /* bits of enum scope */
  int64_t created_at, expires_at /* 0 = never */, revoked_at /* 0 = not */;
};
int store_token_insert(struct store *store, const struct token_row *row, const char hash[TOKEN_HASH]);
/* Also one that is expired or revoked. */
int store_token_get(struct store *store, const char *id, struct token_row *ret_row,
                    char ret_hash[TOKEN_HASH]);
int store_token_list(struct store *store, const struct store_page *page, struct token_row **ret_rows,
                     uint32_t *ret_count, int64_t *ret_next);                /* oldest first */
int store_token_revoke(struct store *store, const char *id, int64_t now_ms); /* again: 0 */
/* Whether there is one that is neither expired nor revoked. */
int store_token_any(struct store *store, int64_t now_ms, bool *ret_any);

/* ---- how much there is ---- */
struct store_usage {
  int64_t oldest_queued_at;                                           /* 0 = no job is queued */
  int64_t ingesting, failed, datasets, dataset_images, dataset_bytes; /* datasets: ready */
  int64_t models, model_bytes;
  int64_t networks, network_bytes; /* kept for later jobs */
};
int store_usage(struct store *store, struct store_usage *ret_usage);

/* ---- audit trail ---- */
#define STORE_AUDIT_ROWS 1000000 /* kept at most: a flood pushes old rows out and does not fill the disk */
struct audit_row {
  int64_t seq, at;
  char actor[STORE_ID];  /* "tok_..", "uid:1000", "loopback" */
  char action[32];       /* operationId */
  char object[STORE_ID]; /* id, "" = none */
  uint32_t status;       /* of HTTP */
  char file[40];         /* of the model that is the object, "" = none */
  char *receipt;         /* JSON object: what an erasure erased, or several jobs that were canceled; NULL */
};
void audit_rows_free(struct audit_row *rows, uint32_t count);
/* Rows older than keep_ms go. */
int store_audit_add(struct store *store, const struct audit_row *row, int64_t keep_ms);
/* What this thread does next is of this row, which must stay where it is until the call with NULL. An
 * erasure, and what makes or revokes a token, adds it in its own transaction, with its object and without a
 * receipt, and sets row->seq when that is committed: neither is there without the other, whenever the daemon
 * is killed. */
void store_audit_expect(struct audit_row *row);
/* Such a row's receipt (NULL: it has none). Rows older than keep_ms go. */
int store_audit_complete(struct store *store, const struct audit_row *row, int64_t keep_ms);
/* Newest first; actor and object NULL = any. */
int store_audit_list(struct store *store, const char *actor, const char *object,
                     const struct store_page *page, struct audit_row **ret_rows, uint32_t *ret_count,
                     int64_t *ret_next);

/* ---- blobs ---- */
int store_blob_referenced(struct store *store, const char *sha256, bool *ret_referenced);
