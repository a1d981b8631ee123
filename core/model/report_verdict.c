/* What the attacks of a report say together: the headline, linkage, and what was not measured. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/report.h"
#include "core/model/report_parts.h"
#include "core/model/text.h"

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

bool report_attack_ran(const json_t *attacks, const char *name) {
  size_t i;
  json_t *attack;
  json_array_foreach(attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), name) == 0)
      return true;
  }
  return false;
}

#define NEEDS_FACES " Not run: it needs the faces, which their owner has masked and kept."

json_t *report_not_measured(const json_t *attacks, bool masked_by_owner) {
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
    if (!report_attack_ran(attacks, rows[i].attack) &&
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

void report_say_unlinked(uint32_t surfaces, char ret_text[static REPORT_UNLINKED_TEXT]) {
  (void)snprintf(
      ret_text, REPORT_UNLINKED_TEXT,
      "No leak was found on %u attacked surfaces, but linkage, which decides whether templates tell "
      "whose they are, was not run: it needs public faces (audit.public_dataset). This is no evidence "
      "of privacy.",
      surfaces);
}

json_t *report_headline(const json_t *attacks) {
  struct tally tally = count_verdicts(attacks);
  const bool linked = linkage_ran(attacks);
  uint32_t all = tally.leaks + tally.resists + tally.inconclusive;
  char text[REPORT_UNLINKED_TEXT];
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
    report_say_unlinked(all, text);
  else
    (void)snprintf(
        text, sizeof(text),
        "The attacks that were run did not recover faces on any of %u surfaces. Other attacks were not run.",
        all);
  return json_pack("{s:s, s:s, s:o}", "verdict", verdict, "text", text, "linkage", linkage_json(attacks));
}
