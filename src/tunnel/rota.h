/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/rota - which clients of a tunnel serve which doors of its server, and whose turn it is
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/context.h"
#include "tunnel/door.h"
#include "tunnel/lane.h"
#include "tunnel/order.h"
#include "util/list.h"

#define ROTA_GATES_MAX 256        /* by name, of all clients together */
#define ROTA_TRIES_MAX ORDERS_MAX /* to listen in a second: one takes milliseconds at worst */

/*
 * How it works
 *
 * A gate is a door and who serves it, those whose turn it was last. All proxy addresses are one
 * gate; the others are what clients have asked for by name, and those that ask for the same have
 * one gate together. When the last of them has left it stays for hold_ms, if it is to be held and
 * nobody else wants its place.
 *
 * A caller is a client: all lanes that have its id. All of lennut's clients, which have none, are
 * one. It is forgotten with its last lane.
 */
struct gate {
	struct rota *rota;
	struct door door;
	struct order order; /* what was asked for; the proxies' has no name */
	struct addr addr;   /* and where is listened */

	/* the rota's */
	struct list at, busy;
	struct list members;
	struct loop_timer end; /* nobody serves it any more */
};

struct caller {
	struct rota *rota;
	struct list waiting; /* lanes to be used; the owner puts them in */

	/* the owner's */
	struct lane *control;
	size_t wanted; /* lanes that it was asked for */
	uint64_t lull; /* when */

	/* the rota's */
	struct list at;
	unsigned char id[HAIL_ID_BYTES];
	size_t nlanes;
	struct list members;
};

/* Starts as all zero but for the first four, which are the owner's. */
struct rota {
	const struct conn_context *context;
	uint64_t hold_ms;
	/* There may be somebody to serve who is held: call rota_match, from the loop. */
	void (*on_news)(struct rota *rota);
	/* Of a door, see there; of a gate that closes, whose inbounds may not come back. */
	void (*on_given_up)(struct inbound *inbound);
	void (*on_closing)(struct gate *gate);

	/* to read */
	struct gate proxies;
	struct caller lennuts;
	struct list gates; /* by name */
	/* how often nobody was held any more */
	uint64_t lulls;

	/* its own */
	struct list callers, busy;
	size_t ngates;
	uint64_t tries_since_ns;
	unsigned tries; /* to listen, in that second */
};

/* Returns 0 or -ENOMEM; rota_fini in either case. */
int rota_init(struct rota *rota);

/* There are no lanes any more; who is held is reset. */
void rota_fini(struct rota *rota);

/* The client of that id, perhaps a new one, with one lane more; NULL: no memory. */
struct caller *rota_add_lane(struct rota *rota, const unsigned char id[HAIL_ID_BYTES]);

/* One lane less; @caller may be gone then. */
void rota_lose_lane(struct caller *caller);

/*
 * The gate for @order, perhaps a new one. Returns 0, or -errno with @err filled: its place is
 * another one's, or taken.
 */
int rota_open(struct rota *rota, const struct order *order, struct gate **out, struct err *err);

/* @caller serves @gate. Returns 0 or -ENOMEM. */
int rota_join(struct caller *caller, struct gate *gate);

/* @caller serves nothing by name any more; with @is_held others may come for it. */
void rota_leave_named(struct caller *caller, bool is_held);

/* How many gates it serves by name. */
size_t rota_count_named(const struct caller *caller);

bool rota_is_proxies(const struct gate *gate);

/* How many serve it. */
size_t rota_count_members(const struct gate *gate);

/*
 * For each who is held and somebody's turn to serve: call @serve with a lane that waits, which must
 * take either of both away.
 */
void rota_match(struct rota *rota, void (*serve)(struct lane *lane, struct inbound *inbound));
