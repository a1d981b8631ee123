#include "core/attack/victims.h"

#include <string.h>

#include "core/base/philox.h"

#define DRAW_PEOPLE \
  ((1ull << 34) + 1) /* sequence of RNG_ATTACK, beyond those of faces.c, lessons.c, identify.c */

static const uint8_t *chosen_image(void *context, uint32_t i) {
  const struct victims *victims = context;
  return victims->from->image(victims->from->context, victims->index[i]);
}

struct entry {
  uint32_t identity, face;
};

static int by_identity(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->identity != y->identity)
    return x->identity < y->identity ? -1 : 1;
  return (x->face > y->face) - (x->face < y->face);
}

/* Appends the faces of people with at least `least` of them. Returns how many people. */
static uint32_t choose_with(struct victims *victims, const struct entry *entries, uint32_t least) {
  uint32_t people = 0;
  victims->count = 0;
  for (uint32_t i = 0, end; i < victims->from->count; i = end) {
    for (end = i; end < victims->from->count && entries[end].identity == entries[i].identity;)
      end++;
    if (end - i < least)
      continue;
    people++;
    for (uint32_t k = i; k < end; k++) {
      victims->index[victims->count] = entries[k].face;
      if (victims->k)
        victims->k[victims->count] = victims->from->k[entries[k].face];
      victims->identity[victims->count++] = entries[k].identity;
    }
  }
  return people;
}

/* Keeps `most` of `people` people, drawn. */
static int keep_people(struct victims *victims, uint32_t people, uint32_t most, uint64_t seed) {
  if (people <= most)
    return 0;
  _cleanup_(freep) uint32_t *order = calloc(people, sizeof(*order));
  if (!order)
    return -ENOMEM;
  struct rng rng;
  uint32_t kept = 0, person = 0, identity = victims->identity[0];
  rng_init(&rng, seed, RNG_ATTACK, DRAW_PEOPLE, 0);
  rng_permutation(&rng, order, people);
  for (uint32_t i = 0; i < victims->count; i++) {
    person += victims->identity[i] != identity;
    identity = victims->identity[i];
    if (order[person] >= most)
      continue;
    victims->index[kept] = victims->index[i];
    if (victims->k)
      victims->k[kept] = victims->k[i];
    victims->identity[kept++] = identity;
  }
  victims->count = kept;
  return 0;
}

/* The others are left out, so that figures across images and of the same image speak of the same people. */
static int choose(struct victims *victims, uint32_t most, uint64_t seed) {
  const struct attack_faces *faces = victims->from;
  _cleanup_(freep) struct entry *entries = calloc(faces->count, sizeof(*entries));
  victims->index = calloc(faces->count, sizeof(*victims->index));
  victims->identity = calloc(faces->count, sizeof(*victims->identity));
  if (faces->k)
    victims->k = calloc(faces->count, sizeof(*victims->k));
  if (!entries || !victims->index || !victims->identity || (faces->k && !victims->k))
    return -ENOMEM;
  for (uint32_t i = 0; i < faces->count; i++)
    entries[i] = (struct entry){faces->identity[i], i};
  qsort(entries, faces->count, sizeof(*entries), by_identity);
  uint32_t least = 2, people = choose_with(victims, entries, least);
  if (people < 2)
    people = choose_with(victims, entries, least = 1);
  return keep_people(victims, people, MAX(most / least, 2u), seed);
}

int victims_choose(const struct attack_faces *faces, uint32_t most, uint64_t seed,
                   struct victims *ret_victims, struct guise_error *err) {
  struct victims *victims = ret_victims;
  *victims = (struct victims){.from = faces};
  int r = choose(victims, most, seed);
  victims->chosen =
      (struct attack_faces){chosen_image, victims, victims->identity, victims->count, victims->k};
  if (r == 0)
    r = face_sample_draw(&victims->chosen, most, seed, &victims->sample);
  if (r < 0)
    victims_done(victims);
  return r < 0 ? error_set(err, r, "out of memory choosing faces to attack") : 0;
}

void victims_done(struct victims *victims) {
  face_sample_done(&victims->sample);
  free(victims->index);
  free(victims->identity);
  free(victims->k);
  memset(victims, 0, sizeof(*victims));
}
