/* The training state of one job and its loop: batches of masked and mixed faces, recognition steps, and, for
 * a learned policy, strategy steps in between. Everything that a checkpoint must hold is in struct trainer.
 */
#pragma once

#include <stdint.h>

#include "core/mask/key.h"
#include "core/mask/mixing.h"
#include "core/nn/graph.h"
#include "core/nn/head.h"
#include "core/train/augment.h"
#include "core/train/data.h"
#include "core/train/dual.h"
#include "core/train/job.h"
#include "core/train/probe.h"
#include "core/train/strategy.h"

/* Steps of recognition between two updates of the policy, and between two steps of the probe. */
#define STRATEGY_EVERY 4u
#define PROBE_EVERY 2u
/* Updates of the policy in an epoch between two whose KL is recorded. */
#define KL_EVERY 8u

/* Sums over the epoch under way; saved, so that a resumed epoch reports as if nothing had happened. */
struct epoch_sums {
  double steps, loss, samples, seconds;
  double mixed, k, unmixed;   /* samples that had a k chosen, the sum of it; those that mask.unmixed left */
  double chosen[MIX_MAX + 1]; /* samples of each k; [0]: those that mask.unmixed left */
  double policy[STRATEGY_ACTIONS_MAX]; /* sum of pi' over decisions */
  double decisions;
  double reward, entropy, updates;
  double probe_error, probe_steps; /* sum of mean absolute errors, grey levels */
  /* by k, over the decisions that updates were made from */
  double decided[MIX_MAX + 1], rewards[MIX_MAX + 1], leak[MIX_MAX + 1];
  double judged[MIX_MAX + 1], kl[MIX_MAX + 1]; /* over some of them */
};

/* Moving averages that are part of the strategy network's state, one a training image and one a person: of
 * mixes that they lead. 0 until the first value, which they begin with. */
struct difficulty {
  float *margin_sample, *excess_sample; /* (train.count) */
  float *margin_person, *excess_person; /* (train.identities) */
};

/* A defence at work; its hooks are in defence_rows.h. */
struct defence {
  const struct defence_row *row;
  const struct defence_choice *choice; /* of the spec */
  void *state;                         /* its own; NULL = none */
};

#define TRAINER_LEARNT "mask.learnt" /* the tensors' names in checkpoints */
#define TRAINER_WEIGHTS "mask.weights"

struct trainer {
  const struct job_spec *spec;
  const struct job_callbacks *callbacks;
  struct job_data data;
  struct job_data open; /* public faces; pack NULL = none */
  const char *embedder; /* model.safetensors of the judge of identity; NULL = none */
  struct mask *mask;
  struct mask_key key;             /* of keyed masks */
  float learnt[MASK_CHANNELS_MAX]; /* of masks that learn: given to the mask before it was fitted */
  float *weights;                  /* of masks that learn some, likewise */
  uint64_t weight_count;
  struct graph *graph; /* training */
  struct graph *eval;  /* forward only, folded: verification, rewards; eval_batch images a pass */
  struct graph
      *pool; /* forward only, for batch-norm statistics on unmixed templates; NULL when nothing is mixed */
  struct head *head;
  struct strategy *strategy; /* NULL unless the policy is learned */
  struct probe *probe;       /* NULL unless it is learned from the probe's reward */
  struct defence defence[DEFENCES];
  uint32_t defence_count;
  struct defence *whole_step; /* the one that makes the step's gradients itself; NULL = none */
  bool by_image;              /* see trainer_draw */
  struct dual dual;
  struct difficulty difficulty;
  uint32_t threads, batch, eval_batch, steps_per_epoch;
  uint64_t step, total; /* of recognition steps */
  uint32_t epochs_done;
  struct epoch_sums sums;
  double trained_seconds; /* spent in steps, over all epochs and attempts */
  double
      last_histogram[MIX_MAX + 1]; /* share of each k among what k was chosen for in the last whole epoch */
  double stored[MIX_MAX + 1];      /* `chosen` of all whole epochs: what a store of the templates holds */
  double decided[MIX_MAX + 1];     /* of these those whose k was no warm-up's, also of the epoch under way */
  uint32_t *stored_k; /* (train.count) the k of one of the templates that each image has led, drawn evenly
                         from all epochs; 0 = none yet, NULL: k is the method's or the recipe's */
  bool *lowered;      /* (train.count) of given templates: it has lost frequencies; NULL = none has */
  double curve[CURVE_POINTS]; /* accuracy until now on the first verification set */

