#include "core/template/templates.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/freq/dct.h"
#include "core/template/half.h"

#define INPUT_MAX 224u
#define WEIGHT_SUM_TOLERANCE 1e-3f
#define VALUE_MAX 1e5f /* of templates that are not clipped, deviations */
#define STOP_EVERY 256u

struct templates {
  struct safetensors *file;
  struct mask_constants constants;
  struct mask_mixing mixing;
  bool mixes; /* the mask does */
  uint32_t count, input, grid, labels;
  uint32_t numbers, people; /* the file's numbers of people; how many of them are not erased */
  uint32_t *dense;          /* (numbers), among those who are not erased; NULL: nobody is */
  const uint32_t *person;
  const float *weight;
  const void *values;
  bool half;
};

/* ---- reading ---- */

static const struct safetensor *find(const struct safetensors *file, const char *name, const char *dtype,
                                     uint32_t rank) {
  const struct safetensor *tensor = safetensors_find(file, name);
  return tensor && tensor->rank == rank && strcmp(tensor->dtype, dtype) == 0 ? tensor : NULL;
}

/* Of masks that mix the file says how, of others not. */
static int read_mask(struct templates *t, struct guise_error *err) {
  const json_t *metadata = safetensors_metadata(t->file);
  if (!mask_file_is_plain(metadata, &t->mixes))
    return error_set(err, -EBADMSG,
                     "the file's mask is %.40s, transform %.40s: templates are of one "
                     "of " MASK_PLAIN_METHODS " on the native transform",
                     mask_file_text(metadata, "mask"), mask_file_text(metadata, "mask.dct"));
  int r = mask_file_mixing(metadata, &t->mixing, err);
  if (r == -ENOENT)
    return t->mixes ? -EBADMSG : 0;
  if (r == 0 && !t->mixes)
    r = error_set(err, -EBADMSG, "the file's mask %.40s does not mix, and the file tells of mixes",
                  mask_file_text(metadata, "mask"));
  return r;
}

static int read_facts(struct templates *t, struct guise_error *err) {
  const json_t *metadata = safetensors_metadata(t->file);
  uint64_t input = 0, people = 0;
  if (strcmp(mask_file_text(metadata, "format"), TEMPLATES_FORMAT) != 0)
    return error_set(err, -EBADMSG,
                     "the file's format is \"%.40s\"; this version of guise reads " TEMPLATES_FORMAT,
                     mask_file_text(metadata, "format"));
  int r = mask_file_number(metadata, "input", 16, INPUT_MAX, &input, err);
  if (r == 0 && input % DCT_BLOCK)
    r = error_set(err, -EBADMSG, "the file's input is no multiple of 8");
  if (r == 0)
    r = mask_file_number(metadata, "people", 1, TEMPLATES_MAX, &people, err);
  if (r == 0)
    r = mask_file_real(metadata, "mask.clip", 0, 1e6, &t->constants.clip, err);
  if (r == 0)
    r = mask_file_real(metadata, "mask.pixel_scale", 1e-6, 1e6, &t->constants.pixel_scale, err);
  if (r == 0)
    r = mask_file_constants(t->file, &t->constants, err);
  if (r == 0)
    r = read_mask(t, err);
  t->input = (uint32_t)input;
  t->grid = t->input / DCT_BLOCK;
  t->numbers = t->people = (uint32_t)people;
  return r;
}

static int read_tensors(struct templates *t, struct guise_error *err) {
  const struct safetensor *person = find(t->file, "label.person", "U32", 2),
                          *weight = find(t->file, "label.weight", "F32", 2),
                          *full = find(t->file, "templates", "F32", 4),
                          *half = find(t->file, "templates", "F16", 4), *values = full ? full : half;
  if (!person || !weight || !values)
    return error_set(
        err, -EBADMSG,
        "the tensors templates (F32 or F16), label.person (U32) and label.weight (F32) are missing or of "
        "another type");
  const uint64_t count = values->shape[0], labels = person->shape[1];
  if (count < 1 || count > TEMPLATES_MAX || values->shape[1] != t->constants.channels ||
      values->shape[2] != t->grid || values->shape[3] != t->grid)
    return error_set(err, -EBADMSG,
                     "the shape of templates is not (N, %u, %u, %u), that of the mask's constants",
                     t->constants.channels, t->grid, t->grid);
  if (person->shape[0] != count || weight->shape[0] != count || labels < 1 || labels > MIX_MAX ||
      weight->shape[1] != labels)
    return error_set(err, -EBADMSG, "the shapes of label.person and label.weight are not (N, L), L = 1..%d",
                     MIX_MAX);
  t->count = (uint32_t)count;
  t->labels = (uint32_t)labels;
  t->person = person->data;
  t->weight = weight->data;
  t->values = values->data;
  t->half = values == half;
  return 0;
}

