/* A reader of ONNX files and plain loops for the operators that guise writes, straight from their definitions
 * (https://onnx.ai/onnx/operators, opset 17). Slow and simple on purpose. Fails the test on anything else. */
#pragma once

#include <math.h>
#include <onnx.pb-c.h>
#include <string.h>

#include "core/base/file.h"

#define TENSORS_MAX 2048

struct tensor {
  const char *name; /* borrowed from the file */
  uint32_t rank;
  size_t shape[4];
  float *values;           /* of floats, owned */
  const int64_t *integers; /* of integers, borrowed */
};

struct interpreter {
  Onnx__ModelProto *model;
  char *bytes;
  struct tensor tensor[TENSORS_MAX];
  uint32_t tensors;
};

static size_t tensor_count(const struct tensor *t) {
  size_t count = 1;
  for (uint32_t i = 0; i < t->rank; i++)
    count *= t->shape[i];
  return count;
}

static size_t dimension(const struct tensor *t, uint32_t i) {
  return i < t->rank ? t->shape[i] : 1;
}

static const struct tensor *find_tensor(const struct interpreter *in, const char *name) {
  for (uint32_t i = 0; i < in->tensors; i++)
    if (strcmp(in->tensor[i].name, name) == 0)
      return &in->tensor[i];
  fail_msg("%s is used before it is there", name);
  return NULL;
}

static struct tensor *new_tensor(struct interpreter *in, const char *name, uint32_t rank,
                                 const size_t *shape) {
  for (uint32_t i = 0; i < in->tensors; i++)
    if (strcmp(in->tensor[i].name, name) == 0)
      fail_msg("%s is defined twice", name);
  assert_in_range(rank, 0, 4);
  assert_true(in->tensors < TENSORS_MAX);
  struct tensor *t = &in->tensor[in->tensors++];
  *t = (struct tensor){.name = name, .rank = rank};
  for (uint32_t i = 0; i < rank; i++)
    t->shape[i] = shape[i];
  t->values = calloc(tensor_count(t), sizeof(float));
  assert_non_null(t->values);
  return t;
}

/* ---- attributes ---- */

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *node, const char *name) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (strcmp(node->attribute[i]->name, name) == 0)
      return node->attribute[i];
  return NULL;
}

static int64_t integer(const Onnx__NodeProto *node, const char *name, int64_t otherwise) {
  const Onnx__AttributeProto *a = attribute(node, name);
  return a ? a->i : otherwise;
}

static int64_t integer_at(const Onnx__NodeProto *node, const char *name, size_t i, int64_t otherwise) {
  const Onnx__AttributeProto *a = attribute(node, name);
  if (!a)
    return otherwise;
  assert_true(i < a->n_ints);
  return a->ints[i];
}

/* ---- operators: inputs in order, NULL where there is none ---- */

struct call {
  struct interpreter *in;
  const Onnx__NodeProto *node;
  const struct tensor *input[5];
};

static struct tensor *output(const struct call *call, uint32_t rank, const size_t *shape) {
  return new_tensor(call->in, call->node->output[0], rank, shape);
}

/* sum += weight * x shifted by (u, v), for one plane. */
static void add_shifted(const float *x, size_t h, size_t w, double weight, int64_t u, int64_t v,
                        size_t stride, size_t oh, size_t ow, double *sum) {
  for (size_t r = 0; r < oh; r++) {
    const int64_t row = (int64_t)(r * stride) + u;
    if (row < 0 || row >= (int64_t)h)
      continue;
    for (size_t c = 0; c < ow; c++) {
      const int64_t column = (int64_t)(c * stride) + v;
      if (column >= 0 && column < (int64_t)w)
        sum[r * ow + c] += weight * (double)x[(size_t)row * w + (size_t)column];
    }
  }
}

