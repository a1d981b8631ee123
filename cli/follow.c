/* Watching a job: `follow` and `submit --follow` poll the job, `events` reads its event stream.
 *
 * Progress is polled, not streamed: the job resource holds everything that is shown, one short request each
 * half second is nothing to the daemon, and a poll that fails needs no state to be repeated, so that restarts
 * of the daemon are survived without further ado. Ctrl-C stops watching and leaves the job alone. */
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

#define POLL_MS 500
#define PLAIN_LINE_S 15 /* between lines where no bar can be drawn */
#define EVENTS_PATIENCE_S 60

volatile sig_atomic_t cli_interrupted;

static void on_interrupt(int signal) {
  (void)signal;
  cli_interrupted = 1;
}

void cli_catch_interrupts(void) {
  struct sigaction action = {.sa_handler =
                                 on_interrupt}; /* no SA_RESTART: the pause between polls must end */
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
}

struct watch {
  const char *id;
  bool bar;
  char state[32]; /* of state and phase, to tell changes */
  uint64_t epoch;
  int64_t lost_at, line_at; /* monotonic ns; lost_at 0 = connected */
};

/* "812 images/s  loss 4.31  accuracy 88.2 %  12 s left" */
static void describe(const json_t *job, char *ret_text, size_t size) {
  const json_t *metrics = json_object_get(job, "metrics"), *progress = json_object_get(job, "progress");
  double speed = json_real_or(progress, "images_per_s", json_real_or(metrics, "images_per_s", NAN));
  double loss = json_real_or(progress, "loss", json_real_or(metrics, "loss", NAN));
  double accuracy = json_real_or(metrics, "accuracy", NAN), eta = json_real_or(progress, "eta_s", -1);
  char percent[32], left[32], speed_text[48] = "", loss_text[48] = "";
  format_percent(accuracy, percent, sizeof(percent));
  format_duration(eta, left, sizeof(left));
  if (isfinite(speed) && speed > 0)
    (void)snprintf(speed_text, sizeof(speed_text), "%.0f images/s  ", speed);
  if (isfinite(loss))
    (void)snprintf(loss_text, sizeof(loss_text), "loss %.2f  ", loss);
  (void)snprintf(ret_text, size, "%s%s%s%s%s%s%s", speed_text, loss_text,
                 isfinite(accuracy) ? "accuracy " : "", isfinite(accuracy) ? percent : "",
                 isfinite(accuracy) ? "  " : "", eta >= 0 ? left : "", eta >= 0 ? " left" : "");
}

static const char *state_of(const json_t *job) {
  const char *state = json_text(job, "state", "?"), *phase = json_text(job, "phase", NULL);
  return phase && *phase && strcmp(state, "running") == 0 ? phase : state;
}

/* "epoch 3/12" while training, the phase before and after; "training  epoch 3/12  step 120/600" when the
 * caller has room for everything. */
static void locate(const json_t *job, bool all, char *ret_text, size_t size) {
  const json_t *progress = json_object_get(job, "progress");
  const json_t *train = json_object_get(json_object_get(job, "spec"), "train");
  unsigned long long epoch = json_count(progress, "epoch"), step = json_count(progress, "step");
  unsigned long long epochs = json_count(train, "epochs"), total = json_count(progress, "total");
  if (epoch > 0 && all)
    (void)snprintf(ret_text, size, "%s  epoch %llu/%llu  step %llu/%llu", state_of(job), epoch, epochs, step,
                   total);
  else if (epoch > 0 && strcmp(state_of(job), "training") == 0)
    (void)snprintf(ret_text, size, "epoch %llu/%llu", epoch, epochs);
  else
    (void)snprintf(ret_text, size, "%s", state_of(job));
}

static void show_bar(const json_t *job) {
  double fraction = json_real_or(json_object_get(job, "progress"), "fraction", 0);
  char before[96], after[256], text[224];
  describe(job, text, sizeof(text));
  locate(job, bar_columns() >= 120, before, sizeof(before));
  (void)snprintf(after, sizeof(after), "%.0f %%  %s", 100 * fraction, text);
  bar_draw(fraction, before, after);
}

/* A line when state or epoch changes, and every 15 s. */
static void show_line(struct watch *watch, const json_t *job) {
  uint64_t epoch = json_count(json_object_get(job, "progress"), "epoch");
  int64_t now = clock_ns();
  char place[96], text[224];
  bool changed = strcmp(watch->state, state_of(job)) != 0 || epoch != watch->epoch;
  if (!changed && now - watch->line_at < PLAIN_LINE_S * INT64_C(1000000000))
    return;
  watch->line_at = now;
  watch->epoch = epoch;
  (void)snprintf(watch->state, sizeof(watch->state), "%s", state_of(job));
  locate(job, true, place, sizeof(place));
  describe(job, text, sizeof(text));
  (void)fprintf(stderr, "%s  %s\n", place, text);
}

