/* Whole jobs on small synthetic faces: files and metrics at the end, suspend and resume to the bit, cancel,
 * clear errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/image/synth.h"
#include "core/image/tar_write.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "core/train/dual.h"
#include "core/train/job.h"

static char root[] = "/tmp/guise-job-XXXXXX";
static char pack_path[256], audit_path[256];
static const char *public_pack, *embedder_model, *reference_model; /* inputs of the next jobs */
static const char *teacher_path; /* with public faces for the audit; NULL = without */

/* What the daemon would keep: the rows of committed checkpoints and the last checkpoint. */
struct record {
  struct metric_row rows[512];
  uint32_t count, checkpoints;
  char checkpoint[4096];
  uint64_t steps_asked, stop_after; /* stop at the n-th question; 0 = never */
  enum job_stop stop;
  bool only_training; /* questions count only once the job's own training has begun */
  bool training;
  bool embedder_continued; /* said so */
  uint32_t analyses;       /* analysis networks, generators and budgets that were trained */
};

static void on_phase(void *context, const char *phase) {
  struct record *record = context;
  assert_non_null(phase);
  record->training |= strcmp(phase, "training") == 0;
}
static void on_progress(void *context, const struct job_progress *progress) {
  (void)context;
  assert_true(progress->fraction >= 0 && progress->fraction <= 1);
}
static void on_log(void *context, const char *level, const char *text) {
  struct record *record = context;
  assert_true(*level && *text);
  record->embedder_continued |= strncmp(text, "embedder: continuing at step", 28) == 0;
  record->analyses += strncmp(text, "analysis network:", 17) == 0 || strncmp(text, "generator:", 10) == 0 ||
                      strncmp(text, "budgets:", 8) == 0;
}
static int on_checkpoint(void *context, const char *path, uint32_t epochs_done, uint64_t step,
                         const struct metric_row *rows, uint32_t count) {
  struct record *record = context;
  (void)epochs_done;
  (void)step;
  assert_true(record->count + count <= 512);
  assert_int_equal(access(path, R_OK), 0);
  memcpy(record->rows + record->count, rows, count * sizeof(*rows));
  record->count += count;
  record->checkpoints++;
  (void)snprintf(record->checkpoint, sizeof(record->checkpoint), "%s", path);
  return 0;
}
static enum job_stop on_should_stop(void *context) {
  struct record *record = context;
  if (record->only_training && !record->training)
    return JOB_CONTINUE;
  return record->stop_after && ++record->steps_asked >= record->stop_after ? record->stop : JOB_CONTINUE;
}

/* Whole jobs take minutes under a sanitizer, which sees their parts in the other tests. */
static void skip_when_slow(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: this combination of parts is tested without a sanitizer\n");
  skip();
#endif
}

static int run(const char *body, const char *name, const char *resume, struct record *record,
               struct job_outcome *outcome, struct guise_error *err) {
  static char work[300], output[300];
  struct job_spec spec;
  struct spec_problems problems = {0};
  json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(json);
  assert_int_equal(job_spec_parse(json, &spec, &problems), 0);
  json_decref(json);
  (void)snprintf(work, sizeof(work), "%s/work-%s", root, name);
  (void)snprintf(output, sizeof(output), "%s/out-%s", root, name);
  assert_int_equal(directory_make(work, NULL), 0);
  assert_int_equal(directory_make(output, NULL), 0);
  struct job_inputs inputs = {.job_id = "job_test",
                              .dataset_pack = pack_path,
                              .dataset_name = "synthetic",
                              .dataset_sha256 = "0",
                              .public_pack = public_pack,
                              .embedder_model = embedder_model,
                              .reference_model = reference_model,
                              .audit_public_pack = teacher_path ? audit_path : NULL,
                              .teacher_model = teacher_path,
                              .work_directory = work,
                              .resume = resume,
                              .output_directory = output,
                              .threads = 1};
  struct job_callbacks callbacks = {record, on_phase, on_progress, on_log, on_checkpoint, on_should_stop};
  int r = job_run(&spec, &inputs, &callbacks, outcome, err);
  job_spec_free(&spec);
  return r;
}

