/* The client where things are not as they should be: folders with more in them than faces, connections that
 * break, daemons that restart, jobs that fail; and what it tells and lists. The daemon listens on a Unix
 * socket, so that it has the same address after a restart. The tests build on each other in the order of
 * main(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/image/synth.h"
#include "tests/integration/support/faces.h"
#include "tests/integration/support/proxy.h"
#include "tests/integration/support/shell.h"

/* Over in seconds; and a mask that cannot be a part of the network. */
#define TINY                                                                                        \
  "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},\"mask\":{\"method\":\"ldp_slicing\"}," \
  "\"audit\":{\"attacks\":[]}"

static struct server server;
static struct proxy proxy;
static char listen_option[128];

static int start(void **state) {
  (void)state;
  server_prepare(&server);
  (void)snprintf(listen_option, sizeof(listen_option), "--listen=unix:%s/sock", server.root);
  server.option[0] = listen_option;
  server.option[1] = "--retry-delay-s=0";
  server.option[2] = "--threads=1";
  server.option[3] = "--workers=1";
  server.option[4] = "--owner-bytes=20MiB";
  server_start(&server);
  shell_start(&server);
  proxy_start(&proxy, server.url);
  assert_int_equal(setenv("PROXY", proxy.url, 1), 0);
  (void)shell(0, "\"$G\" ready --wait 30");
  (void)shell(0, "\"$G\" synth \"$D/a.tar\" --identities 12 --images 8 --size 32 && mkdir \"$D/faces\" && "
                 "tar xf \"$D/a.tar\" -C \"$D/faces\"");
  (void)shell(0, "echo '{\"type\":\"train\",\"dataset\":\"people\",\"holdout\":{\"identities\":0.34}," TINY
                 ",\"train\":{\"epochs\":1,\"batch\":16,\"warmup_steps\":0}}' >\"$D/job.json\"");
  return 0;
}

static int stop(void **state) {
  (void)state;
  proxy_stop(&proxy);
  int status = server_stop(&server);
  server_clean(&server);
  assert_int_equal(status, 0);
  return 0;
}

/* ---- folders ---- */

static void what_is_left_out_is_told(void **state) {
  (void)state;
  (void)shell(0, "cd \"$D/faces\" && touch .DS_Store loose.jpg && mkdir person-001/more && "
                 "ln -s nowhere person-001/lost.jpg && mkdir \"$D/linked\" && "
                 "mv person-002 \"$D/linked/\" && ln -s \"$D/linked/person-002\" . && "
                 "mv person-003/01.ppm \"$D/linked/\" && ln -s \"$D/linked/01.ppm\" person-003/");
  struct output *output = shell(0, "\"$G\" dataset add people \"$D/faces\" --size 32");
  expect_text(output->out, "12 people, 96 images, 0 rejected"); /* links are followed */
  expect_text(output->err, "left out: 1 hidden files or folders, the first: .DS_Store\n");
  expect_text(output->err, "left out: 1 files that are in no person's folder, the first: loose.jpg\n");
  expect_text(output->err, "left out: 1 folders in a person's folder, with all that is in them, the first: "
                           "person-001/more\n");
  expect_text(output->err, "left out: 1 links that lead nowhere, the first: person-001/lost.jpg\n");
  output = shell(1, "mkdir \"$D/flat\" && touch \"$D/flat/1.jpg\" && \"$G\" dataset add flat \"$D/flat\"");
  expect_text(output->err, "in no person's folder, the first: 1.jpg");
  expect_text(output->err, "IDENTITY/IMAGE");
}

/* ---- lists ---- */

static void pairs_lists_are_listed(void **state) {
  (void)state;
  (void)shell(0, "printf '1\\nperson-001 1 2\\nperson-001 1 person-002 1\\n' >\"$D/pairs.txt\" && "
                 "\"$G\" dataset pairs people view2 \"$D/pairs.txt\"");
  expect_text(shell(0, "\"$G\" dataset pairs people")->out, "view2");
  expect_text(shell(0, "\"$G\" --json dataset pairs people")->out, "\"pairs\": 2");
  (void)shell(2, "\"$G\" dataset pairs people view2");
  (void)shell(1, "\"$G\" dataset pairs nobody");
}

