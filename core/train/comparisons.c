#include "core/train/comparisons.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/pack.h"
#include "core/model/safetensors.h"
#include "core/model/text.h"
#include "core/train/embedder.h"

/* Enough people for narrow intervals, few enough to be learnt by heart in a minute or two. */
#define CONTROL_PEOPLE 100u
#define CONTROL_SIZE 40u
#define REFERENCE_SIZE 48u
#define KNOWN_SIZE 64u
/* Added to the training's seed, so that no other network of the job begins alike. */
#define REFERENCE_SEED 101u
#define UNDEFENDED_SEED 111u
#define EVALUATOR_SEED 112u

static const uint32_t trained_references[] = {
    [EFFORT_QUICK] = 0, [EFFORT_STANDARD] = 1, [EFFORT_THOROUGH] = 3};

static int directory_of(const struct audit_subject *subject, const char *name, uint32_t number,
                        char ret_path[static PATH_MAX], struct guise_error *err) {
  return snprintf(ret_path, PATH_MAX, "%s/%s-%u", subject->inputs->work_directory, name, number) < PATH_MAX
             ? 0
             : error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
}

static int train_references(const struct audit_subject *subject, struct comparisons *comparisons,
                            struct guise_error *err) {
  const struct job_inputs *inputs = subject->inputs;
  const struct keeping keeping = audit_keeping(inputs, CACHE_PUBLIC);
  char directory[PATH_MAX];
  uint32_t *count = &comparisons->reference_count;
  int r = 0;
  if (inputs->teacher_model)
    comparisons->references[(*count)++] = inputs->teacher_model;
  const uint32_t wanted = inputs->audit_public_pack ? trained_references[subject->spec->audit.effort] : 0;
  for (uint32_t i = 0; i < wanted && r == 0; i++) {
    char *path = comparisons->reference[i];
    r = directory_of(subject, "reference", i, directory, err);
    if (r == 0)
      r = embedder_train("reference", inputs->audit_public_pack, MIN(subject->data->size, REFERENCE_SIZE),
                         subject->split.seed + REFERENCE_SEED + i, subject->threads, &keeping, directory,
                         subject->callbacks, path, err);
    if (r == 0)
      comparisons->references[(*count)++] = path;
  }
  return r;
}

/* For membership. */
static int train_overfitted(const struct audit_subject *subject, const struct data_split *split,
                            struct comparisons *comparisons, struct guise_error *err) {
  const struct keeping keeping = audit_keeping(subject->inputs, CACHE_PEOPLE);
  char directory[PATH_MAX];
  int r = directory_of(subject, "control", 0, directory, err);
  if (r == 0)
    r = embedder_overfit(subject->inputs->dataset_pack, split, comparisons->people.train.count,
                         MIN(subject->data->size, CONTROL_SIZE), subject->threads, &keeping, directory,
                         subject->callbacks, comparisons->overfitted, err);
  return r < 0 ? r : train_references(subject, comparisons, err);
}

/* The control of attacks that draw people or look behind gradients: the one that is given, or a small one. */
static int train_undefended(const struct audit_subject *subject, const struct data_split *split,
                            struct comparisons *comparisons, struct guise_error *err) {
  const char *given = subject->inputs->control_model;
  if (given)
    return snprintf(comparisons->undefended, sizeof(comparisons->undefended), "%s", given) <
                   (int)sizeof(comparisons->undefended)
               ? 0
               : error_set(err, -ENAMETOOLONG, "the path of the control is too long");
  const struct keeping keeping = audit_keeping(subject->inputs, CACHE_PEOPLE);
  char directory[PATH_MAX];
  int r = directory_of(subject, "undefended", 0, directory, err);
  return r < 0 ? r
               : embedder_known(COMPARISON_CONTROL, subject->inputs->dataset_pack, split,
                                comparisons->people.train.count, MIN(subject->data->size, KNOWN_SIZE),
                                split->seed + UNDEFENDED_SEED, subject->threads, &keeping, directory,
                                subject->callbacks, comparisons->undefended, err);
}

/* What the file says of the network. */
struct kind {
  enum arch arch;
  double width;
  uint32_t input;
};

static int kind_of(const char *path, struct kind *ret_kind, struct guise_error *err) {
  struct safetensors *file = NULL;
  int r = safetensors_open(path, &file, err);
  if (r < 0)
    return r;
  const json_t *metadata = safetensors_metadata(file);
  r = arch_from_name(json_text_at(metadata, "arch"), &ret_kind->arch);
  ret_kind->width = strtod(json_text_at(metadata, "width"), NULL);
  ret_kind->input = (uint32_t)strtoul(json_text_at(metadata, "input"), NULL, 10);
  safetensors_free(file);
  return r < 0 ? error_set(err, -EBADMSG, "the control %s is no model of guise", path) : 0;
}

