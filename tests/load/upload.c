/* A large upload, and the memory it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/load/load.h"

struct upload {
  char url[256];
  uint64_t left;
  char block[1 << 16];
  long status;
  atomic_bool done;
};

uint64_t resident_bytes(pid_t pid) {
  char path[64], line[256];
  unsigned long kib = 0;
  (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file) && sscanf(line, "RssAnon: %lu kB", &kib) != 1)
    ;
  (void)fclose(file);
  return (uint64_t)kib << 10;
}

double processor_s(pid_t pid) {
  char path[64], text[1024];
  unsigned long user = 0, system = 0;
  (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  text[fread(text, 1, sizeof(text) - 1, file)] = 0;
  (void)fclose(file);
  const char *end = strrchr(text, ')'); /* of the name */
  assert_non_null(end);
  assert_int_equal(sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static size_t give(char *data, size_t size, size_t count, void *context) {
  struct upload *upload = context;
  size_t n = size * count < sizeof(upload->block) ? size * count : sizeof(upload->block);
  if (n > upload->left)
    n = (size_t)upload->left;
  memcpy(data, upload->block, n);
  upload->left -= n;
  return n;
}

static size_t ignore(char *data, size_t size, size_t count, void *context) {
  (void)data;
  (void)context;
  return size * count;
}

static void *send_all(void *context) {
  struct upload *upload = context;
  CURL *curl = curl_easy_init();
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-tar");
  (void)curl_easy_setopt(curl, CURLOPT_URL, upload->url);
  (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)sizeof(upload->block));
  (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)upload->left);
  (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
  (void)curl_easy_setopt(curl, CURLOPT_READDATA, upload);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
  (void)curl_easy_perform(curl);
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &upload->status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  atomic_store(&upload->done, true);
  return NULL;
}

static void erase(struct server *server) {
  struct reply reply;
  for (int i = 0; i < 600; i++) {
    expect(server, "GET", "/v1/datasets/large", NULL, 200, &reply);
    const char *state = json_string_value(json_object_get(reply.json, "state"));
    const bool ended = strcmp(state, "ingesting") != 0;
    reply_done(&reply);
    if (ended)
      break;
    (void)usleep(100000);
  }
  expect(server, "DELETE", "/v1/datasets/large", NULL, 200, NULL);
}

void upload_run(struct server *server, uint64_t bytes, struct upload_load *ret_load) {
  static struct upload upload;
  struct upload_load load = {.before = resident_bytes(server->pid)};
  pthread_t thread;
  (void)snprintf(upload.url, sizeof(upload.url), "%s/v1/datasets/large", server->url);
  upload.left = bytes;
  memset(upload.block, 'x', sizeof(upload.block));
  atomic_store(&upload.done, false);
  const int64_t began = now_ns();
  assert_int_equal(pthread_create(&thread, NULL, send_all, &upload), 0);
  while (!atomic_load(&upload.done)) {
    const uint64_t now = resident_bytes(server->pid);
    load.most = now > load.most ? now : load.most;
    (void)usleep(20000);
  }
  assert_int_equal(pthread_join(thread, NULL), 0);
  if (upload.status != 202)
    fail_msg("the upload was answered with %ld", upload.status);
  load.seconds = (double)(now_ns() - began) * 1e-9;
  erase(server);
  load.after = resident_bytes(server->pid);
  *ret_load = load;
}
