/* SPDX-License-Identifier: Apache-2.0 */
/* stream/ferry - streams between this host and those of its mesh, in packets that any manager
 * routes
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conn/beyond.h"
#include "conn/context.h"
#include "net/packet.h"
#include "stream/track.h"

/*
 * How it works
 *
 * Its packets are IPv4 from the address of one host to that of the other, of FERRY_PROTO. The first
 * byte behind the header says what follows:
 *
 *	0	a packet of QUIC (RFC 9000)
 *	1	here is a host with streams; the second byte says whether it has a stack as well (1)
 *or not (0). A SYN may follow, to which that is the answer. 2	the same, and it is no answered 3
 *an association is not known: the connection ID that a packet had follows
 *
 * A host without a stack says that to those of its mesh, when they come or it does; and to who
 *sends it a SYN. Nobody else begins with it, so hosts that do not know streams hear of them only
 *from who cannot do without. Who has asked a host that does not know of them is told by the manager
 *that there is no such protocol.
 *
 * For each host there is an association that it has begun, and one that was begun here; the second
 * ends when it has had no tracks for a while, the first a good deal later.
 */
#define FERRY_PROTO         254 /* for experiments, RFC 3692 */
#define FERRY_ANSWERERS     2   /* of one host: it may have started again */
#define FERRY_IDLE_S        60
#define FERRY_ANSWER_S      5
#define FERRY_ANSWERER_IDLE 15 /* times as long */
#define FERRY_QUOTE_BYTES   128

struct ferry;

struct ferry_ops {
	/* ferry_take has something. */
	void (*on_packets)(void *owner);
	/* @peer asks for @to: track_accept and track_join, or track_refuse, now or later. */
	void (*on_asked)(
		void *owner, struct track *track, struct in_addr peer, struct packet_end to);
	/* One of those is over; it is gone soon. */
	void (*on_track_over)(void *owner, struct track *track);
	/* This SYN of ours cannot be answered, as its host has no stack; from now on
	 * ferry_is_streamed says so. */
	void (*on_returned)(void *owner, const struct packet_view *syn);
	/* The host that has @ip, or behind which it is. False: none. */
	bool (*find_host)(void *owner, struct in_addr ip, struct in_addr *host);
	/* A connected socket for datagrams to @to, or -errno: there is no stack. */
	int (*dial_datagrams)(void *owner, const struct addr *to);
};

/* All but the result stay the caller's. Returns NULL with errno set. */
struct ferry *ferry_new(
	const struct conn_context *context, const struct ferry_ops *ops, void *owner);

/* Ends all, with resets. NULL is allowed. */
void ferry_free(struct ferry *ferry);

/* The address of this host, and whether it has a stack. All that there was ends if it is another
 * one. */
void ferry_set_self(struct ferry *ferry, struct in_addr self, bool has_stack);

/* @peers are the hosts of the mesh, and no others. A host without a stack says so to those it has
 * not told. Returns 0 or -ENOMEM. */
int ferry_meet(struct ferry *ferry, const struct in_addr *peers, size_t count);

/* These hosts have gone. */
void ferry_forget(struct ferry *ferry, const struct in_addr *peers, size_t count);

/* A packet of FERRY_PROTO from a member to us; and an error in ICMP about one that we have sent. */
void ferry_in(struct ferry *ferry, const struct packet_view *packet);
void ferry_on_error(struct ferry *ferry, struct in_addr peer, uint8_t code);

/* The next packet; 0: there is none. @is_slow: none that takes a slow link long. */
size_t ferry_take(struct ferry *ferry, void *packet, size_t cap_bytes, bool is_slow);

/* This host has no stack and @syn was sent to it. False: whoever sent it knows of no streams, so
 * that it is to be refused. */
bool ferry_return(struct ferry *ferry, const struct packet_view *syn);

/* What is known of the host that has @peer, or behind which it is: has it no stack? Is it certain
 * that it knows of no streams? */
bool ferry_is_streamed(const struct ferry *ferry, struct in_addr peer);
bool ferry_is_foreign(const struct ferry *ferry, struct in_addr peer);

/* Connections to hosts of the mesh by streams: to those without a stack, or to all if this one has
 * none. */
struct beyond *ferry_beyond(struct ferry *ferry);
