/* guise: the command-line client of guised. This file holds the command table, the options that every command
 * takes and what commands share; each group of commands is a file of its own. The client speaks HTTP only. */
#include <curl/curl.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/file.h"

#define TOKEN_FILE_BYTES 4096
#define DEFAULT_URL "http://127.0.0.1:8080"

static const struct command commands[] = {
    {"dataset add", "NAME PATH [--size PX] [--no-wait]", "upload faces: a folder, .tar, .tar.gz or .zip",
     "PATH holds IDENTITY/IMAGE: one folder a person, aligned face crops as JPEG, PNG, PGM or PPM.\n"
     "Files that are no images are rejected one by one and never fail the data set.\n"
     "  --size PX   side of the images in the packed data set, 16..224, a multiple of 8 (default 112)\n"
     "  --no-wait   return when the upload is done, before the images are decoded",
     command_dataset_add},
    {"dataset ls", "", "list data sets", NULL, command_dataset_ls},
    {"dataset show", "DATASET", "show one data set", NULL, command_dataset_show},
    {"dataset rejects", "DATASET", "list files that were rejected, with reasons", NULL,
     command_dataset_rejects},
    {"dataset pairs", "DATASET NAME FILE", "attach an LFW-style pairs list to a data set",
     "A job refers to it with --set '/holdout/pairs={\"dataset\":\"DATASET\",\"name\":\"NAME\"}'.",
     command_dataset_pairs},
    {"dataset rm", "DATASET", "erase a data set", NULL, command_dataset_rm},
    {"submit", "[FILE.json|-] [--dataset D] [--mask M] [--epochs N] [--set POINTER=VALUE ...] [--follow]",
     "submit a training job",
     "The job is FILE.json (- is standard input) with the options laid over it; every field but the data set "
     "has a\n"
     "default. All mistakes in it are told at once.\n"
     "  --dataset D            name or id of the data set to train on\n"
     "  --mask M               masking method: ahm (default), mixup, none\n"
     "  --epochs N             passes over the data\n"
     "  --set POINTER=VALUE    any field, by JSON pointer: --set /train/batch=32 --set "
     "/model/arch=mobilefacenet\n"
     "  --follow               show progress until the job ends\n"
     "Exit status with --follow: 0 succeeded, 1 failed or refused, 3 canceled, 4 no connection.",
     command_submit},
    {"attack", "MODEL|JOB [--attacks A,B] [--effort E] [--dataset D] [--public P] [--teacher M] [--follow]",
     "attack a model that is there already",
     "The results are added to the model's report; those of earlier audits stay.\n"
     "  --attacks A,B   which (default: all that what is given below allows)\n"
     "  --effort E      quick, standard (default) or thorough\n"
     "  --dataset D     whose people are attacked (default: those held out of the model's training)\n"
     "  --public P      data set of other people, from which attackers learn\n"
     "  --teacher M     model of other people, from which attackers learn (default: trained on P, which "
     "takes "
     "long)\n"
     "  --follow        show progress until the job ends",
     command_attack},
    {"ls", "[--state STATE ...] [--limit N]", "list jobs, newest first", NULL, command_ls},
    {"show", "JOB", "show one job", NULL, command_show},
    {"follow", "JOB", "show a job's progress until it ends",
     "Exit status: 0 succeeded, 1 failed, 3 canceled, 4 no connection. Ctrl-C stops watching, not the job.",
     command_follow},
    {"events", "JOB [--after N]", "print a job's events as they happen, from its first (or after row N)",
     NULL, command_events},
    {"metrics", "JOB [--name NAME] [--steps]",
     "print a job's metrics: a row an epoch, or each step's with --steps", NULL, command_metrics},
    {"cancel", "JOB", "cancel a job", NULL, command_cancel},
    {"pause", "JOB", "pause a job at its next checkpoint", NULL, command_pause},
    {"resume", "JOB", "continue a paused job", NULL, command_resume},
    {"models", "", "list models", NULL, command_models},
    {"get", "MODEL|JOB [FILE ...] [-o DIR] [--unsafe] [--key]", "download a model's files and verify them",
     "Without FILE: all that are for everybody. An interrupted download continues where it stopped.\n"
     "  -o DIR     into this directory (default: the current one)\n"
     "  --unsafe   also from a model whose attacks have not run\n"
     "  --key      of a keyed model also its key, and the ONNX files, in which it stands",
     command_get},
    {"embed", "MODEL|JOB IMAGE [--unsafe]", "print the embedding of a face",
     "IMAGE is an aligned face crop, JPEG or PNG; it is masked the way the model was trained. The embedding "
     "has\n"
     "length 1: the dot product of two is their similarity.\n"
     "  --unsafe   also with a model whose attacks have not run",
     command_embed},
    {"verify", "MODEL|JOB IMAGE IMAGE [--far 0.1|0.01|0.001] [--unsafe]",
     "tell whether two faces are one person's",
     "The threshold is the one at which the model took that share of different people for the same when it "
     "was\n"
     "verified on people it had not seen.\n"
     "  --far F    false accept rate (default 0.01)\n"
     "  --unsafe   also with a model whose attacks have not run",
     command_verify},
    {"report", "MODEL|JOB|FILE.json", "print what a model is good for and what attackers got out of it", NULL,
     command_report},
    {"study run", "FILE.json -o DIR [--parallel N] [--retry]", "run a grid of training jobs with seeds",
     "Every cell of the study times every seed is one job. What has run already is not run again, so that "
     "an\n"
     "interrupted study goes on with the same command; a cell that was changed runs anew. Results are "
     "appended to\n"
     "DIR/results.jsonl, each job's metrics are saved in DIR/metrics. docs/study.md describes the file.\n"
     "  -o DIR         folder for the results\n"
     "  --parallel N   at most N of the study's jobs queued or running (default: as many as run, and one "
     "waiting)\n"
     "  --retry        run jobs that failed or were canceled once more\n"
     "Exit status: 0 all succeeded, 1 some failed or were refused, 2 the file is wrong, 4 no connection.",
     command_study_run},
    {"study report", "DIR [--baseline CELL]", "write a study's table and plots",
     "Writes DIR/table.md, DIR/table.csv and DIR/plots/*.svg from what study run saved; needs no daemon "
     "then.\n"
     "  --baseline CELL   also the differences of the other cells to this one, over equal seeds",
     command_study_report},
    {"synth", "PATH.tar|- [--identities N] [--images N] [--seed S] [--size PX]",
     "draw synthetic faces into a tar archive, to try guise without data",
     "The same numbers give the same archive, byte for byte. They are drawings: no result on them says "
     "anything about\n"
     "real faces.\n"
     "  --identities N   people (default 32)\n"
     "  --images N       images of each (default 20)\n"
     "  --seed S         default 1\n"
     "  --size PX        side of an image, 32..224 (default 112)",
     command_synth},
    {"token add", "NAME --scope SCOPE[,SCOPE] [--owner OWNER] [--expires DAYS]", "make a bearer token",
     "The token is printed once and can be shown by nobody again: put it into a file,\n"
     "  (umask 077; guise token add alice --scope datasets:write,jobs:write >token)\n"
     "and let the client read it: GUISE_TOKEN_FILE=token guise ls\n"
     "  --scope S        datasets:read, datasets:write, jobs:read, jobs:write, models:read, models:write,\n"
     "                   models:use (embed and verify), models:private (reports that show faces), admin "
     "(tokens)\n"
     "  --owner O        who holds it (default: NAME)\n"
     "  --expires DAYS   default 365; 0 is never",
     command_token_add},
    {"token ls", "", "list tokens", NULL, command_token_ls},
    {"token revoke", "TOKEN_ID", "make a token worthless", NULL, command_token_revoke},
    {"audit", "[--actor WHO] [--object ID] [--limit N]", "show who did what, newest first",
     "  --actor WHO   a token's id, uid:N or loopback\n"
     "  --object ID   of a data set, job, model or token\n"
     "  --limit N     rows at most, 1..100 (default 100)",
     command_audit},
    {"ready", "[--wait SECONDS]", "tell whether the daemon is ready for work", NULL, command_ready},
};

