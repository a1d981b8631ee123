/* The calling thread reads the archive; `decoders` threads, each with a guise-decode of its own, turn files
 * into pixels of a slots file beside the pack. A file's slot is its place in the archive, so the result does
 * not depend on which thread was faster. */
#include "core/image/ingest.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/image/decoder.h"
#include "core/image/pack_format.h"

const struct ingest_limits ingest_limits_default = {.entry_bytes = 32ull << 20,
                                                    .total_bytes = 64ull << 30,
                                                    .pack_bytes = 64ull << 30,
                                                    .entries = 5000000,
                                                    .ratio = 200,
                                                    .decoder_failures = 32,
                                                    .image_side = 8192};

#define QUEUE_LENGTH 32u
#define PATH_KEPT 512
#define NAME_KEPT 255

struct task {
  uint8_t *data;
  size_t bytes;
  uint32_t slot;
};

struct ingest {
  const struct ingest_limits *limits;
  const struct ingest_callbacks *callbacks;
  const char *decoder;
  uint32_t size;
  int slots_fd;
  pthread_mutex_t lock; /* everything below */
  pthread_cond_t changed;
  struct task queue[QUEUE_LENGTH];
  uint32_t head, queued;
  bool done;  /* no more tasks */
  int failed; /* first fatal error of a decoder thread */
  struct guise_error error;
  struct pack_entry *entries;
  uint32_t count, capacity;
  uint32_t images, rejected, decoder_failures;
  uint64_t bytes_read, pack_bytes;
};

static void reject_locked(struct ingest *ingest, const char *path, const char *code, const char *detail) {
  ingest->rejected++;
  if (ingest->callbacks && ingest->callbacks->reject)
    ingest->callbacks->reject(ingest->callbacks->context, path, code, detail);
}

static void reject(struct ingest *ingest, const char *path, const char *code, const char *detail) {
  (void)pthread_mutex_lock(&ingest->lock);
  reject_locked(ingest, path, code, detail);
  (void)pthread_mutex_unlock(&ingest->lock);
}

/* ---- decoding threads ---- */

static bool take_task(struct ingest *ingest, struct task *ret_task) {
  bool got = false;
  (void)pthread_mutex_lock(&ingest->lock);
  while (ingest->queued == 0 && !ingest->done && ingest->failed == 0)
    (void)pthread_cond_wait(&ingest->changed, &ingest->lock);
  if (ingest->queued > 0 && ingest->failed == 0) {
    *ret_task = ingest->queue[ingest->head];
    ingest->head = (ingest->head + 1) % QUEUE_LENGTH;
    ingest->queued--;
    got = true;
    (void)pthread_cond_broadcast(&ingest->changed);
  }
  (void)pthread_mutex_unlock(&ingest->lock);
  return got;
}

static void fail_locked(struct ingest *ingest, int r, const struct guise_error *err) {
  if (ingest->failed != 0)
    return;
  ingest->failed = r;
  ingest->error = *err;
  (void)pthread_cond_broadcast(&ingest->changed);
}

/* Each such file may take as long as thousands of good ones, and other uploads wait. */
static void count_decoder_failure_locked(struct ingest *ingest) {
  struct guise_error err;
  if (++ingest->decoder_failures <= ingest->limits->decoder_failures)
    return;
  int r = error_set(
      &err, -EBADMSG,
      "the image decoder died or took too long on more than %u files, which good images do not do to it: "
      "leave out those that were rejected as decoder_failed and upload the rest; or upload the same "
      "again if the machine was short of memory",
      ingest->limits->decoder_failures);
  fail_locked(ingest, r, &err);
}

