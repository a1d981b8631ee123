/* Networks that jobs keep for later ones: found again by jobs of the same owner, erased with what they learnt
 * from, trained again when they are damaged, and never too many. */
// wraps: copy_file log_message pack_find_identity pack_open pack_without store_network_clear store_probe
#include <stdarg.h>

#include "core/image/pack.h"
#include "daemon/backup_internal.h"
#include "daemon/networks.h"
#include "daemon/service_internal.h"
#include "tests/unit/service/service_fixture.h"

#define KEY_PEOPLE "1111111111111111111111111111111111111111111111111111111111111111"
#define KEY_PUBLIC "2222222222222222222222222222222222222222222222222222222222222222"
#define KEY_MODEL "3333333333333333333333333333333333333333333333333333333333333333"
#define KEY_MASK "4444444444444444444444444444444444444444444444444444444444444444"

/* Networks that every job needs, with what each was trained to be. */
static const struct {
  const char *key, *content;
  unsigned sources;
} needed[] = {{KEY_PEOPLE, "knows people", CACHE_PEOPLE},
              {KEY_PUBLIC, "knows public faces", CACHE_PUBLIC},
              {KEY_MODEL, "taught by the model", CACHE_PEOPLE | CACHE_PUBLIC | CACHE_MODEL},
              {KEY_MASK, "judges the mask", CACHE_MASK_PUBLIC}};
#define PEOPLE_FOUND 1u
#define PUBLIC_FOUND 2u
#define MASK_FOUND 8u

static void (*before_copy)(void); /* of a file, once */
static atomic_uint warnings;

int __real_copy_file(const char *from, const char *to, char ret_sha256[SHA256_HEX], uint64_t *ret_bytes,
                     struct guise_error *err);
int __wrap_copy_file(const char *from, const char *to, char ret_sha256[SHA256_HEX], uint64_t *ret_bytes,
                     struct guise_error *err);
int __wrap_copy_file(const char *from, const char *to, char ret_sha256[SHA256_HEX], uint64_t *ret_bytes,
                     struct guise_error *err) {
  void (*act)(void) = before_copy;
  before_copy = NULL;
  if (act)
    act();
  return __real_copy_file(from, to, ret_sha256, ret_bytes, err);
}

void __wrap_log_message(enum log_level level, const char *format, ...);
void __wrap_log_message(enum log_level level, const char *format, ...) {
  (void)format;
  if (level <= LOG_LEVEL_WARNING)
    (void)atomic_fetch_add(&warnings, 1);
}

/* ---- a full disk ---- */

static struct fixture *fixture;
static atomic_bool full;   /* for as long as networks are kept, or the reserve where that is in the way */
static bool needs_reserve; /* even to note that networks go */
static int full_result;    /* what those get who write */
static uint32_t rewrites;
static bool half_left; /* when room was to be made */

static bool path_is_there(const char *name) {
  char path[PATH_MAX];
  return state_path(path, fixture->service, "%s", name) == 0 && access(path, F_OK) == 0;
}

static bool has_networks(void) {
  uint64_t bytes = 0;
  return store_network_bytes(service_store(fixture->service), &bytes) == 0 && bytes > 0;
}

int __real_store_probe(struct store *store);
int __wrap_store_probe(struct store *store);
int __wrap_store_probe(struct store *store) {
  return atomic_load(&full) && has_networks() ? full_result : __real_store_probe(store);
}

int __real_store_network_clear(struct store *store, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count);
int __wrap_store_network_clear(struct store *store, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count);
int __wrap_store_network_clear(struct store *store, char (**ret_blobs)[SHA256_HEX], uint32_t *ret_count) {
  *ret_blobs = NULL;
  *ret_count = 0;
  half_left |= rewrites > 0 && entries(fixture, "uploads") > 0;
  return needs_reserve && path_is_there(RESERVE_FILE)
             ? -ENOSPC
             : __real_store_network_clear(store, ret_blobs, ret_count);
}

/* Half of it was written when the disk was full. */
int __real_pack_without(const char *from, const char *identity, const char *image, const char *to,
                        struct ingest_result *ret_result, struct guise_error *err);
int __wrap_pack_without(const char *from, const char *identity, const char *image, const char *to,
                        struct ingest_result *ret_result, struct guise_error *err);
