/* SPDX-License-Identifier: Apache-2.0 */
/* conn/dial - connections: outside or inside, to a name, an address or a path */
#include "conn/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/served.h"
#include "util/fd.h"

/* It is not under way any more; its socket is left to the caller. */
static void forget(struct dial *dial)
{
	if (dial->io.fd >= 0)
		loop_io_del(dial->context->loop, &dial->io);
	lookup_cancel(&dial->query);
	loop_timer_cancel(dial->context->loop, &dial->timer);
	inside_wait_cancel(&dial->waiter);
	if (dial->call.trip)
		dial->context->beyond->cancel(dial->context->beyond, &dial->call);
	dial->context = NULL;
}

/* Unless it goes on: @result is -EINPROGRESS. */
static void finish(struct dial *dial, int result)
{
	if (result == -EINPROGRESS)
		return;
	forget(dial);
	dial->on_done(dial, result);
}

void dial_cancel(struct dial *dial)
{
	if (!dial->context)
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

	return to->family != AF_UNIX && addr_get_own(fd, &own) == 0 && addr_equal(&own, to);
}

/* What EAGAIN of connect(2) means: no local port is free, or the path's backlog is full. */
static int result_of(int code, const struct addr *to)
{
	if (code == EAGAIN)
		return to->family == AF_UNIX ? -ECONNREFUSED : -EADDRNOTAVAIL;
	return -code;
}

/*
 * A handshake with this machine itself is over when connect(2) is: a second call says so, and saves
 * watching the socket. Other machines would only be asked twice.
 */
static bool is_near(const struct addr *to)
{
	return (to->family == AF_INET && to->v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK)) ||
	       (to->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&to->v6.sin6_addr));
}

int dial_connect(int fd, const struct addr *to)
{
	int result = connect(fd, &to->any, addr_len(to));

	if (result < 0 && errno == EINPROGRESS && is_near(to))
		result = connect(fd, &to->any, addr_len(to));
	if (result < 0 && errno == EALREADY)
		errno = EINPROGRESS;
	return result < 0 ? -errno : 0;
}

static void on_connected(struct loop_io *io, uint32_t events);

/* Its port is chosen when it connects: others may have the same one for another peer. ip(7) */
static int bind_source(int fd, const struct addr *source)
{
	int on = 1;

	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, &source->any, addr_len(source));
}

/* Connect @fd to the next address and take it over. As dial_start. */
static int connect_socket(struct dial *dial, int fd)
{
	_cleanup_fd_ int socket_fd = fd;
	const struct addr *to = &dial->answer.addrs[dial->tried++];

	if (to->family != AF_UNIX && dial->proto == PROTO_TCP)
		fd_keep_alive(fd);
	if (dial->source.family == to->family && bind_source(fd, &dial->source) < 0)
		return -errno;
	int result = dial_connect(fd, to);
	if (result == 0) {
		if (!has_met_itself(fd, to))
			return fd_take(&socket_fd);
		fd_reset(&socket_fd);
		return -ECONNREFUSED;
	}
	if (result != -EINPROGRESS)
		return result_of(-result, to);
	dial->io = (struct loop_io){fd, on_connected};
	result = loop_io_add(dial->context->loop, &dial->io, EPOLLOUT);
	if (result < 0) {
		dial->io.fd = -1;
		return result;
	}
	fd_take(&socket_fd);
	return -EINPROGRESS;
}

static void on_beyond(struct beyond_call *call, int result)
{
	struct dial *dial = container_of(call, struct dial, call);

	finish(dial, result);
}

/* Does the next address have another way than sockets of the inside? */
static bool is_beyond(const struct dial *dial)
{
	struct beyond *beyond = dial->context->beyond;

	return dial->where == DIAL_INSIDE && beyond &&
	       beyond->leads(beyond, &dial->answer.addrs[dial->tried], dial->proto);
}

/* Take that one. As dial_start. */
static int start_beyond(struct dial *dial)
{
	struct beyond *beyond = dial->context->beyond;
	int result =
		beyond->start(beyond, &dial->call, &dial->answer.addrs[dial->tried++], dial->proto);

	if (result == -EINPROGRESS)
		loop_timer_set(dial->context->loop, &dial->timer, DIAL_BEYOND_MS);
	return result;
}

