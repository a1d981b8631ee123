#include "core/train/audit_job.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/image/pack.h"
#include "core/mask/key.h"
#include "core/mask/mixing.h"
#include "core/model/model.h"
#include "core/model/report.h"
#include "core/model/text.h"
#include "core/train/audit.h"
#include "core/train/audit_checkpoint.h"
#include "core/train/export.h"

#define MODEL_BATCH 32u

struct audit_job {
  const struct job_spec *spec;
  struct job_inputs inputs;
  const struct job_callbacks *callbacks;
  json_t *report;          /* the model's */
  struct job_spec trained; /* labels NULL until it is read */
  struct mask_key key;     /* of a keyed model */
  struct model *model;
  struct job_data data, partners;
  enum audit_people people;
  struct audit_record record;
};

static void audit_job_done(struct audit_job *job) {
  json_decref(job->report);
  job_spec_free(&job->trained);
  mask_key_erase(&job->key);
  model_free(job->model);
  job_data_close(&job->data);
  job_data_close(&job->partners);
  audit_record_done(&job->record);
}

/* ---- the model and how it was trained ---- */

static int read_report(struct audit_job *job, struct guise_error *err) {
  struct spec_problems problems = {0};
  json_error_t error;
  if (access(job->inputs.audited_report, F_OK) < 0 && errno == ENOENT)
    return error_set(err, -ESTALE, "the model's report was replaced this instant");
  job->report = json_load_file(job->inputs.audited_report, JSON_REJECT_DUPLICATES, &error);
  if (!job->report)
    return error_set(err, -EBADMSG, "the model's report.json cannot be read: %s", error.text);
  int r =
      job_spec_parse(json_object_get(json_object_get(job->report, "job"), "spec"), &job->trained, &problems);
  if (r < 0)
    error_set(err, r == -EINVAL ? -EBADMSG : r,
              "the model was trained by a version of guise that knew other settings, so that its training "
              "cannot be followed: train it again (%s)",
              problems.count ? problems.problem[0].detail : "unreadable");
  spec_problems_free(&problems);
  return r == -EINVAL ? -EBADMSG : r;
}

static int read_key(struct audit_job *job, struct guise_error *err) {
  int r = job->inputs.audited_key ? mask_key_read(job->inputs.audited_key, &job->key, NULL) : 0;
  if (r == -ENOENT || r == -EBADMSG)
    return error_set(err, -ENOKEY,
                     "the model's " MASK_KEY_FILE
                     " is %s: restore it from a backup, or train the model again",
                     r == -ENOENT ? "missing" : "damaged");
  return r < 0 ? error_set(err, r, "the model's " MASK_KEY_FILE " cannot be read: %s", strerror(-r)) : 0;
}

static const struct mask_key *key_of(const struct audit_job *job) {
  return job->inputs.audited_key ? &job->key : NULL;
}

static int load_model(struct audit_job *job, struct guise_error *err) {
  struct guise_error why = {0};
  int r = model_load_keyed(job->inputs.audited_model, key_of(job), MODEL_BATCH, MAX(job->inputs.threads, 1u),
                           &job->model, &why);
  if (r == -ENOKEY)
    return error_set(err, r, "%s: restore its " MASK_KEY_FILE " from a backup, or train the model again",
                     why.text);
  return r < 0 ? error_set(err, r, "%s", why.text) : 0;
}

/* Its own data set may be smaller by now. Who was held out is drawn by how many people there are, and which
 * images by how many each has, so that it is found again where nothing was held out, or where everybody is
 * there still and no images were. */
static int find_people(struct audit_job *job, struct guise_error *err) {
  const json_t *data = json_object_get(job->report, "data");
  const struct data_split split = job_spec_split(&job->trained);
  struct pack *pack = NULL;
  job->people = PEOPLE_OTHER;
  if (strcmp(json_text_at(data, "sha256"), job->inputs.dataset_sha256) == 0)
    job->people = PEOPLE_KNOWN;
  else if (job->inputs.dataset_own)
    job->people = split.images > 0 || split.identities > 0 ? PEOPLE_CHANGED : PEOPLE_KNOWN;
  if (job->people != PEOPLE_CHANGED || split.images > 0)
    return 0;
  int r = pack_open(job->inputs.dataset_pack, &pack, err);
  if (r == 0 && json_integer_value(json_object_get(data, "identities")) == pack_identities(pack))
    job->people = PEOPLE_KNOWN;
  pack_free(pack);
  return r;
}

