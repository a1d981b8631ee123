/* Erasing a person from a file of templates: mixes cannot be unmixed, so whatever shows the person goes. */
#include <string.h>

#include "core/base/file.h"
#include "core/template/templates.h"

struct rest {
  uint32_t *row, rows;     /* templates that stay */
  uint32_t *erased, count; /* numbers of those who are in none */
};

static void rest_clear(struct rest *rest) {
  free(rest->row);
  free(rest->erased);
}

static bool shows(const struct templates *templates, uint32_t i, uint32_t dense) {
  struct mix_label label[MIX_MAX];
  const uint32_t count = templates_labels(templates, i, label);
  for (uint32_t j = 0; j < count; j++)
    if (label[j].identity == dense)
      return true;
  return false;
}

/* seen (people): whether a template that stays shows them. */
static int divide(const struct templates *templates, uint32_t number, uint32_t *seen, struct rest *rest) {
  const uint32_t numbers = templates_numbers(templates);
  uint32_t dense = 0;
  for (uint32_t p = 0; p < number; p++)
    dense += !templates_is_erased(templates, p);
  for (uint32_t i = 0; i < templates_count(templates); i++) {
    struct mix_label label[MIX_MAX];
    if (shows(templates, i, dense))
      continue;
    rest->row[rest->rows++] = i;
    const uint32_t count = templates_labels(templates, i, label);
    for (uint32_t j = 0; j < count; j++)
      seen[label[j].identity] = 1;
  }
  for (uint32_t p = 0, d = 0; p < numbers; p++)
    if (templates_is_erased(templates, p) || !seen[d++])
      rest->erased[rest->count++] = p;
  return numbers - rest->count < 2 ? -ENODATA : 0;
}

static int find_rest(const struct templates *templates, uint32_t number, struct rest *rest) {
  _cleanup_(freep) uint32_t *seen = calloc(templates_people(templates), sizeof(*seen));
  rest->row = malloc(templates_count(templates) * sizeof(*rest->row));
  rest->erased = malloc(templates_numbers(templates) * sizeof(*rest->erased));
  return seen && rest->row && rest->erased ? divide(templates, number, seen, rest) : -ENOMEM;
}

static struct safetensor only_rows(const struct safetensor *whole, const struct rest *rest) {
  struct safetensor tensor = *whole;
  tensor.bytes = whole->bytes / whole->shape[0] * rest->rows;
  tensor.shape[0] = rest->rows;
  tensor.row = rest->row;
  return tensor;
}

/* What this version knows, no more: the file is a stranger's. */
static int write_rest(const struct templates *templates, const struct rest *rest, const char *to,
                      struct guise_error *err) {
  const struct safetensors *file = templates_file(templates);
  struct safetensor tensors[MASK_FILE_TENSORS + 4];
  uint32_t channel[MASK_CHANNELS_MAX];
  uint32_t n = 0;
  tensors[n++] = (struct safetensor){.name = "label.erased",
                                     .dtype = "U32",
                                     .rank = 1,
                                     .shape = {rest->count},
                                     .data = rest->erased,
                                     .bytes = rest->count * sizeof(uint32_t)};
  tensors[n++] = only_rows(safetensors_find(file, "label.person"), rest);
  tensors[n++] = only_rows(safetensors_find(file, "label.weight"), rest);
  n += mask_file_tensors(templates_constants(templates), channel, tensors + n);
  tensors[n++] = only_rows(safetensors_find(file, "templates"), rest); /* last: halves */
  return safetensors_write(to, tensors, n, safetensors_metadata(file), err);
}

/* What was written is all there is when the old file has gone. */
static int check_rest(const char *to, struct templates_rest *ret_rest, struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *written = NULL;
  int r = templates_open(to, &written, err);
  if (r == 0)
    r = templates_check(written, NULL, NULL, err);
  if (r < 0)
    return r;
  ret_rest->people = templates_people(written);
  ret_rest->templates = templates_count(written);
  return sha256_file(to, ret_rest->sha256, &ret_rest->bytes);
}

int templates_without(const char *from, uint32_t number, const char *to, struct templates_rest *ret_rest,
                      struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  struct rest rest = {0};
  int r = templates_open(from, &templates, err);
  if (r < 0)
    return r;
  if (number >= templates_numbers(templates) || templates_is_erased(templates, number))
    return error_set(err, -ENOENT, "nobody in the templates has the number %u", number);
  r = find_rest(templates, number, &rest);
  if (r == -ENODATA)
    error_set(err, r, "fewer than two people would be left: erase the whole data set");
  else if (r < 0)
    error_set(err, r, "out of memory for what is left of %u templates", templates_count(templates));
  if (r == 0)
    r = write_rest(templates, &rest, to, err);
  if (r == 0 && safetensors_failed(templates_file(templates))) /* zeros were read, and written */
    r = error_set(err, -EIO, "the templates cannot be read from the disk");
  if (r == 0)
    r = check_rest(to, ret_rest, err);
  rest_clear(&rest);
  return r;
}
