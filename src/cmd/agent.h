/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/agent - serve as a host of a mesh, on the host as it is or inside a sandbox */
#pragma once

#include <stdbool.h>

#include "cmd/cmd.h"
#include "conn/expose.h"
#include "control/tenant.h"
#include "mesh/agent/greeting.h"

extern const struct subcommand agent_subcommand;

/* Is the command @argv `nswrap agent`, by whatever path? A manager puts the second word there. */
bool agent_is_meant(char *const *argv);

/*
 * Look at the words behind argv[0], which is "agent": what is not known is ignored, with a line
 * that says so. What is to be exposed is added to @expose, or refused if that is NULL, as in a
 * sandbox. Returns -1 when the agent should start, else the exit status: help was asked for, a
 * value is wrong, or stdin and stdout are no link.
 */
int agent_read_words(int argc, char **argv, struct expose *expose);

/*
 * Be the agent of a sandbox that this process has joined, with all capabilities over it, until its
 * stdin ends. Returns the exit status. Errors are printed. @told is what its manager said before, a
 * struct greeting; over @names the sandbox is told the names of the mesh (mesh/agent/crier).
 */
int agent_run_beside(void *told, int names);

/* The same without such; @told is where names are told, an int. */
int agent_run_inside(void *told);

/*
 * An agent that comes with its sandbox: who it is, before there is a sandbox. The agent that was
 * the same host before has ended by then, along with its sandbox; and whoever is it next finds this
 * process, the supervisor, and ends it.
 */
struct agent_beside {
	struct greeting greeting;
	struct tenant tenant;
};

/*
 * Hear what the manager says. Returns -1 to go on, else the exit status: 0 if the link has ended.
 * Errors are printed. In any case to be closed.
 */
int agent_open_beside(struct agent_beside *beside);
void agent_close_beside(struct agent_beside *beside);
