#include "core/model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/image/pack.h"
#include "core/mask/decoys.h"
#include "core/mask/key.h"
#include "core/model/embed.h"
#include "core/model/mask_file.h"
#include "core/model/safetensors.h"

/* Bounds on what a file may ask for, so that a few bytes of metadata cannot claim gigabytes. */
#define INPUT_MAX 224u
#define EMBEDDING_MAX 1024u
#define WIDTH_MAX 4.0
#define AT_ONCE 64u                            /* images that are resized together */
#define TENSORS_EXTRA (MASK_FILE_TENSORS + 4u) /* beside the network's, at most */

struct arch_options arch_options_for(const struct mask *mask, uint32_t embedding, float width,
                                     float dropout) {
  const struct mask_constants *constants = mask_placed_constants(mask);
  return (struct arch_options){.embedding = embedding,
                               .width = width,
                               .dropout = dropout,
                               .mask = {.channels = mask_channels(mask),
                                        .channel = constants->channel,
                                        .mean = constants->mean,
                                        .deviation = constants->deviation,
                                        .pixel_scale = constants->pixel_scale},
                               .grid = mask_grid(mask),
                               .inverse = mask_inverts_to_pixels(mask)};
}

struct arch_options model_arch_options(const struct model_info *info, const struct mask *mask) {
  struct arch_options options = arch_options_for(mask, info->embedding, info->width, info->dropout);
  options.norm = info->norm;
  return options;
}

/* ---- saving ---- */

static void put_text(json_t *metadata, const char *key, const char *text) {
  if (text[0])
    (void)json_object_set_new(metadata, key, json_string(text));
}

static void put_number(json_t *metadata, const char *key, uint64_t value) {
  char text[32];
  (void)snprintf(text, sizeof(text), "%" PRIu64, value);
  put_text(metadata, key, text);
}

/* "mask.parameter.sigma" */
struct key {
  char text[64];
};
static struct key parameter_key(const struct mask_parameter *parameter) {
  struct key key;
  (void)snprintf(key.text, sizeof(key.text), "mask.parameter.%.40s", parameter->name);
  return key;
}

/* Nine digits bring every float back bit for bit. */
static void put_real(json_t *metadata, const char *key, float value) {
  char text[32];
  (void)snprintf(text, sizeof(text), "%.9g", (double)value);
  put_text(metadata, key, text);
}

static void put_mask(json_t *metadata, const struct mask_options *mask) {
  const struct mask_traits *traits = mask_traits(mask->method);
  put_text(metadata, "mask", traits->name);
  put_text(metadata, "mask.dct", mask_dct_name(mask->dct));
  put_number(metadata, "mask.drop_low", mask->drop_low);
  put_text(metadata, "mask.select", mask_select_name(mask->select));
  put_number(metadata, "mask.seed", mask->seed);
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    put_real(metadata, parameter_key(&traits->parameters[i]).text, (float)mask->parameter[i]);
}

json_t *model_metadata(const struct model_info *info) {
  json_t *metadata = json_object();
  if (!metadata)
    return NULL;
  put_text(metadata, "format", MODEL_FORMAT);
  put_text(metadata, "guise", GUISE_VERSION);
  put_text(metadata, "arch", arch_name(info->arch));
  put_number(metadata, "input", info->input);
  put_number(metadata, "embedding", info->embedding);
  put_real(metadata, "width", info->width);
  put_real(metadata, "dropout", info->dropout);
  put_text(metadata, "norm", arch_norm_name(info->norm));
  put_mask(metadata, &info->mask);
  put_real(metadata, "mask.clip", info->constants.clip);
  put_real(metadata, "mask.pixel_scale", info->constants.pixel_scale);
  if (info->decoys) {
    put_number(metadata, "mask.decoys", info->decoys->count);
    put_number(metadata, "mask.decoy_mixes", info->decoys->mixes);
  }
  put_text(metadata, "mask.key", info->key_id);
  mask_file_put_mixing(metadata, &info->mixing);
  put_text(metadata, "training.job", info->training.job);
  put_text(metadata, "training.dataset", info->training.dataset);
  put_text(metadata, "training.dataset_sha256", info->training.dataset_sha256);
  put_number(metadata, "training.identities", info->training.identities);
  put_number(metadata, "training.images", info->training.images);
  put_number(metadata, "training.epochs", info->training.epochs);
  put_number(metadata, "training.steps", info->training.steps);
  put_number(metadata, "training.seed", info->training.seed);
  char curve[CURVE_TEXT];
  curve_text(info->training.curve, curve);
  put_text(metadata, "training.accuracy_curve", curve);
  return metadata;
}

