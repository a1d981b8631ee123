/* guise-decode: the program around core/image/decode_serve.c. */
#include "core/image/decode.h"

int main(void) {
  return decode_serve();
}
