/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/netnames - the sandbox's own name server, in the net process */
#pragma once

#include "conn/inside.h"
#include "net/hairpin.h"
#include "net/plan.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * It is asked at sockets of the inside that init has made: behind a hairpin (net/hairpin) where
 * there is a TAP, else at the name server's address itself, on loopback. What it knows is told by
 * the supervisor (sandbox/resolver), as a whole each time:
 *
 *	{"names": [[NAME, ADDRESS]...], "patterns": [[PATTERN, ADDRESS(, PORT)]...],
 *	 "search": [DOMAIN...], "servers": [{"ip": ADDRESS, "scope": NUMBER}...]}
 *
 * Questions wait in the sockets until it was told the first time: COMMAND may ask before that.
 *
 * A name that is there is answered (dns/zone). What a pattern matches is asked over TCP, from
 * inside, of that port of its address, or of NETNAMES_PORT. The rest goes to the servers, from the
 * host.
 */
#define NETNAMES_PORT 10053 /* where hosts of a mesh have their own name servers */

struct netnames;

/* @udp is bound and @tcp listens (nonblocking); they stay the caller's, like all else, and must
 * stay. Returns NULL with errno set. */
struct netnames *netnames_new(struct loop *loop, struct budget *budget, struct inside *inside,
	const struct net_plan *plan, int udp, int tcp);
void netnames_free(struct netnames *service); /* NULL is allowed */

/* Read what it knows from now on from @fd, to its end. Returns 0 or -errno; nothing has changed
 * then. */
int netnames_read(struct netnames *service, int fd);

/* How the sockets are reached where there is a TAP. */
struct hairpin netnames_hairpin(const struct net_plan *plan, int udp, int tcp);
