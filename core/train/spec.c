/* What a specification means as a whole: defaults, those that depend on other fields (learning rate,
 * embedding, the mask's drop_low), and conflicts between fields that are right by themselves. */
#include "core/train/spec.h"

#include <math.h>
#include <string.h>

#include "core/train/level.h"
#include "core/train/spec_internal.h"

static void set_defaults(struct job_spec *spec) {
  memset(spec, 0, sizeof(*spec));
  spec->holdout.identities = 0.25;
  spec->holdout.every = 1;
  spec->model.arch = ARCH_FREQ_IR;
  spec->model.input = 112;
  spec->model.width = NAN;
  spec->model.dropout = 0.3;
  spec->model.norm = NORM_UNSET;
  spec->mask.method = MASK_AHM;
  spec->mask.drop_low = UINT32_MAX;
  spec->mask.select = SELECT_UNSET;
  spec->mask.analysis.epochs = 2;
  spec->mask.analysis.gamma = 0.5;
  spec->mask.clip = NAN;
  for (uint32_t i = 0; i < MASK_PARAMETERS_MAX; i++)
    spec->mask.parameter[i] = NAN;
  spec->mask.policy = POLICY_UNSET;
  spec->mask.unmixed = 0.25;
  spec->mask.protect_drop = UINT32_MAX;
  spec->mask.auxiliary_norm = true;
  spec->mask.max_accuracy_drop = 0.01;
  spec->train.epochs = 24;
  spec->train.batch = 64;
  spec->train.warmup_steps = 300;
  spec->train.scale = NAN;
  spec->train.margin = NAN;
  spec->train.lr = NAN;
  spec->train.margin_warmup = 0.2;
  spec->train.weight_decay = 5e-4;
  spec->train.momentum = 0.9;
  spec->train.flip = true;
  spec->train.winograd = true;
  spec->train.shift = UINT32_MAX;
  spec->train.seed = 1;
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    spec->audit.attack[i] = !attacks[i].needs_public_faces && !attacks[i].needs_unseen;
  spec->audit.effort = EFFORT_STANDARD;
  spec->mask.negatives = NEGATIVES_UNSET;
}

/* Whether the strategy network chooses, as far as it is known: the policy is resolved last. */
static bool learns(const struct job_spec *spec) {
  return mask_traits(spec->mask.method)->has_strategy &&
         (spec->mask.policy == POLICY_LEARNED || spec->mask.policy == POLICY_UNSET);
}

/* How many faces are mixed, of methods that leave it to the job; the others show what they would be given.
 * Where nothing is mixed 1 stands for left and 2 for protected. */
static void resolve_k(struct job_spec *spec) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (spec->mask.k_count == 0 && spec->mask.protect == PROTECT_DROP) {
    if (spec->mask.policy != POLICY_FIXED)
      spec->mask.k[spec->mask.k_count++] = 1;
    spec->mask.k[spec->mask.k_count++] = 2;
  } else if (spec->mask.k_count == 0)
    for (uint32_t k = traits->default_k ? traits->default_k : 2;
         k <= (traits->default_k ? traits->default_k : MIX_MAX); k++)
      spec->mask.k[spec->mask.k_count++] = k;
  if (spec->mask.policy == POLICY_UNSET)
    spec->mask.policy = traits->has_strategy || !traits->chooses_k ? POLICY_LEARNED
                        : spec->mask.k_count == 1                  ? POLICY_FIXED
                                                                   : POLICY_UNIFORM;
}

/* The recipe that verified best of those tried on some 24,000 faces of 757 people (docs/results.md): three
 * quarters of freq_ir's channels, a rate of .1 at 128 images a step, CosFace with a margin of .35, crops
 * shifted by a twentieth of their side. The published scale and margin of large sets (s 64, m .4) do not
 * train on fewer than some 10,000 people. */
static void resolve_recipe(struct job_spec *spec) {
  if (isnan(spec->model.width))
    spec->model.width = spec->model.arch == ARCH_FREQ_IR ? 0.75 : 1;
  if (isnan(spec->train.lr))
    spec->train.lr = 0.1 * spec->train.batch / 128.0;
  if (isnan(spec->train.scale))
    spec->train.scale = 30;
  if (isnan(spec->train.margin))
    spec->train.margin = spec->train.head == HEAD_ARCFACE ? 0.5 : 0.35;
  if (spec->train.shift == UINT32_MAX)
    spec->train.shift = spec->model.input / 20;
}

