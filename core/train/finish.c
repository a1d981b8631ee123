#include "core/train/finish.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/model/model.h"
#include "core/model/report.h"
#include "core/train/audit.h"
#include "core/train/audit_checkpoint.h"
#include "core/train/export.h"
#include "core/train/given.h"

/* By whoever masked them. */
static struct attack_mixing given_mixing(const struct trainer *t) {
  const struct mask_mixing *made = templates_mixing(t->data.templates);
  struct attack_mixing mixing = {.unmixed = (double)made->unmixed,
                                 .beta = made->beta,
                                 .alpha = MIX_ALPHA,
                                 .protection = made->protection};
  for (uint32_t k = 2; k <= MIX_MAX; k++)
    mixing.probability[k] = (double)made->probability[k];
  return mixing;
}

/* How the policy mixes: by its choices in the last epoch, which whoever masks with the model goes on with. */
static struct attack_mixing mixing_of(const struct trainer *t) {
  bool chooses = mask_traits(t->spec->mask.method)->chooses_k;
  if (trainer_is_given(t))
    return given_mixing(t);
  struct attack_mixing mixing = {.unmixed = chooses ? t->spec->mask.unmixed : 0,
                                 .by_samples = t->spec->mask.unmixed_by == UNMIXED_SAMPLES,
                                 .beta = !chooses,
                                 .alpha = MIX_ALPHA,
                                 .protection = job_spec_protection(t->spec),
                                 .pool = t->spec->mask.pool,
                                 .recipes = t->spec->mask.recipes,
                                 .uses = audit_recipe_uses(t->spec)};
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    mixing.probability[k] = t->last_histogram[k];
  if (!chooses)
    mixing.probability[2] = 1;
  return mixing;
}

/* How the templates are mixed that the whole training has made, and a stolen store of them holds. The
 * warm-up's mixes of two are among them. */
static struct attack_mixing stored_mixing(const struct trainer *t) {
  struct attack_mixing mixing = mixing_of(t);
  double mixed = 0;
  for (uint32_t k = 1; k <= MIX_MAX; k++)
    mixed += t->stored[k];
  for (uint32_t k = 1; k <= MIX_MAX && mixed > 0 && !trainer_is_given(t); k++)
    mixing.probability[k] = t->stored[k] / mixed;
  return mixing;
}

/* For whoever masks with the model: there, what the policy leaves unmixed is unmixed like the rest. */
static struct mask_mixing mixing_record(const struct trainer *t) {
  const struct attack_mixing mixing = mixing_of(t);
  struct mask_mixing record = {.mixes = mask_traits(t->spec->mask.method)->mixes,
                               .beta = mixing.beta,
                               .unmixed = (float)mixing.unmixed,
                               .protection = mixing.protection};
  const double alone = mixing.probability[1];
  double sum = 0;
  for (uint32_t k = 2; k <= MIX_MAX; k++)
    sum += mixing.probability[k];
  record.mixes &= sum + alone > 0; /* an epoch of samples that stay unmixed leaves nothing to tell */
  if (sum + alone > 0)
    record.unmixed = (float)(mixing.unmixed + (1 - mixing.unmixed) * alone / (sum + alone));
  for (uint32_t k = 2; k <= MIX_MAX && sum > 0; k++)
    record.probability[k] = (float)(mixing.probability[k] / sum);
  if (sum <= 0)
    record.probability[2] = 1; /* of none */
  return record;
}

