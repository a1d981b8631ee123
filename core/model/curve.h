/* How accuracy grew over a training, as a few numbers that fit into a model's metadata: point i is the
 * accuracy at the end of the first epoch by which (i + 1) / CURVE_POINTS of the training was done, 0 where
 * that was not verified. A later job compares itself with a reference at the same stage. */
#pragma once

#include <stdbool.h>

#define CURVE_POINTS 16

/* Sets the points that the epoch has reached: `begun` of the training was done when it began, `done` (0..1)
 * is now. */
void curve_add(double curve[CURVE_POINTS], double begun, double done, double accuracy);
/* Linear over the points that are not known, the first known one before it. False, and as it was, if the last
 * point or all but CURVE_KNOWN - 1 are not known. */
#define CURVE_KNOWN 4
bool curve_fill(double curve[CURVE_POINTS]);
/* Linear between the points, the first point before it; NAN when a point that is needed is not known. */
double curve_at(const double curve[CURVE_POINTS], double done);
/* "0.7012 0.7433 ..."; "" for a curve without points. Text: 16 characters a point. */
#define CURVE_TEXT (16 * CURVE_POINTS)
void curve_text(const double curve[CURVE_POINTS], char ret_text[CURVE_TEXT]);
/* Untrusted text. False, and all 0, when it is no curve: CURVE_POINTS numbers from 0 to 1. */
bool curve_parse(const char *text, double ret_curve[CURVE_POINTS]);
