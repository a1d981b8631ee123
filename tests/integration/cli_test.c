/* The real client against a real daemon: upload of a folder and of an archive, a job followed to its end, a
 * job with mistakes, downloads that are verified and resumed, synthetic faces that repeat. One daemon serves
 * all tests; they build on each other in the order of main(). */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/integration/support/server.h"
#include "tests/integration/support/shell.h"

#define PEOPLE 8
#define IMAGES 6

static struct server server; /* its root is the shell's $D */

static int start(void **state) {
  (void)state;
  shell_server_start(&server);
  return 0;
}

static int stop(void **state) {
  (void)state;
  int status = server_stop(&server);
  server_clean(&server);
  assert_int_equal(status, 0);
  return 0;
}

/* ---- tests ---- */

static void synthetic_faces_repeat(void **state) {
  (void)state;
  (void)shell(0, "\"$G\" synth \"$D/a.tar\" --identities 8 --images 6 --size 48");
  (void)shell(0, "\"$G\" synth - --identities 8 --images 6 --size 48 | cmp - \"$D/a.tar\"");
  (void)shell(1, "\"$G\" synth - --identities 8 --images 6 --size 48 --seed 2 | cmp -s - \"$D/a.tar\"");
  struct output *output = shell(0, "tar tf \"$D/a.tar\" | grep -v '/$' | wc -l");
  assert_int_equal(strtol(output->out, NULL, 10), PEOPLE * IMAGES);
  expect_text(shell(2, "\"$G\" synth \"$D/b.tar\" --identities 0")->err, "--identities must be");
  (void)shell(1, "test -e \"$D/b.tar\"");
}

static void uploads_an_archive(void **state) {
  (void)state;
  struct output *output = shell(0, "\"$G\" dataset add tarred \"$D/a.tar\" --size 48");
  expect_text(output->out, "8 people, 48 images, 0 rejected");
  output = shell(0, "\"$G\" --json dataset show tarred");
  json_t *dataset = json_loads(output->out, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(dataset, "state")), "ready");
  assert_int_equal(json_integer_value(json_object_get(dataset, "images")), PEOPLE * IMAGES);
  json_decref(dataset);
  expect_text(shell(0, "\"$G\" dataset ls")->out, "tarred");
  /* the same again is no error, another one is */
  (void)shell(0, "\"$G\" dataset add tarred \"$D/a.tar\" --size 48");
  (void)shell(0, "\"$G\" synth \"$D/c.tar\" --identities 3 --images 2 --size 48");
  (void)shell(1, "\"$G\" dataset add tarred \"$D/c.tar\" --size 48");
}

static void uploads_a_folder(void **state) {
  (void)state;
  (void)shell(0, "mkdir \"$D/faces\" && tar xf \"$D/a.tar\" -C \"$D/faces\" && gzip -k \"$D/a.tar\"");
  /* a folder is packed the same way each time: nothing is uploaded twice by mistake */
  (void)shell(0, "\"$G\" dataset add unpacked \"$D/faces\" --size 48");
  (void)shell(0, "\"$G\" dataset add unpacked \"$D/faces\" --size 48");
  (void)shell(0, "echo hello >\"$D/faces/person-001/notes.txt\" && "
                 "printf '\\377\\330\\377\\340broken' >\"$D/faces/person-002/torn.jpg\"");
  (void)shell(1, "\"$G\" dataset add unpacked \"$D/faces\" --size 48");
  struct output *output = shell(0, "\"$G\" dataset add folder \"$D/faces\" --size 48");
  expect_text(output->out, "8 people, 48 images, 2 rejected");
  expect_text(output->out, "guise dataset rejects folder");
  output = shell(0, "\"$G\" dataset rejects folder");
  expect_text(output->out, "person-001/notes.txt");
  expect_text(output->out, "person-002/torn.jpg");
  output = shell(0, "\"$G\" dataset add zipped \"$D/a.tar.gz\" --size 48");
  expect_text(output->out, "8 people, 48 images, 0 rejected");
  expect_text(shell(1, "\"$G\" dataset add empty \"$D/nowhere\"")->err, "nowhere");
  expect_text(shell(1, "mkdir \"$D/void\"; \"$G\" dataset add empty \"$D/void\"")->err, "void");
}

