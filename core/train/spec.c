/* One table row a field: where it stands in the body, its type, range or names, and where it goes in struct
 * job_spec. Parsing, checking and printing all walk the table, so that a field cannot be accepted without
 * being shown. Fields whose default depends on others (learning rate, embedding, the mask's drop_low) are
 * resolved after the walk. */
#include "core/train/spec.h"

#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/mask/decoys.h"

enum field_type { FIELD_UINT, FIELD_INT, FIELD_NUMBER, FIELD_BOOL, FIELD_NAME, FIELD_ENUM };

struct field {
  const char *section; /* "" = top level; "holdout/pairs" = nested */
  const char *key;
  enum field_type type;
  size_t offset;
  double minimum, maximum;  /* of numbers */
  bool nullable;            /* null = the default */
  bool above;               /* the minimum itself is not allowed */
  uint32_t step;            /* integers must be multiples of this; 0 = any */
  const char *const *names; /* of enums, NULL-terminated, in the order of their values */
};

#define AT(member) offsetof(struct job_spec, member)

static const char *const names_policy[] = {"learned", "fixed", "uniform", NULL};
static const char *const names_reward[] = {"probe", "paper", NULL};
static const char *names_ablation[ABLATIONS + 1];
static const char *const names_head[] = {"cosface", "arcface", NULL};
static const char *const names_precision[] = {"f32", "bf16", NULL};
static const char *const names_memory[] = {"normal", "low", NULL};
static const char *const names_negatives[] = {"others", "all", NULL};
static const char *const names_margins[] = {"scaled", "equal", NULL};
static const char *const names_pool[] = {"private", "public", "both", NULL};
static const char *names_effort[EFFORT_THOROUGH + 2];
static const char *names_attack[SPEC_ATTACKS_MAX + 1];
_Static_assert(sizeof(int) == sizeof(enum attack_effort), "enums are stored as int");
static const char *names_arch[ARCHS + 1];
static const char *names_method[MASK_METHODS + 1];
static const char *names_dct[MASK_DCTS + 1];
static const char *names_select[MASK_SELECTS + 1];
/* Values that are fixed today: accepted and shown, so that a client may spell a job out. */

#define NO_OFFSET SIZE_MAX
#define NEGATIVES_UNSET ((enum head_negatives)99)
#define POLICY_UNSET ((enum strategy_policy)99)
#define SELECT_UNSET ((enum mask_select)99)

