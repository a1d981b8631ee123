/* No masking: all 192 block-DCT channels, unclipped, so that the template is the image in another basis. The
 * control of every measurement. drop_low may be given to study what the low band is worth. */
#include "core/mask/methods.h"

const struct mask_row mask_none = {.traits = {.name = "none",
                                              .summary = "no masking: the undefended control",
                                              .keyable = true,
                                              .mixes = false,
                                              .has_strategy = false,
                                              .located = true,
                                              .selects = true,
                                              .default_drop_low = 0,
                                              .default_clip = 0}};
