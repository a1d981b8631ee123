/* What attackers got out of the model, in report.html. */
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/report_html.h"

static void add_cell_number(struct text *html, double value, const char *unit) {
  if (isfinite(value))
    text_add(html, "<td>%.3g%s", value, unit[0] ? "&nbsp;" : "");
  else
    text_add(html, "<td>not measured");
  if (isfinite(value))
    text_add_html(html, unit);
  text_add(html, "</td>");
}

/* A data URI of our own making: nothing else may stand in src. */
static bool is_picture(const char *uri) {
  static const char prefix[] = "data:image/png;base64,";
  static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  size_t skip = sizeof(prefix) - 1;
  return strncmp(uri, prefix, skip) == 0 && uri[skip] && uri[skip + strspn(uri + skip, base64)] == 0;
}

static void add_pictures(struct text *html, const json_t *pictures) {
  size_t i;
  json_t *picture;
  if (json_array_size(pictures) == 0)
    return;
  text_add(html, "<div class=\"strips\">");
  json_array_foreach(pictures, i, picture) {
    const char *uri = json_text_at(picture, "image");
    if (!is_picture(uri))
      continue;
    text_add(html, "<figure><img alt=\"Original, template as seen, recovered\" src=\"%s\"><figcaption>", uri);
    text_add_html(html, json_text_at(picture, "caption"));
    if (strcmp(json_text_at(picture, "source"), "synthetic") == 0)
      text_add(html, " (synthetic: drawn by a program, nobody's face)");
    text_add(html, "</figcaption></figure>");
  }
  text_add(html, "</div>\n");
}

static const json_t *private_of(const json_t *private_pictures, const json_t *attack, const char *surface) {
  size_t i, s;
  json_t *entry, *part;
  json_array_foreach(private_pictures, i, entry) {
    if (strcmp(json_text_at(entry, "attack"), json_text_at(attack, "attack")) != 0 ||
        strcmp(json_text_at(entry, "job"), json_text_at(attack, "job")) != 0)
      continue;
    json_array_foreach(json_object_get(entry, "surfaces"), s, part) {
      if (strcmp(json_text_at(part, "surface"), surface) == 0)
        return json_object_get(part, "pictures");
    }
  }
  return NULL;
}

static void add_chance(struct text *html, const json_t *metric) {
  double chance = json_number_at(metric, "chance"), worst = json_number_at(metric, "chance_worst_tenth");
  if (isfinite(chance) && isfinite(worst))
    text_add(html, "<td>%.3g<br><span class=\"soft\">%.3g for a tenth</span></td>", chance, worst);
  else
    text_add(html, "<td>not measured</td>");
}

static void add_metric(struct text *html, const json_t *metric, bool decides) {
  const json_t *value = json_object_get(metric, "value"), *control = json_object_get(metric, "control");
  const char *unit = json_text_at(metric, "unit");
  text_add(html, "<tr><td>%s", decides ? "<strong>" : "");
  text_add_html(html, json_text_at(metric, "name"));
  text_add(html, "%s<br><span class=\"soft\">", decides ? "</strong> (decides)" : "");
  text_add_html(html, json_text_at(metric, "description"));
  text_add(html, "</span></td>");
  if (isfinite(json_number_at(value, "mean")) && isfinite(json_number_at(value, "low")))
    text_add(html, "<td><strong>%.3g</strong><br><span class=\"soft\">%.3g to %.3g</span></td>",
             json_number_at(value, "mean"), json_number_at(value, "low"), json_number_at(value, "high"));
  else if (isfinite(json_number_at(value, "mean")))
    text_add(html, "<td><strong>%.3g</strong></td>", json_number_at(value, "mean"));
  else
    text_add(html, "<td>not measured</td>");
  add_cell_number(html, json_number_at(metric, "worst_tenth"), unit);
  add_chance(html, metric);
  add_cell_number(html, json_number_at(control, "mean"), unit);
  add_cell_number(html, json_number_at(metric, "control_threshold"), unit);
  add_cell_number(html, json_number_at(metric, "ceiling"), unit);
  text_add(html, "</tr>\n");
}

static void add_thresholds(struct text *html, const json_t *surface, const char *decided_by) {
  const double average = json_number_at(surface, "threshold"),
               worst = json_number_at(surface, "threshold_worst_tenth");
  if (!isfinite(average) || !isfinite(worst)) {
    text_add(html, "Too few people were attacked for a threshold.");
    return;
  }
  text_add(html, "Counted as a leak: ");
  text_add_html(html, decided_by);
  text_add(html, " above %.3f on average or %.3f for the worst tenth of people.", average, worst);
}

