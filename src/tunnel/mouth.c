/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/mouth - a tunnel's server: who connects here is led to where the clients are */
#include "tunnel/mouth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/accept.h"
#include "conn/bind.h"
#include "control/control.h"
#include "tunnel/door.h"
#include "tunnel/errand.h"
#include "tunnel/lane.h"
#include "tunnel/order.h"
#include "util/list.h"
#include "util/log.h"

/* A client that serves a door. */
struct member {
	struct gate *gate;
	struct caller *caller;
	struct list of_gate, of_caller;
};

/* A door and who serves it, those whose turn it was last. */
struct gate {
	struct mouth *mouth;
	struct list at;   /* in mouth->gates; not the one of the proxies */
	struct list busy; /* in mouth->busy: somebody is held */
	struct door door;
	struct order order;    /* what was asked for; the proxies' has no name */
	struct addr addr;      /* and where is listened */
	struct list members;   /* served by */
	struct loop_timer end; /* nobody serves it any more */
};

/* A client: all lanes that have its id. */
struct caller {
	struct mouth *mouth;
	struct list at;
	unsigned char id[HAIL_ID_BYTES];
	size_t nlanes; /* that wait or are asked, the one of messages too */
	struct list waiting;
	struct list members;
	struct lane *control;
	size_t wanted; /* lanes that it was asked for */
	uint64_t lull; /* when: see mouth->lulls */
	bool serves_proxies;
};

struct mouth {
	const struct mouth_start *start;
	struct bound clients_bound;
	struct acceptor clients;
	struct lane_house house;
	struct errands errands;
	struct caller lennuts; /* all of lennut's clients are one */
	struct list callers;
	struct gate proxies;
	struct list gates, busy;
	size_t ngates;
	/* how often nobody was held any more: what clients were asked for before is forgotten */
	uint64_t lulls;
	struct loop_task match;
	struct mouth_counts counts;
};

/* --- who serves what ------------------------------------------------------------------------- */

static bool is_proxies(const struct gate *gate)
{
	return gate == &gate->mouth->proxies;
}

/* Returns false for want of memory. */
static bool join(struct caller *caller, struct gate *gate)
{
	struct member *member;

	list_each (at, &caller->members)
		if (container_of(at, struct member, of_caller)->gate == gate)
			return true;
	member = calloc(1, sizeof(*member));
	if (!member)
		return false;
	*member = (struct member){.gate = gate, .caller = caller};
	list_add_first(&gate->members, &member->of_gate);
	list_add_last(&caller->members, &member->of_caller);
	loop_timer_cancel(gate->mouth->start->context->loop, &gate->end);
	loop_task_add(gate->mouth->start->context->loop, &gate->mouth->match);
	return true;
}

static void drop_lane(struct lane *lane);

static void close_gate(struct gate *gate)
{
	struct mouth *mouth = gate->mouth;

	/* clients may be connecting for them: those lanes cannot wait again */
	list_each_safe (at, following, &mouth->house.all) {
		struct lane *lane = container_of(at, struct lane, all);
		if (lane->inbound && lane->inbound->door == &gate->door)
			drop_lane(lane);
	}
	door_fini(&gate->door);
	loop_timer_cancel(mouth->start->context->loop, &gate->end);
	list_del(&gate->busy);
	list_del(&gate->at);
	mouth->ngates--;
	free(gate);
}

static void on_gate_end(struct loop_timer *timer)
{
	close_gate(container_of(timer, struct gate, end));
}

static void leave(struct member *member, bool is_held)
{
	struct gate *gate = member->gate;

	list_del(&member->of_gate);
	list_del(&member->of_caller);
	free(member);
	if (is_proxies(gate) || !list_is_empty(&gate->members))
		return;
	loop_timer_set(gate->mouth->start->context->loop, &gate->end, is_held ? MOUTH_HOLD_MS : 1);
}

