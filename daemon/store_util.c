/* Statements, columns and arrays for the store's files. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

static int constraint_code(int extended) {
  switch (extended) {
  case SQLITE_CONSTRAINT_UNIQUE:
  case SQLITE_CONSTRAINT_PRIMARYKEY:
    return -EEXIST;
  case SQLITE_CONSTRAINT_TRIGGER:
    return -EBUSY;
  case SQLITE_CONSTRAINT_FOREIGNKEY:
    return -ENOENT;
  default:
    return -EINVAL;
  }
}

int store_code(sqlite3 *db) {
  int extended = sqlite3_extended_errcode(db);
  switch (extended & 0xff) {
  case SQLITE_OK:
  case SQLITE_ROW:
  case SQLITE_DONE:
    return 0;
  case SQLITE_NOMEM:
    return -ENOMEM;
  case SQLITE_FULL:
    return -ENOSPC;
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return -EUCLEAN;
  case SQLITE_CONSTRAINT:
    return constraint_code(extended);
  case SQLITE_TOOBIG:
  case SQLITE_MISMATCH:
    return -EINVAL;
  default:
    return extended == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
  }
}

static int bind_one(sqlite3_stmt *statement, int i, char type, va_list *args) {
  switch (type) {
  case 'i':
    return sqlite3_bind_int(statement, i, va_arg(*args, int));
  case 'u':
    return sqlite3_bind_int64(statement, i, va_arg(*args, uint32_t));
  case 'l':
    return sqlite3_bind_int64(statement, i, va_arg(*args, int64_t));
  case 'L':
    return sqlite3_bind_int64(statement, i, (int64_t)va_arg(*args, uint64_t));
  case 'd': {
    double value = va_arg(*args, double);
    return isfinite(value) ? sqlite3_bind_double(statement, i, value) : sqlite3_bind_null(statement, i);
  }
  case 't':
    return sqlite3_bind_text(statement, i, va_arg(*args, const char *), -1, SQLITE_TRANSIENT);
  default:
    return SQLITE_MISUSE;
  }
}

static int prepare_list(sqlite3 *db, sqlite3_stmt **ret_statement, const char *sql, const char *types,
                        va_list *args) {
  _statement_ *statement = NULL;
  int r = store_statement(db, sql, &statement);
  if (r < 0)
    return r;
  for (int i = 0; types[i]; i++)
    if (bind_one(statement, i + 1, types[i], args) != SQLITE_OK)
      return store_code(db) < 0 ? store_code(db) : -EINVAL;
  *ret_statement = TAKE(statement);
  return 0;
}

int store_prepare(sqlite3 *db, sqlite3_stmt **ret_statement, const char *sql, const char *types, ...) {
  va_list args;
  va_start(args, types);
  int r = prepare_list(db, ret_statement, sql, types, &args);
  va_end(args);
  return r;
}

int store_step(sqlite3_stmt *statement) {
  switch (sqlite3_step(statement)) {
  case SQLITE_ROW:
    return 1;
  case SQLITE_DONE:
    return 0;
  default: {
    int r = store_code(sqlite3_db_handle(statement));
    return r < 0 ? r : -EIO;
  }
  }
}

int store_exec(sqlite3 *db, const char *sql, const char *types, ...) {
  _statement_ *statement = NULL;
  va_list args;
  va_start(args, types);
  int r = prepare_list(db, &statement, sql, types, &args);
  va_end(args);
  if (r < 0)
    return r;
  while ((r = store_step(statement)) > 0)
    ;
  return r;
}

int store_integer(sqlite3 *db, int64_t *ret_value, const char *sql, const char *types, ...) {
  _statement_ *statement = NULL;
  va_list args;
  va_start(args, types);
  int r = prepare_list(db, &statement, sql, types, &args);
  va_end(args);
  if (r < 0)
    return r;
  r = store_step(statement);
  if (r < 0)
    return r;
  if (r == 0)
    return -ENOENT;
  *ret_value = sqlite3_column_int64(statement, 0);
  return 0;
}

/* A column's text as it lies in the row: sqlite3_column_text allocates to put a NUL behind it, and gives
 * nothing when that fails. NULL for NULL; *ret_bytes long. */
