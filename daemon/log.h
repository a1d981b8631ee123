/* Messages on stderr: with sd-daemon's "<N>" prefix when the journal reads them, else with a time.
 * Thread-safe; one line a call.
 *
 * Never log names of people, files from archives, or request bodies: the journal is not part of what DELETE
 * erases. */
#pragma once

enum log_level {
  LOG_LEVEL_ERROR = 3,
  LOG_LEVEL_WARNING = 4,
  LOG_LEVEL_INFO = 6,
  LOG_LEVEL_DEBUG = 7
}; /* syslog's numbers */

void log_open(void);                      /* looks at JOURNAL_STREAM; once, before the first thread */
void log_set_level(enum log_level level); /* messages above it are dropped; default info */
enum log_level log_level_from_name(const char *name); /* "error", "warning", "info", "debug"; others = info */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)
