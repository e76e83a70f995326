/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_relay - datagrams between a bound socket and a socket for each of its clients */
#include "conn/udp_relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/udp_batch.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

#define CLIENT_BATCHES 4    /* then others get their turn */
#define TARGET_BATCHES 2    /* the same, for one flow */
#define REFUSED_MS     1000 /* a refused client is asked about again after that */
#define SWEEP_MS_AFTER 10   /* so that a crowd of flows costs few sweeps */

struct udp_relay {
	struct loop *loop;
	const struct udp_relay_ops *ops;
	void *owner;
	uint64_t hold_ms;
	struct loop_io io; /* on the listener */
	struct loop_timer sweep_timer;
	struct udp_flows *flows;
	struct udp_batch *batch; /* NULL unless there are flows */
	unsigned depth;          /* calls under way that come back to this struct */
	bool is_freed;           /* within one of them, the last of which frees it */
};

/* None is forgotten where who has called back may be at it. */
static void enter(struct udp_relay *relay)
{
	udp_flows_pin(relay->flows, ++relay->depth > 1);
}

static void leave(struct udp_relay *relay)
{
	udp_flows_pin(relay->flows, --relay->depth > 1);
	if (relay->depth > 0 || !relay->is_freed)
		return;
	udp_flows_free(relay->flows);
	loop_timer_cancel(relay->loop, &relay->sweep_timer);
	free(relay->batch);
	free(relay);
}

/* See to it that the sweep comes at @deadline_ns or before. */
static void sweep_by(struct udp_relay *relay, uint64_t deadline_ns)
{
	struct loop_timer *timer = &relay->sweep_timer;
	uint64_t now_ns = loop_now_ns(relay->loop);

	if (loop_timer_is_armed(timer) && timer->deadline_ns <= deadline_ns)
		return;
	loop_timer_set(relay->loop, timer, clock_ms_until(deadline_ns, now_ns) + SWEEP_MS_AFTER);
}

static void on_sweep(struct loop_timer *timer)
{
	struct udp_relay *relay = container_of(timer, struct udp_relay, sweep_timer);
	uint64_t next_ns = udp_flows_sweep(relay->flows, loop_now_ns(relay->loop));

	if (next_ns != UINT64_MAX)
		sweep_by(relay, next_ns);
	if (udp_flows_count(relay->flows) > 0)
		return;
	free(relay->batch);
	relay->batch = NULL;
}

static void close_target(struct udp_flow *flow)
{
	struct udp_relay *relay = flow->owner;

	if (flow->io.fd < 0)
		return;
	loop_io_del(relay->loop, &flow->io);
	fd_close(&flow->io.fd);
	udp_flows_give_target(relay->flows, flow);
}

static void on_target_ready(struct loop_io *io, uint32_t events);

/* Returns 0 when @flow has a target, or -errno: what the owner said. */
static int open_target(struct udp_relay *relay, struct udp_flow *flow)
{
	_cleanup_fd_ int fd = relay->ops->open(relay->owner, flow);
	if (fd < 0)
		return fd;
	if (relay->is_freed)
		return -ECANCELED;
	/* only now: nobody is to lose one for a target that cannot be opened */
	if (!udp_flows_take_target(relay->flows, flow))
		return -EMFILE;
	flow->io = (struct loop_io){fd, on_target_ready};
	int result = loop_io_add(relay->loop, &flow->io, EPOLLIN);
	if (result < 0) {
		flow->io.fd = -1;
		udp_flows_give_target(relay->flows, flow);
		return result;
	}
	fd_take(&fd);
	return 0;
}

/* Returns 0 when @flow still has a target, or has one again. */
static int meet_refusal(struct udp_relay *relay, struct udp_flow *flow)
{
	bool has_moved = relay->ops->on_refused && relay->ops->on_refused(relay->owner, flow);

	if (relay->is_freed)
		return -ECANCELED;
	if (!has_moved)
		return 0;
	close_target(flow);
	return open_target(relay, flow);
}

