#include "core/model/safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/mapping.h"

#define PREFIX 8u /* bytes of the header's length */
#define ALIGN 64u
#define METADATA "__metadata__"

struct entry { /* a tensor and where it lies in the data */
  struct safetensor tensor;
  uint64_t begin;
};

struct safetensors {
  struct mapping *mapping;
  const uint8_t *map; /* of it */
  size_t size;
  json_t *header; /* owns the names and the metadata */
  json_t *metadata;
  uint32_t count;
  struct entry *entry;    /* in the order of the data */
  struct entry **by_name; /* sorted */
};

/* Bytes of one element, and the type's name as a literal; 0 when unknown. */
static uint32_t dtype_size(const char *name, const char **ret_literal) {
  static const struct {
    const char *name;
    uint32_t size;
  } types[] = {{"F32", 4}, {"U32", 4}, {"F64", 8}, {"F16", 2}, {"U8", 1}};
  for (size_t i = 0; i < ARRAY_SIZE(types); i++)
    if (strcmp(name, types[i].name) == 0) {
      if (ret_literal)
        *ret_literal = types[i].name;
      return types[i].size;
    }
  return 0;
}

/* Bytes of a tensor of this shape; false on overflow. */
static bool shape_bytes(const struct safetensor *tensor, uint32_t element, uint64_t *ret_bytes) {
  uint64_t bytes = element;
  for (uint32_t i = 0; i < tensor->rank; i++)
    if (tensor->shape[i] > INT64_MAX || __builtin_mul_overflow(bytes, tensor->shape[i], &bytes))
      return false;
  *ret_bytes = bytes;
  return true;
}

/* ---- writing ---- */

static int add_entry(json_t *header, const struct safetensor *tensor, uint64_t begin,
                     struct guise_error *err) {
  uint64_t bytes = 0, end = begin + tensor->bytes;
  uint32_t element = dtype_size(tensor->dtype, NULL);
  if (strcmp(tensor->name, METADATA) == 0 || json_object_get(header, tensor->name))
    return error_set(err, -EINVAL, "the tensor name %s is taken", tensor->name);
  if (element == 0 || tensor->rank > SAFETENSORS_RANK_MAX || !shape_bytes(tensor, element, &bytes) ||
      bytes != tensor->bytes || begin % element)
    return error_set(err, -EINVAL, "the type, shape and size of tensor %s do not fit", tensor->name);
  json_t *shape = json_array();
  for (uint32_t i = 0; i < tensor->rank; i++)
    (void)json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
  json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->dtype, "shape", shape, "data_offsets",
                            (json_int_t)begin, (json_int_t)end);
  if (!entry || json_object_set_new(header, tensor->name, entry) < 0)
    return error_set(err, -EINVAL,
                     "cannot write the header of tensor %s: its name is not UTF-8 or memory is out",
                     tensor->name);
  return 0;
}

static bool all_strings(const json_t *metadata) {
  const char *key;
  json_t *value;
  if (!json_is_object(metadata))
    return false;
  json_object_foreach((json_t *)metadata, key, value) {
    if (!json_is_string(value))
      return false;
  }
  return true;
}

/* The length prefix and the header, padded so that the data begin aligned. */
static int render_header(const struct safetensor *tensors, uint32_t count, const json_t *metadata,
                         char **ret_text, size_t *ret_size, struct guise_error *err) {
  uint64_t begin = 0;
  json_t *header = json_object();
  int r = header ? 0 : -ENOMEM;
  if (metadata && !all_strings(metadata))
    r = error_set(err, -EINVAL, "the metadata of a safetensors file must be strings");
  if (r == 0 && metadata)
    r = json_object_set(header, METADATA, (json_t *)metadata);
  for (uint32_t i = 0; i < count && r == 0; i++) {
    r = add_entry(header, &tensors[i], begin, err);
    begin += tensors[i].bytes;
  }
  size_t length = r == 0 ? json_dumpb(header, NULL, 0, JSON_COMPACT) : 0;
  size_t padded = (PREFIX + length + ALIGN - 1) / ALIGN * ALIGN;
  _cleanup_(freep) char *text = length > 0 ? malloc(padded) : NULL;
  if (text) {
    memset(text, ' ', padded);
    (void)json_dumpb(header, text + PREFIX, length, JSON_COMPACT);
  }
  json_decref(header);
  if (r < 0)
    return r;
  if (!text)
    return error_set(err, -ENOMEM, "out of memory for the header of %u tensors", count);
  if (padded - PREFIX > SAFETENSORS_HEADER_MAX)
    return error_set(err, -EFBIG, "the header of %u tensors is larger than %u bytes", count,
                     SAFETENSORS_HEADER_MAX);
  for (uint32_t i = 0; i < PREFIX; i++)
    text[i] = (char)((uint64_t)(padded - PREFIX) >> (8 * i) & 0xff);
  *ret_text = TAKE(text);
  *ret_size = padded;
  return 0;
}

