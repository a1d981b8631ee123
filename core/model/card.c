#include "core/model/card.h"

#include <math.h>
#include <string.h>

#include "core/model/report.h"
#include "core/model/text.h"

static void add_share(struct text *card, double share) {
  if (isfinite(share))
    text_add(card, "%.1f %%", 100 * share);
  else
    text_add(card, "too few pairs");
}

static json_int_t count_at(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

/* "; epsilon 1, measured 0; seed 7" */
static void add_mask_options(struct text *card, const json_t *mask) {
  const char *name, *before = "; ";
  json_t *value;
  json_object_foreach(json_object_get(mask, "parameters"), name, value) {
    text_add(card, "%s", before);
    text_add_markdown(card, name);
    text_add(card, " %.6g", json_number_value(value));
    before = ", ";
  }
  text_add(card, "; transform ");
  text_add_markdown(card, json_text_at(mask, "dct"));
  text_add(card, ", seed %" JSON_INTEGER_FORMAT, count_at(mask, "seed"));
  if (*json_text_at(mask, "key")) {
    text_add(card, "; keyed, with the key ");
    text_add_markdown(card, json_text_at(mask, "key"));
    text_add(card, " (a file of its own)");
  }
}

/* "- Defence of the weights: dp_sgd (...), noise 1, clip 1; formal guarantee: ..." */
static void add_defences(struct text *card, const json_t *defences) {
  const char *name;
  size_t i;
  json_t *defence, *value;
  json_array_foreach(defences, i, defence) {
    const char *guarantee = json_text_at(json_object_get(defence, "formal"), "guarantee");
    text_add(card, "- Defence of the weights: ");
    text_add_markdown(card, json_text_at(defence, "method"));
    text_add(card, " (");
    text_add_markdown(card, json_text_at(defence, "summary"));
    text_add(card, ")");
    json_object_foreach(json_object_get(defence, "parameters"), name, value) {
      text_add(card, ", ");
      text_add_markdown(card, name);
      text_add(card, " %.6g", json_number_value(value));
    }
    text_add(card, "; formal guarantee: ");
    text_add_markdown(card, *guarantee ? guarantee : "none");
    text_add(card, "\n");
  }
}

static void add_onnx(struct text *card, const json_t *files) {
  size_t i;
  json_t *file;
  json_array_foreach(files, i, file) {
    text_add(card, "- ONNX from the ");
    text_add_markdown(card, json_text_at(file, "start"));
    text_add(card, " on: ");
    text_add_markdown(card, json_text_at(file, "name"));
    text_add(card, ", SHA-256 `");
    text_add_markdown(card, json_text_at(file, "sha256"));
    text_add(card, "`\n");
  }
}

static void add_details(struct text *card, const json_t *report) {
  const json_t *model = json_object_get(report, "model"), *mask = json_object_get(report, "mask");
  text_add(card, "## Model\n\n- Network: ");
  text_add_markdown(card, json_text_at(model, "arch"));
  text_add(card,
           ", input %" JSON_INTEGER_FORMAT " x %" JSON_INTEGER_FORMAT ", embedding %" JSON_INTEGER_FORMAT
           ", %" JSON_INTEGER_FORMAT " epochs\n- Mask: ",
           count_at(model, "input"), count_at(model, "input"), count_at(model, "embedding"),
           count_at(model, "epochs"));
  text_add_markdown(card, json_text_at(mask, "method"));
  text_add(card, " (");
  text_add_markdown(card, json_text_at(mask, "summary"));
  text_add(card, "), %" JSON_INTEGER_FORMAT " of 192 channels kept", count_at(mask, "channels"));
  add_mask_options(card, mask);
  text_add(card, "\n");
  add_defences(card, json_object_get(report, "defences"));
  text_add(card, "- SHA-256 of the weights: `");
  text_add_markdown(card, json_text_at(model, "sha256"));
  text_add(card, "`\n");
  add_onnx(card, json_object_get(model, "onnx"));
  text_add(card, "- Made by guise ");
  text_add_markdown(card, json_text_at(report, "guise_version"));
  text_add(card, ", job ");
  text_add_markdown(card, json_text_at(json_object_get(report, "job"), "id"));
  text_add(card, ", ");
  text_add_markdown(card, json_text_at(report, "created_at"));
  text_add(card, "\n\n");
}

static void add_use(struct text *card) {
  text_add(card,
           "## Intended use\n\n"
           "Verification: whether two aligned face crops show the same person, by the cosine of their "
           "embeddings. The mask is "
           "part of the model: templates made with other constants do not fit.\n\n"
           "Not for: deciding about people without human review, identification in public space, guessing "
           "age, sex, origin or "
           "mood. Accuracy differs between groups of people and was not broken down by group here.\n\n");
}

static void add_sentences(struct text *card, const char *before, const json_t *list) {
  size_t i;
  json_t *sentence;
  json_array_foreach(list, i, sentence) {
    text_add(card, "- %s: ", before);
    text_add_markdown(card, json_string_value(sentence));
    text_add(card, "\n");
  }
}

/* The attacks of a later audit had pictures of others. */
static void add_owner(struct text *card, const json_t *data, const json_t *attacks) {
  text_add(card,
           "The faces were masked by their owner and never seen by the service: images below are templates, "
           "each of one or several people. %s\n\n",
           json_array_size(attacks) > 0
               ? "Attacks need faces: those below were run with pictures of other people."
               : "Attacks that need the faces were not run.");
  add_sentences(card, "Removed by that", json_object_get(data, "removes"));
  add_sentences(card, "Stays", json_object_get(data, "stays"));
  if (json_object_get(data, "stays"))
    text_add(card, "\n");
}

static void add_data(struct text *card, const json_t *report) {
  const json_t *data = json_object_get(report, "data"), *training = json_object_get(data, "training"),
               *held_out = json_object_get(data, "held_out");
  text_add(card, "## Training data\n\n");
  if (json_is_true(json_object_get(data, "synthetic")))
    text_add(card, "**Drawn faces: no figure below says anything about real faces.**\n\n");
  if (strcmp(json_text_at(data, "masked_by"), "owner") == 0)
    add_owner(card, data, json_object_get(report, "attacks"));
  text_add(card, "- Data set ");
  text_add_markdown(card, json_text_at(data, "name"));
  text_add(card, " (`");
  text_add_markdown(card, json_text_at(data, "sha256"));
  text_add(card,
           "`)\n- Trained on %" JSON_INTEGER_FORMAT " images of %" JSON_INTEGER_FORMAT
           " people; held out %" JSON_INTEGER_FORMAT " images of %" JSON_INTEGER_FORMAT " people\n\n",
           count_at(training, "images"), count_at(training, "identities"), count_at(held_out, "images"),
           count_at(held_out, "identities"));
}

static void add_utility(struct text *card, const json_t *utility) {
  size_t i;
  json_t *entry;
  text_add(card, "## Accuracy\n\n");
  if (json_array_size(utility) == 0) {
    text_add(card, "Not measured: nobody was held out of training.\n\n");
    return;
  }
  text_add(
      card,
      "| pairs | view | accuracy (95 %%) | equal error rate | TAR at FAR 1e-2 | TAR at FAR 1e-3 | rank-1 |\n"
      "|---|---|---|---|---|---|---|\n");
  json_array_foreach(utility, i, entry) {
    const json_t *accuracy = json_object_get(entry, "accuracy");
    text_add(card, "| ");
    text_add_markdown(card, json_text_at(entry, "protocol"));
    text_add(card, ", ");
    text_add_markdown(card, json_text_at(entry, "dataset"));
    text_add(card, " | ");
    text_add_markdown(card, json_text_at(entry, "view"));
    text_add(card, " | ");
    add_share(card, json_number_at(accuracy, "mean"));
    text_add(card, " (");
    add_share(card, json_number_at(accuracy, "low"));
    text_add(card, " to ");
    add_share(card, json_number_at(accuracy, "high"));
    text_add(card, ") | ");
    add_share(card, json_number_at(entry, "eer"));
    text_add(card, " | ");
    add_share(card, json_number_at(entry, "tar_at_far_1e-2"));
    text_add(card, " | ");
    add_share(card, json_number_at(entry, "tar_at_far_1e-3"));
    text_add(card, " | ");
    add_share(card, json_number_at(entry, "rank_1"));
    text_add(card, " |\n");
  }
  text_add(card, "\n");
}

static void add_figure(struct text *card, const char *before, double value) {
  if (isfinite(value))
    text_add(card, "%s%.3f", before, value);
  else
    text_add(card, "%snot measured", before);
}

static void add_attack_row(struct text *card, const json_t *attack, const json_t *surface) {
  const json_t *metric = report_deciding_metric(surface), *value = json_object_get(metric, "value");
  text_add(card, "| ");
  text_add_markdown(card, json_text_at(attack, "attack"));
  text_add(card, ", ");
  text_add_markdown(card, json_text_at(attack, "effort"));
  text_add(card, " | ");
  text_add_markdown(card, json_text_at(surface, "surface_name"));
  text_add(card, " | ");
  text_add_markdown(card, json_text_at(metric, "name"));
  add_figure(card, " ", json_number_at(value, "mean"));
  if (isfinite(json_number_at(value, "low")))
    text_add(card, " (%.3f to %.3f)", json_number_at(value, "low"), json_number_at(value, "high"));
  add_figure(card, " | ", json_number_at(metric, "chance"));
  add_figure(card, " | ", json_number_at(json_object_get(metric, "control"), "mean"));
  text_add(card, " | **");
  text_add_markdown(card, json_text_at(surface, "verdict"));
  text_add(card, "** |\n");
}

/* Attacks that audits were asked for and could not run on the people they had, a line each. */
static void add_left_out(struct text *card, const json_t *audits) {
  size_t i, a;
  json_t *audit, *entry;
  json_array_foreach(audits, i, audit) {
    json_array_foreach(json_object_get(audit, "left_out"), a, entry) {
      text_add(card, "\nLeft out by ");
      text_add_markdown(card, json_text_at(audit, "job"));
      text_add(card, " of the people of ");
      text_add_markdown(card, json_text_at(json_object_get(audit, "victims"), "dataset"));
      text_add(card, ": ");
      text_add_markdown(card, json_text_at(entry, "attack"));
      text_add(card, ", ");
      text_add_markdown(card, json_text_at(entry, "reason"));
      text_add(card, "\n");
    }
  }
}

static void add_privacy(struct text *card, const json_t *report) {
  const json_t *attacks = json_object_get(report, "attacks");
  size_t i, s;
  json_t *attack, *surface, *note;
  text_add(card, "## Privacy\n\n**");
  text_add_markdown(card, json_text_at(json_object_get(report, "headline"), "verdict"));
  text_add(card, "**: ");
  text_add_markdown(card, json_text_at(json_object_get(report, "headline"), "text"));
  if (json_array_size(json_object_get(json_object_get(report, "headline"), "linkage")) == 0)
    text_add(card, " Linkage, the headline measure, is not measured.");
  text_add(card, " Formal guarantee: ");
  text_add_markdown(card, json_text_at(json_object_get(report, "formal"), "guarantee"));
  text_add(card, ".\n\n");
  if (json_array_size(attacks) > 0)
    text_add(
        card,
        "| attack | surface | result (95 %%) | chance | no mask | verdict |\n|---|---|---|---|---|---|\n");
  json_array_foreach(attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      add_attack_row(card, attack, surface);
    }
  }
  add_left_out(card, json_object_get(report, "audits"));
  text_add(card,
           "\nThe model's files hold no class head and no names. The whole evidence is in report.json.\n");
  if (json_array_size(json_object_get(report, "notes")) > 0)
    text_add(card, "\n## Notes\n\n");
  json_array_foreach(json_object_get(report, "notes"), i, note) {
    text_add(card, "- ");
    text_add_markdown(card, json_string_value(note));
    text_add(card, "\n");
  }
}

int card_markdown(const json_t *report, char **ret_markdown, struct guise_error *err) {
  _cleanup_(text_done) struct text card = {.data = NULL};
  const json_t *data = json_object_get(report, "data");
  if (strcmp(json_text_at(report, "format"), "guise-report-1") != 0)
    return error_set(err, -EINVAL, "this is not a report that this version of guise can show");
  text_add(&card, "# Face recognition model trained on ");
  text_add_markdown(&card, json_text_at(data, "name"));
  text_add(&card, "\n\n");
  add_details(&card, report);
  add_use(&card);
  add_data(&card, report);
  add_utility(&card, json_object_get(report, "utility"));
  add_privacy(&card, report);
  int r = text_take(&card, ret_markdown);
  return r < 0 ? error_set(err, r, "out of memory writing the model card") : 0;
}
