/* An ONNX file under construction (https://onnx.ai, IR version 8, opset 17): nodes, constants, inputs and
 * outputs, on protobuf-c. Knows nothing of guise's networks.
 *
 * Errors stick: after memory ran out every call does nothing (and takes the NULL that others return), and
 * onnx_write says so. Names must be unique in the file; strings are copied. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"

#define ONNX_OPSET 17
#define ONNX_RANK_MAX 4

struct onnx_file;
struct onnx_node;

struct onnx_file *onnx_new(const char *graph_name, const char *description); /* NULL when out of memory */
struct onnx_file *onnx_free(struct onnx_file *file);
DEFINE_CLEANUP(struct onnx_file *, onnx_free)

/* Constants; return the name as the file holds it. `values` of floats are borrowed until onnx_write: the
 * caller's own, or onnx_memory(). */
const char *onnx_floats(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                        const float *values);
const char *onnx_integers(struct onnx_file *file, const char *name, uint32_t count, const int64_t *values);
/* Zeroed floats that live as long as the file; NULL when out of memory. */
float *onnx_memory(struct onnx_file *file, size_t count);

/* A node with one output; returns the output's name. The inputs end with NULL; "" stands for one that is left
 * out. */
const char *onnx_node(struct onnx_file *file, const char *operator_, const char *output,
                      struct onnx_node **ret_node, const char *const *inputs);
void onnx_integer_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, int64_t value);
void onnx_integers_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, uint32_t count,
                             const int64_t *values);
void onnx_float_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, float value);
void onnx_text_attribute(struct onnx_file *file, struct onnx_node *node, const char *name, const char *value);

/* Float tensors (N, shape...): the batch N is free. */
const char *onnx_input(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                       const char *description);
void onnx_output(struct onnx_file *file, const char *name, uint32_t rank, const int64_t *shape,
                 const char *description);
void onnx_metadata(struct onnx_file *file, const char *key, const char *value);

/* Writes the file `from` again as `to`, atomically, with another value of each of these metadata (an object;
 * members that are no strings are passed over): those of the same key are replaced, others added. Everything
 * else stays bit for bit. -EBADMSG: `from` is no ONNX file; -ENOENT, -EIO. */
int onnx_write_with_metadata(const char *from, const char *to, const json_t *metadata,
                             struct guise_error *err);

/* Writes atomically, without a second copy of the constants in memory. -EFBIG: protobuf's limit of 2 GiB. */
int onnx_write(struct onnx_file *file, const char *path, struct guise_error *err);
