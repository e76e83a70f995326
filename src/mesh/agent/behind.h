/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/behind - the networks that are reached by way of this host, as the gate is told */
#pragma once

#include <stddef.h>

#include "mesh/agent/gate.h"
#include "mesh/config.h"

/* Starts as all zero: none. */
struct behind {
	struct gate_network *list;
	size_t count;
};

/*
 * Have those of the routes of @config by way of itself. Names have whatever address they have, so a
 * pattern among them is every network; who may use it the manager says, who has asked for the names
 * of this host. Returns 0 or -ENOMEM: nothing changed.
 */
int behind_plan(struct behind *behind, const struct mesh_config *config);
void behind_fini(struct behind *behind);
