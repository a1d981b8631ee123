/* What the service's files share. Locks, in the order in which they may be taken: erase_lock, blob_lock or
 * control_lock, uploads, the store's, ingest or scheduler, bus. No lock of this file is held while the store
 * writes, except the first three. */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/base/mapping.h"
#include "core/train/job.h"
#include "daemon/service.h"

#define POOL_THREADS_MAX 4u
#define API_THREADS 4u
#define API_WAITING 1024u

/* ---- bus.c: listeners of job events ---- */
struct listener {
  void (*event)(void *context, const char *job, int64_t seq);
  void *context;
  struct listener *next;
};
struct bus {
  pthread_mutex_t lock;
  struct listener *first;
};
void bus_init(struct bus *bus);
void bus_done(struct bus *bus);
/* Tells every listener; seq 0 (no event) is ignored. Never with a lock held. */
void bus_emit(struct service *service, const char *job, int64_t seq);

/* ---- pool.c: threads for blocking work of the API, with a bounded queue ---- */
struct pool_work {
  void (*work)(void *context);
  void *context;
  struct pool_work *next;
};
struct pool {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_t thread[POOL_THREADS_MAX];
  uint32_t threads, waiting, most_waiting;
  struct pool_work *first, *last;
  bool stopping;
};
void pool_init(struct pool *pool);
void pool_done(struct pool *pool);
int pool_start(struct pool *pool, uint32_t threads, uint32_t most_waiting, struct guise_error *err);
/* -EAGAIN: most_waiting are waiting. -ESHUTDOWN. */
int pool_add(struct pool *pool, void (*work)(void *context), void *context);
void pool_stop(struct pool *pool); /* runs what waits, then joins */

/* ---- inference.c: embeddings, on a thread of its own ---- */
struct loaded;
struct inference {
  struct pool pool;
  pthread_mutex_t lock; /* guards what follows; held while a model is at work */
  struct loaded *first; /* models in memory, most recently used first */
  uint64_t bytes;       /* of them */
  uint32_t models, loads;
};
void inference_init(struct inference *inference);
void inference_done(struct inference *inference);
int inference_start(struct service *service, struct guise_error *err);
void inference_stop(struct service *service);
void inference_forget(struct service *service, const char *sha256); /* a model's file is erased */

/* ---- trials.c: what is tried again, by the id of a job or data set ---- */
struct trials {
  pthread_mutex_t lock;
  struct trial *first;
};
void trials_init(struct trials *trials);
void trials_done(struct trials *trials);
/* There was no room: ns to wait, twice as many the next time. */
int64_t trials_wait(struct trials *trials, const char *id);
/* The machine lacked something else: true = try again after delay, then four and sixteen times that; false =
 * that was done FAILURES_IN_A_ROW times, or memory is lacking. */
bool trials_again(struct trials *trials, const char *id, int64_t delay_ns);
/* Why the last try was in vain; reason: "" = none was, else cut at 511 bytes. */
void trials_tell(struct trials *trials, const char *id, const char *reason);
void trials_reason(struct trials *trials, const char *id, char ret_reason[512]);
bool trials_due(struct trials *trials, const char *id);
void trials_forget(struct trials *trials, const char *id); /* it ended, or got somewhere */

/* ---- people.c: in how many templates each person of a data set is shown ---- */
struct shown {
  pthread_mutex_t lock;
  char sha256[SHA256_HEX]; /* of the file whose counts are kept */
  uint32_t *count;         /* (numbers); NULL = none */
  uint32_t numbers;
};
void shown_init(struct shown *shown);
void shown_done(struct shown *shown);
void shown_forget(struct shown *shown, const char *sha256); /* the file is erased */

/* ---- dataset.c ---- */
/* What opening the data set's file ended with. A file that is not there, or is none, is damage, not a mistake
 * of whoever asks, and its path is not for him. */
