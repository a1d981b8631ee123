/* Regions of a face and how strongly each is hidden. Internal to core/mask. */
#pragma once

#include "core/mask/mask.h"

enum { REGION_EYES, REGION_NOSE, REGION_MOUTH, REGION_REST, REGIONS };

/* A row's parameters, in the order of the regions. */
#define REGIONAL_PARAMETERS                                                                         \
  {"eyes", "strength on eyes and brows, 0 nothing to 1 all", 0, 1, 0.75},                           \
      {"nose", "strength on the nose", 0, 1, 0.5}, {"mouth", "strength on the mouth", 0, 1, 0.5}, { \
    "rest", "strength everywhere else", 0, 1, 0.25                                                  \
  }

/* of_region (REGIONS) -> ret_strength (grid, grid), of each block of the frame. */
void regional_strengths(uint32_t grid, const double *of_region, float *ret_strength);
