/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/parts - all that an agent is made of; for mesh/agent/agent and orders alone */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "conn/context.h"
#include "exit/stack.h"
#include "mesh/agent/agent.h"
#include "mesh/agent/asked.h"
#include "mesh/agent/crossing.h"
#include "mesh/agent/estate.h"
#include "mesh/agent/hostfiles.h"
#include "mesh/agent/nameservice.h"
#include "mesh/agent/nets.h"
#include "mesh/agent/outlet.h"
#include "mesh/agent/proxies.h"
#include "mesh/agent/quay.h"
#include "mesh/agent/role.h"
#include "mesh/agent/tenure.h"
#include "mesh/agent/ways.h"
#include "mesh/config.h"
#include "wire/wire.h"

struct agent {
	bool is_sandbox;
	const struct greeting *greeting; /* NULL: none */
	struct handover *handover;       /* NULL: the link is nobody else's */
	struct loop_task greeting_task;
	struct loop *loop;
	struct wire_hub *hub;
	struct wire wire;
	struct stack *stack;
	struct gate *gate;
	struct crossing crossing;
	struct quay quay; /* of streams */
	struct role *role;
	struct nameservice *names;
	struct asked *asked; /* what that asks others for */
	int told_names;      /* where the sandbox is told the names; -1: nowhere */
	struct ways *ways;   /* of what is asked of this host */
	struct nets nets;
	struct outlet outlet; /* to what is behind this host */
	struct proxies *proxies;
	struct tenure tenure;
	struct estate estate;
	struct hostfiles hostfiles; /* of a plain host */
	pid_t starter;
	bool is_reporting; /* somebody has asked for it */
	struct loop_io signal_io;
	struct budget budget;
	struct conn_context context;
	bool is_configured;
	struct mesh_config told; /* what the manager has told, all in all */
	bool is_left;            /* the manager has said that it will not come back */
	sigset_t signals_before;
	bool restores_pipe;
	struct err *err;
};

/* The link is about to be another agent's, or is it already? */
static inline bool parts_hands_over(const struct agent *agent)
{
	return agent->handover && agent->handover->is_begun;
}

/*
 * The stack and those of its parts that call agent.c are there: make all the rest, and tell each
 * part of the others. Returns 0, or -errno with @err filled.
 */
int parts_make(struct agent *agent, struct err *err);

/* Free whatever is there, and stop the stack. */
void parts_free(struct agent *agent);
