/* The probe: what an eavesdropper who trains along could see in the mixed templates.
 *
 * A small convolutional reconstructor learns online, from a mixed template as the recogniser gets it to the
 * pixels of the constituent with the largest lambda, at most PROBE_TARGET_MAX pixels a side (mean absolute
 * error, Adam 1e-3). How much of a mix leaks is then read off its reconstruction x^ by a frozen embedder E:
 *
 *   leak = max_j cos(E(x^), E(x_j)) - expected max_j cos(E(x^), E(y_j))
 *
 * over the constituents x_j and as many strangers y_j: faces of the batch of people who are not in the mix.
 * The largest of many chance similarities is larger than that of few, which would make mixes of many faces
 * look leaky. Without an embedder SSIM of the luminance takes the place of the cosine. 0: the picture tells
 * nobody. */
#pragma once

#include <stdint.h>

#include "core/mask/mixing.h"
#include "core/nn/graph.h"

#define PROBE_TARGET_MAX 56u

struct probe;

/* Bytes of embeddings that are kept; of more photographs none are, and each is embedded anew. */
#define PROBE_KEPT ((size_t)128 << 20)

struct probe_options {
  uint32_t batch;  /* templates a training step */
  uint32_t mixes;  /* at most so many in one call of probe_leaks */
  uint32_t faces;  /* members below this are faces to protect */
  uint32_t images; /* with an embedder: of so many photographs the embedding is kept; 0 = of none */
  uint32_t threads;
  uint64_t seed;
  const char *embedder; /* model.safetensors of E; NULL: SSIM */
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

/* Leak of `count` mixes: mixed (count, C, G, G); faces[member] (size,size,3), those that no mix names may be
 * NULL, person[member] who it is (both options.faces long). Strangers are taken from the faces that the mixes
 * name, at most PROBE_STRANGERS for each. Members from options.faces on are public: nobody's face leaks with
 * them. image[member], below options.images: which photograph a face is, always the same pixels; NULL where
 * none is kept. ret_leaks (count), -2..2; 0 for mixes of public faces alone. */
#define PROBE_STRANGERS 8u
int probe_leaks(struct probe *probe, const struct mix *mixes, uint32_t count, const float *mixed,
                const uint8_t *const *faces, const uint32_t *image, const uint32_t *person, float *ret_leaks,
                struct guise_error *err);
/* The reconstructions of the last call of probe_leaks: (count, P, P, 3) bytes, P in *ret_size. */
const uint8_t *probe_pictures(const struct probe *probe, uint32_t *ret_size);

/* For checkpoints: the reconstructor with both of Adam's moments, and the number of its steps, a whole number
 * that may be set. */
struct graph *probe_graph(struct probe *probe);
double *probe_steps(struct probe *probe);
