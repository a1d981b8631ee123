/* The option table: order of sources, ranges, messages, dump that reads back, reload, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "daemon/config.h"
#include "daemon/listen.h"
#include "daemon/store.h"

#define ARGS(...)                                                       \
  (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)), (char *[]) { \
    __VA_ARGS__                                                         \
  }

static void write_file(char path[64], const char *text) {
  (void)snprintf(path, 64, "/tmp/guise-config-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  (void)close(fd);
}

static void order_of_sources(void **state) {
  (void)state;
  struct config config;
  enum config_action action;
  char path[64], read_from[CONFIG_TEXT];
  write_file(path, "# comment\nworkers = 3\nthreads = 3\nstate = /from/file\n; another\nlog_level = debug\n");
  char *envp[] = {"GUISE_THREADS=4", "GUISE_STATE=/from/env", "PATH=/bin", NULL};
  assert_int_equal(
      config_load(ARGS("guised", "--config", path, "--state=/from/flag", "--upload-max-bytes", "2KiB"), envp,
                  &config, &action, read_from, NULL),
      0);
  assert_int_equal(action, CONFIG_RUN);
  assert_string_equal(read_from, path);
  assert_int_equal(config.workers, 3);             /* file */
  assert_int_equal(config.threads, 4);             /* environment before file */
  assert_string_equal(config.state, "/from/flag"); /* flag before all */
  assert_string_equal(config.log_level, "debug");
  assert_string_equal(config.listen, "127.0.0.1:8080"); /* default */
  assert_int_equal(config.upload_max_bytes, 2048);
  (void)unlink(path);
}

static void expect_error(int argc, char **argv, char *const *envp, const char *part) {
  struct config config = {.workers = 77};
  enum config_action action;
  struct guise_error err = {0, ""};
  assert_true(config_load(argc, argv, envp, &config, &action, NULL, &err) < 0);
  if (!strstr(err.text, part))
    fail_msg("\"%s\" lacks \"%s\"", err.text, part);
  assert_int_equal(config.workers, 77); /* untouched on failure */
}

static void errors_name_source_and_remedy(void **state) {
  (void)state;
  char path[64];
  expect_error(ARGS("guised", "--workers", "abc"), NULL, "--workers");
  expect_error(ARGS("guised", "--workers", "5000"), NULL, "0 to 1024");
  expect_error(ARGS("guised", "--workers", "-1"), NULL, "whole number");
  expect_error(ARGS("guised", "--wrokers", "1"), NULL, "--wrokers");
  expect_error(ARGS("guised", "--workers"), NULL, "needs a value");
  expect_error(ARGS("guised", "start"), NULL, "\"start\"");
  expect_error(ARGS("guised", "--log-level", "loud"), NULL, "none of error");
  expect_error(ARGS("guised", "--log-format", "xml"), NULL, "none of auto");
  expect_error(ARGS("guised", "--state", "/a\nworkers = 3"), NULL, "control characters");
  expect_error(ARGS("guised", "--state", "/a ;b"), NULL, "a comment begins");
  expect_error(ARGS("guised", "--state", ";b"), NULL, "a comment begins");
  expect_error(ARGS("guised", "--state", " /a"), NULL, "blanks at its ends");
  expect_error(ARGS("guised", "--state", "/a "), NULL, "blanks at its ends");
  expect_error(ARGS("guised", "--auth", "none"), NULL, "neither local nor token");
  expect_error(ARGS("guised", "--upload-max-bytes", "99999999T"), NULL, "upload_max_bytes");
  char *envp[] = {"GUISE_HEARTBEAT_S=0", NULL};
  expect_error(ARGS("guised"), envp, "GUISE_HEARTBEAT_S: heartbeat_s is 0 but must be 1 to 3600");
  write_file(path, "workers = 1\n\nspeed = 3\n");
  expect_error(ARGS("guised", "--config", path), NULL, ":3: there is no option speed");
  (void)unlink(path);
  write_file(path, "workers = 1\n threads = 3\n");
  expect_error(ARGS("guised", "--config", path), NULL, ":2: the line begins with a blank");
  (void)unlink(path);
  write_file(path, "[daemon]\nworkers = 1\n");
  expect_error(ARGS("guised", "--config", path), NULL, "[daemon]");
  (void)unlink(path);
  expect_error(ARGS("guised", "--config", "/nonexistent/guised.conf"), NULL, "/nonexistent/guised.conf");
}

