/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#pragma once

#include <stdbool.h>

#include "mesh/agent/greeting.h"
#include "mesh/agent/stack.h"
#include "util/err.h"

/* What an agent says of itself. */
struct mesh_agent_info agent_info(bool is_sandbox);

/*
 * Serve the link, stdin and stdout, to its end; both are closed then. @is_sandbox: its network is
 * the stack's, ports lead to it, nothing is listened at but inside, and all rights are given up
 * once there is a stack; else it is a plain host. @greeting is what was read and said before; NULL:
 * nothing. @names, which is taken over, is where a sandbox is told the names of the mesh
 * (mesh/agent/crier); -1: nowhere. Returns 0 at the end of the input, or -errno with @err filled.
 */
int agent_run(struct stack *(*open_stack)(bool is_new, struct err *err), bool is_sandbox,
	const struct greeting *greeting, int names, struct err *err);
