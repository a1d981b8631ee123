/* A8's plain variant, GMI (Zhang et al., "The Secret Revealer: Generative Model-Inversion Attacks Against
 * Deep Neural Networks", CVPR 2020): a GAN learns what public faces look like and nothing of the attacked
 * network; then latents are searched for,
 *
 *   min_z  -log softmax(class | G(z)) - .01 D(G(z))
 *
 * Reconstructed: the networks, the training and the search are those of plg_mi (gan_inversion.h) without
 * classes, instead of a Wasserstein GAN and momentum; there is no blurred picture to start from. One
 * generator serves the attacked network and its control. */
#include "core/attack/gan_inversion.h"

const struct gan_inversion gmi = {
    .name = "gmi",
    .threat_model =
        "Holds the weights, the mask and the class head: a row for each trained person, made again "
        "here as the mean embedding of their photographs, as a service that recognises them keeps "
        "it. Has public faces of other people and a generator trained on them. Has no template and "
        "no picture of anybody.",
    .loss = GUIDE_ENTROPY,
    .realism = 0.01f,
};

int attack_gmi_run(const struct attack_context *context, struct attack_result *ret_result,
                   struct guise_error *err) {
  return gan_inversion_run(&gmi, &gan_inversion_budgets[context->effort], context, ret_result, err);
}
