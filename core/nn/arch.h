/* Recognition networks: template in, embedding out. One row each in the table of arch.c. */
#pragma once

#include "core/nn/graph.h"

enum arch { ARCH_FREQ_IR, ARCH_FREQ_CONV, ARCH_IRESNET18, ARCH_IRESNET50, ARCH_MOBILEFACENET, ARCHS };

const char *arch_name(enum arch arch);
int arch_from_name(const char *name, enum arch *ret_arch); /* 0 or -ENOENT */
uint32_t arch_default_embedding(enum arch arch);           /* freq_* 128, the others 512 */

/* What normalises: batch norms, or group norms (16 channels a group; the embedding is one), which look at one
 * image alone. */
enum arch_norm { ARCH_NORM_BATCH, ARCH_NORM_GROUP, ARCH_NORMS };

const char *arch_norm_name(enum arch_norm norm);                     /* "batch", "group" */
int arch_norm_from_name(const char *name, enum arch_norm *ret_norm); /* 0 or -ENOENT */

struct arch_options {
  uint32_t embedding; /* D */
  float width;        /* multiplies channel counts (rounded to 16); 1 = as published */
  float dropout;      /* before the last linear layer */
  enum arch_norm norm;
  uint32_t frozen; /* the stem and so many blocks are graph_freeze()d; 0: nothing */
  bool taps; /* graph_tap() at the end of each stage of blocks: before the next that shrinks, and the last */
  struct block_idct_options mask; /* the template's constants: C and the first layer */
  uint32_t grid;                  /* template is (C, grid, grid) */
  /* Begin with graph_block_idct, so that the network sees (3, 8 grid, 8 grid) pixels; otherwise it takes the
   * channels as they are. */
  bool inverse;
};
/* Whether a parameter of this name is in the stem or in one of the first `frozen` blocks; 0: none is. */
bool arch_freezes(const char *parameter, uint32_t frozen);

/* Appends input .. output to an empty graph; the output is (D,1,1), after the last norm, not
 * normalised. freq_conv takes the standardised channels as they are; every other network sees
 * pixels where options->inverse says that the template can be turned back into them, else the channels. */
int arch_describe(struct graph *graph, enum arch arch, const struct arch_options *options);
