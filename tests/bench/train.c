/* guise-bench train: one job through the core alone, without the daemon, for long studies.
 *
 *   guise-bench ingest ARCHIVE PACK [SIZE]                                   an archive of faces -> a pack
 *   guise-bench train PACK JOB.json DIRECTORY [PAIRS_PACK PAIRS_LIST]   trains, one line an epoch; continues
 * when called again
 *
 * mask.public_dataset, mask.embedder, mask.reference, audit.public_dataset, audit.teacher and a defence's
 * model of JOB.json are names of files in the current directory: packs and models. DIRECTORY keeps
 * checkpoints (work/), the last one's name (resume) and the result (out/). */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/train/job.h"
#include "tests/bench/bench.h"

struct study {
  char directory[3072], resume_file[PATH_MAX], last[PATH_MAX];
  struct timespec begin;
};

static void on_phase(void *context, const char *phase) {
  (void)context;
  (void)phase;
}
static void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  if (isatty(STDERR_FILENO))
    (void)fprintf(stderr, "\repoch %u/%u step %llu/%llu %.0f images/s loss %.3f  ", progress->epoch,
                  progress->epochs, (unsigned long long)progress->step, (unsigned long long)progress->total,
                  progress->images_per_s, progress->loss);
}
static void on_log(void *context, const char *level, const char *text) {
  (void)context;
  (void)fprintf(stderr, "%s: %s\n", level, text);
}
static enum job_stop on_should_stop(void *context) {
  (void)context;
  return JOB_CONTINUE;
}

/* Prints the epoch's rows in one line, notes the checkpoint and removes the one before. */
static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct study *study = context;
  struct timespec now;
  bool any = false;
  (void)step;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  for (uint32_t i = 0; i < count; i++) {
    if (!rows[i].per_epoch)
      continue;
    if (!any)
      (void)printf("epoch %u  %.0f s", epochs_done, (double)(now.tv_sec - study->begin.tv_sec));
    any = true;
    (void)printf("  %s %.5g", rows[i].name, rows[i].value);
  }
  if (any)
    (void)printf("\n");
  (void)fflush(stdout);
  int r = file_write_atomic(study->resume_file, path, strlen(path), NULL);
  if (r == 0 && *study->last && strcmp(study->last, path) != 0)
    (void)unlink(study->last);
  (void)snprintf(study->last, sizeof(study->last), "%s", path);
  return r;
}

static int read_job(const char *path, struct job_spec *ret_spec) {
  struct spec_problems problems = {0};
  json_error_t where;
  json_t *body = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
  if (!body) {
    (void)fprintf(stderr, "%s: line %d: %s\n", path, where.line, where.text);
    return -EINVAL;
  }
  int r = job_spec_parse(body, ret_spec, &problems);
  for (uint32_t i = 0; i < problems.count; i++)
    (void)fprintf(stderr, "%s: %s: %s\n", path, problems.problem[i].pointer, problems.problem[i].detail);
  spec_problems_free(&problems);
  json_decref(body);
  return r;
}

static const char *file_of(const char *name) {
  return *name ? name : NULL;
}

static int run_study(struct study *study, const struct job_spec *spec, char **argv, int argc) {
  char work[PATH_MAX], output[PATH_MAX];
  _cleanup_(freep) char *pairs = NULL, *resume = NULL;
  size_t pairs_bytes = 0, resume_bytes = 0;
  struct guise_error err = {0};
  (void)snprintf(work, sizeof(work), "%s/work", study->directory);
  (void)snprintf(output, sizeof(output), "%s/out", study->directory);
  (void)snprintf(study->resume_file, sizeof(study->resume_file), "%s/resume", study->directory);
  int r = directory_make(work, &err);
  if (r == 0)
    r = directory_make(output, &err);
  if (r == 0 && argc > 4)
    r = file_read(argv[4], 64 << 20, &pairs, &pairs_bytes, &err);
  if (r == 0 && access(study->resume_file, F_OK) == 0)
    r = file_read(study->resume_file, PATH_MAX - 1, &resume, &resume_bytes, &err);
  if (resume)
    (void)snprintf(study->last, sizeof(study->last), "%s", resume);
  struct job_inputs inputs = {.job_id = "study",
                              .dataset_pack = argv[0],
                              .dataset_name = spec->dataset,
                              .dataset_sha256 = "",
                              .pairs_pack = argc > 4 ? argv[3] : NULL,
                              .pairs_text = pairs,
                              .pairs_bytes = pairs_bytes,
                              .public_pack = file_of(spec->mask.public_dataset),
                              .embedder_model = file_of(spec->mask.embedder),
                              .reference_model = file_of(spec->mask.reference),
                              .pretrained_model = file_of(spec->defences.model),
                              .audit_public_pack = file_of(spec->audit.public_dataset),
                              .teacher_model = file_of(spec->audit.teacher),
                              .work_directory = work,
                              .resume = resume,
                              .output_directory = output,
                              .threads = spec->resources.threads ? spec->resources.threads
                                                                 : (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};
  struct job_callbacks callbacks = {study,         on_phase,       on_progress, on_log,
                                    on_checkpoint, on_should_stop, NULL};
  struct job_outcome outcome = {NULL};
  if (r == 0)
    r = job_run(spec, &inputs, &callbacks, &outcome, &err);
  if (r < 0)
    (void)fprintf(stderr, "%s\n", err.text);
  else
    (void)json_dumpf(outcome.summary, stdout, JSON_INDENT(2));
  (void)printf("\n");
  json_decref(outcome.summary);
  return r;
}

int bench_train(int argc, char **argv) {
  struct study study = {.last = ""};
  struct job_spec spec;
  if (argc != 3 && argc != 5) {
    (void)fputs("usage: guise-bench train PACK JOB.json DIRECTORY [PAIRS_PACK PAIRS_LIST]\n", stderr);
    return 2;
  }
  (void)clock_gettime(CLOCK_MONOTONIC, &study.begin);
  (void)snprintf(study.directory, sizeof(study.directory), "%s", argv[2]);
  if (read_job(argv[1], &spec) < 0)
    return 2;
  int r = run_study(&study, &spec, argv, argc);
  job_spec_free(&spec);
  return r < 0;
}

int bench_ingest(int argc, char **argv) {
  char program[PATH_MAX], *slash;
  struct ingest_result result;
  struct guise_error err = {0};
  ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 32);
  if (argc < 2 || length < 0) {
    (void)fputs("usage: guise-bench ingest ARCHIVE PACK [SIZE]\n", stderr);
    return 2;
  }
  program[length] = 0;
  slash = strrchr(program, '/');
  memcpy(slash + 1, "guise-decode", sizeof("guise-decode"));
  int64_t begin = clock_ns();
  int r = ingest_archive(argv[0], argv[1], argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 112, program, 2,
                         NULL, NULL, &result, &err);
  if (r < 0) {
    (void)fprintf(stderr, "%s\n", err.text);
    return 1;
  }
  (void)printf("%u images of %u people, %u rejected, sha256 %s, %.1f s\n", result.images, result.identities,
               result.rejected, result.sha256, (double)(clock_ns() - begin) * 1e-9);
  return 0;
}