struct address {
  const char *url, *ca;
};

static void print_help(FILE *out) {
  (void)fputs(
      "usage: guise [--url URL] [--json] COMMAND [ARGUMENTS]\n\n"
      "Client of guised, the privacy-preserving training service for face recognition.\n\ncommands:\n",
      out);
  for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
    (void)fprintf(out, "  %-16s  %s\n", commands[i].name, commands[i].summary);
  (void)fputs(
      "\noptions:\n"
      "  --url URL   the daemon: http://HOST:PORT, https://HOST:PORT or unix:PATH (default: $GUISE_URL, "
      "else\n"
      "              " DEFAULT_URL ")\n"
      "  --ca FILE   certificates to trust at https://, in PEM form (default: $GUISE_CA, else the system's)\n"
      "  --json      print what the daemon answered as JSON\n"
      "  --version   print the version\n"
      "  --help      this text; guise COMMAND --help tells more of a command\n\n"
      "A daemon that wants a token gets the one in $GUISE_TOKEN, else in the file $GUISE_TOKEN_FILE.\n",
      out);
}

static void print_usage(const struct command *command, FILE *out) {
  (void)fprintf(out, "usage: guise [--url URL] [--json] %s %s\n", command->name, command->arguments);
}

static int usage_failed(const struct cli *cli) {
  print_usage(cli->command, stderr);
  (void)fprintf(stderr, "guise %s --help tells more\n", cli->command->name);
  return EXIT_USAGE;
}

