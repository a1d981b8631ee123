/* Two branches meet in the reconstructor: convolutions on the grid of blocks, enlarged by transposed
 * convolutions, and the linear inverse of the mask, which has the detail at its place from the first step. */
#include "core/train/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/pack.h"
#include "core/metric/quality.h"
#include "core/model/model.h"

#define BLOCK 8u /* pixels of a side of a DCT block */
#define WIDTH_GRID 64u
#define WIDTH_UP 32u
#define WIDTH_LEAST 16u
#define SLOPE 0.2f
#define GREY 64.0f /* the network's unit in grey levels, about the deviation of a face's pixels */
#define SEED_PROBE 0x70726f6265u /* apart from the recognition network's weights */

static const struct adam_options adam = {.rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};

struct probe {
  const struct mask *mask;
  struct probe_options options;
  uint32_t target, picture; /* pixels a side: of the reconstruction, of what is compared */
  double steps;             /* of Adam */
  struct graph *graph;
  struct model *embedder;  /* NULL: SSIM */
  uint8_t *small;          /* (batch, target, target, 3) */
  struct gallery *gallery; /* with an embedder */
  uint8_t *pictures;       /* (mixes + faces, picture, picture, 3); with an embedder (mixes, ...) */
  const uint8_t **list;    /* pictures that are compared: mixes, then, without an embedder, their faces */
  uint32_t *place;         /* (faces) where a member stands in list; UINT32_MAX: no mix names it */
  float *features;         /* of list: embeddings, or luminances (picture, picture) */
};

uint32_t probe_target(uint32_t size) {
  uint32_t factor = BLOCK;
  while (factor > 1 && size / BLOCK * factor > PROBE_TARGET_MAX)
    factor /= 2;
  return size / BLOCK * factor;
}

uint32_t probe_embedder_input(uint32_t size) {
  return MAX(probe_target(size) / BLOCK * BLOCK, 40u);
}

/* ---- the reconstructor ---- */

static int convolution(struct graph *graph, int x, const char *name, uint32_t channels) {
  return graph_conv(
      graph, x, name,
      &(struct conv_options){.out_channels = channels, .kernel = 3, .stride = 1, .padding = 1, .bias = true});
}

static int shrink(struct graph *graph, int x, uint32_t from, uint32_t to) {
  return from > to ? graph_average_pool(graph, x, from / to, from / to, 0) : x;
}

/* The template's detail at the size of the target: as pixels where the mask can be undone, as channels where
 * there is one block a pixel, else nowhere (-1). */
static int detail(struct graph *graph, int input, const struct probe *probe) {
  const struct mask *mask = probe->mask;
  const struct arch_options first = arch_options_for(mask, 0, 0, 0); /* how the recogniser begins */
  const uint32_t grid = mask_grid(mask), side = first.inverse ? grid * BLOCK : grid;
  if (side < probe->target)
    return -1;
  int x =
      shrink(graph, first.inverse ? graph_block_idct(graph, input, &first.mask) : input, side, probe->target);
  return first.inverse ? x
                       : graph_conv(graph, x, "detail",
                                    &(struct conv_options){
                                        .out_channels = WIDTH_LEAST, .kernel = 1, .stride = 1, .bias = true});
}

static int describe(struct graph *graph, const struct probe *probe) {
  const uint32_t grid = mask_grid(probe->mask), cells = mask_size(probe->mask) / BLOCK;
  uint32_t width = WIDTH_UP;
  const int input = graph_input(graph, mask_channels(probe->mask), grid, grid);
  int x = shrink(graph, input, grid, cells);
  x = graph_leaky_relu(graph, convolution(graph, x, "grid.0", WIDTH_GRID), SLOPE);
  x = graph_leaky_relu(graph, convolution(graph, x, "grid.1", WIDTH_GRID), SLOPE);
  for (uint32_t side = cells, level = 0; side < probe->target; side *= 2, level++) {
    char name[16];
    (void)snprintf(name, sizeof(name), "up.%u", level);
    x = graph_conv_transpose(
        graph, x, name,
        &(struct conv_options){.out_channels = width, .kernel = 4, .stride = 2, .padding = 1, .bias = true});
    x = graph_leaky_relu(graph, x, SLOPE);
    width = MAX(width / 2, WIDTH_LEAST);
  }
  const int seen = detail(graph, input, probe);
  if (seen >= 0)
    x = graph_concat(graph, x, seen);
  x = graph_leaky_relu(graph, convolution(graph, x, "pixels.0", WIDTH_LEAST), SLOPE);
  return graph_output(graph, convolution(graph, x, "pixels.1", 3));
}