/* Where nobody knows who was held out all are victims. */
static int open_data(struct audit_job *job, struct guise_error *err) {
  const json_t *data = json_object_get(job->report, "data");
  const bool known = job->people == PEOPLE_KNOWN;
  const struct data_split split_then = job_spec_split(&job->trained);
  const char *split = json_text_at(json_object_get(data, "held_out"), "split_sha256");
  int r = job_data_open_for(job->callbacks, job->inputs.dataset_pack, job->trained.model.input,
                            known ? &split_then : NULL, &job->data, err);
  if (r == 0 && known && strcmp(split, job->data.split_sha256) != 0)
    r = error_set(err, -EBADMSG,
                  "the people that were held out of the training cannot be found again: the "
                  "model's report belongs to another version of guise");
  if (r == 0 && mask_traits(job->trained.mask.method)->mixes && job->trained.mask.pool != MIX_POOL_PRIVATE)
    r = job->inputs.public_pack
            ? job_data_open_for(job->callbacks, job->inputs.public_pack, job->data.size, NULL, &job->partners,
                                err)
            : error_set(err, -EINVAL, "the public faces that the model's training mixed in are gone");
  return r;
}

/* The shares of k in the last epoch are all that reports of earlier versions tell. They are not the whole
 * training's where there was a warm-up or the policy has learnt. */
static const char *doubt_of(const struct job_spec *trained, const json_t *mixing) {
  const bool learned =
                 mask_traits(trained->mask.method)->has_strategy && trained->mask.policy == POLICY_LEARNED,
             warms = trained->train.margin_warmup > 0 && (learned || trained->mask.recipes == 0);
  if (!mask_traits(trained->mask.method)->chooses_k || strcmp(json_text_at(mixing, "policy"), "owner") == 0 ||
      json_object_get(mixing, "stored") || (!learned && !warms))
    return NULL;
  return warms ? "The model's report does not tell the mixes of its whole training: those of the last epoch "
                 "were attacked, which leak less than its warm-up's."
               : "The model's report does not tell the mixes of its whole training: those of the last epoch "
                 "were attacked.";
}

static struct attack_mixing mixing_of(const struct audit_job *job) {
  const json_t *mixing = json_object_get(json_object_get(job->report, "mask"), "mixing"), *share;
  const char *whole = json_object_get(mixing, "stored") ? "stored" : "probability"; /* of earlier versions */
  const bool chooses = mask_traits(mask_method(job->model->mask))->chooses_k;
  struct attack_mixing result = {.alpha = MIX_ALPHA,
                                 .protection = job_spec_protection(&job->trained),
                                 .pool = job->trained.mask.pool,
                                 .recipes = job->trained.mask.recipes,
                                 .uses = audit_recipe_uses(&job->trained),
                                 .doubt = doubt_of(&job->trained, mixing)};
  const char *k;
  result.unmixed = json_number_value(json_object_get(mixing, "unmixed"));
  result.by_samples = strcmp(json_text_at(mixing, "unmixed_by"), "people") != 0; /* so did earlier versions */
  json_object_foreach(json_object_get(mixing, whole), k, share) {
    const unsigned long faces = strtoul(k, NULL, 10);
    if (faces >= 1 && faces <= MIX_MAX)
      result.probability[faces] = json_number_value(share);
  }
  result.beta = !chooses;
  for (uint32_t more = 3; more <= MIX_MAX; more++) /* templates that their owner mixed in another way */
    result.beta &= result.probability[more] <= 0;
  return result;
}

/* ---- checkpoints: what finished attacks found ---- */

