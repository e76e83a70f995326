/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#pragma once

#include "conn/context.h"
#include "conn/dial.h"
#include "conn/udp_flows.h"

/*
 * A name is resolved when a client is new, and its first address is taken; when that refuses or
 * cannot be reached, the next one is, and so on. What the client sends meanwhile waits, for some
 * seconds at most. So does what comes while the pool of inside sockets is
 * empty. A target that is a path gets nothing.
 */
struct datagrams;

/*
 * Relay from now on. @on_failed (NULL: nobody) is told when the target (of a name, the last of its
 * addresses) refused a datagram of @flow, cannot be reached or is unknown: -errno of conn/dial. @fd
 * (bound, nonblocking) stays the caller's, open until datagrams_free. So does @target, which may
 * change: new clients go where it leads then. Returns NULL with errno set.
 */
struct datagrams *datagrams_new(const struct conn_context *context, int fd,
	const struct dial_target *target,
	void (*on_failed)(void *owner, const struct udp_flow *flow, int result), void *owner);

/* Ends its flows, too. NULL is allowed. */
void datagrams_free(struct datagrams *datagrams);