static int setup(void **state) {
  (void)state;
  char tar[256];
  struct guise_error err = {0};
  struct ingest_result result;
  assert_non_null(mkdtemp(root));
  (void)snprintf(tar, sizeof(tar), "%s/faces.tar", root);
  (void)snprintf(pack_path, sizeof(pack_path), "%s/pack", root);
  int fd = open(tar, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, 1, 10, 6, 40, &err), 0);
  (void)close(fd);
  int r = ingest_archive(tar, pack_path, 40, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  assert_int_equal(result.images, 60);
  (void)snprintf(audit_path, sizeof(audit_path), "%s/audit", root);
  fd = open(tar, O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, 2, 20, 2, 40, &err), 0); /* other people: another seed */
  (void)close(fd);
  r = ingest_archive(tar, audit_path, 40, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

/* Exactly one row for each (name, epoch), epochs 1..epochs. */
static double epoch_value(const struct record *record, const char *name, uint32_t epoch) {
  double value = NAN;
  int found = 0;
  for (uint32_t i = 0; i < record->count; i++) {
    const struct metric_row *row = &record->rows[i];
    if (row->per_epoch && row->epoch == epoch && strcmp(row->name, name) == 0) {
      value = row->value;
      found++;
    }
  }
  if (found != 1)
    fail_msg("%d rows of %s for epoch %u", found, name, epoch);
  return value;
}

static void output_hash(const char *name, const char *file, char ret_hex[SHA256_HEX]) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, name, file);
  assert_int_equal(sha256_file(path, ret_hex, NULL), 0);
}

/* The files for other runtimes stand in the report with their hashes. */
static void report_lists_onnx(const char *name) {
  char path[512], hex[SHA256_HEX];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL), *file;
  json_t *files = json_object_get(json_object_get(report, "model"), "onnx");
  size_t i;
  assert_int_equal(json_array_size(files), 2);
  json_array_foreach(files, i, file) {
    output_hash(name, json_string_value(json_object_get(file, "name")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "sha256")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "start")), i == 0 ? "image" : "template");
  }
  json_decref(report);
}

#define SMALL "\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"audit\":{\"effort\":\"quick\"}"

static void an_undefended_job_learns(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  int r = run("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
              ",\"train\":{\"epochs\":8,\"batch\":8}}",
              "none", NULL, &record, &outcome, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  for (uint32_t epoch = 1; epoch <= 8; epoch++) {
    assert_true(epoch_value(&record, "loss", epoch) > 0);
    assert_true(epoch_value(&record, "lr", epoch) > 0);
    assert_true(epoch_value(&record, "images_per_s", epoch) > 0);
    double accuracy = epoch_value(&record, "accuracy", epoch);
    assert_true(accuracy >= 0.4 && accuracy <= 1);
  }
  assert_true(epoch_value(&record, "loss", 8) < epoch_value(&record, "loss", 2));
  static const char *const files[] = {"model.safetensors", "model.onnx", "model-template.onnx", "report.json",
                                      "report.html",       "card.md",    "scores.csv"};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    char hex[SHA256_HEX];
    output_hash("none", files[i], hex);
  }
  assert_true(json_is_number(json_object_get(outcome.summary, "accuracy")));
  report_lists_onnx("none");
  json_decref(outcome.summary);
}

#define NARROW "\"width\":0.25,\"embedding\":32},\"audit\":{\"effort\":\"quick\",\"attacks\":[]}"
#define AHM                                                                                             \
  "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"%s\"%s},\"model\":{" \
  "\"input\":"                                                                                          \
  "32," NARROW ",\"train\":{\"epochs\":4,\"batch\":8,\"shift\":2}}"

static void compare(const struct record *a, const struct record *b) {
  assert_int_equal(a->count, b->count);
  for (uint32_t i = 0; i < a->count; i++) {
    assert_string_equal(a->rows[i].name, b->rows[i].name);
    assert_int_equal(a->rows[i].epoch, b->rows[i].epoch);
    assert_int_equal(a->rows[i].step, b->rows[i].step);
    if (strcmp(a->rows[i].name, "images_per_s") != 0 && a->rows[i].value != b->rows[i].value)
      fail_msg("%s of epoch %u: %.17g and %.17g", a->rows[i].name, a->rows[i].epoch, a->rows[i].value,
               b->rows[i].value);
  }
}

