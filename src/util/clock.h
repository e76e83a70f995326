/* SPDX-License-Identifier: Apache-2.0 */
/* util/clock - units of time, and the clock that never goes back */
#pragma once

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

/* The milliseconds from @now_ns to @deadline_ns, rounded up; 0 when it has passed. */
static inline uint64_t clock_ms_until(uint64_t deadline_ns, uint64_t now_ns)
{
	return deadline_ns > now_ns ? (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
}
