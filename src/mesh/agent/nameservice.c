/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nameservice - the built-in DNS of a host: names of the mesh, and what its resolver
 * knows */
#include "mesh/agent/nameservice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns/hostservers.h"
#include "dns/zone.h"

struct nameservice {
	struct loop *loop;
	struct forwarder *forwarder;
	struct nameserver *nameserver;
	const struct nameservice_ops *ops;
	void *owner;
	struct zone *zone;
	int udp_fds[NAMESERVICE_SIDES];

	struct hostservers servers;
	char *resolv_conf; /* NULL: the host's own */
};

/* --- names -------------------------------------------------------------------------------- */

/* What a route's pattern matches is the owner's, so it does not matter which server it has here. */
static int add_patterns(struct zone *zone, const struct mesh_route *route, struct in_addr me)
{
	const struct addr server = addr_of4(me, 0);
	int result = 0;

	for (char **glob = route->globs; result != -ENOMEM && glob && *glob; glob++)
		result = zone_add_pattern(zone, *glob, &server);
	return result;
}

int nameservice_configure(struct nameservice *service, const struct mesh_config *config)
{
	struct zone *zone = zone_new();
	int result = zone ? 0 : -ENOMEM;

	/* what is no host name cannot be asked for */
	for (size_t i = 0; result != -ENOMEM && i < config->nnames; i++) {
		const struct addr addr = addr_of4(config->names[i].ip, 0);

		result = zone_add(zone, config->names[i].name, &addr);
	}
	for (size_t i = 0; result != -ENOMEM && i < config->nroutes; i++)
		result = add_patterns(zone, &config->routes[i], config->me);
	if (result == -ENOMEM) {
		zone_free(zone);
		return -ENOMEM;
	}
	zone_free(service->zone);
	service->zone = zone;
	hostservers_set_zone(&service->servers, zone);
	return 0;
}

/* --- questions ---------------------------------------------------------------------------- */

static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	struct nameservice *service = owner;
	const size_t nservers = hostservers_look(&service->servers);
	struct addr server;

	if (zone_find(service->zone, query, out, &server) == 0)
		return 0;
	int result = service->ops && service->ops->on_other
			     ? service->ops->on_other(service->owner, question, query, out)
			     : -ENOENT;
	if (result != -ENOENT)
		return result;
	return nservers > 0 ? -ENOENT : -EHOSTUNREACH;
}

void nameservice_add_client(struct nameservice *service, int fd, const struct addr *peer)
{
	nameserver_add_client(service->nameserver, fd, peer);
}

int nameservice_set_udp(struct nameservice *service, enum nameservice_side side, int fd)
{
	int *own = &service->udp_fds[side];

	if (*own >= 0)
		nameserver_del_udp(service->nameserver, *own);
	*own = -1;
	int result = fd >= 0 ? nameserver_add_udp(service->nameserver, fd) : 0;
	if (result == 0)
		*own = fd;
	return result;
}

/* --- start and end ------------------------------------------------------------------------ */

struct nameservice *nameservice_new(struct loop *loop, struct budget *budget,
	const char *resolv_conf, const struct nameservice_ops *ops, void *owner)
{
	static const struct nameserver_ops nameserver_ops = {on_query};
	struct nameservice *service = calloc(1, sizeof(*service));

	if (!service)
		return NULL;
	service->loop = loop;
	service->ops = ops;
	service->owner = owner;
	for (int side = 0; side < NAMESERVICE_SIDES; side++)
		service->udp_fds[side] = -1;
	service->resolv_conf = resolv_conf ? strdup(resolv_conf) : NULL;
	service->zone = zone_new();
	service->forwarder = forwarder_new(loop, budget);
	service->servers = (struct hostservers){
		.loop = loop, .forwarder = service->forwarder, .resolv_conf = service->resolv_conf};
	if (service->forwarder && service->zone)
		service->nameserver =
			nameserver_new(loop, budget, service->forwarder, &nameserver_ops, service);
	if (service->nameserver && (service->resolv_conf || !resolv_conf))
		return service;
	nameservice_free(service);
	errno = ENOMEM;
	return NULL;
}

void nameservice_free(struct nameservice *service)
{
	if (!service)
		return;
	nameserver_free(service->nameserver);
	forwarder_free(service->forwarder);
	zone_free(service->zone);
	free(service->resolv_conf);
	free(service);
}
