/* What the files of the `guise` client share: its exit codes, the command table, and one file a command
 * group.
 *
 * Results go to standard output, everything else (progress, errors) to standard error, so that output can be
 * piped. With --json a command prints what the daemon answered and nothing else. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "cli/http.h"
#include "cli/output.h"

#define CLI_DEFAULT_URL "http://127.0.0.1:8080"

enum exit_code {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,        /* the daemon refused, or the job failed */
  EXIT_USAGE = 2,         /* the command line is wrong */
  EXIT_CANCELED = 3,      /* the job followed was canceled */
  EXIT_CONNECTION = 4,    /* the daemon does not answer */
  EXIT_INTERRUPTED = 130, /* by a signal; what shells expect */
};

struct cli {
  struct http *http;
  bool json;
  const struct command *command; /* the one that runs, for its usage */
};

enum cli_option_use {
  OPTION_REQUIRED = 1,
  OPTION_REPEATED = 2,
  OPTION_SHORT = 4, /* its letter is an option too: -o */
};

/* Parsing, the usage line, --help, the man page and the shells' completion are made from these rows alone.
 * What can be completed is told by the words for arguments: FILE, PATH and IMAGE are files, DIR is a folder,
 * words without capitals with | between them ("quick|standard") are all there is. */
struct cli_option {
  const char *name;     /* without the leading --; NULL ends a table */
  char letter;          /* what cli_option() returns; no two of a command alike */
  const char *argument; /* NULL: it takes none */
  unsigned use;         /* OPTION_* */
  const char *help;
};

struct command {
  const char *name;                 /* one word or two ("dataset add") */
  const char *arguments;            /* what is no option: "MODEL|JOB [NAME ...]" */
  const char *summary;              /* one line for the overview */
  const char *details;              /* or NULL; a line that starts with a blank is an example */
  const struct cli_option *options; /* of its own, or NULL */
  int (*run)(struct cli *cli, int argc,
             char **argv); /* argv[0] is the last word of the name; returns an exit code */
};
extern const struct command cli_commands[];
extern const size_t cli_command_count;
extern const struct cli_option cli_common_options[]; /* of every command */

/* getopt_long() with the options of the command that runs: a letter, '?' after the library said what is
 * wrong, -1 at the end. optarg and optind are those of getopt. */
int cli_option(const struct cli *cli, int argc, char **argv);

/* "usage: guise [OPTIONS] dataset add NAME PATH [--size PX] [--no-wait]" */
void help_usage(const struct command *command, FILE *out);
void help_command(const struct command *command, FILE *out);
void help_overview(FILE *out);

/* Says what is wrong with the command line and how the command is used; returns EXIT_USAGE. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For a cli_option() that returned '?': the library has said what was wrong. */
int cli_usage_option(const struct cli *cli);
/* Prints an error that the client met itself; returns EXIT_FAILED. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sends a request and deals with everything that is not a success: prints connection errors and problem
 * details. EXIT_DONE with *ret_reply (free with reply_free), or the exit code to return. */
int cli_request(struct cli *cli, const struct request *request, struct reply *ret_reply);
/* The same for a GET of `path` (freed here, may be NULL: out of memory) that must answer JSON. Free
 * *ret_json. */
int cli_get(struct cli *cli, char *path, json_t **ret_json);
/* Every row of a list resource, page after page: a JSON array. `path` is freed here. */
int cli_get_all(struct cli *cli, char *path, json_t **ret_rows);
/* How rows are shown as a table; an exit code. */
struct columns {
  void (*row)(struct table *table, const json_t *row); /* its cells */
  const char *heading[TABLE_COLUMNS + 1];              /* to the first NULL */
};
int cli_print_rows(const json_t *rows, const struct columns *columns);
/* Prints every row of a list resource, as JSON when that is asked for. `path` is freed here. */
int cli_list(struct cli *cli, char *path, const struct columns *columns);
/* Prints the problem details of a reply that is no success; returns EXIT_FAILED. */
int cli_problem(const struct reply *reply);
/* For what asks again until it is answered: the daemon was not reached, or was not ready, for the reason
 * `why`. EXIT_DONE: ask again, in a while. EXIT_CONNECTION after printing `why`: there never was a
 * connection, or none for a minute, long enough for a daemon that restarts. *lost_at: monotonic ns, 0 while
 * it answers. */
