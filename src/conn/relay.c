/* SPDX-License-Identifier: Apache-2.0 */
/* conn/relay - bytes between two connected stream sockets, both ways, until both ways have ended */
#include "conn/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "conn/flow.h"
#include "conn/pipes.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define WAKE_UP_BYTES (1024 * 1024) /* each way, then the other relays have their turn */
#define RETRY_MS      20            /* after memory ran out */

struct relay {
	struct relay_pool *pool;
	struct list link; /* of the pool */
	/* for util/shares, where it is counted only once descriptors were short */
	bool has_source, is_counted;
	unsigned short source;
	uint64_t moved_ns; /* when something was last going on */
	struct flow_sock socks[RELAY_SIDES];
	struct flow flows[RELAY_SIDES]; /* by where the bytes come from */
	struct loop_task task;
	bool is_starved, is_kept_whole;
	struct inside *inside; /* where the socket of B goes afterwards; NULL: nowhere */
	enum door_kind kind;
	void (*on_done)(struct relay *relay, void *owner);
	void *owner;
};

struct relay_pool {
	struct loop *loop;
	struct budget *budget;
	struct pipes pipes;
	struct list all; /* the newest first */
	size_t count;
	struct shares_part part;
	struct loop_timer retry;
};

static void on_retry(struct loop_timer *timer)
{
	struct relay_pool *pool = container_of(timer, struct relay_pool, retry);

	list_each (at, &pool->all) {
		struct relay *relay = container_of(at, struct relay, link);

		if (relay->is_starved)
			loop_task_add(pool->loop, &relay->task);
	}
}

static void learn_sources(struct shares_part *part);
static bool yield(struct shares_part *part, unsigned source);

struct relay_pool *relay_pool_new(struct loop *loop, struct budget *budget)
{
	struct relay_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	if (pipes_init(&pool->pipes, budget) < 0) {
		free(pool);
		return NULL;
	}
	pool->loop = loop;
	pool->budget = budget;
	pool->retry.on_expired = on_retry;
	list_init(&pool->all);
	pool->part = (struct shares_part){SHARES_CONNECTIONS, learn_sources, yield, NULL};
	shares_join(&budget->shares, &pool->part);
	return pool;
}

void relay_pool_free(struct relay_pool *pool)
{
	if (!pool)
		return;
	while (!list_is_empty(&pool->all))
		relay_stop(list_first(&pool->all, struct relay, link));
	loop_timer_cancel(pool->loop, &pool->retry);
	pipes_fini(&pool->pipes);
	shares_leave(&pool->budget->shares, &pool->part);
	free(pool);
}

/* Leave the loop and the pool, close both sockets. The struct is still there afterwards. */
static void end(struct relay *relay, bool is_reset)
{
	struct relay_pool *pool = relay->pool;

	loop_task_cancel(pool->loop, &relay->task);
	for (enum relay_side side = RELAY_A; side < RELAY_SIDES; side++) {
		struct flow_sock *sock = &relay->socks[side];

		flow_fini(&relay->flows[side], &pool->pipes);
		loop_io_del(pool->loop, &sock->io);
		if (is_reset) {
			flow_uncork(sock);
			fd_reset(&sock->io.fd);
		} else if (relay->is_kept_whole) {
			fd_reset_at_close(sock->io.fd, false);
		}
		if (side == RELAY_B && relay->inside && !is_reset && sock->is_read_out)
			inside_recycle(relay->inside, relay->kind, fd_take(&sock->io.fd));
		fd_close(&sock->io.fd);
	}
	list_del(&relay->link);
	pool->count--;
	if (relay->is_counted)
		shares_give(&pool->budget->shares, SHARES_CONNECTIONS, relay->source);
	budget_give(pool->budget, RELAY_SIDES);
}

