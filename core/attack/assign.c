#include <math.h>

#include "core/attack/key.h"

/* Row and column 0 stand for "none": rows and columns count from 1. */
struct tableau {
  uint32_t n;
  const double *cost;
  double *row, *column, *slack; /* potentials of rows and columns; least reduced cost seen of each column */
  uint32_t *owner, *before;     /* the column's row; the column before it on the path */
  bool *used;
};

/* One Dijkstra-like step from column `at`: the next column of the shortest path. */
static uint32_t advance(struct tableau *t, uint32_t at) {
  const uint32_t row = t->owner[at];
  uint32_t next = 0;
  double least = INFINITY;
  t->used[at] = true;
  for (uint32_t j = 1; j <= t->n; j++) {
    if (t->used[j])
      continue;
    const double reduced = t->cost[(size_t)(row - 1) * t->n + j - 1] - t->row[row] - t->column[j];
    if (reduced < t->slack[j]) {
      t->slack[j] = reduced;
      t->before[j] = at;
    }
    if (t->slack[j] < least) {
      least = t->slack[j];
      next = j;
    }
  }
  for (uint32_t j = 0; j <= t->n; j++)
    if (t->used[j]) {
      t->row[t->owner[j]] += least;
      t->column[j] -= least;
    } else {
      t->slack[j] -= least;
    }
  return next;
}

static void augment(struct tableau *t, uint32_t row) {
  uint32_t at = 0;
  t->owner[0] = row;
  for (uint32_t j = 0; j <= t->n; j++) {
    t->slack[j] = INFINITY;
    t->used[j] = false;
  }
  do
    at = advance(t, at);
  while (t->owner[at] != 0);
  for (; at != 0; at = t->before[at])
    t->owner[at] = t->owner[t->before[at]];
}

int assign(uint32_t n, const double *cost, uint32_t *ret_column) {
  const size_t places = (size_t)n + 1;
  _cleanup_(freep) double *numbers = calloc(3 * places, sizeof(*numbers));
  _cleanup_(freep) uint32_t *indices = calloc(2 * places, sizeof(*indices));
  _cleanup_(freep) bool *used = calloc(places, sizeof(*used));
  if (!numbers || !indices || !used)
    return -ENOMEM;
  struct tableau t = {.n = n,
                      .cost = cost,
                      .row = numbers,
                      .column = numbers + places,
                      .slack = numbers + 2 * places,
                      .owner = indices,
                      .before = indices + places,
                      .used = used};
  for (uint32_t row = 1; row <= n; row++)
    augment(&t, row);
  for (uint32_t j = 1; j <= n; j++)
    ret_column[t.owner[j] - 1] = j - 1;
  return 0;
}
