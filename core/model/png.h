/* Pictures for reports and documents: RGB bytes to PNG. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

/* rgb: (height,width,3). The result is freed by the caller. -ENOMEM, -EINVAL, -EIO. */
int png_encode(const uint8_t *rgb, uint32_t width, uint32_t height, void **ret_png, size_t *ret_bytes);
/* The same as "data:image/png;base64,...". */
int png_data_uri(const uint8_t *rgb, uint32_t width, uint32_t height, char **ret_uri);
