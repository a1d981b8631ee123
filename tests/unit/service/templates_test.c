/* Data sets of templates in the service: their people, page by page, and jobs that are submitted while one of
 * them is erased. */
// wraps: templates_count_shown templates_open templates_without
#include "core/base/mapping.h"
#include "core/template/templates.h"
#include "daemon/service_internal.h"
#include "tests/unit/service/service_fixture.h"

#define GRID 4
#define CHANNELS 3
#define PEOPLE 250u

static uint32_t person[PEOPLE + 1];
static float weight[PEOPLE + 1], values[(PEOPLE + 1) * CHANNELS * GRID * GRID];

static atomic_uint counted;     /* times that all labels were read */
static const char *cut;         /* file that is cut before it is */
static void (*meanwhile)(void); /* before a file is opened, once */

void __real_templates_count_shown(const struct templates *templates, uint32_t *ret_shown);
void __wrap_templates_count_shown(const struct templates *templates, uint32_t *ret_shown);
void __wrap_templates_count_shown(const struct templates *templates, uint32_t *ret_shown) {
  (void)atomic_fetch_add(&counted, 1);
  if (cut)
    assert_int_equal(truncate(cut, 0), 0);
  __real_templates_count_shown(templates, ret_shown);
}

int __real_templates_open(const char *path, struct templates **ret_templates, struct guise_error *err);
int __wrap_templates_open(const char *path, struct templates **ret_templates, struct guise_error *err);
int __wrap_templates_open(const char *path, struct templates **ret_templates, struct guise_error *err) {
  void (*act)(void) = meanwhile;
  meanwhile = NULL;
  if (act)
    act();
  return __real_templates_open(path, ret_templates, err);
}

static struct store *crowded; /* no room on the disk while networks are kept here; NULL = there is room */

int __real_templates_without(const char *from, uint32_t number, const char *to,
                             struct templates_rest *ret_rest, struct guise_error *err);
int __wrap_templates_without(const char *from, uint32_t number, const char *to,
                             struct templates_rest *ret_rest, struct guise_error *err);
int __wrap_templates_without(const char *from, uint32_t number, const char *to,
                             struct templates_rest *ret_rest, struct guise_error *err) {
  uint64_t bytes = 0;
  if (crowded)
    assert_int_equal(store_network_bytes(crowded, &bytes), 0);
  return bytes > 0 ? error_set(err, -ENOSPC, "the disk is full")
                   : __real_templates_without(from, number, to, ret_rest, err);
}

/* A template of each person, and one more of the last. */
static void add_templates(struct fixture *f, const char *name) {
  struct mask_constants constants = {
      .channels = CHANNELS, .channel = {3, 4, 70}, .deviation = {1, 2, 3}, .clip = 8, .pixel_scale = 1};
  json_t *metadata = json_pack("{s:s, s:s, s:s, s:s}", "input", "32", "mask", "none", "mask.clip", "8",
                               "mask.pixel_scale", "1");
  char path[128];
  _cleanup_(freep) char *text = NULL;
  size_t bytes = 0;
  struct dataset_row row;
  struct upload *upload;
  bool created;
  for (uint32_t i = 0; i <= PEOPLE; i++) {
    person[i] = MIN(i, PEOPLE - 1);
    weight[i] = 1;
  }
  const struct templates_content content = {.metadata = metadata,
                                            .constants = &constants,
                                            .count = PEOPLE + 1,
                                            .people = PEOPLE,
                                            .grid = GRID,
                                            .labels = 1,
                                            .person = person,
                                            .weight = weight,
                                            .values = values};
  (void)snprintf(path, sizeof(path), "%s/%s.templates", f->directory, name);
  assert_int_equal(templates_write(path, &content, NULL), 0);
  json_decref(metadata);
  assert_int_equal(file_read(path, 1 << 20, &text, &bytes, NULL), 0);
  assert_int_equal(service_upload_begin(f->service, &anybody, name, 0, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, text, bytes, NULL), 0);
  assert_int_equal(
      service_dataset_accept(f->service, &anybody, name, upload, DATASET_TEMPLATES, 0, &row, &created, NULL),
      0);
  service_upload_free(upload);
  wait_dataset(f->service, name, DATASET_READY);
}

static struct fixture *fixture;

static int begin(void **state) {
  if (set_up(state) < 0)
    return -1;
  fixture = *state;
  fixture->config.upload_max_bytes = 1 << 20;
  restart(fixture);
  atomic_store(&counted, 0);
  cut = NULL;
  meanwhile = NULL;
  crowded = NULL;
  add_templates(fixture, "owned");
  return 0;
}

/* Those of one page. */
static uint32_t list(int64_t cursor, struct person_row **ret_rows, int64_t *ret_next) {
  const struct store_page page = {.cursor = cursor, .limit = 100};
  struct guise_error err = {0};
  uint32_t count = 0;
  if (service_people_list(fixture->service, "owned", &page, ret_rows, &count, ret_next, &err) < 0)
    fail_msg("%s", err.text);
  return count;
}