static int write_tensors(FILE *file, const char *header, size_t header_size, const struct safetensor *tensors,
                         uint32_t count) {
  if (fwrite(header, 1, header_size, file) != header_size)
    return -errno;
  for (uint32_t i = 0; i < count; i++) {
    const struct safetensor *t = &tensors[i];
    const uint64_t pieces = t->row ? t->shape[0] : 1, size = pieces > 0 ? t->bytes / pieces : 0;
    for (uint64_t p = 0; p < pieces && size > 0; p++)
      if (fwrite((const char *)t->data + (t->row ? t->row[p] * size : 0), 1, size, file) != size)
        return -errno;
  }
  return fflush(file) == 0 ? 0 : -errno;
}

int safetensors_write(const char *path, const struct safetensor *tensors, uint32_t count,
                      const json_t *metadata, struct guise_error *err) {
  _cleanup_(freep) char *header = NULL;
  size_t header_size = 0;
  char temp[PATH_MAX];
  int r = render_header(tensors, count, metadata, &header, &header_size, err);
  if (r < 0)
    return r;
  if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", path);
  int fd = mkostemp(temp, O_CLOEXEC);
  FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
  if (!file) {
    r = error_set(err, -errno, "cannot create %s: %s", temp, strerror(errno));
    closep(&fd);
  } else {
    r = write_tensors(file, header, header_size, tensors, count);
    if (fclose(file) != 0 && r == 0)
      r = -errno;
    if (r < 0)
      error_set(err, r, "cannot write %s: %s", temp, strerror(-r));
    else
      r = file_publish(temp, path, err);
  }
  if (r < 0 && fd >= 0)
    (void)unlink(temp);
  return r;
}

/* ---- reading ---- */

static bool as_offset(const json_t *value, uint64_t *ret_value) {
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return false;
  *ret_value = (uint64_t)json_integer_value(value);
  return true;
}

static bool parse_shape(const json_t *shape, struct safetensor *tensor) {
  if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_RANK_MAX)
    return false;
  tensor->rank = (uint32_t)json_array_size(shape);
  for (uint32_t i = 0; i < tensor->rank; i++)
    if (!as_offset(json_array_get(shape, i), &tensor->shape[i]))
      return false;
  return true;
}

static int parse_entry(const char *name, const json_t *value, const uint8_t *data, uint64_t data_size,
                       struct entry *ret_entry, struct guise_error *err) {
  struct entry entry = {.tensor = {.name = name}};
  uint64_t end = 0, bytes = 0;
  const char *dtype = json_string_value(json_object_get(value, "dtype"));
  const json_t *offsets = json_object_get(value, "data_offsets");
  uint32_t element = dtype ? dtype_size(dtype, &entry.tensor.dtype) : 0;
  if (json_object_size(value) != 3 || !dtype)
    return error_set(err, -EBADMSG, "tensor %.100s must have dtype, shape and data_offsets", name);
  if (element == 0)
    return error_set(err, -EBADMSG, "tensor %.100s has the type %.20s; F32, F16, F64, U32 and U8 can be read",
                     name, dtype);
  if (!parse_shape(json_object_get(value, "shape"), &entry.tensor))
    return error_set(err, -EBADMSG, "tensor %.100s has no valid shape of at most %d dimensions", name,
                     SAFETENSORS_RANK_MAX);
  if (json_array_size(offsets) != 2 || !as_offset(json_array_get(offsets, 0), &entry.begin) ||
      !as_offset(json_array_get(offsets, 1), &end) || entry.begin > end || end > data_size)
    return error_set(err, -EBADMSG, "tensor %.100s lies outside the file", name);
  if (!shape_bytes(&entry.tensor, element, &bytes) || bytes != end - entry.begin)
    return error_set(err, -EBADMSG, "the shape of tensor %.100s does not fit its %" PRIu64 " bytes", name,
                     end - entry.begin);
  entry.tensor.bytes = bytes;
  entry.tensor.data = data + entry.begin;
  if ((uintptr_t)entry.tensor.data % element)
    return error_set(err, -EBADMSG, "tensor %.100s is not aligned to its type", name);
  *ret_entry = entry;
  return 0;
}

static int by_begin(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return (x->tensor.bytes > y->tensor.bytes) - (x->tensor.bytes < y->tensor.bytes); /* empty ones first */
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(struct entry *const *)a)->tensor.name, (*(struct entry *const *)b)->tensor.name);
}

static int name_of(const void *name, const void *entry) {
  return strcmp(name, (*(struct entry *const *)entry)->tensor.name);
}

