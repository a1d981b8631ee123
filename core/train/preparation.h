/* The frame of every training before the training, in which a mask learns (core/train/weights.h,
 * core/train/analysis.h): batches of faces, augmented and turned into templates of a plain mask, in a seeded
 * order, `mask.analysis.epochs` times; where identity matters, a recogniser that learns along. Progress,
 * stopping and randomness are the same for all: draws are functions of (seed, RNG_ANALYSIS, step, sample). */
#pragma once

#include "core/train/trainer.h"

struct preparation {
  struct trainer *t;
  const struct job_data *data; /* whose faces */
  uint32_t batch, steps_per_epoch;
  uint64_t step, total;
  struct mask *plain; /* what batches are templates of; not random */
  float *templates;   /* (batch, elements of plain) */
  float *scratch;     /* (threads, scratch_size), at least mask_scratch() of plain */
  size_t scratch_size;
  uint8_t *shifted;          /* (threads, size*size*3) */
  uint32_t *order;           /* (faces) of this epoch */
  struct head_label *labels; /* (batch) */
  uint32_t *label_counts;    /* (batch) ones */
  struct graph *recogniser;  /* NULL without */
  struct head *head;
};

/* Fits a mask of these options on the faces of `data`. scratch: floats that a thread needs beside the mask's
 * own. Needs data, batch and threads of the trainer. Frees itself with preparation_done on failure too. */
int preparation_init(struct preparation *preparation, struct trainer *trainer, const struct job_data *data,
                     const struct mask_options *plain, size_t scratch, struct guise_error *err);
void preparation_done(struct preparation *preparation);

/* Steps that a preparation on these faces takes in all. */
uint64_t preparation_steps(const struct trainer *trainer, const struct job_data *data);

/* A recogniser of the job's width and embedding on templates of `plain`, with a class head. Its margin is 0:
 * the job's warm-up would hardly have begun. */
int preparation_add_recogniser(struct preparation *preparation, enum arch arch, enum head_kind head,
                               uint64_t seed, struct guise_error *err);
/* Forward and backward of what stands in its input, for the batch that was filled last. -EDOM. */
int preparation_recognise(struct preparation *preparation, double *ret_loss, struct guise_error *err);
/* A step of SGD with the job's rates, after preparation_recognise. */
void preparation_teach(struct preparation *preparation);

/* Fills templates and labels with the step's batch. */
void preparation_fill(struct preparation *preparation);

/* Calls step(context) for each step. 0; -ECANCELED, -EINTR; what step returned. */
int preparation_run(struct preparation *preparation, int (*step)(void *context, struct guise_error *err),
                    void *context, struct guise_error *err);
