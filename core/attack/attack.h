/* Attacks: what a determined reader of templates, weights or gradients gets out of them. One file an attack,
 * one row each in the table of attack.c. Every attack names its surface and runs beside a control (the same
 * attack without the mask): an attack that fails on the control says "inconclusive", never "resists". */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/cache.h"
#include "core/mask/mask.h"
#include "core/mask/mixing.h"
#include "core/metric/bootstrap.h"
#include "core/nn/head.h"

enum attack_surface {
  SURFACE_TRAINING_TEMPLATES,  /* T: what a client uploads, what a stolen training store holds */
  SURFACE_INFERENCE_TEMPLATES, /* I: what a client sends to be recognised */
  SURFACE_WEIGHTS,             /* W: what is handed out */
  SURFACE_GRADIENTS,           /* G: what federated training would share */
  SURFACES
};
const char *surface_letter(enum attack_surface surface); /* "T" */
const char *surface_name(enum attack_surface surface);   /* "training templates" */

enum attack_verdict { VERDICT_LEAKS, VERDICT_RESISTS, VERDICT_INCONCLUSIVE };
const char *verdict_name(enum attack_verdict verdict); /* "leaks", "resists", "inconclusive" */

enum attack_effort { EFFORT_QUICK, EFFORT_STANDARD, EFFORT_THOROUGH }; /* how many faces: each attack says */
const char *effort_name(enum attack_effort effort);
int effort_from_name(const char *name, enum attack_effort *ret_effort); /* 0 or -ENOENT */

/* A set of faces. image(context, i) is thread-safe and gives (size,size,3) RGB bytes. */
struct attack_faces {
  const uint8_t *(*image)(void *context, uint32_t i);
  void *context;
  const uint32_t *identity; /* count entries, any numbering */
  uint32_t count;
  const uint32_t *k; /* of people trained on: faces in the training template of each, count entries, 0 where
                       it is not known; NULL: as the mixing draws them */
};

/* How a training store's templates are mixed. */
struct attack_mixing {
  double unmixed; /* share of people, or of samples, that stay unmixed whatever the policy */
  bool by_samples;
  /* weight of k = 1..6 among the others of the whole training (index k), the warm-up's among them; 1: the
   * policy left a sample unmixed */
  double probability[MIX_MAX + 1];
  bool beta; /* lambda_0 ~ Beta(alpha, alpha) and k = 2 instead of |N(0,1)| draws */
  float alpha;
  uint32_t recipes; /* frozen mixes an image; 0: mixed anew each time it is used */
  double uses; /* of a recipe whose k is drawn anew each time, and has a mix for each k; 0: k is frozen with
                  it */
  const char *doubt; /* a sentence for results that rest on these mixes; NULL = none */
  struct mix_protection protection;
  enum mix_pool_kind pool;
  struct attack_faces partners; /* public faces of the pool; count 0 = none */
};

#define ATTACK_GRANTED_MAX 2

/* The loss of the training, and what of it the gradient of one sample does not show. */
struct attack_loss {
  enum head_kind kind;
  struct head_options options;
  uint32_t frozen; /* the stem and so many blocks are not trained and have no gradients to share; 0: all is */
  const char *granted[ATTACK_GRANTED_MAX]; /* sentences on what defences add and the attacker is spared */
};

struct attack_context {
  struct attack_faces victims; /* people the model was not trained on; at least two people */
  struct attack_faces open;    /* public faces; count 0 = none */
  const char *teacher;         /* path of a public model.safetensors; NULL = none */
  const struct mask *mask;     /* under attack; its size is that of all images */
  const struct mask
      *control;      /* the undefended mask with its constants; NULL = `none` fitted on the attacked faces */
  const char *model; /* path of the model.safetensors under attack; NULL = attacks on weights cannot run */
  const struct mask_key *key; /* its key, where it is keyed; else NULL */
  struct attack_loss loss;    /* of its training; for attacks on weights and gradients */
  struct attack_faces
      members; /* what it was trained on, in the order of people; count 0 = nothing is known */
  /* for attacks that need images of trained people that were not trained on: */
  struct attack_faces unseen;     /* of the members' people, numbered and ordered alike */
  const char *overfitted;         /* control: a model that knows these members by heart */
  const char *undefended;         /* control: an undefended model of the members' people */
  bool undefended_given;          /* it is not the job's own: what it teaches is not kept for other jobs */
  const char *undefended_differs; /* a sentence on what it is beside the model under attack; NULL: alike */
  const char *evaluator; /* a judge of pictures of them: another architecture, seed and, maybe, images */
  bool evaluator_unseen; /* none of its images is among the members'; false: some are, or it is not known */
  const char *const *references; /* models that saw none of them */
  uint32_t reference_count;
  struct attack_mixing mixing; /* ignored by masks that do not mix */
  const char *work_directory;  /* where an attack keeps directories of what it has learnt and finished; NULL =
                                  nowhere */
  const struct model_cache *cache; /* for generators that later jobs can use; NULL = none */
  enum attack_effort effort;
  uint64_t seed;
  uint32_t threads;
  bool (*should_stop)(void *stop_context); /* may be NULL */
  /* Something is on disk in the work directory from which the attack, begun again, goes on. May be NULL. */
  void (*kept)(void *stop_context);
  void *stop_context;
};

