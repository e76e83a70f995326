/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#include "conn/datagrams.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conn/inside.h"
#include "conn/names.h"
#include "conn/udp_relay.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define HOLD_MS 3000 /* for a name or a socket */

struct datagrams {
	const struct conn_context *context;
	const struct dial_target *target;
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

	if (kind == DOOR_KINDS)
		return -EAFNOSUPPORT;
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

static int open_target(void *owner, struct udp_flow *flow)
{
	struct datagrams *datagrams = owner;
	const struct dial_target *target = datagrams->target;

	(void)flow;
	if (!target->host)
		return open_address(datagrams, &target->addr);
	int result = resolve(datagrams);
	if (result < 0)
		return result;
	struct addr to = datagrams->answer.addrs[0];
	addr_set_port(&to, target->port);
	return open_address(datagrams, &to);
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

struct datagrams *datagrams_new(
	const struct conn_context *context, int fd, const struct dial_target *target)
{
	static const struct udp_relay_ops ops = {.open = open_target};
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));

	if (!datagrams)
		return NULL;
	datagrams->context = context;
	datagrams->target = target;
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