int cli_usage(const struct cli *cli, const char *format, ...) {
  va_list args;
  (void)fputs("guise: ", stderr);
  va_start(args, format);
  (void)vfprintf(stderr, format, args);
  va_end(args);
  (void)putc('\n', stderr);
  return usage_failed(cli);
}

int cli_usage_option(const struct cli *cli) {
  return usage_failed(cli);
}

int cli_error(const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  (void)fputs("guise: ", stderr);
  out_text(stderr, text);
  (void)putc('\n', stderr);
  return EXIT_FAILED;
}

/* "/train/epochs: must be 1 or more (allowed: {"maximum":1000,"minimum":1})" */
static void print_field_error(const json_t *error) {
  json_t *allowed = json_object_get(error, "allowed");
  (void)fputs("  ", stderr);
  out_text(stderr, json_text(error, "pointer", "?"));
  (void)fputs(": ", stderr);
  out_text(stderr, json_text(error, "detail", json_text(error, "code", "wrong")));
  if (allowed && !json_is_null(allowed)) {
    char *text = json_dumps(allowed, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text) {
      (void)fputs(" (allowed: ", stderr);
      out_text(stderr, text);
      (void)fputs(")", stderr);
    }
    free(text);
  }
  (void)putc('\n', stderr);
}

int cli_problem(const struct reply *reply) {
  const json_t *errors = json_object_get(reply->json, "errors");
  const char *title = json_text(reply->json, "title", "the daemon refused");
  const char *detail = json_text(reply->json, "detail", NULL);
  const json_t *error;
  size_t i;
  if (detail)
    (void)cli_error("%s", detail);
  else
    (void)cli_error("%s (HTTP %ld)", title, reply->status);
  json_array_foreach(errors, i, error) print_field_error(error);
  if (json_is_string(json_object_get(reply->json, "hint"))) {
    (void)fputs("  ", stderr);
    out_text(stderr, json_text(reply->json, "hint", ""));
    (void)putc('\n', stderr);
  }
  return EXIT_FAILED;
}

int cli_request(struct cli *cli, const struct request *request, struct reply *ret_reply) {
  struct guise_error err = {0};
  struct reply reply = {0};
  int r = http_send(cli->http, request, &reply, &err);
  if (r < 0) {
    (void)cli_error("%s", err.text);
    return r == -ECONNREFUSED ? EXIT_CONNECTION : EXIT_FAILED;
  }
  if (reply.status < 200 || reply.status >= 300) {
    int code = cli_problem(&reply);
    reply_free(&reply);
    return code;
  }
  *ret_reply = reply;
  return EXIT_DONE;
}

int cli_get(struct cli *cli, char *path, json_t **ret_json) {
  _cleanup_(freep) char *owned = path;
  struct reply reply = {0};
  if (!owned)
    return cli_error("out of memory");
  int code = cli_request(cli, &(struct request){.method = "GET", .path = owned}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (!reply.json) {
    reply_free(&reply);
    return cli_error("what answers at this address is no guised: GET %s is not JSON", path);
  }
  *ret_json = TAKE(reply.json);
  reply_free(&reply);
  return EXIT_DONE;
}

int cli_get_all(struct cli *cli, char *path, json_t **ret_rows) {
  _cleanup_(freep) char *first = path;
  json_t *rows = json_array();
  if (!first || !rows) {
    json_decref(rows);
    return cli_error("out of memory");
  }
  _cleanup_(freep) char *cursor = NULL;
  do {
    json_t *page = NULL;
    int code =
        cli_get(cli,
                cursor ? http_path(first, "", strchr(first, '?') ? "&cursor=" : "?cursor=", cursor, NULL)
                       : strdup(first),
                &page);
    if (code != EXIT_DONE) {
      json_decref(rows);
      return code;
    }
    free(cursor);
    const char *next = json_text(page, "next", NULL);
    cursor = next ? strdup(next) : NULL;
    (void)json_array_extend(rows, json_object_get(page, "data"));
    json_decref(page);
  } while (cursor);
  *ret_rows = rows;
  return EXIT_DONE;
}

bool cli_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_value) {
  char *end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end || errno || value < minimum || value > maximum)
    return false;
  *ret_value = value;
  return true;
}

/* "--NAME VALUE" or "--NAME=VALUE" at argv[*i]: 1 with the value, and *i on its last word; 0: it is something
 * else; -EINVAL after saying that the value is missing. */
