/* Rows of a list resource as a table, or as JSON. */
#include "cli/cli.h"

int cli_print_rows(const json_t *rows, const struct columns *columns) {
  unsigned count = 0;
  while (count < TABLE_COLUMNS && columns->heading[count])
    count++;
  _cleanup_(table_freep) struct table *table = table_new(count);
  const json_t *row;
  size_t i;
  for (i = 0; i < count; i++)
    table_cell(table, "%s", columns->heading[i]);
  json_array_foreach(rows, i, row) columns->row(table, row);
  return table_print(table, stdout) < 0 ? cli_error("out of memory") : EXIT_DONE;
}

int cli_list(struct cli *cli, char *path, const struct columns *columns) {
  json_t *rows = NULL;
  int code = cli_get_all(cli, path, &rows);
  if (code == EXIT_DONE && cli->json)
    out_json(rows);
  else if (code == EXIT_DONE)
    code = cli_print_rows(rows, columns);
  json_decref(rows);
  return code;
}
