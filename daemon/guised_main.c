/* guised: reads the configuration, opens the service, serves it over HTTP, and waits for signals.
 *
 * Signals are blocked before our first thread and read from a signalfd. OpenBLAS starts threads of its own
 * when it is loaded, before main(), and those block nothing: a handler sends what they catch to the main
 * thread. SIGTERM and SIGINT: not ready, stop accepting, end streams, running jobs write a checkpoint, exit.
 * SIGHUP reads the configuration again. */
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api/http.h"
#include "api/tls.h"
#include "daemon/access.h"
#include "daemon/backup.h"
#include "daemon/check_state.h"
#include "daemon/config.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/service.h"

#define STOP_USEC_BESIDES_JOBS 5000000ull /* HTTP and closing */
#define FILES_BESIDES_CONNECTIONS 256u    /* database, packs, models, decoders */

struct daemon {
  int argc;
  char **argv;
  struct config config;
  int signals, listen;
  struct listen_address address; /* length 0 when the socket was inherited */
  struct service *service;
  struct http *http;
};

static int fail(const struct guise_error *err) {
  log_error("%s", err->text);
  return 1;
}

static void warn_about_environment(void) {
  size_t position = 0;
  const char *variable;
  while ((variable = config_unknown_variable(environ, &position)))
    log_warning("the variable %.*s is no option of guised and has no effect", (int)strcspn(variable, "="),
                variable);
}

/* A connection has its socket, and perhaps the file that it sends or receives. */
static void raise_file_limit(const struct config *config) {
  const rlim_t wanted = 2 * (rlim_t)config->connections + FILES_BESIDES_CONNECTIONS;
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
    return;
  const rlim_t most = limit.rlim_max;
  limit.rlim_cur = MIN(wanted, most);
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || most < wanted)
    log_warning(
        "%llu connections may take %llu open files, and the system allows %llu: raise that (ulimit -n, "
        "LimitNOFILE=), or lower the option connections",
        (unsigned long long)config->connections, (unsigned long long)wanted, (unsigned long long)most);
}

/* ---- without serving ---- */

/* What only shows when it is used: the files of the certificate. */
static int check_files(const struct config *config, struct guise_error *err) {
  struct tls *tls = NULL;
  if (!config->tls_certificate[0])
    return 0;
  int r = tls_open(config->tls_certificate, config->tls_key, &tls, err);
  (void)tls_close(tls);
  return r;
}

static int copy_state(const struct config *config, enum config_action action, struct guise_error *err) {
  const bool back = action == CONFIG_RESTORE;
  struct backup_summary summary;
  int r = back ? backup_restore(config->action_directory, config->state, &summary, err)
               : backup_make(config->state, config->action_directory, &summary, err);
  if (r == 0)
    (void)printf("%u files, %llu bytes, database version %u: %s %s\n", summary.files,
                 (unsigned long long)summary.bytes, summary.schema, back ? "restored to" : "backed up to",
                 back ? config->state : config->action_directory);
  return r;
}

static int check_state(const struct config *config, struct guise_error *err) {
  uint32_t damages = 0;
  int r = state_check(config->state, stdout, &damages, err);
  if (r == 0 && damages)
    r = error_set(err, -EUCLEAN, "%u things are damaged in %s", damages, config->state);
  return r;
}

