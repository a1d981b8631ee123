#include "core/attack/key.h"

#include <math.h>
#include <string.h>

#include "core/base/memory.h"

#define CELLS_MAX 512u      /* of a template, evenly spaced: more say little about channels */
#define ROUNDS 8u           /* of matching by correlations */
#define VARIANCE_FLOOR 1e-6 /* of standardised values */
#define DEPENDENT_CELLS 4.0 /* neighbours are alike: so many of them count as one */

/* Sums over templates, of the cells that are looked at. */
struct moments {
  uint32_t channels, cells, step, faces;
  double *mean, *variance; /* (channels, cells); sums until finished */
  double *correlation;     /* (channels, channels) between channels, of what differs from the mean face */
};

static int moments_init(const struct mask *mask, struct moments *m) {
  const uint32_t all = mask_grid(mask) * mask_grid(mask);
  *m = (struct moments){.channels = mask_channels(mask), .step = (all + CELLS_MAX - 1) / CELLS_MAX};
  m->cells = all / m->step;
  m->mean = calloc((size_t)m->channels * m->cells, sizeof(double));
  m->variance = calloc((size_t)m->channels * m->cells, sizeof(double));
  m->correlation = calloc((size_t)m->channels * m->channels, sizeof(double));
  return m->mean && m->variance && m->correlation ? 0 : -ENOMEM;
}

static void moments_done(struct moments *m) {
  free(m->mean);
  free(m->variance);
  free(m->correlation);
}

/* Products of channels of two templates over the cells that are looked at, added to sums (channels,
 * channels). */
static void add_products(const struct moments *m, size_t all, const float *a, const float *b, double *sums) {
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < m->channels; i++)
    for (uint32_t j = 0; j < m->channels; j++) {
      double sum = 0;
      for (uint32_t cell = 0; cell < m->cells; cell++)
        sum += (double)a[i * all + cell * m->step] * (double)b[j * all + cell * m->step];
      sums[(size_t)i * m->channels + j] += sum;
    }
}

static void moments_add(struct moments *m, size_t all, const float *template_) {
  for (uint32_t i = 0; i < m->channels; i++)
    for (uint32_t cell = 0; cell < m->cells; cell++) {
      const double value = (double)template_[i * all + cell * m->step];
      m->mean[(size_t)i * m->cells + cell] += value;
      m->variance[(size_t)i * m->cells + cell] += value * value;
    }
  add_products(m, all, template_, template_, m->correlation);
  m->faces++;
}

static void moments_finish(struct moments *m) {
  const double faces = m->faces;
  for (size_t i = 0; i < (size_t)m->channels * m->cells; i++) {
    m->mean[i] /= faces;
    m->variance[i] = fmax(m->variance[i] / faces - m->mean[i] * m->mean[i], VARIANCE_FLOOR);
  }
  double deviation[MASK_CHANNELS_MAX];
  for (uint32_t i = 0; i < m->channels; i++)
    for (uint32_t j = 0; j < m->channels; j++) {
      double *sum = &m->correlation[(size_t)i * m->channels + j];
      for (uint32_t cell = 0; cell < m->cells; cell++)
        *sum -= faces * m->mean[(size_t)i * m->cells + cell] * m->mean[(size_t)j * m->cells + cell];
    }
  for (uint32_t i = 0; i < m->channels; i++)
    deviation[i] = sqrt(fmax(m->correlation[(size_t)i * m->channels + i], VARIANCE_FLOOR));
  for (uint32_t i = 0; i < m->channels; i++)
    for (uint32_t j = 0; j < m->channels; j++)
      m->correlation[(size_t)i * m->channels + j] /= deviation[i] * deviation[j];
}

/* ---- matching ---- */

struct matching {
  const struct moments *seen, *own; /* of places, of channels */
  uint32_t channels;
  double *first[2]; /* (places, channels) costs by mean and variance: of the sign +, of - */
  double *cost;     /* (places, channels) of the better sign */
  bool *negative;   /* (places, channels) which that is */
  uint32_t *channel;
};

static void matching_done(struct matching *match) {
  free(match->first[0]);
  free(match->first[1]);
  free(match->cost);
  free(match->negative);
  free(match->channel);
}

