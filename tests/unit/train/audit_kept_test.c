/* Audits of what was kept since the training: the key of a keyed model, and a data set of which somebody has
 * been erased. */
#include "unit/train/audits.h"

#include <stdlib.h>

#include "core/image/pack.h"
#include "core/mask/key.h"
#include "tests/schema.h"

#define LATER "3333333333333333333333333333333333333333333333333333333333333333" /* hash of what is left */

#define SMALL(mask, holdout, attacks)                                                              \
  "{\"type\":\"train\",\"dataset\":\"a\",\"holdout\":" holdout ",\"mask\":" mask                   \
  ",\"model\":{\"input\":32,\"width\":0.5,\"embedding\":32},\"train\":{\"epochs\":1,\"batch\":8}," \
  "\"audit\":{\"effort\":\"quick\",\"attacks\":" attacks "}}"

static void train(const char *body, const char *job) {
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  if (run(body, &(struct given){job, faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  attack_model_of(job);
}

static void fits_the_schema(const json_t *json) {
  json_t *schema = json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", 0, NULL);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, schema, json, ""))
    fail_msg("%s", check.problem);
  json_decref(schema);
}

/* ---- keyed models ---- */

static char *text_of(const char *job, const char *name, size_t *ret_bytes) {
  char path[128], *text = NULL;
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, job, name);
  assert_int_equal(file_read(path, 64u << 20, &text, ret_bytes, NULL), 0);
  return text;
}

static void hides_the_key(const char *job) {
  static const char *const names[] = {"report.json", "report.html", "report-private.html",
                                      "card.md",     "model.onnx",  "model-template.onnx"};
  json_t *json = json_load_file(key_file, 0, NULL);
  const char *secret = json_text_at(json, "key");
  char path[128];
  assert_int_equal(strlen(secret), 2 * MASK_KEY_BYTES);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    size_t bytes = 0;
    _cleanup_(freep) char *text = text_of(job, names[i], &bytes);
    assert_null(memmem(text, bytes, secret, strlen(secret)));
  }
  json_decref(json);
  (void)snprintf(path, sizeof(path), "%s/out-%s/key.json", root, job);
  assert_int_equal(access(path, F_OK), -1); /* the model has it already */
}

static void lists_its_onnx(const json_t *json, const char *job) {
  const json_t *files = json_object_get(json_object_get(json, "model"), "onnx");
  assert_int_equal(json_array_size(files), JOB_ONNX_FILES);
  for (size_t i = 0; i < JOB_ONNX_FILES; i++) {
    char path[128], now[SHA256_HEX], before[SHA256_HEX];
    (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, job, job_onnx_names[i]);
    assert_int_equal(sha256_file(path, now, NULL), 0);
    assert_int_equal(sha256_file(onnx[i], before, NULL), 0);
    assert_string_not_equal(now, before); /* it tells of the audit */
    assert_string_equal(json_text_at(json_array_get(files, i), "sha256"), now);
    assert_string_equal(json_text_at(json_array_get(files, i), "start"), "template");
  }
}

/* With the key every figure of the training's own audit is found again. */
static void a_keyed_model_is_found_alike(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  train(SMALL("{\"method\":\"ahm\",\"policy\":\"uniform\",\"key\":true}", "{\"images\":0.2}",
              "[\"linear\",\"membership\"]"),
        "job_keyed");
  assert_true(*key_file);
  if (run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"membership\"]}"),
          &(struct given){"job_keyed_again", faces, HASH, NULL, &record}, NULL, &err) < 0)
    fail_msg("%s", err.text);
  json_t *json = report_of("job_keyed_again"), *found = json_object_get(json, "attacks");
  const json_t *mask = json_object_get(json, "mask");
  assert_int_equal(strlen(json_text_at(mask, "key")), MASK_KEY_ID - 1);
  fits_the_schema(json);
  assert_int_equal(json_array_size(found), 4);
  for (size_t i = 0; i < 2; i++)
    same_attack(json_array_get(found, i), json_array_get(found, i + 2));
  lists_its_onnx(json, "job_keyed_again");
  hides_the_key("job_keyed_again");
  json_decref(json);
}

static void lacks_the_key(const char *why) {
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  assert_int_equal(run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}"),
                       &(struct given){"job_keyless", faces, HASH, NULL, &record}, NULL, &err),
                   -ENOKEY);
  if (!strstr(err.text, why) || !strstr(err.text, "backup"))
    fail_msg("%s", err.text);
}

/* Behind the test above. */
static void a_key_that_is_not_there(void **state) {
  (void)state;
  struct mask_key other;
  attack_model_of("job_keyed");
  key_file[0] = 0;
  lacks_the_key("is keyed");
  (void)snprintf(key_file, sizeof(key_file), "%s/nowhere", root);
  lacks_the_key("missing");
  (void)snprintf(key_file, sizeof(key_file), "%s/damaged.json", root);
  assert_int_equal(file_write_atomic(key_file, "{}", 2, NULL), 0);
  lacks_the_key("damaged");
  (void)snprintf(key_file, sizeof(key_file), "%s/other-key.json", root);
  assert_int_equal(mask_key_generate(&other, NULL), 0);
  assert_int_equal(mask_key_write(key_file, &other, NULL), 0);
  lacks_the_key("needs the key");
}

/* ---- what was erased ---- */