static void fill_info(const struct trainer *t, const struct job_inputs *inputs, struct model_info *info) {
  const struct job_spec *spec = t->spec;
  *info = (struct model_info){.arch = spec->model.arch,
                              .input = spec->model.input,
                              .embedding = spec->model.embedding,
                              .width = (float)spec->model.width,
                              .dropout = (float)spec->model.dropout,
                              .norm = spec->model.norm,
                              .mask = *mask_options(t->mask),
                              .constants = *mask_constants(t->mask),
                              .decoys = mask_decoys(t->mask),
                              .weights = mask_weights(t->mask),
                              .mixing = mixing_record(t)};
  (void)snprintf(info->training.job, sizeof(info->training.job), "%s", inputs->job_id);
  (void)snprintf(info->training.dataset, sizeof(info->training.dataset), "%s", inputs->dataset_name);
  (void)snprintf(info->training.dataset_sha256, sizeof(info->training.dataset_sha256), "%s",
                 inputs->dataset_sha256);
  (void)snprintf(info->key_id, sizeof(info->key_id), "%s", mask_keyed_by(t->mask));
  info->training.identities = t->data.train.identities;
  info->training.images = t->data.train.count;
  info->training.epochs = spec->train.epochs;
  info->training.steps = t->total;
  info->training.seed = spec->train.seed;
  memcpy(info->training.curve, t->curve, sizeof(t->curve));
}

/* scores_path: for the scores of the pairs behind the job's accuracy. */
static int verify_all(struct trainer *t, const struct verify_sets *sets, const char *scores_path,
                      struct report_verification *entries, uint32_t *ret_count, struct guise_error *err) {
  t->callbacks->phase(t->callbacks->context, "verifying");
  for (uint32_t i = 0; i < sets->count; i++) {
    const struct verify_set *set = &sets->set[i];
    struct verification results[2];
    const char *paths[2] = {NULL, NULL};
    if (i == 0)
      paths[t->spec->holdout.both_flips] = scores_path;
    int r = verify_both(t, set, paths, results, err);
    if (r < 0)
      return r;
    for (int both = 0; both < 2; both++)
      entries[(*ret_count)++] = (struct report_verification){.protocol = set->protocol,
                                                             .dataset = set->dataset,
                                                             .pairs = set->pairs_name,
                                                             .both_flips = both == 1,
                                                             .result = results[both]};
  }
  return 0;
}

static struct report_reward reward_of(const struct trainer *t) {
  static const char *const policies[] = {"learned", "fixed", "uniform"};
  const struct mask_traits *traits = mask_traits(t->spec->mask.method);
  struct report_reward reward = {.mixes = traits->mixes};
  if (!traits->mixes)
    return reward;
  const struct attack_mixing mixing = mixing_of(t), stored = stored_mixing(t);
  reward.policy = trainer_is_given(t) ? "owner"
                  : traits->chooses_k ? policies[t->spec->mask.policy]
                                      : "fixed";
  reward.reward = !t->strategy ? NULL : t->probe ? "probe" : "paper";
  reward.accuracy_bound_enforced = t->probe && t->dual.known > 0;
  reward.unmixed = mixing.unmixed;
  reward.protection = mixing.protection;
  reward.unmixed_by = mixing.by_samples ? "samples" : "people";
  memcpy(reward.probability, mixing.probability, sizeof(reward.probability));
  memcpy(reward.stored, stored.probability, sizeof(reward.stored));
  memcpy(reward.decided, trainer_is_given(t) ? mixing.probability : t->decided, sizeof(reward.decided));
  return reward;
}

static bool labelled_synthetic(const struct job_spec *spec) {
  const char *value = json_string_value(json_object_get(spec->labels, "synthetic"));
  return value && strcmp(value, "true") == 0;
}

#define NOTES 5
#define NOTE_LENGTH 256

/* How the policy was taught, where that is not the rule. */
static bool write_probe_note(const struct trainer *t, const struct job_inputs *inputs,
                             char ret_note[NOTE_LENGTH]) {
  const struct ablation_traits *ablation = ablation_traits(t->spec->mask.ablation);
  if (!t->probe)
    return false;
  (void)snprintf(ret_note, NOTE_LENGTH, "The probe measured leaks by %s.%s%s%s",
                 !inputs->embedder_model   ? "structural similarity: there was no embedder"
                 : *t->spec->mask.embedder ? "the embedder that the job names"
                                           : "an embedder trained on the job's public data set",
                 t->spec->mask.ablation ? " The policy is an ablation: " : "",
                 t->spec->mask.ablation ? ablation->name : "", t->spec->mask.ablation ? "." : "");
  return true;
}