static void run_conv(const struct call *call) {
  const struct tensor *x = call->input[0], *w = call->input[1], *b = call->input[2];
  const size_t groups = (size_t)integer(call->node, "group", 1), kernel = w->shape[2];
  const size_t stride = (size_t)integer_at(call->node, "strides", 0, 1);
  const int64_t pad = integer_at(call->node, "pads", 0, 0);
  const size_t in = w->shape[1], out = w->shape[0], h = x->shape[2], width = x->shape[3];
  assert_int_equal(x->shape[1], in * groups);
  assert_int_equal(integer_at(call->node, "kernel_shape", 0, 0), kernel);
  const size_t oh = (h + 2 * (size_t)pad - kernel) / stride + 1,
               ow = (width + 2 * (size_t)pad - kernel) / stride + 1;
  struct tensor *y = output(call, 4, (size_t[4]){x->shape[0], out, oh, ow});
  double *sum = calloc(oh * ow, sizeof(double));
  assert_non_null(sum);
  for (size_t n = 0; n < x->shape[0]; n++)
    for (size_t o = 0; o < out; o++) {
      for (size_t i = 0; i < oh * ow; i++)
        sum[i] = b ? (double)b->values[o] : 0;
      for (size_t i = 0; i < in; i++)
        for (size_t u = 0; u < kernel; u++)
          for (size_t v = 0; v < kernel; v++)
            add_shifted(x->values + (n * x->shape[1] + o / (out / groups) * in + i) * h * width, h, width,
                        (double)w->values[((o * in + i) * kernel + u) * kernel + v], (int64_t)u - pad,
                        (int64_t)v - pad, stride, oh, ow, sum);
      for (size_t i = 0; i < oh * ow; i++)
        y->values[(n * out + o) * oh * ow + i] = (float)sum[i];
    }
  free(sum);
}

/* Ungrouped, without padding. */
static void run_conv_transpose(const struct call *call) {
  const struct tensor *x = call->input[0], *w = call->input[1];
  const size_t in = w->shape[0], out = w->shape[1], kernel = w->shape[2], h = x->shape[2],
               width = x->shape[3];
  const size_t stride = (size_t)integer_at(call->node, "strides", 0, 1);
  const size_t oh = (h - 1) * stride + kernel, ow = (width - 1) * stride + kernel;
  assert_null(attribute(call->node, "group"));
  assert_null(attribute(call->node, "pads"));
  assert_int_equal(x->shape[1], in);
  struct tensor *y = output(call, 4, (size_t[4]){x->shape[0], out, oh, ow});
  for (size_t n = 0; n < x->shape[0]; n++)
    for (size_t i = 0; i < in; i++)
      for (size_t r = 0; r < h; r++)
        for (size_t c = 0; c < width; c++)
          for (size_t o = 0; o < out; o++)
            for (size_t u = 0; u < kernel; u++)
              for (size_t v = 0; v < kernel; v++)
                y->values[((n * out + o) * oh + r * stride + u) * ow + c * stride + v] +=
                    x->values[((n * in + i) * h + r) * width + c] *
                    w->values[((i * out + o) * kernel + u) * kernel + v];
}

