/* A random client against a real daemon: submits, pauses, resumes, cancels, erases, lists, waits, restarts
 * and kills, and holds every answer against a small model of a job's life.
 *
 *   integration_random_test                   some 6 s from seed 1, as ctest runs it
 *   integration_random_test SECONDS SEED      the long form
 *
 * A job moves on by itself between two requests, so the model keeps the set of states that it may be in: what
 * it was in when last seen, and what is reached from there without being asked. Each answer must fit a state
 * of the set, and narrows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/support/contract.h"

#define JOBS 400 /* known at a time; then one that was erased makes room for the next */
#define OPEN 8   /* that have not ended, about */

enum state { QUEUED, RUNNING, PAUSING, PAUSED, CANCELING, CANCELED, SUCCEEDED, FAILED, STATES };
static const char *const names[STATES] = {"queued",    "running",  "pausing",   "paused",
                                          "canceling", "canceled", "succeeded", "failed"};
#define BIT(state) (1u << (state))
#define ENDED (BIT(CANCELED) | BIT(SUCCEEDED) | BIT(FAILED))

struct job {
  char id[64], key[32], model[64]; /* model "" = not known to have one */
  uint32_t may;                    /* bits of states; 0 = erased */
  unsigned number;                 /* in the order of their submission */
  unsigned group, kills;
  bool brief;   /* ends by itself */
  bool resumed; /* while it paused: its thread may have given up its place, and others are before it then */
};

static struct server server;
static struct job jobs[JOBS];
static unsigned count, submitted, operations;
static double seconds = 6;
static uint64_t seed = 1, draws;
static char said[4096]; /* the last operations */

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static unsigned draw(unsigned below) {
  uint64_t z = seed * 0x632be59bd9b4e019u + ++draws * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (unsigned)((z ^ z >> 31) % below);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  char line[200];
  va_list args;
  va_start(args, format);
  int used = snprintf(line, sizeof(line), "%u: ", operations);
  (void)vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
  va_end(args);
  if (strlen(said) + strlen(line) + 2 > sizeof(said))
    memmove(said, said + sizeof(said) / 2, sizeof(said) / 2); /* with its NUL */
  (void)strncat(said, line, sizeof(said) - strlen(said) - 2);
  (void)strcat(said, "\n");
}

#define wrong(...)                                                  \
  do {                                                              \
    print_error("seed %llu: %s\n", (unsigned long long)seed, said); \
    fail_msg(__VA_ARGS__);                                          \
  } while (0)

/* ---- the model ---- */

/* States that are reached without being asked. */
static uint32_t moves_on(const struct job *job, uint32_t may) {
  for (uint32_t before = 0; before != may;) {
    before = may;
    if (may & BIT(QUEUED))
      may |= BIT(RUNNING);
    if (may & BIT(PAUSING))
      may |= BIT(PAUSED);
    if (job->resumed && may & BIT(RUNNING))
      may |= BIT(QUEUED);
    if (may & BIT(CANCELING))
      may |= BIT(CANCELED);
    if (job->brief && may & (BIT(RUNNING) | BIT(PAUSING)))
      may |= BIT(SUCCEEDED);
  }
  return may;
}

static uint32_t of_name(const char *name) {
  for (unsigned i = 0; i < STATES; i++)
    if (strcmp(name, names[i]) == 0)
      return BIT(i);
  wrong("there is no state %s", name);
  return 0;
}

struct verb {
  const char *name;
  uint32_t refused; /* 409 */
  enum state to[STATES];
};
static const struct verb verbs[] = {
    {"cancel",
     BIT(SUCCEEDED) | BIT(FAILED),
     {CANCELED, CANCELING, CANCELING, CANCELED, CANCELING, CANCELED, SUCCEEDED, FAILED}},
    {"pause",
     ENDED | BIT(CANCELING),
     {PAUSED, PAUSING, PAUSING, PAUSED, CANCELING, CANCELED, SUCCEEDED, FAILED}},
    {"resume",
     ENDED | BIT(CANCELING),
     {QUEUED, RUNNING, RUNNING, QUEUED, CANCELING, CANCELED, SUCCEEDED, FAILED}},
};