/* What a generated face was judged by. */
static bool write_generator_note(const struct trainer *t, char ret_note[NOTE_LENGTH]) {
  if (!mask_traits(t->spec->mask.method)->needs_public)
    return false;
  (void)snprintf(ret_note, NOTE_LENGTH,
                 "The mask's generator learnt from the job's public data set; %s judged whom its faces show.",
                 *t->spec->mask.embedder ? "the embedder that the job names"
                                         : "an embedder trained on the same faces");
  return true;
}

/* What a reader who compares or repeats results must know. */
static uint32_t write_notes(const struct trainer *t, const struct job_inputs *inputs,
                            char ret_notes[NOTES][NOTE_LENGTH]) {
  _cleanup_(freep) char *algorithms = graph_algorithms(t->graph);
  uint32_t passes = 0, winograd = 0;
  for (const char *line = algorithms; line && *line; line = strchr(line, '\n') + 1) {
    const size_t length = strcspn(line, "\n");
    passes++;
    winograd += length > 8 && strncmp(line + length - 8, "winograd", 8) == 0;
  }
  (void)snprintf(
      ret_notes[0], NOTE_LENGTH,
      "Trained in %s; %u of %u passes of convolutions use Winograd's algorithm, whose roundings differ from "
      "those of direct convolution. Attacks, embed and verify use it where it is faster.",
      t->spec->train.precision == PRECISION_BF16 ? "bfloat16 with float32 weights" : "float32", winograd,
      passes);
  bool secret = false;
  for (uint32_t i = 0; i < t->spec->defences.count; i++)
    secret |= defence_traits(t->spec->defences.list[i].method)->secret;
  if (secret)
    (void)snprintf(
        ret_notes[1], NOTE_LENGTH,
        "A defence drew from a secret that was erased when the training ended: the seed does not repeat "
        "the training. Interruptions changed nothing.");
  else
    (void)snprintf(ret_notes[1], NOTE_LENGTH,
                   "The same seed, %u thread%s and the same build on the same kind of processor repeat the "
                   "training bit for "
                   "bit, also across interruptions.",
                   t->threads, t->threads == 1 ? "" : "s");
  uint32_t count = 2;
  if (write_probe_note(t, inputs, ret_notes[count]))
    count++;
  if (write_generator_note(t, ret_notes[count]))
    count++;
  if (trainer_is_given(t))
    (void)snprintf(
        ret_notes[count++], NOTE_LENGTH,
        "The faces were masked%s by their owner, with constants from elsewhere; the service had %u "
        "templates and no face.%s",
        job_spec_protection(t->spec).alone ? "" : " and mixed", t->data.train.count,
        t->pool && !job_spec_protection(t->spec).alone
            ? " Batch-norm statistics are of mixes, stretched to the variance of one face."
            : "");
  if (trainer_is_given(t) && mask_traits(t->spec->mask.method)->mixes && !job_spec_protection(t->spec).alone)
    (void)snprintf(ret_notes[count++], NOTE_LENGTH,
                   "How many templates a face leads is not in the owner's file: audits of this model mix as "
                   "it says, but "
                   "take every mix to be a fresh one. A thief of the file has a few of a face only.");
  if (*mask_keyed_by(t->mask))
    (void)snprintf(
        ret_notes[count++], NOTE_LENGTH,
        "Templates are keyed. A key is linear: some pictures whose templates are known, or a network "
        "trained behind it (model.onnx too), undo it. The probe and all attacks but linear have it.");
  return count;
}

static int add_audit(json_t *report, const struct audit_subject *audited, const struct audit_record *audit,
                     struct guise_error *err) {
  if (json_array_size(audit->attacks) == 0)
    return 0;
  json_t *conditions = NULL;
  int r = audit_conditions(audited, audit, &conditions, err);
  if (r == 0)
    r = report_add_audit(report, audit->attacks, conditions, err);
  json_decref(conditions);
  return r;
}

