/* GET /metrics: the daemon's figures in the text format of Prometheus, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Labels are words of guise and ids, so that
 * nothing of a person, an owner or a file is in it. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/reply.h"
#include "api/resources.h"

/* ---- the format ---- */

static void family(FILE *out, const char *name, const char *type, const char *help) {
  (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* labels: "" or label="value", ... */
static void sample(FILE *out, const char *name, const char *labels, double value) {
  (void)fprintf(out, *labels ? "%s{%s} %.15g\n" : "%s%s %.15g\n", name, labels, value);
}

static void single(FILE *out, const char *name, const char *type, const char *help, double value) {
  family(out, name, type, help);
  sample(out, name, "", value);
}

/* ---- jobs ---- */

static void put_jobs(FILE *out, struct service *service, const struct store_usage *usage) {
  const struct stats *stats = service_stats(service);
  uint32_t counts[JOB_STATE_COUNT];
  char labels[64];
  if (store_job_counts(service_store(service), counts) == 0) {
    family(out, "guise_jobs", "gauge", "Jobs by state.");
    for (uint32_t i = 0; i < JOB_STATE_COUNT; i++) {
      (void)snprintf(labels, sizeof(labels), "state=\"%s\"", job_state_name((enum job_state)i));
      sample(out, "guise_jobs", labels, counts[i]);
    }
  }
  single(out, "guise_queue_oldest_seconds", "gauge",
         "How long the oldest queued job has waited, 0 without one.",
         usage->oldest_queued_at ? fmax(0, (double)(time_now_ms() - usage->oldest_queued_at) / 1e3) : 0);
  family(out, "guise_queue_wait_seconds", "summary", "How long jobs that began had waited.");
  sample(out, "guise_queue_wait_seconds_sum", "", (double)atomic_load(&stats->wait_ms) / 1e3);
  sample(out, "guise_queue_wait_seconds_count", "", (double)atomic_load(&stats->waits));
}

static void put_running(FILE *out, struct service *service) {
  _cleanup_(freep) struct running_job *jobs = NULL;
  uint32_t count = 0;
  char labels[64 + STORE_ID];
  if (service_jobs_running(service, &jobs, &count) < 0)
    return;
  family(out, "guise_job_images_per_second", "gauge", "Training speed of running jobs, a moving average.");
  for (uint32_t i = 0; i < count; i++) {
    (void)snprintf(labels, sizeof(labels), "job=\"%s\"", jobs[i].id);
    sample(out, "guise_job_images_per_second", labels, jobs[i].progress.images_per_s);
  }
  family(out, "guise_job_step_seconds", "gauge",
         "Time of a training step of running jobs, a moving average.");
  for (uint32_t i = 0; i < count; i++) {
    (void)snprintf(labels, sizeof(labels), "job=\"%s\"", jobs[i].id);
    sample(out, "guise_job_step_seconds", labels, jobs[i].progress.step_s);
  }
}

/* ---- images ---- */

static void put_images(FILE *out, struct service *service) {
  const struct stats *stats = service_stats(service);
  char labels[64];
  single(out, "guise_ingested_images_total", "counter", "Images taken into data sets.",
         (double)atomic_load(&stats->ingested));
  family(out, "guise_refused_files_total", "counter", "Files of uploads that could not be used, by reason.");
  for (uint32_t i = 0; i < STATS_CODES; i++) {
    (void)snprintf(labels, sizeof(labels), "code=\"%s\"", stats_code(i));
    sample(out, "guise_refused_files_total", labels, (double)atomic_load(&stats->refused[i]));
  }
  single(out, "guise_inference_refused_images_total", "counter",
         "Images of embed and verify that could not be decoded.",
         (double)atomic_load(&stats->inference_refused));
}

/* ---- storage ---- */

static double file_bytes(const char *state, const char *name) {
  char path[CONFIG_TEXT + 32];
  struct stat st;
  (void)snprintf(path, sizeof(path), "%s/%s", state, name);
  return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

static void put_storage(FILE *out, struct service *service, const struct store_usage *usage) {
  const char *state = service_config(service)->state;
  struct statvfs disk;
  family(out, "guise_datasets", "gauge", "Data sets by state.");
  sample(out, "guise_datasets", "state=\"ready\"", (double)usage->datasets);
  sample(out, "guise_datasets", "state=\"ingesting\"", (double)usage->ingesting);
  sample(out, "guise_datasets", "state=\"failed\"", (double)usage->failed);
  single(out, "guise_dataset_images", "gauge", "Images in data sets.", (double)usage->dataset_images);
  single(out, "guise_dataset_bytes", "gauge", "Bytes of data sets, uploads that wait included.",
         (double)usage->dataset_bytes);
  single(out, "guise_models", "gauge", "Models.", (double)usage->models);
  single(out, "guise_model_bytes", "gauge", "Bytes of the models' files.", (double)usage->model_bytes);
  single(out, "guise_kept_networks", "gauge", "Networks that are kept for later jobs.",
         (double)usage->networks);
  single(out, "guise_kept_network_bytes", "gauge", "Their bytes, in no owner's quota.",
         (double)usage->network_bytes);
  family(out, "guise_database_bytes", "gauge", "Size of the database and of its write-ahead log.");
  sample(out, "guise_database_bytes", "file=\"database\"", file_bytes(state, "guise.db"));
  sample(out, "guise_database_bytes", "file=\"log\"", file_bytes(state, "guise.db-wal"));
  single(out, "guise_database_writable", "gauge", "1, or 0 while the state directory takes no writes.",
         service_storage(service) == 0 ? 1 : 0);
  if (statvfs(state, &disk) < 0)
    return;
  single(out, "guise_disk_free_bytes", "gauge", "Free space for the state directory.",
         (double)disk.f_bavail * (double)disk.f_frsize);
  single(out, "guise_disk_size_bytes", "gauge", "Size of its file system.",
         (double)disk.f_blocks * (double)disk.f_frsize);
}

/* ---- HTTP ---- */

static void put_latency(FILE *out, const char *operation, const struct latency *latency) {
  char labels[96];
  unsigned long long count = 0;
  for (uint32_t i = 0; i <= LATENCY_BOUNDS; i++) {
    count += atomic_load(&latency->within[i]);
    if (i < LATENCY_BOUNDS)
      (void)snprintf(labels, sizeof(labels), "operation=\"%s\",le=\"%g\"", operation, latency_bound(i));
    else
      (void)snprintf(labels, sizeof(labels), "operation=\"%s\",le=\"+Inf\"", operation);
    sample(out, "guise_http_request_duration_seconds_bucket", labels, (double)count);
  }
  (void)snprintf(labels, sizeof(labels), "operation=\"%s\"", operation);
  sample(out, "guise_http_request_duration_seconds_sum", labels,
         (double)atomic_load(&latency->total_us) / 1e6);
  sample(out, "guise_http_request_duration_seconds_count", labels, (double)count);
}

static void put_http(FILE *out, struct http *http) {
  const struct traffic *traffic = http->traffic;
  char labels[32];
  family(out, "guise_http_responses_total", "counter", "Answers by class of their status.");
  for (unsigned i = 2; i <= 5; i++) {
    (void)snprintf(labels, sizeof(labels), "status=\"%uxx\"", i);
    sample(out, "guise_http_responses_total", labels, (double)atomic_load(&traffic->answers[i]));
  }
  family(out, "guise_http_request_duration_seconds", "histogram",
         "From a request's head to its answer, by operation; \"none\": no operation was found.");
  for (size_t i = 0; i < traffic->operations; i++)
    put_latency(out, i < route_count ? routes[i].operation : "none", &traffic->operation[i]);
}

/* ---- the process, by the names that all exporters use ---- */

static double resident_bytes(void) {
  char line[128] = "";
  FILE *file = fopen("/proc/self/statm", "re"); /* size, resident, ..., in pages */
  if (file && !fgets(line, sizeof(line), file))
    line[0] = 0;
  if (file)
    (void)fclose(file);
  const char *resident = line + strcspn(line, " ");
  return (double)strtoul(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void) {
  DIR *directory = opendir("/proc/self/fd");
  const struct dirent *entry;
  double count = -1; /* the directory's own */
  while (directory && (entry = readdir(directory)))
    count += entry->d_name[0] != '.';
  if (directory)
    (void)closedir(directory);
  return fmax(0, count);
}

static void put_process(FILE *out, struct http *http) {
  struct rusage usage;
  family(out, "guise_build_info", "gauge", "1, with the version.");
  sample(out, "guise_build_info", "version=\"" GUISE_VERSION "\"", 1);
  single(out, "process_start_time_seconds", "gauge", "When the process started, seconds since 1970.",
         (double)http->started_ms / 1e3);
  single(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
  single(out, "process_open_fds", "gauge", "Open file descriptors.", open_files());
  if (getrusage(RUSAGE_SELF, &usage) < 0)
    return;
  single(out, "process_cpu_seconds_total", "counter", "Time on processors.",
         (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

void get_prometheus(struct request *request) {
  struct service *service = request->service;
  struct store_usage usage;
  char *text = NULL;
  size_t size = 0;
  int r = store_usage(service_store(service), &usage);
  FILE *out = r == 0 ? open_memstream(&text, &size) : NULL;
  if (!out) {
    reply_error(request, r < 0 ? r : -ENOMEM, NULL);
    return;
  }
  put_jobs(out, service, &usage);
  put_running(out, service);
  put_images(out, service);
  put_storage(out, service, &usage);
  put_http(out, request->http);
  put_process(out, request->http);
  if (fclose(out) != 0) {
    free(text);
    text = NULL;
  }
  reply_text_take(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, size);
}
