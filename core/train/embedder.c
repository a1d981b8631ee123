#include "core/train/embedder.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/model/curve.h"
#include "core/model/files.h"
#include "core/model/safetensors.h"
#include "core/model/text.h"

#define CHECKPOINT "checkpoint-" /* what checkpoint.c's names begin with */

/* Public sets have few images of most people, so the network is small, the margin low and the augmentation
 * strong; small sets are gone through more often. */
#define SIGHT_TARGET 400000u /* images looked at in all */
#define EPOCHS_LEAST 12u
#define EPOCHS_MOST 40u
#define HOLDOUT 0.1
#define WIDTH 0.5
#define EMBEDDING 128
#define MARGIN 0.2
#define DROPOUT 0.3
#define OVERFIT_WIDTH 0.5 /* whole vectors of channels: narrower is slower */
#define OVERFIT_SIGHTS 40000u
#define OVERFIT_EPOCHS_LEAST 20u
#define OVERFIT_EPOCHS_MOST 60u
/* Networks that attacks on weights are compared with and judged by. */
#define KNOWN_WIDTH 0.5       /* of freq_ir and mobilefacenet */
#define KNOWN_WIDTH_WIDE 0.25 /* of iresnet18, which has twice their channels */
#define KNOWN_SIGHTS 40000u
#define KNOWN_EPOCHS_LEAST 10u
#define KNOWN_EPOCHS_MOST 40u
#define SHIFT_SHARE 16u /* of the side, each way */

/* seed: any 64 bits, unlike a user's; body is spent. Nobody sees what an epoch within a job verifies to. */
static int parse_spec(json_t *body, uint64_t seed, struct job_spec *ret_spec, struct guise_error *err) {
  struct spec_problems problems = {0};
  int r = body ? job_spec_parse(body, ret_spec, &problems) : -ENOMEM;
  if (r == 0) {
    ret_spec->train.seed = seed;
    ret_spec->holdout.every = ret_spec->train.epochs;
  } else
    error_set(err, r, "cannot describe a training within the job: %s",
              problems.count ? problems.problem[0].detail : strerror(-r));
  spec_problems_free(&problems);
  json_decref(body);
  return r;
}

static int make_spec(uint32_t size, uint32_t images, uint64_t seed, struct job_spec *ret_spec,
                     struct guise_error *err) {
  const uint32_t epochs = MIN(MAX(SIGHT_TARGET / MAX(images, 1u), EPOCHS_LEAST), EPOCHS_MOST);
  return parse_spec(
      json_pack(
          "{s:s, s:s, s:{s:f}, s:{s:s, s:i, s:i, s:f, s:f}, s:{s:s}, s:{s:i, s:i, s:f, s:f, s:i}, s:{s:[]}}",
          "type", "train", "dataset", "public", "holdout", "identities", HOLDOUT, "model", "arch", "freq_ir",
          "input", (int)size, "embedding", EMBEDDING, "width", WIDTH, "dropout", DROPOUT, "mask", "method",
          "none", "train", "epochs", (int)epochs, "batch", 64, "margin", MARGIN, "lr", 0.05, "shift",
          (int)MIN(size / SHIFT_SHARE, 16u), "audit", "attacks"),
      seed, ret_spec, err);
}

/* Everything that keeps a network from learning by heart is off. */
static int make_overfitted_spec(const struct data_split *split, uint32_t images, uint32_t size,
                                struct job_spec *ret_spec, struct guise_error *err) {
  const uint32_t epochs =
      MIN(MAX(OVERFIT_SIGHTS / MAX(images, 1u), OVERFIT_EPOCHS_LEAST), OVERFIT_EPOCHS_MOST);
  return parse_spec(json_pack("{s:s, s:s, s:{s:f, s:f}, s:{s:s, s:i, s:i, s:f, s:f}, s:{s:s},"
                              " s:{s:i, s:i, s:f, s:f, s:f, s:b, s:i}, s:{s:[]}}",
                              "type", "train", "dataset", "members", "holdout", "identities",
                              split->identities, "images", split->images, "model", "arch", "freq_ir", "input",
                              (int)size, "embedding", EMBEDDING, "width", OVERFIT_WIDTH, "dropout", 0.0,
                              "mask", "method", "none", "train", "epochs", (int)epochs, "batch", 16, "margin",
                              0.4, "lr", 0.05, "weight_decay", 0.0, "flip", 0, "shift", 0, "audit",
                              "attacks"),
                    split->seed, ret_spec, err);
}

