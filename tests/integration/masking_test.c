/* Faces that never leave their owner: synthetic ones are masked by the client, and a real daemon gets
 * templates only, trains on them, verifies on public pictures and hands out a model that embeds. One daemon
 * serves all tests; they build on each other in the order of main(). */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/template/templates.h"
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

static void file_in_root(const char *name, char ret_path[128]) {
  (void)snprintf(ret_path, 128, "%s/%s", server.root, name);
}

/* ---- masking ---- */

/* The mask and the histogram of k come from a training on public faces. */
static void a_public_model_has_the_mask(void **state) {
  (void)state;
  (void)shell(0, "\"$G\" synth \"$D/public.tar\" --identities 8 --images 6 --size 32 --seed 2 && "
                 "\"$G\" synth \"$D/faces.tar\" --identities 8 --images 6 --size 32 && "
                 "mkdir \"$D/faces\" && tar xf \"$D/faces.tar\" -C \"$D/faces\" && "
                 "\"$G\" dataset add public \"$D/public.tar\" --size 32");
  (void)shell(0, "cat >\"$D/job.json\" <<'END'\n"
                 "{\"type\": \"train\", \"dataset\": \"public\", \"holdout\": {\"identities\": 0},\n"
                 " \"model\": {\"input\": 32, \"embedding\": 16, \"width\": 0.25},\n"
                 " \"mask\": {\"policy\": \"fixed\", \"k\": [3], \"unmixed\": 0.5},\n"
                 " \"train\": {\"epochs\": 1, \"batch\": 8, \"warmup_steps\": 0, \"margin_warmup\": 0},\n"
                 " \"audit\": {\"attacks\": []}}\n"
                 "END\n");
  struct output *output = shell(0, "\"$G\" submit \"$D/job.json\" --follow");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("P", output->out, 1), 0);
}

static void masks_a_folder_and_an_archive(void **state) {
  (void)state;
  /* what was not audited is not handed out for the asking */
  (void)shell(1, "\"$G\" mask \"$D/faces\" --model $P -o \"$D/mine\"");
  struct output *output =
      shell(0, "\"$G\" mask \"$D/faces\" --model $P --unsafe -o \"$D/mine\" --mixes 2 --seed 7 "
               "--names \"$D/names.csv\"");
  expect_text(output->out, "96 templates of 48 images of 8 people, mask ahm");
  (void)shell(0, "\"$G\" get $P --unsafe model.safetensors -o \"$D/p\"");
  (void)shell(0, "\"$G\" --url http://127.0.0.1:1 mask \"$D/faces.tar\" --model \"$D/p/model.safetensors\" "
                 "-o \"$D/again\" --mixes 2 --seed 7 && cmp \"$D/mine\" \"$D/again\"");
  /* secret draws unless they are asked for, and half the size */
  (void)shell(
      0, "\"$G\" mask \"$D/faces.tar\" --model \"$D/p/model.safetensors\" -o \"$D/other\" --mixes 2 --half "
         "&& test $(stat -c %s \"$D/other\") -lt $(($(stat -c %s \"$D/mine\") * 6 / 10))");
  (void)shell(0, "test $(wc -l <\"$D/names.csv\") = 8 && grep -q '^0,person-00' \"$D/names.csv\"");
  (void)shell(1, "grep -q person- \"$D/mine\"");                   /* no name is in the file */
  (void)shell(0, "ls -A \"$D\" | grep -c 'mine\\.' | grep -qx 0"); /* and nothing is left beside it */
  /* files that are no faces are left out */
  (void)shell(0, "printf '\\377\\330\\377\\340broken' >\"$D/faces/person-002/torn.jpg\"");
  output = shell(0, "\"$G\" --json mask \"$D/faces\" --model \"$D/p/model.safetensors\" -o \"$D/other\"");
  expect_text(output->out, "\"rejected\": 1");
  expect_text(output->err, "person-002/torn.jpg");
}

