/* Messages on stderr, or in the journal. Thread-safe; one entry a call.
 *
 * text: a line with the time. json: an object a line, {"time","level","message"}. In the journal a message is
 * an entry with PRIORITY. In the latter two each id that the message names is a field, too, by which entries
 * are found: GUISE_JOB, GUISE_DATASET, GUISE_MODEL, GUISE_TOKEN ("job", "dataset", "model", "token" in JSON).
 *
 * Never log names of people, files from archives, tokens' secrets or request bodies: the journal is not part
 * of what DELETE erases. */
#pragma once

enum log_level {
  LOG_LEVEL_ERROR = 3,
  LOG_LEVEL_WARNING = 4,
  LOG_LEVEL_INFO = 6,
  LOG_LEVEL_DEBUG = 7
}; /* syslog's numbers */

enum log_format {
  LOG_FORMAT_AUTO, /* the journal where stderr is the journal's, else text */
  LOG_FORMAT_TEXT,
  LOG_FORMAT_JSON,
};

void log_open(void);                      /* looks at JOURNAL_STREAM; once, before the first thread */
void log_set_level(enum log_level level); /* messages above it are dropped; default info */
void log_set_format(enum log_format format);
enum log_level log_level_from_name(const char *name); /* "error", "warning", "info", "debug"; others = info */
enum log_format log_format_from_name(const char *name); /* "auto", "text", "json"; others = auto */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* ---- what log_message puts together; for tests ---- */

#define LOG_FIELDS_MAX 4u
#define LOG_TEXT 1024u
/* An id in a message: the name of its field in the journal and in JSON. */
struct log_field {
  const char *journal, *json;
  char id[40];
};
/* The first id of each kind. */
unsigned log_fields(const char *text, struct log_field ret_fields[LOG_FIELDS_MAX]);
/* The JSON object, without a newline; malloc'ed, NULL when out of memory. time_ms: since 1970. */
char *log_json(enum log_level level, const char *text, long long time_ms);
