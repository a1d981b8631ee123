#include "core/attack/gan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/philox.h"

#define LEVELS 3u /* each doubles the side */
#define SLOPE 0.2f
#define REACH 2.0f /* of tanh, in the pictures' unit: all grey levels */
/* Channels of the critic's input: three of pixels, the rest zeros, since the kernel library has fast
 * convolutions for whole blocks of channels only. */
#define SEEN 16u
#define SETTLING 32u /* batches */
#define SEED_CRITIC 0x4352495449430001u
#define DRAW_LATENT (1ull << 38) /* sequences of RNG_ATTACK, beyond those of other files */
#define DRAW_SETTLING ((1ull << 38) - 1)

static const uint32_t drawing[LEVELS + 1] = {96, 64, 48, 16}; /* channels of the generator */
static const uint32_t judging[LEVELS] = {16, 48, 96};         /* of the critic */

/* Betas as of Yuan et al.; the critic learns faster instead of more often (Heusel et al., "GANs trained by a
 * two time-scale update rule", NeurIPS 2017). */
static const struct adam_options generator_adam = {
    .rate = 5e-4f, .beta1 = 0.0f, .beta2 = 0.9f, .epsilon = 1e-8f};
static const struct adam_options critic_adam = {
    .rate = 1e-3f, .beta1 = 0.0f, .beta2 = 0.9f, .epsilon = 1e-8f};

struct critic {
  struct graph *graph; /* output: w phi + b, then v_y phi of each class */
  uint32_t classes;
  size_t area;
  float cells; /* over which the graph means and D sums */
};

struct gan {
  struct gan_options options;
  struct graph *generator;
  struct critic critic; /* of photographs, then of pictures */
  size_t picture;
  float *pictures, *gradient; /* (GAN_BATCH, 3, side, side) */
};

/* ---- the generator ---- */

static int describe_generator(struct graph *graph, uint32_t side, uint32_t classes) {
  const uint32_t grid = side >> LEVELS;
  char name[16];
  int x = graph_linear(graph, graph_input(graph, GAN_LATENT, 1, 1), "seed", drawing[0] * grid * grid, true);
  x = graph_reshape(graph, x, drawing[0], grid, grid);
  for (uint32_t level = 0; level < LEVELS; level++) {
    (void)snprintf(name, sizeof(name), "norm.%u", level);
    x = graph_leaky_relu(graph, graph_conditional_norm(graph, x, name, classes), 0);
    (void)snprintf(name, sizeof(name), "up.%u", level);
    x = graph_conv_transpose(
        graph, x, name,
        &(struct conv_options){.out_channels = drawing[level + 1], .kernel = 4, .stride = 2, .padding = 1});
  }
  x = graph_leaky_relu(graph, graph_conditional_norm(graph, x, "norm.last", classes), 0);
  x = graph_conv(
      graph, x, "pixels",
      &(struct conv_options){.out_channels = 3, .kernel = 3, .stride = 1, .padding = 1, .bias = true});
  return graph_output(graph, graph_tanh(graph, x));
}

static int make_generator(const struct gan_options *options, uint32_t batch, bool of_latents,
                          struct graph **ret_graph, struct guise_error *err) {
  const struct graph_config config = {.batch = batch,
                                      .threads = options->threads,
                                      .training = true,
                                      .input_gradient = of_latents,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = options->seed};
  int r = graph_new(&config, ret_graph, err);
  if (r < 0)
    return r;
  (void)describe_generator(*ret_graph, options->side, options->classes); /* errors stay with the graph */
  return graph_build(*ret_graph, err);
}

static int generate(struct graph *graph, const uint32_t *classes, uint32_t batch, enum graph_mode mode,
                    uint64_t step, struct guise_error *err) {
  memcpy(graph_classes(graph), classes, batch * sizeof(*classes));
  return graph_forward(graph, mode, step, err);
}

static void draw_latents(uint64_t seed, uint64_t sequence, uint32_t first, uint32_t count,
                         float *ret_latents) {
  for (uint32_t i = 0; i < count; i++) {
    struct rng rng;
    rng_init(&rng, seed, RNG_ATTACK, sequence, first + i);
    for (uint32_t k = 0; k < GAN_LATENT; k++)
      ret_latents[i * GAN_LATENT + k] = rng_normal(&rng);
  }
}