/* Whoever interrupts leaves nothing behind, and no face. */
static void an_interrupt_leaves_nothing_behind(void **state) {
  (void)state;
  (void)shell(130, "mkfifo \"$D/pipe\" && "
                   "{ { head -c 20000 \"$D/faces.tar\"; sleep 1; tail -c +20001 \"$D/faces.tar\"; } "
                   ">\"$D/pipe\" 2>/dev/null & } && "
                   "timeout --preserve-status -s TERM .4 \"$G\" mask \"$D/pipe\" "
                   "--model \"$D/p/model.safetensors\" -o \"$D/stopped\"");
  (void)shell(0, "ls -A \"$D\" | grep -c stopped | grep -qx 0");
}

/* Names of people are as their folders are called; the file reads as CSV all the same. */
static void names_are_quoted(void **state) {
  (void)state;
  (void)shell(0, "mkdir \"$D/odd\" && cp -r \"$D/faces/person-001\" \"$D/odd/Doe, \\\"Jo\\\"\" && "
                 "cp -r \"$D/faces/person-003\" \"$D/odd/plain\" && touch \"$D/odd/notes.txt\"");
  struct output *output =
      shell(0, "\"$G\" --json mask \"$D/odd\" --model \"$D/p/model.safetensors\" -o \"$D/odd.templates\" "
               "--names \"$D/odd.csv\"");
  expect_text(output->out, "\"identities\": 2");
  expect_text(output->out, "\"skipped\": 1");
  expect_text(output->err, "left out: 1 files that are in no person's folder, the first: notes.txt");
  output = shell(0, "cat \"$D/odd.csv\"");
  expect_text(output->out, ",\"Doe, \"\"Jo\"\"\"\n");
  expect_text(output->out, ",plain\n");
}

/* Without the file of names nobody could tell any more who the numbers are. */
static void no_templates_without_their_names(void **state) {
  (void)state;
  expect_text(shell(1, "\"$G\" mask \"$D/faces\" --model \"$D/p/model.safetensors\" -o \"$D/x\" --names "
                       "\"$D/nowhere/names\"")
                  ->err,
              "nowhere/names");
  (void)shell(1, "test -e \"$D/x\"");
}

static void tells_what_cannot_be_masked(void **state) {
  (void)state;
  (void)shell(2, "\"$G\" mask \"$D/faces\" -o \"$D/x\"");
  (void)shell(2, "\"$G\" mask \"$D/faces\" --model \"$D/p/model.safetensors\" -o \"$D/x\" --mixes 99");
  expect_text(shell(1, "\"$G\" mask \"$D/nowhere\" --model \"$D/p/model.safetensors\" -o \"$D/x\"")->err,
              "nowhere");
  expect_text(shell(1, "\"$G\" mask \"$D/faces\" --model \"$D/faces.tar\" -o \"$D/x\"")->err, "header");
  expect_text(shell(1, "\"$G\" mask \"$D/faces\" --model \"$D/nothing\" -o \"$D/x\"")->err,
              "model.safetensors");
  expect_text(shell(1, "mkdir \"$D/empty\"; \"$G\" mask \"$D/empty\" --model \"$D/p/model.safetensors\" -o "
                       "\"$D/x\"")
                  ->err,
              "IDENTITY/IMAGE");
  (void)shell(1, "test -e \"$D/x\"");
}

/* ---- uploading ---- */

static void uploads_templates(void **state) {
  (void)state;
  struct reply reply;
  expect_text(shell(0, "\"$G\" dataset add mine \"$D/mine\"")->out, "8 people, 96 images, 0 rejected");
  (void)shell(0, "\"$G\" dataset add mine \"$D/mine\""); /* again */
  (void)shell(1, "\"$G\" dataset add mine \"$D/other\"");
  (void)shell(1, "\"$G\" dataset add mine2 \"$D/mine\" --size 32"); /* it brings its size along */
  expect(&server, "GET", "/v1/datasets/mine", NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "kind")), "templates");
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "ready");
  assert_int_equal(json_integer_value(json_object_get(reply.json, "size")), 32);
  assert_int_equal(json_integer_value(json_object_get(reply.json, "identities")), PEOPLE);
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/public", NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "kind")), "faces");
  reply_done(&reply);
  /* nobody in it has a name */
  expect(&server, "GET", "/v1/datasets/mine/identities?limit=3", NULL, 200, &reply);
  const json_t *people = json_object_get(reply.json, "data");
  assert_int_equal(json_array_size(people), 3);
  assert_string_equal(json_string_value(json_object_get(json_array_get(people, 2), "name")), "2");
  assert_true(json_integer_value(json_object_get(json_array_get(people, 2), "images")) >= 1);
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/mine/identities/person-001", NULL, 404, &reply);
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/mine/identities/0/images/1.png", NULL, 404, &reply);
  reply_done(&reply);
  ask(&server, "PUT", "/v1/datasets/mine/pairs/list", "Content-Type: text/plain", "1 1\n", 4, &reply);
  assert_int_equal(reply.status, 409);
  reply_done(&reply);
}