static struct safetensor decoy_tensor(const struct model_info *info) {
  const struct decoys *decoys = info->decoys;
  return (struct safetensor){.name = "mask.decoys",
                             .dtype = "F32",
                             .rank = 2,
                             .shape = {decoys->count, decoys->elements},
                             .data = decoys->templates,
                             .bytes = decoys->count * decoys->elements * sizeof(float)};
}

static struct safetensor weights_tensor(const struct model_info *info) {
  const size_t count = mask_weight_count(&info->mask);
  return (struct safetensor){.name = "mask.weights",
                             .dtype = "F32",
                             .rank = 1,
                             .shape = {count},
                             .data = info->weights,
                             .bytes = count * sizeof(float)};
}

static uint32_t head_tensors(const struct model_head *head, uint32_t embedding,
                             struct safetensor ret_tensors[2]) {
  ret_tensors[0] = (struct safetensor){.name = "head.weight",
                                       .dtype = "F32",
                                       .rank = 2,
                                       .shape = {head->classes, embedding},
                                       .data = head->weights,
                                       .bytes = (uint64_t)head->classes * embedding * sizeof(float)};
  ret_tensors[1] =
      (struct safetensor){/* last: what follows would lie unaligned */
                          .name = "head.names",         .dtype = "U8",       .rank = 1,
                          .shape = {head->names_bytes}, .data = head->names, .bytes = head->names_bytes};
  return 2;
}

int model_save(const char *path, struct graph *graph, const struct model_info *info,
               struct guise_error *err) {
  uint32_t parameters = graph_parameters(graph), channels = info->constants.channels;
  uint32_t channel[MASK_CHANNELS_MAX];
  if (channels == 0 || channels > MASK_CHANNELS_MAX)
    return error_set(err, -EINVAL, "the mask has %u channels; 1 to %d are possible", channels,
                     MASK_CHANNELS_MAX);
  _cleanup_(freep) struct safetensor *tensors = calloc(parameters + TENSORS_EXTRA, sizeof(*tensors));
  json_t *metadata = model_metadata(info);
  if (!tensors || !metadata) {
    json_decref(metadata);
    return error_set(err, -ENOMEM, "out of memory saving the model");
  }
  for (uint32_t i = 0; i < parameters; i++) {
    const struct graph_parameter *p = graph_parameter(graph, i);
    tensors[i] = (struct safetensor){.name = p->name,
                                     .dtype = "F32",
                                     .rank = p->rank,
                                     .data = p->value,
                                     .bytes = p->count * sizeof(float)};
    memcpy(tensors[i].shape, p->shape, sizeof(p->shape));
  }
  uint32_t count = parameters + mask_file_tensors(&info->constants, channel, tensors + parameters);
  if (info->weights)
    tensors[count++] = weights_tensor(info);
  if (info->decoys)
    tensors[count++] = decoy_tensor(info);
  if (info->head)
    count += head_tensors(info->head, info->embedding, tensors + count);
  int r = safetensors_write(path, tensors, count, metadata, err);
  json_decref(metadata);
  return r;
}

/* ---- loading ---- */

static void copy_text(char *target, size_t size, const char *text) {
  (void)snprintf(target, size, "%s", text);
}

/* Facts are for people: a file that lacks them still loads. */
static void read_training(const json_t *metadata, struct model_info *info) {
  uint64_t value = 0;
  copy_text(info->training.job, sizeof(info->training.job), mask_file_text(metadata, "training.job"));
  copy_text(info->training.dataset, sizeof(info->training.dataset),
            mask_file_text(metadata, "training.dataset"));
  copy_text(info->training.dataset_sha256, sizeof(info->training.dataset_sha256),
            mask_file_text(metadata, "training.dataset_sha256"));
  if (mask_file_number(metadata, "training.identities", 0, UINT32_MAX, &value, NULL) == 0)
    info->training.identities = (uint32_t)value;
  if (mask_file_number(metadata, "training.images", 0, UINT32_MAX, &value, NULL) == 0)
    info->training.images = (uint32_t)value;
  if (mask_file_number(metadata, "training.epochs", 0, UINT32_MAX, &value, NULL) == 0)
    info->training.epochs = (uint32_t)value;
  (void)mask_file_number(metadata, "training.steps", 0, UINT64_MAX, &info->training.steps, NULL);
  (void)mask_file_number(metadata, "training.seed", 0, UINT64_MAX, &info->training.seed, NULL);
  (void)mask_file_mixing(metadata, &info->mixing, NULL);
  (void)curve_parse(mask_file_text(metadata, "training.accuracy_curve"), info->training.curve);
}

