/* libguise-core: everything a program needs to train, attack and use a masked face-recognition model without
 * the daemon.
 *
 *   ingest_archive()    an archive of faces -> a pack                          core/image/ingest.h
 *   job_spec_parse()    a job as JSON -> struct job_spec, all mistakes at once core/train/spec.h
 *   job_run()           pack and specification -> model, report, card          core/train/job.h
 *   model_load()        a trained model -> embeddings                          core/model/model.h
 *   attack_run()        what an attacker gets out of templates                 core/attack/attack.h
 *
 * No global state but the kernel libraries' own, no logging, no sockets; every function that can fail returns
 * a negative errno and a sentence in struct guise_error. */
#pragma once

#include "core/attack/attack.h"
#include "core/base/base.h"
#include "core/image/ingest.h"
#include "core/image/pack.h"
#include "core/model/model.h"
#include "core/train/job.h"
#include "core/train/spec.h"
