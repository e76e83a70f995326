/* SPDX-License-Identifier: Apache-2.0 */
/* util/trickle - a descriptor whose writer sends crumbs is read less often */
#pragma once

#include <stdbool.h>

#include "util/loop.h"

/*
 * Each wake-up costs the reader as much as many bytes do, so who sends one byte at a time would
 * cost us more than himself. After TRICKLE_FREE reads that brought next to nothing the descriptor
 * is left alone for TRICKLE_MS after each further one, and bytes gather in the kernel meanwhile;
 * each read that was worth it pays for one that was not.
 */
#define TRICKLE_FREE  8
#define TRICKLE_BYTES 1024 /* a read of as many is always worth it */
#define TRICKLE_MS    1

struct trickle {
	struct loop *loop; /* NULL: it has never been begun */
	struct loop_io *io;
	struct loop_timer timer;
	unsigned crumbs;
};

/* @io is watched for EPOLLIN alone; it and @loop stay the caller's until trickle_end. */
void trickle_begin(struct trickle *trickle, struct loop *loop, struct loop_io *io);

/* A read is over that was worth it, or was not; @io must still be watched. */
void trickle_note(struct trickle *trickle, bool was_worth_it);

/* Before @io is removed from the loop. Fine for all zero, and twice. */
void trickle_end(struct trickle *trickle);
