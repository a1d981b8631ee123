/* Whole jobs, mask by mask: every method trains, what a mask learnt survives interruptions, a keyed job has a
 * key of its own. */
#include "unit/train/jobs.h"

/* What masks with a generator learn from: public faces, and an embedder of 32 pixels. */
static void give_public(bool given) {
  static char path[512];
  (void)snprintf(path, sizeof(path), "%s/out-judge/model.safetensors", root); /* of the test below */
  public_pack = given ? pack_path : NULL;
  embedder_model = given ? path : NULL;
}

static void an_embedder_for_generators(void **state) {
  (void)state;
  struct record record = {.count = 0};
  run_through(
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32," NARROW
      ",\"train\":{\"epochs\":1,\"batch\":8}}",
      "judge", NULL, &record);
}
#define PUBLIC "\"public_dataset\":\"a\",\"embedder\":\"mdl_a\""

/* The model brings what its mask learnt: a loaded one embeds. */
static void loads_with_learnt(const char *name, bool gates) {
  char path[512];
  struct model *model = NULL;
  struct guise_error err = {0};
  static uint8_t grey[40 * 40 * 3];
  const uint8_t *face = grey;
  float embedding[32];
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(model->info.mask.select, gates ? MASK_SELECT_LEARNT : MASK_SELECT_ZIGZAG);
  assert_int_equal(model->info.constants.learnt_count, gates ? 192 : 0);
  assert_int_equal(mask_weights(model->mask) != NULL, !gates);
  memset(grey, 128, sizeof(grey));
  assert_int_equal(model_embed(model, &face, 1, false, embedding, &err), 0);
  assert_true(isfinite(embedding[0]));
  model_free(model);
}

/* Masks that learn before the training: stopped while they learn, killed after that and before a checkpoint,
 * suspended in the training and continued from nothing but the checkpoint: always the same job. */
static void what_a_mask_learnt_survives(void **state) {
  (void)state;
  static const struct {
    const char *mask, *file;
    bool gates;
  } masks[] = {
      {"\"mask\":{\"method\":\"ppfr_fd\"},\"model\":{\"arch\":\"freq_conv\",\"input\":40," NARROW,
       JOB_ANALYSIS_FILE, true},
      {"\"mask\":{\"method\":\"ahm\",\"policy\":\"uniform\",\"select\":\"learnt\",\"drop_low\":10,"
       "\"analysis\":{\"epochs\":3}},\"model\":{\"input\":32," NARROW,
       JOB_ANALYSIS_FILE, true},
      {"\"mask\":{\"method\":\"minusface\"},\"model\":{\"input\":32," NARROW, JOB_WEIGHTS_FILE, false},
      {"\"mask\":{\"method\":\"dctdp\",\"parameters\":{\"learnt\":1,\"measured\":1}},\"model\":{\"input\":"
       "32," NARROW,
       JOB_WEIGHTS_FILE, false},
      {"\"mask\":{\"method\":\"generative\"," PUBLIC "},\"model\":{\"input\":32," NARROW, JOB_WEIGHTS_FILE,
       false}}; /* hybrid learns likewise */
  give_public(true);
  for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
    char body[512], file[512], checkpoint[4096];
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    struct record straight = {.count = 0}, early = {.stop_after = 10, .stop = JOB_SUSPEND};
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",%s,\"train\":{\"epochs\":2,\"batch\":8}}",
                   masks[m].mask);
    (void)snprintf(file, sizeof(file), "%s/work-learnt-b%zu/%s", root, m, masks[m].file);
    char a[16], b[16];
    (void)snprintf(a, sizeof(a), "learnt-a%zu", m);
    (void)snprintf(b, sizeof(b), "learnt-b%zu", m);
    run_through(body, a, NULL, &straight);
    loads_with_learnt(a, masks[m].gates);
    assert_int_equal(straight.analyses, 1);
    assert_int_equal(run(body, b, NULL, &early, &outcome, &err), -EINTR);
    assert_int_equal(early.checkpoints, 0);
    assert_int_equal(access(file, F_OK), -1);
    struct record late = {.stop_after = 4, .stop = JOB_SUSPEND, .only_training = true};
    assert_int_equal(run(body, b, NULL, &late, &outcome, &err), -EINTR);
    assert_int_equal(late.checkpoints, 1);
    assert_int_equal(access(file, F_OK), 0);
    memcpy(checkpoint, late.checkpoint, sizeof(checkpoint));
    struct record killed = {.count = 0};
    run_through(body, b, NULL, &killed); /* as if the checkpoint had not been committed */
    assert_int_equal(killed.analyses, 0);
    compare(&straight, &killed);
    same_model(a, b);
    assert_int_equal(unlink(file), 0);
    late.stop_after = 0;
    late.analyses = 0;
    run_through(body, b, checkpoint, &late);
    assert_int_equal(late.analyses, 0);
    compare(&straight, &late);
    same_model(a, b);
  }
  give_public(false);
}

