/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/fabric - the way of packets from one host to the others */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "exit/answer.h"
#include "mesh/allow.h"
#include "mesh/manager/early.h"
#include "mesh/manager/router.h"
#include "util/loop.h"
#include "wire/frame.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * Each host has a port. The packets of one round of a wire are collected by the port that they go
 * to, where they lie, and fabric_flush, at the end of the round, writes each crowd with one system
 * call. What does not go on is counted by its cause, and dropped.
 *
 * Its sender is told at once (exit/answer) if nobody will ever answer: the address is nobody's, the
 * host is down, it may not begin anything with that host (mesh/allow), or that one does not know
 * its protocol, which is that of streams (stream/ferry). What begins something and is for a host
 * that is just starting waits for it (mesh/manager/early). A connection that goes on there is one
 * of a life before.
 */
#define FABRIC_PARTS_MAX       256
#define FABRIC_ANSWERS_MAX     32 /* of a round, before they are written */
#define FABRIC_LOST_ROUTES_MAX 32

/* Packets that did not go on, by cause. */
struct fabric_drops {
	uint64_t malformed;    /* from it: no IPv4 packet */
	uint64_t wrong_source; /* from it: an address that is not its own */
	uint64_t no_route;     /* from it: to nobody */
	uint64_t not_ready;    /* to it */
	uint64_t queue_full;   /* to it */
	uint64_t not_allowed;  /* to it */
};

struct fabric_port {
	int number; /* of the host, as in the manifest */
	struct fabric_drops drops;
	/* where packets for it go; NULL: nowhere, once what was collected is flushed */
	struct wire *wire;
	bool is_starting; /* without a wire: there is hope for one. Then fabric_settle is due */
	bool knows_icmp, knows_streams;
	/* who may begin something with it, and what it has sent; NULL, both: everybody */
	struct allow *allow;
	struct awaited *awaited;

	/* its own */
	size_t early;                         /* packets from it that are kept */
	struct iovec parts[FABRIC_PARTS_MAX]; /* frames to it of this round, all from one port */
	size_t nparts;
};

/* An address that nobody has, which was told of. */
struct fabric_lost_route {
	struct in_addr dst;
	uint64_t told_ns; /* 0: free */
};

struct fabric {
	struct loop *loop;
	const struct router *router;
	struct fabric_port **ports; /* by number */
	/* A packet for an address that nobody has: told once for each address and minute, not at
	 * all when there are too many of them. */
	void (*on_lost_route)(
		struct fabric *fabric, const struct fabric_port *from, struct in_addr dst);

	/* its own; starts as zero */
	int from;                                    /* whose round it is: a host's number */
	struct fabric_port *dirty[FABRIC_PARTS_MAX]; /* who has parts in this round */
	size_t ndirty;
	struct fabric_lost_route lost_routes[FABRIC_LOST_ROUTES_MAX];
	struct answers answered;
	unsigned char answers[FABRIC_ANSWERS_MAX][ANSWER_FRAME_BYTES];
	size_t nanswers; /* of this round */
	struct early early;
	struct loop_timer early_timer;
};

/*
 * A packet that came from @from at @now_ns. Its frame must be there until fabric_flush, which may
 * happen in here as well.
 */
void fabric_take(struct fabric *fabric, struct fabric_port *from, const struct frame *frame,
	uint64_t now_ns);

void fabric_flush(struct fabric *fabric);

/* The wire of @port, or the hope for one, has come or gone: what is kept for it is sent, or
 * answered, and nothing of it is kept without a wire. */
void fabric_settle(struct fabric *fabric, const struct fabric_port *port);

/* Forget all that is kept: ports are to go. */
void fabric_forget(struct fabric *fabric);
