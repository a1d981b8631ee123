#include "core/nn/dnnl/context.h"

DEFINE_CLEANUP(struct dnnl_context *, dnnl_context_free)

int dnnl_error(struct guise_error *err, dnnl_status_t status, const char *what) {
  if (status == dnnl_success)
    return 0;
  if (status == dnnl_out_of_memory)
    return error_set(err, -ENOMEM, "out of memory in %s; use a smaller batch", what);
  return error_set(err, -EIO, "the kernel library (oneDNN) failed in %s, status %d", what, (int)status);
}

int dnnl_context_new(struct dnnl_context **ret_context, struct guise_error *err) {
  _cleanup_(dnnl_context_freep) struct dnnl_context *context = calloc(1, sizeof(*context));
  if (!context)
    return error_set(err, -ENOMEM, "out of memory");
  dnnl_status_t status = dnnl_engine_create(&context->engine, dnnl_cpu, 0);
  if (status == dnnl_success)
    status = dnnl_stream_create(&context->stream, context->engine, dnnl_stream_in_order);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_create(&context->attributes);
  if (status == dnnl_success)
    status = dnnl_primitive_attr_set_scratchpad_mode(context->attributes, dnnl_scratchpad_mode_user);
  if (status != dnnl_success)
    return dnnl_error(err, status, "starting");
  *ret_context = TAKE(context);
  return 0;
}

struct dnnl_context *dnnl_context_free(struct dnnl_context *context) {
  if (!context)
    return NULL;
  if (context->attributes)
    (void)dnnl_primitive_attr_destroy(context->attributes);
  if (context->stream)
    (void)dnnl_stream_destroy(context->stream);
  if (context->engine)
    (void)dnnl_engine_destroy(context->engine);
  free(context);
  return NULL;
}
