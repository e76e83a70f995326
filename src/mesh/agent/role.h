/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/role - what this host is in its mesh: its address, what it offers, what it enters */
#ifndef NSWRAP_MESH_AGENT_ROLE_H
#define NSWRAP_MESH_AGENT_ROLE_H

#include <stdbool.h>

#include "conn/context.h"
#include "mesh/agent/gate.h"
#include "mesh/agent/stack.h"
#include "mesh/agent/syns.h"
#include "mesh/config.h"

/*
 * How it works
 *
 * In a sandbox an offer that leads to an address of its own network is a mapped port of the gate,
 * and nothing is listened at. Every other offer, and all of a plain host, is held at the gate and
 * relayed (offers); on a plain host what others offer is listened at on loopback (entries).
 */
struct role;

struct role_start {
	bool is_sandbox;
	const struct conn_context *context;
	struct stack *stack;
	struct gate *gate;
	const struct syns_ops *syns_ops;
	void *syns_owner;
};

/* What is in @start stays the caller's. Returns NULL with errno set. */
struct role *role_new(const struct role_start *start);

/* Ends all connections. NULL is allowed. */
void role_free(struct role *role);

/* enum mesh_feature bits */
unsigned role_features(bool is_sandbox);

/*
 * The first time, or again: what was there before and still is in @config stays, connections
 * included. Returns 0, or -errno with @err filled; what could be done is done then.
 */
int role_configure(struct role *role, const struct mesh_config *config, struct err *err);

/* A packet that the gate holds. */
void role_on_syn(struct role *role, const struct packet_view *packet);

#endif
