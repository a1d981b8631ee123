#include "core/train/job.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/train/finish.h"
#include "core/train/trainer.h"
#include "core/train/validate.h"

/* Batch-norm statistics before each epoch's verification come from so many images; before the export from
 * all. */
#define STATISTICS_IMAGES 4096u

static int add_verification_rows(struct trainer *t, uint32_t epoch, const struct verification *v,
                                 bool primary) {
  static const char *const names[2][4] = {
      {"held_out.accuracy", "held_out.eer", "held_out.tar_at_far_1e-2", "held_out.tar_at_far_1e-3"},
      {"accuracy", "eer", "tar_at_far_1e-2", "tar_at_far_1e-3"},
  };
  const double values[4] = {v->accuracy, v->eer, v->tar_at_far_2, v->tar_at_far_3};
  int r = 0;
  for (int i = 0; i < 4 && r == 0; i++)
    r = trainer_add_row(t, names[primary][i], epoch, values[i], true);
  return r;
}

static int add_strategy_rows(struct trainer *t, uint32_t epoch) {
  const struct epoch_sums *sums = &t->sums;
  int r = 0;
  if (!mask_traits(t->spec->mask.method)->has_strategy)
    return 0;
  if (sums->mixed > 0)
    r = trainer_add_row(t, "strategy.mean_k", epoch, sums->k / sums->mixed, true);
  for (uint32_t a = 0; a < t->spec->mask.k_count && r == 0; a++) {
    char name[40];
    uint32_t k = t->spec->mask.k[a];
    (void)snprintf(name, sizeof(name), "strategy.pi_%u", k);
    /* the network's probability; for the other policies the share of samples */
    double share =
        sums->decisions > 0 ? sums->policy[a] / sums->decisions : sums->chosen[k] / MAX(sums->mixed, 1.0);
    r = trainer_add_row(t, name, epoch, share, true);
  }
  if (r == 0 && sums->updates > 0)
    r = trainer_add_row(t, "strategy.reward", epoch, sums->reward / sums->updates, true);
  if (r == 0 && sums->updates > 0)
    r = trainer_add_row(t, "strategy.entropy", epoch, sums->entropy / sums->updates, true);
  return r;
}

static int verify_epoch(struct trainer *t, const struct verify_sets *sets, struct verification *ret_results,
                        struct guise_error *err) {
  if (sets->count == 0)
    return 0;
  t->callbacks->phase(t->callbacks->context, "verifying");
  int r = trainer_prepare_eval(t, STATISTICS_IMAGES, err);
  for (uint32_t i = 0; i < sets->count && r == 0; i++)
    r = verify_run(t, &sets->set[i], t->spec->holdout.both_flips, NULL, &ret_results[i], err);
  t->callbacks->phase(t->callbacks->context, "training");
  return r;
}

/* After the last step of an epoch: verify, write the epoch's rows, and hand over a checkpoint that counts the
 * epoch as done. */
static int close_epoch(struct trainer *t, const struct job_inputs *inputs, const struct verify_sets *sets,
                       struct guise_error *err) {
  struct verification results[VERIFY_SETS_MAX];
  uint32_t epoch = t->epochs_done + 1;
  int r = verify_epoch(t, sets, results, err);
  if (r < 0)
    return r;
  /* the rate of the epoch's last step */
  double rate =
      t->spec->train.lr * 0.5 * (1 + cos(3.14159265358979323846 * (double)(t->step - 1) / (double)t->total));
  r = trainer_add_row(t, "loss", epoch, t->sums.loss / MAX(t->sums.steps, 1.0), true);
  if (r == 0)
    r = trainer_add_row(t, "lr", epoch, rate, true);
  if (r == 0)
    r = trainer_add_row(t, "images_per_s", epoch, t->sums.samples / t->sums.seconds, true);
  for (uint32_t i = 0; i < sets->count && r == 0; i++)
    r = add_verification_rows(t, epoch, &results[i], i == 0);
  if (r == 0)
    r = add_strategy_rows(t, epoch);
  if (r < 0)
    return error_set(err, r, "out of memory for the epoch's metrics");
  for (uint32_t k = 0; k <= MIX_MAX; k++)
    t->last_histogram[k] = k > 1 && t->sums.mixed > 0 ? t->sums.chosen[k] / t->sums.mixed : 0;
  memset(&t->sums, 0, sizeof(t->sums));
  t->epochs_done = epoch;
  return checkpoint_write(t, inputs->work_directory, err);
}

static int train_all(struct trainer *t, const struct job_inputs *inputs, const struct verify_sets *sets,
                     struct guise_error *err) {
  int r = 0;
  t->callbacks->phase(t->callbacks->context, "training");
  while (r == 0 && t->epochs_done < t->spec->train.epochs) {
    r = trainer_epoch(t, inputs->work_directory, err);
    if (r == 0)
      r = close_epoch(t, inputs, sets, err);
  }
  return r;
}

static int resume(struct trainer *t, const struct job_inputs *inputs, struct guise_error *err) {
  if (!inputs->resume)
    return 0;
  int r = checkpoint_read(t, inputs->resume, err);
  if (r == 0)
    trainer_log(t, "info", "continuing at step %llu of %llu", (unsigned long long)t->step,
                (unsigned long long)t->total);
  t->started_fraction = 0.95 * (double)t->step / (double)t->total;
  return r;
}

int job_run(const struct job_spec *spec, const struct job_inputs *inputs,
            const struct job_callbacks *callbacks, struct job_outcome *ret_outcome, struct guise_error *err) {
  struct trainer trainer = {.threads = 1};
  struct verify_sets sets = {.count = 0};
  struct job_outcome outcome = {NULL};
  callbacks->phase(callbacks->context, "preparing");
  int r = job_data_open(inputs->dataset_pack, spec->model.input, spec->holdout.identities, spec->train.seed,
                        &trainer.data, err);
  if (r == 0)
    r = trainer_init(&trainer, spec, inputs, callbacks, err);
  if (r == 0)
    r = verify_sets_open(&trainer, inputs, &sets, err);
  if (r == 0)
    r = resume(&trainer, inputs, err);
  if (r == 0) {
    bool trained = trainer.epochs_done == spec->train.epochs;
    r = train_all(&trainer, inputs, &sets, err);
    if (r == 0)
      r = job_finish(&trainer, inputs, &sets, &outcome, err);
    if (r == -EINTR && !trained && trainer.epochs_done < spec->train.epochs) {
      int written = checkpoint_write(&trainer, inputs->work_directory, err);
      r = written < 0 ? written : -EINTR;
    }
  }
  verify_sets_close(&sets);
  trainer_done(&trainer);
  if (r == 0)
    *ret_outcome = outcome;
  return r;
}
