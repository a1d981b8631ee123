/* People of a data set. In the order of the cursor: by number, of templates with gaps where somebody was
 * erased. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/image/pack.h"
#include "core/template/templates.h"
#include "daemon/service_internal.h"

#define KEPT_MAX (1u << 20) /* people whose counts are kept: 4 MiB */

DEFINE_CLEANUP(struct pack *, pack_free)

/* ---- how many templates show each ---- */

void shown_init(struct shown *shown) {
  (void)pthread_mutex_init(&shown->lock, NULL);
}

void shown_done(struct shown *shown) {
  free(shown->count);
  (void)pthread_mutex_destroy(&shown->lock);
}

void shown_forget(struct shown *shown, const char *sha256) {
  (void)pthread_mutex_lock(&shown->lock);
  if (strcmp(shown->sha256, sha256) == 0) {
    free(shown->count);
    shown->count = NULL;
    shown->sha256[0] = 0;
  }
  (void)pthread_mutex_unlock(&shown->lock);
}

/* ---- pages ---- */

static int page_of(const struct store_page *page, uint32_t people, uint32_t *ret_first, uint32_t *ret_limit,
                   struct person_row **ret_rows) {
  *ret_limit = page->limit ? page->limit : 100u;
  *ret_first = (uint32_t)MIN(page->cursor, (int64_t)people);
  *ret_rows = calloc(MIN(*ret_limit, people - *ret_first) + 1, sizeof(**ret_rows));
  return *ret_rows ? 0 : -ENOMEM;
}

static int list_pack(const struct pack *pack, const struct store_page *page, struct person_row **ret_rows,
                     uint32_t *ret_count, int64_t *ret_next) {
  const uint32_t people = pack_identities(pack);
  uint32_t i, limit, count = 0, first;
  struct person_row *rows;
  int r = page_of(page, people, &i, &limit, &rows);
  if (r < 0)
    return r;
  for (; i < people && count < limit; i++, count++) {
    pack_identity_range(pack, i, &first, &rows[count].images);
    (void)snprintf(rows[count].name, sizeof(rows[count].name), "%s", pack_identity_name(pack, i));
  }
  *ret_rows = rows;
  *ret_count = count;
  *ret_next = i < people ? i : 0;
  return 0;
}

/* Whoever is erased is shown by none, and everybody else by some. */
static int list_shown(const uint32_t *shown, uint32_t numbers, const struct store_page *page,
                      struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next) {
  uint32_t i, limit, count = 0;
  struct person_row *rows;
  int r = page_of(page, numbers, &i, &limit, &rows);
  if (r < 0)
    return r;
  for (; i < numbers && count < limit; i++)
    if (shown[i] > 0) {
      rows[count].images = shown[i];
      (void)snprintf(rows[count++].name, sizeof(rows->name), "%" PRIu32, i);
    }
  *ret_rows = rows;
  *ret_count = count;
  *ret_next = i < numbers ? i : 0;
  return 0;
}

/* All labels are read. *ret_shown is the caller's. */
static int count_shown(const struct dataset_row *row, const char *path, uint32_t **ret_shown,
                       uint32_t *ret_numbers, struct guise_error *err) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  int r = dataset_damage(row, templates_open(path, &templates, err), err);
  if (r < 0)
    return r;
  _cleanup_(freep) uint32_t *shown = malloc(templates_numbers(templates) * sizeof(*shown));
  if (!shown)
    return -ENOMEM;
  templates_count_shown(templates, shown);
  if (safetensors_failed(templates_file(templates))) /* zeros were counted */
    return error_set(err, -EIO, "the templates of the data set %s cannot be read from the disk", row->name);
  *ret_numbers = templates_numbers(templates);
  *ret_shown = TAKE(shown);
  return 0;
}

/* The last data set's counts are kept: its next page is likely to be asked for. */
static int list_templates(struct service *service, const struct dataset_row *row,
                          const struct store_page *page, struct person_row **ret_rows, uint32_t *ret_count,
                          int64_t *ret_next, struct guise_error *err) {
  struct shown *kept = &service->shown;
  _cleanup_(freep) uint32_t *shown = NULL;
  uint32_t numbers = 0;
  char path[PATH_MAX];
  service_blob_path(service, row->sha256, path);
  (void)pthread_mutex_lock(&kept->lock);
  const bool known = kept->count && strcmp(kept->sha256, row->sha256) == 0 && access(path, R_OK) == 0;
  int r = known ? list_shown(kept->count, kept->numbers, page, ret_rows, ret_count, ret_next) : 0;
  (void)pthread_mutex_unlock(&kept->lock);
  if (known)
    return r;
  r = count_shown(row, path, &shown, &numbers, err);
  if (r == 0)
    r = list_shown(shown, numbers, page, ret_rows, ret_count, ret_next);
  if (r < 0 || *ret_next == 0 || numbers > KEPT_MAX)
    return r;
  (void)pthread_mutex_lock(&kept->lock);
  free(kept->count);
  kept->count = TAKE(shown);
  kept->numbers = numbers;
  memcpy(kept->sha256, row->sha256, sizeof(kept->sha256));
  (void)pthread_mutex_unlock(&kept->lock);
  return 0;
}

static int list_faces(struct service *service, const struct dataset_row *row, const struct store_page *page,
                      struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                      struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  char path[PATH_MAX];
  service_blob_path(service, row->sha256, path);
  int r = dataset_damage(row, pack_open(path, &pack, err), err);
  return r < 0 ? r : list_pack(pack, page, ret_rows, ret_count, ret_next);
}

int service_people_list(struct service *service, const char *key, const struct store_page *page,
                        struct person_row **ret_rows, uint32_t *ret_count, int64_t *ret_next,
                        struct guise_error *err) {
  char before[SHA256_HEX] = "";
  for (;;) {
    struct dataset_row row;
    int r = dataset_find_ready(service, key, "its people are known", &row, err);
    if (r < 0)
      return r;
    r = (row.kind == DATASET_TEMPLATES ? list_templates : list_faces)(service, &row, page, ret_rows,
                                                                      ret_count, ret_next, err);
    /* an erasure may put another file in its place between the two */
    if (r != -EIO || strcmp(before, row.sha256) == 0)
      return r;
    memcpy(before, row.sha256, sizeof(before));
  }
}