static void scale(const float *from, size_t count, float factor, float *to) {
  for (size_t i = 0; i < count; i++)
    to[i] = factor * from[i];
}

/* ---- the critic ---- */

static int describe_critic(struct graph *graph, uint32_t side, uint32_t classes) {
  int x = graph_input(graph, SEEN, side, side);
  char name[16];
  for (uint32_t level = 0; level < LEVELS; level++) {
    (void)snprintf(name, sizeof(name), "down.%u", level);
    x = graph_conv(graph, x, name,
                   &(struct conv_options){.out_channels = judging[level],
                                          .kernel = 4,
                                          .stride = 2,
                                          .padding = 1,
                                          .bias = true,
                                          .spectral_norm = true});
    x = graph_leaky_relu(graph, x, SLOPE);
  }
  x = graph_global_average_pool(graph, x);
  return graph_output(graph, graph_concat(graph, graph_linear_spectral(graph, x, "real", 1, true),
                                          graph_linear_spectral(graph, x, "class", classes, false)));
}

static int critic_init(const struct gan_options *options, uint32_t batch, struct critic *critic,
                       struct guise_error *err) {
  const struct graph_config config = {.batch = batch,
                                      .threads = options->threads,
                                      .training = true,
                                      .input_gradient = true,
                                      .winograd = true,
                                      .optimizer = GRAPH_ADAM,
                                      .seed = options->seed ^ SEED_CRITIC};
  const uint32_t grid = options->side >> LEVELS;
  *critic = (struct critic){.classes = options->classes,
                            .area = (size_t)options->side * options->side,
                            .cells = (float)(grid * grid)};
  int r = graph_new(&config, &critic->graph, err);
  if (r < 0)
    return r;
  (void)describe_critic(critic->graph, options->side, options->classes); /* errors stay with the graph */
  return graph_build(critic->graph, err);
}

static void critic_show(struct critic *critic, uint32_t first, const float *pictures, uint32_t count) {
  const size_t picture = 3 * critic->area;
  for (size_t i = 0; i < count; i++)
    memcpy(graph_input_data(critic->graph) + (first + i) * SEEN * critic->area, pictures + i * picture,
           picture * sizeof(float));
}

static float verdict(const struct critic *critic, uint32_t i, uint32_t class_) {
  const float *row = graph_output_data(critic->graph) + (size_t)i * (critic->classes + 1);
  return critic->cells * (row[0] + row[1 + class_]);
}

/* Nothing said of an image: value 0. */
static void set_derivative(struct critic *critic, uint32_t i, uint32_t class_, float value) {
  float *row = graph_output_gradient(critic->graph) + (size_t)i * (critic->classes + 1);
  memset(row, 0, (critic->classes + 1) * sizeof(float));
  row[0] = row[1 + class_] = critic->cells * value;
}

/* gradient += that by the images from `first` on. */
static void add_slopes(struct critic *critic, uint32_t first, uint32_t count, float *gradient) {
  const size_t picture = 3 * critic->area;
  const float *slopes = graph_input_gradient(critic->graph) + first * SEEN * critic->area;
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < picture; k++)
      gradient[i * picture + k] += slopes[i * SEEN * critic->area + k];
}

/* ---- both ---- */

int gan_new(const struct gan_options *options, struct gan **ret_gan, struct guise_error *err) {
  _cleanup_(gan_freep) struct gan *gan = calloc(1, sizeof(*gan));
  if (!gan)
    return error_set(err, -ENOMEM, "out of memory for a generator of faces");
  gan->options = *options;
  gan->picture = (size_t)3 * options->side * options->side;
  gan->pictures = tensor_alloc(GAN_BATCH * gan->picture * sizeof(float));
  gan->gradient = tensor_alloc(GAN_BATCH * gan->picture * sizeof(float));
  if (!gan->pictures || !gan->gradient)
    return error_set(err, -ENOMEM, "out of memory for a generator of faces");
  int r = make_generator(options, GAN_BATCH, false, &gan->generator, err);
  if (r == 0)
    r = critic_init(options, 2 * GAN_BATCH, &gan->critic, err);
  if (r == 0)
    *ret_gan = TAKE(gan);
  return r;
}

struct gan *gan_free(struct gan *gan) {
  if (!gan)
    return NULL;
  graph_free(gan->generator);
  graph_free(gan->critic.graph);
  tensor_free(gan->pictures);
  tensor_free(gan->gradient);
  free(gan);
  return NULL;
}

