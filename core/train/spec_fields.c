/* One table row a field: where it stands in the body, its type, range or names, and where it goes in struct
 * job_spec. Parsing, checking and printing all walk the table, so that a field cannot be accepted without
 * being shown. */
#include <pthread.h>
#include <string.h>

#include "core/mask/decoys.h"
#include "core/train/spec_internal.h"

#define AT(member) offsetof(struct job_spec, member)

static const char *const names_policy[] = {"learned", "fixed", "uniform", NULL};
static const char *const names_reward[] = {"probe", "paper", NULL};
static const char *names_ablation[ABLATIONS + 1];
static const char *const names_head[] = {"cosface", "arcface", NULL};
static const char *const names_precision[] = {"f32", "bf16", NULL};
static const char *const names_memory[] = {"normal", "low", NULL};
static const char *const names_negatives[] = {"others", "all", NULL};
static const char *const names_margins[] = {"scaled", "equal", "reachable", NULL};
static const char *const names_protect[] = {"mix", "drop", NULL};
static const char *const names_unmixed[] = {"people", "samples", NULL};
const char *const spec_pool_names[] = {"private", "public", "both", NULL};
static const char *names_effort[EFFORT_THOROUGH + 2];
const char *spec_attack_names[SPEC_ATTACKS_MAX + 1];
const char *spec_defence_names[DEFENCES + 1];
_Static_assert(sizeof(int) == sizeof(enum attack_effort), "enums are stored as int");
static const char *names_arch[ARCHS + 1];
static const char *names_norm[ARCH_NORMS + 1];
static const char *names_method[MASK_METHODS + 1];
static const char *names_dct[MASK_DCTS + 1];
static const char *names_select[MASK_SELECTS + 1];

const struct field spec_fields[] = {
    {"", "dataset", FIELD_NAME, AT(dataset), 0, 0, false, false, 0, NULL},
    {"", "model", FIELD_NAME, AT(audited), 0, 0, false, false, 0, NULL},
    {"", "priority", FIELD_INT, AT(priority), -100, 100, false, false, 0, NULL},
    {"holdout", "identities", FIELD_NUMBER, AT(holdout.identities), 0, 0.9, false, false, 0, NULL},
    {"holdout", "images", FIELD_NUMBER, AT(holdout.images), 0, 0.5, false, false, 0, NULL},
    {"holdout", "both_flips", FIELD_BOOL, AT(holdout.both_flips), 0, 0, false, false, 0, NULL},
    {"holdout", "every", FIELD_UINT, AT(holdout.every), 1, 1000, false, false, 0, NULL},
    {"holdout/pairs", "dataset", FIELD_NAME, AT(holdout.pairs_dataset), 0, 0, false, false, 0, NULL},
    {"holdout/pairs", "name", FIELD_NAME, AT(holdout.pairs_name), 0, 0, false, false, 0, NULL},
    {"model", "arch", FIELD_ENUM, AT(model.arch), 0, 0, false, false, 0, names_arch},
    {"model", "input", FIELD_UINT, AT(model.input), 32, 224, true, false, 8, NULL},
    {"model", "embedding", FIELD_UINT, AT(model.embedding), 16, 1024, true, false, 16, NULL},
    {"model", "width", FIELD_NUMBER, AT(model.width), 0.25, 4, true, false, 0, NULL},
    {"model", "dropout", FIELD_NUMBER, AT(model.dropout), 0, 0.9, false, false, 0, NULL},
    {"model", "norm", FIELD_ENUM, AT(model.norm), 0, 0, true, false, 0, names_norm},
    {"mask", "method", FIELD_ENUM, AT(mask.method), 0, 0, false, false, 0, names_method},
    {"mask", "dct", FIELD_ENUM, AT(mask.dct), 0, 0, false, false, 0, names_dct},
    {"mask", "drop_low", FIELD_UINT, AT(mask.drop_low), 0, 60, true, false, 0, NULL},
    {"mask", "select", FIELD_ENUM, AT(mask.select), 0, 0, true, false, 0, names_select},
    {"mask/analysis", "epochs", FIELD_UINT, AT(mask.analysis.epochs), 1, 100, false, false, 0, NULL},
    {"mask/analysis", "gamma", FIELD_NUMBER, AT(mask.analysis.gamma), 0, 1000, false, false, 0, NULL},
    {"mask", "clip", FIELD_NUMBER, AT(mask.clip), 0, 100, true, false, 0, NULL},
    {"mask", "policy", FIELD_ENUM, AT(mask.policy), 0, 0, false, false, 0, names_policy},
    {"mask", "reward", FIELD_ENUM, AT(mask.reward), 0, 0, false, false, 0, names_reward},
    {"mask", "pool", FIELD_ENUM, AT(mask.pool), 0, 0, false, false, 0, spec_pool_names},
    {"mask", "decoys", FIELD_UINT, AT(mask.decoys), 0, DECOYS_MAX, false, false, 0, NULL},
    {"mask", "key", FIELD_BOOL, AT(mask.key), 0, 0, false, false, 0, NULL},
    {"mask", "unmixed", FIELD_NUMBER, AT(mask.unmixed), 0, 1, false, false, 0, NULL},
    {"mask", "unmixed_by", FIELD_ENUM, AT(mask.unmixed_by), 0, 0, false, false, 0, names_unmixed},
    {"mask", "protect", FIELD_ENUM, AT(mask.protect), 0, 0, false, false, 0, names_protect},
    {"mask", "protect_drop", FIELD_UINT, AT(mask.protect_drop), 0, 60, true, false, 0, NULL},
    {"mask", "auxiliary_norm", FIELD_BOOL, AT(mask.auxiliary_norm), 0, 0, false, false, 0, NULL},
    {"mask", "ablation", FIELD_ENUM, AT(mask.ablation), 0, 0, true, false, 0, names_ablation},
    {"mask", "reference", FIELD_NAME, AT(mask.reference), 0, 0, true, false, 0, NULL},
    {"mask", "max_accuracy_drop", FIELD_NUMBER, AT(mask.max_accuracy_drop), 0, 0.5, false, true, 0, NULL},
    {"mask", "embedder", FIELD_NAME, AT(mask.embedder), 0, 0, true, false, 0, NULL},
    {"mask", "public_dataset", FIELD_NAME, AT(mask.public_dataset), 0, 0, true, false, 0, NULL},
    {"mask", "negatives", FIELD_ENUM, AT(mask.negatives), 0, 0, false, false, 0, names_negatives},
    {"mask", "margins", FIELD_ENUM, AT(mask.margins), 0, 0, false, false, 0, names_margins},
    {"train", "epochs", FIELD_UINT, AT(train.epochs), 1, 1000, false, false, 0, NULL},
    {"train", "batch", FIELD_UINT, AT(train.batch), 2, 1024, false, false, 0, NULL},
    {"train", "lr", FIELD_NUMBER, AT(train.lr), 0, 10, true, true, 0, NULL},
    {"train", "warmup_steps", FIELD_UINT, AT(train.warmup_steps), 0, 100000, false, false, 0, NULL},
    {"train", "head", FIELD_ENUM, AT(train.head), 0, 0, false, false, 0, names_head},
    {"train", "scale", FIELD_NUMBER, AT(train.scale), 1, 128, true, false, 0, NULL},
    {"train", "margin", FIELD_NUMBER, AT(train.margin), 0, 1, true, false, 0, NULL},
    {"train", "margin_warmup", FIELD_NUMBER, AT(train.margin_warmup), 0, 1, false, false, 0, NULL},
    {"train", "weight_decay", FIELD_NUMBER, AT(train.weight_decay), 0, 0.1, false, false, 0, NULL},
    {"train", "momentum", FIELD_NUMBER, AT(train.momentum), 0, 0.999, false, false, 0, NULL},
    {"train", "flip", FIELD_BOOL, AT(train.flip), 0, 0, false, false, 0, NULL},
    {"train", "shift", FIELD_UINT, AT(train.shift), 0, 16, true, false, 0, NULL},
    {"train", "seed", FIELD_UINT, AT(train.seed), 0, 9007199254740991.0, false, false, 0, NULL},
    {"train", "precision", FIELD_ENUM, AT(train.precision), 0, 0, false, false, 0, names_precision},
    {"train", "winograd", FIELD_BOOL, AT(train.winograd), 0, 0, false, false, 0, NULL},
    {"train", "memory", FIELD_ENUM, AT(train.memory), 0, 0, false, false, 0, names_memory},
    {"audit", "effort", FIELD_ENUM, AT(audit.effort), 0, 0, false, false, 0, names_effort},
    {"audit", "public_dataset", FIELD_NAME, AT(audit.public_dataset), 0, 0, true, false, 0, NULL},
    {"audit", "teacher", FIELD_NAME, AT(audit.teacher), 0, 0, true, false, 0, NULL},
    {"audit", "control", FIELD_NAME, AT(audit.control), 0, 0, true, false, 0, NULL},
    {"resources", "threads", FIELD_UINT, AT(resources.threads), 1, 256, true, false, 0, NULL},
    {"resources", "max_runtime_s", FIELD_UINT, AT(resources.max_runtime_s), 1, 31536000, true, false, 0,
     NULL},
};
const uint32_t spec_field_count = ARRAY_SIZE(spec_fields);