static void tells_all_mistakes(void **state) {
  (void)state;
  struct output *output = shell(
      1, "\"$G\" submit --dataset tarred --mask nonsense --epochs 0 --set /train/batch=-3 --defence walls");
  expect_text(output->err, "/mask/method");
  expect_text(output->err, "/train/epochs");
  expect_text(output->err, "/train/batch");
  expect_text(output->err, "/defences/0/method");
  (void)shell(2, "\"$G\" submit");
  (void)shell(2, "\"$G\" submit --dataset tarred --set nonsense");
  (void)shell(2, "echo '{' | \"$G\" submit -");
  (void)shell(2, "\"$G\" nonsense");
  (void)shell(1, "\"$G\" show job_nonsense");
  (void)shell(4, "\"$G\" --url http://127.0.0.1:1 ls");
  (void)shell(4, "\"$G\" --url \"unix:$D/nowhere.sock\" ls");
}

/* A job that is over in seconds, submitted as a file with options laid over it. */
static void follows_a_job(void **state) {
  (void)state;
  (void)shell(
      0,
      "cat >\"$D/job.json\" <<'END'\n"
      "{\"type\": \"train\", \"dataset\": \"nobody\", \"model\": {\"input\": 48, \"embedding\": 32, "
      "\"width\": 0.25},\n"
      " \"train\": {\"epochs\": 50, \"batch\": 8, \"warmup_steps\": 0}, \"audit\": {\"effort\": \"quick\"}}\n"
      "END\n");
  struct output *output =
      shell(0, "\"$G\" submit \"$D/job.json\" --dataset tarred --epochs 2 --mask ahm --defence bido "
               "--set '/labels/synthetic=\"true\"' --follow");
  expect_text(output->out, "succeeded");
  expect_text(output->err, "epoch 2/2");
  output->out[strcspn(output->out, " ")] = 0; /* "job_... submitted" */
  assert_int_equal(setenv("J", output->out, 1), 0);
  expect_text(shell(0, "\"$G\" show $J")->out, "succeeded");
  expect_text(shell(0, "\"$G\" ls --state succeeded")->out, "tarred");
  output = shell(0, "\"$G\" metrics $J --name accuracy | tail -n +2 | wc -l");
  assert_int_equal(strtol(output->out, NULL, 10), 2);
  /* its events are still there, from the first to the end */
  output = shell(0, "\"$G\" events $J");
  expect_text(output->out, "state");
  expect_text(output->out, "metric");
  expect_text(output->out, "end");
  expect_text(shell(0, "\"$G\" follow $J")->out, "succeeded");
  expect_text(shell(1, "\"$G\" cancel $J")->err, "guise:");
}

static void downloads_verified_files(void **state) {
  (void)state;
  expect_text(shell(0, "\"$G\" models")->out, "mdl_");
  (void)shell(0, "\"$G\" get $J -o \"$D/result\"");
  (void)shell(0, "cd \"$D/result\" && test -s model.safetensors && test -s model.onnx && test -s "
                 "model-template.onnx && test -s report.json && test -s report.html && test -s card.md");
  (void)shell(0, "\"$G\" --json get $J report.json -o \"$D/result\" >\"$D/model.json\"; "
                 "sum=$(sha256sum <\"$D/result/model.safetensors\" | cut -d' ' -f1); grep -q \"$sum\" "
                 "\"$D/model.json\"");
  /* a download that was interrupted goes on; a wrong beginning or a damaged file is fetched anew */
  (void)shell(
      0,
      "cd \"$D/result\" && cp model.safetensors ../whole && head -c 1000 ../whole >model.safetensors.part && "
      "rm model.safetensors && \"$G\" get $J model.safetensors && cmp model.safetensors "
      "../whole");
  (void)shell(0, "cd \"$D/result\" && echo wrong >model.safetensors.part && rm model.safetensors && "
                 "\"$G\" get $J model.safetensors && cmp model.safetensors ../whole && "
                 "! test -e model.safetensors.part");
  (void)shell(0, "cd \"$D/result\" && echo damaged >>model.safetensors && "
                 "\"$G\" get $J model.safetensors && cmp model.safetensors ../whole");
  expect_text(shell(1, "\"$G\" get $J nonsense -o \"$D/result\"")->err, "nonsense");
}

