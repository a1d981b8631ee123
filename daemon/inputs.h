/* What a job reads besides its data set and its pairs: models and data sets that its specification names, one
 * row each in the table of inputs.c. */
#pragma once

#include <limits.h>

#include "daemon/service_internal.h"

/* What an audit adds: the model, and the public faces of its training (audit.c). */
#define AUDIT_INPUTS 2

/* Looks up what the body names; what is missing or does not fit is told at its pointer. Fills row->inputs. */
int inputs_check(struct service *service, const struct client *client, const json_t *body,
                 struct job_row *row, struct spec_problems *problems);

/* The input's size: of the body when it is given and whole, else the default; 0 when it is wrong. */
uint32_t inputs_wanted_size(const json_t *body);

struct input_files {
  char path[JOB_INPUTS_MAX][PATH_MAX];
};
/* Sets the paths in *inputs, which point into *files. */
int inputs_find(struct service *service, const char *job, struct input_files *files,
                struct job_inputs *inputs, struct guise_error *err);
