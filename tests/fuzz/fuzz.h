/* What fuzz targets share. A target is one function, LLVMFuzzerTestOneInput: libFuzzer calls it in builds
 * with GUISE_FUZZ; in all others replay.c calls it with each file of the target's corpus, as a regression
 * test.
 *
 * Besides crashes a target looks for broken promises: what FUZZ_CHECK says holds for every input. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of targets whose format has checksums; max_size bytes of room. Returns the new size. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); /* libFuzzer's */

/* The input as a file in memory, overwritten by the next call; the path is static. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* The input as a string, up to its first NUL; freed by the caller. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Reads every byte, so that the sanitizers see what lies behind a pointer. */
void fuzz_touch(const void *data, size_t size);

#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))
void fuzz_broken(const char *condition, const char *file, int line) __attribute__((noreturn));
