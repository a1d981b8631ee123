/* Pairs lists that come while people of their data set are erased: no list keeps the name of one who is gone.
 */
// wraps: pairs_parse pack_open
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/image/pack.h"
#include "core/image/pairs.h"
#include "daemon/log.h"
#include "daemon/service_internal.h"
#include "tests/unit/service/drawn_faces.h"

static const struct client anybody = {.owner = "", .sees = NULL};
static const char list[] = "1\nperson-001 1 2\nperson-001 1 person-002 1\n";

static struct fixture {
  char directory[64];
  struct service *service;
} f;

static void (*before_opening)(void), (*after_parsing)(void); /* once */

static void act(void (**what)(void)) {
  void (*now)(void) = *what;
  *what = NULL;
  if (now)
    now();
}

int __real_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err);
int __wrap_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err);
int __wrap_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err) {
  act(&before_opening);
  return __real_pack_open(path, ret_pack, err);
}

int __real_pairs_parse(const char *text, size_t bytes, const struct pack *pack,
                       struct pair_entry **ret_entries, uint32_t *ret_count, uint32_t *ret_folds,
                       struct guise_error *err);
int __wrap_pairs_parse(const char *text, size_t bytes, const struct pack *pack,
                       struct pair_entry **ret_entries, uint32_t *ret_count, uint32_t *ret_folds,
                       struct guise_error *err);
int __wrap_pairs_parse(const char *text, size_t bytes, const struct pack *pack,
                       struct pair_entry **ret_entries, uint32_t *ret_count, uint32_t *ret_folds,
                       struct guise_error *err) {
  int r = __real_pairs_parse(text, bytes, pack, ret_entries, ret_count, ret_folds, err);
  act(&after_parsing);
  return r;
}

static int set_up(void **state) {
  struct config config;
  (void)state;
  log_set_level(LOG_LEVEL_ERROR);
  before_opening = after_parsing = NULL;
  (void)snprintf(f.directory, sizeof(f.directory), "/tmp/guise-pairs-XXXXXX");
  if (!mkdtemp(f.directory))
    return -1;
  config_defaults(&config);
  (void)snprintf(config.state, sizeof(config.state), "%s/state", f.directory);
  (void)snprintf(config.decoder, sizeof(config.decoder), "%s", GUISE_BUILD "/guise-decode");
  config.cores = config.workers = config.threads = config.decoders = 1;
  if (service_open(&config, &f.service, NULL) < 0 || service_start(f.service, NULL) < 0)
    return -1;
  add_drawn_faces(f.service, &anybody, f.directory);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  f.service = service_free(f.service);
  return directory_remove(f.directory);
}

static void erase(const char *name) {
  struct guise_error err = {0};
  if (service_person_erase(f.service, "faces", name, NULL, NULL, &err) < 0)
    fail_msg("%s", err.text);
}

static void erase_one_who_is_named(void) {
  erase("person-001");
}
static void erase_another(void) {
  erase("person-004");
}

static int put(struct guise_error *err) {
  struct pairs_row row;
  bool created;
  return service_pairs_put(f.service, "faces", "list", list, strlen(list), &row, &created, err);
}

static bool is_stored(void) {
  char sha256[SHA256_HEX], path[PATH_MAX];
  sha256_data(list, strlen(list), sha256);
  service_blob_path(f.service, sha256, path);
  return access(path, F_OK) == 0;
}

/* It was checked before, and would be stored after the erasure that looked for such lists. */
static void whoever_is_erased_meanwhile_is_in_no_list(void **state) {
  (void)state;
  struct guise_error err = {0};
  after_parsing = erase_one_who_is_named;
  assert_int_equal(put(&err), -EINVAL);
  assert_non_null(strstr(err.text, "person-001"));
  assert_false(is_stored());
  assert_int_equal(put(NULL), -EINVAL);
}

static void lists_of_others_are_stored(void **state) {
  (void)state;
  after_parsing = erase_another;
  assert_int_equal(put(NULL), 0);
  assert_true(is_stored());
  erase_one_who_is_named();
  assert_false(is_stored());
}

/* The file that was found is another by now, and is not damaged. */
static void a_pack_that_is_written_anew_meanwhile(void **state) {
  (void)state;
  struct guise_error err = {0};
  before_opening = erase_another;
  if (put(&err) < 0)
    fail_msg("%s", err.text);
  assert_true(is_stored());
}

static void erase_all(void) {
  json_t *receipt = NULL;
  assert_int_equal(service_dataset_delete(f.service, "faces", &receipt, NULL), 0);
  json_decref(receipt);
}

/* Nor is one that is gone with its data set, at whatever point. */
static void a_data_set_that_is_deleted_meanwhile(void **state) {
  (void)state;
  struct guise_error err = {0};
  before_opening = erase_all;
  assert_int_equal(put(&err), -ENOENT);
  assert_non_null(strstr(err.text, "no data set faces"));
  add_drawn_faces(f.service, &anybody, f.directory);
  after_parsing = erase_all;
  assert_int_equal(put(&err), -ENOENT);
  assert_false(is_stored());
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(whoever_is_erased_meanwhile_is_in_no_list), TEST(lists_of_others_are_stored),
      TEST(a_pack_that_is_written_anew_meanwhile), TEST(a_data_set_that_is_deleted_meanwhile)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
