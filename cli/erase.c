/* Commands that erase: data sets, people, images, models, jobs. Each prints what the daemon's receipt says.
 */
#include <string.h>

#include "cli/cli.h"

static void print_count(const json_t *receipt, const char *key, const char *what) {
  if (json_count(receipt, key) > 0)
    (void)printf("  %llu %s\n", (unsigned long long)json_count(receipt, key), what);
}

static void print_files(const json_t *receipt) {
  const json_t *file;
  size_t i;
  json_array_foreach(json_object_get(receipt, "files"), i, file) {
    char bytes[32];
    format_bytes(json_count(file, "bytes"), bytes, sizeof(bytes));
    (void)printf("  %s  %s%s\n", json_text(file, "sha256", "?"), bytes,
                 json_is_true(json_object_get(file, "erased"))
                     ? ""
                     : "  STILL THERE: the daemon tries again when it starts");
  }
}

static void print_list(const json_t *receipt, const char *key, const char *what) {
  const json_t *list = json_object_get(receipt, key), *item;
  size_t i;
  if (json_array_size(list) == 0)
    return;
  (void)puts(what);
  json_array_foreach(list, i, item) {
    (void)fputs("  ", stdout);
    out_text(stdout, json_is_string(item) ? json_string_value(item) : "?");
    (void)putchar('\n');
  }
}

static void print_receipt(const json_t *receipt) {
  (void)printf("erased: %s of %s\n", json_text(receipt, "kind", "?"), json_text(receipt, "object", "?"));
  print_count(receipt, "identities", "people");
  print_count(receipt, "images", "images");
  print_count(receipt, "rejects", "rejected files");
  print_count(receipt, "pairs", "pairs lists");
  print_count(receipt, "private_reports", "private reports and class heads");
  print_count(receipt, "public_reports", "reports no longer show public faces");
  print_files(receipt);
  print_count(receipt, "kept", "files stay, because something else in the store is made of the same bytes");
  if (!json_is_true(json_object_get(receipt, "log_emptied")))
    (void)puts(
        "the database's log still holds it: a reader or the disk was in the way, a later erasure or start "
        "empties it");
  print_list(receipt, "models", "models that saw it, and keep what they have learnt:");
  print_list(receipt, "backups", "older copies of the database that still hold its rows:");
}

static int erase_path(struct cli *cli, char *path) {
  _cleanup_(freep) char *owned = path;
  struct reply reply = {0};
  if (!owned)
    return cli_error("out of memory");
  int code = cli_request(cli, &(struct request){.method = "DELETE", .path = owned}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (cli->json)
    out_json(reply.json);
  else
    print_receipt(reply.json);
  reply_free(&reply);
  return EXIT_DONE;
}

/* Names are for reading; what is erased is named by id. */
static int dataset_id(struct cli *cli, const char *name, char **ret_id) {
  json_t *dataset = NULL;
  int code = cli_get(cli, http_path("/v1/datasets/", name, NULL), &dataset);
  if (code != EXIT_DONE)
    return code;
  *ret_id = strdup(json_text(dataset, "id", name));
  json_decref(dataset);
  return *ret_id ? EXIT_DONE : cli_error("out of memory");
}

int command_dataset_rm(struct cli *cli, int argc, char **argv) {
  _cleanup_(freep) char *id = NULL;
  if (argc != 2)
    return cli_usage(cli, "dataset rm takes a data set's name or id");
  int code = dataset_id(cli, argv[1], &id);
  return code == EXIT_DONE ? erase_path(cli, http_path("/v1/datasets/", id, NULL)) : code;
}

int command_dataset_forget(struct cli *cli, int argc, char **argv) {
  _cleanup_(freep) char *id = NULL;
  if (argc != 3 && argc != 4)
    return cli_usage(cli, "dataset forget takes a data set, a person and perhaps an image");
  int code = dataset_id(cli, argv[1], &id);
  if (code != EXIT_DONE)
    return code;
  return erase_path(
      cli, argc == 3 ? http_path("/v1/datasets/", id, "/identities/", argv[2], NULL)
                     : http_path("/v1/datasets/", id, "/identities/", argv[2], "/images/", argv[3], NULL));
}

int command_dataset_people(struct cli *cli, int argc, char **argv) {
  json_t *rows = NULL;
  if (argc != 2)
    return cli_usage(cli, "dataset people takes a data set's name or id");
  int code = cli_get_all(cli, http_path("/v1/datasets/", argv[1], "/identities", NULL), &rows);
  if (code != EXIT_DONE || cli->json) {
    if (code == EXIT_DONE)
      out_json(rows);
    json_decref(rows);
    return code;
  }
  _cleanup_(table_freep) struct table *table = table_new(2);
  const json_t *row;
  size_t i;
  table_cell(table, "PERSON");
  table_cell(table, "IMAGES");
  json_array_foreach(rows, i, row) {
    table_cell(table, "%s", json_text(row, "name", "?"));
    table_cell(table, "%llu", (unsigned long long)json_count(row, "images"));
  }
  json_decref(rows);
  return table_print(table, stdout) < 0 ? cli_error("out of memory") : EXIT_DONE;
}

int command_rm(struct cli *cli, int argc, char **argv) {
  if (argc != 2)
    return cli_usage(cli, "rm takes the id of a job or a model");
  const bool model = strncmp(argv[1], "mdl_", 4) == 0;
  return erase_path(cli, http_path(model ? "/v1/models/" : "/v1/jobs/", argv[1], NULL));
}
