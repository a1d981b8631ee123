#include "daemon/log.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* log_message's own line says nothing */
#include <systemd/sd-journal.h>

#include "daemon/store.h"

static atomic_int maximum = LOG_LEVEL_INFO, wanted = LOG_FORMAT_AUTO;
static bool journal;

/* JOURNAL_STREAM names the device and inode of the journal's socket: set in children whose stderr goes
 * elsewhere, too. */
void log_open(void) {
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat st;
  char *colon, *end;
  if (!stream || fstat(STDERR_FILENO, &st) < 0)
    return;
  unsigned long long device = strtoull(stream, &colon, 10);
  unsigned long long inode = *colon == ':' ? strtoull(colon + 1, &end, 10) : 0;
  journal = st.st_dev == device && st.st_ino == inode;
}

void log_set_level(enum log_level level) {
  atomic_store(&maximum, (int)level);
}

void log_set_format(enum log_format format) {
  atomic_store(&wanted, (int)format);
}

/* ---- names ---- */

static const struct {
  const char *name;
  enum log_level level;
} levels[] = {{"error", LOG_LEVEL_ERROR},
              {"warning", LOG_LEVEL_WARNING},
              {"info", LOG_LEVEL_INFO},
              {"debug", LOG_LEVEL_DEBUG}};

enum log_level log_level_from_name(const char *name) {
  for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
    if (strcmp(name, levels[i].name) == 0)
      return levels[i].level;
  return LOG_LEVEL_INFO;
}

static const char *level_name(enum log_level level) {
  for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
    if (levels[i].level == level)
      return levels[i].name;
  return "info";
}

enum log_format log_format_from_name(const char *name) {
  return strcmp(name, "text") == 0   ? LOG_FORMAT_TEXT
         : strcmp(name, "json") == 0 ? LOG_FORMAT_JSON
                                     : LOG_FORMAT_AUTO;
}

/* ---- fields ---- */

static const struct {
  const char *prefix, *journal, *json;
} kinds[LOG_FIELDS_MAX] = {{"job_", "GUISE_JOB", "job"},
                           {"ds_", "GUISE_DATASET", "dataset"},
                           {"mdl_", "GUISE_MODEL", "model"},
                           {"tok_", "GUISE_TOKEN", "token"}};

/* The first id with this prefix; false without one. */
static bool find_id(const char *text, const char *prefix, char ret_id[STORE_ID]) {
  for (const char *p = text; (p = strstr(p, prefix)); p += strlen(prefix)) {
    char id[STORE_ID];
    const size_t length = strlen(prefix) + strspn(p + strlen(prefix), "abcdefghijklmnopqrstuvwxyz234567");
    if (length >= sizeof(id) || (p > text && (isalnum((unsigned char)p[-1]) || p[-1] == '_')))
      continue;
    (void)snprintf(id, sizeof(id), "%.*s", (int)length, p);
    if (!id_valid(id))
      continue;
    memcpy(ret_id, id, sizeof(id));
    return true;
  }
  return false;
}

unsigned log_fields(const char *text, struct log_field ret_fields[LOG_FIELDS_MAX]) {
  unsigned count = 0;
  for (size_t i = 0; i < LOG_FIELDS_MAX; i++)
    if (find_id(text, kinds[i].prefix, ret_fields[count].id)) {
      ret_fields[count].journal = kinds[i].journal;
      ret_fields[count++].json = kinds[i].json;
    }
  return count;
}

/* ---- the three forms ---- */

/* New reference; bytes that are no UTF-8 become question marks. */
static json_t *message_json(const char *text) {
  json_t *message = json_string(text);
  char copy[LOG_TEXT];
  if (message)
    return message;
  (void)snprintf(copy, sizeof(copy), "%s", text);
  for (char *p = copy; *p; p++)
    if ((unsigned char)*p >= 0x80)
      *p = '?';
  return json_string(copy);
}

char *log_json(enum log_level level, const char *text, long long time_ms) {
  struct log_field fields[LOG_FIELDS_MAX];
  const unsigned count = log_fields(text, fields);
  char when[TIME_TEXT];
  time_text(time_ms, when);
  json_t *entry =
      json_pack("{s:s, s:s, s:o}", "time", when, "level", level_name(level), "message", message_json(text));
  for (unsigned i = 0; entry && i < count; i++)
    (void)json_object_set_new(entry, fields[i].json, json_string(fields[i].id));
  char *line = entry ? json_dumps(entry, JSON_COMPACT) : NULL;
  json_decref(entry);
  return line;
}

static bool send_to_journal(enum log_level level, const char *text) {
  struct log_field fields[LOG_FIELDS_MAX];
  const unsigned count = log_fields(text, fields);
  char message[LOG_TEXT + 16], priority[16], ids[LOG_FIELDS_MAX][64];
  static const char identifier[] = "SYSLOG_IDENTIFIER=guised";
  struct iovec entry[LOG_FIELDS_MAX + 3];
  const int length = snprintf(message, sizeof(message), "MESSAGE=%s", text);
  entry[0] = (struct iovec){message, (size_t)length};
  entry[1] =
      (struct iovec){priority, (size_t)snprintf(priority, sizeof(priority), "PRIORITY=%d", (int)level)};
  entry[2] = (struct iovec){(void *)identifier, sizeof(identifier) - 1};
  for (unsigned i = 0; i < count; i++)
    entry[3 + i] = (struct iovec){
        ids[i], (size_t)snprintf(ids[i], sizeof(ids[i]), "%s=%s", fields[i].journal, fields[i].id)};
  return sd_journal_sendv(entry, 3 + (int)count) == 0;
}

static void print_text(enum log_level level, const char *text) {
  struct timespec now;
  struct tm tm;
  char clock[16] = "", line[LOG_TEXT + 64];
  int length;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (localtime_r(&now.tv_sec, &tm))
    (void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
  if (journal) /* which does not take entries: its lines do */
    length = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, text);
  else
    length = snprintf(line, sizeof(line), "%s.%03ld %s%s%s\n", clock, now.tv_nsec / 1000000,
                      level <= LOG_LEVEL_WARNING ? level_name(level) : "",
                      level <= LOG_LEVEL_WARNING ? ": " : "", text);
  if (write(STDERR_FILENO, line, (size_t)length) < 0)
    return; /* nowhere to tell */
}

static bool print_json(enum log_level level, const char *text) {
  char *line = log_json(level, text, time_now_ms());
  struct iovec parts[] = {{line, line ? strlen(line) : 0}, {(void *)"\n", 1}};
  const bool printed = line && writev(STDERR_FILENO, parts, 2) > 0;
  free(line);
  return printed;
}

void log_message(enum log_level level, const char *format, ...) {
  char text[LOG_TEXT];
  va_list args;
  if ((int)level > atomic_load(&maximum))
    return;
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  for (char *p = text; *p; p++) /* one line a call: a text from outside must not forge another */
    if ((unsigned char)*p < ' ' || *p == 127)
      *p = ' ';
  const int form = atomic_load(&wanted);
  if (form == LOG_FORMAT_JSON ? print_json(level, text)
                              : form == LOG_FORMAT_AUTO && journal && send_to_journal(level, text))
    return;
  print_text(level, text);
}