static void suspended_and_resumed_to_the_bit(void **state) {
  (void)state;
  static const char *const policies[][2] = {{"learned", ""},
                                            {"learned", ",\"reward\":\"paper\""},
                                            {"learned", ",\"ablation\":\"shuffled\""},
                                            {"fixed", ",\"k\":[3]"},
                                            {"uniform", ""}};
  for (size_t p = 0; p < ARRAY_SIZE(policies); p++) {
    char body[512], whole[SHA256_HEX], parts[SHA256_HEX];
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    struct record straight = {.count = 0}, resumed = {.stop_after = 9, .stop = JOB_SUSPEND};
    (void)snprintf(body, sizeof(body), AHM, policies[p][0], policies[p][1]);
    if (run(body, "straight", NULL, &straight, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    assert_true(epoch_value(&straight, "strategy.mean_k", 4) >= 2);
    assert_int_equal(run(body, "resumed", NULL, &resumed, &outcome, &err), -EINTR);
    resumed.stop_after = 0;
    char checkpoint[4096];
    memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
    assert_true(*checkpoint);
    if (run(body, "resumed", checkpoint, &resumed, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    compare(&straight, &resumed);
    output_hash("straight", "model.safetensors", whole);
    output_hash("resumed", "model.safetensors", parts);
    assert_string_equal(whole, parts);
  }
}

static void run_through(const char *body, const char *name, const char *resume, struct record *record) {
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  if (run(body, name, resume, record, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
}

/* What masks with a generator learn from: public faces, and an embedder of 32 pixels. */
static void give_public(bool given) {
  static char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-judge/model.safetensors", root); /* of the test below */
  public_pack = given ? pack_path : NULL;
  embedder_model = given ? path : NULL;
}

static void an_embedder_for_generators(void **state) {
  (void)state;
  struct record record = {.count = 0};
  run_through(
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32," NARROW
      ",\"train\":{\"epochs\":1,\"batch\":8}}",
      "judge", NULL, &record);
}
#define PUBLIC "\"public_dataset\":\"a\",\"embedder\":\"mdl_a\""

static void same_model(const char *a, const char *b) {
  char one[SHA256_HEX], other[SHA256_HEX];
  output_hash(a, "model.safetensors", one);
  output_hash(b, "model.safetensors", other);
  assert_string_equal(one, other);
}

/* The model brings what its mask learnt: a loaded one embeds. */
static void loads_with_learnt(const char *name, bool gates) {
  char path[512];
  struct model *model = NULL;
  struct guise_error err = {0};
  static uint8_t grey[40 * 40 * 3];
  const uint8_t *face = grey;
  float embedding[32];
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(model->info.mask.select, gates ? MASK_SELECT_LEARNT : MASK_SELECT_ZIGZAG);
  assert_int_equal(model->info.constants.learnt_count, gates ? 192 : 0);
  assert_int_equal(mask_weights(model->mask) != NULL, !gates);
  memset(grey, 128, sizeof(grey));
  assert_int_equal(model_embed(model, &face, 1, false, embedding, &err), 0);
  assert_true(isfinite(embedding[0]));
  model_free(model);
}

/* Masks that learn before the training: stopped while they learn, killed after that and before a checkpoint,
 * suspended in the training and continued from nothing but the checkpoint: always the same job. */
static void what_a_mask_learnt_survives(void **state) {
  (void)state;
  static const struct {
    const char *mask, *file;
    bool gates;
  } masks[] = {
      {"\"mask\":{\"method\":\"ppfr_fd\"},\"model\":{\"arch\":\"freq_conv\",\"input\":40," NARROW,
       JOB_ANALYSIS_FILE, true},
      {"\"mask\":{\"method\":\"ahm\",\"policy\":\"uniform\",\"select\":\"learnt\",\"drop_low\":10,"
       "\"analysis\":{\"epochs\":3}},\"model\":{\"input\":32," NARROW,
       JOB_ANALYSIS_FILE, true},
      {"\"mask\":{\"method\":\"minusface\"},\"model\":{\"input\":32," NARROW, JOB_WEIGHTS_FILE, false},
      {"\"mask\":{\"method\":\"dctdp\",\"parameters\":{\"learnt\":1,\"measured\":1}},\"model\":{\"input\":"
       "32," NARROW,
       JOB_WEIGHTS_FILE, false},
      {"\"mask\":{\"method\":\"generative\"," PUBLIC "},\"model\":{\"input\":32," NARROW, JOB_WEIGHTS_FILE,
       false}}; /* hybrid learns likewise */
  give_public(true);
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    char body[512], file[512], checkpoint[4096];
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    struct record straight = {.count = 0}, early = {.stop_after = 10, .stop = JOB_SUSPEND};
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",%s,\"train\":{\"epochs\":2,\"batch\":8}}",
                   masks[m].mask);
    (void)snprintf(file, sizeof(file), "%s/work-learnt-b%zu/%s", root, m, masks[m].file);
    char a[16], b[16];
    (void)snprintf(a, sizeof(a), "learnt-a%zu", m);
    (void)snprintf(b, sizeof(b), "learnt-b%zu", m);
    run_through(body, a, NULL, &straight);
    loads_with_learnt(a, masks[m].gates);
    assert_int_equal(straight.analyses, 1);
    assert_int_equal(run(body, b, NULL, &early, &outcome, &err), -EINTR);
    assert_int_equal(early.checkpoints, 0);
    assert_int_equal(access(file, F_OK), -1);
    struct record late = {.stop_after = 4, .stop = JOB_SUSPEND, .only_training = true};
    assert_int_equal(run(body, b, NULL, &late, &outcome, &err), -EINTR);
    assert_int_equal(late.checkpoints, 1);
    assert_int_equal(access(file, F_OK), 0);
    memcpy(checkpoint, late.checkpoint, sizeof(checkpoint));
    struct record killed = {.count = 0};
    run_through(body, b, NULL, &killed); /* as if the checkpoint had not been committed */
    assert_int_equal(killed.analyses, 0);
    compare(&straight, &killed);
    same_model(a, b);
    assert_int_equal(unlink(file), 0);
    late.stop_after = 0;
    late.analyses = 0;
    run_through(body, b, checkpoint, &late);
    assert_int_equal(late.analyses, 0);
    compare(&straight, &late);
    same_model(a, b);
  }
  give_public(false);
}

/* Little memory and bfloat16 train the same network: the losses are near, and the report says what was used.
 */
static void memory_and_precision(void **state) {
  (void)state;
  static const struct {
    const char *name, *options, *note;
    double tolerance;
  } ways[] = {{"normal", "", "float32", 0},
              {"low", ",\"memory\":\"low\"", "float32", 1e-3},
              {"half", ",\"precision\":\"bf16\"", "bfloat16 with float32 weights", 0.1}};
  double first = 0;
  for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
    char body[512], path[512];
    struct record record = {.count = 0};
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    if (strcmp(ways[i].name, "half") == 0 && !graph_bfloat16_supported())
      continue;
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
                   ",\"train\":{\"epochs\":2,\"batch\":8%s}}",
                   ways[i].options);
    if (run(body, ways[i].name, NULL, &record, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    const double loss = epoch_value(&record, "loss", 2);
    first = i == 0 ? loss : first;
    if (fabs(loss - first) > ways[i].tolerance * first)
      fail_msg("%s: loss %g, %g expected", ways[i].name, loss, first);
    (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, ways[i].name);
    json_t *report = json_load_file(path, 0, NULL);
    const char *note = json_string_value(json_array_get(json_object_get(report, "notes"), 0));
    assert_non_null(note);
    assert_non_null(strstr(note, ways[i].note));
    assert_non_null(strstr(note, "passes of convolutions use Winograd"));
    json_decref(report);
  }
}

static void a_learned_policy_reports_itself(void **state) {
  (void)state;
  char body[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(body, sizeof(body), AHM, "learned", "");
  assert_int_equal(run(body, "learned", NULL, &record, &outcome, &err), 0);
  json_decref(outcome.summary);
  double sum = 0;
  for (int k = 2; k <= 6; k++) {
    char name[40];
    (void)snprintf(name, sizeof(name), "strategy.pi_%d", k);
    double p = epoch_value(&record, name, 4);
    assert_true(p >= 0.0199 && p <= 0.9201); /* the floor .1/5 */
    sum += p;
  }
  assert_true(fabs(sum - 1) < 1e-4);
  assert_true(epoch_value(&record, "strategy.entropy", 4) > 0);
  assert_true(isfinite(epoch_value(&record, "strategy.reward", 4)));
}

/* The probe's reward tells what it is made of, and who bounds the accuracy. */
static void the_probe_reports_itself(void **state) {
  (void)state;
  static const char *const always[] = {"strategy.mu", "strategy.tau", "probe.error"};
  static const char *const late[] = {"strategy.kl", "strategy.leak", "strategy.reward"};
  char body[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(body, sizeof(body), AHM, "learned", "");
  assert_int_equal(run(body, "probe", NULL, &record, &outcome, &err), 0);
  json_decref(outcome.summary);
  for (size_t i = 0; i < ARRAY_SIZE(always); i++)
    for (uint32_t epoch = 1; epoch <= 4; epoch++)
      assert_true(epoch_value(&record, always[i], epoch) >= 0);
  for (size_t i = 0; i < ARRAY_SIZE(late); i++) /* the margin warms up in the first */
    assert_true(isfinite(epoch_value(&record, late[i], 4)));
  assert_true(epoch_value(&record, "strategy.tau", 4) == DUAL_TAU_START);
  /* nothing is priced yet: R = 1 - leak */
  assert_true(epoch_value(&record, "strategy.mu", 4) == 0);
  assert_true(fabs(epoch_value(&record, "strategy.reward", 4) -
                   (1 - epoch_value(&record, "strategy.leak", 4))) < 1e-4);
  /* each k that was decided on has its own rows; there is at least one */
  int rows = 0;
  for (uint32_t i = 0; i < record.count; i++)
    rows += record.rows[i].epoch == 4 && strncmp(record.rows[i].name, "strategy.leak_", 14) == 0;
  assert_true(rows >= 1 && rows <= 5);
}

static json_t *report_of(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL);
  assert_non_null(report);
  return report;
}

static bool is_enforced(const json_t *report) {
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  assert_string_equal(json_string_value(json_object_get(mixing, "reward")), "probe");
  return json_is_true(json_object_get(mixing, "accuracy_bound_enforced"));
}

static void a_reference_bounds_the_accuracy(void **state) {
  (void)state;
  char body[512], model[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(model, sizeof(model), "%s/out-none/model.safetensors", root); /* of the first test */
  reference_model = embedder_model = model;
  (void)snprintf(body, sizeof(body), AHM, "learned",
                 ",\"reference\":\"mdl_a\",\"embedder\":\"mdl_a\",\"max_accuracy_drop\":0.1");
  int r = run(body, "bounded", NULL, &record, &outcome, &err);
  reference_model = embedder_model = NULL;
  if (r < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  /* moved at the ends of the epochs in which the policy was updated: all but the first */
  double tau = DUAL_TAU_START;
  for (uint32_t epoch = 2; epoch <= 3; epoch++) {
    const double slack = (0.1 - epoch_value(&record, "strategy.accuracy_drop", epoch)) / 0.1;
    tau = fmin(fmax(tau * exp(fmin(fmax(0.5 * slack, -0.5), 0.5)), 0.02), 2);
    assert_true(fabs(epoch_value(&record, "strategy.tau", epoch + 1) - tau) < 1e-9);
  }
  json_t *bounded = report_of("bounded"), *unbounded = report_of("probe");
  assert_true(is_enforced(bounded));
  assert_false(is_enforced(unbounded));
  json_decref(bounded);
  json_decref(unbounded);
}

/* The embedder is trained first and kept: killed there or later, the job ends as if nothing had happened. */
static void an_embedder_of_public_faces(void **state) {
  (void)state;
  char body[512], path[512], whole[SHA256_HEX], parts[SHA256_HEX];
  struct record straight = {.count = 0}, resumed = {.stop_after = 25, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  public_pack = pack_path;
  (void)snprintf(body, sizeof(body), AHM, "learned", ",\"public_dataset\":\"faces\"");
  if (run(body, "judged", NULL, &straight, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  assert_int_equal(run(body, "killed", NULL, &resumed, &outcome, &err), -EINTR);
  assert_false(resumed.training);
  assert_int_equal(resumed.checkpoints, 0);
  (void)snprintf(path, sizeof(path), "%s/work-killed/embedder/embedder.safetensors", root);
  assert_int_not_equal(access(path, R_OK), 0);
  resumed.steps_asked = 0;
  resumed.stop_after = 9;
  resumed.only_training = true;
  assert_int_equal(run(body, "killed", NULL, &resumed, &outcome, &err), -EINTR);
  assert_true(resumed.embedder_continued);
  assert_int_equal(access(path, R_OK), 0);
  resumed.stop_after = 0;
  char checkpoint[4096];
  memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
  if (run(body, "killed", checkpoint, &resumed, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  public_pack = NULL;
  compare(&straight, &resumed);
  output_hash("judged", "model.safetensors", whole);
  output_hash("killed", "model.safetensors", parts);
  assert_string_equal(whole, parts);
}

static void ablations_take_something_away(void **state) {
  (void)state;
  skip_when_slow();
  double pi[ABLATIONS];
  for (int a = 0; a < ABLATIONS; a++) {
    char body[512], options[64];
    struct record record = {.count = 0};
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    (void)snprintf(options, sizeof(options), ",\"ablation\":\"%s\"",
                   ablation_traits((enum strategy_ablation)a)->name);
    (void)snprintf(body, sizeof(body), AHM, "learned", options);
    if (run(body, "ablation", NULL, &record, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    pi[a] = epoch_value(&record, "strategy.pi_2", 4);
  }
  for (int a = 0; a < ABLATIONS; a++)
    /* RANDOM draws otherwise from the same network; nothing is priced in so short a training */
    if (a != ABLATION_NONE && a != ABLATION_RANDOM && a != ABLATION_NO_DUAL)
      assert_true(pi[a] != pi[ABLATION_NONE]);
}

/* The model of a job loads, and embeds the same each time, whatever the mask draws. */
static void check_model(const char *name) {
  char path[512];
  uint8_t face[32 * 32 * 3];
  const uint8_t *rgb[1] = {face};
  float first[32], again[32];
  struct model *model = NULL;
  struct guise_error err = {0};
  synth_face(9, 1, 1, 32, face);
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(model_embed(model, rgb, 1, true, first, &err), 0);
  assert_int_equal(model_embed(model, rgb, 1, true, again, &err), 0);
  assert_memory_equal(first, again, sizeof(first));
  model_free(model);
}

static void train_method(enum mask_method method, enum mask_dct dct, bool interrupted) {
  const struct mask_traits *traits = mask_traits(method);
  struct record record = {.count = 0}, resumed = {.stop_after = 9, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  struct mask_guarantee guarantee;
  char body[512], whole[SHA256_HEX], parts[SHA256_HEX], checkpoint[4096];
  const bool pixels = traits->located || dct == MASK_DCT_UPSAMPLED;
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"%s\",\"dct\":\"%s\"%s},"
                 "\"model\":{\"arch\":\"%s\",\"input\":32,\"width\":0.25,\"embedding\":32},"
                 "\"audit\":{\"effort\":\"quick\"},\"train\":{\"epochs\":2,\"batch\":8}}",
                 traits->name, mask_dct_name(dct), traits->needs_public ? "," PUBLIC : "",
                 pixels ? "freq_ir" : "freq_conv");
  give_public(traits->needs_public);
  if (run(body, "method", NULL, &record, &outcome, &err) < 0)
    fail_msg("%s: %s", traits->name, err.text);
  json_decref(outcome.summary);
  assert_true(epoch_value(&record, "loss", 2) > 0);
  json_t *report = report_of("method");
  const json_t *mask = json_object_get(report, "mask");
  const struct mask_options options = mask_options_default(method, 32);
  const struct mask_constants constants = {.channels = 189, .clip = 3};
  assert_string_equal(json_string_value(json_object_get(mask, "method")), traits->name);
  assert_int_equal(json_object_size(json_object_get(mask, "parameters")), traits->parameter_count);
  assert_int_equal(json_is_object(json_object_get(mask, "mixing")), traits->mixes);
  assert_int_equal(json_is_real(json_object_get(json_object_get(report, "formal"), "epsilon")),
                   mask_guarantee(&options, &constants, NULL, &guarantee));
  json_decref(report);
  check_model("method");
  give_public(traits->needs_public && interrupted);
  if (!interrupted)
    return;
  output_hash("method", "model.safetensors", whole);
  assert_int_equal(run(body, "method-resumed", NULL, &resumed, &outcome, &err), -EINTR);
  resumed.stop_after = 0;
  memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
  if (run(body, "method-resumed", checkpoint, &resumed, &outcome, &err) < 0)
    fail_msg("%s: %s", traits->name, err.text);
  json_decref(outcome.summary);
  output_hash("method-resumed", "model.safetensors", parts);
  assert_string_equal(whole, parts);
}

static void every_method_trains(void **state) {
  (void)state;
  for (int method = 0; method < MASK_METHODS; method++)
    train_method((enum mask_method)method, MASK_DCT_NATIVE, method == MASK_INSTAHIDE || method == MASK_DCTDP);
  train_method(MASK_PARTIALFACE, MASK_DCT_UPSAMPLED, false);
}

static bool holds(const char *name, const char *file, const char *text) {
  char path[512], *data = NULL;
  size_t bytes = 0;
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, name, file);
  assert_int_equal(file_read(path, 1u << 26, &data, &bytes, NULL), 0);
  const bool found = memmem(data, bytes, text, strlen(text)) != NULL;
  free(data);
  return found;
}

/* A keyed job keeps its key across an interruption, refuses to go on under another, and hands the key out in
 * one file alone. Behind the inverse transform the key changes nothing of the training. */
static void a_key_of_its_own(void **state) {
  (void)state;
  static const char *const others[] = {
      "model.safetensors",   "model.onnx", "model-template.onnx", "report.json", "report.html",
      "report-private.html", "card.md"};
  const char *body = "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"mixup\",\"key\":true},"
                     "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},"
                     "\"audit\":{\"effort\":\"quick\"},\"train\":{\"epochs\":2,\"batch\":8}}",
             *plain = "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"mixup\"},"
                      "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},"
                      "\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":2,\"batch\":8}}";
  struct record unkeyed = {.count = 0}, record = {.stop_after = 9, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  char path[512], text[300], checkpoint[4096], secret[2 * MASK_KEY_BYTES + 1] = "";
  struct mask_key key, other;
  struct model *model = NULL;
  run_through(plain, "unkeyed", NULL, &unkeyed);
  assert_int_equal(run(body, "keyed", NULL, &record, &outcome, &err), -EINTR);
  record.stop_after = 0;
  memcpy(checkpoint, record.checkpoint, sizeof(checkpoint));
  (void)snprintf(path, sizeof(path), "%s/work-keyed/" MASK_KEY_FILE, root);
  assert_int_equal(mask_key_read(path, &key, NULL), 0);
  memset(&other, 1, sizeof(other));
  assert_int_equal(mask_key_write(path, &other, NULL), 0);
  assert_int_equal(run(body, "keyed", checkpoint, &record, &outcome, &err), -EBADMSG);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(run(body, "keyed", checkpoint, &record, &outcome, &err), -ENOENT);
  assert_int_equal(mask_key_write(path, &key, NULL), 0);
  run_through(body, "keyed", checkpoint, &record);
  compare(&unkeyed, &record);
  (void)snprintf(path, sizeof(path), "%s/out-keyed/" MASK_KEY_FILE, root);
  assert_int_equal(mask_key_read(path, &other, NULL), 0);
  assert_memory_equal(&key, &other, sizeof(key));
  for (int i = 0; i < MASK_KEY_BYTES; i++)
    (void)snprintf(secret + 2 * i, 3, "%02x", key.secret[i]);
  assert_true(holds("keyed", MASK_KEY_FILE, secret));
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    assert_false(holds("keyed", others[i], secret));
  (void)snprintf(path, sizeof(path), "%s/out-keyed/model.safetensors", root);
  assert_int_equal(model_load(path, 1, 1, &model, &err), -ENOKEY);
  assert_int_equal(model_load_keyed(path, &key, 1, 1, &model, &err), 0);
  json_t *report = report_of("keyed");
  const json_t *files = json_object_get(json_object_get(report, "model"), "onnx");
  for (size_t i = 0; i < 2; i++)
    assert_string_equal(json_string_value(json_object_get(json_array_get(files, i), "start")), "template");
  assert_string_equal(json_string_value(json_object_get(json_object_get(report, "mask"), "key")),
                      model->info.key_id);
  (void)snprintf(text, sizeof(text), "keyed, with the key %s", model->info.key_id);
  assert_true(holds("keyed", "card.md", text));
  json_decref(report);
  model_free(model);
}

static void cancel(void **state) {
  (void)state;
  struct record record = {.stop_after = 4, .stop = JOB_CANCEL};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL
                       ",\"train\":{\"epochs\":2,\"batch\":8}}",
                       "cancel", NULL, &record, &outcome, &err),
                   -ECANCELED);
  assert_int_equal(record.checkpoints, 0);
}

static void errors_say_what_to_do(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":64}}", "big", NULL,
                       &record, &outcome, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "at most 40"));
  assert_int_equal(
      run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":40},\"holdout\":{\"identities\":0.9}}",
          "few", NULL, &record, &outcome, &err),
      -EINVAL);
  assert_non_null(strstr(err.text, "holdout.identities"));
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL "}", "lost", "/nonexistent/checkpoint",
                       &record, &outcome, &err),
                   -ENOENT);
}

/* A model of an earlier job is the teacher; the linkage figures lead the summary and the report. */
static void linkage_leads_the_report(void **state) {
  (void)state;
  skip_when_slow();
  struct record record = {.count = 0}, second = {.count = 0};
  struct job_outcome outcome;
  struct guise_error err = {0};
  char path[512], report_path[512];
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"s\",\"holdout\":{\"identities\":0},"
                       "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":1,\"batch\":10,\"seed\":1},"
                       "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]}}",
                       "teacher", NULL, &record, &outcome, &err),
                   0);
  json_decref(outcome.summary);
  (void)snprintf(path, sizeof(path), "%s/out-teacher/model.safetensors", root);
  teacher_path = path;
  int r = run("{\"type\":\"train\",\"dataset\":\"s\",\"train\":{\"epochs\":1,\"batch\":10,\"seed\":1},"
              "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},"
              "\"audit\":{\"effort\":\"quick\",\"public_dataset\":\"open\"}}",
              "linkage", NULL, &second, &outcome, &err);
  teacher_path = NULL;
  if (r < 0)
    fail_msg("%s", err.text);
  const json_t *audit = json_object_get(outcome.summary, "audit");
  assert_int_equal(json_array_size(json_object_get(audit, "linkage")), 2); /* two surfaces */
  assert_int_equal(json_array_size(json_object_get(audit, "attacks")), 7); /* of four attacks */
  (void)snprintf(report_path, sizeof(report_path), "%s/out-linkage/report.json", root);
  json_t *report = json_load_file(report_path, 0, NULL);
  const json_t *attack = json_array_get(json_object_get(report, "attacks"), 1);
  assert_string_equal(json_string_value(json_object_get(attack, "attack")), "linkage");
  assert_int_equal(json_integer_value(json_object_get(attack, "public_faces")), 40);
  assert_int_equal(json_array_size(json_object_get(json_object_get(report, "headline"), "linkage")), 2);
  json_decref(report);
  json_decref(outcome.summary);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_undefended_job_learns),    cmocka_unit_test(suspended_and_resumed_to_the_bit),
      cmocka_unit_test(an_embedder_for_generators),  cmocka_unit_test(what_a_mask_learnt_survives),
      cmocka_unit_test(memory_and_precision),        cmocka_unit_test(a_learned_policy_reports_itself),
      cmocka_unit_test(the_probe_reports_itself),    cmocka_unit_test(a_reference_bounds_the_accuracy),
      cmocka_unit_test(an_embedder_of_public_faces), cmocka_unit_test(ablations_take_something_away),
      cmocka_unit_test(every_method_trains),         cmocka_unit_test(a_key_of_its_own),
      cmocka_unit_test(linkage_leads_the_report),    cmocka_unit_test(cancel),
      cmocka_unit_test(errors_say_what_to_do),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
