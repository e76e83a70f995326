/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/carrier - a tunnel's connections over one link: opened, lost, and opened again */
#pragma once

#include <stdint.h>

#include "link/linkend.h"
#include "tunnel/bundle.h"

/*
 * How it works
 *
 * A linkend whose descriptors are a bundle's. When either has ended both do, and with them all
 * connections; then the link is opened again, after pauses that grow, for ever. What was inherited
 * (stdin and stdout) cannot be: on_closed is the last of it.
 */
struct carrier_ops {
	/* The other end has answered: carrier_dial works from now on. */
	void (*on_up)(void *owner);
	/* The other end has begun a connection: nonblocking, the owner's. */
	void (*on_connection)(void *owner, int fd);
	/* After on_up: the connections have ended. */
	void (*on_down)(void *owner);
	/* Why it was closed, or could not be opened; it is tried again unless @is_last. */
	void (*on_closed)(void *owner, const char *why, bool is_last);
};

/* Starts as all zero but for the first five, which are the owner's. */
struct carrier {
	const struct carrier_ops *ops;
	void *owner;
	/* context, spec, children, nofile, shares_terminal, key, role and purpose are the owner's
	 */
	struct linkend end;
	bool is_asker;
	uint64_t dead_ms; /* an end that is silent for so long is dead */

	/* its own */
	struct bundle bundle;
	bool is_up;
};

/* Returns 0, or -errno with @err filled; carrier_close in either case. */
int carrier_open(struct carrier *carrier, struct err *err);

/* A new connection to the other end: nonblocking, the caller's; or -errno. */
int carrier_dial(struct carrier *carrier);

/* No callback comes after it. Fine for all zero. */
void carrier_close(struct carrier *carrier);
