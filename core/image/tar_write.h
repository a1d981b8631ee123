/* Archives of IDENTITY/IMAGE written by the client and by tests. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

/* Draws identities x images synthetic faces (core/image/synth.h) as person-001/01.ppm ... into an
 * uncompressed tar on fd. The same arguments give the same bytes. */
int synth_write_tar(int fd, uint64_t seed, uint32_t identities, uint32_t images, uint32_t size,
                    struct guise_error *err);

/* Streams a folder of IDENTITY/IMAGE as tar into fd: regular files only, sorted, hidden names left out, links
 * not followed. progress may be NULL. -ENODATA when the folder holds no IDENTITY/IMAGE file; -EPIPE and the
 * like from writing. */
int tar_folder(const char *folder, int fd, void (*progress)(void *context, uint64_t files, uint64_t bytes),
               void *context, struct guise_error *err);
