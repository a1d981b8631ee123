/* The key of a mask: a permutation of the template's channels and a sign for each, from a secret of 256 bits.
 *
 *   template_i <- sign_i * template_order(i), after standardisation and clip, before mixing
 *
 * Derivation, with libsodium's names: subkey 1 and 2 of crypto_kdf (BLAKE2b, context "guisekey", 32 bytes).
 * Subkey 1 is the key of a ChaCha20 stream (64-bit nonce 0), read as little-endian words of 32 bits.
 * Fisher-Yates from the last channel to the second: j below i + 1 is the upper half of word * (i + 1), words
 * whose lower half is below 2^32 mod (i + 1) are skipped. Then one word a channel; bit 0 set: negative. The
 * first 8 bytes of subkey 2, in hex, are the key's id: public, and of no help in finding the secret.
 *
 * A key is linear. It hides a template from who has neither the key nor a network that was trained behind it,
 * which is the key in another form, nor pictures whose templates are known: docs/masking.md. */
#pragma once

#include <stdint.h>

#include "core/mask/mask.h"

#define MASK_KEY_BYTES 32
#define MASK_KEY_FORMAT "guise-key-1"
#define MASK_KEY_FILE "key.json"

struct mask_key {
  uint8_t secret[MASK_KEY_BYTES];
};

int mask_key_generate(struct mask_key *ret_key, struct guise_error *err); /* from the system's generator */
void mask_key_erase(struct mask_key *key);
void mask_key_id(const struct mask_key *key, char ret_id[MASK_KEY_ID]);
/* channels: of the template, 1..MASK_CHANNELS_MAX */
void mask_key_order(const struct mask_key *key, uint32_t channels, struct mask_order *ret_order);

/* {"format","id","key"}: the secret as 64 hex digits. Written atomically, readable by its owner alone.
 * -EBADMSG: no such file, or its id is not that of its secret. */
int mask_key_write(const char *path, const struct mask_key *key, struct guise_error *err);
int mask_key_read(const char *path, struct mask_key *ret_key, struct guise_error *err);
