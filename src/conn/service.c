/* SPDX-License-Identifier: Apache-2.0 */
/* conn/service - a set of bound sockets that changes as told, and what becomes of their clients */
#include "conn/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/accept.h"
#include "conn/datagrams.h"
#include "conn/join.h"
#include "conn/relay.h"
#include "util/list.h"

#define BUCKETS       1024
#define SPARE_FDS     32 /* for clients, when many ports would take them all */
#define EXPLAINED_MAX 16 /* in one go: who has a port is found out slowly */
#define NEXT_PART_MS  100

struct open_service {
	struct services *services;
	struct list link;
	struct service service;
	char *host; /* of the target */
	bool is_listed;
	struct bound bound;          /* no descriptor: it is missing */
	struct list missing_link;    /* then */
	struct err *why;             /* then; NULL for want of memory */
	bool is_told;                /* then */
	struct acceptor acceptor;    /* TCP */
	struct datagrams *datagrams; /* UDP that is joined */
};

struct services {
	const struct conn_context *context;
	const struct service_ops *ops;
	void *owner;
	struct list buckets[BUCKETS];
	struct joins joins;
	struct list missing; /* who is tried next comes first */
	size_t untried;      /* of them, in this round */
	struct loop_timer retry;
	unsigned pause_ms;
	unsigned explained; /* in this go */
	bool is_retrying;
};

static struct open_service *open_of(struct list *link)
{
	return container_of(link, struct open_service, link);
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct open_service *open = container_of(acceptor, struct open_service, acceptor);
	struct services *services = open->services;

	if (open->service.is_given)
		services->ops->on_client(services->owner, &open->service, fd, peer);
	else
		services_join(services, fd, &open->service);
}

static bool is_missing(const struct open_service *open)
{
	return open->bound.fd < 0;
}

/* As it is to be, by another one. */
static bool is_elsewhere(const struct open_service *open)
{
	return open->why && open->why->code == EALREADY;
}

static void drop_socket(struct open_service *open)
{
	if (is_missing(open))
		return;
	bind_close(&open->bound);
	budget_give(open->services->context->budget, 1);
}

static void service_free(struct open_service *open)
{
	drop_socket(open);
	list_del(&open->missing_link);
	free(open->why);
	free(open->host);
	free(open);
}

static void service_close(struct open_service *open)
{
	struct services *services = open->services;

	list_del(&open->link);
	if (is_missing(open)) {
		service_free(open);
		return;
	}
	if (open->service.proto == PROTO_UDP)
		datagrams_free(open->datagrams);
	else
		acceptor_close(&open->acceptor);
	if (services->ops->on_closed)
		services->ops->on_closed(services->owner, &open->service);
	service_free(open);
}

/* From now on it is as @wanted says; the address is the same. Returns 0 or -ENOMEM. */
static int adopt(struct open_service *open, const struct service *wanted)
{
	char *host = wanted->target.host ? strdup(wanted->target.host) : NULL;

	if (wanted->target.host && !host)
		return -ENOMEM;
	free(open->host);
	open->host = host;
	open->service = *wanted;
	open->service.target.host = host;
	open->acceptor.fds_each = wanted->is_given ? wanted->given_fds : JOIN_FDS;
	open->is_listed = true;
	return 0;
}

static void on_datagrams_failed(void *owner, const struct udp_flow *flow, int result)
{
	const struct open_service *open = owner;
	const struct services *services = open->services;
	const struct addr peer = {.v6 = flow->key.peer};

	if (services->ops->on_unsent)
		services->ops->on_unsent(services->owner, &open->service, &peer, result);
	if (services->ops->on_failed && open->service.id != 0)
		services->ops->on_failed(services->owner, PROTO_UDP, open->service.id, result);
}

/* What comes at its socket has its way from now on. */
static int serve(struct open_service *open)
{
	struct services *services = open->services;
	const struct service *service = &open->service;

	if (service->proto == PROTO_TCP) {
		open->acceptor.on_client = on_client;
		open->acceptor.make_room = acceptor_make_room;
		return acceptor_open(&open->acceptor, services->context->loop,
			services->context->budget, open->bound.fd);
	}
	if (service->is_given)
		return services->ops->on_bound(services->owner, service, open->bound.fd);
	open->datagrams = datagrams_new(
		services->context, open->bound.fd, &service->target, on_datagrams_failed, open);
	return open->datagrams ? 0 : -errno;
}

static struct list *bucket_of(struct services *services, const struct addr *addr)
{
	const void *start = &addr->v4.sin_addr;
	size_t len = sizeof(addr->v4.sin_addr), hash = addr_port(addr);

	if (addr->family == AF_INET6) {
		start = &addr->v6.sin6_addr;
		len = sizeof(addr->v6.sin6_addr);
	} else if (addr->family == AF_UNIX) {
		start = addr->local.sun_path;
		len = strlen(addr->local.sun_path);
	}
	for (const unsigned char *at = start; len > 0; at++, len--)
		hash = hash * 31 + *at;
	return &services->buckets[hash % BUCKETS];
}

