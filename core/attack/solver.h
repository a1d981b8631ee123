/* Least squares for a linear mask: the picture of least norm whose template is nearest to a given one.
 * Internal to core/attack. */
#pragma once

#include "core/mask/mask.h"

/* Where solver_run() stops at the latest. Up-sampled transforms without their lowest coefficients are the
 * slowest to converge: their other coefficients are differences of neighbours, and 2.25 steps a pixel of the
 * side are needed, 504 at 224 pixels. */
#define SOLVER_STEPS_MAX 512u

/* Memory of one solving thread. */
struct solver {
  const struct mask *mask;
  size_t pixels, elements;                        /* 3 * size^2; C * G^2 */
  float *x, *residual, *direction, *image, *code; /* pixels each; code: elements */
  float *scratch;
  uint32_t layout;
  bool solved;                       /* the last run converged, or nothing was left that it could change */
  uint16_t index[MASK_CHANNELS_MAX]; /* of the layout, see mask_layout */
};

int solver_init(struct solver *solver, const struct mask *mask); /* 0 or -ENOMEM */
void solver_done(struct solver *solver);

/* template_: (C,G,G), as mask_template or a mix of such gives it; its layout is found first. The result,
 * planar YCbCr minus 128, is solver->x until the next call. Returns the iterations done. Deterministic. */
uint32_t solver_run(struct solver *solver, const float *template_);
