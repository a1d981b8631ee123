/* What attacks that draw people are compared with and judged by: trained once in the work directory, of the
 * people of the training, the evaluator of images that the model has not seen where there are enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/model/model.h"
#include "core/train/comparisons.h"
#include "unit/train/pack.h"
#include "unit/train/quiet.h"

#define SIZE 40u
#define PEOPLE 5u
#define IMAGES 8u

static char root[] = "/tmp/guise-comparisons-XXXXXX";
static char faces[64];
static uint32_t trainings; /* that were begun */

static void on_log(void *context, const char *level, const char *text) {
  (void)context;
  (void)level;
  trainings += strstr(text, "trained;") != NULL;
}
static const struct job_callbacks callbacks = {NULL,   quiet_phase,      quiet_progress,
                                               on_log, quiet_checkpoint, quiet_stop};

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
  json_t *body = json_loads("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":40},\"holdout\":"
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(known_people_are_learnt_once)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
