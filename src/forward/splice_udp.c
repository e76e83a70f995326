/* SPDX-License-Identifier: Apache-2.0 */
/* forward/splice_udp - the splice driver for datagrams */
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "forward/driver.h"
#include "forward/inside.h"
#include "forward/udp_batch.h"
#include "forward/udp_flows.h"
#include "util/fd.h"
#include "util/log.h"

/*
 * How it works
 *
 * Each client address is a flow (forward/udp_flows) with a socket of the inside that is connected
 * to where the guest listens. Datagrams go in batches, one copy in user space, borders kept. What a
 * socket does not take at once is dropped, as a network would.
 *
 * Before the guest has ever listened datagrams are held with their flow for wait_ms; so are those,
 * for a shorter time, that need a socket while the pool is empty. When the guest refuses (ICMP
 * comes back as ECONNREFUSED) the kernel is asked where it listens now, and the flow moves there;
 * the datagram that found this out as an event, not as a result of sending, is lost.
 *
 * A wildcard listener notes where each datagram was sent to and answers from there. When the driver
 * is closed its flows end: answers need the listener's socket.
 */
#define CLIENT_BATCHES 4    /* then others get their turn */
#define GUEST_BATCHES  2    /* the same, for one flow */
#define SOCKET_WAIT_MS 1000 /* for the pool to be filled */
#define REFUSED_MS     1000 /* a refused client is asked about again after that */
#define RESERVED_FDS   96   /* kept for relays and answers from the door */
#define SWEEP_MS_AFTER 10   /* so that a crowd of flows costs few sweeps */
#define NS_PER_MS      1000000ULL

struct listener {
	struct forward *forward;
	struct loop_io io;
	struct inside_waiter waiter;
	enum door_kind waiting_for;
	struct loop_timer sweep_timer;
	struct udp_flows *flows;
	struct udp_batch *batch; /* NULL unless there are flows */
	bool is_wildcard;
};

#define listener_of(ptr, member) \
	((struct listener *)((char *)(ptr)-offsetof(struct listener, member)))

static uint64_t now_of(const struct listener *listener)
{
	return loop_now_ns(listener->forward->context->loop);
}

/* See to it that the sweep comes at @deadline_ns or before. */
static void sweep_by(struct listener *listener, uint64_t deadline_ns)
{
	struct loop_timer *timer = &listener->sweep_timer;
	uint64_t now_ns = now_of(listener);

	if (timer->is_armed && timer->deadline_ns <= deadline_ns)
		return;
	loop_timer_set(listener->forward->context->loop, timer,
		(deadline_ns > now_ns ? (deadline_ns - now_ns) / NS_PER_MS : 0) + SWEEP_MS_AFTER);
}

static void on_sweep(struct loop_timer *timer)
{
	struct listener *listener = listener_of(timer, sweep_timer);
	uint64_t next_ns = udp_flows_sweep(listener->flows, now_of(listener));

	if (next_ns != UINT64_MAX)
		sweep_by(listener, next_ns);
	if (udp_flows_count(listener->flows) > 0)
		return;
	free(listener->batch);
	listener->batch = NULL;
}

static void on_forget(struct udp_flow *flow)
{
	struct listener *listener = flow->owner;

	loop_io_del(listener->forward->context->loop, &flow->io);
	fd_close(&flow->io.fd);
}

static void hold(struct listener *listener, struct udp_flow *flow, const void *bytes, size_t len)
{
	const struct forward *forward = listener->forward;
	uint64_t wait_ms = forward->has_listened ? SOCKET_WAIT_MS : forward->context->wait_ms;
	uint64_t deadline_ns = now_of(listener) + wait_ms * NS_PER_MS;

	if (wait_ms > 0 && udp_flows_hold(listener->flows, flow, bytes, len, deadline_ns))
		sweep_by(listener, deadline_ns);
}

static void wait_for_sockets(struct listener *listener, enum door_kind kind)
{
	struct inside *inside = listener->forward->context->inside;

	if (listener->waiter.is_waiting && listener->waiting_for != kind)
		inside_wait_cancel(inside, &listener->waiter);
	listener->waiting_for = kind;
	inside_wait(inside, kind, &listener->waiter);
}

static void on_guest_ready(struct loop_io *io, uint32_t events);

/*
 * Give @flow a socket that leads to where the guest listens now. Returns 0, -EAGAIN: it may have
 * one later, or -errno.
 */