static void leave_named(struct caller *caller, bool is_held)
{
	list_each_safe (at, following, &caller->members) {
		struct member *member = container_of(at, struct member, of_caller);
		if (!is_proxies(member->gate))
			leave(member, is_held);
	}
}

/* --- clients --------------------------------------------------------------------------------- */

static void caller_init(struct caller *caller, struct mouth *mouth)
{
	*caller = (struct caller){.mouth = mouth};
	list_init(&caller->waiting);
	list_init(&caller->members);
}

static struct caller *find_caller(struct mouth *mouth, const unsigned char id[HAIL_ID_BYTES])
{
	struct caller *caller;

	list_each (at, &mouth->callers) {
		caller = container_of(at, struct caller, at);
		if (memcmp(caller->id, id, HAIL_ID_BYTES) == 0)
			return caller;
	}
	caller = malloc(sizeof(*caller));
	if (!caller)
		return NULL;
	caller_init(caller, mouth);
	memcpy(caller->id, id, HAIL_ID_BYTES);
	list_add_first(&mouth->callers, &caller->at);
	return caller;
}

/* One lane less. Without any the client is forgotten. */
static void lose_lane(struct caller *caller)
{
	if (--caller->nlanes > 0 || caller == &caller->mouth->lennuts)
		return;
	while (!list_is_empty(&caller->members))
		leave(list_first(&caller->members, struct member, of_caller), true);
	list_del(&caller->at);
	free(caller);
}

/* The descriptor of a lane that has served, or is to. */
static int take_lane(struct lane *lane)
{
	struct caller *caller = lane->caller;
	int fd = lane_take(lane);

	lose_lane(caller);
	return fd;
}

/* --- who gets which -------------------------------------------------------------------------- */

static void note_held(struct door *door)
{
	struct gate *gate = container_of(door, struct gate, door);
	struct mouth *mouth = gate->mouth;

	if (!list_is_linked(&gate->busy))
		list_add_last(&mouth->busy, &gate->busy);
	loop_task_add(mouth->start->context->loop, &mouth->match);
}

static void let_wait(struct lane *lane)
{
	struct caller *caller = lane->caller;
	struct mouth *mouth = caller->mouth;

	list_add_last(&caller->waiting, &lane->at);
	if (caller->wanted > 0)
		caller->wanted--;
	loop_task_add(mouth->start->context->loop, &mouth->match);
}

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

static void lane_is_over(struct lane *lane);

/* It is of no use; its inbound gets another one. */
static void drop_lane(struct lane *lane)
{
	list_del(&lane->at);
	lane_is_over(lane);
	lane_close(lane);
}

static void ask(struct lane *lane, struct inbound *inbound)
{
	struct gate *gate = container_of(inbound->door, struct gate, door);
	struct caller *caller = lane->caller;
	struct mouth *mouth = caller->mouth;
	size_t others = gate->door.nheld - 1, wanted;
	unsigned char text[HAIL_TEXT_MAX];
	char peer[ADDR_TEXT_BYTES];
	size_t len;

	if (caller->lull != mouth->lulls)
		caller->wanted = 0;
	caller->lull = mouth->lulls;
	wanted = others > caller->wanted ? others - caller->wanted : 0;
	addr_format(&inbound->peer, peer, sizeof(peer));
	if (is_proxies(gate)) {
		len = strlen(peer);
		memcpy(text, peer, len);
	} else {
		len = order_label(gate->order.name, peer, text);
	}
	if (lane_ask(lane, text, len, wanted) < 0) {
		drop_lane(lane);
		return;
	}
	caller->wanted += wanted;
	list_del(&lane->at);
	door_take_out(inbound);
	lane->inbound = inbound;
	inbound->lane = lane;
}

/* All bytes from here on are theirs. */
static void join_ends(struct inbound *inbound, struct lane *lane)
{
	struct door *door = inbound->door;
	struct mouth *mouth = lane->caller->mouth;
	int fd = door_release(inbound);

	mouth->counts.served++;
	door->counts.served++;
	passage_begin(mouth->start->passage, door->proto, fd, take_lane(lane), NULL, 0);
}