/* The job is in `seen` now: it must be possible. */
static void observe(struct job *job, uint32_t may, const struct reply *reply) {
  const char *state = json_string_value(json_object_get(reply->json, "state"));
  const char *model = json_string_value(json_object_get(reply->json, "model"));
  const uint32_t seen = of_name(state);
  if (!(moves_on(job, may) & seen))
    wrong("%s is %s, of the states %#x: %s", job->id, state, moves_on(job, may), reply->body);
  if (json_is_true(json_object_get(reply->json, "terminal")) != !!(seen & ENDED))
    wrong("%s", reply->body);
  job->may = seen;
  (void)snprintf(job->model, sizeof(job->model), "%s", model ? model : "");
  if ((seen == BIT(SUCCEEDED)) < !!*job->model)
    wrong("a model before the end: %s", reply->body);
}

/* ---- operations ---- */

static const char *path_of(const struct job *job, const char *rest) {
  static char path[160];
  (void)snprintf(path, sizeof(path), "/v1/jobs/%.63s%.60s", job->id, rest);
  return path;
}

static struct job *any(void) {
  return count ? &jobs[draw(count)] : NULL;
}

static void get(struct job *job) {
  struct reply reply;
  ask(&server, "GET", path_of(job, ""), NULL, NULL, 0, &reply);
  if (reply.status != (job->may ? 200 : 404))
    wrong("%s: %ld", job->id, reply.status);
  if (job->may)
    observe(job, job->may, &reply);
  reply_done(&reply);
}

static void post(const char *body, const char *key, struct reply *ret_reply) {
  char header[128];
  (void)snprintf(header, sizeof(header), "Content-Type: application/json\nIdempotency-Key: %s", key);
  ask(&server, "POST", "/v1/jobs", header, body, strlen(body), ret_reply);
}

static void make_body(const struct job *job, char ret_body[512]) {
  (void)snprintf(
      ret_body, 512,
      "{\"type\":\"train\",\"dataset\":\"faces\",\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32,"
      "\"width\":%s,\"embedding\":16},\"train\":{\"epochs\":%s,\"batch\":2},\"audit\":{\"attacks\":[]},"
      "\"priority\":%u,\"labels\":{\"group\":\"%u\"}}",
      job->brief ? "0.25" : "1", job->brief ? "1" : "1000", job->group, job->group);
}

static unsigned open_jobs(void) {
  unsigned open = 0;
  for (unsigned i = 0; i < count; i++)
    open += jobs[i].may && !(jobs[i].may & ENDED);
  return open;
}

/* Where the next job is kept: NULL = nowhere before one is erased. */
static struct job *place(void) {
  if (count < JOBS)
    return &jobs[count];
  for (unsigned i = 0, from = draw(JOBS); i < JOBS; i++)
    if (!jobs[(from + i) % JOBS].may)
      return &jobs[(from + i) % JOBS];
  return NULL;
}

static void submit_one(void) {
  char body[512];
  struct reply reply;
  struct job *job = place();
  if (!job || open_jobs() >= OPEN)
    return;
  *job = (struct job){.may = BIT(QUEUED), .number = submitted, .group = draw(3), .brief = draw(2) == 0};
  (void)snprintf(job->key, sizeof(job->key), "key-%u", job->number);
  make_body(job, body);
  post(body, job->key, &reply);
  if (reply.status != 201)
    wrong("%ld %s", reply.status, reply.body);
  (void)snprintf(job->id, sizeof(job->id), "%s", json_string_value(json_object_get(reply.json, "id")));
  say("submit %u %s", job->number, job->id);
  observe(job, job->may, &reply);
  reply_done(&reply);
  submitted++;
  count += job == &jobs[count];
}

