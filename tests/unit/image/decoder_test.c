/* The decoder: codecs, hostile images, its jail, and what happens when it dies; resizing. */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/base/philox.h"
#include "core/image/decode.h"
#include "core/image/decoder.h"
#include "core/image/pack.h"
#include "tests/unit/image/archive_fixture.h"

static void codecs(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  unsigned char *jpeg = NULL;
  struct guise_error err = {0};
  synth_face(1, 2, 3, SIDE, rgb);
  size_t bytes = make_png(rgb, SIDE, png, sizeof(png));
  assert_int_equal(decode_image(DECODER, png, bytes, SIDE, out, &err), 0);
  assert_memory_equal(out, rgb, sizeof(rgb));
  bytes = make_jpeg(rgb, SIDE, &jpeg);
  assert_int_equal(decode_image(DECODER, jpeg, bytes, SIDE, out, &err), 0);
  double error = 0;
  for (size_t i = 0; i < sizeof(rgb); i++)
    error += abs((int)rgb[i] - (int)out[i]);
  assert_true(error / sizeof(rgb) < 6); /* chroma is subsampled */
  assert_int_equal(decode_image(DECODER, jpeg, bytes / 2, SIDE, out, &err), -EBADMSG);
  assert_non_null(strstr(err.text, "corrupt"));
  free(jpeg);
  static const struct {
    const char *file;
    uint8_t first[3];
  } plain[] = {{"P2 # grey\n1 1\n# max\n10\n5\n", {128, 128, 128}},
               {"P3\n1 1 255\n1 2 3", {1, 2, 3}},
               {"P5 1 1 255\n\x07", {7, 7, 7}}};
  for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
    if (decode_image(DECODER, plain[i].file, strlen(plain[i].file), SIDE, out, &err) < 0)
      fail_msg("%zu: %s", i, err.text);
    assert_memory_equal(out, plain[i].first, 3);
    assert_memory_equal(out + sizeof(out) - 3, plain[i].first, 3);
  }
  static const struct {
    const char *file, *code;
  } bad[] = {{"GIF89a", "unsupported_type"},
             {"P6 9000 9000 255\n", "corrupt"},
             {"P2 9000 9000 255\n1 1 1", "bad_dimensions"},
             {"P5 2 2 255\n\x01", "corrupt"},
             {"P2 1 1 10\n11\n", "corrupt"},
             {"P5 -1 1 255\n\x01", "corrupt"},
             {"P5 1 1 0\n\x01", "corrupt"}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(decode_image(DECODER, bad[i].file, strlen(bad[i].file), SIDE, out, &err), -EBADMSG);
    if (!strstr(err.text, bad[i].code))
      fail_msg("%zu: %s", i, err.text);
  }
}

/* Mutated files must end in an answer, and the same decoder must go on working. */
static void mutated_images(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  unsigned char *jpeg = NULL;
  struct decoder decoder;
  struct rng rng;
  synth_face(1, 2, 3, SIDE, rgb);
  const size_t sizes[2] = {make_png(rgb, SIDE, png, sizeof(png)), make_jpeg(rgb, SIDE, &jpeg)};
  decoder_init(&decoder, DECODER);
  rng_init(&rng, 5, RNG_ATTACK, 0, 0);
  for (int round = 0; round < 400; round++) {
    int which = round % 2;
    uint8_t *copy = malloc(sizes[which]);
    memcpy(copy, which ? jpeg : png, sizes[which]);
    for (uint32_t i = 0; i <= rng_below(&rng, 8); i++)
      copy[rng_below(&rng, (uint32_t)sizes[which])] = (uint8_t)rng_u32(&rng);
    size_t bytes = rng_below(&rng, 4) ? sizes[which] : rng_below(&rng, (uint32_t)sizes[which]) + 1;
    const char *code = "";
    char detail[200];
    struct guise_error err = {0};
    int r = decoder_run(&decoder, copy, bytes, SIDE, out, &code, detail, &err);
    if (r != 0 && r != -EBADMSG)
      fail_msg("round %d: %s", round, err.text);
    assert_string_not_equal(code, "decoder_failed");
    free(copy);
  }
  decoder_stop(&decoder);
  free(jpeg);
}

