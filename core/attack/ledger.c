#include "core/attack/ledger.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"

/* Changes when the same identity comes to mean other units within a version. */
#define FORMAT "guise-units-1"
#define DIRECTORY "units" /* jobs that go on find directories again, not files */
#define DIGEST (SHA256_HEX - 1u)

struct ledger {
  const struct attack_context *context;
  char path[PATH_MAX];
  int fd;
  char digest[SHA256_HEX]; /* of the last record, at first of the identity */
  uint64_t end;            /* of the last record */
  bool cut;                /* nothing lies behind it */
  bool closed;             /* nothing is kept any more */
};

/* ---- the file ---- */

/* New directories are on disk with what is in them. */
static int make_directory(const char *work, char ret_path[static PATH_MAX], struct guise_error *err) {
  if (snprintf(ret_path, PATH_MAX, "%s/" DIRECTORY, work) >= PATH_MAX)
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = directory_make(ret_path, err);
  if (r < 0)
    return r;
  r = file_sync_directory(work);
  return r < 0 ? error_set(err, r, "cannot write the directory %s to disk: %s", work, strerror(-r)) : 0;
}

static int open_file(struct ledger *ledger, const char *name, struct guise_error *err) {
  char directory[PATH_MAX];
  int r = make_directory(ledger->context->work_directory, directory, err);
  if (r < 0)
    return r;
  if (snprintf(ledger->path, sizeof(ledger->path), "%s/%s", directory, name) >= (int)sizeof(ledger->path))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  ledger->fd = open(ledger->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  r = ledger->fd < 0 ? -errno : file_sync_directory(directory);
  return r < 0 ? error_set(err, r, "cannot open %s: %s", ledger->path, strerror(-r)) : 0;
}

int ledger_open(const struct attack_context *context, const char *name, json_t *identity,
                struct ledger **ret_ledger, struct guise_error *err) {
  *ret_ledger = NULL;
  if (!context->work_directory) {
    json_decref(identity);
    return 0;
  }
  _cleanup_(ledger_freep) struct ledger *ledger = calloc(1, sizeof(*ledger));
  if (ledger)
    ledger->fd = -1;
  json_t *whole = identity ? json_pack("{s:s, s:o}", "format", FORMAT, "units", identity) : NULL;
  if (!ledger || !whole || cache_key(whole, ledger->digest) < 0) {
    if (!ledger)
      json_decref(whole);
    return error_set(err, -ENOMEM, "out of memory for what the attack has finished");
  }
  ledger->context = context;
  int r = open_file(ledger, name, err);
  if (r == 0)
    *ret_ledger = TAKE(ledger);
  return r;
}

struct ledger *ledger_free(struct ledger *ledger) {
  if (!ledger)
    return NULL;
  if (ledger->fd >= 0)
    (void)close(ledger->fd);
  free(ledger);
  return NULL;
}

/* ---- a record: the parts, then the digest of the record before with them ---- */

static size_t bytes_of(const struct ledger_part *parts, uint32_t count) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; i++)
    bytes += parts[i].bytes;
  return bytes;
}

/* data: of one part, aligned or not. */
static bool is_sound(const struct ledger_part *part, const char *data) {
  for (size_t i = 0; part->numbers && i < part->bytes; i += sizeof(double)) {
    double value;
    memcpy(&value, data + i, sizeof(value));
    if (!(value >= part->least && value <= part->most))
      return false;
  }
  return true;
}

/* Whether all of the record was there. */
static bool read_record(const struct ledger *ledger, char *record, size_t bytes) {
  for (size_t have = 0; have < bytes;) {
    const ssize_t n = pread(ledger->fd, record + have, bytes - have, (off_t)(ledger->end + have));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    have += (size_t)n;
  }
  return true;
}

