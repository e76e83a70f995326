/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ports - what a host offers, as the gate is told of it */
#pragma once

#include "conn/service.h"
#include "mesh/agent/gate.h"
#include "mesh/config.h"

/*
 * In a sandbox an offer that leads to an IPv4 address of its own is mapped, and every other one is
 * served by a relay at any port of the VIP, which is known when that is bound. On a plain host all
 * are served at their own. So is the name server of the host, behind the offers.
 *
 * Starts as all zero but for is_sandbox: there are none.
 */
struct ports {
	bool is_sandbox;
	struct in_addr self;
	struct gate_port *list; /* one for each offer, in their order, and the rest */
	size_t count;
};

void ports_fini(struct ports *ports);

/* Is name server number @server of @config its own host's? Of each protocol the first one counts.
 */
bool ports_is_names(const struct mesh_config *config, size_t server);

/* An offer at @self; and our own name server, at @server of the configuration. */
struct service ports_service(const struct mesh_offer *offer, struct in_addr self);
struct service ports_names(const struct mesh_port *server);

/* They are those of @config; where one was bound before, and has the same address, it still is.
 * Returns 0 or -ENOMEM. */
int ports_plan(struct ports *ports, const struct mesh_config *config);

/* NULL: there is none. Not quick where there are many. */
struct gate_port *ports_find(const struct ports *ports, enum proto proto, uint16_t port);

/* Those that are served now, for the gate: free(3) it. NULL: no memory. */
struct gate_port *ports_served(const struct ports *ports, size_t *count);

/*
 * "80,8000": those at which the stack must not begin connections of its own. A mapping has no
 * state, so answers to them would be led to where the port is. As many as fit.
 */
void ports_reserved(const struct ports *ports, char *out, size_t cap_bytes);
