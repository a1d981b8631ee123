/* The pack: a data set as one read-only, memory-mapped file of equally sized RGB images, sorted by identity.
 *
 * The file is content-addressed (its name is its sha256), so the same faces always give the same file: images
 * stand in the order of identity name, then of image name, both in natural order ("2" before "10"). All
 * integers are little-endian. The reader trusts nothing: sizes, offsets and names are checked against the
 * file's length. Header, tables and names are read when it is opened; pixels that cannot be read later are
 * black, which their reader learns from a mapping_watch (core/base/mapping.h). */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

struct pack;

int pack_open(const char *path, struct pack **ret_pack, struct guise_error *err);
struct pack *pack_free(struct pack *pack);

uint32_t pack_size(const struct pack *pack); /* pixels of a side */
uint32_t pack_images(const struct pack *pack);
uint32_t pack_identities(const struct pack *pack);
const uint8_t *pack_image(const struct pack *pack, uint32_t image); /* (size,size,3) RGB bytes */
uint32_t pack_identity_of(const struct pack *pack, uint32_t image);
const char *pack_identity_name(const struct pack *pack, uint32_t identity);
const char *pack_image_name(const struct pack *pack, uint32_t image); /* without the identity */
/* Images of one identity are contiguous: [*ret_first, *ret_first + *ret_count). */
void pack_identity_range(const struct pack *pack, uint32_t identity, uint32_t *ret_first,
                         uint32_t *ret_count);
int pack_find_identity(const struct pack *pack, const char *name, uint32_t *ret_identity); /* 0 or -ENOENT */

/* Writes the pack at `from` anew to `to`, durably, without a person, or without one image of the person
 * (`image` as pack_image_name says it; NULL = all of them). -ENOENT: there is no such person or image;
 * -ENODATA: nobody would be left. */
struct ingest_result;
int pack_without(const char *from, const char *identity, const char *image, const char *to,
                 struct ingest_result *ret_result, struct guise_error *err);

/* Area filter when shrinking, bilinear when growing; (from,from,3) -> (to,to,3). For jobs whose input is
 * smaller than the pack, and used at ingest (there with width != height: the image is centre-cropped to a
 * square first unless it is within 25 % of one; then it is stretched). */
void image_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb, uint32_t size);
