/* A8, PLG-MI (Yuan et al., "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial
 * Network", AAAI 2023). The public faces that the network takes most readily for a person are labelled as
 * theirs; a conditional GAN learns to draw such faces, and so that the network takes them for the person:
 *
 *   L_G = -mean D(G(z, y), y) + .2 (max_{j != y} l_j - l_y),  l of the picture mirrored and moved at random
 *
 * Then each person's latents are searched for that give the least max-margin loss, two looks a step, several
 * times, and the picture with the highest logit of the person counts.
 *
 * Reconstructed, as are gan.h's networks: latents of 64 numbers and pictures of 64 pixels at most, one step
 * of the critic, cosine schedule of the search's Adam. Whom a picture shows, an evaluator says. Control: the
 * same on an undefended network of the same people, with a generator of its own. */
#include "core/attack/gan_inversion.h"

const struct gan_inversion plg_mi = {
    .name = "plg_mi",
    .threat_model =
        "Holds the weights, the mask and the class head: a row for each trained person, made again "
        "here as the mean embedding of their photographs, as a service that recognises them keeps "
        "it. Has public faces of other people and trains a generator on those that the network "
        "takes most readily for each person. Has no template and no picture of anybody.",
    .labelled = 30,
    .guidance = 0.2f,
    .loss = GUIDE_MARGIN,
};

int attack_plg_mi_run(const struct attack_context *context, struct attack_result *ret_result,
                      struct guise_error *err) {
  return gan_inversion_run(&plg_mi, &gan_inversion_budgets[context->effort], context, ret_result, err);
}
