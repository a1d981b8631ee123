/* Images are made smaller on the threads that the job has, and a job that is to stop does not make all of
 * them first. */
// wraps: image_resize
#include <omp.h>
#include <stdatomic.h>

#include "core/image/pack.h"
#include "unit/train/jobs.h"

static atomic_uint resized, teams; /* calls; those by a team of several threads */

void __real_image_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb,
                         uint32_t size);
void __wrap_image_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb,
                         uint32_t size);
void __wrap_image_resize(const uint8_t *rgb, uint32_t width, uint32_t height, uint8_t *ret_rgb,
                         uint32_t size) {
  (void)atomic_fetch_add(&resized, 1);
  (void)atomic_fetch_add(&teams, omp_get_num_threads() > 1);
  __real_image_resize(rgb, width, height, ret_rgb, size);
}

static uint32_t resized_before(enum job_stop stop, uint64_t question, int expected) {
  struct record record = {.stop_after = question, .stop = stop};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  atomic_store(&resized, 0);
  atomic_store(&teams, 0);
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"},\"holdout\":{"
                       "\"identities\":0.2},\"model\":{\"input\":32," NARROW
                       ",\"train\":{\"epochs\":1,\"batch\":8}}",
                       "resized", NULL, &record, &outcome, &err),
                   expected);
  json_decref(outcome.summary);
  return atomic_load(&resized);
}

static void on_its_own_threads(void **state) {
  (void)state;
  omp_set_dynamic(0);
  omp_set_num_threads(3); /* whatever the caller's thread has */
  assert_int_equal(resized_before(JOB_CONTINUE, 0, 0), 60);
  assert_int_equal(atomic_load(&teams), 0); /* the job has one */
}

/* Asked before those that are trained on, then before those held out. */
static void it_asks_whether_to_stop(void **state) {
  (void)state;
  assert_int_equal(resized_before(JOB_CANCEL, 1, -ECANCELED), 0);
  assert_int_equal(resized_before(JOB_SUSPEND, 2, -EINTR), 48);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(on_its_own_threads),
                                     cmocka_unit_test(it_asks_whether_to_stop)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