static int matching_init(const struct moments *seen, const struct moments *own, uint32_t channels,
                         struct matching *match) {
  const size_t pairs = (size_t)channels * channels;
  *match = (struct matching){.seen = seen, .own = own, .channels = channels};
  match->first[0] = calloc(pairs, sizeof(double));
  match->first[1] = calloc(pairs, sizeof(double));
  match->cost = calloc(pairs, sizeof(double));
  match->negative = calloc(pairs, sizeof(bool));
  match->channel = calloc(channels, sizeof(*match->channel));
  return match->first[0] && match->first[1] && match->cost && match->negative && match->channel ? 0 : -ENOMEM;
}

static double mean_log_variance(const struct moments *m) {
  const size_t n = (size_t)m->channels * m->cells;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += log(m->variance[i]);
  return sum / (double)n;
}

/* Squared distances of a place's and a channel's maps, in units of their sampling errors. A mix has the mean
 * of faces and less than their variance: by how much is the same for all channels, and is taken out. */
static void match_maps(struct matching *match) {
  const struct moments *seen = match->seen, *own = match->own;
  const uint32_t cells = seen->cells, channels = match->channels;
  const double shift = mean_log_variance(seen) - mean_log_variance(own),
               log_error = 2.0 / seen->faces + 2.0 / own->faces;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < channels; i++)
    for (uint32_t j = 0; j < channels; j++) {
      double plus = 0, minus = 0, spread = 0;
      for (uint32_t cell = 0; cell < cells; cell++) {
        const size_t a = (size_t)i * cells + cell, b = (size_t)j * cells + cell;
        const double error = seen->variance[a] / seen->faces + own->variance[b] / own->faces,
                     ratio = log(seen->variance[a]) - log(own->variance[b]) - shift;
        plus += (seen->mean[a] - own->mean[b]) * (seen->mean[a] - own->mean[b]) / error;
        minus += (seen->mean[a] + own->mean[b]) * (seen->mean[a] + own->mean[b]) / error;
        spread += ratio * ratio / log_error;
      }
      match->first[0][(size_t)i * channels + j] = (plus + spread) / DEPENDENT_CELLS;
      match->first[1][(size_t)i * channels + j] = (minus + spread) / DEPENDENT_CELLS;
    }
}

/* For every place and channel the better sign; `weight` of how well correlations with all other places fit
 * those that the present matching makes of them, 0: not at all. */
static void choose_signs(struct matching *match, const struct mask_order *now, double weight) {
  const uint32_t channels = match->channels;
#pragma omp parallel for schedule(static)
  for (uint32_t i = 0; i < channels; i++)
    for (uint32_t j = 0; j < channels; j++) {
      const double *a = match->seen->correlation + (size_t)i * channels,
                   *b = match->own->correlation + (size_t)j * channels;
      double squares = 0, products = 0;
      for (uint32_t k = 0; weight > 0 && k < channels; k++)
        if (k != i) {
          const double other = now->negative[k] ? -a[k] : a[k], mine = b[now->channel[k]];
          squares += other * other + mine * mine;
          products += other * mine;
        }
      const size_t at = (size_t)i * channels + j;
      const double plus = match->first[0][at] + weight * (squares - 2 * products),
                   minus = match->first[1][at] + weight * (squares + 2 * products);
      match->cost[at] = fmin(plus, minus);
      match->negative[at] = minus < plus;
    }
}

static int take_order(struct matching *match, struct mask_order *ret_order) {
  int r = assign(match->channels, match->cost, match->channel);
  for (uint32_t i = 0; i < match->channels && r == 0; i++) {
    ret_order->channel[i] = (uint16_t)match->channel[i];
    ret_order->negative[i] = match->negative[(size_t)i * match->channels + match->channel[i]];
  }
  return r;
}

static int match_statistics(const struct attack_context *context, const struct moments *seen,
                            const struct moments *own, struct mask_order *ret_order) {
  struct matching match;
  const double faces = 1 / (1.0 / seen->faces + 1.0 / own->faces);
  int r = matching_init(seen, own, seen->channels, &match);
  if (r == 0) {
    match_maps(&match);
    choose_signs(&match, NULL, 0);
    r = take_order(&match, ret_order);
  }
  for (uint32_t round = 0; round < ROUNDS && r == 0; round++) {
    choose_signs(&match, ret_order, faces * seen->cells / DEPENDENT_CELLS);
    r = attack_stop_code(context, NULL);
    if (r == 0)
      r = take_order(&match, ret_order);
  }
  matching_done(&match);
  return r;
}

/* ---- guesses ---- */

