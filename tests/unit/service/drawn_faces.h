/* A data set of drawn faces, decoded and packed by the real core. */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/image/tar_write.h"
#include "daemon/service_internal.h"

/* "faces": five people, person-000 to person-004, two images of 32 pixels each; `directory` is for its
 * archive. */
static void add_drawn_faces(struct service *service, const struct client *client, const char *directory) {
  struct dataset_row row = {.state = DATASET_INGESTING};
  struct upload *upload;
  _cleanup_(freep) char *text = NULL;
  char path[96];
  size_t bytes = 0;
  bool created;
  (void)snprintf(path, sizeof(path), "%s/faces.tar", directory);
  FILE *tar = fopen(path, "we");
  assert_non_null(tar);
  assert_int_equal(synth_write_tar(fileno(tar), 1, 5, 2, 32, NULL), 0);
  (void)fclose(tar);
  assert_int_equal(file_read(path, 1 << 20, &text, &bytes, NULL), 0);
  assert_int_equal(service_upload_begin(service, client, "faces", 0, &upload, NULL), 0);
  assert_int_equal(service_upload_write(upload, text, bytes, NULL), 0);
  assert_int_equal(
      service_dataset_accept(service, client, "faces", upload, DATASET_FACES, 32, &row, &created, NULL), 0);
  service_upload_free(upload);
  for (int i = 0; i < 3000 && row.state == DATASET_INGESTING; i++) {
    (void)usleep(10000);
    assert_int_equal(service_dataset_get(service, "faces", &row), 0);
  }
  assert_int_equal(row.state, DATASET_READY);
}
