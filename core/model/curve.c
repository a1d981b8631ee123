#include "core/model/curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

void curve_add(double curve[CURVE_POINTS], double begun, double done, double accuracy) {
  for (int i = 0; i < CURVE_POINTS; i++) {
    const double point = (double)(i + 1) / CURVE_POINTS - 1e-9;
    if (point > begun && point <= done)
      curve[i] = accuracy;
  }
}

bool curve_fill(double curve[CURVE_POINTS]) {
  int known = 0, before = -1;
  for (int i = 0; i < CURVE_POINTS; i++)
    known += curve[i] > 0;
  if (known < CURVE_KNOWN || curve[CURVE_POINTS - 1] <= 0)
    return false;
  for (int i = 0; i < CURVE_POINTS; i++) {
    if (curve[i] <= 0)
      continue;
    for (int gap = before + 1; gap < i; gap++)
      curve[gap] =
          before < 0 ? curve[i] : curve[before] + (curve[i] - curve[before]) * (gap - before) / (i - before);
    before = i;
  }
  return true;
}

double curve_at(const double curve[CURVE_POINTS], double done) {
  const double at = MIN(MAX(done * CURVE_POINTS - 1, 0.0), CURVE_POINTS - 1.0);
  const int low = (int)at, high = MIN(low + 1, CURVE_POINTS - 1);
  if (curve[low] <= 0 || curve[high] <= 0)
    return NAN;
  return curve[low] + (at - low) * (curve[high] - curve[low]);
}

void curve_text(const double curve[CURVE_POINTS], char ret_text[CURVE_TEXT]) {
  size_t at = 0;
  bool any = false;
  for (int i = 0; i < CURVE_POINTS; i++) {
    any |= curve[i] > 0;
    at += (size_t)snprintf(ret_text + at, CURVE_TEXT - at, "%s%.5f", i ? " " : "",
                           MIN(MAX(curve[i], 0.0), 1.0));
  }
  if (!any)
    ret_text[0] = 0;
}

bool curve_parse(const char *text, double ret_curve[CURVE_POINTS]) {
  double curve[CURVE_POINTS];
  memset(ret_curve, 0, sizeof(curve));
  for (int i = 0; i < CURVE_POINTS; i++) {
    char *end = NULL;
    curve[i] = strtod(text, &end);
    if (end == text || !(curve[i] >= 0 && curve[i] <= 1))
      return false;
    text = end;
  }
  if (*text)
    return false;
  memcpy(ret_curve, curve, sizeof(curve));
  return true;
}
