/* A job's events as a stream (text/event-stream, WHATWG HTML 9.2): first what is in the database after
 * Last-Event-ID, then what comes, a comment as heartbeat, and the end with the job's `end` event. The
 * connection is suspended while there is nothing to say. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"

#define EVENTS_AT_ONCE 100u

struct stream {
  struct http *http;
  struct waiter waiter;
  int64_t after;   /* the last event that was put into the buffer */
  int64_t beat_ns; /* the next heartbeat */
  char *text;      /* not yet sent */
  size_t size, sent;
  bool ended;
};

static void stream_free(void *context) {
  struct stream *stream = context;
  waiter_remove(stream->http, &stream->waiter);
  http_unref(stream->http);
  free(stream->text);
  free(stream);
}

/* The option may change while a stream is open. */
static void schedule_heartbeat(struct stream *stream) {
  struct config config;
  service_config_now(stream->http->service, &config);
  stream->beat_ns = clock_ns() + (int64_t)config.heartbeat_s * 1000000000;
}

static int format_events(struct stream *stream, const struct event_row *rows, uint32_t count) {
  FILE *out = open_memstream(&stream->text, &stream->size);
  if (!out)
    return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    (void)fprintf(out, "id: %lld\nevent: %s\ndata: %s\n\n", (long long)rows[i].seq, rows[i].type,
                  rows[i].data);
    stream->after = rows[i].seq;
    stream->ended |= strcmp(rows[i].type, "end") == 0;
  }
  return fclose(out) == 0 ? 0 : -ENOMEM;
}

/* Fills the buffer with what there is; it stays empty when there is nothing. */
static int fill(struct stream *stream) {
  struct store *store = service_store(stream->http->service);
  struct event_row *rows = NULL;
  struct job_row job;
  uint32_t count = 0;
  free(stream->text);
  stream->text = NULL;
  stream->size = stream->sent = 0;
  /* the state before the events: the end event is committed with the terminal state */
  int r = store_job_get(store, stream->waiter.job, &job);
  if (r < 0)
    return r;
  bool terminal = job_state_terminal(job.state);
  job_row_clear(&job);
  r = store_event_list(store, stream->waiter.job, stream->after, EVENTS_AT_ONCE, &rows, &count);
  if (r == 0 && count > 0)
    r = format_events(stream, rows, count);
  else if (r == 0 && terminal)
    stream->ended = true;
  event_rows_free(rows, count);
  return r;
}

static ssize_t stream_read(void *context, uint64_t position, char *buffer, size_t room) {
  struct stream *stream = context;
  (void)position;
  for (;;) {
    if (stream->sent < stream->size) {
      size_t n = MIN(room, stream->size - stream->sent);
      memcpy(buffer, stream->text + stream->sent, n);
      stream->sent += n;
      schedule_heartbeat(stream);
      return (ssize_t)n;
    }
    if (stream->ended || stream->http->draining)
      return MHD_CONTENT_READER_END_OF_STREAM;
    waiter_arm(stream->http, &stream->waiter);
    if (fill(stream) < 0)
      return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream->size > 0 || stream->ended)
      continue;
    if (clock_ns() >= stream->beat_ns) {
      stream->text = strdup(":\n\n");
      stream->size = stream->text ? 3 : 0;
      if (!stream->text)
        return MHD_CONTENT_READER_END_WITH_ERROR;
      continue;
    }
    if (waiter_suspend(stream->http, &stream->waiter, stream->beat_ns))
      return 0;
  }
}

/* Last-Event-ID, or ?after=, or 0; -1 with an answer when it is no number. */
static int64_t start_of(struct request *request) {
  const char *text = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Last-Event-ID");
  char *end = NULL;
  if (!text)
    text = target_query(&request->target, "after", 0);
  if (!text)
    return 0;
  long long value = strtoll(text, &end, 10);
  if (*text && *end == 0 && value >= 0)
    return value;
  reply_problem(request, PROBLEM_INVALID,
                "Last-Event-ID (or after) is the number of an event, as its id says");
  return -1;
}

void stream_events(struct request *request) {
  struct job_row job;
  int64_t after;
  int r = store_job_get(service_store(request->service), request->parameter[0], &job);
  if (r < 0) {
    reply_job_error(request, r);
    return;
  }
  job_row_clear(&job);
  if ((after = start_of(request)) < 0)
    return;
  struct stream *stream = calloc(1, sizeof(*stream));
  if (!stream) {
    reply_error(request, -ENOMEM, NULL);
    return;
  }
  stream->http = request->http;
  atomic_fetch_add(&request->http->references, 1);
  stream->after = after;
  schedule_heartbeat(stream);
  waiter_add(request->http, &stream->waiter, request->connection, request->parameter[0]);
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192, stream_read, stream, stream_free);
  if (!response)
    stream_free(stream);
  reply_take(request, MHD_HTTP_OK, response);
  reply_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
}