/* A person of templates goes by number, with all mixes; the others keep theirs. */
static void a_person_is_erased(void **state) {
  (void)state;
  struct reply reply;
  (void)shell(0, "\"$G\" dataset add erased \"$D/mine\"");
  expect(&server, "GET", "/v1/datasets/erased/identities", NULL, 200, &reply);
  const json_t *one = json_array_get(json_object_get(reply.json, "data"), 1);
  const json_int_t shown = json_integer_value(json_object_get(one, "images"));
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/erased/identities/1", NULL, 200, &reply);
  const json_int_t people = json_integer_value(json_object_get(reply.json, "identities")),
                   images = json_integer_value(json_object_get(reply.json, "images"));
  assert_true(people >= 1 && images == shown);
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/erased", NULL, 200, &reply);
  assert_int_equal(json_integer_value(json_object_get(reply.json, "identities")), PEOPLE - people);
  assert_int_equal(json_integer_value(json_object_get(reply.json, "images")), 96 - images);
  reply_done(&reply);
  expect(&server, "GET", "/v1/datasets/erased/identities", NULL, 200, &reply);
  assert_int_equal(json_array_size(json_object_get(reply.json, "data")), PEOPLE - people);
  assert_string_equal(
      json_string_value(json_object_get(json_array_get(json_object_get(reply.json, "data"), 0), "name")),
      "0");
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/erased/identities/1", NULL, 404, &reply);
  reply_done(&reply);
  expect(&server, "DELETE", "/v1/datasets/erased", NULL, 200, &reply);
  reply_done(&reply);
}

/* Uploads bytes as templates; the data set must fail and say `says`. */
static void fails(const char *name, const void *data, size_t bytes, const char *says) {
  char path[64], command[128];
  struct reply reply;
  (void)snprintf(path, sizeof(path), "/v1/datasets/%s", name);
  ask(&server, "PUT", path, "Content-Type: " TEMPLATES_MEDIA_TYPE, data, bytes, &reply);
  assert_int_equal(reply.status, 202);
  reply_done(&reply);
  (void)snprintf(command, sizeof(command),
                 "while \"$G\" dataset show %s | grep -q ingesting; do sleep .05; done", name);
  (void)shell(0, command);
  expect(&server, "GET", path, NULL, 200, &reply);
  assert_string_equal(json_string_value(json_object_get(reply.json, "state")), "failed");
  expect_text(json_string_value(json_object_get(reply.json, "error")), says);
  reply_done(&reply);
}

static void hostile_uploads_fail(void **state) {
  (void)state;
  char path[128];
  _cleanup_(freep) char *data = NULL;
  size_t bytes = 0;
  file_in_root("mine", path);
  assert_int_equal(file_read(path, 64 << 20, &data, &bytes, NULL), 0);
  fails("torn", data, bytes - 1, "outside the file");
  fails("short", data, 7, "too short");
  memset(data + bytes - 4, 0xff, 4); /* not a number */
  fails("nan", data, bytes, "template 95 holds a value");
  file_in_root("p/model.safetensors", path);
  _cleanup_(freep) char *model = NULL;
  assert_int_equal(file_read(path, 64 << 20, &model, &bytes, NULL), 0);
  fails("model", model, bytes, "guise-templates-1");
}

/* ---- training ---- */

#define TRAIN                                                                                   \
  "{\"type\": \"train\", \"dataset\": \"mine\", \"model\": {\"input\": 32, \"embedding\": 16, " \
  "\"width\": 0.25}, \"train\": {\"epochs\": 3, \"batch\": 8, \"warmup_steps\": 0}, "           \
  "\"holdout\": {\"pairs\": {\"dataset\": \"public\", \"name\": \"list\"}}"

