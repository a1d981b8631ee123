/* Which faces an attack sees, how their training templates are mixed, and what its figures say about people.
 * Internal to core/attack. */
#pragma once

#include "core/attack/attack.h"
#include "core/mask/mixing.h"

/* The faces an attack works on. */
struct face_sample {
  const struct attack_faces *from;
  uint32_t *index;  /* into from */
  uint32_t *person; /* 0..people-1 */
  uint32_t count, people;
  /* Public faces that may stand in mixes, as numbers from `count`; NULL = none. They are nobody's secret:
   * what is recovered of them is no success. */
  const struct attack_faces *partners;
};

/* At most `most` faces, as many people as possible (one image of each, then a second of each ...), seeded.
 * -ENOMEM. */
int face_sample_draw(const struct attack_faces *faces, uint32_t most, uint64_t seed,
                     struct face_sample *ret_sample);
void face_sample_done(struct face_sample *sample);
static inline const uint8_t *face_sample_image(const struct face_sample *sample, uint32_t i) {
  return i < sample->count ? sample->from->image(sample->from->context, sample->index[i])
                           : sample->partners->image(sample->partners->context, i - sample->count);
}
/* Whether a mix's member is one of the sample's people, and not a public face. */
static inline bool face_sample_owns(const struct face_sample *sample, uint32_t i) {
  return i < sample->count;
}

/* A sample's faces at another size. */
struct resized_faces {
  struct face_sample sample;
  struct attack_faces faces;
  uint8_t *rgb;
  uint32_t *index;
  uint32_t *k;
  size_t bytes; /* of one */
};
/* Fills the struct in place; it must not be moved afterwards. -ENOMEM; done is due in any case. */
int resized_faces_init(struct resized_faces *resized, const struct face_sample *sample, uint32_t from,
                       uint32_t to);
void resized_faces_done(struct resized_faces *resized);

/* How training template `lead` of the sample is composed; a pure function of (seed, lead). Partners are drawn
 * from the mixing's pool, where the sample has that pool's public faces, else from the sample. */
void face_sample_mix(const struct face_sample *sample, const struct attack_mixing *mixing, uint32_t lead,
                     uint64_t seed, struct mix *ret_mix);

void mix_single(uint32_t face, struct mix *ret_mix); /* an unmixed template */
/* The templates of all faces of the sample; mixing NULL: unmixed. Returns the mean number of faces in one. */
double face_sample_compose(const struct face_sample *sample, const struct attack_mixing *mixing,
                           uint64_t seed, struct mix *ret_mixes);
/* The member with the largest lambda among those that are not public, 0..k-1. */
uint32_t mix_heaviest(const struct face_sample *sample, const struct mix *mix);

/* sum_j lambda_j template_j, as the client computes it; what a random mask draws for it belongs to the
 * `turn`, 0 for what is drawn wherever faces are attacked once. scratch: mask_scratch() floats; part:
 * mask_elements(). */
void face_sample_template(const struct face_sample *sample, const struct mask *mask, const struct mix *mix,
                          uint32_t turn, float *scratch, float *part, float *ret_template);

/* What is left of the templates sent for one recognition once the mask's decoys, which it must have, are
 * taken out. start: the draws as of mask_rng_inference; seen: (decoys' mixes, elements), spent; ret_first:
 * the first of what was sent, may be NULL. */
void decoyed_template(const struct mask *mask, const uint8_t *rgb, bool flip, const struct rng *start,
                      float *scratch, float *seen, float *ret_first, float *ret_template);

/* The undefended mask: all coefficients of the transform, fitted on the attacked faces. *ret_mask is the
 * caller's. */
int control_mask(uint32_t size, enum mask_dct dct, struct face_sample *sample, struct mask **ret_mask,
                 struct guise_error *err);

/* A seeded face of a person who is not among the mix's members; falls back to any face outside the mix, then
 * to the next face, when everybody is in it. `turn` tells several draws for one mix apart. */
uint32_t face_sample_stranger(const struct face_sample *sample, const struct mix *mix, uint32_t lead,
                              uint32_t turn, uint64_t seed);

/* Mean with its interval over people, and the mean over the tenth of people with the highest values. values:
 * one a face. share: they are of something found or not, 0..1, so that the interval of people who are all
 * alike has a width, too (bootstrap_widen). */
int people_interval(const struct face_sample *sample, const double *values, bool share, uint64_t seed,
                    struct interval *ret_interval, double *ret_worst_tenth);
double mean_of(const double *values, uint32_t count);

/* Copies rgb, (size,size,3), to panel 0, 1 or 2 of a picture's strip. */
void picture_panel(const uint8_t *rgb, uint32_t size, uint32_t panel, uint8_t *strip);

/* Drawn faces, one each of a few people, for pictures that anybody may see: whoever is erased from a data
 * set, public or not, is in none of them. */
struct shown_faces {
  struct attack_faces faces;
  struct face_sample sample;
};
/* At the mask's size. Fills the struct in place; it must not be moved afterwards. -ENOMEM; -ERANGE when the
 * size cannot be drawn (32..224); done is due on 0 alone. */
int shown_faces_init(const struct attack_context *context, struct shown_faces *shown);
void shown_faces_done(struct shown_faces *shown);
/* "A victim's", "A public", "A drawn": begins a caption. */
const char *picture_whose(const struct attack_picture *picture);

/* Sets verdict and reason from metrics, decided_by and the thresholds: "inconclusive" when a control misses
 * what it must reach; "leaks" when the deciding metric's lower bound lies above `threshold` or its worst
 * tenth above threshold_worst_tenth; "inconclusive", too, when either threshold could not be measured (NAN)
 * or the interval holds `threshold`; else "resists". */
void attack_decide(struct attack_surface_result *surface);

/* What speaks against a resistance: "resists" becomes "inconclusive", whose reason says the figure and, after
 * "but", this (without a full stop). Any other verdict stays. */
void attack_doubt(struct attack_surface_result *surface, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int attack_linear_run(const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err);
int attack_linkage_run(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err);
int attack_demix_run(const struct attack_context *context, struct attack_result *ret_result,
                     struct guise_error *err);
int attack_reconstruction_run(const struct attack_context *context, struct attack_result *ret_result,
                              struct guise_error *err);
int attack_mi_face_run(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err);
int attack_plg_mi_run(const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err);
int attack_gmi_run(const struct attack_context *context, struct attack_result *ret_result,
                   struct guise_error *err);
int attack_gradient_run(const struct attack_context *context, struct attack_result *ret_result,
                        struct guise_error *err);
int attack_membership_run(const struct attack_context *context, struct attack_result *ret_result,
                          struct guise_error *err);
