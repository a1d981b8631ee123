#include "core/template/make.h"

#include <fcntl.h>
#include <limits.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/template/half.h"
#include "core/template/templates.h"

#define CHUNK 64u /* templates between two reports */

/* Samples of RNG_SHUFFLE. */
enum { ORDER_PEOPLE, ORDER_TEMPLATES };

struct making {
  const struct pack *pack;
  const struct plain_mask *mask;
  const struct templates_recipe *recipe;
  uint32_t images, count, threads;
  uint32_t *identity; /* (images) the person's number in the file */
  uint32_t *number;   /* (people of the pack) */
  uint32_t *lead;     /* (count) template i is made for mix lead[i] / images of image lead[i] % images */
  uint32_t *person;   /* (count, MIX_MAX) */
  float *weight;
  float *scratch; /* (threads, scratch + 2 elements) */
  uint8_t *values;
  size_t bytes; /* of values */
};

/* A file without a name: the pages of many templates need not stay in memory. */
static int map_values(struct making *m, const char *beside, struct guise_error *err) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s.values-XXXXXX", beside) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", beside);
  _cleanup_(closep) int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return error_set(err, -errno, "cannot create %s: %s", path, strerror(errno));
  (void)unlink(path);
  int r = posix_fallocate(fd, 0, (off_t)m->bytes); /* or a full disk would end the program in a signal */
  if (r != 0)
    return error_set(err, -r, "no room for %u templates of %zu bytes beside %s: %s", m->count,
                     m->bytes / m->count, beside, strerror(r));
  void *map = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED)
    return error_set(err, -errno, "cannot map the templates: %s", strerror(errno));
  m->values = map;
  return 0;
}

static void making_done(struct making *m) {
  free(m->identity);
  free(m->number);
  free(m->lead);
  free(m->person);
  free(m->weight);
  free(m->scratch);
  if (m->values)
    (void)munmap(m->values, m->bytes);
}

static int allocate(struct making *m, const char *path, struct guise_error *err) {
  const size_t elements = plain_mask_elements(m->mask), count = m->count;
  m->bytes = count * elements * (m->recipe->half ? sizeof(uint16_t) : sizeof(float));
  m->identity = malloc(m->images * sizeof(*m->identity));
  m->number = malloc(pack_identities(m->pack) * sizeof(*m->number));
  m->lead = malloc(count * sizeof(*m->lead));
  m->person = calloc(count * MIX_MAX, sizeof(*m->person));
  m->weight = calloc(count * MIX_MAX, sizeof(*m->weight));
  m->scratch = malloc(m->threads * (plain_mask_scratch(m->mask) + 2 * elements) * sizeof(float));
  if (!m->identity || !m->number || !m->lead || !m->person || !m->weight || !m->scratch)
    return error_set(err, -ENOMEM, "out of memory for %u templates", m->count);
  return map_values(m, path, err);
}

/* Neither the order of names nor that of the images is in the file. */
static void shuffle(struct making *m) {
  struct rng rng;
  rng_init(&rng, m->recipe->seed, RNG_SHUFFLE, 0, ORDER_PEOPLE);
  rng_permutation(&rng, m->number, pack_identities(m->pack));
  for (uint32_t i = 0; i < m->images; i++)
    m->identity[i] = m->number[pack_identity_of(m->pack, i)];
  rng_init(&rng, m->recipe->seed, RNG_SHUFFLE, 0, ORDER_TEMPLATES);
  rng_permutation(&rng, m->lead, m->count);
}

/* Who stays unmixed is a matter of people, who are numbered in an order that was drawn: the others lead no
 * unmixed template. Partners come from both. */
static uint32_t draw_k(const struct making *m, uint32_t image, struct rng *rng) {
  const struct mask_mixing *mixing = &m->recipe->mixing;
  const float place = ((float)m->identity[image] + 0.5f) / (float)pack_identities(m->pack);
  if (!mixing->mixes || place < mixing->unmixed)
    return 1;
  const uint32_t most = mixing->protection.alone ? MIX_MAX : MIN(m->images, (uint32_t)MIX_MAX);
  float left = rng_uniform(rng);
  uint32_t k = MIX_MAX;
  for (uint32_t at = 2; at <= MIX_MAX; at++) {
    left -= mixing->probability[at];
    if (left < 0) {
      k = at;
      break;
    }
  }
  while (k > 2 && mixing->probability[k] <= 0) /* rounding has gone past the last share */
    k--;
  return MIN(k, most);
}