static void a_dry_run_submits_nothing(void **state) {
  (void)state;
  expect_text(shell(0, "\"$G\" submit \"$D/job.json\" --dry-run")->out, "nothing was submitted");
  expect_text(shell(0, "\"$G\" --json submit \"$D/job.json\" --dry-run")->out, "\"epochs\": 1");
  expect_text(shell(1, "\"$G\" submit \"$D/job.json\" --dry-run --epochs 0")->err, "/train/epochs");
  (void)shell(2, "\"$G\" submit \"$D/job.json\" --dry-run --follow");
  expect_text(shell(0, "\"$G\" --json ls")->out, "[]");
}

/* ---- connections ---- */

static void who_never_answered_is_not_waited_for(void **state) {
  (void)state;
  static const char *const commands[] = {"follow job_1", "events job_1", "submit --dataset people",
                                         "dataset add x \"$D/a.tar\""};
  char line[256];
  for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
    (void)snprintf(line, sizeof(line), "timeout 20 \"$G\" --url http://127.0.0.1:1 %s", commands[i]);
    expect_text(shell(4, line)->err, "no daemon answers at http://127.0.0.1:1");
  }
}

/* The daemon has the job, and the client does not know: it asks again, and there is one job. */
static void a_lost_answer_makes_no_second_job(void **state) {
  (void)state;
  proxy_lose(&proxy, 1, 2);
  struct output *output =
      shell(0, "\"$G\" --url \"$PROXY\" submit \"$D/job.json\" --set '/labels/lost=\"yes\"'");
  expect_text(output->out, " submitted");
  expect_text(output->err, "connection lost, trying again");
  assert_true(atomic_load(&proxy.answers) >= 3);
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("J", output->out, 1), 0);
  expect_text(
      shell(0, "test $(\"$G\" ls --label lost:yes | tail -n +2 | wc -l) = 1 && \"$G\" ls --label lost")->out,
      getenv("J"));
  expect_text(shell(0, "\"$G\" --json ls --label lost:no --limit 5")->out, "[]");
}

/* The daemon has the data set, and the client does not know: it asks for it. */
static void a_lost_answer_makes_no_second_upload(void **state) {
  (void)state;
  static const char *const sources[] = {"faces", "a.tar"};
  char line[256];
  for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
    proxy_lose(&proxy, 1, 2);
    (void)snprintf(line, sizeof(line), "\"$G\" --url \"$PROXY\" dataset add lost-%zu \"$D/%s\" --size 32", i,
                   sources[i]);
    struct output *output = shell(0, line);
    expect_text(output->out, "12 people, 96 images, 0 rejected");
    expect_text(output->err, "connection lost, trying again");
    assert_true(atomic_load(&proxy.answers) >= 3);
    (void)snprintf(line, sizeof(line), "test $(\"$G\" dataset ls | grep -c lost-%zu) = 1", i);
    (void)shell(0, line);
  }
  proxy_lose(&proxy, 0, 0);
  /* another data set of that name is no answer that was lost */
  (void)shell(0, "\"$G\" synth \"$D/b.tar\" --identities 12 --images 8 --size 32 --seed 9");
  expect_text(shell(1, "\"$G\" --url \"$PROXY\" dataset add lost-1 \"$D/b.tar\" --size 32")->err, "lost-1");
}

/* Nor does the client bring back what was erased before it came to ask. */
static void what_was_erased_meanwhile_stays_away(void **state) {
  (void)state;
  proxy_lose(&proxy, 1, 1000);
  (void)shell(0, "( \"$G\" --url \"$PROXY\" dataset add gone \"$D/a.tar\" --size 32 >\"$D/g.out\" "
                 "2>\"$D/g.err\"; echo $? >\"$D/g.code\" ) & "
                 "until \"$G\" dataset show gone >/dev/null 2>&1; do sleep .1; done; \"$G\" dataset rm gone");
  proxy_lose(&proxy, 0, 0);
  (void)shell(0, "until test -s \"$D/g.code\"; do sleep .1; done");
  expect_text(shell(0, "cat \"$D/g.code\"")->out, "1");
  expect_text(shell(0, "cat \"$D/g.err\"")->out, "there is no data set gone");
  (void)shell(1, "\"$G\" dataset show gone");
}

