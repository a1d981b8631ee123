/* Pages of lists: ?limit=, ?cursor= (opaque to clients) and the Link header of the next page. */
#pragma once

#include "api/target.h"
#include "core/train/spec.h"
#include "daemon/store.h"

#define CURSOR_TEXT 48

/* A row number as an opaque text; `list` names the list, so that a cursor of another list is refused. */
void cursor_format(const char *list, int64_t row, char ret_text[CURSOR_TEXT]);
int cursor_parse(const char *list, const char *text, int64_t *ret_row); /* -EINVAL */

/* Reads limit and cursor; mistakes become problems at "?limit" and "?cursor". */
void page_parse(const struct target *target, const char *list, struct store_page *ret_page,
                struct spec_problems *problems);
/* Whether the query parameter is there and true; query_check has seen to it that it is true or false. */
bool query_flag(const struct target *target, const char *name);
/* Complains of query parameters that are not in `known`, a comma-separated list of names, and of those that
 * are given more than once where no "*" follows their name: one of them would be left out of account. */
void query_check(const struct target *target, const char *known, struct spec_problems *problems);
/* `raw` with its cursor parameter replaced, as Link wants it: <...>; rel="next". NULL when out of memory. */
char *page_link(const char *raw, const char *cursor);
