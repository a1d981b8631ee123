/* The decoders themselves and the protocol of `guise-decode`. Inside the jail only: nothing else calls
 * image_decode.
 *
 * Request:  u32 target side, u32 bytes, the file. Answer: u32 status (enum decode_status), u32 length, then
 * size*size*3 RGB bytes or a reason as text. Integers in native order: both ends are one machine. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

enum decode_status { DECODE_OK, DECODE_UNSUPPORTED, DECODE_CORRUPT, DECODE_DIMENSIONS, DECODE_STATUSES };

#define DECODE_SIDE_MAX 8192u
#define DECODE_PIXELS_MAX 40000000u
#define DECODE_FILE_MAX (64u << 20)
#define DECODE_SECONDS 10u /* that the other end waits for an answer */
/* Images that the other end asks one helper for. Its CPU time is limited to that of so many which take as
 * long as they may, so that the limit never ends it in an image that could still be answered. */
#define DECODE_IMAGES 256u

struct decoded {
  uint8_t *rgb; /* (height,width,3), owned by the caller */
  uint32_t width, height;
};

/* Told by content: JPEG (grey, YCbCr, RGB; CMYK is unsupported), PNG (any; alpha is laid on black), PGM and
 * PPM (binary and plain). EXIF, its orientation included, is ignored. `reason`: 200 bytes, filled on failure.
 */
enum decode_status image_decode(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                                char reason[200]);

/* The helper itself, of a process that was started as DECODE_PROGRAM: enters the jail and serves until its
 * standard input ends. Returns the exit status. */
#define DECODE_PROGRAM "guise-decode" /* its argv[0] */
int decode_serve(void);
/* The jail: reading and writing what is open already, and memory; every other system call ends the process
 * with SIGSYS. 0 or negative when this system refuses. */
int decode_jail(void);

enum decode_status decode_jpeg(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                               char reason[200]);
enum decode_status decode_png(const uint8_t *data, size_t bytes, struct decoded *ret_image, char reason[200]);
enum decode_status decode_pnm(const uint8_t *data, size_t bytes, struct decoded *ret_image, char reason[200]);
/* Allocates when the dimensions are allowed. */
enum decode_status decode_allocate(uint64_t width, uint64_t height, struct decoded *ret_image,
                                   char reason[200]);
