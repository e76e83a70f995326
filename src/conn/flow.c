/* SPDX-License-Identifier: Apache-2.0 */
/* conn/flow - one way of a relay: what one socket receives, another one sends */
#include "conn/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"

#define SPLICE_MAX  (1024 * 1024) /* asked for at once; the pipe's size is the real limit */
#define BULK_ENTER  (32 * 1024)   /* a read of so many bytes: go on with splice */
#define BULK_LEAVE  (16 * 1024)   /* a wake-up with fewer bytes: back to recv and send */
#define SPLICE_MODE (SPLICE_F_NONBLOCK | SPLICE_F_MOVE)

void flow_init(struct flow *flow, struct flow_sock *from, struct flow_sock *to)
{
	*flow = (struct flow){.from = from, .to = to, .pipe = {.in = -1, .out = -1}};
}

/* The loan ends; bytes that still wait are dropped. */
static void give_back(struct flow *flow, struct pipes *pipes)
{
	if (flow->pipe.in >= 0)
		pipes_give(pipes, &flow->pipe, flow->waiting == 0);
	if (flow->chunk)
		pipes_give_chunk(pipes, flow->chunk);
	flow->chunk = NULL;
	flow->waiting = 0;
}

void flow_fini(struct flow *flow, struct pipes *pipes)
{
	give_back(flow, pipes);
	flow->is_ended = true;
}

int flow_push(struct flow *flow, struct pipes *pipes, const void *bytes, size_t len)
{
	if (len == 0)
		return 0;
	if (len > PIPES_CHUNK_SIZE - flow->waiting)
		return -EMSGSIZE;
	if (!flow->chunk)
		flow->chunk = pipes_take_chunk(pipes);
	if (!flow->chunk)
		return -ENOMEM;
	memcpy(flow->chunk->bytes + flow->waiting, bytes, len);
	flow->waiting += len;
	return 0;
}

static void set_nodelay(struct flow_sock *sock)
{
	int on = 1;

	sock->is_undelayed = true;
	sock->kind = setsockopt(sock->io.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0
			     ? FLOW_OTHER
			     : FLOW_TCP;
}

/* Found out where it is not known; who has a second answer to send needs the option, too. */
static bool is_tcp(struct flow_sock *sock)
{
	if (sock->kind == FLOW_UNKNOWN)
		set_nodelay(sock);
	return sock->kind == FLOW_TCP;
}

/* Nagle's delay can only come with the second send, so a short exchange saves the call. */
static void before_send(struct flow_sock *to)
{
	if (!to->is_undelayed && to->kind != FLOW_OTHER && to->has_sent && !to->is_corked)
		set_nodelay(to);
	to->has_sent = true;
}

void flow_uncork(struct flow_sock *to)
{
	/* Linux sends what waits when this is set, also for the second time */
	if (to->is_corked && to->kind != FLOW_OTHER)
		set_nodelay(to);
	to->is_corked = false;
}

static ssize_t send_waiting(struct flow *flow)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (flow->to->is_corked ? MSG_MORE : 0);

	if (flow->is_marked && !flow->to->is_in_line && is_tcp(flow->to))
		flags |= MSG_OOB;
	if (flow->chunk)
		return send(
			flow->to->io.fd, flow->chunk->bytes + flow->first, flow->waiting, flags);
	return splice(flow->pipe.out, NULL, flow->to->io.fd, NULL, flow->waiting, SPLICE_MODE);
}

/* EPOLLOUT joins the interest only when a socket was full: most never are. */
static void wait_for_space(struct flow_sock *to, struct loop *loop)
{
	to->is_writable = false;
	if (to->is_watched_out)
		return;
	to->is_watched_out = true;
	/* fails only for lack of kernel memory */
	if (loop_io_mod(loop, &to->io, FLOW_EVENTS | EPOLLOUT) < 0)
		to->is_broken = true;
}

/* Hand over what waits. */
static enum flow_result deliver(struct flow *flow, struct loop *loop)
{
	/* an end follows at once: both go as one segment, and wake their reader once */
	flow->to->is_corked = flow->chunk && flow->from->reads_to_end && !flow->from->is_urgent;
	before_send(flow->to);
	ssize_t sent = send_waiting(flow);
	if (sent > 0) {
		flow->bytes += (uint64_t)sent;
		flow->first += (size_t)sent;
		flow->waiting -= (size_t)sent;
		return FLOW_HAS_MORE;
	}
	if (sent == 0 || errno == EAGAIN)
		wait_for_space(flow->to, loop);
	else if (errno == ENOMEM || errno == ENOBUFS)
		return FLOW_STARVES;
	else if (errno != EINTR)
		flow->to->is_broken = flow->is_ended = true;
	return FLOW_HAS_MORE;
}

