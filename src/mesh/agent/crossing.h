/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/crossing - the way of packets between the link and the stack, through the gate */
#ifndef NSWRAP_MESH_AGENT_CROSSING_H
#define NSWRAP_MESH_AGENT_CROSSING_H

#include "mesh/agent/gate.h"
#include "mesh/agent/stack.h"
#include "mesh/wire.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Packets from the link go through the gate and into the stack, one call each. Packets from the
 * stack go through the gate into a batch, where they are written to by the stack itself, and that
 * goes to the link with one write. The stack rests while something waits for the link: packets
 * queue up there, where TCP sees it and slows down.
 */
struct crossing;

/* All but the result stay the caller's. Returns NULL with errno set. */
struct crossing *crossing_new(
	struct loop *loop, struct gate *gate, struct stack *stack, struct wire *wire);
void crossing_free(struct crossing *crossing); /* NULL is allowed */

/*
 * A packet from the link. True: it begins a connection that is to be held, and @view is of it; all
 * others are dealt with.
 */
bool crossing_in(struct crossing *crossing, struct frame *frame, struct packet_view *view);

/* The stack has packets, stack_events.on_packets; and the link has room again, wire_ops.on_room. */
void crossing_out(struct crossing *crossing);
void crossing_resume(struct crossing *crossing);

/* What was held: into the stack after all, or answered with a RST. */
void crossing_let_in(struct crossing *crossing, const struct packet_view *packet);
void crossing_refuse(struct crossing *crossing, const struct packet_view *packet);

#endif
