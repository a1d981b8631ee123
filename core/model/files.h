/* The files of a model by name, as core, daemon, API and client know them. */
#pragma once

#include <jansson.h>

#include "core/base/base.h"

#define MODEL_FILE "model.safetensors"
#define MODEL_HEAD_FILE "model-head.safetensors" /* with the class head */
#define MODEL_ONNX_FILE "model.onnx"
#define MODEL_TEMPLATE_ONNX_FILE "model-template.onnx" /* begins behind the mask */
#define REPORT_FILE "report.json"
#define REPORT_PAGE_FILE "report.html"
#define REPORT_PRIVATE_FILE "report-private.html" /* with pictures of faces */
#define REPORT_CARD_FILE "card.md"

/* Files that tell of people of the data set are handed out to tokens of a scope of their own. */
struct model_private_file {
  const char *name, *why, *scope;
};
/* NULL: the file is not one of them. */
const struct model_private_file *model_private_file(const char *name);

/* Whether the file of a keyed model gives its key away: the key itself, the networks in which it stands, and
 * the weights of those that do not begin with the inverse transform, for they are in its order. facts: of the
 * training, {"model":{"arch"..},"mask":{"dct"..}..} */
bool model_file_holds_key(const char *name, const json_t *facts);
