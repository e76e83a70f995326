/* SPDX-License-Identifier: Apache-2.0 */
/* conn/door - sockets of a namespace, handed out to a process that is not in it */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/addr.h"

/*
 * A socket belongs for ever to the network namespace that created it, whoever holds it. A process
 * that stays inside, the server, makes unconnected sockets on request and passes them through a
 * SOCK_SEQPACKET pair, the door; who has the other end, the client, connects or binds them. Of a
 * sandbox the server is init, and the net process the client; of an agent of a mesh it is the stack
 * process, and the agent. A door outlives its client: the next one goes on with it. The server
 * trusts nothing that comes through: it gives sockets of these kinds, no more.
 */
enum door_kind {
	DOOR_TCP4,
	DOOR_TCP6,
	DOOR_UDP4,
	DOOR_UDP6,
	DOOR_TCP4_CLIENT, /* for TCP, and may have any address (conn/mint) */
	DOOR_TCP6_CLIENT,
	DOOR_KINDS
};

/* DOOR_KINDS: there is none of that kind. */
enum door_kind door_kind_of(sa_family_t family, enum proto proto);

#define DOOR_BATCH_MAX 64

struct door_message {
	uint32_t kind;  /* enum door_kind */
	uint32_t count; /* request: how many are wanted, 1..DOOR_BATCH_MAX; answer: how many came */
};

/* The client asks. Does not wait. Returns 0 or -errno (-EAGAIN: too many requests under way). */
int door_request(int door, enum door_kind kind, unsigned count);

/*
 * The client takes one answer, nonblocking sockets of @kind stored to @fds (room for
 * DOOR_BATCH_MAX). Returns their number (0: the server could make none), -EMSGSIZE if it was lost
 * for want of descriptors here, -EAGAIN if there is no answer, -EPIPE at the end.
 */
ssize_t door_receive(int door, enum door_kind *kind, int *fds);

/* Where sockets of the CLIENT kinds come from; -1: there are none. */
struct door_mints {
	int mint4, mint6;
};

/* The server serves one request. @mints may be NULL. Returns 0, -EAGAIN if there is none, -EPIPE at
 * the end. */
int door_serve(int door, const struct door_mints *mints);
