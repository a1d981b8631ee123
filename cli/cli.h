/* What the files of the `guise` client share: its exit codes, the command table's row, and one file a command
 * group.
 *
 * Results go to standard output, everything else (progress, errors) to standard error, so that output can be
 * piped. With --json a command prints what the daemon answered and nothing else. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include "cli/http.h"
#include "cli/output.h"

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

struct command {
  const char *name; /* one word or two ("dataset add") */
  const char *arguments;
  const char *summary; /* one line for the overview */
  const char *details; /* for `guise COMMAND --help`; may be NULL */
  int (*run)(struct cli *cli, int argc,
             char **argv); /* argv[0] is the last word of the name; returns an exit code */
};

/* Says what is wrong with the command line and how the command is used; returns EXIT_USAGE. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For a getopt_long() that returned '?' or ':': the library has said what was wrong. */
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
/* Prints the problem details of a reply that is no success; returns EXIT_FAILED. */
int cli_problem(const struct reply *reply);

/* Parses a decimal number in [minimum, maximum]; false otherwise. */
bool cli_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_value);

/* From then on SIGINT and SIGTERM set the flag instead of ending the program; pauses end at once. */
extern volatile sig_atomic_t cli_interrupted;
void cli_catch_interrupts(void);

/* Submits a job and, when asked, follows it; returns the exit code. */
int submit_job(struct cli *cli, const json_t *spec, bool follow);
/* Follows a job until it ends or the user interrupts; returns the exit code for how it ended. */
int follow_job(struct cli *cli, const char *id);
/* Waits for the ingest of a data set, prints counts and a summary of what was rejected. */
int dataset_wait(struct cli *cli, const char *id);
/* Streams a folder or an archive into a data set; *ret_reply as cli_request. */
int upload_dataset(struct cli *cli, const char *name, const char *path, uint64_t size,
                   struct reply *ret_reply);
/* The model of a job when given a job's id, else a copy of `id`. NULL after an error was printed (*ret_code
 * is the exit code). */
char *model_resolve(struct cli *cli, const char *id, int *ret_code);

int command_dataset_add(struct cli *cli, int argc, char **argv);
int command_dataset_ls(struct cli *cli, int argc, char **argv);
int command_dataset_show(struct cli *cli, int argc, char **argv);
int command_dataset_rm(struct cli *cli, int argc, char **argv);
int command_dataset_pairs(struct cli *cli, int argc, char **argv);
int command_dataset_rejects(struct cli *cli, int argc, char **argv);
int command_submit(struct cli *cli, int argc, char **argv);
int command_attack(struct cli *cli, int argc, char **argv);
int command_ls(struct cli *cli, int argc, char **argv);
int command_show(struct cli *cli, int argc, char **argv);
int command_follow(struct cli *cli, int argc, char **argv);
int command_events(struct cli *cli, int argc, char **argv);
int command_cancel(struct cli *cli, int argc, char **argv);
int command_pause(struct cli *cli, int argc, char **argv);
int command_resume(struct cli *cli, int argc, char **argv);
int command_metrics(struct cli *cli, int argc, char **argv);
int command_models(struct cli *cli, int argc, char **argv);
int command_get(struct cli *cli, int argc, char **argv);
int command_embed(struct cli *cli, int argc, char **argv);
int command_verify(struct cli *cli, int argc, char **argv);
int command_report(struct cli *cli, int argc, char **argv);
int command_token_add(struct cli *cli, int argc, char **argv);
int command_token_ls(struct cli *cli, int argc, char **argv);
int command_token_revoke(struct cli *cli, int argc, char **argv);
int command_audit(struct cli *cli, int argc, char **argv);
int command_ready(struct cli *cli, int argc, char **argv);
int command_synth(struct cli *cli, int argc, char **argv);
int command_study_run(struct cli *cli, int argc, char **argv);
int command_study_report(struct cli *cli, int argc, char **argv);
