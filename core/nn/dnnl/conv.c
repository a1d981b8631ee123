#include "core/nn/dnnl/conv.h"

#include <omp.h>
#include <string.h>

#include "core/nn/dnnl/context.h"
#include "core/nn/dnnl/conv_gradient.h"
#include "core/nn/kernels.h"
#include "core/nn/winograd/winograd.h"

struct conv {
  struct dnnl_context *context;
  struct conv_shape shape;
  dnnl_primitive_attr_t adding; /* attributes for y += conv, NULL: not asked for */
  bool sums;
  dnnl_memory_desc_t x, y, dx, plain, bias; /* descriptions; dx is blocked even when x is plain */
  struct conv_run {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    const char *algorithm;
    bool tiled;                 /* winograd.h does the pass, the library does not */
    dnnl_memory_desc_t weights; /* this pass's format */
    bool own;                   /* it differs from the plain one */
    dnnl_primitive_t reorder;   /* plain -> own; for the weights' gradient own -> plain */
    dnnl_exec_arg_t arguments[5], reorder_arguments[2];
    int argument_count;
  } run[CONV_PASSES];
  dnnl_exec_arg_t again[5]; /* arguments of conv_run_again() */
  bool loops;               /* conv_gradient_run() takes the place of the gradient of the weights */
  struct conv_memory where; /* for the passes that the library does not do */
  uint32_t threads;
  dnnl_memory_t memory[20];
  int memory_count;
};

DEFINE_CLEANUP(struct conv *, conv_free)

bool conv_wants_winograd(const struct conv_shape *s) {
  const uint64_t down = (s->out_height + 3) / 4, across = (s->out_width + 3) / 4;
  const bool ours = s->block == 8;
  const bool filled = ours ? 2 * (uint64_t)s->out_height * s->out_width >= 16 * down * across
                           : s->out_height >= 7 && s->out_width >= 7;
  const uint32_t channels = ours ? 16 : 32;
  return !s->transposed && s->kernel == 3 && s->stride == 1 && s->padding == 1 && s->groups == 1 &&
         !s->half && !s->plain_input && s->in_channels >= channels && s->out_channels >= channels &&
         s->in_channels % 16 == 0 && s->out_channels % 16 == 0 && filled && s->batch * down * across >= 48;
}

/* The pass as winograd.h wants it; the one with respect to x reads dy. */
static struct winograd_shape tiled_shape(const struct conv *conv, enum conv_pass pass) {
  const struct conv_shape *s = &conv->shape;
  const bool turned = pass == CONV_BACKWARD_DATA;
  return (struct winograd_shape){.batch = s->batch,
                                 .in_channels = turned ? s->out_channels : s->in_channels,
                                 .out_channels = turned ? s->in_channels : s->out_channels,
                                 .height = s->out_height,
                                 .width = s->out_width,
                                 .threads = conv->threads};
}

static size_t tiled_scratch_bytes(const struct conv *conv, enum conv_pass pass) {
  const struct winograd_shape shape = tiled_shape(conv, pass);
  return sizeof(float) * (pass == CONV_BACKWARD_WEIGHTS ? winograd_gradient_scratch(&shape)
                                                        : winograd_forward_scratch(&shape));
}

/* Whether winograd.h does a pass that conv_wants_winograd() is for and the library has no Winograd for. */
static bool tiled_does(const struct conv *conv, enum conv_pass pass) {
  const struct conv_shape *s = &conv->shape;
  return winograd_available() && strcmp(kernels_choose()->name, "avx2") == 0 && s->block == 8 &&
         !(pass == CONV_BACKWARD_WEIGHTS && s->bias) &&
         (s->scratch_most == 0 || tiled_scratch_bytes(conv, pass) <= s->scratch_most);
}

/* Plain dimensions of the weights, with a leading one for groups. */
static int weights_dims(const struct conv_shape *s, dnnl_dims_t ret_dims) {
  const dnnl_dims_t grouped = {s->groups, s->out_channels / s->groups, s->in_channels / s->groups, s->kernel,
                               s->kernel};
  const int first = s->groups > 1 ? 0 : 1;
  memcpy(ret_dims, grouped + first, (size_t)(5 - first) * sizeof(grouped[0]));
  return 5 - first;
}