static int take_value(int argc, char **argv, int *i, const char *name, const char *what,
                      const char **ret_value) {
  const size_t length = strlen(name);
  if (strncmp(argv[*i], name, length) != 0 || (argv[*i][length] && argv[*i][length] != '='))
    return 0;
  if (argv[*i][length]) {
    *ret_value = argv[*i] + length + 1;
    return 1;
  }
  if (*i + 1 == argc) {
    (void)cli_error("%s needs %s", name, what);
    return -EINVAL;
  }
  *ret_value = argv[++*i];
  return 1;
}

/* Takes --json, --url and the like out of argv wherever they stand before "--", so that they may follow the
 * command. */
static int take_common(int *argc, char **argv, struct cli *cli, struct address *address, bool *help) {
  int kept = 1, r;
  for (int i = 1; i < *argc; i++) {
    if (strcmp(argv[i], "--") == 0) {
      while (i < *argc)
        argv[kept++] = argv[i++];
      break;
    }
    if (strcmp(argv[i], "--json") == 0)
      cli->json = true;
    else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      *help = true;
    else if ((r = take_value(*argc, argv, &i, "--url",
                             "an address: http://HOST:PORT, https://HOST:PORT or unix:PATH",
                             &address->url)) ||
             (r = take_value(*argc, argv, &i, "--ca", "a file of certificates", &address->ca))) {
      if (r < 0)
        return r;
    } else
      argv[kept++] = argv[i];
  }
  argv[kept] = NULL;
  *argc = kept;
  return 0;
}

/* The command that argv starts with, and how many words its name has. */
static const struct command *find_command(int argc, char **argv, int *ret_words) {
  char two[64] = "";
  if (argc > 2)
    (void)snprintf(two, sizeof(two), "%s %s", argv[1], argv[2]);
  for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
    bool spaced = strchr(commands[i].name, ' ') != NULL;
    if (strcmp(commands[i].name, spaced ? two : argv[1]) == 0) {
      *ret_words = spaced ? 2 : 1;
      return &commands[i];
    }
  }
  return NULL;
}

/* From $GUISE_TOKEN or the file $GUISE_TOKEN_FILE, never from argv, which others can see. */
static int take_token(struct http *http, struct guise_error *err) {
  const char *path = getenv("GUISE_TOKEN_FILE"), *token = getenv("GUISE_TOKEN");
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  if ((!token || !*token) && path && *path) {
    int r = file_read(path, TOKEN_FILE_BYTES, &text, &size, err);
    if (r < 0)
      return r;
    text[strcspn(text, "\r\n")] = 0;
    token = text;
  }
  return http_set_token(http, token, err);
}

static int run_command(struct cli *cli, const struct address *address, int argc, char **argv) {
  struct guise_error err = {0};
  if (http_open(address->url, &cli->http, &err) < 0 || take_token(cli->http, &err) < 0) {
    (void)cli_error("%s", err.text);
    cli->http = http_close(cli->http);
    return EXIT_USAGE;
  }
  http_set_ca(cli->http, address->ca);
  optind = 0; /* getopt starts anew with the command's own words */
  int code = cli->command->run(cli, argc, argv);
  cli->http = http_close(cli->http);
  if (fflush(stdout) != 0 || ferror(stdout))
    return cli_error("cannot write to standard output: %s", strerror(errno));
  return code;
}

int main(int argc, char **argv) {
  struct cli cli = {0};
  struct address address = {getenv("GUISE_URL"), getenv("GUISE_CA")};
  bool help = false;
  int words = 1;
  if (!address.url || !*address.url)
    address.url = DEFAULT_URL;
  if (take_common(&argc, argv, &cli, &address, &help) < 0)
    return EXIT_USAGE;
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    (void)puts("guise " GUISE_VERSION);
    return EXIT_DONE;
  }
  if (argc < 2 || strcmp(argv[1], "help") == 0) {
    print_help(help || argc > 1 ? stdout : stderr);
    return help || argc > 1 ? EXIT_DONE : EXIT_USAGE;
  }
  cli.command = find_command(argc, argv, &words);
  if (!cli.command) {
    bool group = argc > 2 && (strcmp(argv[1], "dataset") == 0 || strcmp(argv[1], "study") == 0 ||
                              strcmp(argv[1], "token") == 0);
    (void)cli_error("there is no command '%s%s%s'", argv[1], group ? " " : "", group ? argv[2] : "");
    (void)fputs("guise --help lists the commands\n", stderr);
    return EXIT_USAGE;
  }
  if (help) {
    print_usage(cli.command, stdout);
    (void)printf("\n%s\n", cli.command->summary);
    if (cli.command->details)
      (void)printf("%s\n", cli.command->details);
    return EXIT_DONE;
  }
  (void)curl_global_init(CURL_GLOBAL_DEFAULT);
  int code = run_command(&cli, &address, argc - words, argv + words);
  curl_global_cleanup();
  return code;
}
