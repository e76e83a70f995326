/* SPDX-License-Identifier: Apache-2.0 */
/* util/clock - units of time, and the clock that never goes back */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define MS_PER_S  1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

/* CLOCK_MONOTONIC. In a callback of the loop, loop_now_ns costs nothing. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Do nothing for @ms, or until a signal. Not in a loop's callback. */
static inline void clock_pause_ms(unsigned ms)
{
	const struct timespec pause = {
		.tv_sec = ms / MS_PER_S, .tv_nsec = (long)(ms % MS_PER_S * NS_PER_MS)};

	nanosleep(&pause, NULL);
}

/*
 * Looking again and again for what tells nobody when it comes to pass:
 *
 *	for (struct clock_wait wait = clock_wait_start(ms); !has_come(); )
 *		if (!clock_wait_go_on(&wait))
 *			return -ETIMEDOUT;
 *
 * However long a look takes, the wait ends after @ms. The pauses grow, so that many who wait side
 * by side leave time to what they wait for.
 */
struct clock_wait {
	uint64_t deadline_ns;
	unsigned pause_ms;
};

#define CLOCK_WAIT_PAUSE_MAX_MS 32

static inline struct clock_wait clock_wait_start(uint64_t ms)
{
	return (struct clock_wait){clock_now_ns() + ms * NS_PER_MS, 1};
}

/* How long the pause is now. */
static inline unsigned clock_wait_next_ms(struct clock_wait *wait)
{
	unsigned pause_ms = wait->pause_ms;

	if (wait->pause_ms < CLOCK_WAIT_PAUSE_MAX_MS)
		wait->pause_ms *= 2;
	return pause_ms;
}

/* Pause. Returns false, at once, when the time is over. */
static inline bool clock_wait_go_on(struct clock_wait *wait)
{
	if (clock_now_ns() >= wait->deadline_ns)
		return false;
	clock_pause_ms(clock_wait_next_ms(wait));
	return true;
}

/* The milliseconds from @now_ns to @deadline_ns, rounded up; 0 when it has passed. */
static inline uint64_t clock_ms_until(uint64_t deadline_ns, uint64_t now_ns)
{
	return deadline_ns > now_ns ? (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
}