static void drop_ins_follow_the_file(void **state) {
  (void)state;
  static const struct {
    const char *name, *text;
  } files[] = {{"20-b.conf", "workers = 3\n"},
               {"10-a.conf", "workers = 2\nthreads = 2\n"},
               {"30-c.conf.off", "workers = 9\n"},
               {".40-d.conf", "workers = 9\n"}};
  struct config config;
  enum config_action action;
  char path[64], directory[80], drop_in[128];
  write_file(path, "workers = 1\nthreads = 1\nheartbeat_s = 4\n");
  (void)snprintf(directory, sizeof(directory), "%s.d", path);
  assert_int_equal(mkdir(directory, 0700), 0);
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    (void)snprintf(drop_in, sizeof(drop_in), "%s/%s", directory, files[i].name);
    assert_int_equal(file_write_atomic(drop_in, files[i].text, strlen(files[i].text), NULL), 0);
  }
  assert_int_equal(config_load(ARGS("guised", "--config", path), NULL, &config, &action, NULL, NULL), 0);
  assert_int_equal(config.workers, 3);
  assert_int_equal(config.threads, 2);
  assert_int_equal(config.heartbeat_s, 4);
  (void)snprintf(drop_in, sizeof(drop_in), "%s/50-e.conf", directory);
  assert_int_equal(file_write_atomic(drop_in, "\nspeed = 1\n", 11, NULL), 0);
  expect_error(ARGS("guised", "--config", path), NULL, "/50-e.conf:2: there is no option speed");
  assert_int_equal(directory_remove(directory), 0);
  (void)unlink(path);
}

static void every_default_is_valid_and_dump_reads_back(void **state) {
  (void)state;
  struct config config, again;
  enum config_action action;
  struct guise_error err;
  char path[64];
  for (size_t i = 0; i < config_option_count; i++) {
    config_defaults(&config);
    assert_int_equal(
        config_set(&config, config_options[i].name, config_options[i].default_value, "test", &err), 0);
    assert_true(strlen(config_options[i].help) > 10);
  }
  (void)config_set(&config, "workers", "7", "test", NULL);
  (void)config_set(&config, "allowed_hosts", "faces.example, [::2]", "test", NULL);
  write_file(path, "");
  FILE *out = fopen(path, "we");
  config_dump(&config, out);
  (void)fclose(out);
  assert_int_equal(config_load(ARGS("guised", "--config", path), NULL, &again, &action, NULL, &err), 0);
  assert_memory_equal(&config, &again, sizeof(config));
  (void)unlink(path);
}

static void actions(void **state) {
  (void)state;
  struct config config;
  enum config_action action;
  assert_int_equal(config_load(ARGS("guised", "--help"), NULL, &config, &action, NULL, NULL), 0);
  assert_int_equal(action, CONFIG_HELP);
  assert_int_equal(
      config_load(ARGS("guised", "--dump-config", "--workers=2"), NULL, &config, &action, NULL, NULL), 0);
  assert_int_equal(action, CONFIG_DUMP);
  assert_int_equal(config_load(ARGS("guised", "--check-config"), NULL, &config, &action, NULL, NULL), 0);
  assert_int_equal(action, CONFIG_CHECK);
}