static bool text_is(const Onnx__NodeProto *node, const char *name, const char *text) {
  const Onnx__AttributeProto *a = attribute(node, name);
  return a && a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

/* Bilinear with aligned corners: the first and last samples stay where they are. */
static void run_resize(const struct call *call) {
  const struct tensor *x = call->input[0], *scales = call->input[2];
  const size_t h = x->shape[2], w = x->shape[3];
  assert_true(text_is(call->node, "mode", "linear"));
  assert_true(text_is(call->node, "coordinate_transformation_mode", "align_corners"));
  assert_null(call->input[1]);
  assert_true(scales->values[0] == 1 && scales->values[1] == 1);
  const size_t oh = (size_t)((float)h * scales->values[2]), ow = (size_t)((float)w * scales->values[3]);
  struct tensor *y = output(call, 4, (size_t[4]){x->shape[0], x->shape[1], oh, ow});
  for (size_t plane = 0; plane < x->shape[0] * x->shape[1]; plane++)
    for (size_t r = 0; r < oh; r++)
      for (size_t c = 0; c < ow; c++) {
        const double row = (double)(r * (h - 1)) / (double)(oh - 1),
                     column = (double)(c * (w - 1)) / (double)(ow - 1);
        const size_t top = (size_t)row, left = (size_t)column;
        const size_t bottom = top + 1 < h ? top + 1 : top, right = left + 1 < w ? left + 1 : left;
        const float *p = x->values + plane * h * w;
        const double v = row - (double)top, u = column - (double)left;
        y->values[(plane * oh + r) * ow + c] =
            (float)((1 - v) * ((1 - u) * (double)p[top * w + left] + u * (double)p[top * w + right]) +
                    v * ((1 - u) * (double)p[bottom * w + left] + u * (double)p[bottom * w + right]));
      }
}

static void run_gather(const struct call *call) {
  const struct tensor *x = call->input[0], *indices = call->input[1];
  const size_t rows = dimension(x, 2) * dimension(x, 3);
  assert_int_equal(integer(call->node, "axis", 0), 1);
  assert_non_null(indices->integers);
  struct tensor *y =
      output(call, x->rank, (size_t[4]){x->shape[0], indices->shape[0], dimension(x, 2), dimension(x, 3)});
  for (size_t n = 0; n < y->shape[0]; n++)
    for (size_t c = 0; c < y->shape[1]; c++) {
      assert_in_range(indices->integers[c], 0, x->shape[1] - 1);
      memcpy(y->values + (n * y->shape[1] + c) * rows,
             x->values + (n * x->shape[1] + (size_t)indices->integers[c]) * rows, rows * sizeof(float));
    }
}

/* Element-wise with the second operand spread over the first (ONNX's broadcasting from the right). */
static void run_binary(const struct call *call, float (*function)(float a, float b)) {
  const struct tensor *a = call->input[0], *b = call->input[1];
  struct tensor *y = output(call, a->rank, a->shape);
  assert_true(b->rank <= a->rank);
  for (size_t i = 0; i < tensor_count(a); i++) {
    size_t rest = i, at = 0, step = 1;
    for (uint32_t k = 0; k < b->rank; k++) { /* from the last dimension */
      const size_t size = a->shape[a->rank - 1 - k], other = b->shape[b->rank - 1 - k];
      assert_true(other == size || other == 1);
      at += (other == 1 ? 0 : rest % size) * step;
      rest /= size;
      step *= other;
    }
    y->values[i] = function(a->values[i], b->values[at]);
  }
}

static float plus(float a, float b) {
  return a + b;
}
static float minus(float a, float b) {
  return a - b;
}
static float times(float a, float b) {
  return a * b;
}
static float over(float a, float b) {
  return a / b;
}
static float slope(float a, float b) {
  return a < 0 ? a * b : a;
}
static void run_add(const struct call *call) {
  run_binary(call, plus);
}
static void run_sub(const struct call *call) {
  run_binary(call, minus);
}
static void run_mul(const struct call *call) {
  run_binary(call, times);
}
static void run_div(const struct call *call) {
  run_binary(call, over);
}
static void run_max(const struct call *call) {
  run_binary(call, fmaxf);
}
static void run_prelu(const struct call *call) {
  run_binary(call, slope);
}

static void run_clip(const struct call *call) {
  const struct tensor *x = call->input[0];
  const float low = call->input[1]->values[0], high = call->input[2]->values[0];
  assert_int_equal(call->input[1]->rank, 0);
  struct tensor *y = output(call, x->rank, x->shape);
  for (size_t i = 0; i < tensor_count(x); i++)
    y->values[i] = fminf(fmaxf(x->values[i], low), high);
}

static void run_batch_norm(const struct call *call) {
  const struct tensor *x = call->input[0];
  const Onnx__AttributeProto *epsilon = attribute(call->node, "epsilon");
  const size_t channels = x->shape[1], rows = dimension(x, 2) * dimension(x, 3);
  struct tensor *y = output(call, x->rank, x->shape);
  for (int i = 1; i < 5; i++)
    assert_int_equal(call->input[i]->shape[0], channels);
  for (size_t i = 0; i < tensor_count(x); i++) {
    const size_t c = i / rows % channels;
    const double variance = (double)call->input[4]->values[c] + (double)(epsilon ? epsilon->f : 1e-5f);
    y->values[i] = (float)((double)(x->values[i] - call->input[3]->values[c]) / sqrt(variance) *
                               (double)call->input[1]->values[c] +
                           (double)call->input[2]->values[c]);
  }
}

/* Of rank 3. */
static void run_instance_norm(const struct call *call) {
  const struct tensor *x = call->input[0];
  const size_t channels = x->shape[1], rows = dimension(x, 2);
  struct tensor *y = output(call, 3, x->shape);
  assert_int_equal(x->rank, 3);
  assert_non_null(attribute(call->node, "epsilon"));
  for (size_t i = 0; i < x->shape[0] * channels; i++) {
    double sum = 0, square = 0;
    for (size_t k = i * rows; k < (i + 1) * rows; k++)
      sum += (double)x->values[k] / (double)rows;
    for (size_t k = i * rows; k < (i + 1) * rows; k++)
      square += ((double)x->values[k] - sum) * ((double)x->values[k] - sum) / (double)rows;
    const double inverse = 1 / sqrt(square + (double)attribute(call->node, "epsilon")->f);
    for (size_t k = i * rows; k < (i + 1) * rows; k++)
      y->values[k] = (float)(((double)x->values[k] - sum) * inverse) * call->input[1]->values[i % channels] +
                     call->input[2]->values[i % channels];
  }
}

/* 0 keeps a dimension, one -1 takes what is left. */
static void run_reshape(const struct call *call) {
  const struct tensor *x = call->input[0], *wanted = call->input[1];
  const uint32_t rank = (uint32_t)wanted->shape[0];
  size_t shape[4], known = 1;
  assert_in_range(rank, 1, 4);
  for (uint32_t i = 0; i < rank; i++) {
    shape[i] = wanted->integers[i] == 0 ? x->shape[i] : (size_t)wanted->integers[i];
    known *= wanted->integers[i] < 0 ? 1 : shape[i];
  }
  for (uint32_t i = 0; i < rank; i++)
    if (wanted->integers[i] < 0)
      shape[i] = tensor_count(x) / known;
  struct tensor *y = output(call, rank, shape);
  assert_int_equal(tensor_count(y), tensor_count(x));
  memcpy(y->values, x->values, tensor_count(x) * sizeof(float));
}

static void run_flatten(const struct call *call) {
  const struct tensor *x = call->input[0];
  assert_int_equal(integer(call->node, "axis", 1), 1);
  struct tensor *y = output(call, 2, (size_t[2]){x->shape[0], tensor_count(x) / x->shape[0]});
  memcpy(y->values, x->values, tensor_count(x) * sizeof(float));
}

static void run_gemm(const struct call *call) {
  const struct tensor *x = call->input[0], *w = call->input[1], *b = call->input[2];
  const size_t in = x->shape[1], out = w->shape[0];
  assert_int_equal(integer(call->node, "transB", 0), 1);
  assert_int_equal(w->shape[1], in);
  struct tensor *y = output(call, 2, (size_t[2]){x->shape[0], out});
  for (size_t n = 0; n < x->shape[0]; n++)
    for (size_t o = 0; o < out; o++) {
      double sum = b ? (double)b->values[o] : 0;
      for (size_t i = 0; i < in; i++)
        sum += (double)x->values[n * in + i] * (double)w->values[o * in + i];
      y->values[n * out + o] = (float)sum;
    }
}

/* A matrix times each plane of (N,C,H,W), or each plane times a matrix. */
static void run_matmul(const struct call *call) {
  const struct tensor *a = call->input[0], *b = call->input[1], *x = a->rank == 4 ? a : b;
  const size_t rows = a->shape[a->rank - 2], inner = a->shape[a->rank - 1], columns = b->shape[b->rank - 1];
  const size_t step_a = a->rank == 4 ? rows * inner : 0, step_b = b->rank == 4 ? inner * columns : 0;
  assert_true(a->rank == 4 ? b->rank == 2 : a->rank == 2 && b->rank == 4);
  assert_int_equal(b->shape[b->rank - 2], inner);
  struct tensor *y = output(call, 4, (size_t[4]){x->shape[0], x->shape[1], rows, columns});
  for (size_t plane = 0; plane < x->shape[0] * x->shape[1]; plane++)
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < columns; c++) {
        double sum = 0;
        for (size_t i = 0; i < inner; i++)
          sum += (double)a->values[plane * step_a + r * inner + i] *
                 (double)b->values[plane * step_b + i * columns + c];
        y->values[(plane * rows + r) * columns + c] = (float)sum;
      }
}

