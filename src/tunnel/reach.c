/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/reach - a tunnel's client: connections that wait at its server, and what they lead to */
#include "tunnel/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "tunnel/endpoint.h"
#include "tunnel/envoy.h"
#include "tunnel/hail.h"
#include "tunnel/proxyline.h"
#include "tunnel/reverse.h"
#include "tunnel/spoke.h"
#include "util/list.h"
#include "util/log.h"

#define ROOM_MS 50 /* how often it is looked for descriptors where there were none */

struct reach {
	const struct reach_start *start;
	struct loop *loop;
	struct spoke_house house;
	struct envoy envoy;
	struct reverse reverse;
	struct list spokes; /* that serve */
	size_t nready;      /* that wait, or are on their way to it */
	size_t wanted;      /* how many should be ready */
	bool is_up, is_draining, is_paused, was_used;
	uint64_t pause_ms;
	struct loop_timer again, surplus;
	struct reach_counts counts;
	struct failing failing; /* what is led through without a name */
	struct failing crowd;
};

static void fill(struct reach *reach);

/* --- ends ------------------------------------------------------------------------------------ */

static bool is_ready(const struct spoke *spoke)
{
	return spoke->state != SPOKE_USED;
}

static void close_spoke(struct spoke *spoke)
{
	struct reach *reach = spoke->owner;

	if (is_ready(spoke))
		reach->nready--;
	spoke_close(spoke);
}

static void close_ready(struct reach *reach)
{
	list_each_safe (at, following, &reach->spokes) {
		struct spoke *spoke = container_of(at, struct spoke, at);
		if (is_ready(spoke))
			close_spoke(spoke);
	}
}

static uint64_t next_pause(struct reach *reach)
{
	uint64_t pause = reach->pause_ms;
	uint16_t noise = 0;

	reach->pause_ms = pause * 2 < REACH_PAUSE_MAX_MS ? pause * 2 : REACH_PAUSE_MAX_MS;
	/* many clients of one server do not come all at once */
	if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) != (ssize_t)sizeof(noise))
		noise = 0;
	return pause * 3 / 4 + pause * noise / (2 * 65536U);
}

static void be_down(struct reach *reach)
{
	reach->is_up = false;
	reach->house.kind = reach->start->connect ? SERVER_OWN : SERVER_UNKNOWN;
	reach->wanted = REACH_WAITING_MIN;
	envoy_down(&reach->envoy);
	reverse_down(&reach->reverse);
}

/* The server cannot be had, or has ended what waited: try again later, with one. */
static void on_lost(struct spoke *spoke, const char *why)
{
	struct reach *reach = spoke->owner;

	if (!is_ready(spoke))
		return; /* who asked has gone */
	/* lennut's closes what is too many; who is silent on one is on all of them */
	bool matters = --reach->nready < 1 || !reach->is_up || spoke->is_silent;
	if (matters && (reach->is_up || reach->pause_ms == REACH_PAUSE_MS) && reach->start->on_down)
		reach->start->on_down(reach->start->owner, why);
	if (matters)
		be_down(reach);
	if (spoke->is_silent)
		close_ready(reach);
	if (!reach->is_draining && !loop_timer_is_armed(&reach->again))
		loop_timer_set(reach->loop, &reach->again, next_pause(reach));
}

static void on_again(struct loop_timer *timer)
{
	fill(container_of(timer, struct reach, again));
}

/* --- the target ------------------------------------------------------------------------------ */

static void refuse(struct spoke *spoke)
{
	struct reach *reach = spoke->owner;
	struct wish *wish = spoke->used_for;

	reach->counts.refused++;
	if (wish)
		wish->refused++;
	/* lennut's wire has no word for it; one that is drained is not to be used again */
	if (!spoke->is_own || hail_send(spoke->io.fd, HAIL_REFUSED, NULL, 0) < 0 ||
		reach->is_draining) {
		close_spoke(spoke);
		return;
	}
	spoke_wait(spoke);
	reach->nready++;
}

/* Of who connected at the server; lennut's does not say who. */
static unsigned source_of(const struct spoke *spoke)
{
	const struct reach *reach = spoke->owner;
	const struct addr peer = endpoint_read_peer(spoke->peer);

	return shares_source(&reach->start->context->budget->shares, &peer);
}

static struct dial_target target_of(const struct spoke *spoke)
{
	const struct reach *reach = spoke->owner;
	const struct wish *wish = spoke->used_for;

	if (!wish)
		return reach->start->target;
	struct dial_target target = endpoint_target(&wish->order->to);
	target.proto = wish->order->proto;
	return target;
}

