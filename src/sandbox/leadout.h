/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/leadout - the ports inside that lead outwards, at work in the net process */
#pragma once

#include "conn/context.h"
#include "net/plan.h"
#include "sandbox/netproc.h"
#include "util/queue.h"

/*
 * How it works
 *
 * A TCP client inside waits in its SYN (net/syntrap) while the rule's target is dialled, from the
 * host's network: refused, and a RST answers it; accepted, and its SYN is let in, as of what leaves
 * by the TAP (sandbox/outbound). Where there is no trap, and of unix sockets, clients are accepted
 * first (conn/join): a target that refuses is a reset. Datagrams have conn/datagrams; whose target
 * refuses is told so in ICMP (net/refusal).
 *
 * A path of the host is out of reach from here: the supervisor is asked to dial it for a rule
 * (NET_DIAL, conn/beyond), and what it cannot answer in time is given up.
 */
struct leadout;

/* @context: its names and beyond are filled in here. @channel leads to the supervisor. All stays
 * the caller's. Returns NULL with errno set. */
struct leadout *leadout_new(struct conn_context *context, const struct net_plan *plan,
	int guest_diag, struct queue *channel);

/* NET_LEAD_OUT with its listener, NET_LEAD_OUT_TRAP, NET_LEAD_OUT_END or NET_DIALLED; @fd, or -1,
 * is taken over. */
void leadout_on_message(struct leadout *leadout, const struct net_message *message, int fd);
