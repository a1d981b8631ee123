/* The HTTP server inside: what its files and the resources share.
 *
 * Threads. One libmicrohttpd thread (epoll) runs every callback; it never waits. A route is either `inline`
 * (reads the database through the pool of read-only connections, well below a millisecond) or runs on a
 * thread of the service's pool, or its inference thread, while its connection is suspended. A timer thread
 * cuts slow senders and sends the heartbeats of event streams. The service's event listener wakes streams.
 *
 * A request's life. uri_log (the raw target is known) makes it; the first call of the access handler sees the
 * headers: guard, router, body limits; then come body chunks (JSON into memory, an upload through a buffer
 * that pool threads write out); the last call dispatches the handler, which leaves an answer. Nothing of a
 * handler touches libmicrohttpd's connection but the thread that owns it.
 *
 * Suspending. `lock` guards who is suspended. A suspended connection sees neither timeouts nor disconnects
 * and MHD_stop_daemon aborts when there is one, so after `stopping` is set nothing suspends any more, and
 * http_stop resumes all. A request whose work is still on a pool thread is then `abandoned`: the work ends on
 * its own, holds the last reference and touches nothing of the server but memory it refers to. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/auth.h"
#include "api/guard.h"
#include "api/http.h"
#include "api/limit.h"
#include "api/problem.h"
#include "api/target.h"
#include "api/tls.h"
#include "api/traffic.h"
#include "daemon/peer.h"

#define CHUNK_BYTES (256u << 10) /* of an upload, written out at once */

struct request;
struct route;

/* ---- waiting for a job's events (event streams) ---- */
struct waiter {
  struct waiter *next, *previous;
  struct MHD_Connection *connection;
  char job[STORE_ID];
  bool listed;     /* in http.waiters; all fields under http.lock */
  bool suspended;  /* its connection is, until somebody wakes it */
  bool signaled;   /* something happened since waiter_arm */
  int64_t wake_ns; /* the timer wakes it then */
};

enum connection_phase {
  CONNECTION_HEAD,   /* waits for a request's head */
  CONNECTION_BODY,   /* receives a body */
  CONNECTION_ANSWER, /* works or answers */
  CONNECTION_LINGER, /* libmicrohttpd has closed it; what the client still sends is thrown away */
};
struct connection {
  struct connection *next, *previous;
  int fd;
  gnutls_session_t tls; /* NULL = plain; libmicrohttpd's thread only */
  bool internal;        /* http_alive's own */
  bool oip;             /* its request is the Open Inference Protocol's; under http.lock */
  bool unread;          /* it was answered before its body was read; under http.lock */
  enum connection_phase phase;
  int64_t deadline_ns; /* when the timer cuts it; 0 = never */
};

/* ---- answers.c: answers that are given again ---- */
#define ANSWERS 256u
struct answer {
  char id[STORE_ID];
  uint64_t version;              /* of the store, before it was read */
  struct MHD_Response *response; /* NULL = none */
};

/* ---- audit.c: records that a thread has yet to write ---- */
struct audit_trail {
  pthread_mutex_t lock;
  struct audit_record *first, *last;
  uint32_t waiting;
  bool written; /* a thread is at it, or called */
};

struct http {
  struct service *service;
  struct MHD_Daemon *daemon;
  struct listener *listener;
  pthread_t timer;
  bool timer_runs;
  char bound[64];     /* Host name of the listening address; "" = a Unix socket */
  struct tls *tls;    /* NULL = plain HTTP */
  struct peers peers; /* of a Unix socket: who needs no token */
  bool needs_tokens;  /* every request does; else whoever connects may do what SCOPES_LOCAL says */
  int64_t request_timeout_ns;
  int64_t started_ms; /* since 1970 */
  struct traffic *traffic;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  struct connection *connections;
  unsigned lingering; /* of them, in CONNECTION_LINGER */
  struct waiter *waiters;
  uint32_t requests;       /* between their first call and their end */
  struct request *working; /* list: handed to the pool, connection suspended */
  atomic_bool draining, stopping;
  int quiet_fd; /* the listening socket, when draining: nobody accepts, and who connects waits; -1 = none */
  bool done;
  atomic_llong timer_ns;
  atomic_uint references;
  struct limit limit;
  struct audit_trail trail;
  struct answer answers[ANSWERS]; /* libmicrohttpd's thread only */
};
void http_unref(struct http *http);