static int make_graph(struct probe *probe, struct guise_error *err) {
  const struct graph_config config = {.batch = probe->options.batch,
                                      .threads = probe->options.threads,
                                      .training = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = probe->options.seed ^ SEED_PROBE};
  int r = graph_new(&config, &probe->graph, err);
  if (r < 0)
    return r;
  (void)describe(probe->graph, probe); /* errors stay with the graph */
  return graph_build(probe->graph, err);
}

static int make_buffers(struct probe *probe, struct guise_error *err) {
  const struct probe_options *o = &probe->options;
  const size_t all = (size_t)o->mixes + (probe->embedder ? 0 : o->faces), side = probe->picture,
               feature = probe->embedder ? probe->embedder->info.embedding : side * side;
  probe->small = tensor_alloc((size_t)o->batch * probe->target * probe->target * 3);
  probe->pictures = tensor_alloc(all * side * side * 3);
  probe->list = calloc(all, sizeof(*probe->list));
  probe->place = calloc(o->faces, sizeof(*probe->place));
  probe->features = tensor_alloc(all * feature * sizeof(float));
  if (!probe->small || !probe->pictures || !probe->list || !probe->place || !probe->features)
    return error_set(err, -ENOMEM, "out of memory for the probe of a batch of %u", o->faces);
  return 0;
}

int probe_new(const struct mask *mask, const struct probe_options *options, struct probe **ret_probe,
              struct guise_error *err) {
  struct probe *probe = calloc(1, sizeof(*probe));
  if (!probe)
    return error_set(err, -ENOMEM, "out of memory for the probe");
  probe->mask = mask;
  probe->options = *options;
  probe->options.embedder = NULL; /* the caller's */
  probe->options.people = NULL;
  probe->target = probe->picture = probe_target(mask_size(mask));
  int r = make_graph(probe, err);
  if (r == 0 && options->embedder)
    r = model_load(options->embedder, options->batch, options->threads, &probe->embedder, err);
  if (r == 0 && probe->embedder) {
    probe->picture = probe->embedder->info.input;
    r = gallery_new(probe->embedder, options->people, &probe->gallery, err);
  }
  if (r == 0)
    r = make_buffers(probe, err);
  if (r < 0) {
    probe_free(probe);
    return r;
  }
  *ret_probe = probe;
  return 0;
}

struct probe *probe_free(struct probe *probe) {
  if (!probe)
    return NULL;
  graph_free(probe->graph);
  model_free(probe->embedder);
  gallery_free(probe->gallery);
  tensor_free(probe->small);
  tensor_free(probe->pictures);
  tensor_free(probe->features);
  free(probe->list);
  free(probe->place);
  free(probe);
  return NULL;
}

float *probe_input(struct probe *probe) {
  return graph_input_data(probe->graph);
}

/* Gradient of the mean absolute error of one image; returns its sum of absolute errors. rgb: (pixels, 3). */
static double compare(const float *output, const uint8_t *rgb, size_t pixels, float unit, float *gradient) {
  double sum = 0;
  for (size_t plane = 0; plane < 3; plane++)
    for (size_t i = 0; i < pixels; i++) {
      const size_t at = plane * pixels + i;
      const float difference = output[at] - ((float)rgb[3 * i + plane] - 128) / GREY;
      gradient[at] = difference > 0 ? unit : difference < 0 ? -unit : 0;
      sum += (double)fabsf(difference);
    }
  return sum;
}

int probe_step(struct probe *probe, const uint8_t *const *targets, double *ret_error,
               struct guise_error *err) {
  const uint32_t batch = probe->options.batch, size = mask_size(probe->mask);
  const size_t pixels = (size_t)probe->target * probe->target;
  double sums[batch], sum = 0;
  int r = graph_forward(probe->graph, GRAPH_TRAIN, (uint64_t)probe->steps, err);
  if (r < 0)
    return r;
  const float *output = graph_output_data(probe->graph);
  float *gradient = graph_output_gradient(probe->graph);
  const float unit = 1 / (float)(batch * 3 * pixels);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < batch; i++) {
    uint8_t *rgb = probe->small + i * pixels * 3;
    image_resize(targets[i], size, size, rgb, probe->target);
    sums[i] = compare(output + i * pixels * 3, rgb, pixels, unit, gradient + i * pixels * 3);
  }
  for (uint32_t i = 0; i < batch; i++)
    sum += sums[i];
  r = graph_backward(probe->graph, err);
  if (r == 0)
    r = graph_adam(probe->graph, &adam, (uint64_t)++probe->steps, err);
  if (r == 0)
    *ret_error = sum * (double)GREY / ((double)batch * 3 * (double)pixels);
  return r;
}

