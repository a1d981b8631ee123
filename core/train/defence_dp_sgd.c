/* Differentially private SGD (Abadi et al., CCS 2016, arXiv 1607.00133). In each step every training image
 * takes part with chance q = batch / images (Poisson sampling); the gradient g_i of each, of network and
 * class head together, is clipped; noise is added to the sum, and the expected number of images divides it:
 *
 *   (sum_i g_i min(1, C / |g_i|) + N(0, (sigma C)^2)) / (q images)
 *
 * Gradients of single images: the network runs with batches of one. Nothing else may tell of an image: group
 * norms instead of batch norms, the mask's constants from public faces (spec: public_constants), and whatever
 * else is drawn for an image is keyed by the image, not by its place among the others in the sample, which
 * one image more would change (trainer_draw).
 *
 * Sample and noise come from a secret of the job, made by the system's generator, that lies in the work
 * directory from before the first step until the last: subkeys 1 and 2 (crypto_kdf, context "guisedps") are
 * keys of ChaCha20 streams whose nonce is the step. The report's seed tells nothing about them; and a step
 * that is repeated after a crash repeats its noise, or the two results' mean would have less of it. When the
 * training ends the secret is erased. Noise is computed in double precision without care for the low bits of
 * floating point (Mironov, CCS 2012). */
#include <limits.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/mask/key.h"
#include "core/train/accountant.h"
#include "core/train/defence_rows.h"

#define SECRET_FILE "noise.json"
#define NOISE_BLOCK 1024u /* values of one piece of the stream */

enum { NOISE, CLIP, DELTA };
enum { SAMPLING = 1, ADDING }; /* subkeys */

static const struct defence_parameter parameters[] = {
    {"noise", "deviation of the noise over the clipping length; 0: clip, add nothing, promise nothing", 0,
     1000, 1, false},
    {"clip", "longest gradient of an image", 1e-3, 1e4, 1, false},
    {"delta", "for which epsilon is told", 1e-12, 0.1, 1e-5, false},
};

struct dp {
  uint8_t key[ADDING + 1][crypto_stream_chacha20_KEYBYTES]; /* by subkey */
  bool has_secret;
  char secret_path[PATH_MAX];
  uint32_t *images;      /* (train.count) of the step's sample */
  float *inputs;         /* (batch, elements) */
  float *network, *head; /* sums of clipped gradients */
  uint64_t network_count, head_count;
};

/* ---- construction ---- */

/* All of them at once. */
static int check(const struct job_spec *spec, const struct defence_choice *choice, const char *pointer,
                 struct spec_problems *problems) {
  const struct mask_traits *mask = mask_traits(spec->mask.method);
  const struct mask_options options = job_spec_mask(spec);
  const bool named = *spec->mask.public_dataset != 0;
  const struct {
    bool wrong;
    const char *pointer, *code, *detail;
  } rows[] = {
      {mask_learns(&options) || mask_weight_count(&options) > 0, "/mask", "conflict",
       "dp_sgd and a mask that learns: what it learns stands in the model, and no noise covers it; choose "
       "another mask, or leave out what is learnt (select, the parameter \"learnt\")"},
      {mask->has_strategy && spec->mask.policy == POLICY_LEARNED, "/mask/policy", "conflict",
       "dp_sgd and the policy \"learned\": the policy would carry one face's losses to the mixes of others; "
       "choose \"fixed\" or \"uniform\""},
      {mask->mixes && spec->mask.protect == PROTECT_MIX && spec->mask.pool != MIX_POOL_PUBLIC, "/mask/pool",
       "conflict",
       "dp_sgd and private partners: a face would be in the gradients of others, where clipping does not "
       "bound it; choose the pool \"public\""},
      {spec->model.norm != ARCH_NORM_GROUP, "/model/norm", "conflict",
       "dp_sgd and batch norms, which mix the faces of a batch: choose \"group\""},
      {!named, "/mask/public_dataset", "missing",
       "dp_sgd takes the mask's constants from public faces: name their data set in mask.public_dataset"},
      {named && strcmp(spec->mask.public_dataset, spec->dataset) == 0, "/mask/public_dataset", "conflict",
       "dp_sgd's public faces cannot be the private ones: name another data set"},
      {*spec->defences.model != 0, pointer, "conflict",
       "dp_sgd and a model to begin with, which may know the private faces: leave \"model\" out, and one is "
       "trained on mask.public_dataset"},
  };
  int r = 0;
  (void)choice;
  for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
    if (rows[i].wrong)
      r = spec_problems_add(problems, rows[i].pointer, rows[i].code, NULL, "%s", rows[i].detail);
  return r;
}

