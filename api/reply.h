/* Answers: each function makes the whole response of a request; the last one made counts. */
#pragma once

#include <jansson.h>

#include "api/server.h"

/* body is stolen; NULL = out of memory, which becomes a 503. */
void reply_json(struct request *request, unsigned status, json_t *body);
void reply_text(struct request *request, unsigned status, const char *type, const char *text, size_t bytes);
/* As reply_text with text that was malloc'ed and is stolen; NULL = out of memory. */
void reply_text_take(struct request *request, unsigned status, const char *type, char *text, size_t bytes);
/* text is static. */
void reply_text_static(struct request *request, unsigned status, const char *type, const char *text,
                       size_t bytes);
void reply_empty(struct request *request, unsigned status);
void reply_problem(struct request *request, enum problem_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* 422 with every mistake; frees what problems hold. */
void reply_problems(struct request *request, struct spec_problems *problems);
/* What a failed call of service or store means; err may be empty. */
void reply_error(struct request *request, int r, const struct guise_error *err);
/* 200 with what was erased, which the audit trail keeps as well; a negative r: what failed. `receipt` is
 * stolen. */
void reply_receipt(struct request *request, int r, json_t *receipt, const struct guise_error *err);
/* Adds to the response that is there. */
void reply_header(struct request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* {"data": rows, "next": cursor or null} and the Link header; rows is stolen. */
void reply_page(struct request *request, const char *list, json_t *rows, int64_t next);
/* The media type of a file, by the end of its name; application/octet-stream for any other. */
const char *media_type_of(const char *name);
void reply_drop(struct request *request); /* the answer that there is */
void reply_take(struct request *request, unsigned status, struct MHD_Response *response);

json_t *json_time(int64_t ms);           /* null for 0 */
json_t *json_finite(double value);       /* null for NAN and infinities */
json_t *json_optional(const char *text); /* null for "" */
