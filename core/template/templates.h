/* A data set of templates: faces that their owner has masked and mixed, as one safetensors file
 * ("guise-templates-1").
 *
 * Tensors: "label.person" (U32, N, L) and "label.weight" (F32, N, L), L = 1..6: who is in a template and with
 * which share, largest first, weights of a template adding up to 1, and behind the last one zeros;
 * "mask.channel" (U32, C), "mask.mean", "mask.deviation" (F32, C), where there are any "mask.reach" (F32, C)
 * and "mask.learnt" (F32): the mask's constants as in a model; "templates" (F32 or F16, N, C, G, G), G =
 * input / 8.
 * __metadata__ holds strings: "format", "guise", "people", "input", "mask" (mask_file_is_plain), "mask...."
 * as in a model, and of masks that mix "mix...." (core/model/mask_file.h). Nothing names a person: they are
 * numbers, 0..people-1.
 *
 * The file comes from outside. What is open has the shapes above; templates_check looks at every value.
 * Immutable once open and may be read by many threads. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"
#include "core/mask/mixing.h"
#include "core/model/mask_file.h"

#define TEMPLATES_FORMAT "guise-templates-1"
#define TEMPLATES_MEDIA_TYPE "application/vnd.guise.templates"
#define TEMPLATES_MAX (1u << 24) /* in a file */

struct templates;

/* -EBADMSG with err when it is no such file or its parts do not fit. */
int templates_open(const char *path, struct templates **ret_templates, struct guise_error *err);
struct templates *templates_free(struct templates *templates);
DEFINE_CLEANUP(struct templates *, templates_free)
/* Whether the file at `path` begins like one, so that it need not be a pack. */
bool templates_recognise(const char *path);

/* Looks at every label and value: finite, within the mask's clip, no person twice in a template, everybody in
 * some template. should_stop may be NULL. -EBADMSG; -ECANCELED; -EIO when the disk cannot read it. */
int templates_check(const struct templates *templates, bool (*should_stop)(void *context), void *context,
                    struct guise_error *err);

uint32_t templates_count(const struct templates *templates);
/* Those who are in it, as templates_labels numbers them: from 0, without gaps. */
uint32_t templates_people(const struct templates *templates);
/* People by the numbers of the file, which whoever masked them knows: of those below it some may be erased.
 */
uint32_t templates_numbers(const struct templates *templates);
uint32_t templates_number(const struct templates *templates,
                          uint32_t person); /* the file's, of who is left */
bool templates_is_erased(const struct templates *templates, uint32_t number);
/* How many templates show each; ret_shown (templates_numbers). */
void templates_count_shown(const struct templates *templates, uint32_t *ret_shown);
uint32_t templates_input(const struct templates *templates);  /* pixels of a side */
size_t templates_elements(const struct templates *templates); /* C*G*G */
const char *templates_method(const struct templates *templates);
const struct mask_constants *templates_constants(const struct templates *templates);
const struct mask_mixing *templates_mixing(const struct templates *templates);
const json_t *templates_metadata(const struct templates *templates);
const struct safetensors *templates_file(const struct templates *templates); /* lives as long */

/* ret_template (C,G,G). flip: of the mirrored faces: columns reversed, and of an odd horizontal frequency the
 * coefficient's sign turned; exact where nothing was clipped. */
void templates_get(const struct templates *templates, uint32_t i, bool flip, float *ret_template);
/* How many, at least 1; ret_label: largest weight first. Safe whatever the file holds: labels that cannot be
 * read any more are person 0, which their reader learns from a mapping_watch (core/base/mapping.h), as zeros
 * in the place of values. */
uint32_t templates_labels(const struct templates *templates, uint32_t i, struct mix_label ret_label[MIX_MAX]);

/* ---- writing ---- */

/* What is written; tensors are the caller's. */
struct templates_content {
  const json_t *metadata; /* "input", "mask", "mask....": struct plain_mask */
  const struct mask_constants *constants;
  struct mask_mixing mixing;
  uint32_t count, people, grid, labels; /* labels: L */
  const uint32_t *person;               /* (count, labels) */
  const float *weight;
  const void *values; /* (count, channels, grid, grid) floats, or halves */
  bool half;
};
/* Atomic. What it writes is what templates_open reads. */
int templates_write(const char *path, const struct templates_content *content, struct guise_error *err);

/* What is left of a file without a person. */
struct templates_rest {
  uint32_t people, templates;
  uint64_t bytes;
  char sha256[SHA256_HEX];
};
/* Writes to `to`, atomically, what `from` holds but the templates that show the person `number`; whoever no
 * template shows then is erased as well. Others keep their numbers. -ENOENT when nobody has the number;
 * -ENODATA when fewer than two people would be left, who cannot be trained on; -EBADMSG; -EIO. */
int templates_without(const char *from, uint32_t number, const char *to, struct templates_rest *ret_rest,
                      struct guise_error *err);
