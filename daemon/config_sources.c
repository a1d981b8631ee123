/* Environment and flags, and the order in which what sets options counts. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_internal.h"

/* ---- environment ---- */

void config_variable_name(const char *name, char ret_variable[CONFIG_NAME]) {
  (void)snprintf(ret_variable, CONFIG_NAME, "GUISE_%s", name);
  for (char *p = ret_variable; *p; p++)
    *p = (char)toupper((unsigned char)*p);
}

static const char *environment_get(char *const *envp, const char *variable) {
  size_t length = strlen(variable);
  for (; envp && *envp; envp++)
    if (strncmp(*envp, variable, length) == 0 && (*envp)[length] == '=')
      return *envp + length + 1;
  return NULL;
}

static int read_environment(struct config *config, char *const *envp, struct guise_error *err) {
  char variable[CONFIG_NAME];
  for (size_t i = 0; i < config_option_count; i++) {
    config_variable_name(config_options[i].name, variable);
    const char *value = environment_get(envp, variable);
    int r = value ? config_set(config, config_options[i].name, value, variable, err) : 0;
    if (r < 0)
      return r;
  }
  return 0;
}

static bool variable_known(const char *variable, size_t length) {
  static const char *const others[] = {"GUISE_CONFIG", "GUISE_URL",        "GUISE_FACES", "GUISE_TEST_DATA",
                                       "GUISE_TOKEN",  "GUISE_TOKEN_FILE", "GUISE_CA"};
  char name[CONFIG_NAME];
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    if (strlen(others[i]) == length && strncmp(variable, others[i], length) == 0)
      return true;
  for (size_t i = 0; i < config_option_count; i++) {
    config_variable_name(config_options[i].name, name);
    if (strlen(name) == length && strncmp(variable, name, length) == 0)
      return true;
  }
  return false;
}

const char *config_unknown_variable(char *const *envp, size_t *position) {
  while (envp && envp[*position]) {
    const char *variable = envp[(*position)++];
    if (strncmp(variable, "GUISE_", 6) == 0 && !variable_known(variable, strcspn(variable, "=")))
      return variable;
  }
  return NULL;
}

/* ---- flags ---- */

void config_flag_name(const char *name, char ret_flag[CONFIG_NAME]) {
  (void)snprintf(ret_flag, CONFIG_NAME, "--%s", name);
  for (char *p = ret_flag; *p; p++)
    if (*p == '_')
      *p = '-';
}

struct flag {
  char name[CONFIG_NAME]; /* with _ for -; without the leading -- */
  const char *value;      /* NULL = none given */
};

/* Reads argv[*i]; -EINVAL when it is no flag. Advances *i over a value that stands apart. */
static int read_flag(int argc, char *const *argv, int *i, struct flag *ret_flag, struct guise_error *err) {
  const char *text = argv[*i];
  if (strcmp(text, "-h") == 0)
    text = "--help";
  const char *equals = strchr(text, '=');
  size_t length = equals ? (size_t)(equals - text) : strlen(text);
  if (strncmp(text, "--", 2) != 0 || length < 3 || length - 2 >= sizeof(ret_flag->name))
    return error_set(err, -EINVAL, "\"%s\" is not understood; guised --help shows what is", text);
  (void)snprintf(ret_flag->name, sizeof(ret_flag->name), "%.*s", (int)(length - 2), text + 2);
  for (char *p = ret_flag->name; *p; p++)
    if (*p == '-')
      *p = '_';
  ret_flag->value = equals ? equals + 1 : NULL;
  const struct config_flag *known = config_find_flag(ret_flag->name);
  if (known && !known->argument)
    return equals ? error_set(err, -EINVAL, "%s takes no value", text) : 0;
  if (!known && !config_find_option(ret_flag->name))
    return error_set(err, -EINVAL, "there is no option %.*s; guised --help lists all", (int)length, text);
  if (!ret_flag->value) {
    if (*i + 1 >= argc)
      return error_set(err, -EINVAL, "%s needs a value", text);
    ret_flag->value = argv[++*i];
  }
  return 0;
}

static int take_action(const struct config_flag *known, const struct flag *flag, struct config *config,
                       enum config_action *ret_action, struct guise_error *err) {
  *ret_action = known->action;
  if (!known->argument || !config)
    return 0;
  if (!*flag->value || strlen(flag->value) >= sizeof(config->action_directory))
    return error_set(err, -EINVAL, "--%s names a directory", flag->name);
  (void)snprintf(config->action_directory, sizeof(config->action_directory), "%s", flag->value);
  return 0;
}

/* First pass (config NULL): finds action and file; second pass: sets options. */
static int read_flags(int argc, char *const *argv, struct config *config, enum config_action *action,
                      const char **file, struct guise_error *err) {
  for (int i = 1; i < argc; i++) {
    struct flag flag;
    char source[80];
    int r = read_flag(argc, argv, &i, &flag, err);
    if (r < 0)
      return r;
    (void)snprintf(source, sizeof(source), "--%s", flag.name);
    const struct config_flag *known = config_find_flag(flag.name);
    if (known && known->action != CONFIG_RUN)
      r = take_action(known, &flag, config, action, err);
    else if (known)
      *file = flag.value;
    else if (config)
      r = config_set(config, flag.name, flag.value, source, err);
    if (r < 0)
      return r;
  }
  return 0;
}

int config_load(int argc, char *const *argv, char *const *envp, struct config *ret_config,
                enum config_action *ret_action, char *ret_file, struct guise_error *err) {
  struct config config;
  enum config_action action = CONFIG_RUN;
  const char *file = environment_get(envp, "GUISE_CONFIG");
  config_defaults(&config);
  int r = read_flags(argc, argv, NULL, &action, &file, err);
  if (r == 0 && file && strlen(file) >= CONFIG_TEXT)
    r = error_set(err, -ENAMETOOLONG, "the path of the configuration is too long");
  bool informing = action == CONFIG_HELP || action == CONFIG_VERSION; /* these need no valid file */
  if (r == 0 && file && file[0] && !informing)
    r = config_read_files(&config, file, err);
  if (r == 0 && !informing)
    r = read_environment(&config, envp, err);
  if (r == 0)
    r = read_flags(argc, argv, &config, &action, &file, err);
  if (r < 0)
    return r;
  *ret_config = config;
  *ret_action = action;
  if (ret_file)
    (void)snprintf(ret_file, CONFIG_TEXT, "%s", file ? file : "");
  return 0;
}