static int write_report(struct trainer *t, const struct job_inputs *inputs,
                        const struct report_verification *entries, uint32_t count,
                        const struct audit_subject *audited, const struct audit_record *audit,
                        const struct model_info *info, const char *model_path,
                        struct job_outcome *ret_outcome, struct guise_error *err) {
  char model_sha256[SHA256_HEX];
  uint64_t model_bytes = 0;
  struct rusage usage;
  json_t *spec = job_spec_json(t->spec), *defences = defences_json(t), *report = NULL;
  int r = spec && defences ? sha256_file(model_path, model_sha256, &model_bytes) : -ENOMEM;
  (void)getrusage(RUSAGE_SELF, &usage);
  char text[NOTES][NOTE_LENGTH];
  const char *const notes[NOTES] = {text[0], text[1], text[2], text[3], text[4]};
  struct report_input input = {
      .job_id = inputs->job_id,
      .dataset_name = inputs->dataset_name,
      .dataset_sha256 = inputs->dataset_sha256,
      .dataset_synthetic = labelled_synthetic(t->spec),
      .masked_by_owner = trainer_is_given(t),
      .identities = job_data_identities(&t->data),
      .images = job_data_images(&t->data),
      .train_identities = t->data.train.identities,
      .train_images = t->data.train.count,
      .held_out_identities = t->data.held.identities,
      .held_out_images = t->data.held.count,
      .unseen_identities = t->data.unseen.identities,
      .unseen_images = t->data.unseen.count,
      .spec = spec,
      .defences = defences,
      .model = info,
      .model_sha256 = model_sha256,
      .model_bytes = model_bytes,
      .reward = reward_of(t),
      .verifications = entries,
      .verification_count = count,
      .notes = notes,
      .note_count = write_notes(t, inputs, text),
      .seed = t->spec->train.seed,
      .train_seconds = t->trained_seconds,
      .images_per_s = t->trained_seconds > 0 ? (double)t->total * t->batch / t->trained_seconds : 0,
      .peak_memory_bytes = (uint64_t)usage.ru_maxrss * 1024,
  };
  memcpy(input.split_sha256, t->data.split_sha256, sizeof(input.split_sha256));
  if (r < 0)
    error_set(err, r, "cannot read back %s: %s", model_path, strerror(-r));
  if (r == 0)
    r = report_json(&input, &report, err);
  if (r == 0)
    r = add_audit(report, audited, audit, err);
  if (r == 0)
    r = export_onnx(t, inputs->output_directory, info, report, err);
  if (r == 0)
    r = report_write(inputs->output_directory, report, audit->pictures, err);
  if (r == 0 && !(ret_outcome->summary = report_summary(report)))
    r = error_set(err, -ENOMEM, "out of memory writing the summary");
  json_decref(report);
  json_decref(defences);
  json_decref(spec);
  return r;
}

