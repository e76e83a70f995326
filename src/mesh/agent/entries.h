/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/entries - on a plain host's loopback: a listener for each port of the mesh */
#pragma once

#include "conn/context.h"
#include "conn/service.h"
#include "exit/stack.h"
#include "mesh/agent/addresses.h"
#include "mesh/agent/estate.h"
#include "mesh/agent/nameservice.h"
#include "mesh/agent/troubles.h"
#include "mesh/config.h"
#include "mesh/report.h"

/*
 * How it works
 *
 * For each VIP and port of another host there is a listener at that very address and port of the
 * host's loopback; a client is joined to a connection of the stack to there. For the host's own
 * offers the client is joined to the target at once. A VIP outside 127.0.0.0/8 is no address of
 * this host: it is left out, with one line. A target that refuses or cannot be reached resets the
 * client. Into the mesh the kernel of the inside decides how long it tries (about two minutes),
 * unless it is told of the end before (exit/answer); own offers have ten seconds (conn/dial).
 *
 * The name servers of others are entered like what they offer, and so is the host's own, whose
 * clients are mesh/agent/nameservice's. Two hosts of a mesh may be one machine, where one of them
 * has these addresses: that the other one has not is no trouble (mesh/agent/kin).
 */
struct entries;

struct entries_start {
	const struct conn_context *context;
	struct stack *stack;
	struct estate *estate;
	struct nameservice *names; /* whose sockets those of our name server are; NULL: none */
	const struct addresses *addresses; /* which hosts there are */
	struct troubles *troubles;
	void (*on_failed)(
		void *owner, enum proto proto, uint16_t id, int result); /* conn/service */
	void *owner;
};

/* What is in @start stays the caller's. Returns NULL with errno set. */
struct entries *entries_new(const struct entries_start *start);

/* Ends all connections. NULL is allowed. */
void entries_free(struct entries *entries);

/* Have those of @config, as services_configure does; which hosts those are is known by the
 * addresses. Returns 0, or -errno with @err filled. */
int entries_configure(struct entries *entries, const struct mesh_config *config, struct err *err);

/* Have none. */
void entries_close(struct entries *entries);

/* Keep all of them, and have what was kept (estate.tell_all). */
void entries_keep(struct entries *entries);

/* The one at that address, or NULL. */
const struct service *entries_find(
	const struct entries *entries, enum proto proto, const struct addr *at);

/* Add those that are missing. */
void entries_report(const struct entries *entries, struct mesh_report *out);