/* Who was erased keeps the number and has none among the others. */
static int read_erased(struct templates *t, struct guise_error *err) {
  const struct safetensor *erased = find(t->file, "label.erased", "U32", 1);
  if (!erased)
    return safetensors_find(t->file, "label.erased")
               ? error_set(err, -EBADMSG, "the tensor label.erased is not U32 of one dimension")
               : 0;
  const uint32_t *number = erased->data;
  const uint64_t count = erased->shape[0];
  if (count >= t->numbers)
    return error_set(err, -EBADMSG, "label.erased names all people or more");
  t->dense = malloc(t->numbers * sizeof(*t->dense));
  if (!t->dense)
    return error_set(err, -ENOMEM, "out of memory for %u people", t->numbers);
  uint32_t next = 0, people = 0;
  for (uint32_t i = 0; i < t->numbers; i++) {
    const bool is = next < count && number[next] == i;
    next += is;
    t->dense[i] = is ? UINT32_MAX : people++;
  }
  if (next < count)
    return error_set(err, -EBADMSG, "label.erased is not numbers of people in ascending order");
  t->people = people;
  return 0;
}

int templates_open(const char *path, struct templates **ret_templates, struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *t = calloc(1, sizeof(*t));
  if (!t)
    return error_set(err, -ENOMEM, "out of memory opening templates");
  int r = safetensors_open(path, &t->file, err);
  if (r == 0)
    r = read_facts(t, err);
  if (r == 0)
    r = read_tensors(t, err);
  if (r == 0)
    r = read_erased(t, err);
  if (r < 0)
    return r;
  *ret_templates = TAKE(t);
  return 0;
}

struct templates *templates_free(struct templates *templates) {
  if (templates) {
    safetensors_free(templates->file);
    free(templates->dense);
  }
  free(templates);
  return NULL;
}

/* The header's length, then its first bracket; a pack begins with letters. */
bool templates_recognise(const char *path) {
  unsigned char start[9] = {0};
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd >= 0 && read(fd, start, sizeof(start)) == (ssize_t)sizeof(start) && start[8] == '{' &&
         start[7] == 0;
}

uint32_t templates_count(const struct templates *templates) {
  return templates->count;
}
uint32_t templates_people(const struct templates *templates) {
  return templates->people;
}
uint32_t templates_numbers(const struct templates *templates) {
  return templates->numbers;
}
uint32_t templates_number(const struct templates *templates, uint32_t person) {
  uint32_t number = person;
  while (templates->dense && templates->dense[number] != person) /* at most so far: numbers ascend */
    number++;
  return number;
}
bool templates_is_erased(const struct templates *templates, uint32_t number) {
  return templates->dense && templates->dense[number] == UINT32_MAX;
}
uint32_t templates_input(const struct templates *templates) {
  return templates->input;
}
size_t templates_elements(const struct templates *templates) {
  return (size_t)templates->constants.channels * templates->grid * templates->grid;
}
const char *templates_method(const struct templates *templates) {
  return mask_file_text(safetensors_metadata(templates->file), "mask");
}
const struct mask_constants *templates_constants(const struct templates *templates) {
  return &templates->constants;
}
const struct mask_mixing *templates_mixing(const struct templates *templates) {
  return &templates->mixing;
}
const json_t *templates_metadata(const struct templates *templates) {
  return safetensors_metadata(templates->file);
}

const struct safetensors *templates_file(const struct templates *templates) {
  return templates->file;
}

static void read_values(const struct templates *t, uint32_t i, float *ret_template) {
  const size_t n = templates_elements(t);
  if (!t->half) {
    memcpy(ret_template, (const float *)t->values + i * n, n * sizeof(float));
    return;
  }
  const uint16_t *from = (const uint16_t *)t->values + i * n;
  for (size_t e = 0; e < n; e++)
    ret_template[e] = half_to_float(from[e]);
}

