/* Audits of a model that was trained before: the same figures as the training's own audit, results beside the
 * earlier ones, going on after an interruption, other people, clear errors. */
#include "unit/train/audits.h"

#include <onnx.pb-c.h>

/* The model's own data set with the same effort: the people held out, mixed as the training mixed them, so
 * that every figure is found again. */
static void an_audit_repeats_that_of_the_training(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  json_t *summary;
  if (run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"membership\"]}"),
          &(struct given){"job_again", faces, HASH, NULL, &record}, &summary, &err) < 0)
    fail_msg("%s", err.text);
  json_t *json = report_of("job_again"), *found = json_object_get(json, "attacks");
  json_t *audits = json_object_get(json, "audits"), *victims;
  assert_int_equal(json_array_size(found), 4);
  assert_string_equal(json_text_at(json_array_get(found, 0), "job"), "job_train");
  assert_string_equal(json_text_at(json_array_get(found, 2), "job"), "job_again");
  for (size_t i = 0; i < 2; i++)
    same_attack(json_array_get(found, i), json_array_get(found, i + 2));
  assert_int_equal(json_array_size(audits), 2);
  victims = json_object_get(json_array_get(audits, 1), "victims");
  assert_true(json_is_true(json_object_get(victims, "held_out")));
  assert_int_equal(json_integer_value(json_object_get(victims, "identities")), 3);
  assert_int_equal(record.checkpoints, 2);
  assert_true(record.fraction > 0.9);
  const json_t *unseen = json_object_get(json_object_get(json, "data"), "unseen");
  assert_int_equal(json_integer_value(json_object_get(unseen, "images")), 7); /* one of each trained person */
  const json_t *utility = json_array_get(json_object_get(json, "utility"), 0);
  assert_true(json_number_at(utility, "rank_1") >= 0 && json_number_at(utility, "rank_1") <= 1);
  assert_int_equal(strlen(json_text_at(json_object_get(json, "job"), "spec_sha256")), 64);
  json_t *earlier = report_of("job_train"); /* what else the report says is not touched */
  assert_true(json_equal(json_object_get(json, "utility"), json_object_get(earlier, "utility")));
  assert_true(json_equal(json_object_get(json, "job"), json_object_get(earlier, "job")));
  json_decref(earlier);
  json_decref(json);
  json_decref(summary);
}

/* What the last attack in the report says of a surface. */
static bool is_doubted(const json_t *json, const char *which) {
  const json_t *list = json_object_get(json, "attacks"), *surface;
  const json_t *last = json_array_get(list, json_array_size(list) - 1);
  bool doubted = false;
  size_t i, found = 0;
  json_array_foreach(json_object_get(last, "surfaces"), i, surface) {
    if (strcmp(json_text_at(surface, "surface"), which) != 0)
      continue;
    const char *reason = json_text_at(surface, "reason"), *doubt = strstr(reason, "those of the last epoch");
    doubted =
        doubt && doubt > reason && strcmp(strstr(doubt, "leak less"), "leak less than its warm-up's.") == 0;
    found++;
  }
  assert_int_equal(found, 1);
  return doubted;
}

