/* A report for tests, with whatever attacks are given to it. All that comes from outside it holds markup. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/png.h"
#include "core/model/report.h"
#include "tests/schema.h"

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HOSTILE "<script>alert(1)</script>\"'&"

static inline json_t *interval_of(double mean, double low, double high) {
  return json_pack("{s:f, s:f, s:f}", "mean", mean, "low", low, "high", high);
}

static inline json_t *sample_picture(const char *source) {
  uint8_t rgb[16 * 48 * 3];
  char *uri = NULL;
  memset(rgb, source[0], sizeof(rgb)); /* so that pictures of victims and drawn ones differ */
  assert_int_equal(png_data_uri(rgb, 48, 16, &uri), 0);
  json_t *picture = json_pack("{s:s, s:s, s:s}", "source", source, "caption", HOSTILE, "image", uri);
  free(uri);
  return picture;
}

static inline json_t *sample_surface(const char *letter, const char *verdict) {
  json_t *metric = json_pack("{s:s, s:s, s:s, s:o, s:f, s:f, s:f, s:o, s:n, s:n}", "name", "ssim", "unit", "",
                             "description", "Likeness", "value", interval_of(.8125, .75, .875), "worst_tenth",
                             .9, "chance", .2, "chance_worst_tenth", .25, "control", interval_of(1, 1, 1),
                             "control_threshold", "ceiling");
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:[o], s:[o]}", "surface", letter,
                   "surface_name", "inference templates", "threat_model", "Holds a template.", "verdict",
                   verdict, "reason", HOSTILE, "decided_by", "ssim", "threshold", .3, "threshold_worst_tenth",
                   .42, "mean_k", 1.0, "metrics", metric, "pictures", sample_picture("synthetic"));
}

static inline json_t *sample_attacks(const char *verdict_i, const char *verdict_t) {
  return json_pack("[{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:[o, o]}]", "attack", "linear",
                   "summary", "Least squares", "effort", "quick", "seed", 1, "size", 16, "faces", 100,
                   "people", 20, "steps", 3, "public_faces", 0, "parameters", 0, "seconds", 1.5, "surfaces",
                   sample_surface("I", verdict_i), sample_surface("T", verdict_t));
}

static inline struct model_info sample_info(void) {
  return (struct model_info){.arch = ARCH_FREQ_IR,
                             .input = 112,
                             .embedding = 128,
                             .width = 1,
                             .dropout = 0.2f,
                             .mask = {.method = MASK_AHM, .drop_low = 3},
                             .constants = {.channels = 183, .clip = 3, .pixel_scale = 60},
                             .training = {.epochs = 24, .steps = 1000, .seed = 1}};
}

#define ONNX_SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct report_verification verifications[] = {
    {.protocol = "pairs",
     .dataset = "lfw",
     .pairs = HOSTILE,
     .result = {.pairs = 6000,
                .positives = 3000,
                .negatives = 3000,
                .accuracy = .8125,
                .accuracy_low = .80,
                .accuracy_high = .825,
                .eer = .19,
                .auroc = .9,
                .tar_at_far_2 = .25,
                .tar_at_far_3 = NAN,
                .threshold_at_far = {.2, .4, NAN},
                .rank_1 = NAN}},
    {.protocol = "held-out people",
     .dataset = "orl",
     .both_flips = true,
     .result = {.pairs = 90,
                .positives = 45,
                .negatives = 45,
                .accuracy = .9,
                .accuracy_low = .85,
                .accuracy_high = .95,
                .eer = .1,
                .auroc = .96,
                .tar_at_far_2 = NAN,
                .tar_at_far_3 = NAN,
                .threshold_at_far = {NAN, NAN, NAN},
                .rank_1 = .6875}},
};

static const json_t *sample_defences; /* of the next reports; NULL = none */
static const json_t *sample_spec;     /* likewise; NULL = a label alone */
static bool sample_by_owner;          /* likewise */
static double sample_unmixed = .25;   /* likewise */

static inline json_t *sample_report_of(const struct model_info *info, const json_t *list, bool synthetic) {
  static const char *const notes[] = {"A note with " HOSTILE};
  struct report_input input = {
      .job_id = "job_1",
      .dataset_name = "faces " HOSTILE,
      .dataset_sha256 = SHA,
      .dataset_synthetic = synthetic,
      .masked_by_owner = sample_by_owner,
      .identities = 40,
      .images = 400,
      .train_identities = 30,
      .train_images = 300,
      .held_out_identities = 10,
      .held_out_images = 100,
      .split_sha256 = SHA,
      .model = info,
      .model_sha256 = SHA,
      .model_bytes = 12345,
      .defences = sample_defences,
      .reward = {.mixes = true, .policy = "learned", .reward = "paper", .unmixed = sample_unmixed},
      .verifications = verifications,
      .verification_count = 2,
      .attacks = list,
      .seed = 7,
      .notes = notes,
      .note_count = 1,
      .train_seconds = 100};
  input.reward.probability[2] = .5;
  input.reward.probability[6] = .5;
  input.reward.stored[2] = .75;
  input.reward.stored[6] = .25;
  input.reward.decided[2] = 10;
  input.reward.decided[6] = 30;
  json_t *spec = json_pack("{s:{s:s}}", "labels", "x", HOSTILE), *report = NULL;
  struct guise_error err = {0};
  input.spec = sample_spec ? sample_spec : spec;
  if (report_json(&input, &report, &err) != 0 ||
      report_set_onnx(report, "model.onnx", "image", ONNX_SHA, 7, &err) != 0)
    fail_msg("%s", err.text);
  json_decref(spec);
  return report;
}

static inline json_t *sample_report(const json_t *list, bool synthetic) {
  const struct model_info info = sample_info();
  return sample_report_of(&info, list, synthetic);
}

static inline void check_schema(const json_t *report) {
  json_error_t problem;
  json_t *schema =
      json_load_file(GUISE_GOLDEN "/../../schema/report.schema.json", JSON_REJECT_DUPLICATES, &problem);
  assert_non_null(schema);
  struct schema_check check = {.root = schema};
  if (!schema_valid(&check, schema, report, ""))
    fail_msg("%s", check.problem);
  json_decref(schema);
}

static inline uint32_t occurrences(const char *text, const char *what) {
  uint32_t n = 0;
  for (const char *p = text; (p = strstr(p, what)); p++)
    n++;
  return n;
}
