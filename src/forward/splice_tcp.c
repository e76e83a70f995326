/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_tcp - the splice driver for streams: TCP and unix sockets of the host */
#include "forward/splice_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/accept.h"
#include "conn/inside.h"
#include "conn/relay.h"
#include "forward/guise.h"
#include "forward/held.h"
#include "util/fd.h"
#include "util/log.h"

#define SOCKET_WAIT_MS 1000 /* at least, for the pool to be filled */
#define FDS_EACH       2    /* a client, and a socket of the inside */

/* A client on its way to the guest. */
struct client {
	int host_fd, guest_fd;
	enum door_kind kind; /* of guest_fd; DOOR_KINDS: it cannot be used again */
	bool is_second_try;  /* the kernel named another target after the first had refused */
};

/* connect(2) is under way: on another CPU, or the guest's backlog is full. */
struct connecting {
	struct list link;
	struct listener *listener;
	struct client client;
	struct loop_io io; /* on guest_fd */
};

struct listener {
	struct forward *forward;
	struct acceptor acceptor;
	struct inside_waiter waiter;
	struct held held;
	struct list connecting;
};

static void drop_client(struct client client)
{
	fd_reset(&client.host_fd);
	fd_close(&client.guest_fd);
}

/* Both are connected. Takes the client over. */
static void start_relay(struct forward *forward, struct client client)
{
	driver_note_listening(forward);
	struct relay *relay =
		relay_start(forward->context->relays, client.host_fd, client.guest_fd, NULL, NULL);
	if (!relay) {
		log_warning("a connection was dropped: %s", strerror(errno));
		drop_client(client);
		return;
	}
	if (forward->spec.host.family != AF_UNIX)
		relay_note_tcp(relay, RELAY_A);
	relay_note_tcp(relay, RELAY_B);
	if (client.kind != DOOR_KINDS)
		relay_note_inside(relay, forward->context->inside, client.kind);
}

static void on_connected(struct loop_io *io, uint32_t events);

static void wait_for_connection(struct listener *listener, struct client client)
{
	struct connecting *connecting = calloc(1, sizeof(*connecting));

	if (connecting)
		*connecting = (struct connecting){.listener = listener,
			.client = client,
			.io = {client.guest_fd, on_connected}};
	if (!connecting ||
		loop_io_add(listener->forward->context->loop, &connecting->io, EPOLLOUT) < 0) {
		free(connecting);
		drop_client(client);
		return;
	}
	list_add_last(&listener->connecting, &connecting->link);
	budget_take(listener->forward->context->budget, FDS_EACH);
}

static struct client connecting_end(struct connecting *connecting)
{
	const struct forward_context *context = connecting->listener->forward->context;
	struct client client = connecting->client;

	loop_io_del(context->loop, &connecting->io);
	budget_give(context->budget, FDS_EACH);
	list_del(&connecting->link);
	free(connecting);
	return client;
}

/* A socket of the inside, or -EAGAIN: on_sockets will be called. */
static int take_socket(struct listener *listener)
{
	struct forward *forward = listener->forward;

	return inside_take(
		forward->context->inside, driver_socket_kind(forward), &listener->waiter);
}

static void take_another(struct listener *listener, struct client *client)
{
	client->kind = driver_socket_kind(listener->forward);
	client->guest_fd = take_socket(listener);
}

/* As connect_guised, from @peer. */
static int connect_as(struct listener *listener, struct client *client, const struct addr *peer)
{
	struct forward *forward = listener->forward;
	struct inside *inside = forward->context->inside;
	const enum door_kind kind = guise_kind(forward);
	_cleanup_fd_ int fd = inside_take(inside, kind, &listener->waiter);
	bool is_loose;

	if (fd < 0)
		return -EAGAIN;
	int result = guise_wear(fd, peer, &is_loose);
	if (result == 0)
		result = driver_connect(forward, fd);
	if (result == 0 || result == -EINPROGRESS || result == -ECONNREFUSED) {
		inside_put_back(inside, client->kind, client->guest_fd);
		client->guest_fd = fd_take(&fd);
		client->kind = is_loose ? kind : DOOR_KINDS;
		return result;
	}
	return result == -EAGAIN ? -EADDRNOTAVAIL : result;
}