static int job_ended(const struct cli *cli, const json_t *job) {
  const char *state = json_text(job, "state", "?"), *id = json_text(job, "id", "?");
  const json_t *problem = json_object_get(job, "error");
  if (cli->json)
    out_json(job);
  if (strcmp(state, "succeeded") == 0) {
    char accuracy[32];
    format_percent(json_real_or(json_object_get(job, "metrics"), "accuracy", NAN), accuracy,
                   sizeof(accuracy));
    if (!cli->json && strcmp(json_text(job, "type", ""), "audit") == 0)
      (void)printf("%s succeeded: model %s was audited\n", id, json_text(job, "model", "-"));
    else if (!cli->json)
      (void)printf("%s succeeded: model %s, accuracy %s\n", id, json_text(job, "model", "-"), accuracy);
    return EXIT_DONE;
  }
  if (strcmp(state, "canceled") == 0) {
    (void)cli_error("%s was canceled", id);
    return EXIT_CANCELED;
  }
  return cli_error("%s %s: %s", id, state,
                   json_text(problem, "detail", json_text(problem, "title", "the daemon gave no reason")));
}

/* The daemon did not answer. EXIT_DONE = try again. */
static int connection_lost(const struct cli *cli, struct watch *watch, const char *why) {
  int code = cli_lost(cli, &watch->lost_at, why);
  if (code != EXIT_DONE && http_met(cli->http))
    (void)fprintf(stderr, "The job goes on where it was once the daemon is back: guise follow %s\n",
                  watch->id);
  return code;
}

/* One poll. true = over, with *ret_code. */
static bool poll_job(struct cli *cli, struct watch *watch, const char *path, int *ret_code) {
  struct guise_error err = {0};
  struct reply reply = {0};
  bool over = false;
  int r = http_send(cli->http, &(struct request){.method = "GET", .path = path}, &reply, &err);
  if (r == -ECONNREFUSED || (r == 0 && reply.status >= 502)) {
    *ret_code = connection_lost(cli, watch, r < 0 ? err.text : "the daemon is not ready for work");
    over = *ret_code != EXIT_DONE;
  } else if (r < 0) {
    bar_clear();
    *ret_code = cli_error("%s", err.text);
    over = true;
  } else if (reply.status != 200) {
    bar_clear();
    *ret_code = cli_problem(&reply);
    over = true;
  } else {
    watch->lost_at = 0;
    if (watch->bar)
      show_bar(reply.json);
    else
      show_line(watch, reply.json);
    if (json_is_true(json_object_get(reply.json, "terminal"))) {
      bar_clear();
      *ret_code = job_ended(cli, reply.json);
      over = true;
    }
  }
  reply_free(&reply);
  return over;
}

