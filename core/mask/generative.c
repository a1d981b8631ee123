/* A generated face in the place of a face: a small U-Net with a noise input, trained on public faces
 * (core/train/generation.h), draws a face that an embedder takes for the same person and that looks
 * different. Reconstructed from that sentence.
 *
 * What is drawn is the template's picture, anew for each template. Nothing bounds what it tells: it was made
 * to tell who somebody is, and whoever has the model can draw such pictures of other people and learn to read
 * them, which is what the attack `reconstruction` does. */
#include "core/mask/generator.h"
#include "core/mask/methods.h"

static int setup(struct mask *mask, struct guise_error *err) {
  return generator_setup(mask, NULL, err);
}

static const struct mask_parameter parameters[] = {GENERATOR_PARAMETERS};

const struct mask_row mask_generative = {
    .traits = {.name = "generative",
               .summary = "a generated face that an embedder takes for the same person",
               .random = true,
               .located = true,
               .weights = MASK_WEIGHTS_GENERATION,
               .needs_public = true,
               .parameters = parameters,
               .parameter_count = ARRAY_SIZE(parameters)},
    .setup = setup,
    GENERATOR_HOOKS};