static int write_key(const struct trainer *t, const char *directory, struct guise_error *err) {
  char path[4096];
  if (!*mask_keyed_by(t->mask))
    return 0;
  if (snprintf(path, sizeof(path), "%s/" MASK_KEY_FILE, directory) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path of the output directory is too long");
  return mask_key_write(path, &t->key, err);
}

/* ---- attacks, of which those that are finished outlast a stop ---- */

#define FINISHED_DIRECTORY "audit" /* a directory, which a job that goes on finds again */

struct finished {
  struct trainer *trainer;
  const struct audit_subject *audited;
  const struct audit_record *audit;
  char path[4096], model_sha256[SHA256_HEX];
};

static int keep_finished(void *context, struct guise_error *err) {
  const struct finished *finished = context;
  const struct audit_subject *audited = finished->audited;
  if (job_stop_code(audited->callbacks) == -ECANCELED) /* also for what it read does not count */
    return -ECANCELED;
  int r = audit_checkpoint_write(finished->path, audited->spec, finished->model_sha256, finished->audit, err);
  /* the trained weights once more, so that whoever counts checkpoints sees that the job got somewhere */
  return r < 0 ? r : checkpoint_write(finished->trainer, audited->inputs->work_directory, err);
}

/* None are there of an audit that begins; the weights are those of before, to the bit, on the same machine.
 */
static int find_finished(struct trainer *t, struct finished *finished, struct audit_record *audit,
                         struct guise_error *err) {
  struct guise_error other = {0};
  char directory[4096];
  const char *work = finished->audited->inputs->work_directory;
  if (snprintf(directory, sizeof(directory), "%s/" FINISHED_DIRECTORY, work) >= (int)sizeof(directory) ||
      snprintf(finished->path, sizeof(finished->path), "%s/" FINISHED_DIRECTORY "/finished.json", work) >=
          (int)sizeof(finished->path))
    return error_set(err, -ENAMETOOLONG, "the path of the work directory is too long");
  int r = directory_make(directory, err);
  if (r < 0)
    return r;
  r = sha256_file(finished->audited->model, finished->model_sha256, NULL);
  if (r < 0)
    return error_set(err, r, "cannot read back %s: %s", finished->audited->model, strerror(-r));
  if (access(finished->path, F_OK) < 0)
    return 0;
  r = audit_checkpoint_read(finished->path, t->spec, finished->model_sha256, audit, &other);
  if (r == 0)
    trainer_log(t, "info", "continuing behind %zu finished attacks", json_array_size(audit->attacks));
  else if (r == -EBADMSG)
    trainer_log(t, "warning",
                "the attacks that were finished are of other weights or another version of "
                "guise: all are run again");
  else
    return error_set(err, r, "%s", other.text);
  return 0;
}

static int run_attacks(struct trainer *t, const struct audit_subject *audited, struct audit_record *audit,
                       struct guise_error *err) {
  struct finished finished = {.trainer = t, .audited = audited, .audit = audit};
  if (audit_count(t->spec) == 0)
    return 0;
  int r = find_finished(t, &finished, audit, err);
  return r < 0 ? r : audit_run(audited, audit, keep_finished, &finished, err);
}

int job_finish(struct trainer *t, const struct job_inputs *inputs, const struct verify_sets *sets,
               struct job_outcome *ret_outcome, struct guise_error *err) {
  struct report_verification entries[2 * VERIFY_SETS_MAX];
  char path[4096];
  const struct audit_subject audited = {
      .spec = t->spec,
      .trained = t->spec,
      .inputs = inputs,
      .callbacks = t->callbacks,
      .mask = t->mask,
      .mixing = stored_mixing(t),
      .data = &t->data,
      .k = t->stored_k,
      .partners = t->open_order ? &t->open : NULL,
      .model = path,
      .key = *mask_keyed_by(t->mask) ? &t->key : NULL,
      .split = job_spec_split(t->spec),
      .threads = t->threads,
  };
  struct audit_record audit;
  struct model_info info;
  uint32_t count = 0;
  char scores[4096];
  if (snprintf(path, sizeof(path), "%s/" MODEL_FILE, inputs->output_directory) >= (int)sizeof(path) ||
      snprintf(scores, sizeof(scores), "%s/scores.csv", inputs->output_directory) >= (int)sizeof(scores))
    return error_set(err, -ENAMETOOLONG, "the path of the output directory is too long");
  int r = audit_record_init(&audit, err);
  if (r < 0)
    return r;
  fill_info(t, inputs, &info);
  r = trainer_prepare_eval(t, 0, err);
  if (r == 0)
    r = verify_all(t, sets, scores, entries, &count, err);
  if (r == 0)
    r = model_save(path, t->eval, &info, err);
  if (r == 0)
    r = export_head(t, inputs->output_directory, &info, err);
  if (r == 0)
    r = write_key(t, inputs->output_directory, err);
  if (r == 0)
    r = run_attacks(t, &audited, &audit, err);
  if (r == 0)
    t->callbacks->phase(t->callbacks->context, "writing");
  if (r == 0)
    r = write_report(t, inputs, entries, count, &audited, &audit, &info, path, ret_outcome, err);
  audit_record_done(&audit);
  return r;
}
