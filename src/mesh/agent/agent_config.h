/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent_config - make what `configure` says come true */
#ifndef NSWRAP_MESH_AGENT_AGENT_CONFIG_H
#define NSWRAP_MESH_AGENT_AGENT_CONFIG_H

#include <stdbool.h>

#include "mesh/agent/entries.h"
#include "mesh/agent/gate.h"
#include "mesh/agent/offers.h"
#include "mesh/agent/stack.h"
#include "mesh/config.h"

/* What an agent consists of besides the way of the packets. The agent makes and frees them. */
struct agent_parts {
	bool is_sandbox;
	struct stack *stack;
	struct gate *gate;
	struct offers *offers;
	struct entries *entries;
	struct in_addr self, *peers; /* addresses that the stack has now; agent_config's own */
	size_t npeers;
	bool has_reserved; /* some ports */
};

/* enum mesh_feature bits */
unsigned agent_config_features(bool is_sandbox);

/*
 * The first time, or again: what was there before and still is in @config stays, connections
 * included. Returns 0, or -errno with @err filled; what could be done is done then.
 */
int agent_config_apply(
	struct agent_parts *parts, const struct mesh_config *config, struct err *err);

void agent_config_fini(struct agent_parts *parts);

#endif
