#include "daemon/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_internal.h"
#include "daemon/listen.h"
#include "daemon/peer.h"

/* ---- the table ---- */

static int check_listen(const char *value, struct guise_error *err) {
  struct listen_address address;
  return listen_parse(value, &address, err);
}

static int check_not_empty(const char *value, struct guise_error *err) {
  return value[0] ? 0 : error_set(err, -EINVAL, "it must not be empty");
}

static int check_auth(const char *value, struct guise_error *err) {
  if (strcmp(value, "local") == 0 || strcmp(value, "token") == 0)
    return 0;
  return error_set(err, -EINVAL, "\"%s\" is neither local nor token", value);
}

static int check_tls(const char *value, struct guise_error *err) {
  if (strcmp(value, "required") == 0 || strcmp(value, "elsewhere") == 0)
    return 0;
  return error_set(err, -EINVAL, "\"%s\" is neither required nor elsewhere", value);
}

static int check_users(const char *value, struct guise_error *err) {
  struct peers peers;
  return peers_parse(value, "", &peers, err);
}

static int check_groups(const char *value, struct guise_error *err) {
  struct peers peers;
  return peers_parse("", value, &peers, err);
}

static int check_level(const char *value, struct guise_error *err) {
  static const char *const levels[] = {"error", "warning", "info", "debug"};
  for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
    if (strcmp(value, levels[i]) == 0)
      return 0;
  return error_set(err, -EINVAL, "\"%s\" is none of error, warning, info, debug", value);
}

static int check_format(const char *value, struct guise_error *err) {
  static const char *const formats[] = {"auto", "text", "json"};
  for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
    if (strcmp(value, formats[i]) == 0)
      return 0;
  return error_set(err, -EINVAL, "\"%s\" is none of auto, text, json", value);
}

static int check_hosts(const char *value, struct guise_error *err) {
  for (const char *p = value; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr(".-_:[], ", *p))
      return error_set(err, -EINVAL, "host names are letters, digits, dots and hyphens, separated by commas");
  return 0;
}

#define FIELD(field) #field, offsetof(struct config, field), sizeof(((struct config *)NULL)->field)
#define STRING(field, value, checker, mutability, what, text) \
  { FIELD(field), CONFIG_STRING, value, 0, 0, checker, mutability, what, text }
#define INTEGER(field, value, low, high, mutability, text) \
  { FIELD(field), CONFIG_INTEGER, value, low, high, NULL, mutability, "N", text }
#define BYTES(field, value, low, high, mutability, text) \
  { FIELD(field), CONFIG_BYTES, value, low, high, NULL, mutability, "BYTES", text }

