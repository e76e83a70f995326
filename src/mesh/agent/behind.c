/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/behind - the networks that are reached by way of this host, as the gate is told */
#include "mesh/agent/behind.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "mesh/routes.h"

struct plan {
	struct in_addr me;
	struct gate_network *list;
	size_t count;
};

static void add(void *owner, struct in_addr ip, int prefix_len, struct in_addr via)
{
	struct plan *plan = owner;
	const uint32_t mask = prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);

	if (via.s_addr == plan->me.s_addr)
		plan->list[plan->count++] = (struct gate_network){ip, {htonl(mask)}};
}

static void count(void *owner, struct in_addr ip, int prefix_len, struct in_addr via)
{
	(void)ip;
	(void)prefix_len;
	(void)via;
	++*(size_t *)owner;
}

int behind_plan(struct behind *behind, const struct mesh_config *config)
{
	struct routes *routes = routes_new(config->routes, config->nroutes);
	struct plan plan = {.me = config->me};
	size_t all = 1;

	if (!routes)
		return -ENOMEM;
	routes_each(routes, count, &all);
	plan.list = calloc(all, sizeof(*plan.list));
	if (plan.list && routes_ask(routes, config->me))
		add(&plan, (struct in_addr){0}, 0, config->me);
	else if (plan.list)
		routes_each(routes, add, &plan);
	routes_free(routes);
	if (!plan.list)
		return -ENOMEM;
	behind_fini(behind);
	*behind = (struct behind){plan.list, plan.count};
	return 0;
}

void behind_fini(struct behind *behind)
{
	free(behind->list);
	*behind = (struct behind){.list = NULL};
}