/* What killed it need not be the picture's fault: a good one is not lost by it. */
static void a_killed_decoder_is_replaced(void **state) {
  (void)state;
  uint8_t rgb[SIDE * SIDE * 3], out[SIDE * SIDE * 3], png[SIDE * SIDE * 4 + 1024];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "";
  char detail[200];
  synth_face(1, 2, 3, SIDE, rgb);
  size_t bytes = make_png(rgb, SIDE, png, sizeof(png));
  decoder_init(&decoder, DECODER);
  for (int i = 0; i < 3; i++) {
    memset(out, 0, sizeof(out));
    assert_int_equal(decoder_run(&decoder, png, bytes, SIDE, out, &code, detail, &err), 0);
    assert_memory_equal(out, rgb, sizeof(rgb));
    assert_int_equal(kill(decoder.pid, SIGKILL), 0);
  }
  decoder_stop(&decoder);
}

/* A picture that two helpers die on is given up; the next one gets a helper again. */
static void a_picture_gets_two_helpers(void **state) {
  (void)state;
  uint8_t out[SIDE * SIDE * 3];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "", *file = "P5 1 1 255\n\x07";
  char detail[200], script[256], body[600];
  write_script("exit 1", script);
  decoder_init(&decoder, script);
  assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err), -EBADMSG);
  assert_string_equal(code, "decoder_failed");
  assert_int_equal(starts(), 2);
  (void)snprintf(body, sizeof(body), "test -e %s/once && exec %s\n: > %s/once\nkill -9 $$", root, DECODER,
                 root);
  write_script(body, script);
  assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err), 0);
  assert_int_equal(starts(), 2);
  assert_int_equal(out[0], 7);
  decoder_stop(&decoder);
  write_script("exit 1", script); /* embed and verify: whoever asks can ask again */
  assert_int_equal(decode_image(script, file, strlen(file), SIDE, out, &err), -EBADMSG);
  assert_int_equal(starts(), 1);
}

/* That none can be run is no picture's fault. */
static void a_decoder_that_cannot_start(void **state) {
  (void)state;
  uint8_t out[SIDE * SIDE * 3];
  struct decoder decoder;
  const char *code = "", *file = "P5 1 1 255\n\x07";
  char detail[200], script[256];
  static const struct {
    const char *body, *says;
    int result;
  } cases[] = {{"exit 2", "jail", -EPERM}, {"exit 127", "libraries", -ENOEXEC}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct guise_error err = {0};
    write_script(cases[i].body, script);
    decoder_init(&decoder, script);
    assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err),
                     cases[i].result);
    assert_non_null(strstr(err.text, cases[i].says));
    decoder_stop(&decoder);
    assert_int_equal(starts(), 1);
  }
}

/* Its time on the processor is limited, so it does not live for a whole archive. */
static void a_decoder_serves_so_many_images(void **state) {
  (void)state;
  uint8_t out[SIDE * SIDE * 3];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "", *file = "P5 1 1 255\n\x07";
  char detail[200];
  int first = 0;
  decoder_init(&decoder, DECODER);
  for (uint32_t i = 0; i <= DECODE_IMAGES; i++) {
    if (i == DECODE_IMAGES)
      assert_int_equal(decoder.pid, first);
    assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err), 0);
    first = first ? first : decoder.pid;
  }
  assert_int_not_equal(decoder.pid, first);
  decoder_stop(&decoder);
}

static long status_field(int pid, const char *field) {
  char path[64], line[256];
  long value = -1;
  (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  while (fgets(line, sizeof(line), file))
    if (strncmp(line, field, strlen(field)) == 0)
      value = strtol(line + strlen(field), NULL, 10);
  (void)fclose(file);
  return value;
}

/* The soft and the hard limit are `wanted`. `name` is as in /proc/PID/limits. */
static void expect_limit(int pid, const char *name, uint64_t wanted) {
  char path[64], line[256], soft[32], hard[32], text[32];
  (void)snprintf(path, sizeof(path), "/proc/%d/limits", pid);
  (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)wanted);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  bool found = false;
  while (!found && fgets(line, sizeof(line), file))
    found = strncmp(line, name, strlen(name)) == 0;
  (void)fclose(file);
  assert_true(found);
  assert_int_equal(sscanf(line + strlen(name), "%31s %31s", soft, hard), 2);
  if (strcmp(soft, text) != 0 || strcmp(hard, text) != 0)
    fail_msg("%s: %s and %s, not %s", name, soft, hard, text);
}

