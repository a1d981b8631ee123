#include "core/train/job.h"

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "core/train/audit.h"
#include "core/train/audit_job.h"
#include "core/train/auxiliary.h"
#include "core/train/embedder.h"
#include "core/train/finish.h"
#include "core/train/given.h"
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

static int add_row_of_k(struct trainer *t, const char *name, uint32_t k, uint32_t epoch, double value) {
  char text[40];
  (void)snprintf(text, sizeof(text), "strategy.%s_%u", name, k);
  return trainer_add_row(t, text, epoch, value, true);
}

/* What the probe's reward was made of. */
static int add_probe_rows(struct trainer *t, uint32_t epoch) {
  const struct epoch_sums *sums = &t->sums;
  double kl = 0, leak = 0, decided = 0, judged = 0;
  for (uint32_t k = 0; k <= MIX_MAX; k++) {
    kl += sums->kl[k];
    leak += sums->leak[k];
    decided += sums->decided[k];
    judged += sums->judged[k];
  }
  const struct {
    const char *name;
    double value;
  } rows[] = {{"strategy.mu", t->dual.mu},
              {"strategy.tau", t->dual.tau},
              {"strategy.cost", t->dual.updates > 0 ? t->dual.cost : NAN},
              {"strategy.kl", kl / judged}, /* NAN, no row, without decisions */
              {"leak", leak / decided},
              {"probe.error", sums->probe_error / sums->probe_steps}};
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
    r = trainer_add_row(t, rows[i].name, epoch, rows[i].value, true);
  for (uint32_t k = 1; k <= MIX_MAX && r == 0; k++) {
    r = add_row_of_k(t, "kl", k, epoch, sums->kl[k] / sums->judged[k]);
    if (r == 0)
      r = add_row_of_k(t, "leak", k, epoch, sums->leak[k] / sums->decided[k]);
  }
  return r;
}

/* Whom the policy leaves: how far P(k = 1) differs between those who follow it, and whether it goes with how
 * alike their photographs are. */
static int add_alone_rows(struct trainer *t, uint32_t epoch) {
  double alone = 0, alike = 0, squares = 0, squares_alike = 0, product = 0, asked = 0;
  for (uint32_t p = 0; p < t->data.train.identities; p++) {
    if (auxiliary_spared(t, p))
      continue;
    const double x = (double)t->alone[p], y = (double)probe_alike(t->probe, p);
    alone += x;
    alike += y;
    squares += x * x;
    squares_alike += y * y;
    product += x * y;
    asked++;
  }
  if (asked < 2)
    return 0;
  const double deviation = sqrt(fmax(squares / asked - alone / asked * (alone / asked), 0)),
               other = sqrt(fmax(squares_alike / asked - alike / asked * (alike / asked), 0));
  int r = trainer_add_row(t, "strategy.alone_deviation", epoch, deviation, true);
  if (r == 0 && deviation > 1e-6 && other > 1e-6)
    r = trainer_add_row(t, "strategy.alone_alike", epoch,
                        (product / asked - alone / asked * (alike / asked)) / (deviation * other), true);
  return r;
}

static int add_strategy_rows(struct trainer *t, uint32_t epoch) {
  const struct epoch_sums *sums = &t->sums;
  int r = 0;
  if (!mask_traits(t->spec->mask.method)->chooses_k || trainer_is_given(t))
    return 0;
  if (sums->mixed > 0)
    r = trainer_add_row(t, "strategy.mean_k", epoch, sums->k / sums->mixed, true);
  for (uint32_t a = 0; a < t->spec->mask.k_count && r == 0; a++) {
    uint32_t k = t->spec->mask.k[a];
    /* the network's probability; for the other policies the share of samples */
    double share =
        sums->decisions > 0 ? sums->policy[a] / sums->decisions : sums->chosen[k] / MAX(sums->mixed, 1.0);
    r = add_row_of_k(t, "pi", k, epoch, share);
    if (r == 0)
      r = add_row_of_k(t, "reward", k, epoch, sums->rewards[k] / sums->decided[k]);
  }
  if (r == 0 && sums->updates > 0)
    r = trainer_add_row(t, "strategy.reward", epoch, sums->reward / sums->updates, true);
  if (r == 0 && sums->updates > 0)
    r = trainer_add_row(t, "strategy.entropy", epoch, sums->entropy / sums->updates, true);
  if (r == 0 && t->probe)
    r = add_probe_rows(t, epoch);
  return r == 0 && t->probe && t->alone ? add_alone_rows(t, epoch) : r;
}

