/* What of the configuration follows from the machine: cores, workers and their threads, the decoder. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

static uint64_t count_cores(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
    return (uint64_t)CPU_COUNT(&set);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (uint64_t)online : 1;
}

static int find_decoder(struct config *config, struct guise_error *err) {
  static const char *const places[] = {"guise-decode", "../libexec/guise/guise-decode"};
  char self[CONFIG_TEXT], path[CONFIG_TEXT];
  if (config->decoder[0]) {
    if (access(config->decoder, X_OK) < 0)
      return error_set(err, -errno,
                       "cannot run the decoder %s: %s; set --decoder to the program guise-decode",
                       config->decoder, strerror(errno));
    return 0;
  }
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  self[MAX(n, 0)] = 0;
  char *slash = strrchr(self, '/');
  for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
    slash[1] = 0;
    if (snprintf(path, sizeof(path), "%s%s", self, places[i]) < (int)sizeof(path) &&
        access(path, X_OK) == 0) {
      (void)snprintf(config->decoder, sizeof(config->decoder), "%s", path);
      return 0;
    }
  }
  return error_set(err, -ENOENT,
                   "the program guise-decode stands neither beside guised nor in ../libexec/guise: install "
                   "it or set --decoder");
}

int config_resolve(struct config *config, char **ret_note, struct guise_error *err) {
  char *note = NULL;
  if (!config->tls_certificate[0] != !config->tls_key[0])
    return error_set(err, -EINVAL, "HTTPS takes both tls_certificate and tls_key");
  if (config->cores == 0)
    config->cores = count_cores();
  if (config->workers == 0)
    config->workers = config->threads ? MAX(1u, config->cores / config->threads) : 1;
  uint64_t workers = MIN(config->workers, config->cores);
  uint64_t most = config->cores / workers;
  uint64_t threads = config->threads ? MIN(config->threads, most) : most;
  if (config->decoders == 0)
    config->decoders = MIN(config->cores, 8u);
  int r = find_decoder(config, err);
  if (r < 0)
    return r;
  if ((workers != config->workers || (config->threads && threads != config->threads)) &&
      asprintf(
          &note, "%llu workers with %llu threads each exceed the %llu cores: running %llu with %llu each",
          (unsigned long long)config->workers, (unsigned long long)MAX(config->threads, 1u),
          (unsigned long long)config->cores, (unsigned long long)workers, (unsigned long long)threads) < 0)
    return error_set(err, -ENOMEM, "out of memory");
  config->workers = workers;
  config->threads = threads;
  *ret_note = note;
  return 0;
}
