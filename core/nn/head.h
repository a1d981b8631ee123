/* The margin-softmax class head with mixed labels. cos t_c = <e/|e|, w_c/|w_c|>.
 *
 *   L0 = sum_j lambda_j l_j,  l_j = -log( e^{s(cos t_yj - m_j)} / (e^{s(cos t_yj - m_j)} + sum_{c in
 * negatives} e^{s cos t_c}) ), m_j by head_margins (CosFace;
 * ArcFace: cos(t + m_j), and cos t - m_j sin m_j when cos t < cos(pi - m_j)) negatives: "others" leaves all
 * the mix's people out of the sum, "all" keeps the mix's other people in. One label of weight 1 is the
 * ordinary loss; weights may add up to less than 1, where a part of the mix is nobody's, and are taken as
 * they are. Products run in OpenBLAS with one thread, called from the job's own threads. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

enum head_kind { HEAD_COSFACE, HEAD_ARCFACE };
enum head_negatives { HEAD_NEGATIVES_OTHERS, HEAD_NEGATIVES_ALL };
/* How a label's margin depends on its share of the mix: m_j = m lambda_j / max lambda; m; or
 * m lambda_j / |lambda|, in proportion to the cosine that a linear embedding of the mix would have. */
enum head_margins { HEAD_MARGINS_SCALED, HEAD_MARGINS_EQUAL, HEAD_MARGINS_REACHABLE };

struct head_label { /* sparse labels, at most 6 a sample */
  uint32_t identity;
  float weight;
};

struct head;

/* classes x embedding weights, N(0, 0.01^2) from (seed, RNG_INIT). batch: the largest that step() will see.
 */
int head_new(uint32_t classes, uint32_t embedding, uint32_t batch, uint32_t threads, enum head_kind kind,
             uint64_t seed, struct head **ret_head, struct guise_error *err);
struct head *head_free(struct head *head);

struct head_options {
  float scale, margin;
  enum head_negatives negatives;
  enum head_margins margins;
  /* a: l_j becomes (1 - a) l_j + a u_j, u_j the mean of -log p over the n_j classes of label j's softmax (the
   * target with its margin); 0 = none, below 0: negative label smoothing (Struppek et al., arXiv 2310.06549)
   */
  float smoothing;
};
/* How hard each sample of a step was, apart from margins and what counts as a negative. */
struct head_difficulty {
  const uint32_t *own; /* (batch) the class that is asked about, whatever its share of the label */
  float *ret_margins;  /* (batch) cos to it minus best other class */
  float *ret_plain; /* (batch) cross-entropy of the soft label: no margin, all classes are negatives, nats */
};
/* Forward and backward of the batch's mean loss. embeddings (batch, D), not normalised. labels: MIX of sample
 * i are labels[i * stride .. + counts[i]). Writes d(mean loss)/d(embedding) and keeps the class gradient for
 * head_sgd. ret_losses (batch) or NULL: loss of each sample; difficulty may be NULL. */
double head_step(struct head *head, const struct head_options *options, const float *embeddings,
                 uint32_t batch, const struct head_label *labels, uint32_t stride, const uint32_t *counts,
                 float *ret_gradient, float *ret_losses, const struct head_difficulty *difficulty);
/* The loss alone, without gradients (for rewards): fills ret_losses (batch). */
void head_losses(struct head *head, const struct head_options *options, const float *embeddings,
                 uint32_t batch, const struct head_label *labels, uint32_t stride, const uint32_t *counts,
                 float *ret_losses);
void head_sgd(struct head *head, float rate, float momentum, float decay);

uint32_t head_classes(const struct head *head);
float *head_weights(struct head *head);  /* (classes, D) */
float *head_momentum(struct head *head); /* (classes, D) */
float *head_gradient(struct head *head); /* (classes, D): of the last head_step, for the next head_sgd */
