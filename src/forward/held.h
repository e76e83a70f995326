/* SPDX-License-Identifier: Apache-2.0 */
/* forward/held - clients of a stream that wait to be served, each for a limited time */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * A ring of connected sockets in order of their deadlines, the older client first where they are
 * the same, and one timer for the first of them. A client leaves the ring because it is taken, its
 * time is over (it is reset then, and so are all who are left at the end), or it went away by
 * itself: epoll reports that unasked.
 */
struct held {
	struct loop *loop;
	struct budget *budget; /* where each client counts */
	struct list clients;
	size_t count;
	struct loop_timer timer;
	void (*on_late)(void *owner); /* the time of a client was over */
	void *owner;
};

void held_init(struct held *held, struct loop *loop, struct budget *budget,
	void (*on_late)(void *owner), void *owner);
void held_fini(struct held *held);

/* Hold the client at @fd for @wait_ms. Takes it over: it is reset where memory is short. */
void held_add(struct held *held, int fd, uint64_t wait_ms);

/* The descriptor of the first client, the caller's from now on; -1: there is none. */
int held_take(struct held *held);