static void describe(const struct defence *d, struct graph_config *config, struct arch_options *options) {
  (void)d;
  (void)options;
  config->batch = 1;
}

/* A job that continues after its last step has erased it, and needs it no more. */
static int read_secret(struct dp *dp, const struct job_inputs *inputs, struct guise_error *err) {
  struct mask_key secret;
  if (snprintf(dp->secret_path, PATH_MAX, "%s/" SECRET_FILE, inputs->work_directory) >= PATH_MAX)
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = mask_key_read(dp->secret_path, &secret, err);
  if (r == -ENOENT && inputs->resume)
    return 0;
  if (r == -ENOENT && (r = mask_key_generate(&secret, err)) == 0)
    r = mask_key_write(dp->secret_path, &secret, err);
  if (r < 0)
    return r;
  for (uint64_t subkey = SAMPLING; subkey <= ADDING; subkey++)
    (void)crypto_kdf_derive_from_key(dp->key[subkey], sizeof(dp->key[subkey]), subkey, "guisedps",
                                     secret.secret);
  mask_key_erase(&secret);
  dp->has_secret = true;
  return 0;
}

static void release(void *state) {
  struct dp *dp = state;
  sodium_memzero(dp->key, sizeof(dp->key));
  tensor_free(dp->images);
  tensor_free(dp->inputs);
  tensor_free(dp->network);
  tensor_free(dp->head);
  free(dp);
}

static int check_start(const struct trainer *t, const struct defence *d, const struct job_inputs *inputs,
                       struct guise_error *err) {
  if (d->choice->parameter[DELTA] * t->data.train.count >= 1)
    return error_set(err, -EINVAL,
                     "dp_sgd's delta of %g promises nothing to %u images: choose one well below 1/%u",
                     d->choice->parameter[DELTA], t->data.train.count, t->data.train.count);
  if (strcmp(inputs->dataset_pack, inputs->public_pack) == 0)
    return error_set(
        err, -EINVAL,
        "dp_sgd's public faces are the private ones: name another data set in mask.public_dataset");
  return 0;
}

static int setup(struct trainer *t, struct defence *d, const struct job_inputs *inputs,
                 struct guise_error *err) {
  struct dp *dp = calloc(1, sizeof(*dp));
  if (!dp)
    return error_set(err, -ENOMEM, "out of memory for dp_sgd");
  d->state = dp;
  t->by_image = true;
  (void)graph_gradients(t->graph, &dp->network_count);
  dp->head_count = (uint64_t)head_classes(t->head) * t->spec->model.embedding;
  dp->images = tensor_alloc(t->data.train.count * sizeof(*dp->images));
  dp->inputs = tensor_alloc(t->batch * mask_elements(t->mask) * sizeof(float));
  dp->network = tensor_alloc(dp->network_count * sizeof(float));
  dp->head = tensor_alloc(dp->head_count * sizeof(float));
  if (!dp->images || !dp->inputs || !dp->network || !dp->head)
    return error_set(err, -ENOMEM, "out of memory for dp_sgd's gradients: choose a smaller train.batch");
  int r = check_start(t, d, inputs, err);
  return r < 0 ? r : read_secret(dp, inputs, err);
}

static void finish(struct trainer *t, const struct defence *d) {
  const struct dp *dp = d->state;
  (void)t;
  (void)unlink(dp->secret_path);
}

/* ---- what is drawn ---- */

/* Words of a subkey's stream of the step, from the 64-byte block `block` on. */
static void draw(const struct dp *dp, int subkey, uint64_t step, uint64_t block, uint64_t *ret_words,
                 size_t count) {
  uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
  for (size_t i = 0; i < sizeof(nonce); i++)
    nonce[i] = (uint8_t)(step >> (8 * i));
  memset(ret_words, 0, count * sizeof(*ret_words));
  (void)crypto_stream_chacha20_xor_ic((uint8_t *)ret_words, (const uint8_t *)ret_words,
                                      count * sizeof(*ret_words), nonce, block, dp->key[subkey]);
}