uint64_t gan_parameters(const struct gan *gan) {
  return graph_trained_numbers(gan->generator) + graph_trained_numbers(gan->critic.graph);
}

/* ---- a step ---- */

static int teach_critic(struct gan *gan, uint64_t step, const float *photographs, const uint32_t *classes,
                        double *ret_loss, struct guise_error *err) {
  struct critic *critic = &gan->critic;
  double sum = 0;
  critic_show(critic, 0, photographs, GAN_BATCH);
  critic_show(critic, GAN_BATCH, gan->pictures, GAN_BATCH);
  int r = graph_forward(critic->graph, GRAPH_TRAIN, step, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < 2 * GAN_BATCH; i++) {
    const uint32_t class_ = classes[i % GAN_BATCH];
    const float sign = i < GAN_BATCH ? -1.0f : 1.0f, short_of = 1 + sign * verdict(critic, i, class_);
    set_derivative(critic, i, class_, short_of > 0 ? sign / GAN_BATCH : 0);
    sum += (double)fmaxf(short_of, 0);
  }
  *ret_loss = sum / GAN_BATCH;
  r = graph_backward(critic->graph, err);
  return r < 0 ? r : graph_adam(critic->graph, &critic_adam, step + 1, err);
}

/* gan->gradient := that of -mean D by the pictures. */
static int doubt(struct gan *gan, uint64_t step, const uint32_t *classes, double *ret_loss,
                 struct guise_error *err) {
  struct critic *critic = &gan->critic;
  double sum = 0;
  int r = graph_forward(critic->graph, GRAPH_TRAIN, step, err); /* both halves stand there still */
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < 2 * GAN_BATCH; i++) {
    const bool drawn = i >= GAN_BATCH;
    sum -= drawn ? (double)verdict(critic, i, classes[i - GAN_BATCH]) : 0;
    set_derivative(critic, i, classes[i % GAN_BATCH], drawn ? -1.0f / GAN_BATCH : 0);
  }
  *ret_loss = sum / GAN_BATCH;
  memset(gan->gradient, 0, GAN_BATCH * gan->picture * sizeof(float));
  r = graph_backward(critic->graph, err);
  if (r == 0)
    add_slopes(critic, GAN_BATCH, GAN_BATCH, gan->gradient);
  return r;
}

int gan_step(struct gan *gan, uint64_t step, const float *photographs, const uint32_t *classes,
             int (*more)(void *context, const float *pictures, float *gradient, struct guise_error *err),
             void *context, struct gan_losses *ret_losses, struct guise_error *err) {
  const size_t all = GAN_BATCH * gan->picture;
  struct gan_losses losses = {NAN, NAN};
  draw_latents(gan->options.seed, DRAW_LATENT + step, 0, GAN_BATCH, graph_input_data(gan->generator));
  int r = generate(gan->generator, classes, GAN_BATCH, GRAPH_TRAIN, step, err);
  if (r < 0)
    return r;
  scale(graph_output_data(gan->generator), all, REACH, gan->pictures);
  r = teach_critic(gan, step, photographs, classes, &losses.critic, err);
  if (r == 0)
    r = doubt(gan, step, classes, &losses.generator, err);
  if (r == 0 && !isfinite(losses.critic + losses.generator))
    r = error_set(err, -EDOM, "the attack's generator of faces diverged at step %llu",
                  (unsigned long long)step);
  if (r == 0 && more)
    r = more(context, gan->pictures, gan->gradient, err);
  if (r < 0)
    return r;
  scale(gan->gradient, all, REACH, graph_output_gradient(gan->generator));
  r = graph_backward(gan->generator, err);
  if (r == 0)
    r = graph_adam(gan->generator, &generator_adam, step + 1, err);
  if (r == 0)
    *ret_losses = losses;
  return r;
}

int gan_settle(struct gan *gan, struct guise_error *err) {
  uint32_t classes[GAN_BATCH];
  int r = 0;
  graph_statistics_reset(gan->generator);
  for (uint32_t batch = 0; batch < SETTLING && r == 0; batch++) {
    draw_latents(gan->options.seed, DRAW_SETTLING, batch * GAN_BATCH, GAN_BATCH,
                 graph_input_data(gan->generator));
    for (uint32_t i = 0; i < GAN_BATCH; i++)
      classes[i] = (batch * GAN_BATCH + i) % gan->options.classes;
    r = generate(gan->generator, classes, GAN_BATCH, GRAPH_STATISTICS, 0, err);
  }
  if (r == 0)
    graph_statistics_finish(gan->generator);
  return r;
}

