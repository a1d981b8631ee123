/* A file of templates, as an owner uploads it: what passes the check can be read and mirrored to its end, and
 * shows nobody who is not there. */
#include <math.h>

#include "core/template/templates.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  struct guise_error err = {0};
  const char *path = fuzz_file(data, size);
  (void)templates_recognise(path);
  if (templates_open(path, &templates, &err) < 0 || templates_check(templates, NULL, NULL, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  const size_t n = templates_elements(templates);
  _cleanup_(freep) float *values = malloc(n * sizeof(*values));
  FUZZ_CHECK(values && n <= size);
  for (uint32_t i = 0; i < templates_count(templates); i++) {
    struct mix_label label[MIX_MAX];
    const uint32_t labels = templates_labels(templates, i, label);
    FUZZ_CHECK(labels >= 1 && labels <= MIX_MAX);
    for (uint32_t j = 0; j < labels; j++)
      FUZZ_CHECK(label[j].identity < templates_people(templates) && label[j].weight > 0);
    templates_get(templates, i, i % 2 == 1, values);
    fuzz_touch(values, n * sizeof(*values));
  }
  return 0;
}
