/* Commands on models: models, model show, get. A file is downloaded beside its place, verified against the
 * sha256 that is its ETag and in the model's metadata, and only then renamed, so that what stands under the
 * name is always whole and right. */
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/file.h"
#include "core/mask/key.h"
#include "core/model/files.h"

#define BAR_NS INT64_C(100000000) /* between two drawings of the bar */

char *model_resolve(struct cli *cli, const char *id, int *ret_code) {
  json_t *job = NULL;
  char *model = NULL;
  *ret_code = EXIT_DONE;
  if (strncmp(id, "job_", 4) != 0) {
    model = strdup(id);
  } else {
    *ret_code = cli_get(cli, http_path("/v1/jobs/", id, NULL), &job);
    if (*ret_code != EXIT_DONE)
      return NULL;
    if (!json_text(job, "model", NULL)) {
      *ret_code = cli_error("%s has no model: it is %s", id, json_text(job, "state", "?"));
      json_decref(job);
      return NULL;
    }
    model = strdup(json_text(job, "model", ""));
    json_decref(job);
  }
  if (!model)
    *ret_code = cli_error("out of memory");
  return model;
}

static void model_row(struct table *table, const json_t *row) {
  const json_t *facts = json_object_get(row, "facts");
  char accuracy[32];
  format_percent(json_real_or(row, "accuracy", NAN), accuracy, sizeof(accuracy));
  table_cell(table, "%s", json_text(row, "id", "?"));
  table_cell(table, "%s", json_text(row, "job", "?"));
  table_cell(table, "%s", json_text(json_object_get(facts, "model"), "arch", "?"));
  table_cell(table, "%s", json_text(json_object_get(facts, "mask"), "method", "?"));
  table_cell(table, "%s", accuracy);
  table_cell(table, "%s", json_is_true(json_object_get(row, "audited")) ? "yes" : "no");
  table_cell(table, "%s", json_text(row, "created_at", "?"));
}

int command_models(struct cli *cli, int argc, char **argv) {
  static const struct columns columns = {model_row,
                                         {"MODEL", "JOB", "ARCH", "MASK", "ACCURACY", "AUDITED", "CREATED"}};
  (void)argv;
  return argc == 1 ? cli_list(cli, strdup("/v1/models"), &columns)
                   : cli_usage(cli, "models takes no argument");
}

/* ---- model show ---- */

/* "0.1 0.01": at which verify has thresholds. */
static void print_rates(const json_t *summary) {
  static const char *const rates[][2] = {{"threshold_at_far_1e-1", "0.1"},
                                         {"threshold_at_far_1e-2", "0.01"},
                                         {"threshold_at_far_1e-3", "0.001"}};
  char text[32] = "";
  for (size_t i = 0; i < ARRAY_SIZE(rates); i++)
    if (json_is_number(json_object_get(summary, rates[i][0])))
      (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? " " : "", rates[i][1]);
  out_line("--far", *text ? text : "none: too few pairs of different people were verified");
}

static void print_model(const json_t *model) {
  const json_t *facts = json_object_get(model, "facts"), *made = json_object_get(facts, "model");
  const json_t *privacy = json_object_get(model, "privacy"), *file;
  char text[160], bytes[32];
  size_t i;
  out_line("model", json_text(model, "id", "?"));
  out_line("job", json_text(model, "job", "-"));
  out_line("dataset", json_text(model, "dataset", "-"));
  out_line("mask", json_text(json_object_get(facts, "mask"), "method", "?"));
  (void)snprintf(text, sizeof(text), "%s, %llu pixels, embedding of %llu", json_text(made, "arch", "?"),
                 (unsigned long long)json_count(made, "input"),
                 (unsigned long long)json_count(made, "embedding"));
  out_line("network", text);
  format_percent(json_real_or(model, "accuracy", NAN), text, sizeof(text));
  out_line("accuracy", text);
  print_rates(json_object_get(model, "summary"));
  out_line("privacy", json_is_true(json_object_get(model, "audited"))
                          ? json_text(privacy, "verdict", "?")
                          : "not audited: guise attack runs attacks");
  out_line("created", json_text(model, "created_at", "?"));
  json_array_foreach(json_object_get(model, "files"), i, file) {
    format_bytes(json_count(file, "size"), bytes, sizeof(bytes));
    (void)snprintf(text, sizeof(text), "%s  %s", json_text(file, "name", "?"), bytes);
    out_line(i ? "" : "files", text);
  }
}

int command_model_show(struct cli *cli, int argc, char **argv) {
  json_t *metadata = NULL;
  int code = EXIT_DONE;
  if (argc != 2)
    return cli_usage(cli, "model show takes a model's or a job's id");
  _cleanup_(freep) char *model = model_resolve(cli, argv[1], &code);
  if (!model)
    return code;
  code = cli_get(cli, http_path("/v1/models/", model, NULL), &metadata);
  if (code == EXIT_DONE && cli->json)
    out_json(metadata);
  else if (code == EXIT_DONE)
    print_model(metadata);
  json_decref(metadata);
  return code;
}

/* ---- get ---- */

