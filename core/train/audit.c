#include "core/train/audit.h"

#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/model/text.h"
#include "core/train/comparisons.h"

int audit_record_init(struct audit_record *record, struct guise_error *err) {
  *record = (struct audit_record){json_array(), json_array()};
  if (record->attacks && record->pictures)
    return 0;
  audit_record_done(record);
  return error_set(err, -ENOMEM, "out of memory before the audit");
}

void audit_record_done(struct audit_record *record) {
  json_decref(record->attacks);
  json_decref(record->pictures);
  *record = (struct audit_record){NULL, NULL};
}

static bool is_recorded(const struct audit_record *record, const char *name) {
  size_t i;
  json_t *entry;
  json_array_foreach(record->attacks, i, entry) {
    if (strcmp(json_text_at(entry, "attack"), name) == 0)
      return true;
  }
  return false;
}

static bool is_chosen(const struct job_spec *spec, uint32_t attack) {
  return attack < SPEC_ATTACKS_MAX && spec->audit.attack[attack];
}

uint32_t audit_count(const struct job_spec *spec) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < attack_count; i++)
    count += is_chosen(spec, i);
  return count;
}

double audit_recipe_uses(const struct job_spec *trained) {
  const bool learned =
      mask_traits(trained->mask.method)->has_strategy && trained->mask.policy == POLICY_LEARNED;
  return learned && trained->mask.recipes > 0 ? (double)trained->train.epochs / trained->mask.recipes : 0;
}

/* ---- one attack ---- */

/* Without held-out people all are the victims: attacks on templates do not use the model. */
static const struct face_list *victims_of(const struct audit_subject *subject) {
  return subject->data->held.identities >= 2 ? &subject->data->held : &subject->data->train;
}

static bool should_stop(void *context) {
  const struct audit_subject *subject = context;
  return job_stop_code(subject->callbacks) != 0;
}

static void on_kept(void *context) {
  const struct audit_subject *subject = context;
  job_kept(subject->callbacks);
}

static int sign(json_t *array, json_t *entry, const char *job) {
  int r = entry ? json_object_set_new(entry, "job", json_string(job)) : -1;
  if (r == 0)
    return json_array_append_new(array, entry);
  json_decref(entry);
  return r;
}

static int record_attack(const struct audit_subject *subject, const struct attack *attack,
                         const struct attack_context *context, struct audit_record *record,
                         struct guise_error *err) {
  struct attack_result result;
  int r = attack_run(attack, context, &result, err);
  if (r == -ECANCELED) { /* resumed this instant, it is begun again all the same */
    const int stop = job_stop_code(subject->callbacks);
    return stop < 0 ? stop : -EINTR;
  }
  if (r < 0)
    return r;
  if (sign(record->attacks, attack_result_json(&result), subject->inputs->job_id) < 0 ||
      sign(record->pictures, attack_result_private(&result), subject->inputs->job_id) < 0)
    r = error_set(err, -ENOMEM, "out of memory writing down the attack %s", attack->name);
  attack_result_done(&result);
  return r;
}

/* An attack that asks of people who were trained on fails on others, which says nothing about the weights. */
static bool is_left_out(enum audit_people people, const struct attack *attack) {
  return people != PEOPLE_KNOWN && (attack->needs_evaluator || attack->needs_unseen);
}

static const char *why_unknown(enum audit_people people) {
  return people == PEOPLE_CHANGED
             ? "the data set is no longer as it was when the model was trained: an image or a person was "
               "erased since, so that it cannot be told any more who was held out, or which images"
             : "these are of another data set";
}

#define REASON_TEXT 256

static void write_reason(enum audit_people people, char ret_text[static REASON_TEXT]) {
  (void)snprintf(ret_text, REASON_TEXT, "it asks of people whom the model was trained on, and %s",
                 why_unknown(people));
}

/* Whether there is an undefended model: one that is named, or the one that another attack has trained anyway.
 */