/* Reports of earlier versions tell the mixes of the last epoch alone, and an audit by them says so. */
static void an_earlier_report_leaves_a_doubt(void **state) {
  (void)state;
  static const char body[] = AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}");
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  char kept[sizeof(report)];
  json_t *json = report_of("job_train");
  assert_int_equal(json_object_del(json_object_get(json_object_get(json, "mask"), "mixing"), "stored"), 0);
  memcpy(kept, report, sizeof(kept));
  (void)snprintf(report, sizeof(report), "%s/earlier.json", root);
  assert_int_equal(json_dump_file(json, report, 0), 0);
  json_decref(json);
  const int r = run(body, &(struct given){"job_earlier", faces, HASH, NULL, &record}, NULL, &err);
  memcpy(report, kept, sizeof(kept));
  if (r < 0)
    fail_msg("%s", err.text);
  json = report_of("job_earlier");
  assert_true(is_doubted(json, "T"));
  assert_false(is_doubted(json, "I"));
  json_decref(json);
  if (run(body, &(struct given){"job_present", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  json = report_of("job_present");
  assert_false(is_doubted(json, "T"));
  json_decref(json);
}

/* ---- ONNX files ---- */

static Onnx__ModelProto *onnx_of(const char *path) {
  _cleanup_(freep) char *bytes = NULL;
  size_t size = 0;
  assert_int_equal(file_read(path, 64u << 20, &bytes, &size, NULL), 0);
  Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, size, (const uint8_t *)bytes);
  assert_non_null(proto);
  return proto;
}

static void same_but_for_the_audit(const Onnx__ModelProto *a, const Onnx__ModelProto *b, const char *audit) {
  const size_t bytes = onnx__graph_proto__get_packed_size(a->graph);
  _cleanup_(freep) uint8_t *graph_a = malloc(bytes), *graph_b = malloc(bytes);
  assert_true(graph_a && graph_b);
  assert_int_equal(onnx__graph_proto__get_packed_size(b->graph), bytes);
  (void)onnx__graph_proto__pack(a->graph, graph_a);
  (void)onnx__graph_proto__pack(b->graph, graph_b);
  assert_memory_equal(graph_a, graph_b, bytes);
  assert_int_equal(a->n_metadata_props, b->n_metadata_props);
  uint32_t audits = 0;
  for (size_t i = 0; i < a->n_metadata_props; i++) {
    assert_string_equal(a->metadata_props[i]->key, b->metadata_props[i]->key);
    if (strcmp(a->metadata_props[i]->key, "audit") != 0) {
      assert_string_equal(a->metadata_props[i]->value, b->metadata_props[i]->value);
      continue;
    }
    json_t *before = json_loads(a->metadata_props[i]->value, 0, NULL),
           *after = json_loads(b->metadata_props[i]->value, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(before, "history")), 1);
    assert_int_equal(json_array_size(json_object_get(after, "history")), 2);
    assert_string_equal(b->metadata_props[i]->value, audit);
    json_decref(before);
    json_decref(after);
    audits++;
  }
  assert_int_equal(audits, 1);
}

/* What they say of the audit is what the report says by now; the report lists them as they are. */
static void onnx_files_tell_of_the_audit(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  json_t *summary;
  if (run(AUDIT("{\"effort\":\"thorough\",\"attacks\":[\"linear\"]}"),
          &(struct given){"job_onnx", faces, HASH, NULL, &record}, &summary, &err) < 0)
    fail_msg("%s", err.text);
  _cleanup_(freep) char *audit = json_dumps(json_object_get(summary, "audit"), JSON_COMPACT | JSON_SORT_KEYS);
  json_t *json = report_of("job_onnx"), *files = json_object_get(json_object_get(json, "model"), "onnx");
  assert_int_equal(json_array_size(files), JOB_ONNX_FILES);
  for (size_t i = 0; i < JOB_ONNX_FILES; i++) {
    const json_t *file = json_array_get(files, i);
    char path[128], sha256[SHA256_HEX];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof(path), "%s/out-job_onnx/%s", root, job_onnx_names[i]);
    Onnx__ModelProto *before = onnx_of(onnx[i]), *after = onnx_of(path);
    same_but_for_the_audit(before, after, audit);
    onnx__model_proto__free_unpacked(before, NULL);
    onnx__model_proto__free_unpacked(after, NULL);
    assert_int_equal(sha256_file(path, sha256, &bytes), 0);
    assert_string_equal(json_text_at(file, "name"), job_onnx_names[i]);
    assert_string_equal(json_text_at(file, "start"), i == 0 ? "image" : "template");
    assert_string_equal(json_text_at(file, "sha256"), sha256);
    assert_int_equal(json_integer_value(json_object_get(file, "bytes")), bytes);
  }
  json_decref(json);
  json_decref(summary);
}

/* A model without them stays one; a damaged one stays as it is and costs no attack; one that another audit
 * has just replaced is asked for again. */
