/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/mouth - a tunnel's server: who connects here is led to where the clients are */
#include "tunnel/mouth.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/accept.h"
#include "conn/bind.h"
#include "control/control.h"
#include "control/owner.h"
#include "tunnel/clerk.h"
#include "tunnel/door.h"
#include "tunnel/errand.h"
#include "tunnel/lane.h"
#include "tunnel/order.h"
#include "tunnel/rota.h"
#include "util/list.h"

struct mouth {
	const struct mouth_start *start;
	struct bound clients_bound;
	struct acceptor clients;
	struct lane_house house;
	struct rota rota;
	struct errands errands;
	struct clerk clerk;
	struct loop_task match;
	struct mouth_counts counts;
};

static struct mouth *mouth_of(const struct lane *lane)
{
	return lane->house->owner;
}

/* --- who gets which -------------------------------------------------------------------------- */

static void let_wait(struct lane *lane)
{
	struct caller *caller = lane->caller;
	struct mouth *mouth = mouth_of(lane);

	list_add_last(&caller->waiting, &lane->at);
	if (caller->wanted > 0)
		caller->wanted--;
	loop_task_add(mouth->start->context->loop, &mouth->match);
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
	const struct rota *rota = &mouth_of(lane)->rota;
	size_t others = gate->door.nheld - 1, wanted, room;
	unsigned char text[HAIL_TEXT_MAX];
	struct addr dialled = {.family = AF_UNSPEC};

	/* when nobody was held any more, what it was asked for before did not matter any more */
	if (caller->lull != rota->lulls)
		caller->wanted = 0;
	caller->lull = rota->lulls;
	wanted = others > caller->wanted ? others - caller->wanted : 0;
	/* lanes in vain would leave no room for inbounds, nor for other lanes */
	room = budget_left(mouth_of(lane)->start->context->budget) / LANES_SHARE;
	if (room > lane_house_spare(&mouth_of(lane)->house))
		room = lane_house_spare(&mouth_of(lane)->house);
	if (wanted > room)
		wanted = room;
	if (gate->door.proto == PROTO_TCP)
		addr_get_own(inbound->io.fd, &dialled);
	size_t len = order_encode_open(gate->order.name, &inbound->peer, &dialled, text);
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
	struct mouth *mouth = mouth_of(lane);
	unsigned source = inbound->source;
	int fd = door_release(inbound);

	mouth->counts.served++;
	door->counts.served++;
	passage_begin(
		mouth->start->passage, door->proto, source, fd, rota_take_lane(lane), NULL, 0);
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

static void serve(struct lane *lane, struct inbound *inbound)
{
	if (lane->is_own)
		ask(lane, inbound);
	else
		use(lane, inbound);
}

static void on_match(struct loop_task *task)
{
	rota_match(&container_of(task, struct mouth, match)->rota, serve);
}

static void on_news(struct rota *rota)
{
	struct mouth *mouth = container_of(rota, struct mouth, rota);

	loop_task_add(mouth->start->context->loop, &mouth->match);
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

/* The same for those of a gate. */
static void on_closing(struct gate *gate)
{
	struct mouth *mouth = gate->gates->owner;

	list_each_safe (at, following, &mouth->house.all) {
		struct lane *lane = container_of(at, struct lane, all);
		if (lane->inbound && lane->inbound->door == &gate->door)
			drop_lane(lane);
	}
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
	struct rota *rota = &mouth_of(lane)->rota;
	struct caller *caller = lane->is_own ? rota_add_lane(rota, lane->id) : &rota->lennuts;

	if (!caller)
		return false;
	lane->caller = caller;
	if (lane->kind == HAIL_CONTROL) {
		/* it asks for all anew */
		struct lane *before = caller->control;
		rota_leave_named(caller, true);
		caller->control = lane;
		if (before)
			drop_lane(before);
	} else if (lane->kind != HAIL_REVERSE) {
		if (lane->kind == HAIL_ANY)
			rota_join(caller, &rota->proxies);
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

	mouth_of(lane)->counts.refused++;
	lane->inbound = NULL;
	door_refuse(inbound);
	let_wait(lane);
}

static int on_message(struct lane *lane, const struct hail *hail)
{
	if (lane->kind == HAIL_REVERSE && hail->type == HAIL_REACH)
		return clerk_reach(&mouth_of(lane)->clerk, lane, hail);
	if (lane->kind != HAIL_CONTROL)
		return -EPROTO;
	if (hail->type == HAIL_ORDER)
		return clerk_order(&mouth_of(lane)->clerk, lane, hail);
	if (hail->type != HAIL_LEAVE)
		return -EPROTO;
	rota_leave_named(lane->caller, false);
	return 0;
}

/* Its client does not answer: neither will the other lanes, those that connect included. */
static void on_dead(struct lane *dead)
{
	const struct caller *caller = dead->caller;

	list_each_safe (at, following, &mouth_of(dead)->house.all) {
		struct lane *lane = container_of(at, struct lane, all);
		if (lane != dead && lane->caller == caller)
			drop_lane(lane);
	}
}

static void lane_is_over(struct lane *lane)
{
	struct caller *caller = lane->caller;
	struct inbound *inbound = lane->inbound;

	mouth_of(lane)->counts.lost_lanes++;
	lane->inbound = NULL;
	if (inbound)
		door_put_back(inbound);
	if (caller->control == lane) {
		caller->control = NULL;
		rota_leave_named(caller, true);
	}
	rota_lose_lane(caller);
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

	if (result == -EADDRINUSE)
		owner_explain(at, PROTO_TCP, err);
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
	mouth->clerk = (struct clerk){.gates = &mouth->rota.gates,
		.errands = &mouth->errands,
		.listen = start->listen,
		.reach = start->reach,
		.are_known = start->key || start->clients.family == AF_UNSPEC ||
			     start->clients.family == AF_UNIX};
	mouth->rota = (struct rota){.on_news = on_news,
		.gates = {.context = start->context,
			.hold_ms = MOUTH_HOLD_MS,
			.on_given_up = on_given_up,
			.on_closing = on_closing,
			.owner = mouth}};
	if (rota_init(&mouth->rota) < 0)
		result = err_sys(err, ENOMEM, "cannot set up the tunnel");
	mouth->rota.proxies.door.turned_away = &mouth->counts.refused;
	for (size_t i = 0; result == 0 && i < start->nproxies; i++)
		result = door_listen(&mouth->rota.proxies.door, &start->proxies[i], err);
	if (result == 0 && start->clients.family != AF_UNSPEC)
		result = open_clients(mouth, &start->clients, err);
	if (result == 0)
		return mouth;
	mouth_free(mouth);
	return NULL;
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
	list_each (at, &mouth->house.all) {
		struct lane *lane = container_of(at, struct lane, all);
		if (lane->inbound)
			door_put_back(lane->inbound);
	}
	lane_house_fini(&mouth->house);
	errands_fini(&mouth->errands);
	rota_fini(&mouth->rota);
	loop_task_cancel(mouth->start->context->loop, &mouth->match);
	free(mouth);
}

struct mouth_counts mouth_counts(const struct mouth *mouth)
{
	struct mouth_counts counts = mouth->counts;
	const struct door *proxies = &mouth->rota.proxies.door;

	counts.unserved = proxies->counts.unserved;
	counts.held = proxies->nheld;
	counts.waiting = counts.lennut_waiting = 0;
	list_each (at, &mouth->rota.gates.all) {
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
	return gates_tell(&mouth->rota.gates);
}
