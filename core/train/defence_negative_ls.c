/* Negative label smoothing (Struppek et al., "Be Careful What You Smooth For", ICLR 2024, arXiv 2310.06549):
 *
 *   (1 - a) l_j + a mean_c(-log p_c),  a = alpha < 0
 *
 * over the classes of each label's margin softmax (core/nn/head.h). The loss then asks for more than
 * certainty: for other people to be unlikely to the utmost, and a search for a face by its logits loses its
 * slope. Learnt from the start that would keep a network from learning, so a is 0 until `start` of the steps
 * are done, and then grows linearly, whole when half of the rest is done. */
#include "core/train/defence_rows.h"

enum { ALPHA, START };

static const struct defence_parameter parameters[] = {
    {"alpha", "weight of the mean over all classes, below 0", -1, -1e-4, -0.05, false},
    {"start", "share of the steps that are trained without", 0, 0.99, 0.5, false},
};

static void head(const struct trainer *t, const struct defence *d, struct head_options *options) {
  const double start = d->choice->parameter[START], done = (double)t->step / (double)t->total;
  const double risen = MIN(MAX((done - start) / ((1 - start) / 2), 0.0), 1.0);
  options->smoothing = (float)(d->choice->parameter[ALPHA] * risen);
}

static void share(const struct defence_choice *choice, struct attack_loss *loss) {
  loss->options.smoothing = (float)choice->parameter[ALPHA];
}

const struct defence_row defence_negative_ls = {.traits = {.name = "negative_ls",
                                                           .summary = "negative label smoothing, ramped in",
                                                           .parameters = parameters,
                                                           .parameter_count = ARRAY_SIZE(parameters)},
                                                .head = head,
                                                .share = share};
