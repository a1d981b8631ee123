/* What attacks that draw people are compared with and judged by: trained once in the work directory, of the
 * people of the training, the evaluator of images that the model has not seen where there are enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/synth.h"
#include "core/model/model.h"
#include "core/train/comparisons.h"
#include "core/train/embedder.h"
#include "unit/train/initial.h"
#include "unit/train/kept.h"
#include "unit/train/pack.h"
#include "unit/train/quiet.h"

#define SIZE 32u
#define PEOPLE 3u
#define IMAGES 8u

static char root[] = "/tmp/guise-comparisons-XXXXXX";
static char faces[64];
static uint32_t trainings; /* that were begun */

static void on_log(void *context, const char *level, const char *text) {
  (void)context;
  (void)level;
  trainings += strstr(text, "trained;") != NULL;
}
static const struct job_callbacks callbacks = {
    NULL, quiet_phase, quiet_progress, on_log, quiet_checkpoint, quiet_stop, NULL};

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  draw_pack(faces, 1, PEOPLE, IMAGES, SIZE);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static struct model_info info_of(const char *path) {
  struct model *model = NULL;
  struct guise_error err = {0};
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  struct model_info info = model->info;
  model_free(model);
  return info;
}

static void known_people_are_learnt_once(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: two trainings take too long under a sanitizer\n");
  skip();
#endif
  struct job_spec trained;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  struct comparisons *comparisons = NULL;
  json_t *body = json_loads("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":32},\"holdout\":"
                            "{\"identities\":0,\"images\":0.5},\"train\":{\"seed\":3}}",
                            0, NULL);
  assert_int_equal(job_spec_parse(body, &trained, &problems), 0);
  json_decref(body);
  const struct data_split split = job_spec_split(&trained);
  struct job_data data;
  assert_int_equal(job_data_open(faces, SIZE, &split, &data, &err), 0);
  const struct job_inputs inputs = {.dataset_pack = faces, .work_directory = root};
  const struct audit_subject subject = {.spec = &trained,
                                        .inputs = &inputs,
                                        .callbacks = &callbacks,
                                        .trained = &trained,
                                        .data = &data,
                                        .split = split,
                                        .threads = 1};
  for (uint32_t turn = 0; turn < 2; turn++) {
    if (comparisons_new(&subject, attack_find("mi_face"), &comparisons, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(trainings, 2);
    assert_string_equal(comparisons->overfitted, ""); /* is membership's */
    assert_true(comparisons->evaluator_unseen);
    comparisons_free(comparisons);
  }
  char path[128];
  (void)snprintf(path, sizeof(path), "%s/undefended-0/known.safetensors", root);
  const struct model_info undefended = info_of(path);
  (void)snprintf(path, sizeof(path), "%s/evaluator-0/known.safetensors", root);
  const struct model_info evaluator = info_of(path);
  assert_int_equal(undefended.arch, ARCH_FREQ_IR);
  assert_int_equal(evaluator.arch, ARCH_IRESNET18);
  assert_true(undefended.mask.method == MASK_NONE && evaluator.mask.method == MASK_NONE);
  assert_int_equal(undefended.training.identities, PEOPLE);
  assert_int_equal(evaluator.training.identities, PEOPLE);
  assert_int_equal(undefended.training.images, data.train.count);
  assert_int_equal(evaluator.training.images, data.unseen.count); /* four a person */
  assert_true(undefended.training.seed != evaluator.training.seed);
  job_data_close(&data);
  job_spec_free(&trained);
}

/* Networks of the same data, split, seed and threads serve later jobs; any other is trained. */
static void kept_networks_serve_later_jobs(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: four trainings take too long under a sanitizer\n");
  skip();
#endif
  static const struct {
    const char *work, *sha256;
    uint32_t seed, threads, trained;
    bool keeps;
  } jobs[] = {{"first", "aa", 3, 1, 1, true},   {"second", "aa", 3, 1, 0, false},
              {"seed", "aa", 4, 1, 1, true},    {"data", "bb", 3, 1, 1, true},
              {"threads", "aa", 3, 2, 1, true}, {"nameless", "", 3, 1, 1, false}};
  char store[64], hash[ARRAY_SIZE(jobs)][SHA256_HEX];
  (void)snprintf(store, sizeof(store), "%s/kept", root);
  assert_int_equal(directory_make(store, NULL), 0);
  const struct model_cache cache = {store, kept_fetch, kept_keep};
  for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
    struct job_spec trained;
    struct spec_problems problems = {0};
    struct guise_error err = {0};
    struct comparisons *comparisons = NULL;
    struct job_data data;
    char work[128];
    json_t *body =
        json_pack("{s:s, s:s, s:{s:i}, s:{s:i, s:f}, s:{s:i}}", "type", "train", "dataset", "a", "model",
                  "input", 32, "holdout", "identities", 0, "images", 0.5, "train", "seed", (int)jobs[i].seed);
    assert_int_equal(job_spec_parse(body, &trained, &problems), 0);
    json_decref(body);
    const struct data_split split = job_spec_split(&trained);
    assert_int_equal(job_data_open(faces, SIZE, &split, &data, &err), 0);
    (void)snprintf(work, sizeof(work), "%s/%s", root, jobs[i].work);
    const struct job_inputs inputs = {
        .dataset_pack = faces, .dataset_sha256 = jobs[i].sha256, .cache = &cache, .work_directory = work};
    const struct audit_subject subject = {.spec = &trained,
                                          .inputs = &inputs,
                                          .callbacks = &callbacks,
                                          .trained = &trained,
                                          .data = &data,
                                          .split = split,
                                          .threads = jobs[i].threads};
    trainings = kept = fetched = 0;
    if (comparisons_new(&subject, attack_find("gradient"), &comparisons, &err) < 0)
      fail_msg("%s", err.text);
    assert_int_equal(trainings, jobs[i].trained);
    assert_int_equal(kept, jobs[i].keeps);
    assert_int_equal(kept_sources, CACHE_PEOPLE);
    assert_int_equal(fetched, !jobs[i].trained);
    assert_int_equal(sha256_file(comparisons->undefended, hash[i], NULL), 0);
    comparisons_free(comparisons);
    job_data_close(&data);
    job_spec_free(&trained);
  }
  assert_string_equal(hash[1], hash[0]);
  assert_string_not_equal(hash[2], hash[0]);
  assert_string_equal(hash[5], hash[0]); /* what was taken over is what would have been trained */
}

