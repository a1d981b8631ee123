#include "core/model/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/report_parts.h"
#include "core/model/text.h"

/* What the owner's masking takes from whoever is at the service: how much depends on the mask. */
static const char *removed(const struct report_input *input) {
  if (input->model->mask.method == MASK_NONE)
    return "Who sees the names: no name of those who were trained on has been in the service's memory, state "
           "directory or backups. The faces it has, as the mask none leaves them: one inverse transform "
           "turns a "
           "template back into the picture.";
  if (!input->reward.mixes || input->reward.unmixed > 0 || input->reward.protection.alone)
    return "Who sees the faces: no picture and no name of those who were trained on has been in the "
           "service's "
           "memory, state directory or backups, but templates of one face alone have: what the mask leaves "
           "of a "
           "face its operator and a thief can compute.";
  return "Who sees the faces: no picture and no name of those who were trained on has been in the service's "
         "memory, state directory or backups, so that neither its operator nor a thief finds any, but for "
         "what "
         "can be computed from templates of several faces each.";
}

/* Whom faces that their owner has masked are out of reach of, and what is left to whom. */
static int add_threats(json_t *data, const struct report_input *input) {
  char templates[256];
  const bool none = input->model->mask.method == MASK_NONE;
  (void)snprintf(templates, sizeof(templates),
                 "T: the service, its operator and a thief of its state have the templates%s; %s.",
                 !input->reward.mixes             ? ""
                 : input->reward.protection.alone ? ", each of one face alone"
                 : input->reward.unmixed > 0      ? ", some of them of one face alone"
                                                  : "",
                 none ? "the mask none shields nothing"
                      : "between them and the faces stands the mask alone, whose constants are in the file");
  json_t *removes = json_pack("[s]", removed(input));
  json_t *stays = json_pack("[s, s, s]", templates,
                            "Labels: how many people there are, who is in a template and with which share.",
                            "W: the model has learnt the people; whoever has its weights can attack them.");
  int r = stays ? 0 : -1;
  for (uint32_t i = 0; r == 0 && i < input->verification_count; i++)
    if (input->verifications[i].pairs) {
      r = json_array_append_new(stays, json_string("Pictures: those of the verification were seen by the "
                                                   "service, and must be public."));
      break;
    }
  r |= json_object_set_new(data, "removes", removes);
  return r | json_object_set_new(data, "stays", stays);
}

static json_t *data_json(const struct report_input *input) {
  json_t *data = json_pack(
      "{s:s, s:s, s:b, s:s, s:o, s:o, s:{s:o, s:o}, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "name",
      input->dataset_name, "sha256", input->dataset_sha256, "synthetic", (int)input->dataset_synthetic,
      "masked_by", input->masked_by_owner ? "owner" : "service", "identities",
      report_count(input->identities), "images", report_count(input->images), "training", "identities",
      report_count(input->train_identities), "images", report_count(input->train_images), "held_out",
      "identities", report_count(input->held_out_identities), "images", report_count(input->held_out_images),
      "split_sha256", report_text_or_null(input->split_sha256), "unseen", "identities",
      report_count(input->unseen_identities), "images", report_count(input->unseen_images));
  if (data && input->masked_by_owner && add_threats(data, input) < 0) {
    json_decref(data);
    return NULL;
  }
  return data;
}

static json_t *model_json(const struct report_input *input) {
  const struct model_info *info = input->model;
  return json_pack("{s:s, s:o, s:o, s:f, s:f, s:s, s:o, s:o, s:s, s:o}", "arch", arch_name(info->arch),
                   "input", report_count(info->input), "embedding", report_count(info->embedding), "width",
                   (double)info->width, "dropout", (double)info->dropout, "norm", arch_norm_name(info->norm),
                   "epochs", report_count(info->training.epochs), "steps", report_count(info->training.steps),
                   "sha256", input->model_sha256, "bytes", report_count(input->model_bytes));
}

