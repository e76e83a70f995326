/* SPDX-License-Identifier: Apache-2.0 */
/* conn/join - accepted clients, each joined to a target that is dialled for it */
#pragma once

#include "conn/context.h"
#include "conn/dial.h"
#include "util/list.h"

/*
 * How it works
 *
 * The client waits while its target is dialled; one that breaks meanwhile is given up at once, a
 * half-closed one is not. Then a relay has both. A target that cannot be reached resets the client.
 */
struct joins {
	const struct conn_context *context;
	/* The target of a client was refused or cannot be reached: -errno of conn/dial, and what
	 * joins_add was told. NULL: nobody wants to know. */
	void (*on_failed)(void *owner, uint16_t id, int result);
	void *owner;
	struct list all;
};

#define JOIN_FDS 2 /* the client, and the target on its way */

/* @context stays the caller's. on_failed and its owner may be set afterwards. */
void joins_init(struct joins *joins, const struct conn_context *context);

/* Ends all, relays too, with resets. */
void joins_fini(struct joins *joins);

/* Takes @client_fd over whatever happens, and counts JOIN_FDS; @target need not stay. @id is for
 * on_failed; 0: it is not called. */
void joins_add(struct joins *joins, int client_fd, const struct dial_target *target, uint16_t id);
