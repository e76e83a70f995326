/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#pragma once

#include <stdbool.h>

#include "conn/expose.h"
#include "exit/stack.h"
#include "mesh/agent/greeting.h"
#include "mesh/agent/handover.h"
#include "util/err.h"

struct agent_start {
	struct stack *(*open_stack)(bool is_new, struct err *err);
	/* its network is the stack's, ports lead to it, nothing is listened at but inside, and all
	 * rights are given up once there is a stack; else it is a plain host */
	bool is_sandbox;
	/* what others may reach by way of a plain host, whatever the manager allows */
	const struct expose *expose;
	const struct greeting *greeting; /* what was read and said before; NULL: nothing */
	struct handover *handover; /* for a sandbox that the manager may want; NULL: is in one */
	/* taken over: where a sandbox is told the names of the mesh (mesh/agent/crier); -1: nowhere
	 */
	int names;
};

/*
 * Serve the link, stdin and stdout, to its end; both are closed then. Returns how it has ended, or
 * -errno with @err filled.
 */
enum agent_end {
	AGENT_ENDED,       /* the input has */
	AGENT_LEFT,        /* the same, and the manager has said that it will not come back */
	AGENT_HANDED_OVER, /* see handover above: who called has the link */
};
int agent_run(const struct agent_start *start, struct err *err);
