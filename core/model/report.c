#include "core/model/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/card.h"
#include "core/model/text.h"

static json_t *text_or_null(const char *text) {
  return text && text[0] ? json_string(text) : json_null();
}

static json_t *count_json(uint64_t count) {
  return json_integer((json_int_t)count);
}

/* What the owner's masking takes from whoever is at the service: how much depends on the mask. */
static const char *removed(const struct report_input *input) {
  if (input->model->mask.method == MASK_NONE)
    return "Who sees the names: no name of those who were trained on has been in the service's memory, state "
           "directory or backups. The faces it has, as the mask none leaves them: one inverse transform "
           "turns a "
           "template back into the picture.";
  if (!input->reward.mixes || input->reward.unmixed > 0)
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
                 input->reward.mixes && input->reward.unmixed > 0 ? ", some of them of one face alone" : "",
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
      "masked_by", input->masked_by_owner ? "owner" : "service", "identities", count_json(input->identities),
      "images", count_json(input->images), "training", "identities", count_json(input->train_identities),
      "images", count_json(input->train_images), "held_out", "identities",
      count_json(input->held_out_identities), "images", count_json(input->held_out_images), "split_sha256",
      text_or_null(input->split_sha256), "unseen", "identities", count_json(input->unseen_identities),
      "images", count_json(input->unseen_images));
  if (data && input->masked_by_owner && add_threats(data, input) < 0) {
    json_decref(data);
    return NULL;
  }
  return data;
}

static json_t *model_json(const struct report_input *input) {
  const struct model_info *info = input->model;
  return json_pack("{s:s, s:o, s:o, s:f, s:f, s:s, s:o, s:o, s:s, s:o}", "arch", arch_name(info->arch),
                   "input", count_json(info->input), "embedding", count_json(info->embedding), "width",
                   (double)info->width, "dropout", (double)info->dropout, "norm", arch_norm_name(info->norm),
                   "epochs", count_json(info->training.epochs), "steps", count_json(info->training.steps),
                   "sha256", input->model_sha256, "bytes", count_json(input->model_bytes));
}

/* {"2":..,"6":..}; *ret_mean_k: NAN of none. */
static json_t *shares_json(const double *probability, double *ret_mean_k) {
  json_t *shares = json_object();
  double total = 0, mean_k = 0;
  for (uint32_t k = 2; k <= MIX_MAX; k++)
    total += probability[k];
  for (uint32_t k = 2; k <= MIX_MAX; k++) {
    char key[8];
    double share = total > 0 ? probability[k] / total : 0;
    (void)snprintf(key, sizeof(key), "%u", k);
    (void)json_object_set_new(shares, key, json_real_or_null(share));
    mean_k += k * share;
  }
  *ret_mean_k = total > 0 ? mean_k : NAN;
  return shares;
}

static json_t *mixing_json(const struct report_reward *reward) {
  double mean_k, stored_mean_k, decided_mean_k;
  if (!reward->mixes)
    return json_null();
  json_t *shares = shares_json(reward->probability, &mean_k);
  json_t *stored = shares_json(reward->stored, &stored_mean_k);
  json_t *decided = shares_json(reward->decided, &decided_mean_k);
  return json_pack("{s:o, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "policy",
                   text_or_null(reward->policy), "reward", text_or_null(reward->reward), "unmixed",
                   reward->unmixed, "mean_k", json_real_or_null(mean_k), "probability", shares,
                   "stored_mean_k", json_real_or_null(stored_mean_k), "stored", stored, "decided_mean_k",
                   json_real_or_null(decided_mean_k), "decided", decided, "accuracy_bound_enforced",
                   (int)reward->accuracy_bound_enforced);
}