struct download {
  struct cli *cli;
  const char *model, *name; /* name of the file */
  const char *sha256;       /* from the metadata */
  uint64_t size;            /* likewise */
  const char *query;        /* "" or with a question mark */
  char path[4096], part[4112];
  int fd;
  uint64_t offset;  /* where the next byte goes */
  int64_t drawn_at; /* when the bar was, monotonic ns */
  bool answered;    /* a part of this answer was written */
};

static int on_data(void *context, long status, const char *data, size_t size, struct guise_error *err) {
  struct download *download = context;
  if (!download->answered && status == 200 && download->offset > 0) { /* the whole file after all */
    if (ftruncate(download->fd, 0) < 0)
      return error_set(err, -errno, "cannot write %s: %s", download->part, strerror(errno));
    download->offset = 0;
  }
  download->answered = true;
  for (size_t done = 0; done < size;) {
    ssize_t n = pwrite(download->fd, data + done, size - done, (off_t)download->offset);
    if (n < 0 && errno != EINTR)
      return error_set(err, -errno, "cannot write %s: %s", download->part, strerror(errno));
    if (n > 0) {
      done += (size_t)n;
      download->offset += (uint64_t)n;
    }
  }
  if (download->size > 0 && clock_ns() - download->drawn_at >= BAR_NS) {
    char text[32];
    download->drawn_at = clock_ns();
    format_bytes(download->offset, text, sizeof(text));
    bar_draw((double)download->offset / (double)download->size, download->name, text);
  }
  return 0;
}

