/* Reports that show public faces lose them when something is erased from the data set that they are of. */
#include <stdarg.h>

#include "core/model/files.h"
#include "daemon/service_internal.h"
#include "tests/unit/model/report_sample.h"
#include "tests/unit/service/service_fixture.h"

static char image[16384]; /* of the public picture, as its report has it */

/* A report whose first surface shows a drawn and a public face. */
static json_t *showing_report(void) {
  json_t *list = sample_attacks("resists", "resists");
  json_t *surface = json_array_get(json_object_get(json_array_get(list, 0), "surfaces"), 0);
  json_t *picture = sample_picture("public"), *report;
  (void)snprintf(image, sizeof(image), "%s", json_string_value(json_object_get(picture, "image")));
  assert_int_equal(json_array_append_new(json_object_get(surface, "pictures"), picture), 0);
  report = sample_report(list, false);
  json_decref(list);
  return report;
}

static void file_of(struct fixture *f, const char *model, const char *name, struct model_file_row *row,
                    char ret_path[PATH_MAX]) {
  assert_int_equal(store_model_file(service_store(f->service), model, name, row), 0);
  service_blob_path(f->service, row->sha256, ret_path);
}

static char *text_of(struct fixture *f, const char *model, const char *name) {
  struct model_file_row row;
  char path[PATH_MAX], *text = NULL;
  size_t size = 0;
  struct guise_error err = {0};
  file_of(f, model, name, &row, path);
  if (file_read(path, 16 << 20, &text, &size, &err) < 0)
    fail_msg("%s", err.text);
  return text;
}

/* Puts the report in the place of the job's, as an audit does. */
static void install(struct fixture *f, const char *model_id) {
  struct store *store = service_store(f->service);
  struct model_row model, changed;
  struct model_file_row rows[2] = {{.name = REPORT_FILE}, {.name = REPORT_PAGE_FILE}}, old;
  char path[PATH_MAX], *texts[2], (*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  json_t *report = showing_report();
  texts[0] = report_text(report);
  assert_int_equal(report_html(report, NULL, &texts[1], NULL), 0);
  json_decref(report);
  assert_non_null(strstr(texts[1], image));
  file_of(f, model_id, REPORT_FILE, &old, path);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(state_path(path, f->service, "uploads/new"), 0);
    assert_int_equal(file_write_atomic(path, texts[i], strlen(texts[i]), NULL), 0);
    sha256_data(texts[i], strlen(texts[i]), rows[i].sha256);
    rows[i].size = strlen(texts[i]);
    (void)pthread_mutex_lock(&f->service->blob_lock);
    assert_int_equal(blob_publish(f->service, path, rows[i].sha256, NULL), 0);
    (void)pthread_mutex_unlock(&f->service->blob_lock);
    free(texts[i]);
  }
  assert_int_equal(store_model_get(store, model_id, &model), 0);
  changed = model;
  changed.files = rows;
  changed.file_count = 2;
  assert_int_equal(store_model_audited(store, &changed, NULL, old.sha256, &blobs, &count, NULL), 0);
  model_row_clear(&model);
  free(blobs);
}

/* A model that was attacked with the public data set "others". */
static void attacked_model(struct fixture *f, char ret_model[STORE_ID]) {
  char id[STORE_ID];
  struct job_row row;
  ready_dataset(f->service, "orl");
  ready_dataset(f->service, "others");
  submit_job(f->service, ",\"audit\":{\"public_dataset\":\"others\"}", id);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_job_get(f->service, id, &row), 0);
  (void)snprintf(ret_model, STORE_ID, "%s", row.model_id);
  job_row_clear(&row);
  install(f, ret_model);
}

static void they_go(void **state) {
  struct fixture *f = *state;
  char model[STORE_ID], before[PATH_MAX], page_before[PATH_MAX];
  struct model_file_row old, page;
  struct guise_error err = {0};
  json_t *receipt = NULL, *file;
  uint32_t erased = 0;
  size_t i;
  attacked_model(f, model);
  file_of(f, model, REPORT_FILE, &old, before);
  file_of(f, model, REPORT_PAGE_FILE, &page, page_before);
  if (service_dataset_delete(f->service, "others", &receipt, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(json_integer_value(json_object_get(receipt, "public_reports")), 1);
  json_array_foreach(json_object_get(receipt, "files"), i, file) {
    const char *sha256 = json_string_value(json_object_get(file, "sha256"));
    erased += json_is_true(json_object_get(file, "erased")) &&
              (strcmp(sha256, old.sha256) == 0 || strcmp(sha256, page.sha256) == 0);
  }
  assert_int_equal(erased, 2);
  json_decref(receipt);
  assert_true(access(before, F_OK) < 0 && access(page_before, F_OK) < 0);
  _cleanup_(freep) char *text = text_of(f, model, REPORT_FILE), *html = text_of(f, model, REPORT_PAGE_FILE);
  assert_null(strstr(text, image));
  assert_null(strstr(html, image));
  assert_null(strstr(text, "\"public\""));
  assert_non_null(strstr(text, "\"synthetic\"")); /* nobody's face stays */
  json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  check_schema(report);
  json_decref(report);
  assert_int_equal(entries(f, "uploads"), 0);
}

/* Erasing from another data set touches none of them. */
static void others_stay(void **state) {
  struct fixture *f = *state;
  char model[STORE_ID];
  json_t *receipt = NULL;
  attacked_model(f, model);
  ready_dataset(f->service, "third");
  assert_int_equal(service_dataset_delete(f->service, "third", &receipt, NULL), 0);
  assert_int_equal(json_integer_value(json_object_get(receipt, "public_reports")), 0);
  json_decref(receipt);
  _cleanup_(freep) char *html = text_of(f, model, REPORT_PAGE_FILE);
  assert_non_null(strstr(html, image));
}

/* What cannot be read cannot be cleaned: nothing is erased, and the answer says what to do. */
static void a_damaged_report_is_told(void **state) {
  struct fixture *f = *state;
  char model[STORE_ID], path[PATH_MAX];
  struct model_file_row row;
  struct dataset_row dataset;
  struct guise_error err = {0};
  attacked_model(f, model);
  file_of(f, model, REPORT_FILE, &row, path);
  assert_int_equal(file_write_atomic(path, "{", 1, NULL), 0);
  assert_int_equal(service_dataset_delete(f->service, "others", NULL, &err), -EIO);
  assert_non_null(strstr(err.text, model));
  assert_non_null(strstr(err.text, "delete the model first"));
  assert_int_equal(service_dataset_get(f->service, "others", &dataset), 0);
  assert_int_equal(service_model_delete(f->service, model, NULL, NULL), 0);
  assert_int_equal(service_dataset_delete(f->service, "others", NULL, &err), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(they_go, set_up, tear_down),
      cmocka_unit_test_setup_teardown(others_stay, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_damaged_report_is_told, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
