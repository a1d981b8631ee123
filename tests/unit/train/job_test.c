/* Whole jobs on small synthetic faces: files and metrics at the end, suspend and resume to the bit, cancel,
 * clear errors. */
#include "core/nn/kernels.h"
#include "unit/train/jobs.h"

/* The files for other runtimes stand in the report with their hashes. */
static void report_lists_onnx(const char *name) {
  char path[512], hex[SHA256_HEX];
  (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, name);
  json_t *report = json_load_file(path, 0, NULL), *file;
  json_t *files = json_object_get(json_object_get(report, "model"), "onnx");
  size_t i;
  assert_int_equal(json_array_size(files), 2);
  json_array_foreach(files, i, file) {
    output_hash(name, json_string_value(json_object_get(file, "name")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "sha256")), hex);
    assert_string_equal(json_string_value(json_object_get(file, "start")), i == 0 ? "image" : "template");
  }
  json_decref(report);
}

static void an_undefended_job_learns(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  int r = run("{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
              ",\"train\":{\"epochs\":8,\"batch\":8}}",
              "none", NULL, &record, &outcome, &err);
  if (r < 0)
    fail_msg("%s", err.text);
  for (uint32_t epoch = 1; epoch <= 8; epoch++) {
    assert_true(epoch_value(&record, "loss", epoch) > 0);
    assert_true(epoch_value(&record, "lr", epoch) > 0);
    assert_true(epoch_value(&record, "images_per_s", epoch) > 0);
    double accuracy = epoch_value(&record, "accuracy", epoch);
    assert_true(accuracy >= 0.4 && accuracy <= 1);
  }
  assert_true(epoch_value(&record, "loss", 8) < epoch_value(&record, "loss", 2));
  static const char *const files[] = {"model.safetensors", "model.onnx", "model-template.onnx", "report.json",
                                      "report.html",       "card.md",    "scores.csv"};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    char hex[SHA256_HEX];
    output_hash("none", files[i], hex);
  }
  assert_true(json_is_number(json_object_get(outcome.summary, "accuracy")));
  report_lists_onnx("none");
  json_decref(outcome.summary);
}

static void same_mixing(const char *a, const char *b) {
  json_t *one = report_of(a), *other = report_of(b);
  assert_true(json_equal(json_object_get(json_object_get(one, "mask"), "mixing"),
                         json_object_get(json_object_get(other, "mask"), "mixing")));
  json_decref(one);
  json_decref(other);
}

/* Makes a checkpoint one of a version that did not know the field train.winograd or, instead, of a processor
 * with other kernels. */
static void forge(const char *path, bool other_kernels) {
  static const char field[] = ",\\\"winograd\\\":true", kernels[] = "\"kernels\":\"";
  struct guise_error err = {0};
  char *bytes = NULL;
  size_t size = 0;
  if (file_read(path, 64 << 20, &bytes, &size, &err) < 0)
    fail_msg("%s", err.text);
  char *at = other_kernels ? memmem(bytes, size, kernels, sizeof(kernels) - 1)
                           : memmem(bytes, size, field, sizeof(field) - 1);
  assert_non_null(at);
  if (other_kernels)
    at[sizeof(kernels) - 1] = '_';
  else
    memset(at, ' ', sizeof(field) - 1);
  assert_int_equal(file_write_atomic(path, bytes, size, &err), 0);
  free(bytes);
}

