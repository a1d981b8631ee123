/* Audit jobs over real HTTP: a model that was never attacked is, twice and by two jobs at once; interrupted
 * in every way; and what is wrong with an audit is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/support/server.h"
#include "tests/integration/support/shell.h"
#include "tests/schema.h"

static struct server server;
static char model[64], teacher[64]; /* of "faces" and of "open" */

static const char *text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static void get_job(const char *id, struct reply *ret_reply) {
  char path[128];
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s", id);
  expect(&server, "GET", path, NULL, 200, ret_reply);
}

static void get_model(struct reply *ret_reply) {
  char path[128];
  (void)snprintf(path, sizeof(path), "/v1/models/%s", model);
  expect(&server, "GET", path, NULL, 200, ret_reply);
}

/* Of one of a model's files. */
static void hash_of_file(const char *of, const char *name, char ret_sha256[65]) {
  char path[128];
  struct reply reply;
  size_t i;
  json_t *file;
  ret_sha256[0] = 0;
  (void)snprintf(path, sizeof(path), "/v1/models/%s", of);
  expect(&server, "GET", path, NULL, 200, &reply);
  json_array_foreach(json_object_get(reply.json, "files"), i, file) {
    if (strcmp(text_at(file, "name"), name) == 0)
      (void)snprintf(ret_sha256, 65, "%s", text_at(file, "sha256"));
  }
  reply_done(&reply);
  assert_int_equal(strlen(ret_sha256), 64);
}

static void hash_of(const char *name, char ret_sha256[65]) {
  hash_of_file(model, name, ret_sha256);
}

static void get_report(long status, struct reply *ret_reply) {
  char path[128];
  (void)snprintf(path, sizeof(path), "/v1/models/%s/files/report.json", model);
  expect(&server, "GET", path, NULL, status, ret_reply);
}

/* `more`: further fields, from a comma on. */
static void submit_audit(const char *audit, const char *more, char ret_id[64]) {
  char body[512];
  (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",\"model\":\"%s\",\"audit\":%s%s}", model, audit,
                 more);
  (void)snprintf(ret_id, 64, "%s", submit(&server, body));
}

static size_t attacks_in_report(void) {
  struct reply reply;
  get_report(200, &reply);
  const size_t count = json_array_size(json_object_get(reply.json, "attacks"));
  assert_int_equal(json_array_size(json_object_get(reply.json, "audits")) > 0, count > 0);
  reply_done(&reply);
  return count;
}

/* A model that was not attacked. unseen: the share of each person's images that is not trained on. */
static void train(const char *dataset, const char *mask, double unseen, char ret_model[64]) {
  struct reply reply;
  char id[64], body[320];
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"%s\",\"mask\":%s,\"holdout\":{\"images\":%g},"
                 "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},"
                 "\"train\":{\"epochs\":1,\"batch\":8},\"audit\":{\"attacks\":[]}}",
                 dataset, mask, unseen);
  (void)snprintf(id, sizeof(id), "%s", submit(&server, body));
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  get_job(id, &reply);
  (void)snprintf(ret_model, 64, "%s", text_at(reply.json, "model"));
  reply_done(&reply);
}