static int make_known_spec(enum arch arch, const struct data_split *split, uint32_t images, uint32_t size,
                           uint64_t seed, struct job_spec *ret_spec, struct guise_error *err) {
  const uint32_t epochs = MIN(MAX(KNOWN_SIGHTS / MAX(images, 1u), KNOWN_EPOCHS_LEAST), KNOWN_EPOCHS_MOST);
  return parse_spec(json_pack("{s:s, s:s, s:{s:f, s:f}, s:{s:s, s:i, s:i, s:f}, s:{s:s},"
                              " s:{s:i, s:i, s:f, s:i}, s:{s:[]}}",
                              "type", "train", "dataset", "members", "holdout", "identities",
                              split->identities, "images", split->images, "model", "arch", arch_name(arch),
                              "input", (int)size, "embedding", EMBEDDING, "width",
                              (arch == ARCH_IRESNET18 ? KNOWN_WIDTH_WIDE : KNOWN_WIDTH), "mask", "method",
                              "none", "train", "epochs", (int)epochs, "batch", 32, "lr", 0.05, "shift",
                              (int)MIN(size / SHIFT_SHARE, 16u), "audit", "attacks"),
                    seed, ret_spec, err);
}

/* What stays of the job. Lists that the trained weights do not depend on are left out: defaults are without.
 */
static int make_pretraining_spec(const struct job_spec *job, struct job_spec *ret_spec,
                                 struct guise_error *err) {
  static const char *const of_job[] = {"holdout", "defences", "audit", "resources", "priority", "labels"};
  static const char *const of_mask[] = {"pool",      "public_dataset", "decoys",   "key",
                                        "reference", "embedder",       "ablation", "recipes_per_image"};
  json_t *body = job_spec_json(job), *mask = json_object_get(body, "mask");
  for (size_t i = 0; i < ARRAY_SIZE(of_job); i++)
    (void)json_object_del(body, of_job[i]);
  for (size_t i = 0; i < ARRAY_SIZE(of_mask); i++)
    (void)json_object_del(mask, of_mask[i]);
  if (mask_traits(job->mask.method)->has_strategy && job->mask.policy == POLICY_LEARNED)
    (void)json_object_set_new(mask, "policy", json_string("uniform"));
  (void)json_object_set_new(body, "dataset", json_string("public"));
  (void)json_object_set_new(body, "holdout", json_pack("{s:f}", "identities", HOLDOUT));
  (void)json_object_set_new(body, "audit", json_pack("{s:[]}", "attacks"));
  return parse_spec(body, job->train.seed, ret_spec, err);
}

/* ---- callbacks of the training within the job ---- */

struct inner {
  const struct job_callbacks *outer;
  const char *name;    /* for the log */
  char last[PATH_MAX]; /* checkpoint */
};

static void on_phase(void *context, const char *phase) {
  (void)context; /* the job is preparing all the while */
  (void)phase;
}

static void on_progress(void *context, const struct job_progress *progress) {
  const struct inner *inner = context;
  struct job_progress outer = {.images_per_s = progress->images_per_s,
                               .step_s = progress->step_s,
                               .eta_s = -1,
                               .loss = progress->loss}; /* none of its own yet */
  inner->outer->progress(inner->outer->context, &outer);
}

static void on_log(void *context, const char *level, const char *text) {
  const struct inner *inner = context;
  char line[600];
  (void)snprintf(line, sizeof(line), "%s: %s", inner->name, text);
  inner->outer->log(inner->outer->context, level, line);
}

