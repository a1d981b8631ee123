/* Weight-side defences: what a training does so that the weights themselves give less away. One file each,
 * one row each in the table of defence.c; the rows' hooks are in defence_rows.h.
 *
 * A job lists its defences; each method at most once. Their numbers stand beside "method" in its entry. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEFENCE_PARAMETERS_MAX 3

enum defence_method {
  DEFENCE_NEGATIVE_LS,
  DEFENCE_BIDO,
  DEFENCE_TL_DMI,
  DEFENCE_AT_AT,
  DEFENCE_DP_SGD,
  DEFENCES
};

struct defence_parameter {
  const char *name; /* as in the API */
  const char *summary;
  double minimum, maximum, initial;
  bool whole; /* an integer */
};

/* What a defence is; the rest of guise asks the table and never compares methods. */
struct defence_traits {
  const char *name;    /* as in the API */
  const char *summary; /* one line for report and card */
  /* Whoever is trained on must not be in what stands around the weights: the mask's constants come from
   * mask.public_dataset, and norms look at one image alone. */
  bool public_constants;
  bool secret; /* some of its draws come from a secret, so that a training is not repeated by its seed */
  const char
      *granted;    /* a sentence: what it adds to a sample's gradient is kept from the attack; NULL = none */
  bool pretrained; /* begins with the weights of another model, which "model" may name */
  const struct defence_parameter *parameters;
  uint32_t parameter_count;
};
const struct defence_traits *defence_traits(enum defence_method method);

/* What a job chose. */
struct defence_choice {
  enum defence_method method;
  double parameter[DEFENCE_PARAMETERS_MAX]; /* in the order of the method's table */
};
