/* Using a model: embeddings of faces, and whether two faces are the same person. Both run on the inference
 * thread. */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"
#include "core/mask/key.h"
#include "core/metric/verify.h"
#include "core/model/files.h"

const char *model_file_hash(const struct model_row *model, const char *name) {
  for (uint32_t i = 0; i < model->file_count; i++)
    if (strcmp(model->files[i].name, name) == 0)
      return model->files[i].sha256;
  return NULL;
}

bool model_usable(struct request *request, struct model_row *ret_model, const char **ret_sha256) {
  if (!model_find(request, ret_model))
    return false;
  *ret_sha256 = model_file_hash(ret_model, MODEL_FILE);
  if (!model_is_allowed(request, ret_model)) {
    model_row_clear(ret_model);
    return false;
  }
  if (!*ret_sha256) {
    reply_problem(request, PROBLEM_INTERNAL, "the model %s has no weights", ret_model->id);
    model_row_clear(ret_model);
  }
  return *ret_sha256 != NULL;
}

static void refuse_image(struct request *request, const char *pointer, const struct guise_error *err) {
  struct spec_problems problems = {0};
  if (spec_problems_add(&problems, pointer, "bad_image", NULL, "%s: send an aligned face crop as JPEG or PNG",
                        err->text) == -ENOMEM)
    reply_error(request, -ENOMEM, NULL);
  else
    reply_problems(request, &problems);
}

/* ---- embed ---- */

static json_t *embedding_json(const float *embedding, uint32_t dimension) {
  json_t *values = json_array();
  for (uint32_t i = 0; i < dimension; i++)
    if (json_array_append_new(values, json_real((double)embedding[i])) < 0) {
      json_decref(values);
      return NULL;
    }
  return json_pack("{s:o}", "embedding", values);
}

void embed_face(struct request *request) {
  const struct service_image image = {.data = request->body ? request->body : "",
                                      .bytes = request->body_size};
  _cleanup_(freep) float *embedding = NULL;
  struct guise_error err = {0};
  struct model_row model;
  const char *sha256;
  uint32_t dimension = 0, bad = 0;
  if (!model_usable(request, &model, &sha256))
    return;
  int r = service_embed(request->service, sha256, model_file_hash(&model, MASK_KEY_FILE), &image, 1,
                        &embedding, &dimension, &bad, &err);
  model_row_clear(&model);
  if (r == 0)
    reply_json(request, MHD_HTTP_OK, embedding_json(embedding, dimension));
  else if (r == -EBADMSG)
    refuse_image(request, "", &err);
  else
    reply_model_error(request, r, &err);
}

/* ---- verify ---- */

struct question {
  uint8_t *file[2]; /* decoded, owned */
  size_t bytes[2];
  uint32_t rate; /* index of verification_rates */
};

static void question_done(struct question *q) {
  free(q->file[0]);
  free(q->file[1]);
}

static void parse_image(const json_t *body, const char *name, uint8_t **ret_file, size_t *ret_bytes,
                        struct spec_problems *problems) {
  const json_t *value = json_object_get(body, name);
  const size_t length = json_is_string(value) ? json_string_length(value) : 0;
  char pointer[8];
  (void)snprintf(pointer, sizeof(pointer), "/%s", name);
  if (!value) {
    (void)spec_problems_add(problems, pointer, "missing", NULL, "%s is an image file in base64", name);
    return;
  }
  *ret_file = malloc(length + 1);
  if (!*ret_file || !json_is_string(value) ||
      sodium_base642bin(*ret_file, length, json_string_value(value), length, NULL, ret_bytes, NULL,
                        sodium_base64_VARIANT_ORIGINAL) < 0)
    (void)spec_problems_add(problems, pointer, "wrong_type", NULL,
                            "%s must be an image file in base64 (RFC 4648, section 4)", name);
}

