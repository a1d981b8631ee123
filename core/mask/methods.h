/* The rows of the table in mask.c, one file each. */
#pragma once

#include "core/mask/mask.h"

extern const struct mask_traits mask_none, mask_mixup, mask_ahm;
