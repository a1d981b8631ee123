/* A fuzz target without libFuzzer: runs it on every file of the directories that are named. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "tests/fuzz/fuzz.h"

#define FILE_MAX (64u << 20)

/* The files that were run, or -1. */
static long replay(const char *directory) {
  struct dirent **entries = NULL;
  long done = 0;
  int count = scandir(directory, &entries, NULL, alphasort);
  if (count < 0)
    (void)fprintf(stderr, "cannot read %s: %s\n", directory, strerror(errno));
  for (int i = 0; i < count; i++) {
    struct guise_error err = {0, ""};
    struct stat st;
    char path[4096], *data = NULL;
    size_t size = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
    free(entries[i]);
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
      continue;
    (void)fprintf(stderr, "%s\n", path); /* the last one is to blame when the target crashes */
    if (file_read(path, FILE_MAX, &data, &size, &err) < 0) {
      (void)fprintf(stderr, "%s\n", err.text);
      done = -1;
      break;
    }
    uint8_t *exact = malloc(size ? size : 1); /* without the NUL behind it: reading past the end is found */
    if (!exact)
      abort();
    memcpy(exact, data, size);
    free(data);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    done++;
  }
  free(entries);
  return count < 0 ? -1 : done;
}

int main(int argc, char **argv) {
  long files = 0;
  for (int i = 1; i < argc; i++) {
    long n = replay(argv[i]);
    if (n < 0)
      return 1;
    files += n;
  }
  (void)printf("%ld files\n", files);
  return files > 0 ? 0 : 1;
}
