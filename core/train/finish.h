/* The end of a job: the model file, the audit, the report. */
#pragma once

#include "core/train/validate.h"

/* Writes model.safetensors, model.onnx, model-template.onnx, report.json, report.html, report-private.html,
 * card.md, of a keyed job key.json and, when there are pairs, scores.csv (verify_run) into
 * inputs->output_directory. */
int job_finish(struct trainer *trainer, const struct job_inputs *inputs, const struct verify_sets *sets,
               struct job_outcome *ret_outcome, struct guise_error *err);
