/* synth: synthetic faces as a tar archive. The one command that talks to no daemon. */
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/file.h"
#include "core/image/tar_write.h"

struct drawing {
  uint64_t identities, images, seed, size;
};

static int parse(const struct cli *cli, int argc, char **argv, struct drawing *drawing) {
  int option;
  while ((option = cli_option(cli, argc, argv)) != -1) {
    if (option == 'i' && !cli_number(optarg, 1, 100000, &drawing->identities))
      return cli_usage(cli, "--identities must be 1 to 100000");
    if (option == 'n' && !cli_number(optarg, 1, 10000, &drawing->images))
      return cli_usage(cli, "--images must be 1 to 10000");
    if (option == 's' && !cli_number(optarg, 0, UINT64_MAX, &drawing->seed))
      return cli_usage(cli, "--seed must be a number");
    if (option == 'p' && !cli_number(optarg, 32, 224, &drawing->size))
      return cli_usage(cli, "--size must be 32 to 224");
    if (option == '?')
      return cli_usage_option(cli);
  }
  if (argc - optind != 1)
    return cli_usage(cli, "synth takes the archive's path, or - for standard output");
  return EXIT_DONE;
}

static int draw(const struct drawing *drawing, int fd, struct guise_error *err) {
  return synth_write_tar(fd, drawing->seed, (uint32_t)drawing->identities, (uint32_t)drawing->images,
                         (uint32_t)drawing->size, err);
}

/* Into a temporary file first: what stands under the name is whole. */
static int draw_file(const struct drawing *drawing, const char *path) {
  struct guise_error err = {0};
  char temp[4096];
  if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
    return cli_error("the path %s is too long", path);
  _cleanup_(closep) int fd = mkostemp(temp, O_CLOEXEC);
  if (fd < 0)
    return cli_error("cannot create %s: %s", temp, strerror(errno));
  int r = draw(drawing, fd, &err);
  if (r == 0)
    r = file_publish(temp, path, &err);
  if (r < 0) {
    (void)unlink(temp);
    return cli_error("%s", err.text);
  }
  return EXIT_DONE;
}

int command_synth(struct cli *cli, int argc, char **argv) {
  struct drawing drawing = {.identities = 32, .images = 20, .seed = 1, .size = 112};
  struct guise_error err = {0};
  int code = parse(cli, argc, argv, &drawing);
  if (code != EXIT_DONE)
    return code;
  if (strcmp(argv[optind], "-") == 0) {
    if (isatty(STDOUT_FILENO))
      return cli_usage(cli, "an archive is not for a terminal: redirect the output");
    return draw(&drawing, STDOUT_FILENO, &err) < 0 ? cli_error("%s", err.text) : EXIT_DONE;
  }
  code = draw_file(&drawing, argv[optind]);
  if (code == EXIT_DONE && cli->json) {
    json_t *said =
        json_pack("{s:s, s:I, s:I}", "output", argv[optind], "identities", (json_int_t)drawing.identities,
                  "images", (json_int_t)drawing.identities * (json_int_t)drawing.images);
    out_json(said);
    json_decref(said);
  } else if (code == EXIT_DONE)
    (void)fprintf(stderr, "%llu synthetic people with %llu images each in %s\n",
                  (unsigned long long)drawing.identities, (unsigned long long)drawing.images, argv[optind]);
  return code;
}