/* A job with one more member is refused, and the problem stands at `pointer`. */
static void refused(const char *more, const char *pointer) {
  char body[1024];
  struct reply reply;
  (void)snprintf(body, sizeof(body), TRAIN ", %s}", more);
  expect(&server, "POST", "/v1/jobs", body, 422, &reply);
  const json_t *problem = json_array_get(json_object_get(reply.json, "errors"), 0);
  assert_string_equal(json_string_value(json_object_get(problem, "pointer")), pointer);
  assert_int_equal(json_array_size(json_object_get(reply.json, "errors")), 1);
  reply_done(&reply);
}

/* Ten pairs of one person and ten of two. */
static void put_pairs(void) {
  char text[1024] = "10\n";
  struct reply reply;
  size_t used = strlen(text);
  for (int i = 0; i < 20; i++)
    used += (size_t)snprintf(text + used, sizeof(text) - used,
                             i < 10 ? "person-00%d %d %d\n" : "person-00%d %d person-00%d %d\n", 1 + i % 4,
                             1 + i % 3, i < 10 ? 4 + i % 3 : 5 + i % 4, 1 + i % 2);
  ask(&server, "PUT", "/v1/datasets/public/pairs/list", "Content-Type: text/plain", text, used, &reply);
  if (reply.status != 201)
    fail_msg("%ld: %s", reply.status, reply.body);
  reply_done(&reply);
}

static void jobs_that_need_faces_are_refused(void **state) {
  (void)state;
  struct reply reply;
  put_pairs();
  refused("\"mask\": {\"method\": \"mixup\"}", "/mask/method");
  refused("\"mask\": {\"drop_low\": 5}", "/mask/drop_low");
  refused("\"mask\": {\"policy\": \"learned\"}", "/mask/policy");
  refused("\"mask\": {\"protect\": \"drop\"}", "/mask/protect");
  refused("\"mask\": {\"key\": true}", "/mask/key");
  refused("\"mask\": {\"public_dataset\": \"public\"}", "/mask/public_dataset");
  refused("\"mask\": {\"level\": \"high\"}", "/mask/level");
  refused("\"mask\": {\"level\": \"highest\"}", "/mask/level"); /* once, whatever else is wrong with it */
  refused("\"mask\": {\"reference\": \"mdl_none\"}", "/mask/reference");
  refused("\"mask\": {\"max_accuracy_drop\": 0.02}", "/mask/max_accuracy_drop");
  refused("\"mask\": {\"analysis\": {\"epochs\": 3, \"gamma\": 0.5}}", "/mask/analysis/epochs");
  refused("\"mask\": {\"analysis\": {\"gamma\": 1}}", "/mask/analysis/gamma");
  refused("\"mask\": {\"parameters\": {\"sigma\": 2}}", "/mask/parameters/sigma");
  refused("\"audit\": {\"attacks\": [\"linear\"]}", "/audit/attacks/0");
  refused("\"audit\": {\"attacks\": \"linear\"}", "/audit/attacks");
  refused("\"mask\": {\"probability\": [1]}", "/mask/probability");
  refused("\"audit\": {\"control\": \"mdl_none\"}", "/audit/control");
  refused("\"audit\": {\"teacher\": \"mdl_none\"}", "/audit/teacher");
  refused("\"defences\": [{\"method\": \"dp_sgd\"}]", "/defences/0/method");
  /* where pictures are needed */
  expect(
      &server, "POST", "/v1/jobs",
      "{\"type\": \"train\", \"dataset\": \"public\", \"model\": {\"input\": 32}, \"audit\": {\"attacks\": "
      "[\"linkage\"], \"public_dataset\": \"mine\"}}",
      422, &reply);
  expect_text(reply.body, "holds templates, not pictures");
  reply_done(&reply);
}

