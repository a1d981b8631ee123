/* Running guised: its figures, its log, what SIGHUP applies, an inherited socket, and a watchdog that is fed
 * only while requests are answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/fuzz/samples.h"
#include "tests/integration/support/certificate.h"
#include "tests/integration/support/exposition.h"
#include "tests/integration/support/shell.h"

#define SECRET "Erika_Mustermann" /* a person's name, in an archive that guised reads */
#define TINY_JOB                                                                                      \
  "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32," \
  "\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":2,\"batch\":8}}"

static struct server server;
static char config_option_text[128], config_path[96], drop_in[128];

static void write_text(const char *path, const char *text) {
  assert_int_equal(file_write_atomic(path, text, strlen(text), NULL), 0);
}

static int setup(void **state) {
  (void)state;
  char directory[112];
  server_prepare(&server);
  (void)snprintf(config_path, sizeof(config_path), "%s/guised.conf", server.root);
  (void)snprintf(directory, sizeof(directory), "%s.d", config_path);
  (void)snprintf(drop_in, sizeof(drop_in), "%s/50-test.conf", directory);
  (void)snprintf(config_option_text, sizeof(config_option_text), "--config=%s", config_path);
  assert_int_equal(mkdir(directory, 0700), 0);
  write_text(config_path, "log_format = text\nallowed_hosts = first.example\n");
  write_text(drop_in, "log_format = json\nlog_level = debug\n");
  server.option[0] = config_option_text;
  server_start(&server);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

/* Free storage is the caller's. */
static char *figures(void) {
  struct reply reply;
  expect(&server, "GET", "/metrics", NULL, 200, &reply);
  assert_string_equal(header_of(&reply, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  exposition_check(reply.body);
  char *text = strdup(reply.body);
  reply_done(&reply);
  return text;
}

static char *log_text(void) {
  char path[96], *text = NULL;
  size_t size = 0;
  (void)snprintf(path, sizeof(path), "%s/log", server.root);
  assert_int_equal(file_read(path, 16 << 20, &text, &size, NULL), 0);
  return text;
}

static void wait_for_log(const char *part) {
  for (int i = 0; i < 200; i++) {
    _cleanup_(freep) char *text = log_text();
    if (strstr(text, part))
      return;
    (void)usleep(20000);
  }
  fail_msg("the log never said \"%s\"", part);
}

/* An archive of one good image and some that are not, below a person's name. */
static void upload_mixture(void) {
  struct archive_writer *writer = archive_begin(ARCHIVE_TAR);
  struct sample good = sample_image(IMAGE_JPEG, 32, 1);
  struct reply reply;
  archive_add(writer, SECRET "/1.jpg", 'f', NULL, good.data, good.size);
  archive_add(writer, SECRET "/half.jpg", 'f', NULL, good.data, good.size / 2);
  archive_add(writer, SECRET "/notes.txt", 'f', NULL, "nothing", 7);
  archive_add(writer, "../" SECRET "/2.jpg", 'f', NULL, good.data, good.size);
  struct sample archive = archive_end(writer);
  ask(&server, "PUT", "/v1/datasets/mixture?size=32", "Content-Type: application/x-tar", archive.data,
      archive.size, &reply);
  assert_int_equal(reply.status, 202);
  reply_done(&reply);
  sample_free(&good);
  sample_free(&archive);
  for (int i = 0; i < 200; i++) {
    expect(&server, "GET", "/v1/datasets/mixture", NULL, 200, &reply);
    const bool ready = strcmp(json_string_value(json_object_get(reply.json, "state")), "ready") == 0;
    reply_done(&reply);
    if (ready)
      return;
    (void)usleep(20000);
  }
  fail_msg("the data set is not ready");
}

static void figures_follow_what_happens(void **state) {
  (void)state;
  char wanted[256];
  _cleanup_(freep) char *before = figures();
  assert_true(exposition_value(before, "guise_jobs{state=\"succeeded\"}") == 0);
  upload_mixture();
  upload_faces(&server, "faces", 6, 4);
  const char *job = submit(&server, TINY_JOB);
  (void)snprintf(wanted, sizeof(wanted), "%s", job);
  assert_string_equal(wait_job(&server, wanted, 0, 120), "succeeded");
  _cleanup_(freep) char *after = figures();
  assert_true(exposition_value(after, "guise_jobs{state=\"succeeded\"}") == 1);
  assert_true(exposition_value(after, "guise_jobs{state=\"queued\"}") == 0);
  assert_true(exposition_value(after, "guise_queue_wait_seconds_count") == 1);
  assert_true(exposition_value(after, "guise_queue_oldest_seconds") == 0);
  assert_true(exposition_value(after, "guise_datasets{state=\"ready\"}") == 2);
  assert_true(exposition_value(after, "guise_datasets{state=\"failed\"}") == 0);
  assert_true(exposition_value(after, "guise_dataset_images") == 25);
  assert_true(exposition_value(after, "guise_ingested_images_total") == 25);
  assert_true(exposition_value(after, "guise_refused_files_total{code=\"corrupt\"}") == 1);
  assert_true(exposition_value(after, "guise_refused_files_total{code=\"unsupported_type\"}") == 1);
  assert_true(exposition_value(after, "guise_refused_files_total{code=\"bad_path\"}") == 1);
  assert_true(exposition_value(after, "guise_models") == 1);
  assert_true(exposition_value(after, "guise_model_bytes") > 1000);
  assert_true(exposition_value(after, "guise_kept_networks") >= 0);
  assert_true(exposition_value(after, "guise_kept_network_bytes") >= 0);
  assert_true(exposition_value(after, "guise_database_bytes{file=\"database\"}") +
                  exposition_value(after, "guise_database_bytes{file=\"log\"}") >
              4096);
  assert_true(exposition_value(after, "guise_database_writable") == 1);
  assert_true(exposition_value(after, "guise_disk_free_bytes") > 0);
  assert_true(exposition_value(after, "process_resident_memory_bytes") > 1 << 20);
  assert_true(
      exposition_value(after, "guise_http_request_duration_seconds_count{operation=\"putDataset\"}") == 2);
  assert_true(exposition_value(after, "guise_http_request_duration_seconds_sum{operation=\"putDataset\"}") >
              0);
  assert_null(strstr(after, SECRET));
}

static void answers_are_counted_by_status(void **state) {
  (void)state;
  _cleanup_(freep) char *before = figures();
  expect(&server, "GET", "/nothing", NULL, 404, NULL);
  expect(&server, "GET", "/v1/jobs?limit=0", NULL, 422, NULL);
  expect(&server, "HEAD", "/metrics", NULL, 200, NULL);
  _cleanup_(freep) char *after = figures();
  static const struct {
    const char *sample;
    double more;
  } counts[] = {{"guise_http_responses_total{status=\"4xx\"}", 2},
                {"guise_http_responses_total{status=\"5xx\"}", 0},
                {"guise_http_request_duration_seconds_count{operation=\"none\"}", 1},
                {"guise_http_request_duration_seconds_count{operation=\"listJobs\"}", 1},
                {"guise_http_request_duration_seconds_count{operation=\"getMetrics\"}", 2}};
  for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
    if (exposition_value(after, counts[i].sample) - exposition_value(before, counts[i].sample) !=
        counts[i].more)
      fail_msg("%s", counts[i].sample);
}

static void running_jobs_tell_their_speed(void **state) {
  (void)state;
  char job[64], sample[160];
  (void)snprintf(job, sizeof(job), "%s",
                 submit(&server,
                        "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"},\"model\":{"
                        "\"input\":32,\"width\":0.5,\"embedding\":32},\"train\":{\"epochs\":1000,"
                        "\"batch\":8}}"));
  assert_string_equal(wait_job(&server, job, 2, 60), "running");
  (void)snprintf(sample, sizeof(sample), "guise_job_images_per_second{job=\"%s\"}", job);
  _cleanup_(freep) char *text = figures();
  const double speed = exposition_value(text, sample);
  (void)snprintf(sample, sizeof(sample), "guise_job_step_seconds{job=\"%s\"}", job);
  const double step = exposition_value(text, sample);
  assert_true(speed > 0 && fabs(speed * step - 8) < 0.01); /* the batch */
  (void)snprintf(sample, sizeof(sample), "/v1/jobs/%s/cancel", job);
  expect(&server, "POST", sample, NULL, 200, NULL);
  (void)wait_job(&server, job, 0, 60);
}

/* Every line is an object with the fields; ids of messages are fields; no name of a person or a file is in
 * it. */
static void the_log_is_json_without_names(void **state) {
  (void)state;
  _cleanup_(freep) char *text = log_text();
  unsigned with_job = 0, with_dataset = 0, lines = 0;
  assert_null(strstr(text, SECRET));
  assert_null(strstr(text, ".jpg"));
  for (char *line = text; *line; lines++) {
    char *end = line + strcspn(line, "\n");
    json_t *entry = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_string(json_object_get(entry, "time")) || !json_is_string(json_object_get(entry, "level")) ||
        !json_is_string(json_object_get(entry, "message")))
      fail_msg("%.*s", (int)(end - line), line);
    with_job += json_is_string(json_object_get(entry, "job"));
    with_dataset += json_is_string(json_object_get(entry, "dataset"));
    json_decref(entry);
    line = end + (*end == '\n');
  }
  assert_true(lines > 5 && with_job >= 3 && with_dataset >= 2);
}

static long status_for_host(const char *header) {
  struct reply reply;
  ask(&server, "GET", "/v1/jobs", header, NULL, 0, &reply);
  const long status = reply.status;
  reply_done(&reply);
  return status;
}

static void a_signal_applies_what_can_change(void **state) {
  (void)state;
  assert_int_equal(status_for_host("Host: first.example"), 200);
  assert_int_equal(status_for_host("Host: second.example"), 403);
  write_text(drop_in, "log_format = json\nallowed_hosts = second.example\nconnections = 300\n");
  assert_int_equal(kill(server.pid, SIGHUP), 0);
  wait_for_log("configuration: allowed_hosts changed");
  wait_for_log("configuration: connections changed; restart guised to apply it");
  assert_int_equal(status_for_host("Host: second.example"), 200);
  assert_int_equal(status_for_host("Host: first.example"), 403);
  write_text(drop_in, "workers = many\n"); /* the whole of it is refused */
  assert_int_equal(kill(server.pid, SIGHUP), 0);
  wait_for_log("50-test.conf:1: workers is");
  assert_int_equal(status_for_host("Host: second.example"), 200);
}

static void a_mistake_is_told_before_the_start(void **state) {
  (void)state;
  shell_start(&server);
  char command[512];
  (void)snprintf(command, sizeof(command), GUISE_BUILD "/guised --check-config --config %s", config_path);
  expect_text(shell(1, command)->err, "50-test.conf:1: workers is \"many\"");
  write_text(drop_in, "workers = 1\n");
  expect_text(shell(0, command)->out, "the configuration is valid");
  (void)snprintf(command, sizeof(command), GUISE_BUILD "/guised --dump-config --config %s", config_path);
  expect_text(shell(0, command)->out, "\nworkers = 1\n");
}

/* A certificate that cannot be used, and a variable that is no option, show before the start as well. */
static void a_check_looks_at_files_and_variables(void **state) {
  (void)state;
  char one[128], other[128], key[128], command[512];
  (void)snprintf(one, sizeof(one), "%s/one.pem", server.root);
  (void)snprintf(other, sizeof(other), "%s/other.pem", server.root);
  (void)snprintf(key, sizeof(key), "%s/key.pem", server.root);
  make_certificate(one, key, 1);
  make_certificate(other, key, 2);
  (void)snprintf(command, sizeof(command),
                 GUISE_BUILD "/guised --check-config --tls-certificate $D/other.pem --tls-key $D/key.pem");
  expect_text(shell(0, command)->out, "the configuration is valid");
  (void)snprintf(command, sizeof(command),
                 GUISE_BUILD "/guised --check-config --tls-certificate $D/one.pem --tls-key $D/key.pem");
  expect_text(shell(1, command)->err, "is not that of the first certificate");
  (void)snprintf(command, sizeof(command),
                 GUISE_BUILD "/guised --check-config --tls-certificate $D/none.pem --tls-key $D/key.pem");
  expect_text(shell(1, command)->err, "none.pem");
  expect_text(shell(0, "GUISE_WORKRES=2 " GUISE_BUILD "/guised --check-config")->err,
              "GUISE_WORKRES is no option of guised");
}

static void files_suffice_for_all_connections(void **state) {
  (void)state;
  struct server limited;
  struct rlimit before, low;
  char path[64], line[256];
  unsigned long soft = 0;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  low = before;
  low.rlim_cur = 256;
  if (before.rlim_max < 1280)
    skip();
  server_prepare(&limited);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
  server_start(&limited);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  (void)snprintf(path, sizeof(path), "/proc/%d/limits", (int)limited.pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file) && sscanf(line, "Max open files %lu", &soft) != 1)
    ;
  (void)fclose(file);
  assert_true(soft >= 2 * 512); /* a socket and a file for each of the default */
  assert_int_equal(server_stop(&limited), 0);
  server_clean(&limited);
}

