/* The programs in examples/ do what they say, against a real daemon. The tests build on each other in the
 * order of main(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/integration/support/shell.h"

#define TINY                                                                                            \
  "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},\"mask\":{\"method\":\"none\"},\"train\":{" \
  "\"epochs\":2,"                                                                                       \
  "\"batch\":16},\"audit\":{\"attacks\":[\"linear\"],\"effort\":\"quick\"}"

static struct server server;

static int setup(void **state) {
  (void)state;
  server_prepare(&server);
  server_start(&server);
  shell_start(&server);
  assert_int_equal(setenv("E", GUISE_SOURCE "/examples", 1), 0);
  assert_int_equal(setenv("B", GUISE_BUILD, 1), 0);
  (void)shell(0, "\"$G\" synth \"$D/faces.tar\" --identities 24 --images 8 --size 32 && tar -xf "
                 "\"$D/faces.tar\" -C \"$D\" && "
                 "ls -d \"$D\"/*/");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  server_clean(&server);
  return 0;
}

static void with_curl(void **state) {
  (void)state;
  (void)shell(0, "echo '{" TINY "}' >\"$D/job.json\"");
  struct output *output = shell(0, "\"$E/train.sh\" \"$D/faces.tar\" faces \"$D/result\" \"$D/job.json\"");
  expect_text(output->out, "job job_");
  expect_text(output->out, "succeeded");
  expect_text(output->out, "model mdl_");
  (void)shell(
      0,
      "cd \"$D/result\" && test -s model.onnx && test -s model.safetensors && grep -q '<html' report.html");
  output = shell(
      1, "\"$E/train.sh\" \"$D/faces.tar\" faces \"$D/result\" <<'X'\n{\"train\": {\"epochs\": 0}}\nX\n");
  expect_text(output->err, "/train/epochs"); /* the mistake is shown */
  (void)shell(
      1, "GUISE_URL=\"$GUISE_URL/no\" \"$E/train.sh\" \"$D/faces.tar\" faces \"$D/result\" \"$D/job.json\"");
}

static void with_python(void **state) {
  (void)state;
  if (shell(0, "python3 -c 'print(3)' || echo none")->out[0] != '3') {
    print_message("SKIPPED: there is no python3\n");
    skip();
  }
  struct output *output = shell(
      0, "python3 \"$E/train.py\" \"$D/faces.tar\" faces \"$D/python\" /model/input=32 /model/width=0.25 "
         "/model/embedding=32 /mask/method=none /train/epochs=2 /train/batch=16 "
         "'/audit={\"attacks\":[\"linear\"],"
         "\"effort\":\"quick\"}'");
  expect_text(output->out, "24 people, 192 images, 0 files rejected");
  expect_text(output->out, "epoch 2  accuracy");
  expect_text(output->out, "model mdl_");
  (void)shell(0, "test -s \"$D/python/model.onnx\"");
  output = shell(
      1, "python3 \"$E/train.py\" \"$D/faces.tar\" faces \"$D/python\" /train/epochs=0 /mask/method=iron");
  expect_text(output->err, "/train/epochs");
  expect_text(output->err, "/mask/method");
  /* a stream that breaks goes on; no daemon is told in a sentence */
  expect_text(shell(0, "python3 \"" GUISE_SOURCE "/tests/integration/train_follow.py\" \"$E\"")->out,
              "followed");
  output =
      shell(1, "GUISE_URL=http://127.0.0.1:1 python3 \"$E/train.py\" \"$D/faces.tar\" faces \"$D/python\"");
  expect_text(output->err, "no daemon answers at http://127.0.0.1:1");
  assert_null(strstr(output->err, "Traceback"));
}

static void in_c(void **state) {
  (void)state;
  (void)shell(0, "set -- \"$D\"/*/ && echo \"$1\" >\"$D/first\" && \"$G\" models --json | tr ',{' '\\n\\n' | "
                 "sed -n 's/.*\"id\": *\"\\(mdl_[a-z0-9]*\\)\".*/\\1/p' | head -n 1 >\"$D/model\" && test -s "
                 "\"$D/model\"");
  struct output *output = shell(0, "set -- $(find \"$(cat \"$D/first\")\" -type f | sort) && "
                                   "\"$B/example_verify\" \"$(cat \"$D/model\")\" \"$1\" \"$1\"");
  expect_text(output->out, "one person: similarity 1.000, threshold ");
  output = shell(2, "\"$B/example_verify\" mdl_none \"$D/faces.tar\" \"$D/faces.tar\"");
  expect_text(output->err, "the daemon answered 4");
  (void)shell(2, "\"$B/example_verify\" mdl_none \"$D/no\" \"$D/no\"");
}

/* ONNX Runtime is no package of Debian: it is looked for where the comparison of graphs installs it. */
static void in_node(void **state) {
  (void)state;
  if (shell(0, "cd \"$E/../tests/bench/onnx\" && node -e 'require(\"onnxruntime-node\")' 2>\"$D/no\" && echo "
               "yes || echo no")
          ->out[0] != 'y') {
    print_message("SKIPPED: no ONNX Runtime; npm ci --ignore-scripts in tests/bench/onnx installs it\n");
    skip();
  }
  assert_int_equal(setenv("N", "cd \"$E/../tests/bench/onnx\" && node \"$E/predict.mjs\"", 1), 0);
  (void)shell(
      0, "find \"$(cat \"$D/first\")\" -type f | sort >\"$D/paths\" && test $(wc -l <\"$D/paths\") -ge 2 && "
         "grep -o 'job_[a-z0-9]*' \"$D/result/report.json\" | head -n 1 >\"$D/job\"");
  /* an image of another size and form is scaled as the daemon does it */
  (void)shell(0, "{ printf 'P5\\n# grey\\n46 56\\n255\\n' && head -c 2576 \"$D/result/model.onnx\"; } "
                 ">\"$D/other.pgm\"");
  struct output *output = shell(
      0, "for image in \"$(head -n 1 \"$D/paths\")\" \"$D/other.pgm\"; do "
         "\"$G\" embed \"$(cat \"$D/job\")\" \"$image\" && eval \"$N\" '\"$D/result\"' '\"$image\"'; done | "
         "awk '{ n += NF; for (i = 1; i <= NF; i++) v[NR % 2, i] = $i }"
         " NR % 2 == 0 { ab = aa = bb = 0; for (i = 1; i <= NF; i++) { ab += v[0, i] * v[1, i]; aa += v[0, "
         "i] ^ 2; bb "
         "+= v[1, i] ^ 2 } same += ab / sqrt(aa * bb) > 0.9999 } END { print NR, n, same }'");
  assert_string_equal(output->out, "4 128 2\n");
  expect_text(
      shell(0, "image=$(head -n 1 \"$D/paths\") && eval \"$N\" '\"$D/result\" \"$image\" \"$image\"'")->out,
      "one person: similarity 1.0000, threshold ");
  output = shell(
      2, "head -c 100 \"$D/other.pgm\" >\"$D/torn.pgm\" && eval \"$N\" '\"$D/result\" \"$D/torn.pgm\"'");
  expect_text(output->err, "torn.pgm is damaged");
  expect_text(shell(2, "cd \"$D\" && node \"$E/predict.mjs\" \"$D/result\" other.pgm")->err, "npm install");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(with_curl), cmocka_unit_test(with_python),
                                     cmocka_unit_test(in_c), cmocka_unit_test(in_node)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