static void trains_on_templates(void **state) {
  (void)state;
  char path[128];
  (void)shell(0, "cat >\"$D/mine.json\" <<'END'\n" TRAIN ", \"defences\": [{\"method\": \"negative_ls\"}], "
                 "\"mask\": {\"method\": \"ahm\", \"level\": null, \"max_accuracy_drop\": 0.01, "
                 "\"analysis\": {\"epochs\": 2}, \"negatives\": \"all\"}, \"labels\": {\"synthetic\": "
                 "\"true\"}}\nEND\n");
  struct output *output = shell(0, "\"$G\" submit \"$D/mine.json\" --follow");
  expect_text(output->out, "succeeded");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("J", output->out, 1), 0);
  (void)shell(0, "\"$G\" get $J --unsafe -o \"$D/result\"");
  file_in_root("result/report.json", path);
  json_t *report = json_load_file(path, 0, NULL), *data = json_object_get(report, "data");
  assert_non_null(report);
  assert_string_equal(json_string_value(json_object_get(data, "masked_by")), "owner");
  assert_int_equal(json_integer_value(json_object_get(data, "images")), PEOPLE * IMAGES * 2);
  assert_int_equal(json_array_size(json_object_get(data, "removes")), 1);
  assert_int_equal(json_array_size(json_object_get(data, "stays")), 4); /* T, labels, W, pictures */
  assert_int_equal(json_array_size(json_object_get(report, "attacks")), 0);
  assert_string_equal(json_string_value(json_object_get(json_object_get(report, "headline"), "verdict")),
                      "not audited");
  const json_t *missing = json_object_get(report, "not_measured"), *first = json_array_get(missing, 0);
  assert_int_equal(json_array_size(missing), 8); /* every attack, gmi as a variant of plg_mi */
  assert_string_equal(json_string_value(json_object_get(first, "attack")), "linear");
  expect_text(json_string_value(json_object_get(first, "what")), "their owner has masked and kept");
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  assert_string_equal(json_string_value(json_object_get(mixing, "policy")), "owner");
  assert_true(json_number_value(json_object_get(mixing, "unmixed")) == 0.5);
  assert_true(json_number_value(json_object_get(json_object_get(mixing, "probability"), "3")) == 1);
  json_decref(report);
  struct output *text = shell(0, "\"$G\" report $J");
  expect_text(text->out, "pairs");
  expect_text(text->out, "masked by the faces' owner");
  expect_text(text->out, "removed: Who sees the faces");
  expect_text(text->out, "stays: T: the service");
  expect_text(text->out, "note: The faces were masked and mixed by their owner");
  (void)shell(0, "grep -q 'What stays' \"$D/result/report.html\" && "
                 "grep -q 'Removed by that: Who sees the faces' \"$D/result/card.md\" && "
                 "grep -q 'were not run' \"$D/result/card.md\"");
}

/* A mask that does not mix: a template is one face, and of its coefficients those that the mask keeps. */
static void a_mask_without_mixes_goes_the_same_way(void **state) {
  (void)state;
  (void)shell(
      0, "sed 's/\"mask\": {.*}/\"mask\": {\"method\": \"duetface\"}/' \"$D/job.json\" >\"$D/duet.json\" && "
         "grep -q duetface \"$D/duet.json\"");
  struct output *output = shell(0, "\"$G\" submit \"$D/duet.json\" --follow");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("P2", output->out, 1), 0);
  (void)shell(1, "\"$G\" mask \"$D/faces.tar\" --model $P2 --unsafe --k 2 -o \"$D/duet\"");
  expect_text(shell(0, "\"$G\" mask \"$D/faces.tar\" --model $P2 --unsafe -o \"$D/duet\"")->out,
              "48 templates of 48 images of 8 people, mask duetface");
  (void)shell(0,
              "\"$G\" dataset add duet \"$D/duet\" && "
              "sed 's/\"dataset\": \"public\"/\"dataset\": \"duet\"/' \"$D/duet.json\" >\"$D/duet2.json\"");
  output = shell(0, "\"$G\" submit \"$D/duet2.json\" --follow");
  expect_text(output->out, "succeeded");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("J2", output->out, 1), 0);
  output = shell(0, "\"$G\" report $J2");
  expect_text(output->out, "masked by the faces' owner");
  expect_text(output->out, "templates of one face alone have");
  (void)shell(1, "\"$G\" submit \"$D/duet2.json\" --mask none");
}

