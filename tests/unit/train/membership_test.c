/* A12 on models that guise trained: one that knows its photographs by heart is found out, one that never saw
 * them is not, and a whole job finds what it needs by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/attack/membership_figures.h"
#include "core/base/file.h"
#include "core/model/text.h"
#include "core/train/embedder.h"
#include "unit/train/pack.h"
#include "unit/train/quiet.h"

#define SIZE 40u

static char root[] = "/tmp/guise-membership-XXXXXX";
static char faces[64], others[64], work[64];
static char control[PATH_MAX], stranger[PATH_MAX], reference[PATH_MAX];
static const struct data_split split = {.identities = 0, .images = 0.34, .seed = 3};
static struct job_data data;
static struct mask *mask;

static const struct job_callbacks callbacks = {
    NULL, quiet_phase, quiet_progress, quiet_log, quiet_checkpoint, quiet_stop, NULL};

/* A training of one's own; its model's path. */
static void train(const char *body, const char *pack, const char *name, char ret_path[PATH_MAX]) {
  char directory[96], output[128];
  struct job_spec spec;
  struct spec_problems problems = {0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  json_t *json = json_loads(body, 0, NULL);
  assert_int_equal(job_spec_parse(json, &spec, &problems), 0);
  json_decref(json);
  (void)snprintf(directory, sizeof(directory), "%s/%s", root, name);
  (void)snprintf(output, sizeof(output), "%s/output", directory);
  assert_int_equal(directory_make(output, NULL), 0);
  const struct job_inputs inputs = {.job_id = "job_member",
                                    .dataset_pack = pack,
                                    .dataset_name = "faces",
                                    .dataset_sha256 = "0",
                                    .work_directory = directory,
                                    .output_directory = output,
                                    .threads = 1};
  if (job_run(&spec, &inputs, &callbacks, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  job_spec_free(&spec);
  (void)snprintf(ret_path, PATH_MAX, "%s/model.safetensors", output);
}

#define STRANGER                                                                                         \
  "{\"type\":\"train\",\"dataset\":\"b\",\"holdout\":{\"identities\":0},\"mask\":{\"method\":\"none\"}," \
  "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]},"                  \
  "\"train\":{\"epochs\":3,\"batch\":10,\"seed\":%d}}"

static int setup(void **state) {
  (void)state;
  struct guise_error err = {0};
  char body[512];
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  (void)snprintf(others, sizeof(others), "%s/others", root);
  (void)snprintf(work, sizeof(work), "%s/control", root);
  draw_pack(faces, 1, 10, 6, SIZE);
  draw_pack(others, 2, 10, 4, SIZE);
  assert_int_equal(job_data_open(faces, SIZE, &split, &data, &err), 0);
  if (embedder_overfit(faces, &split, data.train.count, SIZE, 1, NULL, work, &callbacks, control, &err) < 0)
    fail_msg("%s", err.text);
  (void)snprintf(body, sizeof(body), STRANGER, 1);
  train(body, others, "stranger", stranger);
  (void)snprintf(body, sizeof(body), STRANGER, 2);
  train(body, others, "reference", reference);
  const struct mask_options options = mask_options_default(MASK_NONE, SIZE);
  struct face_view view = {&data, data.train.image};
  assert_int_equal(mask_new(&options, &mask, &err), 0);
  assert_int_equal(mask_fit(mask, face_view_image, &view, data.train.count, &err), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  mask_free(mask);
  job_data_close(&data);
  return directory_remove(root);
}

static const char *undefended; /* of the next attacks; NULL = none */

static void attack_faces(const struct job_data *faces_of, const char *model, uint32_t references,
                         struct attack_result *ret_result) {
  struct face_view members = {faces_of, faces_of->train.image}, unseen = {faces_of, faces_of->unseen.image};
  const char *const paths[] = {reference};
  struct guise_error err = {0};
  const struct attack_context context = {
      .victims = {face_view_image, &members, faces_of->train.identity, faces_of->train.count, NULL},
      .members = {face_view_image, &members, faces_of->train.identity, faces_of->train.count, NULL},
      .unseen = {face_view_image, &unseen, faces_of->unseen.identity, faces_of->unseen.count, NULL},
      .model = model,
      .overfitted = control,
      .undefended = undefended,
      .references = paths,
      .reference_count = references,
      .mask = mask,
      .effort = EFFORT_QUICK,
      .seed = 1,
      .threads = 1};
  if (attack_run(attack_find("membership"), &context, ret_result, &err) < 0)
    fail_msg("%s", err.text);
}

static void attack(const char *model, uint32_t references, struct attack_result *ret_result) {
  attack_faces(&data, model, references, ret_result);
}

static const struct attack_metric *metric_of(const struct attack_result *result, const char *name) {
  for (uint32_t i = 0; i < result->surface[0].metrics; i++)
    if (strcmp(result->surface[0].metric[i].name, name) == 0)
      return &result->surface[0].metric[i];
  return NULL;
}

/* Another network than the control, of the same members and with another head start. */
static void a_memorising_model_leaks(void **state) {
  (void)state;
  char model[PATH_MAX];
  struct attack_result result;
  train("{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":{\"identities\":0,\"images\":0.34},"
        "\"mask\":{\"method\":\"none\"},\"audit\":{\"attacks\":[]},"
        "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":64,\"dropout\":0},"
        "\"train\":{\"epochs\":40,\"batch\":10,\"seed\":3,\"flip\":false,\"weight_decay\":0,\"lr\":0.05,"
        "\"margin\":0.3,\"shift\":0}}",
        faces, "memory", model);
  attack(model, 1, &result);
  const struct attack_metric *loss = metric_of(&result, "auroc_loss"),
                             *rmia = metric_of(&result, "auroc_rmia");
  print_message("memorising: loss %.3f [%.3f, %.3f] control %.3f; rmia %.3f control %.3f\n", loss->value.mean,
                loss->value.low, loss->value.high, loss->control.mean, rmia->value.mean, rmia->control.mean);
  assert_int_equal(result.surface[0].verdict, VERDICT_LEAKS);
  assert_int_equal(result.surface[0].surface, SURFACE_WEIGHTS);
  assert_int_equal(result.people, 10);
  assert_int_equal(result.faces, 10 * 2 * 2);
  assert_true(loss->value.mean > 0.75 && loss->value.low > 0.6);
  assert_true(loss->worst_tenth >= loss->value.mean);
  assert_true(isnan(metric_of(&result, "tpr_at_fpr_1e-2_loss")->value.mean)); /* 20 others are too few */
  attack_result_done(&result);
}

static void a_model_that_never_saw_them_does_not(void **state) {
  (void)state;
  struct attack_result result;
  attack(stranger, 1, &result);
  const struct attack_metric *loss = metric_of(&result, "auroc_loss"),
                             *rmia = metric_of(&result, "auroc_rmia");
  print_message("stranger: loss %.3f [%.3f, %.3f]; rmia %.3f [%.3f, %.3f]\n", loss->value.mean,
                loss->value.low, loss->value.high, rmia->value.mean, rmia->value.low, rmia->value.high);
  assert_int_not_equal(result.surface[0].verdict, VERDICT_LEAKS);
  assert_true(loss->value.low < 0.55 && rmia->value.low < 0.55);
  assert_true(fabs(loss->chance - 0.5) < 0.05);
  attack_result_done(&result);
  /* without references there is the loss alone */
  attack(stranger, 0, &result);
  assert_null(metric_of(&result, "auroc_rmia"));
  assert_string_equal(result.surface[0].decided_by, "auroc_loss");
  attack_result_done(&result);
}

/* An undefended model stands beside, and changes nothing. */
static void an_undefended_model_is_shown(void **state) {
  (void)state;
  struct attack_result alone, beside;
  attack(stranger, 1, &alone);
  undefended = control; /* whose figures are known: they are the control's */
  attack(stranger, 1, &beside);
  undefended = NULL;
  static const char *const names[][2] = {{"auroc_loss", "auroc_loss_undefended"},
                                         {"auroc_rmia", "auroc_rmia_undefended"}};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    const struct attack_metric *own = metric_of(&beside, names[i][0]),
                               *other = metric_of(&beside, names[i][1]);
    assert_null(metric_of(&alone, names[i][1]));
    assert_non_null(other);
    assert_true(other->value.mean == own->control.mean && other->value.low == own->control.low);
    assert_true(other->value.mean > own->value.mean);
    assert_true(own->value.mean == metric_of(&alone, names[i][0])->value.mean);
  }
  assert_int_equal(beside.surface[0].verdict, alone.surface[0].verdict);
  assert_string_equal(beside.surface[0].reason, alone.surface[0].reason);
  assert_int_equal(beside.surface[0].metrics, alone.surface[0].metrics + 2);
  attack_result_done(&alone);
  attack_result_done(&beside);
}

/* A control that cannot tell members says that nothing was learnt. */
static void a_weak_control_is_inconclusive(void **state) {
  (void)state;
  struct attack_result result;
  char kept[PATH_MAX];
  memcpy(kept, control, sizeof(kept));
  memcpy(control, stranger, sizeof(kept));
  attack(kept, 0, &result);
  memcpy(control, kept, sizeof(kept));
  assert_int_equal(result.surface[0].verdict, VERDICT_INCONCLUSIVE);
  attack_result_done(&result);
}

/* Nobody has an image that was not trained on: no figures, and no claim. */
static void without_others_nothing_is_said(void **state) {
  (void)state;
  struct face_view members = {&data, data.train.image};
  struct guise_error err = {0};
  struct attack_result result;
  const struct attack_faces faces_of = {face_view_image, &members, data.train.identity, data.train.count,
                                        NULL};
  const struct attack_context context = {.victims = faces_of,
                                         .members = faces_of,
                                         .model = stranger,
                                         .overfitted = control,
                                         .mask = mask,
                                         .effort = EFFORT_QUICK,
                                         .threads = 1};
  assert_int_equal(attack_run(attack_find("membership"), &context, &result, &err), 0);
  assert_int_equal(result.surface[0].verdict, VERDICT_INCONCLUSIVE);
  json_t *json = attack_result_json(&result);
  assert_non_null(json);
  json_decref(json);
  attack_result_done(&result);
}

/* Where people are few and their photographs many, as many are asked about as leave a prototype half of those
 * that were trained on, or sixteen; eight in any case. */
static void as_many_as_leave_a_prototype(void **state) {
  (void)state;
  static const struct data_split half = {.identities = 0, .images = 0.5, .seed = 3};
  static const struct {
    uint32_t members, asked; /* of a person */
  } cases[] = {{6, 5}, {9, 8}, {15, 8}, {24, 12}, {40, 24}};
  for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
    char path[64];
    struct job_data many;
    struct attack_result result;
    (void)snprintf(path, sizeof(path), "%s/many-%zu", root, c);
    draw_pack(path, 5, 4, 2 * cases[c].members, SIZE);
    assert_int_equal(job_data_open(path, SIZE, &half, &many, NULL), 0);
    assert_int_equal(many.train.count, 4 * cases[c].members);
    attack_faces(&many, stranger, 0, &result);
    assert_int_equal(result.people, 4);
    assert_int_equal(result.faces, 4 * 2 * cases[c].asked);
    attack_result_done(&result);
    job_data_close(&many);
  }
}

/* The smallest share of false ones that so many others support has a figure: ten of them are told apart from
 * none. Scores by hand: every fourth member above all others, the rest below. */
static void the_fewest_false_ones_that_can_be_told(void **state) {
  (void)state;
  static const struct {
    uint32_t others;
    double rate; /* 0: none of its own */
  } cases[] = {{90, 0}, {100, .1}, {499, .05}, {500, .02}, {1000, 0}, {2000, .005}, {5000, .002}, {10000, 0}};
  for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
    const uint32_t unseen = cases[c].others, count = 2 * unseen;
    struct membership_targets targets = {.count = count, .people = 10};
    double *scores = calloc(count, sizeof(*scores));
    targets.person = calloc(count, sizeof(*targets.person));
    targets.member = calloc(count, 1);
    for (uint32_t i = 0; i < count; i++) {
      targets.person[i] = (uint32_t)((uint64_t)i * 10 / count);
      targets.member[i] = i % 2;
      scores[i] = i % 2 == 0 ? 0 : i % 8 == 1 ? 1 : -1;
    }
    const double rate = membership_least_rate(&targets);
    assert_true(cases[c].rate > 0 ? rate == cases[c].rate : isnan(rate));
    if (unseen <= 2000) {
      struct membership_figures figures;
      assert_int_equal(membership_measure(&targets, scores, 1, &figures, NULL), 0);
      const struct interval *found = &figures.value[TPR_LEAST];
      assert_true(cases[c].rate > 0 ? fabs(found->mean - 0.25) < 0.02 && found->low > 0.2 && found->high < 0.3
                                    : isnan(found->mean));
      assert_true(isnan(figures.value[TPR_3].mean)); /* .1 % is more than so few can tell */
    }
    free(targets.person);
    free(targets.member);
    free(scores);
  }
}

/* Ten people, all told rightly or all wrongly: redrawing them shows nothing else, the exact bounds of ten
 * people are .6915 and .3085. */
static void ten_people_who_are_all_alike(void **state) {
  (void)state;
  enum { COUNT = 2000 };
  static uint32_t person[COUNT];
  static uint8_t member[COUNT];
  static double scores[COUNT];
  const struct membership_targets targets = {
      .count = COUNT, .people = 10, .person = person, .member = member};
  for (int right = 0; right < 2; right++) {
    struct membership_figures figures;
    for (uint32_t i = 0; i < COUNT; i++) {
      person[i] = i * 10 / COUNT;
      member[i] = i % 2;
      scores[i] = member[i] == right;
    }
    assert_int_equal(membership_measure(&targets, scores, 1, &figures, NULL), 0);
    const enum figure all[] = {AUROC, TPR_2};
    for (size_t f = 0; f < ARRAY_SIZE(all); f++) {
      const struct interval *value = &figures.value[all[f]];
      assert_true(value->mean == right);
      assert_true(fabs(value->low - (right ? .6915 : 0)) < 5e-5);
      assert_true(fabs(value->high - (right ? 1 : .3085)) < 5e-5);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_many_as_leave_a_prototype),
                                     cmocka_unit_test(the_fewest_false_ones_that_can_be_told),
                                     cmocka_unit_test(ten_people_who_are_all_alike),
                                     cmocka_unit_test(a_memorising_model_leaks),
                                     cmocka_unit_test(a_model_that_never_saw_them_does_not),
                                     cmocka_unit_test(an_undefended_model_is_shown),
                                     cmocka_unit_test(a_weak_control_is_inconclusive),
                                     cmocka_unit_test(without_others_nothing_is_said)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
