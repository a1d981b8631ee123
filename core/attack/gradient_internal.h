/* What gradient.c, which searches, and gradient_report.c share. */
#pragma once

#include "core/attack/faces.h"
#include "core/attack/gradient.h"
#include "core/attack/recover.h"
#include "core/model/model.h"

#define LOOK_BATCH 32u /* of the model, to read its weights, and of the teacher */

struct assault {
  const struct attack_context *context;
  const struct gradient_budget *budget;
  struct model *model;
  const char *path;          /* its file */
  struct attack_loss loss;   /* of whoever shares */
  uint32_t size;             /* of its faces, pixels */
  bool foreign;              /* the mask is not the model's own */
  struct face_sample known;  /* behind the class rows */
  struct face_sample sample; /* what is attacked: the first of them */
};

/* Figures of a face. */
enum figure { SSIM, PSNR, COSINE, LABEL, SSIM_TEMPLATE, FIGURES };

/* What was found on one kind of gradients. */
struct found {
  struct mix *mixes;                        /* (faces) */
  double *value[FIGURES], *chance[FIGURES]; /* (faces) */
  uint8_t *pictures, *seen;                 /* (faces, size, size, 3): from the gradient, from the template */
  double mean_k;
  uint32_t size; /* of the pictures */
};

static inline int gradient_out_of_memory(const struct assault *assault, struct guise_error *err) {
  return error_set(err, -ENOMEM, "out of memory attacking the gradients of %u faces", assault->sample.count);
}

/* gradient_report.c: the surface, from what was found on the gradients and on those of the control; decided
 * by the teacher, where there is one. */
int gradient_write_surface(const struct assault *assault, const struct found *attack,
                           const struct found *control, struct attack_result *result,
                           struct guise_error *err);