static const struct field fields[] = {
    {"", "dataset", FIELD_NAME, AT(dataset), 0, 0, false, false, 0, NULL},
    {"", "priority", FIELD_INT, AT(priority), -100, 100, false, false, 0, NULL},
    {"holdout", "identities", FIELD_NUMBER, AT(holdout.identities), 0, 0.9, false, false, 0, NULL},
    {"holdout", "both_flips", FIELD_BOOL, AT(holdout.both_flips), 0, 0, false, false, 0, NULL},
    {"holdout/pairs", "dataset", FIELD_NAME, AT(holdout.pairs_dataset), 0, 0, false, false, 0, NULL},
    {"holdout/pairs", "name", FIELD_NAME, AT(holdout.pairs_name), 0, 0, false, false, 0, NULL},
    {"model", "arch", FIELD_ENUM, AT(model.arch), 0, 0, false, false, 0, names_arch},
    {"model", "input", FIELD_UINT, AT(model.input), 32, 224, true, false, 8, NULL},
    {"model", "embedding", FIELD_UINT, AT(model.embedding), 16, 1024, true, false, 16, NULL},
    {"model", "width", FIELD_NUMBER, AT(model.width), 0.25, 4, false, false, 0, NULL},
    {"model", "dropout", FIELD_NUMBER, AT(model.dropout), 0, 0.9, false, false, 0, NULL},
    {"mask", "method", FIELD_ENUM, AT(mask.method), 0, 0, false, false, 0, names_method},
    {"mask", "dct", FIELD_ENUM, AT(mask.dct), 0, 0, false, false, 0, names_dct},
    {"mask", "drop_low", FIELD_UINT, AT(mask.drop_low), 0, 60, true, false, 0, NULL},
    {"mask", "select", FIELD_ENUM, AT(mask.select), 0, 0, true, false, 0, names_select},
    {"mask/analysis", "epochs", FIELD_UINT, AT(mask.analysis.epochs), 1, 100, false, false, 0, NULL},
    {"mask/analysis", "gamma", FIELD_NUMBER, AT(mask.analysis.gamma), 0, 1000, false, false, 0, NULL},
    {"mask", "clip", FIELD_NUMBER, AT(mask.clip), 0, 100, true, false, 0, NULL},
    {"mask", "policy", FIELD_ENUM, AT(mask.policy), 0, 0, false, false, 0, names_policy},
    {"mask", "reward", FIELD_ENUM, AT(mask.reward), 0, 0, false, false, 0, names_reward},
    {"mask", "pool", FIELD_ENUM, AT(mask.pool), 0, 0, false, false, 0, names_pool},
    {"mask", "decoys", FIELD_UINT, AT(mask.decoys), 0, DECOYS_MAX, false, false, 0, NULL},
    {"mask", "key", FIELD_BOOL, AT(mask.key), 0, 0, false, false, 0, NULL},
    {"mask", "unmixed", FIELD_NUMBER, AT(mask.unmixed), 0, 1, false, false, 0, NULL},
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
    {"train", "shift", FIELD_UINT, AT(train.shift), 0, 16, false, false, 0, NULL},
    {"train", "seed", FIELD_UINT, AT(train.seed), 0, 9007199254740991.0, false, false, 0, NULL},
    {"train", "precision", FIELD_ENUM, AT(train.precision), 0, 0, false, false, 0, names_precision},
    {"train", "memory", FIELD_ENUM, AT(train.memory), 0, 0, false, false, 0, names_memory},
    {"audit", "effort", FIELD_ENUM, AT(audit.effort), 0, 0, false, false, 0, names_effort},
    {"audit", "public_dataset", FIELD_NAME, AT(audit.public_dataset), 0, 0, true, false, 0, NULL},
    {"audit", "teacher", FIELD_NAME, AT(audit.teacher), 0, 0, true, false, 0, NULL},
    {"resources", "threads", FIELD_UINT, AT(resources.threads), 1, 256, true, false, 0, NULL},
    {"resources", "max_runtime_s", FIELD_UINT, AT(resources.max_runtime_s), 1, 31536000, true, false, 0,
     NULL},
};

/* Which members are integers of another width than uint32_t. */
static bool is_u64(const struct field *field) {
  return field->offset == AT(train.seed);
}

static void fill_names_once(void) {
  for (int i = 0; i <= EFFORT_THOROUGH; i++)
    names_effort[i] = effort_name((enum attack_effort)i);
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    names_attack[i] = attacks[i].name;
  for (int i = 0; i < ABLATIONS; i++)
    names_ablation[i] = ablation_traits((enum strategy_ablation)i)->name;
  for (int i = 0; i < ARCHS; i++)
    names_arch[i] = arch_name((enum arch)i);
  for (int i = 0; i < MASK_METHODS; i++)
    names_method[i] = mask_traits((enum mask_method)i)->name;
  for (int i = 0; i < MASK_DCTS; i++)
    names_dct[i] = mask_dct_name((enum mask_dct)i);
  for (int i = 0; i < MASK_SELECTS; i++)
    names_select[i] = mask_select_name((enum mask_select)i);
}

static void fill_names(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, fill_names_once);
}

/* ---- problems
 * ------------------------------------------------------------------------------------------------------- */

void spec_problems_free(struct spec_problems *problems) {
  for (uint32_t i = 0; i < problems->count; i++)
    json_decref(problems->problem[i].allowed);
  free(problems->problem);
  problems->problem = NULL;
  problems->count = 0;
}

int spec_problems_add(struct spec_problems *problems, const char *pointer, const char *code, json_t *allowed,
                      const char *format, ...) {
  struct spec_problem *grown = realloc(problems->problem, (problems->count + 1) * sizeof(*grown));
  if (!grown) {
    json_decref(allowed);
    return -ENOMEM;
  }
  problems->problem = grown;
  struct spec_problem *problem = &grown[problems->count++];
  va_list args;
  (void)snprintf(problem->pointer, sizeof(problem->pointer), "%s", pointer);
  (void)snprintf(problem->code, sizeof(problem->code), "%s", code);
  va_start(args, format);
  (void)vsnprintf(problem->detail, sizeof(problem->detail), format, args);
  va_end(args);
  problem->allowed = allowed;
  return 0;
}

