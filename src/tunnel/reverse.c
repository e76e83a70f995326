/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/reverse - a tunnel's client listens, and its server connects to what that leads to */
#include "tunnel/reverse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/parse.h"

#define AGAIN_MS 1000

/* What is listened for. */
struct turn {
	struct reverse *reverse;
	struct wish *wish;
	struct door door;
};

static void open_more(struct reverse *reverse);

static void match_later(struct reverse *reverse)
{
	loop_task_add(reverse->house->context->loop, &reverse->match);
}

static struct turn *turn_of(const struct inbound *inbound)
{
	return container_of(inbound->door, struct turn, door);
}

/* --- what the server says -------------------------------------------------------------------- */

static void on_up(struct spoke *spoke, enum server_kind kind)
{
	struct reverse *reverse = spoke->owner;

	(void)kind;
	reverse->nopening--;
	reverse->nready++;
	list_del(&spoke->at);
	list_add_last(&reverse->ready, &spoke->at);
	match_later(reverse);
}

/* Returns what became of its inbound: the spoke is gone or of no use. */
static int on_message(struct spoke *spoke, const struct hail *hail)
{
	struct reverse *reverse = spoke->owner;
	struct inbound *inbound = spoke->used_for;
	char why[PARSE_QUOTE_BYTES], where[ENDPOINT_TEXT_BYTES], name[ORDER_NAME_MAX + 1],
		text[HAIL_TEXT_MAX + 1];

	if (!inbound)
		return -EPROTO;
	struct turn *turn = turn_of(inbound);
	if (hail->type == HAIL_OPENED) {
		enum proto proto = turn->door.proto;
		unsigned source = inbound->source;
		int fd = door_release(inbound);
		turn->wish->served++;
		passage_begin(reverse->passage, proto, source, fd, spoke_take(spoke), NULL, 0);
		return 1;
	}
	if (hail->type != HAIL_REFUSED)
		return -EPROTO;
	if (!order_read_label(hail, name, text))
		strcpy(text, "refused");
	failing_say(&turn->wish->failing, loop_now_ns(reverse->house->context->loop),
		turn->wish->order->name,
		endpoint_format(&turn->wish->order->to, where, sizeof(where)),
		parse_shown(text, why, sizeof(why)));
	turn->wish->refused++;
	door_refuse(inbound);
	spoke_close(spoke);
	return 1;
}

static void on_lost(struct spoke *spoke, const char *why)
{
	struct reverse *reverse = spoke->owner;
	struct inbound *inbound = spoke->used_for;

	log_debug("tunnel: a connection for --reverse: %s", why);
	if (spoke->state < SPOKE_WAITING)
		reverse->nopening--;
	else if (spoke->state == SPOKE_WAITING)
		reverse->nready--;
	if (inbound)
		door_put_back(inbound);
	if (reverse->is_up && !loop_timer_is_armed(&reverse->again))
		loop_timer_set(reverse->house->context->loop, &reverse->again, AGAIN_MS);
}

static const struct spoke_ops spoke_ops = {
	.on_up = on_up, .on_message = on_message, .on_lost = on_lost};

/* --- who gets which -------------------------------------------------------------------------- */

static size_t count_held(const struct reverse *reverse)
{
	size_t count = 0;

	for (size_t i = 0; i < reverse->count; i++)
		count += reverse->turns[i].door.nheld;
	return count;
}

static void use(struct spoke *spoke, struct inbound *inbound)
{
	struct reverse *reverse = spoke->owner;
	struct turn *turn = turn_of(inbound);
	unsigned char text[HAIL_TEXT_MAX];
	size_t len = order_encode(turn->wish->order, text);

	reverse->nready--;
	list_del(&spoke->at);
	if (hail_send(spoke->io.fd, HAIL_REACH, text, len) < 0) {
		spoke_close(spoke);
		return;
	}
	spoke_use(spoke);
	list_add_last(&reverse->used, &spoke->at);
	spoke->used_for = inbound;
	inbound->lane = spoke;
	door_take_out(inbound);
}

static void serve(struct turn *turn)
{
	struct reverse *reverse = turn->reverse;

	while (turn->wish->state == WISH_DENIED && !list_is_empty(&turn->door.held)) {
		turn->wish->refused++;
		door_refuse(list_first(&turn->door.held, struct inbound, at));
	}
	while (turn->wish->state == WISH_GRANTED && !list_is_empty(&turn->door.held) &&
		!list_is_empty(&reverse->ready))
		use(list_first(&reverse->ready, struct spoke, at),
			list_first(&turn->door.held, struct inbound, at));
}

