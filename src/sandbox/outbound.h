/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/outbound - TCP from a sandbox to the outside: dialled here, carried by the kernel inside
 */
#pragma once

#include "conn/context.h"
#include "net/plan.h"
#include "net/slirp.h"

/*
 * How it works
 *
 * The net process's part of sandbox/carry. A SYN that asks has passed the guard, which knows where
 * a sandbox may go; it is held (conn/syns) while its destination is dialled: `host` is the loopback
 * of this host, if that is allowed. What came of that is what the program inside hears: a RST, an
 * error in ICMP, silence; or its SYN is written back, is accepted by the listener inside, and both
 * sockets meet in a relay. Who comes to that listener and was not let in is reset.
 */
struct outbound;

struct outbound_start {
	struct conn_context context;
	const struct net_plan *plan;
	struct slirp_stack *slirp;
	int listener4, listener6; /* of the inside; -1: that family is libslirp's */
	int guest_diag;
};

/* All of it stays the caller's, and must outlive this. Returns NULL with errno set. */
struct outbound *outbound_new(const struct outbound_start *start);

/* Connections go with it. NULL is allowed. */
void outbound_free(struct outbound *outbound);
