/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/role - what this host is in its mesh: its address, what it offers, what it enters */
#pragma once

#include <stdbool.h>

#include "conn/context.h"
#include "conn/syns.h"
#include "exit/stack.h"
#include "mesh/agent/estate.h"
#include "mesh/agent/gate.h"
#include "mesh/agent/nameservice.h"
#include "mesh/agent/outlet.h"
#include "mesh/config.h"
#include "mesh/report.h"

/*
 * How it works
 *
 * In a sandbox an offer that leads to an address of its own network is a mapped port of the gate,
 * and nothing is listened at. Every other offer, and all of a plain host, is held at the gate and
 * relayed; a name is looked up for each connection.
 *
 * TCP: a listener inside at VIP:listen_port. The packet that begins a connection is held until the
 * target has accepted ours: then it is let in, the kernel of the namespace completes the handshake,
 * and the accepted socket meets the one of the target (syns). If the target refuses, the peer gets
 * a RST in answer to its SYN: it sees a refusal, not an end. Retransmissions meanwhile are
 * swallowed. UDP: a socket inside at VIP:listen_port, and a socket to the target for each client.
 *
 * Entries, on a plain host only: mesh/agent/entries.
 *
 * Each port is for itself: one that cannot be bound, or a host whose VIP is an address of this one,
 * is a line and in the report, and all others work. Ports are tried again (conn/service).
 */
struct role;

struct role_start {
	bool is_sandbox;
	const struct conn_context *context;
	struct stack *stack;
	struct gate *gate;
	struct estate *estate;     /* of what is entered */
	struct nameservice *names; /* whose sockets these are; NULL: there is none */
	struct outlet *outlet;     /* where ports that are no offers lead; NULL: nowhere */
	const struct syns_ops *syns_ops;
	void *syns_owner;
	/* from the loop: the report says something else; NULL: nobody wants to know */
	void (*on_change)(void *owner);
	void *owner;
};

/* What is in @start stays the caller's. Returns NULL with errno set. */
struct role *role_new(const struct role_start *start);

/* Ends all connections. NULL is allowed. */
void role_free(struct role *role);

/* enum mesh_feature bits */
unsigned role_features(bool is_sandbox);

/*
 * The first time, or again: what was there before and still is in @config stays open, even if it
 * leads elsewhere now; connections of what is not in it go on to their end, those that are not
 * complete yet are refused. Sockets come from the pool: while it is empty this waits for it, as
 * stack_ops.open_bound says. Returns 0, also if some ports are missing, or -errno with @err filled;
 * what could be done is done then.
 */
int role_configure(struct role *role, const struct mesh_config *config, struct err *err);

/* Another agent has gone, and what it had in the same namespace: routes that we take for ours. */
void role_on_takeover(struct role *role);

/* Keep all that is entered, and have what was kept (estate.tell_all). */
void role_keep(struct role *role);

/* What of it does not work now. */
void role_report(const struct role *role, struct mesh_report *out);

/* The addresses of all other hosts, sorted; there until the next role_configure. */
const struct in_addr *role_peers(const struct role *role, size_t *count);

/* Where our port @port leads from this agent's own network. Returns 0; 1, it is the name
 * server's; or -ECONNREFUSED. */
int role_find_target(
	const struct role *role, enum proto proto, uint16_t port, struct dial_target *out);

/* What it led to was refused or cannot be reached: -errno of conn/dial. */
void role_on_failed(const struct role *role, enum proto proto, uint16_t port, int result);

/* A packet that begins a TCP connection (GATE_HOLD), to an offer or else the outlet's. */
void role_on_syn(struct role *role, const struct packet_view *packet);
