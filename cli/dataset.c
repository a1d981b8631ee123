/* Commands on data sets: add, ls, show, rejects, pairs. What erases is in erase.c. */
#include <getopt.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "core/base/file.h"

#define PAIRS_LIMIT ((size_t)64 << 20)

static void dataset_row(struct table *table, const json_t *dataset) {
  char bytes[32];
  format_bytes(json_count(dataset, "bytes"), bytes, sizeof(bytes));
  table_cell(table, "%s", json_text(dataset, "name", "?"));
  table_cell(table, "%s", json_text(dataset, "id", "?"));
  table_cell(table, "%s", json_text(dataset, "state", "?"));
  table_cell(table, "%s", json_text(dataset, "kind", "faces"));
  table_cell(table, "%llu", (unsigned long long)json_count(dataset, "identities"));
  table_cell(table, "%llu", (unsigned long long)json_count(dataset, "images"));
  table_cell(table, "%llu", (unsigned long long)json_count(dataset, "rejected"));
  table_cell(table, "%s", bytes);
  table_cell(table, "%s", json_text(dataset, "created_at", "?"));
}

static const struct columns dataset_columns = {
    dataset_row, {"NAME", "ID", "STATE", "KIND", "PEOPLE", "IMAGES", "REJECTED", "SIZE", "CREATED"}};

int command_dataset_ls(struct cli *cli, int argc, char **argv) {
  (void)argv;
  return argc == 1 ? cli_list(cli, strdup("/v1/datasets"), &dataset_columns)
                   : cli_usage(cli, "dataset ls takes no argument");
}

int command_dataset_show(struct cli *cli, int argc, char **argv) {
  json_t *dataset = NULL;
  if (argc != 2)
    return cli_usage(cli, "dataset show takes a data set's name or id");
  int code = cli_get(cli, http_path("/v1/datasets/", argv[1], NULL), &dataset);
  if (code == EXIT_DONE && cli->json) {
    out_json(dataset);
  } else if (code == EXIT_DONE) {
    json_t *rows = json_pack("[O]", dataset);
    code = cli_print_rows(rows, &dataset_columns);
    json_decref(rows);
  }
  json_decref(dataset);
  return code;
}

/* ---- rejects ---- */

static void reject_row(struct table *table, const json_t *row) {
  table_cell(table, "%s", json_text(row, "path", "?"));
  table_cell(table, "%s", json_text(row, "code", "?"));
  table_cell(table, "%s", json_text(row, "detail", ""));
}

int command_dataset_rejects(struct cli *cli, int argc, char **argv) {
  static const struct columns columns = {reject_row, {"FILE", "CODE", "REASON"}};
  return argc == 2 ? cli_list(cli, http_path("/v1/datasets/", argv[1], "/rejects", NULL), &columns)
                   : cli_usage(cli, "dataset rejects takes a data set's name or id");
}

static const json_t *first_of(const json_t *rows, const char *code) {
  const json_t *row;
  size_t i;
  json_array_foreach(rows, i, row) {
    if (strcmp(json_text(row, "code", "?"), code) == 0)
      return row;
  }
  return NULL;
}

/* "3 corrupt, the first: a/b.jpg: not a JPEG file" for each code among the rejects. */
static void summarize_rejects(struct cli *cli, const char *id, const char *name) {
  json_t *rows = NULL, *count = json_object();
  const json_t *row;
  const char *code;
  size_t i;
  if (cli_get_all(cli, http_path("/v1/datasets/", id, "/rejects", NULL), &rows) != EXIT_DONE) {
    json_decref(count);
    return;
  }
  json_array_foreach(rows, i, row) {
    code = json_text(row, "code", "?");
    (void)json_object_set_new(count, code,
                              json_integer(json_integer_value(json_object_get(count, code)) + 1));
  }
  json_t *number;
  json_object_foreach(count, code, number) {
    row = first_of(rows, code);
    (void)printf("  %lld ", (long long)json_integer_value(number));
    out_text(stdout, code);
    (void)fputs(", the first: ", stdout);
    out_text(stdout, json_text(row, "path", "?"));
    (void)fputs(": ", stdout);
    out_text(stdout, json_text(row, "detail", ""));
    (void)putchar('\n');
  }
  (void)fputs("guise dataset rejects ", stdout);
  out_text(stdout, name);
  (void)puts(" lists them all");
  json_decref(count);
  json_decref(rows);
}

/* ---- add ---- */

static int dataset_done(struct cli *cli, const json_t *dataset) {
  const char *name = json_text(dataset, "name", "?"), *id = json_text(dataset, "id", "?");
  const json_t *problem = json_object_get(dataset, "error");
  uint64_t rejected = json_count(dataset, "rejected");
  bool ready = strcmp(json_text(dataset, "state", "?"), "ready") == 0;
  if (cli->json) {
    out_json(dataset);
    return ready ? EXIT_DONE : EXIT_FAILED;
  }
  if (!ready)
    (void)cli_error("the data set %s failed: %s", name,
                    json_text(problem, "detail", json_text(dataset, "error", "the daemon gave no reason")));
  else
    (void)printf("%s (%s): %llu people, %llu images, %llu rejected\n", name, id,
                 (unsigned long long)json_count(dataset, "identities"),
                 (unsigned long long)json_count(dataset, "images"), (unsigned long long)rejected);
  if (rejected > 0)
    summarize_rejects(cli, id, name);
  return ready ? EXIT_DONE : EXIT_FAILED;
}

