/* SPDX-License-Identifier: Apache-2.0 */
/* conn/dial - TCP connections to where a host's ports lead: outside by name, or inside */
#ifndef NSWRAP_CONN_DIAL_H
#define NSWRAP_CONN_DIAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "conn/context.h"
#include "conn/lookup.h"

/*
 * How it works
 *
 * Outside: an address is connected to at once, a name is looked up each time; its addresses are
 * tried one after the other. All of it together may take DIAL_DEADLINE_MS, so `dialled` is a ring
 * in order of deadlines with one timer.
 *
 * Inside: with a socket of the pool, as long as the kernel there tries (about two minutes). While
 * the pool is empty dials wait in the ring `waiting`, first come, first served.
 */
#define DIAL_DEADLINE_MS 10000

struct dial_target {
	bool is_inside;
	const char *host;  /* outside: an IP address or a name; NULL inside */
	struct in_addr ip; /* inside */
	uint16_t port;     /* host order */
};

/* One connection on its way; part of its owner, starts as all zero but for on_done. */
struct dial {
	/* A connected, nonblocking socket, now the owner's, or -errno. From the loop. */
	void (*on_done)(struct dial *dial, int result);

	/* the dialer's */
	struct dialer *dialer; /* NULL: nothing is under way */
	struct dial *prev, *next;
	uint64_t deadline_ns;
	struct loop_io io;
	struct lookup_query query;
	struct lookup_answer answer;
	size_t tried; /* of the addresses */
	uint16_t port;
};

struct dialer;

/* Returns NULL with errno set. @context stays the caller's. */
struct dialer *dialer_new(const struct conn_context *context);

/* All dials must have ended or been cancelled. NULL is allowed. */
void dialer_free(struct dialer *dialer);

/*
 * Connect to @target, which need not stay. Returns the socket if that went at once, -EINPROGRESS if
 * on_done will be called, or another -errno and on_done will not be called. Beyond those of
 * connect(2): -ENOENT, no such name; -EAGAIN, the name could not be looked up; -ETIMEDOUT;
 * dial_is_short tells that descriptors or memory ran out.
 */
int dial_start(struct dial *dial, struct dialer *dialer, const struct dial_target *target);

/* Nothing happens if it is not under way. */
void dial_cancel(struct dial *dial);

bool dial_is_short(int result);

/* Words for a -errno of dial_start. */
const char *dial_words(int result);

/* For other look-ups of the owner of @dialer. */
struct lookup *dialer_lookup(struct dialer *dialer);

#endif