/* Models of before there was a choice have neither transform nor seed. */
static int read_mask(const json_t *metadata, struct model_info *info, struct guise_error *err) {
  enum mask_method method;
  uint64_t drop_low = 0;
  if (mask_method_from_name(mask_file_text(metadata, "mask"), &method) < 0)
    return error_set(err, -EBADMSG, "the model's mask \"%.40s\" is not known",
                     mask_file_text(metadata, "mask"));
  const struct mask_traits *traits = mask_traits(method);
  struct mask_options mask = mask_options_default(method, info->input);
  int r = mask_file_number(metadata, "mask.drop_low", 0, 60, &drop_low, err);
  if (r == 0 && *mask_file_text(metadata, "mask.dct") &&
      mask_dct_from_name(mask_file_text(metadata, "mask.dct"), &mask.dct) < 0)
    r = error_set(err, -EBADMSG, "the model's \"mask.dct\" \"%.40s\" is not known",
                  mask_file_text(metadata, "mask.dct"));
  mask.select = MASK_SELECT_ZIGZAG; /* of files that do not say */
  if (r == 0 && *mask_file_text(metadata, "mask.select") &&
      mask_select_from_name(mask_file_text(metadata, "mask.select"), &mask.select) < 0)
    r = error_set(err, -EBADMSG, "the model's \"mask.select\" \"%.40s\" is not known",
                  mask_file_text(metadata, "mask.select"));
  if (r == 0 && *mask_file_text(metadata, "mask.seed"))
    r = mask_file_number(metadata, "mask.seed", 0, UINT64_MAX, &mask.seed, err);
  for (uint32_t i = 0; i < traits->parameter_count && r == 0; i++) {
    const struct mask_parameter *p = &traits->parameters[i];
    float value = 0;
    r = mask_file_real(metadata, parameter_key(p).text, p->minimum, p->maximum, &value, err);
    mask.parameter[i] = (double)value;
  }
  if (r < 0)
    return r;
  copy_text(info->key_id, sizeof(info->key_id), mask_file_text(metadata, "mask.key"));
  mask.drop_low = (uint32_t)drop_low;
  mask.clip = info->constants.clip;
  info->mask = mask;
  return 0;
}

static int read_metadata(const json_t *metadata, struct model_info *info, struct guise_error *err) {
  uint64_t input = 0, embedding = 0;
  if (strcmp(mask_file_text(metadata, "format"), MODEL_FORMAT) != 0)
    return error_set(err, -EBADMSG,
                     "the file's format is \"%.40s\"; this version of guise reads " MODEL_FORMAT,
                     mask_file_text(metadata, "format"));
  if (arch_from_name(mask_file_text(metadata, "arch"), &info->arch) < 0)
    return error_set(err, -EBADMSG, "the model's architecture \"%.40s\" is not known",
                     mask_file_text(metadata, "arch"));
  if (*mask_file_text(metadata, "norm") &&
      arch_norm_from_name(mask_file_text(metadata, "norm"), &info->norm) < 0)
    return error_set(err, -EBADMSG, "the model's \"norm\" \"%.40s\" is not known",
                     mask_file_text(metadata, "norm"));
  int r = mask_file_number(metadata, "input", 16, INPUT_MAX, &input, err);
  if (r == 0 && input % 8)
    r = error_set(err, -EBADMSG, "the model's input of %" PRIu64 " pixels is no multiple of 8", input);
  if (r == 0)
    r = mask_file_number(metadata, "embedding", 1, EMBEDDING_MAX, &embedding, err);
  if (r == 0)
    r = mask_file_real(metadata, "width", 0.01, WIDTH_MAX, &info->width, err);
  if (r == 0)
    r = mask_file_real(metadata, "dropout", 0, 0.99, &info->dropout, err);
  if (r == 0)
    r = mask_file_real(metadata, "mask.clip", 0, 1e6, &info->constants.clip, err);
  if (r == 0)
    r = mask_file_real(metadata, "mask.pixel_scale", 1e-6, 1e6, &info->constants.pixel_scale, err);
  if (r < 0)
    return r;
  info->input = (uint32_t)input;
  info->embedding = (uint32_t)embedding;
  read_training(metadata, info);
  return read_mask(metadata, info, err);
}

