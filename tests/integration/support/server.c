#include "tests/integration/support/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/tar_write.h"
#include "tests/integration/support/contract.h"

#define GUISED GUISE_BUILD "/guised"

void server_prepare(struct server *server) {
  memset(server, 0, sizeof(*server));
  (void)snprintf(server->root, sizeof(server->root), "/tmp/guise-test-XXXXXX");
  assert_non_null(mkdtemp(server->root));
}

/* Reads guised's first line: "listening on http://...". */
static void read_url(struct server *server, int fd) {
  char line[256] = "";
  size_t have = 0;
  while (have + 1 < sizeof(line) && !strchr(line, '\n')) {
    struct pollfd poller = {fd, POLLIN, 0};
    if (poll(&poller, 1, 30000) <= 0)
      break;
    ssize_t n = read(fd, line + have, sizeof(line) - 1 - have);
    if (n <= 0)
      break;
    have += (size_t)n;
    line[have] = 0;
  }
  if (sscanf(line, "listening on %127s", server->url) != 1)
    fail_msg("guised did not start; it said \"%s\" (see %s/log)", line, server->root);
}

/* Starts guised; returns the end of a pipe from which its standard output can be read. */
static int spawn(struct server *server, const char *log_name) {
  char state[128], log[128];
  int ends[2], count = 3;
  char *argv[16] = {"guised", "--listen=127.0.0.1:0", state};
  (void)snprintf(state, sizeof(state), "--state=%s/state", server->root);
  (void)snprintf(log, sizeof(log), "%s/%s", server->root, log_name);
  for (size_t i = 0; i < sizeof(server->option) / sizeof(server->option[0]) && server->option[i]; i++)
    argv[count++] = (char *)server->option[i];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  server->pid = fork();
  assert_true(server->pid >= 0);
  if (server->pid == 0) {
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(ends[1], STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    (void)execv(GUISED, argv);
    _exit(127);
  }
  (void)close(ends[1]);
  return ends[0];
}

void server_start(struct server *server) {
  int fd = spawn(server, "log");
  read_url(server, fd);
  (void)close(fd);
}

void server_launch(struct server *server) {
  (void)close(spawn(server, "log"));
}

const char *server_refuses(struct server *server) {
  static char said[4096];
  char path[128];
  int status = 0;
  (void)close(spawn(server, "refusal"));
  assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
  server->pid = 0;
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  (void)snprintf(path, sizeof(path), "%s/refusal", server->root);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  said[fread(said, 1, sizeof(said) - 1, file)] = 0;
  (void)fclose(file);
  (void)unlink(path);
  return said;
}

void server_kill(struct server *server) {
  if (server->pid == 0)
    return;
  (void)kill(server->pid, SIGKILL);
  (void)waitpid(server->pid, NULL, 0);
  server->pid = 0;
}

/* The log goes with the server's directory. */
static void tell_end(const struct server *server, int status) {
  char path[128], text[4096];
  (void)snprintf(path, sizeof(path), "%s/log", server->root);
  FILE *log = fopen(path, "re");
  size_t n = 0;
  if (log && fseek(log, 0, SEEK_END) == 0 &&
      fseek(log, -MIN(ftell(log), (long)sizeof(text) - 1), SEEK_END) == 0)
    n = fread(text, 1, sizeof(text) - 1, log);
  if (log)
    (void)fclose(log);
  text[n] = 0;
  print_error("guised ended with %s %d, and its log with:\n%s\n", WIFEXITED(status) ? "status" : "signal",
              WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), text);
}

