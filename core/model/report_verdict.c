/* What the attacks of a report say together: the headline, linkage, and what was not measured. */
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

/* ---- which results count ---- */

/* Attacks may have been run again, with another effort or on other people. Of an attack on a surface counts,
 * for each group of people, the newest result of the highest effort: a weak audit does not undo a strong one,
 * nor one of other people that of these. Of several groups' results counts the worst, and a leak wherever one
 * was found. */
struct audited {
  const json_t *attacks, *audits;
};

static int effort_of(const json_t *attack) {
  static const char *const efforts[] = {"quick", "standard", "thorough"};
  for (int i = 0; i < (int)ARRAY_SIZE(efforts); i++)
    if (strcmp(json_text_at(attack, "effort"), efforts[i]) == 0)
      return i;
  return -1;
}

static int badness_of(const json_t *surface) {
  static const char *const verdicts[] = {"resists", "inconclusive", "leaks"};
  for (int i = 0; i < (int)ARRAY_SIZE(verdicts); i++)
    if (strcmp(json_text_at(surface, "verdict"), verdicts[i]) == 0)
      return i;
  return -1;
}

/* Who was attacked, as the job's audit tells; NULL where the report does not say. Borrowed. */
static const json_t *victims_of(const struct audited *audited, const json_t *attack) {
  size_t i;
  json_t *audit;
  json_array_foreach(audited->audits, i, audit) {
    if (strcmp(json_text_at(audit, "job"), json_text_at(attack, "job")) == 0)
      return json_object_get(audit, "victims");
  }
  return NULL;
}

static bool same_victims(const struct audited *audited, const json_t *a, const json_t *b) {
  const json_t *x = victims_of(audited, a), *y = victims_of(audited, b);
  return strcmp(json_text_at(x, "sha256"), json_text_at(y, "sha256")) == 0 &&
         json_is_true(json_object_get(x, "held_out")) == json_is_true(json_object_get(y, "held_out"));
}

/* Borrowed; NULL: another attack, or not on that surface. */
static const json_t *result_of(const json_t *attack, const char *name, const char *letter) {
  size_t i;
  json_t *surface;
  if (strcmp(json_text_at(attack, "attack"), name) != 0)
    return NULL;
  json_array_foreach(json_object_get(attack, "surfaces"), i, surface) {
    if (strcmp(json_text_at(surface, "surface"), letter) == 0)
      return surface;
  }
  return NULL;
}

/* By a result of the same attack on the same surface and people, with more effort, or newer with as much. */
static bool is_outdone(const struct audited *audited, size_t number, const char *name, const char *letter) {
  const json_t *attack = json_array_get(audited->attacks, number);
  size_t i;
  json_t *other;
  json_array_foreach(audited->attacks, i, other) {
    const int more = effort_of(other) - effort_of(attack);
    if ((more > 0 || (more == 0 && i > number)) && result_of(other, name, letter) &&
        same_victims(audited, attack, other))
      return true;
  }
  return false;
}

static const json_t *counting_result(const struct audited *audited, const char *name, const char *letter) {
  const json_t *found = NULL;
  size_t i;
  json_t *attack;
  json_array_foreach(audited->attacks, i, attack) {
    const json_t *surface = result_of(attack, name, letter);
    const bool leaks = strcmp(json_text_at(surface, "verdict"), "leaks") == 0;
    if (surface && (leaks || !is_outdone(audited, i, name, letter)) &&
        (!found || badness_of(surface) >= badness_of(found)))
      found = surface;
  }
  return found;
}

static bool counts(const struct audited *audited, const json_t *attack, const json_t *surface) {
  return counting_result(audited, json_text_at(attack, "attack"), json_text_at(surface, "surface")) ==
         surface;
}

struct tally {
  uint32_t leaks, resists, inconclusive;
};