int __wrap_pack_without(const char *from, const char *identity, const char *image, const char *to,
                        struct ingest_result *ret_result, struct guise_error *err) {
  if (!atomic_load(&full))
    return __real_pack_without(from, identity, image, to, ret_result, err);
  rewrites++;
  *ret_result = (struct ingest_result){.identities = 2, .images = 4};
  if (file_write_atomic(to, "rest", 4, err) < 0 || has_networks())
    return full_result;
  return sha256_file(to, ret_result->sha256, &ret_result->bytes);
}

int __real_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err);
int __wrap_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err);
int __wrap_pack_open(const char *path, struct pack **ret_pack, struct guise_error *err) {
  *ret_pack = NULL;
  return atomic_load(&full) ? 0 : __real_pack_open(path, ret_pack, err);
}

int __real_pack_find_identity(const struct pack *pack, const char *identity, uint32_t *ret_index);
int __wrap_pack_find_identity(const struct pack *pack, const char *identity, uint32_t *ret_index);
int __wrap_pack_find_identity(const struct pack *pack, const char *identity, uint32_t *ret_index) {
  return atomic_load(&full) ? 0 : __real_pack_find_identity(pack, identity, ret_index);
}

/* ---- jobs ---- */

static atomic_uint found; /* bits of `needed`, by the last job */

static void train_what_is_missing(const struct job_inputs *inputs) {
  uint32_t bits = 0;
  for (uint32_t i = 0; i < ARRAY_SIZE(needed); i++) {
    _cleanup_(freep) char *text = NULL;
    size_t bytes = 0;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/network-%u", inputs->work_directory, i);
    if (inputs->cache->fetch(inputs->cache->context, needed[i].key, path) == 0) {
      bits |= 1u << i;
      if (file_read(path, 100, &text, &bytes, NULL) < 0 || strcmp(text, needed[i].content) != 0)
        bits |= 1u << 31;
    } else if (file_write_atomic(path, needed[i].content, strlen(needed[i].content), NULL) == 0)
      inputs->cache->keep(inputs->cache->context, needed[i].key, path, needed[i].sources);
  }
  atomic_store(&found, bits);
}

static int begin(void **state) {
  use_networks = train_what_is_missing;
  atomic_store(&full, false);
  needs_reserve = half_left = false;
  full_result = -ENOSPC;
  rewrites = 0;
  before_copy = NULL;
  atomic_store(&warnings, 0);
  int r = set_up(state);
  fixture = *state;
  return r;
}

static int end(void **state) {
  use_networks = NULL;
  return tear_down(state);
}

static uint32_t run_job(struct fixture *f, const char *extra) {
  char id[STORE_ID];
  submit_job(f->service, extra, id);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  return atomic_load(&found);
}

#define WITH_PUBLIC ",\"audit\":{\"public_dataset\":\"others\"}"
#define WITH_BOTH WITH_PUBLIC ",\"mask\":{\"public_dataset\":\"masks\"}"

static void blob_of(struct fixture *f, const char *content, char ret_path[PATH_MAX]) {
  char sha256[SHA256_HEX];
  sha256_data(content, strlen(content), sha256);
  service_blob_path(f->service, sha256, ret_path);
}

static bool is_stored(struct fixture *f, uint32_t i) {
  char path[PATH_MAX];
  blob_of(f, needed[i].content, path);
  return access(path, F_OK) == 0;
}

static void datasets(struct fixture *f) {
  ready_dataset(f->service, "orl");
  ready_dataset(f->service, "others");
}

static void later_jobs_find_them(void **state) {
  struct fixture *f = *state;
  datasets(f);
  assert_int_equal(run_job(f, ""), 0);
  assert_int_equal(run_job(f, ""), PEOPLE_FOUND); /* without public faces there is nothing to erase with */
  assert_false(is_stored(f, 1));
  assert_int_equal(run_job(f, WITH_PUBLIC), PEOPLE_FOUND);
  assert_int_equal(run_job(f, WITH_PUBLIC), PEOPLE_FOUND | PUBLIC_FOUND);
  assert_false(is_stored(f, 2)); /* the job's own model is not in the store */
  restart(f);                    /* which removes what nothing refers to */
  assert_int_equal(run_job(f, WITH_PUBLIC), PEOPLE_FOUND | PUBLIC_FOUND);
  assert_int_equal(entries(f, "uploads"), 0);
}

