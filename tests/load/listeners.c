/* Listeners of a job's events over libcurl's multi interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/load/load.h"

struct listener {
  CURL *curl;
  char *text; /* the whole stream */
  size_t size;
  FILE *out;
};

struct listeners {
  pthread_t thread;
  char url[256], path[128];
  CURLM *multi;
  uint32_t count;
  struct listener listener[];
};

static size_t hear(char *data, size_t size, size_t count, void *context) {
  return fwrite(data, size, count, context);
}

static void *listen_all(void *context) {
  struct listeners *listeners = context;
  int running = 1;
  while (curl_multi_perform(listeners->multi, &running) == CURLM_OK && running > 0)
    if (curl_multi_poll(listeners->multi, NULL, 0, 1000, NULL) != CURLM_OK)
      break;
  return NULL;
}

struct listeners *listeners_start(const struct server *server, const char *job, uint32_t count) {
  struct listeners *listeners = calloc(1, sizeof(*listeners) + count * sizeof(listeners->listener[0]));
  assert_non_null(listeners);
  listeners->count = count;
  listeners->multi = curl_multi_init();
  (void)snprintf(listeners->path, sizeof(listeners->path), "/v1/jobs/%s/events", job);
  (void)snprintf(listeners->url, sizeof(listeners->url), "%s%s", server->url, listeners->path);
  for (uint32_t i = 0; i < count; i++) {
    struct listener *listener = &listeners->listener[i];
    listener->curl = curl_easy_init();
    listener->out = open_memstream(&listener->text, &listener->size);
    assert_true(listener->curl && listener->out);
    (void)curl_easy_setopt(listener->curl, CURLOPT_URL, listeners->url);
    (void)curl_easy_setopt(listener->curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(listener->curl, CURLOPT_WRITEFUNCTION, hear);
    (void)curl_easy_setopt(listener->curl, CURLOPT_WRITEDATA, listener->out);
    assert_int_equal(curl_multi_add_handle(listeners->multi, listener->curl), CURLM_OK);
  }
  assert_int_equal(pthread_create(&listeners->thread, NULL, listen_all, listeners), 0);
  return listeners;
}

/* Comments, which are heartbeats, go: they come to each stream at another time. */
static uint32_t strip(char *text) {
  uint32_t events = 0;
  char *to = text;
  for (const char *line = text; *line;) {
    size_t length = strcspn(line, "\n");
    const char *next = line + length + (line[length] == '\n');
    const bool comment = *line == ':';
    events += strncmp(line, "id: ", 4) == 0;
    if (!comment) {
      memmove(to, line, (size_t)(next - line));
      to += next - line;
    } else if (*next == '\n') {
      next++;
    }
    line = next;
  }
  *to = 0;
  return events;
}

void listeners_finish(struct server *server, struct listeners *listeners, struct heard *ret_heard) {
  struct heard heard = {.listeners = listeners->count};
  struct reply reply;
  assert_int_equal(pthread_join(listeners->thread, NULL), 0);
  ask(server, "GET", listeners->path, NULL, NULL, 0, &reply); /* what there is to hear: the job has ended */
  assert_int_equal(reply.status, 200);
  heard.events = strip(reply.body);
  const bool ended = strstr(reply.body, "event: end\n") != NULL;
  for (uint32_t i = 0; i < listeners->count; i++) {
    struct listener *listener = &listeners->listener[i];
    (void)fclose(listener->out);
    (void)strip(listener->text);
    heard.whole += ended && strcmp(listener->text, reply.body) == 0;
    free(listener->text);
    (void)curl_multi_remove_handle(listeners->multi, listener->curl);
    curl_easy_cleanup(listener->curl);
  }
  (void)curl_multi_cleanup(listeners->multi);
  reply_done(&reply);
  free(listeners);
  *ret_heard = heard;
}