static void erase(const char *name) {
  assert_int_equal(service_person_erase(fixture->service, "owned", name, NULL, NULL, NULL), 0);
}

static void expect_people(uint32_t people, const char *erased) {
  struct person_row *rows = NULL;
  int64_t cursor = 0;
  uint32_t found = 0;
  do {
    const uint32_t count = list(cursor, &rows, &cursor);
    for (uint32_t i = 0; i < count; i++) {
      assert_string_not_equal(rows[i].name, erased);
      assert_int_equal(rows[i].images, strcmp(rows[i].name, "249") == 0 ? 2 : 1);
    }
    found += count;
    free(rows);
  } while (cursor);
  assert_int_equal(found, people);
}

/* However many pages there are, and anew once somebody was erased. */
static void labels_are_read_once_for_all_pages(void **state) {
  (void)state;
  expect_people(PEOPLE, "");
  expect_people(PEOPLE, "");
  assert_int_equal(atomic_load(&counted), 1);
  erase("7");
  expect_people(PEOPLE - 1, "7");
  assert_int_equal(atomic_load(&counted), 2);
}

static void a_file_that_is_gone_is_told(void **state) {
  (void)state;
  const struct store_page page = {.limit = 100};
  struct person_row *rows = NULL;
  struct dataset_row row;
  struct guise_error err = {0};
  char path[PATH_MAX];
  uint32_t count = 0;
  int64_t next = 0;
  expect_people(PEOPLE, "");
  assert_int_equal(service_dataset_get(fixture->service, "owned", &row), 0);
  service_blob_path(fixture->service, row.sha256, path);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(service_people_list(fixture->service, "owned", &page, &rows, &count, &next, &err), -EIO);
  assert_non_null(strstr(err.text, "missing"));
}

/* Zeros in the place of labels are nobody's templates. */
static void a_file_that_cannot_be_read_is_told(void **state) {
  (void)state;
  const struct store_page page = {.limit = 100};
  struct person_row *rows = NULL;
  struct dataset_row row;
  struct guise_error err = {0};
  char path[PATH_MAX];
  uint32_t count = 0;
  int64_t next = 0;
  assert_int_equal(mapping_guard(), 0);
  assert_int_equal(service_dataset_get(fixture->service, "owned", &row), 0);
  service_blob_path(fixture->service, row.sha256, path);
  cut = path;
  assert_int_equal(service_people_list(fixture->service, "owned", &page, &rows, &count, &next, &err), -EIO);
}

/* The file is written anew, which takes room: networks that were kept are not worth a person's asking
 * twice. */
static void networks_make_room_for_an_erasure(void **state) {
  (void)state;
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  struct network_row network = {.bytes = 5, .used_at = 1};
  struct dataset_row other;
  ready_dataset(fixture->service, "other");
  assert_int_equal(service_dataset_get(fixture->service, "other", &other), 0);
  network.dataset = other.id;
  sha256_data("a key", 5, network.key);
  sha256_data("drawn", 5, network.sha256);
  crowded = service_store(fixture->service);
  assert_int_equal(store_network_put(crowded, &network, 1000, &blobs, &count), 0);
  erase("7");
  assert_int_equal(store_network_get(crowded, network.key, network.sha256), -ENOENT);
  assert_int_equal(service_storage(fixture->service), 0);
}

static void erase_the_first(void) {
  erase("0");
}

/* The job gets what is left of the file. */
static void a_job_that_is_submitted_during_an_erasure(void **state) {
  (void)state;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  struct job_row job;
  bool replayed;
  json_t *body = json_pack("{s:s, s:s}", "type", "train", "dataset", "owned");
  meanwhile = erase_the_first;
  int r = service_job_submit(fixture->service, &anybody, body, false, NULL, &problems, &job, &replayed, &err);
  if (r < 0)
    fail_msg("%d: %s: %s", r, err.text, problems.count ? problems.problem[0].detail : "");
  json_decref(body);
  assert_non_null(strstr(job.spec, "\"method\":\"none\""));
  job_row_clear(&job);
}

/* One that is really missing is told, and not looked for forever. */
static void a_job_on_a_file_that_is_gone(void **state) {
  (void)state;
  struct spec_problems problems = {0};
  struct dataset_row row;
  struct job_row job;
  bool replayed;
  char path[PATH_MAX];
  json_t *body = json_pack("{s:s, s:s}", "type", "train", "dataset", "owned");
  assert_int_equal(service_dataset_get(fixture->service, "owned", &row), 0);
  service_blob_path(fixture->service, row.sha256, path);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(
      service_job_submit(fixture->service, &anybody, body, false, NULL, &problems, &job, &replayed, NULL),
      -EIO);
  json_decref(body);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(labels_are_read_once_for_all_pages), TEST(a_file_that_is_gone_is_told),
      TEST(a_file_that_cannot_be_read_is_told), TEST(a_job_that_is_submitted_during_an_erasure),
      TEST(a_job_on_a_file_that_is_gone),       TEST(networks_make_room_for_an_erasure)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
