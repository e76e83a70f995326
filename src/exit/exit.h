/* SPDX-License-Identifier: Apache-2.0 */
/* exit/exit - packets for addresses beyond this host become connections and datagrams of it
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "conn/context.h"
#include "conn/expose.h"
#include "net/packet.h"
#include "util/addr.h"

/*
 * How it works
 *
 * TCP: the packet that begins a connection is held until its destination has accepted ours
 * (conn/syns), and refused as that was: refused, unreachable, or silent. Then it goes into the
 * stack, where a listener has its port of every address (stack_ops.open_exit); the kernel there
 * completes the connection, and a relay has both. Listeners come with the first connection of a
 * port and go EXIT_IDLE_S after the last one.
 *
 * Datagrams and pings never see the stack (exit/exit_flows).
 *
 * What is not exposed (conn/expose) is answered at once, and counted.
 */
#define EXIT_LISTENERS_MAX 1024
#define EXIT_IDLE_S        60 /* more than a packet is held for, once its target has accepted */

/* The owner's; none may call back. */
struct exit_ops {
	/* as stack_ops.open_exit */
	int (*open_listener)(void *owner, uint16_t port);
	/* into the stack */
	void (*let_in)(void *owner, const struct packet_view *packet);
	/* to the sender of @packet: its destination is unreachable; ICMP_PORT_UNREACH: a RST if it
	 * is TCP */
	void (*refuse)(void *owner, const struct packet_view *packet, uint8_t code);
	/* @packet was refused as its destination is not exposed; NULL: nobody wants to know */
	void (*on_unexposed)(void *owner, const struct packet_view *packet);
	/* Where does @dst lead? False: nowhere, any more. NULL: it is the address. */
	bool (*find)(void *owner, struct packet_end dst, struct addr *out);
	/* whole packets to a peer; each has EXIT_HEADROOM bytes in front that are the owner's */
	void (*send)(void *owner, struct iovec *packets, size_t count);
};
#define EXIT_HEADROOM 28

/* What is exposed has to be by both; NULL: by that one all is that may be. */
struct exit_limits {
	const struct expose *host, *mesh;
};

struct exit;

/* All stay the caller's, what @limits point to as well, and may change. Returns NULL with errno
 * set. */
struct exit *exit_new(const struct conn_context *context, const struct exit_limits *limits,
	const struct exit_ops *ops, void *owner);

/* Ends all connections. NULL is allowed. */
void exit_free(struct exit *exit);

/* A packet from a peer to an address beyond this host: a SYN without ACK (its bytes may go then),
 * UDP, or an ICMP echo request. */
void exit_take(struct exit *exit, const struct packet_view *packet);

/* Is it known from its first packet to the end of its relay? What is left of it then is the
 * stack's. */
bool exit_has(const struct exit *exit, const struct packet_view *packet);

/* Is @to exposed; with port 0: is any of its ports? */
bool exit_exposes(const struct exit *exit, const struct addr *to);

/* How many were not exposed. */
uint64_t exit_unexposed(const struct exit *exit);