static json_t *names_json(const char *const *names) {
  json_t *array = json_array();
  for (; array && *names; names++)
    (void)json_array_append_new(array, json_string(*names));
  return array;
}

/* ---- one field
 * ------------------------------------------------------------------------------------------------------ */

static void pointer_of(const char *section, const char *key, char ret_pointer[160]) {
  (void)snprintf(ret_pointer, 160, "%s%s/%.100s", *section ? "/" : "", section, key);
}

static int name_index(const char *const *names, const char *name) {
  for (int i = 0; names[i]; i++)
    if (strcmp(names[i], name) == 0)
      return i;
  return -1;
}

static int wrong_type(const struct field *field, const char *pointer, const char *wanted,
                      struct spec_problems *problems) {
  return spec_problems_add(problems, pointer, "wrong_type", NULL, "%s must be %s%s", field->key, wanted,
                           field->nullable ? " or null" : "");
}

static bool name_is_valid(const char *name, size_t length) {
  if (length == 0 || length >= SPEC_NAME || strlen(name) != length)
    return false;
  for (const char *p = name; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
      return false;
  return true;
}

static int parse_number(const struct field *field, const json_t *value, const char *pointer, void *target,
                        struct spec_problems *problems) {
  bool whole = field->type != FIELD_NUMBER;
  if (whole ? !json_is_integer(value) : !json_is_number(value))
    return wrong_type(field, pointer, whole ? "an integer" : "a number", problems);
  double number = json_number_value(value);
  bool in_range = isfinite(number) && number <= field->maximum &&
                  (field->above ? number > field->minimum : number >= field->minimum);
  if (!in_range)
    return spec_problems_add(problems, pointer, "out_of_range",
                             json_pack("{s:f,s:f}", field->above ? "exclusiveMinimum" : "minimum",
                                       field->minimum, "maximum", field->maximum),
                             "%s must be %s %.10g and at most %.10g", field->key,
                             field->above ? "above" : "at least", field->minimum, field->maximum);
  if (whole && field->step > 1 && (uint64_t)json_integer_value(value) % field->step != 0)
    return spec_problems_add(problems, pointer, "out_of_range",
                             json_pack("{s:i}", "multipleOf", (int)field->step),
                             "%s must be a multiple of %u", field->key, field->step);
  if (!whole)
    *(double *)target = number;
  else if (field->type == FIELD_INT)
    *(int32_t *)target = (int32_t)json_integer_value(value);
  else if (is_u64(field))
    *(uint64_t *)target = (uint64_t)json_integer_value(value);
  else
    *(uint32_t *)target = (uint32_t)json_integer_value(value);
  return 0;
}

static int parse_field(const struct field *field, const json_t *value, struct job_spec *spec,
                       struct spec_problems *problems) {
  char pointer[160];
  void *target = field->offset == NO_OFFSET ? NULL : (char *)spec + field->offset;
  pointer_of(field->section, field->key, pointer);
  if (json_is_null(value) && field->nullable)
    return 0;
  switch (field->type) {
  case FIELD_UINT:
  case FIELD_INT:
  case FIELD_NUMBER:
    return parse_number(field, value, pointer, target, problems);
  case FIELD_BOOL:
    if (!json_is_boolean(value))
      return wrong_type(field, pointer, "true or false", problems);
    *(bool *)target = json_is_true(value);
    return 0;
  case FIELD_NAME:
    if (!json_is_string(value))
      return wrong_type(field, pointer, "a string", problems);
    if (!name_is_valid(json_string_value(value), json_string_length(value)))
      return spec_problems_add(problems, pointer, "out_of_range", NULL,
                               "%s must be a name of 1 to %d letters, digits, '.', '_' or '-'", field->key,
                               SPEC_NAME - 1);
    memcpy(target, json_string_value(value), json_string_length(value) + 1);
    return 0;
  case FIELD_ENUM:
    break;
  }
  if (!json_is_string(value))
    return wrong_type(field, pointer, "a string", problems);
  int index = name_index(field->names, json_string_value(value));
  if (index < 0)
    return spec_problems_add(problems, pointer, "unknown_value", names_json(field->names),
                             "%s \"%.60s\" is not known", field->key, json_string_value(value));
  if (target)
    memcpy(target, &(int){index}, sizeof(int));
  return 0;
}

static json_t *parameter_names(const struct mask_traits *traits) {
  json_t *array = json_array();
  for (uint32_t i = 0; array && i < traits->parameter_count; i++)
    (void)json_array_append_new(array, json_string(traits->parameters[i].name));
  return array;
}

/* ---- fields that are no scalars
 * -------------------------------------------------------------------------------------- */

static int parse_k(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  bool seen[MIX_MAX + 1] = {false};
  if (!json_is_array(value) || json_array_size(value) == 0)
    return spec_problems_add(problems, "/mask/k", "wrong_type", NULL,
                             "k must be a non-empty array of integers 2..6");
  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *entry = json_array_get(value, i);
    json_int_t k = json_integer_value(entry);
    if (!json_is_integer(entry) || k < 2 || k > MIX_MAX || seen[k])
      return spec_problems_add(problems, "/mask/k", "out_of_range", json_pack("[i,i,i,i,i]", 2, 3, 4, 5, 6),
                               "k must list different integers from 2 to 6");
    seen[k] = true;
  }
  spec->mask.k_count = 0;
  for (uint32_t k = 2; k <= MIX_MAX; k++)
    if (seen[k])
      spec->mask.k[spec->mask.k_count++] = k;
  return 0;
}