/* A client that asks for much and takes a byte now and then: no byte is taken off the daemon's hands for the
 * timeout, and the connection ends. */
static void slow_readers_are_cut(void **state) {
  (void)state;
  static const char get[] = "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n";
  struct server cutting;
  char byte;
  const int small = 4096;
  server_prepare(&cutting);
  cutting.option[0] = "--request-timeout-s=1"; /* and 5 s more for libmicrohttpd's own */
  server_start(&cutting);
  const unsigned files = server_open_files(&cutting);
  int fd = server_dial(&cutting);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
  for (int i = 0; i < 200; i++) /* far more than the buffers of both sockets hold */
    assert_int_equal(send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL), sizeof(get) - 1);
  assert_int_equal(recv(fd, &byte, 1, 0), 1);
  assert_true(server_open_files(&cutting) > files);
  bool cut = false;
  for (int i = 0; i < 150 && !cut; i++) {
    (void)usleep(200000);
    (void)recv(fd, &byte, 1, MSG_DONTWAIT);
    cut = server_open_files(&cutting) <= files;
  }
  assert_true(cut);
  (void)close(fd);
  expect(&cutting, "GET", "/healthz", NULL, 200, NULL);
  assert_int_equal(server_stop(&cutting), 0);
  server_clean(&cutting);
}