int dataset_damage(const struct dataset_row *row, int r, struct guise_error *err);
/* -EBUSY, which tells `what` has to wait, while it is not ready. */
int dataset_find_ready(struct service *service, const char *key, const char *what,
                       struct dataset_row *ret_row, struct guise_error *err);

/* ---- upload.c: uploads under way, whose bytes count against their owners' quotas ---- */
struct uploads {
  pthread_mutex_t lock;
  struct upload *first;
};

/* ---- ingest.c: one thread that turns uploads into packs ---- */
struct ingest {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_t thread;
  bool running, stopping, kicked, done;
  char current[STORE_ID];    /* data set at work, "" = none */
  atomic_bool cancel;        /* it was deleted, or the daemon stops */
  uint32_t images, rejected; /* of the current one so far */
};
int ingest_start(struct service *service, struct guise_error *err);
void ingest_kick(struct service *service);
void ingest_stop(struct service *service); /* asks */
bool ingest_wait(struct service *service, int64_t deadline_ns);
void ingest_join(struct service *service);
/* What only memory holds of one that is ingesting: the counts so far, and in `error` why the last try was in
 * vain. */
void ingest_overlay(struct service *service, struct dataset_row *row);
void ingest_forget(struct service *service, const char *id); /* stops work on a deleted data set */

/* ---- scheduler.c, runner.c: jobs ---- */
struct slot { /* one running job; slots do not move while used */
  struct service *service;
  struct job_row row; /* as claimed */
  pthread_t thread;
  bool used, started, done; /* under the scheduler's lock, like live, phase and runtime */
  atomic_bool cancel, pause, timed_out;
  uint32_t threads;
  struct job_progress live;
  char phase[32];
  int64_t started_ns; /* CLOCK_MONOTONIC of this run */
  int64_t persisted_ns;
  bool resumes;
  struct checkpoint_row checkpoint; /* to continue from */
  uint32_t checkpoints;             /* written in this run */
  struct mapping_watch watch;       /* of the files that the job reads */
};
struct scheduler {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_t thread;
  bool running, kicked;
  atomic_bool stopping;
  atomic_llong heartbeat_ns;
  struct slot *slot; /* config.workers */
  uint32_t slots, threads_used;
};
int scheduler_start(struct service *service, struct guise_error *err);
void scheduler_kick(struct service *service);                          /* something was queued */
void scheduler_stop(struct service *service);                          /* asks all to suspend */
uint32_t scheduler_wait(struct service *service, int64_t deadline_ns); /* jobs that still run */
void scheduler_join(struct service *service);
void scheduler_overlay(struct service *service, struct job_row *row);
/* Sets what is asked of a running job; nothing when it has just ended. */
enum slot_request { SLOT_CANCEL, SLOT_PAUSE, SLOT_RESUME };
void scheduler_request(struct service *service, const char *job, enum slot_request request);
/* Seconds until a worker and so many threads are expected to be free; < 0 = unknown. */
double scheduler_wait_s(struct service *service, uint32_t threads);
/* What is free at this moment. *ret_job: the job's last run has not ended yet. */
void scheduler_room(struct service *service, const char *job, uint32_t *ret_workers, uint32_t *ret_threads,
                    bool *ret_job);
uint32_t scheduler_threads(const struct service *service, const struct job_row *row); /* that a job gets */
void *runner_main(void *slot);                                                        /* a job's thread */
double slot_runtime(const struct slot *slot);

