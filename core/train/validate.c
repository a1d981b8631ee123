#include "core/train/validate.h"

#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/image/pairs.h"
#include "core/model/embed.h"
#include "core/model/model.h"

#define HELD_OUT_PAIRS_MAX 20000u

static const uint8_t *verify_image(void *context, uint32_t i) {
  const struct verify_set *set = context;
  if (set->data)
    return job_data_image(set->data, set->image[i]);
  return set->pixels ? set->pixels + (size_t)set->size * set->size * 3 * i
                     : pack_image(set->pack, set->image[i]);
}

static void verify_set_close(struct verify_set *set) {
  free(set->pairs);
  free(set->image);
  tensor_free(set->pixels);
  pack_free(set->pack);
}

void verify_sets_close(struct verify_sets *sets) {
  for (uint32_t i = 0; i < sets->count; i++)
    verify_set_close(&sets->set[i]);
  sets->count = 0;
}

/* 1 when there are pairs, 0 when nobody has two images. */
static int open_held_out(struct trainer *t, const struct job_inputs *inputs, struct verify_set *set,
                         struct guise_error *err) {
  const struct face_list *held = &t->data.held;
  if (held->identities < 2 || held->count == held->identities) {
    trainer_log(t, "warning", "no verification on held-out people: %u people with %u images give no pairs",
                held->identities, held->count);
    return 0;
  }
  *set = (struct verify_set){.protocol = "held-out people",
                             .dataset = inputs->dataset_name,
                             .folds = 10,
                             .data = &t->data,
                             .identity = held->identity,
                             .image_count = held->count};
  set->image = malloc(sizeof(uint32_t) * held->count);
  if (!set->image)
    return error_set(err, -ENOMEM, "out of memory for %u held-out images", held->count);
  memcpy(set->image, held->image, sizeof(uint32_t) * held->count);
  int r = verification_pairs(held->identity, held->count, HELD_OUT_PAIRS_MAX, t->spec->train.seed,
                             &set->pairs, &set->pair_count, err);
  if (r < 0) {
    verify_set_close(set);
    return r;
  }
  return 1;
}

/* Turns image numbers of the pack into positions in a list of the images that occur. */
static int number_images(struct verify_set *set, const struct pair_entry *entries, struct guise_error *err) {
  uint32_t images = pack_images(set->pack);
  _cleanup_(freep) uint32_t *position = malloc(sizeof(uint32_t) * images);
  set->image = malloc(sizeof(uint32_t) * images);
  set->pairs = malloc(sizeof(*set->pairs) * (set->pair_count + 1u));
  if (!position || !set->image || !set->pairs)
    return error_set(err, -ENOMEM, "out of memory for %u pairs", set->pair_count);
  memset(position, 0xff, sizeof(uint32_t) * images);
  for (uint32_t i = 0; i < set->pair_count; i++) {
    const uint32_t ends[2] = {entries[i].a, entries[i].b};
    for (int end = 0; end < 2; end++)
      if (position[ends[end]] == UINT32_MAX) {
        position[ends[end]] = set->image_count;
        set->image[set->image_count++] = ends[end];
      }
    set->pairs[i] =
        (struct face_pair){position[ends[0]], position[ends[1]], entries[i].same, entries[i].fold};
  }
  return 0;
}

static int resize_listed(const struct trainer *t, struct verify_set *set, struct guise_error *err) {
  uint32_t from = pack_size(set->pack);
  size_t bytes = (size_t)set->size * set->size * 3;
  if (from == set->size)
    return 0;
  uint8_t *pixels = tensor_alloc(bytes * set->image_count);
  if (!pixels)
    return error_set(err, -ENOMEM, "out of memory for %u images", set->image_count);
  const struct resizing resizing = {verify_image, set, from, set->size, pixels};
  int r = resize_images(&resizing, NULL, set->image_count, t->callbacks);
  set->pixels = pixels; /* from here on its images are these */
  return r;
}

static int open_pairs(struct trainer *t, const struct job_inputs *inputs, struct verify_set *set,
                      struct guise_error *err) {
  *set = (struct verify_set){.protocol = "pairs",
                             .dataset = t->spec->holdout.pairs_dataset,
                             .pairs_name = t->spec->holdout.pairs_name,
                             .size = t->data.size};
  _cleanup_(freep) struct pair_entry *entries = NULL;
  int r = pack_open(inputs->pairs_pack, &set->pack, err);
  if (r == 0)
    r = pairs_parse(inputs->pairs_text, inputs->pairs_bytes, set->pack, &entries, &set->pair_count,
                    &set->folds, err);
  if (r == 0)
    r = number_images(set, entries, err);
  if (r == 0)
    r = resize_listed(t, set, err);
  set->folds = MAX(set->folds, 10u);
  if (r < 0)
    verify_set_close(set);
  return r;
}

