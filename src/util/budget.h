/* SPDX-License-Identifier: Apache-2.0 */
/* util/budget - how many descriptors a process may have, and who counts how many of them */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

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
#define BUDGET_MIN      128 /* with fewer nobody would ever be served */

struct budget {
	size_t max;  /* descriptors this process may have */
	size_t used; /* of them, those that are counted */
};

/* May a process with @max descriptors, @listeners of them taken, serve? 0, or -errno with @err. */
static inline int budget_check(size_t max, size_t listeners, struct err *err)
{
	if (max >= BUDGET_MIN + listeners)
		return 0;
	return err_set(err, EMFILE,
		"the hard limit of open files is %zu (ulimit -Hn): expected at least %zu", max,
		BUDGET_MIN + listeners);
}

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