/* (0,1] */
static double uniform(uint64_t word) {
  return ((double)(word >> 11) + 1) * 0x1p-53;
}

/* Which images take part; how many. */
static uint32_t sample(const struct trainer *t, const struct dp *dp) {
  const double q = (double)t->batch / t->data.train.count;
  uint64_t words[NOISE_BLOCK];
  uint32_t taken = 0;
  for (uint32_t i = 0; i < t->data.train.count; i++) {
    if (i % NOISE_BLOCK == 0)
      draw(dp, SAMPLING, t->step, (uint64_t)i / 8, words, NOISE_BLOCK);
    if (uniform(words[i % NOISE_BLOCK]) <= q)
      dp->images[taken++] = i;
  }
  return taken;
}

/* values = (values + N(0, deviation^2)) * scale; offset: of values[0] in the step's stream, of which each
 * value has one word. */
static void add_noise(const struct trainer *t, const struct dp *dp, float *values, uint64_t count,
                      uint64_t offset, double deviation, double scale) {
  const uint64_t blocks = (count + NOISE_BLOCK - 1) / NOISE_BLOCK;
#pragma omp parallel for num_threads((int)t->threads) schedule(static)
  for (uint64_t b = 0; b < blocks; b++) {
    uint64_t words[NOISE_BLOCK];
    const uint64_t first = b * NOISE_BLOCK, n = MIN(count - first, (uint64_t)NOISE_BLOCK);
    if (deviation > 0)
      draw(dp, ADDING, t->step, (offset + first) / 8, words, NOISE_BLOCK);
    for (uint64_t i = 0; i < n; i++) {
      double noise = 0;
      if (deviation > 0) { /* Box and Muller: pairs share a radius */
        const double radius = sqrt(-2 * log(uniform(words[i & ~1ULL]))),
                     angle = 2 * M_PI * uniform(words[i | 1]);
        noise = deviation * radius * (i & 1 ? sin(angle) : cos(angle));
      }
      values[first + i] = (float)(((double)values[first + i] + noise) * scale);
    }
  }
}

/* ---- a step ---- */

/* Shares are added up in their order: a reduction would add them as threads come, another sum each time. */
static double square_length(uint32_t threads, const float *x, uint64_t count) {
  double share[threads], sum = 0;
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
  for (uint32_t thread = 0; thread < threads; thread++) {
    const uint64_t end = count * (thread + 1) / threads;
    share[thread] = 0;
    for (uint64_t i = count * thread / threads; i < end; i++)
      share[thread] += (double)x[i] * (double)x[i];
  }
  for (uint32_t thread = 0; thread < threads; thread++)
    sum += share[thread];
  return sum;
}

static void add_scaled(uint32_t threads, float *restrict sum, const float *restrict x, uint64_t count,
                       float scale) {
#pragma omp parallel for num_threads((int)threads) schedule(static)
  for (uint64_t i = 0; i < count; i++)
    sum[i] += scale * x[i];
}

/* Adds the clipped gradient of sample i of what was filled in. A gradient that is no number adds nothing; its
 * loss ends the job. */
static int add_image(struct trainer *t, const struct defence *d, const struct head_options *options,
                     uint32_t i, double *loss, struct guise_error *err) {
  struct dp *dp = d->state;
  const size_t elements = mask_elements(t->mask);
  const double clip = d->choice->parameter[CLIP];
  memcpy(graph_input_data(t->graph), dp->inputs + i * elements, elements * sizeof(float));
  /* dropout's own count of steps: one for each image */
  int r = graph_forward(t->graph, GRAPH_TRAIN, t->step * t->data.train.count + t->sample[i], err);
  if (r < 0)
    return r;
  *loss += head_step(t->head, options, graph_output_data(t->graph), 1, t->labels + (size_t)i * MIX_MAX,
                     MIX_MAX, t->label_counts + i, graph_output_gradient(t->graph), NULL, NULL);
  if ((r = graph_backward(t->graph, err)) < 0)
    return r;
  const float *network = graph_gradients(t->graph, NULL), *head = head_gradient(t->head);
  const double length = sqrt(square_length(t->threads, network, dp->network_count) +
                             square_length(t->threads, head, dp->head_count));
  if (!isfinite(length))
    return 0;
  /* a little less than C / length, for the rounding of sums and products */
  const float scale = length > clip ? (float)(clip / length * (1 - 1e-6)) : 1.0f;
  add_scaled(t->threads, dp->network, network, dp->network_count, scale);
  add_scaled(t->threads, dp->head, head, dp->head_count, scale);
  return 0;
}

