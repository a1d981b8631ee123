/* A running `guise-decode`: started on demand, restarted when it dies and after DECODE_IMAGES images, killed
 * when it does not answer in time. One thread a decoder. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

struct decoder {
  const char *program;
  int socket; /* -1 = not running */
  int pid;
  uint32_t images; /* that it was asked for */
};

void decoder_init(struct decoder *decoder, const char *program);
void decoder_stop(struct decoder *decoder);

/* 0: ret_rgb (size,size,3) is filled. -EBADMSG: the image is bad; code (a word, as in struct
 * ingest_callbacks) and detail say why. Another negative errno: no decoder can be run; err says what to do.
 * detail: 200 bytes. A helper that dies or is late may not be the image's fault (memory, a busy machine): a
 * fresh one gets the image once more before the code is "decoder_failed". */
int decoder_run(struct decoder *decoder, const void *data, size_t bytes, uint32_t size, uint8_t *ret_rgb,
                const char **ret_code, char detail[200], struct guise_error *err);