/* Whoever has the same faces does not learn that others have them, nor keeps what they erase. */
static void owners_are_apart(void **state) {
  struct fixture *f = *state;
  const struct client alice = {.owner = "alice", .sees = "alice"};
  struct spec_problems problems = {0};
  struct dataset_row row;
  struct job_row job;
  struct guise_error err;
  bool created, replayed;
  datasets(f);
  assert_int_equal(run_job(f, ""), 0);
  assert_int_equal(accept_upload_of(f->service, &alice, "hers", "orl", &row, &created), 0);
  wait_dataset(f->service, "hers", DATASET_READY);
  for (uint32_t turn = 0; turn < 2; turn++) {
    json_t *body = json_pack("{s:s, s:s}", "type", "train", "dataset", "hers");
    assert_int_equal(
        service_job_submit(f->service, &alice, body, false, NULL, &problems, &job, &replayed, &err), 0);
    json_decref(body);
    wait_job(f->service, job.id, JOB_STATE_SUCCEEDED);
    job_row_clear(&job);
    assert_int_equal(atomic_load(&found), turn ? PEOPLE_FOUND : 0);
  }
}

static bool is_in(const json_t *receipt, const char *content) {
  char sha256[SHA256_HEX];
  size_t i;
  json_t *file;
  sha256_data(content, strlen(content), sha256);
  json_array_foreach(json_object_get(receipt, "files"), i, file) {
    if (strcmp(json_string_value(json_object_get(file, "sha256")), sha256) == 0)
      return json_is_true(json_object_get(file, "erased"));
  }
  return false;
}

static void delete_with(struct fixture *f, const char *dataset, uint32_t network) {
  json_t *receipt = NULL;
  assert_true(is_stored(f, network));
  assert_int_equal(service_dataset_delete(f->service, dataset, &receipt, NULL), 0);
  assert_true(is_in(receipt, needed[network].content));
  json_decref(receipt);
  assert_false(is_stored(f, network));
}

static void they_go_with_the_faces(void **state) {
  struct fixture *f = *state;
  datasets(f);
  ready_dataset(f->service, "masks");
  assert_int_equal(run_job(f, WITH_PUBLIC), 0);
  assert_int_equal(run_job(f, WITH_BOTH), PEOPLE_FOUND | PUBLIC_FOUND);
  assert_int_equal(run_job(f, WITH_BOTH), PEOPLE_FOUND | PUBLIC_FOUND | MASK_FOUND);
  delete_with(f, "masks", 3);
  delete_with(f, "others", 1);
  delete_with(f, "orl", 0);
  datasets(f);
  assert_int_equal(run_job(f, WITH_PUBLIC), 0); /* of the same faces, uploaded again */
}

/* A person is erased from one of the data sets: networks that learnt from it go, the others stay. */
static void they_go_with_a_person(void **state) {
  struct fixture *f = *state;
  struct store *store = service_store(f->service);
  struct dataset_row row, to;
  struct store_erased erased;
  char sha256[SHA256_HEX];
  datasets(f);
  assert_int_equal(run_job(f, WITH_PUBLIC), 0);
  for (uint32_t i = 0; i < 2; i++) {
    bool gone = false;
    assert_int_equal(service_dataset_get(f->service, i ? "others" : "orl", &row), 0);
    to = row;
    sha256_data("another pack", 12 - i, to.sha256);
    const struct store_rewrite rewrite = {
        .dataset = row.id, .old_sha256 = row.sha256, .to = &to, .identity = "somebody"};
    assert_int_equal(store_dataset_rewrite(store, &rewrite, &erased), 0);
    sha256_data(needed[i].content, strlen(needed[i].content), sha256);
    for (uint32_t b = 0; b < erased.blob_count; b++)
      gone |= strcmp(erased.blobs[b], sha256) == 0;
    assert_true(gone);
    store_erased_clear(&erased);
    bool referenced = true;
    assert_int_equal(store_blob_referenced(store, sha256, &referenced), 0);
    assert_false(referenced);
    sha256_data(needed[1].content, strlen(needed[1].content), sha256);
    assert_int_equal(store_blob_referenced(store, sha256, &referenced), 0);
    assert_int_equal(referenced, i == 0);
  }
}

static void put(struct fixture *f, struct network_row *row, uint64_t most_bytes, uint32_t unreferenced) {
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  assert_int_equal(store_network_put(service_store(f->service), row, most_bytes, &blobs, &count), 0);
  assert_int_equal(count, unreferenced);
}