int verify_sets_open(struct trainer *t, const struct job_inputs *inputs, struct verify_sets *ret_sets,
                     struct guise_error *err) {
  struct verify_sets sets = {.count = 0};
  if (inputs->pairs_pack) {
    int r = open_pairs(t, inputs, &sets.set[sets.count], err);
    if (r < 0)
      return r;
    sets.count++;
  }
  if (t->data.held.count > 0) {
    int r = open_held_out(t, inputs, &sets.set[sets.count], err);
    if (r < 0) {
      verify_sets_close(&sets);
      return r;
    }
    sets.count += (uint32_t)r;
  }
  *ret_sets = sets;
  return 0;
}

static float dot(const float *a, const float *b, uint32_t n) {
  float sum = 0;
  for (uint32_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static int write_scores(const char *path, const struct verify_set *set, const float *similarity,
                        const bool *same, const uint32_t *fold, struct guise_error *err) {
  _cleanup_(freep) bool *accepted = malloc(set->pair_count);
  _cleanup_(freep) char *text = NULL;
  size_t size = 0;
  if (!accepted)
    return error_set(err, -ENOMEM, "out of memory for %u pairs", set->pair_count);
  int r = verification_decide(similarity, same, fold, set->pair_count, set->folds, accepted, err);
  FILE *out = r == 0 ? open_memstream(&text, &size) : NULL;
  if (r < 0)
    return r;
  if (out)
    (void)fputs("pair,fold,same,similarity,accepted\n", out);
  for (uint32_t i = 0; out && i < set->pair_count; i++)
    (void)fprintf(out, "%u,%u,%d,%.6f,%d\n", i, fold[i], same[i], (double)similarity[i], accepted[i]);
  if (!out || fclose(out) != 0)
    return error_set(err, -ENOMEM, "out of memory writing the scores of %u pairs", set->pair_count);
  return file_write_atomic(path, text, size, err);
}

/* What embeds a set's images. */
struct verifier {
  struct graph *graph;
  const struct mask *mask;
  uint32_t batch, dimension;
  const uint8_t *(*image)(void *context, uint32_t i);
  void *context;
};

/* The pairs, once their images are embedded; of the last verification identification, too. */
static int judge_pairs(const struct trainer *t, const struct verify_set *set, uint32_t dimension,
                       const float *embeddings, bool last, const char *scores_path,
                       struct verification *ret_verification, struct guise_error *err) {
  _cleanup_(freep) float *similarity = malloc(sizeof(float) * set->pair_count);
  _cleanup_(freep) bool *same = malloc(set->pair_count);
  _cleanup_(freep) uint32_t *fold = malloc(sizeof(uint32_t) * set->pair_count);
  int r;
  if (!similarity || !same || !fold)
    return error_set(err, -ENOMEM, "out of memory verifying %u pairs", set->pair_count);
  for (uint32_t i = 0; i < set->pair_count; i++) {
    const struct face_pair *pair = &set->pairs[i];
    similarity[i] =
        dot(embeddings + (size_t)pair->a * dimension, embeddings + (size_t)pair->b * dimension, dimension);
    same[i] = pair->same;
    fold[i] = pair->fold;
  }
  if (scores_path && (r = write_scores(scores_path, set, similarity, same, fold, err)) < 0)
    return r;
  r = verification_evaluate(similarity, same, fold, set->pair_count, set->folds, t->spec->train.seed,
                            ret_verification, err);
  if (r == 0 && last && set->identity &&
      verification_rank_1(embeddings, dimension, set->identity, set->image_count, t->spec->train.seed,
                          &ret_verification->rank_1) < 0)
    r = error_set(err, -ENOMEM, "out of memory identifying %u images", set->image_count);
  return r;
}

static float *embeddings_of(const struct verify_set *set, uint32_t dimension, struct guise_error *err) {
  float *embeddings = malloc(sizeof(float) * dimension * set->image_count);
  if (!embeddings)
    error_set(err, -ENOMEM, "out of memory verifying %u pairs", set->pair_count);
  return embeddings;
}

/* What stopped an embedding: what was not computed must not be used, even if the job is resumed this
 * instant. */
static int stopped(const struct trainer *t, int r) {
  const int stop = r == -ECANCELED ? trainer_stop_code(t) : r;
  return r == -ECANCELED && stop == 0 ? -EINTR : stop;
}

static int verify_with(struct trainer *t, const struct verify_set *set, const struct verifier *by,
                       bool both_flips, struct verification *ret_verification, struct guise_error *err) {
  _cleanup_(freep) float *embeddings = embeddings_of(set, by->dimension, err);
  if (!embeddings)
    return -ENOMEM;
  int r = embed_images(by->graph, by->mask, by->batch, by->dimension, by->image, by->context,
                       set->image_count, both_flips, embeddings, trainer_should_stop, t, err);
  return r < 0 ? stopped(t, r)
               : judge_pairs(t, set, by->dimension, embeddings, false, NULL, ret_verification, err);
}

static struct verifier own_verifier(const struct trainer *t, const struct verify_set *set) {
  return (struct verifier){t->eval,      t->mask,    t->eval_batch, t->spec->model.embedding,
                           verify_image, (void *)set};
}

int verify_run(struct trainer *t, const struct verify_set *set, bool both_flips,
               struct verification *ret_verification, struct guise_error *err) {
  const struct verifier by = own_verifier(t, set);
  return verify_with(t, set, &by, both_flips, ret_verification, err);
}

int verify_both(struct trainer *t, const struct verify_set *set, const char *const scores_path[2],
                struct verification ret_verification[2], struct guise_error *err) {
  const struct verifier by = own_verifier(t, set);
  _cleanup_(freep) float *one = embeddings_of(set, by.dimension, err);
  _cleanup_(freep) float *sum = one ? embeddings_of(set, by.dimension, err) : NULL;
  if (!sum)
    return -ENOMEM;
  int r = embed_both(by.graph, by.mask, by.batch, by.dimension, by.image, by.context, set->image_count, one,
                     sum, trainer_should_stop, t, err);
  if (r < 0)
    return stopped(t, r);
  r = judge_pairs(t, set, by.dimension, one, true, scores_path[0], &ret_verification[0], err);
  return r < 0 ? r : judge_pairs(t, set, by.dimension, sum, true, scores_path[1], &ret_verification[1], err);
}

/* A set's images at another size. */
struct resized {
  const uint8_t *pixels;
  size_t bytes; /* an image */
};

static const uint8_t *resized_image(void *context, uint32_t i) {
  const struct resized *resized = context;
  return resized->pixels + resized->bytes * i;
}

/* The same seed and as many people and images trained on: the same people were held out. */
static bool same_split(const struct trainer *t, const struct model_info *info) {
  return info->training.seed == t->spec->train.seed &&
         info->training.identities == t->data.train.identities &&
         info->training.images == t->data.train.count;
}

int verify_model(struct trainer *t, const struct verify_set *set, const char *model_path, bool both_flips,
                 struct verification *ret_verification, double ret_curve[CURVE_POINTS],
                 struct guise_error *err) {
  _cleanup_(model_freep) struct model *model = NULL;
  int r = model_load(model_path, t->eval_batch, t->threads, &model, err);
  if (r < 0)
    return r;
  if (set->data && !same_split(t, &model->info))
    trainer_log(t, "warning",
                "mask.reference was not trained on the people of this job: it may know some of those who are "
                "held out here; train it with the same data set, holdout and seed");
  memcpy(ret_curve, model->info.training.curve, sizeof(model->info.training.curve));
  const uint32_t size = model->info.input;
  struct verifier by = {model->graph,          model->mask,  model->batch,
                        model->info.embedding, verify_image, (void *)set};
  if (size == t->data.size)
    return verify_with(t, set, &by, both_flips, ret_verification, err);
  struct resized resized = {.bytes = (size_t)size * size * 3};
  uint8_t *pixels = tensor_alloc(resized.bytes * set->image_count);
  if (!pixels)
    return error_set(err, -ENOMEM, "out of memory for %u images", set->image_count);
  const struct resizing resizing = {verify_image, (void *)set, t->data.size, size, pixels};
  r = resize_images(&resizing, NULL, set->image_count, t->callbacks);
  resized.pixels = pixels;
  by.image = resized_image;
  by.context = &resized;
  if (r == 0)
    r = verify_with(t, set, &by, both_flips, ret_verification, err);
  tensor_free(pixels);
  return r;
}