static void onnx_files_that_are_not_there(void **state) {
  (void)state;
  static const char body[] = AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}");
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  char kept[2][128], path[128];
  memcpy(kept, onnx, sizeof(kept));
  memcpy(onnx[0], report, sizeof(onnx[0]));
  if (run(body, &(struct given){"job_damaged", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  (void)snprintf(path, sizeof(path), "%s/out-job_damaged/model.onnx", root);
  assert_int_equal(access(path, F_OK), -1);
  (void)snprintf(path, sizeof(path), "%s/out-job_damaged/model-template.onnx", root);
  assert_int_equal(access(path, F_OK), 0);
  (void)snprintf(onnx[0], sizeof(onnx[0]), "%s/large.onnx", root); /* than any may be; a hole */
  const int fd = open(onnx[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_int_equal(ftruncate(fd, 3LL << 30), 0);
  (void)close(fd);
  if (run(body, &(struct given){"job_large", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  (void)snprintf(path, sizeof(path), "%s/out-job_large/model.onnx", root);
  assert_int_equal(access(path, F_OK), -1);
  (void)snprintf(onnx[0], sizeof(onnx[0]), "%s/nowhere", root);
  assert_int_equal(run(body, &(struct given){"job_replaced", faces, HASH, NULL, &record}, NULL, &err),
                   -ESTALE);
  assert_non_null(strstr(err.text, "model.onnx"));
  memcpy(onnx, kept, sizeof(kept));
}

/* What a checkpoint says of a job whose spec lacked a field that there is by now. */
static void forget_control(const char *checkpoint) {
  json_t *json = json_load_file(checkpoint, 0, NULL);
  json_t *audit = json_object_get(json_object_get(json, "spec"), "audit");
  assert_int_equal(json_object_del(audit, "control"), 0);
  assert_int_equal(json_dump_file(json, checkpoint, JSON_COMPACT), 0);
  json_decref(json);
}

/* Suspended after the first attack, it goes on with the second and ends as if nothing had happened. */
static void finished_attacks_are_kept(void **state) {
  (void)state;
  static const char body[] = AUDIT("{\"effort\":\"quick\",\"public_dataset\":\"b\",\"teacher\":\"mdl_t\","
                                   "\"attacks\":[\"linear\",\"linkage\"]}");
  struct record whole = {.checkpoints = 0}, first = {.checkpoints = 0}, second = {.checkpoints = 0};
  struct guise_error err = {0};
  char resume[4096];
  if (run(body, &(struct given){"job_whole", faces, HASH, NULL, &whole}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(whole.checkpoints, 2);
  while (first.checkpoints == 0) { /* a little later each time, until one attack is through */
    first.stop_after += 12;
    first.asked = 0;
    assert_int_equal(run(body, &(struct given){"job_parts", faces, HASH, NULL, &first}, NULL, &err), -EINTR);
  }
  assert_int_equal(first.checkpoints, 1);
  (void)snprintf(resume, sizeof(resume), "%s", first.checkpoint);
  forget_control(resume);
  if (run(body, &(struct given){"job_parts", faces, HASH, resume, &second}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(second.checkpoints, 1); /* only the attack that was missing */
  json_t *a = report_of("job_whole"), *b = report_of("job_parts");
  for (size_t i = 0; i < 4; i++)
    same_attack(json_array_get(json_object_get(a, "attacks"), i),
                json_array_get(json_object_get(b, "attacks"), i));
  assert_int_equal(json_array_size(json_object_get(b, "attacks")), 4);
  json_decref(a);
  json_decref(b);
  /* a checkpoint of another audit is not taken for this one's */
  assert_int_equal(run(AUDIT("{\"effort\":\"standard\"}"),
                       &(struct given){"job_other", faces, HASH, resume, &second}, NULL, &err),
                   -EBADMSG);
}

/* Suspended in the middle of one, it goes on behind the faces that were done, and tells of each. */
static void an_attack_goes_on(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: gradient and its ledger are tested under a sanitizer by themselves\n");
  skip();
#endif
  static const char body[] = AUDIT("{\"effort\":\"quick\",\"attacks\":[\"gradient\"],\"control\":\"mdl_c\"}");
  struct record first = {.checkpoints = 0}, second = {.checkpoints = 0};
  struct guise_error err = {0};
  char units[128];
  (void)snprintf(units, sizeof(units), "%s/work-job_long/units/gradient-control-1", root);
  first.stop_when = units; /* four faces are done by then */
  assert_int_equal(run(body, &(struct given){"job_long", faces, HASH, NULL, &first}, NULL, &err), -EINTR);
  assert_int_equal(first.checkpoints, 0);
  assert_int_equal(first.kept, 4);
  if (run(body, &(struct given){"job_long", faces, HASH, NULL, &second}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(second.kept, 8);
  assert_int_equal(second.checkpoints, 1);
}

/* A training that is stopped among its attacks goes on with the next one, unless the weights are others. */
static void a_training_keeps_finished_attacks(void **state) {
  (void)state;
  struct record first = {.checkpoints = 0}, second = {.checkpoints = 0}, third = {.checkpoints = 0};
  struct guise_error err = {0};
  char finished[128], resume[4096];
  (void)snprintf(finished, sizeof(finished), "%s/work-job_torn/audit/finished.json", root);
  first.stop_when = finished;
  assert_int_equal(run(TRAIN, &(struct given){"job_torn", faces, HASH, NULL, &first}, NULL, &err), -EINTR);
  (void)snprintf(resume, sizeof(resume), "%s", first.checkpoint);
  json_t *kept = json_load_file(finished, 0, NULL);
  json_t *attack = json_array_get(json_object_get(kept, "attacks"), 0);
  assert_int_equal(json_array_size(json_object_get(kept, "attacks")), 1);
  assert_string_equal(json_text_at(attack, "attack"), "linear");
  /* A mark that a second run of the attack would not leave. */
  assert_int_equal(json_object_set_new(attack, "seconds", json_real(1234.5)), 0);
  assert_int_equal(json_dump_file(kept, finished, 0), 0);
  if (run(TRAIN, &(struct given){"job_torn", faces, HASH, resume, &second}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(second.continued, 1);
  assert_int_equal(first.checkpoints, 2); /* the epoch's, and one behind the attack */
  json_t *whole = report_of("job_train"), *parts = report_of("job_torn");
  json_t *a = json_object_get(whole, "attacks"), *b = json_object_get(parts, "attacks");
  assert_int_equal(json_array_size(b), 2);
  assert_true(json_number_at(json_array_get(b, 0), "seconds") == 1234.5);
  for (size_t i = 0; i < 2; i++)
    same_attack(json_array_get(a, i), json_array_get(b, i));
  json_decref(parts);
  assert_int_equal(json_object_set_new(kept, "model", json_string(HASH)), 0);
  assert_int_equal(json_dump_file(kept, finished, 0), 0);
  if (run(TRAIN, &(struct given){"job_torn", faces, HASH, resume, &third}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(third.begun_anew, 1);
  assert_int_equal(third.continued, 0);
  parts = report_of("job_torn");
  b = json_object_get(parts, "attacks");
  assert_int_equal(json_array_size(b), 2);
  assert_true(json_number_at(json_array_get(b, 0), "seconds") != 1234.5);
  for (size_t i = 0; i < 2; i++)
    same_attack(json_array_get(a, i), json_array_get(b, i));
  json_decref(whole);
  json_decref(parts);
  json_decref(kept);
}

/* What is named to compare with is shown beside membership: here the attacked model itself. */
static void a_named_control_is_shown(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  if (run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"membership\"],\"control\":\"mdl_c\"}"),
          &(struct given){"job_beside", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  json_t *json = report_of("job_beside"), *list = json_object_get(json, "attacks");
  const json_t *attack = json_array_get(list, json_array_size(list) - 1);
  const json_t *metrics = json_object_get(json_array_get(json_object_get(attack, "surfaces"), 0), "metrics");
  const json_t *own = json_array_get(metrics, 0),
               *beside = json_array_get(metrics, json_array_size(metrics) - 1);
  assert_string_equal(json_text_at(own, "name"), "auroc_loss");
  assert_string_equal(json_text_at(beside, "name"), "auroc_loss_undefended");
  assert_true(json_equal(json_object_get(own, "value"), json_object_get(beside, "value")));
  json_decref(json);
}

/* Of another data set all people are attacked. */
static void other_people(void **state) {
  (void)state;
  static const char sha256[] = "2222222222222222222222222222222222222222222222222222222222222222";
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  if (run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}"),
          &(struct given){"job_others", others, sha256, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  json_t *json = report_of("job_others");
  const json_t *victims = json_object_get(json_array_get(json_object_get(json, "audits"), 1), "victims");
  assert_false(json_is_true(json_object_get(victims, "held_out")));
  assert_int_equal(json_integer_value(json_object_get(victims, "identities")), 24);
  assert_int_equal(
      json_integer_value(json_object_get(json_array_get(json_object_get(json, "attacks"), 2), "people")), 24);
  json_decref(json);
  /* of other people nothing was trained on, so that no member can be found */
  assert_int_equal(run(AUDIT("{\"attacks\":[\"membership\"]}"),
                       &(struct given){"job_nobody", others, sha256, NULL, &record}, NULL, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "own data set"));
  /* nor can anybody be drawn */
  assert_int_equal(run(AUDIT("{\"attacks\":[\"mi_face\"]}"),
                       &(struct given){"job_strangers", others, sha256, NULL, &record}, NULL, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "own data set"));
}

/* Two images a person leave nobody with enough for membership: told before the training, not after it. */
static void lacks_are_told_first(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  assert_int_equal(run(TRAIN, &(struct given){"job_few", others, HASH, NULL, &record}, NULL, &err), -EINVAL);
  assert_non_null(strstr(err.text, "membership"));
  assert_int_equal(record.checkpoints, 0);
}

static void stopped_and_spoilt(void **state) {
  (void)state;
  struct record record = {.stop_after = 1};
  struct guise_error err = {0};
  char kept[sizeof(report)];
  assert_int_equal(run(AUDIT("{\"effort\":\"quick\"}"),
                       &(struct given){"job_stopped", faces, HASH, NULL, &record}, NULL, &err),
                   -EINTR);
  assert_int_equal(record.checkpoints, 0);
  memcpy(kept, report, sizeof(kept));
  record.stop_after = 0;
  (void)snprintf(report, sizeof(report), "%s/nowhere", root); /* another audit has just replaced it */
  assert_int_equal(run(AUDIT("{}"), &(struct given){"job_gone", faces, HASH, NULL, &record}, NULL, &err),
                   -ESTALE);
  (void)snprintf(report, sizeof(report), "%s/out-job_train/card.md", root);
  assert_int_equal(run(AUDIT("{}"), &(struct given){"job_card", faces, HASH, NULL, &record}, NULL, &err),
                   -EBADMSG);
  assert_non_null(strstr(err.text, "report.json"));
  memcpy(report, kept, sizeof(kept));
  /* other faces under the hash of the training's: their split is not that of the training */
  assert_int_equal(run(AUDIT("{}"), &(struct given){"job_split", others, HASH, NULL, &record}, NULL, &err),
                   -EBADMSG);
  assert_non_null(strstr(err.text, "held out"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(an_audit_repeats_that_of_the_training),
                                     cmocka_unit_test(an_earlier_report_leaves_a_doubt),
                                     cmocka_unit_test(onnx_files_tell_of_the_audit),
                                     cmocka_unit_test(onnx_files_that_are_not_there),
                                     cmocka_unit_test(finished_attacks_are_kept),
                                     cmocka_unit_test(an_attack_goes_on),
                                     cmocka_unit_test(a_training_keeps_finished_attacks),
                                     cmocka_unit_test(a_named_control_is_shown),
                                     cmocka_unit_test(other_people),
                                     cmocka_unit_test(lacks_are_told_first),
                                     cmocka_unit_test(stopped_and_spoilt)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
