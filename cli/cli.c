/* What the commands share: telling of errors, requests that deal with them, numbers. */
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

#define PATIENCE_S 60

static int usage_failed(const struct cli *cli) {
  help_usage(cli->command, stderr);
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

int cli_lost(const struct cli *cli, int64_t *lost_at, const char *why) {
  const int64_t now = clock_ns();
  const bool first = *lost_at == 0;
  if (first)
    *lost_at = now;
  if (!http_met(cli->http) || now - *lost_at >= PATIENCE_S * INT64_C(1000000000)) {
    bar_clear();
    (void)cli_error("%s", why);
    return EXIT_CONNECTION;
  }
  if (bar_possible())
    bar_draw(-1, "connection lost, trying again", "");
  else if (first)
    (void)fputs("connection lost, trying again\n", stderr);
  return EXIT_DONE;
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