/* ---- the leak ---- */

static uint8_t *picture(const struct probe *probe, uint32_t i) {
  return probe->pictures + (size_t)i * probe->picture * probe->picture * 3;
}

static void to_bytes(const float *output, size_t pixels, uint8_t *ret_rgb) {
  for (size_t plane = 0; plane < 3; plane++)
    for (size_t i = 0; i < pixels; i++)
      ret_rgb[3 * i + plane] = (uint8_t)lrintf(fminf(fmaxf(output[plane * pixels + i] * GREY + 128, 0), 255));
}

/* Fills pictures [0, count). */
static int reconstruct(struct probe *probe, const float *mixed, uint32_t count, struct guise_error *err) {
  const size_t elements = mask_elements(probe->mask), pixels = (size_t)probe->target * probe->target;
  const uint32_t batch = probe->options.batch;
  for (uint32_t first = 0; first < count; first += batch) {
    const uint32_t used = MIN(batch, count - first);
    float *input = graph_input_data(probe->graph);
    memcpy(input, mixed + first * elements, used * elements * sizeof(float));
    for (uint32_t i = used; i < batch; i++) /* whatever stands there is finite: no need, but repeatable */
      memcpy(input + i * elements, input, elements * sizeof(float));
    int r = graph_forward(probe->graph, GRAPH_EVAL, 0, err);
    if (r < 0)
      return r;
    const float *output = graph_output_data(probe->graph);
#pragma omp parallel for schedule(static)
    for (uint32_t i = 0; i < used; i++) {
      uint8_t *rgb = probe->small + i * pixels * 3;
      to_bytes(output + i * pixels * 3, pixels, rgb);
      image_resize(rgb, probe->target, probe->target, picture(probe, first + i), probe->picture);
    }
  }
  return 0;
}

/* Pictures of the members that the mixes name, behind the reconstructions; returns how many pictures there
 * are. */
static uint32_t place_faces(struct probe *probe, const struct mix *mixes, uint32_t count,
                            const uint8_t *const *faces) {
  const uint32_t size = mask_size(probe->mask);
  uint32_t all = count;
  uint32_t member[probe->options.faces];
  memset(probe->place, 0xff, probe->options.faces * sizeof(*probe->place));
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = 0; j < mixes[i].k; j++) {
      const uint32_t face = mixes[i].member[j];
      if (face >= probe->options.faces || probe->place[face] != UINT32_MAX)
        continue;
      probe->place[face] = all;
      member[all++ - count] = face;
    }
#pragma omp parallel for schedule(static)
  for (uint32_t i = count; i < all; i++)
    image_resize(faces[member[i - count]], size, size, picture(probe, i), probe->picture);
  return all;
}

static void luminance(const uint8_t *rgb, size_t pixels, float *ret_luminance) {
  for (size_t i = 0; i < pixels; i++)
    ret_luminance[i] =
        0.299f * (float)rgb[3 * i] + 0.587f * (float)rgb[3 * i + 1] + 0.114f * (float)rgb[3 * i + 2];
}

/* What is compared, of the first `all` pictures. */
static int make_features(struct probe *probe, uint32_t all, struct guise_error *err) {
  const size_t pixels = (size_t)probe->picture * probe->picture;
  for (uint32_t i = 0; i < all; i++)
    probe->list[i] = picture(probe, i);
  if (probe->embedder)
    return model_embed(probe->embedder, probe->list, all, false, probe->features, err);
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < all; i++)
    luminance(probe->list[i], pixels, probe->features + i * pixels);
  return 0;
}

/* Of reconstruction i and a member. */
static float similarity(const struct probe *probe, uint32_t i, const struct probe_members *members,
                        uint32_t member) {
  const size_t side = probe->picture;
  if (probe->gallery)
    return gallery_cosine(probe->gallery, members->person[member], members->image[member],
                          probe->features + (size_t)i * probe->embedder->info.embedding) /
           gallery_scale(probe->gallery);
  return (float)quality_ssim(probe->features + i * side * side,
                             probe->features + probe->place[member] * side * side, 1, probe->picture);
}

