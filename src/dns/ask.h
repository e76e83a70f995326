/* SPDX-License-Identifier: Apache-2.0 */
/* dns/ask - one DNS query over a stream connection that is there */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "util/loop.h"

/* One query under way; part of its owner, starts as all zero but for on_done. */
struct ask {
	/*
	 * From the loop, once. @result is 0 and @answer fits the query (response_fits), or it is
	 * -ETIMEDOUT, -EPIPE (the end came instead), -EBADMSG (something else came), or what the
	 * connection failed with. @answer is gone afterwards. The ask may be started again or freed
	 * here.
	 */
	void (*on_done)(struct ask *ask, int result, const uint8_t *answer, size_t len);

	/* ask's own */
	struct loop *loop; /* NULL: nothing is under way */
	struct loop_io io;
	struct loop_timer timer;
	uint8_t *query;  /* with its length in front */
	uint8_t *answer; /* the same */
	size_t query_len, question_end, sent, received, room;
};

/*
 * Send @message, a query (query_make), over @fd, a nonblocking stream socket that is connected or
 * on its way, and take the answer. @fd is closed at the end, and also where this fails. Returns 0,
 * and then on_done is called, or -errno.
 */
int ask_start(struct ask *ask, struct loop *loop, int fd, const uint8_t *message, size_t len,
	unsigned timeout_ms);

/* Nothing happens if it is not under way. */
void ask_cancel(struct ask *ask);
