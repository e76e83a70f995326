/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/guide - the small interface behind which a proxy's ways to its targets lie */
#pragma once

#include <stdint.h>

#include "conn/dial.h"

/*
 * A proxy knows nothing of meshes and routes: whoever runs it says where a host and a port lead. A
 * host is a name or an address as text (IPv6 in brackets or not), as the client gave it; port is in
 * host order.
 */
struct guide;

/* A question on its way; part of its owner, starts as all zero but for a callback. */
struct guide_trip {
	/* dial: a connected, nonblocking socket, now the owner's, or -errno. From the loop. */
	void (*on_dialled)(struct guide_trip *trip, int result);
	/* find: 0 with what conn/dial and conn/datagrams take, whose texts are there until this
	 * returns; or -errno, and @target is NULL. From the loop. */
	void (*on_found)(struct guide_trip *trip, int result, const struct dial_target *target);

	void *own; /* the guide's; NULL: nothing is under way */
};

struct guide_ops {
	/* As dial_start: a socket, -EINPROGRESS, or another -errno of conn/dial. */
	int (*dial)(struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port);
	/*
	 * Where would datagrams go? -EINPROGRESS: on_found will be called; 0: it was called
	 * already; or another -errno and it will not be.
	 */
	int (*find)(struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port);
	/* Nothing happens if it is not under way. */
	void (*cancel)(struct guide *guide, struct guide_trip *trip);
};

/* The first member of each of them. */
struct guide {
	const struct guide_ops *ops;
};

static inline int guide_dial(
	struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port)
{
	return guide->ops->dial(guide, trip, host, port);
}

static inline int guide_find(
	struct guide *guide, struct guide_trip *trip, const char *host, uint16_t port)
{
	return guide->ops->find(guide, trip, host, port);
}

static inline void guide_cancel(struct guide *guide, struct guide_trip *trip)
{
	guide->ops->cancel(guide, trip);
}