static dnnl_status_t describe_tensors(struct conv *conv) {
  const struct conv_shape *s = &conv->shape;
  const dnnl_format_tag_t blocked = s->block == 16 ? dnnl_nChw16c : dnnl_nChw8c;
  const dnnl_data_type_t type = s->half ? dnnl_bf16 : dnnl_f32;
  const dnnl_dims_t x = {s->batch, s->in_channels, s->in_height, s->in_width};
  const dnnl_dims_t y = {s->batch, s->out_channels, s->out_height, s->out_width};
  const dnnl_dims_t b = {s->out_channels};
  dnnl_dims_t w;
  const int rank = weights_dims(s, w);
  dnnl_status_t status =
      dnnl_memory_desc_init_by_tag(&conv->x, 4, x, type, s->plain_input ? dnnl_nchw : blocked);
  if (status == dnnl_success)
    status = dnnl_memory_desc_init_by_tag(&conv->dx, 4, x, type, blocked);
  if (status == dnnl_success)
    status = dnnl_memory_desc_init_by_tag(&conv->y, 4, y, type, blocked);
  if (status == dnnl_success)
    status = dnnl_memory_desc_init_by_tag(&conv->plain, rank, w, dnnl_f32,
                                          s->transposed ? dnnl_iohw
                                          : rank == 5   ? dnnl_goihw
                                                        : dnnl_oihw);
  if (status == dnnl_success)
    status = dnnl_memory_desc_init_by_tag(&conv->bias, 1, b, dnnl_f32, dnnl_x);
  return status;
}

/* dnnl_convolution_desc_t of a pass; a transposed one has the same type. */
static dnnl_status_t describe_operation(const struct conv *conv, enum conv_pass pass,
                                        dnnl_alg_kind_t algorithm, const dnnl_memory_desc_t *weights,
                                        dnnl_convolution_desc_t *ret_description) {
  const struct conv_shape *s = &conv->shape;
  const dnnl_dims_t strides = {s->stride, s->stride}, padding = {s->padding, s->padding};
  const dnnl_memory_desc_t *bias = s->bias ? &conv->bias : NULL;
  const dnnl_prop_kind_t kind = s->training ? dnnl_forward_training : dnnl_forward_inference;
  if (pass == CONV_FORWARD)
    return (s->transposed ? dnnl_deconvolution_forward_desc_init : dnnl_convolution_forward_desc_init)(
        ret_description, kind, algorithm, &conv->x, weights, bias, &conv->y, strides, padding, padding);
  if (pass == CONV_BACKWARD_DATA)
    return (s->transposed ? dnnl_deconvolution_backward_data_desc_init
                          : dnnl_convolution_backward_data_desc_init)(
        ret_description, algorithm, &conv->dx, weights, &conv->y, strides, padding, padding);
  return (s->transposed ? dnnl_deconvolution_backward_weights_desc_init
                        : dnnl_convolution_backward_weights_desc_init)(
      ret_description, algorithm, &conv->x, weights, bias, &conv->y, strides, padding, padding);
}

/* The description of one pass with one algorithm. `forward` is the hint that backward passes need. Gradients
 * of weights are float also in bfloat16. */
static dnnl_status_t describe_pass(struct conv *conv, enum conv_pass pass, dnnl_alg_kind_t algorithm,
                                   dnnl_primitive_desc_t forward, dnnl_primitive_desc_t *ret_description) {
  const struct conv_shape *s = &conv->shape;
  const dnnl_data_type_t type = s->half && pass != CONV_BACKWARD_WEIGHTS ? dnnl_bf16 : dnnl_f32;
  dnnl_memory_desc_t weights;
  dnnl_convolution_desc_t description;
  dnnl_dims_t w;
  const int rank = weights_dims(s, w);
  dnnl_status_t status = dnnl_memory_desc_init_by_tag(&weights, rank, w, type, dnnl_format_tag_any);
  if (status != dnnl_success)
    return status;
  status = describe_operation(conv, pass, algorithm, &weights, &description);
  if (status != dnnl_success)
    return status;
  return dnnl_primitive_desc_create(ret_description, &description,
                                    conv->sums ? conv->adding : conv->context->attributes,
                                    conv->context->engine, forward);
}

/* The hint of a backward pass must have the same tensors, so it is made for each: x's and dx's formats may
 * differ. */
static dnnl_status_t describe_with_hint(struct conv *conv, enum conv_pass pass, dnnl_alg_kind_t algorithm,
                                        dnnl_primitive_desc_t *ret_description) {
  if (pass == CONV_FORWARD)
    return describe_pass(conv, pass, algorithm, NULL, ret_description);
  const dnnl_memory_desc_t x = conv->x;
  if (pass == CONV_BACKWARD_DATA)
    conv->x = conv->dx;
  dnnl_primitive_desc_t hint = NULL;
  dnnl_status_t status = describe_pass(conv, CONV_FORWARD, algorithm, NULL, &hint);
  conv->x = x;
  if (status != dnnl_success)
    return status;
  status = describe_pass(conv, pass, algorithm, hint, ret_description);
  (void)dnnl_primitive_desc_destroy(hint);
  return status;
}

