/* Checkpoints: everything that a job needs to go on as if nothing had happened, as one safetensors file:
 * weights, running statistics, momenta, class head, strategy network, probe, moving averages and the sums of
 * the epoch under way. Random numbers need no state: they are functions of (seed, stream, step, sample). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/graph_state.h"
#include "core/nn/kernels.h"
#include "core/train/trainer.h"

#define CHECKPOINT_FORMAT "guise-checkpoint-7"
#define STATE_TENSORS 24

/* Every piece of state that is not a graph parameter: one list for writing and for reading. */
struct state_piece {
  const char *name, *dtype;
  void *data;
  uint64_t count, size;
};

static uint32_t state_pieces(struct trainer *t, float *strategy_values,
                             struct state_piece pieces[STATE_TENSORS]) {
  uint32_t n = 0, people = t->data.train.identities, images = t->data.train.count;
  uint64_t head = (uint64_t)head_classes(t->head) * t->spec->model.embedding;
  pieces[n++] =
      (struct state_piece){"state.sums", "F64", &t->sums, sizeof(t->sums) / sizeof(double), sizeof(double)};
  pieces[n++] = (struct state_piece){"state.seconds", "F64", &t->trained_seconds, 1, sizeof(double)};
  pieces[n++] =
      (struct state_piece){"state.histogram", "F64", t->last_histogram, MIX_MAX + 1, sizeof(double)};
  pieces[n++] = (struct state_piece){"state.stored", "F64", t->stored, MIX_MAX + 1, sizeof(double)};
  pieces[n++] = (struct state_piece){"state.decided", "F64", t->decided, MIX_MAX + 1, sizeof(double)};
  pieces[n++] = (struct state_piece){"state.curve", "F64", t->curve, CURVE_POINTS, sizeof(double)};
  if (t->norms)
    pieces[n++] = (struct state_piece){"norms.apart", "F64", &t->apart, 1, sizeof(double)};
  if (t->probe) {
    pieces[n++] =
        (struct state_piece){"state.dual", "F64", &t->dual, sizeof(t->dual) / sizeof(double), sizeof(double)};
    pieces[n++] = (struct state_piece){"state.probe_steps", "F64", probe_steps(t->probe), 1, sizeof(double)};
  }
  if (mask_constants(t->mask)->learnt_count > 0) /* read before the mask was made: analysis.c */
    pieces[n++] = (struct state_piece){TRAINER_LEARNT, "F32", t->learnt, MASK_CHANNELS_MAX, 4};
  if (t->weights) /* likewise: weights.c */
    pieces[n++] = (struct state_piece){TRAINER_WEIGHTS, "F32", t->weights, t->weight_count, 4};
  pieces[n++] = (struct state_piece){"head.weight", "F32", head_weights(t->head), head, 4};
  pieces[n++] = (struct state_piece){"head.momentum", "F32", head_momentum(t->head), head, 4};
  if (t->norms)
    pieces[n++] = (struct state_piece){"norms.mixed", "F32", t->norms, t->norm_count, 4};
  if (t->stored_k)
    pieces[n++] = (struct state_piece){"policy.stored_k", "U32", t->stored_k, images, 4};
  if (t->left) {
    pieces[n++] = (struct state_piece){"policy.alone", "F32", t->alone, people, 4};
    pieces[n++] = (struct state_piece){"policy.left", "F32", t->left, people, 4};
  }
  if (!t->strategy)
    return n;
  pieces[n++] = (struct state_piece){"strategy", "F32", strategy_values, strategy_save_size(t->strategy), 4};
  pieces[n++] = (struct state_piece){"margin.sample", "F32", t->difficulty.margin_sample, images, 4};
  pieces[n++] = (struct state_piece){"excess.sample", "F32", t->difficulty.excess_sample, images, 4};
  pieces[n++] = (struct state_piece){"margin.person", "F32", t->difficulty.margin_person, people, 4};
  pieces[n++] = (struct state_piece){"excess.person", "F32", t->difficulty.excess_person, people, 4};
  return n;
}

_Static_assert(sizeof(struct dual) % sizeof(double) == 0,
               "the dual variable is saved as an array of doubles");
_Static_assert(sizeof(struct epoch_sums) % sizeof(double) == 0, "the sums are saved as an array of doubles");

/* What must agree between a checkpoint and the job that continues from it. */
static json_t *fingerprint(const struct trainer *t) {
  char step[32], epochs[32];
  (void)snprintf(step, sizeof(step), "%llu", (unsigned long long)t->step);
  (void)snprintf(epochs, sizeof(epochs), "%u", t->epochs_done);
  json_t *spec = job_spec_json(t->spec);
  char *text = spec ? json_print(spec, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  char *algorithms = graph_algorithms(t->graph);
  json_decref(spec);
  json_t *metadata = NULL;
  if (text && algorithms)
    metadata =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "format", CHECKPOINT_FORMAT, "step", step, "epochs_done",
                  epochs, "spec", text, "algorithms", algorithms, "kernels", kernels_choose()->name);
  if (metadata && *mask_keyed_by(t->mask) &&
      json_object_set_new(metadata, "key", json_string(mask_keyed_by(t->mask))) < 0) {
    json_decref(metadata);
    metadata = NULL;
  }
  free(text);
  free(algorithms);
  return metadata;
}

static const char *const probe_prefix = "probe.";

