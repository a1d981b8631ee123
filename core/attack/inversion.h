/* What attacks have in common that draw the people a network was trained on out of its weights: whom they
 * draw, the control, the evaluator and the report. Internal to core/attack. */
#pragma once

#include "core/attack/classifier.h"
#include "core/attack/ledger.h"
#include "core/attack/lessons.h"

#define INVERSION_BATCH 16u
/* Of the control's people, drawn so that the evaluator knows them: less is a search that fails by itself. */
#define INVERSION_CONTROL_LEAST 0.15

/* A network whose classes are drawn. */
struct inverted {
  const struct attack_context *context;
  struct classifier *classifier; /* of INVERSION_BATCH, its loss without margin */
  const struct mask *mask;       /* before it */
  const char *role;              /* "attacked" or "control" */
  const char *attack, *network;  /* its name; the file of the network */
};

struct inversion {
  const char *name, *threat_model;
  uint32_t people;      /* that are drawn, at most */
  uint32_t known;       /* photographs behind the class rows, at most */
  double control_least; /* accuracy_at_1 that the control must reach, at least */
  void *method;
  /* Draws class wanted[i] as ret_rgb i, (size, size, 3), the size that of the mask. Returns 0 or a negative
   * errno with err; asks context->should_stop. */
  int (*draw)(const struct inverted *inverted, void *method, const uint32_t *wanted, uint32_t count,
              uint8_t *ret_rgb, struct guise_error *err);
};

/* Where the drawings of the wanted people are kept (core/attack/ledger.h). search (reference taken): what
 * they depend on beside network, people, seed and threads. Before the network is drawn out of. */
int inversion_ledger(const struct inverted *inverted, const uint32_t *wanted, uint32_t count, json_t *search,
                     struct ledger **ret_ledger, struct guise_error *err);

/* Draws, has the drawings judged and writes the one surface, W. The context needs model, undefended,
 * evaluator and members (-EINVAL). */
int inversion_run(const struct inversion *inversion, const struct attack_context *context,
                  struct attack_result *result, struct guise_error *err);
