/* A job's specification: what the API accepts, with defaults, ranges and all mistakes told at once.
 *
 * One table in spec_fields.c drives parsing, validation and printing. A value whose implementation does not
 * exist is refused like any unknown one. Names of data sets and models are checked for form here; that they
 * exist is the caller's check. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/attack/attack.h"
#include "core/base/base.h"
#include "core/mask/mask.h"
#include "core/mask/mixing.h"
#include "core/nn/arch.h"
#include "core/nn/head.h"
#include "core/train/defence.h"
#include "core/train/strategy.h"

#define SPEC_ATTACKS_MAX 16
#define SPEC_NAME 128 /* longest name or id, with NUL */

enum job_type { JOB_TRAIN, JOB_AUDIT };
enum precision { PRECISION_F32, PRECISION_BF16 };
enum memory_use { MEMORY_NORMAL, MEMORY_LOW };
enum strategy_policy { POLICY_LEARNED, POLICY_FIXED, POLICY_UNIFORM };
enum strategy_reward { REWARD_PROBE, REWARD_PAPER };

/* What becomes of the training templates of samples that are not left unmixed: they are mixed with others, or
 * of one face and lose more frequencies. */
enum mask_protect { PROTECT_MIX, PROTECT_DROP };

/* What mask.unmixed is a share of: people, always the same ones, or samples, drawn anew each epoch. */
enum mask_unmixed { UNMIXED_PEOPLE, UNMIXED_SAMPLES };

struct job_spec {
  enum job_type type;
  char dataset[SPEC_NAME]; /* of an audit: the victims'; "" = the model's own */
  char audited[SPEC_NAME]; /* of an audit: the model; it alone, dataset, audit, resources, priority and labels
                              mean something there */
  struct {
    double identities; /* share of people kept out of training, 0..0.9 */
    double images;     /* share of each trained person's images that is not trained on, 0..0.5 */
    bool both_flips;   /* epochs are verified with the sum of an image's and its mirror's embedding, not with
                          one view */
    uint32_t every;    /* each so many epochs are verified, and the last; 1 with mask.reference */
    char pairs_dataset[SPEC_NAME]; /* "" = none */
    char pairs_name[SPEC_NAME];
  } holdout;
  struct {
    enum arch arch;
    uint32_t input, embedding;
    double width, dropout;
    enum arch_norm norm;
  } model;
  struct {
    enum mask_method method;
    const struct mask_level *level; /* whose settings were the defaults (core/train/level.h); NULL = none */
    enum mask_dct dct;
    uint32_t drop_low;
    enum mask_select select;
    double parameter[MASK_PARAMETERS_MAX]; /* of the method, in the order of its table */
    double clip;                           /* of the standardised coefficient, deviations; 0 = none */
    uint32_t k[MIX_MAX];                   /* ascending, 1..6; 1: the policy may leave people unmixed */
    uint32_t k_count;
    double probability[MIX_MAX]; /* weight of each k under the policy "fixed"; they need not sum to 1 */
    uint32_t probability_count;  /* 0 = none are given: k is one number */
    enum strategy_policy policy;
    double unmixed; /* rho: share of the people, or of the samples, whose k is 1 whatever the policy */
    enum mask_unmixed unmixed_by;
    enum mask_protect protect;
    uint32_t protect_drop; /* how many of the lowest frequencies protected templates lose; 0 = drop_low */
    bool auxiliary_norm;   /* batches and batch norms of their own for mixed templates */
    enum head_negatives negatives;
    enum head_margins margins;
    enum mix_pool_kind pool;
    uint32_t recipes; /* frozen mixes an image: 1, 2, 4; 0 = fresh ones each epoch */
    uint32_t decoys;  /* public faces mixed in at inference, 0..DECOYS_MAX */
    bool key;         /* templates are put in a secret order (core/mask/key.h) */
    /* of a learned policy: */
    enum strategy_reward reward;
    enum strategy_ablation ablation;
    char reference[SPEC_NAME];      /* model whose accuracy bounds the loss of accuracy; "" = none */
    double max_accuracy_drop;       /* against the reference, 0..1 */
    char embedder[SPEC_NAME];       /* model that measures the probe's leak; "" = none */
    char public_dataset[SPEC_NAME]; /* "" = none; an embedder is trained on it when none is given */
    struct {                        /* of masks that learn before the training */
      uint32_t epochs;
      double gamma; /* weight of what a viewer sees against recognition */
    } analysis;
  } mask;
  struct {
    struct defence_choice list[DEFENCES]; /* as listed */
    uint32_t count;
    char model[SPEC_NAME]; /* of one that begins with another model's weights; "" = one trained on
                              mask.public_dataset */
  } defences;
  struct {
    uint32_t epochs, batch, warmup_steps;
    double lr; /* resolved: .05 * batch / 128 when the user gave none */
    enum head_kind head;
    double scale, margin, margin_warmup, weight_decay, momentum;
    bool flip;
    bool winograd;  /* where the written rule takes it; else direct convolutions alone */
    uint32_t shift; /* pixels: random translation of the crop, up to this much each way; 0 = none */
    uint64_t seed;
    enum memory_use memory;   /* low: activations are computed again instead of kept */
    enum precision precision; /* of convolutions and activations in training; everything else is float32 */
  } train;
  struct {
    bool attack[SPEC_ATTACKS_MAX]; /* by row of the table in core/attack */
    enum attack_effort effort;
    char public_dataset[SPEC_NAME]; /* faces that attackers learn from; "" = none */
    char teacher[SPEC_NAME];        /* model that attackers learn from; "" = one trained on public_dataset */
    char control[SPEC_NAME]; /* undefended model of the same people, attacked as well; "" = one is trained */
  } audit;
  struct {
    uint32_t threads;       /* 0 = the daemon's default */
    uint32_t max_runtime_s; /* 0 = none */
  } resources;
  int32_t priority;
  json_t *labels; /* object of strings, owned */
};