static json_t *mask_json(const struct report_input *input) {
  const struct model_info *info = input->model;
  const struct mask_traits *traits = mask_traits(info->mask.method);
  json_t *parameters = json_object();
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    (void)json_object_set_new(parameters, traits->parameters[i].name, json_real(info->mask.parameter[i]));
  return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:f, s:o, s:o, s:o, s:o}", "method", traits->name,
                   "summary", traits->summary, "dct", mask_dct_name(info->mask.dct), "drop_low",
                   count_json(info->mask.drop_low), "select", mask_select_name(info->mask.select), "channels",
                   count_json(info->constants.channels), "clip", (double)info->constants.clip, "parameters",
                   parameters, "seed", count_json(info->mask.seed), "key",
                   text_or_null(*info->key_id ? info->key_id : NULL), "mixing", mixing_json(&input->reward));
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

/* Sets "threshold_at_far_1e-2" and its like, from numbers or from an object that has them. */
static int add_thresholds(json_t *target, const double *values, const json_t *from) {
  int r = target ? 0 : -1;
  for (uint32_t i = 0; r == 0 && i < VERIFICATION_RATES; i++) {
    char key[40];
    (void)snprintf(key, sizeof(key), "threshold_at_far_%s", verification_rates[i].name);
    r = json_object_set_new(target, key, json_real_or_null(values ? values[i] : json_number_at(from, key)));
  }
  return r;
}

const json_t *report_deciding_metric(const json_t *surface) {
  const char *name = json_text_at(surface, "decided_by");
  size_t i;
  json_t *metric;
  json_array_foreach(json_object_get(surface, "metrics"), i, metric) {
    if (strcmp(json_text_at(metric, "name"), name) == 0)
      return metric;
  }
  return NULL;
}

static json_t *verification_json(const struct report_verification *entry) {
  const struct verification *v = &entry->result;
  json_t *json = json_pack(
      "{s:s, s:s, s:o, s:s, s:o, s:o, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o, s:o, s:o}", "protocol",
      entry->protocol, "dataset", entry->dataset, "pairs", text_or_null(entry->pairs), "view",
      entry->both_flips ? "both flips" : "one view", "positives", count_json(v->positives), "negatives",
      count_json(v->negatives), "accuracy", "mean", json_real_or_null(v->accuracy), "low",
      json_real_or_null(v->accuracy_low), "high", json_real_or_null(v->accuracy_high), "deviation",
      json_real_or_null(v->accuracy_deviation), "eer", json_real_or_null(v->eer), "auroc",
      json_real_or_null(v->auroc), "tar_at_far_1e-2", json_real_or_null(v->tar_at_far_2), "tar_at_far_1e-3",
      json_real_or_null(v->tar_at_far_3), "threshold", json_real_or_null(v->threshold));
  (void)add_thresholds(json, v->threshold_at_far, NULL);
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

/* What this version cannot measure is said, so that silence is not read as safety. */
static bool was_run(const json_t *attacks, const char *name) {
  size_t i;
  json_t *attack;
  json_array_foreach(attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), name) == 0)
      return true;
  }
  return false;
}

#define NEEDS_FACES " Not run: it needs the faces, which their owner has masked and kept."

/* masked_by_owner: no attack could be run at the training's end, which is a reason, too. */
static json_t *not_measured_json(const json_t *attacks, bool masked_by_owner) {
  static const struct {
    const char *attack, *surface, *what;
  } rows[] = {
      {"linear", "T, I", "The pixels that follow from a template by linear algebra, knowing the mask."},
      {"linkage", "T, I",
       "Whether a template tells whose face it is: the headline measure of privacy. Pictures that look "
       "unlike can still "
       "be linked to a person."},
      {"reconstruction", "T, I",
       "A network that learns to draw the face from the template, with public faces."},
      {"demix", "T", "What all the mixes of one image in the training store give away together."},
      {"mi_face", "W", "Faces of trained people drawn out of the model's weights."},
      {"plg_mi", "W",
       "Faces of trained people drawn by an attacker with public faces, whose generator the model itself "
       "teaches whom to draw."},
      {"membership", "W", "Whether a given picture was trained on."},
      {"gradient", "G",
       "Faces recovered from the gradient of one training sample, which federated training would share."},
  };
  json_t *list = json_array();
  for (size_t i = masked_by_owner ? 0 : 1; i < ARRAY_SIZE(rows); i++) /* linear needs nothing but faces */
    if (!was_run(attacks, rows[i].attack) &&
        json_array_append_new(list, json_pack("{s:s, s:s, s:s+}", "attack", rows[i].attack, "surface",
                                              rows[i].surface, "what", rows[i].what,
                                              masked_by_owner ? NEEDS_FACES : "")) < 0) {
      json_decref(list);
      return NULL;
    }
  return list;
}

