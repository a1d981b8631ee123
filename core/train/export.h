/* Files of a model beside model.safetensors. */
#pragma once

#include "core/train/trainer.h"

struct model_info;

/* For other runtimes: writes model.onnx and model-template.onnx (core/model/onnx.h) of t->eval into the
 * directory and lists them in the report, whose accuracy and verdicts go into their metadata. A network that
 * ONNX cannot hold is logged as a warning and left out: the job's model is model.safetensors. */
int export_onnx(const struct trainer *t, const char *directory, const struct model_info *info, json_t *report,
                struct guise_error *err);
/* Writes model-head.safetensors (core/model/model.h): the model with its class head and the names of the
 * people it was trained on, of templates their numbers. -ENOMEM; or as model_save. */
int export_head(const struct trainer *t, const char *directory, const struct model_info *info,
                struct guise_error *err);

/* The files of the audited model (inputs->audited_onnx) in the output directory with what the report says by
 * now in their metadata, and their hashes in the report; graphs and constants are the same. A file that is no
 * ONNX, or too large for one or for the memory, is logged and left as it is. -ESTALE: another audit has
 * replaced one this instant. */
int export_onnx_again(const struct job_inputs *inputs, const struct job_callbacks *callbacks, json_t *report,
                      struct guise_error *err);
