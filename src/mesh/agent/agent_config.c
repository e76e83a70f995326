/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent_config - make what `configure` says come true */
#include "mesh/agent/agent_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mesh/info.h"
#include "util/fd.h"
#include "util/log.h"

#define FEATURES                                                                                  \
	(FEATURE_TCP | FEATURE_LOOPBACK | FEATURE_LOOPBACK_DISABLE | FEATURE_UDP | FEATURE_ICMP | \
		FEATURE_RECONFIGURE | FEATURE_PING | FEATURE_ERROR)

unsigned agent_config_features(bool is_sandbox)
{
	return FEATURES | (is_sandbox ? FEATURE_SANDBOX : 0);
}

void agent_config_fini(struct agent_parts *parts)
{
	free(parts->peers);
	parts->peers = NULL;
	parts->npeers = 0;
}

/* --- addresses ---------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

/* @list is sorted, as all lists of addresses here. */
static bool contains(const struct in_addr *list, size_t count, struct in_addr addr)
{
	return count > 0 && bsearch(&addr, list, count, sizeof(*list), compare);
}

/* Everybody's VIP but our own, each once, sorted. The caller frees the list. */
static int list_peers(const struct mesh_config *config, struct in_addr **out, size_t *count)
{
	size_t all = config->nnames + config->nothers, unique = 0;
	struct in_addr *peers = calloc(all + 1, sizeof(*peers));

	*count = 0;
	*out = peers;
	if (!peers)
		return -ENOMEM;
	for (size_t i = 0; i < config->nnames; i++)
		peers[i] = config->names[i].ip;
	for (size_t i = 0; i < config->nothers; i++)
		peers[config->nnames + i] = config->others[i].ip;
	qsort(peers, all, sizeof(*peers), compare);
	for (size_t i = 0; i < all; i++)
		if (peers[i].s_addr != config->me.s_addr &&
			(unique == 0 || compare(&peers[unique - 1], &peers[i]) != 0))
			peers[unique++] = peers[i];
	*count = unique;
	return 0;
}

static int change_addresses(struct agent_parts *parts, struct in_addr self,
	const struct in_addr *peers, size_t npeers, struct err *err)
{
	char text[INET_ADDRSTRLEN];
	int result = 0;

	if (self.s_addr != parts->self.s_addr) {
		result = parts->stack->ops->set_self(parts->stack, self);
		if (result < 0)
			return err_sys(err, -result, "cannot take the address %s",
				inet_ntop(AF_INET, &self, text, sizeof(text)));
		parts->self = self;
		parts->npeers = 0;
	}
	for (size_t i = 0; i < parts->npeers; i++)
		if (!contains(peers, npeers, parts->peers[i]))
			parts->stack->ops->del_peer(parts->stack, parts->peers[i]);
	for (size_t i = 0; i < npeers; i++) {
		if (contains(parts->peers, parts->npeers, peers[i]))
			continue;
		result = parts->stack->ops->add_peer(parts->stack, peers[i]);
		if (result < 0 && result != -EEXIST) /* of an attempt that failed half-way */
			return err_sys(err, -result, "cannot add a route to %s",
				inet_ntop(AF_INET, &peers[i], text, sizeof(text)));
	}
	return 0;
}

static int apply_addresses(
	struct agent_parts *parts, const struct mesh_config *config, struct err *err)
{
	struct in_addr *peers;
	size_t npeers;

	if (list_peers(config, &peers, &npeers) < 0)
		return err_sys(err, ENOMEM, "cannot list the hosts");
	int result = change_addresses(parts, config->me, peers, npeers, err);
	/* after a failure some may be there already: none is taken for known then */
	free(parts->peers);
	parts->peers = peers;
	parts->npeers = result < 0 ? 0 : npeers;
	return result;
}

/* --- what is offered ---------------------------------------------------------------------- */

/* Is it an address of this network? Asked by binding to it. */
static bool is_local(const char *host, struct in_addr *out)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &addr.sin_addr) != 1 || addr.sin_addr.s_addr == INADDR_ANY)
		return false;
	_cleanup_fd_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return false;
	*out = addr.sin_addr;
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
static void reserve_ports(struct agent_parts *parts, const struct gate_port *ports, size_t nports)
{
	char text[STACK_PORTS_BYTES] = "";
	size_t len = 0;

	for (size_t i = 0; i < nports && len < sizeof(text) - 8; i++)
		if (ports[i].action == GATE_MAP)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u",
				len > 0 ? "," : "", ports[i].port);
	int result = len > 0 || parts->has_reserved
			     ? parts->stack->ops->reserve_ports(parts->stack, text)
			     : 0;
	if (result < 0)
		log_info("cannot reserve the ports that are offered: %s", strerror(-result));
	parts->has_reserved = len > 0;
}

static int configure_gate(struct agent_parts *parts, const struct mesh_config *config,
	const struct gate_port *ports, struct err *err)
{
	struct gate_rules rules = {
		.self = config->me,
		.members = parts->peers,
		.nmembers = parts->npeers,
		.ports = ports,
		.nports = config->noffers,
		.any_port = config->any_port && parts->is_sandbox,
	};
	int result = gate_configure(parts->gate, &rules);

	reserve_ports(parts, ports, config->noffers);
	return result < 0 ? err_sys(err, -result, "cannot set up the gate") : 0;
}

static int serve(struct agent_parts *parts, const struct mesh_config *config,
	const struct mesh_offer *relayed, size_t nrelayed, struct err *err)
{
	bool has_entries = !parts->is_sandbox && !config->loopback_disable;

	if (offers_configure(parts->offers, config->me, relayed, nrelayed, err) < 0)
		return -err->code;
	return entries_configure(parts->entries, config->others, has_entries ? config->nothers : 0,
		config->me, config->offers, has_entries ? config->noffers : 0, err);
}

int agent_config_apply(struct agent_parts *parts, const struct mesh_config *config, struct err *err)
{
	struct gate_port *ports = calloc(config->noffers + 1, sizeof(*ports));
	struct mesh_offer *relayed = calloc(config->noffers + 1, sizeof(*relayed));
	size_t nrelayed = 0;
	int result = ports && relayed ? 0 : err_sys(err, ENOMEM, "cannot read the configuration");

	if (result == 0)
		result = apply_addresses(parts, config, err);
	for (size_t i = 0; result == 0 && i < config->noffers; i++)
		if (plan_offer(parts->is_sandbox, &config->offers[i], &ports[i]))
			relayed[nrelayed++] = config->offers[i];
	if (result == 0)
		result = configure_gate(parts, config, ports, err);
	if (result == 0)
		result = serve(parts, config, relayed, nrelayed, err);
	free(relayed);
	free(ports);
	return result;
}
