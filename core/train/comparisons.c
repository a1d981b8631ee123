#include "core/train/comparisons.h"

#include <stdio.h>
#include <string.h>

#include "core/image/pack.h"
#include "core/train/embedder.h"

/* Enough people for narrow intervals, few enough to be learnt by heart in a minute or two. */
#define CONTROL_PEOPLE 100u
#define CONTROL_SIZE 40u
#define REFERENCE_SIZE 48u
#define REFERENCE_SEED 101u /* added to the training's, so that no other network of the job begins alike */

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
      r = embedder_train(inputs->audit_public_pack, MIN(subject->data->size, REFERENCE_SIZE),
                         subject->split.seed + REFERENCE_SEED + i, subject->threads, directory,
                         subject->callbacks, path, err);
    if (r == 0)
      comparisons->references[(*count)++] = path;
  }
  return r;
}

static int prepare(const struct audit_subject *subject, struct comparisons *comparisons,
                   struct guise_error *err) {
  struct data_split split = subject->split;
  char directory[PATH_MAX];
  split.most_people = CONTROL_PEOPLE;
  int r = job_data_open(subject->inputs->dataset_pack, pack_size(subject->data->pack), &split,
                        &comparisons->people, err);
  if (r == 0)
    r = directory_of(subject, "control", 0, directory, err);
  if (r == 0)
    r = embedder_overfit(subject->inputs->dataset_pack, &split, comparisons->people.train.count,
                         MIN(subject->data->size, CONTROL_SIZE), subject->threads, directory,
                         subject->callbacks, comparisons->overfitted, err);
  return r < 0 ? r : train_references(subject, comparisons, err);
}

int comparisons_new(const struct audit_subject *subject, struct comparisons **ret_comparisons,
                    struct guise_error *err) {
  struct comparisons *comparisons = calloc(1, sizeof(*comparisons));
  int r = comparisons ? prepare(subject, comparisons, err)
                      : error_set(err, -ENOMEM, "out of memory before the attack membership");
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
