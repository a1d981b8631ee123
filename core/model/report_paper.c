/* The scores of the paper on template mixing, for comparison with it. They say how unlike pictures are, which
 * is no measure of privacy: no verdict rests on them. */
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/report_html.h"
#include "core/model/report_parts.h"

static const char *const scores[] = {"s1", "s2", "s3", "s4", "score_pp"};
static const char *const surfaces[][2] = {{"T", "training templates"}, {"I", "inference templates"}};

/* Of the newest attack that has measured them. NULL: none has. */
static const json_t *find_scores(const json_t *attacks, const char *which, const json_t **ret_attack) {
  size_t s;
  json_t *surface;
  for (size_t i = json_array_size(attacks); i-- > 0;) {
    *ret_attack = json_array_get(attacks, i);
    json_array_foreach(json_object_get(*ret_attack, "surfaces"), s, surface) {
      const json_t *found = json_object_get(surface, "paper");
      if (found && strcmp(json_text_at(surface, "surface"), which) == 0)
        return found;
    }
  }
  *ret_attack = NULL;
  return NULL;
}

static json_t *templates_json(const json_t *attacks, const char *which) {
  const json_t *attack, *found = find_scores(attacks, which, &attack);
  json_t *entry =
      json_pack("{s:s, s:o, s:o}", "surface", which, "job", report_text_or_null(json_text_at(attack, "job")),
                "effort", report_text_or_null(json_text_at(attack, "effort")));
  for (size_t i = 0; i < ARRAY_SIZE(scores); i++)
    entry = json_put(entry, scores[i], json_real_or_null(json_number_at(found, scores[i])));
  return entry;
}

json_t *report_paper(const json_t *report) {
  const json_t *accuracy = json_object_get(report_leading_verification(report), "accuracy");
  json_t *templates = json_array();
  for (size_t i = 0; i < ARRAY_SIZE(surfaces); i++)
    templates = json_append(templates, templates_json(json_object_get(report, "attacks"), surfaces[i][0]));
  return json_pack("{s:o, s:o}", "score_cls", json_real_or_null(json_number_at(accuracy, "mean")),
                   "templates", templates);
}

static void add_score(struct text *html, double value) {
  if (isfinite(value))
    text_add(html, "<td>%.3f</td>", value);
  else
    text_add(html, "<td>not measured</td>");
}

void report_html_paper(struct text *html, const json_t *report) {
  const json_t *paper = json_object_get(report, "paper_scores");
  bool any = false;
  size_t i;
  json_t *entry;
  json_array_foreach(json_object_get(paper, "templates"), i, entry) {
    any |= json_is_number(json_object_get(entry, "score_pp"));
  }
  if (!any)
    return;
  text_add(html,
           "<h2>For comparison with the paper</h2>\n<p class=\"soft\">Scores of the paper on template "
           "mixing. They "
           "say how unlike a face is to what its template shows (S1 as a picture, S2 to a recogniser) and to "
           "what the attack reconstruction drew (S3, S4): 0 is alike. This is no measure of privacy, since "
           "an unlike "
           "picture can still be linked, and no verdict rests on it.</p>\n<div "
           "class=\"scroll\"><table><tr><th>Templates</th><th>S1</th><th>S2</th><th>S3</th><th>S4</th>"
           "<th>Score_pp</th><th>Score_cls (accuracy)</th></tr>\n");
  json_array_foreach(json_object_get(paper, "templates"), i, entry) {
    text_add(html, "<tr><td>%s</td>", surfaces[strcmp(json_text_at(entry, "surface"), "T") == 0 ? 0 : 1][1]);
    for (size_t s = 0; s < ARRAY_SIZE(scores); s++)
      add_score(html, json_number_at(entry, scores[s]));
    add_score(html, json_number_at(paper, "score_cls"));
    text_add(html, "</tr>\n");
  }
  text_add(html, "</table></div>\n");
}