/* Attacks may have been run again, with more effort or on other people. What counts for an attack on a
 * surface is a leak wherever one was found, and else the newest result. Borrowed. */
static const json_t *counting_result(const json_t *attacks, const char *name, const char *surface_letter) {
  const json_t *found = NULL;
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), name) != 0)
      continue;
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const bool leaks = strcmp(json_text_at(surface, "verdict"), "leaks") == 0;
      if (strcmp(json_text_at(surface, "surface"), surface_letter) != 0 ||
          (found && strcmp(json_text_at(found, "verdict"), "leaks") == 0 && !leaks))
        continue;
      found = surface;
    }
  }
  return found;
}

static bool counts(const json_t *attacks, const json_t *attack, const json_t *surface) {
  return counting_result(attacks, json_text_at(attack, "attack"), json_text_at(surface, "surface")) ==
         surface;
}

struct tally {
  uint32_t leaks, resists, inconclusive;
};

static struct tally count_verdicts(const json_t *attacks) {
  struct tally tally = {0};
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const char *verdict = json_text_at(surface, "verdict");
      if (!counts(attacks, attack, surface))
        continue;
      if (strcmp(verdict, "leaks") == 0)
        tally.leaks++;
      else if (strcmp(verdict, "resists") == 0)
        tally.resists++;
      else
        tally.inconclusive++;
    }
  }
  return tally;
}

/* The figure that decides on each surface, of the attack that decides whether templates protect people. */
static json_t *linkage_json(const json_t *attacks) {
  json_t *list = json_array(), *attack, *surface;
  size_t i, s;
  json_array_foreach(attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), "linkage") != 0)
      continue;
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const json_t *metric = report_deciding_metric(surface), *value = json_object_get(metric, "value");
      if (!counts(attacks, attack, surface))
        continue;
      json_t *entry = json_pack(
          "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "surface",
          json_text_at(surface, "surface"), "surface_name", json_text_at(surface, "surface_name"), "effort",
          json_text_at(attack, "effort"), "verdict", json_text_at(surface, "verdict"), "metric",
          json_text_at(metric, "name"), "mean", json_real_or_null(json_number_at(value, "mean")), "low",
          json_real_or_null(json_number_at(value, "low")), "high",
          json_real_or_null(json_number_at(value, "high")), "chance",
          json_real_or_null(json_number_at(metric, "chance")), "control",
          json_real_or_null(json_number_at(json_object_get(metric, "control"), "mean")), "ceiling",
          json_real_or_null(json_number_at(metric, "ceiling")));
      if (json_array_append_new(list, entry) < 0) {
        json_decref(list);
        return NULL;
      }
    }
  }
  return list;
}

/* Whether somebody tried to link templates to people, with public faces to learn from. */
static bool linkage_ran(const json_t *attacks) {
  size_t i;
  json_t *attack;
  json_array_foreach(attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), "linkage") == 0 &&
        json_integer_value(json_object_get(attack, "public_faces")) > 0 &&
        json_array_size(json_object_get(attack, "surfaces")) > 0)
      return true;
  }
  return false;
}

#define UNLINKED_TEXT 320

static void say_unlinked(uint32_t surfaces, char ret_text[static UNLINKED_TEXT]) {
  (void)snprintf(
      ret_text, UNLINKED_TEXT,
      "No leak was found on %u attacked surfaces, but linkage, which decides whether templates tell "
      "whose they are, was not run: it needs public faces (audit.public_dataset). This is no evidence "
      "of privacy.",
      surfaces);
}

