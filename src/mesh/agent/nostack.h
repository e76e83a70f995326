/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/nostack - in the place of a stack, where this host lets us have none */
#pragma once

#include "exit/stack.h"
#include "util/list.h"

/*
 * How it works
 *
 * Connections of the mesh are streams then (stream/ferry), and datagrams are packets that are made
 * and read here (stream/parcels); both begin and end in sockets of this host. So there is nothing
 * to set up, no packet of a stack and nobody who listens: what is bound has a descriptor on which
 * nothing ever happens.
 */

/* @why: what a stack could not be had for, or that nobody wants one. Returns NULL with @err filled:
 * no memory. */
struct nostack {
	struct stack stack;
	/* Packets that a stack would have; NULL: they are dropped. */
	void (*on_packet)(void *owner, void *packet, size_t len);
	void *owner;
};

struct stack *nostack_open(const char *why, struct err *err);
