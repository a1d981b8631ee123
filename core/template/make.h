/* Faces -> a file of templates, on the owner's machine. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/image/pack.h"
#include "core/template/plain_mask.h"

struct templates_recipe {
  struct mask_mixing mixing; /* how many faces a template has; of the model's training */
  uint32_t mixes;            /* templates that each face leads, 1..TEMPLATES_MIXES_MAX */
  uint64_t seed; /* of partners, weights and order: whoever knows it knows which faces were mixed */
  bool half;     /* halves instead of floats */
};
#define TEMPLATES_MIXES_MAX 16u

/* Masks every image of the pack, whose size must be the mask's, and writes `path`. Partners are drawn from
 * all images; people are numbered and templates ordered at random. ret_person (pack_identities), may be NULL:
 * the number of each person of the pack. Needs room for the values twice beside `path` until it returns.
 * go_on, may be NULL: is told the share that is done, and whether to stop. -ECANCELED when it says so;
 * -EINVAL, -ENOMEM, or from writing; err says what. */
int templates_make(const struct pack *pack, const struct plain_mask *mask,
                   const struct templates_recipe *recipe, const char *path, uint32_t *ret_person,
                   bool (*go_on)(void *context, double done), void *context, struct guise_error *err);
