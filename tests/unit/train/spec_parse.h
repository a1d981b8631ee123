/* What tests of the specification share: parsing from text, and looking for one problem among several. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/train/spec.h"

static inline int parse(const char *text, struct job_spec *spec, struct spec_problems *problems) {
  json_t *body = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
  assert_non_null(body);
  int r = job_spec_parse(body, spec, problems);
  json_decref(body);
  return r;
}

static inline const struct spec_problem *find(const struct spec_problems *problems, const char *pointer) {
  for (uint32_t i = 0; i < problems->count; i++)
    if (strcmp(problems->problem[i].pointer, pointer) == 0)
      return &problems->problem[i];
  return NULL;
}