/* Who holds all connections that one address may have gets no more, and gets them again when they have ended.
 */
static void connections_of_an_address_are_limited(void **state) {
  (void)state;
  struct server limited;
  int held[4];
  char byte;
  server_prepare(&limited);
  limited.option[0] = "--connections-per-address=4";
  server_start(&limited);
  for (size_t i = 0; i < 4; i++)
    held[i] = server_dial(&limited);
  int more = server_dial(&limited);
  struct pollfd poller = {more, POLLIN, 0};
  assert_int_equal(poll(&poller, 1, 10000), 1);
  assert_true(recv(more, &byte, 1, 0) <= 0); /* closed at once */
  (void)close(more);
  for (size_t i = 0; i < 4; i++)
    (void)close(held[i]);
  (void)usleep(300000);
  expect(&limited, "GET", "/healthz", NULL, 200, NULL);
  assert_int_equal(server_stop(&limited), 0);
  server_clean(&limited);
}

/* ---- as a service manager starts it ---- */

static pid_t start_with_socket(int listening, const char *root) {
  char state_option[128], pid[16];
  (void)snprintf(state_option, sizeof(state_option), "--state=%s/inherited", root);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child > 0)
    return child;
  if (listening == 3)
    (void)fcntl(listening, F_SETFD, 0);
  else
    (void)dup2(listening, 3); /* clears close-on-exec */
  (void)snprintf(pid, sizeof(pid), "%d", getpid());
  (void)setenv("LISTEN_FDS", "1", 1);
  (void)setenv("LISTEN_PID", pid, 1);
  (void)execl(GUISE_BUILD "/guised", "guised", state_option, "--log-level=error", (char *)NULL);
  _exit(127);
}