/* The half that came still counts in the quota when all of it is sent again. */
static void what_was_broken_off_is_sent_again(void **state) {
  (void)state;
  (void)shell(0, "\"$G\" synth \"$D/large.tar\" --identities 12 --images 8 --size 224");
  struct output *output = shell(0, "\"$G\" token add eve --owner eve --scope datasets:read,datasets:write");
  output->out[strcspn(output->out, "\n")] = 0;
  assert_int_equal(setenv("T", output->out, 1), 0);
  atomic_store(&proxy.cut, 1 << 20);
  output = shell(0, "GUISE_TOKEN=$T \"$G\" --url \"$PROXY\" dataset add eves \"$D/large.tar\" --size 32");
  assert_int_equal(atomic_load(&proxy.cut), 0);
  expect_text(output->out, "12 people, 96 images, 0 rejected");
  expect_text(output->err, "connection lost, trying again");
  /* what is too much without any loss is told at once */
  (void)shell(0, "cat \"$D/large.tar\" \"$D/large.tar\" >\"$D/larger.tar\"");
  expect_text(shell(1, "GUISE_TOKEN=$T \"$G\" --url \"$PROXY\" dataset add more \"$D/larger.tar\"")->err,
              "owner_bytes");
  (void)shell(0, "\"$G\" dataset rm eves && \"$G\" token revoke "
                 "$(\"$G\" token ls | sed -n 's/^\\(tok_[a-z0-9]*\\) .*eve.*/\\1/p')");
}

static void an_ingest_is_waited_for_over_lost_polls(void **state) {
  (void)state;
  proxy_lose(&proxy, 2, 4);
  struct output *output = shell(0, "\"$G\" --url \"$PROXY\" dataset add again \"$D/a.tar\" --size 32");
  expect_text(output->out, "12 people, 96 images, 0 rejected");
  expect_text(output->err, "connection lost, trying again");
  proxy_lose(&proxy, 0, 0);
}

/* ---- a model ---- */

static void models_are_told_of(void **state) {
  (void)state;
  (void)shell(0, "\"$G\" follow $J");
  struct output *output = shell(0, "\"$G\" model show $J");
  expect_text(output->out, "model       mdl_");
  expect_text(output->out, "mask        ldp_slicing");
  expect_text(output->out, "--far       0.1\n"); /* 112 pairs of different people: 10 / 0.1, and no more */
  expect_text(output->out, "not audited");
  expect_text(output->out, "model.onnx");
  expect_text(shell(0, "\"$G\" --json model show $J")->out, "\"facts\"");
  expect_text(shell(1, "\"$G\" model show mdl_none")->err, "no model");
  /* a mask that cannot be a part of the network */
  output = shell(0, "\"$G\" get $J --unsafe -o \"$D/got\"");
  expect_text(output->err, "model.onnx begins at a masked template");
  expect_text(shell(0, "\"$G\" get $J --unsafe model.onnx -o \"$D/got\"")->err,
              "begins at a masked template");
  output = shell(0, "\"$G\" get $J --unsafe card.md -o \"$D/got\"");
  assert_null(strstr(output->err, "template"));
}

/* Without --far verify takes the smallest rate that there is a threshold for. */
static void verify_takes_the_rate_that_there_is(void **state) {
  (void)state;
  for (uint32_t i = 1; i <= 2; i++) {
    char path[128];
    uint8_t rgb[32 * 32 * 3], png[2 * sizeof(rgb)];
    synth_face(1, 0, i, 32, rgb);
    const size_t bytes = face_png(rgb, 32, png, sizeof(png));
    (void)snprintf(path, sizeof(path), "%s/%u.png", server.root, i);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(png, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
  }
  expect_text(shell(0, "\"$G\" verify $J \"$D/1.png\" \"$D/2.png\" --unsafe")->out,
              "at a false accept rate of 0.1");
  expect_text(shell(1, "\"$G\" verify $J \"$D/1.png\" \"$D/2.png\" --unsafe --far 0.01")->err, "/far");
}

/* ---- jobs that are followed ---- */

/* A job of many epochs; its id is in $L. */
static void submit_long_job(void) {
  struct output *output = shell(0, "\"$G\" submit \"$D/job.json\" --epochs 1000 --set /train/batch=2");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("L", output->out, 1), 0);
}

