/* guise-bench: one subcommand a file. A command gets the arguments after its name and returns an exit code.
 */
#pragma once

#include <stdint.h>

#include "core/nn/graph.h"

int bench_alike(int argc, char **argv);
int bench_machine(int argc, char **argv);
int bench_step(int argc, char **argv);
int bench_infer(int argc, char **argv);
int bench_profile(int argc, char **argv);
int bench_dct(int argc, char **argv);
int bench_masking(int argc, char **argv);
int bench_probe(int argc, char **argv);
int bench_attack(int argc, char **argv);
int bench_jobs(int argc, char **argv);
int bench_pictures(int argc, char **argv);
int bench_train(int argc, char **argv);
int bench_ingest(int argc, char **argv);
int bench_onnx(int argc, char **argv);

/* profile.c: prints a graph's profile of `steps` steps that took step_seconds each; peak: FMA operations a
 * second. */
void bench_profile_print(const struct graph *graph, uint32_t steps, double step_seconds, double peak);

/* spread.c: of `count` measurements, which it sorts. */
struct bench_spread {
  double median, least, most;
};
struct bench_spread bench_spread(double *values, uint32_t count);
