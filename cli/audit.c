/* The command audit: who did what. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void record_row(struct table *table, const json_t *row) {
  table_cell(table, "%s", json_text(row, "at", "?"));
  table_cell(table, "%s", json_text(row, "actor", "?"));
  table_cell(table, "%s", json_text(row, "action", "?"));
  table_cell(table, "%s", json_text(row, "object", "-"));
  table_cell(table, "%s", json_text(row, "file", "-"));
  table_cell(table, "%llu", (unsigned long long)json_count(row, "status"));
}

static const struct columns columns = {record_row, {"AT", "WHO", "DID", "TO", "FILE", "STATUS"}};

int command_audit(struct cli *cli, int argc, char **argv) {
  const char *actor = NULL, *object = NULL;
  uint64_t limit = 100;
  char number[24];
  json_t *page = NULL;
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'a')
      actor = optarg;
    else if (option == 'o')
      object = optarg;
    else if (option != 'l')
      return cli_usage_option(cli);
    else if (!cli_number(optarg, 1, 100, &limit))
      return cli_usage(cli, "--limit takes a number from 1 to 100");
  }
  if (optind != argc)
    return cli_usage(cli, "audit takes no argument");
  (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)limit);
  int code = cli_get(cli,
                     http_path("/v1/audit?limit=", number, actor ? "&actor=" : "", actor ? actor : "",
                               object ? "&object=" : "", object ? object : "", NULL),
                     &page);
  if (code != EXIT_DONE)
    return code;
  const json_t *rows = json_object_get(page, "data");
  if (cli->json)
    out_json(rows);
  else
    code = cli_print_rows(rows, &columns);
  json_decref(page);
  return code;
}
