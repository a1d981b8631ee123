#include "core/model/mask_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- metadata ---- */

const char *mask_file_text(const json_t *metadata, const char *key) {
  const char *text = json_string_value(json_object_get(metadata, key));
  return text ? text : "";
}

int mask_file_number(const json_t *metadata, const char *key, uint64_t low, uint64_t high,
                     uint64_t *ret_value, struct guise_error *err) {
  const char *text = mask_file_text(metadata, key);
  char *end = NULL;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end || errno || value < low || value > high)
    return error_set(err, -EBADMSG,
                     "the file's \"%s\" is \"%.40s\", not a number from %" PRIu64 " to %" PRIu64, key, text,
                     low, high);
  *ret_value = value;
  return 0;
}

int mask_file_real(const json_t *metadata, const char *key, double low, double high, float *ret_value,
                   struct guise_error *err) {
  const char *text = mask_file_text(metadata, key);
  char *end = NULL;
  double value = strtod(text, &end);
  if (!text[0] || *end || !(value >= low && value <= high))
    return error_set(err, -EBADMSG, "the file's \"%s\" is \"%.40s\", not a number from %g to %g", key, text,
                     low, high);
  *ret_value = (float)value;
  return 0;
}

bool mask_file_is_plain(const json_t *metadata, bool *ret_mixes) {
  static const struct {
    const char *name;
    bool mixes;
  } methods[] = {{"none", false}, {"mixup", true}, {"duetface", false}, {"ahm", true}};
  const char *name = mask_file_text(metadata, "mask"), *dct = mask_file_text(metadata, "mask.dct");
  if (*dct && strcmp(dct, "native") != 0)
    return false;
  for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
    if (strcmp(methods[i].name, name) == 0) {
      *ret_mixes = methods[i].mixes;
      return true;
    }
  return false;
}

/* ---- constants ---- */

int mask_file_constants(const struct safetensors *file, struct mask_constants *constants,
                        struct guise_error *err) {
  const struct safetensor *channel = safetensors_find(file, "mask.channel");
  const struct safetensor *mean = safetensors_find(file, "mask.mean");
  const struct safetensor *deviation = safetensors_find(file, "mask.deviation");
  if (!channel || !mean || !deviation || channel->rank != 1 || mean->rank != 1 || deviation->rank != 1 ||
      strcmp(channel->dtype, "U32") != 0 || strcmp(mean->dtype, "F32") != 0 ||
      strcmp(deviation->dtype, "F32") != 0 || channel->shape[0] < 1 ||
      channel->shape[0] > MASK_CHANNELS_MAX || mean->shape[0] != channel->shape[0] ||
      deviation->shape[0] != channel->shape[0])
    return error_set(err, -EBADMSG, "the mask's constants are missing or of the wrong shape");
  constants->channels = (uint32_t)channel->shape[0];
  memcpy(constants->mean, mean->data, mean->bytes);
  memcpy(constants->deviation, deviation->data, deviation->bytes);
  for (uint32_t c = 0; c < constants->channels; c++) {
    uint32_t value = ((const uint32_t *)channel->data)[c];
    if (value >= MASK_CHANNELS_MAX) /* the rest is mask_set_constants' to check */
      return error_set(err, -EBADMSG, "the mask's constants of channel %u are not valid", c);
    constants->channel[c] = (uint16_t)value;
  }
  const struct safetensor *reach = safetensors_find(file, "mask.reach");
  if (reach && (reach->rank != 1 || strcmp(reach->dtype, "F32") != 0 || reach->shape[0] != channel->shape[0]))
    return error_set(err, -EBADMSG, "the reach of the mask's channels is of the wrong shape");
  if (reach)
    memcpy(constants->reach, reach->data, reach->bytes);
  const struct safetensor *learnt = safetensors_find(file, "mask.learnt");
  if (!learnt)
    return 0;
  if (learnt->rank != 1 || strcmp(learnt->dtype, "F32") != 0 || learnt->shape[0] > MASK_CHANNELS_MAX)
    return error_set(err, -EBADMSG, "what the mask has learnt is of the wrong shape");
  constants->learnt_count = (uint32_t)learnt->shape[0];
  memcpy(constants->learnt, learnt->data, learnt->bytes);
  return 0;
}

static struct safetensor vector(const char *name, const char *dtype, const void *data, uint32_t count) {
  return (struct safetensor){
      .name = name, .dtype = dtype, .rank = 1, .shape = {count}, .data = data, .bytes = (uint64_t)count * 4};
}

