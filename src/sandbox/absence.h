/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/absence - for how long nobody has joined a sandbox, which is its end at some time */
#pragma once

#include <stdint.h>

#include "control/server.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Who joins a sandbox (exec, an agent) keeps its connection to the control socket until it leaves,
 * and sandbox/answers has marked it. So it is enough to look at the connections now and then:
 * ABSENCE_LOOKS times in the time that is allowed, which is exact to that part. The clock stands
 * while the machine sleeps: nobody could have come.
 */
#define ABSENCE_LOOKS 20

/* Starts as all zero. */
struct absence {
	/* the owner sets these */
	struct loop *loop;
	const struct server *server;  /* who is there: its clients that are marked */
	uint64_t max_ms;              /* 0: for ever, and nothing is looked at */
	void (*on_long)(void *owner); /* from the loop, once */
	void *owner;

	/* its own */
	struct loop_timer timer;
	unsigned alone; /* looks at which nobody was there */
};

void absence_begin(struct absence *absence);

/* Also if it was not begun; once more is fine. */
void absence_end(struct absence *absence);