static int read_weights(const struct safetensors *file, struct model *model, struct guise_error *err) {
  const size_t count = mask_weight_count(&model->info.mask);
  const struct safetensor *tensor = safetensors_find(file, "mask.weights");
  if (count == 0 && !tensor)
    return 0;
  if (!tensor || strcmp(tensor->dtype, "F32") != 0 || tensor->bytes != count * sizeof(float))
    return error_set(err, -EBADMSG, "the weights of the model's mask are missing or of the wrong shape");
  int r = mask_set_weights(model->mask, tensor->data, count, err);
  model->info.weights = mask_weights(model->mask);
  return r == -EINVAL ? -EBADMSG : r;
}

/* Decoys are there in the metadata and as a tensor, or not at all. */
static int read_decoys(const struct safetensors *file, struct model *model, struct guise_error *err) {
  const json_t *metadata = safetensors_metadata(file);
  const struct safetensor *tensor = safetensors_find(file, "mask.decoys");
  const size_t elements = mask_elements(model->mask);
  uint64_t count = 0, mixes = 0;
  struct decoys *decoys = NULL;
  if (!tensor && !json_object_get(metadata, "mask.decoys"))
    return 0;
  int r = mask_file_number(metadata, "mask.decoys", 1, DECOYS_MAX, &count, err);
  if (r == 0)
    r = mask_file_number(metadata, "mask.decoy_mixes", 1, DECOY_MIXES_MAX, &mixes, err);
  if (r < 0)
    return r;
  if (!tensor || strcmp(tensor->dtype, "F32") != 0 || tensor->rank != 2 || tensor->shape[0] != count ||
      tensor->shape[1] != elements || tensor->bytes != count * elements * sizeof(float))
    return error_set(err, -EBADMSG, "the model's decoys are missing or of the wrong shape");
  if (decoys_new((uint32_t)count, (uint32_t)mixes, elements, tensor->data, &decoys, err) == -EINVAL)
    return error_set(err, -EBADMSG, "the model's decoys hold values that are not numbers");
  if (!decoys)
    return -ENOMEM;
  r = mask_set_decoys(model->mask, decoys, err);
  if (r < 0)
    decoys_free(decoys);
  model->info.decoys = mask_decoys(model->mask);
  return r;
}

static bool same_shape(const struct safetensor *tensor, const struct graph_parameter *p) {
  if (strcmp(tensor->dtype, "F32") != 0 || tensor->rank != p->rank ||
      tensor->bytes != p->count * sizeof(float))
    return false;
  for (uint32_t i = 0; i < p->rank; i++)
    if (tensor->shape[i] != p->shape[i])
      return false;
  return true;
}

static int read_parameters(const struct safetensors *file, struct graph *graph, struct guise_error *err) {
  for (uint32_t i = 0; i < graph_parameters(graph); i++) {
    struct graph_parameter *p = graph_parameter(graph, i);
    const struct safetensor *tensor = safetensors_find(file, p->name);
    if (!tensor)
      return error_set(err, -EBADMSG, "the model has no tensor %s", p->name);
    if (!same_shape(tensor, p))
      return error_set(err, -EBADMSG, "the model's tensor %s has the wrong type or shape", p->name);
    const float *values = tensor->data;
    for (size_t k = 0; k < p->count; k++)
      if (!isfinite(values[k]))
        return error_set(err, -EBADMSG, "the model's tensor %s holds values that are not numbers", p->name);
    memcpy(p->value, values, tensor->bytes);
  }
  graph_parameters_changed(graph);
  return 0;
}

static int set_key(struct model *model, const struct mask_key *key, struct guise_error *err) {
  const char *wanted = model->info.key_id;
  char id[MASK_KEY_ID];
  if (!key)
    return *wanted ? error_set(err, -ENOKEY, "the model is keyed: it needs the key %s, its " MASK_KEY_FILE,
                               wanted)
                   : 0;
  mask_key_id(key, id);
  if (strcmp(id, wanted) != 0)
    return *wanted ? error_set(err, -ENOKEY, "the model needs the key %s, not %s", wanted, id)
                   : error_set(err, -EINVAL, "the model has no key, and was given one");
  int r = mask_set_key(model->mask, key, err);
  return r == -EINVAL ? -EBADMSG : r; /* a mask that cannot be keyed: a damaged file */
}

