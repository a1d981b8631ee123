/* Parts of report.html. */
#pragma once

#include <jansson.h>

#include "core/model/text.h"

/* The CSS class of a verdict; anything unknown is open. */
const char *report_html_verdict(const char *verdict);

/* Each attack with its pictures, the audits, and what was not attacked. private_pictures: NULL = without
 * them. */
void report_html_attacks(struct text *html, const json_t *report, const json_t *private_pictures);

/* The paper's scores, in a section of their own; nothing where none was measured. */
void report_html_paper(struct text *html, const json_t *report);

/* The figures that decide, drawn: a plot for each surface that was attacked; nothing where none was. */
void report_html_plots(struct text *html, const json_t *report);
extern const char report_html_plots_style[];
