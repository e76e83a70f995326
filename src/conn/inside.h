/* SPDX-License-Identifier: Apache-2.0 */
/* conn/inside - a small pool of sockets that belong to another network namespace */
#pragma once

#include "conn/door.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The sockets come through a door (conn/door). They are asked for in batches, before the pool is
 * empty, so that a new connection costs no message. One request a kind is under way at most. Who
 * finds the pool empty puts an inside_waiter in: it is called once, when there are sockets again.
 * Sockets whose connection is over come back (inside_recycle), as many as a steady load needs: then
 * nobody is asked.
 */
struct inside;

struct inside_waiter {
	void (*on_sockets)(struct inside_waiter *waiter);
	enum door_kind kind; /* waited for, or the last one that was */
	struct list link;
};

/* @door stays the caller's; -1: there is no inside. Returns NULL with errno set. */
struct inside *inside_new(struct loop *loop, int door);
void inside_free(struct inside *inside);

/*
 * An unconnected, nonblocking socket, now the caller's, or -EAGAIN: @waiter, if there is one, waits
 * for a refill from now on. Who waits for that kind already keeps its place.
 */
int inside_take(struct inside *inside, enum door_kind kind, struct inside_waiter *waiter);
void inside_wait_cancel(struct inside_waiter *waiter);

/*
 * The same for a start, before the loop runs: waits at most @timeout_ms for the pool to be filled.
 * Waiters may be called from here. -ETIMEDOUT: nobody answered in time;
 * -EPIPE: nobody will.
 */
int inside_take_now(struct inside *inside, enum door_kind kind, int timeout_ms);

/* Give back a socket that was never connected. */
void inside_put_back(struct inside *inside, enum door_kind kind, int fd);

/*
 * The same of a TCP socket whose connection has ended, whose end has been read, and which was not
 * bound to a port of the caller's choice: it is used again, once the other side has heard the end,
 * unless there are enough.
 */
void inside_recycle(struct inside *inside, enum door_kind kind, int fd);