static int collect(struct trainer *t, float *strategy_values, struct tensor_list *list) {
  struct state_piece pieces[STATE_TENSORS];
  const uint32_t of_graphs =
      graph_state_tensors(t->graph) + (t->probe ? graph_state_tensors(probe_graph(t->probe)) : 0);
  if (tensor_list_init(list, of_graphs + STATE_TENSORS) < 0)
    return -ENOMEM;
  /* doubles first, so that every tensor is aligned to its own size */
  uint32_t count = state_pieces(t, strategy_values, pieces);
  for (uint32_t i = 0; i < count; i++)
    tensor_list_add(list, "", pieces[i].name, pieces[i].dtype, pieces[i].data, pieces[i].count,
                    pieces[i].size);
  tensor_list_add_graph(list, t->graph, "");
  if (t->probe)
    tensor_list_add_graph(list, probe_graph(t->probe), probe_prefix);
  return 0;
}

int checkpoint_write(struct trainer *t, const char *work_directory, struct guise_error *err) {
  char path[4096];
  struct tensor_list list = {0};
  _cleanup_(freep) float *strategy_values =
      calloc(t->strategy ? strategy_save_size(t->strategy) : 1, sizeof(float));
  json_t *metadata = fingerprint(t);
  int r = strategy_values && metadata ? 0 : -ENOMEM;
  if (r == 0 && t->strategy)
    strategy_save(t->strategy, strategy_values);
  if (r == 0)
    r = collect(t, strategy_values, &list);
  if (r == 0 && snprintf(path, sizeof(path), "%s/checkpoint-%u-%llu.safetensors", work_directory,
                         t->epochs_done, (unsigned long long)t->step) >= (int)sizeof(path))
    r = -ENAMETOOLONG;
  if (r < 0)
    error_set(err, r, "cannot prepare a checkpoint: %s", strerror(-r));
  else
    r = safetensors_write(path, list.tensor, list.count, metadata, err);
  tensor_list_done(&list);
  json_decref(metadata);
  if (r < 0)
    return r;
  r = t->callbacks->checkpoint(t->callbacks->context, path, t->epochs_done, t->step, t->rows, t->row_count);
  if (r < 0)
    return error_set(err, r, "the checkpoint could not be recorded: %s", strerror(-r));
  t->row_count = 0;
  return 0;
}

/* Whether it was written under this job's key, if it has one. */
static bool same_key(const json_t *metadata, const json_t *mine) {
  const json_t *a = json_object_get(metadata, "key"), *b = json_object_get(mine, "key");
  return a && b ? json_equal(a, b) : a == b;
}

static int restore_all(struct trainer *t, const struct safetensors *file, struct guise_error *err) {
  struct state_piece pieces[STATE_TENSORS];
  _cleanup_(freep) float *strategy_values =
      calloc(t->strategy ? strategy_save_size(t->strategy) : 1, sizeof(float));
  if (!strategy_values)
    return error_set(err, -ENOMEM, "out of memory reading a checkpoint");
  uint32_t count = state_pieces(t, strategy_values, pieces);
  int r = 0;
  for (uint32_t i = 0; r == 0 && i < count; i++)
    r = graph_state_read_vector(file, "", pieces[i].name, pieces[i].dtype, pieces[i].data, pieces[i].count,
                                pieces[i].size, err);
  if (r == 0)
    r = graph_state_read(file, t->graph, "", err);
  if (r == 0 && t->probe)
    r = graph_state_read(file, probe_graph(t->probe), probe_prefix, err);
  if (r == 0 && t->strategy)
    strategy_load(t->strategy, strategy_values);
  return r;
}

static bool same_spec(const json_t *metadata, const json_t *mine) {
  const char *text = json_string_value(json_object_get(metadata, "spec"));
  json_t *written = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
  json_t *own = json_loads(json_string_value(json_object_get(mine, "spec")), 0, NULL);
  const bool same = written && own && job_spec_same(written, own);
  json_decref(written);
  json_decref(own);
  return same;
}

/* A number in the metadata, or UINT64_MAX. */
static uint64_t metadata_number(const json_t *metadata, const char *key) {
  const char *text = json_string_value(json_object_get(metadata, key));
  char *end = NULL;
  unsigned long long value = text ? strtoull(text, &end, 10) : 0;
  return text && *text && *end == 0 ? value : UINT64_MAX;
}

int checkpoint_read(struct trainer *t, const char *path, struct guise_error *err) {
  struct safetensors *file = NULL;
  json_t *mine = fingerprint(t);
  if (!mine)
    return error_set(err, -ENOMEM, "out of memory reading a checkpoint");
  int r = safetensors_open(path, &file, err);
  if (r < 0) {
    json_decref(mine);
    return r;
  }
  const json_t *metadata = safetensors_metadata(file);
  uint64_t step = metadata_number(metadata, "step"), epochs = metadata_number(metadata, "epochs_done");
  if (!json_equal(json_object_get(metadata, "format"), json_object_get(mine, "format")) ||
      !same_spec(metadata, mine) || !same_key(metadata, mine) || step > t->total ||
      epochs > t->spec->train.epochs)
    r = error_set(err, -EBADMSG,
                  "the checkpoint belongs to another job or version of guise: submit the job again");
  if (r == 0)
    r = restore_all(t, file, err);
  if (safetensors_failed(file))
    r = error_set(err, -EIO, "the checkpoint cannot be read from the disk");
  if (r == 0) {
    t->step = step;
    t->epochs_done = (uint32_t)epochs;
    if (!json_equal(json_object_get(metadata, "algorithms"), json_object_get(mine, "algorithms")) ||
        !json_equal(json_object_get(metadata, "kernels"), json_object_get(mine, "kernels")))
      trainer_log(
          t, "warning",
          "this processor uses other kernels than the one the job began on: results agree to rounding only");
  }
  json_decref(mine);
  safetensors_free(file);
  return r;
}