const struct config_option config_options[] = {
    STRING(listen, "127.0.0.1:8080", check_listen, false, "ADDRESS",
           "ADDR:PORT, port 0 = a free one (it is printed); or unix:PATH"),
    STRING(state, "./guise-data", check_not_empty, false, "DIR",
           "where the database, data sets and models are kept"),
    STRING(auth, "local", check_auth, false, "local|token",
           "local: on loopback and Unix sockets no token is needed, elsewhere always; token: everywhere"),
    STRING(tls_certificate, "", NULL, false, "FILE",
           "certificate in PEM form, its chain behind it, to serve HTTPS; read again at SIGHUP"),
    STRING(tls_key, "", NULL, false, "FILE", "its key in PEM form, without a password; read again at SIGHUP"),
    STRING(
        tls, "required", check_tls, false, "required|elsewhere",
        "required: addresses that other machines reach are served with a certificate only; elsewhere: also "
        "without one, because a proxy in front encrypts"),
    STRING(unix_users, "", check_users, false, "USERS",
           "users who need no token on a Unix socket, by name or number, separated by commas; without them "
           "and unix_groups everybody who may open it"),
    STRING(unix_groups, "", check_groups, false, "GROUPS", "groups likewise"),
    INTEGER(owner_jobs, "0", 0, 1000000, true,
            "jobs that have not ended of one owner of tokens at most, 0 = any number"),
    BYTES(owner_bytes, "0", 0, UINT64_C(1) << 60, true,
          "bytes of one owner's data sets at most, 0 = any number"),
    INTEGER(owner_images, "0", 0, UINT64_C(1) << 40, true,
            "images in one owner's data sets at most, 0 = any number"),
    INTEGER(audit_keep_days, "365", 1, 36500, true, "days after which the audit trail forgets"),
    INTEGER(log_keep_days, "30", 0, 36500, true, "days after a job's end for which its log is kept"),
    INTEGER(retry_delay_s, "10", 0, 3600, true,
            "seconds before a job that failed for want of memory or disk is tried again; four times as many "
            "each further time"),
    INTEGER(cores, "0", 0, 4096, false, "cores for jobs, 0 = all this process may use"),
    INTEGER(workers, "0", 0, 1024, false,
            "jobs that run at once at most, 0 = as many as have threads within the cores"),
    INTEGER(
        threads, "0", 0, 1024, false,
        "threads of a job that asks for no number, 0 = all cores, or cores / workers where workers is set"),
    STRING(decoder, "", NULL, false, "FILE",
           "the program guise-decode, empty = beside guised, then in libexec"),
    INTEGER(decoders, "0", 0, 8, false, "decoders of an upload, 0 = one a core"),
    BYTES(upload_max_bytes, "64GiB", 1, UINT64_C(1) << 50, true, "largest upload of a data set"),
    BYTES(json_max_bytes, "1MiB", 1024, UINT64_C(1) << 30, true, "largest JSON body"),
    BYTES(image_max_bytes, "4MiB", 1024, UINT64_C(64) << 20, true, "largest image of embed and verify"),
    INTEGER(inference_rate, "10", 1, 1000000, true, "images a second that one client may have embedded"),
    INTEGER(inference_burst, "20", 2, 1000000, true, "images that one client may have embedded at once"),
    INTEGER(inference_queue, "16", 1, 1024, false, "requests that wait to be embedded at most"),
    BYTES(inference_memory_bytes, "1GiB", 0, UINT64_C(1) << 50, true,
          "memory of the models that are kept loaded for embed and verify"),
    STRING(allowed_hosts, "", check_hosts, true, "NAMES",
           "Host values to accept besides localhost, 127.0.0.1 and [::1], separated by commas"),
    INTEGER(connections, "512", 8, 65536, false, "open HTTP connections at most"),
    INTEGER(connections_per_address, "0", 0, 65536, false,
            "of them from one address at most; 0 = a quarter where other machines reach guised itself (tls = "
            "required), else "
            "any number; behind a proxy all come from one"),
    INTEGER(request_timeout_s, "60", 1, 86400, false,
            "seconds that a request's head, its body, and each chunk of an upload may take"),
    INTEGER(heartbeat_s, "15", 1, 3600, true, "seconds between signs of life in an event stream"),
    INTEGER(progress_interval_s, "10", 1, 3600, true,
            "seconds between writes of a job's progress to the database"),
    INTEGER(shutdown_timeout_s, "7", 1, 3600, true,
            "seconds that jobs get for a checkpoint when guised stops"),
    STRING(log_level, "info", check_level, true, "error|warning|info|debug",
           "how much guised tells on standard error"),
    STRING(
        log_format, "auto", check_format, true, "auto|text|json",
        "auto: entries with fields in the journal where standard error is the journal's, else text; json: an "
        "object a line"),
};
const size_t config_option_count = ARRAY_SIZE(config_options);

const struct config_flag config_flags[] = {
    {"config", "FILE", CONFIG_RUN, "read options from FILE (or $GUISE_CONFIG)"},
    {"dump_config", NULL, CONFIG_DUMP, "print what is in force, as a file, and exit"},
    {"check_config", NULL, CONFIG_CHECK, "check the configuration and exit"},
    {"backup", "DIR", CONFIG_BACKUP, "copy the state directory to DIR, beside a running guised, and exit"},
    {"restore", "DIR", CONFIG_RESTORE, "put such a copy back into an empty state directory and exit"},
    {"check_state", NULL, CONFIG_CHECK_STATE,
     "compare database and files of the state directory and exit; status 1: there is damage"},
    {"version", NULL, CONFIG_VERSION, "print the version and exit"},
    {"help", NULL, CONFIG_HELP, "print the options and exit"},
};
const size_t config_flag_count = ARRAY_SIZE(config_flags);

