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

#define BUCKETS 1024

struct open_service {
	struct services *services;
	struct list link;
	struct service service;
	char *host; /* of the target */
	bool is_listed;
	struct bound bound;
	struct acceptor acceptor;    /* TCP */
	struct datagrams *datagrams; /* UDP that is joined */
};

struct services {
	const struct conn_context *context;
	const struct service_ops *ops;
	void *owner;
	struct list buckets[BUCKETS];
	struct joins joins;
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
		joins_add(&services->joins, fd, &open->service.target);
}

/* Clients of loopback, whose own addresses are theirs to choose, are one source. */
static bool make_room(struct acceptor *acceptor)
{
	struct open_service *open = container_of(acceptor, struct open_service, acceptor);
	const struct conn_context *context = open->services->context;
	const struct addr here = addr_loopback4(0);

	while (!budget_has_room(context->budget, acceptor->fds_each))
		if (!relay_pool_yield(context->relays, &here, 0))
			return false;
	return true;
}

static void service_free(struct open_service *open)
{
	bind_close(&open->bound);
	free(open->host);
	free(open);
}

static void service_close(struct open_service *open)
{
	struct services *services = open->services;

	list_del(&open->link);
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
	open->acceptor.fds_each = wanted->is_given ? 0 : JOIN_FDS;
	open->is_listed = true;
	return 0;
}

/* What comes at its socket has its way from now on. */
static int serve(struct open_service *open)
{
	struct services *services = open->services;
	const struct service *service = &open->service;

	if (service->proto == PROTO_TCP) {
		open->acceptor.on_client = on_client;
		open->acceptor.make_room = make_room;
		return acceptor_open(&open->acceptor, services->context->loop,
			services->context->budget, open->bound.fd);
	}
	if (service->is_given)
		return services->ops->on_bound(services->owner, service, open->bound.fd);
	open->datagrams = datagrams_new(services->context, open->bound.fd, &service->target);
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

static int bind_service(struct open_service *open, struct err *err)
{
	struct services *services = open->services;
	struct addr addr = open->service.addr;

	if (services->ops->bind)
		return services->ops->bind(services->owner, &open->service, &open->bound, err);
	return bind_open(&addr, open->service.proto, &open->bound, err);
}

static int service_open(struct services *services, const struct service *service, struct err *err)
{
	struct open_service *open = calloc(1, sizeof(*open));

	if (!open)
		return err_sys(err, ENOMEM, "cannot open a port");
	open->services = services;
	open->bound = (struct bound){.fd = -1, .dir_fd = -1};
	int result = adopt(open, service);
	if (result < 0)
		err_sys(err, -result, "cannot open a port");
	else
		result = bind_service(open, err);
	if (result == 0) {
		result = serve(open);
		if (result < 0)
			err_sys(err, -result, "cannot watch a port");
	}
	if (result < 0) {
		service_free(open);
		return result;
	}
	list_add_first(bucket_of(services, &service->addr), &open->link);
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

	return open ? &open->service : NULL;
}

void services_join(struct services *services, int client_fd, const struct dial_target *target)
{
	joins_add(&services->joins, client_fd, target);
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
		if (result < 0)
			err_sys(err, -result, "cannot change a port");
	}
	close_unlisted(services);
	for (size_t i = 0; result == 0 && i < count; i++)
		if (!find(services, list[i].proto, &list[i].addr))
			result = service_open(services, &list[i], err);
	if (result < 0) {
		unlist_all(services);
		close_unlisted(services);
	}
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
	joins_init(&services->joins, context);
	return services;
}

void services_free(struct services *services)
{
	if (!services)
		return;
	unlist_all(services);
	close_unlisted(services);
	joins_fini(&services->joins);
	free(services);
}