/* "resists" is said only where the attack ran that decides whether templates protect people. */
static json_t *headline_json(const json_t *attacks) {
  struct tally tally = count_verdicts(attacks);
  const bool linked = linkage_ran(attacks);
  uint32_t all = tally.leaks + tally.resists + tally.inconclusive;
  char text[UNLINKED_TEXT];
  const char *verdict = !all                            ? "not audited"
                        : tally.leaks                   ? "leaks"
                        : tally.inconclusive || !linked ? "inconclusive"
                                                        : "resists";
  if (!all)
    (void)snprintf(text, sizeof(text), "No attack was run on this model: nothing is known of its privacy.");
  else if (tally.leaks)
    (void)snprintf(
        text, sizeof(text),
        "Faces leak: %u of %u attacked surfaces gave away more of a face than the threshold allows.",
        tally.leaks, all);
  else if (tally.inconclusive)
    (void)snprintf(
        text, sizeof(text),
        "No leak was found, but %u of %u attacked surfaces gave no conclusive result: this is no evidence of "
        "privacy.%s",
        tally.inconclusive, all, linked ? "" : " Linkage was not run, which needs public faces.");
  else if (!linked)
    say_unlinked(all, text);
  else
    (void)snprintf(
        text, sizeof(text),
        "The attacks that were run did not recover faces on any of %u surfaces. Other attacks were not run.",
        all);
  return json_pack("{s:s, s:s, s:o}", "verdict", verdict, "text", text, "linkage", linkage_json(attacks));
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
  json_t *spec = input->spec ? json_deep_copy(input->spec) : json_null();
  json_t *defences = input->defences ? json_deep_copy(input->defences) : json_array();
  json_t *report = json_pack(
      "{s:s, s:s, s:s, s:o, s:{s:s, s:o, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, "
      "s:o, s:o},"
      " s:o}",
      "format", "guise-report-1", "created_at", input->created_at ? input->created_at : now, "guise_version",
      GUISE_VERSION, "headline", headline_json(attacks), "job", "id", input->job_id, "seed",
      count_json(input->seed), "spec", spec, "data", data_json(input), "model", model_json(input), "mask",
      mask_json(input), "defences", defences, "utility", utility_json(input), "attacks", attacks,
      "not_measured", not_measured_json(attacks, input->masked_by_owner), "formal", formal_json(input),
      "cost", "train_seconds", positive_or_null(input->train_seconds), "images_per_s",
      positive_or_null(input->images_per_s), "peak_memory_bytes",
      positive_or_null((double)input->peak_memory_bytes), "notes", notes_json(input));
  if (!report)
    return error_set(err, -EINVAL, "cannot write the report: a name is not UTF-8 or memory is out");
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
    r = json_object_set_new(report, "headline", headline_json(all));
  if (r == 0)
    r = json_object_set_new(report, "not_measured", not_measured_json(all, masked_by_owner(report)));
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
                "sha256", sha256, "bytes", count_json(bytes));
  if ((listed ? json_array_set_new(files, i, file) : json_array_append_new(files, file)) < 0)
    return error_set(err, -ENOMEM, "out of memory writing the report");
  return 0;
}

/* ---- summary ---- */

static json_t *verdicts_json(const json_t *attacks) {
  json_t *list = json_array(), *attack, *surface;
  size_t i, s;
  json_array_foreach(attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      json_t *entry =
          json_pack("{s:s, s:s, s:s, s:s, s:s}", "attack", json_text_at(attack, "attack"), "surface",
                    json_text_at(surface, "surface"), "verdict", json_text_at(surface, "verdict"), "effort",
                    json_text_at(attack, "effort"), "job", json_text_at(attack, "job"));
      if (json_array_append_new(list, entry) < 0) {
        json_decref(list);
        return NULL;
      }
    }
  }
  return list;
}

