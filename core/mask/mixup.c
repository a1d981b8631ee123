/* MixUp (Zhang et al., ICLR 2018) in the frequency domain: two faces, lambda ~ Beta(.4, .4). The DCT is
 * linear and nothing is clipped, so this equals MixUp of pixels. */
#include "core/mask/methods.h"

const struct mask_row mask_mixup = {.traits = {.name = "mixup",
                                               .summary = "two faces mixed with Beta(.4,.4) weights",
                                               .keyable = true,
                                               .mixes = true,
                                               .has_strategy = false,
                                               .located = true,
                                               .selects = true,
                                               .default_drop_low = 0,
                                               .default_clip = 0}};