/* Defaults that depend on other fields. */
static void resolve(struct job_spec *spec) {
  resolve_k(spec);
  if (spec->model.embedding == 0)
    spec->model.embedding = arch_default_embedding(spec->model.arch);
  if (spec->model.norm == NORM_UNSET)
    spec->model.norm = job_spec_public_constants(spec) ? ARCH_NORM_GROUP : ARCH_NORM_BATCH;
  if (spec->mask.drop_low == UINT32_MAX)
    spec->mask.drop_low = mask_traits(spec->mask.method)->default_drop_low;
  if (spec->mask.protect_drop == UINT32_MAX)
    spec->mask.protect_drop =
        spec->mask.protect == PROTECT_DROP ? MAX(PROTECT_DROP_DEFAULT, MIN(spec->mask.drop_low + 3, 60u)) : 0;
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (spec->mask.select == SELECT_UNSET)
    spec->mask.select = traits->default_select;
  if (isnan(spec->mask.clip))
    spec->mask.clip = (double)traits->default_clip;
  for (uint32_t i = 0; i < MASK_PARAMETERS_MAX; i++)
    if (isnan(spec->mask.parameter[i]))
      spec->mask.parameter[i] = i < traits->parameter_count ? traits->parameters[i].initial : 0;
  resolve_recipe(spec);
  /* The paper's reward is the recognition loss itself, so both then use the plain soft label. */
  if (spec->mask.negatives == NEGATIVES_UNSET)
    spec->mask.negatives =
        learns(spec) && spec->mask.reward == REWARD_PAPER ? HEAD_NEGATIVES_ALL : HEAD_NEGATIVES_OTHERS;
}

struct mask_options job_spec_mask(const struct job_spec *spec) {
  struct mask_options options = {.method = spec->mask.method,
                                 .dct = spec->mask.dct,
                                 .size = spec->model.input,
                                 .drop_low = spec->mask.drop_low,
                                 .select = spec->mask.select,
                                 .clip = (float)spec->mask.clip,
                                 .seed = spec->train.seed};
  memcpy(options.parameter, spec->mask.parameter, sizeof(options.parameter));
  return options;
}

struct mix_protection job_spec_protection(const struct job_spec *spec) {
  return (struct mix_protection){.drop = spec->mask.protect_drop,
                                 .alone = spec->mask.protect == PROTECT_DROP};
}

/* freq_conv takes channels of 8x8 blocks; the other networks look for pixels, or for one block a pixel. */
static int check_network(const struct job_spec *spec, struct spec_problems *problems) {
  const bool native = spec->mask.dct == MASK_DCT_NATIVE, channels = spec->model.arch == ARCH_FREQ_CONV;
  if (channels && !native)
    return spec_problems_add(problems, "/model/arch", "conflict", NULL,
                             "freq_conv is made for the native transform: choose another network or mask.dct "
                             "\"native\"");
  if (native && !channels && !mask_traits(spec->mask.method)->located)
    return spec_problems_add(
        problems, "/model/arch", "conflict", json_pack("[s]", arch_name(ARCH_FREQ_CONV)),
        "templates of %s cannot be turned back into pixels: choose freq_conv, or mask.dct "
        "\"upsampled\"",
        mask_traits(spec->mask.method)->name);
  return 0;
}

bool job_spec_public_pictures(const struct job_spec *spec) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  return (traits->mixes && spec->mask.pool != MIX_POOL_PRIVATE) || traits->needs_public ||
         spec->mask.decoys > 0 || job_spec_public_constants(spec);
}

