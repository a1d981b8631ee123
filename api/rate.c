/* How many images a client may have embedded: before the body is taken one, or as many as the route tells; of
 * a batch the rest once it is known how many there are. */
#include "api/reply.h"

/* `images` of a request whose first `counted` were counted before; Retry-After is of all of them, as each try
 * counts anew. */
static bool pass(struct request *request, uint32_t images, uint32_t counted) {
  struct http *http = request->http;
  struct config config;
  service_config_now(request->service, &config);
  const double rate = (double)config.inference_rate, burst = (double)config.inference_burst;
  const int64_t now = clock_ns();
  (void)pthread_mutex_lock(&http->lock);
  uint32_t seconds = limit_take(&http->limit, request->client, images - counted, rate, burst, now);
  if (seconds > 0 && counted > 0) /* takes nothing, either */
    seconds = limit_take(&http->limit, request->client, images, rate, burst, now);
  (void)pthread_mutex_unlock(&http->lock);
  if (seconds == 0)
    return true;
  reply_problem(request, PROBLEM_RATE,
                "at most %llu images a second are embedded for one client; try again in %u s",
                (unsigned long long)config.inference_rate, seconds);
  reply_header(request, "Retry-After", "%u", seconds);
  return false;
}

bool rate_pass_batch(struct request *request, uint32_t images) {
  const uint32_t counted = route_images(request->route);
  return images <= counted || pass(request, images, counted);
}

bool rate_pass_route(struct request *request) {
  const uint32_t images = route_images(request->route);
  if (images == 0)
    return true;
  request->client = request->principal.kind == PRINCIPAL_TOKEN ? limit_token(request->principal.id)
                                                               : limit_client(request->peer->fd);
  return pass(request, images, 0);
}

void rate_give_back(struct request *request) {
  struct http *http = request->http;
  struct config config;
  service_config_now(request->service, &config);
  (void)pthread_mutex_lock(&http->lock);
  limit_give_back(&http->limit, request->client, route_images(request->route), (double)config.inference_rate,
                  (double)config.inference_burst, clock_ns());
  (void)pthread_mutex_unlock(&http->lock);
}