static int parse_recipes(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  const json_int_t recipes = json_integer_value(value);
  if (json_is_null(value))
    return 0;
  if (!json_is_integer(value))
    return spec_problems_add(problems, "/mask/recipes_per_image", "wrong_type", NULL,
                             "recipes_per_image must be an integer or null");
  if (recipes != 1 && recipes != 2 && recipes != 4)
    return spec_problems_add(problems, "/mask/recipes_per_image", "out_of_range",
                             json_pack("[i,i,i,n]", 1, 2, 4),
                             "recipes_per_image must be 1, 2, 4 or null (fresh mixes each epoch)");
  spec->mask.recipes = (uint32_t)recipes;
  return 0;
}

static int parse_attacks(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  if (!json_is_array(value))
    return spec_problems_add(problems, "/audit/attacks", "wrong_type", NULL,
                             "attacks must be an array of names");
  memset(spec->audit.attack, 0, sizeof(spec->audit.attack));
  for (size_t i = 0; i < json_array_size(value); i++) {
    const char *name = json_string_value(json_array_get(value, i));
    int index = name ? name_index(names_attack, name) : -1;
    if (index >= 0) {
      spec->audit.attack[index] = true;
      continue;
    }
    char pointer[64];
    (void)snprintf(pointer, sizeof(pointer), "/audit/attacks/%zu", i);
    int r = spec_problems_add(problems, pointer, "unknown_value", names_json(names_attack),
                              "the attack \"%.60s\" is not known", name ? name : "(not a string)");
    if (r < 0)
      return r;
  }
  return 0;
}

static int parse_labels(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  const char *key;
  json_t *text;
  if (!json_is_object(value))
    return spec_problems_add(problems, "/labels", "wrong_type", NULL, "labels must be an object of strings");
  if (json_object_size(value) > 32)
    return spec_problems_add(problems, "/labels", "out_of_range", json_pack("{s:i}", "maxProperties", 32),
                             "at most 32 labels are kept");
  json_object_foreach((json_t *)value, key, text) {
    if (!name_is_valid(key, strlen(key)) || !json_is_string(text) || json_string_length(text) > 256)
      return spec_problems_add(
          problems, "/labels", "out_of_range", NULL,
          "a label is a name (letters, digits, '.', '_', '-') with a string of at most 256 bytes");
  }
  json_decref(spec->labels);
  spec->labels = json_deep_copy(value);
  return spec->labels ? 0 : -ENOMEM;
}

