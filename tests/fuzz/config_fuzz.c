/* The configuration file. What is accepted is dumped as a file that reads back to the same. */
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "tests/fuzz/fuzz.h"

static int load(const char *path, struct config *ret_config, struct guise_error *err) {
  char *argv[] = {(char *)"guised", (char *)"--config", (char *)path, NULL};
  enum config_action action;
  return config_load(3, argv, NULL, ret_config, &action, NULL, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct config config, again; /* large */
  struct guise_error err = {0};
  char *text = NULL;
  size_t length = 0;
  if (load(fuzz_file(data, size), &config, &err) < 0) {
    FUZZ_CHECK(err.text[0]);
    return 0;
  }
  FILE *out = open_memstream(&text, &length);
  FUZZ_CHECK(out != NULL);
  config_dump(&config, out);
  FUZZ_CHECK(fclose(out) == 0);
  FUZZ_CHECK(load(fuzz_file((const uint8_t *)text, length), &again, &err) == 0);
  for (size_t i = 0; i < config_option_count; i++) { /* behind a string's end the two may differ */
    const struct config_option *option = &config_options[i];
    const char *a = (const char *)&config + option->offset, *b = (const char *)&again + option->offset;
    if (option->type == CONFIG_STRING && strlen(option->name) + strlen(" = ") + strlen(a) > CONFIG_LINE)
      continue; /* "name=value" just fitted */
    FUZZ_CHECK(option->type == CONFIG_STRING ? strcmp(a, b) == 0 : memcmp(a, b, option->size) == 0);
  }
  free(text);
  return 0;
}