static void the_model_embeds_and_can_be_attacked_with_other_faces(void **state) {
  (void)state;
  expect_text(shell(0, "tar xf \"$D/public.tar\" -C \"$D\" person-001/01.ppm && "
                       "\"$G\" embed $J \"$D/person-001/01.ppm\" --unsafe")
                  ->out,
              ".");
  expect_text(shell(1, "\"$G\" attack $J --attacks linear --effort quick")->err, "templates, not pictures");
  expect_text(shell(0, "\"$G\" attack $J --attacks linear --effort quick --dataset public --follow")->out,
              "succeeded");
  struct output *output = shell(0, "\"$G\" report $J");
  expect_text(output->out, "linear");
  expect_text(output->out, "take every mix to be a fresh one");
  (void)shell(0,
              "\"$G\" get $J card.md -o \"$D/attacked\" && ! grep -q 'were not run' \"$D/attacked/card.md\" "
              "&& grep -q 'run with pictures of other people' \"$D/attacked/card.md\"");
  /* the same data set, used again after a restart */
  server_kill(&server);
  server_start(&server);
  shell_start(&server);
  expect_text(shell(0, "\"$G\" submit \"$D/mine.json\" --epochs 1 --follow")->out, "succeeded");
  expect_text(shell(0, "\"$G\" dataset rm mine")->out, "96 images");
}

/* A model whose training dropped in the place of mixing: whoever masks with it does so, and so it is told. */
static void templates_that_lose_frequencies(void **state) {
  (void)state;
  char path[128];
  struct output *output = shell(0, "sed 's/\"k\": \\[3\\]/\"protect\": \"drop\", \"protect_drop\": 9/' "
                                   "\"$D/job.json\" >\"$D/drop.json\" && "
                                   "\"$G\" submit \"$D/drop.json\" --follow");
  expect_text(output->out, "succeeded");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("Q", output->out, 1), 0);
  (void)shell(
      0, "\"$G\" mask \"$D/faces.tar\" --model $Q --unsafe -o \"$D/low\" --mixes 1 --seed 7 && "
         "\"$G\" dataset add low \"$D/low\" && sed 's/\"mine\"/\"low\"/' \"$D/mine.json\" >\"$D/low.json\"");
  output = shell(0, "\"$G\" submit \"$D/low.json\" --follow");
  expect_text(output->out, "succeeded");
  output->out[strcspn(output->out, " ")] = 0;
  assert_int_equal(setenv("LOW", output->out, 1), 0);
  (void)shell(0, "\"$G\" get $LOW --unsafe -o \"$D/lower\"");
  file_in_root("lower/report.json", path);
  json_t *report = json_load_file(path, 0, NULL);
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing"),
               *spec = json_object_get(json_object_get(json_object_get(report, "job"), "spec"), "mask");
  assert_string_equal(json_string_value(json_object_get(mixing, "protect")), "drop");
  assert_int_equal(json_integer_value(json_object_get(mixing, "protect_drop")), 9);
  assert_string_equal(json_string_value(json_object_get(spec, "protect")), "drop");
  assert_int_equal(json_integer_value(json_object_get(spec, "protect_drop")), 9);
  json_decref(report);
  expect_text(shell(0, "cat \"$D/lower/report.html\"")->out,
              "lose their 9 lowest frequencies of each colour and are not mixed");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_public_model_has_the_mask),
      cmocka_unit_test(masks_a_folder_and_an_archive),
      cmocka_unit_test(an_interrupt_leaves_nothing_behind),
      cmocka_unit_test(names_are_quoted),
      cmocka_unit_test(no_templates_without_their_names),
      cmocka_unit_test(tells_what_cannot_be_masked),
      cmocka_unit_test(uploads_templates),
      cmocka_unit_test(a_person_is_erased),
      cmocka_unit_test(hostile_uploads_fail),
      cmocka_unit_test(jobs_that_need_faces_are_refused),
      cmocka_unit_test(trains_on_templates),
      cmocka_unit_test(templates_that_lose_frequencies),
      cmocka_unit_test(a_mask_without_mixes_goes_the_same_way),
      cmocka_unit_test(the_model_embeds_and_can_be_attacked_with_other_faces),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