static bool has_undefended(const struct audit_subject *subject) {
  bool found = subject->inputs->control_model != NULL;
  for (uint32_t i = 0; i < attack_count; i++)
    found |= is_chosen(subject->spec, i) && attacks[i].needs_undefended &&
             !is_left_out(subject->people, &attacks[i]);
  return found;
}

/* With models to compare with, and the people whom these know. */
static int record_with_comparisons(const struct audit_subject *subject, const struct attack *attack,
                                   struct attack_context *context, struct audit_record *record,
                                   struct guise_error *err) {
  struct comparisons *comparisons = NULL;
  struct attack wanted = *attack;
  wanted.needs_undefended |= attack->shows_undefended && has_undefended(subject);
  int r = comparisons_new(subject, &wanted, &comparisons, err);
  if (r < 0)
    return r;
  const struct face_list *trained = &comparisons->people.train, *unseen = &comparisons->people.unseen;
  struct face_view members = {subject->data, trained->image}, others = {subject->data, unseen->image};
  context->members =
      (struct attack_faces){face_view_image, &members, trained->identity, trained->count, NULL};
  context->unseen = (struct attack_faces){face_view_image, &others, unseen->identity, unseen->count, NULL};
  context->overfitted = *comparisons->overfitted ? comparisons->overfitted : NULL;
  context->undefended = *comparisons->undefended ? comparisons->undefended : NULL;
  context->undefended_given = subject->inputs->control_model != NULL;
  context->undefended_differs = *comparisons->differs ? comparisons->differs : NULL;
  context->evaluator = *comparisons->evaluator ? comparisons->evaluator : NULL;
  context->evaluator_unseen = comparisons->evaluator_unseen;
  context->references = comparisons->references;
  context->reference_count = comparisons->reference_count;
  subject->callbacks->phase(subject->callbacks->context, "auditing");
  r = record_attack(subject, attack, context, record, err);
  comparisons_free(comparisons);
  return r;
}

struct attack_loss audit_loss(const struct job_spec *trained) {
  struct attack_loss loss = {.kind = trained->train.head,
                             .options = {.scale = (float)trained->train.scale,
                                         .margin = (float)trained->train.margin,
                                         .negatives = trained->mask.negatives,
                                         .margins = trained->mask.margins}};
  job_spec_share(trained, &loss);
  return loss;
}

static int run_attack(const struct audit_subject *subject, const struct job_data *learnt,
                      const struct attack *attack, struct audit_record *record, struct guise_error *err) {
  const struct face_list *people = victims_of(subject);
  struct face_view view = {subject->data, people->image}, open = {learnt, learnt->train.image};
  struct face_view members = {subject->data, subject->data->train.image};
  struct face_view partners = {subject->partners, NULL};
  struct attack_context context = {
      .victims = {face_view_image, &view, people->identity, people->count,
                  people == &subject->data->train ? subject->k : NULL},
      .open = {face_view_image, &open, learnt->train.identity, learnt->train.count, NULL},
      .teacher = subject->inputs->teacher_model,
      .mask = subject->mask,
      .mixing = subject->mixing,
      .work_directory = subject->inputs->work_directory,
      .cache = subject->inputs->cache,
      .effort = subject->spec->audit.effort,
      .model = subject->model,
      .key = subject->key,
      .loss = audit_loss(subject->trained),
      .members = {face_view_image, &members, subject->data->train.identity, subject->data->train.count, NULL},
      .seed = subject->split.seed,
      .threads = subject->threads,
      .should_stop = should_stop,
      .kept = on_kept,
      .stop_context = (void *)subject,
  };
  if (subject->partners) {
    const struct face_list *list = &subject->partners->train;
    partners.image = list->image;
    context.mixing.partners =
        (struct attack_faces){face_view_image, &partners, list->identity, list->count, NULL};
  }
  return attack->needs_unseen || attack->needs_undefended
             ? record_with_comparisons(subject, attack, &context, record, err)
             : record_attack(subject, attack, &context, record, err);
}

