/* SPDX-License-Identifier: Apache-2.0 */
/* conn/lookup - the addresses of a host name, without waiting for them */
#pragma once

#include <stddef.h>

#include "util/addr.h"
#include "util/list.h"
#include "util/loop.h"

/*
 * How it works
 *
 * getaddrinfo(3) runs in a thread of its own for each name, LOOKUP_THREADS at most, so a name that
 * hangs holds up nobody else; names beyond that wait for their turn. Who asks for a name that is
 * being looked up shares its answer; nothing is remembered after it. Threads take no signals and
 * touch only their job: it comes back through a pipe, which is there until the last thread is, even
 * after lookup_free.
 */
#define LOOKUP_THREADS   16
#define LOOKUP_ADDRS_MAX 8

struct lookup_answer {
	size_t count; /* 1 or more; IPv4 and IPv6 in the order in which they should be tried */
	struct addr addrs[LOOKUP_ADDRS_MAX]; /* with port 0 */
};

struct lookup_query {
	/*
	 * Called once, from the loop and never from within lookup_start. @result is 0, or @answer
	 * is NULL and it is -ENOENT: there is no such name; -EAGAIN: nobody could say, it may help
	 * to ask again; or another -errno. The query may be used again from here.
	 */
	void (*on_answer)(
		struct lookup_query *query, int result, const struct lookup_answer *answer);

	struct list link; /* of those who ask for the same name; in no ring: none is looked up */
};

struct lookup;

/* Returns NULL with errno set. */
struct lookup *lookup_new(struct loop *loop);

/* All queries must have been answered or cancelled; not from within on_answer. Never waits for a
 * thread. NULL is allowed. */
void lookup_free(struct lookup *lookup);

/* @name is copied. Returns 0 or -errno. */
int lookup_start(struct lookup *lookup, const char *name, struct lookup_query *query);

/* No answer comes after it. Nothing happens if none is waited for. */
void lookup_cancel(struct lookup_query *query);
