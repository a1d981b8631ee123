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

/* Sets workers and threads, given the cores. The scheduler keeps the threads of all that runs within the
 * cores: where workers is not set, nothing else bounds the jobs. *ret_lowered: what was set did not fit. */
static void share_cores(struct config *config, bool *ret_lowered) {
  const uint64_t wanted_workers = config->workers, wanted_threads = config->threads;
  config->workers = wanted_workers ? MIN(wanted_workers, config->cores) : config->cores;
  const uint64_t most = wanted_workers ? config->cores / config->workers : config->cores;
  config->threads = wanted_threads ? MIN(wanted_threads, most) : most;
  *ret_lowered = config->workers < wanted_workers || config->threads < wanted_threads;
}

int config_resolve(struct config *config, char **ret_note, struct guise_error *err) {
  const uint64_t workers = config->workers, threads = config->threads;
  char *note = NULL;
  bool lowered;
  if (!config->tls_certificate[0] != !config->tls_key[0])
    return error_set(err, -EINVAL, "HTTPS takes both tls_certificate and tls_key");
  if (config->cores == 0)
    config->cores = count_cores();
  share_cores(config, &lowered);
  if (config->decoders == 0)
    config->decoders = MIN(config->cores, 8u);
  int r = find_decoder(config, err);
  if (r < 0)
    return r;
  if (lowered &&
      asprintf(&note,
               "%llu workers with %llu threads each exceed the %llu cores: running %llu with %llu each",
               (unsigned long long)MAX(workers, 1u), (unsigned long long)MAX(threads, 1u),
               (unsigned long long)config->cores, (unsigned long long)(workers ? config->workers : 1u),
               (unsigned long long)config->threads) < 0)
    return error_set(err, -ENOMEM, "out of memory");
  *ret_note = note;
  return 0;
}
