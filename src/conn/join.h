/* SPDX-License-Identifier: Apache-2.0 */
/* conn/join - accepted clients, each joined to a target that is dialled for it */
#ifndef NSWRAP_CONN_JOIN_H
#define NSWRAP_CONN_JOIN_H

#include <stddef.h>

#include "conn/dial.h"

/*
 * How it works
 *
 * The client waits while its target is dialled; one that breaks meanwhile is given up at once, a
 * half-closed one is not. Then a relay has both. A target that cannot be reached resets the client.
 */
struct joins;

/* Returns NULL with errno set. Both stay the caller's. */
struct joins *joins_new(const struct conn_context *context, struct dialer *dialer);

/* Ends all, relays too, with resets. NULL is allowed. */
void joins_free(struct joins *joins);

/* Takes @client_fd over whatever happens; @target need not stay. */
void joins_add(struct joins *joins, int client_fd, const struct dial_target *target);

/* Descriptors of clients and targets that no relay has yet, for acceptors. */
const size_t *joins_held_fds(const struct joins *joins);

#endif