/* Of lennut's wire. */
static void use(struct lane *lane, struct inbound *inbound)
{
	if (lane_use(lane) == 0) {
		list_del(&lane->at);
		join_ends(inbound, lane);
	} else {
		drop_lane(lane);
	}
}

static void match(struct gate *gate)
{
	struct lane *lane;

	while (!list_is_empty(&gate->door.held) && (lane = pick(gate))) {
		struct inbound *inbound = list_first(&gate->door.held, struct inbound, at);

		if (lane->is_own)
			ask(lane, inbound);
		else
			use(lane, inbound);
	}
	if (list_is_empty(&gate->door.held))
		list_del(&gate->busy);
}

static void on_match(struct loop_task *task)
{
	struct mouth *mouth = container_of(task, struct mouth, match);

	list_each_safe (at, following, &mouth->busy)
		match(container_of(at, struct gate, busy));
	if (list_is_empty(&mouth->busy))
		mouth->lulls++;
}

/* Nobody leads it on any more. */
static void on_given_up(struct inbound *inbound)
{
	struct lane *lane = inbound->lane;

	/* the client may be connecting for it: the lane cannot wait again */
	if (!lane)
		return;
	lane->inbound = NULL;
	drop_lane(lane);
}

static void gate_init(struct gate *gate, struct mouth *mouth, enum proto proto)
{
	gate->mouth = mouth;
	gate->door = (struct door){.context = mouth->start->context,
		.proto = proto,
		.hold_ms = MOUTH_HOLD_MS,
		.on_held = note_held,
		.on_given_up = on_given_up};
	door_init(&gate->door);
	list_init(&gate->members);
	gate->end.on_expired = on_gate_end;
}

/* --- what clients ask for -------------------------------------------------------------------- */

static struct gate *find_gate(struct mouth *mouth, const struct order *order)
{
	list_each (at, &mouth->gates) {
		struct gate *gate = container_of(at, struct gate, at);
		bool is_same = strcmp(gate->order.name, order->name) == 0;
		bool may_differ = order->at.family != AF_UNIX && addr_port(&order->at) == 0;
		if (gate->order.proto == order->proto && addr_equal(&gate->order.at, &order->at) &&
			(is_same || !may_differ))
			return gate;
	}
	return NULL;
}

/* Without --allow-forward: this host's loopback, and where only who is known can be a client all of
 * its addresses. */
static bool may_listen(const struct mouth *mouth, const struct addr *at)
{
	const struct mouth_start *start = mouth->start;
	const struct endpoint endpoint = {.addr = *at};

	if (start->listen->count > 0)
		return permit_allows(start->listen, &endpoint);
	if (at->family == AF_UNIX)
		return false;
	return start->key || start->clients.family == AF_UNSPEC ||
	       start->clients.family == AF_UNIX || addr_is_loopback(at);
}

/* Returns 0, or -errno with @err filled; -EPERM: there is no use in asking again. */
static int open_gate(
	struct mouth *mouth, const struct order *order, struct gate **out, struct err *err)
{
	char text[ADDR_TEXT_BYTES];
	struct gate *gate = find_gate(mouth, order);

	if (gate && strcmp(gate->order.name, order->name) == 0) {
		*out = gate;
		return 0;
	}
	if (gate && !list_is_empty(&gate->members))
		return err_set(err, EADDRINUSE, "%s is where another client has its \"%s\"",
			addr_format(&order->at, text, sizeof(text)), gate->order.name);
	if (gate)
		close_gate(gate);
	if (mouth->ngates == MOUTH_DOORS_MAX)
		return err_set(err, ENFILE, "the server has as many forwards as it may have");
	gate = calloc(1, sizeof(*gate));
	if (!gate)
		return err_sys(err, ENOMEM, "cannot listen");
	gate_init(gate, mouth, order->proto);
	gate->order = *order;
	gate->addr = order->at;
	int result = door_listen(&gate->door, &gate->addr, err);
	if (result < 0) {
		free(gate);
		return result;
	}
	mouth->ngates++;
	list_add_last(&mouth->gates, &gate->at);
	log_notice("tunnel: %s/%s leads to %s of a client",
		addr_format(&gate->addr, text, sizeof(text)), addr_proto_name(order->proto),
		order->name);
	*out = gate;
	return 0;
}