/* {"2":..,"6":..}, and "1" where a policy left samples unmixed; *ret_mean_k: NAN of none. */
static json_t *shares_json(const double *probability, double *ret_mean_k) {
  json_t *shares = json_object();
  double total = 0, mean_k = 0;
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    total += probability[k];
  for (uint32_t k = probability[1] > 0 ? 1 : 2; k <= MIX_MAX; k++) {
    char key[8];
    double share = total > 0 ? probability[k] / total : 0;
    (void)snprintf(key, sizeof(key), "%u", k);
    (void)json_object_set_new(shares, key, json_real_or_null(share));
    mean_k += k * share;
  }
  *ret_mean_k = total > 0 ? mean_k : NAN;
  return shares;
}

/* Of templates that are all of one face the mean is that. */
static json_t *faces_json(const struct report_reward *reward, double mean) {
  return json_real_or_null(reward->protection.alone && isfinite(mean) ? 1 : mean);
}

static json_t *mixing_json(const struct report_reward *reward) {
  double mean_k, stored_mean_k, decided_mean_k;
  if (!reward->mixes)
    return json_null();
  json_t *shares = shares_json(reward->probability, &mean_k);
  json_t *stored = shares_json(reward->stored, &stored_mean_k);
  json_t *decided = shares_json(reward->decided, &decided_mean_k);
  return json_pack("{s:o, s:o, s:f, s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "policy",
                   report_text_or_null(reward->policy), "reward", report_text_or_null(reward->reward),
                   "unmixed", reward->unmixed, "unmixed_by", report_text_or_null(reward->unmixed_by),
                   "protect", reward->protection.alone ? "drop" : "mix", "protect_drop",
                   (json_int_t)reward->protection.drop, "mean_k", faces_json(reward, mean_k), "probability",
                   shares, "stored_mean_k", faces_json(reward, stored_mean_k), "stored", stored,
                   "decided_mean_k", faces_json(reward, decided_mean_k), "decided", decided,
                   "accuracy_bound_enforced", (int)reward->accuracy_bound_enforced);
}

static json_t *mask_json(const struct report_input *input) {
  const struct model_info *info = input->model;
  const struct mask_traits *traits = mask_traits(info->mask.method);
  json_t *parameters = json_object();
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    (void)json_object_set_new(parameters, traits->parameters[i].name, json_real(info->mask.parameter[i]));
  return json_pack(
      "{s:s, s:s, s:s, s:o, s:s, s:o, s:f, s:o, s:o, s:o, s:o}", "method", traits->name, "summary",
      traits->summary, "dct", mask_dct_name(info->mask.dct), "drop_low", report_count(info->mask.drop_low),
      "select", mask_select_name(info->mask.select), "channels", report_count(info->constants.channels),
      "clip", (double)info->constants.clip, "parameters", parameters, "seed", report_count(info->mask.seed),
      "key", report_text_or_null(*info->key_id ? info->key_id : NULL), "mixing", mixing_json(&input->reward));
}

/* The mask's guarantee, of templates; where it gives none, that of a defence, of the weights. */
static json_t *formal_json(const struct report_input *input) {
  const struct model_info *info = input->model;
  struct mask_guarantee guarantee;
  size_t i;
  json_t *defence;
  if (!mask_guarantee(&info->mask, &info->constants, info->weights, &guarantee)) {
    json_array_foreach(input->defences, i, defence) {
      if (json_is_object(json_object_get(defence, "formal")))
        return json_deep_copy(json_object_get(defence, "formal"));
    }
    return json_pack("{s:s, s:n, s:n, s:n}", "guarantee", "none", "epsilon", "delta", "unit");
  }
  return json_pack("{s:s, s:o, s:o, s:s}", "guarantee", guarantee.text, "epsilon",
                   json_real_or_null(guarantee.epsilon), "delta", json_real_or_null(guarantee.delta), "unit",
                   guarantee.unit);
}

