/* What every file of guise may use: errors with a sentence for the user, scope-bound cleanup, small helpers.
 *
 * Functions that can fail return 0 or a negative errno. Outputs are named `ret_x` and stay untouched on
 * failure. A function that takes a `struct guise_error *` puts there a sentence that tells a user what to do;
 * the pointer may be NULL. Library code never logs, never exits. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct guise_error {
  int code;       /* the negative errno that was returned */
  char text[512]; /* one sentence, UTF-8, no trailing newline */
};

/* Fills *err (may be NULL) and returns `code`, so that failing paths read `return error_set(err, -EINVAL,
 * ...)`. */
int error_set(struct guise_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define _cleanup_(function) __attribute__((cleanup(function)))

/* DEFINE_CLEANUP(struct pack *, pack_free) defines pack_freep, to be used as _cleanup_(pack_freep). */
#define DEFINE_CLEANUP(type, function)                                                             \
  static inline void function##p(type *pointer) { /* NOLINT(bugprone-macro-parentheses): a type */ \
    if (*pointer)                                                                                  \
      function(*pointer);                                                                          \
  }

static inline void freep(void *pointer) {
  free(*(void **)pointer);
}
void closep(const int *fd); /* closes *fd when it is >= 0; keeps errno */

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Hands over ownership: returns *pointer and sets it to NULL. */
#define TAKE(pointer)                       \
  ({                                        \
    __typeof__(pointer) taken_ = (pointer); \
    (pointer) = NULL;                       \
    taken_;                                 \
  })

/* Parallel loops. A job sets its thread budget once with omp_set_num_threads() in its own thread.
 * ThreadSanitizer cannot see libgomp, so such builds run with one OpenMP thread. */
int64_t clock_ns(void); /* CLOCK_MONOTONIC */
