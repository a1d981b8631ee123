#include "core/attack/view.h"

#include <math.h>

/* Where a row or column of the planes comes from: between two neighbours of the picture. */
struct place {
  uint32_t at[VIEW_SIZE_MAX];
  float share[VIEW_SIZE_MAX]; /* of the second */
};

static void find_places(uint32_t side, uint32_t size, float shift, bool mirrored, struct place *ret_place) {
  for (uint32_t i = 0; i < size; i++) {
    const float middle = ((float)(mirrored ? size - 1 - i : i) + .5f) * (float)side / (float)size;
    const float from = fminf(fmaxf(middle - .5f - shift, 0), (float)(side - 1));
    const uint32_t at = MIN((uint32_t)from, side - 2);
    ret_place->at[i] = at;
    ret_place->share[i] = from - (float)at;
  }
}

void view_show(const struct view *view, const float *picture, uint32_t side, uint32_t size,
               float *ret_planes) {
  struct place column, row;
  find_places(side, size, view->right, view->mirrored, &column);
  find_places(side, size, view->down, false, &row);
  for (size_t plane = 0; plane < 3; plane++)
    for (uint32_t y = 0; y < size; y++) {
      const float *first = picture + (plane * side + row.at[y]) * side, *second = first + side;
      float *to = ret_planes + (plane * size + y) * size;
      for (uint32_t x = 0; x < size; x++) {
        const uint32_t at = column.at[x];
        const float share = column.share[x], above = (1 - share) * first[at] + share * first[at + 1],
                    below = (1 - share) * second[at] + share * second[at + 1];
        to[x] = (1 - row.share[y]) * above + row.share[y] * below;
      }
    }
}

void view_add_back(const struct view *view, const float *of_planes, uint32_t side, uint32_t size,
                   float *of_picture) {
  struct place column, row;
  find_places(side, size, view->right, view->mirrored, &column);
  find_places(side, size, view->down, false, &row);
  for (size_t plane = 0; plane < 3; plane++)
    for (uint32_t y = 0; y < size; y++) {
      float *first = of_picture + (plane * side + row.at[y]) * side, *second = first + side;
      const float *from = of_planes + (plane * size + y) * size;
      for (uint32_t x = 0; x < size; x++) {
        const uint32_t at = column.at[x];
        const float below = row.share[y] * from[x], above = from[x] - below, share = column.share[x];
        first[at] += (1 - share) * above;
        first[at + 1] += share * above;
        second[at] += (1 - share) * below;
        second[at + 1] += share * below;
      }
    }
}
