/* Streaming a folder or an archive into a data set. A folder is packed into a tar archive on the fly: a
 * thread writes it into a pipe, libcurl reads from that, nothing is written to the disk. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/image/tar_write.h"
#include "core/template/templates.h"

#define BAR_NS INT64_C(100000000)
#define RETRY_MS 500

struct source {
  int fd; /* the archive, or the reading end of the pipe */
  uint64_t sent, total;
  int64_t drawn_at;
  const char *path;
  bool again; /* what is left out was told before */
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

/* From the beginning, since a body that was broken off is nothing. As http_send; *ret_code when there is
 * nothing to send. */
static int send_source(struct cli *cli, const char *target, const char *path, bool again,
                       struct reply *ret_reply, int *ret_code, struct guise_error *err) {
  struct source source = {.fd = -1, .write_fd = -1, .path = path, .again = again};
  const char *type = NULL;
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
  return r;
}

/* When the connection breaks nobody knows whether all of it came: it is sent again. A folder packs to the
 * same bytes each time, so that a data set which is there already is answered with what it is, and made once.
 */
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
    int r = send_source(cli, target, path, lost_at > 0, &reply, &code, &err);
    if (code != EXIT_DONE)
      return code;
    if (r < 0 && r != -ECONNREFUSED)
      return cli_error("%s", err.text);
    if (r == 0 && reply.status >= 200 && reply.status < 300) {
      *ret_reply = reply;
      return EXIT_DONE;
    }
    if (r == 0)
      code = cli_problem(&reply);
    else
      code = cli_lost(cli, &lost_at, err.text);
    reply_free(&reply);
    if (code != EXIT_DONE)
      return code;
    (void)nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
  }
}