static void a_restart_is_survived(void **state) {
  (void)state;
  submit_long_job();
  (void)shell(0, "( \"$G\" follow $L >\"$D/f.out\" 2>\"$D/f.err\"; echo $? >\"$D/f.code\" ) & "
                 "until grep -q 'epoch ' \"$D/f.err\"; do sleep .1; done");
  assert_int_equal(server_stop(&server), 0);
  (void)shell(0, "until grep -q 'connection lost' \"$D/f.err\"; do sleep .1; done; test ! -e \"$D/f.code\"");
  server_start(&server);
  /* it goes on watching: lines of epochs after that of the lost connection */
  (void)shell(0,
              "\"$G\" ready --wait 60 && until sed '1,/connection lost/d' \"$D/f.err\" | grep -q epoch; do "
              "test ! -e \"$D/f.code\" || exit 1; sleep .1; done");
  (void)shell(0, "\"$G\" cancel $L && until test -s \"$D/f.code\"; do sleep .1; done");
  expect_text(shell(0, "cat \"$D/f.code\"")->out, "3");
}

/* What `command` shows on a terminal of 100 columns. */
static const char *on_terminal(const char *command, int *ret_code) {
  static char screen[1 << 20];
  struct winsize size = {.ws_row = 24, .ws_col = 100};
  int terminal = -1, status = 0;
  size_t have = 0;
  pid_t pid = forkpty(&terminal, NULL, NULL, &size);
  assert_true(pid >= 0);
  if (pid == 0) {
    (void)setenv("TERM", "xterm", 1);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  for (ssize_t n = 1; n > 0 && have + 1 < sizeof(screen); have += n > 0 ? (size_t)n : 0)
    n = read(terminal, screen + have, sizeof(screen) - 1 - have); /* EIO when the last has closed it */
  screen[have] = 0;
  (void)close(terminal);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  *ret_code = WEXITSTATUS(status);
  return screen;
}

static void a_bar_is_drawn_on_a_terminal(void **state) {
  (void)state;
  int code = 0;
  submit_long_job();
  /* another one ends it, once it has been seen at work */
  (void)shell(0, "( until \"$G\" show $L | grep -q 'epoch [1-9]'; do sleep .2; done; sleep 2; "
                 "\"$G\" cancel $L ) >/dev/null 2>&1 &");
  const char *screen = on_terminal("exec \"$G\" follow $L", &code);
  assert_int_equal(code, 3);
  expect_text(screen, "\r\033[K"); /* a line that is drawn over itself */
  expect_text(screen, "/1000 [");
  expect_text(screen, "....] ");
  expect_text(screen, "images/s");
  const char *end = strrchr(screen, '\033'); /* the last bar is gone before what came of it */
  assert_non_null(end);
  expect_text(end, "\033[Kguise: ");
  expect_text(end, "was canceled");
  /* no bar where there is no terminal */
  assert_null(strchr(shell(3, "TERM=xterm \"$G\" follow $L")->err, '\033'));
}

static void an_upload_of_a_folder_has_a_bar(void **state) {
  (void)state;
  int code = 0;
  (void)shell(0, "\"$G\" synth \"$D/bar.tar\" --identities 4 --images 4 --size 64 && mkdir \"$D/bar\" && "
                 "tar -xf \"$D/bar.tar\" -C \"$D/bar\"");
  const char *screen = on_terminal("exec \"$G\" dataset add bar \"$D/bar\" --size 64", &code);
  assert_int_equal(code, 0);
  expect_text(screen, "uploading");
  expect_text(screen, "\r\033[K");
  expect_text(strrchr(screen, '\033'), "4 people, 16 images, 0 rejected"); /* the bar is gone by then */
  struct output *output = shell(0, "TERM=xterm \"$G\" dataset add bar2 \"$D/bar\" --size 64");
  assert_null(strchr(output->err, '\033'));
  (void)shell(0, "\"$G\" dataset rm bar && \"$G\" dataset rm bar2");
}

/* One value of JSON, for commands whose answer a program has no other way to read. */
static void answers_are_json(void **state) {
  (void)state;
  static const struct {
    const char *command, *member;
  } cases[] = {{"ready", "status"},
               {"dataset ls", NULL},
               {"dataset show $S", "state"},
               {"dataset rejects $S", NULL},
               {"dataset pairs $S", NULL},
               {"dataset people $S", NULL},
               {"dataset add drawn \"$D/drawn.tar\" --size 32", "state"},
               {"dataset forget drawn person-001 01.ppm", "kind"},
               {"dataset forget drawn person-001", "kind"},
               {"dataset rm drawn", "kind"},
               {"ls", NULL},
               {"show $L", "state"},
               {"log $L", NULL},
               {"metrics $L", NULL},
               {"cancel --state paused", NULL},
               {"rm $L", NULL},
               {"models", NULL},
               {"token add bob --scope jobs:read", "token"},
               {"token ls", NULL},
               {"token revoke $(\"$G\" token ls | sed -n 's/^\\(tok_[a-z0-9]*\\) .*bob.*/\\1/p')", "revoked"},
               {"audit", NULL}};
  submit_long_job();
  (void)shell(3, "\"$G\" cancel $L; \"$G\" follow $L");
  struct output *output =
      shell(0, "\"$G\" --json synth \"$D/drawn.tar\" --identities 2 --images 2 --size 32");
  json_t *json = json_loads(output->out, 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(json, "images")), 4);
  json_decref(json);
  output = shell(0, "\"$G\" --json dataset ls");
  json = json_loads(output->out, 0, NULL);
  assert_int_equal(setenv("S", json_string_value(json_object_get(json_array_get(json, 0), "name")), 1), 0);
  json_decref(json);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    char command[256];
    (void)snprintf(command, sizeof(command), "\"$G\" --json %s", cases[i].command);
    output = shell(0, command);
    json = json_loads(output->out, 0, NULL);
    if (!json || (cases[i].member && !json_object_get(json, cases[i].member)))
      fail_msg("%s: %s", cases[i].command, output->out);
    json_decref(json);
  }
}

