/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/estate - what an agent has bound outlives it, for the next one */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/addr.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Whatever a plain host listens at is also held by a process of its own (mesh/agent/vault), which
 * belongs to the host and not to the agent: it has the identity that the manager gave (mesh/agent/
 * tenure). An agent that ends without a proper end, by a signal or with its link, leaves it behind.
 * The next one finds it and has the sockets instead of binding; nobody else could bind there in
 * between, and who has connected meanwhile is served. What it does not need is closed.
 *
 * The manager says for how long there may be no agent, and when the end is a proper one. If the
 * keeper dies, another one is started. Where none can be had the agent works without it, and while
 * there is nothing to keep there is none.
 */

/* Starts as all zero, but for what the owner sets. */
struct estate {
	/* the owner sets these */
	struct loop *loop;
	/* From estate_begin or the loop: estate_add all there is, estate_take what is wanted. */
	void (*tell_all)(void *owner);
	void *owner;
	struct loop_io io; /* its fd is -1 */

	/* its own */
	int dir_fd; /* while stay_s is not 0 */
	uint16_t stay_s;
	char name[80]; /* of its socket */
	int pid;       /* of a child of ours, or 0 */
	struct loop_timer retry, settle;
	struct estate_found *found; /* not taken yet */
	size_t nfound;
};

/*
 * Keep for @stay_s without an agent, or (0) not any more, at the place @dir_fd (stays the caller's)
 * and with that identity. Finds what the last agent left. Threads must not be in its way: it forks.
 */
void estate_begin(struct estate *estate, int dir_fd, const char *identity, uint16_t stay_s);

/* The socket that the last agent had there, owned, or -1. */
int estate_take(struct estate *estate, enum proto proto, const struct addr *addr);

/* All that is wanted has been taken: the rest is closed. */
void estate_settle(struct estate *estate);
/* More may be wanted in a moment: that is done in some seconds, unless it is done before. */
void estate_settle_later(struct estate *estate);

/* A socket was opened, or is to be closed; the second waits until the keeper's is. */
void estate_add(struct estate *estate, enum proto proto, const struct addr *addr, int fd);
void estate_remove(struct estate *estate, enum proto proto, const struct addr *addr);

/* No proper end: it stays, with what it has. Before the sockets are closed. */
void estate_let_go(struct estate *estate);

/* A proper end: it has closed everything and ended, or is killed. Once more is fine. */
void estate_end(struct estate *estate);
