#include "daemon/templates.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/template/templates.h"

int templates_no_pictures(const char *pointer, const struct dataset_row *dataset,
                          struct spec_problems *problems) {
  return spec_problems_add(
      problems, pointer, "conflict", NULL,
      "the data set %.100s holds templates, not pictures, which are needed here: name another",
      dataset->name);
}

/* ---- what follows from the file ---- */

struct imposing {
  json_t *body; /* a deep copy */
  const struct templates *templates;
  struct spec_problems *problems;
  int failed; /* the first error of adding a problem, or of memory */
};

static void note(struct imposing *i, int r) {
  if (r < 0 && i->failed == 0)
    i->failed = r;
}

/* The member that is an object, made where it is missing; NULL when it is something else, which the spec's
 * own checks tell. */
static json_t *section_of(struct imposing *i, const char *name) {
  json_t *section = json_object_get(i->body, name);
  if (json_is_object(section))
    return section;
  if (section && !json_is_null(section))
    return NULL;
  note(i, json_object_set_new(i->body, name, json_object()) < 0 ? -ENOMEM : 0);
  return json_object_get(i->body, name);
}

static bool same(const json_t *a, const json_t *b) {
  if (json_is_number(a) && json_is_number(b))
    return fabs(json_number_value(a) - json_number_value(b)) < 1e-6;
  return json_equal(a, b);
}

/* Sets section.key to `value` (stolen), and tells when the job asks for something else. */
static void impose(struct imposing *i, const char *name, const char *key, json_t *value, const char *why) {
  json_t *section = section_of(i, name);
  const json_t *given = json_object_get(section, key);
  char pointer[64];
  (void)snprintf(pointer, sizeof(pointer), "/%.20s/%.30s", name, key);
  if (given && !json_is_null(given) && !same(given, value))
    note(i, spec_problems_add(i->problems, pointer, "conflict", json_pack("[O]", value),
                              "the data set holds templates%s: leave %s out", why, key));
  if (section)
    note(i, json_object_set(section, key, value) < 0 ? -ENOMEM : 0);
  json_decref(value);
}

/* Sizes of mixes are facts of the file by now. */
static void impose_mixing(struct imposing *i) {
  const struct mask_mixing *mixing = templates_mixing(i->templates);
  json_t *k = json_array();
  if (!mixing->mixes || strcmp(templates_method(i->templates), "ahm") != 0) {
    json_decref(k);
    return;
  }
  for (int n = 2; n <= MIX_MAX; n++)
    if (mixing->probability[n] > 0)
      (void)json_array_append_new(k, json_integer(n));
  static const char *const why = ", which were mixed already";
  impose(i, "mask", "policy", json_string(json_array_size(k) == 1 ? "fixed" : "uniform"), why);
  impose(i, "mask", "k", k, why);
  impose(i, "mask", "unmixed", json_real((double)mixing->unmixed), why);
  impose(i, "mask", "protect", json_string(mixing->protection.alone ? "drop" : "mix"), why);
  impose(i, "mask", "protect_drop", json_integer(mixing->protection.drop), why);
}

static void impose_mask(struct imposing *i) {
  static const char *const why = " with a mask of its own";
  const json_t *metadata = templates_metadata(i->templates);
  const char *select = mask_file_text(metadata, "mask.select");
  impose(i, "model", "input", json_integer((json_int_t)templates_input(i->templates)),
         " of faces of another size");
  impose(i, "mask", "method", json_string(templates_method(i->templates)), why);
  impose(i, "mask", "dct", json_string("native"), why);
  impose(i, "mask", "drop_low", json_integer(strtol(mask_file_text(metadata, "mask.drop_low"), NULL, 10)),
         why);
  impose(i, "mask", "select", json_string(*select ? select : "zigzag"), why);
  impose(i, "mask", "clip", json_real((double)templates_constants(i->templates)->clip), why);
  impose_mixing(i);
}

