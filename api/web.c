/* The dashboard: a page at / and what it loads from /assets. They are the same for everybody and hold no
 * data, so that they need no token; the page asks the API with the one that its user has. */
#include "api/web.h"

#include <string.h>

#include "api/range.h"
#include "api/reply.h"
#include "api/resources.h"

/* Scripts and styles are files of this daemon, nothing is loaded from elsewhere, no string becomes code or
 * markup, and no other page frames this one. */
#define POLICY                                                                                        \
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "     \
  "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; " \
  "trusted-types 'none'"

static const struct web_file *find_file(const char *name) {
  for (size_t i = 0; i < web_file_count; i++)
    if (strcmp(web_files[i].name, name) == 0)
      return &web_files[i];
  return NULL;
}

static void send_web_file(struct request *request, const char *name) {
  const struct web_file *file = find_file(name);
  if (!file) {
    reply_problem(request, PROBLEM_NOT_FOUND, "the dashboard has no file %.100s; it starts at /", name);
    return;
  }
  if (etag_matches(
          MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH),
          file->sha256))
    reply_empty(request, MHD_HTTP_NOT_MODIFIED);
  else
    reply_text_static(request, MHD_HTTP_OK, media_type_of(name), file->data, file->size);
  reply_header(request, MHD_HTTP_HEADER_ETAG, "\"%s\"", file->sha256);
  reply_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache"); /* asked about each time: a 304 */
  reply_header(request, "Content-Security-Policy", POLICY);
  reply_header(request, "Referrer-Policy", "no-referrer");
  reply_header(request, "Cross-Origin-Opener-Policy", "same-origin");
  reply_header(request, "Cross-Origin-Resource-Policy", "same-origin");
}

void get_dashboard(struct request *request) {
  send_web_file(request, "index.html");
}

void get_asset(struct request *request) {
  send_web_file(request, request->parameter[0]);
}
