#include "core/mask/key.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"

#define FILE_BYTES_MAX 4096u

enum { SUBKEY_STREAM = 1, SUBKEY_ID = 2 };

static const char kdf_context[crypto_kdf_CONTEXTBYTES + 1] = "guisekey";
_Static_assert(MASK_KEY_BYTES == crypto_kdf_KEYBYTES, "a secret is a master key of crypto_kdf");
_Static_assert(MASK_KEY_BYTES == crypto_stream_chacha20_KEYBYTES, "a subkey is a key of ChaCha20");

int mask_key_generate(struct mask_key *ret_key, struct guise_error *err) {
  if (sodium_init() < 0)
    return error_set(err, -EIO, "the system gives no random numbers for a key");
  randombytes_buf(ret_key->secret, sizeof(ret_key->secret));
  return 0;
}

void mask_key_erase(struct mask_key *key) {
  sodium_memzero(key, sizeof(*key));
}

static void derive(const struct mask_key *key, uint64_t which, uint8_t ret_subkey[MASK_KEY_BYTES]) {
  (void)crypto_kdf_derive_from_key(ret_subkey, MASK_KEY_BYTES, which, kdf_context, key->secret);
}

void mask_key_id(const struct mask_key *key, char ret_id[MASK_KEY_ID]) {
  uint8_t subkey[MASK_KEY_BYTES];
  derive(key, SUBKEY_ID, subkey);
  (void)sodium_bin2hex(ret_id, MASK_KEY_ID, subkey, (MASK_KEY_ID - 1) / 2);
}

/* ---- the stream ---- */

struct stream {
  uint8_t subkey[MASK_KEY_BYTES], block[64]; /* of ChaCha20 */
  uint64_t blocks;
  uint32_t used; /* bytes of block */
};

static void stream_init(struct stream *stream, const struct mask_key *key) {
  *stream = (struct stream){.used = sizeof(stream->block)};
  derive(key, SUBKEY_STREAM, stream->subkey);
}

static uint32_t stream_word(struct stream *stream) {
  static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES] = {0}, zeros[sizeof(stream->block)] = {0};
  if (stream->used == sizeof(stream->block)) {
    (void)crypto_stream_chacha20_xor_ic(stream->block, zeros, sizeof(zeros), nonce, stream->blocks++,
                                        stream->subkey);
    stream->used = 0;
  }
  const uint8_t *b = stream->block + stream->used;
  stream->used += 4;
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint32_t stream_below(struct stream *stream, uint32_t bound) {
  const uint32_t skipped = -bound % bound; /* 2^32 mod bound */
  uint64_t product;
  do
    product = (uint64_t)stream_word(stream) * bound;
  while ((uint32_t)product < skipped);
  return (uint32_t)(product >> 32);
}

void mask_key_order(const struct mask_key *key, uint32_t channels, struct mask_order *ret_order) {
  struct stream stream;
  stream_init(&stream, key);
  memset(ret_order, 0, sizeof(*ret_order));
  for (uint32_t c = 0; c < channels; c++)
    ret_order->channel[c] = (uint16_t)c;
  for (uint32_t i = channels - 1; i > 0; i--) {
    const uint32_t j = stream_below(&stream, i + 1);
    const uint16_t swap = ret_order->channel[i];
    ret_order->channel[i] = ret_order->channel[j];
    ret_order->channel[j] = swap;
  }
  for (uint32_t c = 0; c < channels; c++)
    ret_order->negative[c] = stream_word(&stream) & 1;
  sodium_memzero(&stream, sizeof(stream));
}

/* ---- the file ---- */

int mask_key_write(const char *path, const struct mask_key *key, struct guise_error *err) {
  char id[MASK_KEY_ID], secret[2 * MASK_KEY_BYTES + 1], text[256];
  mask_key_id(key, id);
  (void)sodium_bin2hex(secret, sizeof(secret), key->secret, sizeof(key->secret));
  const int length =
      snprintf(text, sizeof(text), "{\"format\": \"" MASK_KEY_FORMAT "\", \"id\": \"%s\", \"key\": \"%s\"}\n",
               id, secret);
  int r = file_write_atomic(path, text, (size_t)length, err);
  sodium_memzero(text, sizeof(text));
  sodium_memzero(secret, sizeof(secret));
  return r;
}

static int parse(const json_t *root, struct mask_key *ret_key) {
  const char *format = json_string_value(json_object_get(root, "format")),
             *id = json_string_value(json_object_get(root, "id")),
             *secret = json_string_value(json_object_get(root, "key"));
  char own[MASK_KEY_ID];
  size_t bytes = 0;
  if (!format || strcmp(format, MASK_KEY_FORMAT) != 0 || !id || !secret ||
      sodium_hex2bin(ret_key->secret, sizeof(ret_key->secret), secret, strlen(secret), NULL, &bytes, NULL) <
          0 ||
      bytes != sizeof(ret_key->secret))
    return -EBADMSG;
  mask_key_id(ret_key, own);
  return strcmp(own, id) == 0 ? 0 : -EBADMSG;
}

int mask_key_read(const char *path, struct mask_key *ret_key, struct guise_error *err) {
  char *text = NULL;
  size_t size = 0;
  struct mask_key key;
  int r = file_read(path, FILE_BYTES_MAX, &text, &size, err);
  if (r < 0)
    return r;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
  r = parse(root, &key);
  json_decref(root);
  sodium_memzero(text, size);
  free(text);
  if (r == 0)
    *ret_key = key;
  mask_key_erase(&key);
  return r < 0 ? error_set(err, r, "%s is not a key file of the format " MASK_KEY_FORMAT ", or is damaged",
                           path)
               : 0;
}
