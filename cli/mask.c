/* mask: faces -> a file of templates, here, so that no face leaves this machine. Images are decoded in a
 * jailed helper, which is this program once more (core/image/decode_serve.c). The decoded faces lie beside
 * the result, without a name, as long as the command runs. */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/image/tar_write.h"
#include "core/model/files.h"
#include "core/template/make.h"
#include "core/template/templates.h"

#define DECODERS_MAX 8

DEFINE_CLEANUP(struct pack *, pack_free)

struct masking {
  struct cli *cli;
  const char *faces, *model, *output, *names;
  uint64_t mixes, seed, k;
  bool seeded, half, unsafe;
  char directory[PATH_MAX]; /* of temporary files, beside the output */
  uint32_t rejected;
  uint64_t skipped; /* in the folder: what is no IDENTITY/IMAGE file */
};

/* ---- the faces ---- */

struct packer {
  const char *path;
  int fd;
  int result;
  struct guise_error err;
};

static void *pack_folder(void *context) {
  struct packer *packer = context;
  sigset_t signals; /* a reader that gives up is an error to return, not a signal to die of */
  (void)sigemptyset(&signals);
  (void)sigaddset(&signals, SIGPIPE);
  (void)sigaddset(&signals, SIGINT); /* the main thread sees these */
  (void)sigaddset(&signals, SIGTERM);
  (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
  packer->result = tar_folder(packer->path, packer->fd, &packer->err);
  (void)close(packer->fd);
  return NULL;
}

static void on_reject(void *context, const char *path, const char *code, const char *detail) {
  struct masking *masking = context;
  if (cli_interrupted) /* the terminal tells the decoders, too */
    return;
  bar_clear();
  if (masking->rejected++ < 10) {
    (void)fputs("left out: ", stderr);
    out_text(stderr, path);
    (void)fprintf(stderr, " (%s): %s\n", code, detail);
  }
}

static void on_images(void *context, uint32_t images, uint64_t bytes) {
  char text[64];
  (void)context;
  (void)bytes;
  (void)snprintf(text, sizeof(text), "decoding: %u images", images);
  bar_draw(-1, text, "");
}

/* Whoever interrupts gets what is temporary removed. */
static bool is_interrupted(void *context) {
  (void)context;
  return cli_interrupted;
}

static int decode(struct masking *masking, const char *archive, const char *pack, uint32_t size,
                  struct guise_error *err) {
  const struct ingest_callbacks callbacks = {
      .context = masking, .reject = on_reject, .progress = on_images, .should_stop = is_interrupted};
  struct ingest_result result;
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  int r = ingest_archive(archive, pack, size, "/proc/self/exe", (uint32_t)MIN(MAX(cores, 1), DECODERS_MAX),
                         NULL, &callbacks, &result, err);
  bar_clear();
  return r;
}

/* A folder is packed into a pipe, of which the archive's reader sees the other end. */
static int decode_folder(struct masking *masking, const char *pack, uint32_t size, struct guise_error *err) {
  struct packer packer = {.path = masking->faces};
  pthread_t thread;
  char archive[32];
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
  packer.fd = ends[1];
  int r = -pthread_create(&thread, NULL, pack_folder, &packer);
  if (r < 0) {
    (void)close(ends[0]);
    (void)close(ends[1]);
    return error_set(err, r, "cannot start a thread");
  }
  (void)snprintf(archive, sizeof(archive), "/dev/fd/%d", ends[0]);
  r = decode(masking, archive, pack, size, err);
  (void)close(ends[0]);
  (void)pthread_join(thread, NULL);
  if (packer.result < 0 && packer.result != -EPIPE) /* its reason is the better one */
    return error_set(err, packer.result, "%s", packer.err.text);
  return r;
}

/* The pack loses its name at once. */
static int open_faces(struct masking *masking, uint32_t size, struct pack **ret_pack,
                      struct guise_error *err) {
  char path[PATH_MAX];
  struct stat st;
  if (stat(masking->faces, &st) < 0)
    return error_set(err, -errno, "cannot open %s: %s", masking->faces, strerror(errno));
  if (snprintf(path, sizeof(path), "%s/faces", masking->directory) >= (int)sizeof(path))
    return error_set(err, -ENAMETOOLONG, "the path %s is too long", masking->directory);
  int r = S_ISDIR(st.st_mode) ? decode_folder(masking, path, size, err)
                              : decode(masking, masking->faces, path, size, err);
  if (r == 0)
    r = pack_open(path, ret_pack, err);
  (void)unlink(path);
  return r;
}

/* ---- the result ---- */

static bool on_progress(void *context, double done) {
  (void)context;
  bar_draw(done, "masking", "");
  return !cli_interrupted;
}

/* "0,person-001", as CSV: only the owner can tell who the numbers are. */
static int write_names(const char *path, const struct pack *pack, const uint32_t *number,
                       struct guise_error *err) {
  const uint32_t people = pack_identities(pack);
  _cleanup_(freep) char *text = NULL;
  _cleanup_(freep) uint32_t *person = malloc(sizeof(*person) * people);
  size_t size = 0;
  FILE *out = person ? open_memstream(&text, &size) : NULL;
  if (!out)
    return error_set(err, -ENOMEM, "out of memory for the names of %u people", people);
  for (uint32_t p = 0; p < people; p++)
    person[number[p]] = p;
  for (uint32_t n = 0; n < people; n++) {
    (void)fprintf(out, "%u,", n);
    out_csv(out, pack_identity_name(pack, person[n]));
    (void)putc('\n', out);
  }
  if (fclose(out) != 0)
    return error_set(err, -ENOMEM, "out of memory for the names of %u people", people);
  return file_write_atomic(path, text, size, err);
}

static int choose_mixing(const struct masking *masking, const struct plain_mask *mask,
                         struct mask_mixing *ret_mixing, struct guise_error *err) {
  *ret_mixing = mask->mixing;
  if (masking->k == 0)
    return mask->mixing_known
               ? 0
               : error_set(err, -EINVAL,
                           "the model does not say how many faces its training mixed, since it is of an "
                           "older version: give --k 1 to 6");
  if (masking->k > 1 && !mask->mixes)
    return error_set(err, -EINVAL, "the model's mask %s does not mix faces: leave --k out", mask->method);
  const struct mask_mixing fixed = {
      .mixes = mask->mixes, .unmixed = masking->k == 1, .protection = mask->mixing.protection};
  *ret_mixing = fixed;
  ret_mixing->beta = masking->k == 2 && strcmp(mask->method, "mixup") == 0;
  ret_mixing->probability[MAX(masking->k, 2u)] = 1;
  return 0;
}

static void tell(const struct masking *masking, const struct plain_mask *mask, const struct pack *pack) {
  const uint32_t people = pack_identities(pack), images = pack_images(pack);
  if (masking->cli->json) {
    json_t *said = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "output", masking->output, "mask",
                             mask->method, "identities", (json_int_t)people, "images", (json_int_t)images,
                             "templates", (json_int_t)images * (json_int_t)masking->mixes, "rejected",
                             (json_int_t)masking->rejected, "skipped", (json_int_t)masking->skipped);
    out_json(said);
    json_decref(said);
    return;
  }
  out_text(stdout, masking->output);
  (void)printf(": %llu templates of %u images of %u people, mask %s; %u files left out\n",
               (unsigned long long)(images * masking->mixes), images, people, mask->method,
               masking->rejected);
}