/* Block DCT of a mirrored block: cos(pi (2 (7 - x) + 1) v / 16) = (-1)^v cos(pi (2 x + 1) v / 16). */
static void mirror(const struct templates *t, float *template_) {
  const struct mask_constants *k = &t->constants;
  const size_t grid = t->grid;
  for (uint32_t c = 0; c < k->channels; c++) {
    const bool odd = k->channel[c] & 1;
    const float twice = odd ? 2 * k->mean[c] / k->deviation[c] : 0;
    for (size_t y = 0; y < grid; y++) {
      float *row = template_ + (c * grid + y) * grid;
      for (size_t x = 0; x < (grid + 1) / 2; x++) {
        const float left = row[x], right = row[grid - 1 - x];
        row[x] = odd ? -right - twice : right;
        row[grid - 1 - x] = odd ? -left - twice : left;
      }
    }
  }
}

void templates_get(const struct templates *templates, uint32_t i, bool flip, float *ret_template) {
  read_values(templates, i, ret_template);
  if (flip)
    mirror(templates, ret_template);
}

/* The file's numbers of who is in template i. Each is read once: the mapping may turn into zeros. */
static uint32_t read_labels(const struct templates *t, uint32_t i, struct mix_label ret_label[MIX_MAX]) {
  const size_t first = (size_t)i * t->labels;
  uint32_t count = 0;
  for (uint32_t j = 0; j < t->labels; j++) {
    const struct mix_label label = {t->person[first + j], t->weight[first + j]};
    if (!(label.weight > 0) || label.identity >= t->numbers || templates_is_erased(t, label.identity))
      break;
    ret_label[count++] = label;
  }
  return count;
}

uint32_t templates_labels(const struct templates *templates, uint32_t i,
                          struct mix_label ret_label[MIX_MAX]) {
  const uint32_t count = read_labels(templates, i, ret_label);
  for (uint32_t j = 0; j < count && templates->dense; j++)
    ret_label[j].identity = templates->dense[ret_label[j].identity];
  if (count == 0)
    ret_label[0] = (struct mix_label){0, 1};
  return MAX(count, 1u);
}

void templates_count_shown(const struct templates *templates, uint32_t *ret_shown) {
  memset(ret_shown, 0, templates->numbers * sizeof(*ret_shown));
  for (uint32_t i = 0; i < templates->count; i++) {
    struct mix_label label[MIX_MAX];
    const uint32_t count = read_labels(templates, i, label);
    for (uint32_t j = 0; j < count; j++)
      ret_shown[label[j].identity]++;
  }
}

/* ---- checking ---- */

static int check_labels(const struct templates *t, uint32_t i, uint8_t *seen, struct guise_error *err) {
  const uint32_t *person = t->person + (size_t)i * t->labels;
  const float *weight = t->weight + (size_t)i * t->labels;
  float sum = 0;
  bool over = false;
  for (uint32_t j = 0; j < t->labels; j++) {
    if (!(weight[j] >= 0 && weight[j] <= 1 + WEIGHT_SUM_TOLERANCE) || (j > 0 && weight[j] > weight[j - 1]) ||
        (over && weight[j] > 0))
      return error_set(err, -EBADMSG, "the weights of template %u are not shares, largest first", i);
    over |= weight[j] == 0;
    sum += weight[j];
    if (over)
      continue;
    if (person[j] >= t->numbers)
      return error_set(err, -EBADMSG, "template %u names the person %u of %u", i, person[j], t->numbers);
    if (templates_is_erased(t, person[j]))
      return error_set(err, -EBADMSG, "template %u shows the person %u, who is erased", i, person[j]);
    for (uint32_t k = 0; k < j; k++)
      if (person[k] == person[j])
        return error_set(err, -EBADMSG, "template %u names the person %u twice", i, person[j]);
    seen[person[j]] = 1;
  }
  if (!t->mixes && t->labels > 1 && weight[1] > 0)
    return error_set(err, -EBADMSG, "template %u shows several people, and the mask none does not mix", i);
  if (!(fabsf(sum - 1) <= WEIGHT_SUM_TOLERANCE))
    return error_set(err, -EBADMSG, "the weights of template %u add up to %g, not to 1", i, (double)sum);
  return 0;
}