int server_stop(struct server *server) {
  int status = 0;
  assert_int_equal(kill(server->pid, SIGTERM), 0);
  assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
  server->pid = 0;
  if (status != 0)
    tell_end(server, status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void server_clean(struct server *server) {
  server_kill(server);
  (void)directory_remove(server->root);
}

/* ---- requests
 * -----------------------------------------------------------------------------------------------------------
 */

void reply_done(struct reply *reply) {
  free(reply->body);
  free(reply->headers);
  json_decref(reply->json);
  memset(reply, 0, sizeof(*reply));
}

static size_t append(char *data, size_t size, size_t count, void *context) {
  FILE *out = context;
  return fwrite(data, size, count, out);
}

static struct curl_slist *header_list(const char *header) {
  struct curl_slist *list = curl_slist_append(NULL, "Expect:");
  char line[512];
  while (header && *header) {
    size_t length = strcspn(header, "\n");
    (void)snprintf(line, sizeof(line), "%.*s", (int)length, header);
    list = curl_slist_append(list, line);
    header += length + (header[length] == '\n');
  }
  return list;
}

bool ask_once(const struct server *server, const char *method, const char *path, const char *header,
              const void *body, size_t bytes, struct reply *ret_reply) {
  char url[1024];
  size_t header_bytes = 0;
  CURL *curl = curl_easy_init();
  struct curl_slist *headers = header_list(header);
  memset(ret_reply, 0, sizeof(*ret_reply));
  FILE *out = open_memstream(&ret_reply->body, &ret_reply->size),
       *head = open_memstream(&ret_reply->headers, &header_bytes);
  (void)snprintf(url, sizeof(url), "%s%s", server->url, path);
  (void)curl_easy_setopt(curl, CURLOPT_URL, url);
  (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  if (server->ca)
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, server->ca);
  (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
  (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
  (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, append);
  (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, head);
  if (body) {
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
  }
  if (strcmp(method, "HEAD") == 0)
    (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  CURLcode code = curl_easy_perform(curl);
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_reply->status);
  (void)fclose(out);
  (void)fclose(head);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  if (ret_reply->status && ret_reply->size > 0 && ret_reply->body[0] == '{')
    ret_reply->json = json_loads(ret_reply->body, JSON_REJECT_DUPLICATES, NULL);
  if (code == CURLE_OK || ret_reply->status)
    return true;
  (void)snprintf(ret_reply->failure, sizeof(ret_reply->failure), "%s", curl_easy_strerror(code));
  return false;
}

void ask(struct server *server, const char *method, const char *path, const char *header, const void *body,
         size_t bytes, struct reply *ret_reply) {
  if (!ask_once(server, method, path, header, body, bytes, ret_reply))
    fail_msg("%s %s: %s (see %s/log)", method, path, ret_reply->failure, server->root);
  if (!strstr(header_of(ret_reply, "Content-Type"), "json")) {
    json_decref(ret_reply->json);
    ret_reply->json = NULL;
  }
  contract_check(method, path, ret_reply);
}

void expect(struct server *server, const char *method, const char *path, const char *json_body, long status,
            struct reply *ret_reply) {
  struct reply reply;
  ask(server, method, path, json_body ? "Content-Type: application/json" : NULL, json_body,
      json_body ? strlen(json_body) : 0, &reply);
  if (reply.status != status)
    fail_msg("%s %s: %ld instead of %ld: %s", method, path, reply.status, status, reply.body);
  if (ret_reply)
    *ret_reply = reply;
  else
    reply_done(&reply);
}

const char *header_of(const struct reply *reply, const char *name) {
  static char value[512];
  size_t length = strlen(name);
  value[0] = 0;
  for (const char *p = reply->headers; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : "")
    if (strncasecmp(p, name, length) == 0 && p[length] == ':')
      (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(p + length + 2, "\r\n"), p + length + 2);
  return value;
}

unsigned server_open_files(const struct server *server) {
  char path[64];
  unsigned count = 0;
  (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)server->pid);
  DIR *directory = opendir(path);
  assert_non_null(directory);
  while (readdir(directory))
    count++;
  (void)closedir(directory);
  return count;
}

int server_dial(const struct server *server) {
  unsigned port = 0;
  assert_int_equal(sscanf(server->url, "http://127.0.0.1:%u", &port), 1);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  return fd;
}

int ask_raw(struct server *server, const void *bytes, size_t size, char *ret_answer, size_t room) {
  char method[16], target[256];
  size_t have = 0;
  int status = 0;
  int fd = server_dial(server);
  (void)send(fd, bytes, size, MSG_NOSIGNAL);
  for (;;) {
    struct pollfd poller = {fd, POLLIN, 0};
    if (have + 1 >= room || poll(&poller, 1, 5000) <= 0)
      break;
    ssize_t n = recv(fd, ret_answer + have, room - 1 - have, 0);
    if (n <= 0)
      break;
    have += (size_t)n;
  }
  ret_answer[have] = 0;
  (void)close(fd);
  (void)sscanf(ret_answer, "HTTP/1.%*d %d", &status);
  if (status && sscanf(bytes, "%15s %255s", method, target) == 2)
    contract_note(method, target, status);
  return status;
}

/* ---- jobs
 * ------------------------------------------------------------------------------------------------------------------
 */

void upload_faces(struct server *server, const char *name, uint32_t people, uint32_t images) {
  char path[256], *data = NULL;
  size_t bytes = 0;
  struct reply reply;
  struct guise_error err = {0};
  (void)snprintf(path, sizeof(path), "%s/%s.tar", server->root, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_int_equal(synth_write_tar(fd, 1, people, images, 32, &err), 0);
  (void)close(fd);
  assert_int_equal(file_read(path, 64 << 20, &data, &bytes, &err), 0);
  (void)snprintf(path, sizeof(path), "/v1/datasets/%s?size=32", name);
  ask(server, "PUT", path, "Content-Type: application/x-tar", data, bytes, &reply);
  if (reply.status != 202)
    fail_msg("upload: %ld %s", reply.status, reply.body);
  reply_done(&reply);
  free(data);
  (void)snprintf(path, sizeof(path), "/v1/datasets/%s", name);
  for (int i = 0; i < 300; i++) {
    expect(server, "GET", path, NULL, 200, &reply);
    const char *state = json_string_value(json_object_get(reply.json, "state"));
    bool ready = strcmp(state, "ready") == 0, failed = strcmp(state, "failed") == 0;
    if (failed)
      fail_msg("ingest: %s", reply.body);
    reply_done(&reply);
    if (ready)
      return;
    (void)usleep(100000);
  }
  fail_msg("the data set did not become ready");
}

const char *submit(struct server *server, const char *json_body) {
  static char id[64];
  struct reply reply;
  expect(server, "POST", "/v1/jobs", json_body, 201, &reply);
  (void)snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(reply.json, "id")));
  reply_done(&reply);
  return id;
}

const char *wait_job(struct server *server, const char *id, unsigned epoch, double seconds) {
  static char state[32];
  char path[128];
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", id);
  for (double waited = 0; waited < seconds; waited += 0.05) {
    struct reply reply;
    expect(server, "GET", path, NULL, 200, &reply);
    (void)snprintf(state, sizeof(state), "%s", json_string_value(json_object_get(reply.json, "state")));
    bool terminal = json_is_true(json_object_get(reply.json, "terminal"));
    json_int_t now = json_integer_value(json_object_get(json_object_get(reply.json, "progress"), "epoch"));
    reply_done(&reply);
    if (terminal || (epoch > 0 && strcmp(state, "running") == 0 && now >= (json_int_t)epoch))
      return state;
    (void)usleep(50000);
  }
  fail_msg("job %s is still %s after %.0f s (see %s/log)", id, state, seconds, server->root);
  return state;
}

const char *model_of(struct server *server, const char *job) {
  static char id[64];
  char path[128];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", job);
  expect(server, "GET", path, NULL, 200, &reply);
  (void)snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(reply.json, "model")));
  reply_done(&reply);
  return id;
}

void train_model(struct server *server, const char *json_body, char ret_model[64]) {
  char job[64];
  (void)snprintf(job, sizeof(job), "%s", submit(server, json_body));
  if (strcmp(wait_job(server, job, 0, 240), "succeeded") != 0)
    fail_msg("the job did not succeed");
  (void)snprintf(ret_model, 64, "%s", model_of(server, job));
}
