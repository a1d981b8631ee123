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

/* The numbers of who is in a template; behind the last person a stranger's file may hold any, which go. */
static uint32_t *only_people(const struct safetensor *person, const struct safetensor *weight,
                             const struct rest *rest) {
  const size_t labels = (size_t)person->shape[1];
  uint32_t *people = calloc(rest->rows * labels, sizeof(*people));
  for (uint32_t i = 0; people && i < rest->rows; i++)
    for (size_t j = 0; j < labels; j++) {
      const size_t at = rest->row[i] * labels + j;
      if (((const float *)weight->data)[at] > 0)
        people[i * labels + j] = ((const uint32_t *)person->data)[at];
    }
  return people;
}

static int put(json_t *metadata, const char *key, json_t *text) {
  return json_object_set_new(metadata, key, text); /* -1 for NULL, too */
}

/* Of what the file says of its mask, a word that is one of guise's. */
static int put_word(json_t *metadata, const json_t *own, const char *key, const char *const *words) {
  for (; *words; words++)
    if (strcmp(mask_file_text(own, key), *words) == 0)
      return put(metadata, key, json_string(*words));
  return 0;
}

/* Written anew from what was understood, so that no text of the file's maker stays, nor a number that may be
 * any: they may name anybody. mask.seed goes as well, which no reader of templates needs. */
static json_t *rest_metadata(const struct templates *templates) {
  static const char *const transforms[] = {"native", NULL}, *const selections[] = {"zigzag", "learnt", NULL};
  const json_t *own = templates_metadata(templates);
  const struct mask_constants *constants = templates_constants(templates);
  json_t *metadata = json_object();
  uint64_t drop_low = 0;
  int r = put(metadata, "format", json_string(TEMPLATES_FORMAT)) |
          put(metadata, "guise", json_string(GUISE_VERSION)) |
          put(metadata, "people", json_sprintf("%u", templates_numbers(templates))) |
          put(metadata, "input", json_sprintf("%u", templates_input(templates))) |
          put(metadata, "mask", json_string(templates_method(templates))) |
          put(metadata, "mask.clip", json_sprintf("%.9g", (double)constants->clip)) |
          put(metadata, "mask.pixel_scale", json_sprintf("%.9g", (double)constants->pixel_scale)) |
          put_word(metadata, own, "mask.dct", transforms) |
          put_word(metadata, own, "mask.select", selections);
  if (mask_file_number(own, "mask.drop_low", 0, MASK_CHANNELS_MAX, &drop_low, NULL) == 0)
    r |= put(metadata, "mask.drop_low", json_sprintf("%u", (unsigned)drop_low));
  mask_file_put_mixing(metadata, templates_mixing(templates));
  if (r == 0)
    return metadata;
  json_decref(metadata);
  return NULL;
}

/* What this version knows, no more: the file is a stranger's. */
static int write_rest(const struct templates *templates, const struct rest *rest, const char *to,
                      struct guise_error *err) {
  const struct safetensors *file = templates_file(templates);
  const struct safetensor *person = safetensors_find(file, "label.person"),
                          *weight = safetensors_find(file, "label.weight");
  _cleanup_(freep) uint32_t *people = only_people(person, weight, rest);
  json_t *metadata = people ? rest_metadata(templates) : NULL;
  if (!metadata)
    return error_set(err, -ENOMEM, "out of memory for what is left of the templates");
  struct safetensor tensors[MASK_FILE_TENSORS + 4];
  uint32_t channel[MASK_CHANNELS_MAX];
  uint32_t n = 0;
  tensors[n++] = (struct safetensor){.name = "label.erased",
                                     .dtype = "U32",
                                     .rank = 1,
                                     .shape = {rest->count},
                                     .data = rest->erased,
                                     .bytes = rest->count * sizeof(uint32_t)};
  tensors[n] = only_rows(person, rest);
  tensors[n].row = NULL;
  tensors[n++].data = people;
  tensors[n++] = only_rows(weight, rest);
  n += mask_file_tensors(templates_constants(templates), channel, tensors + n);
  tensors[n++] = only_rows(safetensors_find(file, "templates"), rest); /* last: halves */
  int r = safetensors_write(to, tensors, n, metadata, err);
  json_decref(metadata);
  return r;
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