/* The method's own numbers. Which they are depends on the method, which may stand behind them: read last. */
static int parse_parameters(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  const char *key;
  json_t *entry;
  if (!value || json_is_null(value))
    return 0;
  if (!json_is_object(value))
    return spec_problems_add(problems, "/mask/parameters", "wrong_type", NULL,
                             "parameters must be an object of numbers");
  json_object_foreach((json_t *)value, key, entry) {
    const struct mask_parameter *p = traits->parameters, *end = p + traits->parameter_count;
    char pointer[160];
    int r = 0;
    pointer_of("mask/parameters", key, pointer);
    while (p < end && strcmp(p->name, key) != 0)
      p++;
    if (p == end) {
      r = spec_problems_add(problems, pointer, "unknown_field", parameter_names(traits),
                            "the mask %s has no parameter %.60s", traits->name, key);
    } else {
      const struct field field = {"mask/parameters", p->name, FIELD_NUMBER, 0, p->minimum,
                                  p->maximum,        false,   false,        0, NULL};
      r = parse_number(&field, entry, pointer, &spec->mask.parameter[p - traits->parameters], problems);
    }
    if (r < 0)
      return r;
  }
  return 0;
}

/* Design fields that may be spelled out with the one value they have today. */
static int parse_fixed(const char *section, const char *key, bool ok, const char *what,
                       struct spec_problems *problems) {
  char pointer[160];
  if (ok)
    return 0;
  pointer_of(section, key, pointer);
  return spec_problems_add(problems, pointer, "unknown_value", NULL, "%s must be %s in this version", key,
                           what);
}

/* ---- sections
 * -------------------------------------------------------------------------------------------------------- */

static int parse_special(const char *section, const char *key, const json_t *value, struct job_spec *spec,
                         struct spec_problems *problems, bool *ret_known) {
  *ret_known = true;
  if (strcmp(section, "mask") == 0) {
    if (strcmp(key, "k") == 0)
      return parse_k(value, spec, problems);
    if (strcmp(key, "parameters") == 0)
      return 0; /* parse_parameters' */
    if (strcmp(key, "recipes_per_image") == 0)
      return parse_recipes(value, spec, problems);
    if (strcmp(key, "level") == 0)
      return parse_fixed(section, key, json_is_null(value), "null", problems);
    if (strcmp(key, "key") == 0)
      return parse_fixed(section, key, json_is_false(value), "false", problems);
  } else if (strcmp(section, "audit") == 0) {
    if (strcmp(key, "attacks") == 0)
      return parse_attacks(value, spec, problems);
  } else if (strcmp(section, "") == 0) {
    if (strcmp(key, "labels") == 0)
      return parse_labels(value, spec, problems);
    if (strcmp(key, "type") == 0)
      return parse_fixed(section, key,
                         json_is_string(value) && strcmp(json_string_value(value), "train") == 0, "\"train\"",
                         problems);
    if (strcmp(key, "defences") == 0)
      return parse_fixed(section, key, json_is_array(value) && json_array_size(value) == 0, "[]", problems);
  }
  *ret_known = false;
  return 0;
}

static const char *const sections[] = {"holdout",       "holdout/pairs", "model", "mask",
                                       "mask/analysis", "train",         "audit", "resources"};

/* "holdout" + "pairs" -> "holdout/pairs" when that is a section. */
static const char *subsection(const char *section, const char *key) {
  char joined[160];
  (void)snprintf(joined, sizeof(joined), "%s%s%.100s", section, *section ? "/" : "", key);
  for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
    if (strcmp(sections[i], joined) == 0)
      return sections[i];
  return NULL;
}

