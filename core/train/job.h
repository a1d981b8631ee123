/* One job from data to model and report: spec in, callbacks out. Knows nothing of the daemon, of
 * HTTP or of SQL, so that the same job can run under another executor. Runs in the caller's thread (with the
 * spec's OpenMP threads). */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/cache.h"
#include "core/train/spec.h"

/* What a mask learnt before the training, in a directory of its own under the work directory. */
#define JOB_ANALYSIS_DIRECTORY "analysis"
#define JOB_ANALYSIS_FILE JOB_ANALYSIS_DIRECTORY "/gates.safetensors"
#define JOB_WEIGHTS_FILE JOB_ANALYSIS_DIRECTORY "/weights.safetensors"

/* model.onnx, model-template.onnx */
#define JOB_ONNX_FILES 2
extern const char *const job_onnx_names[JOB_ONNX_FILES];

struct data_split; /* core/train/data.h */

struct job_inputs {
  const char *job_id;       /* for the report */
  const char *dataset_pack; /* path of the pack to train on */
  const char *dataset_name; /* for report and card */
  const char *dataset_sha256;
  const char *pairs_pack; /* second data set for holdout.pairs; NULL = none */
  const char *pairs_text; /* its LFW-style list */
  size_t pairs_bytes;
  const char *public_pack;         /* public faces of mask.public_dataset; NULL = none */
  const char *public_sha256;       /* of that data set; NULL: what learns from it is not kept */
  const char *embedder_model;      /* model.safetensors of mask.embedder; NULL = none */
  const char *reference_model;     /* likewise of mask.reference */
  const char *pretrained_model;    /* likewise of defences' "model" */
  const char *audit_public_pack;   /* public faces of audit.public_dataset; NULL = none */
  const char *audit_public_sha256; /* of that data set; NULL: what learns from it is not kept */
  const char *teacher_model; /* model.safetensors of audit.teacher; NULL = one is trained on these faces */
  const char *control_model; /* model.safetensors of audit.control; NULL = one is trained on the people */
  double control_accuracy;   /* of its own verification; 0 = unknown */
  const char *audited_model; /* of an audit: model.safetensors and report.json of the model under attack */
  const char *audited_report;
  const char *audited_onnx[JOB_ONNX_FILES]; /* its ONNX files in the order of job_onnx_names; NULL = none */
  const char *audited_key;                  /* its key.json; NULL = it is not keyed */
  bool dataset_own; /* of an audit: the data set is the one that the model was trained on, without what was
                       erased since */
  const char *work_directory; /* checkpoints, and a keyed job's key, are written here; exists */
  const char *resume;         /* checkpoint to continue from; NULL = from the start */
  /* exists; model.safetensors, the ONNX files, report.json, report.html, card.md, scores.csv and, of a keyed
   * job, key.json are written here at the end */
  const char *output_directory;
  uint32_t threads;                /* the budget */
  const struct model_cache *cache; /* for the mask's embedder, and what attacks are compared with and judged
                                      by; NULL = none */
  const struct data_split *split;  /* NULL = the spec's */
};

enum job_stop { JOB_CONTINUE, JOB_CANCEL, JOB_SUSPEND };

struct job_progress {
  double fraction;        /* 0..1 of the whole job */
  uint32_t epoch, epochs; /* epochs count from 1 */
  uint64_t step, total;
  double images_per_s; /* moving average; 0 before the first step */
  double step_s;       /* time of a step, likewise */
  double eta_s;        /* < 0 = unknown */
  double loss;         /* NAN before the first step */
};

struct metric_row {
  char name[40];
  uint32_t epoch;
  uint64_t step;
  double value;
  bool per_epoch; /* an epoch's value (at most one a job, name and epoch) or a step's */
};

struct job_callbacks {
  void *context;
  void (*phase)(void *context,
                const char *phase); /* "preparing", "training", "verifying", "auditing", "writing" */
  void (*progress)(void *context, const struct job_progress *progress); /* about every 0.5 s */
  void (*log)(void *context, const char *level,
              const char *text); /* level "info" or "warning"; no file names of people */
  /* A checkpoint was written to `path` (durable). Store the rows and the checkpoint in one transaction, then
   * older checkpoints may be removed. A negative return ends the job with it. Called after every epoch, about
   * once a minute in between, after every attack, and before a suspended job returns. */
  int (*checkpoint)(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                    const struct metric_row *rows, uint32_t count);
  enum job_stop (*should_stop)(void *context); /* asked every step */
  /* Something was written to the work directory, outside of checkpoints (durable), from which the job would
   * go on if it was broken off now: a step of a network that it trains on the way, a face that an attack has
   * done. May be NULL. */
  void (*kept)(void *context);
};

struct job_outcome {
  json_t *summary; /* {"accuracy":..,"eer":..,...,"audit":{..}} for the model resource; owned by the caller
                      after success */
};

/* What the callbacks say: 0, -ECANCELED or -EINTR. */
int job_stop_code(const struct job_callbacks *callbacks);

/* Tells them that something was kept. */
void job_kept(const struct job_callbacks *callbacks);

/* 0; -ECANCELED; -EINTR when suspended (a checkpoint was handed over, but not before the training begins, nor
 * by an audit in its first attack); another negative errno with err on failure. */
int job_run(const struct job_spec *spec, const struct job_inputs *inputs,
            const struct job_callbacks *callbacks, struct job_outcome *ret_outcome, struct guise_error *err);