/* The same request once more is the same job, another one with its key is refused. */
static void submit_again(struct job *job) {
  char body[512];
  struct reply reply;
  if (!job->may)
    return;
  make_body(job, body);
  post(body, job->key, &reply);
  if (reply.status != 201 || strcmp(job->id, json_string_value(json_object_get(reply.json, "id"))) != 0)
    wrong("%s again: %ld %s", job->id, reply.status, reply.body);
  observe(job, job->may, &reply);
  reply_done(&reply);
  post("{\"type\":\"train\",\"dataset\":\"faces\"}", job->key, &reply);
  if (reply.status != 422)
    wrong("another body with the key of %s: %ld", job->id, reply.status);
  reply_done(&reply);
}

static void control(struct job *job, const struct verb *verb) {
  char rest[16];
  struct reply reply;
  const uint32_t may = moves_on(job, job->may);
  uint32_t after = 0;
  (void)snprintf(rest, sizeof(rest), "/%s", verb->name);
  ask(&server, "POST", path_of(job, rest), NULL, NULL, 0, &reply);
  say("%s %s: %ld", verb->name, job->id, reply.status);
  job->resumed |= verb->to[PAUSING] == RUNNING && may & BIT(PAUSING);
  if (!job->may && reply.status != 404)
    wrong("%s was erased: %ld", job->id, reply.status);
  for (unsigned s = 0; s < STATES; s++)
    if (may & BIT(s) && (reply.status == 409) == !!(verb->refused & BIT(s)))
      after |= BIT(verb->to[s]);
  if (job->may && (!after || (reply.status != 200 && reply.status != 409)))
    wrong("%s %s of the states %#x: %ld %s", verb->name, job->id, may, reply.status, reply.body);
  if (job->may && reply.status == 200)
    observe(job, after, &reply);
  else
    job->may = after;
  reply_done(&reply);
}

static void long_poll(struct job *job) {
  char rest[48];
  struct reply reply;
  const unsigned known = draw(STATES);
  const double began = now();
  if (!job->may)
    return;
  (void)snprintf(rest, sizeof(rest), "?wait=1&state=%s", names[known]);
  ask(&server, "GET", path_of(job, rest), NULL, NULL, 0, &reply);
  say("wait while %s is %s", job->id, names[known]);
  if (reply.status != 200)
    wrong("%ld %s", reply.status, reply.body);
  if (!(moves_on(job, job->may) & BIT(known)) && now() - began > 0.9)
    wrong("%s was not %s, but the answer came after %.1f s", job->id, names[known], now() - began);
  observe(job, job->may, &reply);
  if (job->may == BIT(known) && !(job->may & ENDED) && now() - began < 0.9)
    wrong("%s is still %s after %.1f s", job->id, names[known], now() - began);
  reply_done(&reply);
}

static void erase(struct job *job) {
  struct reply reply;
  const uint32_t may = moves_on(job, job->may);
  const bool known_model = *job->model != 0;
  ask(&server, "DELETE", path_of(job, ""), NULL, NULL, 0, &reply);
  say("erase %s: %ld", job->id, reply.status);
  const bool could = may & ENDED && !(may == BIT(SUCCEEDED) && known_model);
  const bool must = (may & ~ENDED) == 0 && !(may & BIT(SUCCEEDED));
  if (reply.status == 200   ? !could
      : reply.status == 409 ? !job->may || must
                            : job->may || reply.status != 404)
    wrong("erasing %s in the states %#x: %ld %s", job->id, may, reply.status, reply.body);
  if (reply.status == 200)
    job->may = 0;
  reply_done(&reply);
}

static void erase_model(struct job *job) {
  char path[160];
  struct reply reply;
  if (!*job->model)
    return;
  (void)snprintf(path, sizeof(path), "/v1/models/%s", job->model);
  ask(&server, "DELETE", path, NULL, NULL, 0, &reply);
  say("erase %s of %s: %ld", job->model, job->id, reply.status);
  if (reply.status != 200)
    wrong("%ld %s", reply.status, reply.body);
  *job->model = 0;
  reply_done(&reply);
}

