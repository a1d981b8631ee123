#include <ctype.h>
#include <string.h>

#include "reference/reference.h"

static bool has_capitals(const char *text) {
  for (; *text; text++)
    if (isupper((unsigned char)*text))
      return true;
  return false;
}

enum completes argument_completes(const char *argument) {
  if (!argument)
    return COMPLETES_NOTHING;
  if (strchr(argument, '|') && !has_capitals(argument))
    return COMPLETES_CHOICE;
  if (strstr(argument, "FILE") || strstr(argument, "PATH") || strstr(argument, "IMAGE"))
    return COMPLETES_FILE;
  return strstr(argument, "DIR") ? COMPLETES_DIRECTORY : COMPLETES_NOTHING;
}

bool argument_next(const char **text, struct argument *ret_argument) {
  const char *p = *text + strspn(*text, " ");
  size_t length;
  if (!*p)
    return false;
  *ret_argument = (struct argument){.optional = *p == '['};
  p += *p == '[';
  length = strcspn(p, " ]");
  (void)snprintf(ret_argument->name, sizeof(ret_argument->name), "%.*s", (int)length, p);
  p += length;
  if (strncmp(p, " ...", 4) == 0) {
    ret_argument->repeated = true;
    p += 4;
  }
  p += *p == ']';
  *text = p;
  return true;
}
