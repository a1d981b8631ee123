#include "core/model/files.h"

#include <string.h>

#include "core/mask/key.h"

static const struct model_private_file private_files[] = {
    {REPORT_PRIVATE_FILE, "shows faces of the data set", "models:private"},
    {MODEL_HEAD_FILE, "names the people of the training, with a template of each", "models:head"}};

const struct model_private_file *model_private_file(const char *name) {
  for (size_t i = 0; i < ARRAY_SIZE(private_files); i++)
    if (strcmp(name, private_files[i].name) == 0)
      return &private_files[i];
  return NULL;
}

static bool fact_is(const json_t *facts, const char *section, const char *key, const char *value) {
  const char *text = json_string_value(json_object_get(json_object_get(facts, section), key));
  return text && strcmp(text, value) == 0;
}

bool model_file_holds_key(const char *name, const json_t *facts) {
  const char *suffix = strrchr(name, '.');
  if (strcmp(name, MASK_KEY_FILE) == 0 || (suffix && strcmp(suffix, ".onnx") == 0))
    return true;
  return (strcmp(name, MODEL_FILE) == 0 || strcmp(name, MODEL_HEAD_FILE) == 0) &&
         (fact_is(facts, "model", "arch", "freq_conv") || fact_is(facts, "mask", "dct", "upsampled"));
}