/* An attack that works on a smaller network of fewer people need not work on a larger one, mask or not. */
static int compare_kinds(const struct audit_subject *subject, struct comparisons *comparisons,
                         struct guise_error *err) {
  const struct job_spec *trained = subject->trained;
  const uint32_t people = subject->data->train.identities, known = comparisons->people.train.identities;
  const bool given = subject->inputs->control_model != NULL;
  struct kind control;
  int r = kind_of(comparisons->undefended, &control, err);
  if (r < 0)
    return r;
  if (control.arch == trained->model.arch && fabs(control.width - trained->model.width) < 1e-6 &&
      control.input == subject->data->size && (given || known == people))
    return 0;
  char knows[48] = "";
  if (!given)
    (void)snprintf(knows, sizeof(knows), " that knows %u people", known);
  (void)snprintf(
      comparisons->differs, sizeof(comparisons->differs),
      "The control is a %s of width %g at %u pixels%s, the model a %s of width %g at %u pixels: an "
      "undefended model of its own kind, named as audit.control, would tell more.",
      arch_name(control.arch), control.width, control.input, knows, arch_name(trained->model.arch),
      trained->model.width, subject->data->size);
  return 0;
}

static int choose_evaluator(const struct audit_subject *subject, enum arch *ret_arch,
                            struct guise_error *err) {
  const char *given = subject->inputs->control_model;
  struct kind control = {.arch = COMPARISON_CONTROL};
  int r = given ? kind_of(given, &control, err) : 0;
  if (r < 0)
    return r;
  *ret_arch = comparisons_evaluator(subject->trained->model.arch, control.arch);
  return 0;
}

static int train_evaluator(const struct audit_subject *subject, const struct data_split *split,
                           struct comparisons *comparisons, struct guise_error *err) {
  const struct face_list *trained = &comparisons->people.train, *unseen = &comparisons->people.unseen;
  const struct keeping keeping = audit_keeping(subject->inputs, CACHE_PEOPLE);
  struct data_split judged = *split;
  uint32_t images = unseen->count;
  char directory[PATH_MAX];
  enum arch judging;
  int r = choose_evaluator(subject, &judging, err);
  if (r < 0)
    return r;
  judged.complement =
      unseen->identities == trained->identities && images >= EVALUATOR_IMAGES * unseen->identities;
  if (!judged.complement) {
    judged.images = 0;
    images += trained->count;
  }
  comparisons->evaluator_unseen = judged.complement;
  r = directory_of(subject, "evaluator", 0, directory, err);
  return r < 0 ? r
               : embedder_known(judging, subject->inputs->dataset_pack, &judged, images,
                                MIN(subject->data->size, KNOWN_SIZE), split->seed + EVALUATOR_SEED,
                                subject->threads, &keeping, directory, subject->callbacks,
                                comparisons->evaluator, err);
}

static int prepare(const struct audit_subject *subject, const struct attack *attack,
                   struct comparisons *comparisons, struct guise_error *err) {
  struct data_split split = subject->split;
  split.most_people = CONTROL_PEOPLE;
  if (subject->people != PEOPLE_KNOWN) /* nobody knows whom to leave out */
    split.identities = split.images = 0;
  int r = job_data_open(subject->inputs->dataset_pack, pack_size(subject->data->pack), &split,
                        &comparisons->people, err);
  if (r == 0 && attack->needs_unseen)
    r = train_overfitted(subject, &split, comparisons, err);
  if (r == 0 && attack->needs_undefended)
    r = train_undefended(subject, &split, comparisons, err);
  if (r == 0 && attack->needs_undefended)
    r = compare_kinds(subject, comparisons, err);
  if (r == 0 && attack->needs_evaluator)
    r = train_evaluator(subject, &split, comparisons, err);
  return r;
}

int comparisons_new(const struct audit_subject *subject, const struct attack *attack,
                    struct comparisons **ret_comparisons, struct guise_error *err) {
  struct comparisons *comparisons = calloc(1, sizeof(*comparisons));
  int r = comparisons ? prepare(subject, attack, comparisons, err)
                      : error_set(err, -ENOMEM, "out of memory before the attack %s", attack->name);
  if (r < 0)
    comparisons_free(comparisons);
  else
    *ret_comparisons = comparisons;
  return r;
}

struct comparisons *comparisons_free(struct comparisons *comparisons) {
  if (comparisons)
    job_data_close(&comparisons->people);
  free(comparisons);
  return NULL;
}