/* A step without an image costs nothing, and is made all the same. */
static int gradients(struct trainer *t, const struct defence *d, const struct head_options *options,
                     double *ret_loss, struct guise_error *err) {
  struct dp *dp = d->state;
  if (!dp->has_secret)
    return error_set(
        err, -ENOENT,
        "the secret of dp_sgd's noise is lost, and with another one the steps after the checkpoint "
        "would not be covered by the guarantee: start the job anew");
  const uint32_t count = sample(t, dp);
  const double deviation = d->choice->parameter[NOISE] * d->choice->parameter[CLIP];
  double loss = 0;
  memset(dp->network, 0, dp->network_count * sizeof(float));
  memset(dp->head, 0, dp->head_count * sizeof(float));
  for (uint32_t first = 0; first < count; first += t->batch) {
    const uint32_t some = MIN(t->batch, count - first);
    int r = trainer_fill(t, dp->images + first, some, dp->inputs, err);
    for (uint32_t i = 0; i < some && r == 0; i++)
      r = add_image(t, d, options, i, &loss, err);
    if (r < 0)
      return r;
  }
  /* the network's stream is a whole number of pieces long */
  const uint64_t offset = (dp->network_count + NOISE_BLOCK - 1) / NOISE_BLOCK * NOISE_BLOCK;
  add_noise(t, dp, dp->network, dp->network_count, 0, deviation, 1.0 / t->batch);
  add_noise(t, dp, dp->head, dp->head_count, offset, deviation, 1.0 / t->batch);
  memcpy(graph_gradients(t->graph, NULL), dp->network, dp->network_count * sizeof(float));
  memcpy(head_gradient(t->head), dp->head, dp->head_count * sizeof(float));
  *ret_loss = count > 0 ? loss / count : 0;
  return 0;
}

/* ---- the promise ---- */

static bool guarantee(const struct trainer *t, const struct defence *d,
                      struct mask_guarantee *ret_guarantee) {
  const double noise = d->choice->parameter[NOISE], delta = d->choice->parameter[DELTA];
  const double q = (double)t->batch / t->data.train.count;
  uint32_t most = 0;
  if (noise <= 0)
    return false;
  for (uint32_t i = 0; i < t->data.train.identities; i++)
    most = MAX(most, t->data.images_of[i]);
  *ret_guarantee =
      (struct mask_guarantee){.epsilon = accountant_epsilon(q, noise, t->total, delta, NULL), .delta = delta};
  if (!isfinite(ret_guarantee->epsilon)) /* so little noise that no number holds what is spent */
    return false;
  (void)snprintf(ret_guarantee->unit, sizeof(ret_guarantee->unit),
                 "one training image, there or not; a person has up to %u", most);
  (void)snprintf(
      ret_guarantee->text, sizeof(ret_guarantee->text),
      "(%.4g, %g)-differential privacy of one training image in the weights: DP-SGD, %llu steps, "
      "sampling rate %.4g, noise multiplier %g, clipping length %g, Renyi accountant. Of all %u images "
      "of a person together it is weaker. Who is trained on, how many images there are, and this "
      "report's and the job's own figures are not covered",
      ret_guarantee->epsilon, delta, (unsigned long long)t->total, q, noise, d->choice->parameter[CLIP],
      most);
  return true;
}

const struct defence_row defence_dp_sgd = {
    .traits = {.name = "dp_sgd",
               .summary = "Poisson samples, clipped gradients of single images, Gaussian noise",
               .public_constants = true,
               .secret = true,
               .granted =
                   "Is granted the gradient before dp_sgd's noise: who shares with it gives less away.",
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .check = check,
    .describe = describe,
    .setup = setup,
    .release = release,
    .gradients = gradients,
    .finish = finish,
    .guarantee = guarantee};