/* ---- state.c: the state directory ---- */
int state_open(const char *path, int *ret_lock_fd, struct guise_error *err); /* makes and locks it */
int state_path(char ret_path[PATH_MAX], const struct service *service, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Moves a temporary file to its blob. Call with blob_lock held until the row that refers to it is durable. */
int blob_publish(struct service *service, const char *temp, const char *sha256, struct guise_error *err);
/* The same for all files of a model, which lie in `directory`. */
int blob_publish_files(struct service *service, const char *directory, const struct model_row *model,
                       struct guise_error *err);
void blob_remove_files(struct service *service, const struct model_row *model); /* blob_remove of them */
/* Unlinks blobs that the store no longer refers to (it is asked again); with blob_lock held. */
void blob_remove(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count);
/* The same, durably; {"sha256","bytes","erased"} of each is added to `files`, whose reference is taken and
 * given back, as json_append does. erased false: the next start tries again. */
json_t *blob_erase(struct service *service, char (*blobs)[SHA256_HEX], uint32_t count, json_t *files);
int state_sweep(struct service *service, struct guise_error *err); /* orphans of a killed daemon */
/* Tells in the log how many files are missing, or of another size, that the database refers to. */
int state_verify(struct service *service, struct guise_error *err);

/* ---- storage.c: the disk is full, fails, or holds a damaged database ---- */
void storage_note(struct service *service,
                  int r); /* a write met r; nothing when that is no fault of a disk */
/* Whether what ended with r shall wait until the disk takes writes again, and not fail. */
bool storage_stops(struct service *service, int r);
/* Whether r is what a machine does that lacks memory, threads or open files, or a disk that cannot be read:
 * not the fault of the job or upload that met it. */
bool machine_lacks(int r);
int storage_probe(struct service *service); /* writes; 0 ends the fault */
/* The scheduler's part: probes when there is a fault and the last probe is old. */
void storage_tick(struct service *service, int64_t *probed_ns);

/* ---- reserve.c: room for erasing on a full disk ---- */
#define RESERVE_FILE "reserve" /* in the state directory */
/* The scheduler's part: makes it when it is not there and the disk has room. */
void reserve_keep(struct service *service, int64_t *looked_ns);
/* After an erasure that met r: true = it met a full disk, and there is more room now. */
bool reserve_give(struct service *service, int r);

/* ---- erase.c, erase_reports.c ---- */
/* Whether room was made for another try of what failed with r: of kept networks, then of the reserve. */
bool erase_make_room(struct service *service, int r, json_t **files);
/* Takes the pictures of public faces out of the reports of models that were attacked with the data set: whose
 * they are is not recorded. What went is appended to the receipt's files. Call without blob_lock, before
 * anything is erased. */
int erase_public_pictures(struct service *service, const char *dataset, uint32_t *ret_reports, json_t **files,
                          struct guise_error *err);
/* Whether beside so many bytes more the disk would have the room in which it is made. */
bool reserve_fits(struct service *service, uint64_t bytes);

#define STORAGE_RETRY_NS 1000000000LL              /* after a fault a job or ingest waits so long, */
#define STORAGE_RETRY_MOST_NS (300 * 1000000000LL) /* twice as long after the next, and so much at most */

/* The negative errno of a write: a quota and a limit on a file's size are full disks. */
static inline int write_error(int error) {
  return error == EDQUOT || error == EFBIG ? -ENOSPC : -error;
}

/* Whether r is what a write meets that room on the disk, or in its owner's share of it, would help. */
static inline bool lacks_room(int r) {
  return r == -ENOSPC || r == -EDQUOT;
}

struct service {
  struct config config;
  pthread_rwlock_t config_lock;
  struct store *store;
  int lock_fd;
  pthread_mutex_t blob_lock;
  pthread_mutex_t control_lock; /* cancel, pause and resume, one after the other */
  pthread_mutex_t erase_lock;   /* packs are written anew one after the other */
  struct bus bus;
  struct pool pool;
  struct inference inference;
  struct uploads uploads;
  struct ingest ingest;
  struct trials trials;
  struct shown shown;
  struct scheduler scheduler;
  atomic_bool started, draining;
  struct stats stats;
  atomic_int storage_fault; /* 0 or the negative errno of a file that could not be written */
};

void condition_init(pthread_cond_t *condition); /* on CLOCK_MONOTONIC */
/* Waits until `deadline_ns` (clock_ns) at most; false when it has passed. */
bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns);
