/* Whether two photographs show one person, with libcurl and jansson.
 *
 *   cc -o verify examples/verify.c $(pkg-config --cflags --libs libcurl jansson)
 *   ./verify MODEL A.jpg B.jpg
 *
 * Prints the similarity and the threshold. Exit status 0: one person, 1: two, 2: the daemon would not say.
 * The daemon is $GUISE_URL, http://127.0.0.1:8080 by default; a token in $GUISE_TOKEN is sent along. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
  char *data;
  size_t size;
};

/* The file in base64; NULL after saying why not. */
static char *encoded(const char *path) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    if (file)
      (void)fclose(file);
    return NULL;
  }
  const long bytes = ftell(file);
  char *out = bytes > 0 ? malloc((size_t)(bytes + 2) / 3 * 4 + 1) : NULL, *at = out;
  unsigned char in[3];
  size_t got;
  rewind(file);
  for (long left = bytes; out && left > 0 && (got = fread(in, 1, left < 3 ? (size_t)left : 3, file)) > 0;
       left -= 3) {
    memset(in + got, 0, 3 - got);
    *at++ = alphabet[in[0] >> 2];
    *at++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
    *at++ = got > 1 ? alphabet[(in[1] & 15) << 2 | in[2] >> 6] : '=';
    *at++ = got > 2 ? alphabet[in[2] & 63] : '=';
  }
  if (out)
    *at = 0;
  else
    (void)fprintf(stderr, "%s: empty, or out of memory\n", path);
  (void)fclose(file);
  return out;
}

static size_t collect(char *data, size_t size, size_t count, void *context) {
  struct text *text = context;
  char *grown = realloc(text->data, text->size + size * count + 1);
  if (!grown)
    return 0;
  text->data = grown;
  memcpy(text->data + text->size, data, size * count);
  text->size += size * count;
  text->data[text->size] = 0;
  return size * count;
}

/* The answer to a POST as JSON, and its status; NULL after saying what went wrong. */
static json_t *post(const char *path, const char *body, long *ret_status) {
  const char *daemon = getenv("GUISE_URL"), *token = getenv("GUISE_TOKEN");
  struct text answer = {NULL, 0};
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  char url[1024], bearer[1024], reason[CURL_ERROR_SIZE] = "";
  json_t *json = NULL;
  CURL *curl = curl_easy_init();
  if (!curl || !headers)
    return NULL;
  (void)snprintf(url, sizeof(url), "%s%s", daemon ? daemon : "http://127.0.0.1:8080", path);
  if (token) {
    (void)snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", token);
    headers = curl_slist_append(headers, bearer);
  }
  (void)curl_easy_setopt(curl, CURLOPT_URL, url);
  (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  if (curl_easy_perform(curl) != CURLE_OK)
    (void)fprintf(stderr, "%s: %s\n", url, reason);
  else
    json = json_loads(answer.data ? answer.data : "", 0, NULL);
  (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  free(answer.data);
  return json;
}

int main(int argc, char **argv) {
  long status = 0;
  int code = 2;
  if (argc != 4) {
    (void)fprintf(stderr, "usage: verify MODEL A.jpg B.jpg\n");
    return 2;
  }
  char path[256], *a = encoded(argv[2]), *b = encoded(argv[3]);
  json_t *question = a && b ? json_pack("{s:s, s:s, s:f}", "a", a, "b", b, "far", 0.1) : NULL;
  char *body = question ? json_dumps(question, JSON_COMPACT) : NULL;
  (void)snprintf(path, sizeof(path), "/v1/models/%s/verify", argv[1]);
  json_t *answer = body ? post(path, body, &status) : NULL;
  if (answer && status == 200) {
    const int match = json_is_true(json_object_get(answer, "match"));
    (void)printf("%s: similarity %.3f, threshold %.3f\n", match ? "one person" : "two people",
                 json_number_value(json_object_get(answer, "similarity")),
                 json_number_value(json_object_get(answer, "threshold")));
    code = match ? 0 : 1;
  } else if (answer) {
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    (void)fprintf(stderr, "the daemon answered %ld: %s\n", status, detail ? detail : "");
  }
  json_decref(answer);
  json_decref(question);
  free(body);
  free(a);
  free(b);
  return code;
}