/* The faces are damaged while the job runs. */
static void a_job_that_fails_is_told_by_the_exit_code(void **state) {
  (void)state;
  submit_long_job();
  (void)shell(0, "until \"$G\" show $L | grep -q 'epoch [1-9]'; do sleep .2; done; "
                 "for blob in \"$D\"/state/blobs/*/*; do test $(stat -c %s \"$blob\") -lt 100000 || "
                 "truncate -s 8192 \"$blob\"; done");
  struct output *output = shell(1, "\"$G\" follow $L");
  expect_text(output->err, " failed: ");
  assert_null(strstr(output->out, "succeeded"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_left_out_is_told),
      cmocka_unit_test(pairs_lists_are_listed),
      cmocka_unit_test(a_dry_run_submits_nothing),
      cmocka_unit_test(who_never_answered_is_not_waited_for),
      cmocka_unit_test(a_lost_answer_makes_no_second_job),
      cmocka_unit_test(a_lost_answer_makes_no_second_upload),
      cmocka_unit_test(what_was_erased_meanwhile_stays_away),
      cmocka_unit_test(what_was_broken_off_is_sent_again),
      cmocka_unit_test(an_ingest_is_waited_for_over_lost_polls),
      cmocka_unit_test(models_are_told_of),
      cmocka_unit_test(verify_takes_the_rate_that_there_is),
      cmocka_unit_test(a_restart_is_survived),
      cmocka_unit_test(a_bar_is_drawn_on_a_terminal),
      cmocka_unit_test(an_upload_of_a_folder_has_a_bar),
      cmocka_unit_test(answers_are_json),
      cmocka_unit_test(a_job_that_fails_is_told_by_the_exit_code),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