static int check_constants(const struct templates *t, struct guise_error *err) {
  const struct mask_constants *k = &t->constants;
  for (uint32_t c = 0; c < k->channels; c++)
    if (!isfinite(k->mean[c]) || !isfinite(k->deviation[c]) || k->deviation[c] <= 0 ||
        (c > 0 && k->channel[c] <= k->channel[c - 1]))
      return error_set(err, -EBADMSG, "channel %u of the mask's constants is damaged", c);
  return 0;
}

int templates_check(const struct templates *t, bool (*should_stop)(void *context), void *context,
                    struct guise_error *err) {
  const size_t n = templates_elements(t);
  /* a mix lies between what was mixed; halves are rounded */
  const float most = t->constants.clip > 0 ? t->constants.clip * 1.002f : VALUE_MAX;
  _cleanup_(freep) uint8_t *seen = calloc(t->numbers, 1);
  _cleanup_(freep) float *values = malloc(n * sizeof(*values));
  if (!seen || !values)
    return error_set(err, -ENOMEM, "out of memory checking templates of %u people", t->numbers);
  int r = check_constants(t, err);
  for (uint32_t i = 0; i < t->count && r == 0; i++) {
    if (i % STOP_EVERY == 0 && should_stop && should_stop(context))
      return error_set(err, -ECANCELED, "the upload's processing was stopped");
    r = check_labels(t, i, seen, err);
    read_values(t, i, values);
    for (size_t e = 0; e < n && r == 0; e++)
      if (!(fabsf(values[e]) <= most)) /* NaN, too */
        r = error_set(err, -EBADMSG, "template %u holds a value that is no number or beyond %g deviations", i,
                      (double)most);
  }
  for (uint32_t p = 0; p < t->numbers && r == 0; p++)
    if (!seen[p] && !templates_is_erased(t, p))
      r = error_set(err, -EBADMSG, "no template shows the person %u", p);
  if (safetensors_failed(t->file)) /* zeros were checked */
    r = error_set(err, -EIO, "the templates cannot be read from the disk");
  return r;
}

/* ---- writing ---- */

static struct safetensor labels_tensor(const struct templates_content *content, const char *name,
                                       const char *dtype, const void *data) {
  return (struct safetensor){.name = name,
                             .dtype = dtype,
                             .rank = 2,
                             .shape = {content->count, content->labels},
                             .data = data,
                             .bytes = (uint64_t)content->count * content->labels * 4};
}

static json_t *content_metadata(const struct templates_content *content) {
  json_t *metadata = json_copy((json_t *)content->metadata);
  int r = metadata ? 0 : -1;
  if (r == 0)
    r |= json_object_set_new(metadata, "format", json_string(TEMPLATES_FORMAT)) |
         json_object_set_new(metadata, "guise", json_string(GUISE_VERSION)) |
         json_object_set_new(metadata, "people", json_sprintf("%u", content->people));
  if (r != 0) {
    json_decref(metadata);
    return NULL;
  }
  mask_file_put_mixing(metadata, &content->mixing);
  return metadata;
}

int templates_write(const char *path, const struct templates_content *content, struct guise_error *err) {
  const struct mask_constants *k = content->constants;
  struct safetensor tensors[MASK_FILE_TENSORS + 3];
  uint32_t channel[MASK_CHANNELS_MAX], n = 0;
  json_t *metadata = content_metadata(content);
  if (!metadata)
    return error_set(err, -ENOMEM, "out of memory writing templates");
  tensors[n++] = labels_tensor(content, "label.person", "U32", content->person);
  tensors[n++] = labels_tensor(content, "label.weight", "F32", content->weight);
  n += mask_file_tensors(k, channel, tensors + n);
  tensors[n++] = (struct safetensor){/* last: halves leave what follows unaligned */
                                     .name = "templates",
                                     .dtype = content->half ? "F16" : "F32",
                                     .rank = 4,
                                     .shape = {content->count, k->channels, content->grid, content->grid},
                                     .data = content->values,
                                     .bytes = (uint64_t)content->count * k->channels * content->grid *
                                              content->grid * (content->half ? 2 : 4)};
  int r = safetensors_write(path, tensors, n, metadata, err);
  json_decref(metadata);
  return r;
}
