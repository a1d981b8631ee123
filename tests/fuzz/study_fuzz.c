/* The client's study file. What is accepted makes jobs, with the seed where it belongs. */
#include <jansson.h>

#include "cli/document.h"
#include "cli/study.h"
#include "tests/fuzz/fuzz.h"

#define CELLS_LOOKED_AT 20u

static void make_jobs(const struct study *study) {
  char hash[SHA256_HEX];
  FUZZ_CHECK(study->cells > 0 && study->seeds > 0);
  FUZZ_CHECK((uint64_t)study->cells * study->seeds <= STUDY_JOBS_MAX);
  for (uint32_t c = 0; c < MIN(study->cells, CELLS_LOOKED_AT); c++) {
    const json_t *spec = study->cell[c].spec;
    if (study_hash(spec, study->seed[0], study->cell[c].models, hash) <
        0) { /* what a job's fields are is the daemon's business */
      FUZZ_CHECK(!json_is_object(json_object_get(spec, "train")));
      continue;
    }
    json_t *job = study_job(study, c, 0, hash, NULL);
    FUZZ_CHECK(json_integer_value(pointer_get(job, "/train/seed")) == (json_int_t)study->seed[0]);
    json_decref(job);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct study study;
  json_t *document = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
  json_t *problems = json_array();
  int r = json_is_object(document) ? study_parse(document, &study, problems) : -EINVAL;
  if (r == 0) {
    make_jobs(&study);
    study_free(&study);
  } else if (document) {
    FUZZ_CHECK(!json_is_object(document) || json_array_size(problems) > 0);
  }
  json_decref(problems);
  json_decref(document);
  return 0;
}
