/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/door - where inbounds come in, and are held until somebody leads them on */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "tunnel/failing.h"
#include "util/addr.h"
#include "util/err.h"
#include "util/list.h"

/*
 * How it works
 *
 * An inbound is a connection, or the datagrams of one sender (tunnel/inlet). It is in door->held
 * until the owner takes it out for something that may fail (door_take_out), and back after that, in
 * front of the others. What it says waits in the kernel. It is given up when it breaks, and after
 * hold_ms. One whose address has as many as the others leave it (budget_has_place) is refused.
 */
struct inbound {
	struct door *door;
	struct addr peer;
	unsigned source; /* in the shares of the budget, where it counts until it is released */
	void *lane;      /* the owner's: what it was taken out for */

	/* its own */
	struct list at;
	struct loop_io io;
	struct loop_timer timer;
};

struct door_counts {
	uint64_t served, refused, unserved;
};

/* Starts as all zero but for the first six, which are the owner's. */
struct door {
	const struct conn_context *context;
	enum proto proto;
	uint64_t hold_ms;
	/* One is held that was not. */
	void (*on_held)(struct door *door);
	/* It is reset then: if it was taken out, whatever that was for is over. Not to be closed
	 * from here. */
	void (*on_given_up)(struct inbound *inbound);
	uint64_t *turned_away; /* counts those who have no place, too; NULL: nobody else does */
	void *owner;

	/* its own */
	struct list held;
	size_t nheld, nout; /* nout: taken out */
	struct list inlets;
	struct door_counts counts;
	struct failing crowd;
};

void door_init(struct door *door);

/* Inbounds come in there, too; @at and @err as of inlet_open. Returns 0 or -errno. */
int door_listen(struct door *door, struct addr *at, struct err *err);

/* All who are held are reset; there must be none that was taken out. */
void door_fini(struct door *door);

void door_take_out(struct inbound *inbound);
void door_put_back(struct inbound *inbound);

/* The descriptor is the caller's, and counted no more; the inbound is gone. */
int door_release(struct inbound *inbound);

/* It was refused. */
void door_refuse(struct inbound *inbound);