/* What needs public faces must name them. */
static int check_public_faces(const struct job_spec *spec, struct spec_problems *problems) {
  int r = 0;
  if (spec->mask.pool != MIX_POOL_PRIVATE && *spec->mask.public_dataset == 0)
    r = spec_problems_add(problems, "/mask/public_dataset", "missing", NULL,
                          "pool \"%s\" takes partners from public faces: name their data set in "
                          "mask.public_dataset",
                          spec_pool_names[spec->mask.pool]);
  else if (mask_traits(spec->mask.method)->needs_public && *spec->mask.public_dataset == 0)
    r = spec_problems_add(problems, "/mask/public_dataset", "missing", NULL,
                          "the generator of the mask \"%s\" learns from public faces: name their data set in "
                          "mask.public_dataset",
                          mask_traits(spec->mask.method)->name);
  else if (spec->mask.decoys > 0 && *spec->mask.public_dataset == 0)
    r = spec_problems_add(problems, "/mask/public_dataset", "missing", NULL,
                          "decoys are public faces: name their data set in mask.public_dataset");
  if (r == 0 && spec->mask.decoys > 0 && !mask_traits(spec->mask.method)->mixes)
    r = spec_problems_add(problems, "/mask/decoys", "conflict", NULL,
                          "the mask \"%s\" does not mix in training, so its network would not know mixes "
                          "with decoys: set decoys to 0 or choose a mask that mixes",
                          mask_traits(spec->mask.method)->name);
  return r;
}

/* What belongs to the probe's reward promises nothing where that reward is not used. */
static int check_probe(const struct job_spec *spec, struct spec_problems *problems) {
  const bool generates = mask_traits(spec->mask.method)->needs_public; /* which an embedder judges */
  const struct {
    const char *pointer, *key;
    bool given;
  } fields_of_probe[] = {{"/mask/reference", "reference", *spec->mask.reference != 0},
                         {"/mask/embedder", "embedder", *spec->mask.embedder != 0 && !generates},
                         {"/mask/ablation", "ablation", spec->mask.ablation != ABLATION_NONE}};
  int r = 0;
  for (size_t i = 0; i < ARRAY_SIZE(fields_of_probe) && r == 0; i++)
    if (fields_of_probe[i].given && !(learns(spec) && spec->mask.reward == REWARD_PROBE))
      r = spec_problems_add(problems, fields_of_probe[i].pointer, "conflict", NULL,
                            "%s belongs to the policy \"learned\" with the reward \"probe\": choose them, or "
                            "leave it out",
                            fields_of_probe[i].key);
  if (r == 0 && *spec->mask.reference && spec->holdout.identities <= 0 && !*spec->holdout.pairs_dataset)
    r = spec_problems_add(problems, "/mask/reference", "conflict", NULL,
                          "reference compares accuracies, which needs faces to verify: give "
                          "holdout.identities or holdout.pairs");
  if (r == 0 && *spec->mask.reference && spec->holdout.every > 1)
    r = spec_problems_add(problems, "/holdout/every", "conflict", json_pack("[i]", 1),
                          "the price of accuracy moves by one bounded step an epoch, from that epoch's "
                          "verification: with mask.reference every epoch is verified, so set every to 1");
  return r;
}

struct attack_needs {
  bool public_faces, teacher, unseen, undefended; /* of any attack that was chosen */
};

static struct attack_needs needs_of(const struct job_spec *spec) {
  struct attack_needs needs = {false, false, false, false};
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++) {
    needs.public_faces |= spec->audit.attack[i] && attacks[i].needs_public_faces;
    needs.teacher |= spec->audit.attack[i] && attacks[i].needs_teacher;
    needs.unseen |= spec->audit.attack[i] && attacks[i].needs_unseen;
    needs.undefended |= spec->audit.attack[i] && (attacks[i].needs_undefended || attacks[i].shows_undefended);
  }
  return needs;
}

static int check_audit(const struct job_spec *spec, struct spec_problems *problems) {
  const struct attack_needs needs = needs_of(spec);
  if (spec->type == JOB_TRAIN && needs.unseen && spec->holdout.images <= 0)
    return spec_problems_add(problems, "/holdout/images", "missing", NULL,
                             "membership compares what was trained on with other images of the same people: "
                             "keep some out with holdout.images, for example 0.2");
  if (needs.public_faces && !*spec->audit.public_dataset)
    return spec_problems_add(problems, "/audit/public_dataset", "missing", NULL,
                             "an attack that learns needs public faces: name a data set of people who are "
                             "not in this one, or leave the attack out");
  if (*spec->audit.teacher && !needs.teacher && !needs.unseen)
    return spec_problems_add(problems, "/audit/teacher", "conflict", NULL,
                             "no attack that was chosen learns from a teacher: choose \"linkage\" and "
                             "audit.public_dataset, or leave it out");
  if (*spec->audit.control && !needs.undefended)
    return spec_problems_add(problems, "/audit/control", "conflict", NULL,
                             "no attack that was chosen is compared with an undefended model: choose "
                             "\"mi_face\", \"gradient\" or \"membership\", or leave it out");
  return 0;
}

