/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/quay - where streams of other hosts come in, and are led to what is offered here */
#pragma once

#include "conn/accept.h"
#include "conn/context.h"
#include "conn/syns.h"
#include "mesh/agent/crossing.h"
#include "mesh/agent/landings.h"
#include "mesh/agent/outlet.h"
#include "mesh/agent/role.h"
#include "mesh/agent/ways.h"
#include "stream/ferry.h"
#include "stream/parcels.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A stream that another host begins says for which address and port it is. Who may begin that here
 * is judged as if it were a SYN (mesh/allow); then what is offered there, or what is behind this
 * host and exposed, is connected to, from this agent's own network: on a plain host that is the
 * host's, in a sandbox the sandbox's. The stream is accepted when that has accepted, and refused as
 * it was.
 *
 * What the stack of this host begins with a host that has none ends here: its SYN is held until the
 * stream is accepted (conn/syns); then the gate leads that, and the rest of the connection, to a
 * listener of ours in the stack, the mouth.
 *
 * Datagrams to a host without a stack, and from it, are packets as ever, which are made and read
 * here (stream/parcels); pings are answered here.
 *
 * A SYN to a host without a stack is answered: with the word that there is none, to whoever may
 * know streams, or with a RST to who does not.
 */
#define QUAY_LINE_S 60

/* Starts as all zero, but for what the owner sets. */
struct quay {
	/* the owner's */
	struct gate *gate;
	struct crossing *crossing;
	struct role *role;
	struct outlet *outlet;
	struct nameservice *names;
	const struct ways *ways;
	struct stack *stack;

	/* its own */
	const struct conn_context *context;
	struct ferry *ferry;
	struct landings landings; /* of streams of others */
	struct parcels *parcels;  /* without a stack */
	struct syns *syns;        /* of the stack's, to hosts that have none */
	struct acceptor mouth;
	int mouth_fd; /* -1: none */
	int names_fd; /* without a stack, of the name server; -1: none */
	struct addr names_addr;
	struct in_addr self;
	bool has_stack;
	struct loop_task task; /* ferry has packets */
	uint64_t said_ns;
};

/* Before anything is dialled: context.beyond is ferry_beyond of it. Returns 0 or -errno; quay_close
 * in either case. */
int quay_open(struct quay *quay, const struct conn_context *context);

/* Ends all connections. Fine for one that was never opened. */
void quay_close(struct quay *quay);

/* The hosts of the mesh are those of the role now. Returns 0 or -ENOMEM. */
int quay_configure(struct quay *quay);

/* Without a stack: where port @port of this host itself leads, for its own proxies (ways_start). */
int quay_find_own(
	const struct quay *quay, enum proto proto, uint16_t port, struct dial_target *out);

/* A packet that the gate gives us (GATE_TAKE): of streams, or an error about one of those. False:
 * it is neither. */
bool quay_take(struct quay *quay, const struct packet_view *packet);

/* A SYN for one of our ports (GATE_HOLD), and there is no stack. */
void quay_on_syn(struct quay *quay, const struct packet_view *syn);
