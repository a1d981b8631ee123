/* The report's files. */
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/model/card.h"
#include "core/model/files.h"
#include "core/model/report.h"
#include "core/model/report_parts.h"
#include "core/model/text.h"

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

char *report_text(const json_t *report) {
  return json_print(report, JSON_INDENT(2) | JSON_REAL_PRECISION(REPORT_DIGITS));
}

static bool hide_public_of(json_t *pictures) {
  bool any = false;
  for (size_t i = json_array_size(pictures); i-- > 0;)
    if (strcmp(json_text_at(json_array_get(pictures, i), "source"), "public") == 0) {
      (void)json_array_remove(pictures, i);
      any = true;
    }
  return any;
}

bool report_hide_public(json_t *report) {
  json_t *attack, *surface;
  bool any = false;
  size_t i, s;
  json_array_foreach(json_object_get(report, "attacks"), i, attack) {
    json_array_foreach(json_object_get(attack, "surfaces"), s, surface) {
      any |= hide_public_of(json_object_get(surface, "pictures"));
    }
  }
  return any;
}

int report_write(const char *directory, const json_t *report, const json_t *private_pictures,
                 struct guise_error *err) {
  _cleanup_(freep) char *json = report_text(report);
  _cleanup_(freep) char *card = NULL;
  if (!json)
    return error_set(err, -ENOMEM, "out of memory writing the report");
  int r = write_named(directory, REPORT_FILE, json, err);
  if (r == 0)
    r = write_html(directory, REPORT_PAGE_FILE, report, NULL, err);
  if (r == 0 && private_pictures)
    r = write_html(directory, REPORT_PRIVATE_FILE, report, private_pictures, err);
  if (r == 0)
    r = card_markdown(report, &card, err);
  if (r == 0)
    r = write_named(directory, REPORT_CARD_FILE, card, err);
  return r;
}
