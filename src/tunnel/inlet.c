/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/inlet - where connections, or datagrams, come in that are led through a tunnel */
#include "tunnel/inlet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "control/owner.h"
#include "util/fd.h"
#include "util/list.h"

/* it, and what it is led to; and some for lanes, without which those who are held would wait in
 * vain */
#define INBOUND_FDS 8

static bool has_place(struct inlet *inlet, const struct addr *peer)
{
	struct budget *budget = inlet->context->budget;

	while (!budget_has_place(budget, peer))
		if (inlet->proto == PROTO_TCP || !shares_end_own_flow(&budget->shares, peer)) {
			inlet->on_turned_away(inlet, peer);
			return false;
		}
	return true;
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct inlet *inlet = container_of(acceptor, struct inlet, acceptor);

	if (has_place(inlet, peer))
		inlet->on_inbound(inlet, fd, peer);
	else
		fd_reset(&fd);
}

static int on_flow(void *owner, struct udp_flow *flow)
{
	struct inlet *inlet = owner;
	struct budget *budget = inlet->context->budget;
	struct addr peer = {.family = AF_UNSPEC};
	int pair[2];

	if (flow->key.peer.sin6_family == AF_INET)
		memcpy(&peer.v4, &flow->key.peer, sizeof(peer.v4));
	else
		peer.v6 = flow->key.peer;
	if (!has_place(inlet, &peer))
		return -EMFILE;
	if (!budget_has_room(budget, INBOUND_FDS) &&
		!udp_flows_take_from_others(budget, &peer, INBOUND_FDS))
		return -EMFILE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	inlet->on_inbound(inlet, pair[1], &peer);
	return pair[0];
}

static const struct udp_relay_ops flow_ops = {.open = on_flow};

static int start(struct inlet *inlet)
{
	const struct conn_context *context = inlet->context;

	if (inlet->proto == PROTO_TCP) {
		inlet->acceptor =
			(struct acceptor){.on_client = on_client, .fds_each = INBOUND_FDS};
		return acceptor_open(
			&inlet->acceptor, context->loop, context->budget, inlet->bound.fd);
	}
	inlet->datagrams =
		udp_relay_new(context->loop, context->budget, inlet->bound.fd, &flow_ops, inlet);
	return inlet->datagrams ? 0 : -errno;
}

int inlet_open(struct inlet *inlet, const struct conn_context *context, struct addr *at,
	enum proto proto, struct err *err)
{
	inlet->proto = proto;
	int result =
		err ? bind_open(at, proto, &inlet->bound, err) : bind_try(at, proto, &inlet->bound);
	if (result == -EADDRINUSE && err)
		owner_explain(at, proto, err);
	if (result < 0)
		return result;
	inlet->context = context;
	result = start(inlet);
	if (result == 0)
		return 0;
	bind_close(&inlet->bound);
	inlet->context = NULL;
	return err_sys(err, -result, "cannot listen");
}

void inlet_close(struct inlet *inlet)
{
	if (!inlet->context)
		return;
	if (inlet->proto == PROTO_TCP)
		acceptor_close(&inlet->acceptor);
	udp_relay_free(inlet->datagrams);
	inlet->datagrams = NULL;
	bind_close(&inlet->bound);
	inlet->context = NULL;
}
