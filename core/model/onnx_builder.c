#include "core/model/onnx_builder.h"

#include <fcntl.h>
#include <limits.h>
#include <onnx.pb-c.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/mapping.h"

#define IR_VERSION 8 /* the first with opset 17 */

/* Everything that messages point to is one list of blocks. */
struct block {
  struct block *next;
  max_align_t data[];
};

struct onnx_file {
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset, *opsets[1];
  struct block *blocks;
  bool failed;
};

struct onnx_node {
  Onnx__NodeProto proto;
};

/* ---- memory ---- */

static void *take(struct onnx_file *file, size_t bytes) {
  struct block *block = file->failed ? NULL : calloc(1, sizeof(*block) + bytes);
  if (!block) {
    file->failed = true;
    return NULL;
  }
  block->next = file->blocks;
  file->blocks = block;
  return block->data;
}

static void *copy(struct onnx_file *file, const void *data, size_t bytes) {
  void *block = take(file, bytes);
  if (block && bytes > 0)
    memcpy(block, data, bytes);
  return block;
}

static char *copy_text(struct onnx_file *file, const char *text) {
  return copy(file, text, strlen(text) + 1);
}

/* protobuf-c's lists of messages: room doubles at powers of two. */
static void append(struct onnx_file *file, void *list, size_t *count, void *message) {
  void ***entries = list;
  if ((*count & (*count - 1)) == 0) {
    void **larger = take(file, sizeof(void *) * (*count ? *count * 2 : 1));
    if (larger && *count)
      memcpy((void *)larger, (const void *)*entries, sizeof(void *) * *count);
    if (larger)
      *entries = larger;
  }
  if (!file->failed && message)
    (*entries)[(*count)++] = message;
}

float *onnx_memory(struct onnx_file *file, size_t count) {
  return take(file, count * sizeof(float));
}

/* ---- constants ---- */

static const char *add_tensor(struct onnx_file *file, const char *name, int32_t type, uint32_t rank,
                              const int64_t *shape, const void *values, size_t element) {
  Onnx__TensorProto *tensor = take(file, sizeof(*tensor));
  size_t count = 1;
  if (!tensor)
    return NULL;
  onnx__tensor_proto__init(tensor);
  for (uint32_t i = 0; i < rank; i++)
    count *= (size_t)shape[i];
  tensor->name = copy_text(file, name);
  tensor->n_dims = rank;
  tensor->dims = copy(file, shape, rank * sizeof(*shape));
  tensor->has_data_type = true;
  tensor->data_type = type;
  tensor->has_raw_data = true; /* little-endian, as the machine is */
  tensor->raw_data = (ProtobufCBinaryData){count * element, (uint8_t *)(uintptr_t)values};
  append(file, (void *)&file->graph.initializer, &file->graph.n_initializer, tensor);
  return tensor->name;
}

const char *onnx_floats(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                        const float *values) {
  return add_tensor(file, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, shape, values, sizeof(float));
}

const char *onnx_integers(struct onnx_file *file, const char *name, uint32_t count, const int64_t *values) {
  const int64_t shape[1] = {count};
  return add_tensor(file, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, shape,
                    copy(file, values, count * sizeof(*values)), sizeof(*values));
}

/* ---- nodes ---- */

const char *onnx_node(struct onnx_file *file, const char *operator_, const char *output,
                      struct onnx_node **ret_node, const char *const *inputs) {
  struct onnx_node *node = take(file, sizeof(*node));
  char *name = node ? copy_text(file, output) : NULL;
  if (ret_node)
    *ret_node = NULL;
  if (!name)
    return NULL;
  onnx__node_proto__init(&node->proto);
  node->proto.name = name;
  node->proto.op_type = copy_text(file, operator_);
  append(file, (void *)&node->proto.output, &node->proto.n_output, name);
  for (; *inputs; inputs++)
    append(file, (void *)&node->proto.input, &node->proto.n_input, copy_text(file, *inputs));
  append(file, (void *)&file->graph.node, &file->graph.n_node, &node->proto);
  if (ret_node)
    *ret_node = node;
  return name;
}

static Onnx__AttributeProto *add_attribute(struct onnx_file *file, struct onnx_node *node, const char *name,
                                           Onnx__AttributeProto__AttributeType type) {
  Onnx__AttributeProto *attribute = node ? take(file, sizeof(*attribute)) : NULL;
  if (!attribute)
    return NULL;
  onnx__attribute_proto__init(attribute);
  attribute->name = copy_text(file, name);
  attribute->has_type = true;
  attribute->type = type;
  append(file, (void *)&node->proto.attribute, &node->proto.n_attribute, attribute);
  return attribute;
}

