/* What a model's file and a data set of templates say of their mask: read without the mask itself, so that
 * the client, which has neither FFTW nor oneDNN, reads the same. Metadata are strings
 * (core/model/safetensors.h). */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/mask/mixing.h"
#include "core/model/safetensors.h"

const char *mask_file_text(const json_t *metadata, const char *key); /* "" when missing */
/* -EBADMSG with err when it is missing, no number or outside the range. */
int mask_file_number(const json_t *metadata, const char *key, uint64_t low, uint64_t high,
                     uint64_t *ret_value, struct guise_error *err);
int mask_file_real(const json_t *metadata, const char *key, double low, double high, float *ret_value,
                   struct guise_error *err);

/* Whether the mask is one that the faces' owner can apply (core/template/plain_mask.h): one of these on the
 * native transform; and whether it mixes. */
#define MASK_PLAIN_METHODS "none, mixup, duetface and ahm"
bool mask_file_is_plain(const json_t *metadata, bool *ret_mixes);

/* The tensors mask.channel, mask.mean and mask.deviation, and mask.reach and mask.learnt where there are any,
 * into *constants, whose other members stay. -EBADMSG; whether the values make sense is mask_set_constants'
 * to say. */
int mask_file_constants(const struct safetensors *file, struct mask_constants *constants,
                        struct guise_error *err);

/* These tensors, for safetensors_write; all of elements of 4 bytes. channel: storage for mask.channel.
 * Returns how many there are, MASK_FILE_TENSORS at most. */
#define MASK_FILE_TENSORS 5u
uint32_t mask_file_tensors(const struct mask_constants *constants, uint32_t channel[MASK_CHANNELS_MAX],
                           struct safetensor *ret_tensors);

/* How training templates were mixed, or are to be: "mix.format" = "1", "mix.unmixed", "mix.beta" ("true",
 * "false") and "mix.probability", the shares of k = 2..6 among mixed ones. Where those that are not left
 * unmixed lose frequencies the format is "2", with "mix.drop" and "mix.alone" ("true", "false"). */
struct mask_mixing {
  bool mixes;    /* false: every template is one face; the rest means nothing */
  bool beta;     /* weights are Beta(MIX_ALPHA, MIX_ALPHA), k = 2; else |N(0,1)| */
  float unmixed; /* share of people with k = 1 */
  struct mix_protection protection;
  float probability[MIX_MAX + 1]; /* [k], k = 2..6, sum 1 */
};
/* Nine digits a number. Adds nothing where nothing is mixed. */
void mask_file_put_mixing(json_t *metadata, const struct mask_mixing *mixing);
/* 0; -ENOENT when the file says nothing of mixing; -EBADMSG with err. */
int mask_file_mixing(const json_t *metadata, struct mask_mixing *ret_mixing, struct guise_error *err);