static void add_surface(struct text *html, const json_t *attack, const json_t *surface,
                        const json_t *private_pictures) {
  const char *verdict = json_text_at(surface, "verdict"), *decided_by = json_text_at(surface, "decided_by");
  const json_t *metrics = json_object_get(surface, "metrics");
  size_t i;
  json_t *metric;
  text_add(html, "<div class=\"box %s\"><h3>On ", report_html_verdict(verdict));
  text_add_html(html, json_text_at(surface, "surface_name"));
  text_add(html, " (");
  text_add_html(html, json_text_at(surface, "surface"));
  text_add(html, "): <span class=\"verdict\">");
  text_add_html(html, verdict);
  text_add(html, "</span></h3><p>");
  text_add_html(html, json_text_at(surface, "reason"));
  text_add(html, "</p><p class=\"soft\"><strong>The attacker</strong> ");
  text_add_html(html, json_text_at(surface, "threat_model"));
  if (json_number_at(surface, "mean_k") > 1)
    text_add(html, " A template mixes %.2f faces on average.", json_number_at(surface, "mean_k"));
  text_add(
      html,
      "</p>\n<div class=\"scroll\"><table><tr><th>Figure</th><th>Attack (95&nbsp;%% range)</th><th>Worst "
      "tenth of people"
      "</th><th>Chance</th><th>Control</th><th>Control must reach</th><th>On "
      "photographs</th></tr>\n");
  json_array_foreach(metrics, i, metric) {
    add_metric(html, metric, strcmp(json_text_at(metric, "name"), decided_by) == 0);
  }
  text_add(html, "</table></div>\n<p class=\"soft\">");
  add_thresholds(html, surface, decided_by);
  text_add(html, "</p>\n");
  add_pictures(html, json_object_get(surface, "pictures"));
  add_pictures(html, private_of(private_pictures, attack, json_text_at(surface, "surface")));
  text_add(html, "</div>\n");
}

/* Who said whom the drawings show. */
static void add_evaluator(struct text *html, const json_t *evaluator) {
  const json_int_t images = json_integer_value(json_object_get(evaluator, "images"));
  if (!json_is_object(evaluator))
    return;
  text_add(html, "<p class=\"soft\">Judged by a network of the architecture ");
  text_add_html(html, json_text_at(evaluator, "arch"));
  if (images > 0)
    text_add(html, ", trained on %" JSON_INTEGER_FORMAT " photographs of these people", images);
  text_add(html, json_is_true(json_object_get(evaluator, "unseen"))
                     ? ", none of which the model was trained on"
                     : ", with what the model was trained on among them as far as is known");
  if (json_is_number(json_object_get(evaluator, "accuracy")))
    text_add(html, "; of photographs that the model was trained on it recognises %.1f %%",
             100 * json_number_at(evaluator, "accuracy"));
  text_add(html, ".</p>\n");
}

static void add_attacks(struct text *html, const json_t *report, const json_t *private_pictures) {
  const json_t *attacks = json_object_get(report, "attacks");
  size_t i, s;
  json_t *attack, *surface;
  text_add(html, "<h2>What attackers got</h2>\n");
  if (json_array_size(attacks) == 0)
    text_add(html, "<p>No attack was run. Nothing is known of this model's privacy.</p>\n");
  json_array_foreach(attacks, i, attack) {
    text_add(html, "<h3>Attack: ");
    text_add_html(html, json_text_at(attack, "attack"));
    text_add(html, " (");
    text_add_html(html, json_text_at(attack, "effort"));
    text_add(html, ")</h3><p>");
    text_add_html(html, json_text_at(attack, "summary"));
    text_add(html,
             ".</p><p class=\"soft\">%" JSON_INTEGER_FORMAT " faces of %" JSON_INTEGER_FORMAT
             " people, effort ",
             json_integer_value(json_object_get(attack, "faces")),
             json_integer_value(json_object_get(attack, "people")));
    text_add_html(html, json_text_at(attack, "effort"));
    text_add(html, ", seed %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(attack, "seed")),
             json_integer_value(json_object_get(attack, "steps")));
    if (json_integer_value(json_object_get(attack, "public_faces")) > 0)
      text_add(html,
               " training steps of a network of %" JSON_INTEGER_FORMAT " numbers on %" JSON_INTEGER_FORMAT
               " public faces",
               json_integer_value(json_object_get(attack, "parameters")),
               json_integer_value(json_object_get(attack, "public_faces")));
    else if (json_integer_value(json_object_get(attack, "steps")) > 0)
      text_add(html, " steps a face at most");
    else
      text_add(html, " steps");
    text_add(html, ", %.1f s in all", json_number_at(attack, "seconds"));
    if (json_text_at(attack, "job")[0]) {
      text_add(html, "; job <span class=\"hash\">");
      text_add_html(html, json_text_at(attack, "job"));
      text_add(html, "</span>");
    }
    text_add(html, ".</p>\n");
    add_evaluator(html, json_object_get(attack, "evaluator"));
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      add_surface(html, attack, surface, private_pictures);
    }
  }
}

