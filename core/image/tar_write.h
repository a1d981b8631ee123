/* Archives of IDENTITY/IMAGE written by the client and by tests. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

/* Draws identities x images synthetic faces (core/image/synth.h) as person-001/01.ppm ... into an
 * uncompressed tar on fd. The same arguments give the same bytes. */
int synth_write_tar(int fd, uint64_t seed, uint32_t identities, uint32_t images, uint32_t size,
                    struct guise_error *err);

/* What of a folder is no IDENTITY/IMAGE file, and why it is left out. */
enum tar_skip {
  TAR_HIDDEN,  /* a name that starts with a dot, at either level */
  TAR_LOOSE,   /* a file beside the folders of people */
  TAR_DEEPER,  /* a folder in a person's folder; nothing in it is looked at */
  TAR_LOST,    /* a link that leads nowhere */
  TAR_SPECIAL, /* neither file nor folder: a pipe, a socket, a device */
  TAR_SKIPS
};
/* "hidden files or folders" */
const char *tar_skip_text(enum tar_skip skip);

struct tar_skipped {
  uint64_t count;
  char first[520]; /* path below the folder; "" = none */
};

struct tar_survey {
  uint64_t files; /* that go into the archive */
  uint64_t bytes; /* of the archive, about */
  struct tar_skipped skipped[TAR_SKIPS];
};

/* What tar_folder would make of the folder, without opening a file. *ret_survey is filled as far as it went,
 * also with an error. -ENODATA when the folder holds no IDENTITY/IMAGE file. */
int tar_survey(const char *folder, struct tar_survey *ret_survey, struct guise_error *err);

/* Streams a folder of IDENTITY/IMAGE as tar into fd: regular files only, sorted, hidden names left out. Links
 * to files and to people's folders are followed; nothing below a person's folder is looked at, so that they
 * cannot lead round. -ENODATA when the folder holds no IDENTITY/IMAGE file; -EPIPE and the like from writing.
 */
int tar_folder(const char *folder, int fd, struct guise_error *err);