static void on_target(struct dial *dial, int result)
{
	struct spoke *spoke = container_of(dial, struct spoke, dial);
	struct reach *reach = spoke->owner;
	struct wish *wish = spoke->used_for;
	const struct dial_target target = target_of(spoke);
	char text[ENDPOINT_TEXT_BYTES], line[PROXYLINE_MAX];

	if (result < 0) {
		failing_say(wish ? &wish->failing : &reach->failing, loop_now_ns(reach->loop),
			wish ? wish->order->name : "--to", dial_format(&target, text, sizeof(text)),
			dial_words(result));
		refuse(spoke);
		return;
	}
	if (spoke->is_own && hail_send(spoke->io.fd, HAIL_OPENED, NULL, 0) < 0) {
		close(result);
		close_spoke(spoke);
		return;
	}
	size_t len = 0;
	if (target.proto == PROTO_TCP)
		len = proxyline_make(
			reach->start->proxy_version, spoke->peer, spoke->dialled, line);
	reach->counts.served++;
	if (wish)
		wish->served++;
	/* the target is what is told first: see passage_begin */
	unsigned source = source_of(spoke);
	passage_begin(
		reach->start->passage, target.proto, source, result, spoke_take(spoke), line, len);
}

static void connect_target(struct spoke *spoke)
{
	struct reach *reach = spoke->owner;

	if (is_ready(spoke))
		reach->nready--;
	spoke_use(spoke);
	spoke_count(spoke, source_of(spoke));
	reach->was_used = true;
	fill(reach);
	spoke->dial.on_done = on_target;
	struct dial_target target = target_of(spoke);
	int result = dial_start(&spoke->dial, reach->start->context, &target);
	if (result != -EINPROGRESS)
		on_target(&spoke->dial, result);
}

/* --- the server ------------------------------------------------------------------------------ */

static void be_up(struct reach *reach, enum server_kind kind)
{
	/* it is the house's already */
	bool is_news = !reach->is_up || reach->counts.is_lennut != (kind == SERVER_LENNUT);

	reach->is_up = true;
	reach->counts.is_lennut = kind == SERVER_LENNUT;
	reach->pause_ms = REACH_PAUSE_MS;
	if (kind == SERVER_LENNUT && reach->wanted < REACH_LENNUT_READY)
		reach->wanted = REACH_LENNUT_READY;
	if (is_news && reach->start->on_up)
		reach->start->on_up(reach->start->owner, kind == SERVER_LENNUT);
	if (kind == SERVER_OWN)
		envoy_up(&reach->envoy);
	fill(reach);
}

static void on_up(struct spoke *spoke, enum server_kind kind)
{
	be_up(spoke->owner, kind);
}

static void on_greeted(struct spoke *spoke)
{
	be_up(spoke->owner, SERVER_LENNUT);
	connect_target(spoke);
}

/* Returns what on_message of a spoke does. */
static int on_open(struct spoke *spoke, const struct hail *hail)
{
	struct reach *reach = spoke->owner;
	char name[ORDER_NAME_MAX + 1];

	if (!order_decode_open(hail, name, spoke->peer, spoke->dialled))
		return -EPROTO;
	spoke->used_for = name[0] ? envoy_find(&reach->envoy, name, false) : NULL;
	bool is_for_nobody = name[0] ? !spoke->used_for : !reach->start->has_target;
	const struct addr peer = endpoint_read_peer(spoke->peer);
	bool has_place = budget_has_place(reach->start->context->budget, &peer);
	if (!has_place)
		failing_say_crowd(&reach->crowd, loop_now_ns(reach->loop), spoke->peer);
	if (hail_send(spoke->io.fd, HAIL_TAKEN, NULL, 0) < 0)
		return -EPIPE;
	if (is_for_nobody || !has_place) {
		reach->counts.refused++;
		if (spoke->used_for)
			((struct wish *)spoke->used_for)->refused++;
		return hail_send(spoke->io.fd, HAIL_REFUSED, NULL, 0);
	}
	connect_target(spoke);
	return 1;
}

/* What waits keeps nobody out who comes by another way: it has a part of its own. */
static size_t most_ready(const struct reach *reach)
{
	size_t most = reach->start->connect ? REACH_WAITING_LINK : REACH_WAITING_MAX;
	size_t share = reach->start->context->budget->max / REACH_SHARE;

	return share < most ? share : most;
}

static int on_message(struct spoke *spoke, const struct hail *hail)
{
	struct reach *reach = spoke->owner;

	if (hail->type == HAIL_OPEN)
		return on_open(spoke, hail);
	if (hail->type != HAIL_MORE || hail->len != 4)
		return -EPROTO;
	size_t wanted = reach->nready + hail_number(hail);
	reach->wanted = wanted < most_ready(reach) ? wanted : most_ready(reach);
	fill(reach);
	return 0;
}

static const struct spoke_ops ops = {
	.on_up = on_up, .on_greeted = on_greeted, .on_message = on_message, .on_lost = on_lost};
/* of a client that serves nothing but what it has asked for: lennut's server has nothing for it */
static const struct spoke_ops named_ops = {
	.on_up = on_up, .on_message = on_message, .on_lost = on_lost};

