#include "core/nn/adam.h"

#include "core/nn/graph_internal.h"

#define GRAIN 16u /* floats; what parameters are padded to */

void adam_update(const struct adam_step *step, float *restrict w, float *restrict m, float *restrict s,
                 const float *restrict gradient, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const float g = gradient[i] + step->coupled * w[i];
    m[i] = step->beta1 * m[i] + (1.0f - step->beta1) * g;
    s[i] = step->beta2 * s[i] + (1.0f - step->beta2) * g * g;
    w[i] = step->shrink * w[i] - step->rate * m[i] / (sqrtf(s[i]) * step->root + step->epsilon);
  }
}

int graph_adam(struct graph *graph, const struct adam_options *options, uint64_t step,
               struct guise_error *err) {
  if (!graph->squares)
    return error_set(err, -EINVAL, "Adam needs a graph that was built for training with it");
  if (step == 0)
    return error_set(err, -EINVAL, "Adam's steps count from 1");
  if (!(options->epsilon > 0) || !(options->beta1 >= 0 && options->beta1 < 1) ||
      !(options->beta2 >= 0 && options->beta2 < 1) || !isfinite(options->rate) || !isfinite(options->decay))
    return error_set(err, -EINVAL,
                     "Adam needs betas from 0 to below 1, a positive epsilon, and a finite rate and decay");
  const struct adam_step with_decay = {
      .rate = (float)((double)options->rate / adam_bias((double)options->beta1, step)),
      .root = (float)(1 / sqrt(adam_bias((double)options->beta2, step))),
      .beta1 = options->beta1,
      .beta2 = options->beta2,
      .epsilon = options->epsilon,
      .coupled = options->decoupled ? 0.0f : options->decay,
      .shrink = options->decoupled ? 1.0f - options->rate * options->decay : 1.0f,
  };
  struct adam_step without = with_decay;
  without.coupled = 0.0f;
  without.shrink = 1.0f;
  const int threads = (int)graph->config.threads;
  const uint64_t grains = graph->trainable_count / GRAIN;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const uint64_t begin = share_begin(grains, thread, threads) * GRAIN,
                   end = share_begin(grains, thread + 1, threads) * GRAIN;
    const uint64_t middle = MIN(MAX(begin, graph->decay_count), end);
    adam_update(&with_decay, graph->values + begin, graph->momenta + begin, graph->squares + begin,
                graph->gradients + begin, middle - begin);
    adam_update(&without, graph->values + middle, graph->momenta + middle, graph->squares + middle,
                graph->gradients + middle, end - middle);
  }
  graph_parameters_changed(graph);
  return 0;
}
