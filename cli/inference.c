/* Commands that use a model: embed, verify. */
#include <getopt.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/file.h"

#define IMAGE_BYTES_MAX ((size_t)64 << 20) /* the daemon's own limit is lower and told by it */

struct image {
  char *data; /* owned */
  size_t bytes, sent;
};

static void image_done(struct image *image) {
  free(image->data);
}

static int read_image(const char *path, struct image *ret_image) {
  struct guise_error err = {0};
  if (file_read(path, IMAGE_BYTES_MAX, &ret_image->data, &ret_image->bytes, &err) < 0)
    return cli_error("%s", err.text);
  return EXIT_DONE;
}

/* By the first bytes; the daemon looks again. */
static const char *media_type(const struct image *image) {
  static const char png[] = "\x89PNG";
  return image->bytes >= 4 && memcmp(image->data, png, 4) == 0 ? "image/png" : "image/jpeg";
}

static ssize_t send_image(void *context, char *buffer, size_t size, struct guise_error *err) {
  struct image *image = context;
  const size_t now = MIN(size, image->bytes - image->sent);
  (void)err;
  memcpy(buffer, image->data + image->sent, now);
  image->sent += now;
  return (ssize_t)now;
}

/* Options that both take: what is left are the arguments. */
static int parse_options(struct cli *cli, int argc, char **argv, bool *ret_unsafe, const char **ret_far) {
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'u')
      *ret_unsafe = true;
    else if (option == 'f' && ret_far)
      *ret_far = optarg;
    else
      return cli_usage_option(cli);
  }
  return EXIT_DONE;
}

/* ---- embed ---- */

static void print_embedding(const json_t *embedding) {
  const json_t *value;
  size_t i;
  json_array_foreach(embedding, i, value) {
    (void)printf("%s%.9g", i > 0 ? " " : "", json_number_value(value));
  }
  (void)printf("\n");
}

int command_embed(struct cli *cli, int argc, char **argv) {
  _cleanup_(image_done) struct image image = {.data = NULL};
  struct reply reply = {0};
  bool unsafe = false;
  int code = parse_options(cli, argc, argv, &unsafe, NULL);
  if (code != EXIT_DONE)
    return code;
  if (argc - optind != 2)
    return cli_usage(cli, "embed takes a model's or a job's id and an image");
  code = read_image(argv[optind + 1], &image);
  _cleanup_(freep) char *model = code == EXIT_DONE ? model_resolve(cli, argv[optind], &code) : NULL;
  if (!model)
    return code;
  _cleanup_(freep) char *path =
      http_path("/v1/models/", model, unsafe ? "/embed?unsafe=true" : "/embed", NULL);
  if (!path)
    return cli_error("out of memory");
  const struct request request = {.method = "POST",
                                  .path = path,
                                  .type = media_type(&image),
                                  .read = send_image,
                                  .length = (int64_t)image.bytes,
                                  .context = &image};
  code = cli_request(cli, &request, &reply);
  if (code == EXIT_DONE && cli->json)
    out_json(reply.json);
  else if (code == EXIT_DONE)
    print_embedding(json_object_get(reply.json, "embedding"));
  reply_free(&reply);
  return code;
}

/* ---- verify ---- */

static json_t *base64(const struct image *image) {
  const size_t room = sodium_base64_encoded_len(image->bytes, sodium_base64_VARIANT_ORIGINAL);
  _cleanup_(freep) char *text = malloc(room);
  if (!text)
    return NULL;
  (void)sodium_bin2base64(text, room, (const unsigned char *)image->data, image->bytes,
                          sodium_base64_VARIANT_ORIGINAL);
  return json_string(text);
}

static void print_answer(const json_t *answer, double far) {
  const bool match = json_is_true(json_object_get(answer, "match"));
  (void)printf("%s: similarity %.4f, threshold %.4f at a false accept rate of %g\n",
               match ? "same person" : "different people", json_real_or(answer, "similarity", NAN),
               json_real_or(answer, "threshold", NAN), far);
}

/* The smallest rate that the model's verification has a threshold for: few people held out of training make
 * few pairs, and a small rate takes many. Where that cannot be told, the daemon's own default. */
static double smallest_rate(struct cli *cli, const char *model) {
  static const struct {
    const char *threshold;
    double far;
  } rates[] = {
      {"threshold_at_far_1e-3", 1e-3}, {"threshold_at_far_1e-2", 1e-2}, {"threshold_at_far_1e-1", 1e-1}};
  struct guise_error err = {0};
  struct reply reply = {0};
  double far = 1e-2;
  _cleanup_(freep) char *path = http_path("/v1/models/", model, NULL);
  if (!path || http_send(cli->http, &(struct request){.method = "GET", .path = path}, &reply, &err) < 0)
    return far;
  const json_t *summary = json_object_get(reply.json, "summary");
  for (size_t i = 0; i < ARRAY_SIZE(rates); i++)
    if (reply.status == 200 && json_is_number(json_object_get(summary, rates[i].threshold))) {
      far = rates[i].far;
      break;
    }
  reply_free(&reply);
  return far;
}

int command_verify(struct cli *cli, int argc, char **argv) {
  _cleanup_(image_done) struct image a = {.data = NULL}, b = {.data = NULL};
  const char *far_text = NULL;
  struct reply reply = {0};
  char *end = NULL;
  bool unsafe = false;
  int code = parse_options(cli, argc, argv, &unsafe, &far_text);
  if (code != EXIT_DONE)
    return code;
  if (argc - optind != 3)
    return cli_usage(cli, "verify takes a model's or a job's id and two images");
  double far = far_text ? strtod(far_text, &end) : 0;
  if (far_text && (!*far_text || *end))
    return cli_usage(cli, "--far takes a number such as 0.01");
  code = read_image(argv[optind + 1], &a);
  if (code == EXIT_DONE)
    code = read_image(argv[optind + 2], &b);
  _cleanup_(freep) char *model = code == EXIT_DONE ? model_resolve(cli, argv[optind], &code) : NULL;
  if (!model)
    return code;
  if (!far_text)
    far = smallest_rate(cli, model);
  _cleanup_(freep) char *path =
      http_path("/v1/models/", model, unsafe ? "/verify?unsafe=true" : "/verify", NULL);
  json_t *body = json_pack("{s:o, s:o, s:f}", "a", base64(&a), "b", base64(&b), "far", far);
  code = path && body
             ? cli_request(cli, &(struct request){.method = "POST", .path = path, .json = body}, &reply)
             : cli_error("out of memory");
  json_decref(body);
  if (code == EXIT_DONE && cli->json)
    out_json(reply.json);
  else if (code == EXIT_DONE)
    print_answer(reply.json, far);
  reply_free(&reply);
  return code;
}
