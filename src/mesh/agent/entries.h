/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/entries - listeners on the host's loopback that lead into the mesh */
#ifndef NSWRAP_MESH_AGENT_ENTRIES_H
#define NSWRAP_MESH_AGENT_ENTRIES_H

#include <stddef.h>

#include "conn/context.h"
#include "mesh/agent/stack.h"
#include "mesh/config.h"
#include "util/err.h"

/*
 * How it works
 *
 * For each VIP and port of another host a listener at that very address and port of the host's
 * loopback; a client is joined to a connection of the stack to there. For the agent's own
 * offers the client is joined to the target at once. A VIP outside 127.0.0.0/8 is no address of
 * this host: it is left out, with one line.
 *
 * A target that refuses or cannot be reached resets the client. Into the mesh the kernel of the
 * inside decides how long it tries (about two minutes); own offers have ten seconds
 * (conn/dial).
 */
struct entries;

/* Both stay the caller's. Returns NULL with errno set. */
struct entries *entries_new(const struct conn_context *context, struct stack *stack);

/* Ends all connections, too. NULL is allowed. */
void entries_free(struct entries *entries);

/*
 * Have listeners for @others and, at @self, for @own from now on. Those that were there before stay
 * as they are; connections of those that go, go on to their end. Returns 0, or -errno with @err
 * naming the address, the cause and, if it can be seen, who has the port; then there are none.
 */
int entries_configure(struct entries *entries, const struct mesh_port *others, size_t nothers,
	struct in_addr self, const struct mesh_offer *own, size_t nown, struct err *err);

#endif
