/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/landings - streams of other hosts, and the sockets of this one that they lead to */
#pragma once

#include "conn/context.h"
#include "conn/dial.h"
#include "net/packet.h"
#include "stream/track.h"
#include "util/list.h"
#include "util/shares.h"

/*
 * How it works
 *
 * What a stream asks for is dialled; the stream is accepted when that has accepted, and refused as
 * it was. Where descriptors are short the host with the most of them loses one to each that has
 * fewer (util/shares): the one that has been at rest longest.
 */

struct landings_ops {
	/* Where @to leads, for @peer; @port: of this host, or 0. Returns 0; 1, it is the name
	 * server's; or -errno of conn/dial. */
	int (*find)(void *owner, struct in_addr peer, struct packet_end to, uint16_t *port,
		struct dial_target *out);
	/* A client of the name server, @peer's, from now on the owner's. */
	void (*on_names)(void *owner, int fd, struct in_addr peer);
	/* What @port leads to has refused, or cannot be reached. */
	void (*on_failed)(void *owner, uint16_t port, int result);
};

/* Starts as all zero. */
struct landings {
	const struct conn_context *context;
	const struct landings_ops *ops;
	void *owner;
	struct list all; /* the newest first */
	struct shares_part part;
};

/* All stay the caller's. */
void landings_open(struct landings *landings, const struct conn_context *context,
	const struct landings_ops *ops, void *owner);

/* When all tracks are over. Fine for one that was never opened. */
void landings_close(struct landings *landings);

/* A track that @peer has begun; its user is ours from now on. */
void landings_begin(
	struct landings *landings, struct track *track, struct in_addr peer, struct packet_end to);

/* It is over. */
void landings_end(struct track *track);