/* The first entry with one view: the trainer lists a pairs list before held-out people. */
static const json_t *leading_verification(const json_t *report) {
  const json_t *utility = json_object_get(report, "utility");
  size_t i;
  json_t *entry;
  json_array_foreach(utility, i, entry) {
    if (strcmp(json_text_at(entry, "view"), "one view") == 0)
      return entry;
  }
  return json_array_get(utility, 0);
}

json_t *report_summary(const json_t *report) {
  const json_t *first = leading_verification(report), *attacks = json_object_get(report, "attacks");
  const json_t *headline = json_object_get(report, "headline");
  json_t *summary =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:{s:b, s:s, s:s, s:O, s:o}}", "accuracy",
                json_real_or_null(json_number_at(json_object_get(first, "accuracy"), "mean")), "eer",
                json_real_or_null(json_number_at(first, "eer")), "tar_at_far_1e-2",
                json_real_or_null(json_number_at(first, "tar_at_far_1e-2")), "tar_at_far_1e-3",
                json_real_or_null(json_number_at(first, "tar_at_far_1e-3")), "protocol",
                text_or_null(json_text_at(first, "protocol")), "audit", "complete",
                json_array_size(attacks) > 0 ? 1 : 0, "verdict", json_text_at(headline, "verdict"), "reason",
                json_text_at(headline, "text"), "linkage", json_object_get(headline, "linkage"), "attacks",
                verdicts_json(attacks));
  json_t *audits = json_object_get(report, "audits");
  if (add_thresholds(summary, NULL, first) == 0 &&
      (!audits || json_object_set(json_object_get(summary, "audit"), "history", audits) == 0))
    return summary;
  json_decref(summary);
  return NULL;
}

/* Attacks that were run again count once. */
static uint32_t count_surfaces(const json_t *verdicts) {
  uint32_t count = 0;
  size_t i, k;
  json_t *entry, *before;
  json_array_foreach(verdicts, i, entry) {
    bool first = true;
    json_array_foreach(verdicts, k, before) {
      first &= k >= i || strcmp(json_text_at(before, "attack"), json_text_at(entry, "attack")) != 0 ||
               strcmp(json_text_at(before, "surface"), json_text_at(entry, "surface")) != 0;
    }
    count += first;
  }
  return count;
}

int report_cap_summary(json_t *summary) {
  json_t *audit = json_object_get(summary, "audit"), *verdicts = json_object_get(audit, "attacks");
  char text[UNLINKED_TEXT];
  if (strcmp(json_text_at(audit, "verdict"), "resists") != 0 || was_run(verdicts, "linkage"))
    return 0;
  say_unlinked(count_surfaces(verdicts), text);
  return json_object_set_new(audit, "verdict", json_string("inconclusive")) < 0 ||
                 json_object_set_new(audit, "reason", json_string(text)) < 0
             ? -ENOMEM
             : 0;
}

/* ---- files ---- */

static int write_named(const char *directory, const char *name, const char *text, struct guise_error *err) {
  char path[4096];
  if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", directory);
  return file_write_atomic(path, text, strlen(text), err);
}

static int write_html(const char *directory, const char *name, const json_t *report,
                      const json_t *private_pictures, struct guise_error *err) {
  _cleanup_(freep) char *html = NULL;
  int r = report_html(report, private_pictures, &html, err);
  return r < 0 ? r : write_named(directory, name, html, err);
}

int report_write(const char *directory, const json_t *report, const json_t *private_pictures,
                 struct guise_error *err) {
  _cleanup_(freep) char *json = json_print(report, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  _cleanup_(freep) char *card = NULL;
  if (!json)
    return error_set(err, -ENOMEM, "out of memory writing the report");
  int r = write_named(directory, "report.json", json, err);
  if (r == 0)
    r = write_html(directory, "report.html", report, NULL, err);
  if (r == 0 && private_pictures)
    r = write_html(directory, "report-private.html", report, private_pictures, err);
  if (r == 0)
    r = card_markdown(report, &card, err);
  if (r == 0)
    r = write_named(directory, "card.md", card, err);
  return r;
}
