/* From a shared gradient back to the template it was computed on. Internal to core/attack. */
#pragma once

#include "core/attack/classifier.h"

struct matcher_options {
  struct classifier *classifier; /* with a batch of one; kept by reference */
  const struct mask *mask;
  uint32_t steps; /* of each template */
  bool features;  /* begin with what the last linear layer saw, where the gradient tells */
  uint64_t seed;
  bool (*should_stop)(void *stop_context); /* may be NULL */
  void *stop_context;
};

struct matcher;

int matcher_new(const struct matcher_options *options, struct matcher **ret_matcher, struct guise_error *err);
struct matcher *matcher_free(struct matcher *matcher);
DEFINE_CLEANUP(struct matcher *, matcher_free)

/* What a client shares for one template with these labels: from here on the gradient under attack. */
int matcher_share(struct matcher *matcher, const float *template_, const struct head_label *labels,
                  uint32_t count, struct guise_error *err);

/* Whose template it was, from the gradient of the rows: those that point against the others, with shares that
 * add up to 1, largest first. Returns how many, at least 1. */
uint32_t matcher_labels(const struct matcher *matcher, struct head_label ret_labels[MIX_MAX]);

/* 1 - cos between the shared gradient and that of a template with these labels, and its derivative by the
 * template. `step` is the length of the move in weights whose difference stands in for the second derivative;
 * 0 = the matcher's own. */
int matcher_distance(struct matcher *matcher, const float *template_, const struct head_label *labels,
                     uint32_t count, double step, double *ret_distance, float *ret_derivative,
                     struct guise_error *err);

/* Looks for the template behind the shared gradient. number: keys where the search begins. -ECANCELED. */
int matcher_recover(struct matcher *matcher, const struct head_label *labels, uint32_t count, uint32_t number,
                    float *ret_template, struct guise_error *err);
