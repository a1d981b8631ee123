/* Victims who can be linked across photographs: people with at least two of them, where there are two such
 * people. Internal to core/attack. */
#pragma once

#include "core/attack/faces.h"

struct victims {
  const struct attack_faces *from;
  uint32_t *index, *identity; /* into from */
  uint32_t *k;                /* as the faces'; NULL = not known */
  uint32_t count;
  struct attack_faces chosen; /* these, as faces; its context is this struct */
  struct face_sample sample;  /* what is attacked: at most `most` of them */
};

/* Fills the struct in place; it must not be moved afterwards. As many people as possible, then more images of
 * each. -ENOMEM. */
int victims_choose(const struct attack_faces *faces, uint32_t most, uint64_t seed,
                   struct victims *ret_victims, struct guise_error *err);
void victims_done(struct victims *victims); /* also of a struct of zeros */