static const uint8_t *control_face(void *context, uint32_t i) {
  static uint8_t drawn[IMAGES][3 * SIZE * SIZE];
  (void)context;
  synth_face(2, i, 0, SIZE, drawn[i]);
  return drawn[i];
}

/* A control that is given is not trained, and the audit tells what it reaches itself; how it differs from the
 * model is told where it does. */
static void a_given_control_is_taken(void **state) {
  (void)state;
  struct job_spec trained;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  struct comparisons *comparisons = NULL;
  struct job_data data;
  char control[64];
  (void)snprintf(control, sizeof(control), "%s/given.safetensors", root);
  write_initial_model(control, MASK_NONE, ARCH_NORM_BATCH, SIZE, control_face, IMAGES);
  json_t *body = json_pack("{s:s, s:s, s:{s:i, s:f}, s:{s:i}}", "type", "train", "dataset", "a", "model",
                           "input", SIZE, "width", .25, "holdout", "identities", 0);
  assert_int_equal(job_spec_parse(body, &trained, &problems), 0);
  json_decref(body);
  const struct data_split split = job_spec_split(&trained);
  assert_int_equal(job_data_open(faces, SIZE, &split, &data, &err), 0);
  struct job_inputs inputs = {.job_id = "job_1",
                              .dataset_pack = faces,
                              .dataset_name = "a",
                              .dataset_sha256 = "aa",
                              .work_directory = root,
                              .control_model = control,
                              .control_accuracy = 0.75};
  (void)snprintf(trained.audit.control, sizeof(trained.audit.control), "mdl_c");
  const struct audit_subject subject = {.spec = &trained,
                                        .inputs = &inputs,
                                        .callbacks = &callbacks,
                                        .trained = &trained,
                                        .data = &data,
                                        .split = split,
                                        .threads = 1};
  trainings = 0;
  assert_int_equal(comparisons_new(&subject, attack_find("gradient"), &comparisons, &err), 0);
  assert_int_equal(trainings, 0);
  assert_string_equal(comparisons->undefended, control);
  assert_string_equal(comparisons->differs, "");
  comparisons_free(comparisons);
  trained.model.width = 1;
  assert_int_equal(comparisons_new(&subject, attack_find("gradient"), &comparisons, &err), 0);
  assert_non_null(
      strstr(comparisons->differs,
             "a freq_ir of width 0.25 at 32 pixels, the model a freq_ir of width 1 at 32 pixels:"));
  comparisons_free(comparisons);
  struct audit_record record;
  assert_int_equal(audit_record_init(&record, &err), 0);
  json_t *conditions = NULL;
  assert_int_equal(audit_conditions(&subject, &record, &conditions, &err), 0);
  assert_string_equal(json_string_value(json_object_get(conditions, "control")), "mdl_c");
  assert_true(json_real_value(json_object_get(conditions, "control_accuracy")) == 0.75);
  assert_true(json_is_null(json_object_get(conditions, "evaluator")));
  assert_true(json_is_null(json_object_get(conditions, "teacher_sha256"))); /* nobody learns */
  json_decref(conditions);
  /* whichever attack was judged, also in a run before this one */
  assert_int_equal(
      json_array_append_new(record.attacks, json_pack("{s:s, s:n}", "attack", "linear", "evaluator")), 0);
  assert_int_equal(
      json_array_append_new(record.attacks,
                            json_pack("{s:s, s:{s:s, s:i, s:b, s:f}}", "attack", "mi_face", "evaluator",
                                      "arch", "iresnet18", "images", 12, "unseen", 1, "accuracy", 0.75)),
      0);
  assert_int_equal(audit_conditions(&subject, &record, &conditions, &err), 0);
  assert_true(json_equal(json_object_get(conditions, "evaluator"),
                         json_object_get(json_array_get(record.attacks, 1), "evaluator")));
  json_decref(conditions);
  /* a teacher that cannot be read is not none */
  inputs.teacher_model = "/nowhere/teacher";
  assert_int_equal(audit_conditions(&subject, &record, &conditions, &err), -ENOENT);
  assert_non_null(strstr(err.text, "/nowhere/teacher"));
  audit_record_done(&record);
  job_data_close(&data);
  job_spec_free(&trained);
}