const struct config_flag *config_find_flag(const char *name) {
  for (size_t i = 0; i < config_flag_count; i++)
    if (strcmp(config_flags[i].name, name) == 0)
      return &config_flags[i];
  return NULL;
}

const struct config_option *config_find_option(const char *name) {
  for (size_t i = 0; i < config_option_count; i++)
    if (strcmp(config_options[i].name, name) == 0)
      return &config_options[i];
  return NULL;
}

static void set_number(const struct config_option *option, struct config *config, uint64_t value) {
  memcpy((char *)config + option->offset, &value, sizeof(value));
}

/* ---- values ---- */

static int parse_number(const char *text, bool bytes, uint64_t *ret_value) {
  char *end;
  unsigned shift = 0;
  if (!isdigit((unsigned char)text[0]))
    return -EINVAL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno)
    return -ERANGE;
  if (bytes && *end) {
    static const char units[] = "KMGT";
    const char *unit = strchr(units, toupper((unsigned char)*end));
    if (!unit)
      return -EINVAL;
    shift = 10 * (unsigned)(unit - units + 1);
    end++;
    if (strcmp(end, "iB") == 0 || strcmp(end, "B") == 0)
      end += strlen(end);
  }
  if (*end)
    return -EINVAL;
  if (value > UINT64_MAX >> shift)
    return -ERANGE;
  *ret_value = (uint64_t)value << shift;
  return 0;
}

/* Whether a file can hold it as a value: what --dump-config writes must read back to the same. */
static bool fits_a_line(const char *value) {
  bool blank = true; /* before *p */
  for (const char *p = value; *p; blank = *p == ' ', p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f || (blank && (*p == ';' || (*p == ' ' && p == value))))
      return false;
  return !*value || !blank;
}

static int set_text(struct config *config, const struct config_option *option, const char *value,
                    const char *source, struct guise_error *err) {
  struct guise_error why = {0, ""};
  if (strlen(value) >= option->size)
    return error_set(err, -EINVAL, "%s: %s is longer than %zu bytes", source, option->name, option->size - 1);
  if (!fits_a_line(value))
    return error_set(
        err, -EINVAL,
        "%s: %s must not hold control characters, blanks at its ends, or a blank before ';', where "
        "a comment begins",
        source, option->name);
  int r = option->check ? option->check(value, &why) : 0;
  if (r < 0)
    return error_set(err, r, "%s: %s: %s", source, option->name, why.text);
  (void)snprintf(config_text(option, config), option->size, "%s", value);
  return 0;
}

int config_set(struct config *config, const char *name, const char *value, const char *source,
               struct guise_error *err) {
  const struct config_option *option = config_find_option(name);
  uint64_t number;
  if (!option)
    return error_set(err, -EINVAL, "%s: there is no option %s; guised --help lists all", source, name);
  if (option->type == CONFIG_STRING)
    return set_text(config, option, value, source, err);
  int r = parse_number(value, option->type == CONFIG_BYTES, &number);
  if (r == -EINVAL)
    return error_set(err, -EINVAL, "%s: %s is \"%s\" but must be a whole number%s", source, name, value,
                     option->type == CONFIG_BYTES ? ", also with K, M, G or T (64GiB)" : "");
  if (r < 0 || number < option->minimum || number > option->maximum)
    return error_set(err, -EINVAL, "%s: %s is %s but must be %llu to %llu", source, name, value,
                     (unsigned long long)option->minimum, (unsigned long long)option->maximum);
  set_number(option, config, number);
  return 0;
}

void config_defaults(struct config *config) {
  memset(config, 0, sizeof(*config));
  for (size_t i = 0; i < config_option_count; i++)
    (void)config_set(config, config_options[i].name, config_options[i].default_value, "default", NULL);
}

void config_reload(struct config *config, const struct config *fresh,
                   void (*changed)(void *context, const char *name, bool applied), void *context) {
  for (size_t i = 0; i < config_option_count; i++) {
    const struct config_option *option = &config_options[i];
    char *now = (char *)config + option->offset;
    const char *new = (const char *)fresh + option->offset;
    bool same = option->type == CONFIG_STRING ? strcmp(now, new) == 0 : memcmp(now, new, option->size) == 0;
    if (same)
      continue;
    if (option->mutable_)
      memcpy(now, new, option->size);
    if (changed)
      changed(context, option->name, option->mutable_);
  }
}
