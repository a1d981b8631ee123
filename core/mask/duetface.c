/* DuetFace (Mi et al., ACM MM 2022), the server's part: of each colour the 54 coefficients that hold little
 * of what a viewer sees. The ten that hold most of it stay with the client, whose own network sends the
 * server a map of where to look; that part is not here, so accuracy is that of the server alone. */
#include "core/mask/methods.h"

static const uint8_t client[] = {0, 1, 2, 3, 4, 5, 8, 9, 16, 24}; /* u * 8 + v */

static int setup(struct mask *mask, struct guise_error *err) {
  (void)err;
  mask_keep(mask, client, ARRAY_SIZE(client), true);
  return 0;
}

const struct mask_row mask_duetface = {
    .traits = {.name = "duetface",
               .summary = "the server's 54 coefficients of each colour; ten stay with the client",
               .keyable = true,
               .located = true,
               .own_channels = true},
    .setup = setup};