struct spec_problem {
  char pointer[160]; /* RFC 6901, "/train/epochs" */
  char code[32];     /* unknown_field, wrong_type, out_of_range, unknown_value, missing, conflict */
  char detail[256];
  json_t *allowed; /* array of allowed values, {"minimum","maximum"}, or NULL; owned */
};
struct spec_problems {
  struct spec_problem *problem;
  uint32_t count;
  bool lost; /* there are more, for which memory was lacking */
};
/* Whether anything is wrong, told or not. */
static inline bool spec_problems_any(const struct spec_problems *problems) {
  return problems->count > 0 || problems->lost;
}
void spec_problems_free(struct spec_problems *problems); /* frees what it holds, not the struct */
/* Adds one (for checks that only the caller can make). allowed is stolen; may be NULL. -ENOMEM or 0. */
int spec_problems_add(struct spec_problems *problems, const char *pointer, const char *code, json_t *allowed,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Parses the body of POST /v1/jobs. 0; -EINVAL with every mistake in *problems; -ENOMEM. On 0 the caller
 * frees *ret_spec with job_spec_free. On -EINVAL it has what could be read, no labels, and defaults for the
 * rest, which suits checks that tell more mistakes, and no job. */
int job_spec_parse(const json_t *body, struct job_spec *ret_spec, struct spec_problems *problems);
/* The same for an audit whose people have images that were not trained on, when `unseen`: what compares with
 * them is then among the attacks that run without being named. */
int job_spec_parse_unseen(const json_t *body, bool unseen, struct job_spec *ret_spec,
                          struct spec_problems *problems);
/* The mask of a resolved job. */
struct mask_options job_spec_mask(const struct job_spec *spec);
struct mix_protection job_spec_protection(const struct job_spec *spec);
/* Whether a defence asks for the mask's constants to come from mask.public_dataset. */
bool job_spec_public_constants(const struct job_spec *spec);
/* Whether the training masks pictures of mask.public_dataset as it does its own. */
bool job_spec_public_pictures(const struct job_spec *spec);
/* Whether a defence begins with the weights of a model of public faces. */
bool job_spec_pretrained(const struct job_spec *spec);
/* Adds what the job's defences do to the loss whose gradients a sample of the training would share. */
void job_spec_share(const struct job_spec *spec, struct attack_loss *loss);
void job_spec_free(struct job_spec *spec);
const char *job_type_name(enum job_type type); /* "train" */
/* The resolved job as the API shows it; parses back to the same spec. New reference, NULL when out of memory.
 */
json_t *job_spec_json(const struct job_spec *spec);
/* Whether a resolved job that a checkpoint has is `own`. What an earlier version did not write has this
 * version's defaults, which is what it did. */
bool job_spec_same(const json_t *written, const json_t *own);
