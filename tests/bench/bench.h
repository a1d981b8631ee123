/* guise-bench: one subcommand a file. A command gets the arguments after its name and returns an exit code.
 */
#pragma once

int bench_step(int argc, char **argv);
int bench_train(int argc, char **argv);
int bench_ingest(int argc, char **argv);
