/* LDP-Slicing: the picture in 8-bit YCbCr, its coarse part removed (one-level Haar transform, LL := 0, back),
 * cut into 24 bit-planes; every bit goes through Warner's randomised response, and the bits make a picture
 * again. A pixel's budget is split over its bits by sqrt(w_c 2^(b-1)), b = 1..8 the bit's value, w = 4, 1, 1:
 * bits that weigh more are flipped less.
 *
 * epsilon is the budget of the 24 bits of one pixel of the high-pass picture. A pixel of the photograph
 * enters the four high-pass pixels of its 2x2 block, so its own guarantee is four times weaker.
 *
 * The chances of flips are public: where a byte is seen, the mean of what it may have been follows from them
 * and from how the pixels of high-pass pictures lie, which is public, too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/freq/dct.h"
#include "core/mask/methods.h"

#define BITS 8
#define BYTES 256

/* Mean magnitude of the high-pass pixels of Y, Cb and Cr, grey levels: between those of LFW's faces at 64
 * pixels (6.2, .77, .84) and at 112 (4.2, .43, .48). */
static const double spread[3] = {5, 0.6, 0.7};

struct response {
  uint32_t flip[3][BITS];   /* a bit is flipped when a word is below; [colour][bit], bit 0 the least */
  float expected[3][BYTES]; /* the mean pixel where this byte is seen */
};

/* Chance of this pattern of flips. */
static double chance(const uint32_t flip[BITS], uint32_t pattern) {
  double product = 1;
  for (uint32_t bit = 0; bit < BITS; bit++) {
    const double flipped = flip[bit] * 0x1p-32;
    product *= pattern >> bit & 1 ? flipped : 1 - flipped;
  }
  return product;
}

/* Of pixels that lie about 0 as a Laplace distribution does. */
static void expect(const uint32_t flip[BITS], double magnitude, float ret_expected[BYTES]) {
  double prior[BYTES], likelihood[BYTES];
  for (uint32_t byte = 0; byte < BYTES; byte++) {
    prior[byte] = exp(-fabs(byte - 128.0) / magnitude);
    likelihood[byte] = chance(flip, byte);
  }
  for (uint32_t seen = 0; seen < BYTES; seen++) {
    double weights = 0, sum = 0;
    for (uint32_t byte = 0; byte < BYTES; byte++) {
      const double weight = prior[byte] * likelihood[byte ^ seen];
      weights += weight;
      sum += weight * (byte - 128.0);
    }
    ret_expected[seen] = (float)(sum / weights);
  }
}

static int setup(struct mask *mask, struct guise_error *err) {
  static const double weight[3] = {4, 1, 1};
  double sum = 0;
  struct response *response = calloc(1, sizeof(*response));
  if (!response)
    return error_set(err, -ENOMEM, "out of memory making a mask");
  for (int c = 0; c < 3; c++)
    for (int bit = 0; bit < BITS; bit++)
      sum += sqrt(weight[c] * (1 << bit));
  for (int c = 0; c < 3; c++)
    for (int bit = 0; bit < BITS; bit++) {
      const double epsilon = mask->options.parameter[0] * sqrt(weight[c] * (1 << bit)) / sum;
      response->flip[c][bit] = (uint32_t)(0x1p32 / (1 + exp(epsilon)));
    }
  for (int c = 0; c < 3; c++)
    expect(response->flip[c], spread[c], response->expected[c]);
  mask->state = response;
  return 0;
}

/* Haar's LL holds the mean of each 2x2 block; what is left without it is the pixels minus that mean. */
static void filter(const struct mask *mask, float *planar, float *scratch) {
  const size_t size = mask->options.size;
  (void)scratch;
  for (size_t row = 0; row < 3 * size; row += 2)
    for (size_t x = 0; x < size; x += 2) {
      float *up = planar + row * size + x, *down = up + size;
      const float mean = (up[0] + up[1] + down[0] + down[1]) / 4;
      up[0] -= mean;
      up[1] -= mean;
      down[0] -= mean;
      down[1] -= mean;
    }
}

static uint32_t byte_of(float pixel) {
  return (uint32_t)lrintf(fminf(fmaxf(pixel + 128, 0), 255));
}

static void pixels(const struct mask *mask, struct rng *rng, float *planar, float *scratch) {
  const struct response *response = mask->state;
  const size_t area = (size_t)mask->options.size * mask->options.size;
  (void)scratch;
  for (size_t c = 0; c < 3; c++)
    for (size_t i = 0; i < area; i++) {
      float *value = &planar[c * area + i];
      uint32_t byte = byte_of(*value);
      for (uint32_t bit = 0; bit < BITS; bit++)
        byte ^= (uint32_t)(rng_u32(rng) < response->flip[c][bit]) << bit;
      *value = (float)byte - 128;
    }
}

/* The mean pixel of each byte, without what the filter takes away: of the four of a block it is known that
 * they add up to nothing. Where native coefficients were dropped the nearest bytes do; up-sampled ones take
 * most of every pixel with them, and there is no byte to see. */
static void denoise(const struct mask *mask, float *template_, float *scratch) {
  const struct response *response = mask->state;
  const size_t area = (size_t)mask->options.size * mask->options.size, n = mask_cells(mask);
  float *planar = scratch, *coefficients = scratch + mask_pixels(mask);
  if (mask->options.dct == MASK_DCT_UPSAMPLED && mask->options.drop_low > 0)
    return;
  mask_spread(mask, 0, template_, false, NULL, coefficients);
  mask_transform_inverse(mask->transform, coefficients, planar);
  for (size_t c = 0; c < 3; c++)
    for (size_t i = c * area; i < (c + 1) * area; i++)
      planar[i] = response->expected[c][byte_of(planar[i])];
  filter(mask, planar, NULL);
  mask_transform_forward(mask->transform, planar, coefficients);
  for (uint32_t c = 0; c < mask->channels; c++)
    mask_standardise(mask, c, coefficients + mask->constants.channel[c] * n, template_ + c * n);
}

static bool guarantee(const struct mask_options *options, const struct mask_constants *constants,
                      const float *weights, struct mask_guarantee *ret_guarantee) {
  const double epsilon = options->parameter[0];
  (void)constants;
  (void)weights;
  *ret_guarantee = (struct mask_guarantee){.epsilon = epsilon};
  (void)snprintf(ret_guarantee->unit, sizeof(ret_guarantee->unit), "one pixel of the high-pass picture");
  (void)snprintf(
      ret_guarantee->text, sizeof(ret_guarantee->text),
      "%.4g-local differential privacy of one pixel (24 bits) of the high-pass picture, %.4g of one pixel of "
      "the photograph, which four of them hold, given secret draws; those of this job came from its seed. "
      "All "
      "pixels of a picture together: epsilon %.4g, which promises nothing for a face",
      epsilon, 4 * epsilon, epsilon * options->size * options->size);
  return true;
}

static const struct mask_parameter parameters[] = {
    {"epsilon", "budget of the 24 bits of a pixel", 0.0078125, 1024, 20}};

const struct mask_row mask_ldp_slicing = {
    .traits = {.name = "ldp_slicing",
               .summary = "coarse part removed, randomised response on every bit of the pixels",
               .random = true,
               .located = true,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .setup = setup,
    .release = free,
    .filter = filter,
    .pixels = pixels,
    .denoise = denoise,
    .guarantee = guarantee};