/* 0 = run; 1 = done, *ret_status is the exit status. */
static int configure(struct daemon *daemon, int *ret_status) {
  struct guise_error err = {0, ""};
  enum config_action action;
  _cleanup_(freep) char *note = NULL;
  *ret_status = 0;
  int r = config_load(daemon->argc, daemon->argv, environ, &daemon->config, &action, NULL, &err);
  if (r == 0 && action == CONFIG_HELP)
    config_help(stdout);
  else if (r == 0 && action == CONFIG_VERSION)
    (void)puts("guised " GUISE_VERSION);
  else if (r == 0 && action == CONFIG_DUMP)
    config_dump(&daemon->config, stdout);
  else if (r == 0 && (action == CONFIG_BACKUP || action == CONFIG_RESTORE))
    r = copy_state(&daemon->config, action, &err);
  else if (r == 0 && action == CONFIG_CHECK_STATE)
    r = check_state(&daemon->config, &err);
  else if (r == 0)
    r = config_resolve(&daemon->config, &note, &err);
  if (r == 0 && action == CONFIG_CHECK) {
    warn_about_environment();
    r = check_files(&daemon->config, &err);
  }
  if (r < 0) {
    *ret_status = fail(&err);
    return 1;
  }
  if (action == CONFIG_CHECK)
    (void)printf("the configuration is valid%s%s\n", note ? "; " : "", note ? note : "");
  if (action != CONFIG_RUN)
    return 1;
  log_set_level(log_level_from_name(daemon->config.log_level));
  log_set_format(log_format_from_name(daemon->config.log_format));
  if (note)
    log_warning("%s", note);
  warn_about_environment();
  return 0;
}

static pthread_t main_thread;

static void forward_signal(int signal) {
  int saved = errno;
  (void)pthread_kill(main_thread, signal); /* blocked there, so that it waits for the signalfd */
  errno = saved;
}

