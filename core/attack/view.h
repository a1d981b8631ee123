/* How a drawn picture is looked at: brought to the size that a network sees, mirrored, moved a little. A
 * linear map, bilinear, with its transpose. Internal to core/attack. */
#pragma once

#include "core/base/base.h"

#define VIEW_SIZE_MAX 448u /* as of core/freq */

struct view {
  bool mirrored;
  float right, down; /* in the picture's pixels; beyond its edges the edges go on */
};

/* picture: (3, side, side), planes: (3, size, size); side from 2 on, size up to VIEW_SIZE_MAX. */
void view_show(const struct view *view, const float *picture, uint32_t side, uint32_t size,
               float *ret_planes);
/* of_picture += the transpose of view_show applied to of_planes. */
void view_add_back(const struct view *view, const float *of_planes, uint32_t side, uint32_t size,
                   float *of_picture);
