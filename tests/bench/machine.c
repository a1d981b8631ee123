/* guise-bench machine: what measurements are to be read beside, a line each, and which of guise's paths this
 * processor has. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/network.h"

static void print_processor(void) {
  char line[256], name[256] = "unknown\n";
  FILE *file = fopen("/proc/cpuinfo", "re");
  while (file && fgets(line, sizeof(line), file))
    if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
      (void)snprintf(name, sizeof(name), "%s", strchr(line, ':') + 2);
      break;
    }
  if (file)
    (void)fclose(file);
  (void)printf("processor: %s", name);
}

/* Whether any convolution of a network that would like it gets it. */
static int has_winograd(bool *ret_has, struct guise_error *err) {
  const struct bench_network_options options = {.arch = ARCH_IRESNET18,
                                                .batch = 8,
                                                .threads = 1,
                                                .size = 32,
                                                .classes = 2,
                                                .width = 1,
                                                .winograd = true};
  struct bench_network *network = NULL;
  int r = bench_network_new(&options, &network, err);
  if (r < 0)
    return r;
  _cleanup_(freep) char *algorithms = graph_algorithms(bench_network_graph(network));
  *ret_has = algorithms && strstr(algorithms, "winograd") != NULL;
  bench_network_free(network);
  return algorithms ? 0 : error_set(err, -ENOMEM, "out of memory");
}

int bench_machine(int argc, char **argv) {
  struct guise_error err = {0};
  bool winograd = false;
  (void)argc;
  (void)argv;
  if (has_winograd(&winograd, &err) < 0) {
    (void)fprintf(stderr, "guise-bench machine: %s\n", err.text);
    return 1;
  }
  print_processor();
  (void)printf("cores: %d\nbf16: %s\nwinograd: %s\n", omp_get_num_procs(),
               graph_bfloat16_supported() ? "yes" : "no", winograd ? "yes" : "no");
  return 0;
}