static void an_inherited_socket_is_served(void **state) {
  (void)state;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  char answer[512] = "";
  int status = 0;
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/inherited.sock", server.root);
  int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(listening, 8), 0);
  pid_t pid = start_with_socket(listening, server.root);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* waits in the queue until guised is there */
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
  struct pollfd poller = {fd, POLLIN, 0};
  assert_int_equal(poll(&poller, 1, 30000), 1);
  assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
  expect_text(answer, "HTTP/1.1 200");
  (void)close(fd);
  (void)close(listening);
  assert_int_equal(kill(pid, SIGTERM), 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_int_equal(access(address.sun_path, F_OK), 0); /* the service manager's, not guised's to remove */
}

/* The thread of a process that has this name; 0 = none. */
static pid_t thread_named(pid_t process, const char *name) {
  char path[300], comm[32];
  pid_t found = 0;
  (void)snprintf(path, sizeof(path), "/proc/%d/task", process);
  DIR *directory = opendir(path);
  struct dirent *entry;
  while (directory && !found && (entry = readdir(directory))) {
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", process, entry->d_name);
    FILE *file = fopen(path, "re");
    if (!file)
      continue;
    if (fgets(comm, sizeof(comm), file) && strncmp(comm, name, strlen(name)) == 0)
      found = (pid_t)strtol(entry->d_name, NULL, 10);
    (void)fclose(file);
  }
  if (directory)
    (void)closedir(directory);
  return found;
}