/* ---- files ---- */

int gan_write(struct gan *gan, const char *path, const json_t *metadata, struct guise_error *err) {
  struct tensor_list list;
  int r =
      tensor_list_init(&list, graph_state_tensors(gan->generator) + graph_state_tensors(gan->critic.graph));
  if (r < 0)
    error_set(err, r, "out of memory writing down a generator of faces");
  else {
    tensor_list_add_graph(&list, gan->generator, "generator.");
    tensor_list_add_graph(&list, gan->critic.graph, "critic.");
    r = safetensors_write(path, list.tensor, list.count, metadata, err);
  }
  tensor_list_done(&list);
  return r;
}

int gan_read(struct gan *gan, const struct safetensors *file, struct guise_error *err) {
  int r = graph_state_read(file, gan->generator, "generator.", err);
  return r < 0 ? r : graph_state_read(file, gan->critic.graph, "critic.", err);
}

/* ---- drawing ---- */

struct artist {
  struct graph *generator;
  struct critic critic;
  uint32_t batch;
  size_t all; /* numbers of the batch's pictures */
  float *pictures;
};

static int artist_build(struct gan *gan, bool critic, struct artist *artist, struct guise_error *err) {
  int r = make_generator(&gan->options, artist->batch, true, &artist->generator, err);
  if (r == 0)
    r = graph_copy_parameters(artist->generator, gan->generator, err);
  if (r == 0 && critic)
    r = critic_init(&gan->options, artist->batch, &artist->critic, err);
  if (r == 0 && critic)
    r = graph_copy_parameters(artist->critic.graph, gan->critic.graph, err);
  return r;
}

int artist_new(struct gan *gan, uint32_t batch, bool critic, struct artist **ret_artist,
               struct guise_error *err) {
  _cleanup_(artist_freep) struct artist *artist = calloc(1, sizeof(*artist));
  if (artist) {
    artist->batch = batch;
    artist->all = batch * gan->picture;
    artist->pictures = tensor_alloc(artist->all * sizeof(float));
  }
  if (!artist || !artist->pictures)
    return error_set(err, -ENOMEM, "out of memory for a batch of %u pictures", batch);
  int r = artist_build(gan, critic, artist, err);
  if (r == 0)
    *ret_artist = TAKE(artist);
  return r;
}

struct artist *artist_free(struct artist *artist) {
  if (!artist)
    return NULL;
  graph_free(artist->generator);
  graph_free(artist->critic.graph);
  tensor_free(artist->pictures);
  free(artist);
  return NULL;
}

int artist_draw(struct artist *artist, const float *latents, const uint32_t *classes,
                const float **ret_pictures, struct guise_error *err) {
  memcpy(graph_input_data(artist->generator), latents, artist->batch * GAN_LATENT * sizeof(float));
  int r = generate(artist->generator, classes, artist->batch, GRAPH_EVAL, 0, err);
  if (r < 0)
    return r;
  scale(graph_output_data(artist->generator), artist->all, REACH, artist->pictures);
  *ret_pictures = artist->pictures;
  return 0;
}

int artist_doubt(struct artist *artist, const uint32_t *classes, float weight, float *gradient,
                 struct guise_error *err) {
  struct critic *critic = &artist->critic;
  critic_show(critic, 0, artist->pictures, artist->batch);
  int r = graph_forward(critic->graph, GRAPH_EVAL, 0, err);
  for (uint32_t i = 0; i < artist->batch && r == 0; i++)
    set_derivative(critic, i, classes[i], -weight / (float)artist->batch);
  if (r == 0)
    r = graph_backward(critic->graph, err);
  if (r == 0)
    add_slopes(critic, 0, artist->batch, gradient);
  return r;
}

int artist_pull_back(struct artist *artist, const float *of_pictures, float *ret_of_latents,
                     struct guise_error *err) {
  scale(of_pictures, artist->all, REACH, graph_output_gradient(artist->generator));
  int r = graph_backward(artist->generator, err);
  if (r == 0)
    memcpy(ret_of_latents, graph_input_gradient(artist->generator),
           artist->batch * GAN_LATENT * sizeof(float));
  return r;
}
