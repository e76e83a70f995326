/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/gates - where a tunnel's server listens for what its clients have asked for by name */
#include "tunnel/gates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/control.h"
#include "util/clock.h"
#include "util/log.h"

#define LEAVING_MS 50 /* how often it is looked whether the last one has */

/* --- one of them ----------------------------------------------------------------------------- */

static void close_gate(struct gate *gate)
{
	struct gates *gates = gate->gates;

	gates->on_closing(gate);
	door_fini(&gate->door);
	loop_timer_cancel(gates->context->loop, &gate->end);
	list_del(&gate->busy);
	list_del(&gate->at);
	gates->count--;
	budget_give(gates->context->budget, 1);
	free(gate);
}

static void on_end(struct loop_timer *timer)
{
	struct gate *gate = container_of(timer, struct gate, end);

	/* clients that have left go on with what they are connecting to */
	if (gate->door.nout > 0)
		loop_timer_set(gate->gates->context->loop, timer, LEAVING_MS);
	else
		close_gate(gate);
}

void gates_prepare(struct gates *gates, struct gate *gate, enum proto proto)
{
	gate->gates = gates;
	gate->door = (struct door){.context = gates->context,
		.proto = proto,
		.hold_ms = gates->hold_ms,
		.on_held = gates->on_held,
		.on_given_up = gates->on_given_up};
	door_init(&gate->door);
	list_init(&gate->members);
	gate->end.on_expired = on_end;
}

void gates_leave(struct gate *gate, bool is_held)
{
	loop_timer_set(gate->gates->context->loop, &gate->end, is_held ? gate->gates->hold_ms : 0);
}

void gates_stay(struct gate *gate)
{
	loop_timer_cancel(gate->gates->context->loop, &gate->end);
}

static size_t count_members(const struct gate *gate)
{
	size_t count = 0;

	list_each (at, &gate->members)
		count++;
	return count;
}

/* --- all of them ----------------------------------------------------------------------------- */

/* Which has the place that @order asks for, or NULL. */
static struct gate *find(const struct gates *gates, const struct order *order)
{
	/* a port that is picked is another one for each name */
	bool is_picked = order->at.family != AF_UNIX && addr_port(&order->at) == 0;

	list_each (at, &gates->all) {
		struct gate *gate = container_of(at, struct gate, at);
		bool is_same = strcmp(gate->order.name, order->name) == 0;
		if (gate->order.proto == order->proto && addr_equal(&gate->order.at, &order->at) &&
			(is_same || !is_picked))
			return gate;
	}
	return NULL;
}

/* Who asks all the time keeps nobody else waiting. */
static bool may_try(struct gates *gates)
{
	uint64_t now_ns = loop_now_ns(gates->context->loop);

	if (now_ns - gates->tries_since_ns > NS_PER_S) {
		gates->tries_since_ns = now_ns;
		gates->tries = 0;
	}
	return gates->tries++ < GATES_TRIES_MAX;
}

static size_t most(const struct gates *gates)
{
	size_t share = gates->context->budget->max / GATES_SHARE;

	return share < GATES_MAX ? share : GATES_MAX;
}

/* One that is only held gives way. */
static void make_room(struct gates *gates)
{
	list_each_safe (at, following, &gates->all) {
		struct gate *gate = container_of(at, struct gate, at);
		if (gates->count >= most(gates) && list_is_empty(&gate->members) &&
			gate->door.nout == 0)
			close_gate(gate);
	}
}

static bool has_room(const struct gates *gates, const struct addr *source)
{
	size_t own = 0;

	list_each (at, &gates->all)
		own += addr_is_same_ip(&container_of(at, struct gate, at)->source, source);
	size_t others = gates->count - own, max = most(gates);
	return others < max && own < (max - others + 1) / 2 &&
	       budget_has_room(gates->context->budget, 1);
}

static int make(struct gates *gates, const struct order *order, const struct addr *source,
	struct gate **out, struct err *err)
{
	struct gate *gate;
	char text[ADDR_TEXT_BYTES];

	make_room(gates);
	if (!has_room(gates, source))
		return err_set(err, ENFILE,
			"the server has as many forwards as it may have for this address");
	if (!may_try(gates))
		return err_set(err, EAGAIN, "the server is asked for too much");
	gate = calloc(1, sizeof(*gate));
	if (!gate)
		return err_sys(err, ENOMEM, "cannot listen");
	gates_prepare(gates, gate, order->proto);
	gate->order = *order;
	gate->addr = order->at;
	gate->source = *source;
	/* a client may ask as often as it likes, and need not know who has what here */
	int result = door_listen(&gate->door, &gate->addr, NULL);
	if (result < 0) {
		free(gate);
		return err_sys(err, -result, "it cannot listen at %s",
			addr_format(&order->at, text, sizeof(text)));
	}
	gates->count++;
	budget_take(gates->context->budget, 1);
	list_add_last(&gates->all, &gate->at);
	log_notice("tunnel: %s/%s leads to %s of a client",
		addr_format(&gate->addr, text, sizeof(text)), addr_proto_name(order->proto),
		order->name);
	*out = gate;
	return 0;
}

int gates_open(struct gates *gates, const struct order *order, const struct addr *source,
	struct gate **out, struct err *err)
{
	struct gate *gate = find(gates, order);
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
	return make(gates, order, source, out, err);
}

json_t *gates_tell(const struct gates *gates)
{
	json_t *all = json_array();

	list_each (at, &gates->all) {
		const struct gate *gate = container_of(at, struct gate, at);
		const struct door_counts *counts = &gate->door.counts;
		char text[ADDR_TEXT_BYTES];

		json_array_append_new(all,
			json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "name",
				gate->order.name, "direction", "forward", "proto",
				addr_proto_name(gate->order.proto), "from",
				control_text(addr_format(&gate->addr, text, sizeof(text))),
				"clients", (json_int_t)count_members(gate), "held",
				(json_int_t)gate->door.nheld, "served", (json_int_t)counts->served,
				"refused", (json_int_t)counts->refused, "unserved",
				(json_int_t)counts->unserved));
	}
	return all;
}

void gates_init(struct gates *gates)
{
	list_init(&gates->all);
}

void gates_fini(struct gates *gates)
{
	while (!list_is_empty(&gates->all))
		close_gate(list_first(&gates->all, struct gate, at));
}
