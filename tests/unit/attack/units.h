/* Attacks that are broken off between their units of work and begun again: what they find must be what they
 * find in one go. */
#pragma once

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/attack/attack.h"
#include "core/base/file.h"

typedef int (*attempt)(const struct attack_context *context, struct attack_result *ret_result,
                       struct guise_error *err);

/* Stops once so many units are kept. */
struct tally {
  uint32_t kept, most;
};

static void count_unit(void *tally) {
  ((struct tally *)tally)->kept++;
}

static bool has_enough(void *tally) {
  return ((struct tally *)tally)->kept >= ((struct tally *)tally)->most;
}

/* All that is found, pictures included; NULL with what the attack says when it was stopped. Counts the units
 * that were not there. */
static json_t *try_units(attempt run, const struct attack_context *context, struct tally *tally, int *ret_r) {
  struct attack_context counted = *context;
  struct attack_result result = {.name = "attack", .summary = "", .effort = context->effort, .size = SIZE};
  struct guise_error err = {0};
  counted.should_stop = has_enough;
  counted.kept = count_unit;
  counted.stop_context = tally;
  *ret_r = run(&counted, &result, &err);
  if (*ret_r < 0 && *ret_r != -ECANCELED)
    fail_msg("%s", err.text);
  json_t *found = *ret_r < 0 ? NULL
                             : json_pack("{s:o, s:o}", "result", attack_result_json(&result), "pictures",
                                         attack_result_private(&result));
  attack_result_done(&result);
  return found;
}

/* In one go, with what is there; the units that had to be done. */
static uint32_t finish_units(attempt run, const struct attack_context *context, json_t **ret_found) {
  struct tally tally = {.most = UINT32_MAX};
  int r;
  *ret_found = try_units(run, context, &tally, &r);
  assert_int_equal(r, 0);
  assert_non_null(*ret_found);
  return tally.kept;
}

static void expect_units(attempt run, const struct attack_context *context, const json_t *found,
                         uint32_t units) {
  json_t *again = NULL;
  assert_int_equal(finish_units(run, context, &again), units);
  assert_true(json_equal(again, found));
  json_decref(again);
}

/* Flips a byte in the middle, or cuts off the last. */
static void spoil(const char *path, bool cut) {
  struct stat st;
  uint8_t byte;
  assert_int_equal(stat(path, &st), 0);
  if (cut) {
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    return;
  }
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, st.st_size / 2, SEEK_SET), 0);
  assert_int_equal(fread(&byte, 1, 1, file), 1);
  byte ^= 1;
  assert_int_equal(fseek(file, st.st_size / 2, SEEK_SET), 0);
  assert_int_equal(fwrite(&byte, 1, 1, file), 1);
  assert_int_equal(fclose(file), 0);
}

/* units: of the whole attack. name: of one of its files, of whose units `lost` begin in or behind the middle.
 */
static void check_units(attempt run, const struct attack_context *given, uint32_t units, const char *name,
                        uint32_t lost) {
  char directory[] = "/tmp/guise-units-XXXXXX", path[PATH_MAX];
  struct attack_context context = *given;
  json_t *found = NULL, *others = NULL;
  int r;
  assert_non_null(mkdtemp(directory));
  (void)snprintf(path, sizeof(path), "%s/units/%s", directory, name);
  assert_int_equal(finish_units(run, &context, &found), 0); /* no directory */
  context.work_directory = directory;
  for (uint32_t i = 0; i < units; i++) { /* broken off behind each; behind the last, nobody may ask */
    struct tally one = {.most = 1};
    json_t *last = try_units(run, &context, &one, &r);
    assert_int_equal(one.kept, 1);
    assert_true(r == -ECANCELED || (i == units - 1 && json_equal(last, found)));
    json_decref(last);
  }
  struct tally none = {.most = 0};
  assert_null(try_units(run, &context, &none, &r)); /* at once, whatever is there */
  assert_int_equal(r, -ECANCELED);
  expect_units(run, &context, found, 0);
  spoil(path, true);
  expect_units(run, &context, found, 1);
  spoil(path, false);
  expect_units(run, &context, found, lost);
  expect_units(run, &context, found, 0);
  context.seed++;
  assert_int_equal(finish_units(run, &context, &others), units);
  assert_false(json_equal(others, found));
  context.seed--;
  expect_units(run, &context, found, units); /* which that of another seed has replaced */
  json_decref(found);
  json_decref(others);
  assert_int_equal(directory_remove(directory), 0);
}
