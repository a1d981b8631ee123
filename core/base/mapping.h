/* Read-only files in memory, whose pages may turn out to be unreadable.
 *
 * A mapped page that the disk cannot deliver, or that lies behind the end of a file that became shorter, is
 * answered by the kernel with SIGBUS, whichever thread touches it. mapping_guard() installs a handler that
 * puts zeros in the place of such a mapping and remembers it; the reader goes on with zeros and must ask,
 * before it believes what it computed, mapping_failed() or the watch under which the mapping was opened.
 * Without the guard the signal ends the process as ever. */
#pragma once

#include <stdatomic.h>

#include "core/base/base.h"

#define MAPPINGS_MAX 1024u /* open at once */

struct mapping;

/* Installs the handler where it is not; a SIGBUS anywhere else still does what it did before. Not from two
 * threads at once. */
int mapping_guard(void);

/* Maps the first `bytes` of the file; they stay mapped after fd is closed. -EMFILE: too many are open. */
int mapping_open(int fd, size_t bytes, struct mapping **ret_mapping);
struct mapping *mapping_free(struct mapping *mapping);
const void *mapping_data(const struct mapping *mapping);
/* Whether some of it could not be read since it was opened: all of it may be zeros. */
bool mapping_failed(const struct mapping *mapping);

/* Sees failures of all mappings that its thread opens between begin and end, wherever they are read. One a
 * thread at a time; any thread may ask. */
struct mapping_watch {
  atomic_bool failed;
};
void mapping_watch_begin(struct mapping_watch *watch);
void mapping_watch_end(struct mapping_watch *watch);
