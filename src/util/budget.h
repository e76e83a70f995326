/* SPDX-License-Identifier: Apache-2.0 */
/* util/budget - how many descriptors a process may have, and who counts how many of them */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"
#include "util/shares.h"

/*
 * How it works
 *
 * One struct a process. What comes in numbers is counted: relays, clients that wait, targets of UDP
 * clients, sockets of libslirp, pipes. What a process always has, and the pool of sockets that
 * belong to a namespace (conn/inside), is not: that is what the reserve is for. Who would begin
 * something new asks for room first, and waits, does without or has who has most give some back
 * (util/shares); who must go on takes what it needs, and the kernel has the last word.
 */
#define BUDGET_RESERVED 96
#define BUDGET_POOL     72  /* of the reserve, what is for that pool, and for a namespace */
#define BUDGET_MIN      128 /* with fewer nobody would ever be served */
#define BUDGET_PLACE    3   /* what one who is led through a link has, mostly */

struct budget {
	size_t max;       /* descriptors this process may have */
	size_t used;      /* of them, those that are counted */
	size_t places;    /* of those led through a link, how many it can carry; 0: any number */
	bool has_no_pool; /* this process has no sockets of a namespace */
	struct shares shares;
};

static inline int budget_demand(size_t max, size_t wanted, struct err *err)
{
	if (max >= wanted)
		return 0;
	return err_set(err, EMFILE,
		"the hard limit of open files is %zu (ulimit -Hn): expected at least %zu", max,
		wanted);
}

/* May a process with @max descriptors, @listeners of them taken, serve? 0, or -errno with @err. */
static inline int budget_check(size_t max, size_t listeners, struct err *err)
{
	return budget_demand(max, BUDGET_MIN + listeners, err);
}

/* The same for one that has no sockets of a namespace. */
static inline int budget_check_bare(size_t max, struct err *err)
{
	return budget_demand(max, BUDGET_MIN - BUDGET_POOL, err);
}

static inline size_t budget_reserve(const struct budget *budget)
{
	return BUDGET_RESERVED - (budget->has_no_pool ? BUDGET_POOL : 0);
}

/* What may still be begun. */
static inline size_t budget_left(const struct budget *budget)
{
	size_t taken = budget->used + budget_reserve(budget);

	return budget->max > taken ? budget->max - taken : 0;
}

/* May something be begun that takes @count more? With 0: is there enough for what has begun? */
static inline bool budget_has_room(const struct budget *budget, size_t count)
{
	return budget->used + count + budget_reserve(budget) <= budget->max;
}

/* The quarter that connections leave to datagrams, and datagrams to connections. */
static inline size_t budget_part_of_flows(const struct budget *budget)
{
	const size_t reserve = budget_reserve(budget);

	return (budget->max > reserve ? budget->max - reserve : 0) / 4;
}

/*
 * May a socket be opened for datagrams, in nobody's place? Nobody says when these end, and a flood
 * of them is cheap: a quarter of what there is stays for connections.
 */
static inline bool budget_has_room_for_flow(const struct budget *budget)
{
	return budget_has_room(budget, 1 + budget_part_of_flows(budget));
}

/* May one more of @addr be led through a link (shares_has_place)? */
static inline bool budget_has_place(struct budget *budget, const struct addr *addr)
{
	const size_t total = shares_total(&budget->shares);
	size_t left = budget_left(budget) / BUDGET_PLACE;

	if (budget->places > 0 && left + total > budget->places)
		left = total < budget->places ? budget->places - total : 0;
	return shares_has_place(&budget->shares, addr, left);
}

/* Count @count more, whether or not there is room. */
static inline void budget_take(struct budget *budget, size_t count)
{
	budget->used += count;
}

static inline void budget_give(struct budget *budget, size_t count)
{
	budget->used -= count;
}