static int check_key(const struct job_spec *spec, struct spec_problems *problems) {
  if (spec->mask.key && !mask_traits(spec->mask.method)->keyable)
    return spec_problems_add(problems, "/mask/key", "conflict", NULL,
                             "a template of %s is more than a linear function of the face, and a key would "
                             "not come off again: set key to false or choose another mask",
                             mask_traits(spec->mask.method)->name);
  if (spec->mask.key && spec->mask.decoys > 0)
    return spec_problems_add(problems, "/mask/decoys", "conflict", NULL,
                             "the decoys' templates are in the model, and whoever knows the public faces "
                             "would read the key off them: leave out decoys or key");
  return 0;
}

/* A histogram of k belongs to a policy that does not choose. */
static int check_probability(const struct job_spec *spec, struct spec_problems *problems) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  struct job_spec resolved = *spec;
  resolve_k(&resolved);
  if (!traits->chooses_k)
    return spec_problems_add(
        problems, "/mask/probability", "conflict", NULL,
        "the mask %s does not leave the number of faces to the job: leave probability out", traits->name);
  if (spec->mask.policy != POLICY_FIXED)
    return spec_problems_add(problems, "/mask/probability", "conflict", NULL,
                             "probability says how often each k is drawn, which is up to the policy: choose "
                             "the policy \"fixed\", or leave probability out");
  if (spec->mask.probability_count != resolved.mask.k_count)
    return spec_problems_add(problems, "/mask/probability", "conflict", NULL,
                             "probability must have one number for each entry of k: %u",
                             resolved.mask.k_count);
  return 0;
}

/* k = 1 is a choice beside others, of masks whose policy may choose it. */
static int check_unmixed(const struct job_spec *spec, struct spec_problems *problems) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (!traits->has_strategy)
    return spec_problems_add(
        problems, "/mask/k", "conflict", NULL,
        "the mask %s does not choose which samples stay unmixed: k may hold 1 of ahm and "
        "hybrid alone; mask.unmixed sets how many do",
        traits->name);
  if (spec->mask.k_count == 1)
    return spec_problems_add(problems, "/mask/k", "conflict", NULL,
                             "k with nothing but 1 mixes nothing: set mask.unmixed to 1 for that, or list "
                             "other numbers beside it");
  return 0;
}

