/* SPDX-License-Identifier: Apache-2.0 */
/* exit/syns - connections from the mesh, let in when their target has accepted */
#pragma once

#include <stdbool.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "net/packet.h"

/*
 * How it works
 *
 * A connection is known by its two ends, the peer's and ours, from its first packet to the end of
 * its relay:
 *
 *   DIALLING   the packet is kept; the same again is swallowed
 *   LET_IN     the target has accepted and waits for the peer to be accepted here; the packet
 *              again is let in, the kernel knows what it is worth
 *   RELAYED    the same. So a packet that was sent again because dialling took long reaches the
 *              kernel, not the target
 *
 * The first two are pending: SYNS_MAX of them at most, in order of their deadlines (a peer that
 * never completes costs the target's descriptor for SYNS_LET_IN_MS), and a quarter of them from one
 * address. What is too much is dropped: the peer will send it again. While descriptors are short,
 * the address with the most connections loses one to each that has fewer (relay_pool_yield).
 */
#define SYNS_MAX          4096
#define SYNS_LET_IN_MS    30000
#define SYNS_PACKET_BYTES 1500 /* the largest first packet that is taken */

/* The owner's; neither may call back. The packet is gone afterwards. */
struct syns_ops {
	/* into the namespace, whose kernel completes the connection: it is accepted there */
	void (*let_in)(void *owner, const struct packet_view *packet);
	/* the peer shall hear that its target was refused or cannot be reached: -errno of conn/dial
	 */
	void (*refuse)(void *owner, const struct packet_view *packet, int result);
	/* the target of our end @own was refused or cannot be reached: -errno of conn/dial;
	 * NULL: nobody wants to know */
	void (*failed)(void *owner, struct packet_end own, int result);
};

struct syns;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct syns *syns_new(const struct conn_context *context, const struct syns_ops *ops, void *owner);

/* Ends all, relays too, with resets; tells nobody. NULL is allowed. */
void syns_free(struct syns *syns);

/* A TCP packet with SYN and without ACK. Not kept if it is larger than SYNS_PACKET_BYTES. */
void syns_on_packet(
	struct syns *syns, const struct packet_view *packet, const struct dial_target *target);

/* Is there one between these ends, in whatever state? */
bool syns_has(const struct syns *syns, struct packet_end peer, struct packet_end own);

/* @fd was accepted at @own: join it to its target and take it over. False: it has none. */
bool syns_meet(struct syns *syns, struct packet_end peer, struct packet_end own, int fd);

/* Nobody listens at @own any more: refuse what is pending there. */
void syns_drop(struct syns *syns, struct packet_end own);
