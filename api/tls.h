/* TLS of the HTTP server: certificate and key as GnuTLS wants them, exchanged while connections are open.
 *
 * GnuTLS asks for the certificate at each handshake and tells nothing about the server (libmicrohttpd passes
 * no context), so there is one struct tls at a time in a process. A handshake may still use a pair that was
 * replaced: it stays in memory for two days, longer than any may last. */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#include "core/base/base.h"

/* TLS 1.2 and 1.3 with ciphers of 128 bits at least. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct tls;

/* PEM files: the certificate with its chain behind it, and its key without a password. 0; -EINVAL, -ENOENT
 * ... with err: unreadable, or the two do not belong together; -EBUSY: there is one already. */
int tls_open(const char *certificate, const char *key, struct tls **ret_tls, struct guise_error *err);
/* Reads the files again, for handshakes to come. What was there stays in use when it fails. Thread-safe. */
int tls_reload(struct tls *tls, struct guise_error *err);
unsigned tls_pairs(const struct tls *tls); /* in memory */
struct tls *tls_close(struct tls *tls);    /* after the server's end; NULL is fine */

/* gnutls_certificate_retrieve_function3 */
int tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                 gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_ocsp_data_st **ret_ocsp,
                 unsigned *ret_ocsp_count, gnutls_privkey_t *ret_key, unsigned *flags);

/* Asks the server at the other end of a blocking socket, whose certificate does not matter; what it answers
 * first, without a NUL. The socket's timeouts count. Number of bytes, or -EIO. */
ssize_t tls_ask(int fd, const char *question, size_t size, char *ret_answer, size_t room);
