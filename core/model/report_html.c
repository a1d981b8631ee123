/* report.html: one page, readable by somebody who answers for data protection and not for machine learning.
 * It draws from the JSON alone, loads nothing and runs nothing; everything that comes from users is escaped.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/report.h"
#include "core/model/report_html.h"
#include "core/model/text.h"

static const char style[] =
    ":root{color-scheme:light "
    "dark;--bg:#fbfbfa;--fg:#1d2125;--soft:#5b6470;--line:#d9dde2;--card:#fff;--leaks:#a4161a;"
    "--resists:#1b6e3c;--open:#8a5a00}"
    "@media(prefers-color-scheme:dark){:root{--bg:#15181b;--fg:#e6e8ea;--soft:#9aa4af;--line:#343a41;--card:#"
    "1d2125;"
    "--leaks:#ff8a8a;--resists:#7fd6a0;--open:#f0c36b}}"
    "body{margin:0 auto;max-width:60rem;padding:1.5rem;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,sans-serif}"
    "h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.25rem;margin:2rem 0 .5rem;border-bottom:1px solid "
    "var(--line)}"
    "h3{font-size:1.05rem;margin:1.2rem 0 .3rem}p{margin:.4rem 0}.soft{color:var(--soft)}"
    ".box{background:var(--card);border:1px solid var(--line);border-left:.4rem solid "
    "var(--open);border-radius:.4rem;"
    "padding:.8rem 1rem;margin:1rem 0}"
    ".leaks{border-left-color:var(--leaks)}.resists{border-left-color:var(--resists)}"
    ".verdict{font-weight:700;color:var(--open)}.leaks .verdict,.verdict.leaks{color:var(--leaks)}"
    ".resists .verdict,.verdict.resists{color:var(--resists)}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid "
    "var(--line);vertical-align:top}"
    "th{font-weight:600;color:var(--soft)}.hash{font-family:ui-monospace,monospace;font-size:.8rem;"
    "overflow-wrap:anywhere}figure{margin:.6rem 0}figcaption{color:var(--soft);font-size:.85rem}"
    "img{max-width:100%;image-rendering:auto;border-radius:.2rem}.strips{display:grid;"
    "grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:.6rem}";

static bool is_one_of(const char *text, const char *a, const char *b) {
  return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

const char *report_html_verdict(const char *verdict) {
  return is_one_of(verdict, "leaks", "resists") ? verdict : "open";
}

static void add_percent(struct text *html, double share, const char *missing) {
  if (isfinite(share))
    text_add(html, "%.1f&nbsp;%%", 100 * share);
  else
    text_add(html, "%s", missing);
}

static void add_row(struct text *html, const char *name, const char *value) {
  text_add(html, "<tr><th>%s</th><td>", name);
  text_add_html(html, value);
  text_add(html, "</td></tr>\n");
}

static void add_row_count(struct text *html, const char *name, const json_t *object, const char *key) {
  text_add(html, "<tr><th>%s</th><td>%" JSON_INTEGER_FORMAT "</td></tr>\n", name,
           json_integer_value(json_object_get(object, key)));
}

static void add_row_hash(struct text *html, const char *name, const char *hash) {
  text_add(html, "<tr><th>%s</th><td class=\"hash\">", name);
  text_add_html(html, hash);
  text_add(html, "</td></tr>\n");
}

/* Each with where it begins: at an image, or at a template, for whoever masks the face before. */
static void add_onnx(struct text *html, const json_t *files) {
  size_t i;
  json_t *file;
  json_array_foreach(files, i, file) {
    text_add(html, "<tr><th>Input of ");
    text_add_html(html, json_text_at(file, "name"));
    text_add(html, "</th><td>");
    text_add_html(html, strcmp(json_text_at(file, "start"), "image") == 0
                            ? "image (RGB pixels, the mask inside)"
                            : "template (masked before)");
    text_add(html, "</td></tr>\n");
    text_add(html, "<tr><th>SHA-256 of ");
    text_add_html(html, json_text_at(file, "name"));
    text_add(html, "</th><td class=\"hash\">");
    text_add_html(html, json_text_at(file, "sha256"));
    text_add(html, "</td></tr>\n");
  }
}

