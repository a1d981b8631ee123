/* PGM and PPM (http://netpbm.sourceforge.net/doc/ppm.html): P2, P3, P5, P6, maxval up to 65535. */
#include <ctype.h>
#include <stdio.h>

#include "core/image/decode.h"

struct text {
  const uint8_t *at, *end;
};

/* The next number of a header or a plain raster; comments run from # to the end of the line. UINT32_MAX when
 * there is none. */
static uint32_t next_number(struct text *text) {
  while (text->at < text->end && (isspace(*text->at) || *text->at == '#')) {
    if (*text->at == '#')
      while (text->at < text->end && *text->at != '\n')
        text->at++;
    else
      text->at++;
  }
  if (text->at == text->end || !isdigit(*text->at))
    return UINT32_MAX;
  uint32_t value = 0;
  for (; text->at < text->end && isdigit(*text->at); text->at++) {
    if (value > 1000000)
      return UINT32_MAX;
    value = value * 10 + (uint32_t)(*text->at - '0');
  }
  return value;
}

static enum decode_status corrupt(char reason[200], const char *why) {
  (void)snprintf(reason, 200, "%s", why);
  return DECODE_CORRUPT;
}

/* One sample scaled to 0..255, or UINT32_MAX. */
static uint32_t next_sample(struct text *text, bool plain, uint32_t maxval) {
  uint32_t value;
  if (plain) {
    value = next_number(text);
  } else if (maxval < 256) {
    value = text->at < text->end ? *text->at++ : UINT32_MAX;
  } else {
    if (text->end - text->at < 2)
      return UINT32_MAX;
    value = (uint32_t)text->at[0] << 8 | text->at[1];
    text->at += 2;
  }
  return value > maxval ? UINT32_MAX : (value * 255 + maxval / 2) / maxval;
}

enum decode_status decode_pnm(const uint8_t *data, size_t bytes, struct decoded *ret_image,
                              char reason[200]) {
  struct text text = {data + 2, data + bytes};
  bool plain = data[1] < '5', grey = data[1] == '2' || data[1] == '5';
  struct decoded image = {NULL, 0, 0};
  uint32_t width = next_number(&text), height = next_number(&text), maxval = next_number(&text);
  if (width == UINT32_MAX || height == UINT32_MAX || maxval == UINT32_MAX || maxval == 0 || maxval > 65535)
    return corrupt(reason, "the header is not that of a PGM or PPM file");
  if (!plain) {
    uint64_t need = (uint64_t)width * height * (grey ? 1 : 3) * (maxval < 256 ? 1 : 2);
    if (text.at == text.end || !isspace(*text.at++) || (uint64_t)(text.end - text.at) < need)
      return corrupt(reason, "the file ends too early");
  }
  enum decode_status status = decode_allocate(width, height, &image, reason);
  if (status != DECODE_OK)
    return status;
  for (size_t i = 0; i < (size_t)width * height * (grey ? 1 : 3); i++) {
    uint32_t value = next_sample(&text, plain, maxval);
    if (value == UINT32_MAX) {
      free(image.rgb);
      return corrupt(reason, "a sample is missing or above the largest value");
    }
    if (grey)
      image.rgb[3 * i] = image.rgb[3 * i + 1] = image.rgb[3 * i + 2] = (uint8_t)value;
    else
      image.rgb[i] = (uint8_t)value;
  }
  *ret_image = image;
  return DECODE_OK;
}
