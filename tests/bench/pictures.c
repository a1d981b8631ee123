/* guise-bench pictures: what each masking method leaves of a drawn face. A file METHOD.png a method, four
 * pictures side by side: the energy of its template (native), the best public inverse of the native and of
 * the up-sampled template as they are in use, and of a native training template of methods that mix; white
 * where there is none. face.png is the face itself. The inverse is least squares where the mask is linear,
 * else the method's own. Methods that have to be trained first are drawn with the weights of a model whose
 * mask learnt likewise (generative and hybrid hold the same generator), of the same size, and left out
 * without one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/attack/solver.h"
#include "core/base/file.h"
#include "core/freq/dct.h"
#include "core/image/synth.h"
#include "core/mask/mixing.h"
#include "core/model/model.h"
#include "core/model/png.h"
#include "tests/bench/bench.h"

enum { FITTED = 120, SEED = 4, SIZE_DEFAULT = 64, K_DEFAULT = 4 };
enum picture { ENERGY, NATIVE, UPSAMPLED, MIXED, PICTURES };

struct sheet {
  uint32_t size;
  const char *directory;
  uint8_t *strip;                      /* (size, PICTURES * size, 3) */
  uint8_t *faces;                      /* (FITTED, size, size, 3) */
  struct model *trained[MASK_WEIGHTS]; /* by what its mask learnt; NULL = none was given */
};

static const uint8_t *face(void *context, uint32_t i) {
  const struct sheet *sheet = context;
  return sheet->faces + (size_t)i * 3 * sheet->size * sheet->size;
}

static void put(const struct sheet *sheet, enum picture which, const uint8_t *rgb) {
  const size_t line = (size_t)3 * sheet->size;
  for (size_t y = 0; y < sheet->size; y++)
    memcpy(sheet->strip + (y * PICTURES + which) * line, rgb + y * line, line);
}

static int write_png(const struct sheet *sheet, const char *name, const uint8_t *rgb, uint32_t width,
                     struct guise_error *err) {
  char path[4096];
  void *png = NULL;
  size_t bytes = 0;
  int r = png_encode(rgb, width, sheet->size, &png, &bytes);
  if (r < 0)
    return error_set(err, r, "cannot encode the picture of %s", name);
  (void)snprintf(path, sizeof(path), "%s/%s.png", sheet->directory, name);
  r = file_write_atomic(path, png, bytes, err);
  free(png);
  return r;
}

/* template_ := of the shown face alone or, in training, mixed with the next k - 1. */
static void make_template(const struct sheet *sheet, const struct mask *mask, uint32_t k, float *scratch,
                          float *part, float *template_) {
  const struct mask_traits *traits = mask_traits(mask_method(mask));
  float lambda[MIX_MAX];
  struct rng rng;
  rng_init(&rng, SEED, RNG_MIX, 0, 0);
  if (k > 1 && !traits->chooses_k)
    mix_draw_beta(&rng, 0.4f, lambda);
  else
    mix_draw_lambdas(&rng, k, lambda);
  memset(template_, 0, mask_elements(mask) * sizeof(float));
  for (uint32_t j = 0; j < k; j++) {
    mask_rng_inference(&rng, j);
    mask_template(mask, face((void *)sheet, 2 * j), false, &rng, scratch, part);
    for (size_t i = 0; i < mask_elements(mask); i++)
      template_[i] += lambda[j] * part[i];
  }
  rng_init(&rng, SEED, RNG_AFTER_MIX, 0, 0);
  mask_after_mix(mask, &rng, scratch, template_);
}

/* Root of the mean square of each cell's channels, white where it is largest. */
static void draw_energy(const struct mask *mask, const float *template_, uint32_t size, uint8_t *ret_rgb) {
  const size_t grid = mask_grid(mask), cells = grid * grid, elements = mask_elements(mask);
  double energy[cells], largest = 0;
  memset(energy, 0, sizeof(energy));
  for (size_t i = 0; i < elements; i++)
    energy[i % cells] += (double)(template_[i] * template_[i]);
  for (size_t i = 0; i < cells; i++)
    largest = fmax(largest, energy[i]);
  for (size_t i = 0; i < (size_t)size * size; i++) {
    const size_t cell = i / size * grid / size * grid + i % size * grid / size;
    memset(ret_rgb + 3 * i, largest > 0 ? (int)lrint(255 * sqrt(energy[cell] / largest)) : 0, 3);
  }
}

static bool is_drawn(const struct sheet *sheet, enum mask_method method, enum mask_dct dct) {
  struct mask_options options = mask_options_default(method, sheet->size);
  options.dct = dct;
  return mask_check_options(&options, NULL) == 0 &&
         (mask_weight_count(&options) == 0 || sheet->trained[mask_traits(method)->weights]);
}

static int read_models(struct sheet *sheet, int count, char **paths, struct guise_error *err) {
  for (int i = 0; i < count; i++) {
    struct model *model = NULL;
    int r = model_load(paths[i], 1, 1, &model, err);
    if (r < 0)
      return r;
    struct model **place = &sheet->trained[mask_traits(model->info.mask.method)->weights];
    model_free(*place);
    *place = model;
    if (!model->info.weights || model->info.input != sheet->size)
      return error_set(err, -EINVAL, "%s has no weights of a mask for %u pixels", paths[i], sheet->size);
  }
  return 0;
}

