/* The embedding network as ONNX (opset 17), for any runtime that reads it. The file gives the embeddings that
 * model_embed() gives (one view), up to roundings: tests/unit/model/onnx_test.c here, tests/bench/onnx in
 * ONNX Runtime.
 *
 * From the image: input "image" (N,3,H,W), RGB 0..255; colour, filter, block DCT, selection or sums of
 * coefficients, standardisation and clip are nodes of the graph. From the template: input "template"
 * (N,C,G,G), for clients that mask faces themselves. Output "embedding" (N,D), of length 1. The batch N is
 * free. Constants have the names of model.safetensors. Of a keyed model the first layer is in the key's
 * order, so that who has the file and knows the method has the key in effect. Metadata are those of that file
 * with "format" = "guise-onnx-1", "start" = "image" or "template", and the hash of the mask's constants. */
#pragma once

#include <jansson.h>

#include "core/model/model.h"

#define ONNX_FORMAT "guise-onnx-1"

enum onnx_start { ONNX_IMAGE, ONNX_TEMPLATE };

/* Writes atomically. The graph is a built one that arch_describe made for this mask, with info's options.
 * metadata: further strings for the file, or NULL. -ENOTSUP: a layer cannot be exported (err names it), or
 * ONNX_IMAGE was asked for with a mask that is not exportable (mask_traits). -EFBIG above 2 GiB. */
int model_save_onnx(const char *path, const struct graph *graph, const struct mask *mask,
                    const struct model_info *info, enum onnx_start start, const json_t *metadata,
                    struct guise_error *err);
