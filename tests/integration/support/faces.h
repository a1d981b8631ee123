/* Drawn faces as requests carry them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The PNG file of an image: how many bytes it has. rgb: (side,side,3). */
size_t face_png(const uint8_t *rgb, uint32_t side, uint8_t *ret_png, size_t room);
/* A request of the Open Inference Protocol: its JSON, and `count` images behind it as UINT8 in planes.
 * header: what tells how long the JSON is. The answer's tensor is asked for as JSON. */
size_t face_tensor(const uint8_t *const *rgb, uint32_t count, uint32_t side, uint8_t *ret_body, size_t room,
                   char ret_header[64]);
/* (side,side,3) as three planes. */
void face_planes(const uint8_t *rgb, uint32_t side, uint8_t *ret_planes);
