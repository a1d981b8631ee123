#include "api/tls.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "core/base/file.h"

#define PEM_BYTES (1u << 20)
#define CHAIN_MAX 16u
/* A replaced pair is kept so long: no handshake lasts longer, as request_timeout_s is a day at most. */
#define RETIRED_NS (INT64_C(2) * 24 * 3600 * 1000000000)

struct pair {
  struct pair *next;
  gnutls_pcert_st chain[CHAIN_MAX];
  unsigned count;
  gnutls_privkey_t key;
  unsigned char digest[crypto_generichash_BYTES]; /* of the two files */
  int64_t retired_ns;                             /* when another took its place; 0 = it is in use */
};

struct tls {
  char *certificate, *key; /* paths */
  struct pair *pairs;      /* the newest first: that is in use */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, and its list */
static struct tls *current;

static struct pair *pair_free(struct pair *pair) {
  if (!pair)
    return NULL;
  for (unsigned i = 0; i < pair->count; i++)
    gnutls_pcert_deinit(&pair->chain[i]);
  if (pair->key)
    gnutls_privkey_deinit(pair->key);
  free(pair);
  return NULL;
}
DEFINE_CLEANUP(struct pair *, pair_free)

static int read_chain(const char *path, struct pair *pair, crypto_generichash_state *hash,
                      struct guise_error *err) {
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  unsigned count = CHAIN_MAX;
  int r = file_read(path, PEM_BYTES, &text, &size, err);
  if (r < 0)
    return r;
  (void)crypto_generichash_update(hash, (unsigned char *)text, size);
  const gnutls_datum_t data = {(unsigned char *)text, (unsigned)size};
  r = gnutls_pcert_list_import_x509_raw(pair->chain, &count, &data, GNUTLS_X509_FMT_PEM, 0);
  if (r < 0)
    return error_set(err, -EINVAL, "%s holds no certificates in PEM form (at most %u): %s", path, CHAIN_MAX,
                     gnutls_strerror(r));
  pair->count = count;
  return 0;
}

static int read_key(const char *path, struct pair *pair, crypto_generichash_state *hash,
                    struct guise_error *err) {
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  int r = file_read(path, PEM_BYTES, &text, &size, err);
  if (r < 0)
    return r;
  (void)crypto_generichash_update(hash, (unsigned char *)text, size);
  const gnutls_datum_t data = {(unsigned char *)text, (unsigned)size};
  r = gnutls_privkey_init(&pair->key);
  if (r >= 0)
    r = gnutls_privkey_import_x509_raw(pair->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
  sodium_memzero(text, size);
  return r < 0 ? error_set(err, -EINVAL, "%s holds no key in PEM form without a password: %s", path,
                           gnutls_strerror(r))
               : 0;
}

/* A key of another certificate would only show at the first handshake. */
static int check_pair(const struct tls *tls, const struct pair *pair, struct guise_error *err) {
  unsigned char of_key[64], of_certificate[64];
  size_t key_size = sizeof(of_key), certificate_size = sizeof(of_certificate);
  gnutls_pubkey_t key = NULL;
  int r = gnutls_pubkey_init(&key);
  if (r >= 0)
    r = gnutls_pubkey_import_privkey(key, pair->key, 0, 0);
  if (r >= 0)
    r = gnutls_pubkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);
  if (key)
    gnutls_pubkey_deinit(key);
  if (r >= 0)
    r = gnutls_pubkey_get_key_id(pair->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_certificate,
                                 &certificate_size);
  if (r < 0)
    return error_set(err, -EINVAL, "%s cannot be used: %s", tls->certificate, gnutls_strerror(r));
  if (key_size != certificate_size || memcmp(of_key, of_certificate, key_size) != 0)
    return error_set(err, -EINVAL, "the key %s is not that of the first certificate in %s", tls->key,
                     tls->certificate);
  return 0;
}

/* With the lock held: the newest pair, unless it is the one in use; those that no handshake uses any more go.
 */
static void put_in_use(struct tls *tls, struct pair **pair) {
  const int64_t now = clock_ns();
  struct pair **at = &tls->pairs;
  if (*at && memcmp((*at)->digest, (*pair)->digest, sizeof((*pair)->digest)) == 0)
    return;
  if (*at)
    (*at)->retired_ns = now;
  (*pair)->next = *at;
  *at = TAKE(*pair);
  at = &(*at)->next;
  while (*at && now - (*at)->retired_ns <= RETIRED_NS)
    at = &(*at)->next;
  while (*at) { /* the older ones, further down, were replaced earlier */
    struct pair *old = *at;
    *at = old->next;
    pair_free(old);
  }
}

unsigned tls_pairs(const struct tls *tls) {
  unsigned count = 0;
  (void)pthread_mutex_lock(&lock);
  for (const struct pair *pair = tls->pairs; pair; pair = pair->next)
    count++;
  (void)pthread_mutex_unlock(&lock);
  return count;
}

int tls_reload(struct tls *tls, struct guise_error *err) {
  _cleanup_(pair_freep) struct pair *pair = calloc(1, sizeof(*pair));
  crypto_generichash_state hash; /* here, not in the pair: it has an alignment that calloc has not */
  if (!pair)
    return error_set(err, -ENOMEM, "out of memory");
  (void)crypto_generichash_init(&hash, NULL, 0, sizeof(pair->digest));
  int r = read_chain(tls->certificate, pair, &hash, err);
  if (r == 0)
    r = read_key(tls->key, pair, &hash, err);
  if (r == 0)
    (void)crypto_generichash_final(&hash, pair->digest, sizeof(pair->digest));
  sodium_memzero(&hash, sizeof(hash));
  if (r == 0)
    r = check_pair(tls, pair, err);
  if (r < 0)
    return r;
  (void)pthread_mutex_lock(&lock);
  put_in_use(tls, &pair);
  (void)pthread_mutex_unlock(&lock);
  return 0;
}

int tls_open(const char *certificate, const char *key, struct tls **ret_tls, struct guise_error *err) {
  struct tls *tls = calloc(1, sizeof(*tls));
  if (tls) {
    tls->certificate = strdup(certificate);
    tls->key = strdup(key);
  }
  int r =
      tls && tls->certificate && tls->key ? tls_reload(tls, err) : error_set(err, -ENOMEM, "out of memory");
  (void)pthread_mutex_lock(&lock);
  if (r == 0 && current)
    r = error_set(err, -EBUSY, "this process serves TLS already");
  if (r == 0)
    current = tls;
  (void)pthread_mutex_unlock(&lock);
  if (r < 0) {
    tls_close(tls);
    return r;
  }
  *ret_tls = tls;
  return 0;
}

struct tls *tls_close(struct tls *tls) {
  if (!tls)
    return NULL;
  (void)pthread_mutex_lock(&lock);
  if (current == tls)
    current = NULL;
  (void)pthread_mutex_unlock(&lock);
  while (tls->pairs) {
    struct pair *pair = tls->pairs;
    tls->pairs = pair->next;
    pair_free(pair);
  }
  free(tls->certificate);
  free(tls->key);
  free(tls);
  return NULL;
}

int tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                 gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_ocsp_data_st **ret_ocsp,
                 unsigned *ret_ocsp_count, gnutls_privkey_t *ret_key, unsigned *flags) {
  (void)session;
  (void)info;
  (void)ret_ocsp;
  (void)pthread_mutex_lock(&lock);
  struct pair *pair = current ? current->pairs : NULL;
  (void)pthread_mutex_unlock(&lock);
  if (!pair)
    return -1;
  *ret_chain = pair->chain;
  *ret_count = pair->count;
  *ret_ocsp_count = 0;
  *ret_key = pair->key;
  *flags = 0; /* they stay ours */
  return 0;
}

ssize_t tls_ask(int fd, const char *question, size_t size, char *ret_answer, size_t room) {
  gnutls_session_t session = NULL;
  gnutls_certificate_credentials_t credentials = NULL;
  ssize_t n = -EIO;
  int r = gnutls_certificate_allocate_credentials(&credentials);
  if (r >= 0)
    r = gnutls_init(&session, GNUTLS_CLIENT);
  if (r >= 0)
    r = gnutls_priority_set_direct(session, TLS_PRIORITIES, NULL);
  if (r >= 0)
    r = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
  if (r >= 0) {
    gnutls_transport_set_int(session, fd);
    r = gnutls_handshake(session);
  }
  if (r >= 0 && gnutls_record_send(session, question, size) == (ssize_t)size)
    n = gnutls_record_recv(session, ret_answer, room);
  if (session)
    gnutls_deinit(session);
  if (credentials)
    gnutls_certificate_free_credentials(credentials);
  return n < 0 ? -EIO : n;
}
