/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/agent - serve as a host of a mesh, on the host as it is or inside a sandbox */
#pragma once

#include <stdbool.h>

#include "cmd/cmd.h"

extern const struct subcommand agent_subcommand;

/* Is the command @argv `nswrap agent`, by whatever path? A manager puts the second word there. */
bool agent_is_meant(char *const *argv);

/*
 * Look at the words behind argv[0], which is "agent": what is not known is ignored, with a line
 * that says so. Returns -1 when the agent should start, else the exit status: help was asked for,
 * or stdin and stdout are no link.
 */
int agent_read_words(int argc, char **argv);

/*
 * Be the agent of a sandbox that this process has joined, with all capabilities over it, until its
 * stdin ends. Returns the exit status. Errors are printed. @told is not used.
 */
int agent_run_inside(void *told);
