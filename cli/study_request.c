/* Requests of a study that runs for hours: a daemon that restarts is waited for. */
#include <string.h>
#include <time.h>

#include "cli/study_run.h"

#define RETRY_MS 500
#define PATIENCE_S 600 /* a machine that reboots comes back within it */

/* EXIT_DONE: try again. */
static int wait_for_daemon(const struct study_run *run, int64_t *lost_at, const char *why) {
  int64_t now = clock_ns();
  if (!run->met) {
    (void)cli_error("%s", why);
    return EXIT_CONNECTION;
  }
  if (*lost_at == 0) {
    *lost_at = now;
    if (!bar_possible())
      (void)fputs("connection lost, trying again\n", stderr);
  }
  bar_draw(-1, "connection lost, trying again", "");
  if (now - *lost_at > PATIENCE_S * INT64_C(1000000000)) {
    bar_clear();
    (void)cli_error("%s", why);
    (void)fputs("The same command goes on where the study was once the daemon is back.\n", stderr);
    return EXIT_CONNECTION;
  }
  if (!cli_interrupted)
    (void)nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
  return cli_interrupted ? EXIT_INTERRUPTED : EXIT_DONE;
}

int run_request(struct study_run *run, const struct request *request, struct reply *ret_reply) {
  int64_t lost_at = 0;
  int code = EXIT_DONE;
  while (code == EXIT_DONE) {
    struct guise_error err = {0};
    struct reply reply = {0};
    int r = http_send(run->cli->http, request, &reply, &err);
    if (r == 0 && reply.status < 502) {
      run->met = true;
      *ret_reply = reply;
      return EXIT_DONE;
    }
    if (r < 0 && r != -ECONNREFUSED)
      code = cli_error("%s", err.text);
    else
      code = wait_for_daemon(run, &lost_at,
                             r < 0 ? err.text
                                   : json_text(reply.json, "detail", "the daemon is not ready for work"));
    reply_free(&reply);
  }
  return code;
}

int run_get(struct study_run *run, char *path, bool *missing, json_t **ret_json) {
  _cleanup_(freep) char *owned = path;
  struct reply reply = {0};
  if (!owned)
    return cli_error("out of memory");
  int code = run_request(run, &(struct request){.method = "GET", .path = owned}, &reply);
  if (code != EXIT_DONE)
    return code;
  if (missing)
    *missing = reply.status == 404;
  if (reply.status == 200 && reply.json)
    *ret_json = TAKE(reply.json);
  else if (!missing || reply.status != 404) {
    bar_clear();
    code = cli_problem(&reply);
  }
  reply_free(&reply);
  return code;
}

int run_get_all(struct study_run *run, char *path, json_t **ret_rows) {
  _cleanup_(freep) char *first = path, *cursor = NULL;
  json_t *rows = json_array();
  int code = first && rows ? EXIT_DONE : cli_error("out of memory");
  do {
    json_t *page = NULL;
    if (code == EXIT_DONE)
      code =
          run_get(run, cursor ? http_path(first, "", "&cursor=", cursor, NULL) : strdup(first), NULL, &page);
    free(cursor);
    const char *next = json_text(page, "next", NULL);
    cursor = next ? strdup(next) : NULL;
    (void)json_array_extend(rows, json_object_get(page, "data"));
    json_decref(page);
  } while (code == EXIT_DONE && cursor);
  if (code != EXIT_DONE) {
    json_decref(rows);
    return code;
  }
  *ret_rows = rows;
  return EXIT_DONE;
}
