/* SPDX-License-Identifier: Apache-2.0 */
/* conn/dial - connections: outside or inside, to a name, an address or a path */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conn/beyond.h"
#include "conn/context.h"
#include "conn/inside.h"
#include "conn/names.h"
#include "util/addr.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A name is resolved each time (conn/names); its addresses are tried one after the other.
 *
 * What is dialled is kept alive (fd_keep_alive): no peer vanishes unnoticed.
 *
 * Outside: sockets of this process's own network. All of a dial together may take DIAL_DEADLINE_MS,
 * unless it is patient: then as long as the kernel tries.
 *
 * Inside: sockets of the pool (conn/inside), for as long as the kernel there tries (about two
 * minutes). While the pool is empty dials wait there, first come, first served. Where there is
 * another way to an address (conn/beyond), that is taken, for DIAL_BEYOND_MS at most: as long as a
 * kernel would try.
 */
#define DIAL_DEADLINE_MS 10000
#define DIAL_BEYOND_MS   130000

enum dial_where { DIAL_OUTSIDE, DIAL_INSIDE };

/* Where connections, or datagrams, are led. */
struct dial_target {
	enum dial_where where;
	const char *host; /* a name, or an address as text; NULL: addr says it all */
	uint16_t port;    /* of host; host order */
	struct addr addr; /* a path outside only, and for connections only */
	/* of dial_start: PROTO_UDP is a connected socket for datagrams, there as soon as the
	 * address is known and, inside, a socket of the pool */
	enum proto proto;
	struct addr source; /* outside only: bound to it before; no family: the system's choice */
	bool is_patient;
};

/* One connection on its way; part of its owner, starts as all zero but for on_done. */
struct dial {
	/* A connected, nonblocking socket, now the owner's, or -errno. From the loop. */
	void (*on_done)(struct dial *dial, int result);

	/* dial's own */
	const struct conn_context *context; /* NULL: nothing is under way */
	struct inside_waiter waiter;
	struct beyond_call call;
	struct loop_timer timer;
	struct loop_io io;
	struct lookup_query query;
	struct lookup_answer answer;
	size_t tried; /* of the addresses */
	enum dial_where where;
	enum proto proto;
	struct addr source;
	uint16_t port;
};

/*
 * Connect to @target, which need not stay (@context must). Returns the socket if that went at once,
 * -EINPROGRESS if on_done will be called, or another -errno and on_done will not be called. Beyond
 * those of connect(2): -ENOENT, no such name; -EAGAIN, the name could not be looked up; -ETIMEDOUT;
 * -EAFNOSUPPORT, a path inside; dial_is_short tells that descriptors or memory ran out. A unix
 * socket whose backlog is full refuses.
 */
int dial_start(
	struct dial *dial, const struct conn_context *context, const struct dial_target *target);

/* Nothing happens if it is not under way. */
void dial_cancel(struct dial *dial);

/* connect(2): 0, -EINPROGRESS or -errno. Whether this machine itself accepts is known at once. */
int dial_connect(int fd, const struct addr *to);

bool dial_is_short(int result);

/* Words for a -errno of dial_start. */
const char *dial_words(int result);

/* "127.0.0.1:80", "web:80", "[::1]:80"; cut to fit. Returns @out. */
char *dial_format(const struct dial_target *target, char *out, size_t cap_bytes);
