/* Networks that are trained on the way and serve later jobs as well: whoever runs jobs may keep them. All
 * that such a network is determined by is hashed into its key; whose faces it has learnt is told beside it,
 * so that it is erased with them. */
#pragma once

#include <jansson.h>

#include "core/base/file.h"

/* What a network that is kept has to be erased with. */
enum cache_source {
  CACHE_PEOPLE = 1,      /* the job's data set */
  CACHE_PUBLIC = 2,      /* the public faces of its audit */
  CACHE_MODEL = 4,       /* the model under attack */
  CACHE_MASK_PUBLIC = 8, /* the public faces of its mask; no network learns from both */
};

struct model_cache {
  void *context;
  /* Puts the file that is kept under the key in the place of `path`, whole or not at all. 0; a negative
   * errno: there is none. The directory is there. */
  int (*fetch)(void *context, const char *key, const char *path);
  /* Keeps the file at `path` under the key. It stays there, and is replaced by others but never written to. A
   * file that cannot be kept is trained again another time. sources: of enum cache_source. */
  void (*keep)(void *context, const char *key, const char *path, unsigned sources);
};

/* The key of what `identity` (reference taken) describes, for this version of guise. -ENOMEM. */
int cache_key(json_t *identity, char ret_key[SHA256_HEX]);
