/* The network under attack with its gradients, and the class head that the handed-out file leaves out, made
 * again: a person's row is the mean of the network's embeddings of photographs. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"
#include "core/model/model.h"
#include "core/nn/head.h"

struct classifier_options {
  struct model *model;
  const struct mask *mask; /* the model's own or, for a control, an undefended one */
  /* The same weights see undefended templates, from which the norms' statistics are taken. Where the weights
   * do not fit these templates, the network begins anew from `seed`. */
  bool control;
  const struct face_sample *known; /* behind the rows; person p of the sample is class p */
  const struct attack_loss *loss;
  uint32_t batch, threads;
  uint64_t seed;
  bool (*should_stop)(void *stop_context); /* may be NULL */
  void *stop_context;
};

struct classifier {
  struct graph *graph; /* with gradients of weights and input */
  struct head *head;
  struct head_options loss;
  uint32_t batch, classes, embedding;
  uint32_t frozen;  /* as the loss says */
  bool own_weights; /* the attacked model's, not new ones */
};

/* -ECANCELED, -ENOMEM, ... as graph_build. */
int classifier_new(const struct classifier_options *options, struct classifier **ret_classifier,
                   struct guise_error *err);
struct classifier *classifier_free(struct classifier *classifier);
DEFINE_CLEANUP(struct classifier *, classifier_free)

/* Loss of the graph's input, one label list a sample as head_step takes them, and the gradients: of weights
 * and input in the graph, of the rows in the head. In evaluation mode. ret_loss may be NULL. */
int classifier_differentiate(struct classifier *classifier, const struct head_label *labels, uint32_t stride,
                             const uint32_t *counts, double *ret_loss, struct guise_error *err);

/* The same of the max-margin loss, the batch's mean of -l_y + max_{j != y} l_j, l_j the scaled cosine to row
 * j; at least two classes. */
int classifier_separate(struct classifier *classifier, const uint32_t *classes, double *ret_loss,
                        struct guise_error *err);

/* Forward alone, and what came of it: the cosine of image i's embedding to a row. */
int classifier_look(struct classifier *classifier, struct guise_error *err);
double classifier_cosine(const struct classifier *classifier, uint32_t i, uint32_t class_);
