#include "core/train/audit_checkpoint.h"

#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/text.h"

#define CHECKPOINT_FORMAT "guise-audit-checkpoint-1"

int audit_checkpoint_write(const char *path, const struct job_spec *spec, const char *model_sha256,
                           const struct audit_record *record, struct guise_error *err) {
  json_t *checkpoint =
      json_pack("{s:s, s:o, s:O, s:O}", "format", CHECKPOINT_FORMAT, "spec", job_spec_json(spec), "attacks",
                record->attacks, "pictures", record->pictures);
  if (checkpoint && model_sha256)
    checkpoint = json_put(checkpoint, "model", json_string(model_sha256));
  _cleanup_(freep) char *text = checkpoint ? json_print(checkpoint, JSON_COMPACT) : NULL;
  json_decref(checkpoint);
  if (!text)
    return error_set(err, -ENOMEM, "out of memory for a checkpoint");
  return file_write_atomic(path, text, strlen(text), err);
}

static bool belongs(const json_t *checkpoint, const json_t *spec, const char *model_sha256) {
  return strcmp(json_text_at(checkpoint, "format"), CHECKPOINT_FORMAT) == 0 &&
         strcmp(json_text_at(checkpoint, "model"), model_sha256 ? model_sha256 : "") == 0 &&
         json_is_array(json_object_get(checkpoint, "attacks")) &&
         json_is_array(json_object_get(checkpoint, "pictures")) &&
         job_spec_same(json_object_get(checkpoint, "spec"), spec);
}

int audit_checkpoint_read(const char *path, const struct job_spec *spec, const char *model_sha256,
                          struct audit_record *record, struct guise_error *err) {
  json_error_t error;
  json_t *own = job_spec_json(spec), *checkpoint = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
  int r = own ? 0 : -ENOMEM;
  if (r == 0 && !belongs(checkpoint, own, model_sha256))
    r = error_set(err, -EBADMSG,
                  "the checkpoint belongs to another job or version of guise: submit the job again");
  else if (r < 0 || json_array_extend(record->attacks, json_object_get(checkpoint, "attacks")) < 0 ||
           json_array_extend(record->pictures, json_object_get(checkpoint, "pictures")) < 0)
    r = error_set(err, -ENOMEM, "out of memory reading a checkpoint");
  json_decref(checkpoint);
  json_decref(own);
  return r;
}