static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct inner *inner = context;
  (void)epochs_done;
  (void)step;
  (void)rows;
  (void)count;
  if (job_stop_code(inner->outer) == -ECANCELED) { /* also for what it read does not count */
    (void)unlink(path);                            /* a job that is tried again must not find it */
    return -ECANCELED;
  }
  if (*inner->last && strcmp(inner->last, path) != 0)
    (void)unlink(inner->last);
  (void)snprintf(inner->last, sizeof(inner->last), "%s", path);
  job_kept(inner->outer);
  return 0;
}

static void on_kept(void *context) {
  const struct inner *inner = context;
  job_kept(inner->outer);
}

static enum job_stop on_should_stop(void *context) {
  const struct inner *inner = context;
  return inner->outer->should_stop(inner->outer->context);
}

/* ---- files ---- */

/* The steps in a checkpoint's name, "checkpoint-EPOCHS-STEPS.safetensors"; UINT64_MAX for other files and for
 * one that was being written. */
static uint64_t steps_of(const char *name) {
  char *end;
  if (strncmp(name, CHECKPOINT, strlen(CHECKPOINT)) != 0)
    return UINT64_MAX;
  (void)strtoul(name + strlen(CHECKPOINT), &end, 10);
  if (*end != '-')
    return UINT64_MAX;
  const uint64_t steps = strtoull(end + 1, &end, 10);
  return strcmp(end, ".safetensors") == 0 ? steps : UINT64_MAX;
}

/* Removes all checkpoints, whole or not, or finds the one of the most steps ("" = none). */
static void scan_checkpoints(const char *directory, bool remove, char ret_path[PATH_MAX]) {
  DIR *dir = opendir(directory);
  struct dirent *entry;
  uint64_t most = 0;
  *ret_path = 0;
  while (dir && (entry = readdir(dir))) {
    char path[PATH_MAX];
    const uint64_t steps = steps_of(entry->d_name);
    if (strncmp(entry->d_name, CHECKPOINT, strlen(CHECKPOINT)) != 0 ||
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= (int)sizeof(path))
      continue;
    if (remove)
      (void)unlink(path);
    else if (steps != UINT64_MAX && (*ret_path == 0 || steps > most)) {
      most = steps;
      memcpy(ret_path, path, sizeof(path));
    }
  }
  if (dir)
    (void)closedir(dir);
}

static int publish(const char *output, const char *work_directory, const char *path,
                   struct guise_error *err) {
  char model[PATH_MAX], unused[PATH_MAX];
  if (snprintf(model, sizeof(model), "%s/" MODEL_FILE, output) >= (int)sizeof(model))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = file_publish(model, path, err);
  if (r < 0)
    return r;
  (void)directory_remove(output);
  scan_checkpoints(work_directory, true, unused);
  return 0;
}

/* ---- training ---- */

static int run(const struct job_spec *spec, struct job_inputs *inputs, struct inner *inner,
               struct job_outcome *outcome, struct guise_error *err) {
  const struct job_callbacks callbacks = {inner,         on_phase,       on_progress, on_log,
                                          on_checkpoint, on_should_stop, on_kept};
  char resume[PATH_MAX];
  memcpy(resume, inner->last, sizeof(resume)); /* the callback writes there */
  inputs->resume = *resume ? resume : NULL;
  int r = job_run(spec, inputs, &callbacks, outcome, err);
  if (r != -EBADMSG || !inputs->resume)
    return r;
  on_log(inner, "warning", "its checkpoint is of another version: it starts anew");
  inputs->resume = NULL;
  return job_run(spec, inputs, &callbacks, outcome, err);
}