static void hold(struct udp_relay *relay, struct udp_flow *flow, const struct iovec *part)
{
	uint64_t deadline_ns = loop_now_ns(relay->loop) + relay->hold_ms * NS_PER_MS;

	if (relay->hold_ms > 0 &&
		udp_flows_hold(relay->flows, flow, part->iov_base, part->iov_len, deadline_ns))
		sweep_by(relay, deadline_ns);
}

/*
 * Hand @count datagrams to the target, if @result is 0: there is one. Those that it does not take
 * are dropped. Refusals are of datagrams before: try again, once. What has no target but may have
 * one later is held. Returns how things are now.
 */
static int deliver(struct udp_relay *relay, struct udp_flow *flow, int result,
	struct mmsghdr *messages, size_t count)
{
	bool was_refused = false;

	while (count > 0 && result == 0) {
		int sent = sendmmsg(
			flow->io.fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			return 0;
		if (sent < 0 && errno == ECONNREFUSED && !was_refused) {
			was_refused = true;
			result = meet_refusal(relay, flow);
			continue;
		}
		if (sent < 0)
			sent = 1;
		messages += sent;
		count -= (size_t)sent;
	}
	for (; count > 0 && result == -EAGAIN; messages++, count--)
		hold(relay, flow, messages->msg_hdr.msg_iov);
	return result;
}

/* Find a target for @flow, and deliver what is held for it. Returns 0 or -errno: there is none. */
static int serve(struct udp_relay *relay, struct udp_flow *flow)
{
	int result = flow->io.fd < 0 ? open_target(relay, flow) : 0;
	struct udp_held *held;

	if (result == -EAGAIN)
		return result;
	for (size_t count = flow->held_count; count > 0; count--) {
		held = udp_flows_take_held(relay->flows, flow);
		if (!held) /* a callback came back with udp_relay_retry */
			break;
		struct iovec part = {held->bytes, held->len};
		struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
		result = deliver(relay, flow, result, &message, 1);
		free(held);
	}
	return result;
}

static bool serve_held(struct udp_flow *flow)
{
	struct udp_relay *relay = flow->owner;

	return serve(relay, flow) != -EAGAIN && !relay->is_freed;
}

void udp_relay_retry(struct udp_relay *relay)
{
	enter(relay);
	udp_flows_each_held(relay->flows, serve_held);
	leave(relay);
}

void udp_relay_set_hold_ms(struct udp_relay *relay, uint64_t hold_ms)
{
	relay->hold_ms = hold_ms;
}

/* Take up to a batch from @fd. Returns how many, 0: there are none, or -errno. */
static int receive(struct udp_relay *relay, int fd, bool wants_names)
{
	if (!relay->batch)
		relay->batch = malloc(sizeof(*relay->batch));
	if (!relay->batch)
		return -ENOMEM;
	return udp_batch_receive(relay->batch, fd, wants_names);
}

static struct udp_flow *find_or_add(struct udp_relay *relay, const struct udp_key *key)
{
	uint64_t now_ns = loop_now_ns(relay->loop);
	struct udp_flow *flow = udp_flows_find(relay->flows, key);

