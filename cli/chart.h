/* Charts as self-contained SVG: no script, no network, no font of its own; colours for light and dark by
 * prefers-color-scheme. A file is a stack of panels, each with axes, ticks, labels and a legend. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/base/base.h"

enum chart_kind {
  CHART_LINES,  /* a line a series; y_low..y_high as a band behind it */
  CHART_POINTS, /* a mark a point with error bars */
  CHART_STACK,  /* areas on top of each other: every series has the same x */
  CHART_BARS,   /* a bar a point, one series */
};

struct chart_point {
  double x, y;                         /* a point with a NAN is not drawn, and parts a line */
  double x_low, x_high, y_low, y_high; /* error bars or band; NAN = none */
};
#define CHART_POINT(x, y) ((struct chart_point){(x), (y), NAN, NAN, NAN, NAN})

struct chart_series {
  const char *name;
  const struct chart_point *point;
  uint32_t count;
};

struct chart {
  enum chart_kind kind;
  bool ordered; /* series are steps of one quantity: a ramp of one hue instead of different ones */
  bool whole_x; /* x counts something: no ticks between whole numbers */
  const char *title, *x_title, *y_title;
  const struct chart_series *series;
  uint32_t count;
};

/* Texts may be any UTF-8. Free *ret_svg. -ENOMEM. */
int chart_svg(const struct chart *panels, uint32_t count, char **ret_svg);

/* The step of about `wanted` ticks over the range: 1, 2 or 5 times a power of ten. > 0 for a range > 0. */
double chart_step(double range, unsigned wanted);
