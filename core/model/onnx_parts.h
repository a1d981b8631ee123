/* What onnx.c puts together. Names are those in the file; they live as long as it. */
#pragma once

#include "core/model/model.h"
#include "core/model/onnx_builder.h"

/* onnx_mask.c: adds the input "image" and the mask, which is exportable; returns the template's name. */
const char *onnx_add_mask(struct onnx_file *file, const struct mask *mask);
/* Filters (channels,8,8) of the orthonormal block DCT, of the coefficients channel[i] % 64; their transposes
 * are those of the inverse. */
void onnx_dct_filters(uint32_t channels, const uint16_t *channel, float *ret_filters);

/* onnx_network.c: the layers from the graph's input, whose value is called `input`, to its output, whose name
 * (rank 2) is returned. -ENOTSUP with err naming the layer. */
int onnx_add_network(struct onnx_file *file, const struct graph *graph, const char *input,
                     const char **ret_output, struct guise_error *err);
