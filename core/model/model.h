/* The model that is handed out: model.safetensors, holding the embedding network and the mask's constants,
 * nothing else. The class head and the identities' names (together a table of people's templates) are in
 * model-head.safetensors alone, which else is the same.
 *
 * Tensors: every parameter of the graph under its name ("stem.conv.weight", F32, plain layout), then
 * "mask.channel" (U32, K), "mask.mean" and "mask.deviation" (F32, K), "mask.reach" (F32, K) and "mask.learnt"
 * (F32) where there are any, of masks that learn weights "mask.weights" (F32), and with decoys their
 * templates "mask.decoys" (F32, n, C*G*G). With the head "head.weight" (F32, classes, D), a row a person, and
 * last "head.names" (U8): the names of the rows' people in UTF-8, each with a NUL behind it.
 * __metadata__ holds strings: "format" = "guise-model-1", "arch", "input", "embedding", "width", "dropout",
 * "norm" (missing: "batch"), "mask", "mask.dct", "mask.drop_low", "mask.select", "mask.seed", "mask.clip",
 * "mask.pixel_scale", "mask.parameter.NAME", of masks that mix "mix...." (core/model/mask_file.h; missing in
 * files of before), with decoys "mask.decoys" (n) and "mask.decoy_mixes" (T), of keyed models "mask.key", the
 * id of the key, which itself is in a file of its own (core/mask/key.h), and the training's facts. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/file.h"
#include "core/mask/mask.h"
#include "core/model/curve.h"
#include "core/model/files.h"
#include "core/model/mask_file.h"
#include "core/nn/arch.h"
#include "core/nn/graph.h"

#define MODEL_FORMAT "guise-model-1"

/* The class head: whom the model was trained on. */
struct model_head {
  uint32_t classes;
  const float *weights; /* (classes, embedding) */
  const char *names;    /* one after the other, each with its NUL */
  size_t names_bytes;
};

struct model_info {
  enum arch arch;
  uint32_t input;     /* pixels of a side */
  uint32_t embedding; /* D */
  float width;        /* as in struct arch_options */
  float dropout;
  enum arch_norm norm;
  struct mask_options mask; /* its size is `input` */
  struct mask_constants constants;
  const struct decoys *decoys; /* NULL = none; the mask's */
  const float *weights; /* that the mask learnt, mask_weight_count() of them; NULL = none; the mask's */
  const struct model_head *head; /* to be saved; NULL = none, as model_load leaves it */
  struct mask_mixing mixing;     /* of the training's templates, by the policy's choices in its last epoch */
  char key_id[MASK_KEY_ID];      /* of the key that templates have; "" = none */
  struct {                       /* facts about the training; "" and 0 where unknown */
    char job[64];
    char dataset[128]; /* name */
    char dataset_sha256[SHA256_HEX];
    uint32_t identities, images; /* trained on */
    uint32_t epochs;
    uint64_t steps, seed;
    double curve[CURVE_POINTS]; /* of the first verification set */
  } training;
};

/* Writes atomically. The graph is one that arch_describe made with info's options. */
int model_save(const char *path, struct graph *graph, const struct model_info *info, struct guise_error *err);

/* The file's __metadata__: an object of strings. New reference; NULL when out of memory. */
json_t *model_metadata(const struct model_info *info);

/* A model ready to embed. All fields are the model's own; read-only for the caller (the graph is for one
 * thread at a time). */
struct model {
  struct model_info info;
  struct graph *graph; /* forward only */
  struct mask *mask;
  uint32_t batch;
};

/* Reads an untrusted file. batch: images a forward pass (1 for a service, 64 for bulk). -EBADMSG when the
 * file is not a model of this format or its tensors do not fit; err says which. -ENOKEY when it is keyed. */
int model_load(const char *path, uint32_t batch, uint32_t threads, struct model **ret_model,
               struct guise_error *err);
/* The same with the key of a keyed model; NULL: none, and none is looked for. -ENOKEY when the model needs
 * one and there is none or it is another; -EINVAL when it needs none. */
int model_load_keyed(const char *path, const struct mask_key *key, uint32_t batch, uint32_t threads,
                     struct model **ret_model, struct guise_error *err);
struct model *model_free(struct model *model);
DEFINE_CLEANUP(struct model *, model_free)

/* rgb[i]: (input,input,3) RGB bytes. ret_embeddings: count * info.embedding floats, normalised; see
 * embed_images. */
int model_embed(struct model *model, const uint8_t *const *rgb, uint32_t count, bool flip_sum,
                float *ret_embeddings, struct guise_error *err);

/* The same of one view, of images of any size: face(context, i): (size,size,3) RGB bytes, valid until the
 * next call for another i, which are resized to info.input where that is another. should_stop: asked every 64
 * images, by the calling thread; may be NULL. -ECANCELED when it said so. */
int model_embed_faces(struct model *model, const uint8_t *(*face)(void *context, uint32_t i), void *context,
                      uint32_t size, uint32_t count, float *ret_embeddings,
                      bool (*should_stop)(void *stop_context), void *stop_context, struct guise_error *err);

/* What arch_describe needs for a network behind this mask, with batch norms; points into the mask. */
struct arch_options arch_options_for(const struct mask *mask, uint32_t embedding, float width, float dropout);
/* The same for a model's own network, which its parameters fit. */
struct arch_options model_arch_options(const struct model_info *info, const struct mask *mask);