/*
 * Connect @client as itself: 0, -EINPROGRESS or -ECONNREFUSED. -EAGAIN: there is no socket for that
 * now, on_sockets will be called. Anything else: it cannot be, use the one that it has.
 */
static int connect_guised(struct listener *listener, struct client *client)
{
	struct forward *forward = listener->forward;
	struct addr peer;

	if (!guise_is_kept(forward) || addr_get_peer(client->host_fd, &peer) < 0 ||
		!guise_fits(forward, &peer, client->guest_fd))
		return -EADDRNOTAVAIL;
	int result = connect_as(listener, client, &peer);
	if (result != -EADDRNOTAVAIL)
		return result;
	/* it is here already from the same port, by another address or port of the host, which the
	 * kernel sees when the second one connects */
	addr_set_port(&peer, 0);
	return connect_as(listener, client, &peer);
}

/* As driver_connect, with the socket that @client has; -EAGAIN without one: wait. */
static int connect_client(struct listener *listener, struct client *client)
{
	struct forward *forward = listener->forward;
	int result = connect_guised(listener, client);

	if (result == 0 || result == -EINPROGRESS || result == -ECONNREFUSED)
		return result;
	if (result != -EAGAIN)
		return driver_connect(forward, client->guest_fd);
	inside_put_back(forward->context->inside, client->kind, client->guest_fd);
	client->guest_fd = -1;
	return result;
}

/*
 * The target has refused @client. Try another one, if the kernel knows one: what came of that, or
 * -ECONNREFUSED, or -EAGAIN: there is no socket now.
 */
static int try_elsewhere(struct listener *listener, struct client *client)
{
	struct forward *forward = listener->forward;

	fd_close(&client->guest_fd);
	if (client->is_second_try || !driver_find_target(forward))
		return -ECONNREFUSED;
	client->is_second_try = true;
	take_another(listener, client);
	return client->guest_fd < 0 ? -EAGAIN : connect_client(listener, client);
}

/* @result is what came of connecting: 0, -EINPROGRESS or -errno. Takes the client over. */
static void on_connect_result(struct listener *listener, struct client client, int result)
{
	struct forward *forward = listener->forward;
	uint64_t wait_ms = forward->context->wait_ms;

	if (result == -ECONNREFUSED)
		result = try_elsewhere(listener, &client);
	if (result == 0) {
		start_relay(forward, client);
	} else if (result == -EINPROGRESS) {
		wait_for_connection(listener, client);
	} else if (result == -EAGAIN && client.guest_fd < 0) {
		held_add(&listener->held, client.host_fd,
			wait_ms > SOCKET_WAIT_MS ? wait_ms : SOCKET_WAIT_MS);
	} else if (result == -ECONNREFUSED && !forward->has_listened && wait_ms > 0) {
		fd_close(&client.guest_fd);
		held_add(&listener->held, client.host_fd, wait_ms);
	} else {
		if (result == -ECONNREFUSED)
			log_info("nobody inside listens where port %u is led to",
				forward->spec.guest_port);
		else
			log_info("cannot connect to port %u inside: %s", forward->spec.guest_port,
				strerror(-result));
		drop_client(client);
	}
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct connecting *connecting = container_of(io, struct connecting, io);
	struct listener *listener = connecting->listener;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	on_connect_result(listener, connecting_end(connecting), -error);
}

/* A socket that has been given to us may have clients of both families, and each comes as itself to
 * a target of its own one only. */
static void turn_to_client(struct listener *listener, struct client *client)
{
	struct forward *forward = listener->forward;
	struct addr peer;

	if (forward->spec.host.family != AF_INET6 || !guise_is_kept(forward) ||
		addr_get_peer(client->host_fd, &peer) < 0 || !driver_turn_to(forward, peer.family))
		return;
	inside_put_back(forward->context->inside, client->kind, client->guest_fd);
	take_another(listener, client);
}