static void finish(struct relay *relay, bool is_reset)
{
	end(relay, is_reset);
	log_debug("connection ended: %llu bytes in, %llu bytes out",
		(unsigned long long)relay_bytes(relay, RELAY_A),
		(unsigned long long)relay_bytes(relay, RELAY_B));
	if (relay->on_done)
		relay->on_done(relay, relay->owner);
	free(relay);
}

void relay_stop(struct relay *relay)
{
	end(relay, true);
	free(relay);
}

/* Pump what comes from @side and pass its end on. A broken side has failed once it is empty. */
static enum flow_result pump(struct relay *relay, enum relay_side side)
{
	struct relay_pool *pool = relay->pool;
	struct flow *flow = &relay->flows[side], *back = &relay->flows[!side];
	bool was_ended = flow->is_ended;

	enum flow_result result = flow_pump(flow, &pool->pipes, pool->loop, WAKE_UP_BYTES);
	if (flow->from->is_broken && result != FLOW_HAS_MORE)
		return FLOW_FAILED;
	if (!flow->is_ended)
		return result;
	if ((!was_ended || flow->from->is_gone) && flow->from->kind != FLOW_TCP &&
		fd_was_reset(flow->from->io.fd))
		return FLOW_FAILED;
	if (flow->from->is_gone && back->waiting == 0)
		back->is_ended = true;
	/* the close that follows says the same when the other way has ended, too; unless there are
	 * bytes for who has gone: it is a reset then, and takes along what is corked */
	if (!was_ended && (!back->is_ended || (flow->from->is_gone && flow->to->is_corked)))
		shutdown(flow->to->io.fd, SHUT_WR);
	return result;
}

/* Move bytes and find out what follows; @relay may be gone afterwards. */
static void run(struct relay *relay)
{
	struct relay_pool *pool = relay->pool;
	bool has_more = false;

	relay->is_starved = false;
	relay->moved_ns = loop_now_ns(pool->loop);
	for (enum relay_side side = RELAY_A; side < RELAY_SIDES; side++) {
		enum flow_result result = pump(relay, side);

		if (result == FLOW_FAILED) {
			finish(relay, true);
			return;
		}
		has_more |= result == FLOW_HAS_MORE;
		relay->is_starved |= result == FLOW_STARVES;
	}
	/* A was found broken by what came from B, after A's own turn */
	has_more |= relay->socks[RELAY_A].is_broken;
	if (relay->flows[RELAY_A].is_ended && relay->flows[RELAY_B].is_ended) {
		finish(relay, false);
		return;
	}
	if (has_more)
		loop_task_add(pool->loop, &relay->task);
	if (relay->is_starved && !loop_timer_is_armed(&pool->retry))
		loop_timer_set(pool->loop, &pool->retry, RETRY_MS);
}

static void on_task(struct loop_task *task)
{
	run(container_of(task, struct relay, task));
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct flow_sock *sock = container_of(io, struct flow_sock, io);

	flow_sock_events(sock, events);
	run(sock->owner);
}

/* @io: where @fd_a is watched; NULL: nowhere. */
static struct relay *start(struct relay_pool *pool, struct loop_io *io, int fd_a, int fd_b)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (!relay)
		return NULL;
	struct flow_sock *a = &relay->socks[RELAY_A], *b = &relay->socks[RELAY_B];
	relay->pool = pool;
	relay->task.on_run = on_task;
	relay->moved_ns = loop_now_ns(pool->loop);
	relay->socks[RELAY_A].io = (struct loop_io){fd_a, on_ready};
	relay->socks[RELAY_B].io = (struct loop_io){fd_b, on_ready};
	for (enum relay_side side = RELAY_A; side < RELAY_SIDES; side++) {
		relay->socks[side].owner = relay;
		relay->socks[side].is_writable = true;
		flow_init(&relay->flows[side], &relay->socks[side], &relay->socks[!side]);
	}
	int result = io ? loop_io_move(pool->loop, io, &a->io, FLOW_EVENTS)
			: loop_io_add(pool->loop, &a->io, FLOW_EVENTS);
	if (result == 0)
		result = loop_io_add(pool->loop, &b->io, FLOW_EVENTS);
	if (result < 0) {
		loop_io_del(pool->loop, &a->io);
		free(relay);
		errno = -result;
		return NULL;
	}
	list_add_first(&pool->all, &relay->link);
	pool->count++;
	budget_take(pool->budget, RELAY_SIDES);
	return relay;
}

