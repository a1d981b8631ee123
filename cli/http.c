#include "cli/http.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define REPLY_LIMIT ((size_t)64 << 20)
#define QUIET_STREAM_S 45L /* three heartbeats of the daemon */

struct http {
  CURL *curl;
  char *base;     /* without a slash at the end */
  char *socket;   /* path of a Unix socket, or NULL */
  char name[256]; /* for messages */
  bool direct;    /* loopback or Unix socket: never through a proxy */
  bool encrypted;
  bool met;            /* see http_met */
  char *authorization; /* header line with the token, or NULL */
  const char *ca;      /* PEM file, or NULL */
};

/* Of "HOST:PORT/...": localhost, 127.x.x.x or [::1] and nothing that merely starts so. */
static bool is_loopback(const char *host) {
  const size_t whole = strcspn(host, "/?#");
  const size_t length = *host == '[' ? MIN(strcspn(host, "]") + 1, whole) : strcspn(host, ":/?#");
  if ((length < whole && host[length] != ':') || memchr(host, '@', whole)) /* NAME:PASSWORD@HOST */
    return false;
  return (length == 9 && strncasecmp(host, "localhost", 9) == 0) ||
         (length == 5 && strncmp(host, "[::1]", 5) == 0) ||
         (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == length);
}

int http_open(const char *url, struct http **ret_http, struct guise_error *err) {
  const char *host = NULL;
  if (strncmp(url, "unix:", 5) == 0 && url[5])
    host = "localhost";
  else if (strncasecmp(url, "http://", 7) == 0 && url[7])
    host = url + 7;
  else if (strncasecmp(url, "https://", 8) == 0 && url[8])
    host = url + 8;
  else
    return error_set(err, -EINVAL, "'%s' is no address of a daemon: give http://HOST:PORT or unix:PATH", url);

  _cleanup_(http_closep) struct http *http = calloc(1, sizeof(*http));
  if (!http)
    return error_set(err, -ENOMEM, "out of memory");
  bool is_unix = strncmp(url, "unix:", 5) == 0;
  (void)snprintf(http->name, sizeof(http->name), "%s", url);
  http->direct = is_unix || is_loopback(host);
  http->encrypted = strncasecmp(url, "https://", 8) == 0;
  http->base = strdup(is_unix ? "http://localhost" : url);
  if (is_unix)
    http->socket = strdup(url + 5);
  http->curl = curl_easy_init();
  if (!http->base || !http->curl || (is_unix && !http->socket))
    return error_set(err, -ENOMEM, "out of memory");
  for (size_t n = strlen(http->base); n > 0 && http->base[n - 1] == '/'; n--)
    http->base[n - 1] = 0;
  *ret_http = TAKE(http);
  return 0;
}

int http_set_token(struct http *http, const char *token, struct guise_error *err) {
  size_t length = token ? strlen(token) : 0;
  if (length == 0)
    return 0;
  if (length > 1024 ||
      strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") != length)
    return error_set(err, -EINVAL,
                     "$GUISE_TOKEN or $GUISE_TOKEN_FILE holds no token: it is one line that "
                     "guise token add printed");
  if (!http->encrypted && !http->direct)
    return error_set(
        err, -EPERM,
        "the token is not sent to %s: anybody on the way could read it; use https://, or forward "
        "the port with ssh",
        http->name);
  return asprintf(&http->authorization, "Authorization: Bearer %s", token) < 0
             ? error_set(err, -ENOMEM, "out of memory")
             : 0;
}

bool http_met(const struct http *http) {
  return http->met;
}

void http_set_ca(struct http *http, const char *path) {
  http->ca = path && *path ? path : NULL;
}

struct http *http_close(struct http *http) {
  if (http) {
    curl_easy_cleanup(http->curl);
    free(http->authorization);
    free(http->base);
    free(http->socket);
    free(http);
  }
  return NULL;
}

char *http_path(const char *literal, ...) {
  char *path = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&path, &size);
  if (!out)
    return NULL;
  va_list args;
  bool escape = false, ok = true;
  va_start(args, literal);
  for (const char *part = literal; part && ok; part = va_arg(args, const char *)) {
    char *escaped = escape ? curl_easy_escape(NULL, part, 0) : NULL;
    ok = (!escape || escaped) && fputs(escape ? escaped : part, out) >= 0;
    curl_free(escaped);
    escape = !escape;
  }
  va_end(args);
  if (fclose(out) != 0 || !ok) {
    free(path);
    return NULL;
  }
  return path;
}

