/* An attack's result as JSON: the report's part, and the victims' pictures apart from it. */
#include <stdio.h>
#include <string.h>

#include "core/attack/attack.h"
#include "core/base/json.h"
#include "core/model/png.h"
#include "core/model/text.h"

static json_t *interval_json(struct interval interval) {
  return json_pack("{s:o, s:o, s:o}", "mean", json_real_or_null(interval.mean), "low",
                   json_real_or_null(interval.low), "high", json_real_or_null(interval.high));
}

static json_t *metric_json(const struct attack_metric *metric) {
  return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", metric->name, "unit",
                   metric->unit, "description", metric->description, "value", interval_json(metric->value),
                   "worst_tenth", json_real_or_null(metric->worst_tenth), "chance",
                   json_real_or_null(metric->chance), "chance_worst_tenth",
                   json_real_or_null(metric->chance_worst_tenth), "control", interval_json(metric->control),
                   "control_threshold", json_real_or_null(metric->control_threshold), "ceiling",
                   json_real_or_null(metric->ceiling));
}

static json_t *picture_json(const struct attack_picture *picture, uint32_t size) {
  _cleanup_(freep) char *uri = NULL;
  if (png_data_uri(picture->rgb, 3 * size, size, &uri) < 0)
    return NULL;
  return json_pack("{s:s, s:s, s:s}", "source",
                   picture->victim ? "victims"
                   : picture->open ? "public"
                                   : "synthetic",
                   "caption", picture->caption, "image", uri);
}

/* NULL when memory ran out. */
static json_t *pictures_json(const struct attack_surface_result *surface, uint32_t size, bool victims) {
  json_t *pictures = json_array();
  for (uint32_t i = 0; i < surface->pictures; i++)
    if (surface->picture[i].victim == victims &&
        json_array_append_new(pictures, picture_json(&surface->picture[i], size)) < 0) {
      json_decref(pictures);
      return NULL;
    }
  return pictures;
}

static json_t *metrics_json(const struct attack_surface_result *surface) {
  json_t *metrics = json_array();
  for (uint32_t i = 0; i < surface->metrics; i++)
    if (json_array_append_new(metrics, metric_json(&surface->metric[i])) < 0) {
      json_decref(metrics);
      return NULL;
    }
  return metrics;
}

static json_t *paper_json(const double scores[PAPER_SCORES]) {
  const double together = .4 * (scores[0] + scores[1]) / 2 + .6 * (scores[2] + scores[3]) / 2;
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "s1", json_real_or_null(scores[0]), "s2",
                   json_real_or_null(scores[1]), "s3", json_real_or_null(scores[2]), "s4",
                   json_real_or_null(scores[3]), "score_pp", json_real_or_null(together));
}

static void add_sentence(char *text, size_t size, const char *sentence) {
  const size_t length = strlen(text);
  (void)snprintf(text + length, size - length, "%s%s", length ? " " : "", sentence);
}

static json_t *surface_json(const struct attack_surface_result *surface, uint32_t size) {
  char threat[1600] = "";
  add_sentence(threat, sizeof(threat), surface->threat_model);
  for (uint32_t i = 0; i < ATTACK_GRANTED_MAX && surface->granted[i]; i++)
    add_sentence(threat, sizeof(threat), surface->granted[i]);
  if (surface->given_key)
    add_sentence(threat, sizeof(threat),
                 "Is given the mask's key, as who runs the recognition is; without it, it would have to be "
                 "guessed first: the attack linear tells how well that works.");
  json_t *json = json_pack(
      "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "surface", surface_letter(surface->surface),
      "surface_name", surface_name(surface->surface), "threat_model", threat, "verdict",
      verdict_name(surface->verdict), "reason", surface->reason, "decided_by", surface->decided_by,
      "threshold", json_real_or_null(surface->threshold), "threshold_worst_tenth",
      json_real_or_null(surface->threshold_worst_tenth), "mean_k", json_real_or_null(surface->mean_k),
      "metrics", metrics_json(surface), "pictures", pictures_json(surface, size, false));
  return surface->on_paper ? json_put(json, "paper", paper_json(surface->paper)) : json;
}

static json_t *evaluator_json(const struct attack_evaluator *evaluator) {
  return evaluator->arch
             ? json_pack("{s:s, s:o, s:b, s:o}", "arch", evaluator->arch, "images",
                         evaluator->images ? json_integer(evaluator->images) : json_null(), "unseen",
                         (int)evaluator->unseen, "accuracy", json_real_or_null(evaluator->accuracy))
             : json_null();
}

json_t *attack_result_json(const struct attack_result *result) {
  json_t *list = json_array();
  for (uint32_t s = 0; s < result->surfaces; s++)
    if (json_array_append_new(list, surface_json(&result->surface[s], result->size)) < 0) {
      json_decref(list);
      return NULL;
    }
  return json_pack("{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:o}", "attack",
                   result->name, "summary", result->summary, "effort", effort_name(result->effort), "seed",
                   (json_int_t)result->seed, "size", (int)result->size, "faces", (int)result->faces, "people",
                   (int)result->people, "steps", (int)result->steps, "public_faces",
                   (int)result->public_faces, "parameters", (json_int_t)result->parameters, "evaluator",
                   evaluator_json(&result->evaluator), "seconds", json_real_or_null(result->seconds),
                   "surfaces", list);
}

json_t *attack_result_private(const struct attack_result *result) {
  json_t *list = json_array();
  for (uint32_t s = 0; s < result->surfaces; s++) {
    const struct attack_surface_result *surface = &result->surface[s];
    json_t *entry = json_pack("{s:s, s:o}", "surface", surface_letter(surface->surface), "pictures",
                              pictures_json(surface, result->size, true));
    if (json_array_append_new(list, entry) < 0) {
      json_decref(list);
      return NULL;
    }
  }
  return json_pack("{s:s, s:o}", "attack", result->name, "surfaces", list);
}