/* Lead a client to the current target, with a fresh socket of the inside. */
static void serve(struct listener *listener, int host_fd, int guest_fd)
{
	struct client client = {host_fd, guest_fd, driver_socket_kind(listener->forward), false};

	turn_to_client(listener, &client);
	int result = client.guest_fd < 0 ? -EAGAIN : connect_client(listener, &client);
	on_connect_result(listener, client, result);
}

/* Serve who is held now (and may be held again), as far as there are sockets. */
static void serve_held(struct forward *forward)
{
	struct listener *listener = forward->state;

	for (size_t left = listener->held.count; left > 0; left--) {
		int guest_fd = take_socket(listener);

		if (guest_fd < 0)
			return;
		serve(listener, held_take(&listener->held), guest_fd);
	}
}

static void on_late(void *owner)
{
	log_info("the guest did not listen on port %u in time",
		((struct listener *)owner)->forward->spec.guest_port);
}

static bool has_socket(struct acceptor *acceptor)
{
	struct listener *listener = container_of(acceptor, struct listener, acceptor);
	struct forward *forward = listener->forward;
	const enum door_kind kinds[] = {driver_socket_kind(forward), guise_kind(forward)};

	for (size_t i = 0; i < (guise_is_kept(forward) ? 2 : 1); i++) {
		int fd = inside_take(forward->context->inside, kinds[i], &listener->waiter);

		if (fd < 0) {
			acceptor_mute(acceptor, true);
			return false;
		}
		inside_put_back(forward->context->inside, kinds[i], fd);
	}
	return true;
}

static bool is_allowed(struct forward *forward, int host_fd, const struct addr *peer)
{
	struct addr local;

	if (!forward->context->checks_user)
		return true;
	if (forward->spec.host.family == AF_UNIX)
		return driver_is_allowed_path(forward, host_fd);
	return addr_get_own(host_fd, &local) == 0 && driver_is_allowed(forward, peer, &local);
}

static void on_client(struct acceptor *acceptor, int host_fd, const struct addr *peer)
{
	struct listener *listener = container_of(acceptor, struct listener, acceptor);

	if (is_allowed(listener->forward, host_fd, peer))
		serve(listener, host_fd, take_socket(listener));
	else
		fd_reset(&host_fd);
}

static void on_sockets(struct inside_waiter *waiter)
{
	struct listener *listener = container_of(waiter, struct listener, waiter);

	acceptor_mute(&listener->acceptor, false);
	if (listener->forward->has_listened)
		serve_held(listener->forward);
}

static int splice_tcp_open(struct forward *forward, struct err *err)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return err_sys(err, ENOMEM, "cannot open a forward");
	listener->forward = forward;
	/* whom an IPv6 client can come to as itself */
	if (forward->spec.host.family == AF_INET6 && forward->context->keeps_clients6)
		forward->target = TARGET_LOOPBACK6;
	held_init(&listener->held, forward->context->loop, forward->context->budget, on_late,
		listener);
	list_init(&listener->connecting);
	listener->acceptor = (struct acceptor){.on_client = on_client,
		.is_ready = has_socket,
		.make_room = acceptor_make_room,
		.fds_each = FDS_EACH};
	listener->waiter.on_sockets = on_sockets;
	int result = acceptor_open(&listener->acceptor, forward->context->loop,
		forward->context->budget, forward->listen_fd);
	if (result < 0) {
		free(listener);
		return err_sys(err, -result, "cannot watch a listener");
	}
	forward->state = listener;
	return 0;
}

static void splice_tcp_close(struct forward *forward)
{
	struct listener *listener = forward->state;

	inside_wait_cancel(&listener->waiter);
	acceptor_close(&listener->acceptor);
	held_fini(&listener->held);
	list_each_safe (at, following, &listener->connecting)
		drop_client(connecting_end(container_of(at, struct connecting, link)));
	free(listener);
}

const struct forward_driver splice_tcp_driver = {
	.open = splice_tcp_open,
	.close = splice_tcp_close,
	.on_guest_listening = serve_held,
};
