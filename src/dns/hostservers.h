/* SPDX-License-Identifier: Apache-2.0 */
/* dns/hostservers - a forwarder whose servers are those of this host, whatever becomes of them */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "dns/forwarder.h"
#include "util/loop.h"

/* Starts as all zero but for the first three, which are the owner's. */
struct hostservers {
	struct loop *loop;
	struct forwarder *forwarder;
	const char *resolv_conf; /* NULL: this host's */

	/* its own */
	struct stat seen;
	uint64_t looked_ns;
	size_t count;
};

/* Before a query is passed on: read resolv.conf if it has changed, at most once a second. Returns
 * how many servers there are. */
size_t hostservers_look(struct hostservers *servers);
