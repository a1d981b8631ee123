/* The configuration as a file, and the options' help. */
#include <stdio.h>
#include <string.h>

#include "daemon/config_internal.h"

void config_dump(const struct config *config, FILE *out) {
  (void)fputs("# guised --config FILE reads this\n", out);
  for (size_t i = 0; i < config_option_count; i++) {
    const struct config_option *option = &config_options[i];
    (void)fprintf(out, "\n# %s\n", option->help);
    const char *text = option->type == CONFIG_STRING ? config_text(option, config) : "";
    if (strlen(option->name) + strlen(" = ") + strlen(text) > CONFIG_LINE)
      (void)fprintf(out, "# %s is too long for a line of a file: give it as flag or variable\n",
                    option->name);
    else if (option->type == CONFIG_STRING)
      (void)fprintf(out, "%s = %s\n", option->name, text);
    else
      (void)fprintf(out, "%s = %llu\n", option->name, (unsigned long long)config_number(option, config));
  }
}

static void put_flag(FILE *out, const char *name, const char *argument) {
  char flag[CONFIG_NAME];
  config_flag_name(name, flag);
  int used = fprintf(out, "  %s%s%s", flag, argument ? " " : "", argument ? argument : "");
  (void)fprintf(out, "%*s", MAX(29 - used, 1), "");
}

void config_help(FILE *out) {
  (void)fputs("usage: guised [OPTION VALUE]...\n\n"
              "Trains face-recognition models that do not give the faces away. Options come from the "
              "defaults, then a file\n"
              "(lines \"name = value\"; then those of FILE.d/*.conf), then the environment (GUISE_LISTEN, "
              "...), then flags; the last one "
              "counts.\n\n",
              out);
  for (size_t i = 0; i < config_option_count; i++) {
    const struct config_option *option = &config_options[i];
    put_flag(out, option->name, option->argument);
    (void)fprintf(out, "%s [%s]%s\n", option->help, option->default_value[0] ? option->default_value : "none",
                  option->mutable_ ? " *" : "");
  }
  for (size_t i = 0; i < config_flag_count; i++) {
    put_flag(out, config_flags[i].name, config_flags[i].argument);
    (void)fprintf(out, "%s\n", config_flags[i].help);
  }
  (void)fputs("\n* SIGHUP reads the file again and applies these; the others need a restart.\n", out);
}
