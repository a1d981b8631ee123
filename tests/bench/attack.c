/* guise-bench attack: one attack alone, on a pack of victims, with a pack of public faces and a teacher; for
 * studies of the attacker itself. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/attack/gan_inversion.h"
#include "core/attack/gradient.h"
#include "core/attack/linkage.h"
#include "core/attack/mi_face.h"
#include "core/attack/reconstruction.h"
#include "core/mask/key.h"
#include "core/model/model.h"
#include "core/train/data.h"
#include "tests/bench/bench.h"

struct study {
  struct job_data victims, open;
  struct face_view victims_view, open_view;
  struct mask_options mask;
  const struct attack *attack;
  uint32_t pairs, passes, faces, steps, lessons, restarts; /* 0: the effort's */
  const char *model; /* under attack, with its mask; NULL: the mask alone is */
  const char *key;   /* key.json of the mask or the model, made when there is none; NULL: no key */
  struct mask_key secret;
  uint32_t k;     /* of all mixes; 0: as the model's, else as the mask's jobs begin with */
  double unmixed; /* NAN: as the model's, else nobody */
  bool scratch;
  struct attack_context context;
};

static int open_faces(const char *path, uint32_t size, struct job_data *data, struct face_view *view,
                      struct attack_faces *ret_faces, struct guise_error *err) {
  int r = job_data_open(path, size, NULL, data, err);
  if (r < 0)
    return r;
  *view = (struct face_view){data, data->train.image};
  *ret_faces = (struct attack_faces){face_view_image, view, data->train.identity, data->train.count, NULL};
  return 0;
}

static void print_metric(const char *surface, const struct attack_metric *metric) {
  (void)printf("%s  %-27s %.3f (%.3f to %.3f)  worst tenth %.3f  chance %.3f  control %.3f (%.3f to %.3f)  "
               "ceiling %.3f\n",
               surface, metric->name, metric->value.mean, metric->value.low, metric->value.high,
               metric->worst_tenth, metric->chance, metric->control.mean, metric->control.low,
               metric->control.high, metric->ceiling);
}

static void print_result(const struct attack_result *result) {
  (void)printf("%u faces of %u people, %u public faces, %u steps, %.0f s\n", result->faces, result->people,
               result->public_faces, result->steps, result->seconds);
  if (result->evaluator.arch)
    (void)printf("judged by %s of %u images; photographs it recognises: %.3f\n", result->evaluator.arch,
                 result->evaluator.images, result->evaluator.accuracy);
  for (uint32_t s = 0; s < result->surfaces; s++) {
    const struct attack_surface_result *surface = &result->surface[s];
    for (uint32_t i = 0; i < surface->metrics; i++)
      print_metric(surface_letter(surface->surface), &surface->metric[i]);
    (void)printf("%s  %.2f faces a template: %s. %s\n", surface_letter(surface->surface), surface->mean_k,
                 verdict_name(surface->verdict), surface->reason);
  }
}

/* Attacks that learn may be given another budget than their effort's. */
static int run_attack(const struct study *study, struct attack_result *ret_result, struct guise_error *err) {
  const struct attack_context *context = &study->context;
  struct linkage_budget linkage = linkage_budgets[context->effort];
  struct reconstruction_budget reconstruction = reconstruction_budgets[context->effort];
  struct gradient_budget gradient = gradient_budgets[context->effort];
  struct mi_face_budget mi_face = mi_face_budgets[context->effort];
  struct gan_inversion_budget generated = gan_inversion_budgets[context->effort];
  mi_face.people = study->faces ? study->faces : mi_face.people;
  mi_face.steps = study->steps ? study->steps : mi_face.steps;
  generated.people = study->faces ? study->faces : generated.people;
  generated.steps = study->steps ? study->steps : generated.steps;
  generated.faces = study->pairs ? study->pairs : generated.faces;
  generated.lessons = study->lessons ? study->lessons : generated.lessons;
  generated.restarts = study->restarts ? study->restarts : generated.restarts;
  gradient.faces = study->faces ? study->faces : gradient.faces;
  gradient.steps = study->steps ? study->steps : gradient.steps;
  if (study->pairs)
    linkage.pairs = linkage.scratch_pairs = study->pairs;
  if (study->passes)
    linkage.passes = linkage.scratch_passes = study->passes;
  linkage.from_scratch = study->scratch;
  reconstruction.pairs = study->pairs ? study->pairs : reconstruction.pairs;
  reconstruction.passes = study->passes ? study->passes : reconstruction.passes;
  if (strcmp(study->attack->name, "linkage") == 0)
    return linkage_run(context, &linkage, ret_result, err);
  if (strcmp(study->attack->name, "reconstruction") == 0)
    return reconstruction_run(context, &reconstruction, ret_result, err);
  if (strcmp(study->attack->name, "gradient") == 0)
    return gradient_run(context, &gradient, ret_result, err);
  if (strcmp(study->attack->name, "mi_face") == 0)
    return mi_face_run(context, &mi_face, ret_result, err);
  if (strcmp(study->attack->name, "plg_mi") == 0)
    return gan_inversion_run(&plg_mi, &generated, context, ret_result, err);
  if (strcmp(study->attack->name, "gmi") == 0)
    return gan_inversion_run(&gmi, &generated, context, ret_result, err);
  return study->attack->run(context, ret_result, err);
}