/* The tensors must follow one another without gap or overlap, up to the end of the file. */
static int check_cover(const struct safetensors *file, uint64_t data_size, struct guise_error *err) {
  uint64_t at = 0;
  for (uint32_t i = 0; i < file->count; i++) {
    if (file->entry[i].begin != at)
      return error_set(err, -EBADMSG, "tensor %.100s overlaps another one or leaves a gap before it",
                       file->entry[i].tensor.name);
    at += file->entry[i].tensor.bytes;
  }
  if (at != data_size)
    return error_set(err, -EBADMSG, "%" PRIu64 " bytes at the end of the file belong to no tensor",
                     data_size - at);
  return 0;
}

static int parse_tensors(struct safetensors *file, uint64_t data_begin, struct guise_error *err) {
  const uint8_t *data = file->map + data_begin;
  uint64_t data_size = file->size - data_begin;
  size_t members = json_object_size(file->header);
  const char *name;
  json_t *value;
  file->entry = calloc(members + 1, sizeof(*file->entry));
  file->by_name = calloc(members + 1, sizeof(struct entry *));
  if (!file->entry || !file->by_name)
    return error_set(err, -ENOMEM, "out of memory for %zu tensors", members);
  json_object_foreach(file->header, name, value) {
    if (strcmp(name, METADATA) == 0)
      continue;
    int r = parse_entry(name, value, data, data_size, &file->entry[file->count], err);
    if (r < 0)
      return r;
    file->count++;
  }
  qsort(file->entry, file->count, sizeof(*file->entry), by_begin);
  for (uint32_t i = 0; i < file->count; i++)
    file->by_name[i] = &file->entry[i];
  qsort(file->by_name, file->count, sizeof(struct entry *), by_name);
  return check_cover(file, data_size, err);
}

static int parse_header(struct safetensors *file, struct guise_error *err) {
  uint64_t length = 0;
  json_error_t problem;
  if (file->size < PREFIX)
    return error_set(err, -EBADMSG, "the file is too short for a safetensors file");
  for (uint32_t i = 0; i < PREFIX; i++)
    length |= (uint64_t)file->map[i] << (8 * i);
  if (length > SAFETENSORS_HEADER_MAX || length > file->size - PREFIX)
    return error_set(err, -EBADMSG,
                     "the header is said to have %" PRIu64 " bytes; the file has %zu, the limit is %u",
                     length, file->size, SAFETENSORS_HEADER_MAX);
  if (length == 0 || file->map[PREFIX] != '{')
    return error_set(err, -EBADMSG, "the header is not a JSON object");
  file->header = json_loadb((const char *)file->map + PREFIX, length, JSON_REJECT_DUPLICATES, &problem);
  if (!json_is_object(file->header))
    return error_set(err, -EBADMSG, "the header is not valid JSON at byte %d: %.120s", problem.position,
                     problem.text);
  json_t *metadata = json_object_get(file->header, METADATA);
  if (metadata && !all_strings(metadata))
    return error_set(err, -EBADMSG, "the metadata are not an object of strings");
  file->metadata = metadata ? json_incref(metadata) : json_object();
  if (!file->metadata)
    return error_set(err, -ENOMEM, "out of memory for the metadata");
  return parse_tensors(file, PREFIX + length, err);
}

int safetensors_open(const char *path, struct safetensors **ret_file, struct guise_error *err) {
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_size <= 0)
    return error_set(err, -EBADMSG, "%s is empty or not a regular file", path);
  _cleanup_(safetensors_freep) struct safetensors *file = calloc(1, sizeof(*file));
  if (!file)
    return error_set(err, -ENOMEM, "out of memory opening %s", path);
  file->size = (size_t)st.st_size;
  int r = mapping_open(fd, file->size, &file->mapping);
  if (r < 0)
    return error_set(err, r, "cannot map %s: %s", path, strerror(-r));
  file->map = mapping_data(file->mapping);
  r = parse_header(file, err);
  if (mapping_failed(file->mapping))
    return error_set(err, -EIO, "%s cannot be read from the disk", path);
  if (r < 0)
    return r;
  *ret_file = TAKE(file);
  return 0;
}

struct safetensors *safetensors_free(struct safetensors *file) {
  if (!file)
    return NULL;
  json_decref(file->metadata);
  json_decref(file->header);
  free(file->entry);
  free(file->by_name);
  mapping_free(file->mapping);
  free(file);
  return NULL;
}

bool safetensors_failed(const struct safetensors *file) {
  return mapping_failed(file->mapping);
}

uint32_t safetensors_count(const struct safetensors *file) {
  return file->count;
}

const struct safetensor *safetensors_at(const struct safetensors *file, uint32_t i) {
  return i < file->count ? &file->entry[i].tensor : NULL;
}

const struct safetensor *safetensors_find(const struct safetensors *file, const char *name) {
  struct entry *const *found = bsearch(name, file->by_name, file->count, sizeof(struct entry *), name_of);
  return found ? &(*found)->tensor : NULL;
}

const json_t *safetensors_metadata(const struct safetensors *file) {
  return file->metadata;
}