/* ---- head ---- */

/* The figures that decide whether templates protect people, before all others. */
static void add_linkage(struct text *html, const json_t *linkage) {
  size_t i;
  json_t *entry;
  if (json_array_size(linkage) == 0) {
    text_add(html, "<p class=\"soft\">Linkage, the measure that decides whether templates protect people, is "
                   "<strong>not measured</strong> in this report.");
  } else {
    text_add(html,
             "<div class=\"scroll\"><table><tr><th>Linked to the person (95&nbsp;%% range)</th>"
             "<th>Share</th><th>Chance</th><th>Without a mask</th><th>On photographs</th><th></th></tr>\n");
    json_array_foreach(linkage, i, entry) {
      text_add(html, "<tr><td>");
      text_add_html(html, json_text_at(entry, "surface_name"));
      text_add(html, "<br><span class=\"soft\">");
      text_add_html(html, json_text_at(entry, "metric"));
      text_add(html, "</span></td><td><strong>");
      add_percent(html, json_number_at(entry, "mean"), "not measured");
      text_add(html, "</strong><br><span class=\"soft\">");
      add_percent(html, json_number_at(entry, "low"), "?");
      text_add(html, " to ");
      add_percent(html, json_number_at(entry, "high"), "?");
      text_add(html, "</span></td><td>");
      add_percent(html, json_number_at(entry, "chance"), "not measured");
      text_add(html, "</td><td>");
      add_percent(html, json_number_at(entry, "control"), "not measured");
      text_add(html, "</td><td>");
      add_percent(html, json_number_at(entry, "ceiling"), "not measured");
      text_add(html, "</td><td class=\"verdict %s\">", report_html_verdict(json_text_at(entry, "verdict")));
      text_add_html(html, json_text_at(entry, "verdict"));
      text_add(html, "</td></tr>\n");
    }
    text_add(html,
             "</table></div><p class=\"soft\">Linkage, whether a template tells whose face it is, decides "
             "whether templates protect people.");
  }
  text_add(html, " How alike pictures look (SSIM, PSNR) is no measure of privacy by itself.</p></div>\n");
}

static void add_head(struct text *html, const json_t *report, bool private_page) {
  const json_t *headline = json_object_get(report, "headline"), *data = json_object_get(report, "data");
  const char *verdict = json_text_at(headline, "verdict");
  text_add(
      html,
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "img-src data:\">"
      "<meta name=\"robots\" content=\"noindex\"><title>Privacy report: ");
  text_add_html(html, json_text_at(data, "name"));
  text_add(html, "</title><style>%s%s</style></head><body>\n", style, report_html_plots_style);
  if (private_page)
    text_add(html, "<div class=\"box leaks\"><strong>Private.</strong> This page shows real people of the "
                   "data set. Keep it "
                   "as you keep the faces themselves, and delete it with them.</div>\n");
  text_add(html, "<p class=\"soft\">guise %s</p><h1>Privacy report of the model trained on ",
           private_page ? "private report" : "privacy report");
  text_add_html(html, json_text_at(data, "name"));
  text_add(html, "</h1>\n<p class=\"soft\">Job <span class=\"hash\">");
  text_add_html(html, json_text_at(json_object_get(report, "job"), "id"));
  text_add(html, "</span>, written ");
  text_add_html(html, json_text_at(report, "created_at"));
  text_add(html, " by guise ");
  text_add_html(html, json_text_at(report, "guise_version"));
  text_add(html, "</p>\n<div class=\"box %s\"><span class=\"verdict\">", report_html_verdict(verdict));
  text_add_html(html, verdict);
  text_add(html, "</span><br>");
  text_add_html(html, json_text_at(headline, "text"));
  add_linkage(html, json_object_get(headline, "linkage"));
  if (json_is_true(json_object_get(data, "synthetic")))
    text_add(html, "<div class=\"box\"><strong>Drawn faces.</strong> The data set is drawn by a program. No "
                   "figure on this page "
                   "says anything about real faces.</div>\n");
}

/* ---- utility ---- */