/* Dropping in the place of mixing. */
static int check_protect(const struct job_spec *spec, struct spec_problems *problems) {
  const bool drops = spec->mask.protect == PROTECT_DROP;
  struct job_spec resolved = *spec;
  resolve(&resolved);
  const uint32_t drop = resolved.mask.protect_drop;
  if (!drops && drop == 0)
    return 0;
  if (spec->mask.method != MASK_AHM)
    return spec_problems_add(
        problems, drops ? "/mask/protect" : "/mask/protect_drop", "conflict", NULL,
        "the templates of some people lose more frequencies than those of others with the "
        "mask ahm alone: choose it, or leave protect and protect_drop out");
  if (spec->mask.dct != MASK_DCT_NATIVE)
    return spec_problems_add(
        problems, "/mask/protect_drop", "conflict", NULL,
        "of the up-sampled transform what some blocks lose stands in their neighbours: choose "
        "dct \"native\", or leave protect and protect_drop out");
  if (spec->mask.key)
    return spec_problems_add(
        problems, "/mask/key", "conflict", NULL,
        "frequencies that some templates lose tell where a key has put them: leave key out, "
        "or protect and protect_drop");
  if (drops && spec->mask.level)
    return spec_problems_add(problems, "/mask/level", "conflict", NULL,
                             "levels were measured with mixing: leave level out, or protect");
  if (drop <= resolved.mask.drop_low)
    return spec_problems_add(problems, "/mask/protect_drop", "conflict", NULL,
                             "every template loses %u frequencies (drop_low): protected ones must lose more",
                             resolved.mask.drop_low);
  if (!drops)
    return 0;
  if (resolved.mask.k[resolved.mask.k_count - 1] != 2)
    return spec_problems_add(problems, "/mask/k", "conflict", json_pack("[[i,i],[i]]", 1, 2, 2),
                             "with protect \"drop\" nothing is mixed: leave k out, or give [2], so that "
                             "everybody loses more whom mask.unmixed does not leave");
  if (spec->mask.recipes > 0)
    return spec_problems_add(
        problems, "/mask/recipes_per_image", "conflict", NULL,
        "recipes freeze mixes, and with protect \"drop\" there are none: leave them out");
  if (spec->mask.decoys > 0)
    return spec_problems_add(
        problems, "/mask/decoys", "conflict", NULL,
        "the network of a training with protect \"drop\" does not know mixes with decoys: "
        "set decoys to 0");
  if (spec->mask.pool != MIX_POOL_PRIVATE)
    return spec_problems_add(problems, "/mask/pool", "conflict", NULL,
                             "with protect \"drop\" no partners are mixed in: leave pool out");
  if (learns(&resolved) && spec->mask.reward == REWARD_PAPER)
    return spec_problems_add(problems, "/mask/reward", "conflict", json_pack("[s]", "probe"),
                             "the paper's reward is about mixes, and with protect \"drop\" there are none: "
                             "choose \"probe\"");
  return 0;
}

/* Conflicts between fields that are right by themselves. */
static int check_together(const struct job_spec *spec, struct spec_problems *problems) {
  int r = 0;
  if ((*spec->holdout.pairs_dataset != 0) != (*spec->holdout.pairs_name != 0))
    return spec_problems_add(problems,
                             *spec->holdout.pairs_dataset ? "/holdout/pairs/name" : "/holdout/pairs/dataset",
                             "missing", NULL, "holdout.pairs needs both dataset and name");
  if (spec->train.precision == PRECISION_BF16 && !graph_bfloat16_supported())
    return spec_problems_add(
        problems, "/train/precision", "conflict", NULL,
        "bf16 needs a processor with AVX512_BF16, which this one does not have: use f32");
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (traits->chooses_k && !traits->has_strategy && spec->mask.policy == POLICY_LEARNED)
    return spec_problems_add(problems, "/mask/policy", "conflict", json_pack("[s,s]", "fixed", "uniform"),
                             "the strategy network does not choose for the mask %s: use \"fixed\" or "
                             "\"uniform\"",
                             traits->name);
  if (spec->mask.probability_count > 0)
    r = check_probability(spec, problems);
  else if (traits->chooses_k && spec->mask.policy == POLICY_FIXED &&
           (spec->mask.k_count > 1 ||
            (spec->mask.k_count == 0 && !traits->default_k && spec->mask.protect == PROTECT_MIX)))
    r = spec_problems_add(problems, "/mask/k", "conflict", NULL,
                          "the policy \"fixed\" needs k to be one number, for example [3], or "
                          "mask.probability to tell how often each k is drawn");
  if (r == 0 && spec->mask.k_count > 0 && spec->mask.k[0] == 1 && spec->mask.protect == PROTECT_MIX)
    r = check_unmixed(spec, problems);
  if (r == 0)
    r = check_protect(spec, problems);
  if (r < 0)
    return r;
  if (spec->mask.level && spec->mask.method != MASK_AHM)
    return spec_problems_add(problems, "/mask/level", "conflict", NULL,
                             "levels are settings of the mask ahm: leave level out, or choose ahm");
  if (spec->mask.select == MASK_SELECT_LEARNT && !traits->selects)
    return spec_problems_add(problems, "/mask/select", "conflict", NULL,
                             "the mask %s does not let its coefficients be chosen: leave select out",
                             traits->name);
  const uint32_t drop = spec->mask.drop_low == UINT32_MAX ? traits->default_drop_low : spec->mask.drop_low;
  if (spec->mask.select == MASK_SELECT_LEARNT && drop == 0)
    return spec_problems_add(problems, "/mask/drop_low", "conflict", NULL,
                             "select \"learnt\" chooses what drop_low drops: give drop_low above 0");
  r = check_network(spec, problems);
  if (r == 0)
    r = check_key(spec, problems);
  return r < 0 ? r : check_probe(spec, problems);
}