/* Late enough that the policy has learnt something that a checkpoint must bring back. */
static void suspended_and_resumed_to_the_bit(void **state) {
  (void)state;
  static const char *const policies[][2] = {{"learned", ""},
                                            {"learned", ",\"reward\":\"paper\""},
                                            {"learned", ",\"ablation\":\"shuffled\""},
                                            {"learned", ",\"protect\":\"drop\""},
                                            {"fixed", ",\"k\":[2,5],\"probability\":[0.3,0.7]"},
                                            {"uniform", ""}};
  for (size_t p = 0; p < ARRAY_SIZE(policies); p++) {
    char body[512], whole[SHA256_HEX], parts[SHA256_HEX];
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    struct record straight = {.count = 0}, resumed = {.stop_after = 25, .stop = JOB_SUSPEND};
    (void)snprintf(body, sizeof(body), AHM, policies[p][0], policies[p][1]);
    if (run(body, "straight", NULL, &straight, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    const bool drops = strstr(policies[p][1], "drop") != NULL; /* 1: left, 2: loses frequencies */
    assert_true(epoch_value(&straight, "strategy.mean_k", 4) >= (drops ? 1 : 2));
    assert_true(!drops || epoch_value(&straight, "strategy.mean_k", 4) <= 2);
    assert_int_equal(run(body, "resumed", NULL, &resumed, &outcome, &err), -EINTR);
    resumed.stop_after = 0;
    char checkpoint[4096];
    memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
    assert_true(*checkpoint);
    forge(checkpoint, p == 0);
    if (run(body, "resumed", checkpoint, &resumed, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    compare(&straight, &resumed);
    assert_int_equal(resumed.other_kernels, p == 0);
    same_mixing("straight", "resumed");
    output_hash("straight", "model.safetensors", whole);
    output_hash("resumed", "model.safetensors", parts);
    assert_string_equal(whole, parts);
  }
}

/* The warm-up mixes two: a stolen store has these templates, too, and is attacked with them among the others.
 * Who goes on masking with the model is told of the policy alone. */
static void a_store_holds_the_warmup(void **state) {
  (void)state;
  static const char body[] =
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"fixed\",\"k\":[6],"
      "\"unmixed\":0},\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"effort\":"
      "\"quick\","
      "\"attacks\":[\"linear\"]},\"train\":{\"epochs\":4,\"batch\":8,\"margin_warmup\":0.5}}";
  struct record record = {.count = 0};
  struct model *model = NULL;
  char path[512];
  run_through(body, "store", NULL, &record);
  json_t *report = report_of("store");
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  const json_t *stored = json_object_get(mixing, "stored"), *last = json_object_get(mixing, "probability"),
               *decided = json_object_get(mixing, "decided");
  assert_true(json_number_value(json_object_get(last, "6")) == 1);
  assert_true(json_number_value(json_object_get(stored, "2")) == 0.5);
  assert_true(json_number_value(json_object_get(stored, "6")) == 0.5);
  assert_true(json_number_value(json_object_get(mixing, "stored_mean_k")) == 4);
  assert_true(json_number_value(json_object_get(decided, "2")) == 0);
  assert_true(json_number_value(json_object_get(decided, "6")) == 1);
  assert_true(json_number_value(json_object_get(mixing, "decided_mean_k")) == 6);
  const json_t *attack = json_array_get(json_object_get(report, "attacks"), 0), *surface;
  size_t i;
  json_array_foreach(json_object_get(attack, "surfaces"), i, surface) {
    const double k = json_number_value(json_object_get(surface, "mean_k"));
    if (strcmp(json_string_value(json_object_get(surface, "surface")), "T") == 0)
      assert_true(k > 2.5 && k < 5.5);
  }
  json_decref(report);
  (void)snprintf(path, sizeof(path), "%s/out-store/model.safetensors", root);
  assert_int_equal(model_load(path, 1, 1, &model, NULL), 0);
  assert_true(model->info.mixing.probability[6] == 1);
  model_free(model);
}

/* What the policy chose in all epochs behind the warm-up, which ends here with the first of them. */
static void a_report_tells_what_was_decided(void **state) {
  (void)state;
  static const char body[] =
      "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"ahm\",\"policy\":\"uniform\",\"unmixed\":"
      "0},"
      "\"model\":{\"input\":32,\"width\":0.25,\"embedding\":32},\"audit\":{\"attacks\":[]},"
      "\"train\":{\"epochs\":4,\"batch\":8,\"margin_warmup\":0.25}}";
  struct record record = {.count = 0};
  double sum = 0, shares = 0;
  run_through(body, "decided", NULL, &record);
  json_t *report = report_of("decided"), *share;
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  const char *k;
  assert_true(epoch_value(&record, "strategy.mean_k", 1) == 2);
  for (uint32_t epoch = 2; epoch <= 4; epoch++)
    sum += epoch_value(&record, "strategy.mean_k", epoch);
  const double decided = json_number_value(json_object_get(mixing, "decided_mean_k"));
  print_message("mean k %.9f of what was decided, %.9f by epochs\n", decided, sum / 3);
  assert_true(fabs(decided - sum / 3) < 1e-6);
  assert_true(decided != json_number_value(json_object_get(mixing, "mean_k"))); /* the last epoch's */
  assert_true(fabs(json_number_value(json_object_get(mixing, "stored_mean_k")) - (2 + sum) / 4) < 1e-6);
  json_object_foreach(json_object_get(mixing, "decided"), k, share) {
    shares += json_number_value(share);
  }
  assert_true(fabs(shares - 1) < 1e-6);
  json_decref(report);
}

/* Little memory and bfloat16 train the same network: the losses are near, and the report says what was used.
 */
static void memory_and_precision(void **state) {
  (void)state;
  static const struct {
    const char *name, *options, *note;
    double tolerance;
  } ways[] = {{"normal", "", "float32", 0},
              {"low", ",\"memory\":\"low\"", "float32", 1e-3},
              {"half", ",\"precision\":\"bf16\"", "bfloat16 with float32 weights", 0.1}};
  double first = 0;
  for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
    char body[512], path[512];
    struct record record = {.count = 0};
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    if (strcmp(ways[i].name, "half") == 0 && !graph_bfloat16_supported())
      continue;
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"}," SMALL
                   ",\"train\":{\"epochs\":2,\"batch\":8%s}}",
                   ways[i].options);
    if (run(body, ways[i].name, NULL, &record, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    const double loss = epoch_value(&record, "loss", 2);
    first = i == 0 ? loss : first;
    if (fabs(loss - first) > ways[i].tolerance * first)
      fail_msg("%s: loss %g, %g expected", ways[i].name, loss, first);
    (void)snprintf(path, sizeof(path), "%s/out-%s/report.json", root, ways[i].name);
    json_t *report = json_load_file(path, 0, NULL);
    const char *note = json_string_value(json_array_get(json_object_get(report, "notes"), 0));
    assert_non_null(note);
    assert_non_null(strstr(note, ways[i].note));
    assert_non_null(strstr(note, "passes of convolutions use Winograd"));
    json_decref(report);
  }
}

/* Without Winograd the same network is trained, with other roundings; the report says which. A batch of 16 is
 * large enough for the rule of every processor that has Winograd. */
static void winograd_can_be_left_out(void **state) {
  (void)state;
  double loss[2];
  for (int direct = 0; direct < 2; direct++) {
    const char *name = direct ? "direct" : "winograd";
    char body[512];
    struct record record = {.count = 0};
    (void)snprintf(
        body, sizeof(body),
        "{\"type\":\"train\",\"dataset\":\"a\",\"mask\":{\"method\":\"none\"},\"model\":{\"input\":32,"
        "\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]},"
        "\"train\":{\"epochs\":1,\"batch\":16,\"winograd\":%s}}",
        direct ? "false" : "true");
    run_through(body, name, NULL, &record);
    loss[direct] = epoch_value(&record, "loss", 1);
    json_t *report = report_of(name);
    const char *note = json_string_value(json_array_get(json_object_get(report, "notes"), 0));
    const bool none = strstr(note, "float32; 0 of") != NULL;
    if (none != (direct || strcmp(kernels_choose()->name, "portable") == 0))
      fail_msg("%s: %s", name, note);
    json_decref(report);
  }
  assert_true(fabs(loss[0] - loss[1]) < 1e-3 * loss[1]);
}

static void a_learned_policy_reports_itself(void **state) {
  (void)state;
  char body[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(body, sizeof(body), AHM, "learned", "");
  assert_int_equal(run(body, "learned", NULL, &record, &outcome, &err), 0);
  json_decref(outcome.summary);
  double sum = 0;
  for (int k = 2; k <= 6; k++) {
    char name[40];
    (void)snprintf(name, sizeof(name), "strategy.pi_%d", k);
    double p = epoch_value(&record, name, 4);
    assert_true(p >= 0.0199 && p <= 0.9201); /* the floor .1/5 */
    sum += p;
  }
  assert_true(fabs(sum - 1) < 1e-4);
  assert_true(epoch_value(&record, "strategy.entropy", 4) > 0);
  assert_true(isfinite(epoch_value(&record, "strategy.reward", 4)));
}

/* The probe's reward tells what it is made of, and who bounds the accuracy. */
static void the_probe_reports_itself(void **state) {
  (void)state;
  static const char *const always[] = {"strategy.mu", "strategy.tau", "probe.error"};
  static const char *const late[] = {"strategy.kl", "leak", "strategy.reward"};
  char body[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(body, sizeof(body), AHM, "learned", ",\"ablation\":\"no_dual\"");
  assert_int_equal(run(body, "probe", NULL, &record, &outcome, &err), 0);
  json_decref(outcome.summary);
  for (size_t i = 0; i < ARRAY_SIZE(always); i++)
    for (uint32_t epoch = 1; epoch <= 4; epoch++)
      assert_true(epoch_value(&record, always[i], epoch) >= 0);
  for (size_t i = 0; i < ARRAY_SIZE(late); i++) /* the margin warms up in the first */
    assert_true(isfinite(epoch_value(&record, late[i], 4)));
  assert_true(epoch_value(&record, "strategy.tau", 4) == DUAL_TAU_START);
  /* nothing is priced: R = 1 - leak */
  assert_true(epoch_value(&record, "strategy.mu", 4) == 0);
  assert_true(fabs(epoch_value(&record, "strategy.reward", 4) - (1 - epoch_value(&record, "leak", 4))) <
              1e-4);
  /* each k that was decided on has its own rows; there is at least one */
  int rows = 0;
  for (uint32_t i = 0; i < record.count; i++)
    rows += record.rows[i].epoch == 4 && strncmp(record.rows[i].name, "strategy.leak_", 14) == 0;
  assert_true(rows >= 1 && rows <= 5);
}

static bool is_enforced(const json_t *report) {
  const json_t *mixing = json_object_get(json_object_get(report, "mask"), "mixing");
  assert_string_equal(json_string_value(json_object_get(mixing, "reward")), "probe");
  return json_is_true(json_object_get(mixing, "accuracy_bound_enforced"));
}

static void a_reference_bounds_the_accuracy(void **state) {
  (void)state;
  char body[512], model[512];
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  (void)snprintf(model, sizeof(model), "%s/out-none/model.safetensors", root); /* of the first test */
  reference_model = embedder_model = model;
  (void)snprintf(body, sizeof(body), AHM, "learned",
                 ",\"reference\":\"mdl_a\",\"embedder\":\"mdl_a\",\"max_accuracy_drop\":0.1,\"k\":[1,2,6],"
                 "\"unmixed\":0");
  int r = run(body, "bounded", NULL, &record, &outcome, &err);
  reference_model = embedder_model = NULL;
  if (r < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  assert_true(epoch_value(&record, "strategy.mu", 1) == DUAL_MU_BOUND); /* the margin warms up */
  assert_true(epoch_value(&record, "strategy.pi_1", 1) > 0.6);
  /* moved at the ends of the epochs in which the policy was updated: all but the first */
  double tau = DUAL_TAU_BOUND;
  for (uint32_t epoch = 2; epoch <= 3; epoch++) {
    const double slack = (0.1 - epoch_value(&record, "strategy.accuracy_drop", epoch)) / 0.1;
    tau = fmin(fmax(tau * exp(fmin(fmax(0.5 * slack, -0.5), 0.1)), 0.05), 0.75);
    assert_true(fabs(epoch_value(&record, "strategy.tau", epoch + 1) - tau) < 1e-9);
  }
  /* whom it leaves */
  for (uint32_t epoch = 1; epoch <= 4; epoch++) {
    const double deviation = epoch_value(&record, "strategy.alone_deviation", epoch);
    assert_true(deviation > 0 && deviation < 0.5);
  }
  assert_true(fabs(epoch_value(&record, "strategy.alone_alike", 4)) <= 1);
  json_t *bounded = report_of("bounded"), *unbounded = report_of("probe");
  assert_true(is_enforced(bounded));
  assert_false(is_enforced(unbounded));
  json_decref(bounded);
  json_decref(unbounded);
}

/* Of those that lose frequencies leak and reward are told apart from those that are left. */
static void what_loses_frequencies_has_its_metrics(void **state) {
  (void)state;
  char body[512];
  struct record record = {.count = 0};
  (void)snprintf(body, sizeof(body), AHM, "learned", ",\"protect\":\"drop\",\"unmixed\":0");
  run_through(body, "lose", NULL, &record);
  const double leak = epoch_value(&record, "leak", 4), left = epoch_value(&record, "strategy.leak_1", 4),
               lost = epoch_value(&record, "strategy.leak_2", 4);
  assert_true(leak >= fmin(left, lost) - 1e-6 && leak <= fmax(left, lost) + 1e-6);
  assert_true(isfinite(epoch_value(&record, "strategy.reward_1", 4)) &&
              isfinite(epoch_value(&record, "strategy.reward_2", 4)));
}

/* Without a bound in force, or where nobody may stay unmixed, the policy begins with about equal shares. */
static void what_does_not_bind_begins_evenly(void **state) {
  (void)state;
#define BOUND ",\"embedder\":\"mdl_a\",\"unmixed\":0,\"reference\":\"mdl_a\""
  static const struct {
    const char *mask, *row;
    double share;
    bool single;
  } cases[] = {
      {",\"embedder\":\"mdl_a\",\"unmixed\":0,\"k\":[1,2,6]", "strategy.pi_1", 1 / 3.0, false},
      {BOUND ",\"k\":[1,2,6]", "strategy.pi_1", 1 / 3.0, true}, /* nothing to verify */
      {BOUND ",\"k\":[2,6]", "strategy.pi_2", 0.5, false},
  };
  char model[512], two_each[sizeof(few_path)];
  memcpy(two_each, few_path, sizeof(two_each));
  (void)snprintf(few_path, sizeof(few_path), "%s/single", root);
  draw_pack(few_path, 1, 16, 1, 40);
  (void)snprintf(model, sizeof(model), "%s/out-none/model.safetensors", root);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    char body[512];
    struct record record = {.count = 0};
    embedder_model = model;
    reference_model = strstr(cases[i].mask, "reference") ? model : NULL;
    of_few = cases[i].single;
    (void)snprintf(body, sizeof(body), AHM, "learned", cases[i].mask);
    run_through(body, "even", NULL, &record);
    reference_model = embedder_model = NULL;
    of_few = false;
    const double share = epoch_value(&record, cases[i].row, 1);
    if (fabs(share - cases[i].share) > 0.1)
      fail_msg("%s: %s is %g at first", cases[i].mask, cases[i].row, share);
  }
#undef BOUND
  memcpy(few_path, two_each, sizeof(few_path));
}

/* The embedder is trained first and kept: killed there or later, the job ends as if nothing had happened. */
static void an_embedder_of_public_faces(void **state) {
  (void)state;
  char body[512], path[512], whole[SHA256_HEX], parts[SHA256_HEX];
  struct record straight = {.count = 0}, resumed = {.stop_after = 25, .stop = JOB_SUSPEND};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  public_pack = few_path;
  (void)snprintf(body, sizeof(body), AHM, "learned", ",\"public_dataset\":\"faces\"");
  if (run(body, "judged", NULL, &straight, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  assert_int_equal(run(body, "killed", NULL, &resumed, &outcome, &err), -EINTR);
  assert_false(resumed.training);
  assert_int_equal(resumed.checkpoints, 0);
  (void)snprintf(path, sizeof(path), "%s/work-killed/embedder/embedder.safetensors", root);
  assert_int_not_equal(access(path, R_OK), 0);
  resumed.steps_asked = 0;
  resumed.stop_after = 9;
  resumed.only_training = true;
  assert_int_equal(run(body, "killed", NULL, &resumed, &outcome, &err), -EINTR);
  assert_true(resumed.embedder_continued);
  assert_int_equal(access(path, R_OK), 0);
  resumed.stop_after = 0;
  char checkpoint[4096];
  memcpy(checkpoint, resumed.checkpoint, sizeof(checkpoint));
  if (run(body, "killed", checkpoint, &resumed, &outcome, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(outcome.summary);
  public_pack = NULL;
  compare(&straight, &resumed);
  output_hash("judged", "model.safetensors", whole);
  output_hash("killed", "model.safetensors", parts);
  assert_string_equal(whole, parts);
}

static void ablations_take_something_away(void **state) {
  (void)state;
  skip_when_slow();
  double pi[ABLATIONS];
  for (int a = 0; a < ABLATIONS; a++) {
    char body[512], options[64];
    struct record record = {.count = 0};
    struct job_outcome outcome = {NULL};
    struct guise_error err = {0};
    (void)snprintf(options, sizeof(options), ",\"ablation\":\"%s\"",
                   ablation_traits((enum strategy_ablation)a)->name);
    (void)snprintf(body, sizeof(body), AHM, "learned", options);
    if (run(body, "ablation", NULL, &record, &outcome, &err) < 0)
      fail_msg("%s", err.text);
    json_decref(outcome.summary);
    pi[a] = epoch_value(&record, "strategy.pi_2", 4);
  }
  for (int a = 0; a < ABLATIONS; a++)
    /* RANDOM draws otherwise from the same network; nothing is priced in so short a training */
    if (a != ABLATION_NONE && a != ABLATION_RANDOM && a != ABLATION_NO_DUAL)
      assert_true(pi[a] != pi[ABLATION_NONE]);
}

static void cancel(void **state) {
  (void)state;
  struct record record = {.stop_after = 4, .stop = JOB_CANCEL};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL
                       ",\"train\":{\"epochs\":2,\"batch\":8}}",
                       "cancel", NULL, &record, &outcome, &err),
                   -ECANCELED);
  assert_int_equal(record.checkpoints, 0);
}

static void errors_say_what_to_do(void **state) {
  (void)state;
  struct record record = {.count = 0};
  struct job_outcome outcome = {NULL};
  struct guise_error err = {0};
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":64}}", "big", NULL,
                       &record, &outcome, &err),
                   -EINVAL);
  assert_non_null(strstr(err.text, "at most 40"));
  assert_int_equal(
      run("{\"type\":\"train\",\"dataset\":\"a\",\"model\":{\"input\":40},\"holdout\":{\"identities\":0.9}}",
          "few", NULL, &record, &outcome, &err),
      -EINVAL);
  assert_non_null(strstr(err.text, "holdout.identities"));
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"a\"," SMALL "}", "lost", "/nonexistent/checkpoint",
                       &record, &outcome, &err),
                   -ENOENT);
}

/* A model of an earlier job is the teacher; the linkage figures lead the summary and the report. */
static void linkage_leads_the_report(void **state) {
  (void)state;
  skip_when_slow();
  struct record record = {.count = 0}, second = {.count = 0};
  struct job_outcome outcome;
  struct guise_error err = {0};
  char path[512], report_path[512];
  assert_int_equal(run("{\"type\":\"train\",\"dataset\":\"s\",\"holdout\":{\"identities\":0},"
                       "\"mask\":{\"method\":\"none\"},\"train\":{\"epochs\":1,\"batch\":10,\"seed\":1},"
                       "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},\"audit\":{\"attacks\":[]}}",
                       "teacher", NULL, &record, &outcome, &err),
                   0);
  json_decref(outcome.summary);
  (void)snprintf(path, sizeof(path), "%s/out-teacher/model.safetensors", root);
  teacher_path = path;
  int r =
      run("{\"type\":\"train\",\"dataset\":\"s\",\"train\":{\"epochs\":1,\"batch\":10,\"seed\":1},"
          "\"model\":{\"input\":40,\"width\":0.5,\"embedding\":32},"
          "\"audit\":{\"effort\":\"quick\",\"attacks\":[\"linear\",\"linkage\",\"reconstruction\",\"demix\"],"
          "\"public_dataset\":\"open\"}}",
          "linkage", NULL, &second, &outcome, &err);
  teacher_path = NULL;
  if (r < 0)
    fail_msg("%s", err.text);
  const json_t *audit = json_object_get(outcome.summary, "audit");
  assert_int_equal(json_array_size(json_object_get(audit, "linkage")), 2); /* two surfaces */
  assert_int_equal(json_array_size(json_object_get(audit, "attacks")), 7); /* of four attacks */
  (void)snprintf(report_path, sizeof(report_path), "%s/out-linkage/report.json", root);
  json_t *report = json_load_file(report_path, 0, NULL);
  const json_t *attack = json_array_get(json_object_get(report, "attacks"), 1);
  assert_string_equal(json_string_value(json_object_get(attack, "attack")), "linkage");
  assert_int_equal(json_integer_value(json_object_get(attack, "public_faces")), 40);
  assert_int_equal(json_array_size(json_object_get(json_object_get(report, "headline"), "linkage")), 2);
  json_decref(report);
  json_decref(outcome.summary);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(winograd_can_be_left_out),
      cmocka_unit_test(an_undefended_job_learns),
      cmocka_unit_test(suspended_and_resumed_to_the_bit),
      cmocka_unit_test(a_store_holds_the_warmup),
      cmocka_unit_test(a_report_tells_what_was_decided),
      cmocka_unit_test(memory_and_precision),
      cmocka_unit_test(a_learned_policy_reports_itself),
      cmocka_unit_test(the_probe_reports_itself),
      cmocka_unit_test(a_reference_bounds_the_accuracy),
      cmocka_unit_test(what_does_not_bind_begins_evenly),
      cmocka_unit_test(what_loses_frequencies_has_its_metrics),
      cmocka_unit_test(an_embedder_of_public_faces),
      cmocka_unit_test(ablations_take_something_away),
      cmocka_unit_test(linkage_leads_the_report),
      cmocka_unit_test(cancel),
      cmocka_unit_test(errors_say_what_to_do),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