/* A network that is trained within a job: name is for the log, path where its model goes. */
static int train(const char *name, const struct job_spec *spec, struct job_inputs *inputs, const char *path,
                 const struct job_callbacks *callbacks, struct guise_error *err) {
  struct inner inner = {.outer = callbacks, .name = name};
  struct job_outcome outcome = {NULL};
  char output[PATH_MAX], text[64];
  if (snprintf(output, sizeof(output), "%s/output", inputs->work_directory) >= (int)sizeof(output))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = directory_make(output, err);
  if (r < 0)
    return r;
  scan_checkpoints(inputs->work_directory, false, inner.last);
  inputs->job_id = inputs->dataset_sha256 = "";
  inputs->output_directory = output;
  r = run(spec, inputs, &inner, &outcome, err);
  const double accuracy = json_number_value(json_object_get(outcome.summary, "accuracy"));
  json_decref(outcome.summary);
  if (r == 0 && job_stop_code(callbacks) == -ECANCELED) /* as in on_checkpoint */
    r = -ECANCELED;
  if (r == 0)
    r = publish(output, inputs->work_directory, path, err);
  if (r < 0)
    return r;
  (void)snprintf(text, sizeof(text), "trained; %.2f %% on held-out people", 100 * accuracy);
  on_log(&inner, "info", text);
  return 0;
}

/* 1 when it is there already; ret_path is its path in any case. */
static int find_trained(const char *work_directory, const char *file, char ret_path[static PATH_MAX],
                        struct guise_error *err) {
  if (snprintf(ret_path, PATH_MAX, "%s/%s", work_directory, file) >= PATH_MAX)
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  return access(ret_path, R_OK) == 0;
}

/* ---- networks that earlier jobs have left ---- */

/* "" where nothing is kept. */
static int make_key(const struct job_spec *spec, const struct data_split *split, uint32_t threads,
                    const struct keeping *keeping, char ret_key[SHA256_HEX], struct guise_error *err) {
  char seed[32];
  *ret_key = 0;
  if (!keeping || !keeping->cache || !keeping->sha256 || !*keeping->sha256)
    return 0;
  const struct data_split own = split ? *split : job_spec_split(spec);
  (void)snprintf(seed, sizeof(seed), "%llu", (unsigned long long)own.seed);
  int r = cache_key(json_pack("{s:s, s:s, s:o, s:i, s:{s:f, s:f, s:s, s:i, s:b}}", "kind", "trained", "data",
                              keeping->sha256, "spec", job_spec_json(spec), "threads", (int)threads, "split",
                              "identities", own.identities, "images", own.images, "seed", seed, "most_people",
                              (int)own.most_people, "complement", (int)own.complement),
                    ret_key);
  return r < 0 ? error_set(err, r, "out of memory looking for a network that was trained before") : 0;
}

/* Its accuracy on held-out people, as its training told; NAN = unknown. */
static double kept_accuracy(const char *path) {
  struct safetensors *file = NULL;
  double curve[CURVE_POINTS];
  if (safetensors_open(path, &file, NULL) < 0)
    return NAN;
  (void)curve_parse(json_text_at(safetensors_metadata(file), "training.accuracy_curve"), curve);
  safetensors_free(file);
  return curve_at(curve, 1);
}

/* Whether there is one. */
static bool find_kept(const char *name, const struct keeping *keeping, const char *key,
                      const char *work_directory, const char *path, const struct job_callbacks *callbacks) {
  const struct inner inner = {.outer = callbacks, .name = name};
  if (!*key || directory_make(work_directory, NULL) < 0 ||
      keeping->cache->fetch(keeping->cache->context, key, path) < 0)
    return false;
  const double accuracy = kept_accuracy(path);
  char text[80] = "taken over from an earlier job";
  if (isfinite(accuracy))
    (void)snprintf(text, sizeof(text), "taken over from an earlier job; %.2f %% on held-out people",
                   100 * accuracy);
  on_log((void *)&inner, "info", text);
  return true;
}

/* On people of the training under attack, or, without a split, on public ones; spec is spent. what: for the
 * error. */