/* What a model's weights have taught goes with the model. */
static void they_go_with_the_model(void **state) {
  struct fixture *f = *state;
  struct job_row job;
  struct dataset_row row;
  char id[STORE_ID], path[PATH_MAX], sha256[SHA256_HEX];
  json_t *receipt = NULL;
  datasets(f);
  submit_job(f->service, "", id);
  wait_job(f->service, id, JOB_STATE_SUCCEEDED);
  assert_int_equal(service_job_get(f->service, id, &job), 0);
  assert_int_equal(service_dataset_get(f->service, "orl", &row), 0);
  struct network_row network = {.key = KEY_MODEL, .bytes = 5, .dataset = row.id, .model = job.model_id};
  sha256_data("drawn", 5, network.sha256);
  put(f, &network, 1000, 0);
  blob_of(f, "drawn", path);
  path[strlen(path) - 65] = 0;
  assert_int_equal(directory_make(path, NULL), 0);
  blob_of(f, "drawn", path);
  assert_int_equal(file_write_atomic(path, "drawn", 5, NULL), 0);
  assert_int_equal(service_model_delete(f->service, job.model_id, &receipt, NULL), 0);
  assert_true(is_in(receipt, "drawn"));
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(store_network_get(service_store(f->service), KEY_MODEL, sha256), -ENOENT);
  assert_true(is_stored(f, 0));
  json_decref(receipt);
  /* of a model or data set that is not there nothing is kept */
  _cleanup_(freep) char(*blobs)[SHA256_HEX] = NULL;
  uint32_t count = 0;
  assert_int_equal(store_network_put(service_store(f->service), &network, 1000, &blobs, &count), -ENOENT);
  job_row_clear(&job);
}

static void damaged_ones_are_trained_again(void **state) {
  struct fixture *f = *state;
  char path[PATH_MAX];
  datasets(f);
  assert_int_equal(run_job(f, ""), 0);
  blob_of(f, needed[0].content, path);
  for (uint32_t turn = 0; turn < 2; turn++) {
    if (turn)
      assert_int_equal(unlink(path), 0);
    else
      assert_int_equal(file_write_atomic(path, "knows peoplf", 12, NULL), 0);
    assert_int_equal(run_job(f, ""), 0);
    assert_int_equal(run_job(f, ""), PEOPLE_FOUND);
  }
  assert_int_equal(atomic_load(&warnings), 2);
}

static void give_way(void) {
  assert_true(networks_give(fixture->service, -ENOSPC, NULL));
}

/* Between finding one and copying it. */
static void one_that_just_gave_way_is_no_damage(void **state) {
  struct fixture *f = *state;
  datasets(f);
  assert_int_equal(run_job(f, ""), 0);
  before_copy = give_way;
  assert_int_equal(run_job(f, ""), 0);
  assert_null(before_copy);
  assert_int_equal(run_job(f, ""), PEOPLE_FOUND);
  assert_int_equal(atomic_load(&warnings), 0);
}

static void wait_writes(struct fixture *f, int r) {
  storage_note(f->service, r); /* as whoever met it does */
  for (int i = 0; i < 1000 && service_storage(f->service) < 0; i++)
    (void)usleep(10000);
  assert_int_equal(service_storage(f->service), 0);
}

/* One upload was too large, and what came of it is gone. */
static void a_disk_with_room_again_keeps_them(void **state) {
  struct fixture *f = *state;
  datasets(f);
  assert_int_equal(run_job(f, WITH_PUBLIC), 0);
  wait_writes(f, -ENOSPC);
  assert_true(is_stored(f, 0) && is_stored(f, 1));
  assert_int_equal(run_job(f, WITH_PUBLIC), PEOPLE_FOUND | PUBLIC_FOUND);
}

/* They are there to save time: a full disk is a reason to do without, and so is a quota. */
static void a_full_disk_is_rid_of_them(void **state) {
  struct fixture *f = *state;
  char sha256[SHA256_HEX];
  datasets(f);
  for (uint32_t i = 0; i < 2; i++) {
    full_result = i ? -EDQUOT : -ENOSPC;
    assert_int_equal(run_job(f, WITH_PUBLIC), 0);
    assert_true(is_stored(f, 0) && is_stored(f, 1));
    assert_false(networks_give(f->service, -EIO, NULL));
    assert_true(is_stored(f, 0));
    atomic_store(&full, true);
    wait_writes(f, full_result);
    atomic_store(&full, false);
    assert_false(is_stored(f, 0) || is_stored(f, 1));
    assert_false(has_networks());
  }
  (void)pthread_mutex_lock(&f->service->blob_lock); /* there are none: nobody is kept waiting for that */
  assert_false(networks_give(f->service, -ENOSPC, NULL));
  (void)pthread_mutex_unlock(&f->service->blob_lock);
  sha256_data("orl", 3, sha256);
  bool referenced = false; /* what is no such network stays */
  assert_int_equal(store_blob_referenced(service_store(f->service), sha256, &referenced), 0);
  assert_true(referenced);
  assert_int_equal(run_job(f, WITH_PUBLIC), 0);
  assert_int_equal(run_job(f, WITH_PUBLIC), PEOPLE_FOUND | PUBLIC_FOUND);
}

