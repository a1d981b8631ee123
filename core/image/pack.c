#include "core/image/pack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/mapping.h"
#include "core/image/pack_format.h"

struct pack {
  struct mapping *mapping; /* of the whole file; its pixels are used */
  void *head;              /* what is before the pixels: it must not change once it is checked */
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

static int read_bytes(int fd, void *data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = pread(fd, (char *)data + done, bytes - done, (off_t)done);
    if (n < 0 && errno != EINTR)
      return -errno;
    if (n == 0)
      return -EBADMSG;
    done += (size_t)MAX(n, 0);
  }
  return 0;
}

/* The header says how long the head is. */
static int read_head(struct pack *pack, int fd, uint64_t file_bytes) {
  struct pack_header header;
  int r = read_bytes(fd, &header, sizeof(header));
  if (r == 0 && !header_is_sound(&header, file_bytes))
    r = -EBADMSG;
  if (r < 0)
    return r;
  pack->head = malloc(header.pixels_offset);
  if (!pack->head)
    return -ENOMEM;
  r = read_bytes(fd, pack->head, header.pixels_offset);
  pack->header = pack->head;
  if (r == 0 && memcmp(pack->head, &header, sizeof(header)) != 0)
    r = -EBADMSG;
  if (r < 0)
    return r;
  pack->image = (const void *)(pack->header + 1);
  pack->person = (const void *)(pack->image + header.images);
  pack->names = (const char *)(pack->person + header.identities);
  return tables_are_sound(pack) ? 0 : -EBADMSG;
}

int pack_open(const char *path, struct pack **ret_pack, struct guise_error *err) {
  struct stat st;
  _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot open the data set's pack %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct pack_header))
    return error_set(err, -EBADMSG, "%s is no pack: it is too short", path);
  _cleanup_(pack_freep) struct pack *pack = calloc(1, sizeof(*pack));
  if (!pack)
    return error_set(err, -ENOMEM, "out of memory opening a pack");
  int r = read_head(pack, fd, (uint64_t)st.st_size);
  if (r == -EBADMSG)
    return error_set(err, r, "%s is no pack, or a damaged one: upload the data set again", path);
  if (r == 0)
    r = mapping_open(fd, (size_t)st.st_size, &pack->mapping);
  if (r < 0)
    return error_set(err, r, "cannot read the pack %s: %s", path, strerror(-r));
  pack->pixels = (const uint8_t *)mapping_data(pack->mapping) + pack->header->pixels_offset;
  *ret_pack = TAKE(pack);
  return 0;
}

struct pack *pack_free(struct pack *pack) {
  if (pack) {
    mapping_free(pack->mapping);
    free(pack->head);
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
