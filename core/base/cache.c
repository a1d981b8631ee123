#include "core/base/cache.h"

#include <string.h>

#include "core/base/json.h"

/* Changes when the same description comes to mean another network within a version. */
#define FORMAT "guise-cache-1"

int cache_key(json_t *identity, char ret_key[SHA256_HEX]) {
  json_t *whole =
      identity ? json_pack("{s:s, s:s, s:o}", "format", FORMAT, "guise", GUISE_VERSION, "network", identity)
               : NULL;
  _cleanup_(freep) char *text = whole ? json_print(whole, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  json_decref(whole);
  if (!text)
    return -ENOMEM;
  sha256_data(text, strlen(text), ret_key);
  return 0;
}