/* Fetches what is missing of the part file. */
static int fetch(struct download *download) {
  char range[64], if_range[160];
  struct reply reply = {0};
  struct stat st;
  _cleanup_(freep) char *path =
      http_path("/v1/models/", download->model, "/files/", download->name, download->query, NULL);
  _cleanup_(closep) int fd = open(download->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (!path)
    return cli_error("out of memory");
  if (fd < 0 || fstat(fd, &st) < 0)
    return cli_error("cannot create %s: %s", download->part, strerror(errno));
  download->fd = fd;
  download->answered = false;
  download->offset = (uint64_t)st.st_size < download->size ? (uint64_t)st.st_size : 0;
  if (download->offset == 0 && ftruncate(fd, 0) < 0)
    return cli_error("cannot write %s: %s", download->part, strerror(errno));
  (void)snprintf(range, sizeof(range), "Range: bytes=%llu-", (unsigned long long)download->offset);
  (void)snprintf(if_range, sizeof(if_range), "If-Range: \"%s\"", download->sha256);
  struct request request = {
      .method = "GET", .path = path, .write = on_data, .context = download, .stop = &cli_interrupted};
  if (download->offset > 0) {
    request.headers[0] = range;
    request.headers[1] = if_range;
  }
  int code = cli_request(download->cli, &request, &reply);
  bar_clear();
  if (code == EXIT_DONE && strcmp(reply.etag, download->sha256) != 0)
    code = cli_error("%s: the daemon names another sha256 (%s) than the model's metadata (%s)",
                     download->name, reply.etag, download->sha256);
  reply_free(&reply);
  if (code != EXIT_DONE && st.st_size == 0 && download->offset == 0)
    (void)unlink(download->part); /* nothing to resume from */
  return code;
}

static bool is_whole(const char *path, const char *sha256) {
  char have[SHA256_HEX];
  return sha256_file(path, have, NULL) == 0 && strcmp(have, sha256) == 0;
}

/* Downloads one file and verifies it. A part left from another time may be wrong: then once more from the
 * start. */
static int get_file(struct download *download) {
  struct guise_error err = {0};
  if (is_whole(download->path, download->sha256))
    return EXIT_DONE;
  for (int attempt = 0; attempt < 2; attempt++) {
    bool whole = is_whole(download->part, download->sha256);
    int code = whole ? EXIT_DONE : fetch(download);
    if (code != EXIT_DONE)
      return code;
    if (whole || is_whole(download->part, download->sha256))
      return file_publish(download->part, download->path, &err) < 0 ? cli_error("%s", err.text) : EXIT_DONE;
    (void)unlink(download->part);
  }
  return cli_error("%s does not have the sha256 %s that the daemon promised; nothing was kept",
                   download->name, download->sha256);
}

static const json_t *find_file(const json_t *files, const char *name) {
  const json_t *file;
  size_t i;
  json_array_foreach(files, i, file) if (strcmp(json_text(file, "name", ""), name) == 0) return file;
  return NULL;
}

static int fetch_one(struct cli *cli, const char *model, const json_t *file, const char *directory,
                     const char *query, char ret_path[4096]) {
  struct download download = {.cli = cli, .model = model, .query = query};
  download.name = json_text(file, "name", "");
  download.sha256 = json_text(file, "sha256", "");
  download.size = json_count(file, "size");
  if (!name_is_plain(download.name))
    return cli_error("the daemon names a file '%s', which is no name for a file here", download.name);
  if (snprintf(download.path, sizeof(download.path), "%s/%s", directory, download.name) >=
      (int)sizeof(download.path))
    return cli_error("the path %s is too long", directory);
  (void)snprintf(download.part, sizeof(download.part), "%s.part", download.path);
  memcpy(ret_path, download.path, sizeof(download.path));
  return get_file(&download);
}

static int get_one(struct cli *cli, const char *model, const json_t *file, const char *directory,
                   const char *query) {
  char path[4096], size[32];
  int code = fetch_one(cli, model, file, directory, query, path);
  if (code != EXIT_DONE || cli->json)
    return code;
  format_bytes(json_count(file, "size"), size, sizeof(size));
  out_text(stdout, path);
  (void)printf("  %s  sha256 %s\n", size, json_text(file, "sha256", ""));
  return EXIT_DONE;
}

int model_fetch(struct cli *cli, const char *model, const char *name, const char *directory, bool unsafe) {
  char path[4096];
  json_t *metadata = NULL;
  int code = cli_get(cli, http_path("/v1/models/", model, NULL), &metadata);
  if (code == EXIT_DONE) {
    const json_t *file = find_file(json_object_get(metadata, "files"), name);
    code = file ? fetch_one(cli, model, file, directory, unsafe ? "?unsafe=true" : "", path)
                : cli_error("%s has no file %s", model, name);
  }
  json_decref(metadata);
  return code;
}

static bool holds_key(const json_t *metadata, const char *name) {
  return find_file(json_object_get(metadata, "files"), MASK_KEY_FILE) &&
         model_file_holds_key(name, json_object_get(metadata, "facts"));
}

static int get_files(struct cli *cli, const char *model, const json_t *metadata, char *const *names,
                     int count, const char *directory, bool unsafe, bool key) {
  static const char *const queries[2][2] = {{"", "?key=true"}, {"?unsafe=true", "?unsafe=true&key=true"}};
  const char *query = queries[unsafe][key];
  const json_t *files = json_object_get(metadata, "files"), *file;
  int code = EXIT_DONE;
  size_t i;
  if (count == 0) {
    json_array_foreach(files, i, file) {
      const char *name = json_text(file, "name", "");
      /* only who names those that tell of people asks for them */
      if (model_private_file(name) || (!key && holds_key(metadata, name)))
        continue;
      code = get_one(cli, model, file, directory, query);
      if (code != EXIT_DONE)
        return code;
    }
  }
  for (int n = 0; n < count && code == EXIT_DONE; n++) {
    file = find_file(files, names[n]);
    code =
        file ? get_one(cli, model, file, directory, query) : cli_error("%s has no file %s", model, names[n]);
  }
  return code;
}

/* Whether model.onnx is among the files that were asked for. */
static bool asks_for_network(const json_t *metadata, char *const *names, int count, bool key) {
  for (int n = 0; n < count; n++)
    if (strcmp(names[n], MODEL_ONNX_FILE) == 0)
      return true;
  return count == 0 && find_file(json_object_get(metadata, "files"), MODEL_ONNX_FILE) &&
         (key || !holds_key(metadata, MODEL_ONNX_FILE));
}

/* Who expects a network that takes images is told when the mask is no part of it. The report knows; without
 * one nothing is said. */
static void tell_start(struct cli *cli, const char *model, bool unsafe) {
  struct guise_error err = {0};
  struct reply reply = {0};
  _cleanup_(freep) char *path = http_path(
      "/v1/models/", model, unsafe ? "/files/" REPORT_FILE "?unsafe=true" : "/files/" REPORT_FILE, NULL);
  if (!path || http_send(cli->http, &(struct request){.method = "GET", .path = path}, &reply, &err) < 0)
    return;
  const json_t *network =
      find_file(json_object_get(json_object_get(reply.json, "model"), "onnx"), MODEL_ONNX_FILE);
  if (reply.status == 200 && strcmp(json_text(network, "start", ""), "template") == 0)
    (void)fputs(MODEL_ONNX_FILE
                " begins at a masked template, not at an image: this mask cannot be a part of it, so "
                "mask faces before, or ask the daemon (guise embed)\n",
                stderr);
  reply_free(&reply);
}

int command_get(struct cli *cli, int argc, char **argv) {
  const char *directory = ".";
  bool unsafe = false, key = false;
  struct guise_error err = {0};
  json_t *metadata = NULL;
  int option, code = EXIT_DONE;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'o')
      directory = optarg;
    else if (option == 'u')
      unsafe = true;
    else if (option == 'k')
      key = true;
    else
      return cli_usage_option(cli);
  }
  if (optind == argc)
    return cli_usage(cli, "get takes a model's or a job's id");
  _cleanup_(freep) char *model = model_resolve(cli, argv[optind], &code);
  if (!model)
    return code;
  if (directory_make(directory, &err) < 0)
    return cli_error("%s", err.text);
  code = cli_get(cli, http_path("/v1/models/", model, NULL), &metadata);
  if (code == EXIT_DONE)
    code = get_files(cli, model, metadata, argv + optind + 1, argc - optind - 1, directory, unsafe, key);
  if (code == EXIT_DONE && cli->json)
    out_json(metadata);
  if (code == EXIT_DONE && asks_for_network(metadata, argv + optind + 1, argc - optind - 1, key))
    tell_start(cli, model, unsafe);
  json_decref(metadata);
  return code;
}