/* Words cost a look at every process, so the first ones of a crowd have them. */
static int bind_service(struct open_service *open, struct err *err)
{
	struct services *services = open->services;
	const struct service *service = &open->service;
	struct addr addr = service->addr;
	char text[ADDR_TEXT_BYTES];

	if (!budget_has_room(services->context->budget, 1 + SPARE_FDS))
		return err_set(err, EMFILE, "no descriptor is left for %s (ulimit -n)",
			addr_format(&addr, text, sizeof(text)));
	open->bound.fd = services->ops->take ? services->ops->take(services->owner, service) : -1;
	if (open->bound.fd >= 0)
		return 0;
	if (services->ops->bind)
		return services->ops->bind(services->owner, service, &open->bound, err);
	int result = bind_try(&addr, service->proto, &open->bound);
	if (result == -EADDRINUSE && services->ops->is_served &&
		services->ops->is_served(services->owner, service))
		return err_set(err, EALREADY, "served by another one");
	if (result == 0 || (open->why && open->why->code == -result))
		return result;
	if (services->explained++ < EXPLAINED_MAX) {
		result = bind_open(&addr, service->proto, &open->bound, err);
		if (result == -EADDRINUSE && services->ops->explain)
			services->ops->explain(&addr, service->proto, err);
		return result;
	}
	return err_sys(err, -result, "cannot listen at %s", addr_format(&addr, text, sizeof(text)));
}

/* Who serves it for us may be about to say so, so that is told by the retry. */
static void tell_missing(struct open_service *open, const struct err *err)
{
	const struct services *services = open->services;

	if (open->is_told || err->code == EALREADY ||
		(err->code == EADDRINUSE && services->ops->is_served && !services->is_retrying))
		return;
	open->is_told = true;
	if (services->ops->on_missing)
		services->ops->on_missing(services->owner, &open->service, err);
}

/* The reason that is known is good enough, if it is the same. */
static void note_missing(struct open_service *open, int result, const struct err *err)
{
	if (!open->why || open->why->code != -result) {
		if (!open->why)
			open->why = malloc(sizeof(*open->why));
		if (open->why)
			*open->why = *err;
		open->is_told = false;
	}
	tell_missing(open, open->why ? open->why : err);
}

static void note_opened(struct open_service *open)
{
	const struct services *services = open->services;
	const bool was_missing = list_is_linked(&open->missing_link) && !is_elsewhere(open);

	list_del(&open->missing_link);
	free(open->why);
	open->why = NULL;
	open->is_told = false;
	if (services->ops->on_served)
		services->ops->on_served(services->owner, &open->service, open->bound.fd);
	if (was_missing && services->ops->on_opened)
		services->ops->on_opened(services->owner, &open->service);
}

/* It does not help to try others. */
static bool is_short(int result)
{
	return dial_is_short(result) || result == -EAGAIN || result == -ETIMEDOUT ||
	       result == -EPIPE;
}

/*
 * It is open afterwards, or missing and behind all others that are. An error of one that was tried
 * before, and of which the others may have the same, is in @short_of; this one's is, if so.
 */
static void try_to_open(struct open_service *open, struct err *short_of)
{
	struct services *services = open->services;
	struct err err = *short_of;
	int result = err.code != 0 ? -err.code : bind_service(open, &err);

	if (result == 0) {
		budget_take(services->context->budget, 1);
		result = serve(open);
		if (result < 0) {
			err_sys(&err, -result, "cannot watch a port");
			drop_socket(open);
		}
	}
	if (result == 0) {
		note_opened(open);
		return;
	}
	list_del(&open->missing_link);
	list_add_last(&services->missing, &open->missing_link);
	note_missing(open, result, &err);
	if (is_short(result))
		*short_of = err;
}

static void on_retry(struct loop_timer *timer)
{
	struct services *services = container_of(timer, struct services, retry);
	struct loop *loop = services->context->loop;
	struct err short_of = {0};

	services->explained = 0;
	services->is_retrying = true;
	for (unsigned i = 0; i < SERVICE_TRIES && services->untried > 0 && !short_of.code; i++) {
		services->untried--;
		try_to_open(list_first(&services->missing, struct open_service, missing_link),
			&short_of);
	}
	services->is_retrying = false;
	if (list_is_empty(&services->missing))
		return;
	if (services->untried > 0 && !short_of.code) {
		loop_timer_set(loop, timer, NEXT_PART_MS);
		return;
	}
	services->untried = 0;
	list_each (at, &services->missing)
		services->untried++;
	services->pause_ms = services->pause_ms * 2 < SERVICE_RETRY_MAX_MS ? services->pause_ms * 2
									   : SERVICE_RETRY_MAX_MS;
	loop_timer_set(loop, timer, services->pause_ms);
}

