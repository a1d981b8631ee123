/* What a network that was taught with lessons made of the victims' templates, kept as one unit of work: the
 * lessons are most of the attack, so that one that is begun again has only those of the network that was
 * under way to give once more. Internal to core/attack. */
#pragma once

#include "core/attack/ledger.h"
#include "core/attack/lessons.h"

/* The ledger of one network. It depends on the teacher, the seed, the threads, the public faces and what
 * their first lesson looks like, the victims' templates, composed as `mixes` says, and the `course`: what
 * else decides what is learnt (reference taken; NULL: -ENOMEM). As ledger_open. */
int taught_ledger(const struct attack_context *context, const char *name,
                  const struct lessons_options *options, const struct face_sample *open,
                  const struct face_sample *victims, const struct mix *mixes, json_t *course,
                  struct ledger **ret_ledger, struct guise_error *err);
