/* Work on the service's pool while the connection is suspended. A request is held by its connection and,
 * while it works, by the work. */
#include "api/reply.h"

struct request *request_ref(struct request *request) {
  atomic_fetch_add(&request->references, 1);
  return request;
}

struct request *request_unref(struct request *request) {
  if (!request || atomic_fetch_sub(&request->references, 1) != 1)
    return NULL;
  struct http *http = request->http;
  reply_drop(request);
  json_decref(request->json);
  json_decref(request->receipt);
  (void)service_upload_free(request->upload);
  target_clear(&request->target);
  free(request->body);
  free(request->raw);
  free(request);
  http_unref(http);
  return NULL;
}

/* With the lock held. */
static void unlist(struct http *http, struct request *request) {
  if (request->previous)
    request->previous->next = request->next;
  else
    http->working = request->next;
  if (request->next)
    request->next->previous = request->previous;
  request->next = request->previous = NULL;
}

static void run(void *context) {
  struct request *request = context;
  struct http *http = request->http;
  request->work(request);
  (void)pthread_mutex_lock(&http->lock);
  request->working = false;
  if (!request->abandoned) {
    unlist(http, request);
    MHD_resume_connection(request->connection);
  }
  (void)pthread_mutex_unlock(&http->lock);
  request_unref(request);
}

int work_start(struct request *request, void (*work)(struct request *request)) {
  struct http *http = request->http;
  const bool infers = route_images(request->route) > 0;
  int r = 0;
  if (infers && !service_infer_room(request->service)) {
    rate_give_back(request);
    return -EAGAIN; /* nobody else adds to that queue, so what is free here is free below */
  }
  (void)pthread_mutex_lock(&http->lock);
  if (http->stopping)
    r = -ESHUTDOWN;
  else {
    request->work = work;
    request->working = true;
    request->next = http->working;
    if (request->next)
      request->next->previous = request;
    http->working = request;
    MHD_suspend_connection(request->connection);
  }
  (void)pthread_mutex_unlock(&http->lock);
  if (r < 0)
    return r;
  r = (infers ? service_infer : service_run)(request->service, run, request_ref(request));
  if (r < 0) {
    (void)pthread_mutex_lock(&http->lock);
    request->working = false;
    if (!request->abandoned)
      unlist(http, request);
    MHD_resume_connection(request->connection);
    (void)pthread_mutex_unlock(&http->lock);
    (void)request_unref(request);
  }
  return r;
}
