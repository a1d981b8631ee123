#include "daemon/service_internal.h"

void bus_init(struct bus *bus) {
  (void)pthread_mutex_init(&bus->lock, NULL);
}

void bus_done(struct bus *bus) {
  while (bus->first) {
    struct listener *next = bus->first->next;
    free(bus->first);
    bus->first = next;
  }
  (void)pthread_mutex_destroy(&bus->lock);
}

void bus_emit(struct service *service, const char *job, int64_t seq) {
  if (seq == 0)
    return;
  (void)pthread_mutex_lock(&service->bus.lock);
  for (struct listener *l = service->bus.first; l; l = l->next)
    l->event(l->context, job, seq);
  (void)pthread_mutex_unlock(&service->bus.lock);
}

int service_listen(struct service *service, void (*event)(void *context, const char *job, int64_t seq),
                   void *context, struct listener **ret_listener) {
  struct listener *listener = malloc(sizeof(*listener));
  if (!listener)
    return -ENOMEM;
  *listener = (struct listener){.event = event, .context = context};
  (void)pthread_mutex_lock(&service->bus.lock);
  listener->next = service->bus.first;
  service->bus.first = listener;
  (void)pthread_mutex_unlock(&service->bus.lock);
  *ret_listener = listener;
  return 0;
}

void service_unlisten(struct service *service, struct listener *listener) {
  if (!listener)
    return;
  (void)pthread_mutex_lock(&service->bus.lock);
  struct listener **at = &service->bus.first;
  while (*at && *at != listener)
    at = &(*at)->next;
  if (*at)
    *at = listener->next;
  (void)pthread_mutex_unlock(&service->bus.lock);
  free(listener);
}