static int make(struct masking *masking, const struct plain_mask *mask, struct guise_error *err) {
  _cleanup_(pack_freep) struct pack *pack = NULL;
  _cleanup_(freep) uint32_t *number = NULL;
  struct templates_recipe recipe = {
      .mixes = (uint32_t)masking->mixes, .seed = masking->seed, .half = masking->half};
  int r = choose_mixing(masking, mask, &recipe.mixing, err);
  if (r == 0)
    r = open_faces(masking, mask->size, &pack, err);
  if (r == 0 && !(number = malloc(sizeof(*number) * pack_identities(pack))))
    r = error_set(err, -ENOMEM, "out of memory for %u people", pack_identities(pack));
  if (r == 0)
    r = templates_make(pack, mask, &recipe, masking->output, number, on_progress, NULL, err);
  bar_clear();
  if (r == 0 && masking->names && (r = write_names(masking->names, pack, number, err)) < 0)
    (void)unlink(masking->output); /* nobody would ever know who is in it */
  if (r == 0)
    tell(masking, mask, pack);
  return r;
}

/* ---- the command ---- */

/* The path of the model's file, downloaded where it is not here. */
static int find_model(struct masking *masking, char ret_path[PATH_MAX]) {
  int code = EXIT_DONE;
  if (access(masking->model, R_OK) == 0) {
    (void)snprintf(ret_path, PATH_MAX, "%s", masking->model);
    return EXIT_DONE;
  }
  if (strncmp(masking->model, "mdl_", 4) != 0 && strncmp(masking->model, "job_", 4) != 0)
    return cli_error("cannot read %s: %s; name a model.safetensors, or a model's or a job's id",
                     masking->model, strerror(errno));
  _cleanup_(freep) char *id = model_resolve(masking->cli, masking->model, &code);
  if (!id)
    return code;
  if (snprintf(ret_path, PATH_MAX, "%s/" MODEL_FILE, masking->directory) >= PATH_MAX)
    return cli_error("the path %s is too long", masking->directory);
  return model_fetch(masking->cli, id, MODEL_FILE, masking->directory, masking->unsafe);
}