static int grant(struct caller *caller, const struct order *order, char *text, struct err *err)
{
	struct mouth *mouth = caller->mouth;
	struct gate *gate = NULL;
	int result;

	text[0] = '\0';
	if (order->is_reverse)
		return permit_allows(mouth->start->reach, &order->to)
			       ? 0
			       : err_set(err, EPERM,
					 "the server does not allow it (--allow-reverse)");
	if (!may_listen(mouth, &order->at))
		return err_set(err, EPERM, "the server does not allow it (--allow-forward)");
	result = open_gate(mouth, order, &gate, err);
	if (result < 0)
		return result;
	if (!join(caller, gate))
		return err_sys(err, ENOMEM, "cannot listen");
	addr_format(&gate->addr, text, ADDR_TEXT_BYTES);
	return 0;
}

static size_t count_named(const struct caller *caller)
{
	size_t count = 0;

	list_each (at, &caller->members)
		count += !is_proxies(container_of(at, struct member, of_caller)->gate);
	return count;
}

static int on_order(struct lane *lane, const struct hail *hail)
{
	unsigned char answer[HAIL_TEXT_MAX];
	char text[sizeof(((struct err *)0)->text) + 1];
	struct err err = {0};
	struct order order;
	size_t len;

	if (order_decode(hail->text, hail->len, &order) < 0 || !order.name[0] ||
		count_named(lane->caller) > ORDERS_MAX)
		return -EPROTO;
	int result = grant(lane->caller, &order, text, &err);
	if (result == 0) {
		len = order_label(order.name, text, answer);
		return hail_send(lane->io.fd, HAIL_GRANTED, answer, len) < 0 ? -EPROTO : 0;
	}
	text[0] = result == -EPERM ? '0' : '1';
	memcpy(text + 1, err.text, sizeof(err.text));
	len = order_label(order.name, text, answer);
	return hail_send(lane->io.fd, HAIL_DENIED, answer, len) < 0 ? -EPROTO : 0;
}

/* The lane becomes what it asks for. */
static int on_reach(struct lane *lane, const struct hail *hail)
{
	static const char why[] = "the server does not allow it (--allow-reverse)";
	struct mouth *mouth = lane->caller->mouth;
	struct order order;

	if (order_decode(hail->text, hail->len, &order) < 0 || !order.is_reverse)
		return -EPROTO;
	if (!permit_allows(mouth->start->reach, &order.to)) {
		hail_send(lane->io.fd, HAIL_REFUSED, why, sizeof(why) - 1);
		return -EPROTO;
	}
	errands_add(&mouth->errands, take_lane(lane), &order.to, order.proto);
	return 1;
}

static void on_errand(void *owner, int result)
{
	struct mouth *mouth = owner;

	if (result == 0)
		mouth->counts.reached++;
	else
		mouth->counts.unreached++;
}

/* --- lanes ----------------------------------------------------------------------------------- */

static bool on_new_lane(struct lane *lane)
{
	struct mouth *mouth = lane->house->owner;
	struct caller *caller = lane->is_own ? find_caller(mouth, lane->id) : &mouth->lennuts;

	if (!caller)
		return false;
	lane->caller = caller;
	caller->nlanes++;
	if (lane->kind == HAIL_CONTROL) {
		struct lane *before = caller->control;
		caller->control = lane;
		if (before)
			drop_lane(before);
	} else if (lane->kind != HAIL_REVERSE) {
		if (lane->kind == HAIL_ANY)
			join(caller, &mouth->proxies);
		let_wait(lane);
	}
	return true;
}