void reply_free(struct reply *reply) {
  json_decref(reply->json);
  free(reply->text);
  *reply = (struct reply){0};
}

/* One request under way: what libcurl's callbacks see. */
struct exchange {
  const struct request *request;
  struct reply reply;
  char *upload; /* serialized JSON */
  size_t upload_size, sent, capacity;
  struct guise_error *err;
  int failure; /* negative errno of a callback */
  CURL *curl;
};

static size_t on_read(char *buffer, size_t size, size_t count, void *context) {
  struct exchange *x = context;
  size_t room = size * count;
  if (x->upload) {
    size_t n = MIN(room, x->upload_size - x->sent);
    memcpy(buffer, x->upload + x->sent, n);
    x->sent += n;
    return n;
  }
  ssize_t n = x->request->read(x->request->context, buffer, room, x->err);
  if (n < 0) {
    x->failure = (int)n;
    return CURL_READFUNC_ABORT;
  }
  return (size_t)n;
}

/* libcurl rewinds a body only to send it again; ours are streams, so only an untouched or an in-memory one
 * can be. */
static int on_seek(void *context, curl_off_t offset, int origin) {
  struct exchange *x = context;
  if (!x->upload || origin != SEEK_SET || offset < 0 || (size_t)offset > x->upload_size)
    return CURL_SEEKFUNC_CANTSEEK;
  x->sent = (size_t)offset;
  return CURL_SEEKFUNC_OK;
}

static int keep(struct exchange *x, const char *data, size_t size) {
  struct reply *reply = &x->reply;
  if (reply->size + size > REPLY_LIMIT)
    return error_set(x->err, -EFBIG, "the answer is larger than 64 MiB");
  if (reply->size + size + 1 > x->capacity) {
    size_t capacity = MAX((size_t)4096, 2 * (reply->size + size + 1));
    char *text = realloc(reply->text, capacity);
    if (!text)
      return error_set(x->err, -ENOMEM, "out of memory");
    reply->text = text;
    x->capacity = capacity;
  }
  memcpy(reply->text + reply->size, data, size);
  reply->size += size;
  reply->text[reply->size] = 0;
  return 0;
}

static size_t on_write(char *data, size_t size, size_t count, void *context) {
  struct exchange *x = context;
  size_t bytes = size * count;
  long status = 0;
  int r;
  (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
  if (x->request->write && (status == 200 || status == 206))
    r = x->request->write(x->request->context, status, data, bytes, x->err);
  else
    r = keep(x, data, bytes);
  if (r < 0) {
    x->failure = r;
    return bytes == 0 ? 1 : 0; /* anything but `bytes` is an error */
  }
  return bytes;
}

static size_t on_header(char *data, size_t size, size_t count, void *context) {
  struct exchange *x = context;
  size_t bytes = size * count;
  if (bytes > 5 && strncasecmp(data, "etag:", 5) == 0) {
    const char *first = memchr(data, '"', bytes);
    const char *last = memrchr(data, '"', bytes);
    if (first && last > first)
      (void)snprintf(x->reply.etag, sizeof(x->reply.etag), "%.*s", (int)(last - first - 1), first + 1);
  }
  return bytes;
}

static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up) {
  struct exchange *x = context;
  (void)down_total;
  (void)down;
  (void)up_total;
  (void)up;
  if (!*x->request->stop)
    return 0;
  x->failure = error_set(x->err, -EINTR, "interrupted");
  return 1;
}

static bool add_header(struct curl_slist **headers, const char *line) {
  struct curl_slist *more = curl_slist_append(*headers, line);
  *headers = more ? more : *headers;
  return more != NULL;
}

