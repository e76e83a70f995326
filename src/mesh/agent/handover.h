/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/handover - a link that is to be another agent's: that of a sandbox of its own */
#pragma once

#include <stdbool.h>

#include "mesh/agent/greeting.h"
#include "mesh/config.h"
#include "util/err.h"
#include "wire/frame.h"
#include "wire/wire.h"

/*
 * How it works
 *
 * A manager that wants a command run in a sandbox (nswrap-manifest(5), sandbox) says so in the
 * second `configure` to an agent that can do that; the first one has told it nothing to do. The
 * agent does not answer: it writes what it still has to say, keeps all that it is sent from that
 * request on, and ends. Who started it makes the sandbox, and the agent in there takes the link
 * over as if it had had it from the beginning (mesh/agent/greeting).
 */

/* Starts as all zero, with descriptors -1, but for what the owner sets. */
struct handover {
	/*
	 * Can there be such a sandbox? Nothing is started yet. Returns 0, or -errno with @err,
	 * which the manager is told. NULL: there are none here.
	 */
	int (*check)(const struct mesh_sandbox *sandbox, struct err *err);

	/* once it has happened, for who started the agent; handover_free frees them */
	struct mesh_config config; /* what was asked for */
	struct greeting greeting;
	int in_fd, out_fd; /* the link */

	/* its own */
	bool is_begun;
};

/*
 * It is wanted by @config, whose contents are taken over. Returns 0, or -errno with @err and
 * nothing changed.
 */
int handover_begin(struct handover *handover, struct mesh_config *config, struct err *err);

/* A whole frame that came, of which the header lies in front. Returns 0 or -errno: -EMSGSIZE. */
int handover_keep(struct handover *handover, const struct frame *frame);

/* All is written: take what belongs to the link, which is closed next. Returns 0 or -errno. */
int handover_end(struct handover *handover, const struct wire *wire);

void handover_free(struct handover *handover);
