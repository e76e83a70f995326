/* SPDX-License-Identifier: Apache-2.0 */
/* util/pauses - pauses between attempts, which grow and are never quite the same */
#pragma once

#include <stdint.h>
#include <sys/random.h>

/* Starts as zero; as zero again the next pause is the shortest. */
struct pauses {
	unsigned ms; /* the last one, without its jitter */
};

/*
 * The next pause: twice the last one, from @min_ms to @max_ms; then within a fifth of that, so that
 * those who were lost together do not come back together.
 */
static inline unsigned pauses_next(struct pauses *pauses, unsigned min_ms, unsigned max_ms)
{
	uint16_t chance = UINT16_MAX / 2;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = UINT16_MAX / 2;
	pauses->ms = pauses->ms * 2 < min_ms ? min_ms : pauses->ms * 2;
	if (pauses->ms > max_ms)
		pauses->ms = max_ms;
	return (unsigned)((uint64_t)pauses->ms * 4 / 5 +
			  (uint64_t)pauses->ms * 2 / 5 * chance / UINT16_MAX);
}
