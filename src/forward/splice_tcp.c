/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_tcp - the splice driver for streams: TCP and unix sockets of the host */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/inside.h"
#include "conn/relay.h"
#include "forward/driver.h"
#include "util/fd.h"
#include "util/log.h"

/*
 * How it works
 *
 * A client is accepted only with a socket of the inside in hand. That socket is connected to where
 * the guest listened last, mostly within connect(2), for it goes over loopback. Then both go to the
 * relay and are forgotten here.
 *
 * Refused: the kernel is asked where the guest listens now. Nowhere, and never before: the client
 * is held (in `clients`, in order of their deadlines) until driver_note_listening, or its time is
 * over. Nowhere, but it had listened: the client is reset, as the guest's own refusal would be.
 */
#define ACCEPT_BURST 32 /* then others get their turn */
#define PAUSE_MS     20 /* accepting rests this long when descriptors are short */
#define FDS_EACH     2  /* a client, and a socket of the inside */
#define NS_PER_MS    1000000ULL

enum client_state {
	CLIENT_HELD,       /* waits for the guest to listen, or for a socket; no guest_fd */
	CLIENT_CONNECTING, /* connect() is under way: on another CPU, or the guest's backlog is full
			    */
};

struct client {
	struct listener *listener;
	enum client_state state;
	int host_fd, guest_fd;
	bool is_second_try; /* the kernel named another target after the first was refused */
	struct loop_io io;  /* HELD: on host_fd for a reset; CONNECTING: on guest_fd */
	uint64_t deadline_ns;
	struct client *prev, *next;
};

struct listener {
	struct forward *forward;
	struct loop_io io;
	struct inside_waiter waiter;
	struct loop_timer hold_timer, pause_timer;
	struct client clients; /* ring */
	bool is_muted;
};

#define listener_of(ptr, member) \
	((struct listener *)((char *)(ptr)-offsetof(struct listener, member)))

static enum door_kind socket_kind(const struct forward *forward)
{
	bool is_v6 = forward->target == TARGET_LOOPBACK6 || forward->target == TARGET_OWN6;

	return is_v6 ? DOOR_TCP6 : DOOR_TCP4;
}

static void mute(struct listener *listener, bool is_muted)
{
	if (listener->is_muted == is_muted)
		return;
	listener->is_muted = is_muted;
	loop_io_mod(listener->forward->context->loop, &listener->io, is_muted ? 0 : EPOLLIN);
}

static void pause_accepting(struct listener *listener)
{
	mute(listener, true);
	loop_timer_set(listener->forward->context->loop, &listener->pause_timer, PAUSE_MS);
}

static void client_forget(struct client *client)
{
	loop_io_del(client->listener->forward->context->loop, &client->io);
	client->prev->next = client->next;
	client->next->prev = client->prev;
	free(client);
}

static void client_refuse(struct client *client)
{
	int host_fd = client->host_fd, guest_fd = client->guest_fd;

	client_forget(client);
	fd_reset(&host_fd);
	fd_close(&guest_fd);
}

static void on_relay_done(struct relay *relay, void *owner)
{
	(void)owner;
	log_debug("connection ended: %llu bytes in, %llu bytes out",
		(unsigned long long)relay_bytes_ab(relay),
		(unsigned long long)relay_bytes_ba(relay));
}

/* Both are connected; takes them over whatever happens. */
static void start_relay(struct forward *forward, int host_fd, int guest_fd)
{
	driver_note_listening(forward);
	if (relay_start(forward->context->relays, host_fd, guest_fd, on_relay_done, NULL))
		return;
	log_warning("a connection was dropped: %s", strerror(errno));
	fd_reset(&host_fd);
	fd_reset(&guest_fd);
}

static void on_client_ready(struct loop_io *io, uint32_t events);

static struct client *first_held(struct listener *listener)
{
	struct client *client = listener->clients.next;

	while (client != &listener->clients && client->state != CLIENT_HELD)
		client = client->next;
	return client == &listener->clients ? NULL : client;
}

static void arm_hold_timer(struct listener *listener)
{
	struct loop *loop = listener->forward->context->loop;
	uint64_t now_ns = loop_now_ns(loop);
	struct client *first = first_held(listener);

	if (first)
		loop_timer_set(loop, &listener->hold_timer,
			first->deadline_ns > now_ns ? (first->deadline_ns - now_ns) / NS_PER_MS + 1
						    : 0);
}