int key_ignored(const struct mask *mask, struct mask **ret_mask, struct guise_error *err) {
  struct mask *plain = NULL;
  int r = mask_new(mask_options(mask), &plain, err);
  if (r == 0)
    r = mask_set_constants(plain, mask_constants(mask), err);
  if (r < 0)
    mask_free(plain);
  else
    *ret_mask = plain;
  return r;
}

void key_guess_done(struct key_guess *guess) {
  mask_free(guess->mask);
  guess->mask = NULL;
}

static double share_found(const struct mask_order *guess, const struct mask_order *truth, uint32_t channels) {
  uint32_t right = 0;
  for (uint32_t i = 0; i < channels; i++)
    right += guess->channel[i] == truth->channel[i] && guess->negative[i] == truth->negative[i];
  return (double)right / channels;
}

/* The people of even or of odd number. */
static int half_of(const struct face_sample *sample, uint32_t odd, struct face_sample *ret_half) {
  struct face_sample half = *sample;
  half.index = calloc(sample->count, sizeof(*half.index));
  half.person = calloc(sample->count, sizeof(*half.person));
  half.count = 0;
  half.people = (sample->people + !odd) / 2;
  for (uint32_t i = 0; i < sample->count && half.index && half.person; i++)
    if (sample->person[i] % 2 == odd) {
      half.index[half.count] = sample->index[i];
      half.person[half.count++] = sample->person[i] / 2;
    }
  *ret_half = half;
  return half.index && half.person ? 0 : -ENOMEM;
}

/* Memory for making templates. */
struct maker {
  float *scratch, *part, *template_;
};

static int maker_init(const struct mask *mask, struct maker *maker) {
  const size_t elements = mask_elements(mask) * sizeof(float);
  *maker = (struct maker){tensor_alloc(mask_scratch(mask) * sizeof(float)), tensor_alloc(elements),
                          tensor_alloc(elements)};
  return maker->scratch && maker->part && maker->template_ ? 0 : -ENOMEM;
}

static void maker_done(struct maker *maker) {
  tensor_free(maker->scratch);
  tensor_free(maker->part);
  tensor_free(maker->template_);
}

/* The templates of the store or the wire, under the key. */
static int look(const struct attack_context *context, const struct face_sample *sample,
                const struct attack_mixing *mixing, struct maker *maker, struct moments *seen) {
  const size_t cells = (size_t)mask_grid(context->mask) * mask_grid(context->mask);
  for (uint32_t i = 0; i < sample->count; i++) {
    struct mix mix;
    if (attack_stop_code(context, NULL) < 0)
      return -ECANCELED;
    if (mixing)
      face_sample_mix(sample, mixing, i, context->seed, &mix);
    else
      mix_single(i, &mix);
    face_sample_template(sample, context->mask, &mix, 0, maker->scratch, maker->part, maker->template_);
    moments_add(seen, cells, maker->template_);
  }
  return 0;
}

/* Templates that the attacker makes, without a key. */
static int make_own(const struct attack_context *context, const struct mask *plain,
                    const struct face_sample *faces, struct maker *maker, struct moments *own) {
  const size_t cells = (size_t)mask_grid(plain) * mask_grid(plain);
  for (uint32_t i = 0; i < faces->count; i++) {
    if (attack_stop_code(context, NULL) < 0)
      return -ECANCELED;
    mask_template(plain, face_sample_image(faces, i), false, NULL, maker->scratch, maker->template_);
    moments_add(own, cells, maker->template_);
  }
  return 0;
}

/* Without memory, or stopped. */
static int tell_failure(int code, uint32_t templates, struct guise_error *err) {
  return code == -ECANCELED
             ? error_set(err, code, "the attack was stopped")
             : error_set(err, code, "out of memory guessing the key of %u templates", templates);
}

/* Of what is seen under the key, and of the attacker's own people: public ones, else every second one. */
static int take_statistics(const struct attack_context *context, const struct face_sample *sample,
                           const struct attack_mixing *mixing, const struct mask *plain, struct moments *seen,
                           struct moments *own) {
  const bool public_faces = context->open.count > 0;
  struct face_sample left = {.index = NULL}, others = {.index = NULL};
  struct maker maker = {.scratch = NULL};
  int r = public_faces ? face_sample_draw(&context->open, MAX(sample->count, 100u), context->seed, &others)
                       : half_of(sample, 1, &others);
  if (r == 0 && !public_faces)
    r = half_of(sample, 0, &left);
  if (r == 0)
    r = maker_init(plain, &maker);
  if (r == 0)
    r = look(context, public_faces ? sample : &left, mixing, &maker, seen);
  if (r == 0)
    r = make_own(context, plain, &others, &maker, own);
  if (r == 0) {
    moments_finish(seen);
    moments_finish(own);
  }
  maker_done(&maker);
  face_sample_done(&left);
  face_sample_done(&others);
  return r;
}