static void on_opened(struct lane *lane)
{
	join_ends(lane->inbound, lane);
}

static void on_refused(struct lane *lane)
{
	struct inbound *inbound = lane->inbound;

	lane->caller->mouth->counts.refused++;
	lane->inbound = NULL;
	door_refuse(inbound);
	let_wait(lane);
}

static int on_message(struct lane *lane, const struct hail *hail)
{
	if (lane->kind == HAIL_REVERSE && hail->type == HAIL_REACH)
		return on_reach(lane, hail);
	if (lane->kind != HAIL_CONTROL)
		return -EPROTO;
	if (hail->type == HAIL_ORDER)
		return on_order(lane, hail);
	if (hail->type != HAIL_LEAVE)
		return -EPROTO;
	leave_named(lane->caller, false);
	return 0;
}

/* Its client does not answer: neither will the other lanes. */
static void on_dead(struct lane *dead)
{
	struct caller *caller = dead->caller;

	while (true) {
		struct lane *lane = list_is_empty(&caller->waiting)
					    ? NULL
					    : list_first(&caller->waiting, struct lane, at);
		if (lane == dead) {
			list_del(&dead->at);
			continue;
		}
		if (!lane)
			break;
		drop_lane(lane);
	}
	if (caller->control && caller->control != dead)
		drop_lane(caller->control);
}

static void lane_is_over(struct lane *lane)
{
	struct caller *caller = lane->caller;
	struct inbound *inbound = lane->inbound;

	caller->mouth->counts.lost_lanes++;
	lane->inbound = NULL;
	if (inbound)
		door_put_back(inbound);
	if (caller->control == lane) {
		caller->control = NULL;
		leave_named(caller, true);
	}
	lose_lane(caller);
}

static const struct lane_ops lane_ops = {
	.on_new = on_new_lane,
	.on_opened = on_opened,
	.on_refused = on_refused,
	.on_message = on_message,
	.on_dead = on_dead,
	.on_over = lane_is_over,
};

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	lane_add(&container_of(acceptor, struct mouth, clients)->house, fd, peer, false);
}

void mouth_add_lane(struct mouth *mouth, int fd)
{
	lane_add(&mouth->house, fd, &(struct addr){.family = AF_UNIX}, true);
}

/* --- the beginning and the end --------------------------------------------------------------- */

static int open_clients(struct mouth *mouth, struct addr *at, struct err *err)
{
	const struct conn_context *context = mouth->start->context;
	int result = bind_open(at, PROTO_TCP, &mouth->clients_bound, err);

	if (result < 0)
		return result;
	mouth->clients = (struct acceptor){.on_client = on_client, .fds_each = 1};
	result = acceptor_open(
		&mouth->clients, context->loop, context->budget, mouth->clients_bound.fd);
	if (result == 0)
		return 0;
	bind_close(&mouth->clients_bound);
	mouth->clients_bound.fd = -1;
	return err_sys(err, -result, "cannot listen");
}

struct mouth *mouth_new(struct mouth_start *start, struct err *err)
{
	struct mouth *mouth = calloc(1, sizeof(*mouth));
	int result = mouth ? 0 : err_sys(err, ENOMEM, "cannot set up the tunnel");

