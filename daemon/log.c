#include "daemon/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static atomic_int maximum = LOG_LEVEL_INFO;
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

enum log_level log_level_from_name(const char *name) {
  static const struct {
    const char *name;
    enum log_level level;
  } levels[] = {{"error", LOG_LEVEL_ERROR}, {"warning", LOG_LEVEL_WARNING}, {"debug", LOG_LEVEL_DEBUG}};
  for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
    if (strcmp(name, levels[i].name) == 0)
      return levels[i].level;
  return LOG_LEVEL_INFO;
}

static void prefix(enum log_level level, char *text, size_t size) {
  static const char *const names[] = {[LOG_LEVEL_ERROR] = "error: ", [LOG_LEVEL_WARNING] = "warning: "};
  struct timespec now;
  struct tm tm;
  char clock[16] = "";
  if (journal) {
    (void)snprintf(text, size, "<%d>", (int)level);
    return;
  }
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (localtime_r(&now.tv_sec, &tm))
    (void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
  (void)snprintf(text, size, "%s.%03ld %s", clock, now.tv_nsec / 1000000,
                 level <= LOG_LEVEL_WARNING ? names[level] : "");
}

void log_message(enum log_level level, const char *format, ...) {
  char head[48], text[1024], line[1088];
  va_list args;
  if ((int)level > atomic_load(&maximum))
    return;
  prefix(level, head, sizeof(head));
  va_start(args, format);
  (void)vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  for (char *p = text; *p; p++) /* one line a call: a text from outside must not forge another */
    if ((unsigned char)*p < ' ' || *p == 127)
      *p = ' ';
  int length = snprintf(line, sizeof(line), "%s%s\n", head, text);
  if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
    return; /* nowhere to tell */
}