static void parse_rate(const json_t *body, uint32_t *ret_rate, struct spec_problems *problems) {
  const json_t *value = json_object_get(body, "far");
  json_t *allowed;
  *ret_rate = 1; /* 1e-2 */
  if (!value)
    return;
  for (uint32_t i = 0; json_is_number(value) && i < VERIFICATION_RATES; i++)
    if (fabs(json_number_value(value) - verification_rates[i].far) < 1e-9) {
      *ret_rate = i;
      return;
    }
  allowed = json_array();
  for (uint32_t i = 0; i < VERIFICATION_RATES; i++)
    allowed = json_append(allowed, json_real(verification_rates[i].far));
  (void)spec_problems_add(problems, "/far", "unknown_value", allowed,
                          "far, the share of different people taken for the same, is 0.1, 0.01 or 0.001");
}

static void parse_question(const json_t *body, struct question *q, struct spec_problems *problems) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)body, key, value) {
    char pointer[80];
    if (strcmp(key, "a") == 0 || strcmp(key, "b") == 0 || strcmp(key, "far") == 0)
      continue;
    (void)snprintf(pointer, sizeof(pointer), "/%.60s", key);
    (void)spec_problems_add(problems, pointer, "unknown_field", NULL,
                            "there is no such field; there are a, b and far");
  }
  parse_image(body, "a", &q->file[0], &q->bytes[0], problems);
  parse_image(body, "b", &q->file[1], &q->bytes[1], problems);
  parse_rate(body, &q->rate, problems);
}

/* The similarity above which two faces count as one person's; NAN where the training could not tell. */
static double threshold_of(const struct model_row *model, uint32_t rate) {
  char key[40];
  json_t *summary = json_loads(model->summary, 0, NULL);
  (void)snprintf(key, sizeof(key), "threshold_at_far_%s", verification_rates[rate].name);
  const json_t *value = json_object_get(summary, key);
  const double threshold = json_is_number(value) ? json_number_value(value) : NAN;
  json_decref(summary);
  return threshold;
}

static void refuse_rate(struct request *request, uint32_t rate) {
  const double far = verification_rates[rate].far;
  struct spec_problems problems = {0};
  (void)spec_problems_add(
      &problems, "/far", "too_few_pairs", NULL,
      "this model was verified on too few pairs of different people for a threshold at %g, which "
      "takes %.0f: ask for a larger far, or hold out more people in training (holdout)",
      far, 10 / far);
  reply_problems(request, &problems);
}

static void compare(struct request *request, const struct question *q, const char *sha256, const char *key,
                    double threshold) {
  const struct service_image images[2] = {{.data = q->file[0], .bytes = q->bytes[0]},
                                          {.data = q->file[1], .bytes = q->bytes[1]}};
  _cleanup_(freep) float *embeddings = NULL;
  struct guise_error err = {0};
  uint32_t dimension = 0, bad = 0;
  double similarity = 0;
  int r = service_embed(request->service, sha256, key, images, 2, &embeddings, &dimension, &bad, &err);
  if (r == -EBADMSG) {
    refuse_image(request, bad == 0 ? "/a" : "/b", &err);
    return;
  }
  if (r < 0) {
    reply_model_error(request, r, &err);
    return;
  }
  for (uint32_t i = 0; i < dimension; i++)
    similarity += (double)embeddings[i] * (double)embeddings[dimension + i];
  reply_json(request, MHD_HTTP_OK,
             json_pack("{s:f, s:f, s:b}", "similarity", similarity, "threshold", threshold, "match",
                       (int)(similarity > threshold)));
}

void verify_faces(struct request *request) {
  _cleanup_(question_done) struct question q = {.rate = 0};
  struct spec_problems problems = {0};
  struct model_row model;
  const char *sha256;
  parse_question(request->json, &q, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  if (!model_usable(request, &model, &sha256))
    return;
  const double threshold = threshold_of(&model, q.rate);
  if (isnan(threshold))
    refuse_rate(request, q.rate);
  else
    compare(request, &q, sha256, model_file_hash(&model, MASK_KEY_FILE), threshold);
  model_row_clear(&model);
}