_Static_assert(PROBE_STRANGERS >= MIX_MAX, "there are as many strangers as a mix has faces");

/* The largest of n values, on average over the n-subsets of `count` >= n values: sorted downwards, the i-th
 * is the largest of C(count - 1 - i, n - 1) of the C(count, n) subsets. Sorts. */
static float expected_largest(float *values, uint32_t count, uint32_t n) {
  double share = (double)n / count, sum = 0; /* C(count - 1, n - 1) / C(count, n) */
  for (uint32_t i = 1; i < count; i++)
    for (uint32_t j = i; j > 0 && values[j] > values[j - 1]; j--) {
      const float swap = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swap;
    }
  for (uint32_t i = 0; i + n <= count; i++) {
    sum += share * (double)values[i];
    if (i + n < count)
      share *= (double)(count - i - n) / (double)(count - 1 - i);
  }
  return (float)sum;
}

/* Whether the person of `member` is among the first k faces of the mix. */
static bool is_among(const struct probe *probe, const struct mix *mix, uint32_t k, const uint32_t *person,
                     uint32_t member) {
  for (uint32_t j = 0; j < k; j++)
    if (mix->member[j] < probe->options.faces && person[mix->member[j]] == person[member])
      return true;
  return false;
}

/* What strangers look like to the reconstruction of mix i: similarities, and how many. */
static uint32_t compare_strangers(const struct probe *probe, const struct mix *mix, uint32_t i,
                                  const struct probe_members *members, float ret_values[PROBE_STRANGERS]) {
  const uint32_t faces = probe->options.faces, *person = members->person;
  uint32_t found = 0, taken[PROBE_STRANGERS];
  for (uint32_t n = 0; n < faces && found < PROBE_STRANGERS; n++) {
    const uint32_t member = (mix->member[0] + n) % faces; /* others for each lead */
    bool known = is_among(probe, mix, mix->k, person, member) ||
                 (!probe->gallery && probe->place[member] == UINT32_MAX);
    for (uint32_t j = 0; j < found && !known; j++)
      known = taken[j] == person[member];
    if (known)
      continue;
    ret_values[found] = similarity(probe, i, members, member);
    taken[found++] = person[member];
  }
  return found;
}

static float leak_of(const struct probe *probe, const struct mix *mix, uint32_t i,
                     const struct probe_members *members) {
  float strangers[PROBE_STRANGERS], leak = -INFINITY;
  uint32_t compared = 0;
  for (uint32_t j = 0; j < mix->k; j++)
    if (mix->member[j] < probe->options.faces) {
      leak = fmaxf(leak, similarity(probe, i, members, mix->member[j]));
      compared += !is_among(probe, mix, j, members->person, mix->member[j]);
    }
  if (compared == 0)
    return 0;
  const uint32_t found = compare_strangers(probe, mix, i, members, strangers);
  return found == 0 ? leak : leak - expected_largest(strangers, found, MIN(compared, found));
}

int probe_leaks(struct probe *probe, const struct mix *mixes, uint32_t count, const float *mixed,
                const struct probe_members *members, float *ret_leaks, struct guise_error *err) {
  if (count > probe->options.mixes)
    return error_set(err, -EINVAL, "the probe looks at %u mixes at once, not %u", probe->options.mixes,
                     count);
  int r = reconstruct(probe, mixed, count, err);
  if (r == 0)
    r = make_features(probe, probe->gallery ? count : place_faces(probe, mixes, count, members->face), err);
  if (r < 0)
    return r;
#pragma omp parallel for schedule(dynamic)
  for (uint32_t i = 0; i < count; i++)
    ret_leaks[i] = leak_of(probe, &mixes[i], i, members);
  return 0;
}

float probe_scale(const struct probe *probe) {
  return gallery_scale(probe->gallery);
}

float probe_alike(const struct probe *probe, uint32_t person) {
  return probe->gallery ? gallery_alike(probe->gallery, person) : 0;
}

const uint8_t *probe_pictures(const struct probe *probe, uint32_t *ret_size) {
  *ret_size = probe->picture;
  return probe->pictures;
}

struct graph *probe_graph(struct probe *probe) {
  return probe->graph;
}
double *probe_steps(struct probe *probe) {
  return &probe->steps;
}
