/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/rota - which clients of a tunnel serve which doors of its server, and whose turn it is
 */
#include "tunnel/rota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "util/log.h"

#define LEAVING_MS 50 /* how often it is looked whether the last one has */

/* A client that serves a gate. */
struct member {
	struct gate *gate;
	struct caller *caller;
	struct list of_gate, of_caller;
};

/* --- gates ----------------------------------------------------------------------------------- */

bool rota_is_proxies(const struct gate *gate)
{
	return gate == &gate->rota->proxies;
}

static void close_gate(struct gate *gate)
{
	struct rota *rota = gate->rota;

	rota->on_closing(gate);
	door_fini(&gate->door);
	loop_timer_cancel(rota->context->loop, &gate->end);
	list_del(&gate->busy);
	list_del(&gate->at);
	rota->ngates--;
	free(gate);
}

static void on_end(struct loop_timer *timer)
{
	struct gate *gate = container_of(timer, struct gate, end);

	/* clients that have left go on with what they are connecting to */
	if (gate->door.nout > 0)
		loop_timer_set(gate->rota->context->loop, timer, LEAVING_MS);
	else
		close_gate(gate);
}

static void on_held(struct door *door)
{
	struct gate *gate = container_of(door, struct gate, door);
	struct rota *rota = gate->rota;

	if (!list_is_linked(&gate->busy))
		list_add_last(&rota->busy, &gate->busy);
	rota->on_news(rota);
}

static void gate_init(struct gate *gate, struct rota *rota, enum proto proto)
{
	gate->rota = rota;
	gate->door = (struct door){.context = rota->context,
		.proto = proto,
		.hold_ms = rota->hold_ms,
		.on_held = on_held,
		.on_given_up = rota->on_given_up};
	door_init(&gate->door);
	list_init(&gate->members);
	gate->end.on_expired = on_end;
}

/* Which has the place that @order asks for, or NULL. */
static struct gate *find_gate(const struct rota *rota, const struct order *order)
{
	/* a port that is picked is another one for each name */
	bool is_picked = order->at.family != AF_UNIX && addr_port(&order->at) == 0;

	list_each (at, &rota->gates) {
		struct gate *gate = container_of(at, struct gate, at);
		bool is_same = strcmp(gate->order.name, order->name) == 0;
		if (gate->order.proto == order->proto && addr_equal(&gate->order.at, &order->at) &&
			(is_same || !is_picked))
			return gate;
	}
	return NULL;
}

/* Who asks all the time keeps nobody else waiting. */
static bool may_try(struct rota *rota)
{
	uint64_t now_ns = loop_now_ns(rota->context->loop);

	if (now_ns - rota->tries_since_ns > NS_PER_S) {
		rota->tries_since_ns = now_ns;
		rota->tries = 0;
	}
	return rota->tries++ < ROTA_TRIES_MAX;
}

static int make_gate(
	struct rota *rota, const struct order *order, struct gate **out, struct err *err)
{
	struct gate *gate;
	char text[ADDR_TEXT_BYTES];

	if (rota->ngates == ROTA_GATES_MAX)
		return err_set(err, ENFILE, "the server has as many forwards as it may have");
	if (!may_try(rota))
		return err_set(err, EAGAIN, "the server is asked for too much");
	gate = calloc(1, sizeof(*gate));
	if (!gate)
		return err_sys(err, ENOMEM, "cannot listen");
	gate_init(gate, rota, order->proto);
	gate->order = *order;
	gate->addr = order->at;
	/* a client may ask as often as it likes, and need not know who has what here */
	int result = door_listen(&gate->door, &gate->addr, NULL);
	if (result < 0) {
		free(gate);
		return err_sys(err, -result, "it cannot listen at %s",
			addr_format(&order->at, text, sizeof(text)));
	}
	rota->ngates++;
	list_add_last(&rota->gates, &gate->at);
	log_notice("tunnel: %s/%s leads to %s of a client",
		addr_format(&gate->addr, text, sizeof(text)), addr_proto_name(order->proto),
		order->name);
	*out = gate;
	return 0;
}

int rota_open(struct rota *rota, const struct order *order, struct gate **out, struct err *err)
{
	struct gate *gate = find_gate(rota, order);
	char text[ADDR_TEXT_BYTES];

	if (gate && strcmp(gate->order.name, order->name) == 0) {
		*out = gate;
		return 0;
	}
	if (gate && !list_is_empty(&gate->members))
		return err_set(err, EADDRINUSE, "%s is where another client has its \"%s\"",
			addr_format(&order->at, text, sizeof(text)), gate->order.name);
	if (gate)
		close_gate(gate);
	return make_gate(rota, order, out, err);
}

size_t rota_count_members(const struct gate *gate)
{
	size_t count = 0;

	list_each (at, &gate->members)
		count++;
	return count;
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
	loop_timer_cancel(gate->rota->context->loop, &gate->end);
	gate->rota->on_news(gate->rota);
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
	if (!rota_is_proxies(gate) && list_is_empty(&gate->members))
		loop_timer_set(
			gate->rota->context->loop, &gate->end, is_held ? gate->rota->hold_ms : 0);
}

void rota_leave_named(struct caller *caller, bool is_held)
{
	list_each_safe (at, following, &caller->members) {
		struct member *member = container_of(at, struct member, of_caller);
		if (!rota_is_proxies(member->gate))
			leave(member, is_held);
	}
}

size_t rota_count_named(const struct caller *caller)
{
	size_t count = 0;

	list_each (at, &caller->members)
		count += !rota_is_proxies(container_of(at, struct member, of_caller)->gate);
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
	list_init(&rota->gates);
	list_init(&rota->busy);
	gate_init(&rota->proxies, rota, PROTO_TCP);
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
	while (!list_is_empty(&rota->gates))
		close_gate(list_first(&rota->gates, struct gate, at));
	door_fini(&rota->proxies.door);
}
