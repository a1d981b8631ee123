#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/image/pack_format.h"

int natural_compare(const char *a, const char *b) {
  const char *x = a, *y = b;
  while (*x && *y) {
    if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) {
      while (*x == '0')
        x++;
      while (*y == '0')
        y++;
      size_t m = strspn(x, "0123456789"), n = strspn(y, "0123456789");
      if (m != n)
        return m < n ? -1 : 1;
      int order = strncmp(x, y, m);
      if (order != 0)
        return order;
      x += m;
      y += n;
    } else {
      if (*x != *y)
        return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
      x++;
      y++;
    }
  }
  if (*x || *y)
    return *x ? 1 : -1;
  return strcmp(a, b);
}

static int compare_entries(const void *a, const void *b) {
  const struct pack_entry *x = a, *y = b;
  int order = natural_compare(x->identity, y->identity);
  if (order == 0)
    order = natural_compare(x->name, y->name);
  if (order == 0)
    order = x->slot < y->slot ? -1 : x->slot > y->slot;
  return order;
}

/* Moves the good, different entries to the front; returns how many. */
static uint32_t keep_unique(struct pack_entry *entries, uint32_t count,
                            const struct ingest_callbacks *callbacks, uint32_t *rejected) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!entries[i].good)
      continue;
    if (kept > 0 && strcmp(entries[kept - 1].identity, entries[i].identity) == 0 &&
        strcmp(entries[kept - 1].name, entries[i].name) == 0) {
      char path[600];
      (void)snprintf(path, sizeof(path), "%s/%s", entries[i].identity, entries[i].name);
      (*rejected)++;
      if (callbacks && callbacks->reject)
        callbacks->reject(callbacks->context, path, "duplicate",
                          "an image of this name came before; the first one is kept");
      continue;
    }
    struct pack_entry swap = entries[kept];
    entries[kept++] = entries[i];
    entries[i] = swap;
  }
  return kept;
}

struct tables {
  struct pack_image_row *image;
  struct pack_person_row *person;
  char *names;
  uint64_t names_bytes;
  uint32_t people;
};

static uint32_t add_name(struct tables *tables, const char *name) {
  uint32_t at = (uint32_t)tables->names_bytes;
  size_t length = strlen(name) + 1;
  memcpy(tables->names + tables->names_bytes, name, length);
  tables->names_bytes += length;
  return at;
}

static int fill_tables(struct tables *tables, const struct pack_entry *entries, uint32_t count) {
  uint64_t bytes = 1;
  for (uint32_t i = 0; i < count; i++)
    bytes += strlen(entries[i].identity) + strlen(entries[i].name) + 2;
  if (bytes > UINT32_MAX)
    return -EFBIG;
  tables->image = calloc(count, sizeof(*tables->image));
  tables->person = calloc(count, sizeof(*tables->person));
  tables->names = calloc(bytes, 1);
  if (!tables->image || !tables->person || !tables->names)
    return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    if (i == 0 || strcmp(entries[i].identity, entries[i - 1].identity) != 0) {
      uint32_t name = add_name(tables, entries[i].identity);
      tables->person[tables->people++] = (struct pack_person_row){i, 0, name, 0};
    }
    tables->person[tables->people - 1].count++;
    tables->image[i] = (struct pack_image_row){tables->people - 1, add_name(tables, entries[i].name)};
  }
  return 0;
}

static int write_pixels(FILE *out, int slots_fd, uint64_t base, const struct pack_entry *entries,
                        uint32_t count, size_t image_bytes) {
  _cleanup_(freep) uint8_t *buffer = malloc(image_bytes);
  if (!buffer)
    return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    ssize_t n = pread(slots_fd, buffer, image_bytes, (off_t)(base + (uint64_t)entries[i].slot * image_bytes));
    if (n != (ssize_t)image_bytes)
      return n < 0 ? -errno : -EIO;
    if (fwrite(buffer, image_bytes, 1, out) != 1)
      return -errno;
  }
  return 0;
}

static int write_file(FILE *out, const struct pack_header *header, const struct tables *tables, int slots_fd,
                      uint64_t base, const struct pack_entry *entries) {
  static const char zeros[PACK_ALIGN];
  uint64_t used = sizeof(*header) + header->images * sizeof(*tables->image) +
                  header->identities * sizeof(*tables->person) + header->names_bytes;
  if (fwrite(header, sizeof(*header), 1, out) != 1 ||
      fwrite(tables->image, sizeof(*tables->image), header->images, out) != header->images ||
      fwrite(tables->person, sizeof(*tables->person), header->identities, out) != header->identities ||
      fwrite(tables->names, header->names_bytes, 1, out) != 1 ||
      (header->pixels_offset > used && fwrite(zeros, header->pixels_offset - used, 1, out) != 1))
    return -errno;
  int r = write_pixels(out, slots_fd, base, entries, header->images, (size_t)header->size * header->size * 3);
  if (r == 0 && (fflush(out) != 0 || fsync(fileno(out)) < 0))
    r = -errno;
  return r;
}

int pack_write(const char *path, int slots_fd, uint64_t base, uint32_t size, struct pack_entry *entries,
               uint32_t count, const struct ingest_callbacks *callbacks, struct ingest_result *ret_result,
               struct guise_error *err) {
  struct tables tables = {0};
  if (count > 1)
    qsort(entries, count, sizeof(*entries), compare_entries);
  uint32_t images = keep_unique(entries, count, callbacks, &ret_result->rejected);
  if (images == 0)
    return error_set(
        err, -ENODATA,
        "the archive holds no usable image: it must hold IDENTITY/IMAGE files (JPEG, PNG, PGM or PPM)");
  int r = fill_tables(&tables, entries, images);
  struct pack_header header = {.version = 1,
                               .size = size,
                               .images = images,
                               .identities = tables.people,
                               .names_bytes = tables.names_bytes};
  memcpy(header.magic, PACK_MAGIC, sizeof(header.magic));
  uint64_t used = sizeof(header) + images * sizeof(*tables.image) + tables.people * sizeof(*tables.person) +
                  tables.names_bytes;
  header.pixels_offset = (used + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
  header.file_bytes = header.pixels_offset + (uint64_t)images * size * size * 3;
  FILE *out = r == 0 ? fopen(path, "we") : NULL;
  if (r == 0)
    r = out ? write_file(out, &header, &tables, slots_fd, base, entries) : -errno;
  if (out && fclose(out) != 0 && r == 0)
    r = -errno;
  if (r == 0)
    r = sha256_file(path, ret_result->sha256, NULL);
  free(tables.image);
  free(tables.person);
  free(tables.names);
  if (r < 0)
    return error_set(err, r, "cannot write the pack %s: %s", path, strerror(-r));
  ret_result->images = images;
  ret_result->identities = header.identities;
  ret_result->bytes = header.file_bytes;
  return 0;
}