static void finish_task(struct ingest *ingest, const struct task *task, int r, const char *code,
                        const char *detail, const struct guise_error *err) {
  (void)pthread_mutex_lock(&ingest->lock);
  struct pack_entry *entry = &ingest->entries[task->slot];
  if (r == 0) {
    entry->good = true;
    ingest->images++;
  } else if (r == -EBADMSG) {
    char path[PATH_KEPT + 1];
    (void)snprintf(path, sizeof(path), "%s/%s", entry->identity, entry->name);
    reject_locked(ingest, path, code, detail);
    if (strcmp(code, "decoder_failed") == 0)
      count_decoder_failure_locked(ingest);
  } else {
    fail_locked(ingest, r, err);
  }
  (void)pthread_mutex_unlock(&ingest->lock);
}

/* A disk that fills takes a part at first; the next call tells why it takes no more. */
static int write_slot(int fd, const uint8_t *data, size_t bytes, uint64_t offset, struct guise_error *err) {
  for (size_t done = 0; done < bytes;) {
    ssize_t n = pwrite(fd, data + done, bytes - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      int error = n < 0 ? errno : ENOSPC;
      return error_set(err, -error, "cannot write decoded images: %s", strerror(error));
    }
    done += (size_t)n;
  }
  return 0;
}

static void *decode_thread(void *context) {
  struct ingest *ingest = context;
  struct decoder decoder;
  struct task task;
  size_t pixels = (size_t)ingest->size * ingest->size * 3;
  _cleanup_(freep) uint8_t *rgb = malloc(pixels);
  decoder_init(&decoder, ingest->decoder);
  while (take_task(ingest, &task)) {
    const char *code = "";
    char detail[200] = "";
    struct guise_error err = {0};
    int r = rgb ? decoder_run(&decoder, task.data, task.bytes, ingest->size, rgb, &code, detail, &err)
                : error_set(&err, -ENOMEM, "out of memory decoding images");
    if (r == 0)
      r = write_slot(ingest->slots_fd, rgb, pixels, (uint64_t)task.slot * pixels, &err);
    finish_task(ingest, &task, r, code, detail, &err);
    free(task.data);
  }
  decoder_stop(&decoder);
  return NULL;
}

