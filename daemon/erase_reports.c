/* Public faces in reports. A report shows some of the attackers' public faces and does not say whose: when
 * anybody is erased from that data set, all of them go. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/files.h"
#include "core/model/report.h"
#include "daemon/service_internal.h"

#define TRIES 3u /* of a report that an audit replaces meanwhile, or that there is no room for */

/* A file of the report as it shall be: written, then made a blob. */
struct fresh {
  char path[PATH_MAX];
  struct model_file_row *row;
};

static int write_fresh(struct service *service, const struct model_row *model, const char *name,
                       const char *text, struct model_file_row *row, struct fresh *fresh,
                       struct guise_error *err) {
  const size_t size = strlen(text);
  int r = state_path(fresh->path, service, "uploads/erasing-%s-%s", model->id, name);
  if (r < 0)
    return error_set(err, r, "the path of the state directory is too long");
  (void)snprintf(row->name, sizeof(row->name), "%s", name);
  sha256_data(text, size, row->sha256);
  row->size = size;
  fresh->row = row;
  return file_write_atomic(fresh->path, text, size, err);
}

static int not_rewritten(const char *model, int r, struct guise_error *err) {
  return error_set(err, r,
                   "the report of the model %s, which shows public faces, could not be written anew: %s",
                   model, strerror(-r));
}

/* Both files in the place of the old ones, in one transaction. */
static int replace(struct service *service, struct model_row *model, const char *old_sha256,
                   struct fresh fresh[2], json_t **files, struct guise_error *err) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  int r = 0;
  (void)pthread_mutex_lock(&service->blob_lock);
  for (uint32_t i = 0; i < 2 && r == 0; i++)
    r = blob_publish(service, fresh[i].path, fresh[i].row->sha256, err);
  if (r == 0)
    r = store_model_audited(service->store, model, NULL, old_sha256, &blobs, &count, NULL);
  if (r == 0)
    *files = blob_erase(service, blobs, count, *files);
  else {
    blob_remove_files(service, model);
    not_rewritten(model->id, r, err);
  }
  (void)pthread_mutex_unlock(&service->blob_lock);
  return r;
}

static int rewrite(struct service *service, struct model_row *model, const char *old_sha256,
                   const json_t *report, json_t **files, struct guise_error *err) {
  _cleanup_(freep) struct fresh *fresh = calloc(2, sizeof(*fresh)); /* paths are too large for a stack */
  _cleanup_(freep) char *text = report_text(report), *html = NULL;
  struct model_file_row rows[2] = {{.size = 0}};
  if (!fresh || !text)
    return error_set(err, -ENOMEM, "out of memory");
  int r = report_html(report, NULL, &html, err);
  if (r == 0)
    r = write_fresh(service, model, REPORT_FILE, text, &rows[0], &fresh[0], err);
  if (r == 0)
    r = write_fresh(service, model, REPORT_PAGE_FILE, html, &rows[1], &fresh[1], err);
  struct model_row changed = *model; /* as it is, but for two files */
  changed.files = rows;
  changed.file_count = 2;
  if (r == 0)
    r = replace(service, &changed, old_sha256, fresh, files, err);
  for (uint32_t i = 0; i < 2; i++)
    if (*fresh[i].path)
      (void)unlink(fresh[i].path); /* when it did not become a blob */
  if (r < 0)
    storage_note(service, r);
  return r;
}

static int load(struct service *service, const struct model_row *model, const char *sha256,
                json_t **ret_report, struct guise_error *err) {
  char path[PATH_MAX];
  json_error_t where;
  service_blob_path(service, sha256, path);
  *ret_report = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
  return *ret_report
             ? 0
             : error_set(err, -EIO,
                         "the report of the model %s, which may show public faces, cannot be read: delete "
                         "the model first, or restore a backup",
                         model->id);
}

/* Counts in *reports when there was something to take out. */
static int hide(struct service *service, const char *id, uint32_t *reports, json_t **files,
                struct guise_error *err) {
  struct model_row model;
  json_t *report = NULL;
  int r = store_model_get(service->store, id, &model);
  if (r < 0)
    return r == -ENOENT ? 0 : not_rewritten(id, r, err); /* 0: gone meanwhile */
  const struct model_file_row *file = NULL;
  for (uint32_t i = 0; i < model.file_count; i++)
    if (strcmp(model.files[i].name, REPORT_FILE) == 0)
      file = &model.files[i];
  if (file)
    r = load(service, &model, file->sha256, &report, err);
  if (r == 0 && report && report_hide_public(report)) {
    r = rewrite(service, &model, file->sha256, report, files, err);
    *reports += r == 0;
  }
  json_decref(report);
  model_row_clear(&model);
  return r;
}

int erase_public_pictures(struct service *service, const char *dataset, uint32_t *ret_reports, json_t **files,
                          struct guise_error *err) {
  _cleanup_(freep) char(*ids)[STORE_ID] = NULL;
  uint32_t count = 0;
  int r = store_models_shown(service->store, dataset, &ids, &count);
  if (r < 0)
    return error_set(err, r, "the models that show faces of the data set cannot be listed: %s", strerror(-r));
  for (uint32_t i = 0; i < count && r == 0; i++) {
    uint32_t tries = 0;
    do
      r = hide(service, ids[i], ret_reports, files, err);
    while (r < 0 && ++tries <= TRIES && (r == -ESTALE || erase_make_room(service, r, files)));
  }
  return r;
}
