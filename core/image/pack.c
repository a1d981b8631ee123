#include "core/image/pack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/image/pack_format.h"

struct pack {
  void *map;
  size_t bytes;
  const struct pack_header *header;
  const struct pack_image_row *image;
  const struct pack_person_row *person;
  const char *names;
  const uint8_t *pixels;
};

DEFINE_CLEANUP(struct pack *, pack_free)

static bool header_is_sound(const struct pack_header *h, uint64_t file_bytes) {
  if (memcmp(h->magic, PACK_MAGIC, sizeof(h->magic)) != 0 || h->version != 1 || h->size < 16 ||
      h->size > 224 || h->size % 8 != 0 || h->images == 0 || h->identities == 0 ||
      h->identities > h->images || h->file_bytes != file_bytes || h->names_bytes == 0 ||
      h->names_bytes > UINT32_MAX || h->pixels_offset > file_bytes || h->pixels_offset % PACK_ALIGN != 0)
    return false;
  uint64_t used = sizeof(*h) + (uint64_t)h->images * sizeof(struct pack_image_row) +
                  (uint64_t)h->identities * sizeof(struct pack_person_row) + h->names_bytes;
  return used <= h->pixels_offset &&
         file_bytes - h->pixels_offset == (uint64_t)h->images * h->size * h->size * 3;
}

/* Persons' ranges follow one another and cover all images, each image names its person, and names end inside
 * the names. */
static bool tables_are_sound(const struct pack *pack) {
  const struct pack_header *h = pack->header;
  uint32_t next = 0;
  if (pack->names[h->names_bytes - 1] != 0)
    return false;
  for (uint32_t p = 0; p < h->identities; p++) {
    const struct pack_person_row *row = &pack->person[p];
    if (row->first != next || row->count == 0 || row->count > h->images - next || row->name >= h->names_bytes)
      return false;
    for (uint32_t i = 0; i < row->count; i++)
      if (pack->image[next + i].identity != p || pack->image[next + i].name >= h->names_bytes)
        return false;
    next += row->count;
  }
  return next == h->images;
}

int pack_open(const char *path, struct pack **ret_pack, struct guise_error *err) {
  struct stat st;
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot open the data set's pack %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct pack_header))
    return error_set(err, -EBADMSG, "%s is no pack: it is too short", path);
  struct pack *pack = calloc(1, sizeof(*pack));
  if (!pack)
    return error_set(err, -ENOMEM, "out of memory opening a pack");
  pack->bytes = (size_t)st.st_size;
  pack->map = mmap(NULL, pack->bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (pack->map == MAP_FAILED) {
    int code = -errno;
    free(pack);
    return error_set(err, code, "cannot map the pack %s: %s", path, strerror(-code));
  }
  const char *base = pack->map;
  pack->header = pack->map;
  bool sound = header_is_sound(pack->header, pack->bytes);
  if (sound) {
    pack->image = (const void *)(base + sizeof(*pack->header));
    pack->person = (const void *)(pack->image + pack->header->images);
    pack->names = (const char *)(pack->person + pack->header->identities);
    pack->pixels = (const uint8_t *)base + pack->header->pixels_offset;
    sound = tables_are_sound(pack);
  }
  if (!sound) {
    pack_free(pack);
    return error_set(err, -EBADMSG, "%s is no pack, or a damaged one: upload the data set again", path);
  }
  *ret_pack = pack;
  return 0;
}

struct pack *pack_free(struct pack *pack) {
  if (pack) {
    (void)munmap(pack->map, pack->bytes);
    free(pack);
  }
  return NULL;
}

uint32_t pack_size(const struct pack *pack) {
  return pack->header->size;
}
uint32_t pack_images(const struct pack *pack) {
  return pack->header->images;
}
uint32_t pack_identities(const struct pack *pack) {
  return pack->header->identities;
}
const uint8_t *pack_image(const struct pack *pack, uint32_t image) {
  return pack->pixels + (size_t)image * pack->header->size * pack->header->size * 3;
}
uint32_t pack_identity_of(const struct pack *pack, uint32_t image) {
  return pack->image[image].identity;
}
const char *pack_identity_name(const struct pack *pack, uint32_t identity) {
  return pack->names + pack->person[identity].name;
}
const char *pack_image_name(const struct pack *pack, uint32_t image) {
  return pack->names + pack->image[image].name;
}
void pack_identity_range(const struct pack *pack, uint32_t identity, uint32_t *ret_first,
                         uint32_t *ret_count) {
  *ret_first = pack->person[identity].first;
  *ret_count = pack->person[identity].count;
}
int pack_find_identity(const struct pack *pack, const char *name, uint32_t *ret_identity) {
  uint32_t low = 0, high = pack->header->identities;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = natural_compare(pack_identity_name(pack, middle), name);
    if (order == 0) {
      *ret_identity = middle;
      return 0;
    }
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -ENOENT;
}

/* ---- erasing ---- */

/* The images that stay; their texts are the pack's. */
static uint32_t list_rest(const struct pack *pack, uint32_t person, const char *image,
                          struct pack_entry *ret_entries) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < pack_images(pack); i++)
    if (pack_identity_of(pack, i) != person || (image && strcmp(pack_image_name(pack, i), image) != 0))
      ret_entries[count++] =
          (struct pack_entry){.identity = (char *)pack_identity_name(pack, pack_identity_of(pack, i)),
                              .name = (char *)pack_image_name(pack, i),
                              .slot = i,
                              .good = true};
  return count;
}

int pack_without(const char *from, const char *identity, const char *image, const char *to,
                 struct ingest_result *ret_result, struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  struct ingest_result result = {0};
  uint32_t person = 0;
  int r = pack_open(from, &pack, err);
  if (r < 0)
    return r;
  if (pack_find_identity(pack, identity, &person) < 0)
    return error_set(err, -ENOENT, "the data set has no person %.200s", identity);
  _cleanup_(closep) int fd = open(from, O_RDONLY | O_CLOEXEC);
  _cleanup_(freep) struct pack_entry *entries = calloc(pack_images(pack), sizeof(*entries));
  if (fd < 0 || !entries)
    return error_set(err, fd < 0 ? -errno : -ENOMEM, "cannot read the data set's pack again");
  const uint32_t rest = list_rest(pack, person, image, entries);
  if (rest == pack_images(pack))
    return error_set(err, -ENOENT, "%.200s has no image %.200s in the data set", identity, image);
  if (rest == 0)
    return error_set(err, -ENODATA, "nothing would be left: erase the whole data set");
  r = pack_write(to, fd, pack->header->pixels_offset, pack_size(pack), entries, rest, NULL, &result, err);
  if (r == 0)
    *ret_result = result;
  return r;
}