/* Who reads an error of a socket has it: the next one to read sees an end. */
static bool is_of_socket(int code)
{
	return code != EAGAIN && code != EINTR && code != ENOMEM && code != ENOBUFS &&
	       code != EINVAL;
}

/* Returns bytes, 0 when the end may have come, or -errno. */
static ssize_t receive_pipe(struct flow *flow, struct pipes *pipes)
{
	if (flow->pipe.in < 0) {
		give_back(flow, pipes);
		int result = pipes_take(pipes, &flow->pipe);
		if (result < 0)
			return result;
	}
	ssize_t got = splice(flow->from->io.fd, NULL, flow->pipe.in, NULL, SPLICE_MAX, SPLICE_MODE);
	if (got >= 0)
		return got;
	flow->from->is_broken |= is_of_socket(errno);
	return -errno;
}

/* Is the urgent byte the next one? */
static bool is_at_mark(const struct flow *flow)
{
	return sockatmark(flow->from->io.fd) == 1;
}

/*
 * Returns bytes, 0 at the end, or -errno. recv(2) stops in front of an urgent byte, but reads one
 * that is the first like any other: so it is called where bytes are known to wait, which cannot
 * become urgent any more.
 */
static ssize_t receive_chunk(struct flow *flow, struct pipes *pipes)
{
	struct flow_sock *from = flow->from;

	if (!flow->chunk)
		flow->chunk = pipes_take_chunk(pipes);
	if (!flow->chunk)
		return -ENOMEM;
	ssize_t got = recv(from->io.fd, flow->chunk->bytes, flow->is_marked ? 1 : PIPES_CHUNK_SIZE,
		MSG_DONTWAIT);
	flow->first = 0;
	if (got < 0)
		return -errno;
	flow->is_bulk = got >= BULK_ENTER;
	if (got > 0 && got < PIPES_CHUNK_SIZE && !from->is_urgent && !from->reads_to_end &&
		is_tcp(from))
		from->is_readable = false;
	return got;
}

/*
 * Take bytes from the socket; none wait, so an EAGAIN of splice cannot mean a full pipe. It may
 * mean that an urgent byte has come, and is the next one: EPOLLPRI will say so.
 */
static enum flow_result receive(struct flow *flow, struct pipes *pipes)
{
	struct flow_sock *from = flow->from;
	ssize_t got = -ENODATA;

	flow->is_marked = from->is_urgent && is_at_mark(flow);
	if (!flow->is_marked && (flow->is_bulk || from->is_urgent))
		got = receive_pipe(flow, pipes);
	if (got <= 0 && got != -EAGAIN && got != -EINTR) {
		/* no pipe, or an end or error that only recv tells apart from urgent bytes */
		give_back(flow, pipes);
		flow->is_bulk = false;
		if (got != -ENODATA && !flow->is_marked && !from->reads_to_end) {
			/* it may have come since */
			flow->is_marked = is_at_mark(flow);
			from->is_urgent |= flow->is_marked;
		}
		got = receive_chunk(flow, pipes);
	}
	if (got > 0)
		flow->waiting = (size_t)got;
	else if (got == 0)
		flow->is_ended = flow->from->is_read_out = true;
	else if (got == -EAGAIN)
		from->is_readable = from->is_urgent = false;
	else if (got == -ENOMEM || got == -ENOBUFS)
		return FLOW_STARVES;
	else if (got != -EINTR)
		return FLOW_FAILED;
	return FLOW_HAS_MORE;
}

void flow_sock_events(struct flow_sock *sock, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
		sock->is_readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		sock->is_writable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		sock->reads_to_end = true;
	if (events & EPOLLHUP)
		sock->is_gone = true;
	if (events & EPOLLERR)
		sock->is_broken = true;
	if ((events & EPOLLPRI) && !sock->is_urgent) {
		fd_keep_in_line(sock->io.fd); /* if whoever made it has not */
		sock->is_urgent = true;
	}
}

enum flow_result flow_pump(struct flow *flow, struct pipes *pipes, struct loop *loop, size_t budget)
{
	const uint64_t start = flow->bytes;
	enum flow_result result = FLOW_HAS_MORE;

	while (result == FLOW_HAS_MORE && !flow->is_ended) {
		if (flow->waiting > 0 && flow->to->is_writable)
			result = deliver(flow, loop);
		else if (flow->waiting > 0 || !flow->from->is_readable)
			result = FLOW_WAITS;
		else if (flow->bytes - start >= budget)
			break;
		else
			result = receive(flow, pipes);
	}
	if (flow->is_ended)
		result = FLOW_WAITS;
	else
		flow_uncork(flow->to);
	if (result != FLOW_HAS_MORE && flow->waiting == 0 && flow->bytes - start < BULK_LEAVE)
		flow->is_bulk = false;
	if (flow->is_ended || flow->waiting == 0)
		give_back(flow, pipes);
	return result;
}
