/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/carry - the inside of a sandbox whose kernel carries its outbound TCP itself */
#pragma once

#include "net/plan.h"
#include "util/err.h"

/*
 * How it works
 *
 * Of a connection that a program begins to the outside only the SYN leaves by the TAP, and asks: to
 * a neighbour of its own there (PLAN_ASK_MAC), so that nobody takes it for anything else. The net
 * process dials; when the target has accepted it writes the SYN back (sandbox/outbound). There a
 * transparent socket listens for it, which thereby has the address that was asked for, and all that
 * follows goes over lo between the two:
 *
 *   output, on its way to the TAP     a SYN alone: mark ASK, table ASK: by the neighbour
 *                                     the rest:    mark CARRY, table CARRY: local
 *   in by the TAP, from our own IP    a SYN: to the listener, mark CARRY
 *   in by the TAP, from others        mark TAP: libslirp's connections to servers inside, whose
 *                                     answers have the same mark (tcp_fwmark_accept,
 * fwmark_reflect) and leave by the TAP as ever
 *
 * Sockets of the mint (conn/mint) have the mark CARRY from the start, whatever address they are
 * bound to, and so has what they connect to: clients that come as themselves (forward/guise). That
 * takes the mark and its table only: no TAP, and no rules.
 *
 * What has a mark already, is for the network inside (but `host`), is not for the TAP, or is
 * forwarded for others is left as it is: libslirp knows what to do with it. Nothing here decides
 * who may go where; without it, or when a program with rights undoes it, packets go to libslirp.
 */

/*
 * Both are run by init, for addresses of @family; @nl is net/netdev's. They return a descriptor, or
 * -errno with @err filled, and nothing is changed for connections.
 */

/*
 * The mint, of a namespace where what has its mark is local. @device: the TAP where outbound
 * connections of @family leave by it, as a socket that is bound to that has what is local there
 * only; else lo.
 */
int carry_keep_clients(int family, int nl, int device, struct err *err);

/* Behind it, on the TAP that setup has made: the listener of outbound connections. */
int carry_set_up(const struct net_plan *plan, int family, int nl, int tap, struct err *err);
