/* The figures of the paper on template mixing, to compare with it: how far what can be seen of a face is from
 * the face. They are no measure of privacy (a picture may be unlike a face and tell whose it is), and no
 * verdict rests on them. Internal to core/attack. */
#pragma once

#include "core/attack/student.h"

struct paper_input {
  struct model *teacher; /* F1 */
  const struct face_sample *victims;
  const struct mix *mixes;    /* (victims): a mix counts as the face with the largest share */
  const float *photographs;   /* (victims, embedding) F1(x), each of length 1 */
  const uint8_t *pictures[2]; /* (victims, size, size, 3): what the public inverse shows, what was drawn */
  uint32_t size;
  const struct lessons_options *options;
};

/* S1 = 1 - SSIM(x, view), S2 = 1 - cos(F1(x), F1(view)), S3 and S4 the same of what was drawn; means over the
 * victims. 0, -ECANCELED, -ENOMEM. */
int paper_scores(const struct paper_input *input, double ret_scores[PAPER_SCORES], struct guise_error *err);
