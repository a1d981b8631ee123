#include "core/mask/transform.h"

#include "core/freq/dct.h"
#include "core/freq/upsampled.h"

struct mask_transform {
  uint32_t grid;
  struct block_dct *native; /* one of them */
  struct upsampled_dct *upsampled;
};

int mask_transform_new(enum mask_dct dct, uint32_t size, struct mask_transform **ret_transform,
                       struct guise_error *err) {
  struct mask_transform *transform = calloc(1, sizeof(*transform));
  if (!transform)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  transform->grid = dct == MASK_DCT_UPSAMPLED ? size : size / DCT_BLOCK;
  int r = dct == MASK_DCT_UPSAMPLED ? upsampled_dct_new(size, &transform->upsampled, err)
                                    : block_dct_new(size, &transform->native, err);
  if (r < 0) {
    mask_transform_free(transform);
    return r;
  }
  *ret_transform = transform;
  return 0;
}

struct mask_transform *mask_transform_free(struct mask_transform *transform) {
  if (transform) {
    block_dct_free(transform->native);
    upsampled_dct_free(transform->upsampled);
    free(transform);
  }
  return NULL;
}

uint32_t mask_transform_grid(const struct mask_transform *transform) {
  return transform->grid;
}

const struct upsampled_dct *mask_transform_upsampled(const struct mask_transform *transform) {
  return transform->upsampled;
}

void mask_transform_forward(const struct mask_transform *transform, const float *planar,
                            float *ret_coefficients) {
  if (transform->native)
    block_dct_forward(transform->native, planar, ret_coefficients);
  else
    upsampled_dct_forward(transform->upsampled, planar, ret_coefficients);
}

void mask_transform_adjoint(const struct mask_transform *transform, const float *coefficients,
                            float *ret_planar) {
  if (transform->native)
    block_dct_inverse(transform->native, coefficients, ret_planar);
  else
    upsampled_dct_adjoint(transform->upsampled, coefficients, ret_planar);
}

void mask_transform_inverse(const struct mask_transform *transform, const float *coefficients,
                            float *ret_planar) {
  if (transform->native)
    block_dct_inverse(transform->native, coefficients, ret_planar);
  else
    upsampled_dct_inverse(transform->upsampled, coefficients, ret_planar);
}