/* How templates are mixed: as the model's training did in its last epoch, or as jobs with the mask begin. */
static void choose_mixing(struct study *study, const struct model *model) {
  struct attack_mixing *mixing = &study->context.mixing;
  const struct mask_traits *traits = mask_traits(mask_method(study->context.mask));
  const uint32_t k = study->k ? study->k : traits->default_k;
  mixing->alpha = MIX_ALPHA;
  mixing->beta = !traits->chooses_k;
  for (uint32_t i = 2; i <= MIX_MAX; i++)
    mixing->probability[i] = k == 0 || i == k;
  if (model && model->info.mixing.mixes && !study->k) {
    mixing->beta = model->info.mixing.beta;
    mixing->unmixed = (double)model->info.mixing.unmixed;
    for (uint32_t i = 2; i <= MIX_MAX; i++)
      mixing->probability[i] = (double)model->info.mixing.probability[i];
  }
  mixing->unmixed = isnan(study->unmixed) ? mixing->unmixed : study->unmixed;
}

static int read_key(struct study *study, struct guise_error *err) {
  int r = study->key ? mask_key_read(study->key, &study->secret, err) : 0;
  if (r == -ENOENT && (r = mask_key_generate(&study->secret, err)) == 0)
    r = mask_key_write(study->key, &study->secret, err);
  study->context.key = study->key ? &study->secret : NULL;
  return r;
}

static int run_study(struct study *study, char **argv, struct guise_error *err) {
  struct attack_context *context = &study->context;
  struct mask *mask = NULL;
  struct model *model = NULL;
  struct attack_result result = {.name = study->attack->name};
  int64_t begin = clock_ns();
  int r = read_key(study, err);
  if (r == 0 && study->model)
    r = model_load_keyed(study->model, context->key, 1, context->threads, &model, err);
  if (r < 0)
    return r;
  const uint32_t size = model ? model->info.input : study->mask.size;
  r = open_faces(argv[1], size, &study->victims, &study->victims_view, &context->victims, err);
  if (r == 0)
    r = open_faces(argv[2], size, &study->open, &study->open_view, &context->open, err);
  if (r == 0 && !model)
    r = mask_new(&study->mask, &mask, err);
  if (r == 0 && !model) /* constants from public faces, as from any others */
    r = mask_fit(mask, face_view_image, &study->open_view, context->open.count, err);
  if (r == 0 && !model && context->key)
    r = mask_set_key(mask, context->key, err);
  context->mask = model ? model->mask : mask;
  context->model = study->model;
  if (r == 0)
    choose_mixing(study, model);
  context->members = context->victims; /* to attacks on weights and gradients they are who was trained on */
  context->teacher = argv[3];
  if (r == 0)
    r = run_attack(study, &result, err);
  result.seconds = (double)(clock_ns() - begin) * 1e-9;
  if (r == 0)
    print_result(&result);
  attack_result_done(&result);
  mask_free(mask);
  model_free(model);
  job_data_close(&study->victims);
  job_data_close(&study->open);
  return r;
}

static uint32_t number(const char *text) {
  return (uint32_t)strtoul(text, NULL, 10);
}

/* NAME=VALUE of one of the method's numbers. */
static int parse_parameter(const char *text, struct mask_options *options) {
  const struct mask_traits *traits = mask_traits(options->method);
  const size_t length = strcspn(text, "=");
  for (uint32_t i = 0; text[length] && i < traits->parameter_count; i++)
    if (strlen(traits->parameters[i].name) == length &&
        strncmp(traits->parameters[i].name, text, length) == 0) {
      options->parameter[i] = strtod(text + length + 1, NULL);
      return 0;
    }
  return -EINVAL;
}

