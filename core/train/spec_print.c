/* The resolved job as the API shows it. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/train/level.h"
#include "core/train/spec_internal.h"

static json_t *field_json(const struct field *field, const struct job_spec *spec) {
  const char *at = (const char *)spec + (field->offset == NO_OFFSET ? 0 : field->offset);
  switch (field->type) {
  case FIELD_UINT: {
    if (spec_field_is_u64(field))
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

/* A name that was not given and cannot be null: no pairs, or an audit of the model's own data set. */
static bool is_left_out(const struct field *field, const struct job_spec *spec) {
  return field->type == FIELD_NAME && !field->nullable && *((const char *)spec + field->offset) == 0;
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

static int print_mask(json_t *mask, const struct job_spec *spec) {
  const struct mask_traits *traits = mask_traits(spec->mask.method);
  json_t *k = json_array(), *parameters = json_object(), *probability = json_null();
  for (uint32_t i = 0; i < spec->mask.k_count; i++)
    k = json_append(k, json_integer(spec->mask.k[i]));
  if (spec->mask.probability_count > 0)
    probability = json_array();
  for (uint32_t i = 0; i < spec->mask.probability_count; i++)
    probability = json_append(probability, json_real(spec->mask.probability[i]));
  for (uint32_t i = 0; i < traits->parameter_count; i++)
    parameters = json_put(parameters, traits->parameters[i].name, json_real(spec->mask.parameter[i]));
  int r = json_object_set_new(mask, "k", k);
  r |= json_object_set_new(mask, "probability", probability);
  r |= json_object_set_new(mask, "parameters", parameters);
  r |= json_object_set_new(mask, "level",
                           spec->mask.level ? json_string(mask_level_name(spec->mask.level)) : json_null());
  r |= json_object_set_new(mask, "recipes_per_image",
                           spec->mask.recipes ? json_integer(spec->mask.recipes) : json_null());
  return r;
}

static json_t *defences_spec(const struct job_spec *spec) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < spec->defences.count; i++) {
    const struct defence_choice *choice = &spec->defences.list[i];
    const struct defence_traits *traits = defence_traits(choice->method);
    json_t *entry = json_pack("{s:s}", "method", traits->name);
    for (uint32_t k = 0; k < traits->parameter_count; k++) {
      const double value = choice->parameter[k];
      entry = json_put(entry, traits->parameters[k].name,
                       traits->parameters[k].whole ? json_integer((json_int_t)value) : json_real(value));
    }
    if (traits->pretrained)
      entry =
          json_put(entry, "model", *spec->defences.model ? json_string(spec->defences.model) : json_null());
    list = json_append(list, entry);
  }
  return list;
}

static int print_special(json_t *root, const struct job_spec *spec) {
  json_t *names = json_array();
  for (uint32_t i = 0; i < attack_count && i < SPEC_ATTACKS_MAX; i++)
    if (spec->audit.attack[i])
      names = json_append(names, json_string(attacks[i].name));
  int r = json_object_set_new(json_object_get(root, "audit"), "attacks", names);
  r |= json_object_set_new(root, "labels", spec->labels ? json_incref(spec->labels) : json_object());
  if (spec->type != JOB_TRAIN)
    return r;
  r |= print_mask(json_object_get(root, "mask"), spec);
  r |= json_object_set_new(root, "defences", defences_spec(spec));
  return r;
}

/* All of it or NULL: with a part missing it would be another job. */
json_t *job_spec_json(const struct job_spec *spec) {
  spec_fill_names();
  json_t *root = json_pack("{s:s}", "type", job_type_name(spec->type));
  if (!root)
    return NULL;
  for (size_t i = 0; i < spec_field_count; i++) {
    if (!spec_field_applies(&spec_fields[i], spec->type) || is_left_out(&spec_fields[i], spec))
      continue;
    json_t *object = section_object(root, spec_fields[i].section);
    if (!object || json_object_set_new(object, spec_fields[i].key, field_json(&spec_fields[i], spec)) < 0) {
      json_decref(root);
      return NULL;
    }
  }
  if (print_special(root, spec) < 0) {
    json_decref(root);
    return NULL;
  }
  return root;
}

bool job_spec_same(const json_t *written, const json_t *own) {
  struct spec_problems problems = {0};
  struct job_spec spec;
  bool same = json_equal(written, own);
  if (!same && json_is_object(written) && job_spec_parse(written, &spec, &problems) == 0) {
    json_t *completed = job_spec_json(&spec);
    same = json_equal(completed, own);
    json_decref(completed);
    job_spec_free(&spec);
  }
  spec_problems_free(&problems);
  return same;
}
