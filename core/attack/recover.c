#include "core/attack/recover.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/freq/dct.h"
#include "core/metric/quality.h"

int recoverer_init(struct recoverer *recoverer, const struct mask *mask) {
  memset(recoverer, 0, sizeof(*recoverer));
  int r = solver_init(&recoverer->solver, mask);
  if (r < 0)
    return r;
  size_t pixels = recoverer->solver.pixels * sizeof(float);
  recoverer->original = tensor_alloc(pixels);
  recoverer->recovered = tensor_alloc(pixels);
  recoverer->a = tensor_alloc(pixels);
  recoverer->b = tensor_alloc(pixels);
  recoverer->rgb = tensor_alloc(recoverer->solver.pixels);
  return recoverer->original && recoverer->recovered && recoverer->a && recoverer->b && recoverer->rgb
             ? 0
             : -ENOMEM;
}

void recoverer_done(struct recoverer *recoverer) {
  solver_done(&recoverer->solver);
  tensor_free(recoverer->original);
  tensor_free(recoverer->recovered);
  tensor_free(recoverer->a);
  tensor_free(recoverer->b);
  tensor_free(recoverer->rgb);
  memset(recoverer, 0, sizeof(*recoverer));
}

uint32_t recover(struct recoverer *recoverer, const float *template_) {
  if (mask_is_linear(recoverer->solver.mask))
    return solver_run(&recoverer->solver, template_);
  mask_invert(recoverer->solver.mask, template_, recoverer->solver.scratch, recoverer->solver.x);
  recoverer->solver.solved = true;
  return 1;
}

void split_planes(const uint8_t *rgb, size_t area, float *ret_planes) {
  for (size_t i = 0; i < area; i++)
    for (size_t c = 0; c < 3; c++)
      ret_planes[c * area + i] = (float)rgb[3 * i + c];
}

void recover_render(struct recoverer *recoverer, const uint8_t *rgb) {
  uint32_t size = mask_size(recoverer->solver.mask);
  size_t area = (size_t)size * size;
  rgb_to_ycbcr(rgb, size, false, recoverer->original);
  for (uint32_t c = 0; c < 3; c++) {
    const float *x = recoverer->solver.x + c * area, *y = recoverer->original + c * area;
    double sum = 0;
    for (size_t i = 0; i < area; i++)
      sum += (double)y[i] - (double)x[i];
    for (size_t i = 0; i < area; i++)
      recoverer->recovered[c * area + i] = x[i] + (float)(sum / (double)area);
  }
  ycbcr_to_rgb(recoverer->recovered, size, recoverer->rgb);
}

struct likeness recover_compare(struct recoverer *recoverer, const uint8_t *rgb) {
  uint32_t size = mask_size(recoverer->solver.mask);
  recover_render(recoverer, rgb);
  split_planes(rgb, (size_t)size * size, recoverer->a);
  split_planes(recoverer->rgb, (size_t)size * size, recoverer->b);
  return (struct likeness){quality_ssim(recoverer->a, recoverer->b, 3, size),
                           quality_psnr(recoverer->a, recoverer->b, 3, size)};
}
