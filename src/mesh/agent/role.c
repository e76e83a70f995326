/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/role - what this host is in its mesh: its address, what it offers, what it enters */
#include "mesh/agent/role.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mesh/agent/addresses.h"
#include "mesh/agent/entries.h"
#include "mesh/agent/offers.h"
#include "mesh/info.h"
#include "util/fd.h"
#include "util/log.h"

#define FEATURES                                                                                  \
	(FEATURE_TCP | FEATURE_LOOPBACK | FEATURE_LOOPBACK_DISABLE | FEATURE_UDP | FEATURE_ICMP | \
		FEATURE_RECONFIGURE | FEATURE_PING | FEATURE_ERROR)

struct role {
	struct role_start start;
	struct addresses addresses;
	struct offers *offers;
	struct entries *entries;
	bool has_reserved; /* some ports */
};

unsigned role_features(bool is_sandbox)
{
	return FEATURES | (is_sandbox ? FEATURE_SANDBOX : 0);
}

struct role *role_new(const struct role_start *start)
{
	struct role *role = calloc(1, sizeof(*role));

	if (!role)
		return NULL;
	role->start = *start;
	role->offers = offers_new(start->context, start->stack, start->syns_ops, start->syns_owner);
	role->entries = entries_new(start->context, start->stack);
	if (role->offers && role->entries)
		return role;
	role_free(role);
	return NULL;
}

void role_free(struct role *role)
{
	if (!role)
		return;
	entries_free(role->entries);
	offers_free(role->offers);
	addresses_fini(&role->addresses);
	free(role);
}

static int configure_addresses(struct role *role, const struct mesh_config *config, struct err *err)
{
	struct in_addr *peers = calloc(config->nnames + config->nothers + 1, sizeof(*peers));
	size_t count = 0;

	if (!peers)
		return err_sys(err, ENOMEM, "cannot list the hosts");
	for (size_t i = 0; i < config->nnames; i++)
		peers[count++] = config->names[i].ip;
	for (size_t i = 0; i < config->nothers; i++)
		peers[count++] = config->others[i].ip;
	int result =
		addresses_set(&role->addresses, role->start.stack, config->me, peers, count, err);
	free(peers);
	return result;
}

/* Is it an address of this network? Asked by binding to it. */
static bool is_local(const char *host, struct in_addr *out)
{
	struct addr addr = addr_loopback4(0);

	if (strcmp(host, "localhost") != 0 && addr_parse(host, &addr, NULL) < 0)
		return false;
	if (addr.family != AF_INET || addr_is_wildcard(&addr))
		return false;
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, &addr.any, addr_len(&addr)) < 0)
		return false;
	*out = addr.v4.sin_addr;
	return true;
}

/* How the gate treats @offer; true if it needs a relay as well. */
static bool plan_offer(bool is_sandbox, const struct mesh_offer *offer, struct gate_port *port)
{
	*port = (struct gate_port){.proto = offer->proto, .port = offer->listen_port};
	if (is_sandbox && is_local(offer->connect_host, &port->target_ip)) {
		port->action = GATE_MAP;
		port->target_port = offer->connect_port;
		return false;
	}
	port->action = offer->proto == PROTO_TCP ? GATE_HOLD_SYN : GATE_OPEN;
	return true;
}

/*
 * A mapping has no state: the answers to a connection that left from such a port would be led to
 * the mapping's target.
 */
static void reserve_ports(struct role *role, const struct gate_port *ports, size_t nports)
{
	struct stack *stack = role->start.stack;
	char text[STACK_PORTS_BYTES] = "";
	size_t len = 0;

	for (size_t i = 0; i < nports && len < sizeof(text) - 8; i++)
		if (ports[i].action == GATE_MAP)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u",
				len > 0 ? "," : "", ports[i].port);
	int result = len > 0 || role->has_reserved ? stack->ops->reserve_ports(stack, text) : 0;
	if (result < 0)
		log_info("cannot reserve the ports that are offered: %s", strerror(-result));
	role->has_reserved = len > 0;
}

static int configure_gate(struct role *role, const struct mesh_config *config,
	const struct gate_port *ports, struct err *err)
{
	struct gate_rules rules = {
		.self = config->me,
		.members = role->addresses.peers,
		.nmembers = role->addresses.npeers,
		.ports = ports,
		.nports = config->noffers,
		.any_port = config->any_port && role->start.is_sandbox,
	};
	int result = gate_configure(role->start.gate, &rules);

	reserve_ports(role, ports, config->noffers);
	return result < 0 ? err_sys(err, -result, "cannot set up the gate") : 0;
}

static int serve(struct role *role, const struct mesh_config *config,
	const struct mesh_offer *relayed, size_t nrelayed, struct err *err)
{
	bool has_entries = !role->start.is_sandbox && !config->loopback_disable;

	if (offers_configure(role->offers, config->me, relayed, nrelayed, err) < 0)
		return -err->code;
	return entries_configure(role->entries, config->others, has_entries ? config->nothers : 0,
		config->me, config->offers, has_entries ? config->noffers : 0, err);
}

int role_configure(struct role *role, const struct mesh_config *config, struct err *err)
{
	struct gate_port *ports = calloc(config->noffers + 1, sizeof(*ports));
	struct mesh_offer *relayed = calloc(config->noffers + 1, sizeof(*relayed));
	size_t nrelayed = 0;
	int result = ports && relayed ? 0 : err_sys(err, ENOMEM, "cannot read the configuration");

	if (result == 0)
		result = configure_addresses(role, config, err);
	for (size_t i = 0; result == 0 && i < config->noffers; i++)
		if (plan_offer(role->start.is_sandbox, &config->offers[i], &ports[i]))
			relayed[nrelayed++] = config->offers[i];
	if (result == 0)
		result = configure_gate(role, config, ports, err);
	if (result == 0)
		result = serve(role, config, relayed, nrelayed, err);
	free(relayed);
	free(ports);
	return result;
}

void role_on_syn(struct role *role, const struct packet_view *packet)
{
	offers_on_syn(role->offers, packet);
}