#define ATTACK_METRICS_MAX 10
#define ATTACK_PICTURES_MAX 3 /* of each source and surface */

struct attack_metric {
  const char *name; /* "ssim" */
  const char *unit; /* "", "dB" */
  const char *description;
  struct interval value;     /* mean and 95 %, bootstrapped over people */
  double worst_tenth;        /* mean over the tenth of people that fare worst (at least one) */
  double chance;             /* the same figure against somebody else's face */
  double chance_worst_tenth; /* and its mean over the tenth of people with the highest chance */
  struct interval control;   /* without the mask */
  double control_threshold;  /* what the control must reach; NAN: it need not */
  double ceiling; /* what the attacker's own tools reach on photographs; NAN where that means nothing */
};

/* Side by side: original, template as seen, recovered: (size, 3 * size, 3) RGB bytes. */
struct attack_picture {
  bool victim;  /* a person of the data set: for report-private.html alone */
  bool open;    /* else: a public face, or one that is drawn */
  uint8_t *rgb; /* owned */
  char caption[96];
};

#define PAPER_SCORES 4 /* core/attack/paper.h */

struct attack_surface_result {
  enum attack_surface surface;
  const char *threat_model;                /* what the attacker has and knows */
  const char *granted[ATTACK_GRANTED_MAX]; /* further sentences on that; NULL = none */
  bool given_key;                          /* the mask has a key and the attacker was given it */
  struct attack_metric metric[ATTACK_METRICS_MAX];
  uint32_t metrics;
  const char *decided_by; /* name of the metric the verdict rests on */
  double threshold;       /* of that metric's mean */
  double threshold_worst_tenth;
  enum attack_verdict verdict;
  char reason[640];
  double mean_k; /* faces a template */
  struct attack_picture picture[2 * ATTACK_PICTURES_MAX];
  uint32_t pictures;
  bool on_paper; /* `paper` is measured */
  double paper[PAPER_SCORES];
};

/* Who said whom the drawings show. */
struct attack_evaluator {
  const char *arch; /* NULL = nobody was asked */
  uint32_t images;  /* it was trained on; 0 = its model does not tell */
  bool unseen; /* the model under attack was trained on none of them; false: on some, or it is not known */
  /* Share of the photographs behind the class rows, which that model was trained on, that it gives to the
   * right person when it knows all the others; NAN: nobody has two. */
  double accuracy;
};

struct attack_result {
  const char *name, *summary;
  enum attack_effort effort;
  uint64_t seed;
  uint32_t size; /* pixels of a side */
  uint32_t faces, people;
  uint32_t steps;        /* the attacker's iterations: of training with public faces, else a face, at most */
  uint32_t public_faces; /* it learnt from; 0 = it does not learn */
  uint64_t parameters;   /* of its network; 0 = none */
  struct attack_evaluator evaluator;
  double seconds;
  struct attack_surface_result surface[SURFACES];
  uint32_t surfaces;
};

struct attack {
  const char *name;    /* as in the API */
  const char *summary; /* one line */
  bool surface[SURFACES];
  bool needs_public_faces;
  bool needs_teacher;      /* a recogniser of public faces */
  bool needs_unseen;       /* images of trained people that were not trained on */
  bool needs_undefended;   /* an undefended model of the people the model was trained on */
  bool shows_undefended;   /* is tried on such a model as well, where there is one, and does without */
  bool needs_evaluator;    /* a judge of pictures of these people */
  enum attack_effort from; /* the least effort at which it runs without being named */
  int (*run)(const struct attack_context *context, struct attack_result *ret_result, struct guise_error *err);
};

/* 0, or -ECANCELED when should_stop says so: for the calling thread, which alone may ask. */
int attack_stop_code(const struct attack_context *context, struct guise_error *err);

extern const struct attack attacks[];
extern const uint32_t attack_count;
const struct attack *attack_find(const char *name); /* NULL when unknown */

/* Checks the context and runs. 0; -EINVAL (too few people, an attack that needs public faces has none);
 * -ECANCELED; -ENOMEM; what writing to the work directory says. On 0 free with attack_result_done. Blocks;
 * uses context->threads OpenMP threads; the same result for any number of them, but for attacks that train a
 * network: for the same number. What an attempt that was broken off has left in the work directory changes
 * nothing but the seconds. */
int attack_run(const struct attack *attack, const struct attack_context *context,
               struct attack_result *ret_result, struct guise_error *err);
void attack_result_done(struct attack_result *result); /* frees what it holds, not the struct */

/* One entry of the report's "attacks"; pictures of synthetic faces only. New reference, NULL when out of
 * memory. */
json_t *attack_result_json(const struct attack_result *result);
/* {"attack", "surfaces":[{"surface","pictures":[..]}]} with the victims' own pictures, for report_html's
 * private rendering. */
json_t *attack_result_private(const struct attack_result *result);