/* ---- the bound on accuracy ---- */

/* The undefended model on the first verification set, once a job: what is known is in its checkpoints. */
static int measure_reference(struct trainer *t, const struct job_inputs *inputs,
                             const struct verify_sets *sets, struct guise_error *err) {
  struct verification result;
  if (!t->probe || !inputs->reference_model || t->dual.known > 0)
    return 0;
  if (sets->count == 0) {
    trainer_log(t, "warning", "mask.reference is not used: nobody held out has two images to compare");
    return 0;
  }
  int r = verify_model(t, &sets->set[0], inputs->reference_model, t->spec->holdout.both_flips, &result,
                       t->dual.curve, err);
  if (r < 0)
    return r;
  if (!curve_fill(t->dual.curve)) {
    memset(t->dual.curve, 0, sizeof(t->dual.curve)); /* also when it knows a few stages */
    trainer_log(t, "warning",
                "mask.reference does not tell how its accuracy grew: this job is held against its last "
                "accuracy from the first epoch on, and will mix little; train the reference anew with a "
                "verification set and verify it at least %d times",
                CURVE_KNOWN);
  }
  dual_bind(&t->dual, result.accuracy, result.tar_at_far_2, dual_dilution(t->spec->mask.k[0]),
            !ablation_traits(t->spec->mask.ablation)->no_dual);
  auxiliary_begin_bounded(t);
  trainer_log(t, "info", "the reference verifies %.2f %% of %s; at most %.2f points may be lost",
              100 * result.accuracy, sets->set[0].protocol, 100 * t->spec->mask.max_accuracy_drop);
  return 0;
}

/* The price of accuracy follows the epoch's verification; while the margin warms up nobody decides. */
static int follow_reference(struct trainer *t, uint32_t epoch, const struct verification *result) {
  const double epochs = t->spec->train.epochs, done = epoch / epochs;
  curve_add(t->curve, (epoch - 1) / epochs, done, result->accuracy);
  if (!t->probe || t->dual.known <= 0)
    return 0;
  if (t->dual.updates > 0)
    dual_epoch(&t->dual, result->accuracy, done, t->spec->mask.max_accuracy_drop);
  int r = trainer_add_row(t, "strategy.accuracy_drop", epoch,
                          dual_reference_at(&t->dual, done) - result->accuracy, true);
  return r < 0 ? r
               : trainer_add_row(t, "strategy.tar_drop", epoch, t->dual.reference_tar - result->tar_at_far_2,
                                 true);
}

/* On no set, 0, when the epoch is not to be verified; training knows nothing of the difference. */
static uint32_t sets_of(const struct trainer *t, uint32_t epoch, const struct verify_sets *sets) {
  return epoch % t->spec->holdout.every == 0 || epoch == t->spec->train.epochs ? sets->count : 0;
}

static int verify_epoch(struct trainer *t, const struct verify_sets *sets, uint32_t count,
                        struct verification *ret_results, struct guise_error *err) {
  if (count == 0)
    return 0;
  t->callbacks->phase(t->callbacks->context, "verifying");
  int r = trainer_prepare_eval(t, STATISTICS_IMAGES, err);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = verify_run(t, &sets->set[i], t->spec->holdout.both_flips, &ret_results[i], err);
  t->callbacks->phase(t->callbacks->context, "training");
  return r;
}

/* After the last step of an epoch: verify where it is due, write the epoch's rows, and hand over a checkpoint
 * that counts the epoch as done. */
static int close_epoch(struct trainer *t, const struct job_inputs *inputs, const struct verify_sets *sets,
                       struct guise_error *err) {
  struct verification results[VERIFY_SETS_MAX];
  const uint32_t epoch = t->epochs_done + 1, verified = sets_of(t, epoch, sets);
  int r = verify_epoch(t, sets, verified, results, err);
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
  for (uint32_t i = 0; i < verified && r == 0; i++)
    r = add_verification_rows(t, epoch, &results[i], i == 0);
  if (r == 0)
    r = add_strategy_rows(t, epoch);
  if (r == 0 && verified > 0)
    r = follow_reference(t, epoch, &results[0]);
  if (r < 0)
    return error_set(err, r, "out of memory for the epoch's metrics");
  for (uint32_t k = 0; k <= MIX_MAX; k++) {
    t->last_histogram[k] = k > 0 && t->sums.mixed > 0 ? t->sums.chosen[k] / t->sums.mixed : 0;
    t->stored[k] += t->sums.chosen[k];
  }
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
  t->started_fraction = trainer_fraction(t);
  return r;
}