  /* auxiliary.h */
  float *norms;   /* (norm_count) the batch norms that are not in graph; NULL = all batches share them */
  double apart;   /* 1 since the first epoch with batches of unmixed samples; before, all share them */
  uint32_t *rank; /* (train.identities) people in the order in which they stay unmixed */
  float *alone; /* (train.identities) P(k = 1) by the policy, moving average; NULL = it has no such choice */
  float *left;  /* (train.identities) 1: in the epoch under way the policy leaves this person unmixed */
  uint64_t norm_count; /* graph_norms_size */
  bool norms_mixed;    /* graph has those of mixed batches: within a step alone */
  uint32_t *kinds;     /* (train.count + steps_per_epoch) for the order of an epoch */

  /* buffers of one step */
  uint32_t *order;             /* (train.count) this epoch's permutation */
  uint32_t *sample, *identity; /* (batch) indices into train */
  float *templates;            /* (batch + the step's public faces, elements) before mixing */
  float *partner;              /* (threads, elements) with recipes */
  uint32_t *open_order;        /* (open.train.count) public faces as partners; NULL = none are */
  uint64_t open_pass;          /* that open_order is of */
  float *scratch;              /* (threads, mask_scratch) */
  uint8_t *shifted;            /* (threads, size*size*3) augmented pixels */
  struct mix *mixes;           /* (batch) */
  struct head_label *labels;   /* (batch, MIX_MAX) */
  uint32_t *label_counts;
  float *margins, *plain;   /* (batch) with a strategy network: see struct head_difficulty */
  float *states, *policy;   /* (batch, state), (batch, actions) */
  struct mix *reward_mixes; /* (eval_batch) */
  uint8_t *faces;           /* (batch, size*size*3) with a probe: augmented pixels of what it looks at */

  /* metric rows since the last checkpoint */
  struct metric_row *rows;
  uint32_t row_count, row_capacity;
  double images_per_s; /* moving average */
  int64_t started_ns;
  double started_fraction;
};

/* Builds networks, buffers and mask for a job whose data is open. Frees itself with trainer_done on failure
 * too. */
int trainer_init(struct trainer *trainer, const struct job_spec *spec, const struct job_inputs *inputs,
                 const struct job_callbacks *callbacks, struct guise_error *err);
void trainer_done(struct trainer *trainer);

/* trainer_step.c: trains to the end of the epoch under way. 0; -ECANCELED, -EINTR when asked to stop; -EDOM
 * when the loss is not finite. */
int trainer_epoch(struct trainer *trainer, const char *work_directory, struct guise_error *err);

/* One batch through the recogniser: templates, mixes, forward, backward. Needs trainer->order. */
int trainer_recognition_step(struct trainer *trainer, struct guise_error *err);

/* Copies the weights into trainer->eval and, when training mixes, recomputes its batch-norm statistics on
 * unmixed templates of at most `most` evenly spaced training images (0 = all): a mix has less variance than
 * what is verified and served. */
int trainer_prepare_eval(struct trainer *trainer, uint32_t most, struct guise_error *err);

/* The learning rate of step `step` of `total`: warm-up, then cosine. */
double trainer_rate(const struct job_spec *spec, uint64_t step, uint64_t total);
bool trainer_in_warmup(const struct trainer *trainer);
void trainer_labels(const struct mix *mixes, uint32_t count, struct head_label *ret_labels,
                    uint32_t *ret_counts);
/* The newest value weighs .1; see struct difficulty. */
void trainer_average(float *average, float now);