	if (flow && flow->is_refused && now_ns - flow->made_ns > REFUSED_MS * NS_PER_MS) {
		udp_flows_forget(relay->flows, flow);
		flow = NULL;
	}
	if (flow && flow->is_refused)
		return flow;
	/* each time: the client may have closed its socket, and a stranger taken the port */
	bool is_allowed = !relay->ops->is_allowed || relay->ops->is_allowed(relay->owner, key);
	if (flow && is_allowed)
		return flow;
	if (flow)
		udp_flows_forget(relay->flows, flow);
	flow = udp_flows_add(relay->flows, key, now_ns);
	if (!flow)
		return NULL;
	flow->is_refused = !is_allowed;
	sweep_by(relay, now_ns + UDP_FRESH_S * NS_PER_S);
	return flow;
}

/* Messages @first to @end - 1 came from the same client. */
static void take_in(struct udp_relay *relay, const struct udp_key *key, size_t first, size_t end)
{
	struct udp_flow *flow = find_or_add(relay, key);

	if (!flow || flow->is_refused || relay->is_freed)
		return;
	udp_flows_use(relay->flows, flow, false, end - first, loop_now_ns(relay->loop));
	int result = serve(relay, flow); /* what came before */
	deliver(relay, flow, result, relay->batch->messages + first, end - first);
}

/* Returns how many datagrams there were, 0 or less: no more, for now. */
static int take_in_batch(struct udp_relay *relay)
{
	struct udp_key keys[UDP_BATCH];
	int count = receive(relay, relay->io.fd, true);

	for (int i = 0; i < count; i++)
		udp_batch_take_key(relay->batch, (size_t)i, &keys[i]);
	for (int first = 0, end; first < count && !relay->is_freed; first = end) {
		for (end = first + 1; end < count; end++)
			if (memcmp(&keys[first], &keys[end], sizeof(keys[first])) != 0)
				break;
		take_in(relay, &keys[first], (size_t)first, (size_t)end);
	}
	return count;
}

static void on_clients_ready(struct loop_io *io, uint32_t events)
{
	struct udp_relay *relay = container_of(io, struct udp_relay, io);

	(void)events;
	enter(relay);
	if (relay->ops->on_clients)
		relay->ops->on_clients(relay->owner);
	for (int round = 0; round < CLIENT_BATCHES && !relay->is_freed; round++)
		if (take_in_batch(relay) < UDP_BATCH)
			break;
	leave(relay);
}

/* The same as take_in_batch, the other way. */
static int answer_batch(struct udp_relay *relay, struct udp_flow *flow)
{
	int count = receive(relay, flow->io.fd, false);

	if (count == -ECONNREFUSED)
		meet_refusal(relay, flow);
	if (count <= 0)
		return count;
	if (relay->ops->on_answer)
		relay->ops->on_answer(relay->owner);
	if (relay->is_freed)
		return 0;
	udp_flows_use(relay->flows, flow, true, (size_t)count, loop_now_ns(relay->loop));
	udp_batch_answer(relay->batch, relay->io.fd, &flow->key, (size_t)count);
	return count;
}

static void on_target_ready(struct loop_io *io, uint32_t events)
{
	struct udp_flow *flow = container_of(io, struct udp_flow, io);
	struct udp_relay *relay = flow->owner;

	if (events & EPOLLHUP) {
		udp_flows_forget(relay->flows, flow);
		return;
	}
	enter(relay);
	for (int round = 0; round < TARGET_BATCHES; round++)
		if (answer_batch(relay, flow) < UDP_BATCH)
			break;
	leave(relay);
}

struct udp_relay *udp_relay_new(struct loop *loop, struct budget *budget, int listen_fd,
	const struct udp_relay_ops *ops, void *owner)
{
	struct udp_relay *relay = calloc(1, sizeof(*relay));
	int result = -ENOMEM;

	if (!relay)
		return NULL;
	relay->loop = loop;
	relay->ops = ops;
	relay->owner = owner;
	relay->io = (struct loop_io){listen_fd, on_clients_ready};
	relay->sweep_timer.on_expired = on_sweep;
	relay->flows = udp_flows_new(budget, close_target, relay);
	if (relay->flows)
		result = udp_batch_prepare(listen_fd);
	if (result == 0)
		result = loop_io_add(loop, &relay->io, EPOLLIN);
	if (result == 0)
		return relay;
	udp_flows_free(relay->flows);
	free(relay);
	errno = -result;
	return NULL;
}

void udp_relay_free(struct udp_relay *relay)
{
	if (!relay)
		return;
	loop_io_del(relay->loop, &relay->io); /* the descriptor may be closed after this */
	enter(relay);
	relay->is_freed = true;
	leave(relay);
}