static void on_match(struct loop_task *task)
{
	struct reverse *reverse = container_of(task, struct reverse, match);

	for (size_t i = 0; i < reverse->count; i++)
		serve(&reverse->turns[i]);
	if (!reverse->is_up)
		return;
	open_more(reverse);
	while (count_held(reverse) == 0 && reverse->nready > REVERSE_READY) {
		reverse->nready--;
		spoke_close(list_first(&reverse->ready, struct spoke, at));
	}
}

static void open_more(struct reverse *reverse)
{
	size_t wanted = REVERSE_READY + count_held(reverse);

	if (wanted > REVERSE_MAX)
		wanted = REVERSE_MAX;
	if (loop_timer_is_armed(&reverse->again))
		return;
	while (reverse->nready + reverse->nopening < wanted &&
		budget_has_room(reverse->house->context->budget, 4)) {
		struct spoke *spoke = spoke_open(reverse->house, HAIL_REVERSE, &spoke_ops, reverse);
		if (!spoke)
			return;
		list_add_last(&reverse->opening, &spoke->at);
		reverse->nopening++;
	}
}

static void on_again(struct loop_timer *timer)
{
	match_later(container_of(timer, struct reverse, again));
}

static void on_held(struct door *door)
{
	match_later(container_of(door, struct turn, door)->reverse);
}

static void on_given_up(struct inbound *inbound)
{
	struct spoke *spoke = inbound->lane;

	if (spoke)
		spoke_close(spoke);
}

void reverse_answer(struct reverse *reverse, const struct wish *wish)
{
	if (!wish->order->is_reverse)
		return;
	if (wish->state == WISH_GRANTED)
		reverse->is_up = true;
	match_later(reverse);
}

/* --- the beginning and the end --------------------------------------------------------------- */

static void close_spokes(struct list *spokes)
{
	while (!list_is_empty(spokes))
		spoke_close(list_first(spokes, struct spoke, at));
}

void reverse_down(struct reverse *reverse)
{
	if (!reverse->turns)
		return;
	reverse->is_up = false;
	close_spokes(&reverse->ready);
	close_spokes(&reverse->opening);
	reverse->nready = reverse->nopening = 0;
	loop_timer_cancel(reverse->house->context->loop, &reverse->again);
}

static void close_doors(struct reverse *reverse)
{
	for (size_t i = 0; i < reverse->count; i++)
		door_fini(&reverse->turns[i].door);
}

void reverse_drain(struct reverse *reverse)
{
	reverse_down(reverse);
	close_doors(reverse);
}

size_t reverse_connecting(const struct reverse *reverse)
{
	size_t count = 0;

	if (reverse->turns)
		list_each (at, &reverse->used)
			count++;
	return count;
}

void reverse_fini(struct reverse *reverse)
{
	if (!reverse->turns)
		return;
	reverse_down(reverse);
	while (!list_is_empty(&reverse->used)) {
		struct spoke *spoke = list_first(&reverse->used, struct spoke, at);
		door_put_back(spoke->used_for);
		spoke_close(spoke);
	}
	close_doors(reverse);
	loop_task_cancel(reverse->house->context->loop, &reverse->match);
	free(reverse->turns);
	reverse->turns = NULL;
}

static int open_turn(struct turn *turn, const struct order *order, struct err *err)
{
	struct reverse *reverse = turn->reverse;
	struct addr at = order->at;

	turn->wish = envoy_find(reverse->envoy, order->name, true);
	turn->door = (struct door){.context = reverse->house->context,
		.proto = order->proto,
		.hold_ms = REVERSE_HOLD_MS,
		.on_held = on_held,
		.on_given_up = on_given_up,
		.turned_away = &turn->wish->refused};
	door_init(&turn->door);
	int result = door_listen(&turn->door, &at, err);
	addr_format(&at, turn->wish->at, sizeof(turn->wish->at));
	return result;
}

int reverse_open(struct reverse *reverse, const struct order *orders, size_t count, struct err *err)
{
	int result = 0;

	reverse->match.on_run = on_match;
	reverse->again.on_expired = on_again;
	list_init(&reverse->ready);
	list_init(&reverse->used);
	list_init(&reverse->opening);
	reverse->turns = calloc(count + 1, sizeof(*reverse->turns));
	if (!reverse->turns)
		return err_sys(err, ENOMEM, "cannot set up the tunnel");
	for (size_t i = 0; i < count && result == 0; i++) {
		struct turn *turn = &reverse->turns[reverse->count];

		if (!orders[i].is_reverse)
			continue;
		turn->reverse = reverse;
		reverse->count++;
		result = open_turn(turn, &orders[i], err);
	}
	return result;
}