/*
 * Remember a client that cannot be served yet. Takes the descriptors over (guest_fd: -1 if held).
 */
static struct client *keep_client(
	struct listener *listener, enum client_state state, int host_fd, int guest_fd)
{
	const struct forward_context *context = listener->forward->context;
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		fd_reset(&host_fd);
		fd_close(&guest_fd);
		return NULL;
	}
	client->listener = listener;
	client->state = state;
	client->host_fd = host_fd;
	client->guest_fd = guest_fd;
	client->deadline_ns = loop_now_ns(context->loop) + context->wait_ms * NS_PER_MS;
	client->io = (struct loop_io){state == CLIENT_HELD ? host_fd : guest_fd, on_client_ready};
	client->prev = listener->clients.prev;
	client->next = &listener->clients;
	client->prev->next = client->next->prev = client;
	loop_io_add(context->loop, &client->io, state == CLIENT_HELD ? 0 : EPOLLOUT);
	if (state == CLIENT_HELD && !loop_timer_is_armed(&listener->hold_timer))
		arm_hold_timer(listener);
	return client;
}

static void hold(struct listener *listener, int host_fd)
{
	keep_client(listener, CLIENT_HELD, host_fd, -1);
}

static void serve(struct listener *listener, int host_fd, int guest_fd, bool is_second_try);

/* Nobody listens at the target. Look for another one, hold the client, or refuse it. */
static void on_refused(struct listener *listener, int host_fd, bool is_second_try)
{
	struct forward *forward = listener->forward;
	enum door_kind kind;

	if (!is_second_try && driver_find_target(forward)) {
		kind = socket_kind(forward);
		int guest_fd = inside_take(forward->context->inside, kind);

		if (guest_fd >= 0) {
			serve(listener, host_fd, guest_fd, true);
			return;
		}
		hold(listener, host_fd);
		inside_wait(forward->context->inside, kind, &listener->waiter);
		return;
	}
	if (!forward->has_listened && forward->context->wait_ms > 0) {
		hold(listener, host_fd);
		return;
	}
	log_info("nobody inside listens on port %u", forward->spec.guest_port);
	fd_reset(&host_fd);
}

/* What came of connecting @guest_fd: 0, -EINPROGRESS or -errno. Takes both over. */
static void on_connect_result(
	struct listener *listener, int host_fd, int guest_fd, bool is_second_try, int result)
{
	if (result == 0) {
		start_relay(listener->forward, host_fd, guest_fd);
	} else if (result == -EINPROGRESS) {
		struct client *client = keep_client(listener, CLIENT_CONNECTING, host_fd, guest_fd);
		if (client)
			client->is_second_try = is_second_try;
	} else if (result == -ECONNREFUSED) {
		fd_close(&guest_fd);
		on_refused(listener, host_fd, is_second_try);
	} else {
		log_info("cannot connect to port %u inside: %s", listener->forward->spec.guest_port,
			strerror(-result));
		fd_reset(&host_fd);
		fd_close(&guest_fd);
	}
}

/* Lead the client at @host_fd to the current target with @guest_fd, fresh. Takes both over. */
static void serve(struct listener *listener, int host_fd, int guest_fd, bool is_second_try)
{
	struct forward *forward = listener->forward;
	struct addr addr = driver_target_addr(forward, forward->target);
	int result = connect(guest_fd, &addr.any, addr_len(&addr)) < 0 ? -errno : 0;

	on_connect_result(listener, host_fd, guest_fd, is_second_try, result);
}

