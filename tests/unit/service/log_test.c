/* What a log entry consists of: ids become fields, everything is one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store.h"

static void ids_become_fields(void **state) {
  (void)state;
  struct log_field fields[LOG_FIELDS_MAX];
  char job[STORE_ID], dataset[STORE_ID], text[LOG_TEXT];
  id_make("job_", job);
  id_make("ds_", dataset);
  (void)snprintf(text, sizeof(text), "%s: data set %s, ready", job, dataset);
  assert_int_equal(log_fields(text, fields), 2);
  assert_string_equal(fields[0].journal, "GUISE_JOB");
  assert_string_equal(fields[0].json, "job");
  assert_string_equal(fields[0].id, job);
  assert_string_equal(fields[1].journal, "GUISE_DATASET");
  assert_string_equal(fields[1].id, dataset);
  assert_int_equal(log_fields("job_ job_short my_job_aaaaaaaaaaaaaaaaaaaaaaaaaa", fields), 0);
  (void)snprintf(text, sizeof(text), "x%s %sx tok_", job, dataset); /* parts of longer words */
  assert_int_equal(log_fields(text, fields), 0);
}

static void json_entries(void **state) {
  (void)state;
  char job[STORE_ID], text[LOG_TEXT];
  id_make("job_", job);
  (void)snprintf(text, sizeof(text), "%s: \"quoted\" \\ back", job);
  char *line = log_json(LOG_LEVEL_WARNING, text, 1769862896789);
  assert_non_null(line);
  assert_null(strchr(line, '\n'));
  json_t *entry = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
  assert_string_equal(json_string_value(json_object_get(entry, "time")), "2026-01-31T12:34:56.789Z");
  assert_string_equal(json_string_value(json_object_get(entry, "level")), "warning");
  assert_string_equal(json_string_value(json_object_get(entry, "message")), text);
  assert_string_equal(json_string_value(json_object_get(entry, "job")), job);
  json_decref(entry);
  free(line);
}

/* What log_message writes to standard error. */
static void one_line_a_call(void **state) {
  (void)state;
  static const enum log_format formats[] = {LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_AUTO};
  for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
    char text[512];
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    (void)dup2(ends[1], STDERR_FILENO);
    log_set_format(formats[i]);
    log_info("a\nforged line\r\x1b[31m \xff");
    log_debug("not at this level");
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_true(n > 10);
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
    assert_null(strpbrk(text, "\r\x1b"));
    assert_non_null(strstr(text, "forged line"));
    assert_int_equal(text[0] == '{', formats[i] == LOG_FORMAT_JSON);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_become_fields),
      cmocka_unit_test(json_entries),
      cmocka_unit_test(one_line_a_call),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
