/* The order and signs of a template's channels that a key gives, and the constants at their places. */
#include <string.h>

#include "core/mask/key.h"
#include "core/mask/methods.h"

void mask_place_constants(struct mask *mask) {
  mask->placed = mask->constants;
  for (uint32_t c = 0; mask->ordered && c < mask->channels; c++) {
    const uint16_t from = mask->order.channel[c];
    mask->placed.channel[c] = mask->constants.channel[from];
    mask->placed.mean[c] = mask->constants.mean[from];
    mask->placed.deviation[c] = mask_sign(mask, c) * mask->constants.deviation[from];
  }
}

static bool is_permutation(const struct mask_order *order, uint32_t channels) {
  bool seen[MASK_CHANNELS_MAX] = {false};
  for (uint32_t c = 0; c < channels; c++) {
    if (order->channel[c] >= channels || seen[order->channel[c]])
      return false;
    seen[order->channel[c]] = true;
  }
  return true;
}

int mask_set_order(struct mask *mask, const struct mask_order *order, struct guise_error *err) {
  if (order && !mask->row->traits.keyable)
    return error_set(err, -EINVAL,
                     "the mask %s cannot have a key: a template is more than a linear function of the face",
                     mask->row->traits.name);
  if (order && mask->decoys)
    return error_set(err, -EINVAL, "a mask has decoys or a key: templates of decoys would give the key away");
  if (order && !is_permutation(order, mask->channels))
    return error_set(err, -EINVAL, "the order of the channels is no permutation");
  mask->ordered = order != NULL;
  memset(mask->key_id, 0, sizeof(mask->key_id));
  if (order)
    mask->order = *order;
  mask_place_constants(mask);
  return 0;
}

int mask_set_key(struct mask *mask, const struct mask_key *key, struct guise_error *err) {
  struct mask_order order;
  if (key)
    mask_key_order(key, mask->channels, &order);
  int r = mask_set_order(mask, key ? &order : NULL, err);
  if (r == 0 && key)
    mask_key_id(key, mask->key_id);
  return r;
}

const struct mask_order *mask_order(const struct mask *mask) {
  return mask->ordered ? &mask->order : NULL;
}
const char *mask_keyed_by(const struct mask *mask) {
  return mask->key_id;
}
const struct mask_constants *mask_placed_constants(const struct mask *mask) {
  return &mask->placed;
}
