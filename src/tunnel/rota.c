/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/rota - which clients of a tunnel serve which doors of its server, and whose turn it is
 */
#include "tunnel/rota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A client that serves a gate. */
struct member {
	struct gate *gate;
	struct caller *caller;
	struct list of_gate, of_caller;
};

static struct rota *rota_of(const struct gate *gate)
{
	return container_of(gate->gates, struct rota, gates);
}

static bool is_proxies(const struct gate *gate)
{
	return gate == &rota_of(gate)->proxies;
}

static void on_held(struct door *door)
{
	struct gate *gate = container_of(door, struct gate, door);
	struct rota *rota = rota_of(gate);

	if (!list_is_linked(&gate->busy))
		list_add_last(&rota->busy, &gate->busy);
	rota->on_news(rota);
}

/* --- who serves them ------------------------------------------------------------------------- */

int rota_join(struct caller *caller, struct gate *gate)
{
	struct member *member;

	list_each (at, &caller->members)
		if (container_of(at, struct member, of_caller)->gate == gate)
			return 0;
	member = calloc(1, sizeof(*member));
	if (!member)
		return -ENOMEM;
	*member = (struct member){.gate = gate, .caller = caller};
	list_add_first(&gate->members, &member->of_gate);
	list_add_last(&caller->members, &member->of_caller);
	gates_stay(gate);
	rota_of(gate)->on_news(rota_of(gate));
	return 0;
}

static void forget(struct member *member)
{
	list_del(&member->of_gate);
	list_del(&member->of_caller);
	free(member);
}

static void leave(struct member *member, bool is_held)
{
	struct gate *gate = member->gate;

	forget(member);
	if (!is_proxies(gate) && list_is_empty(&gate->members))
		gates_leave(gate, is_held);
}

void rota_leave_named(struct caller *caller, bool is_held)
{
	list_each_safe (at, following, &caller->members) {
		struct member *member = container_of(at, struct member, of_caller);
		if (!is_proxies(member->gate))
			leave(member, is_held);
	}
}

size_t rota_count_named(const struct caller *caller)
{
	size_t count = 0;

	list_each (at, &caller->members)
		count += !is_proxies(container_of(at, struct member, of_caller)->gate);
	return count;
}

static void caller_init(struct caller *caller, struct rota *rota)
{
	*caller = (struct caller){.rota = rota};
	list_init(&caller->waiting);
	list_init(&caller->members);
}

struct caller *rota_add_lane(struct rota *rota, const unsigned char id[HAIL_ID_BYTES])
{
	struct caller *caller = NULL;

	list_each (at, &rota->callers) {
		struct caller *one = container_of(at, struct caller, at);
		if (memcmp(one->id, id, HAIL_ID_BYTES) == 0)
			caller = one;
	}
	if (!caller) {
		caller = malloc(sizeof(*caller));
		if (!caller)
			return NULL;
		caller_init(caller, rota);
		memcpy(caller->id, id, HAIL_ID_BYTES);
		list_add_first(&rota->callers, &caller->at);
	}
	caller->nlanes++;
	return caller;
}

void rota_lose_lane(struct caller *caller)
{
	if (caller == &caller->rota->lennuts || --caller->nlanes > 0)
		return;
	while (!list_is_empty(&caller->members))
		leave(list_first(&caller->members, struct member, of_caller), true);
	list_del(&caller->at);
	free(caller);
}

int rota_take_lane(struct lane *lane)
{
	struct caller *caller = lane->caller;
	int fd = lane_take(lane);

	rota_lose_lane(caller);
	return fd;
}

/* --- whose turn it is ------------------------------------------------------------------------ */

/* A lane of the client whose turn it is; NULL: nobody has one. */
static struct lane *pick(struct gate *gate)
{
	list_each (at, &gate->members) {
		struct member *member = container_of(at, struct member, of_gate);
		struct caller *caller = member->caller;

		if (list_is_empty(&caller->waiting))
			continue;
		list_del(&member->of_gate);
		list_add_last(&gate->members, &member->of_gate);
		return list_first(&caller->waiting, struct lane, at);
	}
	return NULL;
}

void rota_match(struct rota *rota, void (*serve)(struct lane *lane, struct inbound *inbound))
{
	list_each_safe (at, following, &rota->busy) {
		struct gate *gate = container_of(at, struct gate, busy);
		struct lane *lane;

		while (!list_is_empty(&gate->door.held) && (lane = pick(gate)))
			serve(lane, list_first(&gate->door.held, struct inbound, at));
		if (list_is_empty(&gate->door.held))
			list_del(&gate->busy);
	}
	if (list_is_empty(&rota->busy))
		rota->lulls++;
}

/* --- the beginning and the end --------------------------------------------------------------- */

int rota_init(struct rota *rota)
{
	list_init(&rota->callers);
	list_init(&rota->busy);
	rota->gates.on_held = on_held;
	gates_init(&rota->gates);
	gates_prepare(&rota->gates, &rota->proxies, PROTO_TCP);
	caller_init(&rota->lennuts, rota);
	return rota_join(&rota->lennuts, &rota->proxies);
}

static void forget_members(struct caller *caller)
{
	while (!list_is_empty(&caller->members))
		forget(list_first(&caller->members, struct member, of_caller));
}

void rota_fini(struct rota *rota)
{
	while (!list_is_empty(&rota->callers)) {
		struct caller *caller = list_first(&rota->callers, struct caller, at);
		forget_members(caller);
		list_del(&caller->at);
		free(caller);
	}
	forget_members(&rota->lennuts);
	gates_fini(&rota->gates);
	door_fini(&rota->proxies.door);
}
