/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_flows - who talks through a UDP relay: a table of flows that forgets */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A flow is fresh until both sides have spoken twice, and settled then. Both kinds are kept in the
 * order of their last use. Idle fresh flows are forgotten after UDP_FRESH_S, settled ones after
 * UDP_SETTLED_S. When the table is full a fresh flow (if there is none: a settled one) makes room,
 * so a flood of strangers cannot push out who is being served: of the address that has most of
 * them, the one that was used longest ago. So neither can a flood of one of them push out others
 * who wait for their first answer. Where descriptors are short, targets are shared with whatever
 * else has some of them (util/shares).
 *
 * Datagrams that cannot be delivered yet are held with their flow until their deadline, or until
 * the flow is idle for too long. When those of all flows are too many, the address that has most of
 * them loses its oldest to who has fewer.
 */
#define UDP_FLOWS_MAX      1024
#define UDP_FRESH_S        60
#define UDP_SETTLED_S      180
#define UDP_HELD_MAX       32          /* datagrams a flow */
#define UDP_HELD_BYTES     (64 * 1024) /* a flow */
#define UDP_HELD_ALL_BYTES (4 * 1024 * 1024)

/* Compared as bytes: padding and unused parts are zero. */
struct udp_key {
	struct sockaddr_in6 peer; /* or a sockaddr_in: see sin6_family */
	struct in6_addr local;    /* wildcard listeners: where the client sent to; v4 comes first */
	uint32_t ifindex;         /* of a link-local @local, or what else tells flows apart */
};

struct udp_held {
	struct udp_held *next;
	uint64_t deadline_ns;
	size_t len;
	char bytes[];
};

struct udp_flow {
	/* the owner's */
	void *owner;
	struct loop_io io; /* on the target; fd -1: none yet */
	int where;         /* its socket leads, in the words of who opened it */
	bool is_refused;   /* the client may not be served */

	/* the table's */
	struct udp_key key;
	uint64_t made_ns, used_ns;
	unsigned said_in, said_out; /* datagrams, up to 2 */
	unsigned ring, source;
	struct udp_held *held, **held_end;
	size_t held_count, held_bytes;
	struct list hash_link, use_link;
};

struct udp_flows;

/* @on_forget is called for each flow before it is freed. @budget stays the caller's. Returns NULL
 * with errno set. */
struct udp_flows *udp_flows_new(
	struct budget *budget, void (*on_forget)(struct udp_flow *flow), void *owner);
void udp_flows_free(struct udp_flows *flows);
size_t udp_flows_count(const struct udp_flows *flows);

struct udp_flow *udp_flows_find(const struct udp_flows *flows, const struct udp_key *key);

/* A new flow, used now, with io.fd -1; another one may be forgotten for it. NULL: no memory. */
struct udp_flow *udp_flows_add(struct udp_flows *flows, const struct udp_key *key, uint64_t now_ns);
void udp_flows_forget(struct udp_flows *flows, struct udp_flow *flow);

/*
 * Descriptors are short: who has most of them loses one to @peer, and more of them until
 * there is room for @count (shares_yield): a flow with a target, of any table, those used longest
 * ago and fresh ones first; or a connection, while flows have less than a quarter of all. False:
 * nobody has more than the client.
 */
bool udp_flows_take_from_others(struct budget *budget, const struct addr *peer, size_t count);

/*
 * The target of @flow, which is open and not io.fd yet, counts from now on. Where descriptors are
 * short it takes another's place. False: there is no room for it.
 */
bool udp_flows_take_target(struct udp_flows *flows, const struct udp_flow *flow);
/* It counts no more. */
void udp_flows_give_target(struct udp_flows *flows, const struct udp_flow *flow);

/* While @is_pinned none is forgotten for others' targets. */
void udp_flows_pin(struct udp_flows *flows, bool is_pinned);

/* @count datagrams went by. */
void udp_flows_use(
	struct udp_flows *flows, struct udp_flow *flow, bool is_out, size_t count, uint64_t now_ns);

/* Keep a copy; others may lose theirs for it. Returns false when it is too much. */
bool udp_flows_hold(struct udp_flows *flows, struct udp_flow *flow, const void *bytes, size_t len,
	uint64_t deadline_ns);

/* The oldest datagram that is held, now the caller's to free(3), or NULL. */
struct udp_held *udp_flows_take_held(struct udp_flows *flows, struct udp_flow *flow);

/*
 * Forget idle flows and datagrams held for too long. Returns when to call again, UINT64_MAX: when
 * there is something again.
 */
uint64_t udp_flows_sweep(struct udp_flows *flows, uint64_t now_ns);

/* Call @serve for each flow that holds datagrams, until it returns false. It must not forget any.
 */
void udp_flows_each_held(struct udp_flows *flows, bool (*serve)(struct udp_flow *flow));