static void add_utility_row(struct text *html, const json_t *entry) {
  const json_t *accuracy = json_object_get(entry, "accuracy");
  text_add(html, "<tr><td>");
  text_add_html(html, json_text_at(entry, "protocol"));
  text_add(html, "<br><span class=\"soft\">");
  text_add_html(html, json_text_at(entry, "dataset"));
  if (json_text_at(entry, "pairs")[0]) {
    text_add(html, " / ");
    text_add_html(html, json_text_at(entry, "pairs"));
  }
  text_add(html, "</span></td><td>");
  text_add_html(html, json_text_at(entry, "view"));
  text_add(html, "</td><td><strong>");
  add_percent(html, json_number_at(accuracy, "mean"), "not measured");
  text_add(html, "</strong><br><span class=\"soft\">");
  add_percent(html, json_number_at(accuracy, "low"), "?");
  text_add(html, " to ");
  add_percent(html, json_number_at(accuracy, "high"), "?");
  text_add(html, "</span></td><td>");
  add_percent(html, json_number_at(entry, "eer"), "not measured");
  text_add(html, "</td><td>");
  add_percent(html, json_number_at(entry, "tar_at_far_1e-2"), "too few pairs");
  text_add(html, "</td><td>");
  add_percent(html, json_number_at(entry, "tar_at_far_1e-3"), "too few pairs");
  text_add(html, "</td><td>");
  add_percent(html, json_number_at(entry, "rank_1"), "not measured");
  text_add(html, "</td><td>%" JSON_INTEGER_FORMAT " + %" JSON_INTEGER_FORMAT "</td></tr>\n",
           json_integer_value(json_object_get(entry, "positives")),
           json_integer_value(json_object_get(entry, "negatives")));
}

static void add_utility(struct text *html, const json_t *report) {
  const json_t *utility = json_object_get(report, "utility");
  size_t i;
  json_t *entry;
  text_add(html, "<h2>What the model is good for</h2>\n");
  if (json_array_size(utility) == 0) {
    text_add(html, "<p>Not measured: nobody was held out of training.</p>\n");
    return;
  }
  text_add(
      html,
      "<p>Verification: two pictures, is it the same person? Measured on people whose pictures were not "
      "trained on. "
      "Below each accuracy stands the range that holds the true value with 95&nbsp;%% confidence.</p>\n"
      "<div class=\"scroll\"><table><tr><th>Pairs of</th><th>View</th><th>Accuracy</th><th>Equal error "
      "rate</th>"
      "<th>Accepted at 1&nbsp;%% false accepts</th><th>at 0.1&nbsp;%%</th><th>Found first among all held-out "
      "people</th><th>Pairs (same + "
      "different)</th></tr>\n");
  json_array_foreach(utility, i, entry) {
    add_utility_row(html, entry);
  }
  text_add(html, "</table></div>\n");
}

/* ---- facts ---- */

static void add_mixing(struct text *html, const json_t *mixing) {
  const char *k;
  json_t *share;
  text_add(html, "<tr><th>Mixing in training</th><td>");
  if (!json_is_object(mixing)) {
    text_add(html, "none</td></tr>\n");
    return;
  }
  text_add(html, "policy ");
  text_add_html(html, json_text_at(mixing, "policy"));
  if (json_text_at(mixing, "reward")[0]) {
    text_add(html, ", reward ");
    text_add_html(html, json_text_at(mixing, "reward"));
  }
  const bool alone = strcmp(json_text_at(mixing, "protect"), "drop") == 0;
  const double drop = json_number_at(mixing, "protect_drop"); /* missing in older reports */
  if (!alone)
    text_add(html, "; mean of %.2f faces in the last epoch", json_number_at(mixing, "mean_k"));
  text_add(html, "; ");
  add_percent(html, json_number_at(mixing, "unmixed"), "?");
  text_add(html,
           strcmp(json_text_at(mixing, "unmixed_by"), "people") == 0 ? " of the people" : " of the samples");
  text_add(html, " left as the mask makes them");
  if (drop > 0)
    text_add(html, ", the templates of others lose their %.0f lowest frequencies of each colour%s", drop,
             alone ? " and are not mixed" : "");
  text_add(html, "<br><span class=\"soft\">%s:",
           alone ? "share that the policy left (1) and that lost more (2)" : "share of k faces");
  json_object_foreach(json_object_get(mixing, "probability"), k, share) {
    text_add(html, " ");
    text_add_html(html, k);
    text_add(html, ": %.3f", json_number_value(share));
  }
  if (!alone && isfinite(json_number_at(mixing, "stored_mean_k")))
    text_add(
        html,
        "; mean of %.2f faces over the whole training, which is what attacks on training templates attack",
        json_number_at(mixing, "stored_mean_k"));
  text_add(html, "</span></td></tr>\n");
}

