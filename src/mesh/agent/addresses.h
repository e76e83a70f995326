/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/addresses - the addresses of the mesh that a stack has, changed as told */
#pragma once

#include "exit/stack.h"

/* Starts as all zero, none, but for what the owner sets. */
struct addresses {
	/* The owner's: a peer that cannot be had, with -errno. It is tried again next time. */
	void (*on_lost)(void *owner, struct in_addr ip, int result);
	void *owner;

	struct in_addr self;
	struct in_addr *peers; /* sorted, each once, without self; owned */
	size_t npeers;
};

void addresses_fini(struct addresses *addresses);

/* The stack may have lost some: the next addresses_set adds all of them. */
void addresses_forget(struct addresses *addresses);

/* Is @ip self or one of the peers? */
bool addresses_has(const struct addresses *addresses, struct in_addr ip);

/*
 * Have @self and @peers (in any order, any number of times, self may be among them; of malloc(3),
 * taken over) and no others.
 * What was there before and still is wanted is not touched, unless self changes. Returns 0, or
 * -errno with @err: it has not got @self, or the stack is gone (-EPIPE); the next call does the
 * rest then, but what was added by one that failed and is not wanted any more stays until self
 * changes.
 */
int addresses_set(struct addresses *addresses, struct stack *stack, struct in_addr self,
	struct in_addr *peers, size_t npeers, struct err *err);
