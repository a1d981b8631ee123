/* The body of POST /v1/jobs. What is accepted prints as a job that parses back to the same. */
#include <stdio.h>

#include "api/json.h"
#include "core/train/spec.h"
#include "tests/fuzz/fuzz.h"

static void check_problems(const struct spec_problems *problems) {
  for (uint32_t i = 0; i < problems->count; i++)
    FUZZ_CHECK(problems->problem[i].code[0] && problems->problem[i].detail[0]);
}

static void print_and_parse(const struct job_spec *spec) {
  struct job_spec again;
  struct spec_problems problems = {NULL, 0};
  json_t *first = job_spec_json(spec);
  FUZZ_CHECK(first != NULL);
  if (job_spec_parse(first, &again, &problems) < 0) {
    (void)json_dumpf(first, stderr, JSON_INDENT(1));
    (void)fprintf(stderr, "\n%s: %s\n", problems.problem[0].pointer, problems.problem[0].detail);
    fuzz_broken("what is accepted parses back", __FILE__, __LINE__);
  }
  json_t *second = job_spec_json(&again);
  FUZZ_CHECK(json_equal(first, second));
  json_decref(first);
  json_decref(second);
  job_spec_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *body = NULL;
  struct guise_error err = {0};
  struct job_spec spec;
  struct spec_problems problems = {NULL, 0};
  if (json_read((const char *)data, size, &body, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  int r = job_spec_parse(body, &spec, &problems);
  FUZZ_CHECK((r == 0) == (problems.count == 0));
  check_problems(&problems);
  if (r == 0) {
    print_and_parse(&spec);
    job_spec_free(&spec);
  }
  spec_problems_free(&problems);
  json_decref(body);
  return 0;
}
