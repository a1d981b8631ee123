#include "tests/integration/support/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <time.h>

#include "core/base/file.h"

static void write_pem(const char *path, const gnutls_datum_t *text) {
  assert_int_equal(file_write_atomic(path, text->data, text->size, NULL), 0);
}

void make_certificate(const char *certificate, const char *key, unsigned char serial) {
  gnutls_x509_privkey_t private_key;
  gnutls_x509_crt_t crt;
  gnutls_datum_t text;
  struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
  const time_t now = time(NULL);
  assert_int_equal(gnutls_x509_privkey_init(&private_key), 0);
  assert_int_equal(gnutls_x509_crt_init(&crt), 0);
  assert_int_equal(gnutls_x509_privkey_generate(private_key, GNUTLS_PK_ECDSA,
                                                GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                   0);
  assert_int_equal(gnutls_x509_crt_set_key(crt, private_key), 0);
  assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
  assert_int_equal(gnutls_x509_crt_set_serial(crt, &serial, 1), 0);
  assert_int_equal(gnutls_x509_crt_set_activation_time(crt, now - 60), 0);
  assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, now + 3600), 0);
  assert_int_equal(gnutls_x509_crt_set_dn(crt, "CN=guise test", NULL), 0);
  assert_int_equal(gnutls_x509_crt_set_basic_constraints(crt, 1, -1), 0);
  assert_int_equal(
      gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET), 0);
  assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &loopback,
                                                        sizeof(loopback), GNUTLS_FSAN_APPEND),
                   0);
  assert_int_equal(gnutls_x509_crt_sign2(crt, crt, private_key, GNUTLS_DIG_SHA256, 0), 0);
  assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text), 0);
  write_pem(certificate, &text);
  gnutls_free(text.data);
  assert_int_equal(gnutls_x509_privkey_export2(private_key, GNUTLS_X509_FMT_PEM, &text), 0);
  write_pem(key, &text);
  gnutls_free(text.data);
  gnutls_x509_crt_deinit(crt);
  gnutls_x509_privkey_deinit(private_key);
}
