/* SPDX-License-Identifier: Apache-2.0 */
/* util/shares - who has how many of a process's descriptors, and who loses one to whom */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

/*
 * How it works
 *
 * Connections and flows of datagrams are counted by the address of who has them, whatever its port
 * (of IPv6 the network, which has addresses for everything); some addresses have a count in common,
 * but not those of one block of 1024 neighbours, nor any with 127.0.0.1, and which ones have nobody
 * can choose.
 * Those who keep them are parts: where there is no room for one more, the address that has most
 * loses one to each that has fewer, of the kind that it has more of. Where only flows may end, only
 * these are compared.
 *
 * Where nobody's may be ended, an address has at most half of what the others leave: whatever one
 * does, there is a place for the next one.
 */
#define SHARES_BITS    10
#define SHARES_HERE    (1u << SHARES_BITS) /* of 127.0.0.1 */
#define SHARES_SOURCES (SHARES_HERE + 1)

/* SHARES_LED: on its way, or datagrams in a stream; nobody's to end, and counted for places only.
 */
enum shares_kind { SHARES_CONNECTIONS, SHARES_FLOWS, SHARES_LED, SHARES_KINDS };

/* Who keeps some of them. */
struct shares_part {
	/* the owner's */
	enum shares_kind kind;
	/* Count what is not counted yet; NULL: all is. */
	void (*learn)(struct shares_part *part);
	/* End one of @source, the one that will be missed least. False: there is none, or none can
	 * be ended now. */
	bool (*yield)(struct shares_part *part, unsigned source);

	struct shares_part *next;
};

/* Starts as all zero. */
struct shares {
	struct shares_part *parts;
	uint64_t seed; /* of this process's own; 0: none yet */
	unsigned counts[SHARES_KINDS][SHARES_SOURCES];
	unsigned totals[SHARES_KINDS];
};

/* Below SHARES_SOURCES. What has no address, such as a unix socket, and ::1 count as 127.0.0.1. */
unsigned shares_source(struct shares *shares, const struct addr *addr);

/* May @addr have one more, where there are places for @left? Who counts as 127.0.0.1 may have all
 * of them. */
bool shares_has_place(struct shares *shares, const struct addr *addr, size_t left);

/* All that are counted. */
size_t shares_total(struct shares *shares);

/* A flow of @addr's own ends, if it has one: the one that will be missed least. */
bool shares_end_own_flow(struct shares *shares, const struct addr *addr);

/* One of @source is there, or is no more. */
void shares_take(struct shares *shares, enum shares_kind kind, unsigned source);
void shares_give(struct shares *shares, enum shares_kind kind, unsigned source);

/* @part stays the owner's, and until shares_leave. */
void shares_join(struct shares *shares, struct shares_part *part);
void shares_leave(struct shares *shares, struct shares_part *part);

/*
 * There is no room for another one of @addr, which has @pending more than are counted. Does one of
 * another address end, which has more even so? Then true, once it has. Whoever asks takes it: what
 * can still fail is tried before. Not from a callback of what may end.
 */
bool shares_yield(
	struct shares *shares, const struct addr *addr, size_t pending, bool is_flows_only);