static struct tally count_verdicts(const struct audited *audited) {
  struct tally tally = {0};
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(audited->attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const char *verdict = json_text_at(surface, "verdict");
      if (!counts(audited, attack, surface))
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
static json_t *linkage_json(const struct audited *audited) {
  json_t *list = json_array(), *attack, *surface;
  size_t i, s;
  json_array_foreach(audited->attacks, i, attack) {
    if (strcmp(json_text_at(attack, "attack"), "linkage") != 0)
      continue;
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const json_t *metric = report_deciding_metric(surface), *value = json_object_get(metric, "value");
      if (!counts(audited, attack, surface))
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

const char *const report_surfaces[REPORT_SURFACES][2] = {
    {"T", "training templates"}, {"I", "inference templates"}, {"W", "weights"}, {"G", "gradients"}};

static bool was_attacked(const json_t *attacks, const char *letter) {
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      if (strcmp(json_text_at(surface, "surface"), letter) == 0)
        return true;
    }
  }
  return false;
}

/* " Attacked: training templates, inference templates. Not attacked: weights, gradients." */
static void add_surfaces(const json_t *attacks, struct text *text) {
  for (int attacked = 1; attacked >= 0; attacked--) {
    const char *between = attacked ? " Attacked: " : " Not attacked: ";
    bool any = false;
    for (uint32_t s = 0; s < REPORT_SURFACES; s++) {
      if (was_attacked(attacks, report_surfaces[s][0]) != (attacked == 1))
        continue;
      text_add(text, "%s%s", any ? ", " : between, report_surfaces[s][1]);
      any = true;
    }
    if (any)
      text_add(text, ".");
  }
}

/* Where less effort had found before that the same people resist this; NULL: nowhere. */
static const json_t *resisted_before(const struct audited *audited, size_t number, const char *letter) {
  const json_t *attack = json_array_get(audited->attacks, number);
  size_t i;
  json_t *other;
  json_array_foreach(audited->attacks, i, other) {
    const json_t *surface = result_of(other, json_text_at(attack, "attack"), letter);
    if (i < number && effort_of(other) < effort_of(attack) && same_victims(audited, attack, other) &&
        strcmp(json_text_at(surface, "verdict"), "resists") == 0)
      return other;
  }
  return NULL;
}

/* A leak that only more effort found is not left to be noticed. */
static void add_contradictions(const struct audited *audited, struct text *text) {
  size_t i, s;
  json_t *attack, *surface;
  json_array_foreach(audited->attacks, i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      const json_t *before = resisted_before(audited, i, json_text_at(surface, "surface"));
      if (before && counts(audited, attack, surface) &&
          strcmp(json_text_at(surface, "verdict"), "leaks") == 0)
        text_add(text, " %s on %s leaks with the effort %s, where %s had found nothing.",
                 json_text_at(attack, "attack"), json_text_at(surface, "surface_name"),
                 json_text_at(attack, "effort"), json_text_at(before, "effort"));
    }
  }
}

#define EACH ", each of one attack on one surface"

void report_say_unlinked(uint32_t results, struct text *text) {
  text_add(text,
           "No leak was found in %u results" EACH
           ", but linkage, which decides whether templates tell whose they are, was not run: it needs public "
           "faces (audit.public_dataset). This is no "
           "evidence of privacy.",
           results);
}

static void say_headline(const struct tally *tally, bool linked, struct text *text) {
  const uint32_t all = tally->leaks + tally->resists + tally->inconclusive;
  if (!all)
    text_add(text, "No attack was run on this model: nothing is known of its privacy.");
  else if (tally->leaks)
    text_add(text,
             "Faces leak: %u of %u results" EACH ", gave away more of a face than the "
             "threshold allows.",
             tally->leaks, all);
  else if (tally->inconclusive)
    text_add(text,
             "No leak was found, but %u of %u results" EACH
             ", are not conclusive: this is no evidence of privacy.%s",
             tally->inconclusive, all, linked ? "" : " Linkage was not run, which needs public faces.");
  else if (!linked)
    report_say_unlinked(all, text);
  else
    text_add(text, "None of %u results" EACH ", is a leak. Other attacks were not run.", all);
}

json_t *report_headline(const json_t *attacks, const json_t *audits) {
  const struct audited audited = {attacks, audits};
  const struct tally tally = count_verdicts(&audited);
  const bool linked = linkage_ran(attacks), any = tally.leaks + tally.resists + tally.inconclusive > 0;
  struct text text = {.data = NULL};
  const char *verdict = !any                            ? "not audited"
                        : tally.leaks                   ? "leaks"
                        : tally.inconclusive || !linked ? "inconclusive"
                                                        : "resists";
  say_headline(&tally, linked, &text);
  if (any) {
    add_contradictions(&audited, &text);
    add_surfaces(attacks, &text);
  }
  json_t *headline = text.failed ? NULL
                                 : json_pack("{s:s, s:s, s:o}", "verdict", verdict, "text", text.data,
                                             "linkage", linkage_json(&audited));
  text_done(&text);
  return headline;
}
