/* SPDX-License-Identifier: Apache-2.0 */
/* util/budget - how many descriptors a process may have, and who counts how many of them */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * How it works
 *
 * One struct a process. What comes in numbers is counted: relays, clients that wait, targets of UDP
 * clients, sockets of libslirp, pipes. What a process always has, and the pool of sockets that
 * belong to a namespace (conn/inside), is not: that is what the reserve is for. Who would begin
 * something new asks for room first, and waits or does without; who must go on takes what it needs,
 * and the kernel has the last word.
 */
#define BUDGET_RESERVED 96

struct budget {
	size_t max;  /* descriptors this process may have */
	size_t used; /* of them, those that are counted */
};

/* What may still be begun. */
static inline size_t budget_left(const struct budget *budget)
{
	size_t taken = budget->used + BUDGET_RESERVED;

	return budget->max > taken ? budget->max - taken : 0;
}

/* May something be begun that takes @count more? With 0: is there enough for what has begun? */
static inline bool budget_has_room(const struct budget *budget, size_t count)
{
	return budget->used + count + BUDGET_RESERVED <= budget->max;
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
