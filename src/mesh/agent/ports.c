/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ports - what a host offers, as the gate is told of it */
#include "mesh/agent/ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util/fd.h"

#define ITEM_BYTES 8 /* ",65535" */

void ports_fini(struct ports *ports)
{
	free(ports->list);
	ports->list = NULL;
	ports->count = 0;
}

struct gate_port *ports_find(const struct ports *ports, enum proto proto, uint16_t port)
{
	for (size_t i = 0; i < ports->count; i++)
		if (ports->list[i].proto == proto && ports->list[i].port == port)
			return &ports->list[i];
	return NULL;
}

struct service ports_service(const struct mesh_offer *offer, struct in_addr self)
{
	return (struct service){
		.proto = offer->proto,
		.addr = addr_of4(self, offer->listen_port),
		.id = offer->listen_port,
		.target = {.host = offer->connect_host, .port = offer->connect_port},
	};
}

struct service ports_names(const struct mesh_port *server)
{
	return (struct service){
		.proto = server->proto,
		.addr = addr_of4(server->ip, server->port),
		.is_given = true,
	};
}

/* Is it an IPv4 address of this network? Asked by binding to it. */
static bool is_local(const char *host, struct in_addr *out)
{
	struct addr addr;

	if (addr_parse(host, &addr, NULL) < 0 || addr.family != AF_INET || addr_is_wildcard(&addr))
		return false;
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, &addr.any, addr_len(&addr)) < 0)
		return false;
	*out = addr.v4.sin_addr;
	return true;
}

/* Where it is served already. */
static void keep_place(const struct ports *ports, struct gate_port *port, struct in_addr self)
{
	const struct gate_port *old = self.s_addr == ports->self.s_addr
					      ? ports_find(ports, port->proto, port->port)
					      : NULL;

	port->target_ip = self;
	if (old && old->action == port->action)
		port->target_port = old->target_port;
}

static struct gate_port plan(
	const struct ports *ports, const struct mesh_offer *offer, struct in_addr self)
{
	struct gate_port port = {.proto = offer->proto, .port = offer->listen_port};

	if (ports->is_sandbox && is_local(offer->connect_host, &port.target_ip)) {
		port.action = GATE_MAP;
		port.target_port = offer->connect_port;
		return port;
	}
	port.action = offer->proto == PROTO_TCP ? GATE_HOLD_SYN : GATE_OPEN;
	if (!ports->is_sandbox)
		return port;
	keep_place(ports, &port, self);
	return port;
}

/* The built-in name server: its clients are let in at once. */
static struct gate_port plan_names(
	const struct ports *ports, const struct mesh_port *server, struct in_addr self)
{
	struct gate_port port = {.proto = server->proto, .port = server->port, .action = GATE_OPEN};

	if (ports->is_sandbox)
		keep_place(ports, &port, self);
	return port;
}

bool ports_is_names(const struct mesh_config *config, size_t server)
{
	const struct mesh_port *list = config->name_servers;

	for (size_t i = 0; i < server; i++)
		if (list[i].proto == list[server].proto && list[i].ip.s_addr == config->me.s_addr)
			return false;
	return list[server].ip.s_addr == config->me.s_addr;
}

int ports_plan(struct ports *ports, const struct mesh_config *config)
{
	struct gate_port *list = calloc(config->noffers + config->nname_servers + 1, sizeof(*list));
	size_t count = config->noffers;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < config->noffers; i++)
		list[i] = plan(ports, &config->offers[i], config->me);
	for (size_t i = 0; i < config->nname_servers; i++)
		if (ports_is_names(config, i))
			list[count++] = plan_names(ports, &config->name_servers[i], config->me);
	free(ports->list);
	ports->list = list;
	ports->count = count;
	ports->self = config->me;
	return 0;
}

struct gate_port *ports_served(const struct ports *ports, size_t *count)
{
	struct gate_port *list = calloc(ports->count + 1, sizeof(*list));

	*count = 0;
	/* nobody is there yet where one is served elsewhere, but not bound */
	for (size_t i = 0; list && i < ports->count; i++)
		if (!ports->is_sandbox || ports->list[i].target_port != 0)
			list[(*count)++] = ports->list[i];
	return list;
}

void ports_reserved(const struct ports *ports, char *out, size_t cap_bytes)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; ports->is_sandbox && i < ports->count && len + ITEM_BYTES < cap_bytes;
		i++)
		len += (size_t)snprintf(out + len, cap_bytes - len, "%s%u", len > 0 ? "," : "",
			ports->list[i].port);
}
