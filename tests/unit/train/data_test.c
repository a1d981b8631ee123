/* Who and what is kept out of training: whole people, and images of those who are trained on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/train/data.h"
#include "unit/train/pack.h"

#define PEOPLE 10
#define IMAGES 6

static char root[] = "/tmp/guise-data-XXXXXX";
static char faces[64];

static int setup(void **state) {
  (void)state;
  assert_non_null(mkdtemp(root));
  (void)snprintf(faces, sizeof(faces), "%s/faces", root);
  draw_pack(faces, 1, PEOPLE, IMAGES, 32);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  return directory_remove(root);
}

static void split_by(double identities, double images, uint64_t seed, struct job_data *ret_data) {
  struct guise_error err = {0};
  const struct data_split split = {.identities = identities, .images = images, .seed = seed};
  if (job_data_open(faces, 32, &split, ret_data, &err) < 0)
    fail_msg("%s", err.text);
}

/* Every image is in one list, and people who are held out have none in the others. */
static void check_lists(const struct job_data *data) {
  const struct face_list *lists[] = {&data->train, &data->held, &data->unseen};
  int owner[PEOPLE * IMAGES], person_of[2][PEOPLE];
  memset(owner, -1, sizeof(owner));
  memset(person_of, -1, sizeof(person_of));
  for (int l = 0; l < 3; l++)
    for (uint32_t i = 0; i < lists[l]->count; i++) {
      const uint32_t image = lists[l]->image[i];
      assert_in_range(image, 0, PEOPLE * IMAGES - 1);
      assert_int_equal(owner[image], -1);
      owner[image] = l;
      int *person = &person_of[l == 1][image / IMAGES]; /* the pack is sorted by person */
      assert_true(*person == -1 || *person == (int)lists[l]->identity[i]);
      *person = (int)lists[l]->identity[i];
      assert_int_equal(person_of[l != 1][image / IMAGES], -1);
    }
  for (uint32_t i = 0; i < PEOPLE * IMAGES; i++)
    assert_int_not_equal(owner[i], -1);
}

static void images_of_trained_people(void **state) {
  (void)state;
  static const struct {
    double share;
    uint32_t each; /* images of a person that are not trained on */
  } cases[] = {{0, 0}, {0.01, 1}, {0.34, 2}, {0.5, 3}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct job_data data;
    split_by(0.2, cases[i].share, 1, &data);
    check_lists(&data);
    assert_int_equal(data.held.identities, 2);
    assert_int_equal(data.train.identities, PEOPLE - 2);
    assert_int_equal(data.unseen.identities, cases[i].each ? PEOPLE - 2 : 0);
    assert_int_equal(data.unseen.count, (PEOPLE - 2) * cases[i].each);
    for (uint32_t person = 0; person < data.train.identities; person++)
      assert_int_equal(data.images_of[person], IMAGES - cases[i].each);
    job_data_close(&data);
  }
}

/* The seed decides, and the hash tells splits apart; people are split as without images kept out. */
static void seeded_and_told_apart(void **state) {
  (void)state;
  struct job_data a, same, other, people_only, nobody;
  split_by(0.2, 0.34, 1, &a);
  split_by(0.2, 0.34, 1, &same);
  split_by(0.2, 0.34, 2, &other);
  split_by(0.2, 0, 1, &people_only);
  assert_int_equal(job_data_open(faces, 32, NULL, &nobody, NULL), 0);
  assert_string_equal(a.split_sha256, same.split_sha256);
  assert_memory_equal(a.unseen.image, same.unseen.image, sizeof(uint32_t) * a.unseen.count);
  assert_string_not_equal(a.split_sha256, other.split_sha256);
  assert_string_not_equal(a.split_sha256, people_only.split_sha256);
  assert_int_equal(a.held.count, people_only.held.count);
  assert_memory_equal(a.held.image, people_only.held.image, sizeof(uint32_t) * a.held.count);
  assert_string_equal(nobody.split_sha256, "");
  assert_int_equal(nobody.train.count, PEOPLE * IMAGES);
  bool alike = true; /* different images of different people */
  for (uint32_t i = 2; i < a.unseen.count; i++)
    alike &= a.unseen.image[i] % IMAGES == a.unseen.image[i - 2] % IMAGES;
  assert_false(alike);
  struct job_data *all[] = {&a, &same, &other, &people_only, &nobody};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    job_data_close(all[i]);
}

/* A limit leaves people out of every list and changes nothing for those who stay. */
static void at_most_some_people(void **state) {
  (void)state;
  struct job_data all, some;
  struct data_split split = {.identities = 0.4, .images = 0.34, .seed = 5};
  assert_int_equal(job_data_open(faces, 24, &split, &all, NULL), 0);
  split.most_people = 3;
  assert_int_equal(job_data_open(faces, 24, &split, &some, NULL), 0);
  assert_int_equal(some.train.identities, 3);
  assert_int_equal(some.held.identities, 3);
  assert_int_equal(some.train.count, 3 * 4);
  assert_int_equal(some.unseen.count, 3 * 2);
  for (uint32_t i = 0; i < some.train.count; i++) {
    uint32_t k = 0;
    while (k < all.train.count && all.train.image[k] != some.train.image[i])
      k++;
    assert_true(k < all.train.count);
    assert_memory_equal(job_data_image(&some, some.train.image[i]), job_data_image(&all, all.train.image[k]),
                        24 * 24 * 3);
  }
  job_data_close(&all);
  job_data_close(&some);
}

/* What is kept out of one training is what the other is trained on. */
static void the_complement(void **state) {
  (void)state;
  struct job_data plain, other;
  struct data_split split = {.identities = 0.4, .images = 0.34, .seed = 5};
  assert_int_equal(job_data_open(faces, 24, &split, &plain, NULL), 0);
  split.complement = true;
  assert_int_equal(job_data_open(faces, 24, &split, &other, NULL), 0);
  const struct face_list *lists[][2] = {
      {&plain.train, &other.unseen}, {&plain.unseen, &other.train}, {&plain.held, &other.held}};
  for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
    assert_int_equal(lists[l][0]->count, lists[l][1]->count);
    assert_memory_equal(lists[l][0]->image, lists[l][1]->image, lists[l][0]->count * sizeof(uint32_t));
  }
  assert_int_equal(other.train.identities,
                   plain.train.identities); /* everybody has an image on either side */
  job_data_close(&plain);
  job_data_close(&other);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(images_of_trained_people),
                                     cmocka_unit_test(seeded_and_told_apart),
                                     cmocka_unit_test(at_most_some_people), cmocka_unit_test(the_complement)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