/* trainer_report.c */
int trainer_add_row(struct trainer *trainer, const char *name, uint32_t epoch, double value, bool per_epoch);
void trainer_log(const struct trainer *trainer, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* 0, -ECANCELED or -EINTR. */
int trainer_stop_code(const struct trainer *trainer);
bool trainer_should_stop(void *trainer); /* the same as a callback */
void trainer_report(struct trainer *trainer, double fraction);
/* The same about every 0.5 s; *told is when. */
void trainer_report_due(struct trainer *trainer, double fraction, int64_t *told);
/* Of what a mask learns before the training: `done` of it, 0..1. */
void trainer_report_preparing(struct trainer *trainer, double done, int64_t *told);
/* The share of the whole job that what came before the training and the recognition steps until now were. */
double trainer_fraction(const struct trainer *trainer);

/* strategy_step.c: how many faces each sample of the batch mixes (0: mask.unmixed leaves it alone), and
 * learning to choose. */
int trainer_choose_k(struct trainer *trainer, uint32_t count, uint32_t *ret_k /* (count) */);
int trainer_strategy_step(struct trainer *trainer, struct guise_error *err);
/* Whether the step's k are those of policy or method, and not the warm-up's two faces. */
bool trainer_decides_k(const struct trainer *trainer);

/* probe_step.c: the probe's training beside the recogniser's, and its reward. */
int trainer_probe_step(struct trainer *trainer, struct guise_error *err);
/* Rewards of `count` (eval_batch at most) mixes of the step's templates; one step of the dual variable. */
int trainer_probe_rewards(struct trainer *trainer, const struct mix *mixes, uint32_t count,
                          float *ret_rewards, struct guise_error *err);
/* Recognition losses of mixes, without gradients, a unit of label: public faces in a mix have none, and make
 * no loss smaller. */
int trainer_mix_losses(struct trainer *trainer, const struct mix *mixes, uint32_t count, float margin,
                       float *ret_losses, struct guise_error *err);
/* The private share of a mix, kept from 0 for divisions. */
static inline float trainer_label_weight(const struct mix *mix) {
  const float sum = mix_label_sum(mix);
  return sum > 1e-6f ? sum : 1e-6f;
}
/* Masks and mixes `count` (batch at most) images, numbers in the training list, into ret_inputs (count,
 * elements); trainer->labels and the like are theirs. */
int trainer_fill(struct trainer *trainer, const uint32_t *images, uint32_t count, float *ret_inputs,
                 struct guise_error *err);
/* The number that keys what is drawn for sample i of the batch, the image `image`: its place, or its image
 * where the place depends on which other images are in the sample. */
static inline uint32_t trainer_draw(const struct trainer *trainer, uint32_t i, uint32_t image) {
  return trainer->by_image ? image : i;
}
struct augmentation trainer_augmentation(const struct trainer *trainer);

/* defence.c: all defences of the job, in the order of the spec. */
void defences_choose(struct trainer *trainer); /* before the networks are described */
void defences_describe(const struct trainer *trainer, struct graph_config *config,
                       struct arch_options *options);
int defences_setup(struct trainer *trainer, const struct job_inputs *inputs, struct guise_error *err);
void defences_done(struct trainer *trainer);
void defences_head(const struct trainer *trainer, struct head_options *options);
int defences_after_forward(struct trainer *trainer, double *loss, struct guise_error *err);
int defences_after_backward(struct trainer *trainer, const struct head_options *options, double *loss,
                            struct guise_error *err);
int defences_gradients(struct trainer *trainer, const struct head_options *options, double *ret_loss,
                       struct guise_error *err); /* of whole_step */
void defences_finish(struct trainer *trainer);   /* when the last step is done and safe */
/* For the report: [{"method","summary","parameters","formal"}]. New reference; NULL when out of memory. */
json_t *defences_json(const struct trainer *trainer);

/* checkpoint.c */
int checkpoint_write(struct trainer *trainer, const char *work_directory, struct guise_error *err);
int checkpoint_read(struct trainer *trainer, const char *path, struct guise_error *err);
