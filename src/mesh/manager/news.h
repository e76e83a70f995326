/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/news - hosts that have gone: told to an agent when what they sent has arrived */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/loop.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * An agent that hears of a host's end resets its connections with it. But messages overtake packets
 * that wait for the link, the last words of that very host among them. So the news waits until no
 * packet does, NEWS_MS at most: what has waited for so long would not be sent any more (wire/fq).
 * Of a host that is there again it is told at once: connections with that one are not to be reset.
 */
#define NEWS_MS 2000

/* Starts as all zero but for the first three. */
struct news {
	struct loop *loop;
	const struct wire *wire;
	/* Tell it; at most MESSAGE_GONE_MAX at a time. */
	void (*tell)(struct news *news, const struct in_addr *gone, size_t count);

	/* its own */
	struct in_addr *gone;
	size_t count;
	uint64_t end_ns;
	struct loop_timer timer;
};

/* @gone have gone. @is_now: tell it now, with all that waits. Without memory nobody is told. */
void news_add(struct news *news, const struct in_addr *gone, size_t count, bool is_now);

/* Nothing is told any more. */
void news_clear(struct news *news);