/* ---- names ---- */

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_length(const unsigned char *p) {
  if (p[0] < 0x80)
    return 1;
  size_t n = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
             : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
             : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                           : 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
      (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return n;
}

/* A printable copy for the reject list; false when the original held control characters or bad UTF-8. */
static bool printable(const char *path, char ret_copy[PATH_KEPT + 1]) {
  bool clean = true;
  size_t out = 0;
  const unsigned char *p = (const unsigned char *)path;
  while (*p && out + 4 <= PATH_KEPT) {
    size_t n = utf8_length(p);
    bool control = n == 0 || (n == 1 && (*p < 0x20 || *p == 0x7f));
    if (control)
      ret_copy[out++] = '?';
    for (size_t i = 0; i < n && !control; i++)
      ret_copy[out++] = (char)p[i];
    clean &= !control;
    p += n ? n : 1;
  }
  ret_copy[out] = 0;
  return clean && *p == 0;
}

enum verdict { NAME_GOOD, NAME_BAD, NAME_IGNORED };

/* Splits IDENTITY/IMAGE off the end of a path; folders above are dropped. */
static enum verdict split_path(const char *path, char ret_identity[NAME_KEPT + 1],
                               char ret_name[NAME_KEPT + 1]) {
  const char *parts[2] = {NULL, NULL};
  size_t lengths[2] = {0, 0};
  if (*path == '/')
    return NAME_BAD;
  for (const char *p = path; *p;) {
    size_t length = strcspn(p, "/");
    if (length == 2 && p[0] == '.' && p[1] == '.')
      return NAME_BAD;
    if (length > 0 && !(length == 1 && *p == '.')) {
      if (*p == '.' || (length == 8 && strncmp(p, "__MACOSX", 8) == 0))
        return NAME_IGNORED;
      parts[0] = parts[1];
      lengths[0] = lengths[1];
      parts[1] = p;
      lengths[1] = length;
    }
    p += length + (p[length] == '/');
  }
  if (!parts[0] || lengths[0] > NAME_KEPT || lengths[1] > NAME_KEPT || strchr(path, '\\'))
    return NAME_BAD;
  (void)snprintf(ret_identity, NAME_KEPT + 1, "%.*s", (int)lengths[0], parts[0]);
  (void)snprintf(ret_name, NAME_KEPT + 1, "%.*s", (int)lengths[1], parts[1]);
  return NAME_GOOD;
}

/* ---- reading ---- */

static int broken(struct archive *archive, struct guise_error *err) {
  const char *text = archive_error_string(archive);
  return error_set(err, -EBADMSG,
                   "the archive cannot be read to its end (%.200s): upload a whole tar, tar.gz or zip file",
                   text ? text : "unknown format");
}

static int check_totals(struct ingest *ingest, struct archive *archive, struct guise_error *err) {
  const struct ingest_limits *limits = ingest->limits;
  int64_t packed = archive_filter_bytes(archive, -1);
  if (ingest->bytes_read > limits->total_bytes)
    return error_set(err, -EFBIG, "the archive unpacks to more than %llu bytes: upload it in parts",
                     (unsigned long long)limits->total_bytes);
  if (ingest->bytes_read > (16u << 20) && packed > 0 && ingest->bytes_read / (uint64_t)packed > limits->ratio)
    return error_set(err, -EBADMSG,
                     "the archive unpacks to more than %u times its size, as no set of images does",
                     limits->ratio);
  return 0;
}

/* Reads one entry's data. 0: *ret_data owned by the caller; -EBADMSG with code: skip it; else fatal with err.
 */
static int read_entry(struct ingest *ingest, struct archive *archive, uint8_t **ret_data, size_t *ret_bytes,
                      const char **ret_code, const char **ret_detail, struct guise_error *err) {
  size_t capacity = 64 << 10, have = 0;
  _cleanup_(freep) uint8_t *data = malloc(capacity);
  for (;;) {
    if (!data)
      return error_set(err, -ENOMEM, "out of memory reading the archive");
    la_ssize_t n = archive_read_data(archive, data + have, capacity - have);
    if (n == ARCHIVE_FATAL)
      return broken(archive, err);
    if (n < 0) {
      *ret_code = "corrupt";
      *ret_detail = "the archive's entry cannot be unpacked";
      return -EBADMSG;
    }
    if (n == 0)
      break;
    have += (size_t)n;
    ingest->bytes_read += (uint64_t)n;
    int r = check_totals(ingest, archive, err);
    if (r < 0)
      return r;
    if (have > ingest->limits->entry_bytes) {
      *ret_code = "too_large";
      *ret_detail = "the file is larger than an image may be";
      return -EBADMSG;
    }
    if (have == capacity) {
      uint8_t *grown = realloc(data, capacity *= 2);
      if (!grown)
        return error_set(err, -ENOMEM, "out of memory reading the archive");
      data = grown;
    }
  }
  *ret_data = TAKE(data);
  *ret_bytes = have;
  return 0;
}

static int add_entry(struct ingest *ingest, const char *identity, const char *name, struct guise_error *err) {
  struct pack_entry entry = {strdup(identity), strdup(name), ingest->count, false};
  int r = entry.identity && entry.name ? 0 : -ENOMEM;
  (void)pthread_mutex_lock(&ingest->lock);
  if (r == 0 && ingest->count == ingest->capacity) {
    uint32_t capacity = ingest->capacity ? 2 * ingest->capacity : 1024;
    struct pack_entry *grown = realloc(ingest->entries, capacity * sizeof(*grown));
    if (grown) {
      ingest->entries = grown;
      ingest->capacity = capacity;
    } else {
      r = -ENOMEM;
    }
  }
  if (r == 0)
    ingest->entries[ingest->count++] = entry;
  (void)pthread_mutex_unlock(&ingest->lock);
  if (r < 0) {
    free(entry.identity);
    free(entry.name);
    return error_set(err, r, "out of memory listing images");
  }
  return 0;
}

static int queue_task(struct ingest *ingest, struct task task, struct guise_error *err) {
  int r;
  (void)pthread_mutex_lock(&ingest->lock);
  while (ingest->queued == QUEUE_LENGTH && ingest->failed == 0)
    (void)pthread_cond_wait(&ingest->changed, &ingest->lock);
  r = ingest->failed;
  if (r == 0) {
    ingest->queue[(ingest->head + ingest->queued++) % QUEUE_LENGTH] = task;
    (void)pthread_cond_broadcast(&ingest->changed);
  } else if (err) {
    *err = ingest->error;
  }
  (void)pthread_mutex_unlock(&ingest->lock);
  if (r < 0)
    free(task.data);
  return r;
}

static int take_entry(struct ingest *ingest, struct archive *archive, struct archive_entry *entry,
                      struct guise_error *err) {
  char shown[PATH_KEPT + 1], identity[NAME_KEPT + 1], name[NAME_KEPT + 1];
  const char *path = archive_entry_pathname_utf8(entry), *code = "", *detail = "";
  uint8_t *data = NULL;
  size_t bytes = 0;
  if (!path)
    path = archive_entry_pathname(entry);
  if (archive_entry_filetype(entry) == AE_IFDIR)
    return 0;
  bool clean = printable(path ? path : "?", shown);
  enum verdict verdict = path && clean ? split_path(path, identity, name) : NAME_BAD;
  if (verdict == NAME_IGNORED)
    return 0;
  if (verdict == NAME_BAD) {
    reject(ingest, shown, "bad_path",
           "the path must be IDENTITY/IMAGE, in UTF-8, without '..' or control characters");
    return 0;
  }
  if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink_utf8(entry) ||
      archive_entry_hardlink(entry)) {
    reject(ingest, shown, "unsupported_type", "links and special files are not followed");
    return 0;
  }
  int r = read_entry(ingest, archive, &data, &bytes, &code, &detail, err);
  if (r == -EBADMSG && *code) {
    reject(ingest, shown, code, detail);
    return 0;
  }
  if (r < 0)
    return r;
  ingest->pack_bytes += (uint64_t)ingest->size * ingest->size * 3;
  if (ingest->pack_bytes > ingest->limits->pack_bytes)
    r = error_set(err, -EFBIG,
                  "the data set is larger than %llu bytes when unpacked to pixels: upload it in parts",
                  (unsigned long long)ingest->limits->pack_bytes);
  if (r == 0)
    r = add_entry(ingest, identity, name, err);
  if (r < 0) {
    free(data);
    return r;
  }
  return queue_task(ingest, (struct task){data, bytes, ingest->count - 1}, err);
}