static void add_parameters(struct text *html, const json_t *parameters) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)parameters, name, value) {
    text_add(html, "<tr><th>Mask's ");
    text_add_html(html, name);
    text_add(html, "</th><td>%.6g</td></tr>\n", json_number_value(value));
  }
}

static void add_defences(struct text *html, const json_t *defences) {
  const char *name;
  size_t i;
  json_t *defence, *value;
  json_array_foreach(defences, i, defence) {
    const char *guarantee = json_text_at(json_object_get(defence, "formal"), "guarantee");
    text_add(html, "<tr><th>Defence of the weights</th><td>");
    text_add_html(html, json_text_at(defence, "method"));
    text_add(html, ": ");
    text_add_html(html, json_text_at(defence, "summary"));
    text_add(html, "<br><span class=\"soft\">");
    json_object_foreach(json_object_get(defence, "parameters"), name, value) {
      text_add_html(html, name);
      text_add(html, " %.6g; ", json_number_value(value));
    }
    text_add(html, "</span>formal guarantee: ");
    text_add_html(html, *guarantee ? guarantee : "none");
    text_add(html, "</td></tr>\n");
  }
}

static void add_sentences(struct text *html, const char *title, const json_t *list) {
  size_t i;
  json_t *sentence;
  json_array_foreach(list, i, sentence) {
    add_row(html, i ? "" : title, json_string_value(sentence));
  }
}

static void add_facts(struct text *html, const json_t *report) {
  const json_t *data = json_object_get(report, "data"), *model = json_object_get(report, "model");
  const json_t *mask = json_object_get(report, "mask"), *cost = json_object_get(report, "cost");
  const json_t *held_out = json_object_get(data, "held_out");
  text_add(html, "<h2>Data, mask and model</h2>\n<div class=\"scroll\"><table>\n");
  add_row(html, "Data set", json_text_at(data, "name"));
  add_row_hash(html, "SHA-256 of the data set", json_text_at(data, "sha256"));
  const bool by_owner = strcmp(json_text_at(data, "masked_by"), "owner") == 0;
  if (by_owner)
    add_row(html, "Masked by",
            "the faces' owner, who did not send them: what follows counts templates as images");
  add_sentences(html, "What that removes", json_object_get(data, "removes"));
  add_sentences(html, "What stays", json_object_get(data, "stays"));
  add_row_count(html, "People in it", data, "identities");
  add_row_count(html, "Images in it", data, "images");
  add_row_count(html, "People trained on", json_object_get(data, "training"), "identities");
  add_row_count(html, "Images trained on", json_object_get(data, "training"), "images");
  add_row_count(html, "People held out", held_out, "identities");
  add_row_count(html, "Images held out", held_out, "images");
  add_row_count(html, "Images of trained people kept out", json_object_get(data, "unseen"), "images");
  if (json_text_at(held_out, "split_sha256")[0])
    add_row_hash(html, "SHA-256 of the split", json_text_at(held_out, "split_sha256"));
  add_row(html, "Mask", json_text_at(mask, "method"));
  add_row(html, "What it does", json_text_at(mask, "summary"));
  add_row_count(html,
                strcmp(json_text_at(mask, "select"), "learnt") == 0
                    ? "Coefficients dropped by the analysis network's choice (each colour)"
                    : "Lowest frequencies dropped (each colour)",
                mask, "drop_low");
  add_row_count(html, "Channels kept (of 192)", mask, "channels");
  add_row(html, "Transform", json_text_at(mask, "dct"));
  add_parameters(html, json_object_get(mask, "parameters"));
  add_row_count(html, "Seed of the mask", mask, "seed");
  add_mixing(html, json_object_get(mask, "mixing"));
  add_defences(html, json_object_get(report, "defences"));
  add_row(html, "Network", json_text_at(model, "arch"));
  add_row_count(html, "Input, pixels", model, "input");
  add_row_count(html, "Embedding", model, "embedding");
  add_row_count(html, "Epochs", model, "epochs");
  add_row_hash(html, "SHA-256 of the model", json_text_at(model, "sha256"));
  add_onnx(html, json_object_get(model, "onnx"));
  add_row_count(html, "Seed", json_object_get(report, "job"), "seed");
  if (json_text_at(json_object_get(report, "job"), "spec_sha256")[0])
    add_row_hash(html, "SHA-256 of the job below",
                 json_text_at(json_object_get(report, "job"), "spec_sha256"));
  if (isfinite(json_number_at(cost, "train_seconds")))
    text_add(html, "<tr><th>Training time</th><td>%.0f s</td></tr>\n", json_number_at(cost, "train_seconds"));
  if (isfinite(json_number_at(cost, "images_per_s")))
    text_add(html, "<tr><th>Training speed</th><td>%.0f images/s</td></tr>\n",
             json_number_at(cost, "images_per_s"));
  if (isfinite(json_number_at(cost, "peak_memory_bytes")))
    text_add(html, "<tr><th>Peak memory</th><td>%.0f MiB</td></tr>\n",
             json_number_at(cost, "peak_memory_bytes") / 1048576);
  text_add(html, "</table></div>\n");
}

