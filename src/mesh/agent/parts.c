/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/parts - all that an agent is made of; for mesh/agent/agent and orders alone */
#include "mesh/agent/parts.h"

#include <errno.h>
#include <unistd.h>

#include "mesh/agent/orders.h"
#include "proc/rights.h"

#define FDS_MAX 65536

static int make_loop(struct agent *agent, struct err *err)
{
	agent->loop = loop_new();
	agent->hub = agent->loop ? wire_hub_new(agent->loop) : NULL;
	if (!agent->hub)
		return err_sys(err, errno, "cannot make an event loop");
	agent->budget.max = rights_raise_fd_limit(FDS_MAX);
	agent->budget.has_no_pool = agent->stack->ops->kind == STACK_STREAMS;
	if ((agent->budget.has_no_pool ? budget_check_bare(agent->budget.max, err)
				       : budget_check(agent->budget.max, 0, err)) < 0)
		return -err->code;
	int result = context_open(&agent->context, agent->loop, &agent->budget, agent->stack->door);
	return result < 0 ? err_sys(err, -result, "cannot set up the agent") : 0;
}

/* What its parts are told of each other. */
static void connect_parts(struct agent *agent)
{
	agent->tenure.loop = agent->loop;
	agent->tenure.wire = &agent->wire;
	agent->nets.stack = agent->stack;
	agent->nets.is_sandbox = agent->is_sandbox;
	agent->estate.loop = agent->hostfiles.loop = agent->loop;
	agent->crossing.loop = agent->loop;
	agent->crossing.gate = agent->gate;
	agent->crossing.stack = agent->stack;
	agent->crossing.wire = &agent->wire;
	agent->quay.stack = agent->stack;
	agent->quay.gate = agent->gate;
	agent->quay.crossing = &agent->crossing;
	agent->quay.outlet = &agent->outlet;
	agent->outlet.crossing = &agent->crossing;
	agent->outlet.on_change = orders_on_change;
	agent->outlet.owner = agent;
}

static int find_own(void *owner, enum proto proto, uint16_t port, struct dial_target *out)
{
	return quay_find_own(&((struct agent *)owner)->quay, proto, port, out);
}

/* Returns false without memory. */
static bool make_names(struct agent *agent)
{
	agent->ways = ways_new(&(struct ways_start){
		.context = &agent->context,
		.stack = agent->stack,
		.on_learnt = orders_on_learnt,
		.find_own = agent->quay.has_stack ? NULL : find_own,
		.owner = agent,
	});
	agent->asked = agent->ways ? asked_new(agent->ways) : NULL;
	if (agent->asked)
		agent->names = nameservice_new(
			agent->loop, &agent->budget, NULL, &asked_ops, agent->asked);
	return agent->names;
}

static bool make_role(struct agent *agent)
{
	agent->role = role_new(&(struct role_start){
		.is_sandbox = agent->is_sandbox,
		.context = &agent->context,
		.stack = agent->stack,
		.gate = agent->gate,
		.estate = &agent->estate,
		.names = agent->names,
		.outlet = &agent->outlet,
		.syns_ops = &crossing_syns_ops,
		.syns_owner = &agent->crossing,
		.on_change = orders_on_change,
		.owner = agent,
	});
	if (!agent->is_sandbox && outlet_open(&agent->outlet, &agent->context) < 0)
		return false;
	agent->proxies = proxies_new(&(struct proxies_start){
		.context = &agent->context,
		.ways = agent->ways,
		.estate = agent->is_sandbox ? NULL : &agent->estate,
		.on_change = orders_on_change,
		.owner = agent,
	});
	agent->quay.role = agent->role;
	agent->quay.names = agent->names;
	agent->quay.ways = agent->ways;
	return agent->role && agent->proxies;
}

int parts_make(struct agent *agent, struct err *err)
{
	int result = make_loop(agent, err);

	if (result < 0)
		return result;
	agent->gate = gate_new();
	if (!agent->gate)
		return err_sys(err, ENOMEM, "cannot set up the agent");
	connect_parts(agent);
	result = quay_open(&agent->quay, &agent->context);
	agent->context.beyond = result < 0 ? NULL : ferry_beyond(agent->quay.ferry);
	if (result < 0 || !make_names(agent) || !make_role(agent))
		return err_sys(err, ENOMEM, "cannot set up the agent");
	return 0;
}

void parts_free(struct agent *agent)
{
	hostfiles_end(&agent->hostfiles);
	if (agent->is_configured)
		orders_reset(agent);
	role_free(agent->role);
	outlet_close(&agent->outlet);
	proxies_free(agent->proxies);
	config_free(&agent->told);
	quay_close(&agent->quay);
	asked_free(agent->asked);
	nameservice_free(agent->names);
	ways_free(agent->ways);
	nets_fini(&agent->nets);
	tenure_end(&agent->tenure); /* not before our ports are free */
	context_close(&agent->context);
	gate_free(agent->gate);
	wire_close(&agent->wire);
	wire_hub_free(agent->hub);
	if (agent->stack)
		agent->stack->ops->stop(agent->stack);
	loop_free(agent->loop);
}