static bool leave_out(const struct audit_subject *subject, const struct attack *attack) {
  char reason[REASON_TEXT], text[REASON_TEXT + 64];
  if (!is_left_out(subject->people, attack))
    return false;
  write_reason(subject->people, reason);
  (void)snprintf(text, sizeof(text), "%s is left out: %s", attack->name, reason);
  subject->callbacks->log(subject->callbacks->context, "warning", text);
  return true;
}

int audit_run(const struct audit_subject *subject, struct audit_record *record,
              int (*after)(void *context, struct guise_error *err), void *context, struct guise_error *err) {
  struct job_data learnt = {.pack = NULL}; /* public faces for attacks that learn */
  struct guise_error inner = {0};
  const char *pack = subject->inputs->audit_public_pack;
  subject->callbacks->phase(subject->callbacks->context, "auditing");
  int r = pack ? job_data_open_for(subject->callbacks, pack, subject->data->size, NULL, &learnt, &inner) : 0;
  if (r < 0)
    return error_set(err, r, "audit.public_dataset: %s", inner.text);
  for (uint32_t i = 0; i < attack_count && r == 0; i++) {
    if (!is_chosen(subject->spec, i) || is_recorded(record, attacks[i].name) ||
        leave_out(subject, &attacks[i]))
      continue;
    r = job_stop_code(subject->callbacks);
    if (r == 0)
      r = run_attack(subject, &learnt, &attacks[i], record, err);
    if (r == 0 && after)
      r = after(context, err);
  }
  job_data_close(&learnt);
  return r;
}

/* ---- before and after ---- */

struct keeping audit_keeping(const struct job_inputs *inputs, enum cache_source source) {
  return (struct keeping){.cache = inputs->cache,
                          .sha256 =
                              source == CACHE_PUBLIC ? inputs->audit_public_sha256 : inputs->dataset_sha256,
                          .source = source};
}

/* Whether all that was chosen is left out. */
static bool nothing_runs(const struct job_spec *spec, enum audit_people people) {
  uint32_t left_out = 0;
  for (uint32_t i = 0; i < attack_count; i++)
    left_out += is_chosen(spec, i) && is_left_out(people, &attacks[i]);
  return left_out > 0 && left_out == audit_count(spec);
}

int audit_check(const struct job_spec *spec, const struct job_data *data, enum audit_people people,
                struct guise_error *err) {
  uint32_t askable = 0;
  bool needed = false;
  if (nothing_runs(spec, people))
    return error_set(err, -EINVAL,
                     "none of audit.attacks can be run: each asks of people whom the model was trained on, "
                     "and %s; %s",
                     why_unknown(people),
                     people == PEOPLE_CHANGED ? "attack the templates, or train the model again"
                                              : "name the model's own data set, or another attack");
  for (uint32_t i = 0; i < attack_count; i++)
    needed |= is_chosen(spec, i) && attacks[i].needs_unseen && !is_left_out(people, &attacks[i]);
  for (uint32_t i = 0; i < data->unseen.count; i++) {
    const uint32_t person = data->unseen.identity[i];
    askable += (i == 0 || data->unseen.identity[i - 1] != person) && data->images_of[person] >= 2;
  }
  if (!needed || askable >= 2)
    return 0;
  return error_set(err, -EINVAL,
                   "the attack membership needs two people with two images that are trained on and one that "
                   "is not, and there are %u: it asks of the model's own data set, trained with "
                   "holdout.images; give more images a person, or leave membership out of audit.attacks",
                   askable);
}

