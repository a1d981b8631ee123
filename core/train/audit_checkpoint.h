/* What the finished attacks of an audit found, as a file, so that a job that was stopped among its attacks
 * goes on with the next one. */
#pragma once

#include "core/train/audit.h"

/* Durable and whole. model_sha256: of the attacked model.safetensors, where a file of another one may lie in
 * the same place; NULL = none may. -ENOMEM, or what file_write_atomic returns. */
int audit_checkpoint_write(const char *path, const struct job_spec *spec, const char *model_sha256,
                           const struct audit_record *record, struct guise_error *err);

/* Adds what the file holds to the record. -EBADMSG: it is damaged or belongs to another job, model or version
 * of guise; the record is as it was. -ENOMEM. */
int audit_checkpoint_read(const char *path, const struct job_spec *spec, const char *model_sha256,
                          struct audit_record *record, struct guise_error *err);
