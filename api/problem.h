/* Error answers: RFC 9457 problem details, the same shape on every path.
 *
 * A problem has a stable code (the last part of `type`) that programs may rely on, a status, and a detail: a
 * sentence that says what the user can do. Validation gives every mistake at once in `errors`. */
#pragma once

#include <jansson.h>

#include "core/base/base.h"
#include "core/train/spec.h"

enum problem_code {
  PROBLEM_MALFORMED_REQUEST, /* 400: the message itself */
  PROBLEM_MALFORMED_JSON,    /* 400 */
  PROBLEM_UNAUTHENTICATED,   /* 401 */
  PROBLEM_SCOPE,             /* 403: the token lacks the scope */
  PROBLEM_HOST,              /* 403: Host is not in the allow list */
  PROBLEM_ORIGIN,            /* 403: another web site's page asks */
  PROBLEM_FORBIDDEN,         /* 403 */
  PROBLEM_QUOTA,             /* 403: the owner has as much as he may */
  PROBLEM_NOT_FOUND,         /* 404 */
  PROBLEM_METHOD,            /* 405 */
  PROBLEM_TIMEOUT,           /* 408 */
  PROBLEM_CONFLICT,          /* 409 */
  PROBLEM_GONE,              /* 410: it was there, and is kept no longer */
  PROBLEM_TOO_LARGE,         /* 413 */
  PROBLEM_URI_TOO_LONG,      /* 414 */
  PROBLEM_MEDIA_TYPE,        /* 415 */
  PROBLEM_RANGE,             /* 416 */
  PROBLEM_INVALID,           /* 422 */
  PROBLEM_RATE,              /* 429 */
  PROBLEM_HEADERS_TOO_LARGE, /* 431 */
  PROBLEM_INTERNAL,          /* 500: guise's fault */
  PROBLEM_UNAVAILABLE,       /* 503 */
  PROBLEM_STORAGE,           /* 503: the disk is full */
  PROBLEM_CODES
};

#define RETRY_AFTER_S "5" /* with every 503 */

unsigned problem_status(enum problem_code code);
const char *problem_title(enum problem_code code);

/* {"type","title","status","detail","instance"?,"errors"?}. errors is stolen; may be NULL, like instance. New
 * reference, NULL when out of memory. */
json_t *problem_json(enum problem_code code, const char *detail, const char *instance, json_t *errors);
/* The array [{"pointer","code","detail","allowed"?}]. New reference, NULL when out of memory. */
json_t *problem_errors(const struct spec_problems *problems);
/* What a result of the service or the store means to a client. */
enum problem_code problem_of_errno(int r);