/* Whether the watchdog is fed within so many milliseconds; reads what is there before. */
static bool is_fed(int notify, int within_ms) {
  char text[512];
  while (recv(notify, text, sizeof(text) - 1, MSG_DONTWAIT) > 0)
    ;
  for (int waited = 0; waited < within_ms; waited += 50) {
    struct pollfd poller = {notify, POLLIN, 0};
    if (poll(&poller, 1, 50) <= 0)
      continue;
    ssize_t n = recv(notify, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    if (strstr(text, "WATCHDOG=1"))
      return true;
  }
  return false;
}

/* Starts a prepared server under a watchdog; the socket that is told. */
static int start_watched(struct server *watched) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", watched->root);
  int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(notify, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
  assert_int_equal(setenv("WATCHDOG_USEC", "900000", 1), 0);
  server_start(watched);
  (void)unsetenv("NOTIFY_SOCKET");
  (void)unsetenv("WATCHDOG_USEC");
  return notify;
}

/* Clients that hold all connections do not bring about a restart, which would end jobs. */
static void a_full_server_is_fed(void **state) {
  (void)state;
  struct server watched;
  int held[8];
  server_prepare(&watched);
  watched.option[0] = "--connections=8";
  int notify = start_watched(&watched);
  for (size_t i = 0; i < 8; i++)
    held[i] = server_dial(&watched);
  (void)usleep(500000); /* until they are taken */
  for (int i = 0; i < 3; i++)
    assert_true(is_fed(notify, 2000));
  for (size_t i = 0; i < 8; i++)
    (void)close(held[i]);
  assert_int_equal(server_stop(&watched), 0);
  (void)close(notify);
  server_clean(&watched);
}

/* The HTTP thread alone is stopped: the process lives, and is not answered for. */
static void a_hanging_http_loop_is_not_fed(void **state) {
  (void)state;
  struct server watched;
  server_prepare(&watched);
  int notify = start_watched(&watched);
  assert_true(is_fed(notify, 5000));
  pid_t thread = thread_named(watched.pid, "MHD-");
  assert_true(thread > 0);
  if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) == 0) {
    int status = 0;
    assert_int_equal(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), 0);
    assert_int_equal(waitpid(thread, &status, __WALL), thread);
    (void)is_fed(notify, 300); /* one that was under way */
    assert_false(is_fed(notify, 1500));
    assert_int_equal(ptrace(PTRACE_DETACH, thread, NULL, NULL), 0);
    assert_true(is_fed(notify, 8000));
  } else {
    print_message("SKIPPED: a thread cannot be stopped here (ptrace is forbidden)\n");
  }
  assert_int_equal(server_stop(&watched), 0);
  (void)close(notify);
  server_clean(&watched);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(figures_follow_what_happens),
      cmocka_unit_test(answers_are_counted_by_status),
      cmocka_unit_test(running_jobs_tell_their_speed),
      cmocka_unit_test(the_log_is_json_without_names),
      cmocka_unit_test(a_signal_applies_what_can_change),
      cmocka_unit_test(a_mistake_is_told_before_the_start),
      cmocka_unit_test(a_check_looks_at_files_and_variables),
      cmocka_unit_test(files_suffice_for_all_connections),
      cmocka_unit_test(slow_readers_are_cut),
      cmocka_unit_test(connections_of_an_address_are_limited),
      cmocka_unit_test(an_inherited_socket_is_served),
      cmocka_unit_test(a_full_server_is_fed),
      cmocka_unit_test(a_hanging_http_loop_is_not_fed),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
