/* SPDX-License-Identifier: Apache-2.0 */
/* dns/zone - the names that we know, and what that means for what is asked */
#pragma once

#include <stddef.h>

#include "dns/query.h"
#include "dns/reply.h"
#include "util/addr.h"

/*
 * What is answered from it, and never asked of anybody else:
 *
 * - a name that was added: its addresses; whatever else is asked of it is not there;
 * - localhost and what is below it (RFC 6761); addresses of 127.0.0.0/8 and of names that were
 * added: their first name, or none (RFC 6303);
 * - what stands below a name without dots, or is a service of any name (_443._tcp.NAME, RFC 8552),
 *   and a name with a search domain behind it, as programs try that, too: there is no such name.
 *   Else names that are nobody's business would be heard outside.
 *
 * A pattern sends what it matches, and is not a name that was added, to a server of its own.
 *
 * All of this is so in the class IN; in another one what is known is refused.
 */
struct zone;

/* Returns NULL with errno set. */
struct zone *zone_new(void);
void zone_free(struct zone *zone); /* NULL is allowed */

/*
 * @name, as people write it, has @addr (its port does not count), too. Returns 0, -EINVAL (no host
 * name), -ENOSPC past REPLY_ADDRS_MAX of them, or -ENOMEM. Who asks for @addr is told the name that
 * it came with first.
 */
int zone_add(struct zone *zone, const char *name, const struct addr *addr);

/* What fnmatch(3) finds to match @pattern is asked of @server. Patterns are tried in their order.
 * Returns 0, -EINVAL or -ENOMEM. */
int zone_add_pattern(struct zone *zone, const char *pattern, const struct addr *server);

/* A search domain of the programs that ask. Returns 0, -EINVAL or -ENOMEM. */
int zone_add_search(struct zone *zone, const char *domain);
/* There are none. */
void zone_forget_search(struct zone *zone);

/*
 * Returns 0 with @out filled (all zero before), which stays good until the zone changes; -EREMOTE:
 * the server in *@server is to be asked; -ENOENT: nothing is known of it.
 */
int zone_find(
	const struct zone *zone, const struct query *query, struct reply *out, struct addr *server);