static int open_socket(struct listener *listener, struct udp_flow *flow)
{
	struct forward *forward = listener->forward;
	const struct forward_context *context = forward->context;
	struct sockaddr_storage addr;

	if (!forward->has_listened)
		return -EAGAIN;
	forward_find_target(forward); /* nobody there: to the last place, for an honest refusal */
	bool is_v6 = forward->target == TARGET_LOOPBACK6 || forward->target == TARGET_OWN6;
	enum door_kind kind = is_v6 ? DOOR_UDP6 : DOOR_UDP4;
	_cleanup_fd_ int fd = inside_take(context->inside, kind);
	if (fd < 0) {
		wait_for_sockets(listener, kind);
		return -EAGAIN;
	}
	/* the kernel gives out the lowest number that is free */
	if ((size_t)fd + RESERVED_FDS > context->max_fds) {
		inside_put_back(context->inside, kind, fd_take(&fd));
		return -EMFILE;
	}
	socklen_t len = forward_target_sockaddr(forward, forward->target, &addr);
	if (connect(fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	flow->io = (struct loop_io){fd, on_guest_ready};
	int result = loop_io_add(context->loop, &flow->io, EPOLLIN);
	if (result < 0) {
		flow->io.fd = -1;
		return result;
	}
	flow->target = forward->target;
	fd_take(&fd);
	return 0;
}

/* The guest refused a datagram: go where it listens now, if that is another place. */
static void move(struct listener *listener, struct udp_flow *flow)
{
	struct forward *forward = listener->forward;

	if (!forward_find_target(forward) || forward->target == flow->target)
		return;
	on_forget(flow);
	open_socket(listener, flow);
}

/*
 * Hand @count datagrams to the guest; those that it does not take are dropped. Refusals are of
 * datagrams before: try again, once.
 */
static void send_inside(
	struct listener *listener, struct udp_flow *flow, struct mmsghdr *messages, size_t count)
{
	bool has_moved = false;

	while (count > 0 && flow->io.fd >= 0) {
		int sent = sendmmsg(
			flow->io.fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0 && errno == ECONNREFUSED && !has_moved) {
			has_moved = true;
			move(listener, flow);
			continue;
		}
		if (sent < 0)
			sent = 1;
		messages += sent;
		count -= (size_t)sent;
	}
	for (; count > 0; messages++, count--) /* moved, and the pool is empty */
		hold(listener, flow, messages->msg_hdr.msg_iov->iov_base,
			messages->msg_hdr.msg_iov->iov_len);
}

/* Deliver what is held for @flow. Returns false when there is no socket for it now. */
static bool serve_flow(struct udp_flow *flow)
{
	struct listener *listener = flow->owner;
	struct udp_held *held;

	if (flow->io.fd < 0 && open_socket(listener, flow) == -EAGAIN)
		return false;
	for (size_t count = flow->held_count; count > 0; count--) {
		held = udp_flows_take_held(listener->flows, flow);
		struct iovec part = {held->bytes, held->len};
		struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
		if (flow->io.fd >= 0)
			send_inside(listener, flow, &message, 1);
		free(held);
	}
	return true;
}

static void serve_held(struct listener *listener)
{
	udp_flows_each_held(listener->flows, serve_flow);
}

static void on_sockets(struct inside_waiter *waiter)
{
	serve_held(listener_of(waiter, waiter));
}

/* Take up to a batch from @fd. Returns how many, 0: there are none, or -errno. */
static int receive(struct listener *listener, int fd, bool wants_names)
{
	if (!listener->batch)
		listener->batch = malloc(sizeof(*listener->batch));
	if (!listener->batch)
		return -ENOMEM;
	return udp_batch_receive(listener->batch, fd, wants_names);
}

static bool is_client_allowed(const struct listener *listener, const struct udp_key *key)
{
	const struct forward_spec *spec = &listener->forward->spec;
	struct forward_addr host = spec->host;
	struct sockaddr_storage local;

	if (listener->is_wildcard && host.family == AF_INET)
		memcpy(&host.v4, &key->local, sizeof(host.v4));
	else if (listener->is_wildcard)
		host.v6 = key->local;
	forward_addr_to_sockaddr(&host, spec->host_port, &local);
	return forward_is_allowed(
		listener->forward, (const struct sockaddr *)&key->peer, (struct sockaddr *)&local);
}

static struct udp_flow *find_or_add(struct listener *listener, const struct udp_key *key)
{
	uint64_t now_ns = now_of(listener);
	struct udp_flow *flow = udp_flows_find(listener->flows, key);

	if (flow && flow->is_refused && now_ns - flow->made_ns > REFUSED_MS * NS_PER_MS) {
		udp_flows_forget(listener->flows, flow);
		flow = NULL;
	}
	if (flow && flow->is_refused)
		return flow;
	/* each time: the client may have closed its socket, and a stranger taken the port */
	bool is_allowed = is_client_allowed(listener, key);
	if (flow && is_allowed)
		return flow;
	if (flow)
		udp_flows_forget(listener->flows, flow);
	flow = udp_flows_add(listener->flows, key, now_ns);
	if (!flow)
		return NULL;
	flow->is_refused = !is_allowed;
	sweep_by(listener, now_ns + UDP_FRESH_S * 1000 * NS_PER_MS);
	return flow;
}

/* Messages @first to @end - 1 came from the same client. */
static void lead_inside(
	struct listener *listener, const struct udp_key *key, size_t first, size_t end)
{
	struct udp_batch *batch = listener->batch;
	struct udp_flow *flow = find_or_add(listener, key);

	if (!flow || flow->is_refused)
		return;
	udp_flows_use(listener->flows, flow, false, end - first, now_of(listener));
	int result = flow->io.fd < 0 ? open_socket(listener, flow) : 0;
	if (result == 0) {
		serve_flow(flow); /* what came before */
		send_inside(listener, flow, batch->messages + first, end - first);
	}
	for (size_t i = first; result == -EAGAIN && i < end; i++)
		hold(listener, flow, batch->bytes[i], batch->parts[i].iov_len);
}

static void on_listener_ready(struct loop_io *io, uint32_t events)
{
	struct listener *listener = listener_of(io, io);
	struct forward *forward = listener->forward;
	struct udp_key keys[UDP_BATCH];

	(void)events;
	if (!forward->has_listened && forward_find_target(forward))
		forward_note_listening(forward);
	for (int round = 0, count = UDP_BATCH; round < CLIENT_BATCHES && count == UDP_BATCH;
		round++) {
		count = receive(listener, io->fd, true);
		for (int i = 0; i < count; i++)
			udp_batch_take_key(listener->batch, (size_t)i, &keys[i]);
		for (int first = 0, end; first < count; first = end) {
			for (end = first + 1; end < count; end++)
				if (memcmp(&keys[first], &keys[end], sizeof(keys[first])) != 0)
					break;
			lead_inside(listener, &keys[first], (size_t)first, (size_t)end);
		}
	}
}

static void on_guest_ready(struct loop_io *io, uint32_t events)
{
	struct udp_flow *flow = (struct udp_flow *)((char *)io - offsetof(struct udp_flow, io));
	struct listener *listener = flow->owner;

	(void)events;
	for (int round = 0, count = UDP_BATCH; round < GUEST_BATCHES && count == UDP_BATCH;
		round++) {
		count = receive(listener, io->fd, false);
		if (count == -ECONNREFUSED)
			move(listener, flow);
		if (count <= 0)
			return;
		forward_note_listening(listener->forward);
		udp_flows_use(listener->flows, flow, true, (size_t)count, now_of(listener));
		udp_batch_answer(listener->batch, listener->io.fd, &flow->key, (size_t)count);
	}
}

/* IPv6 listeners are for IPv6 only. */
static int ask_for_pktinfo(struct listener *listener)
{
	const struct forward_addr *host = &listener->forward->spec.host;
	int on = 1, result = 0;

	if (host->family == AF_INET && host->v4.s_addr == htonl(INADDR_ANY)) {
		listener->is_wildcard = true;
		result = setsockopt(listener->io.fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	} else if (host->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&host->v6)) {
		listener->is_wildcard = true;
		result = setsockopt(
			listener->io.fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	}
	return result < 0 ? -errno : 0;
}

static int splice_udp_open(struct forward *forward, struct err *err)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int result = -ENOMEM;

	if (!listener)
		return err_sys(err, ENOMEM, "cannot open a forward");
	listener->forward = forward;
	listener->io = (struct loop_io){forward->listen_fd, on_listener_ready};
	listener->waiter.on_sockets = on_sockets;
	listener->sweep_timer.on_expired = on_sweep;
	listener->flows = udp_flows_new(on_forget, listener);
	if (listener->flows)
		result = ask_for_pktinfo(listener);
	if (result == 0)
		result = loop_io_add(forward->context->loop, &listener->io, EPOLLIN);
	if (result < 0) {
		udp_flows_free(listener->flows);
		free(listener);
		return err_sys(err, -result, "cannot watch a UDP port");
	}
	forward->state = listener;
	return 0;
}

static void splice_udp_close(struct forward *forward)
{
	struct listener *listener = forward->state;

	inside_wait_cancel(forward->context->inside, &listener->waiter);
	loop_timer_cancel(forward->context->loop, &listener->sweep_timer);
	loop_io_del(forward->context->loop, &listener->io);
	udp_flows_free(listener->flows);
	free(listener->batch);
	free(listener);
	forward->state = NULL;
}

static void splice_udp_on_guest_listening(struct forward *forward)
{
	serve_held(forward->state);
}

const struct forward_driver forward_splice_udp = {
	.name = "splice",
	.open = splice_udp_open,
	.close = splice_udp_close,
	.on_guest_listening = splice_udp_on_guest_listening,
};
