/* A real guised under test: its own state directory, a free loopback port, ended or killed at will; and
 * requests to it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct server {
  char root[64];         /* temporary directory: state/ and what a test puts there */
  char url[128];         /* http://127.0.0.1:PORT */
  const char *ca;        /* PEM file that ask trusts at https://, or NULL */
  pid_t pid;             /* 0 = not running */
  const char *option[8]; /* more of guised's flags, each "--name=value"; those set before server_start */
};

void server_prepare(struct server *server); /* makes root */
void server_start(struct server *server);   /* waits until it listens */
void server_launch(struct server *server);  /* does not wait */
void server_kill(struct server *server);    /* SIGKILL */
/* Starts guised, which must refuse to: returns what it said (static storage). */
const char *server_refuses(struct server *server);
int server_stop(struct server *server);   /* SIGTERM; the exit status, or -1 when a signal ended it */
void server_clean(struct server *server); /* kills what runs, removes root */

struct reply {
  long status;
  char *body; /* NUL-terminated, owned */
  size_t size;
  char *headers;    /* as received, owned */
  json_t *json;     /* of a JSON body, else NULL; owned */
  char failure[96]; /* why there is no answer */
};
void reply_done(struct reply *reply);
/* One request; body NULL = none; header: "Name: value" lines separated by \n, or NULL. Fails the test when
 * there is no answer, or one that schema/openapi.yaml does not promise (contract.h). */
void ask(struct server *server, const char *method, const char *path, const char *header, const void *body,
         size_t bytes, struct reply *ret_reply);
/* The same from any thread; false when there is no answer. */
bool ask_once(const struct server *server, const char *method, const char *path, const char *header,
              const void *body, size_t bytes, struct reply *ret_reply);
/* As ask, and the status must be `status`. */
void expect(struct server *server, const char *method, const char *path, const char *json_body, long status,
            struct reply *ret_reply);
/* A socket that is connected to it. */
int server_dial(const struct server *server);
unsigned server_open_files(const struct server *server); /* of the daemon, and . and .. */
/* Bytes to the socket, and what comes back until it closes or 5 s pass; returns the status of the answer, 0
 * without one. */
int ask_raw(struct server *server, const void *bytes, size_t size, char *ret_answer, size_t room);
/* Value of a header of the answer (static storage), "" when missing. */
const char *header_of(const struct reply *reply, const char *name);

/* Uploads `people` x `images` synthetic faces of 32 pixels as `name` and waits until it is ready. */
void upload_faces(struct server *server, const char *name, uint32_t people, uint32_t images);
/* Submits a job and returns its id (static storage). */
const char *submit(struct server *server, const char *json_body);
/* Waits until the job is terminal (or, when `epoch` is not 0, running and in that epoch); returns the state
 * (static storage). */
const char *wait_job(struct server *server, const char *id, unsigned epoch, double seconds);
/* The id of the job's model (static storage). */
const char *model_of(struct server *server, const char *job);
/* Submits the job, which must succeed, and tells its model. */
void train_model(struct server *server, const char *json_body, char ret_model[64]);
