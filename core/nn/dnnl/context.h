/* Shared by core/nn/dnnl only. */
#pragma once

#include <dnnl.h>

#include "core/nn/dnnl/conv.h"

struct dnnl_context {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attributes; /* scratch memory is ours */
};

int dnnl_error(struct guise_error *err, dnnl_status_t status, const char *what);