static void workers_times_threads_fit_the_cores(void **state) {
  (void)state;
  static const struct {
    uint64_t cores, workers, threads, want_workers, want_threads;
    bool note;
  } cases[] = {{8, 0, 0, 8, 8, false}, {8, 2, 0, 2, 4, false}, {8, 0, 2, 8, 2, false}, {2, 2, 2, 2, 1, true},
               {2, 8, 0, 2, 1, true},  {1, 0, 0, 1, 1, false}, {2, 0, 3, 2, 2, true}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct config config;
    _cleanup_(freep) char *note = NULL;
    config_defaults(&config);
    (void)snprintf(config.decoder, sizeof(config.decoder), "/bin/sh");
    config.cores = cases[i].cores;
    config.workers = cases[i].workers;
    config.threads = cases[i].threads;
    assert_int_equal(config_resolve(&config, &note, NULL), 0);
    assert_int_equal(config.workers, cases[i].want_workers);
    assert_int_equal(config.threads, cases[i].want_threads);
    assert_int_equal(note != NULL, cases[i].note);
    if (cases[i].workers) /* else the scheduler sees to it */
      assert_true(config.workers * config.threads <= config.cores);
  }
}

static void missing_decoder_is_told(void **state) {
  (void)state;
  struct config config;
  struct guise_error err;
  char *note = NULL;
  config_defaults(&config);
  (void)snprintf(config.decoder, sizeof(config.decoder), "/nonexistent/guise-decode");
  assert_int_equal(config_resolve(&config, &note, &err), -ENOENT);
  assert_non_null(strstr(err.text, "--decoder"));
}

static void count_change(void *context, const char *name, bool applied) {
  uint32_t *counts = context;
  counts[applied]++;
  assert_true(strcmp(name, "heartbeat_s") == 0 || strcmp(name, "workers") == 0);
}

static void reload_applies_what_is_mutable(void **state) {
  (void)state;
  struct config config, fresh;
  uint32_t counts[2] = {0, 0};
  config_defaults(&config);
  fresh = config;
  fresh.heartbeat_s = 3;
  fresh.workers = 9;
  config_reload(&config, &fresh, count_change, counts);
  assert_int_equal(config.heartbeat_s, 3);
  assert_int_equal(config.workers, 0);
  assert_int_equal(counts[true], 1);
  assert_int_equal(counts[false], 1);
}

static void unknown_variables(void **state) {
  (void)state;
  char *envp[] = {"GUISE_URL=x", "GUISE_WROKERS=1", "GUISE_WORKERS=1", "HOME=/", "GUISE_=", NULL};
  size_t position = 0;
  assert_string_equal(config_unknown_variable(envp, &position), "GUISE_WROKERS=1");
  assert_string_equal(config_unknown_variable(envp, &position), "GUISE_=");
  assert_null(config_unknown_variable(envp, &position));
}

static void addresses(void **state) {
  (void)state;
  static const char *const good[] = {"127.0.0.1:0", "127.8.9.1:80", "[::1]:8080", "localhost:1",
                                     "unix:/tmp/x", "0.0.0.0:8080", "[::]:80",    "10.1.2.3:80"};
  static const char *const bad[] = {"",
                                    ":80",
                                    "127.0.0.1",
                                    "127.0.0.1:",
                                    "127.0.0.1:65536",
                                    "127.0.0.1:-1",
                                    "127.0.0.1:+1",
                                    "127.0.0.1:8x",
                                    "example.org:80",
                                    "::1:80",
                                    "unix:",
                                    "[::1:80"};
  struct listen_address address;
  struct guise_error err;
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    assert_int_equal(listen_parse(good[i], &address, &err), 0);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    if (listen_parse(bad[i], &address, &err) != -EINVAL)
      fail_msg("\"%s\" was accepted", bad[i]);
}

