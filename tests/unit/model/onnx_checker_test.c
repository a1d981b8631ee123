/* The ONNX files in the eyes of ONNX's own checker (Debian's python3-onnx): of every architecture and mask,
 * model.onnx and model-template.onnx are valid, types and shapes of all values included. Skipped without
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four headers above
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "core/base/file.h"
#include "unit/model/onnx_subject.h"

#define SIZE 32
#define FACES 3
#define PYTHON "/usr/bin/python3"

static char directory[64];
static uint8_t pixels[FACES][SIZE * SIZE * 3];

static const uint8_t *test_image(void *context, uint32_t i) {
  (void)context;
  return pixels[i];
}

/* The exit status. */
static int python(const char *program, const char *arguments) {
  char command[2048];
  const int length = snprintf(command, sizeof(command), "%s -c '%s' %s", PYTHON, program, arguments);
  assert_in_range(length, 1, sizeof(command) - 1);
  const int status = system(command); // NOLINT(cert-env33-c): a fixed program
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Folder and number of files: DIRECTORY/WHERE_MODEL.ONNX_STARTS/CASE/NAME.onnx. Says what is wrong with the
 * first that is not valid. */
static const char checks[] = "import glob, onnx, sys\n"
                             "paths = glob.glob(sys.argv[1] + \"/*/*/*.onnx\")\n"
                             "for path in paths:\n"
                             "    try:\n"
                             "        model = onnx.load(path)\n"
                             "        onnx.checker.check_model(model, full_check=True)\n"
                             "    except Exception as e:\n"
                             "        sys.exit(path + \": \" + str(e))\n"
                             "    start = {p.key: p.value for p in model.metadata_props}[\"start\"]\n"
                             "    where, name = path.split(\"/\")[-3], path.split(\"/\")[-1]\n"
                             "    if start != (where if name == \"model.onnx\" else \"template\"):\n"
                             "        sys.exit(path + \" starts at \" + start)\n"
                             "sys.exit(0 if len(paths) == int(sys.argv[2]) else \"files are missing\")\n";

/* A value that no node gives, and a width that does not fit: found by the checker, and by its full check
 * alone. */
static const char spoils[] = "import glob, onnx, sys\n"
                             "path = glob.glob(sys.argv[1] + \"/*/*/model.onnx\")[0]\n"
                             "for spoil in (0, 1):\n"
                             "    model = onnx.load(path)\n"
                             "    if spoil == 0:\n"
                             "        model.graph.node[0].input[0] = \"nowhere\"\n"
                             "    else:\n"
                             "        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value += 1\n"
                             "    try:\n"
                             "        onnx.checker.check_model(model, full_check=True)\n"
                             "    except Exception:\n"
                             "        continue\n"
                             "    sys.exit(\"a spoilt file is valid: \" + str(spoil))\n";

/* Returns whether model.onnx starts at the image. */
static bool export_case(enum arch arch, const struct onnx_case *c) {
  const struct onnx_faces faces = {test_image, NULL, FACES, FACES};
  struct onnx_subject s;
  struct guise_error err = {0};
  char folder[192];
  int r = onnx_subject_make(arch, c, 16, 0.25f, &faces, 2, &s, &err);
  const bool image = r == 0 && mask_is_exportable(s.mask);
  (void)snprintf(folder, sizeof(folder), "%s/%s/%s", directory, image ? "image" : "template", c->name);
  if (r == 0)
    r = directory_make(folder, &err);
  if (r == 0)
    r = onnx_export(s.graph, s.mask, &s.info, folder, &err);
  onnx_subject_free(&s);
  if (r < 0)
    fail_msg("%s, %s: %s", arch_name(arch), c->name, err.text);
  return image;
}

static void files_of_every_architecture_and_mask_are_valid(void **state) {
  (void)state;
  struct onnx_case cases[ONNX_CASES_MAX];
  const uint32_t count = onnx_cases(SIZE, cases);
  for (enum arch arch = 0; arch < ARCHS; arch++) {
    char arguments[128];
    uint32_t images = 0;
    (void)snprintf(directory, sizeof(directory), "/tmp/guise-checker-XXXXXX");
    assert_non_null(mkdtemp(directory));
    for (int image = 0; image < 2; image++) {
      (void)snprintf(arguments, sizeof(arguments), "%s/%s", directory, image ? "image" : "template");
      assert_int_equal(directory_make(arguments, NULL), 0);
    }
    for (uint32_t i = 0; i < count; i++)
      images += export_case(arch, &cases[i]);
    assert_int_equal(images, 10); /* six masks, three of them up-sampled as well, and group norms */
    (void)snprintf(arguments, sizeof(arguments), "%s %u", directory, 2 * count);
    const int status = python(checks, arguments), spoilt = python(spoils, directory);
    assert_int_equal(directory_remove(directory), 0);
    if (status != 0 || spoilt != 0)
      fail_msg("%s: the lines above", arch_name(arch));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_every_architecture_and_mask_are_valid)};
  if (python("import onnx", "2>/dev/null") != 0) {
    (void)fprintf(stderr, "SKIPPED: %s has no module onnx: apt-get install python3-onnx\n", PYTHON);
    return 77;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
