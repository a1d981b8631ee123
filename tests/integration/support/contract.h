/* Every answer that a test gets is held against schema/openapi.yaml: the status is one that the operation
 * names, with the headers, the media type and the form that stand there. Which operation answered with which
 * status is noted in the build folder, a file a test; contract_coverage_test reads them all. */
#pragma once

#include "tests/integration/support/server.h"

#define CONTRACT_FOLDER GUISE_BUILD "/contract"

/* schema/openapi.yaml (borrowed). */
const json_t *contract_document(void);
/* The operation of a method and a target ("/v1/jobs?limit=1"), with its path's pattern; NULL when the
 * document has none. HEAD is GET. */
const json_t *contract_operation(const char *method, const char *target, const char **ret_pattern);
/* Calls `visit` for each operation of the document. */
void contract_each(void (*visit)(void *context, const char *method, const char *pattern,
                                 const json_t *operation),
                   void *context);
/* Fails the test when the answer is not what the document says. */
void contract_check(const char *method, const char *target, const struct reply *reply);
/* The same for an answer of which only the status is known. */
void contract_note(const char *method, const char *target, long status);