static void compose(const struct making *m, uint32_t lead, struct mix *ret_mix) {
  const struct mix_protection *protection = &m->recipe->mixing.protection;
  float lambda[MIX_MAX];
  struct rng rng;
  rng_init(&rng, m->recipe->seed, RNG_MIX, lead / m->images, lead % m->images);
  const uint32_t drawn = draw_k(m, lead % m->images, &rng), k = mix_size(protection, drawn);
  if (k == 2 && m->recipe->mixing.beta)
    mix_draw_beta(&rng, MIX_ALPHA, lambda);
  else
    mix_draw_lambdas(&rng, k, lambda);
  mix_compose(&rng, lead % m->images, k, lambda, m->identity, m->images, ret_mix);
  ret_mix->drop = mix_drop(protection, drawn);
}

static void make_one(struct making *m, uint32_t i, float *scratch) {
  const size_t elements = plain_mask_elements(m->mask);
  float *mixed = scratch + plain_mask_scratch(m->mask), *part = mixed + elements;
  struct mix mix;
  compose(m, m->lead[i], &mix);
  for (uint32_t j = 0; j < mix.k; j++) {
    float *to = j == 0 ? mixed : part;
    plain_mask_template(m->mask, pack_image(m->pack, mix.member[j]), scratch, to);
    if (mix.k > 1)
      for (size_t e = 0; e < elements; e++)
        mixed[e] = j == 0 ? mix.lambda[0] * mixed[e] : mixed[e] + mix.lambda[j] * part[e];
  }
  mix_lower(m->mask->constants.channel, m->mask->constants.channels, (size_t)m->mask->grid * m->mask->grid,
            mix.drop, mixed);
  for (uint32_t j = 0; j < mix.labels; j++) {
    m->person[(size_t)i * MIX_MAX + j] = mix.label[j].identity;
    m->weight[(size_t)i * MIX_MAX + j] = mix.label[j].weight;
  }
  if (!m->recipe->half) {
    memcpy((float *)(void *)m->values + i * elements, mixed, elements * sizeof(float));
    return;
  }
  uint16_t *halves = (uint16_t *)(void *)m->values + i * elements;
  for (size_t e = 0; e < elements; e++)
    halves[e] = half_from_float(mixed[e]);
}

static int check(const struct making *m, struct guise_error *err) {
  if (pack_size(m->pack) != m->mask->size)
    return error_set(err, -EINVAL, "the faces are of %u pixels, the model's of %u", pack_size(m->pack),
                     m->mask->size);
  if (m->recipe->mixes < 1 || m->recipe->mixes > TEMPLATES_MIXES_MAX)
    return error_set(err, -EINVAL, "1 to %u templates a face are possible", TEMPLATES_MIXES_MAX);
  if ((uint64_t)m->images * m->recipe->mixes > TEMPLATES_MAX)
    return error_set(err, -EINVAL, "%u images make more than %u templates: mask fewer at a time", m->images,
                     TEMPLATES_MAX);
  const struct mask_mixing *mixing = &m->recipe->mixing;
  if (mixing->mixes && mixing->unmixed < 1 && !mixing->protection.alone && m->images < 2)
    return error_set(err, -EINVAL, "one image has no other to be mixed with: give more");
  return 0;
}

int templates_make(const struct pack *pack, const struct plain_mask *mask,
                   const struct templates_recipe *recipe, const char *path, uint32_t *ret_person,
                   bool (*go_on)(void *context, double done), void *context, struct guise_error *err) {
  struct making m = {.pack = pack,
                     .mask = mask,
                     .recipe = recipe,
                     .images = pack_images(pack),
                     .count = pack_images(pack) * recipe->mixes,
                     .threads = (uint32_t)omp_get_max_threads()};
  const size_t stride = plain_mask_scratch(mask) + 2 * plain_mask_elements(mask);
  int r = check(&m, err);
  if (r == 0)
    r = allocate(&m, path, err);
  if (r == 0) {
    shuffle(&m);
    for (uint32_t first = 0; first < m.count && r == 0; first += CHUNK) {
#pragma omp parallel for schedule(static)
      for (uint32_t i = first; i < MIN(first + CHUNK, m.count); i++)
        make_one(&m, i, m.scratch + (size_t)omp_get_thread_num() * stride);
      if (go_on && !go_on(context, (double)MIN(first + CHUNK, m.count) / m.count))
        r = error_set(err, -ECANCELED, "masking was stopped");
    }
  }
  if (r == 0) {
    const struct templates_content content = {.metadata = mask->metadata,
                                              .constants = &mask->constants,
                                              .mixing = recipe->mixing,
                                              .count = m.count,
                                              .people = pack_identities(pack),
                                              .grid = mask->grid,
                                              .labels = MIX_MAX,
                                              .person = m.person,
                                              .weight = m.weight,
                                              .values = m.values,
                                              .half = recipe->half};
    r = templates_write(path, &content, err);
  }
  if (r == 0 && ret_person)
    memcpy(ret_person, m.number, pack_identities(pack) * sizeof(*ret_person));
  making_done(&m);
  return r;
}
