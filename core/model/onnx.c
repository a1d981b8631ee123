/* The file as a whole: mask or template at the start, the network, the normalisation, the metadata. */
#include "core/model/onnx.h"

#include <string.h>

#include "core/model/onnx_parts.h"

/* y = x / max(|x|, 1e-12): a row of zeros stays zero, as in embed_images(). */
static void normalise(struct onnx_file *file, const char *x, uint32_t embedding) {
  static const float least = 1e-12f;
  const int64_t axis[1] = {1}, shape[1] = {embedding};
  struct onnx_node *node;
  const char *length = onnx_node(file, "ReduceL2", "embedding.length", &node, (const char *const[]){x, NULL});
  onnx_integers_attribute(file, node, "axes", 1, axis);
  onnx_integer_attribute(file, node, "keepdims", 1);
  const char *bound = onnx_floats(file, "embedding.least_length", 0, NULL, &least);
  const char *divisor =
      onnx_node(file, "Max", "embedding.divisor", NULL, (const char *const[]){length, bound, NULL});
  (void)onnx_node(file, "Div", "embedding", NULL, (const char *const[]){x, divisor, NULL});
  onnx_output(file, "embedding", 1, shape, "length 1; the cosine of two is their dot product");
}

static const char *start_at_template(struct onnx_file *file, const struct mask *mask) {
  const int64_t grid = mask_grid(mask), shape[3] = {mask_channels(mask), grid, grid};
  return onnx_input(file, "template", 3, shape,
                    *mask_keyed_by(mask)
                        ? "selected, standardised and clipped block-DCT coefficients in the key's order"
                        : "selected, standardised and clipped block-DCT coefficients");
}

static void constants_hash(const struct mask_constants *constants, char ret_hex[SHA256_HEX]) {
  uint8_t bytes[MASK_CHANNELS_MAX * (sizeof(uint16_t) + 3 * sizeof(float))], *at = bytes;
  const size_t n = constants->channels;
  memcpy(at, constants->channel, n * sizeof(uint16_t));
  memcpy(at += n * sizeof(uint16_t), constants->mean, n * sizeof(float));
  memcpy(at += n * sizeof(float), constants->deviation, n * sizeof(float));
  memcpy(at += n * sizeof(float), constants->learnt, constants->learnt_count * sizeof(float));
  sha256_data(bytes, (size_t)(at - bytes) + constants->learnt_count * sizeof(float), ret_hex);
}

static void add_all(struct onnx_file *file, const json_t *metadata) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)metadata, key, value) {
    if (json_is_string(value))
      onnx_metadata(file, key, json_string_value(value));
  }
}

static int add_metadata(struct onnx_file *file, const struct model_info *info, enum onnx_start start,
                        const json_t *metadata) {
  char hash[SHA256_HEX];
  constants_hash(&info->constants, hash);
  json_t *all = model_metadata(info);
  int r = all ? 0 : -ENOMEM;
  r |= json_object_set_new(all, "format", json_string(ONNX_FORMAT));
  r |= json_object_set_new(all, "start", json_string(start == ONNX_IMAGE ? "image" : "template"));
  r |= json_object_set_new(all, "mask.channels", json_sprintf("%u", info->constants.channels));
  r |= json_object_set_new(all, "mask.constants_sha256", json_string(hash));
  if (r == 0)
    add_all(file, all);
  add_all(file, metadata);
  json_decref(all);
  return r == 0 ? 0 : -ENOMEM;
}

int model_save_onnx(const char *path, const struct graph *graph, const struct mask *mask,
                    const struct model_info *info, enum onnx_start start, const json_t *metadata,
                    struct guise_error *err) {
  if (start == ONNX_IMAGE && !mask_is_exportable(mask))
    return error_set(err, -ENOTSUP,
                     "a template of the mask %s %s: its model is exported from the template on",
                     mask_traits(mask_method(mask))->name, mask_not_exportable(mask));
  _cleanup_(onnx_freep) struct onnx_file *file =
      onnx_new("guise", start == ONNX_IMAGE ? "Face image to embedding; masks the face first."
                                            : "Masked template to embedding.");
  if (!file || add_metadata(file, info, start, metadata) < 0)
    return error_set(err, -ENOMEM, "out of memory writing %s", path);
  const char *x = start == ONNX_IMAGE ? onnx_add_mask(file, mask) : start_at_template(file, mask);
  int r = onnx_add_network(file, graph, x, &x, err);
  if (r < 0)
    return r;
  normalise(file, x, info->embedding);
  return onnx_write(file, path, err);
}
