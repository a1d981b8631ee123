/* Erasing a person from a file of templates: mixes cannot be unmixed, so whatever shows the person goes. */
#include <string.h>

#include "core/base/file.h"
#include "core/template/templates.h"

#define TENSORS_MAX (MASK_FILE_TENSORS + 4)

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

/* seen (numbers): by how many of the templates that stay. */
static int divide(const struct templates *templates, uint32_t number, uint32_t *seen, struct rest *rest) {
  const uint32_t numbers = templates_numbers(templates), people = templates_people(templates);
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
  return people < 2 || numbers - rest->count < 2 || rest->rows == 0 ? -ENODATA : 0;
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

/* What this version knows, in the order in which templates_write has it. */
static int write_rest(const struct safetensors *file, const struct rest *rest, const char *to,
                      struct guise_error *err) {
  static const char *const by_template[] = {"label.person", "label.weight"};
  struct safetensor tensors[TENSORS_MAX] = {{.name = "label.erased",
                                             .dtype = "U32",
                                             .rank = 1,
                                             .shape = {rest->count},
                                             .data = rest->erased,
                                             .bytes = rest->count * sizeof(uint32_t)}};
  uint32_t n = 1;
  for (size_t i = 0; i < ARRAY_SIZE(by_template); i++)
    tensors[n++] = only_rows(safetensors_find(file, by_template[i]), rest);
  for (uint32_t i = 0; i < safetensors_count(file) && n < TENSORS_MAX - 1; i++)
    if (strncmp(safetensors_at(file, i)->name, "mask.", 5) == 0)
      tensors[n++] = *safetensors_at(file, i);
  tensors[n++] = only_rows(safetensors_find(file, "templates"), rest);
  return safetensors_write(to, tensors, n, safetensors_metadata(file), err);
}

int templates_without(const char *from, uint32_t number, const char *to, struct templates_rest *ret_rest,
                      struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  _cleanup_(safetensors_freep) struct safetensors *file = NULL;
  struct rest rest = {0};
  int r = templates_open(from, &templates, err);
  if (r == 0)
    r = safetensors_open(from, &file, err);
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
    r = write_rest(file, &rest, to, err);
  if (r == 0 && safetensors_failed(file)) /* zeros were written */
    r = error_set(err, -EIO, "the templates cannot be read from the disk");
  if (r == 0) {
    ret_rest->people = templates_numbers(templates) - rest.count;
    ret_rest->templates = rest.rows;
    r = sha256_file(to, ret_rest->sha256, &ret_rest->bytes);
  }
  rest_clear(&rest);
  return r;
}