static const char *const names_type[] = {[JOB_TRAIN] = "train", [JOB_AUDIT] = "audit"};

const char *job_type_name(enum job_type type) {
  return names_type[type];
}

bool spec_section_applies(const char *section, enum job_type type) {
  static const char *const of_audits[] = {"", "audit", "resources"};
  for (size_t i = 0; i < ARRAY_SIZE(of_audits); i++)
    if (strcmp(section, of_audits[i]) == 0)
      return true;
  return type == JOB_TRAIN;
}

bool spec_field_applies(const struct field *field, enum job_type type) {
  return spec_section_applies(field->section, type) && (field->offset != AT(audited) || type == JOB_AUDIT);
}

bool spec_field_is_u64(const struct field *field) {
  return field->offset == AT(train.seed);
}

static void fill_names_once(void) {
  for (int i = 0; i <= EFFORT_THOROUGH; i++)
    names_effort[i] = effort_name((enum attack_effort)i);
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    spec_attack_names[i] = attacks[i].name;
  for (int i = 0; i < ABLATIONS; i++)
    names_ablation[i] = ablation_traits((enum strategy_ablation)i)->name;
  for (int i = 0; i < ARCHS; i++)
    names_arch[i] = arch_name((enum arch)i);
  for (int i = 0; i < ARCH_NORMS; i++)
    names_norm[i] = arch_norm_name((enum arch_norm)i);
  for (int i = 0; i < MASK_METHODS; i++)
    names_method[i] = mask_traits((enum mask_method)i)->name;
  for (int i = 0; i < DEFENCES; i++)
    spec_defence_names[i] = defence_traits((enum defence_method)i)->name;
  for (int i = 0; i < MASK_DCTS; i++)
    names_dct[i] = mask_dct_name((enum mask_dct)i);
  for (int i = 0; i < MASK_SELECTS; i++)
    names_select[i] = mask_select_name((enum mask_select)i);
}

void spec_fill_names(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, fill_names_once);
}
