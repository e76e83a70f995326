/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#ifndef NSWRAP_MESH_AGENT_AGENT_H
#define NSWRAP_MESH_AGENT_AGENT_H

#include <stdbool.h>

#include "mesh/agent/stack.h"
#include "util/err.h"

struct agent_start {
	struct stack *(*open_stack)(struct err *err);
	/* Of a sandbox, whose network is the stack's: ports lead to it, and nothing is listened at
	 * but inside. Else of a plain host. */
	bool is_sandbox;
	int in_fd, out_fd; /* the link; taken over */
};

/*
 * Serve the link to its end. In a sandbox all rights are given up once there is a stack.
 * Returns 0 at the end of the input, or -errno with @err filled.
 */
int agent_run(const struct agent_start *start, struct err *err);

#endif
