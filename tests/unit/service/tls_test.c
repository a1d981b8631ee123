// wraps: clock_gettime
/* Certificates that are read again: one that has not changed takes no memory, one that was replaced takes it
 * for as long as a handshake may use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "api/tls.h"
#include "tests/integration/support/certificate.c" /* NOLINT(bugprone-suspicious-include) */

static atomic_llong later_s; /* than it is */

int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time) {
  int r = __real_clock_gettime(clock, ret_time);
  ret_time->tv_sec += (time_t)atomic_load(&later_s);
  return r;
}

static void pairs_do_not_pile_up(void **state) {
  (void)state;
  char directory[] = "/tmp/guise-tls-XXXXXX", certificate[64], key[64];
  struct guise_error err = {0, ""};
  struct tls *tls = NULL;
  assert_non_null(mkdtemp(directory));
  (void)snprintf(certificate, sizeof(certificate), "%s/certificate.pem", directory);
  (void)snprintf(key, sizeof(key), "%s/key.pem", directory);
  make_certificate(certificate, key, 1);
  assert_int_equal(tls_open(certificate, key, &tls, &err), 0);
  for (int i = 0; i < 10; i++)
    assert_int_equal(tls_reload(tls, &err), 0);
  assert_int_equal(tls_pairs(tls), 1);
  for (unsigned char serial = 2; serial < 5; serial++) {
    make_certificate(certificate, key, serial);
    assert_int_equal(tls_reload(tls, &err), 0);
  }
  assert_int_equal(tls_pairs(tls), 4); /* handshakes may use them still */
  atomic_fetch_add(&later_s, 24 * 3600);
  make_certificate(certificate, key, 5);
  assert_int_equal(tls_reload(tls, &err), 0);
  assert_int_equal(tls_pairs(tls), 5);
  atomic_fetch_add(&later_s, 24 * 3600 + 60);
  make_certificate(certificate, key, 6);
  assert_int_equal(tls_reload(tls, &err), 0);
  assert_int_equal(tls_pairs(tls), 3); /* 6 in use, 5 replaced now, 4 a day ago; 1 to 3 before that */
  tls_close(tls);
  (void)unlink(certificate);
  (void)unlink(key);
  (void)rmdir(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(pairs_do_not_pile_up)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
