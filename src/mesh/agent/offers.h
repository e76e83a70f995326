/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/offers - serve what a host offers at its VIP by relays to where it runs */
#ifndef NSWRAP_MESH_AGENT_OFFERS_H
#define NSWRAP_MESH_AGENT_OFFERS_H

#include <stddef.h>

#include "conn/context.h"
#include "mesh/agent/stack.h"
#include "mesh/agent/syns.h"
#include "mesh/config.h"
#include "util/err.h"

/*
 * How it works
 *
 * TCP: a listener inside at VIP:listen_port. The packet that begins a connection is held
 * (offers_on_syn) until the target has accepted ours: then it is let in, the kernel of the
 * namespace completes the handshake, and the accepted socket meets the one of the target. If the
 * target refuses, the peer gets a RST in answer to its SYN: it sees a refusal, not an end.
 * Retransmissions meanwhile are swallowed. A name is looked up for each connection.
 *
 * UDP: a socket inside at VIP:listen_port, and a socket to the target for each client (forward/
 * udp_relay).
 */
struct offers;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct offers *offers_new(const struct conn_context *context, struct stack *stack,
	const struct syns_ops *syns_ops, void *owner);

/* Ends what is offered and its connections. NULL is allowed. */
void offers_free(struct offers *offers);

/*
 * Serve @list at @self, an address of the namespace by now. What was served before and still is in
 * the list stays open, even if it leads elsewhere now; connections of what is not in it go on to
 * their end, those that are not complete yet are refused. Sockets come from the pool: while it is
 * empty this waits for it, up to OFFERS_SOCKET_MS each. Returns 0, or -errno with @err naming the
 * port; then nothing is served (what was before is gone, too).
 */
int offers_configure(struct offers *offers, struct in_addr self, const struct mesh_offer *list,
	size_t count, struct err *err);

/* A packet that begins a TCP connection (GATE_HOLD); dropped if it is for none of them. */
void offers_on_syn(struct offers *offers, const struct packet_view *packet);

#endif