static bool has_reach(const struct mask_constants *constants) {
  bool any = false;
  for (uint32_t c = 0; c < constants->channels; c++)
    any |= constants->reach[c] > 0;
  return any;
}

uint32_t mask_file_tensors(const struct mask_constants *constants, uint32_t channel[MASK_CHANNELS_MAX],
                           struct safetensor *ret_tensors) {
  const uint32_t channels = constants->channels;
  uint32_t n = 0;
  for (uint32_t c = 0; c < channels; c++)
    channel[c] = constants->channel[c];
  ret_tensors[n++] = vector("mask.channel", "U32", channel, channels);
  ret_tensors[n++] = vector("mask.mean", "F32", constants->mean, channels);
  ret_tensors[n++] = vector("mask.deviation", "F32", constants->deviation, channels);
  if (has_reach(constants))
    ret_tensors[n++] = vector("mask.reach", "F32", constants->reach, channels);
  if (constants->learnt_count > 0)
    ret_tensors[n++] = vector("mask.learnt", "F32", constants->learnt, constants->learnt_count);
  return n;
}

/* ---- mixing ---- */

#define MIXING_FORMAT "1"
#define LOWERING_FORMAT "2" /* which readers of the former would mix where nothing was */

void mask_file_put_mixing(json_t *metadata, const struct mask_mixing *mixing) {
  char text[24 * (MIX_MAX + 1)] = "";
  size_t used = 0;
  if (!mixing->mixes)
    return;
  for (uint32_t k = 2; k <= MIX_MAX; k++)
    used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.9g", k > 2 ? " " : "",
                             (double)mixing->probability[k]);
  const struct mix_protection *protection = &mixing->protection;
  (void)json_object_set_new(metadata, "mix.format",
                            json_string(protection->drop > 0 ? LOWERING_FORMAT : MIXING_FORMAT));
  if (protection->drop > 0) {
    (void)json_object_set_new(metadata, "mix.drop", json_sprintf("%u", protection->drop));
    (void)json_object_set_new(metadata, "mix.alone", json_string(protection->alone ? "true" : "false"));
  }
  (void)json_object_set_new(metadata, "mix.beta", json_string(mixing->beta ? "true" : "false"));
  (void)json_object_set_new(metadata, "mix.unmixed", json_sprintf("%.9g", (double)mixing->unmixed));
  (void)json_object_set_new(metadata, "mix.probability", json_string(text));
}

/* The shares of k = 2..6; they must add up to 1. */
static bool parse_shares(const char *text, float *ret_probability) {
  double sum = 0;
  for (uint32_t k = 2; k <= MIX_MAX; k++) {
    char *end = NULL;
    const double share = strtod(text, &end);
    if (end == text || !(share >= 0 && share <= 1))
      return false;
    ret_probability[k] = (float)share;
    sum += share;
    text = end;
  }
  return *text == 0 && fabs(sum - 1) < 1e-3;
}

int mask_file_mixing(const json_t *metadata, struct mask_mixing *ret_mixing, struct guise_error *err) {
  struct mask_mixing mixing = {.mixes = true};
  const char *format = mask_file_text(metadata, "mix.format");
  if (!*format)
    return error_set(err, -ENOENT, "the file does not say how faces were mixed");
  const bool lowers = strcmp(format, LOWERING_FORMAT) == 0;
  if (strcmp(format, MIXING_FORMAT) != 0 && !lowers)
    return error_set(err, -EBADMSG,
                     "the file's \"mix.format\" is \"%.40s\"; this version of guise reads " MIXING_FORMAT
                     " and " LOWERING_FORMAT,
                     format);
  uint64_t drop = 0;
  mixing.beta = strcmp(mask_file_text(metadata, "mix.beta"), "true") == 0;
  int r = lowers ? mask_file_number(metadata, "mix.drop", 1, 60, &drop, err) : 0;
  mixing.protection.drop = (uint32_t)drop;
  mixing.protection.alone = lowers && strcmp(mask_file_text(metadata, "mix.alone"), "true") == 0;
  if (r == 0)
    r = mask_file_real(metadata, "mix.unmixed", 0, 1, &mixing.unmixed, err);
  if (r == 0 && !parse_shares(mask_file_text(metadata, "mix.probability"), mixing.probability))
    r = error_set(err, -EBADMSG, "the file's \"mix.probability\" are not five shares that add up to 1");
  if (r == 0)
    *ret_mixing = mixing;
  return r;
}