/* Tells of a member of `section` at `name` that would act on faces, and takes it away, as whatever else is
 * wrong with it is beside the point. */
static void refuse(struct imposing *i, const char *name, json_t *section, const char *key) {
  char pointer[64];
  (void)snprintf(pointer, sizeof(pointer), "/%.30s/%.30s", name, key);
  note(i, spec_problems_add(i->problems, pointer, "conflict", NULL,
                            "the data set holds templates, which were masked and mixed already: leave %s out",
                            key));
  (void)json_object_del(section, key);
}

/* Members of the mask that would act on faces, or need some; their neutral values do no harm. negatives and
 * margins are none of these: they act on who is in a template. */
static void refuse_mask(struct imposing *i) {
  static const struct {
    const char *key, *neutral;
  } members[] = {{"pool", "private"},    {"reward", "probe"}, {"ablation", "none"}, {"recipes_per_image", ""},
                 {"decoys", ""},         {"key", ""},         {"reference", ""},    {"embedder", ""},
                 {"public_dataset", ""}, {"level", ""},       {"probability", ""}};
  static const struct {
    const char *name, *key;
    double neutral;
  } numbers[] = {
      {"mask", "max_accuracy_drop", 0.01}, {"mask/analysis", "epochs", 2}, {"mask/analysis", "gamma", 0.5}};
  json_t *mask = json_object_get(i->body, "mask"), *analysis = json_object_get(mask, "analysis");
  for (size_t n = 0; n < ARRAY_SIZE(members); n++) {
    const json_t *given = json_object_get(mask, members[n].key);
    const char *text = json_string_value(given);
    if (given && !json_is_null(given) && !json_is_false(given) &&
        !(text && strcmp(text, members[n].neutral) == 0) &&
        !(json_is_integer(given) && json_integer_value(given) == 0))
      refuse(i, "mask", mask, members[n].key);
  }
  for (size_t n = 0; n < ARRAY_SIZE(numbers); n++) {
    json_t *section = strcmp(numbers[n].name, "mask") == 0 ? mask : analysis;
    const json_t *given = json_object_get(section, numbers[n].key);
    if (given && !json_is_null(given) &&
        !(json_is_number(given) && fabs(json_number_value(given) - numbers[n].neutral) < 1e-6))
      refuse(i, numbers[n].name, section, numbers[n].key);
  }
}

/* Defences that act on labels or on what is inside the network; the others need faces, or count them. */
static void refuse_defences(struct imposing *i) {
  static const char *const possible[] = {"negative_ls", "bido"};
  bool refused = false;
  size_t n;
  json_t *entry;
  json_array_foreach(json_object_get(i->body, "defences"), n, entry) {
    const char *method = json_string_value(json_object_get(entry, "method"));
    char pointer[64];
    if (!method || strcmp(method, possible[0]) == 0 || strcmp(method, possible[1]) == 0)
      continue;
    (void)snprintf(pointer, sizeof(pointer), "/defences/%zu/method", n);
    note(i, spec_problems_add(
                i->problems, pointer, "conflict", json_pack("[s,s]", possible[0], possible[1]),
                "%.60s needs the faces, or promises something for each, and the data set holds templates "
                "of several: leave it out",
                method));
    refused = true;
  }
  if (refused) /* what else it asks for is beside the point */
    (void)json_object_del(i->body, "defences");
}

/* What attacks are compared with or learn from: none of them can be run. */
static void refuse_aids(struct imposing *i, json_t *audit) {
  static const char *const keys[] = {"control", "teacher"};
  for (size_t n = 0; n < ARRAY_SIZE(keys); n++) {
    const json_t *given = json_object_get(audit, keys[n]);
    char pointer[64];
    if (!given || json_is_null(given))
      continue;
    (void)snprintf(pointer, sizeof(pointer), "/audit/%s", keys[n]);
    note(i, spec_problems_add(i->problems, pointer, "conflict", NULL,
                              "no attack can be run on a training on templates, so that a %s is of no use: "
                              "leave it out, and give it to guise attack --dataset with pictures of others",
                              keys[n]));
    (void)json_object_del(audit, keys[n]);
  }
}