void onnx_integer_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, int64_t value) {
  Onnx__AttributeProto *a = add_attribute(file, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  if (!a)
    return;
  a->has_i = true;
  a->i = value;
}

void onnx_integers_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, uint32_t count,
                             const int64_t *values) {
  Onnx__AttributeProto *a = add_attribute(file, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  if (!a)
    return;
  a->n_ints = count;
  a->ints = copy(file, values, count * sizeof(*values));
}

void onnx_float_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, float value) {
  Onnx__AttributeProto *a = add_attribute(file, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  if (!a)
    return;
  a->has_f = true;
  a->f = value;
}

void onnx_text_attribute(struct onnx_file *file, struct onnx_node *node, const char *name,
                         const char *value) {
  Onnx__AttributeProto *a = add_attribute(file, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
  if (!a)
    return;
  a->has_s = true;
  a->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)copy_text(file, value)};
}

/* ---- inputs, outputs, metadata ---- */

static Onnx__TensorShapeProto__Dimension *make_dimension(struct onnx_file *file, const char *parameter,
                                                         int64_t value) {
  Onnx__TensorShapeProto__Dimension *dimension = take(file, sizeof(*dimension));
  if (!dimension)
    return NULL;
  onnx__tensor_shape_proto__dimension__init(dimension);
  if (parameter) {
    dimension->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    dimension->dim_param = copy_text(file, parameter);
  } else {
    dimension->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    dimension->dim_value = value;
  }
  return dimension;
}

static Onnx__ValueInfoProto *make_value(struct onnx_file *file, const char *name, uint32_t rank,
                                        const int64_t *shape, const char *description) {
  struct {
    Onnx__ValueInfoProto info;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
  } *value = take(file, sizeof(*value));
  if (!value)
    return NULL;
  onnx__value_info_proto__init(&value->info);
  onnx__type_proto__init(&value->type);
  onnx__type_proto__tensor__init(&value->tensor);
  onnx__tensor_shape_proto__init(&value->shape);
  value->info.name = copy_text(file, name);
  value->info.doc_string = copy_text(file, description);
  value->info.type = &value->type;
  value->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  value->type.tensor_type = &value->tensor;
  value->tensor.has_elem_type = true;
  value->tensor.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  value->tensor.shape = &value->shape;
  append(file, (void *)&value->shape.dim, &value->shape.n_dim, make_dimension(file, "N", 0));
  for (uint32_t i = 0; i < rank; i++)
    append(file, (void *)&value->shape.dim, &value->shape.n_dim, make_dimension(file, NULL, shape[i]));
  return &value->info;
}

const char *onnx_input(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                       const char *description) {
  Onnx__ValueInfoProto *value = make_value(file, name, rank, shape, description);
  append(file, (void *)&file->graph.input, &file->graph.n_input, value);
  return value ? value->name : NULL;
}

void onnx_output(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                 const char *description) {
  append(file, (void *)&file->graph.output, &file->graph.n_output,
         make_value(file, name, rank, shape, description));
}

void onnx_metadata(struct onnx_file *file, const char *key, const char *value) {
  Onnx__StringStringEntryProto *entry = take(file, sizeof(*entry));
  if (!entry)
    return;
  onnx__string_string_entry_proto__init(entry);
  entry->key = copy_text(file, key);
  entry->value = copy_text(file, value);
  append(file, (void *)&file->model.metadata_props, &file->model.n_metadata_props, entry);
}

/* ---- the file ---- */

struct onnx_file *onnx_new(const char *graph_name, const char *description) {
  struct onnx_file *file = calloc(1, sizeof(*file));
  if (!file)
    return NULL;
  onnx__model_proto__init(&file->model);
  onnx__graph_proto__init(&file->graph);
  onnx__operator_set_id_proto__init(&file->opset);
  file->opset.domain = copy_text(file, "");
  file->opset.has_version = true;
  file->opset.version = ONNX_OPSET;
  file->opsets[0] = &file->opset;
  file->model.has_ir_version = true;
  file->model.ir_version = IR_VERSION;
  file->model.n_opset_import = 1;
  file->model.opset_import = file->opsets;
  file->model.producer_name = copy_text(file, "guise");
  file->model.producer_version = copy_text(file, GUISE_VERSION);
  file->model.doc_string = copy_text(file, description);
  file->graph.name = copy_text(file, graph_name);
  file->model.graph = &file->graph;
  return file;
}

struct onnx_file *onnx_free(struct onnx_file *file) {
  if (!file)
    return NULL;
  while (file->blocks) {
    struct block *block = file->blocks;
    file->blocks = block->next;
    free(block);
  }
  free(file);
  return NULL;
}

/* protobuf-c hands over piece by piece; it cannot be stopped, so the first failure is kept. */
struct sink {
  ProtobufCBuffer base;
  FILE *stream;
  int failed;
};