/* The embedder that the probe or the mask's generator needs: the one that is given, or one trained on the
 * public faces, which later jobs find again. The generator's looks at what the recogniser will see; it serves
 * the probe as well. */
static int prepare_embedder(const struct job_spec *spec, const struct job_callbacks *callbacks,
                            struct job_inputs *inputs, char path[static PATH_MAX], struct guise_error *err) {
  char directory[PATH_MAX];
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  const bool probe =
      traits->has_strategy && spec->mask.policy == POLICY_LEARNED && spec->mask.reward == REWARD_PROBE;
  if (!(probe || traits->needs_public) || inputs->embedder_model || !inputs->public_pack)
    return 0;
  if (snprintf(directory, sizeof(directory), "%s/embedder", inputs->work_directory) >= (int)sizeof(directory))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  const uint32_t input = traits->needs_public ? spec->model.input : probe_embedder_input(spec->model.input);
  const struct keeping keeping = {
      .cache = inputs->cache, .sha256 = inputs->public_sha256, .source = CACHE_MASK_PUBLIC};
  int r = embedder_train("embedder", inputs->public_pack, input, PROBE_EMBEDDER_SEED,
                         MAX(inputs->threads, 1u), &keeping, directory, callbacks, path, err);
  if (r == 0)
    inputs->embedder_model = path;
  return r;
}

/* The network that a defence begins with, likewise. */
static int prepare_pretrained(const struct job_spec *spec, const struct job_callbacks *callbacks,
                              struct job_inputs *inputs, char path[static PATH_MAX],
                              struct guise_error *err) {
  char directory[PATH_MAX];
  if (!job_spec_pretrained(spec) || inputs->pretrained_model || !inputs->public_pack)
    return 0;
  if (snprintf(directory, sizeof(directory), "%s/pretrained", inputs->work_directory) >=
      (int)sizeof(directory))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r =
      embedder_pretrain(spec, inputs->public_pack, MAX(inputs->threads, 1u), directory, callbacks, path, err);
  if (r == 0)
    inputs->pretrained_model = path;
  return r;
}

static int training_run(const struct job_spec *spec, const struct job_inputs *given,
                        const struct job_callbacks *callbacks, struct job_outcome *ret_outcome,
                        struct guise_error *err) {
  struct job_inputs own = *given;
  const struct job_inputs *inputs = &own;
  char embedder[PATH_MAX], teacher[PATH_MAX], pretrained[PATH_MAX];
  struct trainer trainer = {.threads = 1};
  struct verify_sets sets = {.count = 0};
  struct job_outcome outcome = {NULL};
  const struct data_split split = given->split ? *given->split : job_spec_split(spec);
  callbacks->phase(callbacks->context, "preparing");
  int r = job_data_open_for(callbacks, inputs->dataset_pack, spec->model.input, &split, &trainer.data, err);
  if (r == 0)
    r = audit_check(spec, &trainer.data, PEOPLE_KNOWN, err);
  if (r == 0)
    r = prepare_embedder(spec, callbacks, &own, embedder, err);
  if (r == 0)
    r = prepare_pretrained(spec, callbacks, &own, pretrained, err);
  if (r == 0)
    r = audit_prepare_teacher(spec, spec->model.input, callbacks, &own, teacher, err);
  if (r == 0)
    r = trainer_init(&trainer, spec, inputs, callbacks, err);
  if (r == 0)
    r = verify_sets_open(&trainer, inputs, &sets, err);
  if (r == 0)
    r = resume(&trainer, inputs, err);
  if (r == 0)
    r = measure_reference(&trainer, inputs, &sets, err);
  if (r == 0) {
    bool trained = trainer.epochs_done == spec->train.epochs;
    r = train_all(&trainer, inputs, &sets, err);
    if (r == 0)
      defences_finish(&trainer);
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

int job_run(const struct job_spec *spec, const struct job_inputs *inputs,
            const struct job_callbacks *callbacks, struct job_outcome *ret_outcome, struct guise_error *err) {
  omp_set_num_threads((int)MAX(inputs->threads, 1u)); /* also for what comes before the networks */
  return (spec->type == JOB_AUDIT ? audit_job_run : training_run)(spec, inputs, callbacks, ret_outcome, err);
}
