/* SPDX-License-Identifier: Apache-2.0 */
/* exit/portal - an exit at work: one link's packets become connections of this host */
#pragma once

#include "conn/expose.h"
#include "util/err.h"

/*
 * How it works
 *
 * A process of its own for each link, with a loop, a budget and a stack (exit/kernel) of its own:
 * the packets of two entrances have the same addresses.
 *
 * From the link (exit/channel): what begins a connection, datagrams and pings go to exit/exit; the
 * rest of TCP into the stack, where connections are. A packet of none is answered with a RST: it is
 * of an exit that was there before. IPv6 is made IPv4 first (exit/sixfour). The resolver's address
 * (exit/hello) leads to a name server here, which asks this host's, and to nothing else of the
 * stack.
 *
 * From the stack: as many packets as there are into a batch, which goes to the link with one write.
 * The stack rests while that is full.
 *
 * What an entrance can make grow: connections that are begun (conn/syns), flows (conn/udp_flows),
 * listeners (EXIT_LISTENERS_MAX), aliases (SIXFOUR_ALIASES), all of them within one budget of
 * descriptors, and what waits for the link (WIRE_QUEUE_BYTES).
 */
struct portal_start {
	const struct expose *expose;
	int in_fd, out_fd;       /* the portal's, also on failure */
	const char *resolv_conf; /* NULL: this host's */
	int ready_fd;            /* gets READY=1 when it serves, and is closed; -1: none */
};

/*
 * Serve until the link ends or a signal that ends programs comes. Returns 0, or -errno with @err
 * filled: it could not begin, or the link broke.
 */
int portal_run(const struct portal_start *start, struct err *err);
