/* SPDX-License-Identifier: Apache-2.0 */
/* conn/join - accepted clients, each joined to a target that is dialled for it */
#ifndef NSWRAP_CONN_JOIN_H
#define NSWRAP_CONN_JOIN_H

#include <stddef.h>

#include "conn/context.h"
#include "conn/dial.h"

/*
 * How it works
 *
 * The client waits while its target is dialled; one that breaks meanwhile is given up at once, a
 * half-closed one is not. Then a relay has both. A target that cannot be reached resets the client.
 */
struct joins;

#define JOIN_FDS 2 /* the client, and the target on its way */

/* Returns NULL with errno set. @context stays the caller's. */
struct joins *joins_new(const struct conn_context *context);

/* Ends all, relays too, with resets. NULL is allowed. */
void joins_free(struct joins *joins);

/* Takes @client_fd over whatever happens, and counts JOIN_FDS; @target need not stay. */
void joins_add(struct joins *joins, int client_fd, const struct dial_target *target);

#endif
