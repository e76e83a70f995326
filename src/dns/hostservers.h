/* SPDX-License-Identifier: Apache-2.0 */
/* dns/hostservers - a forwarder whose servers are those of this host, whatever becomes of them */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "dns/forwarder.h"
#include "dns/zone.h"
#include "util/loop.h"

/* Starts as all zero but for the first three, which are the owner's. */
struct hostservers {
	struct loop *loop;
	struct forwarder *forwarder;
	const char *resolv_conf; /* NULL: this host's */

	/* its own */
	struct zone *zone;
	struct stat seen;
	uint64_t looked_ns;
	size_t count;
};

/* The search domains of @zone, which stays the caller's, are those of this host from the next look
 * on. NULL: of none. */
void hostservers_set_zone(struct hostservers *servers, struct zone *zone);

/* Before a query is answered or passed on: read resolv.conf if it has changed, at most once a
 * second. Returns how many servers there are. */
size_t hostservers_look(struct hostservers *servers);
