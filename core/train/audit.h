/* The attacks that a job asked for, on a mask and the people it is to protect: the end of a training and the
 * whole of an audit. */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

#include "core/attack/attack.h"
#include "core/train/data.h"
#include "core/train/embedder.h"
#include "core/train/job.h"

/* Where the networks that a job's attacks need are kept, by what they learn from. */
struct keeping audit_keeping(const struct job_inputs *inputs, enum cache_source source);

/* What is known of the people of the data set under attack. */
enum audit_people {
  PEOPLE_KNOWN,   /* the model's own, split as its training split them */
  PEOPLE_CHANGED, /* its own, but what was erased since leaves no way to tell who was held out */
  PEOPLE_OTHER,   /* of another data set */
};

struct audit_subject {
  const struct job_spec *spec;     /* its audit section says which attacks, with which effort */
  const struct job_inputs *inputs; /* public faces and teacher; job_id signs the results */
  const struct job_callbacks *callbacks;
  const struct mask *mask;
  const struct job_spec *trained; /* of the model's training: the same but for audit jobs */
  struct attack_mixing mixing;    /* of the whole training; partners are filled in from `partners` */
  const struct job_data *data;    /* victims: the people held out, or all where those are not two */
  const uint32_t *k; /* (data->train.count) faces in one training template of each; NULL = not known */
  const struct job_data *partners; /* public faces that training mixed in; NULL = none */
  enum audit_people people;
  const char *model;          /* model.safetensors of the attacked model */
  const struct mask_key *key; /* its key; NULL = it has none */
  struct data_split split; /* of its training; with its seed attacks find the same victims and mixes again */
  uint32_t threads;
};

/* What was found: arrays for the report and for report-private.html, one entry an attack, each with "job". */
struct audit_record {
  json_t *attacks, *pictures;
};
int audit_record_init(struct audit_record *record, struct guise_error *err);
void audit_record_done(struct audit_record *record);

/* Runs what is chosen and not yet in the record, in the order of the table. Attacks that ask of people whom
 * the model was trained on are left out where it is not known who that is, which the log and the conditions
 * say. `after` (may be NULL) is called with its context after each attack; a negative return ends the audit
 * with it. 0; -ECANCELED; -EINTR; another negative errno with err. What was finished stays in the record. */
int audit_run(const struct audit_subject *subject, struct audit_record *record,
              int (*after)(void *context, struct guise_error *err), void *context, struct guise_error *err);

/* How often a training uses each frozen mix with a k that it draws anew (struct attack_mixing); 0: it does
 * not.
 */
double audit_recipe_uses(const struct job_spec *trained);

/* The loss of a training's last steps: its margin and its defences are whole. */
struct attack_loss audit_loss(const struct job_spec *trained);

/* How many attacks the job asked for. */
uint32_t audit_count(const struct job_spec *spec);

/* Whether the data holds what the chosen attacks need, and one of them is not left out: told before anything
 * long begins. 0 or -EINVAL. */
int audit_check(const struct job_spec *spec, const struct job_data *data, enum audit_people people,
                struct guise_error *err);

/* The teacher of attacks that learn: the one that is given, or one trained on their public faces, in a
 * directory under the work directory. It is never the probe's embedder, even of the same faces: the policy
 * learned to deceive that one. size: pixels. path is storage for inputs->teacher_model. */
int audit_prepare_teacher(const struct job_spec *spec, uint32_t size, const struct job_callbacks *callbacks,
                          struct job_inputs *inputs, char path[static PATH_MAX], struct guise_error *err);

/* The entry of the report's "audits" that tells under which conditions the record's attacks were made, and
 * which were left out. A new reference; -ENOMEM, or what reading the teacher gives. */
int audit_conditions(const struct audit_subject *subject, const struct audit_record *record,
                     json_t **ret_conditions, struct guise_error *err);