static bool open_spoke(struct reach *reach)
{
	bool has_target = reach->start->has_target;
	struct spoke *spoke = spoke_open(&reach->house, has_target ? HAIL_ANY : HAIL_NAMED,
		has_target ? &ops : &named_ops, reach);

	if (!spoke)
		return false;
	list_add_last(&reach->spokes, &spoke->at);
	reach->nready++;
	return true;
}

/* As many as should be ready; one, as long as nobody has answered. */
static void fill(struct reach *reach)
{
	struct budget *budget = reach->start->context->budget;
	size_t wanted = reach->is_up ? reach->wanted : 1;

	if (reach->is_draining || reach->is_paused)
		return;
	while (reach->nready < wanted && (!reach->is_up || budget_has_room(budget, 4)))
		if (!open_spoke(reach))
			break;
	if (reach->nready == 0 && !loop_timer_is_armed(&reach->again))
		loop_timer_set(
			reach->loop, &reach->again, reach->is_up ? ROOM_MS : next_pause(reach));
}

static void on_surplus(struct loop_timer *timer)
{
	struct reach *reach = container_of(timer, struct reach, surplus);
	size_t least = reach->house.kind == SERVER_LENNUT ? REACH_LENNUT_READY : REACH_WAITING_MIN;

	loop_timer_set(reach->loop, timer, REACH_SURPLUS_MS);
	if (reach->was_used) {
		reach->was_used = false;
		return;
	}
	reach->wanted = least;
	list_each_safe (at, following, &reach->spokes) {
		struct spoke *spoke = container_of(at, struct spoke, at);
		if (reach->nready > least && spoke->state == SPOKE_WAITING && spoke->is_own)
			close_spoke(spoke);
	}
}

/* --- the beginning and the end --------------------------------------------------------------- */

static void on_answer(void *owner, struct wish *wish)
{
	reverse_answer(&((struct reach *)owner)->reverse, wish);
}

static void init(struct reach *reach, const struct reach_start *start)
{
	*reach = (struct reach){.start = start,
		.loop = start->context->loop,
		.house = {.context = start->context,
			.server = start->server,
			.connect = start->connect,
			.owner = start->owner,
			.key = start->key,
			.kind = start->connect ? SERVER_OWN : SERVER_UNKNOWN,
			.beat_ms = DIAL_DEADLINE_MS},
		.wanted = REACH_WAITING_MIN,
		.is_paused = start->connect != NULL,
		.pause_ms = REACH_PAUSE_MS,
		.again.on_expired = on_again,
		.surplus.on_expired = on_surplus};
	list_init(&reach->spokes);
	reach->envoy = (struct envoy){.house = &reach->house,
		.on_answer = on_answer,
		.owner = reach,
		.server = start->server_text};
	envoy_init(&reach->envoy, start->orders, start->norders);
	reach->reverse = (struct reverse){
		.house = &reach->house, .passage = start->passage, .envoy = &reach->envoy};
}

struct reach *reach_new(const struct reach_start *start, struct err *err)
{
	struct reach *reach = malloc(sizeof(*reach));
	int result = 0;

	if (!reach) {
		err_sys(err, ENOMEM, "cannot set up the tunnel");
		return NULL;
	}
	init(reach, start);
	if (getrandom(reach->house.id, HAIL_ID_BYTES, 0) != HAIL_ID_BYTES)
		result = err_sys(err, errno, "cannot set up the tunnel");
	if (result == 0)
		result = reverse_open(&reach->reverse, start->orders, start->norders, err);
	if (result < 0) {
		reach_free(reach);
		return NULL;
	}
	loop_timer_set(reach->loop, &reach->surplus, REACH_SURPLUS_MS);
	fill(reach);
	return reach;
}

void reach_pause(struct reach *reach, bool is_paused)
{
	reach->is_paused = is_paused;
	loop_timer_cancel(reach->loop, &reach->again);
	if (is_paused) {
		be_down(reach);
		close_ready(reach);
	}
	fill(reach);
}

void reach_drain(struct reach *reach)
{
	reach->is_draining = true;
	loop_timer_cancel(reach->loop, &reach->again);
	envoy_leave(&reach->envoy);
	reverse_drain(&reach->reverse);
	close_ready(reach);
}

void reach_free(struct reach *reach)
{
	if (!reach)
		return;
	loop_timer_cancel(reach->loop, &reach->again);
	loop_timer_cancel(reach->loop, &reach->surplus);
	reverse_fini(&reach->reverse);
	envoy_fini(&reach->envoy);
	while (!list_is_empty(&reach->spokes))
		close_spoke(list_first(&reach->spokes, struct spoke, at));
	free(reach);
}

struct reach_counts reach_counts(const struct reach *reach)
{
	struct reach_counts counts = reach->counts;

	counts.is_up = reach->is_up;
	counts.waiting = reach->nready;
	counts.connecting = reverse_connecting(&reach->reverse);
	list_each (at, &reach->spokes)
		counts.connecting += !is_ready(container_of(at, struct spoke, at));
	return counts;
}

json_t *reach_tell_forwards(const struct reach *reach)
{
	return envoy_tell(&reach->envoy);
}
