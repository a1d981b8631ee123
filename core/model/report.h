/* The privacy report: what attackers got out of a model, and what the model is good for.
 *
 * report.json (schema/report.schema.json) is the report; report.html, report-private.html and card.md are
 * renderings of it, so they can be made again from the JSON. Pictures of victims are never in the JSON: they
 * are handed over apart and stand in report-private.html alone. NAN becomes null ("too few pairs"). */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/mask/mask.h"
#include "core/metric/verify.h"
#include "core/model/model.h"

struct report_verification {
  const char *protocol; /* "held-out people" or "pairs" */
  const char *dataset;  /* name of the data set the pairs are from */
  const char *pairs;    /* name of the pairs list; NULL for held-out people */
  bool both_flips;      /* false: one view; true: the sum of image and mirror */
  struct verification result;
};

struct report_reward { /* how k was chosen; mixes = false: nothing was mixed */
  bool mixes;
  const char *policy;               /* "learned", "fixed", "uniform"; NULL without mixing */
  const char *reward;               /* "paper"; NULL unless the policy was learned */
  double unmixed;                   /* rho, share that no policy mixes */
  const char *unmixed_by;           /* of "people" or "samples" */
  struct mix_protection protection; /* of those that are not left unmixed */
  double probability[MIX_MAX + 1];  /* of k = 1..6 among the others of the last epoch, index k; sum 1 */
  double stored[MIX_MAX + 1];       /* the same of the whole training */
  double decided[MIX_MAX + 1];      /* weights of the same after the warm-up; all 0: there was nothing else */
  bool accuracy_bound_enforced;
};

struct report_input {
  const char *job_id;
  const char *created_at; /* RFC 3339 UTC; NULL = now */
  const char *dataset_name, *dataset_sha256;
  bool dataset_synthetic; /* drawn by `guise synth`: results say nothing about real faces, and the report says
                             so */
  bool masked_by_owner;   /* the data set holds templates: the faces were never here */
  uint32_t identities, images;             /* of the data set */
  uint32_t train_identities, train_images; /* trained on */
  uint32_t held_out_identities, held_out_images;
  uint32_t unseen_identities, unseen_images; /* of trained people, but not trained on */
  char split_sha256[SHA256_HEX];             /* hash over the held-out identity indices; "" = none */
  const json_t *spec;                        /* the resolved job, borrowed */
  const json_t *defences; /* of the weights: [{"method","summary","parameters","formal": as the report's or
                             null}], borrowed; NULL = none */
  const struct model_info *model;
  const char *model_sha256; /* of model.safetensors */
  uint64_t model_bytes;
  struct report_reward reward;
  const struct report_verification *verifications;
  uint32_t verification_count;
  const json_t
      *attacks; /* array of attack_result_json(), borrowed; NULL = none, or report_add_audit follows */
  uint64_t seed;
  const char *const *notes; /* sentences for the reader (determinism, settings); may be NULL */
  uint32_t note_count;
  double train_seconds; /* 0 = unknown, likewise below */
  double images_per_s;
  uint64_t peak_memory_bytes;
};

/* New reference. -EINVAL, -ENOMEM. */
int report_json(const struct report_input *input, json_t **ret_report, struct guise_error *err);

/* Adds an audit, the first or a later one, to a report of any age: its attacks (array of
 * attack_result_json(), each with "job") stand behind those of earlier audits, which stay; "audits" gets its
 * conditions (audit_conditions of core/train) and the time; the headline is drawn anew from all of them,
 * where a leak counts whenever it was found, else of an attack on the same people the newest result of the
 * highest effort, and of several groups of people the worst; it says "resists" only when linkage has been
 * among them. Both arrays are borrowed. -ENOMEM. */
int report_add_audit(json_t *report, const json_t *attacks, const json_t *conditions,
                     struct guise_error *err);

/* Lists an exported file in the report: {"name","start","sha256","bytes"} in model.onnx, in the place of one
 * of the same name. start: "image" or "template"; NULL: as it was listed. -ENOMEM. */
int report_set_onnx(json_t *report, const char *name, const char *start, const char *sha256, uint64_t bytes,
                    struct guise_error *err);

/* The short form for the model resource and the job's outcome:
 * {"accuracy","eer","tar_at_far_1e-2","tar_at_far_1e-3",
 * "threshold_at_far_1e-1", ...,
 * "protocol","audit":{"complete":true,"verdict":"leaks","reason":"Faces leak: ..","linkage":[..as in the
 * headline], "attacks":[{"attack","surface","verdict","effort","job"}..],"history":[the report's audits]}}.
 * New reference; NULL when out of memory. */
json_t *report_summary(const json_t *report);
/* Summaries of earlier versions say "resists" where linkage was not run: that becomes "inconclusive", with
 * the reason. What is no summary stays as it is. 0 or -ENOMEM. */
int report_cap_summary(json_t *summary);

/* The metric that a surface's verdict rests on, borrowed; NULL when there is none. */
const json_t *report_deciding_metric(const json_t *surface);

/* Self-contained HTML: no network, no script. private_pictures: array of attack_result_private(), or NULL for
 * the public report. *ret_html is freed by the caller. */
int report_html(const json_t *report, const json_t *private_pictures, char **ret_html,
                struct guise_error *err);

/* report.json's text, to be freed; NULL when out of memory. */
char *report_text(const json_t *report);
/* Takes the pictures of public faces out of a report. Whether it had any. */
bool report_hide_public(json_t *report);

/* Writes report.json, report.html, report-private.html and card.md into an existing directory, each
 * atomically. private_pictures may be NULL: then no report-private.html is written. */
int report_write(const char *directory, const json_t *report, const json_t *private_pictures,
                 struct guise_error *err);