static int setup(void **state) {
  (void)state;
  assert_int_equal(setenv("GUISE_WORKERS", "2", 1) | setenv("GUISE_THREADS", "1", 1), 0);
  server_prepare(&server);
  server_start(&server);
  shell_start(&server);
  (void)shell(0, "\"$G\" synth \"$D/a.tar\" --identities 12 --images 6 --size 40 && "
                 "\"$G\" dataset add faces \"$D/a.tar\" --size 40");
  (void)shell(0, "\"$G\" synth \"$D/b.tar\" --identities 24 --images 4 --size 40 --seed 2 && "
                 "\"$G\" dataset add open \"$D/b.tar\" --size 40");
  (void)shell(0, "\"$G\" synth \"$D/c.tar\" --identities 6 --images 4 --size 40 --seed 3 && "
                 "\"$G\" dataset add few \"$D/c.tar\" --size 40");
  train("faces", "{\"policy\":\"uniform\"}", 0, model);
  train("open", "{\"method\":\"none\"}", 0.25, teacher);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

static void expect_attacks(const char *fields, const char *names) {
  char body[256];
  struct reply reply;
  (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",%s}", fields);
  expect(&server, "POST", "/v1/jobs?dry_run=true", body, 200, &reply);
  const json_t *audit = json_object_get(json_object_get(reply.json, "spec"), "audit");
  char *found = json_dumps(json_object_get(audit, "attacks"), JSON_COMPACT);
  assert_string_equal(found, names);
  free(found);
  reply_done(&reply);
}

/* Membership is asked about without being named where the model's training kept images of the attacked people
 * out; of others, or without such images, it cannot be. */
static void what_runs_without_being_named(void **state) {
  (void)state;
  char fields[160];
  (void)snprintf(fields, sizeof(fields), "\"model\":\"%s\",\"audit\":{\"effort\":\"quick\"}", teacher);
  expect_attacks(fields, "[\"linear\",\"membership\"]");
  (void)snprintf(fields, sizeof(fields),
                 "\"model\":\"%s\",\"audit\":{\"effort\":\"quick\"},\"dataset\":\"open\"", teacher);
  expect_attacks(fields, "[\"linear\",\"membership\"]");
  (void)snprintf(fields, sizeof(fields),
                 "\"model\":\"%s\",\"audit\":{\"effort\":\"quick\"},\"dataset\":\"faces\"", teacher);
  expect_attacks(fields, "[\"linear\"]");
  (void)snprintf(fields, sizeof(fields), "\"model\":\"%s\"", model);
  expect_attacks(fields, "[\"linear\",\"demix\",\"mi_face\",\"gradient\"]");
}

/* A model that nothing is known of is not handed out; after its audit it is. */
static void an_audit_opens_the_model(void **state) {
  (void)state;
  struct reply reply;
  char id[64], weights[65], onnx[65], now[65];
  hash_of("model.safetensors", weights);
  hash_of("model.onnx", onnx);
  get_report(403, &reply);
  assert_non_null(strstr(reply.body, "audit"));
  reply_done(&reply);
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}", "", id);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  get_job(id, &reply);
  assert_string_equal(text_at(reply.json, "type"), "audit");
  assert_string_equal(text_at(reply.json, "model"), model);
  assert_string_equal(text_at(json_object_get(reply.json, "spec"), "model"), model);
  assert_string_equal(text_at(json_object_get(reply.json, "spec"), "dataset"), "faces");
  assert_null(json_object_get(json_object_get(reply.json, "spec"), "train"));
  reply_done(&reply);
  get_model(&reply);
  assert_true(json_is_true(json_object_get(reply.json, "audited")));
  const json_t *privacy = json_object_get(reply.json, "privacy");
  assert_int_equal(json_array_size(json_object_get(privacy, "history")), 1);
  assert_true(json_array_size(json_object_get(reply.json, "files")) >= 6); /* the weights are still there */
  reply_done(&reply);
  assert_int_equal(attacks_in_report(), 1);
  /* the weights are the same, and what the ONNX file says of the audit is another thing */
  hash_of("model.safetensors", now);
  assert_string_equal(now, weights);
  hash_of("model.onnx", now);
  assert_string_not_equal(now, onnx);
  get_report(200, &reply);
  const json_t *files = json_object_get(json_object_get(reply.json, "model"), "onnx");
  assert_string_equal(text_at(json_array_get(files, 0), "sha256"), now);
  reply_done(&reply);
  (void)snprintf(id, sizeof(id), "%.60s", model);
  assert_int_equal(setenv("M", id, 1), 0);
  (void)shell(0, "\"$G\" get $M model.onnx -o \"$D/audited\" && grep -aq '\"attack\":\"linear\"' "
                 "\"$D/audited/model.onnx\"");
}

/* Both efforts stand in the report; the client shows them. */
static void results_stand_beside_each_other(void **state) {
  (void)state;
  char command[256];
  (void)snprintf(command, sizeof(command), "\"$G\" attack %s --effort thorough --attacks linear --follow",
                 model);
  struct output *output = shell(0, command);
  expect_text(output->out, "was audited");
  (void)snprintf(command, sizeof(command), "\"$G\" report %s", model);
  output = shell(0, command);
  expect_text(output->out, "linear (quick) on");
  expect_text(output->out, "linear (thorough) on");
  assert_int_equal(attacks_in_report(), 2);
  (void)shell(2, "\"$G\" attack");
  (void)snprintf(command, sizeof(command), "\"$G\" attack %s --effort heroic", model);
  expect_text(shell(1, command)->err, "/audit/effort");
}