static void run_reduce_l2(const struct call *call) {
  const struct tensor *x = call->input[0];
  assert_int_equal(x->rank, 2);
  assert_int_equal(integer_at(call->node, "axes", 0, 0), 1);
  assert_int_equal(integer(call->node, "keepdims", 1), 1);
  struct tensor *y = output(call, 2, (size_t[2]){x->shape[0], 1});
  for (size_t n = 0; n < x->shape[0]; n++) {
    double sum = 0;
    for (size_t i = 0; i < x->shape[1]; i++)
      sum += (double)x->values[n * x->shape[1] + i] * (double)x->values[n * x->shape[1] + i];
    y->values[n] = (float)sqrt(sum);
  }
}

static const struct {
  const char *name;
  size_t least, most; /* inputs */
  void (*run)(const struct call *call);
} operators[] = {
    {"Conv", 2, 3, run_conv},
    {"ConvTranspose", 2, 2, run_conv_transpose},
    {"Gather", 2, 2, run_gather},
    {"Add", 2, 2, run_add},
    {"Sub", 2, 2, run_sub},
    {"Mul", 2, 2, run_mul},
    {"Div", 2, 2, run_div},
    {"Max", 2, 2, run_max},
    {"PRelu", 2, 2, run_prelu},
    {"Clip", 3, 3, run_clip},
    {"Gemm", 2, 3, run_gemm},
    {"MatMul", 2, 2, run_matmul},
    {"BatchNormalization", 5, 5, run_batch_norm},
    {"InstanceNormalization", 3, 3, run_instance_norm},
    {"Reshape", 2, 2, run_reshape},
    {"Resize", 3, 3, run_resize},
    {"Flatten", 1, 1, run_flatten},
    {"ReduceL2", 1, 1, run_reduce_l2},
};

