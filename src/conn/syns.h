/* SPDX-License-Identifier: Apache-2.0 */
/* conn/syns - connections of another stack, let in when their target has accepted */
#pragma once

#include <stdbool.h>

#include "conn/context.h"
#include "conn/dial.h"
#include "net/packet.h"
#include "util/addr.h"

/*
 * How it works
 *
 * A connection is known by its two ends, the peer's and the one that is asked for, from its first
 * packet to the end of its relay. What the packet looks like is its owner's business:
 *
 *   DIALLING   the packet is kept, the last one of them
 *   LET_IN     the target has accepted and waits for the peer to be accepted here; the packet
 *              again is let in, the kernel knows what it is worth
 *   RELAYED    the same. So a packet that was sent again because dialling took long reaches the
 *              kernel, not the target. With another number it is of another connection between the
 *              same ends: then the peer has forgotten this one, which is reset
 *
 * The first two are pending: SYNS_MAX of them at most, in order of their deadlines (a peer that
 * never completes costs the target's descriptor for SYNS_LET_IN_MS), and a quarter of them from one
 * address. What is too much is dropped: the peer will send it again. While descriptors are short,
 * the address with the most connections loses one to each that has fewer (util/shares). Where
 * all are of one peer (is_one_peer) it may have all there is, and takes nothing from others; those
 * may take from it (util/shares).
 *
 * Who can tell whether a peer still waits (is_waiting) is asked before a connection is let in whose
 * target has taken its time, and once in SYNS_LOOK_MS while a target is dialled: nobody dials on
 * for who has given up.
 */
#define SYNS_MAX          4096
#define SYNS_LET_IN_MS    30000
#define SYNS_LOOK_MS      1000
#define SYNS_PACKET_BYTES 1500 /* the largest first packet that is taken */

/* A packet that begins a connection, and between whom. */
struct syns_packet {
	struct addr peer, own;
	void *bytes; /* any bytes to which that applies */
	size_t len;
	uint32_t number; /* the first sequence number; 0: not known */
};

/* The owner's; none may call back. The packet is gone afterwards. */
struct syns_ops {
	/* into the namespace, whose kernel completes the connection: it is accepted there */
	void (*let_in)(void *owner, const struct syns_packet *packet);
	/* the peer shall hear that its target was refused or cannot be reached: -errno of conn/dial
	 */
	void (*refuse)(void *owner, const struct syns_packet *packet, int result);
	/* the target of our end @own was refused or cannot be reached: -errno of conn/dial;
	 * NULL: nobody wants to know */
	void (*failed)(void *owner, const struct addr *own, int result);
	/* is there still somebody who waits at @peer for @own? NULL: as far as is known */
	bool (*is_waiting)(void *owner, const struct addr *peer, const struct addr *own);
	bool is_one_peer; /* all are of one, whatever their addresses */
};

struct syns;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct syns *syns_new(const struct conn_context *context, const struct syns_ops *ops, void *owner);

/* Ends all, relays too, with resets; tells nobody. NULL is allowed. */
void syns_free(struct syns *syns);

/* It has SYN and no ACK. Not kept if it is larger than SYNS_PACKET_BYTES. */
void syns_on_packet(
	struct syns *syns, const struct syns_packet *packet, const struct dial_target *target);

/* Is there one between these ends, in whatever state? */
bool syns_has(const struct syns *syns, const struct addr *peer, const struct addr *own);

/* The same for whatever peer. Looks at one after the other. */
bool syns_is_asked(const struct syns *syns, const struct addr *own);

/* @fd was accepted at @own: join it to its target and take it over. False: it has none. */
bool syns_meet(struct syns *syns, const struct addr *peer, const struct addr *own, int fd);

/* Nobody listens at @own any more, which may be the wildcard: refuse what is pending there. */
void syns_drop(struct syns *syns, const struct addr *own);

/* An IPv4 packet as it came. */
static inline struct syns_packet syns_packet_of(const struct packet_view *view)
{
	return (struct syns_packet){.peer = addr_of4(view->src.ip, view->src.port),
		.own = addr_of4(view->dst.ip, view->dst.port),
		.bytes = view->ip,
		.len = view->len};
}
