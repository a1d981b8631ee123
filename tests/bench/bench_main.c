/* guise-bench SUBCOMMAND ...: measurements, built with the tests or on demand (cmake --build build --target
 * guise-bench). */
#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *usage;
} commands[] = {
    {"machine", bench_machine, ""},
    {"step", bench_step,
     "ARCH [--batch N] [--threads N] [--size PX] [--width W] [--steps N] [--classes N] [--embedding D] "
     "[--no-winograd] [--bf16] [--low-memory]"},
    {"infer", bench_infer, "ARCH (the options of step, and --profile)"},
    {"profile", bench_profile, "ARCH (the options of step)"},
    {"jobs", bench_jobs, "ARCH [--batch N] [--threads N] [--runs N] [--steps N]"},
    {"dct", bench_dct, "[--batch N] [--size PX] [--runs N]"},
    {"masking", bench_masking, "[--batch N] [--threads N] [--size PX] [--classes N] [--runs N]"},
    {"probe", bench_probe, "PACK [--batch N] [--threads N] [--size PX] [--runs N] [--embedder MODEL]"},
    {"alike", bench_alike, "PACK EMBEDDER TEACHER"},
    {"pictures", bench_pictures, "DIRECTORY [SIZE [MODEL...]]"},
    {"train", bench_train, "PACK JOB.json DIRECTORY [PAIRS_PACK PAIRS_LIST]"},
    {"attack", bench_attack,
     "NAME VICTIMS_PACK PUBLIC_PACK TEACHER [--mask NAME] [--drop-low N] [--size PX] [--k K] [--effort NAME] "
     "..."},
    {"ingest", bench_ingest, "ARCHIVE PACK [SIZE]"},
    {"onnx", bench_onnx,
     "PACK DIRECTORY [--arch ARCH] [--mask MASK]... [--faces N] [--size PX] [--threads N]"},
};

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
    if (strcmp(argv[1], commands[i].name) == 0)
      return commands[i].run(argc - 2, argv + 2);
  for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
    (void)fprintf(stderr, "usage: guise-bench %s %s\n", commands[i].name, commands[i].usage);
  return 2;
}
