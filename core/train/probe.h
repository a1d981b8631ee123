/* The probe: what an eavesdropper who trains along could see in the mixed templates.
 *
 * A small convolutional reconstructor learns online, from a mixed template as the recogniser gets it to the
 * pixels of the constituent with the largest lambda, at most PROBE_TARGET_MAX pixels a side (mean absolute
 * error, Adam 1e-3). How much of a mix leaks is then read off its reconstruction x^ by a frozen embedder E:
 *
 *   leak = max_j s(x_j) - expected max_j s(y_j)
 *   s(x) = mean cos(E(x^), E(x')) / scale over other photographs x' of the person of x (gallery.h)
 *
 * over the constituents x_j and as many strangers y_j: people of the batch who are not in the mix (of frozen
 * mixes only the lead is known to be). Each person counts once.
 * scale is what another photograph of the person has before a stranger's, on average, so that a picture with
 * a leak of 1 links as well as a photograph, whatever the embedder. Other photographs are what somebody has
 * who asks whose template this is; a person whose photographs are unlike each other is not found by it,
 * whatever of the masked one shows. The largest of many chance similarities is larger than that of few, which
 * would make mixes of many faces look leaky. Without an embedder s is the SSIM of the luminances of x^ and x.
 * 0: the picture tells nobody. */
#pragma once

#include <stdint.h>

#include "core/mask/mixing.h"
#include "core/nn/graph.h"
#include "core/train/gallery.h"

#define PROBE_TARGET_MAX 56u

struct probe;

struct probe_options {
  uint32_t batch; /* templates a training step */
  uint32_t mixes; /* at most so many in one call of probe_leaks */
  uint32_t faces; /* members below this are faces to protect */
  uint32_t threads;
  uint64_t seed;
  const char *embedder;               /* model.safetensors of E; NULL: SSIM */
  const struct gallery_faces *people; /* with an embedder: who is to be protected */
};

/* Pixels a side of the reconstruction of faces of `size`: size/8 times 1, 2, 4 or 8. */
uint32_t probe_target(uint32_t size);
/* Input of an embedder that fits: a multiple of 8, at least 40 (below, training falls back on the kernel
 * library's slow reference convolutions). */
uint32_t probe_embedder_input(uint32_t size);

/* For templates of `mask`, whose constants are set and which outlives the probe. */
int probe_new(const struct mask *mask, const struct probe_options *options, struct probe **ret_probe,
              struct guise_error *err);
struct probe *probe_free(struct probe *probe);

/* One step on the templates in probe_input(), (batch, C, G, G), towards targets[i], (size,size,3) bytes.
 * *ret_error: mean absolute error in grey levels (0..255), before the step. */
float *probe_input(struct probe *probe);
int probe_step(struct probe *probe, const uint8_t *const *targets, double *ret_error,
               struct guise_error *err);

/* Those who are mixed; each array has options.faces entries. */
struct probe_members {
  const uint32_t *image;      /* with an embedder: number in `people` */
  const uint32_t *person;     /* who it is; with an embedder: number in `people` */
  const uint8_t *const *face; /* without: (size,size,3) of those that a mix names, as they were masked */
};

/* Leak of `count` mixes: mixed (count, C, G, G). Strangers are taken from all members, without an embedder
 * from those that a mix names, at most PROBE_STRANGERS for each. Members from options.faces on are public:
 * nobody's face leaks with them. ret_leaks (count), about 0..1; 0 for mixes of public faces alone. */
#define PROBE_STRANGERS 8u
int probe_leaks(struct probe *probe, const struct mix *mixes, uint32_t count, const float *mixed,
                const struct probe_members *members, float *ret_leaks, struct guise_error *err);
/* gallery_scale; there is an embedder. */
float probe_scale(const struct probe *probe);
/* gallery_alike; 0 without an embedder. */
float probe_alike(const struct probe *probe, uint32_t person);
/* The reconstructions of the last call of probe_leaks: (count, P, P, 3) bytes, P in *ret_size. */
const uint8_t *probe_pictures(const struct probe *probe, uint32_t *ret_size);

/* For checkpoints: the reconstructor with both of Adam's moments, and the number of its steps, a whole number
 * that may be set. */
struct graph *probe_graph(struct probe *probe);
double *probe_steps(struct probe *probe);
