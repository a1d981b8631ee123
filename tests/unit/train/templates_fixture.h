/* Drawn faces as the daemon has them, the file of a model's mask as their owner has it, and templates made by
 * it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/ingest.h"
#include "core/image/tar_write.h"
#include "core/model/model.h"
#include "core/template/make.h"
#include "core/template/templates.h"

#define PEOPLE 6
#define IMAGES 5
#define SIZE 48

DEFINE_CLEANUP(struct pack *, pack_free)

static char root[] = "/tmp/guise-templates-XXXXXX";
static char faces[64], model_path[64], path[64];
static struct pack *pack;

static inline const uint8_t *image(void *context, uint32_t i) {
  (void)context;
  return pack_image(pack, i);
}

static inline void write_faces(const char *name, uint32_t images, struct pack **ret_pack) {
  char tar[96], faces_path[96];
  struct guise_error err = {0};
  struct ingest_result result;
  (void)snprintf(tar, sizeof(tar), "%s/%s.tar", root, name);
  (void)snprintf(faces_path, sizeof(faces_path), "%s/%s", root, name);
  int fd = open(tar, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(synth_write_tar(fd, 1, PEOPLE, images, SIZE, &err), 0);
  (void)close(fd);
  if (ingest_archive(tar, faces_path, SIZE, GUISE_BUILD "/guise-decode", 1, NULL, NULL, &result, &err) < 0 ||
      pack_open(faces_path, ret_pack, &err) < 0)
    fail_msg("%s", err.text);
}

static inline int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  (void)snprintf(model_path, sizeof(model_path), "%s/model.safetensors", root);
  (void)snprintf(path, sizeof(path), "%s/templates", root);
  write_faces("faces", IMAGES, &pack);
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  pack_free(pack);
  return directory_remove(root);
}

/* A mask fitted on the faces, and a file that says of it what a model's does. */
static inline struct mask *make_mask(enum mask_method method, const struct mask_mixing *mixing) {
  const struct mask_options options = mask_options_default(method, SIZE);
  struct guise_error err = {0};
  struct mask *mask = NULL;
  if (mask_new(&options, &mask, &err) < 0 || mask_fit(mask, image, NULL, PEOPLE * IMAGES, &err) < 0)
    fail_msg("%s", err.text);
  struct model_info info = {
      .input = SIZE, .mask = options, .constants = *mask_constants(mask), .mixing = *mixing};
  struct safetensor tensors[MASK_FILE_TENSORS];
  uint32_t channel[MASK_CHANNELS_MAX];
  json_t *metadata = model_metadata(&info);
  const uint32_t count = mask_file_tensors(&info.constants, channel, tensors);
  if (safetensors_write(model_path, tensors, count, metadata, &err) < 0)
    fail_msg("%s", err.text);
  json_decref(metadata);
  return mask;
}

static inline void open_plain(struct plain_mask *plain) {
  struct guise_error err = {0};
  if (plain_mask_open(model_path, plain, &err) < 0)
    fail_msg("%s", err.text);
}

static inline struct templates *make(const struct plain_mask *plain, const struct templates_recipe *recipe,
                                     uint32_t number[PEOPLE]) {
  struct guise_error err = {0};
  struct templates *templates = NULL;
  if (templates_make(pack, plain, recipe, path, number, NULL, NULL, &err) < 0 ||
      templates_open(path, &templates, &err) < 0 || templates_check(templates, NULL, NULL, &err) < 0)
    fail_msg("%s", err.text);
  assert_true(templates_recognise(path));
  return templates;
}
