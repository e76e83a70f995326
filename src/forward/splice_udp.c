/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_udp - the splice driver for datagrams */
#include "forward/splice_udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/inside.h"
#include "conn/udp_relay.h"
#include "util/fd.h"

#define SOCKET_WAIT_MS 1000 /* for the pool to be filled */

struct listener {
	struct forward *forward;
	struct inside_waiter waiter;
	struct udp_relay *relay;
};

static void on_sockets(struct inside_waiter *waiter)
{
	udp_relay_retry(container_of(waiter, struct listener, waiter)->relay);
}

/* A socket that leads to where the guest listens now. */
static int open_target(void *owner, struct udp_flow *flow)
{
	struct listener *listener = owner;
	struct forward *forward = listener->forward;

	if (!forward->has_listened)
		return -EAGAIN;
	driver_find_target(forward); /* nobody there: to the last place, for an honest refusal */
	/* IPv4 carries 20 bytes less, so a guest at :: would not get the longest ones */
	driver_turn_to(forward, forward->spec.host.family);
	enum door_kind kind = driver_socket_kind(forward);
	_cleanup_fd_ int fd = inside_take(forward->context->inside, kind, &listener->waiter);
	if (fd < 0) {
		udp_relay_set_hold_ms(listener->relay, SOCKET_WAIT_MS);
		return fd;
	}
	int result = driver_connect(forward, fd);
	if (result < 0)
		return result;
	flow->where = (int)forward->target;
	return fd_take(&fd);
}

/* Go where the guest listens now, if that is another place. */
static bool on_refused(void *owner, const struct udp_flow *flow)
{
	struct forward *forward = ((struct listener *)owner)->forward;

	return driver_find_target(forward) && (int)forward->target != flow->where;
}

static bool is_allowed(void *owner, const struct udp_key *key)
{
	struct forward *forward = ((struct listener *)owner)->forward;
	struct addr local = forward->spec.host, peer = {.v6 = key->peer};

	if (addr_is_wildcard(&local) && local.family == AF_INET)
		memcpy(&local.v4.sin_addr, &key->local, sizeof(local.v4.sin_addr));
	else if (addr_is_wildcard(&local))
		local.v6.sin6_addr = key->local;
	return driver_is_allowed(forward, &peer, &local);
}

static void on_clients(void *owner)
{
	struct forward *forward = ((struct listener *)owner)->forward;

	if (!forward->has_listened)
		driver_find_target(forward);
}

static void on_answer(void *owner)
{
	driver_note_listening(((struct listener *)owner)->forward);
}

static const struct udp_relay_ops relay_ops = {
	.open = open_target,
	.is_allowed = is_allowed,
	.on_refused = on_refused,
	.on_clients = on_clients,
	.on_answer = on_answer,
};

static int splice_udp_open(struct forward *forward, struct err *err)
{
	const struct forward_context *context = forward->context;
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return err_sys(err, ENOMEM, "cannot open a forward");
	listener->forward = forward;
	listener->waiter.on_sockets = on_sockets;
	listener->relay = udp_relay_new(
		context->loop, context->budget, forward->listen_fd, &relay_ops, listener);
	if (!listener->relay) {
		int code = errno;

		free(listener);
		return err_sys(err, code, "cannot watch a UDP port");
	}
	udp_relay_set_hold_ms(listener->relay, context->wait_ms);
	forward->state = listener;
	return 0;
}

static void splice_udp_close(struct forward *forward)
{
	struct listener *listener = forward->state;

	inside_wait_cancel(&listener->waiter);
	udp_relay_free(listener->relay);
	free(listener);
}

static void splice_udp_on_guest_listening(struct forward *forward)
{
	udp_relay_retry(((struct listener *)forward->state)->relay);
}

const struct forward_driver splice_udp_driver = {
	.open = splice_udp_open,
	.close = splice_udp_close,
	.on_guest_listening = splice_udp_on_guest_listening,
};
