/* An audit as a job of its own: attacks on a model that was trained before, whose report they go into. */
#pragma once

#include "core/train/job.h"

/* What job_run does with a spec of the type JOB_AUDIT. The model's own report (inputs->audited_report) tells
 * how it was trained: who was held out, how faces were mixed, the seed; on the data set it was trained on,
 * the victims are the people held out, on another one all, and so on its own where, after an erasure, nobody
 * knows who was held out. Each finished attack is a checkpoint, so that a paused or killed job repeats one
 * attack at most. Writes report.json, report.html, report-private.html (with the pictures of this audit),
 * card.md and the ONNX files, whose metadata have the verdicts, into inputs->output_directory: the report
 * with the new attacks beside the old ones. -ENOKEY: the model is keyed, and inputs->audited_key is missing,
 * damaged or another model's. -ESTALE: another audit has replaced a file of the model this instant. */
int audit_job_run(const struct job_spec *spec, const struct job_inputs *inputs,
                  const struct job_callbacks *callbacks, struct job_outcome *ret_outcome,
                  struct guise_error *err);