enum request_stage { STAGE_NEW, STAGE_BODY, STAGE_WAITING, STAGE_DISPATCHED, STAGE_ANSWERED };
enum body_kind {
  BODY_NONE,
  BODY_JSON,
  BODY_TEXT,
  BODY_UPLOAD,
  BODY_IMAGE,
  BODY_IMAGES,  /* JSON with two images in it */
  BODY_TENSORS, /* a request of the Open Inference Protocol (infer.c) */
};

struct request {
  struct http *http;
  struct service *service;
  struct MHD_Connection *connection;
  struct connection *peer;
  char *raw; /* target as received */
  bool oip;  /* the Open Inference Protocol's, which has its own form of errors */
  const struct route *route;
  struct target target;
  const char *parameter[4]; /* the path's {..} in order */
  char object[STORE_ID];    /* id of what it is about, "" = not known yet, or nothing */
  char file[40];            /* of the model that it is about, "" = none */
  bool head;                /* HEAD: a GET without its body */
  struct principal principal;
  uint64_t client; /* whose images are counted (rate.c) */
  enum request_stage stage;
  int64_t began_ns;
  bool counted; /* in http.requests */

  /* body */
  struct guard_body announced;
  char *body; /* JSON, text or an image, with a NUL behind it; of an upload the part not yet written */
  size_t body_size, body_capacity;
  struct upload *upload;
  uint32_t image_size; /* of an upload: ?size=, 0 = not given */
  int upload_result;   /* the first failure of writing */
  struct guise_error upload_error;
  char content_digest[SHA256_HEX]; /* promised by Content-Digest, "" = not */
  char idempotency_key[256];       /* "" = none */
  int64_t json_bytes; /* of BODY_TENSORS: how long the JSON is that comes first; -1 = all is JSON */
  json_t *json;       /* of a JSON body */

  /* work on a pool thread; under http.lock */
  struct request *next, *previous;
  void (*work)(struct request *request);
  bool working, abandoned;
  atomic_uint references;

  /* a long poll: a handler that leaves no answer but `waits` is called again when an event of waiter.job came
   * or at wait_ns */
  struct waiter waiter; /* to be added by the handler, once */
  bool waits;
  enum job_state waited_state; /* until the job leaves it */
  int64_t wait_ns;

  /* the answer, set by the handler */
  unsigned status;
  struct MHD_Response *response;
  bool kept;            /* it belongs to http.answers, and is not to be changed */
  json_t *receipt;      /* what was erased or canceled, for the audit trail; NULL = nothing */
  struct audit_row act; /* its record, where that is part of what it does; seq 0: it is not written */
};

/* Gives the answer about the job that was kept, if nothing was written since. */
bool answers_give(struct request *request, const char *id);
/* Keeps the request's answer; `version`: store_version() before anything of it was read. */
void answers_keep(struct request *request, const char *id, uint64_t version);
void answers_clear(struct http *http); /* the server has stopped */

/* ---- router.c ---- */
struct route {
  enum route_method { ROUTE_GET, ROUTE_POST, ROUTE_PUT, ROUTE_DELETE } method;
  const char *pattern; /* "/v1/jobs/{id}" */
  /* Leaves an answer in the request (reply.h). */
  void (*handle)(struct request *request);
  enum scope scope; /* that whoever asks must have */
  bool blocks;      /* runs on a pool thread (route_blocks) */
  enum body_kind body;
  const char *types;     /* media types of the body, comma-separated */
  const char *query;     /* names of the query parameters, comma-separated; "*" behind one: repeatable */
  const char *operation; /* operationId in schema/openapi.yaml */
};
/* How many images it embeds at least: such routes run on the inference thread, and the images count against
 * the client's rate. */
