/* Puts right what a mutation broke, so that it is not only the checksum that is tested. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void png_repair(uint8_t *data, size_t size); /* the CRC of every chunk of a PNG file */
void tar_repair(uint8_t *data, size_t size); /* the checksum of every block with the magic of a tar header */
