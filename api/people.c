/* People of a data set: list, erase one, erase one image of one. */
#include "api/page.h"
#include "api/reply.h"
#include "api/resources.h"
#include "core/base/json.h"

void list_identities(struct request *request) {
  struct dataset_row row;
  struct store_page page;
  struct spec_problems problems = {0};
  struct guise_error err = {0};
  _cleanup_(freep) struct person_row *rows = NULL;
  uint32_t count = 0;
  int64_t next = 0;
  if (!dataset_find(request, &row))
    return;
  page_parse(&request->target, "identity", &page, &problems);
  if (spec_problems_any(&problems)) {
    reply_problems(request, &problems);
    return;
  }
  int r = service_people_list(request->service, row.id, &page, &rows, &count, &next, &err);
  if (r < 0) {
    reply_error(request, r, &err);
    return;
  }
  json_t *data = json_array();
  for (uint32_t i = 0; i < count; i++)
    data =
        json_append(data, json_pack("{s:s,s:I}", "name", rows[i].name, "images", (json_int_t)rows[i].images));
  reply_page(request, "identity", data, next);
}

static void erase(struct request *request, const char *identity, const char *image) {
  struct dataset_row row;
  struct guise_error err = {0};
  json_t *receipt = NULL;
  if (!dataset_find(request, &row))
    return;
  int r = service_person_erase(request->service, row.id, identity, image, &receipt, &err);
  reply_receipt(request, r, receipt, &err);
}

void delete_identity(struct request *request) {
  erase(request, request->parameter[1], NULL);
}

void delete_image(struct request *request) {
  erase(request, request->parameter[1], request->parameter[2]);
}