/* Whatever is missing is tried again soon. */
static void retry_soon(struct services *services)
{
	services->untried = 0;
	list_each (at, &services->missing)
		services->untried++;
	services->pause_ms = SERVICE_RETRY_MS;
	if (services->untried > 0)
		loop_timer_set(services->context->loop, &services->retry, SERVICE_RETRY_MS);
	else
		loop_timer_cancel(services->context->loop, &services->retry);
}

void services_try_missing(struct services *services)
{
	struct err short_of = {0};
	size_t count = 0;

	services->explained = 0;
	list_each (at, &services->missing)
		count++;
	while (count-- > 0)
		try_to_open(list_first(&services->missing, struct open_service, missing_link),
			&short_of);
	retry_soon(services);
}

/* Returns 0 also if it is missing, or -ENOMEM. */
static int service_open(
	struct services *services, const struct service *service, struct err *short_of)
{
	struct open_service *open = calloc(1, sizeof(*open));

	if (!open)
		return -ENOMEM;
	open->services = services;
	open->bound = (struct bound){.fd = -1, .dir_fd = -1};
	int result = adopt(open, service);
	if (result < 0) {
		service_free(open);
		return result;
	}
	list_add_first(bucket_of(services, &service->addr), &open->link);
	try_to_open(open, short_of);
	return 0;
}

static struct open_service *find(
	struct services *services, enum proto proto, const struct addr *addr)
{
	struct list *bucket = bucket_of(services, addr);

	list_each (at, bucket) {
		struct open_service *open = open_of(at);

		if (open->service.proto == proto && addr_equal(&open->service.addr, addr))
			return open;
	}
	return NULL;
}

const struct service *services_find(
	struct services *services, enum proto proto, const struct addr *addr)
{
	const struct open_service *open = find(services, proto, addr);

	return open && !is_missing(open) ? &open->service : NULL;
}

void services_tell_served(struct services *services)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_each (at, &services->buckets[i]) {
			const struct open_service *open = open_of(at);

			if (!is_missing(open))
				services->ops->on_served(
					services->owner, &open->service, open->bound.fd);
		}
}

void services_each_missing(struct services *services,
	void (*tell)(void *told, const struct service *service, const char *why), void *told)
{
	list_each (at, &services->missing) {
		const struct open_service *open =
			container_of(at, struct open_service, missing_link);

		if (!is_elsewhere(open))
			tell(told, &open->service, open->why ? open->why->text : "no memory");
	}
}

void services_join(struct services *services, int client_fd, const struct service *service)
{
	joins_add(&services->joins, client_fd, &service->target, service->id);
}

static void on_stream_failed(void *owner, uint16_t id, int result)
{
	const struct services *services = owner;

	services->ops->on_failed(services->owner, PROTO_TCP, id, result);
}

static void close_unlisted(struct services *services)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_each_safe (at, following, &services->buckets[i])
			if (!open_of(at)->is_listed)
				service_close(open_of(at));
}

static void unlist_all(struct services *services)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_each (at, &services->buckets[i])
			open_of(at)->is_listed = false;
}

int services_configure(
	struct services *services, const struct service *list, size_t count, struct err *err)
{
	struct err short_of = {0};
	int result = 0;

	unlist_all(services);
	for (size_t i = 0; result == 0 && i < count; i++) {
		struct open_service *open = find(services, list[i].proto, &list[i].addr);

		if (!open || open->is_listed)
			continue;
		/* who has the socket of a UDP port cannot change */
		if (list[i].proto == PROTO_UDP && list[i].is_given != open->service.is_given) {
			service_close(open);
			continue;
		}
		result = adopt(open, &list[i]);
	}
	close_unlisted(services);
	services->explained = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		struct open_service *open = find(services, list[i].proto, &list[i].addr);

		if (!open)
			result = service_open(services, &list[i], &short_of);
		else if (is_missing(open))
			try_to_open(open, &short_of);
	}
	if (result < 0) {
		unlist_all(services);
		close_unlisted(services);
		err_sys(err, -result, "cannot open a port");
	}
	retry_soon(services);
	return result;
}

struct services *services_new(
	const struct conn_context *context, const struct service_ops *ops, void *owner)
{
	struct services *services = calloc(1, sizeof(*services));

	if (!services)
		return NULL;
	services->context = context;
	services->ops = ops;
	services->owner = owner;
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&services->buckets[i]);
	list_init(&services->missing);
	services->retry.on_expired = on_retry;
	joins_init(&services->joins, context);
	services->joins.on_failed = ops->on_failed ? on_stream_failed : NULL;
	services->joins.owner = services;
	return services;
}

void services_free(struct services *services)
{
	if (!services)
		return;
	unlist_all(services);
	close_unlisted(services);
	loop_timer_cancel(services->context->loop, &services->retry);
	joins_fini(&services->joins);
	free(services);
}