static void write_reserve(struct fixture *f) {
  char path[PATH_MAX];
  assert_int_equal(state_path(path, f->service, RESERVE_FILE), 0);
  assert_int_equal(file_write_atomic(path, "x", 1, NULL), 0);
}

/* It is there for what somebody asked to be gone. */
static void the_reserve_is_not_theirs(void **state) {
  struct fixture *f = *state;
  datasets(f);
  assert_int_equal(run_job(f, WITH_PUBLIC), 0);
  write_reserve(f);
  needs_reserve = true;
  assert_false(networks_give(f->service, -ENOSPC, NULL));
  assert_true(path_is_there(RESERVE_FILE));
  assert_true(is_stored(f, 0) && is_stored(f, 1));
}

/* What the erasure had written is gone first, and whatever gave way is in the receipt; the network of public
 * faces is not of those whom the erasure is of. */
static void an_erasure_tells_of_them(void **state) {
  struct fixture *f = *state;
  for (uint32_t i = 0; i < 3; i++) {
    struct guise_error err = {0};
    json_t *receipt = NULL;
    datasets(f);
    assert_int_equal(run_job(f, WITH_PUBLIC), 0);
    assert_true(is_stored(f, 1));
    write_reserve(f);
    full_result = i == 1 ? -EDQUOT : -ENOSPC;
    needs_reserve = i == 2;
    rewrites = 0;
    atomic_store(&full, true);
    if (service_person_erase(f->service, "orl", "somebody", NULL, &receipt, &err) < 0)
      fail_msg("%s", err.text);
    atomic_store(&full, false);
    assert_int_equal(rewrites, i == 2 ? 3 : 2);
    assert_int_equal(path_is_there(RESERVE_FILE), i != 2);
    assert_false(half_left);
    assert_false(is_stored(f, 0) || is_stored(f, 1));
    assert_true(is_in(receipt, needed[0].content) && is_in(receipt, needed[1].content));
    json_decref(receipt);
    assert_int_equal(service_dataset_delete(f->service, "orl", NULL, NULL), 0);
    assert_int_equal(service_dataset_delete(f->service, "others", NULL, NULL), 0);
  }
}

/* Those that nobody has asked for the longest go first. */
static void there_is_an_end_to_them(void **state) {
  struct fixture *f = *state;
  struct store *store = service_store(f->service);
  struct dataset_row row;
  char sha256[SHA256_HEX];
  static const char *const keys[] = {KEY_PEOPLE, KEY_PUBLIC, KEY_MODEL};
  datasets(f);
  assert_int_equal(service_dataset_get(f->service, "orl", &row), 0);
  for (uint32_t i = 0; i < 3; i++) {
    struct network_row network = {.bytes = 40, .dataset = row.id, .used_at = 10 + i};
    memcpy(network.key, keys[i], SHA256_HEX);
    sha256_data(keys[i], 64, network.sha256);
    if (i == 2)
      assert_int_equal(store_network_used(store, keys[0], 20), 0);
    put(f, &network, 100, i == 2);
  }
  assert_int_equal(store_network_get(store, keys[0], sha256), 0);
  assert_int_equal(store_network_get(store, keys[1], sha256), -ENOENT);
  assert_int_equal(store_network_get(store, keys[2], sha256), 0);
  /* another network under the same key takes the place of the first, whose file is left over */
  struct network_row again = {.key = KEY_PEOPLE, .bytes = 10, .dataset = row.id, .used_at = 30};
  sha256_data("again", 5, again.sha256);
  put(f, &again, 100, 1);
  assert_int_equal(store_network_get(store, KEY_PEOPLE, sha256), 0);
  assert_string_equal(sha256, again.sha256);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {TEST(later_jobs_find_them),
                                     TEST(owners_are_apart),
                                     TEST(they_go_with_the_faces),
                                     TEST(they_go_with_a_person),
                                     TEST(they_go_with_the_model),
                                     TEST(damaged_ones_are_trained_again),
                                     TEST(one_that_just_gave_way_is_no_damage),
                                     TEST(a_disk_with_room_again_keeps_them),
                                     TEST(a_full_disk_is_rid_of_them),
                                     TEST(the_reserve_is_not_theirs),
                                     TEST(an_erasure_tells_of_them),
                                     TEST(there_is_an_end_to_them)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