/* The evaluator is of another kind than the model and than any control. */
static void nobody_judges_its_own_kind(void **state) {
  (void)state;
  for (enum arch attacked = 0; attacked < ARCHS; attacked++)
    for (enum arch control = 0; control < ARCHS; control++) {
      const enum arch judge = comparisons_evaluator(attacked, control);
      assert_true(judge < ARCHS && judge != attacked && judge != control);
    }
  assert_int_equal(comparisons_evaluator(ARCH_FREQ_IR, COMPARISON_CONTROL), ARCH_IRESNET18);
  assert_int_equal(comparisons_evaluator(ARCH_IRESNET18, COMPARISON_CONTROL), ARCH_MOBILEFACENET);
}

/* Of an iresnet18 neither it nor the control that the job trains may judge. Without images that were kept
 * out, who judges knows all of them. */
static void a_third_kind_judges(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: two trainings take too long under a sanitizer\n");
  skip();
#endif
  struct job_spec trained;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  struct comparisons *comparisons = NULL;
  struct job_data data;
  char work[64];
  (void)snprintf(work, sizeof(work), "%s/third", root);
  json_t *body =
      json_pack("{s:s, s:s, s:{s:s, s:i}, s:{s:i}, s:{s:i}}", "type", "train", "dataset", "a", "model",
                "arch", "iresnet18", "input", 32, "holdout", "identities", 0, "train", "seed", 3);
  assert_int_equal(job_spec_parse(body, &trained, &problems), 0);
  json_decref(body);
  const struct data_split split = job_spec_split(&trained);
  assert_int_equal(job_data_open(faces, SIZE, &split, &data, &err), 0);
  const struct job_inputs inputs = {.dataset_pack = faces, .work_directory = work};
  const struct audit_subject subject = {.spec = &trained,
                                        .inputs = &inputs,
                                        .callbacks = &callbacks,
                                        .trained = &trained,
                                        .data = &data,
                                        .split = split,
                                        .threads = 1};
  assert_int_equal(directory_make(work, NULL), 0);
  if (comparisons_new(&subject, attack_find("mi_face"), &comparisons, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(info_of(comparisons->undefended).arch, ARCH_FREQ_IR);
  assert_int_equal(info_of(comparisons->evaluator).arch, ARCH_MOBILEFACENET);
  assert_false(comparisons->evaluator_unseen);
  assert_non_null(
      strstr(comparisons->differs,
             "The control is a freq_ir of width 0.5 at 32 pixels that knows 3 people, the model"));
  assert_int_equal(info_of(comparisons->evaluator).training.images, PEOPLE * IMAGES);
  comparisons_free(comparisons);
  job_data_close(&data);
  job_spec_free(&trained);
}

/* ---- a pack that cannot be read: what was learnt from zeros does not outlast the run ---- */

struct fault {
  uint32_t steps, at; /* step at which reading fails; 0 = never */
  const char *when;   /* it fails once this file is there; NULL = never */
  uint32_t kept;      /* checkpoints that the outer job was told of */
};

static void on_kept(void *context) {
  ((struct fault *)context)->kept++;
}

static void on_step(void *context, const struct job_progress *progress) {
  struct fault *fault = context;
  (void)progress;
  fault->steps++; /* the first step of each epoch tells, and there is one */
}

static enum job_stop on_fault(void *context) {
  const struct fault *fault = context;
  return (fault->at && fault->steps >= fault->at) || (fault->when && access(fault->when, F_OK) == 0)
             ? JOB_CANCEL
             : JOB_CONTINUE;
}

static int train_known(const char *work, struct fault *fault, char path[static 4096]) {
  const struct job_callbacks watched = {fault,    quiet_phase, on_step, on_log, quiet_checkpoint,
                                        on_fault, on_kept};
  const struct data_split split = {.images = 0.5, .seed = 3};
  return embedder_known(ARCH_FREQ_IR, faces, &split, PEOPLE * IMAGES / 2, SIZE, 7, 1, NULL, work, &watched,
                        path, NULL);
}

static void what_was_learnt_from_faults_is_not_kept(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: a training takes too long under a sanitizer\n");
  skip();
#endif
  char work[64], path[4096], good[128], bad[128], written[128];
  (void)snprintf(work, sizeof(work), "%s/faulty", root);
  (void)snprintf(good, sizeof(good), "%s/checkpoint-1-1.safetensors", work);
  (void)snprintf(bad, sizeof(bad), "%s/checkpoint-2-2.safetensors", work);
  (void)snprintf(written, sizeof(written), "%s/output/card.md", work);
  struct fault second = {.at = 2}, last = {.when = written}, none = {.at = 0};
  assert_int_equal(train_known(work, &second, path), -ECANCELED);
  assert_int_equal(second.kept, 1);
  assert_int_equal(access(good, F_OK), 0);
  assert_int_equal(access(bad, F_OK), -1);
  assert_int_equal(train_known(work, &last, path), -ECANCELED); /* of what the last step read */
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(unlink(written), 0);
  assert_int_equal(train_known(work, &none, path), 0);
  assert_int_equal(access(path, F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_people_are_learnt_once),
                                     cmocka_unit_test(kept_networks_serve_later_jobs),
                                     cmocka_unit_test(a_given_control_is_taken),
                                     cmocka_unit_test(nobody_judges_its_own_kind),
                                     cmocka_unit_test(a_third_kind_judges),
                                     cmocka_unit_test(what_was_learnt_from_faults_is_not_kept)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