static void sink_append(ProtobufCBuffer *buffer, size_t length, const uint8_t *data) {
  struct sink *sink = (struct sink *)buffer;
  if (sink->failed == 0 && length > 0 && fwrite(data, 1, length, sink->stream) != length)
    sink->failed = errno ? -errno : -EIO;
}

static int write_stream(const Onnx__ModelProto *model, int fd) {
  struct sink sink = {.base = {.append = sink_append}, .stream = fdopen(fd, "w")};
  if (!sink.stream) {
    const int r = -errno;
    (void)close(fd);
    return r;
  }
  (void)protobuf_c_message_pack_to_buffer(&model->base, &sink.base);
  if (fclose(sink.stream) != 0 && sink.failed == 0)
    sink.failed = -errno;
  return sink.failed;
}

static int write_model(const Onnx__ModelProto *model, const char *path, struct guise_error *err) {
  char temp[PATH_MAX];
  if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", path);
  const int fd = mkostemp(temp, O_CLOEXEC);
  if (fd < 0)
    return error_set(err, -errno, "cannot create %s: %s", temp, strerror(errno));
  int r = write_stream(model, fd);
  if (r < 0)
    error_set(err, r, "cannot write %s: %s", temp, strerror(-r));
  else
    r = file_publish(temp, path, err);
  if (r < 0)
    (void)unlink(temp);
  return r;
}

int onnx_write(struct onnx_file *file, const char *path, struct guise_error *err) {
  if (file->failed)
    return error_set(err, -ENOMEM, "out of memory describing the network for %s", path);
  const size_t bytes = protobuf_c_message_get_packed_size(&file->model.base);
  if (bytes > INT32_MAX)
    return error_set(err, -EFBIG, "the network has %zu bytes; an ONNX file holds at most 2 GiB", bytes);
  return write_model(&file->model, path, err);
}

/* ---- other metadata ---- */

/* Of a message that was unpacked: its memory is malloc's. */
static int set_metadata(Onnx__ModelProto *model, const char *key, const char *value) {
  Onnx__StringStringEntryProto *entry = NULL, **larger;
  for (size_t i = 0; i < model->n_metadata_props && !entry; i++)
    if (strcmp(model->metadata_props[i]->key, key) == 0)
      entry = model->metadata_props[i];
  if (!entry) {
    larger = realloc((void *)model->metadata_props, (model->n_metadata_props + 1) * sizeof(void *));
    if (!larger)
      return -ENOMEM;
    model->metadata_props = larger;
    if (!(entry = malloc(sizeof(*entry))))
      return -ENOMEM;
    onnx__string_string_entry_proto__init(entry);
    larger[model->n_metadata_props++] = entry;
    if (!(entry->key = strdup(key)))
      return -ENOMEM;
  }
  char *copied = strdup(value);
  if (!copied)
    return -ENOMEM;
  if (entry->value != (char *)protobuf_c_empty_string)
    free(entry->value);
  entry->value = copied;
  return 0;
}

/* Mapped, as it may be large and what is unpacked of it is as large again. */
static int unpack_file(const char *path, int fd, size_t size, Onnx__ModelProto **ret_model,
                       struct guise_error *err) {
  struct mapping *mapping = NULL;
  int r = mapping_open(fd, size, &mapping);
  if (r < 0)
    return error_set(err, r, "cannot read %s: %s", path, strerror(-r));
  Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, mapping_data(mapping));
  if (mapping_failed(mapping))
    r = error_set(err, -EIO, "%s cannot be read from the disk", path);
  else if (!model || !model->graph)
    r = error_set(err, -EBADMSG, "%s is no ONNX file", path);
  mapping_free(mapping);
  *ret_model = model;
  return r;
}

/* *ret_model is the caller's whatever is returned. */
static int read_model(const char *path, Onnx__ModelProto **ret_model, struct guise_error *err) {
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_size == 0)
    return error_set(err, -EBADMSG, "%s is no ONNX file", path);
  if (st.st_size > INT32_MAX)
    return error_set(err, -EFBIG, "%s has %lld bytes; an ONNX file holds at most 2 GiB", path,
                     (long long)st.st_size);
  return unpack_file(path, fd, (size_t)st.st_size, ret_model, err);
}

int onnx_write_with_metadata(const char *from, const char *to, const json_t *metadata,
                             struct guise_error *err) {
  Onnx__ModelProto *model = NULL;
  const char *key;
  json_t *value;
  int r = read_model(from, &model, err);
  if (r == 0) {
    json_object_foreach((json_t *)metadata, key, value) {
      if (r == 0 && json_is_string(value) && (r = set_metadata(model, key, json_string_value(value))) < 0)
        error_set(err, r, "out of memory writing %s", to);
    }
  }
  if (r == 0)
    r = write_model(model, to, err);
  if (model)
    onnx__model_proto__free_unpacked(model, NULL);
  return r;
}
