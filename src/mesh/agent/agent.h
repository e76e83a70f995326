/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/agent - a host of a mesh: packets between a link and a namespace */
#pragma once

#include <stdbool.h>

#include "mesh/agent/stack.h"
#include "util/err.h"

/*
 * Serve the link, stdin and stdout, to its end; both are closed then. @is_sandbox: its network is
 * the stack's, ports lead to it, nothing is listened at but inside, and all rights are given up
 * once there is a stack; else it is a plain host. Returns 0 at the end of the input, or -errno with
 * @err filled.
 */
int agent_run(struct stack *(*open_stack)(bool is_new, struct err *err), bool is_sandbox,
	struct err *err);