/* What the library makes of a pass is fast when it is generated for the shape. */
static bool is_generated(dnnl_primitive_desc_t description) {
  const char *implementation = NULL;
  return dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, (void *)&implementation) ==
             dnnl_success &&
         implementation && strncmp(implementation, "jit", 3) == 0;
}

/* Tries an algorithm with the addition, if asked for, and then without. */
static dnnl_status_t try_algorithm(struct conv *conv, enum conv_pass pass, dnnl_alg_kind_t algorithm,
                                   dnnl_primitive_desc_t *ret_description) {
  if (conv->adding) {
    conv->sums = true;
    if (describe_with_hint(conv, pass, algorithm, ret_description) == dnnl_success) {
      if (is_generated(*ret_description))
        return dnnl_success;
      (void)dnnl_primitive_desc_destroy(*ret_description);
      *ret_description = NULL;
    }
    conv->sums = false;
  }
  return describe_with_hint(conv, pass, algorithm, ret_description);
}

static void forget_pass(struct conv_run *run) {
  if (run->reorder)
    (void)dnnl_primitive_destroy(run->reorder);
  if (run->primitive)
    (void)dnnl_primitive_destroy(run->primitive);
  if (run->description)
    (void)dnnl_primitive_desc_destroy(run->description);
  *run = (struct conv_run){.description = NULL};
}

static int create_pass(struct conv *conv, enum conv_pass pass, const char *name, struct guise_error *err) {
  struct conv_run *run = &conv->run[pass];
  dnnl_status_t status = dnnl_unimplemented;
  if (conv->shape.winograd && conv_wants_winograd(&conv->shape)) {
    status = try_algorithm(conv, pass, dnnl_convolution_winograd, &run->description);
    run->algorithm = "winograd";
    if (status == dnnl_success && conv->shape.scratch_most > 0 &&
        conv_scratch_bytes(conv, pass) > conv->shape.scratch_most) {
      (void)dnnl_primitive_desc_destroy(run->description);
      run->description = NULL;
      status = dnnl_unimplemented;
    }
    if (status != dnnl_success && tiled_does(conv, pass)) {
      run->tiled = true;
      conv->sums |= pass == CONV_FORWARD && conv->adding;
      return 0;
    }
  }
  if (status != dnnl_success) {
    status = try_algorithm(conv, pass,
                           conv->shape.transposed ? dnnl_deconvolution_direct : dnnl_convolution_direct,
                           &run->description);
    run->algorithm = "direct";
  }
  if (status != dnnl_success)
    return dnnl_error(err, status, name);
  status = dnnl_primitive_create(&run->primitive, run->description);
  if (status != dnnl_success)
    return dnnl_error(err, status, name);
  run->weights = *dnnl_primitive_desc_query_md(
      run->description, pass == CONV_BACKWARD_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md,
      0);
  run->own = conv->shape.folded || !dnnl_memory_desc_equal(&run->weights, &conv->plain);
  if (is_generated(run->description))
    return 0;
  run->algorithm = "other";
  if (pass == CONV_BACKWARD_WEIGHTS && conv_gradient_does(&conv->shape)) {
    forget_pass(run);
    run->algorithm = "loops";
    conv->loops = true;
  }
  return 0;
}

static dnnl_status_t describe_sum(struct conv *conv) {
  dnnl_post_ops_t operations = NULL;
  dnnl_status_t status = dnnl_post_ops_create(&operations);
  if (status == dnnl_success)
    status = dnnl_post_ops_append_sum(operations, 1.0f);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_create(&conv->adding);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_scratchpad_mode(conv->adding, dnnl_scratchpad_mode_user);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_post_ops(conv->adding, operations);
  if (operations)
    (void)dnnl_post_ops_destroy(operations);
  return status;
}

int conv_new(struct dnnl_context *context, const struct conv_shape *shape, const char *name,
             struct conv **ret_conv, struct guise_error *err) {
  _cleanup_(conv_freep) struct conv *conv = calloc(1, sizeof(*conv));
  if (!conv)
    return error_set(err, -ENOMEM, "out of memory");
  conv->context = context;
  conv->shape = *shape;
  conv->threads = (uint32_t)omp_get_max_threads();
  int r = dnnl_error(err, describe_tensors(conv), name);
  if (r == 0 && shape->sum)
    r = dnnl_error(err, describe_sum(conv), name);
  if (r == 0)
    r = create_pass(conv, CONV_FORWARD, name, err);
  if (r == 0 && shape->training && shape->input_gradient)
    r = create_pass(conv, CONV_BACKWARD_DATA, name, err);
  if (r == 0 && shape->training)
    r = create_pass(conv, CONV_BACKWARD_WEIGHTS, name, err);
  if (r < 0)
    return r;
  *ret_conv = TAKE(conv);
  return 0;
}