static int build(struct model *model, const struct mask_key *key, uint32_t threads, struct guise_error *err) {
  const struct model_info *info = &model->info;
  struct graph_config config = {.batch = model->batch, .threads = threads, .winograd = true, .folded = true};
  int r = mask_new(&info->mask, &model->mask, err);
  if (r == 0) {
    r = mask_set_constants(model->mask, &info->constants, err);
    if (r == -EINVAL)
      r = -EBADMSG; /* a damaged file, not a caller's mistake */
  }
  if (r == 0)
    r = set_key(model, key, err);
  if (r == 0)
    r = graph_new(&config, &model->graph, err);
  if (r == 0) {
    const struct arch_options options = model_arch_options(info, model->mask);
    (void)arch_describe(model->graph, info->arch,
                        &options); /* graph_build tells what it says, with its text */
    r = graph_build(model->graph, err);
  }
  return r;
}

int model_load(const char *path, uint32_t batch, uint32_t threads, struct model **ret_model,
               struct guise_error *err) {
  return model_load_keyed(path, NULL, batch, threads, ret_model, err);
}

int model_load_keyed(const char *path, const struct mask_key *key, uint32_t batch, uint32_t threads,
                     struct model **ret_model, struct guise_error *err) {
  _cleanup_(safetensors_freep) struct safetensors *file = NULL;
  _cleanup_(model_freep) struct model *model = calloc(1, sizeof(*model));
  if (batch == 0 || threads == 0)
    return error_set(err, -EINVAL, "batch and threads must be at least 1");
  if (!model)
    return error_set(err, -ENOMEM, "out of memory loading a model");
  model->batch = batch;
  int r = safetensors_open(path, &file, err);
  if (r == 0)
    r = read_metadata(safetensors_metadata(file), &model->info, err);
  if (r == 0)
    r = mask_file_constants(file, &model->info.constants, err);
  if (r == 0)
    r = build(model, key, threads, err);
  if (r == 0)
    r = read_decoys(file, model, err);
  if (r == 0)
    r = read_weights(file, model, err);
  if (r == 0)
    r = read_parameters(file, model->graph, err);
  if (file && safetensors_failed(file))
    r = error_set(err, -EIO, "the model %s cannot be read from the disk", path);
  if (r < 0)
    return r;
  *ret_model = TAKE(model);
  return 0;
}

struct model *model_free(struct model *model) {
  if (!model)
    return NULL;
  graph_free(model->graph);
  mask_free(model->mask);
  free(model);
  return NULL;
}

static const uint8_t *listed_image(void *context, uint32_t i) {
  return ((const uint8_t *const *)context)[i];
}

int model_embed(struct model *model, const uint8_t *const *rgb, uint32_t count, bool flip_sum,
                float *ret_embeddings, struct guise_error *err) {
  return embed_images(model->graph, model->mask, model->batch, model->info.embedding, listed_image,
                      (void *)rgb, count, flip_sum, ret_embeddings, NULL, NULL, err);
}

int model_embed_faces(struct model *model, const uint8_t *(*face)(void *context, uint32_t i), void *context,
                      uint32_t size, uint32_t count, float *ret_embeddings,
                      bool (*should_stop)(void *stop_context), void *stop_context, struct guise_error *err) {
  const uint32_t side = model->info.input;
  const size_t bytes = (size_t)side * side * 3;
  const uint8_t *rgb[AT_ONCE];
  _cleanup_(freep) uint8_t *pixels = malloc(bytes * AT_ONCE);
  int r = pixels ? 0 : error_set(err, -ENOMEM, "out of memory for %u images of %u pixels", AT_ONCE, side);
  for (uint32_t first = 0; first < count && r == 0; first += AT_ONCE) {
    const uint32_t used = MIN(AT_ONCE, count - first);
    if (should_stop && should_stop(stop_context))
      return error_set(err, -ECANCELED, "stopped while faces were embedded");
    for (uint32_t i = 0; i < used; i++) {
      uint8_t *picture = pixels + bytes * i;
      image_resize(face(context, first + i), size, size, picture, side);
      rgb[i] = picture;
    }
    r = model_embed(model, rgb, used, false, ret_embeddings + (size_t)first * model->info.embedding, err);
  }
  return r;
}
