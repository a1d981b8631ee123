#include "core/attack/taught.h"

#include "core/base/memory.h"

static json_t *digests_of_images(const struct face_sample *faces, size_t bytes) {
  json_t *digests = json_array();
  int r = digests ? 0 : -1;
  for (uint32_t i = 0; i < faces->count && r == 0; i++)
    r = json_array_append_new(digests, ledger_digest(face_sample_image(faces, i), bytes));
  if (r == 0)
    return digests;
  json_decref(digests);
  return NULL;
}

/* The first lesson, then the victims' templates. */
static int digest_templates(const struct lessons_options *options, const struct face_sample *open,
                            const struct face_sample *victims, const struct mix *mixes, json_t **ret_digests,
                            struct guise_error *err) {
  const size_t bytes = LESSON_BATCH * mask_elements(options->mask) * sizeof(float);
  _cleanup_(lessons_freep) struct lessons *lessons = NULL;
  int r = lessons_new(options, open, &lessons, err);
  if (r < 0)
    return r;
  float *templates = tensor_alloc(bytes);
  json_t *digests = json_array();
  r = templates && digests ? 0 : -ENOMEM;
  if (r == 0) {
    (void)lessons_draw(lessons, 0, templates);
    r = json_array_append_new(digests, ledger_digest(templates, bytes));
  }
  for (uint32_t first = 0; first < victims->count && r == 0; first += LESSON_BATCH) {
    lessons_templates(lessons, victims, mixes, first, templates);
    r = json_array_append_new(digests, ledger_digest(templates, bytes));
  }
  tensor_free(templates);
  if (r < 0) {
    json_decref(digests);
    return error_set(err, -ENOMEM, "out of memory for what the attack has finished");
  }
  *ret_digests = digests;
  return 0;
}

int taught_ledger(const struct attack_context *context, const char *name,
                  const struct lessons_options *options, const struct face_sample *open,
                  const struct face_sample *victims, const struct mix *mixes, json_t *course,
                  struct ledger **ret_ledger, struct guise_error *err) {
  const uint32_t size = mask_size(options->mask);
  json_t *teacher = NULL, *templates = NULL;
  *ret_ledger = NULL;
  int r = context->work_directory ? ledger_digest_of_file(context->teacher, &teacher, err) : 0;
  if (r == 0 && context->work_directory)
    r = digest_templates(options, open, victims, mixes, &templates, err);
  if (!templates) { /* nowhere to keep anything, or an error */
    json_decref(teacher);
    json_decref(course);
    return r;
  }
  json_t *identity =
      json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:i}", "network", name, "teacher", teacher, "public",
                digests_of_images(open, (size_t)3 * size * size), "mixes",
                ledger_digest(mixes, victims->count * sizeof(*mixes)), "templates", templates, "course",
                course, "seed", (json_int_t)context->seed, "threads", (int)context->threads);
  return ledger_open(context, name, identity, ret_ledger, err);
}