/* buffer: (DIGEST + payload + SHA256_HEX), the digest of the record before in front. */
static bool take(struct ledger *ledger, const struct ledger_part *parts, uint32_t count, char *buffer) {
  const size_t payload = bytes_of(parts, count);
  char *record = buffer + DIGEST, digest[SHA256_HEX];
  memcpy(buffer, ledger->digest, DIGEST);
  if (!read_record(ledger, record, payload + DIGEST))
    return false;
  sha256_data(buffer, DIGEST + payload, digest);
  if (memcmp(record + payload, digest, DIGEST) != 0)
    return false;
  const char *data = record;
  for (uint32_t i = 0; i < count; data += parts[i].bytes, i++)
    if (!is_sound(&parts[i], data))
      return false;
  data = record;
  for (uint32_t i = 0; i < count; data += parts[i].bytes, i++)
    memcpy(parts[i].data, data, parts[i].bytes);
  memcpy(ledger->digest, digest, sizeof(digest));
  ledger->end += payload + DIGEST;
  return true;
}

bool ledger_take(struct ledger *ledger, const struct ledger_part *parts, uint32_t count) {
  if (!ledger || ledger->cut || ledger->closed)
    return false;
  _cleanup_(freep) char *buffer = malloc(DIGEST + bytes_of(parts, count) + SHA256_HEX);
  return buffer && take(ledger, parts, count, buffer);
}

static int cut(struct ledger *ledger) {
  if (!ledger->cut && ftruncate(ledger->fd, (off_t)ledger->end) < 0)
    return -errno;
  ledger->cut = true;
  return 0;
}

static int write_record(const struct ledger *ledger, const char *record, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t n = pwrite(ledger->fd, record + done, bytes - done, (off_t)(ledger->end + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    done += (size_t)n;
  }
  return fsync(ledger->fd) < 0 ? -errno : 0;
}

static int add(struct ledger *ledger, const struct ledger_part *parts, uint32_t count, char *buffer,
               struct guise_error *err) {
  const size_t payload = bytes_of(parts, count);
  char *record = buffer + DIGEST, *data = record;
  memcpy(buffer, ledger->digest, DIGEST);
  for (uint32_t i = 0; i < count; data += parts[i].bytes, i++)
    memcpy(data, parts[i].data, parts[i].bytes);
  sha256_data(buffer, DIGEST + payload, data);
  int r = cut(ledger);
  if (r == 0)
    r = write_record(ledger, record, payload + DIGEST);
  if (r < 0)
    return error_set(err, r, "cannot write %s: %s", ledger->path, strerror(-r));
  memcpy(ledger->digest, data, sizeof(ledger->digest));
  ledger->end += payload + DIGEST;
  return 0;
}

int ledger_add(struct ledger *ledger, const struct ledger_part *parts, uint32_t count,
               struct guise_error *err) {
  if (!ledger || ledger->closed)
    return 0;
  const struct attack_context *context = ledger->context;
  int r = attack_stop_code(context, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < count && !ledger->closed; i++)
    ledger->closed = !is_sound(&parts[i], parts[i].data);
  if (ledger->closed)
    return 0;
  _cleanup_(freep) char *buffer = malloc(DIGEST + bytes_of(parts, count) + SHA256_HEX);
  r = buffer ? add(ledger, parts, count, buffer, err)
             : error_set(err, -ENOMEM, "out of memory for what the attack has finished");
  if (r == 0 && context->kept)
    context->kept(context->stop_context);
  return r;
}

/* ---- identities ---- */

json_t *ledger_digest(const void *data, size_t bytes) {
  char digest[SHA256_HEX];
  sha256_data(data, bytes, digest);
  return json_string(digest);
}

int ledger_digest_of_file(const char *path, json_t **ret_digest, struct guise_error *err) {
  char digest[SHA256_HEX];
  int r = sha256_file(path, digest, NULL);
  if (r < 0)
    return error_set(err, r, "cannot read %s: %s", path, strerror(-r));
  json_t *text = json_string(digest);
  if (!text)
    return error_set(err, -ENOMEM, "out of memory for what the attack has finished");
  *ret_digest = text;
  return 0;
}
