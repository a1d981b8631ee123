/* The files of web/, embedded by web/embed.sh: the dashboard. */
#pragma once

#include <stddef.h>

#include "core/base/base.h"

struct web_file {
  const char *name; /* "app.js" */
  const char *data;
  size_t size;
  const char *sha256;
};
extern const struct web_file web_files[];
extern const size_t web_file_count;
