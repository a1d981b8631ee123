/* What a training tells of itself: lines of the log, rows of metrics, progress; and whether it is to stop. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/train/analysis.h"
#include "core/train/trainer.h"
#include "core/train/weights.h"

static const int64_t progress_every_ns = 400000000;

void trainer_log(const struct trainer *t, const char *level, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  t->callbacks->log(t->callbacks->context, level, text);
}

int trainer_stop_code(const struct trainer *t) {
  return job_stop_code(t->callbacks);
}

bool trainer_should_stop(void *trainer) {
  return trainer_stop_code(trainer) != 0;
}

int trainer_add_row(struct trainer *t, const char *name, uint32_t epoch, double value, bool per_epoch) {
  if (!isfinite(value)) /* too few pairs to say: no row is the honest answer */
    return 0;
  if (t->row_count == t->row_capacity) {
    uint32_t capacity = t->row_capacity ? 2 * t->row_capacity : 64;
    struct metric_row *rows = realloc(t->rows, capacity * sizeof(*rows));
    if (!rows)
      return -ENOMEM;
    t->rows = rows;
    t->row_capacity = capacity;
  }
  struct metric_row *row = &t->rows[t->row_count++];
  *row = (struct metric_row){.epoch = epoch, .step = t->step, .value = value, .per_epoch = per_epoch};
  (void)snprintf(row->name, sizeof(row->name), "%s", name);
  return 0;
}

void trainer_report(struct trainer *t, double fraction) {
  double elapsed = (double)(clock_ns() - t->started_ns) * 1e-9, gained = fraction - t->started_fraction;
  bool begun = t->sums.steps > 0;
  struct job_progress progress = {
      .fraction = fraction,
      .epoch = MIN(t->epochs_done + 1, t->spec->train.epochs),
      .epochs = t->spec->train.epochs,
      .step = t->step,
      .total = t->total,
      .images_per_s = t->images_per_s,
      .step_s = t->images_per_s > 0 ? t->batch / t->images_per_s : 0,
      .eta_s = gained > 0.002 ? elapsed * (1 - fraction) / gained : -1,
      .loss = begun ? t->sums.loss / t->sums.steps : (double)NAN,
  };
  t->callbacks->progress(t->callbacks->context, &progress);
}

/* Steps before the training. */
static double preparing_steps(const struct trainer *t) {
  return (double)(analysis_steps(t) + weights_steps(t));
}

double trainer_fraction(const struct trainer *t) {
  const double before = preparing_steps(t), steps = before + (double)t->step;
  return 0.95 * steps / (before + (double)t->total);
}

void trainer_report_due(struct trainer *t, double fraction, int64_t *told) {
  const int64_t now = clock_ns();
  if (now - *told > progress_every_ns) {
    *told = now;
    trainer_report(t, fraction);
  }
}

void trainer_report_preparing(struct trainer *t, double done, int64_t *told) {
  const double before = preparing_steps(t);
  trainer_report_due(t, 0.95 * done * before / (before + (double)t->total), told);
}
