/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#pragma once

#include "conn/context.h"
#include "conn/dial.h"

/*
 * A name is resolved when a client is new, and its first address is taken; what the client sends
 * meanwhile waits, for some seconds at most. So does what comes while the pool of inside sockets is
 * empty. A target that is a path gets nothing.
 */
struct datagrams;

/*
 * Relay from now on. @fd (bound, nonblocking) stays the caller's, open until datagrams_free. So
 * does @target, which may change: new clients go where it leads then. Returns NULL with errno set.
 */
struct datagrams *datagrams_new(
	const struct conn_context *context, int fd, const struct dial_target *target);

/* Ends its flows, too. NULL is allowed. */
void datagrams_free(struct datagrams *datagrams);
