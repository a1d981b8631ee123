/* The rows of the table in defence.c, one file each, and what they may hook into. Internal to core/train.
 *
 *   [describe] networks, [setup]
 *   each step: fill -> forward -> head [head] -> [after_forward] -> backward -> [after_backward] -> gradient
 * step
 *              `--------------------------------- or [gradients] ---------------------------------'
 *   after the last step: [finish]; at the end: [release]
 *
 * A hook that is NULL does nothing; without a defence a step asks none. What a defence draws is a function of
 * (seed, step, image), or lies in the work directory before the first step, so that checkpoints need not hold
 * it and a resumed job is the same job. */
#pragma once

#include "core/train/trainer.h"

struct defence_row {
  struct defence_traits traits;
  /* What does not go with other fields of the (resolved) job: told at `pointer`, the entry's own, or at the
   * field's. 0 or -ENOMEM. */
  int (*check)(const struct job_spec *spec, const struct defence_choice *choice, const char *pointer,
               struct spec_problems *problems);
  /* How the network that is trained differs, and the one that recomputes its batch norms' statistics (no
   * config->training). */
  void (*describe)(const struct defence *defence, struct graph_config *config, struct arch_options *options);
  /* Sets defence->state; networks, mask and buffers are there. */
  int (*setup)(struct trainer *trainer, struct defence *defence, const struct job_inputs *inputs,
               struct guise_error *err);
  void (*release)(void *state);
  void (*head)(const struct trainer *trainer, const struct defence *defence, struct head_options *options);
  /* Between the passes; may add to the output's gradient and to *loss. */
  int (*after_forward)(struct trainer *trainer, const struct defence *defence, double *loss,
                       struct guise_error *err);
  /* May change the gradients, and leaves those of the step's loss. */
  int (*after_backward)(struct trainer *trainer, const struct defence *defence,
                        const struct head_options *options, double *loss, struct guise_error *err);
  /* Instead of all of it: leaves the gradients of network and head, and the mean loss. */
  int (*gradients)(struct trainer *trainer, const struct defence *defence, const struct head_options *options,
                   double *ret_loss, struct guise_error *err);
  void (*finish)(struct trainer *trainer, const struct defence *defence);
  /* How the gradients of one sample are seen by whom they are shared with, once the training is near its end.
   */
  void (*share)(const struct defence_choice *choice, struct attack_loss *loss);
  /* Whether the finished weights come with a formal guarantee, and which. */
  bool (*guarantee)(const struct trainer *trainer, const struct defence *defence,
                    struct mask_guarantee *ret_guarantee);
};

extern const struct defence_row defence_negative_ls, defence_bido, defence_tl_dmi, defence_at_at,
    defence_dp_sgd;

/* Whom at_at pushes the batch's sample i towards. */
uint32_t at_at_target(const struct trainer *trainer, uint32_t i);