static bool leaves_out(const json_t *audits) {
  size_t i;
  json_t *audit;
  json_array_foreach(audits, i, audit) {
    if (json_array_size(json_object_get(audit, "left_out")) > 0)
      return true;
  }
  return false;
}

static void add_victims(struct text *html, const json_t *victims) {
  const char *provenance = json_text_at(victims, "provenance");
  text_add_html(html, json_text_at(victims, "dataset"));
  if (json_is_true(json_object_get(victims, "held_out")))
    text_add(html, ", held out");
  else if (strcmp(provenance, "trained") == 0)
    text_add(html, ", trained on");
  else if (strcmp(provenance, "changed") == 0)
    text_add(html, ", trained on or held out");
}

static void add_left_out(struct text *html, const json_t *list) {
  size_t i;
  json_t *entry;
  json_array_foreach(list, i, entry) {
    text_add(html, i ? "<br>" : "");
    text_add_html(html, json_text_at(entry, "attack"));
    text_add(html, ": ");
    text_add_html(html, json_text_at(entry, "reason"));
  }
}

/* Which audits there were, once there was more to tell than that there was the one at the training's end. */
static void add_audits(struct text *html, const json_t *report) {
  const json_t *audits = json_object_get(report, "audits");
  const bool left_out = leaves_out(audits);
  size_t i;
  json_t *audit;
  if (json_array_size(audits) < 2 && !left_out)
    return;
  text_add(html,
           "<h2>Audits</h2>\n<p>A leak counts whenever it was found; else of an attack on the same people "
           "the newest result of the highest effort, and of several groups of people the worst.</p>\n<div "
           "class=\"scroll\"><table><tr><th>When</th><th>Job</th><th>Effort</th>"
           "<th>Attacked people of</th><th>Public faces</th>%s</tr>\n",
           left_out ? "<th>Left out</th>" : "");
  json_array_foreach(audits, i, audit) {
    text_add(html, "<tr><td>");
    text_add_html(html, json_text_at(audit, "created_at"));
    text_add(html, "</td><td class=\"hash\">");
    text_add_html(html, json_text_at(audit, "job"));
    text_add(html, "</td><td>");
    text_add_html(html, json_text_at(audit, "effort"));
    text_add(html, "</td><td>");
    add_victims(html, json_object_get(audit, "victims"));
    text_add(html, "</td><td>");
    text_add_html(html, json_text_at(audit, "public_dataset"));
    if (left_out) {
      text_add(html, "</td><td>");
      add_left_out(html, json_object_get(audit, "left_out"));
    }
    text_add(html, "</td></tr>\n");
  }
  text_add(html, "</table></div>\n");
}

static void add_gaps(struct text *html, const json_t *report) {
  size_t i;
  json_t *gap;
  text_add(html,
           "<h2>What was not measured</h2>\n<div class=\"scroll\"><table><tr><th>Attack</th><th>Surface</th>"
           "<th>What it would show</th></tr>\n");
  json_array_foreach(json_object_get(report, "not_measured"), i, gap) {
    text_add(html, "<tr><td>");
    text_add_html(html, json_text_at(gap, "attack"));
    text_add(html, "</td><td>");
    text_add_html(html, json_text_at(gap, "surface"));
    text_add(html, "</td><td>");
    text_add_html(html, json_text_at(gap, "what"));
    text_add(html, "</td></tr>\n");
  }
  text_add(html, "</table></div>\n<p><strong>Formal guarantee:</strong> ");
  text_add_html(html, json_text_at(json_object_get(report, "formal"), "guarantee"));
  if (json_is_null(json_object_get(json_object_get(report, "formal"), "epsilon"))) {
    text_add(html,
             ". No differential privacy was applied; epsilon and delta do not exist for this model.</p>\n");
    return;
  }
  const json_t *formal = json_object_get(report, "formal");
  text_add(html, ". Epsilon %.4g, delta %.4g; unit: ", json_number_at(formal, "epsilon"),
           json_number_at(formal, "delta"));
  text_add_html(html, json_text_at(formal, "unit"));
  text_add(html, ".</p>\n");
}

void report_html_attacks(struct text *html, const json_t *report, const json_t *private_pictures) {
  add_attacks(html, report, private_pictures);
  report_html_paper(html, report);
  add_audits(html, report);
  add_gaps(html, report);
}
