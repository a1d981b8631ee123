/* The Open Inference Protocol (KServe V2) over the same models: health, metadata, and batches of tensors to
 * embeddings. Its own paths, and its own form of errors: {"error": TEXT} (reply.c).
 *
 * A request is JSON; with Inference-Header-Content-Length the first so many bytes of the body are, and the
 * tensor's own follow (the extension binary_tensor_data). The tensor is taken out of the text before the text
 * is parsed, so that it never becomes a tree. Members and parameters that are not known are passed over, as
 * the protocol's extensions want it. */
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/reply.h"
#include "api/resources.h"
#include "api/tensor.h"
#include "core/base/json.h"
#include "core/mask/key.h"

#define INPUT "image"
#define OUTPUT "embedding"
#define HEADER_LENGTH "Inference-Header-Content-Length"

/* ---- server ---- */

void get_server(struct request *request) {
  reply_json(request, MHD_HTTP_OK,
             json_pack("{s:s, s:s, s:[s]}", "name", "guise", "version", GUISE_VERSION, "extensions",
                       "binary_tensor_data"));
}

void get_server_live(struct request *request) {
  reply_json(request, MHD_HTTP_OK, json_pack("{s:b}", "live", 1));
}

/* Embeddings need the database alone: a full disk, which /readyz tells, does not stop them. */
void get_server_ready(struct request *request) {
  if (request->http->draining || !service_ready(request->service))
    reply_problem(request, PROBLEM_UNAVAILABLE,
                  "guised is starting, stopping, or cannot use its database; try again soon");
  else
    reply_json(request, MHD_HTTP_OK, json_pack("{s:b, s:b}", "live", 1, "ready", 1));
}

/* ---- models ---- */

struct sizes {
  uint32_t input, embedding;
};

static uint32_t size_of(const json_t *facts, const char *key) {
  const json_int_t value = json_integer_value(json_object_get(json_object_get(facts, "model"), key));
  return value > 0 && value <= UINT16_MAX ? (uint32_t)value : 0;
}

/* False with an answer. */
static bool sizes_of(struct request *request, const struct model_row *model, struct sizes *ret_sizes) {
  json_t *facts = json_loads(model->facts, 0, NULL);
  *ret_sizes = (struct sizes){size_of(facts, "input"), size_of(facts, "embedding")};
  json_decref(facts);
  if (ret_sizes->input > 0 && ret_sizes->embedding > 0)
    return true;
  reply_problem(request, PROBLEM_INTERNAL, "the model %s does not tell its sizes", model->id);
  return false;
}

static json_t *metadata(const struct model_row *model, const struct sizes *sizes) {
  const int side = (int)sizes->input;
  return json_pack("{s:s, s:s, s:[{s:s, s:s, s:[i,i,i,i]}], s:[{s:s, s:s, s:[i,i]}]}", "name", model->id,
                   "platform", "guise", "inputs", "name", INPUT, "datatype", "UINT8", "shape", -1, 3, side,
                   side, "outputs", "name", OUTPUT, "datatype", "FP32", "shape", -1, (int)sizes->embedding);
}

void get_model_metadata(struct request *request) {
  struct model_row model;
  struct sizes sizes;
  if (!model_find(request, &model))
    return;
  if (sizes_of(request, &model, &sizes))
    reply_json(request, MHD_HTTP_OK, metadata(&model, &sizes));
  model_row_clear(&model);
}

void get_model_ready(struct request *request) {
  const char *sha256;
  struct model_row model;
  if (!model_usable(request, &model, &sha256))
    return;
  reply_json(request, MHD_HTTP_OK, json_pack("{s:s, s:b}", "name", model.id, "ready", 1));
  model_row_clear(&model);
}

/* ---- infer: the request ---- */

struct inference_request {
  const char *data; /* of the tensor, within the body; NULL = not found */
  size_t bytes;
  bool binary;    /* as it lies in memory; else a JSON array */
  const char *id; /* the JSON's; NULL = none */
  bool binary_output;
  struct tensor_form form;
  uint8_t *rgb; /* owned */
};

static void inference_request_done(struct inference_request *q) {
  free(q->rgb);
}

/* The text without its tensor, in whose place an empty array stands. NULL when out of memory. */
static char *without(const char *text, size_t bytes, size_t begin, size_t end, size_t *ret_bytes) {
  char *rest = malloc(bytes - (end - begin) + 3);
  if (!rest)
    return NULL;
  memcpy(rest, text, begin);
  rest[begin] = '[';
  rest[begin + 1] = ']';
  memcpy(rest + begin + 2, text + end, bytes - end);
  *ret_bytes = bytes - (end - begin) + 2;
  return rest;
}

