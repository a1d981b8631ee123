/* Commands on tokens: add, ls, revoke. A new token goes to standard output, so that it can be put into a file
 * without being seen. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

/* "2031-01-31T12:00:00Z", `days` from now; null for 0. NULL when out of memory. */
static json_t *expiry_json(uint64_t days) {
  char text[32];
  struct tm tm;
  time_t at = time(NULL) + (time_t)days * 24 * 3600;
  if (days == 0)
    return json_null();
  return gmtime_r(&at, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) ? json_string(text)
                                                                                       : NULL;
}

/* Scopes of one --scope: names separated by commas. */
static void add_scopes(json_t *scopes, const char *text) {
  while (*text) {
    size_t length = strcspn(text, ",");
    (void)json_array_append_new(scopes, json_stringn(text, length));
    text += length + (text[length] == ',');
  }
}

static int show_made(struct cli *cli, const struct reply *reply) {
  if (cli->json)
    out_json(reply->json);
  else {
    (void)fprintf(stderr, "token %s, expires %s; it is shown this once:\n", json_text(reply->json, "id", "?"),
                  json_text(reply->json, "expires_at", "never"));
    (void)printf("%s\n", json_text(reply->json, "token", "?"));
  }
  return EXIT_DONE;
}

static int make_token(struct cli *cli, const char *name, const char *owner, json_t *scopes, uint64_t days) {
  struct reply reply = {0};
  json_t *body =
      json_pack("{s:s, s:O, s:o}", "name", name, "scopes", scopes, "expires_at", expiry_json(days));
  if (!body || (owner && json_object_set_new(body, "owner", json_string(owner)) < 0)) {
    json_decref(body);
    return cli_error("the name must be UTF-8, and --expires a number of days that calendars know");
  }
  int code =
      cli_request(cli, &(struct request){.method = "POST", .path = "/v1/tokens", .json = body}, &reply);
  json_decref(body);
  if (code != EXIT_DONE)
    return code;
  code = show_made(cli, &reply);
  reply_free(&reply);
  return code;
}

int command_token_add(struct cli *cli, int argc, char **argv) {
  const char *owner = NULL;
  uint64_t days = 365;
  int option, code = EXIT_DONE;
  json_t *scopes = json_array();
  while (code == EXIT_DONE && (option = cli_option(cli, argc, argv)) != -1) {
    if (option == 's')
      add_scopes(scopes, optarg);
    else if (option == 'o')
      owner = optarg;
    else if (option != 'e')
      code = cli_usage_option(cli);
    else if (!cli_number(optarg, 0, 36500, &days))
      code = cli_usage(cli, "--expires takes days, 0 to 36500 (0: never)");
  }
  if (code == EXIT_DONE && optind + 1 != argc)
    code = cli_usage(cli, "token add takes one name");
  if (code == EXIT_DONE && json_array_size(scopes) == 0)
    code = cli_usage(cli, "say with --scope what the token is good for");
  if (code == EXIT_DONE)
    code = make_token(cli, argv[optind], owner, scopes, days);
  json_decref(scopes);
  return code;
}

static void token_row(struct table *table, const json_t *row) {
  const json_t *scope;
  char scopes[256] = "";
  size_t i;
  json_array_foreach(json_object_get(row, "scopes"), i, scope) {
    size_t used = strlen(scopes);
    (void)snprintf(scopes + used, sizeof(scopes) - used, "%s%s", i ? "," : "", json_string_value(scope));
  }
  table_cell(table, "%s", json_text(row, "id", "?"));
  table_cell(table, "%s", json_text(row, "name", "?"));
  table_cell(table, "%s", json_text(row, "owner", "?"));
  table_cell(table, "%s",
             json_text(row, "revoked_at", NULL) ? "revoked" : json_text(row, "expires_at", "never"));
  table_cell(table, "%s", scopes);
}

int command_token_ls(struct cli *cli, int argc, char **argv) {
  static const struct columns columns = {token_row, {"TOKEN", "NAME", "OWNER", "EXPIRES", "SCOPES"}};
  (void)argv;
  return argc == 1 ? cli_list(cli, strdup("/v1/tokens"), &columns)
                   : cli_usage(cli, "token ls takes no argument");
}

int command_token_revoke(struct cli *cli, int argc, char **argv) {
  struct reply reply = {0};
  if (argc != 2)
    return cli_usage(cli, "token revoke takes the id of a token");
  _cleanup_(freep) char *path = http_path("/v1/tokens/", argv[1], NULL);
  if (!path)
    return cli_error("out of memory");
  int code = cli_request(cli, &(struct request){.method = "DELETE", .path = path}, &reply);
  json_t *said = json_pack("{s:s, s:b}", "id", argv[1], "revoked", 1); /* the daemon's answer is empty */
  if (code == EXIT_DONE && cli->json)
    out_json(said);
  else if (code == EXIT_DONE)
    (void)printf("%s revoked\n", argv[1]);
  json_decref(said);
  reply_free(&reply);
  return code;
}
