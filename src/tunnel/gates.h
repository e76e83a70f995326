/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/gates - where a tunnel's server listens for what its clients have asked for by name */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "tunnel/door.h"
#include "tunnel/order.h"
#include "util/list.h"

#define GATES_MAX       4096
#define GATES_SHARE     8          /* and of all descriptors at most this part */
#define GATES_TRIES_MAX ORDERS_MAX /* to listen in a second: one takes milliseconds at worst */

/*
 * How it works
 *
 * A gate is a door and who serves it. Clients that ask for the same have one gate together. When
 * the last of them has left it stays for hold_ms, if it is to be held and nobody else wants its
 * place.
 *
 * Clients that come from one address have at most half of what the others leave: whatever one does,
 * there is a place for the next one.
 */
struct gate {
	struct gates *gates;
	struct door door;
	struct order order; /* what was asked for; one that is not by name has none */
	struct addr addr;   /* and where is listened */

	/* the owner's: who serves it, those whose turn it was last; where it is while somebody is
	 * held */
	struct list members, busy;

	/* its own */
	struct list at;
	struct addr source;    /* of who asked first */
	struct loop_timer end; /* nobody serves it any more */
};

/* Starts as all zero but for the first six, which are the owner's. */
struct gates {
	const struct conn_context *context;
	uint64_t hold_ms;
	/* of a door, see there */
	void (*on_held)(struct door *door);
	void (*on_given_up)(struct inbound *inbound);
	/* It closes; its inbounds may not come back. */
	void (*on_closing)(struct gate *gate);
	void *owner;

	/* to read: by name */
	struct list all;

	/* its own */
	size_t count;
	uint64_t tries_since_ns;
	unsigned tries; /* to listen, in that second */
};

void gates_init(struct gates *gates);

/* Who is held is reset; there is nobody who serves any more. */
void gates_fini(struct gates *gates);

/* One that is not by name, and the owner's: it never closes by itself. */
void gates_prepare(struct gates *gates, struct gate *gate, enum proto proto);

/*
 * The one for @order of a client at @source, perhaps a new one. Returns 0, or -errno with @err
 * filled: its place is another one's, or taken, or there are too many.
 */
int gates_open(struct gates *gates, const struct order *order, const struct addr *source,
	struct gate **out, struct err *err);

/* Nobody serves it any more; with @is_held somebody may come for it. Somebody does. */
void gates_leave(struct gate *gate, bool is_held);
void gates_stay(struct gate *gate);

/* All of them, for status. */
json_t *gates_tell(const struct gates *gates);
