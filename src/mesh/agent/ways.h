/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ways - where a host and a port lead: into the mesh, or out of this host */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "mesh/agent/stack.h"
#include "mesh/config.h"

/*
 * How it works
 *
 * A name of the mesh (a host's or an alias, letters in either case, a final dot does not count) is
 * its VIP; a VIP is reached through the stack. All else is reached from this host, as its user.
 */
struct ways;

#define WAYS_NAME_MAX 255 /* of a host name, its final dot included */

/* A question on its way; part of its owner, starts as all zero but for on_answer. */
struct ways_query {
	/* Called once, from the loop. @result is 0 with where it leads, which conn/dial and
	 * conn/datagrams take (its name is there until on_answer returns); or it is -errno of
	 * conn/dial, and @target is NULL. */
	void (*on_answer)(struct ways_query *query, int result, const struct dial_target *target);

	/* its own */
	struct ways *ways; /* NULL: nothing is under way */
	struct lookup_query lookup;
	char name[WAYS_NAME_MAX + 1];
	uint16_t port;
};

/* A connection on its way; part of its owner, starts as all zero but for on_done. */
struct ways_dial {
	/* A connected, nonblocking socket, now the owner's, or -errno. From the loop. */
	void (*on_done)(struct ways_dial *dial, int result);

	/* its own */
	struct ways_query query;
	struct dial dial;
};

/* Both stay the caller's. Returns NULL with errno set. */
struct ways *ways_new(const struct conn_context *context, struct stack *stack);

/* What was asked must have been answered or cancelled. NULL is allowed. */
void ways_free(struct ways *ways);

/* From now on as @config says, which need not stay. What is under way goes on. Returns 0 or
 * -ENOMEM: nothing changed. */
int ways_configure(struct ways *ways, const struct mesh_config *config);

/*
 * Where do @host (a name or an address as text, IPv6 in brackets or not; need not stay) and @port
 * lead? Returns 0 with @out filled, whose name is @query's own; -EINPROGRESS, on_answer will be
 * called; or another -errno of conn/dial and it will not be.
 */
int ways_find(struct ways *ways, const char *host, uint16_t port, struct ways_query *query,
	struct dial_target *out);

/* Nothing happens if it is not under way. */
void ways_find_cancel(struct ways_query *query);

/* ways_find and conn/dial in one: as dial_start. */
int ways_dial_start(struct ways_dial *dial, struct ways *ways, const char *host, uint16_t port);

/* Nothing happens if it is not under way. */
void ways_dial_cancel(struct ways_dial *dial);
