/* Which coefficients a mask keeps: all but `drop_low` of each colour, either the first of JPEG's zig-zag
 * order, or those whose gates the analysis network left lowest (core/train/analysis.h). */
#include <string.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

static const char *const names[MASK_SELECTS] = {"zigzag", "learnt"};

const char *mask_select_name(enum mask_select select) {
  return names[select];
}

int mask_select_from_name(const char *name, enum mask_select *ret_select) {
  for (int i = 0; i < MASK_SELECTS; i++)
    if (strcmp(names[i], name) == 0) {
      *ret_select = (enum mask_select)i;
      return 0;
    }
  return -ENOENT;
}

bool mask_learns(const struct mask_options *options) {
  return options->select == MASK_SELECT_LEARNT;
}

/* Sorts zig-zag ranks by rising gate; equal gates keep the order of their ranks. */
static void rank_by_gate(const float *gate, uint8_t ret_order[DCT_COEFFICIENTS]) {
  for (uint32_t rank = 0; rank < DCT_COEFFICIENTS; rank++) {
    const uint8_t coefficient = zigzag8[rank];
    uint32_t at = rank;
    for (; at > 0 && gate[ret_order[at - 1]] > gate[coefficient]; at--)
      ret_order[at] = ret_order[at - 1];
    ret_order[at] = coefficient;
  }
}

void mask_select_channels(const struct mask_options *options, const float *gates,
                          struct mask_constants *constants) {
  constants->channels = 0;
  for (uint32_t colour = 0; colour < 3; colour++) {
    uint8_t order[DCT_COEFFICIENTS];
    bool dropped[DCT_COEFFICIENTS] = {false};
    memcpy(order, zigzag8, sizeof(order));
    if (gates)
      rank_by_gate(gates + (size_t)colour * DCT_COEFFICIENTS, order);
    for (uint32_t i = 0; i < options->drop_low; i++)
      dropped[order[i]] = true;
    for (uint32_t i = 0; i < DCT_COEFFICIENTS; i++)
      if (!dropped[i])
        constants->channel[constants->channels++] = (uint16_t)(colour * DCT_COEFFICIENTS + i);
  }
}

int mask_check_learnt(const struct mask *mask, const struct mask_constants *constants,
                      struct guise_error *err) {
  struct mask_constants wanted = {.channels = 0};
  if (mask->options.select != MASK_SELECT_LEARNT)
    return 0;
  if (constants->learnt_count != DCT_CHANNELS)
    return error_set(err, -EINVAL, "the mask lacks the %d gates by which it chose its channels",
                     DCT_CHANNELS);
  mask_select_channels(&mask->options, constants->learnt, &wanted);
  if (wanted.channels != constants->channels ||
      memcmp(wanted.channel, constants->channel, wanted.channels * sizeof(*wanted.channel)) != 0)
    return error_set(err, -EINVAL, "the mask's channels are not those that its gates choose");
  return 0;
}

int mask_set_learnt(struct mask *mask, const float *learnt, uint32_t count, struct guise_error *err) {
  if (!mask_learns(&mask->options) || count != DCT_CHANNELS)
    return error_set(err, -EINVAL, "this mask cannot use %u learnt numbers", count);
  mask->constants.learnt_count = count;
  memcpy(mask->constants.learnt, learnt, count * sizeof(*learnt));
  mask_select_channels(&mask->options, learnt, &mask->constants);
  return 0;
}