/* A socket, or -errno. -EAGAIN: @dial waits for one of the inside now. */
static int open_socket(struct dial *dial, sa_family_t family)
{
	if (dial->where == DIAL_INSIDE) {
		enum door_kind kind = door_kind_of(family, dial->proto);

		return kind == DOOR_KINDS ? -EAFNOSUPPORT
					  : inside_take(dial->context->inside, kind, &dial->waiter);
	}
	int fd = socket(family, addr_proto_type(dial->proto) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (family != AF_UNIX && dial->proto == PROTO_TCP)
		fd_keep_in_line(fd);
	return fd;
}

/* There is no such way: who refused on another one is the better news. */
static bool is_no_way(int result)
{
	return result == -EADDRNOTAVAIL || result == -ENETUNREACH || result == -EAFNOSUPPORT;
}

/* Go on with the addresses that are left; @result is what came of the last one. As dial_start. */
static int try_next(struct dial *dial, int result)
{
	while (dial->tried < dial->answer.count) {
		if (is_beyond(dial))
			return start_beyond(dial);
		int fd = open_socket(dial, dial->answer.addrs[dial->tried].family);

		if (fd == -EAGAIN)
			return -EINPROGRESS;
		if (fd < 0)
			dial->tried++;
		int last = fd < 0 ? fd : connect_socket(dial, fd);
		if (result != -ECONNREFUSED || !is_no_way(last))
			result = last;
		if (result >= 0 || result == -EINPROGRESS || dial_is_short(result))
			break;
	}
	return result;
}

static void on_sockets(struct inside_waiter *waiter)
{
	struct dial *dial = container_of(waiter, struct dial, waiter);

	finish(dial, try_next(dial, -ENOENT));
}

static void on_connected(struct loop_io *io, uint32_t events)
{
	struct dial *dial = container_of(io, struct dial, io);
	int fd = io->fd, error = 0;
	socklen_t len = sizeof(error);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	loop_io_del(dial->context->loop, io);
	io->fd = -1;
	if (error == 0 && has_met_itself(fd, &dial->answer.addrs[dial->tried - 1]))
		error = ECONNREFUSED;
	if (error == 0) {
		finish(dial, fd);
		return;
	}
	fd_reset(&fd);
	finish(dial, try_next(dial, -error));
}

/* Datagrams: the first address is the only one that is tried, so be it one that has a server. */
static void put_served_first(struct lookup_answer *answer)
{
	const size_t served = served_find(answer->addrs, answer->count);

	if (served == 0 || served == answer->count)
		return;
	const struct addr first = answer->addrs[0];
	answer->addrs[0] = answer->addrs[served];
	answer->addrs[served] = first;
}

/* Its addresses are known. As dial_start. */
static int start_connecting(struct dial *dial)
{
	for (size_t i = 0; i < dial->answer.count; i++)
		addr_set_port(&dial->answer.addrs[i], dial->port);
	if (dial->proto == PROTO_UDP && dial->where == DIAL_OUTSIDE)
		put_served_first(&dial->answer);
	return try_next(dial, -ENOENT);
}

static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct dial *dial = container_of(query, struct dial, query);

	if (result == 0) {
		dial->answer = *answer;
		result = start_connecting(dial);
	}
	finish(dial, result);
}

static void on_deadline(struct loop_timer *timer)
{
	struct dial *dial = container_of(timer, struct dial, timer);

	dial_cancel(dial);
	dial->on_done(dial, -ETIMEDOUT);
}

static int resolve(struct dial *dial, const struct dial_target *target)
{
	if (target->host) {
		dial->port = target->port;
		return names_start(dial->context->names, target->host, &dial->query, &dial->answer);
	}
	dial->port = addr_port(&target->addr);
	dial->answer.addrs[0] = target->addr;
	dial->answer.count = 1;
	return 0;
}

int dial_start(
	struct dial *dial, const struct conn_context *context, const struct dial_target *target)
{
	dial->context = context;
	dial->where = target->where;
	dial->source = target->source;
	dial->proto = target->proto;
	dial->tried = dial->answer.count = 0;
	dial->io.fd = -1;
	dial->query.on_answer = on_answer;
	dial->waiter.on_sockets = on_sockets;
	dial->call.on_done = on_beyond;
	dial->timer.on_expired = on_deadline;
	int result = resolve(dial, target);
	if (result == 0)
		result = start_connecting(dial);
	if (result != -EINPROGRESS)
		dial->context = NULL;
	else if (dial->where == DIAL_OUTSIDE && !target->is_patient)
		loop_timer_set(context->loop, &dial->timer, DIAL_DEADLINE_MS);
	return result;
}

bool dial_is_short(int result)
{
	return result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM;
}

char *dial_format(const struct dial_target *target, char *out, size_t cap_bytes)
{
	bool is_v6 = target->host && target->host[0] != '[' && strchr(target->host, ':');

	if (!target->host)
		return addr_format(&target->addr, out, cap_bytes);
	snprintf(out, cap_bytes, "%s%s%s:%u", is_v6 ? "[" : "", target->host, is_v6 ? "]" : "",
		target->port);
	return out;
}

const char *dial_words(int result)
{
	if (result == -ENOENT)
		return "there is no such name";
	if (result == -EAGAIN)
		return "its name cannot be looked up now";
	return strerror(-result);
}
