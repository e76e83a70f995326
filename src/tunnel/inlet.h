/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/inlet - where connections, or datagrams, come in that are led through a tunnel */
#pragma once

#include "conn/accept.h"
#include "conn/bind.h"
#include "conn/context.h"
#include "conn/udp_relay.h"
#include "util/addr.h"
#include "util/err.h"

/*
 * How it works
 *
 * A connection is handed to the owner as it is. Datagrams of one sender are a flow (conn/udp_relay)
 * with a pair of SOCK_SEQPACKET sockets, one of which the owner gets: it reads and writes its
 * datagrams there, and the end of either one is the end of the flow; what comes then is a new one.
 * Where its address has no place left, one of its own flows gives way.
 */
struct inlet {
	/* the owner's: nonblocking, the owner's from now on, not counted in the budget */
	void (*on_inbound)(struct inlet *inlet, int fd, const struct addr *peer);
	/* One was reset, or a datagram lost: that address has no place left (budget_has_place). */
	void (*on_turned_away)(struct inlet *inlet, const struct addr *peer);
	void *owner;

	/* its own */
	const struct conn_context *context;
	enum proto proto;
	struct bound bound;
	struct acceptor acceptor;
	struct udp_relay *datagrams;
};

/* Port 0 in @at becomes the one that was picked. Returns 0, or -errno with @err filled; without it
 * nobody looks who has the port. */
int inlet_open(struct inlet *inlet, const struct conn_context *context, struct addr *at,
	enum proto proto, struct err *err);

/* Flows end. Fine if it is not open. */
void inlet_close(struct inlet *inlet);
