/* SPDX-License-Identifier: Apache-2.0 */
/* conn/beyond - connections to the inside that no kernel carries: what conn/dial has instead */
#pragma once

#include <stdbool.h>

#include "util/addr.h"

/* One on its way; part of its owner, starts as all zero but for on_done. */
struct beyond_call {
	/* A connected, nonblocking socket, now the owner's, or -errno. From the loop. */
	void (*on_done)(struct beyond_call *call, int result);

	void *trip; /* whose way it is knows; NULL: it is not under way */
};

struct beyond {
	/* Is it this way that leads to @at? */
	bool (*leads)(struct beyond *beyond, const struct addr *at, enum proto proto);
	/* As dial_start, whose errors it has. A socket for datagrams is there at once, and @call
	 * may be NULL then. */
	int (*start)(struct beyond *beyond, struct beyond_call *call, const struct addr *to,
		enum proto proto);
	/* Nothing happens if it is not under way. */
	void (*cancel)(struct beyond *beyond, struct beyond_call *call);
};