static int parse_section(const char *section, const json_t *object, struct job_spec *spec,
                         struct spec_problems *problems) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    const struct field *found = NULL;
    const char *child = subsection(section, key);
    bool known = false;
    char pointer[160];
    int r = 0;
    pointer_of(section, key, pointer);
    for (size_t i = 0; i < ARRAY_SIZE(fields) && !found; i++)
      if (strcmp(fields[i].section, section) == 0 && strcmp(fields[i].key, key) == 0)
        found = &fields[i];
    if (found)
      r = parse_field(found, value, spec, problems);
    else if (child && json_is_object(value))
      r = parse_section(child, value, spec, problems);
    else if (child && !json_is_null(value))
      r = spec_problems_add(problems, pointer, "wrong_type", NULL, "%s must be an object", key);
    else if (!child) {
      r = parse_special(section, key, value, spec, problems, &known);
      if (r == 0 && !known)
        r = spec_problems_add(problems, pointer, "unknown_field", NULL, "the field %.100s is not known", key);
    }
    if (r < 0)
      return r;
  }
  return 0;
}

static void set_defaults(struct job_spec *spec) {
  memset(spec, 0, sizeof(*spec));
  spec->holdout.identities = 0.25;
  spec->model.arch = ARCH_FREQ_IR;
  spec->model.input = 112;
  spec->model.width = 1;
  spec->model.dropout = 0.2;
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
  spec->mask.max_accuracy_drop = 0.01;
  spec->train.epochs = 24;
  spec->train.batch = 64;
  spec->train.warmup_steps = 200;
  spec->train.scale = NAN;
  spec->train.margin = NAN;
  spec->train.lr = NAN;
  spec->train.margin_warmup = 0.2;
  spec->train.weight_decay = 5e-4;
  spec->train.momentum = 0.9;
  spec->train.flip = true;
  spec->train.seed = 1;
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    spec->audit.attack[i] = !attacks[i].needs_public_faces;
  spec->audit.effort = EFFORT_STANDARD;
  spec->mask.negatives = NEGATIVES_UNSET;
}

/* Whether the strategy network chooses, as far as it is known: the policy is resolved last. */
static bool learns(const struct job_spec *spec) {
  return mask_traits(spec->mask.method)->has_strategy &&
         (spec->mask.policy == POLICY_LEARNED || spec->mask.policy == POLICY_UNSET);
}

/* How many faces are mixed, of methods that leave it to the job; the others show what they would be given. */
static void resolve_k(struct job_spec *spec) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (spec->mask.k_count == 0)
    for (uint32_t k = traits->default_k ? traits->default_k : 2;
         k <= (traits->default_k ? traits->default_k : MIX_MAX); k++)
      spec->mask.k[spec->mask.k_count++] = k;
  if (spec->mask.policy == POLICY_UNSET)
    spec->mask.policy = traits->has_strategy || !traits->chooses_k ? POLICY_LEARNED
                        : spec->mask.k_count == 1                  ? POLICY_FIXED
                                                                   : POLICY_UNIFORM;
}

