/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#ifndef NSWRAP_MESH_AGENT_AGENT_H
#define NSWRAP_MESH_AGENT_AGENT_H

#include <stdbool.h>

#include "mesh/agent/stack.h"
#include "util/err.h"

struct agent_start {
	/*
	 * STACK_HERE: in a sandbox, whose network this process is in already: ports lead to it, and
	 * nothing is listened at but inside. STACK_NEW: on a plain host.
	 */
	enum stack_place place;
	int in_fd, out_fd; /* the link; taken over */
};

/*
 * Serve the link to its end. All rights but CAP_NET_ADMIN of the stack process are given up.
 * Returns 0 at the end of the input, or -errno with @err filled.
 */
int agent_run(const struct agent_start *start, struct err *err);

#endif
