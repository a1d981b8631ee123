/* Model inversion through a generator of public faces: what is drawn is searched for among its latents, so
 * that it looks like a face whatever the attacked network likes. What plg_mi and gmi share. Internal to
 * core/attack. */
#pragma once

#include "core/attack/guide.h"

struct gan_inversion_budget {
  uint32_t people;   /* that are drawn, at most */
  uint32_t known;    /* photographs behind the class rows, at most */
  uint32_t faces;    /* public, at most */
  uint32_t side;     /* pixels that are drawn at most, a multiple of 8; larger pictures are interpolated */
  uint32_t lessons;  /* steps of the generator's training */
  uint32_t steps;    /* of a search */
  uint32_t restarts; /* searches a person, of which that with the highest logit counts; at least 1 */
};

struct gan_inversion {
  const char *name, *threat_model;
  uint32_t labelled;    /* public faces that stand for a person; 0: the generator knows no people */
  float guidance;       /* of the generator by the attacked network, where it knows people */
  enum guide_loss loss; /* of the search */
  float realism;        /* weight of -D in it */
};

extern const struct gan_inversion plg_mi, gmi;                    /* one file each */
extern const struct gan_inversion_budget gan_inversion_budgets[]; /* by effort */

/* ret_result's name and the like are the caller's. -EINVAL with fewer than LESSON_BATCH public faces. */
int gan_inversion_run(const struct gan_inversion *inversion, const struct gan_inversion_budget *budget,
                      const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err);
