/* SPDX-License-Identifier: Apache-2.0 */
/* conn/door - sockets of the inside, handed out to the net process */
#ifndef NSWRAP_CONN_DOOR_H
#define NSWRAP_CONN_DOOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A socket belongs for ever to the network namespace that created it, whoever holds it. init makes
 * unconnected sockets on request and passes them through a SOCK_SEQPACKET pair, the door; whoever
 * has the other end connect()s them. The door outlives the net process: the next one goes on with
 * it. init trusts nothing that comes through: it gives sockets of the four kinds, no more.
 */
enum door_kind { DOOR_TCP4, DOOR_TCP6, DOOR_UDP4, DOOR_UDP6, DOOR_KINDS };

#define DOOR_BATCH_MAX 64

struct door_message {
	uint32_t kind;  /* enum door_kind */
	uint32_t count; /* request: how many are wanted, 1..DOOR_BATCH_MAX; answer: how many came */
};

/* net's side: ask. Does not wait. Returns 0 or -errno (-EAGAIN: too many requests under way). */
int door_request(int door, enum door_kind kind, unsigned count);

/*
 * net's side: one answer, nonblocking sockets of @kind stored to @fds (room for DOOR_BATCH_MAX).
 * Returns their number (0: init could make none), -EAGAIN if there is no answer, -EPIPE at the end.
 */
ssize_t door_receive(int door, enum door_kind *kind, int *fds);

/* init's side: serve one request. Returns 0, -EAGAIN if there is none, -EPIPE at the end. */
int door_serve(int door);

#endif
