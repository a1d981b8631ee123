/* How often what an attacker made of a template, an embedding, is linked to photographs of the person. A mix
 * counts as the face with the largest share. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"
#include "core/metric/match.h"

/* Which photographs belong to a template. */
enum relation {
  ACROSS_IMAGES, /* other photographs of the person */
  SAME_IMAGE,    /* the photograph the template was made of */
  ANYONE,        /* other photographs of anybody in the mix */
  RELATIONS
};

struct figures {
  struct match_result result;
  double chance[MATCH_FIGURES], chance_worst_tenth[MATCH_FIGURES];
  double chance_worst_high[MATCH_FIGURES]; /* 97.5 % of chance's worst tenths lie below */
};

/* Who is linked with whom. Template i shows what mixes[i] says, and made row i was made of it; photograph j
 * is face j of the sample. Both are (sample->count, dimension) of length 1. */
struct identify_input {
  const struct face_sample *sample;
  const struct mix *mixes;
  const float *made, *photographs;
  uint32_t dimension;
  const struct attack_context *context; /* its seed, and whom to ask whether to stop */
  bool chance;                          /* also the figures of chance */
};

/* 0, -ECANCELED or -ENOMEM. Deterministic for any number of threads. */
int identify(const struct identify_input *input, struct figures ret_figures[RELATIONS],
             struct guise_error *err);

/* One attack's figures beside its control's and those of photographs themselves. */
struct identification {
  struct figures attack[RELATIONS], control[RELATIONS], ceiling[RELATIONS];
  double mean_k;
};

struct identify_row {
  enum relation relation;
  enum match_figure figure;
  const char *name, *description;
};

/* The report's metric of a row; its control need not reach anything. */
void identify_metric(const struct identify_row *row, const struct identification *identification,
                     struct attack_metric *ret_metric);
/* Whether anybody can be linked across images; if not, the own photograph must decide. */
bool identify_across(const struct identification *identification);
/* Sets the surface's verdict by TAR at FAR 1e-2 of `relation`, which is surface->metric[metric]. The control
 * must reach a tenth and `of_ceiling` of what photographs themselves reach. */
void identify_decide(const struct identification *identification, enum relation relation, uint32_t metric,
                     double of_ceiling, struct attack_surface_result *surface);
