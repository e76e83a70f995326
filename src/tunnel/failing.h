/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/failing - a target that cannot be reached: a line for people, now and then */
#pragma once

#include <stdint.h>

#include "util/clock.h"
#include "util/log.h"

#define FAILING_LINE_S 60

/* Of one target; starts as zero. */
struct failing {
	uint64_t told_ns; /* 0: never */
	uint64_t untold;
};

/* It failed at @now_ns. How often since the last line, if one is due; else 0. */
static inline unsigned long long failing_is_due(struct failing *failing, uint64_t now_ns)
{
	failing->untold++;
	if (failing->told_ns > 0 && now_ns - failing->told_ns < FAILING_LINE_S * NS_PER_S)
		return 0;
	const unsigned long long times = failing->untold;
	failing->told_ns = now_ns;
	failing->untold = 0;
	return times;
}

/*
 * It failed: a warning if it is the first time, then one in FAILING_LINE_S at most, with how often
 * it was. @name is how the user calls it; none of the texts may hold what others sent unescaped.
 */
static inline void failing_say(struct failing *failing, uint64_t now_ns, const char *name,
	const char *where, const char *why)
{
	const unsigned long long times = failing_is_due(failing, now_ns);

	if (times > 1)
		log_warning(
			"tunnel: %s does not lead anywhere: %s: %s (%llu times since the last line)",
			name, where, why, times);
	else if (times == 1)
		log_warning("tunnel: %s does not lead anywhere: %s: %s", name, where, why);
}

/* One of @address was turned away, as others have as many of the places as there are for it. */
static inline void failing_say_crowd(struct failing *failing, uint64_t now_ns, const char *address)
{
	const unsigned long long times = failing_is_due(failing, now_ns);

	if (times > 1)
		log_warning(
			"tunnel: %s has as many connections as others leave it (%llu were turned "
			"away since the last line)",
			address, times);
	else if (times == 1)
		log_warning("tunnel: %s has as many connections as others leave it", address);
}
