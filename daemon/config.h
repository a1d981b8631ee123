/* The daemon's options. One typed table (config.c) drives the file, the environment, the flags, --help,
 * --dump-config, the man pages and the shells' completion.
 *
 * Order: defaults < file (--config F or GUISE_CONFIG; "name = value" lines, # and ; comments) < F.d/NAME.conf
 * in the order of their names < environment (GUISE_NAME) < flags (--name VALUE or --name=VALUE, with - for
 * _). Values are checked where they are set; an error names the source and says what is allowed. A new option
 * is one field here and one row of the table. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/base.h"

#define CONFIG_TEXT 4096
#define CONFIG_LINE 197 /* bytes of a line of a file, as inih has it */

struct config {
  char listen[CONFIG_TEXT]; /* ADDR:PORT, [ADDR]:PORT or unix:PATH; port 0 = a free one */
  char state[CONFIG_TEXT];  /* state directory */
  char auth[16];            /* local: loopback and Unix socket need no token; token: all requests do */
  char tls_certificate[CONFIG_TEXT], tls_key[CONFIG_TEXT]; /* PEM files; both "": no TLS */
  char tls[16]; /* at other addresses than loopback. required; elsewhere: somebody else encrypts */
  char unix_users[CONFIG_TEXT], unix_groups[CONFIG_TEXT]; /* who needs no token on a Unix socket; both "":
                                                             everybody */
  uint64_t owner_jobs, owner_bytes, owner_images;         /* what one owner may have; 0 = any number */
  uint64_t audit_keep_days;                               /* of the audit trail's rows */
  uint64_t log_keep_days;                                 /* of a job's log, from its end */
  uint64_t retry_delay_s;          /* before a job that the machine failed is tried again; grows */
  uint64_t cores;                  /* given to the daemon; resolved: never 0 */
  uint64_t workers;                /* jobs at once; resolved: 1..cores */
  uint64_t threads;                /* of a job that asks for no number; resolved: 1..cores */
  char decoder[CONFIG_TEXT];       /* path of guise-decode; resolved by config_resolve */
  uint64_t decoders;               /* decoder processes of an ingest, 1..8; resolved: never 0 */
  uint64_t upload_max_bytes;       /* of one data set upload */
  uint64_t json_max_bytes;         /* of one JSON body */
  char allowed_hosts[CONFIG_TEXT]; /* Host values allowed besides localhost, 127.0.0.1 and [::1]; comma
                                      separated, no ports */
  uint64_t image_max_bytes;        /* of one image of embed and verify */
  uint64_t inference_rate;         /* images a second that a client may have embedded */
  uint64_t inference_burst;        /* images a client may have embedded at once */
  uint64_t inference_queue;        /* requests that wait for the inference thread at most */
  uint64_t inference_memory_bytes; /* of models kept in memory for embed and verify */
  uint64_t connections;            /* open HTTP connections at most */
  /* of them from one address; 0 = http_start decides */
  uint64_t connections_per_address;
  uint64_t request_timeout_s;   /* deadline of a head, of a body, of each chunk of an upload */
  uint64_t heartbeat_s;         /* of event streams */
  uint64_t progress_interval_s; /* a running job's progress is written to the database this often */
  uint64_t shutdown_timeout_s;  /* SIGTERM: running jobs get this long for their checkpoint */
  char log_level[16];           /* error, warning, info or debug */
  char log_format[8];           /* auto, text or json */

  char action_directory[CONFIG_TEXT]; /* no option: what --backup and --restore name */
};

enum config_type { CONFIG_STRING, CONFIG_INTEGER, CONFIG_BYTES };

struct config_option {
  const char *name;    /* as in the file; the flag has - for _, the variable is GUISE_ and upper case */
  size_t offset, size; /* of the field in struct config */
  enum config_type type;
  const char *default_value;                                /* as a user would write it */
  uint64_t minimum, maximum;                                /* of integers and bytes */
  int (*check)(const char *value, struct guise_error *err); /* further check of a string, or NULL */
  bool mutable_;                                            /* SIGHUP applies it; the others need a restart */
  const char *argument; /* FILE, DIR and "this|that" are completed by shells */
  const char *help;
};
extern const struct config_option config_options[];
extern const size_t config_option_count;

enum config_action {
  CONFIG_RUN,
  CONFIG_HELP,
  CONFIG_VERSION,
  CONFIG_DUMP,
  CONFIG_CHECK,
  CONFIG_BACKUP,
  CONFIG_RESTORE,
  CONFIG_CHECK_STATE
};

/* Flags that are no option of the file. */
struct config_flag {
  const char *name;          /* with _ for - */
  const char *argument;      /* as of options; NULL: none */
  enum config_action action; /* instead of running; CONFIG_RUN: it is --config, which names the file */
  const char *help;
};
extern const struct config_flag config_flags[];
extern const size_t config_flag_count;

/* "log_level" as the command line ("--log-level") and the environment ("GUISE_LOG_LEVEL") have it. */
#define CONFIG_NAME 64
void config_flag_name(const char *name, char ret_flag[CONFIG_NAME]);
void config_variable_name(const char *name, char ret_variable[CONFIG_NAME]);

void config_defaults(struct config *config);
/* Sets one option from text; `source` ("--workers", "GUISE_WORKERS", "guised.conf:3") starts the error.
 * -EINVAL with err. */
int config_set(struct config *config, const char *name, const char *value, const char *source,
               struct guise_error *err);
/* The file and those in the directory beside it, PATH.d, which need not be there; err names file and line. */
int config_read_files(struct config *config, const char *path, struct guise_error *err);
/* Everything above in order. envp: NAME=VALUE list ending in NULL (environ), or NULL. ret_file (CONFIG_TEXT
 * bytes, may be NULL): the file that was read, "" = none. Unknown flags and unknown names in the file are
 * errors. 0 or -EINVAL, -ENOENT ... with err. */
int config_load(int argc, char *const *argv, char *const *envp, struct config *ret_config,
                enum config_action *ret_action, char *ret_file, struct guise_error *err);
/* The next variable at or after *position that starts with GUISE_ and is neither an option nor known from
 * guise's other programs (a slip worth a warning), or NULL. Start with *position = 0. */
const char *config_unknown_variable(char *const *envp, size_t *position);
/* Replaces 0 by what this machine has and finds the decoder. *ret_note (freed by the caller) is NULL or a
 * sentence that says what had to be lowered (workers x threads must not exceed the cores where both are set,
 * nor either of them alone). */
int config_resolve(struct config *config, char **ret_note, struct guise_error *err);
void config_dump(
    const struct config *config,
    FILE *out); /* a file that config_load reads back to the same, but for what is too long for a line */
void config_help(FILE *out);
/* Copies the mutable options of `fresh` into `config`. Calls `changed` (may be NULL) for each option that
 * differs: applied says whether it took effect or waits for a restart. */
void config_reload(struct config *config, const struct config *fresh,
                   void (*changed)(void *context, const char *name, bool applied), void *context);