int cli_lost(const struct cli *cli, int64_t *lost_at, const char *why);

/* Parses a decimal number in [minimum, maximum]; false otherwise. */
bool cli_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_value);

/* From then on SIGINT and SIGTERM set the flag instead of ending the program; pauses end at once. */
extern volatile sig_atomic_t cli_interrupted;
void cli_catch_interrupts(void);

/* Submits a job and, when asked, follows it; returns the exit code. An answer that was lost makes no second
 * job. */
int submit_job(struct cli *cli, const json_t *spec, bool follow);
/* Follows a job until it ends or the user interrupts; returns the exit code for how it ended. */
int follow_job(struct cli *cli, const char *id);
/* Waits for the ingest of a data set, prints counts and a summary of what was rejected. */
int dataset_wait(struct cli *cli, const char *id);
/* Tells what of a folder of faces is no IDENTITY/IMAGE file and is left out, and how large the others are; an
 * archive is not looked at. ret_bytes, ret_skipped: may be NULL. Returns an exit code. */
int folder_look(const char *folder, uint64_t *ret_bytes, uint64_t *ret_skipped);
/* Streams a folder or an archive into a data set; *ret_reply as cli_request. */
int upload_dataset(struct cli *cli, const char *name, const char *path, uint64_t size,
                   struct reply *ret_reply);
/* The model of a job when given a job's id, else a copy of `id`. NULL after an error was printed (*ret_code
 * is the exit code). */
char *model_resolve(struct cli *cli, const char *id, int *ret_code);

/* Downloads the file `name` of a model into a directory and verifies it, and says nothing but what went
 * wrong. */
int model_fetch(struct cli *cli, const char *model, const char *name, const char *directory, bool unsafe);

int command_dataset_add(struct cli *cli, int argc, char **argv);
int command_dataset_ls(struct cli *cli, int argc, char **argv);
int command_dataset_show(struct cli *cli, int argc, char **argv);
int command_dataset_rm(struct cli *cli, int argc, char **argv);
int command_dataset_pairs(struct cli *cli, int argc, char **argv);
int command_dataset_people(struct cli *cli, int argc, char **argv);
int command_dataset_forget(struct cli *cli, int argc, char **argv);
int command_dataset_rejects(struct cli *cli, int argc, char **argv);
int command_submit(struct cli *cli, int argc, char **argv);
int command_attack(struct cli *cli, int argc, char **argv);
int command_ls(struct cli *cli, int argc, char **argv);
int command_show(struct cli *cli, int argc, char **argv);
int command_follow(struct cli *cli, int argc, char **argv);
int command_events(struct cli *cli, int argc, char **argv);
int command_rm(struct cli *cli, int argc, char **argv);
int command_log(struct cli *cli, int argc, char **argv);
int command_cancel(struct cli *cli, int argc, char **argv);
int command_pause(struct cli *cli, int argc, char **argv);
int command_resume(struct cli *cli, int argc, char **argv);
int command_metrics(struct cli *cli, int argc, char **argv);
int command_models(struct cli *cli, int argc, char **argv);
int command_model_show(struct cli *cli, int argc, char **argv);
int command_get(struct cli *cli, int argc, char **argv);
int command_embed(struct cli *cli, int argc, char **argv);
int command_verify(struct cli *cli, int argc, char **argv);
int command_report(struct cli *cli, int argc, char **argv);
int command_token_add(struct cli *cli, int argc, char **argv);
int command_token_ls(struct cli *cli, int argc, char **argv);
int command_token_revoke(struct cli *cli, int argc, char **argv);
int command_backup(struct cli *cli, int argc, char **argv);
int command_restore(struct cli *cli, int argc, char **argv);
int command_audit(struct cli *cli, int argc, char **argv);
int command_ready(struct cli *cli, int argc, char **argv);
int command_mask(struct cli *cli, int argc, char **argv);
int command_synth(struct cli *cli, int argc, char **argv);
int command_study_run(struct cli *cli, int argc, char **argv);
int command_study_report(struct cli *cli, int argc, char **argv);