	if (!mouth)
		return NULL;
	mouth->start = start;
	mouth->clients_bound.fd = -1;
	mouth->match.on_run = on_match;
	mouth->house = (struct lane_house){.ops = &lane_ops,
		.owner = mouth,
		.context = start->context,
		.key = start->key,
		.beat_ms = start->dead_ms / 4 > 0 ? start->dead_ms / 4 : 1};
	lane_house_init(&mouth->house);
	mouth->errands = (struct errands){.context = start->context,
		.passage = start->passage,
		.on_done = on_errand,
		.owner = mouth};
	errands_init(&mouth->errands);
	list_init(&mouth->callers);
	list_init(&mouth->gates);
	list_init(&mouth->busy);
	gate_init(&mouth->proxies, mouth, PROTO_TCP);
	caller_init(&mouth->lennuts, mouth);
	if (!join(&mouth->lennuts, &mouth->proxies))
		result = err_sys(err, ENOMEM, "cannot set up the tunnel");
	for (size_t i = 0; result == 0 && i < start->nproxies; i++)
		result = door_listen(&mouth->proxies.door, &start->proxies[i], err);
	if (result == 0 && start->clients.family != AF_UNSPEC)
		result = open_clients(mouth, &start->clients, err);
	if (result == 0)
		return mouth;
	mouth_free(mouth);
	return NULL;
}

static void free_caller(struct caller *caller)
{
	while (!list_is_empty(&caller->members)) {
		struct member *member = list_first(&caller->members, struct member, of_caller);
		list_del(&member->of_gate);
		list_del(&member->of_caller);
		free(member);
	}
}

void mouth_free(struct mouth *mouth)
{
	if (!mouth)
		return;
	if (mouth->clients_bound.fd >= 0) {
		acceptor_close(&mouth->clients);
		bind_close(&mouth->clients_bound);
	}
	/* those that lanes have are held again */
	list_each_safe (at, following, &mouth->house.all) {
		struct lane *lane = container_of(at, struct lane, all);
		if (lane->inbound)
			door_put_back(lane->inbound);
	}
	lane_house_fini(&mouth->house);
	errands_fini(&mouth->errands);
	while (!list_is_empty(&mouth->callers)) {
		struct caller *caller = list_first(&mouth->callers, struct caller, at);
		free_caller(caller);
		list_del(&caller->at);
		free(caller);
	}
	free_caller(&mouth->lennuts);
	while (!list_is_empty(&mouth->gates))
		close_gate(list_first(&mouth->gates, struct gate, at));
	door_fini(&mouth->proxies.door);
	loop_task_cancel(mouth->start->context->loop, &mouth->match);
	free(mouth);
}

struct mouth_counts mouth_counts(const struct mouth *mouth)
{
	struct mouth_counts counts = mouth->counts;

	counts.unserved = mouth->proxies.door.counts.unserved;
	counts.held = mouth->proxies.door.nheld;
	counts.waiting = counts.lennut_waiting = 0;
	list_each (at, &mouth->gates) {
		const struct door *door = &container_of(at, struct gate, at)->door;
		counts.unserved += door->counts.unserved;
		counts.held += door->nheld;
	}
	list_each (at, &mouth->house.all) {
		const struct lane *lane = container_of(at, struct lane, all);
		if (!lane->caller || lane->inbound || lane->kind == HAIL_CONTROL ||
			lane->kind == HAIL_REVERSE)
			continue;
		counts.waiting++;
		counts.lennut_waiting += !lane->is_own;
	}
	return counts;
}

json_t *mouth_tell_forwards(const struct mouth *mouth)
{
	json_t *all = json_array();

	list_each (at, &mouth->gates) {
		const struct gate *gate = container_of(at, struct gate, at);
		const struct door_counts *counts = &gate->door.counts;
		char text[ADDR_TEXT_BYTES];
		size_t clients = 0;

		list_each (link, &gate->members)
			clients++;
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "name",
				gate->order.name, "direction", "forward", "proto",
				addr_proto_name(gate->order.proto), "from",
				control_text(addr_format(&gate->addr, text, sizeof(text))),
				"clients", (json_int_t)clients, "held",
				(json_int_t)gate->door.nheld, "served", (json_int_t)counts->served,
				"refused", (json_int_t)counts->refused, "unserved",
				(json_int_t)counts->unserved));
	}
	return all;
}