static void show_ingest(const json_t *dataset) {
  const char *reason = json_text(dataset, "error", "");
  char text[64] = "decoding";
  if (json_count(dataset, "images") > 0)
    (void)snprintf(text, sizeof(text), "decoding: %llu images",
                   (unsigned long long)json_count(dataset, "images"));
  bar_draw(-1, *reason ? "tried again:" : text, reason);
}

/* One look at the ingest. true = over, with *ret_code. */
static bool poll_ingest(struct cli *cli, const char *id, const char *path, int64_t *lost_at, int *ret_code) {
  struct guise_error err = {0};
  struct reply reply = {0};
  bool over = true;
  int r = http_send(cli->http, &(struct request){.method = "GET", .path = path}, &reply, &err);
  if (r == -ECONNREFUSED || (r == 0 && reply.status >= 502)) {
    *ret_code = cli_lost(cli, lost_at, r < 0 ? err.text : "the daemon is not ready for work");
    over = *ret_code != EXIT_DONE;
    if (over)
      (void)fprintf(stderr, "The upload is done: guise dataset show %s tells what became of it\n", id);
  } else if (r < 0 || reply.status != 200) {
    bar_clear();
    *ret_code = r < 0 ? cli_error("%s", err.text) : cli_problem(&reply);
  } else if (strcmp(json_text(reply.json, "state", "?"), "ingesting") != 0) {
    bar_clear();
    *ret_code = dataset_done(cli, reply.json);
  } else {
    *lost_at = 0;
    show_ingest(reply.json);
    over = false;
  }
  reply_free(&reply);
  return over;
}

int dataset_wait(struct cli *cli, const char *id) {
  _cleanup_(freep) char *path = http_path("/v1/datasets/", id, NULL);
  int64_t lost_at = 0;
  int code = EXIT_DONE;
  if (!path)
    return cli_error("out of memory");
  while (!poll_ingest(cli, id, path, &lost_at, &code))
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  return code;
}

int command_dataset_add(struct cli *cli, int argc, char **argv) {
  uint64_t size = 0;
  bool wait = true;
  struct reply reply = {0};
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'n')
      wait = false;
    else if (option == 's' && !cli_number(optarg, 16, 224, &size))
      return cli_usage(cli, "--size must be 16 to 224");
    else if (option == '?')
      return cli_usage_option(cli);
  }
  if (argc - optind != 2)
    return cli_usage(cli, "dataset add takes a name and a folder or archive");
  int code = upload_dataset(cli, argv[optind], argv[optind + 1], size, &reply);
  if (code != EXIT_DONE)
    return code;
  _cleanup_(freep) char *id = strdup(json_text(reply.json, "id", argv[optind]));
  if (!wait && cli->json)
    out_json(reply.json);
  else if (!wait)
    (void)printf("%s (%s): %s\n", argv[optind], id ? id : "?", json_text(reply.json, "state", "?"));
  reply_free(&reply);
  if (!id)
    return cli_error("out of memory");
  return wait ? dataset_wait(cli, id) : EXIT_DONE;
}

/* ---- pairs ---- */

struct memory {
  const char *data;
  size_t size, sent;
};

static ssize_t read_memory(void *context, char *buffer, size_t size, struct guise_error *err) {
  struct memory *memory = context;
  size_t n = MIN(size, memory->size - memory->sent);
  (void)err;
  memcpy(buffer, memory->data + memory->sent, n);
  memory->sent += n;
  return (ssize_t)n;
}

static void pairs_row(struct table *table, const json_t *row) {
  table_cell(table, "%s", json_text(row, "name", "?"));
  table_cell(table, "%llu", (unsigned long long)json_count(row, "pairs"));
  table_cell(table, "%llu", (unsigned long long)json_count(row, "folds"));
  table_cell(table, "%s", json_text(row, "sha256", "?"));
}

static int list_pairs(struct cli *cli, const char *dataset) {
  static const struct columns columns = {pairs_row, {"NAME", "PAIRS", "FOLDS", "SHA-256"}};
  return cli_list(cli, http_path("/v1/datasets/", dataset, "/pairs", NULL), &columns);
}

int command_dataset_pairs(struct cli *cli, int argc, char **argv) {
  struct guise_error err = {0};
  struct reply reply = {0};
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  if (argc == 2)
    return list_pairs(cli, argv[1]);
  if (argc != 4)
    return cli_usage(cli, "dataset pairs takes a data set, or a data set, a name for the list and its file");
  if (file_read(argv[3], PAIRS_LIMIT, &text, &size, &err) < 0)
    return cli_error("%s", err.text);
  _cleanup_(freep) char *path = http_path("/v1/datasets/", argv[1], "/pairs/", argv[2], NULL);
  if (!path)
    return cli_error("out of memory");
  struct memory memory = {.data = text, .size = size};
  int code = cli_request(cli,
                         &(struct request){.method = "PUT",
                                           .path = path,
                                           .type = "text/plain",
                                           .read = read_memory,
                                           .length = (int64_t)size,
                                           .context = &memory},
                         &reply);
  if (code != EXIT_DONE)
    return code;
  if (cli->json && reply.json)
    out_json(reply.json);
  else
    (void)printf("%s: pairs list %s stored\n", argv[1], argv[2]);
  reply_free(&reply);
  return EXIT_DONE;
}
