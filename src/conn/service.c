/* SPDX-License-Identifier: Apache-2.0 */
/* conn/service - a set of bound sockets that each lead to a target, and that changes as told
 */
#include "conn/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/accept.h"
#include "conn/datagrams.h"
#include "util/fd.h"

#define BUCKETS 1024

struct open_service {
	struct services *services;
	struct open_service *next;
	struct service service;
	char *host; /* of the target */
	bool is_listed;
	struct acceptor acceptor;
	struct datagrams *datagrams; /* NULL: it is TCP */
};

struct services {
	const struct conn_context *context;
	struct dialer *dialer;
	const struct service_ops *ops;
	void *owner;
	struct open_service *buckets[BUCKETS];
	struct joins *joins;
};

static void on_client(struct acceptor *acceptor, int fd, const struct sockaddr_in *peer)
{
	struct open_service *open =
		(struct open_service *)((char *)acceptor - offsetof(struct open_service, acceptor));
	struct services *services = open->services;
	const struct service_ops *ops = services->ops;

	if (!ops->on_client || !ops->on_client(services->owner, &open->service, fd, peer))
		joins_add(services->joins, fd, &open->service.target);
}

static void service_close(struct open_service *open)
{
	struct services *services = open->services;

	if (open->service.proto == PROTO_UDP)
		datagrams_free(open->datagrams);
	else
		acceptor_close(&open->acceptor);
	if (services->ops->on_closed)
		services->ops->on_closed(services->owner, &open->service);
	free(open->host);
	free(open);
}

static int set_target(struct open_service *open, const struct dial_target *target)
{
	char *host = NULL;

	if (target->host) {
		host = strdup(target->host);
		if (!host)
			return -ENOMEM;
	}
	free(open->host);
	open->host = host;
	open->service.target = *target;
	open->service.target.host = host;
	return 0;
}

/* Lead what comes at @fd, which is taken over, to the target of @open. */
static int serve(struct open_service *open, int fd)
{
	struct services *services = open->services;

	if (open->service.proto == PROTO_UDP) {
		open->datagrams = datagrams_new(
			services->context, services->dialer, fd, &open->service.target);
		return open->datagrams ? 0 : -errno;
	}
	open->acceptor.on_client = on_client;
	/* an owner counts what it expects */
	open->acceptor.fds_each = services->ops->on_client ? 0 : JOIN_FDS;
	return acceptor_open(&open->acceptor, services->context, fd);
}

static size_t bucket_of(struct in_addr ip, uint16_t port)
{
	return (ntohl(ip.s_addr) * 31 + port) % BUCKETS;
}

static int service_open(struct services *services, const struct service *service, struct err *err)
{
	struct open_service *open = calloc(1, sizeof(*open));

	if (!open)
		return err_sys(err, ENOMEM, "cannot open a port");
	open->services = services;
	open->service = *service;
	open->is_listed = true;
	int result = set_target(open, &service->target);
	if (result < 0)
		err_sys(err, -result, "cannot open a port");
	int fd = result < 0 ? result : services->ops->bind(services->owner, service, err);
	if (fd >= 0) {
		result = serve(open, fd);
		if (result < 0)
			err_sys(err, -result, "cannot watch a port");
	}
	if (fd < 0 || result < 0) {
		free(open->host);
		free(open);
		return fd < 0 ? fd : result;
	}
	struct open_service **bucket = &services->buckets[bucket_of(service->ip, service->port)];
	open->next = *bucket;
	*bucket = open;
	return 0;
}

static struct open_service *find(
	const struct services *services, enum proto proto, struct in_addr ip, uint16_t port)
{
	for (struct open_service *open = services->buckets[bucket_of(ip, port)]; open;
		open = open->next)
		if (open->service.proto == proto && open->service.port == port &&
			open->service.ip.s_addr == ip.s_addr)
			return open;
	return NULL;
}

const struct service *services_find(
	const struct services *services, enum proto proto, struct in_addr ip, uint16_t port)
{
	const struct open_service *open = find(services, proto, ip, port);

	return open ? &open->service : NULL;
}

static void close_unlisted(struct services *services)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct open_service **at = &services->buckets[i];

		while (*at) {
			struct open_service *open = *at;

			if (open->is_listed) {
				at = &open->next;
			} else {
				*at = open->next;
				service_close(open);
			}
		}
	}
}

static void unlist_all(struct services *services)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct open_service *open = services->buckets[i]; open; open = open->next)
			open->is_listed = false;
}

int services_configure(
	struct services *services, const struct service *list, size_t count, struct err *err)
{
	int result = 0;

	unlist_all(services);
	for (size_t i = 0; result == 0 && i < count; i++) {
		struct open_service *open = find(services, list[i].proto, list[i].ip, list[i].port);
		if (!open || open->is_listed)
			continue;
		open->is_listed = true;
		result = set_target(open, &list[i].target);
		if (result < 0)
			err_sys(err, -result, "cannot change a port");
	}
	close_unlisted(services);
	for (size_t i = 0; result == 0 && i < count; i++)
		if (!find(services, list[i].proto, list[i].ip, list[i].port))
			result = service_open(services, &list[i], err);
	if (result < 0) {
		unlist_all(services);
		close_unlisted(services);
	}
	return result;
}

struct services *services_new(const struct conn_context *context, struct dialer *dialer,
	const struct service_ops *ops, void *owner)
{
	struct services *services = calloc(1, sizeof(*services));

	if (!services)
		return NULL;
	services->context = context;
	services->dialer = dialer;
	services->ops = ops;
	services->owner = owner;
	services->joins = joins_new(context, dialer);
	if (!services->joins) {
		free(services);
		return NULL;
	}
	return services;
}

void services_free(struct services *services)
{
	if (!services)
		return;
	unlist_all(services);
	close_unlisted(services);
	joins_free(services->joins);
	free(services);
}
