/* A mask's key guessed by who does not have it: which channel stands at which place of a template, and with
 * which sign. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"

struct key_guess {
  struct mask *mask; /* the attacked one, with the guess in place of its key; owned */
  double found;      /* share of the places whose channel and sign are right */
  uint32_t faces;    /* whose statistics were taken, or pairs that were known */
};

/* From statistics: templates that the sample's people left, mixed as `mixing` says (NULL: unmixed), against
 * the attacker's own templates, without a key, of other people: of the context's public faces, else of every
 * second person of the sample, whose own templates are then left out. Places and channels are matched by the
 * mean and variance of each cell over the faces, then by the correlations between channels. 0, -ECANCELED,
 * -ENOMEM, -EINVAL (the mask cannot be made again). */
int key_from_statistics(const struct attack_context *context, const struct face_sample *sample,
                        const struct attack_mixing *mixing, struct key_guess *ret_guess,
                        struct guise_error *err);
/* From faces of every second person of the sample whose unmixed templates are known, C of them at most. */
int key_from_pairs(const struct attack_context *context, const struct face_sample *sample,
                   struct key_guess *ret_guess, struct guise_error *err);
/* None: the mask without a key, as everybody has it. */
int key_ignored(const struct mask *mask, struct mask **ret_mask, struct guise_error *err);
void key_guess_done(struct key_guess *guess);

/* The assignment of rows to columns with the least sum of costs: cost (n,n), ret_column (n). Hungarian method
 * by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987), n^3 steps. 0 or -ENOMEM. */
int assign(uint32_t n, const double *cost, uint32_t *ret_column);
