/* SPDX-License-Identifier: Apache-2.0 */
/* dns/pipeline - a client's stream connection: its queries come in, answers go out */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/loop.h"

/*
 * Messages have their length in two bytes in front (RFC 1035 4.2.2). The client is not read while
 * PIPELINE_UNDER_WAY of its messages wait for answers, or PIPELINE_OUT_BYTES of answers for it. It
 * is ended when it has said the end and has all its answers, when it sends nothing or takes nothing
 * for PIPELINE_IDLE_MS while nothing is under way, and when the connection fails.
 */
#define PIPELINE_UNDER_WAY 64
#define PIPELINE_OUT_BYTES (128 * 1024)
#define PIPELINE_IDLE_MS   10000

struct pipeline {
	/* the owner's: a message, for which pipeline_send or pipeline_skip must be called, now or
	 * later */
	void (*on_message)(struct pipeline *pipeline, const uint8_t *message, size_t len);
	/* it has ended and is closed; it may be freed here */
	void (*on_end)(struct pipeline *pipeline);

	/* the pipeline's */
	struct loop *loop;
	struct loop_io io;
	struct loop_timer idle_timer;
	struct loop_task task;
	uint8_t *in, *out;
	size_t in_len, in_room, out_len, out_room;
	unsigned under_way;
	bool has_ended; /* the client says nothing more */
	bool has_failed;
};

/* Begin with @fd, nonblocking, which is closed at the end, and also where this fails. The rest of
 * @pipeline is zero. Returns 0 or -errno. */
int pipeline_open(struct pipeline *pipeline, struct loop *loop, int fd);

/* End it without on_end. */
void pipeline_close(struct pipeline *pipeline);

/* An answer to one of the messages; none to one of them. on_end is not called from within. */
void pipeline_send(struct pipeline *pipeline, const uint8_t *answer, size_t len);
void pipeline_skip(struct pipeline *pipeline);

/* Is it waiting for nothing but the client's next message? */
bool pipeline_is_idle(const struct pipeline *pipeline);
