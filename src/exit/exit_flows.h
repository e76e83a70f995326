/* SPDX-License-Identifier: Apache-2.0 */
/* exit/exit_flows - datagrams and pings of peers, sent from this host, and what comes back */
#pragma once

#include "exit/exit.h"

/*
 * How it works
 *
 * Who sends from one port to one port is a flow (conn/udp_flows) with a connected socket of this
 * host's network; so is a row of echo requests with one number, by a socket for pings (icmp(7)).
 * What comes back is put into packets again, as many as there are at once. An error that the socket
 * hears of is told to the peer.
 */
struct exit_flows;

/* @ops (refuse and send) and @context stay the caller's. Returns NULL with errno set. */
struct exit_flows *exit_flows_new(
	const struct conn_context *context, const struct exit_ops *ops, void *owner);
void exit_flows_free(struct exit_flows *flows); /* NULL is allowed */

/* UDP, or an echo request of IPv4 that is for @to. */
void exit_flows_take(
	struct exit_flows *flows, const struct packet_view *packet, const struct addr *to);