int key_from_statistics(const struct attack_context *context, const struct face_sample *sample,
                        const struct attack_mixing *mixing, struct key_guess *ret_guess,
                        struct guise_error *err) {
  struct key_guess guess = {.mask = NULL};
  struct moments seen = {0}, own = {0};
  struct mask_order order = {{0}, {false}};
  int r = key_ignored(context->mask, &guess.mask, err);
  if (r < 0)
    return r;
  r = moments_init(guess.mask, &seen);
  if (r == 0)
    r = moments_init(guess.mask, &own);
  if (r == 0)
    r = take_statistics(context, sample, mixing, guess.mask, &seen, &own);
  if (r == 0)
    r = match_statistics(context, &seen, &own, &order);
  if (r < 0)
    (void)tell_failure(r, sample->count, err);
  else
    r = mask_set_order(guess.mask, &order, err);
  if (r == 0) {
    guess.found = share_found(&order, mask_order(context->mask), seen.channels);
    guess.faces = own.faces;
    *ret_guess = guess;
  } else {
    key_guess_done(&guess);
  }
  moments_done(&seen);
  moments_done(&own);
  return r;
}

/* |correlation| of what stands at a place with each channel, over the known faces: 1 where they are the same.
 */
static int match_pairs(const struct attack_context *context, const struct face_sample *sample,
                       const struct mask *plain, uint32_t *ret_pairs, struct mask_order *ret_order) {
  const uint32_t channels = mask_channels(plain);
  const size_t cells = (size_t)mask_grid(plain) * mask_grid(plain), diagonal = (size_t)channels + 1;
  struct moments shape = {0}; /* which cells; its correlations are sums of place by place */
  struct maker maker = {.scratch = NULL}, own = {.scratch = NULL};
  struct matching match = {.channels = 0};
  int r = moments_init(plain, &shape);
  if (r == 0)
    r = maker_init(plain, &maker);
  if (r == 0)
    r = maker_init(plain, &own);
  if (r == 0)
    r = matching_init(NULL, NULL, channels, &match);
  for (uint32_t i = 0; i < sample->count && r == 0 && *ret_pairs < channels; i++) {
    if (sample->person[i] % 2 == 0)
      continue;
    r = attack_stop_code(context, NULL);
    if (r < 0)
      break;
    const uint8_t *rgb = face_sample_image(sample, i);
    mask_template(context->mask, rgb, false, NULL, maker.scratch, maker.template_);
    mask_template(plain, rgb, false, NULL, own.scratch, own.template_);
    add_products(&shape, cells, maker.template_, maker.template_, shape.correlation);
    add_products(&shape, cells, own.template_, own.template_, match.first[1]);
    add_products(&shape, cells, maker.template_, own.template_, match.first[0]);
    ++*ret_pairs;
  }
  for (uint32_t i = 0; i < channels && r == 0; i++)
    for (uint32_t j = 0; j < channels; j++) {
      const size_t at = (size_t)i * channels + j;
      const double lengths = sqrt(shape.correlation[i * diagonal] * match.first[1][j * diagonal]);
      match.cost[at] = -fabs(match.first[0][at]) / fmax(lengths, VARIANCE_FLOOR);
      match.negative[at] = match.first[0][at] < 0;
    }
  if (r == 0)
    r = take_order(&match, ret_order);
  matching_done(&match);
  maker_done(&maker);
  maker_done(&own);
  moments_done(&shape);
  return r;
}

int key_from_pairs(const struct attack_context *context, const struct face_sample *sample,
                   struct key_guess *ret_guess, struct guise_error *err) {
  struct key_guess guess = {.mask = NULL};
  struct mask_order order = {{0}, {false}};
  int r = key_ignored(context->mask, &guess.mask, err);
  if (r < 0)
    return r;
  r = match_pairs(context, sample, guess.mask, &guess.faces, &order);
  if (r < 0)
    (void)tell_failure(r, sample->count, err);
  else
    r = mask_set_order(guess.mask, &order, err);
  if (r < 0) {
    key_guess_done(&guess);
    return r;
  }
  guess.found = share_found(&order, mask_order(context->mask), mask_channels(guess.mask));
  *ret_guess = guess;
  return 0;
}