/* The schema is served, to anybody, and it is that of the report of two audits. */
static void the_report_fits_the_schema(void **state) {
  (void)state;
  struct reply reply, report;
  expect(&server, "GET", "/report.schema.json", NULL, 200, &reply);
  assert_string_equal(header_of(&reply, "Content-Type"), "application/schema+json");
  json_t *schema = json_loads(reply.body, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(schema);
  get_report(200, &report);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, schema, report.json, ""))
    fail_msg("%s", check.problem);
  const json_t *held_out = json_array_get(json_object_get(report.json, "utility"), 0);
  assert_true(json_is_number(json_object_get(held_out, "rank_1")));
  assert_int_equal(strlen(text_at(json_object_get(report.json, "job"), "spec_sha256")), 64);
  json_decref(schema);
  reply_done(&report);
  reply_done(&reply);
}

static void wait_phase(const char *id, const char *phase) {
  for (int i = 0; i < 600; i++) {
    struct reply reply;
    get_job(id, &reply);
    const bool there = strcmp(text_at(reply.json, "phase"), phase) == 0;
    reply_done(&reply);
    if (there)
      return;
    (void)usleep(50000);
  }
  fail_msg("%s never came to the phase %s", id, phase);
}

/* A long audit began with a report that a short one then replaced: neither loses what the other found. */
static void two_audits_at_once(void **state) {
  (void)state;
  char first[64], second[64], audit[256], sha256[65];
  struct reply reply;
  (void)snprintf(audit, sizeof(audit),
                 "{\"effort\":\"thorough\",\"attacks\":[\"linear\",\"linkage\"],\"public_dataset\":\"open\","
                 "\"teacher\":\"%s\"}",
                 teacher);
  submit_audit(audit, "", first);
  wait_phase(first, "auditing");
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}", "", second);
  assert_string_equal(wait_job(&server, second, 0, 240), "succeeded");
  get_job(first, &reply);
  assert_string_equal(text_at(reply.json, "state"), "running"); /* else nothing was tried here */
  reply_done(&reply);
  assert_int_equal(attacks_in_report(), 3);
  assert_string_equal(wait_job(&server, first, 0, 240), "succeeded");
  assert_int_equal(attacks_in_report(), 5);
  get_report(200, &reply);
  const json_t *audits = json_object_get(reply.json, "audits");
  const json_t *last = json_array_get(audits, json_array_size(audits) - 1);
  hash_of_file(teacher, "model.safetensors", sha256);
  assert_string_equal(text_at(last, "job"), first);
  assert_string_equal(text_at(last, "teacher_sha256"), sha256);
  reply_done(&reply);
}

static void control(const char *id, const char *verb) {
  char path[128];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/jobs/%s/%s", id, verb);
  expect(&server, "POST", path, NULL, 200, &reply);
  reply_done(&reply);
}

/* Paused and killed while its teacher learns, it ends all the same; canceled, it leaves the report alone. */
static void interrupted(void **state) {
  (void)state;
  char id[64], path[128];
  struct reply reply;
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"linkage\"],\"public_dataset\":\"open\"}", "",
               id);
  wait_phase(id, "preparing");
  (void)snprintf(path, sizeof(path), "/v1/models/%s", model);
  expect(&server, "DELETE", path, NULL, 409, NULL); /* it is needed */
  control(id, "pause");
  for (int i = 0; i < 600; i++) {
    get_job(id, &reply);
    const bool paused = strcmp(text_at(reply.json, "state"), "paused") == 0;
    reply_done(&reply);
    if (paused)
      break;
    (void)usleep(50000);
  }
  control(id, "resume");
  wait_phase(id, "preparing");
  server_kill(&server);
  server_start(&server);
  control(id, "cancel");
  assert_string_equal(wait_job(&server, id, 0, 240), "canceled");
  assert_int_equal(attacks_in_report(), 5);
  submit_audit("{\"effort\":\"thorough\",\"attacks\":[\"linear\"]}", "", id);
  server_kill(&server);
  server_start(&server);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  assert_int_equal(attacks_in_report(), 6);
}

