#include "core/train/export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/model/files.h"
#include "core/model/onnx.h"
#include "core/model/onnx_builder.h"
#include "core/model/report.h"
#include "core/model/text.h"

/* What the report's summary says, as strings. */
static json_t *summary_metadata(const json_t *report) {
  json_t *summary = report_summary(report), *metadata = json_object();
  const double accuracy = json_number_at(summary, "accuracy");
  _cleanup_(freep) char *audit = json_print(json_object_get(summary, "audit"), JSON_COMPACT | JSON_SORT_KEYS);
  int r = summary && metadata && audit ? 0 : -1;
  if (r == 0 && isfinite(accuracy))
    r |= json_object_set_new(metadata, "accuracy", json_sprintf("%.6f", accuracy));
  if (r == 0 && json_text_at(summary, "protocol")[0])
    r |= json_object_set_new(metadata, "accuracy.protocol", json_string(json_text_at(summary, "protocol")));
  if (r == 0)
    r |= json_object_set_new(metadata, "audit", json_string(audit));
  json_decref(summary);
  if (r == 0)
    return metadata;
  json_decref(metadata);
  return NULL;
}

const char *const job_onnx_names[JOB_ONNX_FILES] = {MODEL_ONNX_FILE, MODEL_TEMPLATE_ONNX_FILE};

static int list_file(const char *path, const char *name, const char *start, json_t *report,
                     struct guise_error *err) {
  char sha256[SHA256_HEX];
  uint64_t bytes = 0;
  int r = sha256_file(path, sha256, &bytes);
  if (r < 0)
    return error_set(err, r, "cannot read back %s", path);
  return report_set_onnx(report, name, start, sha256, bytes, err);
}

static int export_one(const struct trainer *t, const char *directory, const char *name, enum onnx_start start,
                      const struct model_info *info, const json_t *metadata, json_t *report,
                      struct guise_error *err) {
  char path[4096];
  struct guise_error why = {0};
  if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the output directory is too long");
  int r = model_save_onnx(path, t->eval, t->mask, info, start, metadata, &why);
  if (r == -ENOTSUP || r == -EFBIG) {
    trainer_log(t, "warning", "no %s: %s", name, why.text);
    return 0;
  }
  if (r < 0)
    return error_set(err, r, "%s", why.text);
  return list_file(path, name, start == ONNX_IMAGE ? "image" : "template", report, err);
}

int export_onnx(const struct trainer *t, const char *directory, const struct model_info *info, json_t *report,
                struct guise_error *err) {
  /* A mask that cannot be part of a graph leaves both files starting at the template. */
  const enum onnx_start first = mask_is_exportable(t->mask) ? ONNX_IMAGE : ONNX_TEMPLATE;
  json_t *metadata = summary_metadata(report);
  if (!metadata)
    return error_set(err, -ENOMEM, "out of memory exporting the model");
  int r = export_one(t, directory, job_onnx_names[0], first, info, metadata, report, err);
  if (r == 0)
    r = export_one(t, directory, job_onnx_names[1], ONNX_TEMPLATE, info, metadata, report, err);
  json_decref(metadata);
  return r;
}

static int export_one_again(const struct job_inputs *inputs, const struct job_callbacks *callbacks,
                            uint32_t file, const json_t *metadata, json_t *report, struct guise_error *err) {
  const char *from = inputs->audited_onnx[file], *name = job_onnx_names[file];
  char path[4096], text[320];
  struct guise_error why = {0};
  if (!from)
    return 0;
  if (snprintf(path, sizeof(path), "%s/%s", inputs->output_directory, name) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the output directory is too long");
  int r = onnx_write_with_metadata(from, path, metadata, &why);
  if (r == -ENOENT && access(from, F_OK) < 0)
    return error_set(err, -ESTALE, "the model's %s was replaced this instant", name);
  if (r == -EBADMSG || r == -ENOMEM || r == -EFBIG) { /* no reason to lose the attacks */
    (void)snprintf(text, sizeof(text), "the model's %s %s: its metadata stay as they were", name,
                   r == -EBADMSG ? "cannot be read"
                   : r == -EFBIG ? "is larger than 2 GiB"
                                 : "does not fit into memory");
    callbacks->log(callbacks->context, "warning", text);
    return 0;
  }
  return r < 0 ? error_set(err, r, "%s", why.text) : list_file(path, name, NULL, report, err);
}

int export_onnx_again(const struct job_inputs *inputs, const struct job_callbacks *callbacks, json_t *report,
                      struct guise_error *err) {
  json_t *metadata = summary_metadata(report);
  int r = metadata ? 0 : error_set(err, -ENOMEM, "out of memory exporting the model");
  for (uint32_t i = 0; i < JOB_ONNX_FILES && r == 0; i++)
    r = export_one_again(inputs, callbacks, i, metadata, report, err);
  json_decref(metadata);
  return r;
}

/* ---- the class head ---- */

/* The person of each class as the data set calls it; the file's number where the faces' owner has masked
 * them. */
static const char *name_of(const struct job_data *data, uint32_t image, uint32_t class, char ret_text[16]) {
  if (data->pack)
    return pack_identity_name(data->pack, pack_identity_of(data->pack, image));
  (void)snprintf(ret_text, 16, "%u", templates_number(data->templates, class));
  return ret_text;
}

/* One after the other, in the order of the classes. */
static int gather_names(const struct job_data *data, char **ret_names, size_t *ret_bytes) {
  const struct face_list *list = &data->train;
  _cleanup_(freep) uint32_t *first = calloc(list->identities, sizeof(*first));
  char text[16], *names = NULL;
  size_t bytes = 0;
  if (!first)
    return -ENOMEM;
  for (uint32_t i = list->count; i-- > 0;)
    first[list->identity[i]] = list->image[i];
  for (int writing = 0; writing < 2; writing++) {
    bytes = 0;
    for (uint32_t c = 0; c < list->identities; c++) {
      const char *name = name_of(data, first[c], c, text);
      const size_t size = strlen(name) + 1;
      if (writing)
        memcpy(names + bytes, name, size);
      bytes += size;
    }
    if (!writing && !(names = malloc(bytes)))
      return -ENOMEM;
  }
  *ret_names = names;
  *ret_bytes = bytes;
  return 0;
}

int export_head(const struct trainer *t, const char *directory, const struct model_info *info,
                struct guise_error *err) {
  _cleanup_(freep) char *names = NULL;
  struct model_head head = {.classes = head_classes(t->head), .weights = head_weights(t->head)};
  char path[4096];
  if (snprintf(path, sizeof(path), "%s/" MODEL_HEAD_FILE, directory) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the output directory is too long");
  if (gather_names(&t->data, &names, &head.names_bytes) < 0)
    return error_set(err, -ENOMEM, "out of memory for the names of %u people", head.classes);
  head.names = names;
  struct model_info with_head = *info;
  with_head.head = &head;
  return model_save(path, t->eval, &with_head, err);
}
