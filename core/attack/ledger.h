/* Units of work that an attack has finished (a face, a batch of people), in a file of the work directory, so
 * that an attack that is begun again goes on with the next one. A record is written to disk before the next
 * unit begins. Each ends with a hash of itself and of all before it, the first also of what the units depend
 * on: one that is torn, damaged or of another attempt is not taken, nor is anything behind it. Internal to
 * core/attack. */
#pragma once

#include "core/attack/attack.h"

/* Where a piece of a unit lies. */
struct ledger_part {
  void *data;
  size_t bytes;
  bool numbers; /* doubles, each from `least` to `most`; else any bytes */
  double least, most;
};

struct ledger;

/* work_directory/units/NAME, made where it is missing; without a work directory *ret_ledger is NULL, which
 * holds nothing and keeps nothing. identity (reference taken; NULL: -ENOMEM): all that the units depend on
 * beside the version of guise, and the number of threads where that counts. The context is kept by reference.
 * 0; a negative errno with err. */
int ledger_open(const struct attack_context *context, const char *name, json_t *identity,
                struct ledger **ret_ledger, struct guise_error *err);
struct ledger *ledger_free(struct ledger *ledger);
DEFINE_CLEANUP(struct ledger *, ledger_free)

/* Fills the parts with the next unit, which must be of their size. False: there is none that can be trusted,
 * nor will there be one; the parts are as they were. */
bool ledger_take(struct ledger *ledger, const struct ledger_part *parts, uint32_t count);

/* Keeps a unit behind those that were taken or added, then tells context->kept; what was not taken is gone.
 * A unit with a number out of its bounds is not kept, nor is any behind it, which is no error. -ECANCELED
 * when the attack has to stop: its last unit may come of what could not be read. What writing says. */
int ledger_add(struct ledger *ledger, const struct ledger_part *parts, uint32_t count,
               struct guise_error *err);

/* For an identity; new references. NULL when out of memory. */
json_t *ledger_digest(const void *data, size_t bytes);
int ledger_digest_of_file(const char *path, json_t **ret_digest, struct guise_error *err);