static struct job *find(const char *id) {
  for (unsigned i = 0; i < count; i++)
    if (strcmp(jobs[i].id, id) == 0)
      return &jobs[i];
  wrong("%s was never submitted", id);
  return NULL;
}

/* A list in pages of 3: newest first, none twice, none missing that must be there. */
static void list(enum state wanted, unsigned group) {
  char path[200], cursor[64] = "";
  const struct job *last = NULL;
  bool seen[JOBS] = {false};
  uint32_t before[JOBS];
  for (unsigned i = 0; i < count; i++)
    before[i] = jobs[i].may;
  do {
    struct reply reply;
    const json_t *row;
    size_t i;
    (void)snprintf(path, sizeof(path), "/v1/jobs?limit=3&state=%s&label=group:%u%s%s", names[wanted], group,
                   *cursor ? "&cursor=" : "", cursor);
    expect(&server, "GET", path, NULL, 200, &reply);
    json_array_foreach(json_object_get(reply.json, "data"), i, row) {
      struct job *job = find(json_string_value(json_object_get(row, "id")));
      const struct reply part = {.json = (json_t *)row, .body = reply.body};
      if (seen[job - jobs] || (last && job->number > last->number) || job->group != group)
        wrong("%s does not belong here: %s", job->id, reply.body);
      seen[job - jobs] = true;
      last = job;
      observe(job, job->may, &part);
      if (job->may != BIT(wanted))
        wrong("%s is not %s: %s", job->id, names[wanted], reply.body);
    }
    const char *next = json_string_value(json_object_get(reply.json, "next"));
    (void)snprintf(cursor, sizeof(cursor), "%s", next ? next : "");
    reply_done(&reply);
  } while (*cursor);
  say("list %s %u", names[wanted], group);
  for (unsigned i = 0; i < count; i++)
    if (!seen[i] && jobs[i].group == group && before[i] && moves_on(&jobs[i], before[i]) == BIT(wanted))
      wrong("%s is %s and not listed", jobs[i].id, names[wanted]);
}

static void cancel_group(unsigned group) {
  char path[64];
  bool told[JOBS] = {false};
  struct reply reply;
  const json_t *row;
  size_t i;
  (void)snprintf(path, sizeof(path), "/v1/jobs/cancel?label=group:%u", group);
  expect(&server, "POST", path, NULL, 200, &reply);
  say("cancel group %u", group);
  json_array_foreach(json_object_get(reply.json, "jobs"), i, row) {
    struct job *job = find(json_string_value(json_object_get(row, "id")));
    const uint32_t seen = of_name(json_string_value(json_object_get(row, "state")));
    if (job->group != group || !(seen & (BIT(CANCELING) | BIT(CANCELED))))
      wrong("%s", reply.body);
    job->may = seen;
    told[job - jobs] = true;
  }
  for (unsigned k = 0; k < count; k++) {
    if (told[k] || jobs[k].group != group || !jobs[k].may)
      continue;
    jobs[k].may =
        moves_on(&jobs[k], jobs[k].may) & (ENDED | BIT(CANCELING)); /* it had ended, or was about to */
    if (!jobs[k].may)
      wrong("%s was not canceled: %s", jobs[k].id, reply.body);
  }
  reply_done(&reply);
}

/* What was running is queued again, what was about to stop has stopped. */
static void restart(bool killed) {
  say(killed ? "kill" : "restart");
  if (killed)
    server_kill(&server);
  else
    assert_int_equal(server_stop(&server), 0);
  server_start(&server);
  for (unsigned i = 0; i < count; i++) {
    const uint32_t may = moves_on(&jobs[i], jobs[i].may);
    jobs[i].may = (may & (BIT(PAUSED) | ENDED | BIT(QUEUED))) | (may & BIT(RUNNING) ? BIT(QUEUED) : 0) |
                  (may & BIT(PAUSING) ? BIT(PAUSED) : 0) | (may & BIT(CANCELING) ? BIT(CANCELED) : 0);
    jobs[i].kills += killed && may & BIT(RUNNING);
    if (jobs[i].kills > 3 && may & BIT(RUNNING)) /* perhaps never with a new checkpoint */
      jobs[i].may |= BIT(FAILED);
  }
}