/* One image of a person, or the person, erased from `faces`. */
static const char *without(uint32_t person, bool whole) {
  static char path[128];
  struct pack *pack = NULL;
  struct ingest_result result;
  uint32_t first, count;
  (void)snprintf(path, sizeof(path), "%s/without", root);
  assert_int_equal(pack_open(faces, &pack, NULL), 0);
  pack_identity_range(pack, person, &first, &count);
  assert_int_equal(pack_without(faces, pack_identity_name(pack, person),
                                whole ? NULL : pack_image_name(pack, first), path, &result, NULL),
                   0);
  pack_free(pack);
  return path;
}

struct expected {
  const char *provenance;
  uint32_t people, left_out; /* attacks */
  const char *reason;        /* of these */
};

static bool is_measured(const json_t *json, const char *attack) {
  const json_t *gaps = json_object_get(json, "not_measured");
  bool measured = true;
  for (size_t i = 0; i < json_array_size(gaps); i++)
    measured &= strcmp(json_text_at(json_array_get(gaps, i), "attack"), attack) != 0;
  return measured;
}

/* In report.json and on the page. */
static void is_told(const char *job, const struct expected *expected) {
  json_t *json = report_of(job), *audits = json_object_get(json, "audits");
  const json_t *audit = json_array_get(audits, json_array_size(audits) - 1);
  const json_t *victims = json_object_get(audit, "victims"), *list = json_object_get(audit, "left_out");
  size_t bytes = 0;
  _cleanup_(freep) char *html = text_of(job, "report.html", &bytes);
  fits_the_schema(json);
  assert_string_equal(json_text_at(victims, "provenance"), expected->provenance);
  assert_int_equal(json_is_true(json_object_get(victims, "held_out")),
                   strcmp(expected->provenance, "held_out") == 0);
  assert_int_equal(json_integer_value(json_object_get(victims, "identities")), expected->people);
  assert_int_equal(json_array_size(list), expected->left_out);
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *entry = json_array_get(list, i);
    assert_non_null(strstr(json_text_at(entry, "reason"), expected->reason));
    assert_non_null(strstr(html, json_text_at(entry, "reason")));
  }
  json_decref(json);
}

static void audit_is_told(const char *body, const struct given *given, const struct expected *expected) {
  struct guise_error err = {0};
  given->record->left_out = 0;
  if (run(body, given, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(given->record->left_out, expected->left_out);
  is_told(given->job, expected);
}

#define DRAWING AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"mi_face\"]}")
#define ASKING AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\",\"membership\"]}")
#define PLAIN AUDIT("{\"effort\":\"quick\",\"attacks\":[\"linear\"]}")

/* Without everybody who was there nobody knows who was held out; the whole of the people is split as it was.
 */
static void an_erased_person_is_missed(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  struct guise_error err = {0};
  train(SMALL("{\"method\":\"none\"}", "{}", "[]"), "job_whole");
  own_data = true;
  audit_is_told(DRAWING, &(struct given){"job_less", without(4, true), LATER, NULL, &record},
                &(struct expected){"changed", 9, 1, "erased since"});
  json_t *json = report_of("job_less");
  assert_int_equal(json_array_size(json_object_get(json, "attacks")), 1);
  assert_false(is_measured(json, "mi_face"));
  json_decref(json);
  assert_int_equal(run(AUDIT("{\"effort\":\"quick\",\"attacks\":[\"mi_face\"]}"),
                       &(struct given){"job_none", without(4, true), LATER, NULL, &record}, NULL, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "erased since"));
  audit_is_told(PLAIN, &(struct given){"job_image", without(4, false), LATER, NULL, &record},
                &(struct expected){"held_out", 3, 0, NULL});
  own_data = false;
  audit_is_told(DRAWING, &(struct given){"job_stranger", without(4, true), LATER, NULL, &record},
                &(struct expected){"other", 9, 1, "another data set"});
}

/* The same people are drawn as of the whole data set. */
static void an_erased_image_is_not_missed(void **state) {
  (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  print_message("SKIPPED: two trainings take too long under a sanitizer\n");
  skip();
#endif
  struct record record = {.checkpoints = 0};
  attack_model_of("job_whole");
  own_data = true;
  audit_is_told(DRAWING, &(struct given){"job_drawn", without(4, false), LATER, NULL, &record},
                &(struct expected){"held_out", 3, 0, NULL});
  json_t *json = report_of("job_drawn"), *list = json_object_get(json, "attacks");
  assert_int_equal(json_array_size(list), 2);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "people")), 7);
  assert_true(is_measured(json, "mi_face"));
  json_decref(json);
}

/* Which images were kept out is drawn by how many a person has. */
static void images_that_were_kept_out(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  attack_model_of("job_train");
  own_data = true;
  audit_is_told(ASKING, &(struct given){"job_unseen", without(4, false), LATER, NULL, &record},
                &(struct expected){"changed", 10, 1, "erased since"});
}

/* Whoever is left was trained on. */
static void nobody_was_held_out(void **state) {
  (void)state;
  struct record record = {.checkpoints = 0};
  train(SMALL("{\"method\":\"none\"}", "{\"identities\":0}", "[]"), "job_all");
  own_data = true;
  audit_is_told(PLAIN, &(struct given){"job_rest", without(4, true), LATER, NULL, &record},
                &(struct expected){"trained", 9, 0, NULL});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_keyed_model_is_found_alike), cmocka_unit_test(a_key_that_is_not_there),
      cmocka_unit_test(an_erased_person_is_missed),   cmocka_unit_test(an_erased_image_is_not_missed),
      cmocka_unit_test(images_that_were_kept_out),    cmocka_unit_test(nobody_was_held_out),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
