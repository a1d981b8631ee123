/* TL-DMI (Ho et al., CVPR 2024, arXiv 2405.05588): the early blocks, which a model inversion draws its
 * pictures with, are trained on public people and never see the private ones. The network begins with a
 * model's weights, its stem and first `blocks` blocks stay as they are to the bit (batch norms with their
 * running statistics, too), and the rest is trained on. The model is one that the job names, or the job's own
 * training on mask.public_dataset, which comes first. */
#include <string.h>

#include "core/model/model.h"
#include "core/train/defence_rows.h"

enum { BLOCKS };

static const struct defence_parameter parameters[] = {
    {"blocks", "that stay as they were trained on public faces, besides the stem", 1, 64, 3, true},
};

static int check(const struct job_spec *spec, const struct defence_choice *choice, const char *pointer,
                 struct spec_problems *problems) {
  const struct mask_options options = job_spec_mask(spec);
  const bool pixels = spec->model.arch != ARCH_FREQ_CONV && spec->mask.dct == MASK_DCT_NATIVE;
  (void)choice;
  if (mask_learns(&options) || mask_weight_count(&options) > 0)
    return spec_problems_add(
        problems, pointer, "conflict", NULL,
        "tl_dmi and the mask %s: what the mask learns for this job is not what the public blocks were "
        "trained behind; choose a mask that learns nothing",
        mask_traits(spec->mask.method)->name);
  if (spec->mask.key && !pixels)
    return spec_problems_add(
        problems, pointer, "conflict", NULL,
        "tl_dmi and a key: blocks that read the channels in their secret order cannot have been "
        "trained on others; set mask.key to false, or choose a network of pixels");
  if (!*spec->defences.model && !*spec->mask.public_dataset)
    return spec_problems_add(
        problems, pointer, "missing", NULL,
        "tl_dmi begins with a model of public faces: name one in \"model\", or a data set to train "
        "one on in mask.public_dataset");
  if (!*spec->defences.model && strcmp(spec->mask.public_dataset, spec->dataset) == 0)
    return spec_problems_add(problems, "/mask/public_dataset", "conflict", NULL,
                             "tl_dmi's public faces cannot be the private ones: name another data set");
  return 0;
}

static void describe(const struct defence *d, struct graph_config *config, struct arch_options *options) {
  (void)config;
  options->frozen = (uint32_t)d->choice->parameter[BLOCKS];
}

static int setup(struct trainer *t, struct defence *d, const struct job_inputs *inputs,
                 struct guise_error *err) {
  _cleanup_(model_freep) struct model *model = NULL;
  struct guise_error cause = {0};
  (void)d;
  if (!inputs->pretrained_model)
    return error_set(
        err, -EINVAL,
        "tl_dmi begins with a model of public faces: name one, or a data set in mask.public_dataset");
  int r = model_load(inputs->pretrained_model, 1, t->threads, &model, &cause);
  if (r == 0)
    r = graph_copy_parameters(t->graph, model->graph, &cause);
  return r < 0
             ? error_set(
                   err, r,
                   "tl_dmi's model must have the job's arch, width, embedding and norm, and behind the same "
                   "channels where the network reads them: %s",
                   cause.text)
             : 0;
}

static void share(const struct defence_choice *choice, struct attack_loss *loss) {
  loss->frozen = (uint32_t)choice->parameter[BLOCKS];
}

const struct defence_row defence_tl_dmi = {
    .traits = {.name = "tl_dmi",
               .summary = "early blocks trained on public people, and frozen",
               .pretrained = true,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .check = check,
    .describe = describe,
    .setup = setup,
    .share = share};
