/* The summary of a report, which stands beside the model. */
#include <string.h>

#include "core/base/json.h"
#include "core/model/report.h"
#include "core/model/report_parts.h"
#include "core/model/text.h"

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

const json_t *report_leading_verification(const json_t *report) {
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
  const json_t *first = report_leading_verification(report), *attacks = json_object_get(report, "attacks");
  const json_t *headline = json_object_get(report, "headline");
  json_t *summary =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:{s:b, s:s, s:s, s:O, s:o}}", "accuracy",
                json_real_or_null(json_number_at(json_object_get(first, "accuracy"), "mean")), "eer",
                json_real_or_null(json_number_at(first, "eer")), "tar_at_far_1e-2",
                json_real_or_null(json_number_at(first, "tar_at_far_1e-2")), "tar_at_far_1e-3",
                json_real_or_null(json_number_at(first, "tar_at_far_1e-3")), "protocol",
                report_text_or_null(json_text_at(first, "protocol")), "audit", "complete",
                json_array_size(attacks) > 0 ? 1 : 0, "verdict", json_text_at(headline, "verdict"), "reason",
                json_text_at(headline, "text"), "linkage", json_object_get(headline, "linkage"), "attacks",
                verdicts_json(attacks));
  json_t *audits = json_object_get(report, "audits");
  if (report_add_thresholds(summary, NULL, first) == 0 &&
      (!audits || json_object_set(json_object_get(summary, "audit"), "history", audits) == 0))
    return summary;
  json_decref(summary);
  return NULL;
}

/* Attacks that were run again count once. */
static uint32_t count_results(const json_t *verdicts) {
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
  struct text text = {.data = NULL};
  if (strcmp(json_text_at(audit, "verdict"), "resists") != 0 || report_attack_ran(verdicts, "linkage"))
    return 0;
  report_say_unlinked(count_results(verdicts), &text);
  const bool failed = text.failed || json_object_set_new(audit, "verdict", json_string("inconclusive")) < 0 ||
                      json_object_set_new(audit, "reason", json_string(text.data)) < 0;
  text_done(&text);
  return failed ? -ENOMEM : 0;
}
