/* SPDX-License-Identifier: Apache-2.0 */
/* conn/dial - TCP connections to where a host's ports lead: outside by name, or inside */
#include "conn/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/inside.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

struct dialer {
	const struct conn_context *context;
	struct lookup *lookup;
	struct dial dialled; /* ring: outside, in order of their deadlines */
	struct dial waiting; /* ring: for a socket of the inside */
	struct inside_waiter waiter;
	struct loop_timer timer;
};

static void enter_ring(struct dial *ring, struct dial *dial)
{
	dial->prev = ring->prev;
	dial->next = ring;
	dial->prev->next = dial->next->prev = dial;
}

static void leave_ring(struct dial *dial)
{
	if (!dial->next)
		return;
	dial->prev->next = dial->next;
	dial->next->prev = dial->prev;
	dial->prev = dial->next = NULL;
}

/* It is not under way any more; its socket is left to the caller. */
static void forget(struct dial *dial)
{
	if (dial->io.fd >= 0)
		loop_io_del(dial->dialer->context->loop, &dial->io);
	lookup_cancel(&dial->query);
	leave_ring(dial);
	dial->dialer = NULL;
}

static void finish(struct dial *dial, int result)
{
	forget(dial);
	dial->on_done(dial, result);
}

void dial_cancel(struct dial *dial)
{
	if (!dial->dialer)
		return;
	forget(dial);
	fd_reset(&dial->io.fd);
}

/*
 * A socket that connects to its own local port, by chance or because the range is small, meets
 * itself where nobody listens.
 */
static bool has_met_itself(int fd, const struct addr *to)
{
	struct addr own;

	return addr_get_own(fd, &own) == 0 && addr_equal(&own, to);
}

static void on_connected(struct loop_io *io, uint32_t events);

/* Connect @fd to @to and take it over. As dial_start. */
static int connect_socket(struct dial *dial, int fd, const struct addr *to)
{
	_cleanup_fd_ int socket_fd = fd;

	if (connect(fd, &to->any, addr_len(to)) == 0) {
		if (!has_met_itself(fd, to))
			return fd_take(&socket_fd);
		fd_reset(&socket_fd);
		return -ECONNREFUSED;
	}
	if (errno != EINPROGRESS)
		return errno == EAGAIN ? -EADDRNOTAVAIL : -errno;
	dial->io = (struct loop_io){fd, on_connected};
	int result = loop_io_add(dial->dialer->context->loop, &dial->io, EPOLLOUT);
	if (result < 0) {
		dial->io.fd = -1;
		return result;
	}
	fd_take(&socket_fd);
	return -EINPROGRESS;
}

/* Go on with the addresses that are left; @result is what came of the last one. As dial_start. */
static int try_next(struct dial *dial, int result)
{
	while (dial->tried < dial->answer.count) {
		struct addr *to = &dial->answer.addrs[dial->tried++];

		addr_set_port(to, dial->port);
		int fd = socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		result = fd < 0 ? -errno : connect_socket(dial, fd, to);
		if (result >= 0 || result == -EINPROGRESS || dial_is_short(result))
			break;
	}
	return result;
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct dial *dial = container_of(io, struct dial, io);
	int fd = io->fd, error = 0;
	socklen_t len = sizeof(error);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	loop_io_del(dial->dialer->context->loop, io);
	io->fd = -1;
	if (error == 0 && dial->tried > 0 &&
		has_met_itself(fd, &dial->answer.addrs[dial->tried - 1]))
		error = ECONNREFUSED;
	if (error == 0) {
		finish(dial, fd);
		return;
	}
	fd_reset(&fd);
	int result = try_next(dial, -error);
	if (result != -EINPROGRESS)
		finish(dial, result);
}

static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct dial *dial = container_of(query, struct dial, query);

	if (result == 0) {
		dial->answer = *answer;
		result = try_next(dial, -ENOENT);
	}
	if (result != -EINPROGRESS)
		finish(dial, result);
}

static void arm_timer(struct dialer *dialer)
{
	struct loop *loop = dialer->context->loop;
	const struct dial *first = dialer->dialled.next;
	uint64_t now_ns = loop_now_ns(loop);

	if (first == &dialer->dialled || loop_timer_is_armed(&dialer->timer))
		return;
	uint64_t left_ns = first->deadline_ns > now_ns ? first->deadline_ns - now_ns : 0;
	loop_timer_set(loop, &dialer->timer, left_ns / NS_PER_MS + 1);
}