/* Defaults that depend on other fields. */
static void resolve(struct job_spec *spec) {
  resolve_k(spec);
  if (spec->model.embedding == 0)
    spec->model.embedding = arch_default_embedding(spec->model.arch);
  if (spec->mask.drop_low == UINT32_MAX)
    spec->mask.drop_low = mask_traits(spec->mask.method)->default_drop_low;
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  if (spec->mask.select == SELECT_UNSET)
    spec->mask.select = traits->default_select;
  if (isnan(spec->mask.clip))
    spec->mask.clip = (double)traits->default_clip;
  for (uint32_t i = 0; i < MASK_PARAMETERS_MAX; i++)
    if (isnan(spec->mask.parameter[i]))
      spec->mask.parameter[i] = i < traits->parameter_count ? traits->parameters[i].initial : 0;
  if (isnan(spec->train.lr))
    spec->train.lr = 0.05 * spec->train.batch / 128.0;
  /* The paper's reward is the recognition loss itself, so both then use the plain soft label. */
  if (spec->mask.negatives == NEGATIVES_UNSET)
    spec->mask.negatives =
        learns(spec) && spec->mask.reward == REWARD_PAPER ? HEAD_NEGATIVES_ALL : HEAD_NEGATIVES_OTHERS;
  /* The published scale and margin of large sets (s 64, m .4) do not train on fewer than some 10,000 people.
   */
  if (isnan(spec->train.scale))
    spec->train.scale = 30;
  if (isnan(spec->train.margin))
    spec->train.margin = spec->train.head == HEAD_ARCFACE ? 0.5 : 0.3;
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

/* What needs public faces must name them. */
static int check_public_faces(const struct job_spec *spec, struct spec_problems *problems) {
  int r = 0;
  if (spec->mask.pool != MIX_POOL_PRIVATE && *spec->mask.public_dataset == 0)
    r = spec_problems_add(problems, "/mask/public_dataset", "missing", NULL,
                          "pool \"%s\" takes partners from public faces: name their data set in "
                          "mask.public_dataset",
                          names_pool[spec->mask.pool]);
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
  const struct {
    const char *pointer, *key;
    bool given;
  } fields_of_probe[] = {{"/mask/reference", "reference", *spec->mask.reference != 0},
                         {"/mask/embedder", "embedder", *spec->mask.embedder != 0},
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
  return r;
}

static bool learning_attack(const struct job_spec *spec) {
  bool any = false;
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    any |= spec->audit.attack[i] && attacks[i].needs_public_faces;
  return any;
}

static int check_audit(const struct job_spec *spec, struct spec_problems *problems) {
  if (learning_attack(spec) && !*spec->audit.public_dataset)
    return spec_problems_add(problems, "/audit/public_dataset", "missing", NULL,
                             "an attack that learns needs public faces: name a data set of people who are "
                             "not in this one, or leave the attack out");
  if (*spec->audit.teacher && !learning_attack(spec))
    return spec_problems_add(problems, "/audit/teacher", "conflict", NULL,
                             "no attack that was chosen learns from a teacher: choose \"linkage\" and "
                             "audit.public_dataset, or leave it out");
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

/* Conflicts between fields that are right by themselves. */
static int check_together(const struct job_spec *spec, struct spec_problems *problems) {
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
  if (traits->chooses_k && spec->mask.policy == POLICY_FIXED &&
      (spec->mask.k_count > 1 || (spec->mask.k_count == 0 && !traits->default_k)))
    return spec_problems_add(problems, "/mask/k", "conflict", NULL,
                             "the policy \"fixed\" needs k to be one number, for example [3]");
  if (spec->mask.select == MASK_SELECT_LEARNT && !traits->selects)
    return spec_problems_add(problems, "/mask/select", "conflict", NULL,
                             "the mask %s does not let its coefficients be chosen: leave select out",
                             traits->name);
  const uint32_t drop = spec->mask.drop_low == UINT32_MAX ? traits->default_drop_low : spec->mask.drop_low;
  if (spec->mask.select == MASK_SELECT_LEARNT && drop == 0)
    return spec_problems_add(problems, "/mask/drop_low", "conflict", NULL,
                             "select \"learnt\" chooses what drop_low drops: give drop_low above 0");
  int r = check_network(spec, problems);
  if (r == 0)
    r = check_key(spec, problems);
  if (r == 0)
    r = check_audit(spec, problems);
  return r < 0 ? r : check_probe(spec, problems);
}

/* What the method itself has to say about its options, once resolved. */
static int check_mask(const struct job_spec *spec, struct spec_problems *problems) {
  struct job_spec resolved = *spec;
  struct guise_error err = {0};
  resolve(&resolved);
  const struct mask_options options = job_spec_mask(&resolved);
  return mask_check_options(&options, &err) < 0
             ? spec_problems_add(problems, "/mask", "conflict", NULL, "%s", err.text)
             : 0;
}

/* Who gives public faces and names no attacks wants those that need them, too. */
static void default_attacks(const json_t *body, struct job_spec *spec) {
  if (json_object_get(json_object_get(body, "audit"), "attacks") || !*spec->audit.public_dataset)
    return;
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    spec->audit.attack[i] = true;
}

int job_spec_parse(const json_t *body, struct job_spec *ret_spec, struct spec_problems *problems) {
  struct job_spec spec;
  uint32_t before = problems->count;
  int r = 0;
  fill_names();
  set_defaults(&spec);
  if (!json_is_object(body)) {
    r = spec_problems_add(problems, "", "wrong_type", NULL, "a job is a JSON object");
    return r < 0 ? r : -EINVAL;
  }
  if (!json_object_get(body, "type"))
    r = spec_problems_add(problems, "/type", "missing", json_pack("[s]", "train"), "type is required");
  if (r == 0 && !json_object_get(body, "dataset"))
    r = spec_problems_add(problems, "/dataset", "missing", NULL,
                          "dataset is required: the name or id of a data set");
  if (r == 0)
    r = parse_section("", body, &spec, problems);
  if (r == 0)
    r = parse_parameters(json_object_get(json_object_get(body, "mask"), "parameters"), &spec, problems);
  default_attacks(body, &spec);
  if (r == 0)
    r = check_public_faces(&spec, problems);
  if (r == 0)
    r = check_together(&spec, problems);
  if (r == 0)
    r = check_mask(&spec, problems);
  if (r == 0 && problems->count > before)
    r = -EINVAL;
  if (r < 0) {
    job_spec_free(&spec);
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

/* ---- printing
 * -------------------------------------------------------------------------------------------------------- */

static json_t *field_json(const struct field *field, const struct job_spec *spec) {
  const char *at = (const char *)spec + (field->offset == NO_OFFSET ? 0 : field->offset);
  switch (field->type) {
  case FIELD_UINT: {
    if (is_u64(field))
      return json_integer((json_int_t) * (const uint64_t *)at);
    uint32_t value = *(const uint32_t *)at;
    return value == 0 && field->nullable && field->minimum > 0 ? json_null() : json_integer(value);
  }
  case FIELD_INT:
    return json_integer(*(const int32_t *)at);
  case FIELD_NUMBER:
    return json_real(*(const double *)at);
  case FIELD_BOOL:
    return json_boolean(*(const bool *)at);
  case FIELD_NAME:
    return *at == 0 && field->nullable ? json_null() : json_string(at);
  case FIELD_ENUM:
    break;
  }
  return json_string(field->names[field->offset == NO_OFFSET ? 0 : *(const int *)(const void *)at]);
}

/* The object of a section inside `root`, made when missing. */
static json_t *section_object(json_t *root, const char *section) {
  char first[32];
  const char *slash = strchr(section, '/');
  if (*section == 0)
    return root;
  (void)snprintf(first, sizeof(first), "%.*s", slash ? (int)(slash - section) : 31, section);
  json_t *object = json_object_get(root, first);
  if (!object) {
    (void)json_object_set_new(root, first, json_object());
    object = json_object_get(root, first);
  }
  return object && slash ? section_object(object, slash + 1) : object;
}

static void print_special(json_t *root, const struct job_spec *spec) {
  json_t *mask = json_object_get(root, "mask");
  json_t *k = json_array();
  for (uint32_t i = 0; i < spec->mask.k_count; i++)
    (void)json_array_append_new(k, json_integer(spec->mask.k[i]));
  (void)json_object_set_new(mask, "k", k);
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  json_t *parameters = json_object();
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    (void)json_object_set_new(parameters, traits->parameters[i].name, json_real(spec->mask.parameter[i]));
  (void)json_object_set_new(mask, "parameters", parameters);
  (void)json_object_set_new(mask, "recipes_per_image",
                            spec->mask.recipes ? json_integer(spec->mask.recipes) : json_null());
  json_t *names = json_array();
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    if (spec->audit.attack[i])
      (void)json_array_append_new(names, json_string(attacks[i].name));
  (void)json_object_set_new(json_object_get(root, "audit"), "attacks", names);
  (void)json_object_set_new(root, "defences", json_array());
  (void)json_object_set_new(root, "labels", spec->labels ? json_deep_copy(spec->labels) : json_object());
}

json_t *job_spec_json(const struct job_spec *spec) {
  fill_names();
  json_t *root = json_pack("{s:s}", "type", "train");
  if (!root)
    return NULL;
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    if (strcmp(fields[i].section, "holdout/pairs") == 0 && *spec->holdout.pairs_dataset == 0)
      continue;
    json_t *object = section_object(root, fields[i].section);
    if (!object || json_object_set_new(object, fields[i].key, field_json(&fields[i], spec)) < 0) {
      json_decref(root);
      return NULL;
    }
  }
  print_special(root, spec);
  return root;
}