/* One that is ignored stays so: a shell's background job must not end at the terminal's ^C. */
static void catch_signal(int signal) {
  struct sigaction action = {.sa_handler = forward_signal, .sa_flags = SA_RESTART}, old;
  if (sigaction(signal, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
    (void)sigaction(signal, &action, NULL);
}

static int block_signals(struct daemon *daemon, struct guise_error *err) {
  sigset_t set;
  (void)sigemptyset(&set);
  (void)sigaddset(&set, SIGTERM);
  (void)sigaddset(&set, SIGINT);
  (void)sigaddset(&set, SIGHUP);
  (void)signal(SIGPIPE, SIG_IGN); /* a client that left is an EPIPE */
  (void)signal(SIGXFSZ,
               SIG_IGN); /* a file over the process' limit is an EFBIG, as a full disk is an ENOSPC */
  int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
  if (r != 0)
    return error_set(err, -r, "cannot block signals: %s", strerror(r));
  main_thread = pthread_self();
  catch_signal(SIGTERM);
  catch_signal(SIGINT);
  catch_signal(SIGHUP);
  daemon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  return daemon->signals < 0 ? error_set(err, -errno, "cannot read signals: %s", strerror(errno)) : 0;
}

static int open_socket(struct daemon *daemon, struct guise_error *err) {
  daemon->listen = listen_inherited(err);
  if (daemon->listen != -ENOENT)
    return MIN(daemon->listen, 0);
  int r = listen_parse(daemon->config.listen, &daemon->address, err);
  if (r == 0)
    r = daemon->listen = listen_open(&daemon->address, err);
  return MIN(r, 0);
}

static void announce(const struct daemon *daemon, const char *where) {
  if (daemon->address.length > 0) {
    (void)printf("listening on %s\n", where);
    (void)fflush(stdout);
  }
  log_info("guised " GUISE_VERSION
           " listens on %s: %llu jobs at once at most, on %llu cores; %llu threads for "
           "one that asks for no number",
           where, (unsigned long long)daemon->config.workers, (unsigned long long)daemon->config.cores,
           (unsigned long long)daemon->config.threads);
  (void)sd_notifyf(0, "READY=1\nSTATUS=Listening on %s", where);
}

static int start(struct daemon *daemon, struct guise_error *err) {
  char where[PATH_MAX];
  raise_file_limit(&daemon->config);
  int r = block_signals(daemon, err);
  if (r == 0)
    r = open_socket(daemon, err);
  if (r == 0)
    r = service_open(&daemon->config, &daemon->service, err);
  if (r == 0)
    r = access_check(&daemon->config, service_store(daemon->service), daemon->listen, err);
  if (r == 0)
    r = service_start(daemon->service, err);
  if (r == 0 && (r = listen_describe(daemon->listen, access_uses_tls(&daemon->config, daemon->listen), where,
                                     sizeof(where))) < 0)
    error_set(err, r, "cannot tell the socket's address: %s", strerror(-r));
  if (r == 0)
    r = http_start(daemon->service, daemon->listen, &daemon->http, err);
  if (r < 0)
    return r;
  daemon->listen = -1; /* http's now */
  announce(daemon, where);
  return 0;
}

static void reload(struct daemon *daemon) {
  struct guise_error err = {0, ""};
  struct config fresh;
  enum config_action action;
  _cleanup_(freep) char *note = NULL;
  (void)sd_notify(0, "RELOADING=1");
  int r = config_load(daemon->argc, daemon->argv, environ, &fresh, &action, NULL, &err);
  if (r == 0)
    r = config_resolve(&fresh, &note, &err);
  if (r < 0)
    log_error("the configuration stays as it was: %s", err.text);
  else
    service_reload(daemon->service, &fresh);
  if ((r = http_reload(daemon->http, &err)) < 0)
    log_error("the certificate stays as it was: %s", err.text);
  (void)sd_notify(0, "READY=1");
}

static void feed_watchdog(struct daemon *daemon) {
  if (http_alive(daemon->http) && service_alive(daemon->service))
    (void)sd_notify(0, "WATCHDOG=1");
  else
    log_error("HTTP, store or scheduler does not answer: the watchdog is not fed");
}

static void serve(struct daemon *daemon) {
  uint64_t watchdog_usec = 0;
  bool watched = sd_watchdog_enabled(0, &watchdog_usec) > 0;
  int timeout = watched ? (int)MIN(watchdog_usec / 3000, (uint64_t)INT_MAX) : -1;
  for (;;) {
    struct pollfd fd = {.fd = daemon->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&fd, 1, timeout) < 0 && errno != EINTR)
      return;
    if (watched)
      feed_watchdog(daemon);
    while (read(daemon->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
      if (info.ssi_signo != SIGHUP)
        return;
      reload(daemon);
    }
  }
}

/* Jobs that did not stop in time are left behind: the next start continues them from their last checkpoint.
 */
static void stop(struct daemon *daemon) {
  struct config config;
  uint32_t late = 0;
  service_config_now(daemon->service, &config);
  log_info("stopping: running jobs write their checkpoints");
  (void)sd_notifyf(
      0, "STOPPING=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=%llu\nSTATUS=Running jobs write their checkpoints",
      (unsigned long long)config.shutdown_timeout_s * 1000000 + STOP_USEC_BESIDES_JOBS);
  service_drain(daemon->service);
  http_drain(daemon->http);
  service_stop_jobs(daemon->service, &late);
  http_stop(daemon->http);
  if (daemon->address.length > 0 && daemon->address.address.ss_family == AF_UNIX)
    (void)unlink(((const struct sockaddr_un *)&daemon->address.address)->sun_path);
  if (late > 0) {
    log_warning("%u jobs did not stop in time; they continue from their last checkpoint at the next start",
                late);
    _exit(0); /* their threads still use what would be freed */
  }
  service_free(daemon->service);
  log_info("stopped");
}

int main(int argc, char **argv) {
  static struct daemon daemon = {.signals = -1, .listen = -1}; /* large */
  struct guise_error err = {0, ""};
  int status;
  daemon.argc = argc;
  daemon.argv = argv;
  (void)umask(077);
  log_open();
  if (configure(&daemon, &status) != 0)
    return status;
  json_object_seed(0);
  if (start(&daemon, &err) < 0) {
    status = fail(&err);
    service_free(daemon.service);
    closep(&daemon.listen);
    closep(&daemon.signals);
    return status;
  }
  serve(&daemon);
  stop(&daemon);
  closep(&daemon.signals);
  return 0;
}
