/* Verification during and after training: held-out people, and an LFW-style list of pairs on a second data
 * set. */
#pragma once

#include <stdint.h>

#include "core/metric/verify.h"
#include "core/train/trainer.h"

/* Pairs over a list of images. */
struct verify_set {
  const char *protocol, *dataset, *pairs_name; /* for the report; pairs_name NULL for held-out people */
  struct face_pair *pairs;                     /* a, b count in `image` */
  uint32_t pair_count, folds;
  uint32_t *image;
  uint32_t image_count;
  const uint32_t *identity;    /* (image_count) of held-out images; NULL: nobody numbers the people */
  const struct job_data *data; /* where held-out images are; NULL for a second data set: */
  struct pack *pack;
  uint8_t *pixels; /* its listed images at the job's size; NULL when the pack has that size */
  uint32_t size;
};

#define VERIFY_SETS_MAX 2
struct verify_sets {
  struct verify_set set[VERIFY_SETS_MAX]; /* the first is the one whose figures are the job's accuracy */
  uint32_t count;
};

/* The sets of a job: pairs when the job names them, then held-out people when they have pairs. err says what
 * is wrong with a list. */
int verify_sets_open(struct trainer *trainer, const struct job_inputs *inputs, struct verify_sets *ret_sets,
                     struct guise_error *err);
void verify_sets_close(struct verify_sets *sets);

/* The reference on a set of this job: its pairs, its images, at the model's own size. Warns when it may have
 * been trained on the people of the set. ret_curve: of the reference's own training, zeros when it has none.
 */
int verify_model(struct trainer *trainer, const struct verify_set *set, const char *model_path,
                 bool both_flips, struct verification *ret_verification, double ret_curve[CURVE_POINTS],
                 struct guise_error *err);

/* With the weights in trainer->eval. */
int verify_run(struct trainer *trainer, const struct verify_set *set, bool both_flips,
               struct verification *ret_verification, struct guise_error *err);

/* With one view, then with both flips, each image embedded once a view. scores_path of either: also writes a
 * line a pair there (CSV: pair, fold, same, similarity, accepted by the k-fold threshold), so that two models
 * can be compared pair by pair; NULL = none. */
int verify_both(struct trainer *trainer, const struct verify_set *set, const char *const scores_path[2],
                struct verification ret_verification[2], struct guise_error *err);
