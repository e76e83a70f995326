/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/ways - where a host and a port lead: into the mesh, behind one of its hosts, or out of
 * this one */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "exit/stack.h"
#include "mesh/agent/atlas.h"
#include "mesh/agent/via.h"
#include "mesh/config.h"

/*
 * How it works
 *
 * A name of the mesh (a host's or an alias, letters in either case, a final dot does not count) is
 * its VIP. A name that a route's pattern has is asked of the name server of that route's host,
 * through the mesh, and is the first address of the answer; all of them are behind that host from
 * then on (the owner is told). Any other name is looked up here.
 *
 * VIPs and what is behind hosts are reached through the stack, all else from this host, as its
 * user. What a pattern has is reached through the mesh or not at all: another host's name server
 * cannot make this one connect to its own loopback.
 */
struct ways;

#define WAYS_ADDRS_MAX   16 /* that are learnt of one answer */
#define WAYS_QUERY_BYTES 300

struct ways_start {
	const struct conn_context *context;
	struct stack *stack;
	/* @ips are behind host @via from now on, whatever was before. Before anybody is told that a
	 * name has these addresses. May be NULL. */
	void (*on_learnt)(void *owner, const struct in_addr *ips, size_t count, struct in_addr via);
	/* Without a stack, which leads nowhere at this host itself: where does its own port lead?
	 * 0 with @out filled, or -errno of conn/dial. NULL: the stack knows. */
	int (*find_own)(void *owner, enum proto proto, uint16_t port, struct dial_target *out);
	void *owner;
};

/* A question for the name server of another host; part of its owner, starts as all zero but for
 * on_answer. */
struct ways_ask {
	/* Once, from the loop: 0 with @answer, which fits the query, or -errno. */
	void (*on_answer)(struct ways_ask *ask, int result, const uint8_t *answer, size_t len);

	/* its own */
	struct ways *ways;
	struct in_addr host;
	struct via_ask via;
};

/* Where does it lead? Part of its owner, starts as all zero but for on_answer, and proto if that is
 * UDP. */
struct ways_query {
	enum proto proto;
	/* Once, from the loop. @result is 0 with where it leads, which conn/dial and conn/datagrams
	 * take (its texts are there until on_answer returns); or it is -errno of conn/dial, and
	 * @target is NULL. */
	void (*on_answer)(struct ways_query *query, int result, const struct dial_target *target);

	/* its own */
	struct ways *ways;
	struct lookup_query lookup;
	struct ways_ask ask;
	char name[ATLAS_NAME_MAX + 1]; /* as it was asked */
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

/* What is in @start stays the caller's. Returns NULL with errno set. */
struct ways *ways_new(const struct ways_start *start);

/* What was asked must have been answered or cancelled. NULL is allowed. */
void ways_free(struct ways *ways);

/*
 * From now on as @config says, which need not stay. What is under way goes on. What was learnt
 * stays, as far as names still are asked of that host. Returns 0 or -ENOMEM: nothing changed.
 */
int ways_configure(struct ways *ways, const struct mesh_config *config);

/* As atlas_find_host. */
bool ways_find_host(const struct ways *ways, struct in_addr ip, struct in_addr *host);

/* Call @each for every network that is behind another host, and with prefix 32 for what was learnt.
 */
void ways_each_network(const struct ways *ways,
	void (*each)(void *told, struct in_addr ip, int prefix_len), void *told);

/*
 * Where do @host (a name or an address as text, IPv6 in brackets or not; need not stay) and @port
 * lead? Returns 0 with @out filled, whose texts are there for as long as the loop has not run;
 * -EINPROGRESS, on_answer will be called; or another -errno of conn/dial and it will not be.
 */
int ways_find(struct ways *ways, const char *host, uint16_t port, struct ways_query *query,
	struct dial_target *out);

/* Nothing happens if it is not under way. */
void ways_find_cancel(struct ways_query *query);

/* ways_find and conn/dial in one: as dial_start. */
int ways_dial_start(struct ways_dial *dial, struct ways *ways, const char *host, uint16_t port);

/* Nothing happens if it is not under way. */
void ways_dial_cancel(struct ways_dial *dial);

/* Is @name asked of another host? No name of the mesh is. */
bool ways_is_asked(const struct ways *ways, const char *name);

/*
 * Pass @message on, a DNS query for @name (copied), and learn from the answer. Returns 0, and then
 * on_answer is called; -ENOENT, it is asked of no other host; or another -errno.
 */
int ways_ask_start(struct ways_ask *ask, struct ways *ways, const char *name,
	const uint8_t *message, size_t len);

/* Nothing happens if it is not under way. */
void ways_ask_cancel(struct ways_ask *ask);