static void on_deadline(struct loop_timer *timer)
{
	struct dialer *dialer = container_of(timer, struct dialer, timer);
	uint64_t now_ns = loop_now_ns(dialer->context->loop);

	while (dialer->dialled.next != &dialer->dialled) {
		struct dial *first = dialer->dialled.next;

		if (first->deadline_ns > now_ns)
			break;
		if (first->io.fd >= 0) {
			loop_io_del(dialer->context->loop, &first->io);
			fd_reset(&first->io.fd);
		}
		finish(first, -ETIMEDOUT);
	}
	arm_timer(dialer);
}

static int start_outside(struct dial *dial, const struct dial_target *target)
{
	struct dialer *dialer = dial->dialer;
	int result;

	dial->port = target->port;
	if (addr_parse(target->host, &dial->answer.addrs[0], NULL) == 0) {
		dial->answer.count = 1;
		result = try_next(dial, 0);
	} else {
		result = lookup_start(dialer->lookup, target->host, &dial->query);
		if (result == 0)
			result = -EINPROGRESS;
	}
	if (result != -EINPROGRESS)
		return result;
	dial->deadline_ns = loop_now_ns(dialer->context->loop) + DIAL_DEADLINE_MS * NS_PER_MS;
	enter_ring(&dialer->dialled, dial);
	arm_timer(dialer);
	return result;
}

/* Connect with a socket of the pool, -EAGAIN: there is none. Otherwise as dial_start. */
static int connect_inside(struct dial *dial)
{
	int fd = inside_take(dial->dialer->context->inside, DOOR_TCP4);

	return fd < 0 ? fd : connect_socket(dial, fd, &dial->answer.addrs[0]);
}

static int start_inside(struct dial *dial, const struct dial_target *target)
{
	struct dialer *dialer = dial->dialer;

	dial->answer.addrs[0] = addr_of4(target->ip, target->port);
	int result = connect_inside(dial);
	if (result != -EAGAIN)
		return result;
	enter_ring(&dialer->waiting, dial);
	inside_wait(dialer->context->inside, DOOR_TCP4, &dialer->waiter);
	return -EINPROGRESS;
}

static void on_sockets(struct inside_waiter *waiter)
{
	struct dialer *dialer = container_of(waiter, struct dialer, waiter);

	while (dialer->waiting.next != &dialer->waiting) {
		struct dial *first = dialer->waiting.next;
		int result = connect_inside(first);

		if (result == -EAGAIN) {
			inside_wait(dialer->context->inside, DOOR_TCP4, waiter);
			return;
		}
		leave_ring(first);
		if (result != -EINPROGRESS)
			finish(first, result);
	}
}

int dial_start(struct dial *dial, struct dialer *dialer, const struct dial_target *target)
{
	dial->dialer = dialer;
	dial->tried = dial->answer.count = 0;
	dial->io.fd = -1;
	dial->query.on_answer = on_answer;
	int result = target->is_inside ? start_inside(dial, target) : start_outside(dial, target);
	if (result != -EINPROGRESS)
		dial->dialer = NULL;
	return result;
}

bool dial_is_short(int result)
{
	return result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM;
}

const char *dial_words(int result)
{
	if (result == -ENOENT)
		return "there is no such name";
	if (result == -EAGAIN)
		return "its name cannot be looked up now";
	return strerror(-result);
}

struct dialer *dialer_new(const struct conn_context *context)
{
	struct dialer *dialer = calloc(1, sizeof(*dialer));

	if (!dialer)
		return NULL;
	dialer->context = context;
	dialer->lookup = lookup_new(context->loop);
	if (!dialer->lookup) {
		free(dialer);
		return NULL;
	}
	dialer->dialled.prev = dialer->dialled.next = &dialer->dialled;
	dialer->waiting.prev = dialer->waiting.next = &dialer->waiting;
	dialer->waiter.on_sockets = on_sockets;
	dialer->timer.on_expired = on_deadline;
	return dialer;
}

void dialer_free(struct dialer *dialer)
{
	if (!dialer)
		return;
	inside_wait_cancel(dialer->context->inside, &dialer->waiter);
	loop_timer_cancel(dialer->context->loop, &dialer->timer);
	lookup_free(dialer->lookup);
	free(dialer);
}

struct lookup *dialer_lookup(struct dialer *dialer)
{
	return dialer->lookup;
}