static void mistakes_are_told(void **state) {
  (void)state;
  const struct {
    const char *fields, *pointer;
  } cases[] = {
      {"\"model\":\"mdl_unknown\"", "/model"},
      {"\"model\":\"%s\",\"dataset\":\"nobody\"", "/dataset"},
      {"\"model\":\"%s\",\"train\":{\"epochs\":2}", "/train"},
      {"\"model\":\"%s\",\"audit\":{\"public_dataset\":\"faces\"}", "/audit/public_dataset"},
      {"\"model\":\"%s\",\"audit\":{\"attacks\":[\"linear\",\"membership\"]}", "/audit/attacks/1"},
      {"\"model\":\"%s\",\"audit\":{\"attacks\":[\"plg_mi\"]}", "/audit/public_dataset"},
      {"\"model\":\"%s\",\"audit\":{\"attacks\":[\"gmi\"],\"public_dataset\":\"few\"}",
       "/audit/public_dataset"},
      {"\"model\":\"%s\",\"audit\":{\"public_dataset\":\"open\",\"teacher\":\"%s\"}", "/audit/teacher"},
      {"\"model\":\"%s\",\"audit\":{\"attacks\":[\"gradient\"],\"control\":\"%s\"}", "/audit/control"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char fields[256], body[320];
    struct reply reply;
    (void)snprintf(fields, sizeof(fields), cases[i].fields, model, model);
    (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",%s}", fields);
    expect(&server, "POST", "/v1/jobs", body, 422, &reply);
    const json_t *errors = json_object_get(reply.json, "errors");
    if (json_array_size(errors) != 1 ||
        strcmp(text_at(json_array_get(errors, 0), "pointer"), cases[i].pointer) != 0)
      fail_msg("%s: %s", fields, reply.body);
    reply_done(&reply);
  }
}

/* The teacher that one audit has trained serves the next, also of a daemon that was started anew; with the
 * faces that it learnt from it is erased. */
static void what_was_trained_is_kept(void **state) {
  (void)state;
  static const char *const said[] = {"teacher: trained;", "teacher: taken over from an earlier job",
                                     "teacher: trained;"};
  shell_start(&server); /* earlier tests have started it anew, at another port */
  (void)shell(0, "\"$G\" synth \"$D/d.tar\" --identities 40 --images 2 --size 40 --seed 4 && "
                 "\"$G\" dataset add public \"$D/d.tar\" --size 40");
  for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
    char id[64], command[128];
    if (i == 2)
      expect(&server, "DELETE", "/v1/datasets/public/identities/person-001", NULL, 200, NULL);
    submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linkage\"],\"public_dataset\":\"public\"}", "", id);
    assert_string_equal(wait_job(&server, id, 0, 300), "succeeded");
    (void)snprintf(command, sizeof(command), "\"$G\" log %s", id);
    struct output *output = shell(0, command);
    expect_text(output->out, said[i]);
    assert_null(strstr(output->out, said[i == 1 ? 0 : 1]));
    server_kill(&server);
    server_start(&server);
    shell_start(&server);
  }
}

/* Whom drawings show is said by a network of another kind, and the report and the model tell which. */
static void who_judges_is_told(void **state) {
  (void)state;
  char id[64];
  struct reply reply;
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"mi_face\"]}", "", id);
  assert_string_equal(wait_job(&server, id, 0, 300), "succeeded");
  get_report(200, &reply);
  const json_t *attacks = json_object_get(reply.json, "attacks");
  const json_t *attack = json_array_get(attacks, json_array_size(attacks) - 1);
  const json_t *evaluator = json_object_get(attack, "evaluator");
  assert_string_equal(text_at(attack, "attack"), "mi_face");
  assert_string_equal(text_at(evaluator, "arch"), "iresnet18"); /* the model and its control are freq_ir */
  assert_true(json_is_false(json_object_get(evaluator, "unseen"))); /* no image was kept out */
  assert_true(json_integer_value(json_object_get(evaluator, "images")) > 0);
  assert_true(json_is_number(json_object_get(evaluator, "accuracy")));
  assert_true(
      json_is_null(json_object_get(json_array_get(attacks, 0), "evaluator"))); /* linear draws nobody */
  json_t *told = json_deep_copy(evaluator);
  reply_done(&reply);
  get_model(&reply);
  const json_t *history = json_object_get(json_object_get(reply.json, "privacy"), "history");
  const json_t *last = json_array_get(history, json_array_size(history) - 1);
  const json_t *again = json_object_get(last, "evaluator");
  assert_string_equal(text_at(again, "arch"), text_at(told, "arch"));
  assert_true(json_equal(json_object_get(again, "images"), json_object_get(told, "images")));
  assert_true(json_is_false(json_object_get(again, "unseen")));
  assert_true(fabs(json_number_value(json_object_get(again, "accuracy")) -
                   json_number_value(json_object_get(told, "accuracy"))) < 1e-6); /* printed shorter */
  assert_true(json_is_null(json_object_get(json_array_get(history, 0), "evaluator")));
  json_decref(told);
  reply_done(&reply);
}

