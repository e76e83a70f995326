/* SPDX-License-Identifier: Apache-2.0 */
/* stream/parcels - datagrams of the mesh without a stack: packets here, sockets there */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "net/packet.h"

/*
 * How it works
 *
 * Who sends from one port to one port is a flow (conn/udp_flows). One that begins in the mesh has a
 * connected socket to what that port leads to; one that begins here has a pair of unix sockets,
 * whose other end is for who dials, and a port of its own. What a socket has is made a packet when
 * there is room for one (parcels_take); until then it waits in the socket.
 */
struct parcels;

struct parcels_ops {
	/* parcels_take has something. */
	void (*on_packets)(void *owner);
	/* Where our UDP port leads, for @peer. Returns 0 or -errno: nowhere. */
	int (*find)(void *owner, struct in_addr peer, uint16_t port, struct dial_target *out);
	/* What it leads to has refused what @packet's sender sent: -errno of conn/dial. */
	void (*on_refused)(void *owner, const struct packet_view *packet, int result);
};

/* All but the result stay the caller's. Returns NULL with errno set. */
struct parcels *parcels_new(
	const struct conn_context *context, const struct parcels_ops *ops, void *owner);
void parcels_free(struct parcels *parcels); /* NULL is allowed */

/* A UDP packet for us, which the gate has let in. */
void parcels_in(struct parcels *parcels, const struct packet_view *packet);

/* What @sent, of ours, was for refuses it: who dialled is refused with the next one. */
void parcels_on_refused(struct parcels *parcels, const struct packet_view *sent);

/* The next packet from @self; 0: there is none. */
size_t parcels_take(
	struct parcels *parcels, struct in_addr self, unsigned char *packet, size_t cap_bytes);

/* A connected socket for datagrams to @to, or -errno. */
int parcels_dial(struct parcels *parcels, const struct addr *to);
