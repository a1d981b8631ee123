/* Pictures for reports: RGB bytes to a PNG in a data URI. */
#pragma once

#include <stdint.h>

#include "core/base/base.h"

/* rgb: (height,width,3). *ret_uri "data:image/png;base64,..." is freed by the caller. -ENOMEM, -EINVAL, -EIO.
 */
int png_data_uri(const uint8_t *rgb, uint32_t width, uint32_t height, char **ret_uri);