static void operate(void) {
  struct job *job = any();
  const unsigned what = draw(100);
  operations++;
  if (!job || what < 22)
    submit_one();
  else if (what < 62)
    control(job, &verbs[draw(3)]);
  else if (what < 72)
    get(job);
  else if (what < 76)
    long_poll(job);
  else if (what < 82)
    list((enum state)draw(STATES), draw(3));
  else if (what < 86)
    submit_again(job);
  else if (what < 92)
    erase(job);
  else if (what < 96)
    erase_model(job);
  else if (what < 98)
    cancel_group(draw(3));
  else if (draw(4) == 0)
    restart(draw(2));
}

/* ---- the end ---- */

/* What the daemon says that happened to the job is a way through the machine, from its beginning to its end.
 */
static void check_history(struct job *job) {
  static const uint32_t next[STATES] = {
      [QUEUED] = BIT(RUNNING) | BIT(PAUSED) | BIT(CANCELED),
      [RUNNING] = BIT(QUEUED) | BIT(PAUSING) | BIT(CANCELING) | BIT(SUCCEEDED) | BIT(FAILED),
      [PAUSING] = BIT(RUNNING) | BIT(PAUSED) | BIT(CANCELING) | BIT(SUCCEEDED),
      [PAUSED] = BIT(QUEUED) | BIT(CANCELED),
      [CANCELING] = BIT(CANCELED)};
  struct reply reply;
  const json_t *row;
  size_t i;
  uint32_t may = BIT(QUEUED), at = 0;
  expect(&server, "GET", path_of(job, ""), NULL, 200, &reply);
  observe(job, job->may, &reply);
  json_array_foreach(json_object_get(reply.json, "transitions"), i, row) {
    at = of_name(json_string_value(json_object_get(row, "state")));
    if (!(may & at))
      wrong("%s", reply.body);
    may = next[__builtin_ctz(at)];
  }
  if (at != job->may || !(at & ENDED))
    wrong("%s", reply.body);
  reply_done(&reply);
}

static void a_random_client(void **state) {
  const double end = now() + seconds;
  unsigned there = 0;
  (void)state;
  while (now() < end)
    operate();
  for (unsigned group = 0; group < 3; group++)
    cancel_group(group);
  for (unsigned i = 0; i < count; i++)
    for (int k = 0; jobs[i].may & ~ENDED; k++) {
      if (k == 500)
        wrong("%s does not end", jobs[i].id);
      (void)usleep(20000);
      get(&jobs[i]);
    }
  for (unsigned i = 0; i < count; i++) {
    if (!jobs[i].may)
      continue;
    check_history(&jobs[i]);
    erase_model(&jobs[i]);
    erase(&jobs[i]);
    if (jobs[i].may)
      wrong("%s could not be erased", jobs[i].id);
    there++;
  }
  struct reply reply;
  expect(&server, "GET", "/v1/jobs", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "data")), 0);
  reply_done(&reply);
  print_message("seed %llu: %u operations on %u jobs, %u of them there at the end\n",
                (unsigned long long)seed, operations, submitted, there);
}

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server.option[0] = "--workers=2";
  server.option[1] = "--threads=1";
  server.option[2] = "--cores=2";
  server_start(&server);
  upload_faces(&server, "faces", 4, 4);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  return status;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_random_client)};
  if (argc == 3) {
    seconds = strtod(argv[1], NULL);
    seed = strtoull(argv[2], NULL, 10);
  }
  return cmocka_run_group_tests(tests, setup, teardown);
}
