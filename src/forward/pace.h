/* SPDX-License-Identifier: Apache-2.0 */
/* forward/pace - how often to look for what nobody tells of */
#pragma once

#include <stdint.h>

#include "util/clock.h"

/*
 * How it works
 *
 * A look costs little, waking up for it much more (20 to 40 us of a processor in a virtual
 * machine). So pauses grow with the time that was waited in vain: what comes late is noticed late
 * by a small part of that, and the minute that follows costs as many looks as the first seconds.
 * Where we are woken later than we wanted to be, others need the processors more, and the first
 * pauses are longer, too.
 */
#define PACE_PART    4096 /* of the time that was waited */
#define PACE_MIN_NS  (NS_PER_MS * 3 / 4)
#define PACE_MAX_NS  (20 * NS_PER_MS)
#define PACE_LATE    4               /* times how late we were is the least pause, */
#define PACE_BUSY_NS (4 * NS_PER_MS) /* but no more than this for that reason */
#define PACE_AT_ONCE 32              /* more than this are looked for in longer turns */

struct pace {
	uint64_t since_ns; /* it is waited since then */
	uint64_t due_ns;   /* the next look */
};

static inline void pace_start(struct pace *pace, uint64_t now_ns)
{
	*pace = (struct pace){.since_ns = now_ns, .due_ns = now_ns};
}

static inline uint64_t pace_within(uint64_t ns, uint64_t min_ns, uint64_t max_ns)
{
	return ns < min_ns ? min_ns : ns > max_ns ? max_ns : ns;
}

/* A look at @now_ns was in vain for @count things: the pause before the next one. */
static inline uint64_t pace_next_ns(struct pace *pace, uint64_t now_ns, unsigned count)
{
	const uint64_t late_ns = now_ns > pace->due_ns ? now_ns - pace->due_ns : 0;
	const uint64_t least_ns = pace_within(late_ns * PACE_LATE, PACE_MIN_NS, PACE_BUSY_NS);
	const uint64_t pause_ns =
		pace_within((now_ns - pace->since_ns) / PACE_PART, least_ns, PACE_MAX_NS) *
		(1 + count / PACE_AT_ONCE);

	pace->due_ns = now_ns + pause_ns;
	return pause_ns;
}