struct relay *relay_start(struct relay_pool *pool, int fd_a, int fd_b,
	void (*on_done)(struct relay *relay, void *owner), void *owner)
{
	struct relay *relay = start(pool, NULL, fd_a, fd_b);

	if (relay) {
		relay->on_done = on_done;
		relay->owner = owner;
	}
	return relay;
}

struct relay *relay_start_with(struct relay_pool *pool, struct loop_io *io, int fd_b)
{
	struct relay *relay = start(pool, io, io->fd, fd_b);
	const int code = errno;

	if (!relay)
		loop_io_del(pool->loop, io);
	errno = code;
	return relay;
}

_Static_assert(RELAY_PUSH_MAX == PIPES_CHUNK_SIZE, "what is pushed waits in one buffer");

int relay_push(struct relay *relay, enum relay_side from, const void *bytes, size_t len)
{
	int result = flow_push(&relay->flows[from], &relay->pool->pipes, bytes, len);

	if (result == 0) /* nothing may happen at the sockets */
		loop_task_add(relay->pool->loop, &relay->task);
	return result;
}

void relay_note_tcp(struct relay *relay, enum relay_side side)
{
	relay->socks[side].kind = FLOW_TCP;
}

void relay_note_source(struct relay *relay, unsigned source)
{
	relay->has_source = true;
	relay->source = (unsigned short)source;
}

void relay_note_inside(struct relay *relay, struct inside *inside, enum door_kind kind)
{
	relay->inside = inside;
	relay->kind = kind;
}

void relay_keep_whole(struct relay *relay)
{
	relay->is_kept_whole = true;
	for (enum relay_side side = RELAY_A; side < RELAY_SIDES; side++)
		fd_reset_at_close(relay->socks[side].io.fd, true);
}

void relay_keep_in_line(struct relay *relay)
{
	for (enum relay_side side = RELAY_A; side < RELAY_SIDES; side++)
		relay->socks[side].is_in_line = true;
}

uint64_t relay_bytes(const struct relay *relay, enum relay_side from)
{
	return relay->flows[from].bytes;
}

/* --- sources ------------------------------------------------------------------------------ */

static void find_source(struct relay *relay)
{
	struct addr client = addr_loopback4(0);
	socklen_t len = sizeof(client);

	getpeername(relay->socks[RELAY_A].io.fd, &client.any, &len);
	relay_note_source(relay, shares_source(&relay->pool->budget->shares, &client));
}

/* Only those that came since the last time are not counted. */
static void learn_sources(struct shares_part *part)
{
	struct relay_pool *pool = container_of(part, struct relay_pool, part);

	list_each (at, &pool->all) {
		struct relay *relay = container_of(at, struct relay, link);

		if (relay->is_counted)
			return;
		if (!relay->has_source)
			find_source(relay);
		relay->is_counted = true;
		shares_take(&pool->budget->shares, SHARES_CONNECTIONS, relay->source);
	}
}

/* The one in which nothing has been going on for the longest time. */
static struct relay *longest_at_rest(struct relay_pool *pool, unsigned source)
{
	struct relay *longest = NULL;

	for (struct list *at = pool->all.prev; at != &pool->all; at = at->prev) {
		struct relay *relay = container_of(at, struct relay, link);

		if (relay->source == source && (!longest || relay->moved_ns < longest->moved_ns))
			longest = relay;
	}
	return longest;
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct relay *relay = longest_at_rest(container_of(part, struct relay_pool, part), source);

	if (relay)
		finish(relay, true);
	return relay;
}

size_t relay_pool_count(const struct relay_pool *pool)
{
	return pool->count;
}
