/* Reads tests/golden/metric.txt: lines of a word and numbers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_NUMBERS 16

/* The next line that begins with `word`; false at the end. ret_numbers: the numbers after it. */
static inline bool golden_next(FILE *file, const char *word, double ret_numbers[GOLDEN_NUMBERS]) {
  char line[1024];
  while (fgets(line, sizeof(line), file)) {
    if (strncmp(line, word, strlen(word)) != 0)
      continue;
    char *at = line + strlen(word);
    for (int i = 0; i < GOLDEN_NUMBERS; i++) {
      char *end = at;
      ret_numbers[i] = strtod(at, &end);
      if (end == at)
        break;
      at = end;
    }
    return true;
  }
  return false;
}

/* The generator of make_metric.py: 15 bits a call. */
static inline uint32_t lcg_next(uint32_t *state) {
  *state = (uint32_t)(((uint64_t)*state * 1103515245u + 12345u) % 0x80000000u);
  return *state >> 16;
}