/* The method's own options with the weights of its model, fitted on the drawn faces. */
static int make_mask(const struct sheet *sheet, enum mask_method method, enum mask_dct dct,
                     struct mask **ret_mask, struct guise_error *err) {
  struct mask_options options = mask_options_default(method, sheet->size);
  options.dct = dct;
  options.select = MASK_SELECT_ZIGZAG; /* nothing was learnt */
  options.seed = SEED;
  int r = mask_new(&options, ret_mask, err);
  if (r == 0 && mask_weight_count(&options) > 0)
    r = mask_set_weights(*ret_mask, sheet->trained[mask_traits(method)->weights]->info.weights,
                         mask_weight_count(&options), err);
  return r < 0 ? r : mask_fit(*ret_mask, face, (void *)sheet, FITTED, err);
}

static int draw_transform(const struct sheet *sheet, enum mask_method method, enum mask_dct dct,
                          struct guise_error *err) {
  const struct mask_traits *traits = mask_traits(method);
  struct mask *mask = NULL;
  struct solver solver;
  uint8_t *rgb = malloc((size_t)3 * sheet->size * sheet->size);
  int r = make_mask(sheet, method, dct, &mask, err);
  if (r < 0 || !rgb || solver_init(&solver, mask) < 0) {
    mask_free(mask);
    free(rgb);
    return r < 0 ? r : error_set(err, -ENOMEM, "out of memory");
  }
  float *template_ = malloc(2 * mask_elements(mask) * sizeof(float)), *part = template_ + mask_elements(mask);
  const uint32_t mixed = traits->default_k ? traits->default_k : traits->chooses_k ? K_DEFAULT : 2;
  const uint32_t last = traits->mixes && dct == MASK_DCT_NATIVE ? 2 : 1;
  for (uint32_t i = 0; i < last && template_; i++) {
    make_template(sheet, mask, i ? mixed : 1, solver.scratch, part, template_);
    if (mask_is_linear(mask))
      (void)solver_run(&solver, template_);
    else
      mask_invert(mask, template_, solver.scratch, solver.x);
    ycbcr_to_rgb(solver.x, sheet->size, rgb);
    put(sheet, i ? MIXED : dct == MASK_DCT_NATIVE ? NATIVE : UPSAMPLED, rgb);
    if (i == 0 && dct == MASK_DCT_NATIVE) {
      draw_energy(mask, template_, sheet->size, rgb);
      put(sheet, ENERGY, rgb);
    }
  }
  if (!template_)
    r = error_set(err, -ENOMEM, "out of memory");
  free(template_);
  solver_done(&solver);
  mask_free(mask);
  free(rgb);
  return r;
}

static int draw_method(const struct sheet *sheet, enum mask_method method, struct guise_error *err) {
  int r = 0;
  if (!is_drawn(sheet, method, MASK_DCT_NATIVE))
    return 0;
  memset(sheet->strip, 255, (size_t)3 * PICTURES * sheet->size * sheet->size);
  for (int dct = 0; dct < MASK_DCTS && r == 0; dct++)
    if (is_drawn(sheet, method, (enum mask_dct)dct))
      r = draw_transform(sheet, method, (enum mask_dct)dct, err);
  return r < 0 ? r : write_png(sheet, mask_traits(method)->name, sheet->strip, PICTURES * sheet->size, err);
}

int bench_pictures(int argc, char **argv) {
  struct guise_error err = {0};
  struct sheet sheet = {.size = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : SIZE_DEFAULT,
                        .directory = argc > 0 ? argv[0] : NULL};
  if (argc < 1 || sheet.size < 32 || sheet.size > 224 || sheet.size % 8) {
    (void)fprintf(
        stderr, "usage: guise-bench pictures DIRECTORY [SIZE, a multiple of 8 from 32 to 224 [MODEL...]]\n");
    return 2;
  }
  const size_t pixels = (size_t)3 * sheet.size * sheet.size;
  int r = read_models(&sheet, argc - 2, argv + 2, &err);
  sheet.strip = malloc(PICTURES * pixels);
  sheet.faces = malloc(FITTED * pixels);
  if (r == 0 && !(sheet.strip && sheet.faces))
    r = error_set(&err, -ENOMEM, "out of memory");
  for (uint32_t i = 0; i < FITTED && r == 0; i++)
    synth_face(SEED, i / 2, i % 2, sheet.size, sheet.faces + i * pixels);
  if (r == 0)
    r = write_png(&sheet, "face", sheet.faces, sheet.size, &err);
  for (int method = 0; method < MASK_METHODS && r == 0; method++)
    r = draw_method(&sheet, (enum mask_method)method, &err);
  if (r < 0)
    (void)fprintf(stderr, "%s\n", err.text);
  for (int kind = 0; kind < MASK_WEIGHTS; kind++)
    model_free(sheet.trained[kind]);
  free(sheet.strip);
  free(sheet.faces);
  return r < 0;
}