static int look_at_faces(struct masking *masking) {
  struct stat st;
  if (stat(masking->faces, &st) < 0 || !S_ISDIR(st.st_mode))
    return EXIT_DONE;
  return folder_look(masking->faces, NULL, &masking->skipped);
}

static int run(struct masking *masking) {
  struct guise_error err = {0};
  struct plain_mask mask = {.size = 0};
  char path[PATH_MAX];
  int code = find_model(masking, path);
  if (code != EXIT_DONE)
    return cli_interrupted ? EXIT_INTERRUPTED : code;
  int r = plain_mask_open(path, &mask, &err);
  if (r == 0 && strcmp(mask.method, "none") == 0)
    (void)fputs("warning: the model has no mask: these templates are the faces themselves in another form\n",
                stderr);
  code = r == 0 ? look_at_faces(masking) : EXIT_DONE;
  if (r == 0 && code == EXIT_DONE)
    r = make(masking, &mask, &err);
  plain_mask_close(&mask);
  if (r < 0 && cli_interrupted)
    return EXIT_INTERRUPTED;
  return r < 0 ? cli_error("%s", err.text) : code;
}

static int parse(struct masking *masking, int argc, char **argv) {
  int option;
  while ((option = cli_option(masking->cli, argc, argv)) != -1) {
    if (option == 'm')
      masking->model = optarg;
    else if (option == 'o')
      masking->output = optarg;
    else if (option == 'N')
      masking->names = optarg;
    else if (option == 'f')
      masking->half = true;
    else if (option == 'U')
      masking->unsafe = true;
    else if (option == 'n' && !cli_number(optarg, 1, TEMPLATES_MIXES_MAX, &masking->mixes))
      return cli_usage(masking->cli, "--mixes must be 1 to %u", TEMPLATES_MIXES_MAX);
    else if (option == 'k' && !cli_number(optarg, 1, MIX_MAX, &masking->k))
      return cli_usage(masking->cli, "--k must be 1 to %d", MIX_MAX);
    else if (option == 's' && !(masking->seeded = cli_number(optarg, 0, UINT64_MAX, &masking->seed)))
      return cli_usage(masking->cli, "--seed must be a number");
    else if (option == '?')
      return cli_usage_option(masking->cli);
  }
  if (argc - optind != 1 || !masking->model || !masking->output)
    return cli_usage(masking->cli, "mask takes a folder or an archive of faces, --model and -o");
  masking->faces = argv[optind];
  return EXIT_DONE;
}

int command_mask(struct cli *cli, int argc, char **argv) {
  struct masking masking = {.cli = cli, .mixes = 1};
  int code = parse(&masking, argc, argv);
  if (code != EXIT_DONE)
    return code;
  if (sodium_init() < 0)
    return cli_error("cannot start libsodium");
  if (!masking.seeded) /* nobody who sees the templates can repeat the draws */
    randombytes_buf(&masking.seed, sizeof(masking.seed));
  if (snprintf(masking.directory, sizeof(masking.directory), "%s.XXXXXX", masking.output) >=
      (int)sizeof(masking.directory))
    return cli_error("the path %s is too long", masking.output);
  if (!mkdtemp(masking.directory))
    return cli_error("cannot create %s: %s", masking.directory, strerror(errno));
  cli_catch_interrupts();
  code = run(&masking);
  (void)directory_remove(masking.directory);
  return code;
}