int audit_prepare_teacher(const struct job_spec *spec, uint32_t size, const struct job_callbacks *callbacks,
                          struct job_inputs *inputs, char path[static PATH_MAX], struct guise_error *err) {
  char directory[PATH_MAX];
  bool needed = false;
  for (uint32_t i = 0; i < attack_count; i++)
    needed |= is_chosen(spec, i) && attacks[i].needs_teacher;
  if (!needed || inputs->teacher_model || !inputs->audit_public_pack)
    return 0;
  if (snprintf(directory, sizeof(directory), "%s/teacher", inputs->work_directory) >= (int)sizeof(directory))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  const struct keeping keeping = audit_keeping(inputs, CACHE_PUBLIC);
  int r = embedder_train("teacher", inputs->audit_public_pack, size, TEACHER_SEED, MAX(inputs->threads, 1u),
                         &keeping, directory, callbacks, path, err);
  if (r == 0)
    inputs->teacher_model = path;
  return r;
}

static json_t *name_or_null(const char *name) {
  return *name ? json_string(name) : json_null();
}

/* The job has one, whichever of its attacks were judged. New reference; null: none was. */
static json_t *evaluator_of(const struct audit_record *record) {
  size_t i;
  json_t *entry;
  json_array_foreach(record->attacks, i, entry) {
    if (json_is_object(json_object_get(entry, "evaluator")))
      return json_deep_copy(json_object_get(entry, "evaluator"));
  }
  return json_null();
}

/* New reference; NULL when out of memory. */
static json_t *left_out_of(const struct audit_subject *subject) {
  json_t *list = json_array();
  char reason[REASON_TEXT];
  write_reason(subject->people, reason);
  for (uint32_t i = 0; i < attack_count; i++)
    if (is_chosen(subject->spec, i) && is_left_out(subject->people, &attacks[i]))
      list = json_append(list, json_pack("{s:s, s:s}", "attack", attacks[i].name, "reason", reason));
  return list;
}

static const char *provenance_of(const struct audit_subject *subject, const struct face_list *people) {
  if (subject->people != PEOPLE_KNOWN)
    return subject->people == PEOPLE_CHANGED ? "changed" : "other";
  return people == &subject->data->held ? "held_out" : "trained";
}

/* Of the network that attackers learnt from, given or trained by the job; null where there was none. */
static int teacher_digest(const struct audit_subject *subject, json_t **ret_digest, struct guise_error *err) {
  const char *path = subject->inputs->teacher_model;
  char digest[SHA256_HEX];
  int r = path ? sha256_file(path, digest, NULL) : 0;
  if (r < 0)
    return error_set(err, r, "cannot read the teacher, %s: %s", path, strerror(-r));
  *ret_digest = path ? json_string(digest) : json_null();
  return 0;
}

int audit_conditions(const struct audit_subject *subject, const struct audit_record *record,
                     json_t **ret_conditions, struct guise_error *err) {
  const struct job_spec *spec = subject->spec;
  const struct face_list *people = victims_of(subject);
  json_t *teacher = NULL, *names, *entry;
  size_t i;
  const double accuracy = *spec->audit.control ? subject->inputs->control_accuracy : 0;
  int r = teacher_digest(subject, &teacher, err);
  if (r < 0)
    return r;
  names = json_array();
  json_array_foreach(record->attacks, i, entry)(void)
      json_array_append(names, json_object_get(entry, "attack"));
  *ret_conditions = json_pack(
      "{s:s, s:s, s:I, s:{s:s, s:s, s:i, s:i, s:b, s:s}, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "job",
      subject->inputs->job_id, "effort", effort_name(spec->audit.effort), "seed",
      (json_int_t)subject->split.seed, "victims", "dataset", subject->inputs->dataset_name, "sha256",
      subject->inputs->dataset_sha256, "identities", (int)people->identities, "images", (int)people->count,
      "held_out", people == &subject->data->held, "provenance", provenance_of(subject, people),
      "public_dataset", name_or_null(spec->audit.public_dataset), "teacher",
      name_or_null(spec->audit.teacher), "teacher_sha256", teacher, "control",
      name_or_null(spec->audit.control), "control_accuracy", accuracy > 0 ? json_real(accuracy) : json_null(),
      "evaluator", evaluator_of(record), "attacks", names, "left_out", left_out_of(subject));
  return *ret_conditions ? 0 : error_set(err, -ENOMEM, "out of memory for what the attacks were made with");
}
