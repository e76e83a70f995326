/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#include "conn/datagrams.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conn/inside.h"
#include "conn/udp_relay.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define HOLD_MS 3000 /* for a name or a socket */

struct datagrams {
	const struct conn_context *context;
	struct dialer *dialer;
	int fd;
	const struct dial_target *target;
	struct udp_relay *relay;
	struct inside_waiter waiter;
	struct lookup_query query;
	int found; /* what `answer` is worth: 0, -errno, or -EAGAIN: nothing now */
	struct addr answer;
};

static int connect_to(int fd, const struct addr *to)
{
	_cleanup_fd_ int target_fd = fd;

	if (target_fd < 0 || connect(target_fd, &to->any, addr_len(to)) < 0)
		return -errno;
	return fd_take(&target_fd);
}

static int open_inside(struct datagrams *datagrams)
{
	struct inside *inside = datagrams->context->inside;
	const struct addr to = addr_of4(datagrams->target->ip, datagrams->target->port);
	int fd = inside_take(inside, DOOR_UDP4);

	if (fd < 0) {
		inside_wait(inside, DOOR_UDP4, &datagrams->waiter);
		return -EAGAIN;
	}
	return connect_to(fd, &to);
}

static int open_address(struct addr to, uint16_t port)
{
	addr_set_port(&to, port);
	return connect_to(socket(to.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), &to);
}

static int open_target(void *owner, struct udp_flow *flow)
{
	struct datagrams *datagrams = owner;
	const struct dial_target *target = datagrams->target;
	struct addr to;

	(void)flow;
	if (target->is_inside)
		return open_inside(datagrams);
	if (addr_parse(target->host, &to, NULL) == 0)
		return open_address(to, target->port);
	if (datagrams->found == 0)
		return open_address(datagrams->answer, target->port);
	if (datagrams->found != -EAGAIN || datagrams->query.name)
		return datagrams->found;
	int result =
		lookup_start(dialer_lookup(datagrams->dialer), target->host, &datagrams->query);
	return result < 0 ? result : -EAGAIN;
}

/* For the flows that wait now; the next ones ask again. */
static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct datagrams *datagrams = container_of(query, struct datagrams, query);

	datagrams->found = result == -EAGAIN ? -EHOSTUNREACH : result;
	if (result == 0) {
		datagrams->answer = answer->addrs[0];
	} else {
		log_info("datagrams were dropped: %s", dial_words(result));
	}
	udp_relay_retry(datagrams->relay);
	datagrams->found = -EAGAIN;
}

static void on_sockets(struct inside_waiter *waiter)
{
	udp_relay_retry(container_of(waiter, struct datagrams, waiter)->relay);
}

struct datagrams *datagrams_new(const struct conn_context *context, struct dialer *dialer, int fd,
	const struct dial_target *target)
{
	static const struct udp_relay_ops ops = {.open = open_target};
	_cleanup_fd_ int listen_fd = fd;
	const struct udp_relay_limits limits = {.budget = context->budget, .hold_ms = HOLD_MS};
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));

	if (!datagrams)
		return NULL;
	datagrams->context = context;
	datagrams->dialer = dialer;
	datagrams->target = target;
	datagrams->waiter.on_sockets = on_sockets;
	datagrams->query.on_answer = on_answer;
	datagrams->found = -EAGAIN;
	datagrams->relay = udp_relay_new(context->loop, fd, &ops, datagrams, &limits);
	if (!datagrams->relay) {
		free(datagrams);
		return NULL;
	}
	datagrams->fd = fd_take(&listen_fd);
	return datagrams;
}

void datagrams_free(struct datagrams *datagrams)
{
	if (!datagrams)
		return;
	udp_relay_free(datagrams->relay);
	inside_wait_cancel(datagrams->context->inside, &datagrams->waiter);
	lookup_cancel(&datagrams->query);
	fd_close(&datagrams->fd);
	free(datagrams);
}