int report_add_thresholds(json_t *target, const double *values, const json_t *from) {
  int r = target ? 0 : -1;
  for (uint32_t i = 0; r == 0 && i < VERIFICATION_RATES; i++) {
    char key[40];
    (void)snprintf(key, sizeof(key), "threshold_at_far_%s", verification_rates[i].name);
    r = json_object_set_new(target, key, json_real_or_null(values ? values[i] : json_number_at(from, key)));
  }
  return r;
}

static json_t *verification_json(const struct report_verification *entry) {
  const struct verification *v = &entry->result;
  json_t *json =
      json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o}",
                "protocol", entry->protocol, "dataset", entry->dataset, "pairs",
                report_text_or_null(entry->pairs), "view", entry->both_flips ? "both flips" : "one view",
                "positives", report_count(v->positives), "negatives", report_count(v->negatives), "accuracy",
                "mean", json_real_or_null(v->accuracy), "low", json_real_or_null(v->accuracy_low), "high",
                json_real_or_null(v->accuracy_high), "deviation", json_real_or_null(v->accuracy_deviation),
                "eer", json_real_or_null(v->eer), "auroc", json_real_or_null(v->auroc), "tar_at_far_1e-2",
                json_real_or_null(v->tar_at_far_2), "tar_at_far_1e-3", json_real_or_null(v->tar_at_far_3),
                "rank_1", json_real_or_null(v->rank_1), "threshold", json_real_or_null(v->threshold));
  (void)report_add_thresholds(json, v->threshold_at_far, NULL);
  return json;
}

static json_t *utility_json(const struct report_input *input) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < input->verification_count; i++)
    if (json_array_append_new(list, verification_json(&input->verifications[i])) < 0) {
      json_decref(list);
      return NULL;
    }
  return list;
}

static json_t *notes_json(const struct report_input *input) {
  json_t *notes = json_array();
  for (uint32_t i = 0; i < input->note_count; i++)
    if (json_array_append_new(notes, json_string(input->notes[i])) < 0) {
      json_decref(notes);
      return NULL;
    }
  if (input->reward.mixes && input->reward.reward && !input->reward.accuracy_bound_enforced)
    (void)json_array_append_new(notes,
                                json_string("The policy that chose how many faces to mix had no bound on "
                                            "accuracy: accuracy bound not enforced."));
  if (input->dataset_synthetic)
    (void)json_array_append_new(notes,
                                json_string("The data set is drawn, not photographed. No figure here says "
                                            "anything about real faces."));
  return notes;
}

/* Of the numbers that the report's reader sees. */
static json_t *spec_hash(const json_t *spec) {
  _cleanup_(freep) char *written = json_print(spec, JSON_COMPACT | JSON_REAL_PRECISION(REPORT_DIGITS));
  json_t *read = written ? json_loads(written, 0, NULL) : NULL;
  _cleanup_(freep) char *canonical = json_canonical(read);
  char sha256[SHA256_HEX];
  json_decref(read);
  if (!canonical)
    return NULL;
  sha256_data(canonical, strlen(canonical), sha256);
  return json_string(sha256);
}

static json_t *job_json(const struct report_input *input) {
  return json_pack("{s:s, s:o, s:o, s:o}", "id", input->job_id, "seed", report_count(input->seed), "spec",
                   input->spec ? json_deep_copy(input->spec) : json_null(), "spec_sha256",
                   input->spec ? spec_hash(input->spec) : json_null());
}

static json_t *positive_or_null(double value) {
  return value > 0 ? json_real_or_null(value) : json_null();
}

#define NOW_TEXT 32

