/* submit: a job from a file and options. Options are laid over the file by JSON pointer; what the fields mean
 * is the daemon's business, which tells all mistakes at once. */
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/document.h"

#define RETRY_MS 500

/* "/train/batch=32": the value is JSON when it reads as such, else a string. */
static int set_option(json_t *spec, const char *option) {
  const char *equals = strchr(option, '=');
  if (!equals)
    return -EINVAL;
  _cleanup_(freep) char *pointer = strndup(option, (size_t)(equals - option));
  json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
  if (!value)
    value = json_string(equals + 1);
  if (!pointer || !value) {
    json_decref(value);
    return -EINVAL;
  }
  return pointer_set(spec, pointer, value);
}

struct overrides {
  const char *dataset, *mask;
  uint64_t epochs;
  const char *set[64], *defence[8];
  unsigned sets, defences;
  bool follow, dry_run;
};

static int parse_options(const struct cli *cli, int argc, char **argv, struct overrides *over) {
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'd')
      over->dataset = optarg;
    else if (option == 'm')
      over->mask = optarg;
    else if (option == 'f')
      over->follow = true;
    else if (option == 'y')
      over->dry_run = true;
    else if (option == 'e' && !cli_number(optarg, 0, INT32_MAX, &over->epochs))
      return cli_usage(cli, "--epochs takes a number");
    else if (option == 's' && over->sets == ARRAY_SIZE(over->set))
      return cli_usage(cli, "at most %zu --set; put the others into a file", ARRAY_SIZE(over->set));
    else if (option == 's')
      over->set[over->sets++] = optarg;
    else if (option == 'D' && over->defences == ARRAY_SIZE(over->defence))
      return cli_usage(cli, "at most %zu --defence", ARRAY_SIZE(over->defence));
    else if (option == 'D')
      over->defence[over->defences++] = optarg;
    else if (option == '?')
      return cli_usage_option(cli);
  }
  return EXIT_DONE;
}

/* Each at the end of the file's list. -EINVAL when that is none. */
static int add_defences(json_t *spec, const struct overrides *over) {
  if (over->defences > 0 && !json_object_get(spec, "defences") &&
      json_object_set_new(spec, "defences", json_array()) < 0)
    return -EINVAL;
  for (unsigned i = 0; i < over->defences; i++)
    if (json_array_append_new(json_object_get(spec, "defences"),
                              json_pack("{s:s}", "method", over->defence[i])) < 0)
      return -EINVAL;
  return 0;
}

/* Lays the options over the file. EXIT_DONE or an exit code. */
static int apply(const struct cli *cli, json_t *spec, const struct overrides *over, bool epochs_given) {
  int r = 0;
  if (!json_object_get(spec, "type"))
    r = json_object_set_new(spec, "type", json_string("train"));
  if (r == 0 && over->dataset)
    r = pointer_set(spec, "/dataset", json_string(over->dataset));
  if (r == 0 && over->mask)
    r = pointer_set(spec, "/mask/method", json_string(over->mask));
  if (r == 0 && epochs_given)
    r = pointer_set(spec, "/train/epochs", json_integer((json_int_t)over->epochs));
  if (r < 0)
    return cli_usage(cli, "the file's mask and train must be objects");
  if (add_defences(spec, over) < 0)
    return cli_usage(cli, "the file's defences must be a list");
  for (unsigned i = 0; i < over->sets; i++)
    if (set_option(spec, over->set[i]) < 0)
      return cli_usage(cli, "--set %s: give /POINTER=VALUE through objects, for example /train/batch=32",
                       over->set[i]);
  return EXIT_DONE;
}

/* When the connection breaks nobody knows whether the job was made: it is sent again under the same key,
 * which makes it one job. */
static int post_job(struct cli *cli, const json_t *spec, struct reply *ret_reply) {
  uint8_t number[16];
  char hex[2 * sizeof(number) + 1], key[80];
  int64_t lost_at = 0;
  if (sodium_init() < 0)
    return cli_error("cannot start libsodium");
  randombytes_buf(number, sizeof(number));
  (void)sodium_bin2hex(hex, sizeof(hex), number, sizeof(number));
  (void)snprintf(key, sizeof(key), "Idempotency-Key: submit-%s", hex);
  for (;;) {
    struct guise_error err = {0};
    int r = http_send(
        cli->http,
        &(struct request){.method = "POST", .path = "/v1/jobs", .json = (json_t *)spec, .headers = {key}},
        ret_reply, &err);
    if (r == 0)
      return EXIT_DONE;
    if (r != -ECONNREFUSED)
      return cli_error("%s", err.text);
    int code = cli_lost(cli, &lost_at, err.text);
    if (code != EXIT_DONE)
      return code;
    (void)nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
  }
}

/* The daemon checks the job and fills in what was left out, and that is all. */
static int try_job(struct cli *cli, const json_t *spec) {
  struct reply reply = {0};
  int code = cli_request(
      cli, &(struct request){.method = "POST", .path = "/v1/jobs?dry_run=true", .json = (json_t *)spec},
      &reply);
  if (code == EXIT_DONE && cli->json)
    out_json(reply.json);
  else if (code == EXIT_DONE)
    (void)puts("the job would be taken; nothing was submitted (--json shows it with its defaults)");
  reply_free(&reply);
  return code;
}

int submit_job(struct cli *cli, const json_t *spec, bool follow) {
  struct reply reply = {0};
  int code = post_job(cli, spec, &reply);
  if (code != EXIT_DONE)
    return code;
  bar_clear();
  if (reply.status < 200 || reply.status >= 300) {
    code = cli_problem(&reply);
    reply_free(&reply);
    return code;
  }
  _cleanup_(freep) char *id = strdup(json_text(reply.json, "id", ""));
  if (cli->json && !follow)
    out_json(reply.json);
  else if (!cli->json)
    (void)printf("%s submitted\n", id ? id : "");
  reply_free(&reply);
  (void)fflush(stdout);
  if (!id || !*id)
    return cli_error("the daemon gave no job id");
  if (!follow)
    return EXIT_DONE;
  code = follow_job(cli, id);
  if (code == EXIT_DONE && !cli->json)
    (void)printf("guise report %s shows the evidence, guise get %s downloads the model\n", id, id);
  return code;
}

int command_submit(struct cli *cli, int argc, char **argv) {
  struct overrides over = {.epochs = UINT64_MAX};
  struct guise_error err = {0};
  int code = parse_options(cli, argc, argv, &over);
  if (code != EXIT_DONE)
    return code;
  if (argc - optind > 1)
    return cli_usage(cli, "submit takes one file at most");
  if (over.dry_run && over.follow)
    return cli_usage(cli, "with --dry-run there is no job to follow");
  if (argc == optind && !over.dataset && over.sets == 0)
    return cli_usage(cli, "name a data set (--dataset) or give a job's file");
  json_t *spec = NULL;
  if (optind == argc)
    spec = json_object();
  else if (document_load(argv[optind], &spec, &err) < 0) {
    (void)cli_error("%s", err.text);
    return EXIT_USAGE;
  }
  code = apply(cli, spec, &over, over.epochs != UINT64_MAX);
  if (code == EXIT_DONE)
    code = over.dry_run ? try_job(cli, spec) : submit_job(cli, spec, over.follow);
  json_decref(spec);
  return code;
}