static int read_archive(struct ingest *ingest, struct archive *archive, struct guise_error *err) {
  const struct ingest_callbacks *callbacks = ingest->callbacks;
  for (uint64_t seen = 0;; seen++) {
    struct archive_entry *entry;
    int status = archive_read_next_header(archive, &entry);
    if (status == ARCHIVE_EOF)
      return 0;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      return broken(archive, err);
    if (seen >= ingest->limits->entries)
      return error_set(err, -EFBIG, "the archive holds more than %u files: upload it in parts",
                       ingest->limits->entries);
    if (callbacks && callbacks->should_stop && callbacks->should_stop(callbacks->context))
      return error_set(err, -ECANCELED, "the upload's processing was stopped");
    int r = take_entry(ingest, archive, entry, err);
    if (r < 0)
      return r;
    if (callbacks && callbacks->progress && seen % 64 == 0)
      callbacks->progress(callbacks->context, ingest->count, ingest->bytes_read);
  }
}

static int open_archive(const char *path, struct archive **ret_archive, struct guise_error *err) {
  struct archive *archive = archive_read_new();
  if (!archive)
    return error_set(err, -ENOMEM, "out of memory opening the archive");
  (void)archive_read_support_filter_gzip(archive);
  (void)archive_read_support_format_tar(archive);
  (void)archive_read_support_format_zip(archive);
  if (archive_read_open_filename(archive, path, 1 << 16) != ARCHIVE_OK) {
    int r = broken(archive, err);
    (void)archive_read_free(archive);
    return r;
  }
  *ret_archive = archive;
  return 0;
}

