/* The picture behind a template, by least squares or the mask's own inverse, and how like a face it is.
 * Internal to core/attack. */
#pragma once

#include "core/attack/solver.h"

/* From here on we say that a face leaks: structure well beyond what another person's face shares with it. The
 * tenth of people that fare worst is held against the tenth with the highest chance, since the highest of
 * many values is high by luck too. */
#define LEAK_SSIM 0.30
#define LEAK_ABOVE_CHANCE 0.05
/* What the control must reach: nothing but rounding is lost without a mask. */
#define CONTROL_PSNR 40.0
#define CONTROL_SSIM 0.99

/* (area, 3) bytes -> (3, area) floats */
void split_planes(const uint8_t *rgb, size_t area, float *ret_planes);

struct likeness {
  double ssim, psnr;
};

/* One attacking thread. */
struct recoverer {
  struct solver solver;
  float *original, *recovered; /* planar YCbCr */
  float *a, *b;                /* planar RGB, 0..255 */
  uint8_t *rgb;                /* (size,size,3) of the last picture that was rendered */
};

int recoverer_init(struct recoverer *recoverer, const struct mask *mask); /* 0 or -ENOMEM; then done is due */
void recoverer_done(struct recoverer *recoverer);

/* recoverer->solver.x := the face behind a template; returns the iterations. */
uint32_t recover(struct recoverer *recoverer, const float *template_);
/* recoverer->rgb := solver.x with the constant of each colour that suits `rgb` best: masks may hide it. */
void recover_render(struct recoverer *recoverer, const uint8_t *rgb);
struct likeness recover_compare(struct recoverer *recoverer, const uint8_t *rgb);
