/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#include "conn/datagrams.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conn/beyond.h"
#include "conn/inside.h"
#include "conn/names.h"
#include "conn/served.h"
#include "conn/udp_relay.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define HOLD_MS 3000 /* for a name or a socket */

struct datagrams {
	const struct conn_context *context;
	const struct dial_target *target;
	void (*on_failed)(void *owner, const struct udp_flow *flow, int result);
	void *owner;
	struct udp_relay *relay;
	struct inside_waiter waiter;
	struct lookup_query query;
	struct lookup_answer answer;
	bool is_answered; /* the query, just now */
	int found;        /* then: 0, `answer` is it, or -errno */
};

/* A socket connected to @to, or -EAGAIN: the pool is empty. Or another -errno. */
static int open_address(struct datagrams *datagrams, const struct addr *to)
{
	struct inside *inside = datagrams->context->inside;
	enum door_kind kind = door_kind_of(to->family, PROTO_UDP);
	bool is_inside = datagrams->target->where == DIAL_INSIDE;
	struct beyond *beyond = is_inside ? datagrams->context->beyond : NULL;

	if (kind == DOOR_KINDS)
		return -EAFNOSUPPORT;
	if (beyond && beyond->leads(beyond, to, PROTO_UDP))
		return beyond->start(beyond, NULL, to, PROTO_UDP);
	_cleanup_fd_ int fd =
		is_inside ? inside_take(inside, kind, &datagrams->waiter)
			  : socket(to->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 && is_inside)
		return fd;
	if (fd < 0 || connect(fd, &to->any, addr_len(to)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Have datagrams->answer filled: 0, or -EAGAIN: it will be later. Or another -errno. */
static int resolve(struct datagrams *datagrams)
{
	if (datagrams->is_answered)
		return datagrams->found;
	if (list_is_linked(&datagrams->query.link))
		return -EAGAIN;
	int result = names_start(datagrams->context->names, datagrams->target->host,
		&datagrams->query, &datagrams->answer);
	return result == -EINPROGRESS ? -EAGAIN : result;
}

static void fail(const struct datagrams *datagrams, const struct udp_flow *flow, int result)
{
	if (datagrams->on_failed && result != -EAGAIN && !dial_is_short(result))
		datagrams->on_failed(datagrams->owner, flow, result);
}

/* The place of the address that has a socket on this host, with ports in all; or their count. */
static size_t find_served(struct datagrams *datagrams)
{
	struct lookup_answer *answer = &datagrams->answer;

	for (size_t i = 0; i < answer->count; i++)
		addr_set_port(&answer->addrs[i], datagrams->target->port);
	return served_find(answer->addrs, answer->count);
}

/* flow->where is the place of its address in the answer, plus one; 0: none yet. */
static int open_name(struct datagrams *datagrams, struct udp_flow *flow)
{
	struct lookup_answer *answer = &datagrams->answer;
	int result = resolve(datagrams);

	if (result < 0)
		return result;
	const size_t served = find_served(datagrams);
	size_t first = served < answer->count ? served : (size_t)flow->where;
	for (size_t i = 0; i < answer->count; i++) {
		size_t place = (first + i) % answer->count;

		result = open_address(datagrams, &answer->addrs[place]);
		flow->where = (int)place + 1;
		if (result >= 0 || result == -EAGAIN || dial_is_short(result))
			break;
	}
	return result;
}

static int open_target(void *owner, struct udp_flow *flow)
{
	struct datagrams *datagrams = owner;
	const struct dial_target *target = datagrams->target;
	int result =
		target->host ? open_name(datagrams, flow) : open_address(datagrams, &target->addr);

	if (result < 0)
		fail(datagrams, flow, result);
	return result;
}

/* One end of a pair is of no use when the other one has gone. */
static bool is_beyond(const struct datagrams *datagrams)
{
	const struct dial_target *target = datagrams->target;
	struct beyond *beyond = datagrams->context->beyond;

	return target->where == DIAL_INSIDE && !target->host && beyond &&
	       beyond->leads(beyond, &target->addr, PROTO_UDP);
}

/* May another address of the name do better? Of those of this host it is known. */
static bool is_last(struct datagrams *datagrams, const struct udp_flow *flow)
{
	const struct lookup_answer *answer = &datagrams->answer;
	size_t others = 0;

	for (size_t i = 0; i < answer->count; i++)
		others += !addr_is_loopback(&answer->addrs[i]);
	return find_served(datagrams) == answer->count &&
	       (others == 0 || (size_t)flow->where == answer->count);
}

static bool on_refused(void *owner, const struct udp_flow *flow)
{
	struct datagrams *datagrams = owner;
	const size_t count = datagrams->target->host ? datagrams->answer.count : 0;

	if (count < 2 || is_last(datagrams, flow))
		fail(datagrams, flow, -ECONNREFUSED);
	return is_beyond(datagrams) || (count > 1 && flow->where > 0);
}

/* For the flows that wait now; the next ones ask again. */
static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct datagrams *datagrams = container_of(query, struct datagrams, query);

	datagrams->found = result == -EAGAIN ? -EHOSTUNREACH : result;
	if (result == 0)
		datagrams->answer = *answer;
	else
		log_info("datagrams were dropped: %s", dial_words(result));
	datagrams->is_answered = true;
	udp_relay_retry(datagrams->relay);
	datagrams->is_answered = false;
}

static void on_sockets(struct inside_waiter *waiter)
{
	udp_relay_retry(container_of(waiter, struct datagrams, waiter)->relay);
}

struct datagrams *datagrams_new(const struct conn_context *context, int fd,
	const struct dial_target *target,
	void (*on_failed)(void *owner, const struct udp_flow *flow, int result), void *owner)
{
	static const struct udp_relay_ops ops = {.open = open_target, .on_refused = on_refused};
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));

	if (!datagrams)
		return NULL;
	datagrams->context = context;
	datagrams->target = target;
	datagrams->on_failed = on_failed;
	datagrams->owner = owner;
	datagrams->waiter.on_sockets = on_sockets;
	datagrams->query.on_answer = on_answer;
	datagrams->relay = udp_relay_new(context->loop, context->budget, fd, &ops, datagrams);
	if (!datagrams->relay) {
		free(datagrams);
		return NULL;
	}
	udp_relay_set_hold_ms(datagrams->relay, HOLD_MS);
	return datagrams;
}

void datagrams_free(struct datagrams *datagrams)
{
	if (!datagrams)
		return;
	udp_relay_free(datagrams->relay);
	inside_wait_cancel(&datagrams->waiter);
	lookup_cancel(&datagrams->query);
	free(datagrams);
}
