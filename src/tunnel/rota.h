/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/rota - which clients of a tunnel serve which doors of its server, and whose turn it is
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/gates.h"
#include "tunnel/lane.h"
#include "util/list.h"

/*
 * How it works
 *
 * All proxy addresses are one gate (tunnel/gates); the others are what clients have asked for by
 * name. Each of them has those who serve it, which take turns.
 *
 * A caller is a client: all lanes that have its id. All of lennut's clients, which have none, are
 * one. It is forgotten with its last lane.
 */
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

/* Starts as all zero but for the first two, which are the owner's. */
struct rota {
	/* There may be somebody to serve who is held: call rota_match, from the loop. */
	void (*on_news)(struct rota *rota);
	struct gates gates; /* but for on_held */

	/* to read */
	struct gate proxies;
	struct caller lennuts;
	/* how often nobody was held any more */
	uint64_t lulls;

	/* its own */
	struct list callers, busy;
};

/* Returns 0 or -ENOMEM; rota_fini in either case. */
int rota_init(struct rota *rota);

/* There are no lanes any more; who is held is reset. */
void rota_fini(struct rota *rota);

/* The client of that id, perhaps a new one, with one lane more; NULL: no memory. */
struct caller *rota_add_lane(struct rota *rota, const unsigned char id[HAIL_ID_BYTES]);

/* One lane less; @caller may be gone then. */
void rota_lose_lane(struct caller *caller);

/* lane_take, and rota_lose_lane. */
int rota_take_lane(struct lane *lane);

/* @caller serves @gate. Returns 0 or -ENOMEM. */
int rota_join(struct caller *caller, struct gate *gate);

/* @caller serves nothing by name any more; with @is_held others may come for it. */
void rota_leave_named(struct caller *caller, bool is_held);

/* How many gates it serves by name. */
size_t rota_count_named(const struct caller *caller);

/*
 * For each who is held and somebody's turn to serve: call @serve with a lane that waits, which must
 * take either of both away.
 */
void rota_match(struct rota *rota, void (*serve)(struct lane *lane, struct inbound *inbound));
