/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/greeting - who is this to be? Asked of the manager before anything is there */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/tenant.h"
#include "mesh/info.h"
#include "util/err.h"

/*
 * How it works
 *
 * An agent that comes with a sandbox of its own must know its identity before there is a sandbox:
 * the one before has its ports and its name, and COMMAND is not to run twice. So the link is read
 * up to the request that says it. A manager of ours says it in the first `configure` or, if it does
 * not know yet whom it asks, in the second: then the first one is answered here. What was read is
 * the agent's, for wire_push.
 */
#define GREETING_BYTES_MAX (4U << 20)

/* Starts as all zero. */
struct greeting {
	unsigned char *bytes; /* whole frames, of malloc(3), or NULL */
	size_t len;
	int64_t answered_id; /* of the request `configure` that is answered; 0: none is */
	size_t answered_len; /* bytes of the link that the answer took */
	char identity[TENANT_IDENTITY_MAX + 1]; /* "": there is none */
	/* of a link that another agent had (mesh/agent/handover): what it has read and written */
	uint64_t come, sent;
	bool runs_sandbox; /* it is the manager who wants this sandbox */
};

struct greeting_patience {
	unsigned first_ms;  /* for the first request: it was sent before we were started */
	unsigned second_ms; /* for the second one, which takes a round trip */
	unsigned rest_ms;   /* for the rest of a frame that has begun */
};

/*
 * Read @in_fd, answer to @out_fd, saying @info. Returns 1: go on; 0: the link has ended; or -errno
 * with @err filled. Free what is in @out with greeting_free in any case.
 */
int greeting_hear(int in_fd, int out_fd, const struct mesh_agent_info *info,
	const struct greeting_patience *patience, struct greeting *out, struct err *err);

void greeting_free(struct greeting *greeting);

/*
 * Pass a greeting that was heard, with the @result and @err of that, to another process by a pipe.
 * receive: trusts nothing of it. Returns what greeting_hear did, or -errno with @err.
 */
int greeting_send(int fd, const struct greeting *greeting, int result, const struct err *err);
int greeting_receive(int fd, struct greeting *out, struct err *err);
