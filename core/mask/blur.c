/* Gaussian blur of the pixels, then all coefficients: the control that everybody knows. It looks like
 * protection and is a linear, nearly invertible map: the linear attack takes most of it back.
 *
 * The picture is continued by its mirror image, border pixel repeated: with a symmetric kernel this is a
 * symmetric matrix (the DCT-II diagonalises it), so that the filter is its own transpose. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mask/methods.h"

#define SIGMA_MAX 16
#define REACH 4 /* deviations of the kernel that are kept: e^-8 */
#define RADIUS_MAX (REACH * SIGMA_MAX)
#define SIZE_MAX_PIXELS 448 /* of the transforms */

struct kernel {
  int radius;
  float tap[2 * RADIUS_MAX + 1]; /* sum 1 */
};

static int setup(struct mask *mask, struct guise_error *err) {
  struct kernel *kernel = calloc(1, sizeof(*kernel));
  if (!kernel)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  const double sigma = mask->options.parameter[0];
  double sum = 0;
  kernel->radius = (int)ceil(REACH * sigma);
  for (int i = -kernel->radius; i <= kernel->radius; i++)
    sum += exp(-i * i / (2 * sigma * sigma));
  for (int i = -kernel->radius; i <= kernel->radius; i++)
    kernel->tap[i + kernel->radius] = (float)(exp(-i * i / (2 * sigma * sigma)) / sum);
  mask->state = kernel;
  return 0;
}

static int mirrored(int i, int size) {
  i %= 2 * size;
  if (i < 0)
    i += 2 * size;
  return i < size ? i : 2 * size - 1 - i;
}

static void blur_row(const struct kernel *kernel, const float *from, int size, float *to) {
  float continued[SIZE_MAX_PIXELS + 2 * RADIUS_MAX];
  for (int x = -kernel->radius; x < size + kernel->radius; x++)
    continued[x + kernel->radius] = from[mirrored(x, size)];
  for (int x = 0; x < size; x++)
    to[x] = 0;
  for (int t = 0; t <= 2 * kernel->radius; t++)
    for (int x = 0; x < size; x++)
      to[x] += kernel->tap[t] * continued[x + t];
}

static void blur_columns(const struct kernel *kernel, const float *plane, int size, float *ret_plane) {
  for (int y = 0; y < size; y++) {
    float *restrict to = ret_plane + (ptrdiff_t)y * size;
    for (int x = 0; x < size; x++)
      to[x] = 0;
    for (int t = -kernel->radius; t <= kernel->radius; t++) {
      const float *restrict from = plane + (ptrdiff_t)mirrored(y + t, size) * size;
      const float tap = kernel->tap[t + kernel->radius];
      for (int x = 0; x < size; x++)
        to[x] += tap * from[x];
    }
  }
}

static void filter(const struct mask *mask, float *planar, float *scratch) {
  const struct kernel *kernel = mask->state;
  const int size = (int)mask->options.size;
  const size_t plane = (size_t)size * (size_t)size;
  for (int row = 0; row < 3 * size; row++)
    blur_row(kernel, planar + (ptrdiff_t)row * size, size, scratch + (ptrdiff_t)row * size);
  for (size_t c = 0; c < 3; c++)
    blur_columns(kernel, scratch + c * plane, size, planar + c * plane);
}

/* Row y: the shares of the pixels of a line in its pixel y. */
static void filter_matrix(const struct mask *mask, float *ret_matrix) {
  const struct kernel *kernel = mask->state;
  const int size = (int)mask->options.size;
  memset(ret_matrix, 0, (size_t)size * (size_t)size * sizeof(float));
  for (int y = 0; y < size; y++)
    for (int t = -kernel->radius; t <= kernel->radius; t++)
      ret_matrix[(ptrdiff_t)y * size + mirrored(y + t, size)] += kernel->tap[t + kernel->radius];
}

static const struct mask_parameter parameters[] = {
    {"sigma", "deviation of the Gaussian, pixels", 0.25, SIGMA_MAX, 2}};

const struct mask_row mask_blur = {
    .traits = {.name = "blur",
               .summary = "Gaussian blur of the pixels: a control that only looks like protection",
               .keyable = true,
               .located = true,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .setup = setup,
    .release = free,
    .filter = filter,
    .filter_matrix = filter_matrix};
