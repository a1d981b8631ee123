/* Networks that a job trains on the way are kept as blobs, for later jobs of the same owner. */
#pragma once

#include "daemon/service_internal.h"

#define NETWORKS_BYTES ((uint64_t)2 << 30) /* of all that are kept; those used longest ago go first */

/* After a write that met r: true = the disk was full and networks that were kept made room. Their rows go
 * first, which takes some room itself: where there is none they stay. An erasure's receipt lists them:
 * `files`, NULL = no erasure. Without blob_lock. */
bool networks_give(struct service *service, int r, json_t **files);

/* What a job keeps, and takes from what others kept. */
struct networks {
  struct service *service;
  struct slot *slot;
  char dataset[STORE_ID], model[STORE_ID]; /* of the job; "" = none */
  struct public_faces {
    char dataset[STORE_ID], sha256[SHA256_HEX]; /* "" = none */
  } audit, mask;
  struct model_cache cache;
};

/* Sets the cache in *inputs, which points into *networks. model: the id of the one under attack, "" where it
 * is not in the store. */
void networks_begin(struct service *service, struct slot *slot, const char *dataset, const char *model,
                    struct networks *networks, struct job_inputs *inputs);