static void add_foot(struct text *html, const json_t *report) {
  const json_t *notes = json_object_get(report, "notes");
  _cleanup_(freep) char *spec =
      json_print(json_object_get(json_object_get(report, "job"), "spec"), JSON_INDENT(2) | JSON_ENCODE_ANY);
  size_t i;
  json_t *note;
  if (json_array_size(notes) > 0) {
    text_add(html, "<h2>Notes</h2><ul>\n");
    json_array_foreach(notes, i, note) {
      text_add(html, "<li>");
      text_add_html(html, json_string_value(note));
      text_add(html, "</li>\n");
    }
    text_add(html, "</ul>\n");
  }
  text_add(
      html,
      "<h2>How to read this</h2>\n<p><strong>Leaks</strong>: the attack got more out of the templates than "
      "the "
      "threshold allows, on average or for the tenth of people that fare worst. <strong>Resists</strong>: "
      "this attack, "
      "with this effort, did not; another one may. <strong>Inconclusive</strong>: the attack failed even "
      "where nothing "
      "was protected (the control), or the measurement is too coarse; it is never a sign of safety.</p>\n"
      "<p><strong>Chance</strong> is what the same picture or template scores against somebody else's face. "
      "<strong>SSIM</strong> "
      "runs from 0 (nothing in common) to 1 (the same picture). <strong>On photographs</strong>: what the "
      "attacker's own recogniser reaches when it sees the faces themselves; nobody links more than that. "
      "Ranges are 95&nbsp;%% intervals: of attacks from redrawing whole people, not single images, of "
      "verification from redrawing its pairs.</p>\n"
      "<details><summary>The job as it was run</summary><pre class=\"hash\">");
  text_add_html(html, spec);
  text_add(html, "</pre></details>\n</body></html>\n");
}

int report_html(const json_t *report, const json_t *private_pictures, char **ret_html,
                struct guise_error *err) {
  _cleanup_(text_done) struct text html = {.data = NULL};
  if (strcmp(json_text_at(report, "format"), "guise-report-1") != 0)
    return error_set(err, -EINVAL, "this is not a report that this version of guise can show");
  add_head(&html, report, private_pictures != NULL);
  add_utility(&html, report);
  report_html_plots(&html, report);
  report_html_attacks(&html, report, private_pictures);
  add_facts(&html, report);
  add_foot(&html, report);
  int r = text_take(&html, ret_html);
  return r < 0 ? error_set(err, r, "out of memory writing the report") : 0;
}
