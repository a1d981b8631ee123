/* From a JSON body to struct job_spec: types, ranges and names of single fields, and all mistakes at once. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/train/level.h"
#include "core/train/spec_internal.h"

/* ---- problems ---- */

void spec_problems_free(struct spec_problems *problems) {
  for (uint32_t i = 0; i < problems->count; i++)
    json_decref(problems->problem[i].allowed);
  free(problems->problem);
  problems->problem = NULL;
  problems->count = 0;
  problems->lost = false;
}

int spec_problems_add(struct spec_problems *problems, const char *pointer, const char *code, json_t *allowed,
                      const char *format, ...) {
  struct spec_problem *grown = realloc(problems->problem, (problems->count + 1) * sizeof(*grown));
  if (!grown) {
    json_decref(allowed);
    problems->lost = true;
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

/* ---- one field ---- */

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
  else if (spec_field_is_u64(field))
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

/* ---- fields that are no scalars ---- */

static int parse_k(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  bool seen[MIX_MAX + 1] = {false};
  if (!json_is_array(value) || json_array_size(value) == 0)
    return spec_problems_add(problems, "/mask/k", "wrong_type", NULL,
                             "k must be a non-empty array of integers 1..6");
  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *entry = json_array_get(value, i);
    json_int_t k = json_integer_value(entry);
    if (!json_is_integer(entry) || k < 1 || k > MIX_MAX || seen[k])
      return spec_problems_add(problems, "/mask/k", "out_of_range",
                               json_pack("[i,i,i,i,i,i]", 1, 2, 3, 4, 5, 6),
                               "k must list different integers from 1 to 6");
    seen[k] = true;
  }
  spec->mask.k_count = 0;
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    if (seen[k])
      spec->mask.k[spec->mask.k_count++] = k;
  return 0;
}

/* Whether the list is one of weights, of which one at least counts. */
static bool are_weights(const json_t *value) {
  const json_t *entry;
  double sum = 0;
  size_t i;
  json_array_foreach(value, i, entry) {
    const double weight = json_number_value(entry);
    if (!json_is_number(entry) || !(weight >= 0 && weight <= 1))
      return false;
    sum += weight;
  }
  return sum > 0;
}

/* Weights stand in the order of mask.k as it was given, which may stand behind them: read last. */
static int parse_probability(const json_t *mask, struct job_spec *spec, struct spec_problems *problems) {
  const json_t *value = json_object_get(mask, "probability"), *k = json_object_get(mask, "k"), *entry;
  uint32_t count = 0;
  size_t i;
  if (!value || json_is_null(value))
    return 0;
  if (!json_is_array(value) || json_array_size(value) == 0 ||
      json_array_size(value) > ARRAY_SIZE(spec->mask.probability))
    return spec_problems_add(problems, "/mask/probability", "wrong_type", NULL,
                             "probability must be an array of one number for each entry of k, or null");
  if (!are_weights(value))
    return spec_problems_add(problems, "/mask/probability", "out_of_range",
                             json_pack("{s:f,s:f}", "minimum", 0.0, "maximum", 1.0),
                             "probability must list numbers from 0 to 1, not all of them 0");
  if (k && json_array_size(k) != json_array_size(value))
    return spec_problems_add(problems, "/mask/probability", "conflict", NULL,
                             "probability must have one number for each entry of k: %zu", json_array_size(k));
  json_array_foreach(value, i, entry) {
    uint32_t at = (uint32_t)i;
    for (uint32_t sorted = 0; k && sorted < spec->mask.k_count; sorted++)
      if (json_integer_value(json_array_get(k, i)) == (json_int_t)spec->mask.k[sorted])
        at = sorted;
    spec->mask.probability[at] = json_number_value(entry);
    count++;
  }
  spec->mask.probability_count = count;
  if (spec->mask.policy == POLICY_UNSET)
    spec->mask.policy = POLICY_FIXED;
  return 0;
}

/* Its settings have been taken already, before the fields that override them. */
static int parse_level(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  spec->mask.level = mask_level_find(json_string_value(value));
  if (spec->mask.level || json_is_null(value))
    return 0;
  return spec_problems_add(problems, "/mask/level", json_is_string(value) ? "unknown_value" : "wrong_type",
                           mask_level_names(), "level must be the name of a measured level, or null");
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
    int index = name ? name_index(spec_attack_names, name) : -1;
    if (index >= 0) {
      spec->audit.attack[index] = true;
      continue;
    }
    char pointer[64];
    (void)snprintf(pointer, sizeof(pointer), "/audit/attacks/%zu", i);
    int r = spec_problems_add(problems, pointer, "unknown_value", names_json(spec_attack_names),
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
  return json_object_size(spec->labels) == json_object_size(value) && spec->labels ? 0 : -ENOMEM;
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

static json_t *defence_keys(const struct defence_traits *traits) {
  json_t *array = json_pack("[s]", "method");
  if (array && traits->pretrained)
    (void)json_array_append_new(array, json_string("model"));
  for (uint32_t i = 0; array && i < traits->parameter_count; i++)
    (void)json_array_append_new(array, json_string(traits->parameters[i].name));
  return array;
}

/* A number beside "method". */
static int parse_defence_number(const struct defence_traits *traits, const char *section, const char *key,
                                const json_t *value, struct defence_choice *choice,
                                struct spec_problems *problems) {
  char pointer[160];
  uint32_t i = 0;
  pointer_of(section, key, pointer);
  while (i < traits->parameter_count && strcmp(traits->parameters[i].name, key) != 0)
    i++;
  if (i == traits->parameter_count)
    return spec_problems_add(problems, pointer, "unknown_field", defence_keys(traits),
                             "the defence %s has no field %.60s", traits->name, key);
  const struct defence_parameter *p = &traits->parameters[i];
  const struct field field = {
      .section = section, .key = p->name, .type = FIELD_NUMBER, .minimum = p->minimum, .maximum = p->maximum};
  if (p->whole && json_is_number(value) && floor(json_number_value(value)) != json_number_value(value))
    return wrong_type(&field, pointer, "an integer", problems);
  return parse_number(&field, value, pointer, &choice->parameter[i], problems);
}

static int parse_defence(const json_t *entry, const char *section, struct job_spec *spec,
                         struct defence_choice *choice, struct spec_problems *problems) {
  const char *key, *name = json_string_value(json_object_get(entry, "method"));
  const int index = name ? name_index(spec_defence_names, name) : -1;
  json_t *value;
  int r = 0;
  if (index < 0) {
    char pointer[160];
    pointer_of(section, "method", pointer);
    return spec_problems_add(problems, pointer, name ? "unknown_value" : "missing",
                             names_json(spec_defence_names), "the defence \"%.60s\" is not known",
                             name ? name : "(no name)");
  }
  const struct defence_traits *traits = defence_traits((enum defence_method)index);
  choice->method = (enum defence_method)index;
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    choice->parameter[i] = traits->parameters[i].initial;
  json_object_foreach((json_t *)entry, key, value) {
    if (r == 0 && traits->pretrained && strcmp(key, "model") == 0)
      r = parse_field(&(struct field){.section = section,
                                      .key = "model",
                                      .type = FIELD_NAME,
                                      .offset = offsetof(struct job_spec, defences.model),
                                      .nullable = true},
                      value, spec, problems);
    else if (r == 0 && strcmp(key, "method") != 0)
      r = parse_defence_number(traits, section, key, value, choice, problems);
  }
  return r;
}

static int parse_defences(const json_t *value, struct job_spec *spec, struct spec_problems *problems) {
  if (!json_is_array(value) || json_array_size(value) > DEFENCES)
    return spec_problems_add(problems, "/defences", "wrong_type", NULL,
                             "defences must be an array of at most %d objects", DEFENCES);
  for (size_t i = 0; i < json_array_size(value); i++) {
    char section[32];
    (void)snprintf(section, sizeof(section), "defences/%zu", i);
    struct defence_choice choice = {.method = DEFENCES};
    int r = parse_defence(json_array_get(value, i), section, spec, &choice, problems);
    if (r < 0)
      return r;
    if (choice.method != DEFENCES)
      spec->defences.list[spec->defences.count++] = choice;
  }
  return 0;
}

/* spec_read has taken over what it understood. */
static int parse_type(const json_t *value, const struct job_spec *spec, struct spec_problems *problems) {
  const char *name = json_string_value(value);
  if (name && strcmp(name, job_type_name(spec->type)) == 0)
    return 0;
  return spec_problems_add(problems, "/type", "unknown_value",
                           json_pack("[s,s]", job_type_name(JOB_TRAIN), job_type_name(JOB_AUDIT)),
                           "type must be \"train\" or \"audit\"");
}

/* ---- sections ---- */

static int parse_special(const char *section, const char *key, const json_t *value, struct job_spec *spec,
                         struct spec_problems *problems, bool *ret_known) {
  *ret_known = true;
  if (strcmp(section, "mask") == 0) {
    if (strcmp(key, "k") == 0)
      return parse_k(value, spec, problems);
    if (strcmp(key, "parameters") == 0 || strcmp(key, "probability") == 0)
      return 0; /* parse_parameters' and parse_probability's */
    if (strcmp(key, "recipes_per_image") == 0)
      return parse_recipes(value, spec, problems);
    if (strcmp(key, "level") == 0)
      return parse_level(value, spec, problems);
  } else if (strcmp(section, "audit") == 0) {
    if (strcmp(key, "attacks") == 0)
      return parse_attacks(value, spec, problems);
  } else if (strcmp(section, "") == 0) {
    if (strcmp(key, "labels") == 0)
      return parse_labels(value, spec, problems);
    if (strcmp(key, "type") == 0)
      return parse_type(value, spec, problems);
    if (strcmp(key, "defences") == 0 && spec->type == JOB_TRAIN)
      return parse_defences(value, spec, problems);
  }
  *ret_known = false;
  return 0;
}

static const char *const sections[] = {"holdout",       "holdout/pairs", "model", "mask",
                                       "mask/analysis", "train",         "audit", "resources"};

/* "holdout" + "pairs" -> "holdout/pairs" when that is a section. */
static const char *subsection(const char *section, const char *key, enum job_type type) {
  char joined[160];
  (void)snprintf(joined, sizeof(joined), "%s%s%.100s", section, *section ? "/" : "", key);
  for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
    if (strcmp(sections[i], joined) == 0 && spec_section_applies(sections[i], type))
      return sections[i];
  return NULL;
}

static int parse_section(const char *section, const json_t *object, struct job_spec *spec,
                         struct spec_problems *problems) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)object, key, value) {
    const struct field *found = NULL;
    const char *child = subsection(section, key, spec->type);
    bool known = false;
    char pointer[160];
    int r = 0;
    pointer_of(section, key, pointer);
    for (size_t i = 0; i < spec_field_count && !found; i++)
      if (strcmp(spec_fields[i].section, section) == 0 && strcmp(spec_fields[i].key, key) == 0 &&
          spec_field_applies(&spec_fields[i], spec->type))
        found = &spec_fields[i];
    if (found)
      r = parse_field(found, value, spec, problems);
    else if (child && json_is_object(value))
      r = parse_section(child, value, spec, problems);
    else if (child && !json_is_null(value))
      r = spec_problems_add(problems, pointer, "wrong_type", NULL, "%s must be an object", key);
    else if (!child) {
      r = parse_special(section, key, value, spec, problems, &known);
      if (r == 0 && !known)
        r = spec_problems_add(
            problems, pointer, "unknown_field", NULL, "the field %.100s is not known%s", key,
            spec->type == JOB_AUDIT ? ": an audit takes over the model's training as it is" : "");
    }
    if (r < 0)
      return r;
  }
  return 0;
}

int spec_read(const json_t *body, struct job_spec *spec, struct spec_problems *problems) {
  const char *type = json_string_value(json_object_get(body, "type"));
  spec->type = type && strcmp(type, job_type_name(JOB_AUDIT)) == 0 ? JOB_AUDIT : JOB_TRAIN;
  const json_t *mask = spec->type == JOB_TRAIN ? json_object_get(body, "mask") : NULL;
  int r = parse_section("", body, spec, problems);
  if (r == 0)
    r = parse_probability(mask, spec, problems);
  return r < 0 ? r : parse_parameters(json_object_get(mask, "parameters"), spec, problems);
}
