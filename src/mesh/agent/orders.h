/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/orders - what the manager says to an agent, and what the agent says by itself */
#pragma once

#include "mesh/agent/parts.h"
#include "wire/frame.h"

/* Follow and answer the message that @frame has. */
void orders_take(struct agent *agent, const struct frame *frame);

/* Something that a report has is different (on_change of the parts); @agent is a struct agent. */
void orders_on_change(void *agent);

/* Names of others were looked up, and lead to @via (ways_start.on_learnt). */
void orders_on_learnt(void *agent, const struct in_addr *ips, size_t count, struct in_addr via);

/* Connections of a sandbox outlive its agents, and their other ends do not. */
void orders_reset(struct agent *agent);
