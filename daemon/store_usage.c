/* How much there is, for GET /metrics. */
#include "daemon/store_internal.h"

int store_usage(struct store *store, struct store_usage *ret_usage) {
  static const struct {
    size_t offset;
    const char *sql;
  } figures[] = {
      {offsetof(struct store_usage, oldest_queued_at),
       "SELECT coalesce(min(created_at), 0) FROM jobs WHERE state = 'queued'"},
      {offsetof(struct store_usage, ingesting), "SELECT count(*) FROM datasets WHERE state = 'ingesting'"},
      {offsetof(struct store_usage, failed), "SELECT count(*) FROM datasets WHERE state = 'failed'"},
      {offsetof(struct store_usage, datasets), "SELECT count(*) FROM datasets WHERE state = 'ready'"},
      {offsetof(struct store_usage, dataset_images),
       "SELECT coalesce(sum(images), 0) FROM datasets WHERE state = 'ready'"},
      {offsetof(struct store_usage, dataset_bytes), "SELECT coalesce(sum(bytes), 0) FROM datasets"},
      {offsetof(struct store_usage, models), "SELECT count(*) FROM models"},
      {offsetof(struct store_usage, model_bytes), "SELECT coalesce(sum(size), 0) FROM model_files"},
      {offsetof(struct store_usage, networks), "SELECT count(*) FROM networks"},
      {offsetof(struct store_usage, network_bytes), "SELECT coalesce(sum(bytes), 0) FROM networks"},
  };
  struct store_usage usage = {0};
  int r = 0;
  sqlite3 *db = store_read_begin(store);
  for (size_t i = 0; i < ARRAY_SIZE(figures) && r == 0; i++)
    r = store_integer(db, (int64_t *)(void *)((char *)&usage + figures[i].offset), figures[i].sql, "");
  store_read_end(store, db);
  if (r == 0)
    *ret_usage = usage;
  return r;
}