static void report_progress(const struct audit_job *job) {
  const uint32_t all = audit_count(job->spec), done = (uint32_t)json_array_size(job->record.attacks);
  const struct job_progress progress = {
      .fraction = 0.95 * done / all,
      .step = done,
      .total = all,
      .eta_s = -1, /* attacks take too different times to tell one from another */
      .loss = NAN,
  };
  job->callbacks->progress(job->callbacks->context, &progress);
}

static int write_checkpoint(void *context, struct guise_error *err) {
  struct audit_job *job = context;
  const uint32_t done = (uint32_t)json_array_size(job->record.attacks);
  char path[PATH_MAX];
  if (snprintf(path, sizeof(path), "%s/audit-%u.json", job->inputs.work_directory, done) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = audit_checkpoint_write(path, job->spec, NULL, &job->record, err);
  if (r < 0)
    return r;
  report_progress(job);
  r = job->callbacks->checkpoint(job->callbacks->context, path, 0, done, NULL, 0);
  return r < 0 ? error_set(err, r, "the checkpoint could not be recorded: %s", strerror(-r)) : 0;
}

static int read_checkpoint(struct audit_job *job, struct guise_error *err) {
  return job->inputs.resume ? audit_checkpoint_read(job->inputs.resume, job->spec, NULL, &job->record, err)
                            : 0;
}

/* ---- the job ---- */

static int write_results(struct audit_job *job, const struct audit_subject *subject,
                         struct job_outcome *ret_outcome, struct guise_error *err) {
  job->callbacks->phase(job->callbacks->context, "writing");
  json_t *conditions = NULL;
  int r = audit_conditions(subject, &job->record, &conditions, err);
  if (r == 0)
    r = report_add_audit(job->report, job->record.attacks, conditions, err);
  json_decref(conditions);
  if (r == 0)
    r = export_onnx_again(&job->inputs, job->callbacks, job->report, err);
  if (r == 0)
    r = report_write(job->inputs.output_directory, job->report, job->record.pictures, err);
  if (r == 0 && !(ret_outcome->summary = report_summary(job->report)))
    r = error_set(err, -ENOMEM, "out of memory writing the summary");
  return r;
}

static int attack_and_write(struct audit_job *job, struct job_outcome *ret_outcome, struct guise_error *err) {
  const struct audit_subject subject = {
      .spec = job->spec,
      .trained = &job->trained,
      .inputs = &job->inputs,
      .callbacks = job->callbacks,
      .mask = job->model->mask,
      .mixing = mixing_of(job),
      .data = &job->data,
      .partners = job->partners.pack ? &job->partners : NULL,
      .people = job->people,
      .model = job->inputs.audited_model,
      .key = key_of(job),
      .split = job_spec_split(&job->trained),
      .threads = MAX(job->inputs.threads, 1u),
  };
  report_progress(job);
  int r = audit_run(&subject, &job->record, write_checkpoint, job, err);
  return r < 0 ? r : write_results(job, &subject, ret_outcome, err);
}

int audit_job_run(const struct job_spec *spec, const struct job_inputs *inputs,
                  const struct job_callbacks *callbacks, struct job_outcome *ret_outcome,
                  struct guise_error *err) {
  struct audit_job job = {.spec = spec, .inputs = *inputs, .callbacks = callbacks};
  char teacher[PATH_MAX];
  callbacks->phase(callbacks->context, "preparing");
  omp_set_num_threads((int)MAX(inputs->threads, 1u));
  int r = audit_record_init(&job.record, err);
  if (r == 0)
    r = read_checkpoint(&job, err);
  if (r == 0)
    r = read_report(&job, err);
  if (r == 0)
    r = read_key(&job, err);
  if (r == 0)
    r = load_model(&job, err);
  if (r == 0)
    r = find_people(&job, err);
  if (r == 0)
    r = open_data(&job, err);
  if (r == 0)
    r = audit_check(spec, &job.data, job.people, err);
  if (r == 0)
    r = audit_prepare_teacher(spec, job.trained.model.input, callbacks, &job.inputs, teacher, err);
  if (r == 0)
    r = attack_and_write(&job, ret_outcome, err);
  audit_job_done(&job);
  return r;
}
