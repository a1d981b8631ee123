#include "core/train/level.h"

#include <string.h>

struct mask_level {
  const char *name;
  uint32_t drop_low;
  double unmixed;
  enum strategy_policy policy;
  uint32_t k[5], k_count;
  bool embedder; /* of one that mixes: measured with an embedder, which changes reward and ranking */
  /* as measured: a share, and on templates in use (I) and training templates (T) the linear attack's SSIM and
   * linkage's TAR at FAR 1e-2 */
  double accuracy, ssim_use, ssim_training, linkage_use, linkage_training;
};

/* Measured on 200 people at 64 pixels, one seed: tests/bench/studies/levels200.json (docs/masking.md,
 * "Levels", which tells why only the last one mixes). */
#define MEASURED_ON "200 people of celeb757, 64 pixels, 10 epochs, one seed; accuracy on the pairs of LFW"
#define ACCURACY_NONE 0.772
#define LINKAGE_NONE 0.275

static const struct mask_level levels[] = {
    {"low", 3, 1, POLICY_FIXED, {2}, 1, false, 0.745, 0.539, 0.539, 0.075, 0.075},
    {"medium", 10, 1, POLICY_FIXED, {2}, 1, false, 0.695, 0.376, 0.376, 0.039, 0.039},
    {"high", 10, 0.25, POLICY_LEARNED, {2, 3, 4, 5, 6}, 5, false, 0.611, 0.376, 0.326, 0.039, 0.017},
};

const struct mask_level *mask_level_find(const char *name) {
  for (size_t i = 0; name && i < ARRAY_SIZE(levels); i++)
    if (strcmp(levels[i].name, name) == 0)
      return &levels[i];
  return NULL;
}

json_t *mask_level_names(void) {
  json_t *names = json_array();
  for (size_t i = 0; names && i < ARRAY_SIZE(levels); i++)
    (void)json_array_append_new(names, json_string(levels[i].name));
  return names;
}

const char *mask_level_name(const struct mask_level *level) {
  return level->name;
}

void mask_level_apply(const struct mask_level *level, struct job_spec *spec) {
  if (!level)
    return;
  spec->mask.drop_low = level->drop_low;
  spec->mask.unmixed = level->unmixed;
  spec->mask.policy = level->policy;
  memcpy(spec->mask.k, level->k, sizeof(level->k));
  spec->mask.k_count = level->k_count;
}

/* Fields that give the probe's reward an embedder. */
static const char *const embedder_fields[] = {"public_dataset", "embedder"};

/* Whether the mask, but for an embedder, is the one that the level alone gives. */
static bool has_settings(const struct mask_level *level, const json_t *mask) {
  struct job_spec spec;
  struct spec_problems problems = {0};
  bool same = false;
  json_t *body = json_pack("{s:s, s:s, s:{s:s}}", "type", job_type_name(JOB_TRAIN), "dataset", "faces",
                           "mask", "level", level->name);
  if (body && job_spec_parse(body, &spec, &problems) == 0) {
    json_t *plain = job_spec_json(&spec), *settings = json_object_get(plain, "mask");
    for (size_t i = 0; i < ARRAY_SIZE(embedder_fields); i++)
      (void)json_object_set(settings, embedder_fields[i], json_object_get(mask, embedder_fields[i]));
    same = json_equal(mask, settings);
    json_decref(plain);
    job_spec_free(&spec);
  }
  json_decref(body);
  spec_problems_free(&problems);
  return same;
}

static bool as_measured(const struct mask_level *level, const json_t *mask) {
  bool embedder = false;
  for (size_t i = 0; i < ARRAY_SIZE(embedder_fields); i++)
    embedder |= json_is_string(json_object_get(mask, embedder_fields[i]));
  const bool mixes = level->unmixed < 1;
  return has_settings(level, mask) && (!mixes || embedder == level->embedder);
}

json_t *mask_level_json(const json_t *spec) {
  const json_t *mask = json_object_get(spec, "mask");
  const struct mask_level *level = mask_level_find(json_string_value(json_object_get(mask, "level")));
  if (!level)
    return json_null();
  return json_pack("{s:s, s:b, s:s, s:f, s:f, s:{s:f, s:f}, s:{s:f, s:f, s:f}}", "level", level->name,
                   "as_measured", (int)as_measured(level, mask), "measured_on", MEASURED_ON, "accuracy",
                   level->accuracy, "accuracy_without_mask", ACCURACY_NONE, "linear_ssim", "in_use",
                   level->ssim_use, "training", level->ssim_training, "linkage", "in_use", level->linkage_use,
                   "training", level->linkage_training, "without_mask", LINKAGE_NONE);
}