/* Parses the body's JSON; the tensor's place is left in q. False with an answer. */
static bool read_body(struct request *request, struct inference_request *q) {
  const char *text = request->body ? request->body : "";
  size_t bytes = request->body_size, begin = 0, end = 0;
  struct guise_error err = {0};
  struct config config;
  service_config_now(request->service, &config);
  if (request->json_bytes >= 0 && (uint64_t)request->json_bytes > bytes) {
    reply_problem(request, PROBLEM_MALFORMED_REQUEST,
                  HEADER_LENGTH
                  " is %lld, and the body has %zu bytes: it is the length of the JSON that comes first",
                  (long long)request->json_bytes, bytes);
    return false;
  }
  if (request->json_bytes >= 0 && (uint64_t)request->json_bytes < bytes) {
    q->data = text + request->json_bytes;
    q->bytes = bytes - (size_t)request->json_bytes;
    q->binary = true;
    bytes = (size_t)request->json_bytes;
  } else if (tensor_find(text, bytes, &begin, &end)) {
    q->data = text + begin;
    q->bytes = end - begin;
  }
  if (bytes - (end - begin) > config.json_max_bytes) {
    reply_problem(request, PROBLEM_TOO_LARGE, "the JSON around the tensor has more than %llu bytes",
                  (unsigned long long)config.json_max_bytes);
    return false;
  }
  size_t rest_bytes = 0;
  _cleanup_(freep) char *rest = without(text, bytes, begin, end, &rest_bytes);
  int r = !rest                   ? -ENOMEM
          : q->binary || !q->data ? json_read(text, bytes, &request->json, &err)
                                  : json_read(rest, rest_bytes, &request->json, &err);
  if (r == -EBADMSG)
    reply_problem(request, PROBLEM_MALFORMED_JSON, "%s", err.text);
  else if (r < 0)
    reply_error(request, r, &err);
  return r == 0;
}

static void wrong(struct spec_problems *problems, const char *pointer, const char *text) {
  (void)spec_problems_add(problems, pointer, "wrong_value", NULL, "%s", text);
}

static uint64_t length_of(const json_t *shape, size_t index) {
  const json_int_t value = json_integer_value(json_array_get(shape, index));
  return value > 0 ? (uint64_t)value : 0;
}

static void parse_shape(const json_t *shape, uint32_t side, uint32_t most, struct tensor_form *form,
                        struct spec_problems *problems) {
  const uint64_t images = length_of(shape, 0);
  form->side = side;
  if (json_array_size(shape) != 4 || images == 0 || length_of(shape, 1) != 3 || length_of(shape, 2) != side ||
      length_of(shape, 3) != side)
    (void)spec_problems_add(
        problems, "/inputs/0/shape", "wrong_value", NULL,
        "the model takes [N, 3, %u, %u]: aligned face crops of its own size, in planes of red, green "
        "and blue",
        side, side);
  else if (images > most)
    (void)spec_problems_add(
        problems, "/inputs/0/shape", "out_of_range", NULL,
        "a request has at most %u images here (16, or inference_burst): send the others in "
        "another",
        most);
  else
    form->images = (uint32_t)images;
}

static void parse_input(const json_t *input, uint32_t side, uint32_t most, struct inference_request *q,
                        struct spec_problems *problems) {
  const char *name = json_string_value(json_object_get(input, "name")),
             *type = json_string_value(json_object_get(input, "datatype"));
  const json_t *size = json_object_get(json_object_get(input, "parameters"), "binary_data_size"),
               *data = json_object_get(input, "data");
  if (!name || strcmp(name, INPUT) != 0)
    wrong(problems, "/inputs/0/name", "the model's only input is named " INPUT);
  if (type && strcmp(type, "FP32") == 0)
    q->form.floats = true;
  else if (!type || strcmp(type, "UINT8") != 0)
    wrong(problems, "/inputs/0/datatype", "the input is UINT8, or FP32 with values from 0 to 255");
  parse_shape(json_object_get(input, "shape"), side, most, &q->form, problems);
  if (size) {
    if (!q->binary || json_integer_value(size) < 0 || (uint64_t)json_integer_value(size) != q->bytes)
      wrong(problems, "/inputs/0/parameters/binary_data_size",
            "it is the number of bytes behind the JSON, whose length " HEADER_LENGTH " tells");
  } else if (q->binary && q->bytes > 0)
    wrong(problems, "/inputs/0/parameters/binary_data_size",
          "bytes follow the JSON, and no input says that they are its");
  else if (q->binary || !q->data || !json_is_array(data) || json_array_size(data) > 0)
    wrong(problems, "/inputs/0/data", "data is an array of numbers, flat or nested as shape is");
}

static void parse_outputs(const json_t *outputs, struct inference_request *q,
                          struct spec_problems *problems) {
  const json_t *output;
  size_t i;
  if (outputs && !json_is_array(outputs))
    wrong(problems, "/outputs", "outputs is an array");
  json_array_foreach(outputs, i, output) {
    const char *name = json_string_value(json_object_get(output, "name"));
    if (i > 0 || !name || strcmp(name, OUTPUT) != 0) {
      wrong(problems, "/outputs", "the model's only output is named " OUTPUT);
      return;
    }
    const json_t *binary = json_object_get(json_object_get(output, "parameters"), "binary_data");
    if (binary)
      q->binary_output = json_is_true(binary);
  }
}