/* What the mask and the defences themselves have to say about their options, once resolved. */
static int check_methods(const struct job_spec *spec, struct spec_problems *problems) {
  struct job_spec resolved = *spec;
  struct guise_error err = {0};
  int r = 0;
  resolve(&resolved);
  const struct mask_options options = job_spec_mask(&resolved);
  if (mask_check_options(&options, &err) < 0)
    r = spec_problems_add(problems, "/mask", "conflict", NULL, "%s", err.text);
  return r < 0 ? r : defences_check(&resolved, problems);
}

static int check_training(const json_t *body, const struct job_spec *spec, struct spec_problems *problems) {
  int r = 0;
  if (!json_object_get(body, "dataset"))
    r = spec_problems_add(problems, "/dataset", "missing", NULL,
                          "dataset is required: the name or id of a data set");
  if (r == 0)
    r = check_public_faces(spec, problems);
  if (r == 0)
    r = check_together(spec, problems);
  if (r == 0)
    r = check_audit(spec, problems);
  return r < 0 ? r : check_methods(spec, problems);
}

static int check_audit_job(const json_t *body, const struct job_spec *spec, struct spec_problems *problems) {
  bool any = false;
  int r = 0;
  for (uint32_t i = 0; i < SPEC_ATTACKS_MAX; i++)
    any |= spec->audit.attack[i];
  if (!json_object_get(body, "model"))
    r = spec_problems_add(problems, "/model", "missing", NULL,
                          "model is required: the id of the model to attack, for example \"mdl_...\"");
  if (r == 0 && !any && json_array_size(json_object_get(json_object_get(body, "audit"), "attacks")) == 0)
    r = spec_problems_add(problems, "/audit/attacks", "out_of_range", NULL,
                          "an audit without attacks says nothing: name one, or leave attacks out");
  return r < 0 ? r : check_audit(spec, problems);
}

/* Without names those attacks run that have what they need and are worth the effort. */
static void default_attacks(const json_t *body, bool unseen, struct job_spec *spec) {
  if (json_object_get(json_object_get(body, "audit"), "attacks"))
    return;
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    spec->audit.attack[i] = (!attacks[i].needs_public_faces || *spec->audit.public_dataset) &&
                            (!attacks[i].needs_unseen || unseen || spec->holdout.images > 0) &&
                            attacks[i].from <= spec->audit.effort;
}

int job_spec_parse(const json_t *body, struct job_spec *ret_spec, struct spec_problems *problems) {
  return job_spec_parse_unseen(body, false, ret_spec, problems);
}

int job_spec_parse_unseen(const json_t *body, bool unseen, struct job_spec *ret_spec,
                          struct spec_problems *problems) {
  struct job_spec spec;
  uint32_t before = problems->count;
  int r = 0;
  spec_fill_names();
  set_defaults(&spec);
  if (!json_is_object(body)) {
    *ret_spec = spec;
    r = spec_problems_add(problems, "", "wrong_type", NULL, "a job is a JSON object");
    return r < 0 ? r : -EINVAL;
  }
  if (!json_object_get(body, "type"))
    r = spec_problems_add(problems, "/type", "missing", json_pack("[s,s]", "train", "audit"),
                          "type is required");
  mask_level_apply(
      mask_level_find(json_string_value(json_object_get(json_object_get(body, "mask"), "level"))), &spec);
  if (r == 0)
    r = spec_read(body, &spec, problems);
  default_attacks(body, unseen, &spec);
  if (r == 0)
    r = spec.type == JOB_AUDIT ? check_audit_job(body, &spec, problems)
                               : check_training(body, &spec, problems);
  if (r == 0 && problems->count > before)
    r = -EINVAL;
  if (r < 0) {
    job_spec_free(&spec);
    *ret_spec = spec;
    return r;
  }
  resolve(&spec);
  *ret_spec = spec;
  return 0;
}

void job_spec_free(struct job_spec *spec) {
  json_decref(spec->labels);
  spec->labels = NULL;
}