/* The model of a job loads, and embeds the same each time, whatever the mask draws. */
static void check_model(const char *name) {
  char path[512];
  uint8_t face[32 * 32 * 3];
  const uint8_t *rgb[1] = {face};
  float first[32], again[32];
  struct model *model = NULL;
  struct guise_error err = {0};
  synth_face(9, 1, 1, 32, face);
  (void)snprintf(path, sizeof(path), "%s/out-%s/model.safetensors", root, name);
  if (model_load(path, 1, 1, &model, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(model_embed(model, rgb, 1, true, first, &err), 0);
  assert_int_equal(model_embed(model, rgb, 1, true, again, &err), 0);
  assert_memory_equal(first, again, sizeof(first));
  model_free(model);
}

/* more: further settings of the mask. */
static void train_method(enum mask_method method, enum mask_dct dct, const char *more, bool interrupted) {
  const struct mask_traits *traits = mask_traits(method);
  struct record record = {.count = 0}, resumed = {.stop_after = 9, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  struct mask_guarantee guarantee;
  char body[512], whole[SHA256_HEX], parts[SHA256_HEX], checkpoint[4096];
  const bool pixels = traits->located || dct == MASK_DCT_UPSAMPLED;
  /* to solve for what is up-sampled takes seconds: one method stands for all */
  const bool attacked = dct == MASK_DCT_NATIVE || method == MASK_PARTIALFACE;
  (void)snprintf(body, sizeof(body),
                 "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"%s\",\"dct\":\"%s\"%s%s},"
                 "\"model\":{\"arch\":\"%s\",\"input\":32,\"width\":0.25,\"embedding\":32},"
                 "\"audit\":{%s},\"train\":{\"epochs\":2,\"batch\":8}}",
                 traits->name, mask_dct_name(dct), traits->needs_public ? "," PUBLIC : "", more,
                 pixels ? "freq_ir" : "freq_conv", attacked ? "\"effort\":\"quick\"" : "\"attacks\":[]");
  give_public(traits->needs_public);
  of_few = !interrupted; /* to stop in the second epoch takes more steps */
  const int r = run(body, "method", NULL, &record, &outcome, &err);
  of_few = false;
  if (r < 0)
    fail_msg("%s: %s", traits->name, err.text);
  json_decref(outcome.summary);
  assert_true(epoch_value(&record, "loss", 2) > 0);
  json_t *report = report_of("method");
  const json_t *mask = json_object_get(report, "mask");
  const struct mask_options options = mask_options_default(method, 32);
  const struct mask_constants constants = {.channels = 189, .clip = 3};
  assert_string_equal(json_string_value(json_object_get(mask, "method")), traits->name);
  assert_int_equal(json_object_size(json_object_get(mask, "parameters")), traits->parameter_count);
  assert_int_equal(json_is_object(json_object_get(mask, "mixing")), traits->mixes);
  assert_int_equal(json_is_real(json_object_get(json_object_get(report, "formal"), "epsilon")),
                   mask_guarantee(&options, &constants, NULL, &guarantee));
  json_decref(report);
  check_model("method");
  give_public(traits->needs_public && interrupted);
  if (!interrupted)
    return;
  output_hash("method", "model.safetensors", whole);
  assert_int_equal(run(body, "method-resumed", NULL, &resumed, &outcome, &err), -EINTR);
  resumed.stop_after = 0;
  memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
  if (run(body, "method-resumed", checkpoint, &resumed, &outcome, &err) < 0)
    fail_msg("%s: %s", traits->name, err.text);
  json_decref(outcome.summary);
  output_hash("method-resumed", "model.safetensors", parts);
  assert_string_equal(whole, parts);
}

static void every_method_trains(void **state) {
  (void)state;
  for (int method = 0; method < MASK_METHODS; method++)
    train_method((enum mask_method)method, MASK_DCT_NATIVE, "",
                 method == MASK_INSTAHIDE || method == MASK_DCTDP);
  train_method(MASK_PARTIALFACE, MASK_DCT_UPSAMPLED, "", false);
  train_method(MASK_DUETFACE, MASK_DCT_UPSAMPLED, "", false);
  train_method(MASK_DCTDP, MASK_DCT_UPSAMPLED, ",\"parameters\":{\"learnt\":1}", false);
  train_method(MASK_AHM, MASK_DCT_UPSAMPLED, "", false);
}

static bool holds(const char *name, const char *file, const char *text) {
  char path[512], *data = NULL;
  size_t bytes = 0;
  (void)snprintf(path, sizeof(path), "%s/out-%s/%s", root, name, file);
  assert_int_equal(file_read(path, 1u << 26, &data, &bytes, NULL), 0);
  const bool found = memmem(data, bytes, text, strlen(text)) != NULL;
  free(data);
  return found;
}

/* A keyed job keeps its key across an interruption, refuses to go on under another, and hands the key out in
 * one file alone. Behind the inverse transform the key changes nothing of the training. */
static void a_key_of_its_own(void **state) {
  (void)state;
  static const char *const others[] = {
      "model.safetensors",   "model.onnx", "model-template.onnx", "report.json", "report.html",
      "report-private.html", "card.md"};
  const char *body = "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"mixup\",\"key\":true},"
                     "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},"
                     "\"audit\":{\"effort\":\"quick\"},\"train\":{\"epochs\":2,\"batch\":8}}",
             *plain = "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"mixup\"},"
                      "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},"
                      "\"audit\":{\"attacks\":[]},\"train\":{\"epochs\":2,\"batch\":8}}";
  struct record unkeyed = {.count = 0}, record = {.stop_after = 9, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  char path[512], text[300], checkpoint[4096], secret[2 * MASK_KEY_BYTES + 1] = "";
  struct mask_key key, other;
  struct model *model = NULL;
  run_through(plain, "unkeyed", NULL, &unkeyed);
  assert_int_equal(run(body, "keyed", NULL, &record, &outcome, &err), -EINTR);
  record.stop_after = 0;
  memcpy(checkpoint, record.checkpoint, sizeof(checkpoint));
  (void)snprintf(path, sizeof(path), "%s/work-keyed/" MASK_KEY_FILE, root);
  assert_int_equal(mask_key_read(path, &key, NULL), 0);
  memset(&other, 1, sizeof(other));
  assert_int_equal(mask_key_write(path, &other, NULL), 0);
  assert_int_equal(run(body, "keyed", checkpoint, &record, &outcome, &err), -EBADMSG);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(run(body, "keyed", checkpoint, &record, &outcome, &err), -ENOENT);
  assert_int_equal(mask_key_write(path, &key, NULL), 0);
  run_through(body, "keyed", checkpoint, &record);
  compare(&unkeyed, &record);
  (void)snprintf(path, sizeof(path), "%s/out-keyed/" MASK_KEY_FILE, root);
  assert_int_equal(mask_key_read(path, &other, NULL), 0);
  assert_memory_equal(&key, &other, sizeof(key));
  for (int i = 0; i < MASK_KEY_BYTES; i++)
    (void)snprintf(secret + 2 * i, 3, "%02x", key.secret[i]);
  assert_true(holds("keyed", MASK_KEY_FILE, secret));
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    assert_false(holds("keyed", others[i], secret));
  (void)snprintf(path, sizeof(path), "%s/out-keyed/model.safetensors", root);
  assert_int_equal(model_load(path, 1, 1, &model, &err), -ENOKEY);
  assert_int_equal(model_load_keyed(path, &key, 1, 1, &model, &err), 0);
  json_t *report = report_of("keyed");
  const json_t *files = json_object_get(json_object_get(report, "model"), "onnx");
  for (size_t i = 0; i < 2; i++)
    assert_string_equal(json_string_value(json_object_get(json_array_get(files, i), "start")), "template");
  assert_string_equal(json_string_value(json_object_get(json_object_get(report, "mask"), "key")),
                      model->info.key_id);
  (void)snprintf(text, sizeof(text), "keyed, with the key %s", model->info.key_id);
  assert_true(holds("keyed", "card.md", text));
  json_decref(report);
  model_free(model);
}

/* Of the same public faces and settings there is one, which later jobs take over and go on with when they
 * were stopped, whatever their seed. */
static void an_embedder_serves_later_jobs(void **state) {
  (void)state;
  char body[512], other[512], store[300], checkpoint[4096];
  (void)snprintf(store, sizeof(store), "%s/kept", root);
  assert_int_equal(directory_make(store, NULL), 0);
  const struct model_cache cache = {store, kept_fetch, kept_keep};
  struct record first = {.count = 0}, second = {.stop_after = 9, .stop = JOB_SUSPEND, .only_training = true};
  struct record third = {.stop_after = 40, .stop = JOB_CANCEL};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  public_pack = few_path;
  public_cache = &cache;
  (void)snprintf(body, sizeof(body), AHM, "learned", ",\"public_dataset\":\"faces\"");
  run_through(body, "keeps", NULL, &first);
  assert_false(first.embedder_taken);
  assert_int_equal(kept, 1);
  assert_int_equal(kept_sources, CACHE_MASK_PUBLIC);
  assert_int_equal(run(body, "takes", NULL, &second, &outcome, &err), -EINTR);
  assert_true(second.embedder_taken);
  assert_string_equal(second.embedder_accuracy, first.embedder_accuracy);
  memcpy(checkpoint, second.checkpoint, sizeof(checkpoint));
  second.stop_after = 0;
  run_through(body, "takes", checkpoint, &second);
  assert_int_equal(kept, 1);
  compare(&first, &second);
  same_model("keeps", "takes");
  (void)snprintf(other, sizeof(other), "%.*s,\"seed\":2}}", (int)strlen(body) - 2, body);
  assert_int_equal(run(other, "other", NULL, &third, &outcome, &err), -ECANCELED);
  assert_true(third.embedder_taken);
  assert_int_equal(kept, 1);
  public_pack = NULL;
  public_cache = NULL;
}

/* Samples that the policy leaves unmixed are told apart from those that mask.unmixed leaves so, and a stolen
 * store holds both: attacks on training templates meet them. */
static void what_a_policy_leaves_unmixed_is_told(void **state) {
  (void)state;
  static const char body[] =
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"fixed\",\"k\":[1,6],"
      "\"probability\":[0.9,0.1],\"unmixed\":0.25},\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},"
      "\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\"]},\"train\":{\"epochs\":4,\"batch\":8,"
      "\"margin_warmup\":0}}";
  struct record record = {.count = 0};
  struct model *model = NULL;
  char path[512];
  run_through(body, "alone", NULL, &record);
  json_t *report = report_of("alone");
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  const double last = json_number_value(json_object_get(json_object_get(mixing, "probability"), "1")),
               stored = json_number_value(json_object_get(json_object_get(mixing, "stored"), "1"));
  assert_true(json_number_value(json_object_get(mixing, "unmixed")) == 0.25);
  assert_true(stored > 0.75 && stored < 1 && last > 0.6);
  assert_true(fabs(json_number_value(json_object_get(mixing, "stored_mean_k")) - (6 - 5 * stored)) < 1e-6);
  assert_true(fabs(epoch_value(&record, "strategy.pi_1", 4) - last) < 1e-6);
  assert_true(fabs(epoch_value(&record, "strategy.mean_k", 4) - (6 - 5 * last)) < 1e-6);
  const json_t *attack = json_array_get(json_object_get(report, "attacks"), 0), *surface;
  size_t i;
  json_array_foreach(json_object_get(attack, "surfaces"), i, surface) {
    const double k = json_number_value(json_object_get(surface, "mean_k"));
    if (strcmp(json_string_value(json_object_get(surface, "surface")), "T") == 0)
      assert_true(k >= 1 && k < 3); /* 4.75 if six were all that it mixes */
  }
  json_decref(report);
  (void)snprintf(path, sizeof(path), "%s/out-alone/model.safetensors", root);
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  assert_true(fabs((double)model->info.mixing.unmixed - (0.25 + 0.75 * last)) < 1e-6);
  assert_true(model->info.mixing.probability[6] == 1);
  model_free(model);
}

static double surface_mean(const json_t *report, const char *name) {
  const json_t *surface, *attack = json_array_get(json_object_get(report, "attacks"), 0);
  size_t i;
  json_array_foreach(json_object_get(attack, "surfaces"), i, surface) {
    const json_t *value = json_object_get(json_array_get(json_object_get(surface, "metrics"), 0), "value");
    if (strcmp(json_string_value(json_object_get(surface, "surface")), name) == 0)
      return json_number_value(json_object_get(value, "mean"));
  }
  fail_msg("the report has no surface %s", name);
  return NAN;
}

/* Half of the people lose frequencies in training: a stolen store holds their templates, and nobody's mixes,
 * while what is sent is as the mask makes it. The model's file hands it on. */
static void what_loses_frequencies_is_told(void **state) {
  (void)state;
  static const char body[] =
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"fixed\",\"protect\":"
      "\"drop\","
      "\"protect_drop\":20,\"drop_low\":1,\"unmixed\":0.5},\"model\":{\"input\":32,\"width\":0.25,"
      "\"embedding\":32},"
      "\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\"]},\"train\":{\"epochs\":2,\"batch\":8}}";
  struct record record = {.count = 0};
  struct model *model = NULL;
  char path[512];
  run_through(body, "drop", NULL, &record);
  json_t *report = report_of("drop");
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  assert_string_equal(json_string_value(json_object_get(mixing, "protect")), "drop");
  assert_int_equal(json_integer_value(json_object_get(mixing, "protect_drop")), 20);
  assert_true(json_number_value(json_object_get(json_object_get(mixing, "stored"), "2")) == 1);
  assert_true(json_number_value(json_object_get(mixing, "stored_mean_k")) == 1);
  assert_true(json_number_value(json_object_get(mixing, "unmixed")) == 0.5);
  const double sent = surface_mean(report, "I"), stored = surface_mean(report, "T");
  if (!(stored < sent - 0.05))
    fail_msg("SSIM of what is stored is %g, of what is sent %g", stored, sent);
  json_decref(report);
  (void)snprintf(path, sizeof(path), "%s/out-drop/model.safetensors", root);
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  assert_true(model->info.mixing.protection.drop == 20 && model->info.mixing.protection.alone);
  assert_true(model->info.mixing.unmixed == 0.5f);
  model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_a_policy_leaves_unmixed_is_told),
      cmocka_unit_test(what_loses_frequencies_is_told),
      cmocka_unit_test(an_embedder_for_generators),
      cmocka_unit_test(an_embedder_serves_later_jobs),
      cmocka_unit_test(what_a_mask_learnt_survives),
      cmocka_unit_test(every_method_trains),
      cmocka_unit_test(a_key_of_its_own),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
