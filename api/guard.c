#include "api/guard.h"

#include <string.h>
#include <strings.h>

static int refuse(enum problem_code *ret_code, enum problem_code code, struct guise_error *err,
                  const char *text) {
  *ret_code = code;
  return error_set(err, -EBADMSG, "%s", text);
}

/* RFC 9110, 5.6.2 */
static bool is_token(const char *text) {
  return *text &&
         !text[strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")];
}

static bool has_control(const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p; p++)
    if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
      return true;
  return false;
}

static bool only_begins_with(const char *name, const char *field) {
  const size_t length = strlen(field);
  return strncasecmp(name, field, length) == 0 && name[length];
}

void guard_add(struct guard_request *request, const char *name, const char *value) {
  request->headers++;
  request->header_bytes += strlen(name) + strlen(value) + 4;
  request->odd |= !is_token(name) || has_control(value) || only_begins_with(name, "Content-Length") ||
                  only_begins_with(name, "Transfer-Encoding");
  if (strcasecmp(name, "Host") == 0) {
    request->hosts++;
    request->host = value;
  } else if (strcasecmp(name, "Origin") == 0) {
    request->origins++;
    request->origin = value;
  } else if (strcasecmp(name, "Content-Length") == 0) {
    request->content_lengths++;
    request->content_length = value;
  } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
    request->transfer_encodings++;
    request->transfer_encoding = value;
  } else if (strcasecmp(name, "Content-Type") == 0) {
    request->content_types++;
  } else if (strcasecmp(name, "Authorization") == 0) {
    request->authorizations++;
  }
}

static int parse_length(const char *text, uint64_t *ret_length) {
  uint64_t value = 0;
  if (!*text)
    return -EINVAL;
  for (; *text; text++)
    if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10u, &value) ||
        __builtin_add_overflow(value, (unsigned)(*text - '0'), &value))
      return -EINVAL;
  *ret_length = value;
  return 0;
}

int guard_framing(const struct guard_request *q, struct guard_body *ret_body, enum problem_code *ret_code,
                  struct guise_error *err) {
  struct guard_body body = {0};
  bool old = !q->version || strcmp(q->version, "HTTP/1.1") != 0;
  if (q->headers > GUARD_HEADERS || q->header_bytes > GUARD_HEADER_BYTES)
    return refuse(ret_code, PROBLEM_HEADERS_TOO_LARGE, err,
                  "send at most 64 header fields with 16 KiB in all");
  if (q->odd)
    return refuse(
        ret_code, PROBLEM_MALFORMED_REQUEST, err,
        "a header field's name is followed by a blank, its value goes on in the next line, or it holds "
        "characters that are not allowed");
  if (q->content_lengths > 1)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "there is more than one Content-Length");
  if (q->transfer_encodings > 0 && q->content_lengths > 0)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err,
                  "Transfer-Encoding and Content-Length exclude each other");
  if (q->transfer_encodings > 1 ||
      (q->transfer_encodings == 1 && (old || strcasecmp(q->transfer_encoding, "chunked") != 0)))
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err,
                  "the only transfer encoding is chunked, in HTTP/1.1");
  if (q->content_types > 1)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "there is more than one Content-Type");
  if (q->authorizations > 1)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "there is more than one Authorization");
  if (q->content_lengths == 1 && parse_length(q->content_length, &body.length) < 0)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "Content-Length is no number");
  if (q->hosts != 1)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "send exactly one Host header");
  body.chunked = q->transfer_encodings == 1;
  *ret_body = body;
  return 0;
}

/* The name in "name", "name:port", "[v6]:port"; its length, 0 when the form is wrong. */
static size_t host_name_length(const char *host) {
  size_t length;
  if (host[0] == '[') {
    length = strcspn(host, "]");
    if (!host[length] || strspn(host + 1, "0123456789abcdefABCDEF:.") != length - 1)
      return 0;
    length++;
  } else
    length = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
  const char *port = host + length;
  if (*port == ':') {
    port++;
    if (strlen(port) > 5)
      return 0;
    port += strspn(port, "0123456789");
  }
  return *port ? 0 : length;
}

static bool list_has(const char *list, const char *name, size_t length) {
  while (*list) {
    list += strspn(list, ", \t");
    size_t n = strcspn(list, ", \t");
    if (n == length && n > 0 && strncasecmp(list, name, n) == 0)
      return true;
    list += n;
  }
  return false;
}

int guard_host(const struct guard_request *request, const char *bound, const char *allowed,
               enum problem_code *ret_code, struct guise_error *err) {
  size_t length = host_name_length(request->host);
  if (length == 0)
    return refuse(ret_code, PROBLEM_MALFORMED_REQUEST, err, "Host is no NAME or NAME:PORT");
  if (!allowed || list_has("localhost, 127.0.0.1, [::1]", request->host, length) ||
      list_has(bound, request->host, length) || list_has(allowed, request->host, length))
    return 0;
  return refuse(
      ret_code, PROBLEM_HOST, err,
      "the daemon answers to localhost, 127.0.0.1, [::1] and the names in its option allowed-hosts");
}

int guard_origin(const struct guard_request *request, enum problem_code *ret_code, struct guise_error *err) {
  static const char *const schemes[] = {"http://", "https://"};
  if (request->origins == 0)
    return 0;
  for (size_t i = 0; i < ARRAY_SIZE(schemes) && request->origins == 1; i++) {
    size_t length = strlen(schemes[i]);
    if (strncasecmp(request->origin, schemes[i], length) == 0 &&
        strcasecmp(request->origin + length, request->host) == 0)
      return 0;
  }
  return refuse(ret_code, PROBLEM_ORIGIN, err, "pages of other web sites may not use this daemon");
}

/* The parameters behind a media type: ;name=value, where a charset must be UTF-8. */
static bool parameters_fit(const char *p) {
  for (;;) {
    p += strspn(p, " \t");
    if (!*p)
      return true;
    if (*p++ != ';')
      return false;
    p += strspn(p, " \t");
    if (strncasecmp(p, "charset=", 8) == 0) {
      p += 8;
      bool quoted = *p == '"';
      p += quoted;
      size_t length = strcspn(p, quoted ? "\"" : "; \t");
      if (length != 5 || strncasecmp(p, "utf-8", 5) != 0)
        return false;
      p += length + (quoted && p[length] == '"');
    } else
      p += strcspn(p, ";");
  }
}

bool media_type_is(const char *content_type, const char *types) {
  if (!content_type)
    return false;
  content_type += strspn(content_type, " \t");
  size_t length = strcspn(content_type, "; \t");
  return list_has(types, content_type, length) && parameters_fit(content_type + length);
}