static void sockets(void **state) {
  (void)state;
  struct listen_address address;
  struct guise_error err;
  struct stat st;
  char path[64], text[128], where[128];
  assert_int_equal(listen_parse("127.0.0.1:0", &address, NULL), 0);
  int fd = listen_open(&address, NULL);
  assert_true(fd >= 0);
  assert_true(listen_is_local(fd));
  assert_int_equal(listen_describe(fd, false, where, sizeof(where)), 0);
  assert_memory_equal(where, "http://127.0.0.1:", 17);
  assert_int_equal(listen_parse(where + 7, &address, NULL), 0);
  assert_int_equal(listen_open(&address, &err), -EADDRINUSE); /* the port is taken */
  (void)close(fd);
  assert_int_equal(listen_parse("0.0.0.0:0", &address, NULL), 0);
  fd = listen_open(&address, NULL);
  assert_true(fd >= 0);
  assert_false(listen_is_local(fd));
  (void)close(fd);
  assert_false(listen_is_local(-1));

  write_file(path, "");
  (void)snprintf(text, sizeof(text), "unix:%s", path);
  assert_int_equal(listen_parse(text, &address, NULL), 0);
  assert_int_equal(listen_open(&address, &err), -EEXIST); /* a regular file is not replaced */
  (void)unlink(path);
  fd = listen_open(&address, NULL);
  assert_true(fd >= 0);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0660);
  assert_int_equal(listen_open(&address, &err), -EADDRINUSE);
  (void)close(fd); /* as a killed daemon leaves it */
  fd = listen_open(&address, &err);
  assert_true(fd >= 0);
  (void)close(fd);
  (void)unlink(path);
}

static void times(void **state) {
  (void)state;
  char text[TIME_TEXT];
  int64_t ms;
  time_text(1769862896789, text);
  assert_string_equal(text, "2026-01-31T12:34:56.789Z");
  assert_int_equal(time_parse(text, &ms), 0);
  assert_int_equal(ms, 1769862896789);
  assert_int_equal(time_parse("2026-01-31T13:34:56.789+01:00", &ms), 0);
  assert_int_equal(ms, 1769862896789);
  assert_int_equal(time_parse("2026-01-31T12:34:56Z", &ms), 0);
  assert_int_equal(ms, 1769862896000);
  static const char *const bad[] = {"",
                                    "2026-01-31",
                                    "2026-02-31T00:00:00Z",
                                    "2026-01-31T12:34:56",
                                    "2026-01-31T12:34:56Zx",
                                    "2026-01-31T12:34:56.Z",
                                    "2026-01-31T12:34:56+1:00",
                                    "yesterday"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(time_parse(bad[i], &ms), -EINVAL);
}

static void names_and_ids(void **state) {
  (void)state;
  char id[STORE_ID], other[STORE_ID], longest[102];
  id_make("job_", id);
  id_make("job_", other);
  assert_int_equal(strlen(id), 4 + 26);
  assert_string_not_equal(id, other);
  assert_true(id_valid(id));
  id[29] = '1';
  assert_false(id_valid(id));
  assert_false(id_valid("job_"));
  assert_false(id_valid("alice"));
  assert_true(id_valid(other));
  other[30] = 'a'; /* one letter more */
  other[31] = 0;
  assert_false(id_valid(other));
  assert_true(name_valid("orl"));
  assert_true(name_valid("LFW-2.full_set"));
  memset(longest, 'a', 101);
  longest[101] = 0;
  assert_false(name_valid(longest));
  assert_true(name_valid(longest + 1));
  static const char *const bad[] = {"",     ".",     "..",    "-x",       "a/b", "a b",
                                    "ds_x", "job_1", "tok_1", "\xc3\xa4", "a\n"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_false(name_valid(bad[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_of_sources),
      cmocka_unit_test(errors_name_source_and_remedy),
      cmocka_unit_test(drop_ins_follow_the_file),
      cmocka_unit_test(every_default_is_valid_and_dump_reads_back),
      cmocka_unit_test(actions),
      cmocka_unit_test(workers_times_threads_fit_the_cores),
      cmocka_unit_test(missing_decoder_is_told),
      cmocka_unit_test(reload_applies_what_is_mutable),
      cmocka_unit_test(unknown_variables),
      cmocka_unit_test(addresses),
      cmocka_unit_test(sockets),
      cmocka_unit_test(times),
      cmocka_unit_test(names_and_ids),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
