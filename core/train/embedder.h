/* An embedder of public faces: the frozen judge of identity that probe and attackers use where the job names
 * no model. */
#pragma once

#include <stdint.h>

#include "core/base/cache.h"
#include "core/nn/arch.h"
#include "core/train/data.h"
#include "core/train/job.h"

/* Where a network is kept for later jobs, and for these where it comes from. */
struct keeping {
  const struct model_cache *cache; /* NULL = nowhere */
  const char *sha256;              /* of the pack it learns from; NULL or "" = nowhere */
  enum cache_source source;        /* that pack */
};

/* Seeds of the public networks of a job, whatever its own seed: jobs that differ in nothing but their seed
 * share them, and do not differ by them. Two, so that the attacker's teacher is not what the policy's reward
 * looks through. */
#define PROBE_EMBEDDER_SEED 1u
#define TEACHER_SEED 2u

/* Trains an undefended network of half width on all people of `public_pack` but a tenth, whose verification
 * accuracy is logged, and writes work_directory/embedder.safetensors (a model of core/model), whose path
 * comes back. size: pixels a side, a multiple of 8 from 32 on; less when the pack has less. work_directory is
 * made; the training's checkpoints are kept there until it ends, so that a killed job continues, and one that
 * finds the embedder finished has it at once. A directory belongs to one pack, size and seed. keeping (NULL =
 * nowhere): a network of the same pack, split, specification, seed and number of threads that an earlier job
 * left there is taken, which the log tells; one that is trained is left there. role: what log and errors call
 * it, as "embedder" or "teacher".
 *
 * callbacks: phase ("preparing"), progress (fraction 0), log and should_stop are passed on; checkpoints are
 * not. 0; -ECANCELED; -EINTR; another negative errno with err. */
int embedder_train(const char *role, const char *public_pack, uint32_t size, uint64_t seed, uint32_t threads,
                   const struct keeping *keeping, const char *work_directory,
                   const struct job_callbacks *callbacks, char ret_path[static 4096],
                   struct guise_error *err);

/* A network for a job to begin with: the job's own training, model and mask, but without defences, strategy
 * network, key and decoys, on the public faces. Writes work_directory/pretrained.safetensors; everything else
 * as embedder_train. */
int embedder_pretrain(const struct job_spec *job, const char *public_pack, uint32_t threads,
                      const char *work_directory, const struct job_callbacks *callbacks,
                      char ret_path[static 4096], struct guise_error *err);

/* The opposite: an undefended network that learns its photographs by heart, as a control for attacks that ask
 * what was trained on. pack and split: those of the training under attack, with split->most_people; images:
 * how many are trained on. Writes work_directory/overfitted.safetensors; everything else as embedder_train.
 */
int embedder_overfit(const char *pack, const struct data_split *split, uint32_t images, uint32_t size,
                     uint32_t threads, const struct keeping *keeping, const char *work_directory,
                     const struct job_callbacks *callbacks, char ret_path[static 4096],
                     struct guise_error *err);

/* An undefended network of people of the training under attack, trained as any other: what attacks on weights
 * are compared with and judged by. images: how many are trained on. Writes work_directory/known.safetensors;
 * everything else as embedder_overfit. */
int embedder_known(enum arch arch, const char *pack, const struct data_split *split, uint32_t images,
                   uint32_t size, uint64_t seed, uint32_t threads, const struct keeping *keeping,
                   const char *work_directory, const struct job_callbacks *callbacks,
                   char ret_path[static 4096], struct guise_error *err);