/* False with an answer. */
static bool parse(struct request *request, const struct sizes *sizes, struct inference_request *q) {
  const json_t *body = request->json, *inputs = json_object_get(body, "inputs"),
               *id = json_object_get(body, "id");
  struct spec_problems problems = {0};
  struct config config;
  service_config_now(request->service, &config);
  q->id = json_string_value(id);
  if (id && !q->id)
    wrong(&problems, "/id", "id is a string");
  q->binary_output = json_is_true(json_object_get(json_object_get(body, "parameters"), "binary_data_output"));
  if (json_array_size(inputs) != 1)
    wrong(&problems, "/inputs", "inputs is an array of one input, named " INPUT);
  else
    parse_input(json_array_get(inputs, 0), sizes->input,
                (uint32_t)MIN((uint64_t)INFER_IMAGES_MAX, (uint64_t)config.inference_burst), q, &problems);
  parse_outputs(json_object_get(body, "outputs"), q, &problems);
  if (spec_problems_any(&problems))
    reply_problems(request, &problems);
  return request->response == NULL;
}

/* False with an answer. */
static bool read_tensor(struct request *request, struct inference_request *q) {
  const struct tensor_form *form = &q->form;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  q->rgb = malloc((size_t)form->images * 3 * form->side * form->side);
  int r = !q->rgb     ? -ENOMEM
          : q->binary ? tensor_read_binary(q->data, q->bytes, form, q->rgb, &err)
                      : tensor_read_json(q->data, q->bytes, form, q->rgb, &err);
  if (r == -EINVAL) {
    wrong(&problems, "/inputs/0/data", err.text);
    reply_problems(request, &problems);
  } else if (r < 0)
    reply_error(request, r, &err);
  return r == 0;
}

/* ---- infer: the answer ---- */

static json_t *output_json(const struct inference_request *q, const float *values, uint32_t dimension) {
  const size_t count = (size_t)q->form.images * dimension;
  json_t *output = json_pack("{s:s, s:s, s:[I,I]}", "name", OUTPUT, "datatype", "FP32", "shape",
                             (json_int_t)q->form.images, (json_int_t)dimension);
  if (q->binary_output)
    return json_put(output, "parameters",
                    json_pack("{s:I}", "binary_data_size", (json_int_t)count * (json_int_t)sizeof(float)));
  json_t *data = json_array();
  for (size_t i = 0; i < count; i++)
    data = json_append(data, json_real((double)values[i]));
  return json_put(output, "data", data);
}

/* The JSON with the output's bytes behind it. */
static void reply_binary(struct request *request, json_t *body, const float *values, size_t bytes) {
  _cleanup_(freep) char *text = body ? json_print(body, JSON_COMPACT) : NULL;
  const size_t length = text ? strlen(text) : 0;
  char *whole = text ? malloc(length + 1 + bytes) : NULL;
  json_decref(body);
  if (whole) {
    memcpy(whole, text, length + 1);
    memcpy(whole + length, values, bytes);
  }
  reply_text_take(request, MHD_HTTP_OK, "application/octet-stream", whole, length + bytes);
  if (whole)
    reply_header(request, HEADER_LENGTH, "%zu", length);
}

static void reply_embeddings(struct request *request, const struct model_row *model,
                             const struct inference_request *q, const float *values, uint32_t dimension) {
  json_t *body =
      json_pack("{s:s, s:[o]}", "model_name", model->id, "outputs", output_json(q, values, dimension));
  if (q->id)
    body = json_put(body, "id", json_string(q->id));
  if (q->binary_output)
    reply_binary(request, body, values, (size_t)q->form.images * dimension * sizeof(float));
  else
    reply_json(request, MHD_HTTP_OK, body);
}

static void embed(struct request *request, const struct model_row *model, const char *sha256,
                  const struct inference_request *q) {
  const size_t bytes = (size_t)3 * q->form.side * q->form.side;
  struct service_image images[INFER_IMAGES_MAX];
  _cleanup_(freep) float *values = NULL;
  struct guise_error err = {0};
  uint32_t dimension = 0, bad = 0;
  for (uint32_t i = 0; i < q->form.images; i++)
    images[i] = (struct service_image){.data = q->rgb + i * bytes, .bytes = bytes, .decoded = true};
  int r = service_embed(request->service, sha256, model_file_hash(model, MASK_KEY_FILE), images,
                        q->form.images, &values, &dimension, &bad, &err);
  if (r < 0)
    reply_model_error(request, r, &err);
  else
    reply_embeddings(request, model, q, values, dimension);
}

void infer_model(struct request *request) {
  _cleanup_(inference_request_done) struct inference_request q = {0};
  struct sizes sizes;
  struct model_row model;
  const char *sha256;
  if (!read_body(request, &q) || !model_usable(request, &model, &sha256))
    return;
  if (sizes_of(request, &model, &sizes) && parse(request, &sizes, &q) && read_tensor(request, &q) &&
      rate_pass_batch(request, q.form.images))
    embed(request, &model, sha256, &q);
  model_row_clear(&model);
}