static void the_jail_is_in_force(void **state) {
  (void)state;
  uint8_t out[SIDE * SIDE * 3];
  struct decoder decoder;
  struct guise_error err = {0};
  const char *code = "", *file = "P5 1 1 255\n\x07";
  char detail[200], path[64];
  decoder_init(&decoder, DECODER);
  assert_int_equal(decoder_run(&decoder, file, strlen(file), SIDE, out, &code, detail, &err), 0);
  assert_int_equal(status_field(decoder.pid, "NoNewPrivs:"), 1);
  expect_limit(decoder.pid, "Max file size", 0);
  expect_limit(decoder.pid, "Max cpu time", 2560); /* 256 images of 10 s */
#ifndef GUISE_SANITIZED
  assert_int_equal(status_field(decoder.pid, "Seccomp:"), 2);
  expect_limit(decoder.pid, "Max address space", 1 << 30);
  expect_limit(decoder.pid, "Max open files", 3);
  expect_limit(decoder.pid, "Max core file size", 0);
#endif
  (void)snprintf(path, sizeof(path), "/proc/%d/environ", decoder.pid);
  FILE *environment = fopen(path, "re");
  assert_true(!environment || fgetc(environment) == EOF);
  if (environment)
    (void)fclose(environment);
  decoder_stop(&decoder);
}

#define NOT_JAILED 99 /* exit status */

/* How a process ends that enters the jail and makes the system call `number` there, as waitpid() tells it;
 * status 0 when it lived on. */
static int in_the_jail(long number, long a, long b, long c) {
  int status = 0;
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    if (decode_jail() != 0)
      _exit(NOT_JAILED);
    (void)syscall(number, a, b, c, 0L, 0L, 0L);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static void the_jail_ends_what_leaves_it(void **state) {
  (void)state;
#ifdef GUISE_SANITIZED
  print_message(
      "SKIPPED: the_jail_ends_what_leaves_it: sanitizers need system calls that the jail forbids\n");
  skip();
#endif
  const long path = (long)(uintptr_t) "/dev/null";
  const struct {
    const char *name;
    long number, a, b, c;
  } forbidden[] = {
      {"openat", SYS_openat, AT_FDCWD, path, O_RDONLY},
      {"socket", SYS_socket, AF_UNIX, SOCK_STREAM, 0},
      {"connect", SYS_connect, 0, 0, 0},
      {"sendto", SYS_sendto, STDOUT_FILENO, path, 1},
      {"execve", SYS_execve, path, 0, 0},
      {"clone", SYS_clone, SIGCHLD, 0, 0},
      {"kill", SYS_kill, 0, 0, 0},
      {"ptrace", SYS_ptrace, 0, 0, 0},
      {"mprotect", SYS_mprotect, 0, 0, 0},
      {"dup", SYS_dup, 0, 0, 0},
      {"unlinkat", SYS_unlinkat, AT_FDCWD, path, 0},
      {"prlimit64", SYS_prlimit64, 0, RLIMIT_AS, 0},
      {"prctl", SYS_prctl, PR_GET_DUMPABLE, 0, 0},
  };
  int status = in_the_jail(SYS_read, -1, 0, 0); /* which is allowed, and fails */
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
    status = in_the_jail(forbidden[i].number, forbidden[i].a, forbidden[i].b, forbidden[i].c);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
      fail_msg("%s in the jail: status %#x, not the end by SIGSYS", forbidden[i].name, (unsigned)status);
  }
}

static void resizing(void **state) {
  (void)state;
  uint8_t flat[40 * 30 * 3], out[64 * 64 * 3], ramp[64 * 64 * 3], half[32 * 32 * 3];
  memset(flat, 77, sizeof(flat));
  image_resize(flat, 40, 30, out, 64);
  for (size_t i = 0; i < sizeof(out); i++)
    assert_int_equal(out[i], 77);
  for (uint32_t y = 0; y < 64; y++)
    for (uint32_t x = 0; x < 64; x++)
      memset(ramp + (y * 64 + x) * 3, (int)(2 * x), 3);
  image_resize(ramp, 64, 64, half, 32);
  for (uint32_t x = 0; x < 32; x++) /* the mean of 4x and 4x+2, rounded up */
    assert_int_equal(half[x * 3], 4 * x + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codecs),
      cmocka_unit_test(mutated_images),
      cmocka_unit_test(a_killed_decoder_is_replaced),
      cmocka_unit_test(a_picture_gets_two_helpers),
      cmocka_unit_test(a_decoder_that_cannot_start),
      cmocka_unit_test(a_decoder_serves_so_many_images),
      cmocka_unit_test(the_jail_is_in_force),
      cmocka_unit_test(the_jail_ends_what_leaves_it),
      cmocka_unit_test(resizing),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