static void now_text(char ret_text[NOW_TEXT]) {
  time_t seconds = time(NULL);
  struct tm utc;
  (void)gmtime_r(&seconds, &utc);
  (void)strftime(ret_text, NOW_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

int report_json(const struct report_input *input, json_t **ret_report, struct guise_error *err) {
  char now[NOW_TEXT];
  if (!input->job_id || !input->dataset_name || !input->dataset_sha256 || !input->model ||
      !input->model_sha256)
    return error_set(err, -EINVAL, "a report needs a job, a data set and a model");
  now_text(now);
  json_t *attacks = input->attacks ? json_deep_copy(input->attacks) : json_array();
  json_t *defences = input->defences ? json_deep_copy(input->defences) : json_array();
  json_t *report =
      json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, "
                "s:o, s:o},"
                " s:o}",
                "format", "guise-report-1", "created_at", input->created_at ? input->created_at : now,
                "guise_version", GUISE_VERSION, "headline", report_headline(attacks, NULL), "job",
                job_json(input), "data", data_json(input), "model", model_json(input), "mask",
                mask_json(input), "defences", defences, "utility", utility_json(input), "attacks", attacks,
                "not_measured", report_not_measured(attacks, input->masked_by_owner), "formal",
                formal_json(input), "cost", "train_seconds", positive_or_null(input->train_seconds),
                "images_per_s", positive_or_null(input->images_per_s), "peak_memory_bytes",
                positive_or_null((double)input->peak_memory_bytes), "notes", notes_json(input));
  if (!report || json_object_set_new(report, "paper_scores", report_paper(report)) < 0) {
    json_decref(report);
    return error_set(err, -EINVAL, "cannot write the report: a name is not UTF-8 or memory is out");
  }
  *ret_report = report;
  return 0;
}

static bool masked_by_owner(const json_t *report) {
  return strcmp(json_text_at(json_object_get(report, "data"), "masked_by"), "owner") == 0;
}

int report_add_audit(json_t *report, const json_t *attacks, const json_t *conditions,
                     struct guise_error *err) {
  char now[NOW_TEXT];
  json_t *all = json_object_get(report, "attacks"), *audits = json_object_get(report, "audits");
  json_t *audit = json_clone(conditions);
  int r = json_is_array(all) && audit ? 0 : -1;
  now_text(now);
  if (r == 0)
    r = json_object_set_new(audit, "created_at", json_string(now));
  if (r == 0)
    r = json_object_set_new(audit, "guise_version", json_string(GUISE_VERSION));
  if (r == 0 && !audits) {
    audits = json_array();
    r = json_object_set_new(report, "audits", audits);
  }
  if (r == 0)
    r = json_array_append(audits, audit);
  json_decref(audit);
  if (r == 0)
    r = json_array_extend(all, (json_t *)attacks);
  if (r == 0)
    r = json_object_set_new(report, "headline", report_headline(all, audits));
  if (r == 0)
    r = json_object_set_new(report, "not_measured", report_not_measured(all, masked_by_owner(report)));
  if (r == 0)
    r = json_object_set_new(report, "paper_scores", report_paper(report));
  return r < 0 ? error_set(err, -ENOMEM, "out of memory adding an audit to the report") : 0;
}

int report_set_onnx(json_t *report, const char *name, const char *start, const char *sha256, uint64_t bytes,
                    struct guise_error *err) {
  json_t *model = json_object_get(report, "model"), *files, *listed;
  size_t i;
  if (!json_object_get(model, "onnx"))
    (void)json_object_set_new(model, "onnx", json_array());
  files = json_object_get(model, "onnx");
  json_array_foreach(files, i, listed) {
    if (strcmp(json_text_at(listed, "name"), name) == 0)
      break;
  }
  listed = json_array_get(files, i);
  json_t *file =
      json_pack("{s:s, s:s, s:s, s:o}", "name", name, "start", start ? start : json_text_at(listed, "start"),
                "sha256", sha256, "bytes", report_count(bytes));
  if ((listed ? json_array_set_new(files, i, file) : json_array_append_new(files, file)) < 0)
    return error_set(err, -ENOMEM, "out of memory writing the report");
  return 0;
}