static void set_body(struct exchange *x, CURL *curl, struct curl_slist **headers, bool *ret_ok) {
  const struct request *request = x->request;
  char type[128];
  curl_off_t length = x->upload ? (curl_off_t)x->upload_size : (curl_off_t)request->length;
  (void)snprintf(type, sizeof(type), "Content-Type: %s", x->upload ? "application/json" : request->type);
  *ret_ok = add_header(headers, type);
  (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L); /* a PUT; CUSTOMREQUEST renames it */
  (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
  (void)curl_easy_setopt(curl, CURLOPT_READDATA, x);
  (void)curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
  (void)curl_easy_setopt(curl, CURLOPT_SEEKDATA, x);
  (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, length < 0 ? (curl_off_t)-1 : length);
  (void)curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
}

static void set_options(const struct http *http, struct exchange *x, const char *url, char *message) {
  CURL *curl = http->curl;
  (void)curl_easy_setopt(curl, CURLOPT_URL, url);
  (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "guise/" GUISE_VERSION);
  (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
  (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
  (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
  (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
  if (x->request->stop) {
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
  }
  if (http->direct)
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  if (http->ca)
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca);
  if (http->socket)
    (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, http->socket);
  /* A transfer that stands still is broken off; an ingest may keep an upload waiting for a while. */
  (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, x->request->endless ? QUIET_STREAM_S : 120L);
}

static int connection_error(const struct http *http, const struct exchange *x, CURLcode code,
                            const char *message) {
  const char *why = message[0] ? message : curl_easy_strerror(code);
  if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
    return error_set(x->err, -ECONNREFUSED,
                     "no daemon answers at %s (%s); start guised, or name another with --url or $GUISE_URL",
                     http->name, why);
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
    return error_set(
        x->err, -ECONNREFUSED,
        "who answers at %s cannot prove to be that (%s); name the certificate to trust with --ca "
        "FILE or $GUISE_CA",
        http->name, why);
  return error_set(x->err, -ECONNREFUSED, "the connection to %s broke: %s", http->name, why);
}

static void note_connection(struct http *http, CURLcode code) {
  curl_off_t connected = 0; /* microseconds; 0: it did not come to that */
  (void)curl_easy_getinfo(http->curl, CURLINFO_CONNECT_TIME_T, &connected);
  const bool stranger = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
  http->met |= code == CURLE_OK || (connected > 0 && !stranger);
}

static int perform(struct http *http, struct exchange *x, const char *url) {
  const struct request *request = x->request;
  char message[CURL_ERROR_SIZE] = "";
  struct curl_slist *headers = NULL;
  bool ok = true;
  curl_easy_reset(http->curl);
  set_options(http, x, url, message);
  if (x->upload || request->type)
    set_body(x, http->curl, &headers, &ok);
  else if (strcmp(request->method, "POST") == 0) {
    (void)curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, "");
    (void)curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE, 0L);
    headers = curl_slist_append(NULL, "Content-Type:"); /* else libcurl says that it is a form */
    ok = headers != NULL;
  }
  (void)curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, request->method);
  if (ok && http->authorization)
    ok = add_header(&headers, http->authorization);
  for (size_t i = 0; ok && i < ARRAY_SIZE(request->headers) && request->headers[i]; i++)
    ok = add_header(&headers, request->headers[i]);
  (void)curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, headers);
  CURLcode code = ok ? curl_easy_perform(http->curl) : CURLE_OUT_OF_MEMORY;
  curl_slist_free_all(headers);
  note_connection(http, code);
  (void)curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &x->reply.status);
  if (x->failure < 0)
    return x->failure;
  if (code == CURLE_OUT_OF_MEMORY)
    return error_set(x->err, -ENOMEM, "out of memory");
  /* A daemon that refuses an upload answers and stops reading: its answer says more than the broken pipe. */
  if ((code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) && x->reply.status >= 400 && x->reply.size > 0)
    return 0;
  return code == CURLE_OK ? 0 : connection_error(http, x, code, message);
}

int http_send(struct http *http, const struct request *request, struct reply *ret_reply,
              struct guise_error *err) {
  struct exchange x = {.request = request, .err = err, .curl = http->curl};
  _cleanup_(freep) char *url = NULL;
  _cleanup_(freep) char *upload = NULL;
  if (asprintf(&url, "%s%s", http->base, request->path) < 0) {
    url = NULL;
    return error_set(err, -ENOMEM, "out of memory");
  }
  if (request->json) {
    upload = json_dumps(request->json, JSON_COMPACT);
    if (!upload)
      return error_set(err, -ENOMEM, "out of memory");
    x.upload = upload;
    x.upload_size = strlen(upload);
  }
  int r = keep(&x, "", 0);
  if (r == 0)
    r = perform(http, &x, url);
  if (r < 0) {
    reply_free(&x.reply);
    return r;
  }
  x.reply.json = json_loadb(x.reply.text, x.reply.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
  *ret_reply = x.reply;
  return 0;
}
