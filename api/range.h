/* HTTP byte ranges, entity tags and digests (RFC 9110, RFC 9530): pure parsers. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"

enum range_result {
  RANGE_FULL,         /* no range, one that is not understood, or several: send everything, 200 */
  RANGE_PART,         /* send the part, 206 */
  RANGE_UNSATISFIABLE /* 416 */
};
/* A Range header's value (NULL = none) against a file of `size` bytes. */
enum range_result range_parse(const char *header, uint64_t size, uint64_t *ret_offset, uint64_t *ret_length);

/* Whether an If-None-Match value (NULL = no) names the strong tag "sha256"; weak comparison, * matches. */
bool etag_matches(const char *header, const char *sha256);
/* Whether a Range may be honoured: no If-Range, or the very same strong tag. */
bool if_range_holds(const char *header, const char *sha256);

/* "sha-256=:...:" of a hex digest, as Repr-Digest has it. */
#define DIGEST_TEXT 64
void digest_format(const char sha256[SHA256_HEX], char ret_text[DIGEST_TEXT]);
/* A Content-Digest header: 1 with ret_sha256 set; 0 when it names no sha-256; -EINVAL when it is malformed.
 */
int digest_parse(const char *header, char ret_sha256[SHA256_HEX]);