static inline uint32_t route_images(const struct route *route) {
  return route->body == BODY_IMAGE || route->body == BODY_TENSORS ? 1 : route->body == BODY_IMAGES ? 2 : 0;
}
/* Whether a request runs on a pool thread: also where ?format= asks for all rows as one text. */
bool route_blocks(const struct route *route, const struct target *target);
extern const struct route routes[];
extern const size_t route_count;
const char *route_method_name(enum route_method method);
/* The route of a method (HEAD is GET) and path with its parameters; or -ENOENT; or -EOPNOTSUPP with ret_allow
 * ("GET, HEAD, PUT") for another method. */
int route_find(const char *method, const struct target *target, const struct route **ret_route,
               const char *ret_parameters[4], char ret_allow[64]);

/* ---- audit.c ---- */
bool route_is_audited(const struct route *route);
/* Before the handler, on its thread: what must not be carried out without a record is recorded with it. */
void audit_expect(struct request *request);
/* Records the request with the answer it has. may_wait: this thread may write to the disk. */
void audit(struct request *request, bool may_wait);
void audit_hand_on(struct http *http); /* the timer's part: records that found no thread are tried again */
void audit_write(struct http *http);   /* those that wait, on this thread */

/* ---- body.c ---- */
/* First call: whether the body is welcome, and where it will go. False with an answer when it is not. */
bool body_begin(struct request *request, const char *content_type);
/* A piece of the body. 0; -EFBIG, -ENOSPC, ... ends the request with reply_raw. */
void body_write_chunk(struct request *request); /* the part not yet written; on a pool thread */
int body_take(struct request *request, const char *data, size_t size);
/* After the last piece, on the thread of the handler: JSON is parsed, the rest of an upload written and its
 * digest compared. False with an answer when something is wrong. */
bool body_finish(struct request *request);

/* ---- rate.c ---- */
/* Counts the route's images against the client's rate, before the body is taken: what is refused here costs
 * nothing. False with an answer when there are too many. */
bool rate_pass_route(struct request *request);
/* The same for a request that turned out to have so many images, beyond those that were counted already. */
bool rate_pass_batch(struct request *request, uint32_t images);
/* Gives back what rate_pass_route counted, of a request that is refused since too many others wait. */
void rate_give_back(struct request *request);

/* ---- work.c ---- */
/* Suspends the connection and runs work(request) on a pool thread; then the access handler is called again.
 * -ESHUTDOWN, -EAGAIN: not suspended. libmicrohttpd's thread only. */
int work_start(struct request *request, void (*work)(struct request *request));
struct request *request_ref(struct request *request);
struct request *request_unref(struct request *request);

/* ---- request.c: a request from its first line to its end, called by libmicrohttpd ---- */
void *request_new(void *http, const char *uri, struct MHD_Connection *connection);
enum MHD_Result request_access(void *http, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data, size_t *size,
                               void **request_context);
void request_completed(void *http, struct MHD_Connection *connection, void **request_context,
                       enum MHD_RequestTerminationCode code);

/* ---- wait.c ---- */
void waiter_add(struct http *http, struct waiter *waiter, struct MHD_Connection *connection, const char *job);
void waiter_remove(struct http *http, struct waiter *waiter);
void waiter_arm(struct http *http, struct waiter *waiter); /* before looking whether something is there */
/* Suspends the connection until an event of the job or wake_ns, unless one came since waiter_arm or the
 * server ends: then false. libmicrohttpd's thread only. */
bool waiter_suspend(struct http *http, struct waiter *waiter, int64_t wake_ns);
void waiters_wake(struct http *http, const char *job /* NULL = all */);
void waiters_expire(struct http *http, int64_t now_ns);

/* ---- connection.c ---- */
void connection_notify(void *context, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code);
/* Starts a phase; its deadline is request_timeout from now, none while answering. */
void connection_phase(struct http *http, struct connection *connection, enum connection_phase phase);
/* For requests that are answered while their body is under way. */
void connection_unread(struct http *http, struct connection *connection);
void connections_expire(struct http *http, int64_t now_ns);
/* Ends what lingers. After libmicrohttpd has stopped. */
void connections_clear(struct http *http);
/* A whole error answer written past libmicrohttpd, which takes none while a body is still coming in. The
 * connection must be closed after it. With TLS on libmicrohttpd's thread only. */
void connection_send_problem(const struct connection *connection, enum problem_code code, const char *detail);
