/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crossing - the way of packets between the link and the stack, through the gate */
#pragma once

#include "conn/syns.h"
#include "exit/answer.h"
#include "exit/stack.h"
#include "mesh/agent/gate.h"
#include "util/loop.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * Packets from the link go through the gate and into the stack, one call each. Packets from the
 * stack go through the gate into a batch, where they are written to by the stack itself, and that
 * goes to the link with one write. The stack rests while something waits for the link, unless that
 * is slow: what waits for it takes turns there (wire/wire), and would stand in line here.
 *
 * What the gate does not let through and nobody will ever answer is answered here (exit/answer):
 * over the link, or to the stack as if by the one that it is for.
 */
#define CROSSING_BATCH_BYTES (128 * 1024) /* more is not read at once; one packet may go beyond */

/* Starts as all zero but for the first four, which are the caller's. Nothing is to be freed. */
struct crossing {
	struct loop *loop;
	struct gate *gate;
	struct stack *stack;
	struct wire *wire;
	/* the next packet of the owner's, which goes out as it is, or 0; NULL: there are none */
	size_t (*take_more)(void *owner, unsigned char *packet, size_t cap_bytes, bool is_slow);
	/* what the gate holds on its way out: a SYN of the stack */
	void (*on_held)(void *owner, const struct packet_view *syn);
	void *owner;
	bool is_resting; /* the stack: the link is full */
	struct answers answers;
	unsigned char batch[CROSSING_BATCH_BYTES + FRAME_HEADER_BYTES + FRAME_PACKET_MAX];
	struct iovec frames[WIRE_PARTS_MAX];
};

/*
 * A packet from the link. GATE_HOLD: it begins a connection that is to be held, and @view is of it;
 * GATE_TAKE: it is for an address behind this host, and nothing that the stack knows of. All others
 * are dealt with.
 */
enum gate_verdict crossing_in(
	struct crossing *crossing, struct frame *frame, struct packet_view *view);

/*
 * Every TCP connection of the stack with one of @peers (sorted as memcmp does) that waits for
 * something of it is reset here: its other end is gone. What already came from there can be read.
 */
void crossing_reset(struct crossing *crossing, const struct in_addr *peers, size_t npeers);

/* Into the stack, as it is. */
void crossing_let_in(struct crossing *crossing, const struct packet_view *packet);

/* Say to the sender of @packet, which came from the link, that its destination is unreachable, as
 * if by that: ICMP_PORT_UNREACH is a RST for TCP, as is everything where a connection is there. */
void crossing_answer(struct crossing *crossing, const struct packet_view *packet, uint8_t code);

/* The same for a packet of the stack's own, as if by who it is for: to the stack. */
void crossing_answer_stack(
	struct crossing *crossing, const struct packet_view *packet, uint8_t code);

/* The answer to a ping, where no stack gives it. */
void crossing_answer_ping(struct crossing *crossing, const struct packet_view *ping);

/* The stack, or the owner, has packets, stack_events.on_packets; and the link has room again,
 * wire_ops.on_room. */
void crossing_out(struct crossing *crossing);
void crossing_resume(struct crossing *crossing);

/* What was held: into the stack after all, or answered with a RST. The owner is the crossing. */
extern const struct syns_ops crossing_syns_ops;