static int parse_options(struct study *study, int argc, char **argv) {
  enum {
    MASK = 1,
    DROP,
    SIZE,
    K,
    UNMIXED,
    EFFORT,
    PAIRS,
    PASSES,
    SCRATCH,
    THREADS,
    SEED,
    MODEL,
    UNDEFENDED,
    EVALUATOR,
    FACES,
    STEPS,
    LESSONS,
    RESTARTS,
    WORK,
    DCT,
    PARAMETER,
    CLIP,
    KEY,
    RECIPES
  };
  static const struct option options[] = {{"mask", 1, NULL, MASK},
                                          {"drop-low", 1, NULL, DROP},
                                          {"size", 1, NULL, SIZE},
                                          {"k", 1, NULL, K},
                                          {"unmixed", 1, NULL, UNMIXED},
                                          {"effort", 1, NULL, EFFORT},
                                          {"pairs", 1, NULL, PAIRS},
                                          {"passes", 1, NULL, PASSES},
                                          {"scratch", 0, NULL, SCRATCH},
                                          {"threads", 1, NULL, THREADS},
                                          {"seed", 1, NULL, SEED},
                                          {"model", 1, NULL, MODEL},
                                          {"undefended", 1, NULL, UNDEFENDED},
                                          {"evaluator", 1, NULL, EVALUATOR},
                                          {"faces", 1, NULL, FACES},
                                          {"steps", 1, NULL, STEPS},
                                          {"lessons", 1, NULL, LESSONS},
                                          {"restarts", 1, NULL, RESTARTS},
                                          {"work", 1, NULL, WORK},
                                          {"dct", 1, NULL, DCT},
                                          {"parameter", 1, NULL, PARAMETER},
                                          {"clip", 1, NULL, CLIP},
                                          {"key", 1, NULL, KEY},
                                          {"recipes", 1, NULL, RECIPES},
                                          {NULL, 0, NULL, 0}};
  enum mask_method method = MASK_AHM;
  enum mask_dct dct = MASK_DCT_NATIVE;
  const char *parameters[MASK_PARAMETERS_MAX], *clip = NULL;
  uint32_t drop_low = UINT32_MAX, size = 112, parameter_count = 0;
  int option;
  *study =
      (struct study){.unmixed = NAN,
                     .context = {.effort = EFFORT_QUICK,
                                 .seed = 1,
                                 .threads = 1,
                                 .loss = {.kind = HEAD_COSFACE, .options = {.scale = 30, .margin = .3f}}}};
  optind = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) > 0) {
    if (option == MASK && mask_method_from_name(optarg, &method) < 0)
      return -EINVAL;
    if (option == EFFORT && effort_from_name(optarg, &study->context.effort) < 0)
      return -EINVAL;
    drop_low = option == DROP ? number(optarg) : drop_low;
    size = option == SIZE ? number(optarg) : size;
    study->pairs = option == PAIRS ? number(optarg) : study->pairs;
    study->passes = option == PASSES ? number(optarg) : study->passes;
    study->faces = option == FACES ? number(optarg) : study->faces;
    study->steps = option == STEPS ? number(optarg) : study->steps;
    study->lessons = option == LESSONS ? number(optarg) : study->lessons;
    study->restarts = option == RESTARTS ? number(optarg) : study->restarts;
    study->model = option == MODEL ? optarg : study->model;
    study->scratch |= option == SCRATCH;
    if (option == WORK)
      study->context.work_directory = optarg;
    if (option == UNDEFENDED)
      study->context.undefended = optarg;
    if (option == EVALUATOR)
      study->context.evaluator = optarg;
    if (option == THREADS)
      study->context.threads = number(optarg);
    if (option == SEED)
      study->context.seed = number(optarg);
    if (option == UNMIXED)
      study->unmixed = strtod(optarg, NULL);
    study->k = option == K ? number(optarg) : study->k;
    study->key = option == KEY ? optarg : study->key;
    clip = option == CLIP ? optarg : clip;
    if (option == RECIPES)
      study->context.mixing.recipes = number(optarg);
    if (option == DCT && mask_dct_from_name(optarg, &dct) < 0)
      return -EINVAL;
    if (option == PARAMETER && parameter_count < ARRAY_SIZE(parameters))
      parameters[parameter_count++] = optarg;
    if (option == '?')
      return -EINVAL;
  }
  study->mask = mask_options_default(method, size);
  study->mask.drop_low = drop_low == UINT32_MAX ? study->mask.drop_low : drop_low;
  study->mask.dct = dct;
  study->mask.clip = clip ? strtof(clip, NULL) : study->mask.clip;
  for (uint32_t i = 0; i < parameter_count; i++)
    if (parse_parameter(parameters[i], &study->mask) < 0)
      return -EINVAL;
  if (study->k == 1 || study->k > MIX_MAX)
    return -EINVAL;
  if (optind + 4 != argc || !(study->attack = attack_find(argv[optind])))
    return -EINVAL;
  return 0;
}

int bench_attack(int argc, char **argv) {
  struct study study;
  struct guise_error err = {0};
  char *shifted[argc + 1];
  shifted[0] = "attack"; /* getopt skips a program's name */
  for (int i = 0; i < argc; i++)
    shifted[i + 1] = argv[i];
  if (parse_options(&study, argc + 1, shifted) < 0) {
    (void)fputs(
        "usage: guise-bench attack NAME VICTIMS_PACK PUBLIC_PACK TEACHER [--mask NAME] [--dct NAME] "
        "[--drop-low N] [--clip C] [--parameter NAME=VALUE] [--key KEY.json] [--size PX] "
        "[--k K] [--unmixed SHARE] [--recipes N] [--effort NAME] [--pairs N] [--passes N] [--scratch] "
        "[--threads N] [--seed N] [--model PATH] [--undefended PATH] "
        "[--evaluator PATH] [--faces N] [--steps N] [--lessons N] [--restarts N] [--work DIRECTORY]\n",
        stderr);
    return 2;
  }
  int r = run_study(&study, shifted + optind, &err);
  if (r < 0)
    (void)fprintf(stderr, "%s\n", err.text);
  return r < 0;
}