/* ---- files ---- */

static void read_constants(struct interpreter *in) {
  const Onnx__GraphProto *graph = in->model->graph;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *from = graph->initializer[i];
    size_t shape[4] = {0};
    assert_true(from->n_dims <= 4);
    for (size_t k = 0; k < from->n_dims; k++)
      shape[k] = (size_t)from->dims[k];
    struct tensor *to = new_tensor(in, from->name, (uint32_t)from->n_dims, shape);
    const bool floats = from->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    assert_true(floats || from->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
    assert_int_equal(from->raw_data.len, tensor_count(to) * (floats ? sizeof(float) : sizeof(int64_t)));
    if (floats) {
      memcpy(to->values, from->raw_data.data, from->raw_data.len);
    } else {
      int64_t *copy = malloc(from->raw_data.len);
      assert_non_null(copy);
      memcpy(copy, from->raw_data.data, from->raw_data.len);
      to->integers = copy;
    }
  }
}

static struct interpreter *open_onnx(const char *path) {
  struct interpreter *in = calloc(1, sizeof(*in));
  struct guise_error err = {0};
  size_t size = 0;
  assert_non_null(in);
  if (file_read(path, (size_t)1 << 30, &in->bytes, &size, &err) != 0)
    fail_msg("%s", err.text);
  in->model = onnx__model_proto__unpack(NULL, size, (const uint8_t *)in->bytes);
  assert_non_null(in->model);
  assert_non_null(in->model->graph);
  return in;
}

/* Everything computed so far is forgotten. */
static void reset(struct interpreter *in) {
  for (uint32_t i = 0; i < in->tensors; i++) {
    free(in->tensor[i].values);
    free((void *)(uintptr_t)in->tensor[i].integers);
  }
  in->tensors = 0;
}

static void close_onnx(struct interpreter *in) {
  reset(in);
  onnx__model_proto__free_unpacked(in->model, NULL);
  free(in->bytes);
  free(in);
}

/* Runs the whole graph on (n, the input's own shape) values; the first output, valid until the next run. */
static const struct tensor *run_onnx(struct interpreter *in, size_t n, const float *values) {
  const Onnx__GraphProto *graph = in->model->graph;
  const Onnx__TensorShapeProto *declared = graph->input[0]->type->tensor_type->shape;
  size_t shape[4] = {n};
  reset(in);
  read_constants(in);
  for (size_t i = 1; i < declared->n_dim; i++)
    shape[i] = (size_t)declared->dim[i]->dim_value;
  struct tensor *input = new_tensor(in, graph->input[0]->name, (uint32_t)declared->n_dim, shape);
  memcpy(input->values, values, tensor_count(input) * sizeof(float));
  for (size_t i = 0; i < graph->n_node; i++) {
    struct call call = {.in = in, .node = graph->node[i]};
    size_t k = 0;
    while (k < sizeof(operators) / sizeof(operators[0]) && strcmp(operators[k].name, call.node->op_type) != 0)
      k++;
    if (k == sizeof(operators) / sizeof(operators[0]))
      fail_msg("the operator %s is not known here", call.node->op_type);
    assert_in_range(call.node->n_input, operators[k].least, operators[k].most);
    assert_int_equal(call.node->n_output, 1);
    for (size_t j = 0; j < call.node->n_input; j++)
      call.input[j] = call.node->input[j][0] ? find_tensor(in, call.node->input[j]) : NULL;
    operators[k].run(&call);
  }
  return find_tensor(in, graph->output[0]->name);
}