struct conv *conv_free(struct conv *conv) {
  if (!conv)
    return NULL;
  for (int i = 0; i < conv->memory_count; i++)
    (void)dnnl_memory_destroy(conv->memory[i]);
  for (int pass = 0; pass < CONV_PASSES; pass++)
    forget_pass(&conv->run[pass]);
  if (conv->adding)
    (void)dnnl_primitive_attr_destroy(conv->adding);
  free(conv);
  return NULL;
}

bool conv_sums(const struct conv *conv) {
  return conv->sums;
}

size_t conv_weights_bytes(const struct conv *conv, enum conv_pass pass) {
  const struct conv_run *run = &conv->run[pass];
  if (run->tiled) {
    const struct winograd_shape shape = tiled_shape(conv, pass);
    return winograd_weights_count(&shape) * sizeof(float);
  }
  return run->primitive && run->own ? dnnl_memory_desc_get_size(&run->weights) : 0;
}

size_t conv_scratch_bytes(const struct conv *conv, enum conv_pass pass) {
  if (conv->run[pass].tiled)
    return tiled_scratch_bytes(conv, pass);
  const_dnnl_primitive_desc_t description = conv->run[pass].description;
  return description ? dnnl_memory_desc_get_size(
                           dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0))
                     : 0;
}

const char *conv_algorithm(const struct conv *conv, enum conv_pass pass) {
  return conv->run[pass].algorithm;
}

/* A memory object at `data`, owned by the conv; NULL on failure. */
static dnnl_memory_t wrap(struct conv *conv, const dnnl_memory_desc_t *description, void *data) {
  dnnl_memory_t memory = NULL;
  if ((size_t)conv->memory_count >= ARRAY_SIZE(conv->memory) ||
      dnnl_memory_create(&memory, description, conv->context->engine, data) != dnnl_success)
    return NULL;
  conv->memory[conv->memory_count++] = memory;
  return memory;
}

/* The reorder between the plain weights and this pass's own format. */
static dnnl_status_t create_reorder(struct conv *conv, enum conv_pass pass, dnnl_memory_t plain,
                                    dnnl_memory_t own) {
  struct conv_run *run = &conv->run[pass];
  const bool to_plain = pass == CONV_BACKWARD_WEIGHTS;
  const dnnl_memory_desc_t *from = to_plain ? &run->weights : &conv->plain;
  const dnnl_memory_desc_t *to = to_plain ? &conv->plain : &run->weights;
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t status = dnnl_reorder_primitive_desc_create(&description, from, conv->context->engine, to,
                                                            conv->context->engine, NULL);
  if (status != dnnl_success)
    return status;
  status = dnnl_primitive_create(&run->reorder, description);
  (void)dnnl_primitive_desc_destroy(description);
  run->reorder_arguments[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, to_plain ? own : plain};
  run->reorder_arguments[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, to_plain ? plain : own};
  return status;
}

static int bind_pass(struct conv *conv, enum conv_pass pass, const struct conv_memory *m, dnnl_memory_t x,
                     dnnl_memory_t y, struct guise_error *err) {
  static const int arguments[CONV_PASSES][4] = {
      {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS},
      {DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, 0},
      {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS},
  };
  struct conv_run *run = &conv->run[pass];
  const bool gradient = pass == CONV_BACKWARD_WEIGHTS;
  if (!run->primitive)
    return 0;
  dnnl_memory_t plain = wrap(conv, &conv->plain, gradient ? m->weights_gradient : m->weights);
  dnnl_memory_t weights = run->own ? wrap(conv, &run->weights, m->own[pass]) : plain;
  dnnl_memory_t scratch = wrap(
      conv, dnnl_primitive_desc_query_md(run->description, dnnl_query_scratchpad_md, 0), m->scratch[pass]);
  float *bias_data = gradient ? m->bias_gradient : m->bias;
  const bool has_bias = conv->shape.bias && pass != CONV_BACKWARD_DATA;
  dnnl_memory_t bias = has_bias ? wrap(conv, &conv->bias, bias_data) : NULL;
  if (!x || !y || !plain || !weights || !scratch || (has_bias && !bias))
    return error_set(err, -ENOMEM, "out of memory");
  if (run->own) {
    int r = dnnl_error(err, create_reorder(conv, pass, plain, weights), "preparing weights");
    if (r < 0)
      return r;
  }
  run->arguments[0] = (dnnl_exec_arg_t){arguments[pass][0], x};
  run->arguments[1] = (dnnl_exec_arg_t){arguments[pass][1], y};
  run->arguments[2] = (dnnl_exec_arg_t){arguments[pass][2], weights};
  run->arguments[3] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, scratch};
  run->argument_count = 4;
  if (bias)
    run->arguments[run->argument_count++] = (dnnl_exec_arg_t){arguments[pass][3], bias};
  return 0;
}