static void prints_the_report(void **state) {
  (void)state;
  struct output *output = shell(0, "\"$G\" report $J");
  expect_text(output->out, "SYNTHETIC FACES");
  expect_text(output->out, "held-out people");
  expect_text(output->out, "linear");
  expect_text(output->out, "CONTROL");
  (void)shell(0, "\"$G\" report $J >\"$D/one\"; \"$G\" report \"$D/result/report.json\" | "
                 "cmp - \"$D/one\"");
}

static void cancels_and_erases(void **state) {
  (void)state;
  (void)shell(0, "\"$G\" submit \"$D/job.json\" --dataset tarred --epochs 1000 --set '/mask/level=\"low\"' | "
                 "cut -d' ' -f1 >\"$D/long\"");
  struct output *output = shell(0, "\"$G\" show $(cat \"$D/long\")");
  expect_text(output->out, "level       low, as measured on 200 people");
  expect_text(output->out, "linear's SSIM 0.539, 0.539; linkage's TAR 0.075, 0.075 (without a mask 0.275)");
  (void)shell(1, "\"$G\" dataset rm tarred"); /* in use */
  (void)shell(0, "\"$G\" cancel $(cat \"$D/long\")");
  (void)shell(3, "\"$G\" follow $(cat \"$D/long\")");
  expect_text(shell(0, "\"$G\" dataset rm folder")->out, "48 images");
  (void)shell(1, "\"$G\" dataset show folder");
  /* several at once */
  (void)shell(2, "\"$G\" cancel");
  (void)shell(0, "for i in 1 2; do \"$G\" submit \"$D/job.json\" --dataset tarred --epochs 1000 "
                 "--set '/labels/sweep=\"7\"'; done >\"$D/two\"");
  expect_text(shell(0, "\"$G\" show $(tail -n 1 \"$D/two\" | cut -d' ' -f1)")->out, "waits ");
  output = shell(0, "\"$G\" cancel --label sweep:7 --state queued --state running | wc -l");
  assert_int_equal(strtol(output->out, NULL, 10), 2);
  (void)shell(3, "\"$G\" follow $(head -n 1 \"$D/two\" | cut -d' ' -f1)");
  expect_text(shell(0, "\"$G\" log $J")->out, "info");
  /* a person, and one image of another */
  expect_text(shell(0, "\"$G\" dataset people tarred")->out, "person-002");
  expect_text(shell(1, "\"$G\" dataset forget tarred nobody")->err, "no person nobody");
  expect_text(shell(0, "\"$G\" dataset forget tarred person-003 01.ppm")->out, "1 images");
  output = shell(0, "\"$G\" dataset forget tarred person-002");
  expect_text(output->out, "6 images");
  expect_text(output->out, "mdl_");
  (void)shell(1, "\"$G\" dataset people tarred | grep person-002");
  (void)shell(1, "\"$G\" rm $J"); /* its model first */
  (void)shell(0, "\"$G\" rm $(\"$G\" models | grep -o 'mdl_[a-z0-9]*') && \"$G\" rm $J");
  (void)shell(1, "\"$G\" show $J");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(synthetic_faces_repeat), cmocka_unit_test(uploads_an_archive),
      cmocka_unit_test(uploads_a_folder),       cmocka_unit_test(tells_all_mistakes),
      cmocka_unit_test(follows_a_job),          cmocka_unit_test(downloads_verified_files),
      cmocka_unit_test(prints_the_report),      cmocka_unit_test(cancels_and_erases),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
