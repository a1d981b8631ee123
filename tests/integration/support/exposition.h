/* A strict reader of the Prometheus text format 0.0.4, for tests. */
#pragma once

#include <stddef.h>

/* Checks the whole text and fails the test where it breaks a rule: HELP and TYPE before a family's samples,
 * families in one piece and once, names and labels of allowed characters, labels quoted, no sample twice,
 * numbers, counters that end in _total and are finite and not negative, histograms with ascending bounds and
 * counts up to +Inf and _count, a newline at the end. */
void exposition_check(const char *text);
/* The value of a sample as it is written, "name" or "name{labels}"; fails the test when it is not there. */
double exposition_value(const char *text, const char *sample);
