#include "api/problem.h"

#include <errno.h>

static const struct {
  const char *name, *title;
  unsigned status;
} problems[PROBLEM_CODES] = {
    [PROBLEM_MALFORMED_REQUEST] = {"malformed-request", "The request is malformed", 400},
    [PROBLEM_MALFORMED_JSON] = {"malformed-json", "The body is not valid JSON", 400},
    [PROBLEM_UNAUTHENTICATED] = {"unauthenticated", "A valid token is needed", 401},
    [PROBLEM_SCOPE] = {"insufficient-scope", "The token is not for this", 403},
    [PROBLEM_HOST] = {"host-not-allowed", "This Host is not allowed", 403},
    [PROBLEM_ORIGIN] = {"origin-not-allowed", "This Origin is not allowed", 403},
    [PROBLEM_FORBIDDEN] = {"forbidden", "Not permitted", 403},
    [PROBLEM_QUOTA] = {"quota", "The owner's quota is used up", 403},
    [PROBLEM_NOT_FOUND] = {"not-found", "Not found", 404},
    [PROBLEM_METHOD] = {"method-not-allowed", "The method is not allowed here", 405},
    [PROBLEM_TIMEOUT] = {"timeout", "The request took too long to arrive", 408},
    [PROBLEM_CONFLICT] = {"conflict", "The present state does not allow this", 409},
    [PROBLEM_GONE] = {"gone", "No longer kept", 410},
    [PROBLEM_TOO_LARGE] = {"too-large", "The body is too large", 413},
    [PROBLEM_URI_TOO_LONG] = {"uri-too-long", "The address is too long", 414},
    [PROBLEM_MEDIA_TYPE] = {"media-type", "The media type is not supported here", 415},
    [PROBLEM_RANGE] = {"range", "The range cannot be satisfied", 416},
    [PROBLEM_INVALID] = {"invalid", "The request has wrong values", 422},
    [PROBLEM_RATE] = {"too-many-requests", "Too many requests", 429},
    [PROBLEM_HEADERS_TOO_LARGE] = {"headers-too-large", "The request has too many headers", 431},
    [PROBLEM_INTERNAL] = {"internal", "Internal error", 500},
    [PROBLEM_UNAVAILABLE] = {"unavailable", "The service cannot do this now", 503},
    [PROBLEM_STORAGE] = {"storage-full", "The disk is full", 503},
};

unsigned problem_status(enum problem_code code) {
  return problems[code].status;
}

const char *problem_title(enum problem_code code) {
  return problems[code].title;
}

json_t *problem_json(enum problem_code code, const char *detail, const char *instance, json_t *errors) {
  json_t *problem =
      json_pack("{s:o, s:s, s:i, s:s}", "type", json_sprintf("urn:guise:problem:%s", problems[code].name),
                "title", problems[code].title, "status", (int)problems[code].status, "detail", detail);
  if (!problem) { /* not UTF-8, or out of memory */
    json_decref(errors);
    return NULL;
  }
  int r = instance ? json_object_set_new(problem, "instance", json_string(instance)) : 0;
  if (errors)
    r |= json_object_set_new(problem, "errors", errors);
  if (r != 0) {
    json_decref(problem);
    return NULL;
  }
  return problem;
}

json_t *problem_errors(const struct spec_problems *list) {
  json_t *errors = json_array();
  for (uint32_t i = 0; errors && i < list->count; i++) {
    const struct spec_problem *p = &list->problem[i];
    json_t *error = json_pack("{s:s, s:s, s:s}", "pointer", p->pointer, "code", p->code, "detail", p->detail);
    if (error && p->allowed && json_object_set(error, "allowed", p->allowed) < 0) {
      json_decref(error);
      error = NULL;
    }
    if (json_array_append_new(errors, error) < 0) {
      json_decref(errors);
      return NULL;
    }
  }
  return errors;
}

enum problem_code problem_of_errno(int r) {
  switch (r) {
  case -ENOENT:
    return PROBLEM_NOT_FOUND;
  case -EEXIST:
  case -EBUSY:
    return PROBLEM_CONFLICT;
  case -EUSERS:
    return PROBLEM_QUOTA;
  case -EFBIG:
    return PROBLEM_TOO_LARGE;
  case -EINVAL:
  case -EKEYREJECTED:
    return PROBLEM_INVALID;
  case -ENOSPC:
  case -EDQUOT:
    return PROBLEM_STORAGE;
  case -EIO:
  case -EROFS:
  case -EUCLEAN:
  case -EAGAIN:
  case -ENOMEM:
  case -EMFILE:
  case -ENFILE:
  case -ESHUTDOWN:
    return PROBLEM_UNAVAILABLE;
  default:
    return PROBLEM_INTERNAL;
  }
}