/* ---- the whole ---- */

static int run_threads(struct ingest *ingest, struct archive *archive, uint32_t decoders,
                       struct guise_error *err) {
  pthread_t threads[8];
  uint32_t running = 0;
  int r = 0;
  for (; running < MIN(MAX(decoders, 1u), 8u); running++)
    if ((r = -pthread_create(&threads[running], NULL, decode_thread, ingest)) < 0)
      break;
  if (running == 0)
    error_set(err, r, "cannot start a thread: %s", strerror(-r));
  else
    r = read_archive(ingest, archive, err);
  (void)pthread_mutex_lock(&ingest->lock);
  ingest->done = true;
  if (r < 0 && ingest->failed == 0)
    ingest->failed = r; /* what is still queued is in vain */
  (void)pthread_cond_broadcast(&ingest->changed);
  (void)pthread_mutex_unlock(&ingest->lock);
  for (uint32_t i = 0; i < running; i++)
    (void)pthread_join(threads[i], NULL);
  if (r == 0 && ingest->failed < 0) {
    r = ingest->failed;
    if (err)
      *err = ingest->error;
  }
  for (; ingest->queued > 0; ingest->queued--, ingest->head = (ingest->head + 1) % QUEUE_LENGTH)
    free(ingest->queue[ingest->head].data);
  return r;
}

static void ingest_done(struct ingest *ingest) {
  for (uint32_t i = 0; i < ingest->count; i++) {
    free(ingest->entries[i].identity);
    free(ingest->entries[i].name);
  }
  free(ingest->entries);
  (void)pthread_cond_destroy(&ingest->changed);
  (void)pthread_mutex_destroy(&ingest->lock);
}

int ingest_archive(const char *path, const char *pack_path, uint32_t size, const char *decoder,
                   uint32_t decoders, const struct ingest_limits *limits,
                   const struct ingest_callbacks *callbacks, struct ingest_result *ret_result,
                   struct guise_error *err) {
  char slots[PATH_MAX];
  struct archive *archive = NULL;
  struct ingest_result result = {0};
  if (size < 16 || size > 224 || size % 8 != 0)
    return error_set(err, -EINVAL, "the size of a data set's images is 16..224, a multiple of 8, not %u",
                     size);
  if (snprintf(slots, sizeof(slots), "%s.slots", pack_path) >= (int)sizeof(slots))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", pack_path);
  _cleanup_(closep) int slots_fd = open(slots, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (slots_fd < 0)
    return error_set(err, -errno, "cannot create %s: %s", slots, strerror(errno));
  (void)unlink(slots); /* gone with the descriptor, whatever happens */
  struct ingest ingest = {.limits = limits ? limits : &ingest_limits_default,
                          .callbacks = callbacks,
                          .decoder = decoder,
                          .size = size,
                          .slots_fd = slots_fd,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER};
  int r = open_archive(path, &archive, err);
  if (r == 0)
    r = run_threads(&ingest, archive, decoders, err);
  if (archive)
    (void)archive_read_free(archive);
  result.rejected = ingest.rejected;
  if (r == 0)
    r = pack_write(pack_path, slots_fd, 0, size, ingest.entries, ingest.count, callbacks, &result, err);
  ingest_done(&ingest);
  if (r < 0)
    (void)unlink(pack_path);
  else
    *ret_result = result;
  return r;
}