static int train_on(const char *name, const char *what, struct job_spec *spec, const char *pack,
                    const struct data_split *split, uint32_t threads, const struct keeping *keeping,
                    const char *work_directory, const struct job_callbacks *callbacks, const char *path,
                    struct guise_error *err) {
  char key[SHA256_HEX];
  struct guise_error inner = {0};
  struct job_inputs inputs = {.dataset_pack = pack,
                              .dataset_name = split ? "members" : "public",
                              .work_directory = work_directory,
                              .threads = threads,
                              .split = split};
  int r = make_key(spec, split, threads, keeping, key, &inner);
  if (r == 0 && !find_kept(name, keeping, key, work_directory, path, callbacks)) {
    r = train(name, spec, &inputs, path, callbacks, &inner);
    if (r == 0 && *key)
      keeping->cache->keep(keeping->cache->context, key, path, keeping->source);
  }
  job_spec_free(spec);
  if (r < 0 && r != -ECANCELED && r != -EINTR)
    error_set(err, r, "%s could not be trained%s: %s", what, split ? "" : " on the public data set",
              inner.text[0] ? inner.text : strerror(-r));
  return r;
}

int embedder_overfit(const char *pack, const struct data_split *split, uint32_t images, uint32_t size,
                     uint32_t threads, const struct keeping *keeping, const char *work_directory,
                     const struct job_callbacks *callbacks, char ret_path[static 4096],
                     struct guise_error *err) {
  struct job_spec spec;
  callbacks->phase(callbacks->context, "preparing");
  int r = find_trained(work_directory, "overfitted.safetensors", ret_path, err);
  if (r != 0)
    return MIN(r, 0);
  r = make_overfitted_spec(split, images, size, &spec, err);
  return r < 0 ? r
               : train_on("control", "the control of the membership attack", &spec, pack, split, threads,
                          keeping, work_directory, callbacks, ret_path, err);
}

int embedder_known(enum arch arch, const char *pack, const struct data_split *split, uint32_t images,
                   uint32_t size, uint64_t seed, uint32_t threads, const struct keeping *keeping,
                   const char *work_directory, const struct job_callbacks *callbacks,
                   char ret_path[static 4096], struct guise_error *err) {
  struct job_spec spec;
  callbacks->phase(callbacks->context, "preparing");
  int r = find_trained(work_directory, "known.safetensors", ret_path, err);
  if (r != 0)
    return MIN(r, 0);
  r = make_known_spec(arch, split, images, size, seed, &spec, err);
  return r < 0 ? r
               : train_on("comparison", "a network that attacks on weights are compared with", &spec, pack,
                          split, threads, keeping, work_directory, callbacks, ret_path, err);
}

int embedder_train(const char *role, const char *public_pack, uint32_t size, uint64_t seed, uint32_t threads,
                   const struct keeping *keeping, const char *work_directory,
                   const struct job_callbacks *callbacks, char ret_path[static 4096],
                   struct guise_error *err) {
  struct pack *pack = NULL;
  struct job_spec spec;
  char what[32];
  (void)snprintf(what, sizeof(what), "the %s", role);
  callbacks->phase(callbacks->context, "preparing");
  int r = find_trained(work_directory, "embedder.safetensors", ret_path, err);
  if (r != 0)
    return MIN(r, 0);
  r = pack_open(public_pack, &pack, err);
  if (r == 0)
    r = make_spec(MIN(size, pack_size(pack) / 8 * 8), pack_images(pack), seed, &spec, err);
  pack_free(pack);
  return r < 0 ? r
               : train_on(role, what, &spec, public_pack, NULL, threads, keeping, work_directory, callbacks,
                          ret_path, err);
}

int embedder_pretrain(const struct job_spec *job, const char *public_pack, uint32_t threads,
                      const char *work_directory, const struct job_callbacks *callbacks,
                      char ret_path[static 4096], struct guise_error *err) {
  struct job_spec spec;
  callbacks->phase(callbacks->context, "preparing");
  int r = find_trained(work_directory, "pretrained.safetensors", ret_path, err);
  if (r != 0)
    return MIN(r, 0);
  r = make_pretraining_spec(job, &spec, err);
  return r < 0 ? r
               : train_on("pretraining", "the network to begin with", &spec, public_pack, NULL, threads, NULL,
                          work_directory, callbacks, ret_path, err);
}