static const char *text_in_row(sqlite3_stmt *statement, int column, size_t *ret_bytes) {
  const char *text = sqlite3_column_blob(statement, column); /* NULL when empty, too */
  *ret_bytes = (size_t)sqlite3_column_bytes(statement, column);
  return text || sqlite3_column_type(statement, column) == SQLITE_NULL ? text : "";
}

void store_text(sqlite3_stmt *statement, int column, char *ret_text, size_t size) {
  size_t bytes;
  const char *text = text_in_row(statement, column, &bytes);
  (void)snprintf(ret_text, size, "%.*s", (int)MIN(bytes, size), text ? text : "");
}

char *store_text_dup(sqlite3_stmt *statement, int column) {
  size_t bytes;
  const char *text = text_in_row(statement, column, &bytes);
  char *copy = text ? malloc(bytes + 1) : NULL;
  if (copy) {
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
  }
  return copy;
}

uint32_t store_u32(sqlite3_stmt *statement, int column) {
  return (uint32_t)sqlite3_column_int64(statement, column);
}

double store_double(sqlite3_stmt *statement, int column) {
  if (sqlite3_column_type(statement, column) == SQLITE_NULL)
    return NAN;
  return sqlite3_column_double(statement, column);
}

void *store_grow(void *array_pointer, uint32_t count, uint32_t *capacity, size_t size) {
  char *array;
  memcpy(&array, array_pointer, sizeof(array)); /* the caller's pointer has another type */
  if (count == *capacity) {
    uint32_t larger = *capacity ? 2 * *capacity : 16;
    char *grown = reallocarray(array, larger, size);
    if (!grown)
      return NULL;
    array = grown;
    memcpy(array_pointer, &array, sizeof(array));
    *capacity = larger;
  }
  memset(array + (size_t)count * size, 0, size);
  return array + (size_t)count * size;
}

int64_t store_page_cursor(const struct store_page *page) {
  return page->descending && page->cursor == 0 ? INT64_MAX : page->cursor;
}

uint32_t store_page_limit(const struct store_page *page) {
  return 1 + (page->limit ? MIN(page->limit, 1000u) : 100u);
}

int store_append_texts(sqlite3 *db, void *array_pointer, uint32_t *count, size_t width, const char *sql,
                       const char *types, ...) {
  uint32_t capacity = *count;
  _statement_ *statement = NULL;
  va_list args;
  va_start(args, types);
  int r = prepare_list(db, &statement, sql, types, &args);
  va_end(args);
  while (r == 0 && (r = store_step(statement)) > 0) {
    char *text = store_grow(array_pointer, *count, &capacity, width);
    if (!text)
      return -ENOMEM;
    store_text(statement, 0, text, width);
    (*count)++;
    r = 0;
  }
  return r;
}

int store_blobs_unused(sqlite3 *db, char (*blobs)[SHA256_HEX], uint32_t *count) {
  uint32_t unused = 0;
  for (uint32_t i = 0; i < *count; i++) {
    int64_t uses = 0;
    int r = store_integer(db, &uses, "SELECT EXISTS (SELECT 1 FROM blob_references WHERE sha256 = ?1)", "t",
                          blobs[i]);
    if (r < 0)
      return r;
    if (!uses && i != unused)
      memcpy(blobs[unused], blobs[i], SHA256_HEX);
    if (!uses)
      unused++;
  }
  *count = unused;
  return 0;
}

int store_write_end_blobs(struct store *store, sqlite3 *db, int r, char (*blobs)[SHA256_HEX], uint32_t count,
                          char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count) {
  if (r == 0)
    r = store_blobs_unused(db, blobs, &count);
  r = store_write_end(store, r);
  if (r < 0) {
    free(blobs);
    return r;
  }
  *ret_blobs = blobs;
  *ret_count = count;
  return 0;
}
