/* What the files of a job's thread share. The runner's own. */
#pragma once

#include "daemon/audit.h"
#include "daemon/inputs.h"
#include "daemon/networks.h"
#include "daemon/service_internal.h"

struct job_files {
  char work[PATH_MAX], output[PATH_MAX], resume[PATH_MAX], pack[PATH_MAX], pairs_pack[PATH_MAX];
  struct dataset_row dataset;
  char *pairs_text;
  size_t pairs_bytes;
  struct input_files inputs;
  struct audit_files audit;
  struct networks networks;
};

/* ---- runner_callbacks.c: what the core calls back; `slot` is its context ---- */
struct job_callbacks runner_callbacks(struct slot *slot);
void runner_phase(void *slot, const char *phase);
void runner_log(void *slot, const char *level, const char *text);
enum job_stop runner_should_stop(void *slot);
/* To the job's log alone: the text may name people, which is not for the journal. */
void runner_say(struct slot *slot, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Removes the files in the work directory except `keep` (NULL = nothing) and a keyed job's key. Directories
 * stay: the output, and what a job made beforehand and finds again when it continues. */
void runner_clean(const char *work, const char *keep);

/* ---- runner_storage.c: a disk that is full or fails ---- */
/* The job ended with `r` because something could not be written: it waits until the state directory takes
 * writes, and until the time that trials_wait() tells when `shortest`. 0; -ECANCELED and -EINTR when it is
 * asked to end. The wait is no run time. */
int runner_wait_for_storage(struct slot *slot, int r, bool shortest);
/* There is no room for the job: as soon as that can be recorded it is queued again, so that others get its
 * worker, and goes on from its last checkpoint after a time that grows until there is a new one. 0; else what
 * the job ends with. */
int runner_give_way(struct slot *slot, int r);

/* ---- runner_publish.c: after success the files become blobs, the model a row ---- */
/* A full disk does not cost the attacks, which may have taken hours: only publishing is repeated, and finds
 * the files that are blobs already. When it fails for good, or the job was canceled meanwhile (-EBUSY), the
 * blobs go again. */
int runner_publish(struct slot *slot, const struct job_files *files, const struct job_outcome *outcome,
                   struct guise_error *err);

/* ---- runner_end.c: the last state of a job that did not succeed ---- */
/* A full disk must not lose the end of a job: tried until it works or the daemon stops (then recovery does
 * it). */
void runner_end(struct slot *slot, int r, const struct guise_error *err);
