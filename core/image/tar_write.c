#include "core/image/tar_write.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/image/synth.h"

static int open_tar(int fd, struct archive **ret_archive, struct guise_error *err) {
  struct archive *archive = archive_write_new();
  if (!archive)
    return error_set(err, -ENOMEM, "out of memory writing a tar archive");
  (void)archive_write_set_format_pax_restricted(archive);
  (void)archive_write_set_bytes_in_last_block(archive, 1);
  if (archive_write_open_fd(archive, fd) != ARCHIVE_OK) {
    (void)archive_write_free(archive);
    return error_set(err, -EIO, "cannot write a tar archive");
  }
  *ret_archive = archive;
  return 0;
}

static int write_failed(struct archive *archive, struct guise_error *err) {
  int code = archive_errno(archive);
  const char *text = archive_error_string(archive);
  return error_set(err, code > 0 ? -code : -EIO, "cannot write the tar archive: %s",
                   text ? text : "write error");
}

static int close_tar(struct archive *archive, int r, struct guise_error *err) {
  if (r == 0 && archive_write_close(archive) != ARCHIVE_OK)
    r = write_failed(archive, err);
  if (r < 0)
    (void)archive_write_fail(archive);
  (void)archive_write_free(archive);
  return r;
}

static int write_header(struct archive *archive, const char *path, int64_t bytes, struct guise_error *err) {
  struct archive_entry *entry = archive_entry_new();
  if (!entry)
    return error_set(err, -ENOMEM, "out of memory writing a tar archive");
  archive_entry_set_pathname(entry, path);
  archive_entry_set_size(entry, bytes);
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  int r = archive_write_header(archive, entry) == ARCHIVE_OK ? 0 : write_failed(archive, err);
  archive_entry_free(entry);
  return r;
}

int synth_write_tar(int fd, uint64_t seed, uint32_t identities, uint32_t images, uint32_t size,
                    struct guise_error *err) {
  struct archive *archive = NULL;
  if (identities == 0 || images == 0 || identities > 100000 || images > 1000 || size < 32 || size > 224)
    return error_set(err, -EINVAL, "draw 1..100000 identities with 1..1000 images of 32..224 pixels");
  size_t pixels = (size_t)size * size * 3;
  char head[32];
  int head_bytes = snprintf(head, sizeof(head), "P6\n%u %u\n255\n", size, size);
  _cleanup_(freep) uint8_t *rgb = malloc(pixels);
  if (!rgb)
    return error_set(err, -ENOMEM, "out of memory drawing faces");
  int r = open_tar(fd, &archive, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < identities && r == 0; i++)
    for (uint32_t j = 0; j < images && r == 0; j++) {
      char path[64];
      (void)snprintf(path, sizeof(path), "person-%03u/%02u.ppm", i + 1, j + 1);
      synth_face(seed, i, j, size, rgb);
      r = write_header(archive, path, head_bytes + (int64_t)pixels, err);
      if (r == 0 && (archive_write_data(archive, head, (size_t)head_bytes) < 0 ||
                     archive_write_data(archive, rgb, pixels) < 0))
        r = write_failed(archive, err);
    }
  return close_tar(archive, r, err);
}

/* ---- folders
 * ---------------------------------------------------------------------------------------------------------
 */

/* Without "." and "..". */
static int is_named(const struct dirent *entry) {
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

const char *tar_skip_text(enum tar_skip skip) {
  static const char *const text[] = {
      [TAR_HIDDEN] = "hidden files or folders",
      [TAR_LOOSE] = "files that are in no person's folder",
      [TAR_DEEPER] = "folders in a person's folder, with all that is in them",
      [TAR_LOST] = "links that lead nowhere",
      [TAR_SPECIAL] = "that are neither file nor folder",
  };
  return text[skip];
}

struct walk {
  struct archive *archive; /* NULL: a survey, which opens no file */
  struct tar_survey survey;
};

static void skip(struct walk *walk, enum tar_skip why, const char *path) {
  struct tar_skipped *row = &walk->survey.skipped[why];
  if (row->count++ == 0)
    (void)snprintf(row->first, sizeof(row->first), "%s", path);
}

static int write_contents(struct walk *walk, int fd, int64_t bytes, const char *path,
                          struct guise_error *err) {
  _cleanup_(freep) char *buffer = malloc(1 << 16);
  if (!buffer)
    return error_set(err, -ENOMEM, "out of memory reading %s", path);
  while (bytes > 0) {
    ssize_t n = read(fd, buffer, (size_t)MIN(bytes, (int64_t)1 << 16));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return error_set(err, n < 0 ? -errno : -EIO, "cannot read %s: %s", path,
                       n < 0 ? strerror(errno) : "it became shorter");
    if (archive_write_data(walk->archive, buffer, (size_t)n) < 0)
      return write_failed(walk->archive, err);
    bytes -= n;
  }
  return 0;
}

static int write_file(struct walk *walk, int directory, const char *name, const char *path,
                      struct guise_error *err) {
  struct stat st;
  _cleanup_(closep) int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st) < 0)
    return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode)) /* it was a file a moment ago */
    return error_set(err, -EIO, "cannot read %s: it is no file any more", path);
  int r = write_header(walk->archive, path, st.st_size, err);
  return r < 0 ? r : write_contents(walk, fd, st.st_size, path, err);
}