static void on_client_ready(struct loop_io *io, uint32_t events)
{
	struct client *client = (struct client *)((char *)io - offsetof(struct client, io));
	struct listener *listener = client->listener;
	int host_fd = client->host_fd, guest_fd = client->guest_fd, error = 0;
	bool is_second_try = client->is_second_try;
	socklen_t len = sizeof(error);

	if (client->state == CLIENT_HELD) {
		if (events & (EPOLLERR | EPOLLHUP))
			client_refuse(client);
		return;
	}
	if (getsockopt(guest_fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	client_forget(client);
	on_connect_result(listener, host_fd, guest_fd, is_second_try, -error);
}

/* Serve who is held, as far as there are sockets. */
static void serve_held(struct listener *listener)
{
	struct forward *forward = listener->forward;
	struct client *client = listener->clients.next;
	struct client *last = listener->clients.prev; /* serve() may hold a client again */

	while (client != &listener->clients) {
		struct client *next = client == last ? &listener->clients : client->next;

		if (client->state == CLIENT_HELD) {
			enum door_kind kind = socket_kind(forward);
			int host_fd = client->host_fd,
			    guest_fd = inside_take(forward->context->inside, kind);

			if (guest_fd < 0) {
				inside_wait(forward->context->inside, kind, &listener->waiter);
				return;
			}
			client_forget(client);
			serve(listener, host_fd, guest_fd, false);
		}
		client = next;
	}
}

static void on_hold_time(struct loop_timer *timer)
{
	struct listener *listener = listener_of(timer, hold_timer);
	uint64_t now_ns = loop_now_ns(listener->forward->context->loop);
	struct client *client;

	while ((client = first_held(listener)) && client->deadline_ns <= now_ns) {
		log_info("the guest did not listen on port %u in time",
			listener->forward->spec.guest_port);
		client_refuse(client);
	}
	arm_hold_timer(listener);
}

static bool is_client_allowed(struct forward *forward, int host_fd)
{
	struct addr peer, local;

	if (!forward->context->checks_user)
		return true;
	return addr_get_peer(host_fd, &peer) == 0 && addr_get_own(host_fd, &local) == 0 &&
	       driver_is_allowed(forward, &peer, &local);
}

/* Returns 0 when a client was taken, or -errno: there is none, or none can be taken now. */
static int accept_one(struct listener *listener)
{
	struct forward *forward = listener->forward;
	const struct forward_context *context = forward->context;
	enum door_kind kind = socket_kind(forward);

	if (!budget_has_room(context->budget, FDS_EACH))
		return -EMFILE;
	int guest_fd = inside_take(context->inside, kind);
	if (guest_fd < 0) {
		mute(listener, true);
		inside_wait(context->inside, kind, &listener->waiter);
		return -EAGAIN;
	}
	int host_fd = accept4(listener->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (host_fd < 0) {
		int code = errno;

		inside_put_back(context->inside, kind, guest_fd);
		return -code;
	}
	if (is_client_allowed(forward, host_fd)) {
		serve(listener, host_fd, guest_fd, false);
	} else {
		fd_reset(&host_fd);
		inside_put_back(context->inside, kind, guest_fd);
	}
	return 0;
}

static void on_listener_ready(struct loop_io *io, uint32_t events)
{
	struct listener *listener = listener_of(io, io);

	(void)events;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		int result = accept_one(listener);
		if (result == -EMFILE || result == -ENFILE || result == -ENOBUFS ||
			result == -ENOMEM)
			pause_accepting(listener);
		/* anything else but "none left" is the client's trouble, accept(2) */
		if (result < 0 && result != -ECONNABORTED)
			return;
	}
}

static void on_pause_over(struct loop_timer *timer)
{
	mute(listener_of(timer, pause_timer), false);
}

static void on_sockets(struct inside_waiter *waiter)
{
	struct listener *listener = listener_of(waiter, waiter);

	mute(listener, false);
	if (listener->forward->has_listened)
		serve_held(listener);
}

static int splice_tcp_open(struct forward *forward, struct err *err)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return err_sys(err, ENOMEM, "cannot open a forward");
	listener->forward = forward;
	listener->clients.prev = listener->clients.next = &listener->clients;
	listener->io = (struct loop_io){forward->listen_fd, on_listener_ready};
	listener->waiter.on_sockets = on_sockets;
	listener->hold_timer.on_expired = on_hold_time;
	listener->pause_timer.on_expired = on_pause_over;
	int result = loop_io_add(forward->context->loop, &listener->io, EPOLLIN);
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

	inside_wait_cancel(forward->context->inside, &listener->waiter);
	loop_timer_cancel(forward->context->loop, &listener->hold_timer);
	loop_timer_cancel(forward->context->loop, &listener->pause_timer);
	loop_io_del(forward->context->loop, &listener->io);
	while (listener->clients.next != &listener->clients)
		client_refuse(listener->clients.next);
	free(listener);
	forward->state = NULL;
}

static void splice_tcp_on_guest_listening(struct forward *forward)
{
	serve_held(forward->state);
}

const struct forward_driver splice_tcp_driver = {
	.name = "splice",
	.open = splice_tcp_open,
	.close = splice_tcp_close,
	.on_guest_listening = splice_tcp_on_guest_listening,
};