int conv_bind(struct conv *conv, const struct conv_memory *m, struct guise_error *err) {
  conv->where = *m;
  dnnl_memory_t x = wrap(conv, &conv->x, m->x);
  int r = bind_pass(conv, CONV_FORWARD, m, x, wrap(conv, &conv->y, m->y), err);
  if (r < 0 || !conv->shape.training)
    return r;
  memcpy(conv->again, conv->run[CONV_FORWARD].arguments, sizeof(conv->again));
  if (m->y_again && !(conv->again[1].memory = wrap(conv, &conv->y, m->y_again)))
    return error_set(err, -ENOMEM, "out of memory");
  dnnl_memory_t dy = wrap(conv, &conv->y, m->dy);
  if (conv->run[CONV_BACKWARD_DATA].primitive)
    r = bind_pass(conv, CONV_BACKWARD_DATA, m, wrap(conv, &conv->dx, m->dx), dy, err);
  return r < 0 ? r : bind_pass(conv, CONV_BACKWARD_WEIGHTS, m, wrap(conv, &conv->x, m->x_again), dy, err);
}

/* ---- passes that the library does not do ---- */

static void load_tiled(const struct conv *conv, enum conv_pass pass) {
  const struct winograd_shape shape = tiled_shape(conv, pass);
  if (pass == CONV_FORWARD)
    winograd_weights(&shape, conv->where.weights, conv->where.own[pass]);
  else if (pass == CONV_BACKWARD_DATA)
    winograd_turned_weights(&shape, conv->where.weights, conv->where.own[pass]);
}

static void run_tiled(const struct conv *conv, enum conv_pass pass, void *y) {
  const struct conv_memory *m = &conv->where;
  const struct winograd_shape shape = tiled_shape(conv, pass);
  if (pass == CONV_FORWARD)
    winograd_forward(&shape, m->x, m->own[pass], m->bias, conv->sums, m->scratch[pass], y);
  else if (pass == CONV_BACKWARD_DATA)
    winograd_forward(&shape, m->dy, m->own[pass], NULL, false, m->scratch[pass], m->dx);
  else
    winograd_gradient(&shape, m->x_again, m->dy, m->scratch[pass], m->own[pass], m->weights_gradient);
}

int conv_load_weights(struct conv *conv, enum conv_pass pass, struct guise_error *err) {
  struct conv_run *run = &conv->run[pass];
  if (run->tiled)
    load_tiled(conv, pass);
  if (!run->reorder)
    return 0;
  return dnnl_error(err,
                    dnnl_primitive_execute(run->reorder, conv->context->stream, 2, run->reorder_arguments),
                    "preparing weights");
}

int conv_run(struct conv *conv, enum conv_pass pass, struct guise_error *err) {
  struct conv_run *run = &conv->run[pass];
  if (pass == CONV_BACKWARD_WEIGHTS && conv->loops) {
    conv_gradient_run(&conv->shape, conv->where.x_again, conv->where.dy, conv->where.weights_gradient,
                      conv->where.bias_gradient);
    return 0;
  }
  if (run->tiled) {
    run_tiled(conv, pass, conv->where.y);
    return 0;
  }
  dnnl_status_t status =
      dnnl_primitive_execute(run->primitive, conv->context->stream, run->argument_count, run->arguments);
  if (status == dnnl_success && pass == CONV_BACKWARD_WEIGHTS && run->reorder)
    status = dnnl_primitive_execute(run->reorder, conv->context->stream, 2, run->reorder_arguments);
  return dnnl_error(err, status, "a convolution");
}

int conv_run_again(struct conv *conv, struct guise_error *err) {
  struct conv_run *run = &conv->run[CONV_FORWARD];
  if (run->tiled) {
    run_tiled(conv, CONV_FORWARD, conv->where.y_again);
    return 0;
  }
  return dnnl_error(
      err, dnnl_primitive_execute(run->primitive, conv->context->stream, run->argument_count, conv->again),
      "a convolution");
}
