/* What the files of the report share. Internal to core/model. */
#pragma once

#include <jansson.h>

#include "core/base/base.h"
#include "core/model/text.h"

static inline json_t *report_text_or_null(const char *text) {
  return text && text[0] ? json_string(text) : json_null();
}

static inline json_t *report_count(uint64_t count) {
  return json_integer((json_int_t)count);
}

#define REPORT_DIGITS 9 /* of numbers, in report.json */

/* ---- report_verdict.c: what the attacks that were run say together ---- */
/* "resists" is said only where the attack ran that decides whether templates protect people. audits: of the
 * report, which tell whom each job attacked; NULL = none. New reference; NULL when out of memory. */
json_t *report_headline(const json_t *attacks, const json_t *audits);
/* What this version cannot measure is said, so that silence is not read as safety. masked_by_owner: no attack
 * could be run at the training's end, which is a reason, too. As above. */
json_t *report_not_measured(const json_t *attacks, bool masked_by_owner);
/* attacks: of the report or of its summary */
bool report_attack_ran(const json_t *attacks, const char *name);
/* Why nothing resists where nobody tried to link templates to people. results: of an attack on a surface
 * each. */
void report_say_unlinked(uint32_t results, struct text *text);
#define REPORT_SURFACES 4u
extern const char *const report_surfaces[REPORT_SURFACES][2]; /* {"T", "training templates"}, I, W, G */

/* ---- report_summary.c ---- */
/* The first entry of utility with one view, borrowed: the trainer lists a pairs list before held-out people.
 * NULL when nothing was measured. */
const json_t *report_leading_verification(const json_t *report);

/* ---- report_paper.c ---- */
/* "paper_scores" of a report that has its utility and attacks. New reference; NULL when out of memory. */
json_t *report_paper(const json_t *report);

/* ---- report.c ---- */
/* Sets "threshold_at_far_1e-2" and its like, from numbers or from an object that has them. */
int report_add_thresholds(json_t *target, const double *values, const json_t *from);