static void refuse_attacks(struct imposing *i) {
  json_t *audit = section_of(i, "audit");
  const json_t *chosen = json_object_get(audit, "attacks");
  size_t n;
  json_t *entry;
  json_array_foreach(chosen, n, entry) {
    char pointer[64];
    (void)snprintf(pointer, sizeof(pointer), "/audit/attacks/%zu", n);
    note(i, spec_problems_add(
                i->problems, pointer, "conflict", json_array(),
                "the attack %.60s needs the pictures of those it attacks, and the data set holds "
                "templates: leave it out, and attack the model with pictures of others by guise attack "
                "--dataset",
                json_is_string(entry) ? json_string_value(entry) : "?"));
  }
  refuse_aids(i, audit);
  if (audit && (!chosen || json_is_null(chosen) || json_is_array(chosen))) /* else the spec's checks tell */
    note(i, json_object_set_new(audit, "attacks", json_array()) < 0 ? -ENOMEM : 0);
}

static int impose_all(struct imposing *i) {
  impose_mask(i);
  refuse_mask(i);
  impose(i, "holdout", "identities", json_real(0), " of several people each, so that nobody can be held out");
  impose(i, "holdout", "images", json_real(0), " of several people each, so that no image can be held out");
  impose(i, "train", "shift", json_integer(0), ", which cannot be moved by pixels");
  refuse_defences(i);
  refuse_attacks(i);
  return i->failed;
}

/* ---- the data set ---- */

static int find(struct service *service, const struct client *client, const json_t *body,
                struct dataset_row *row) {
  const char *name = json_string_value(json_object_get(body, "dataset"));
  if (!name || !*name)
    return -ENOENT;
  int r = store_dataset_get(service->store, name, row);
  if (r < 0)
    return r;
  return owner_sees(client->sees, row->owner) && row->kind == DATASET_TEMPLATES &&
                 row->state != DATASET_FAILED
             ? 0
             : -ENOENT;
}

/* The file of the data set that the body names; *ret_templates NULL where there is nothing to impose.
 * An erasure may put another file in its place between reading the row and opening it. */
static int open_named(struct service *service, const struct client *client, const json_t *body,
                      struct templates **ret_templates, struct spec_problems *problems) {
  char before[SHA256_HEX] = "", path[PATH_MAX];
  for (;;) {
    struct dataset_row row;
    int r = find(service, client, body, &row);
    if (r < 0)
      return r == -ENOENT ? 0 : r; /* what is missing or failed is told at its place */
    if (row.state != DATASET_READY)
      return spec_problems_add(
          problems, "/dataset", "conflict", NULL,
          "the data set %.100s holds templates that are still being read: send the job again once "
          "it is ready",
          row.name);
    service_blob_path(service, row.sha256, path);
    r = templates_open(path, ret_templates, NULL);
    if (r != -ENOENT || strcmp(before, row.sha256) == 0)
      return r == -ENOENT || r == -EBADMSG ? -EIO : r;
    memcpy(before, row.sha256, sizeof(before));
  }
}

int templates_impose(struct service *service, const struct client *client, const json_t *body,
                     json_t **ret_body, struct spec_problems *problems) {
  _cleanup_(templates_freep) struct templates *templates = NULL;
  int r = open_named(service, client, body, &templates, problems);
  if (r < 0 || !templates)
    return r;
  struct imposing imposing = {.body = json_deep_copy(body), .templates = templates, .problems = problems};
  if (!imposing.body)
    return -ENOMEM;
  r = impose_all(&imposing);
  if (r < 0)
    json_decref(imposing.body);
  else
    *ret_body = imposing.body;
  return r;
}