/* What the last audit in the report says of its victims, and the one attack that it left out ("": none). */
static void last_audit_says(const char *provenance, long long people, const char *left_out) {
  struct reply reply;
  get_report(200, &reply);
  const json_t *audits = json_object_get(reply.json, "audits");
  const json_t *last = json_array_get(audits, json_array_size(audits) - 1);
  const json_t *victims = json_object_get(last, "victims"), *list = json_object_get(last, "left_out");
  assert_string_equal(text_at(victims, "provenance"), provenance);
  assert_int_equal(json_integer_value(json_object_get(victims, "identities")), people);
  assert_int_equal(json_array_size(list), *left_out != 0);
  assert_string_equal(text_at(json_array_get(list, 0), "attack"), left_out);
  if (*left_out)
    assert_non_null(strstr(text_at(json_array_get(list, 0), "reason"), "erased since"));
  reply_done(&reply);
}

/* The model's own data set, of which less and less is left. */
static void people_are_erased(void **state) {
  (void)state;
  char id[64], command[256], told[160];
  expect(&server, "DELETE", "/v1/datasets/faces/identities/person-001/images/01.ppm", NULL, 200, NULL);
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}", "", id);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  last_audit_says("held_out", 3, "");
  expect(&server, "DELETE", "/v1/datasets/faces/identities/person-001", NULL, 200, NULL);
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"mi_face\"]}", "", id);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  last_audit_says("changed", 11, "mi_face");
  (void)snprintf(command, sizeof(command), "\"$G\" log %s", id);
  expect_text(shell(0, command)->out, "mi_face is left out");
  (void)snprintf(
      told, sizeof(told),
      "Left out by %s of the people of faces: mi_face, it asks of people whom the model was trained on", id);
  (void)snprintf(command, sizeof(command), "\"$G\" report %s", model);
  expect_text(shell(0, command)->out, told);
  (void)snprintf(
      command, sizeof(command),
      "rm -rf \"$D/got\" && \"$G\" get %s -o \"$D/got\" >/dev/null && tr -d '\\\\' <\"$D/got/card.md\"",
      model);
  expect_text(shell(0, command)->out, told);
}

/* People of another data set, once the model's own is gone. */
static void other_people(void **state) {
  (void)state;
  char id[64], body[128];
  struct reply reply;
  expect(&server, "DELETE", "/v1/datasets/faces", NULL, 200, NULL);
  (void)snprintf(body, sizeof(body), "{\"type\":\"audit\",\"model\":\"%s\"}", model);
  expect(&server, "POST", "/v1/jobs", body, 422, &reply);
  assert_non_null(strstr(reply.body, "/dataset"));
  reply_done(&reply);
  submit_audit("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}", ",\"dataset\":\"open\"", id);
  assert_string_equal(wait_job(&server, id, 0, 240), "succeeded");
  get_report(200, &reply);
  const json_t *audits = json_object_get(reply.json, "audits");
  const json_t *last = json_array_get(audits, json_array_size(audits) - 1);
  assert_string_equal(text_at(json_object_get(last, "victims"), "dataset"), "open");
  assert_string_equal(text_at(json_object_get(last, "victims"), "provenance"), "other");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(last, "victims"), "identities")), 24);
  reply_done(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_runs_without_being_named),
                                     cmocka_unit_test(an_audit_opens_the_model),
                                     cmocka_unit_test(results_stand_beside_each_other),
                                     cmocka_unit_test(the_report_fits_the_schema),
                                     cmocka_unit_test(two_audits_at_once),
                                     cmocka_unit_test(interrupted),
                                     cmocka_unit_test(mistakes_are_told),
                                     cmocka_unit_test(what_was_trained_is_kept),
                                     cmocka_unit_test(who_judges_is_told),
                                     cmocka_unit_test(people_are_erased),
                                     cmocka_unit_test(other_people)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