int follow_job(struct cli *cli, const char *id) {
  struct watch watch = {.id = id, .bar = bar_possible()};
  _cleanup_(freep) char *path = http_path("/v1/jobs/", id, NULL);
  int code = EXIT_DONE;
  if (!path)
    return cli_error("out of memory");
  cli_catch_interrupts();
  while (!poll_job(cli, &watch, path, &code)) {
    if (!cli_interrupted)
      (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    if (cli_interrupted) {
      bar_clear();
      (void)fprintf(
          stderr,
          "No longer watching; the job goes on. guise follow %s watches again, guise cancel %s ends it\n", id,
          id);
      return EXIT_INTERRUPTED;
    }
  }
  return code;
}

int command_follow(struct cli *cli, int argc, char **argv) {
  if (argc != 2)
    return cli_usage(cli, "follow takes a job's id");
  return follow_job(cli, argv[1]);
}

/* ---- events ---- */

/* A reader of server-sent events (HTML standard, 9.2.6), as far as the daemon uses them. */
struct stream {
  bool json;
  char line[1 << 16];
  size_t length;
  char id[32];   /* of the event being read */
  char last[32]; /* of the last whole event: where a new connection goes on */
  char event[32];
  char *data;
  bool ended;
};

static int stream_dispatch(struct stream *stream) {
  if (!stream->data)
    return 0;
  if (stream->id[0])
    memcpy(stream->last, stream->id, sizeof(stream->last));
  stream->ended = stream->ended || strcmp(stream->event, "end") == 0;
  if (stream->json) {
    json_t *data = json_loads(stream->data, JSON_DECODE_ANY, NULL);
    json_t *line = json_pack("{s:s,s:s,s:o}", "id", stream->last, "event", stream->event, "data",
                             data ? data : json_string(stream->data));
    if (line)
      (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(line);
  } else {
    (void)printf("%6s  ", stream->last);
    out_text(stdout, stream->event);
    (void)fputs("  ", stdout);
    out_text(stdout, stream->data);
    (void)putchar('\n');
  }
  (void)fflush(stdout);
  free(stream->data);
  stream->data = NULL;
  stream->event[0] = 0;
  return 0;
}

static int stream_line(struct stream *stream, struct guise_error *err) {
  char *line = stream->line;
  char *colon = strchr(line, ':');
  const char *value = colon ? colon + 1 + (colon[1] == ' ') : "";
  if (line[0] == 0)
    return stream_dispatch(stream);
  if (colon)
    *colon = 0;
  if (strcmp(line, "id") == 0)
    (void)snprintf(stream->id, sizeof(stream->id), "%s", value);
  else if (strcmp(line, "event") == 0)
    (void)snprintf(stream->event, sizeof(stream->event), "%s", value);
  else if (strcmp(line, "data") == 0) {
    char *data = NULL;
    if (asprintf(&data, "%s%s%s", stream->data ? stream->data : "", stream->data ? "\n" : "", value) < 0)
      return error_set(err, -ENOMEM, "out of memory");
    free(stream->data);
    stream->data = data;
  }
  return 0;
}

static int on_stream(void *context, long status, const char *data, size_t size, struct guise_error *err) {
  struct stream *stream = context;
  (void)status;
  for (size_t i = 0; i < size; i++) {
    if (data[i] != '\n' && data[i] != '\r') {
      if (stream->length + 1 >= sizeof(stream->line))
        return error_set(err, -EFBIG, "an event is longer than 64 KiB");
      stream->line[stream->length++] = data[i];
    } else if (data[i] == '\n') {
      stream->line[stream->length] = 0;
      stream->length = 0;
      int r = stream_line(stream, err);
      if (r < 0)
        return r;
    }
  }
  return 0;
}

/* One connection. EXIT_DONE with *ret_lost when it broke before the end; when it never came about, the error
 * is printed. */
static int read_stream(struct cli *cli, const char *path, struct stream *stream, bool *ret_lost) {
  char resume[64];
  struct guise_error err = {0};
  struct reply reply = {0};
  int code = EXIT_DONE;
  (void)snprintf(resume, sizeof(resume), "Last-Event-ID: %s", stream->last);
  struct request request = {.method = "GET",
                            .path = path,
                            .write = on_stream,
                            .context = stream,
                            .endless = true,
                            .stop = &cli_interrupted,
                            .headers = {"Accept: text/event-stream", stream->last[0] ? resume : NULL}};
  stream->length = 0;
  free(stream->data);
  stream->data = NULL;
  int r = http_send(cli->http, &request, &reply, &err);
  *ret_lost = r == -ECONNREFUSED || (r == 0 && (reply.status == 200 || reply.status >= 502));
  if (r == -ECONNREFUSED && !http_met(cli->http)) {
    (void)cli_error("%s", err.text);
    code = EXIT_CONNECTION;
  } else if (r < 0 && !*ret_lost && r != -EINTR)
    code = cli_error("%s", err.text);
  else if (r == 0 && !*ret_lost)
    code = cli_problem(&reply);
  reply_free(&reply);
  return code;
}

int command_events(struct cli *cli, int argc, char **argv) {
  uint64_t after = 0;
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1)
    if (option != 'a' || !cli_number(optarg, 0, INT64_MAX, &after))
      return option == 'a' ? cli_usage(cli, "--after takes an event's number") : cli_usage_option(cli);
  if (optind + 1 != argc)
    return cli_usage(cli, "events takes a job's id");
  _cleanup_(freep) struct stream *stream = calloc(1, sizeof(*stream));
  _cleanup_(freep) char *path = http_path("/v1/jobs/", argv[optind], "/events", NULL);
  if (!stream || !path)
    return cli_error("out of memory");
  stream->json = cli->json;
  if (after)
    (void)snprintf(stream->last, sizeof(stream->last), "%llu", (unsigned long long)after);
  cli_catch_interrupts();
  int64_t answered = clock_ns();
  int code = EXIT_DONE;
  for (bool lost = true; code == EXIT_DONE && lost && !stream->ended && !cli_interrupted;) {
    char before[32];
    memcpy(before, stream->last, sizeof(before));
    code = read_stream(cli, path, stream, &lost);
    if (strcmp(before, stream->last) != 0)
      answered = clock_ns();
    if (lost && !stream->ended && clock_ns() - answered > EVENTS_PATIENCE_S * INT64_C(1000000000)) {
      (void)cli_error("the daemon has not answered for %d s; guise events %s --after %s goes on",
                      EVENTS_PATIENCE_S, argv[optind], stream->last[0] ? stream->last : "0");
      code = EXIT_CONNECTION;
    } else if (lost && !stream->ended && !cli_interrupted) {
      (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
  }
  free(stream->data);
  return cli_interrupted ? EXIT_INTERRUPTED : code;
}