/* What the name stands for, links followed; false: it was skipped. */
static bool look(struct walk *walk, int directory, const char *name, const char *path, struct stat *ret_st,
                 int *ret_result, struct guise_error *err) {
  *ret_result = 0;
  if (name[0] == '.')
    skip(walk, TAR_HIDDEN, path);
  else if (fstatat(directory, name, ret_st, 0) == 0 && (S_ISREG(ret_st->st_mode) || S_ISDIR(ret_st->st_mode)))
    return true;
  else if (fstatat(directory, name, ret_st, AT_SYMLINK_NOFOLLOW) < 0)
    *ret_result = error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
  else
    skip(walk, S_ISLNK(ret_st->st_mode) && fstatat(directory, name, ret_st, 0) < 0 ? TAR_LOST : TAR_SPECIAL,
         path);
  return false;
}

static int add_file(struct walk *walk, int directory, const char *person, const char *name,
                    struct guise_error *err) {
  char path[2 * NAME_MAX + 2];
  struct stat st;
  int r;
  (void)snprintf(path, sizeof(path), "%s/%s", person, name);
  if (!look(walk, directory, name, path, &st, &r, err))
    return r;
  if (S_ISDIR(st.st_mode)) {
    skip(walk, TAR_DEEPER, path);
    return 0;
  }
  if (walk->archive && (r = write_file(walk, directory, name, path, err)) < 0)
    return r;
  walk->survey.files++;
  walk->survey.bytes += 512 + (((uint64_t)st.st_size + 511) & ~UINT64_C(511));
  return 0;
}

static void free_list(struct dirent **list, int count) {
  for (int i = 0; i < count; i++)
    free(list[i]);
  free(list);
}

static int add_person(struct walk *walk, int folder, const char *person, struct guise_error *err) {
  struct dirent **list = NULL;
  struct stat st;
  int r;
  if (!look(walk, folder, person, person, &st, &r, err))
    return r;
  if (!S_ISDIR(st.st_mode)) {
    skip(walk, TAR_LOOSE, person);
    return 0;
  }
  _cleanup_(closep) int directory = openat(folder, person, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int count = directory < 0 ? -1 : scandirat(directory, ".", &list, is_named, alphasort);
  if (count < 0)
    return error_set(err, -errno, "cannot list the folder %s: %s", person, strerror(errno));
  for (int i = 0; i < count && r == 0; i++)
    r = add_file(walk, directory, person, list[i]->d_name, err);
  free_list(list, count);
  return r;
}

static int walk_folder(struct walk *walk, const char *folder, struct guise_error *err) {
  struct dirent **list = NULL;
  _cleanup_(closep) int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int count = directory < 0 ? -1 : scandirat(directory, ".", &list, is_named, alphasort);
  int r = 0;
  if (count < 0)
    return error_set(err, -errno, "cannot list the folder %s: %s", folder, strerror(errno));
  for (int i = 0; i < count && r == 0; i++)
    r = add_person(walk, directory, list[i]->d_name, err);
  free_list(list, count);
  if (r == 0 && walk->survey.files == 0)
    r = error_set(err, -ENODATA,
                  "%s holds no IDENTITY/IMAGE files: one folder a person, with that person's images", folder);
  return r;
}

int tar_survey(const char *folder, struct tar_survey *ret_survey, struct guise_error *err) {
  struct walk walk = {.archive = NULL};
  int r = walk_folder(&walk, folder, err);
  *ret_survey = walk.survey;
  return r;
}

int tar_folder(const char *folder, int fd, struct guise_error *err) {
  struct walk walk = {.archive = NULL};
  int r = open_tar(fd, &walk.archive, err);
  return r < 0 ? r : close_tar(walk.archive, walk_folder(&walk, folder, err), err);
}
