/* Streaming a folder or an archive into a data set. A folder is packed into a tar archive on the fly: a
 * thread writes it into a pipe, libcurl reads from that, nothing is written to the disk. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/image/tar_write.h"
#include "core/template/templates.h"

#define BAR_NS INT64_C(100000000)
#define RETRY_MS 500
/* How long the daemon may take to write what came to its disk and to know the data set: at least so long, and
 * longer where that much is slow to write. */
#define SETTLE_MS 5000u
#define SETTLE_BYTES_MS 20000u

struct source {
  int fd; /* the archive, or the reading end of the pipe */
  uint64_t sent, total;
  int64_t drawn_at;
  const char *path;
  bool again; /* what is left out was told before */
  bool whole; /* all of it was taken to be sent */
  crypto_hash_sha256_state hash;
  /* of a folder */
  bool threaded, joined;
  pthread_t thread;
  int write_fd; /* the thread's */
  int result;
  struct guise_error err;
};

static void *pack_folder(void *context) {
  struct source *source = context;
  sigset_t
      pipe_signal; /* a daemon that refuses closes our pipe: an error to return, not a signal to die of */
  (void)sigemptyset(&pipe_signal);
  (void)sigaddset(&pipe_signal, SIGPIPE);
  (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
  source->result = tar_folder(source->path, source->write_fd, &source->err);
  (void)close(source->write_fd);
  return NULL;
}

static int join_packer(struct source *source) {
  if (source->threaded && !source->joined) {
    (void)pthread_join(source->thread, NULL);
    source->joined = true;
  }
  return source->result;
}

static ssize_t read_source(void *context, char *buffer, size_t size, struct guise_error *err) {
  struct source *source = context;
  ssize_t n;
  do
    n = read(source->fd, buffer, size);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return error_set(err, -errno, "cannot read %s: %s", source->path, strerror(errno));
  /* The end of the pipe is the end of the archive only when the packer says that it is whole. */
  if (n == 0 && join_packer(source) < 0)
    return error_set(err, source->result, "%s", source->err.text);
  source->sent += (uint64_t)n;
  source->whole = n == 0 || (!source->threaded && source->sent == source->total);
  (void)crypto_hash_sha256_update(&source->hash, (const unsigned char *)buffer, (unsigned long long)n);
  int64_t now = clock_ns();
  if (n > 0 && now - source->drawn_at >= BAR_NS && source->total > 0) {
    char text[32];
    source->drawn_at = now;
    format_bytes(source->sent, text, sizeof(text));
    bar_draw((double)source->sent / (double)source->total, "uploading", text);
  } else if (n == 0) {
    bar_draw(-1, "uploaded, waiting for the daemon", "");
  }
  return n;
}

/* ---- what is sent ---- */

static int look(const char *folder, bool again, uint64_t *ret_bytes, uint64_t *ret_skipped) {
  struct guise_error err = {0};
  struct tar_survey survey;
  uint64_t skipped = 0;
  int r = tar_survey(folder, &survey, &err);
  for (size_t i = 0; i < TAR_SKIPS; i++) {
    const struct tar_skipped *row = &survey.skipped[i];
    skipped += row->count;
    if (row->count == 0 || again)
      continue;
    (void)fprintf(stderr, "left out: %llu %s, the first: ", (unsigned long long)row->count,
                  tar_skip_text((enum tar_skip)i));
    out_text(stderr, row->first);
    (void)putc('\n', stderr);
  }
  if (ret_bytes)
    *ret_bytes = survey.bytes;
  if (ret_skipped)
    *ret_skipped = skipped;
  return r < 0 ? cli_error("%s", err.text) : EXIT_DONE;
}

int folder_look(const char *folder, uint64_t *ret_bytes, uint64_t *ret_skipped) {
  return look(folder, false, ret_bytes, ret_skipped);
}

static int open_folder(struct source *source) {
  int ends[2];
  int code = look(source->path, source->again, &source->total, NULL);
  if (code != EXIT_DONE)
    return code;
  if (pipe2(ends, O_CLOEXEC) < 0)
    return cli_error("cannot make a pipe: %s", strerror(errno));
  source->fd = ends[0];
  source->write_fd = ends[1];
  source->threaded = true;
  if (pthread_create(&source->thread, NULL, pack_folder, source) != 0) {
    (void)close(ends[0]);
    (void)close(ends[1]);
    return cli_error("cannot start a thread");
  }
  return EXIT_DONE;
}

/* Tells the media type by the first bytes; the daemon looks again. */
static const char *media_type(const char *path, int fd) {
  unsigned char magic[4] = {0};
  if (templates_recognise(path))
    return TEMPLATES_MEDIA_TYPE;
  ssize_t n = pread(fd, magic, sizeof(magic), 0);
  if (n >= 2 && magic[0] == 0x1f && magic[1] == 0x8b)
    return "application/gzip";
  if (n == 4 && magic[0] == 'P' && magic[1] == 'K')
    return "application/zip";
  return "application/x-tar";
}

static int open_source(struct source *source, const char **ret_type) {
  struct stat st;
  source->fd = open(source->path, O_RDONLY | O_CLOEXEC);
  if (source->fd < 0 || fstat(source->fd, &st) < 0)
    return cli_error("cannot open %s: %s", source->path, strerror(errno));
  *ret_type = "application/x-tar";
  if (S_ISDIR(st.st_mode)) {
    (void)close(source->fd);
    return open_folder(source);
  }
  if (!S_ISREG(st.st_mode)) {
    (void)close(source->fd);
    return cli_error("%s is neither a folder nor an archive", source->path);
  }
  source->total = (uint64_t)st.st_size;
  *ret_type = media_type(source->path, source->fd);
  return EXIT_DONE;
}

/* Of what was sent: "" = less than all of it, which is nothing to the daemon. */
struct sent {
  char sha256[crypto_hash_sha256_BYTES * 2 + 1];
  uint64_t bytes;
};

/* As http_send; *ret_code when there is nothing to send. */
static int send_source(struct cli *cli, const char *target, const char *path, bool again,
                       struct reply *ret_reply, struct sent *ret_sent, int *ret_code,
                       struct guise_error *err) {
  struct source source = {.fd = -1, .write_fd = -1, .path = path, .again = again};
  unsigned char digest[crypto_hash_sha256_BYTES];
  const char *type = NULL;
  *ret_sent = (struct sent){0};
  (void)crypto_hash_sha256_init(&source.hash);
  *ret_code = open_source(&source, &type);
  if (*ret_code != EXIT_DONE)
    return 0;
  int r = http_send(cli->http,
                    &(struct request){.method = "PUT",
                                      .path = target,
                                      .type = type,
                                      .read = read_source,
                                      .length = source.threaded ? -1 : (int64_t)source.total,
                                      .context = &source},
                    ret_reply, err);
  bar_clear();
  (void)close(source.fd); /* a packer that still writes gets EPIPE */
  (void)join_packer(&source);
  ret_sent->bytes = source.sent;
  (void)crypto_hash_sha256_final(&source.hash, digest);
  if (source.whole)
    (void)sodium_bin2hex(ret_sent->sha256, sizeof(ret_sent->sha256), digest, sizeof(digest));
  return r;
}

/* ---- answers that were lost ---- */

static void rest(void) {
  (void)nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
}

/* EXIT_DONE with *ret_reply of any status. */
static int ask_until_answered(struct cli *cli, const char *target, int64_t *lost_at,
                              struct reply *ret_reply) {
  for (;;) {
    struct guise_error err = {0};
    int r = http_send(cli->http, &(struct request){.method = "GET", .path = target}, ret_reply, &err);
    if (r == 0)
      return EXIT_DONE;
    if (r != -ECONNREFUSED)
      return cli_error("%s", err.text);
    int code = cli_lost(cli, lost_at, err.text);
    if (code != EXIT_DONE)
      return code;
    rest();
  }
}

/* All bytes went out and no answer came. To send them again would bring back what somebody has erased since,
 * so the daemon is asked what it has. */
static int find_sent(struct cli *cli, const char *name, const struct sent *sent, uint64_t size,
                     int64_t *lost_at, struct reply *ret_reply) {
  struct reply reply = {0};
  _cleanup_(freep) char *target = http_path("/v1/datasets/", name, NULL);
  if (!target)
    return cli_error("out of memory");
  const uint64_t settle_ms = SETTLE_MS + sent->bytes / SETTLE_BYTES_MS;
  for (uint64_t waited_ms = 0;; waited_ms += RETRY_MS) {
    int code = ask_until_answered(cli, target, lost_at, &reply);
    if (code != EXIT_DONE)
      return code;
    if (reply.status != 404 || waited_ms >= settle_ms)
      break;
    reply_free(&reply);
    rest();
  }
  bar_clear();
  if (reply.status == 200 && strcmp(json_text(reply.json, "sha256", ""), sent->sha256) == 0 &&
      (size == 0 || json_count(reply.json, "size") == size)) {
    *ret_reply = reply;
    return EXIT_DONE;
  }
  int code = EXIT_FAILED;
  if (reply.status == 200)
    (void)cli_error("the connection broke before the answer to the upload, and the data set %s is another: "
                    "choose another name, or look at it with guise dataset show",
                    name);
  else if (reply.status == 404)
    (void)cli_error("the connection broke before the answer to the upload, and there is no data set %s: it "
                    "was refused, or erased since; add it again if it shall be there",
                    name);
  else
    code = cli_problem(&reply);
  reply_free(&reply);
  return code;
}

/* What came of an upload that broke off counts in the owner's quota until the daemon has noticed. */
static bool may_be_own(const struct reply *reply, int64_t lost_at) {
  return lost_at > 0 && strcmp(json_text(reply->json, "type", ""), "urn:guise:problem:quota") == 0;
}

/* A body that was broken off is nothing, and is sent again from its beginning. */
int upload_dataset(struct cli *cli, const char *name, const char *path, uint64_t size,
                   struct reply *ret_reply) {
  char query[32] = "";
  if (size > 0)
    (void)snprintf(query, sizeof(query), "?size=%u", (unsigned)size);
  _cleanup_(freep) char *target = http_path("/v1/datasets/", name, query, NULL);
  if (!target)
    return cli_error("out of memory");
  int code = EXIT_DONE;
  for (int64_t lost_at = 0;;) {
    struct guise_error err = {0};
    struct reply reply = {0};
    struct sent sent;
    int r = send_source(cli, target, path, lost_at > 0, &reply, &sent, &code, &err);
    if (code != EXIT_DONE)
      return code;
    if (r < 0 && r != -ECONNREFUSED)
      return cli_error("%s", err.text);
    if (r == 0 && reply.status >= 200 && reply.status < 300) {
      *ret_reply = reply;
      return EXIT_DONE;
    }
    if (r < 0 && *sent.sha256)
      lost_at = 0; /* it took as long as it took: from now on the daemon is asked */
    if (r < 0)
      code = cli_lost(cli, &lost_at, err.text);
    else if (!may_be_own(&reply, lost_at))
      code = cli_problem(&reply);
    else if (cli_lost(cli, &lost_at, json_text(reply.json, "detail", "the quota is used up")) != EXIT_DONE)
      code = EXIT_FAILED;
    reply_free(&reply);
    if (code != EXIT_DONE)
      return code;
    rest();
    if (r < 0 && *sent.sha256)
      return find_sent(cli, name, &sent, size, &lost_at, ret_reply);
  }
}
