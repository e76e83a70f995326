/* SPDX-License-Identifier: Apache-2.0 */
/* conn/inside - a small pool of sockets that belong to another network namespace */
#include "conn/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/clock.h"
#include "util/fd.h"

#define LOW_WATER      16
#define RETRY_DELAY_MS 20
#define MINTED_MAX     16
#define RECYCLED_MAX   (2 * LOW_WATER)

struct stock {
	int fds[2 * DOOR_BATCH_MAX];
	size_t count;
	unsigned batch; /* doubles while it is used up quickly */
	bool is_requested;
	struct list waiters;
};

struct inside {
	struct loop *loop;
	struct loop_io io;
	struct loop_timer retry_timer;
	struct stock stocks[DOOR_KINDS];
};

static void request(struct inside *inside, enum door_kind kind)
{
	struct stock *stock = &inside->stocks[kind];

	if (stock->is_requested)
		return;
	/* those of a mint are made one by one, while its process does nothing else */
	const unsigned most = kind < DOOR_TCP4_CLIENT ? DOOR_BATCH_MAX : MINTED_MAX;

	if (stock->batch < most)
		stock->batch = stock->batch ? stock->batch * 2 : 4;
	if (door_request(inside->io.fd, kind, stock->batch) == 0)
		stock->is_requested = true;
	else
		loop_timer_set(inside->loop, &inside->retry_timer, RETRY_DELAY_MS);
}

/* Whoever waits now, once, while there are sockets. */
static void wake_waiters(struct stock *stock)
{
	struct list now;

	list_init(&now);
	list_move_all(&now, &stock->waiters);
	while (!list_is_empty(&now) && stock->count > 0) {
		struct inside_waiter *waiter = list_first(&now, struct inside_waiter, link);

		list_del(&waiter->link);
		waiter->on_sockets(waiter);
	}
	list_move_all(&now, &stock->waiters); /* they came later */
	list_move_all(&stock->waiters, &now);
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct inside *inside = container_of(io, struct inside, io);
	enum door_kind kind;
	int fds[DOOR_BATCH_MAX];

	(void)events;
	ssize_t count = door_receive(io->fd, &kind, fds);
	if (count == -EPIPE)
		loop_io_del(inside->loop, io); /* the server is gone; our owner sees to that */
	if (count == -EMSGSIZE) {
		/*
		 * Too few descriptors left here: the sockets are lost. Ask again in a moment, for
		 * a few: there may be no room for more for a long time.
		 */
		for (kind = 0; kind < DOOR_KINDS; kind++) {
			inside->stocks[kind].is_requested = false;
			inside->stocks[kind].batch = 0;
		}
	}
	if (count == -EMSGSIZE || count == 0) /* 0: the server is short of descriptors */
		loop_timer_set(inside->loop, &inside->retry_timer, RETRY_DELAY_MS);
	if (count < 0)
		return;
	inside->stocks[kind].is_requested = false;
	for (ssize_t i = 0; i < count; i++)
		inside_put_back(inside, kind, fds[i]);
	wake_waiters(&inside->stocks[kind]);
}

static void on_retry(struct loop_timer *timer)
{
	struct inside *inside = container_of(timer, struct inside, retry_timer);

	for (enum door_kind kind = 0; kind < DOOR_KINDS; kind++)
		if (!list_is_empty(&inside->stocks[kind].waiters))
			request(inside, kind);
}

struct inside *inside_new(struct loop *loop, int door)
{
	struct inside *inside = calloc(1, sizeof(*inside));

	if (!inside)
		return NULL;
	inside->loop = loop;
	inside->io = (struct loop_io){door, on_answer};
	inside->retry_timer.on_expired = on_retry;
	for (enum door_kind kind = 0; kind < DOOR_KINDS; kind++)
		list_init(&inside->stocks[kind].waiters);
	int result = door < 0 ? 0 : loop_io_add(loop, &inside->io, EPOLLIN);
	if (result < 0) {
		free(inside);
		errno = -result;
		return NULL;
	}
	return inside;
}

void inside_free(struct inside *inside)
{
	if (!inside)
		return;
	loop_timer_cancel(inside->loop, &inside->retry_timer);
	loop_io_del(inside->loop, &inside->io);
	for (enum door_kind kind = 0; kind < DOOR_KINDS; kind++)
		while (inside->stocks[kind].count > 0)
			close(inside->stocks[kind].fds[--inside->stocks[kind].count]);
	free(inside);
}

int inside_take(struct inside *inside, enum door_kind kind, struct inside_waiter *waiter)
{
	struct stock *stock = &inside->stocks[kind];

	if (stock->count <= LOW_WATER)
		request(inside, kind);
	if (stock->count > 0)
		return stock->fds[--stock->count];
	if (waiter && !(list_is_linked(&waiter->link) && waiter->kind == kind)) {
		list_del(&waiter->link);
		waiter->kind = kind;
		list_add_last(&stock->waiters, &waiter->link);
	}
	return -EAGAIN;
}

int inside_take_now(struct inside *inside, enum door_kind kind, int timeout_ms)
{
	uint64_t deadline_ns = clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;

	for (;;) {
		int fd = inside_take(inside, kind, NULL);
		uint64_t left_ms = clock_ms_until(deadline_ns, clock_now_ns());
		if (fd >= 0)
			return fd;
		if (left_ms == 0)
			return -ETIMEDOUT;
		/* a request that failed is made again by the next inside_take */
		struct pollfd door = {.fd = inside->io.fd, .events = POLLIN};
		int wait_ms = left_ms < RETRY_DELAY_MS ? (int)left_ms : RETRY_DELAY_MS;
		if (poll(&door, 1, wait_ms) <= 0)
			continue;
		on_answer(&inside->io, EPOLLIN);
		if (inside->stocks[kind].count > 0)
			continue;
		if (door.revents & POLLHUP)
			return -EPIPE;
		clock_pause_ms(1); /* the server is short of descriptors: do not press it */
	}
}

void inside_put_back(struct inside *inside, enum door_kind kind, int fd)
{
	struct stock *stock = &inside->stocks[kind];

	if (stock->count < sizeof(stock->fds) / sizeof(stock->fds[0]))
		stock->fds[stock->count++] = fd;
	else
		close(fd);
}

/* The kernel knows no peer of a connection that is over at both ends. */
static bool is_over(int fd)
{
	struct addr peer;

	shutdown(fd, SHUT_WR);
	return addr_get_peer(fd, &peer) == -ENOTCONN && fd_disconnect(fd) == 0;
}

void inside_recycle(struct inside *inside, enum door_kind kind, int fd)
{
	if (inside->stocks[kind].count < RECYCLED_MAX && is_over(fd))
		inside_put_back(inside, kind, fd);
	else
		close(fd);
}

void inside_wait_cancel(struct inside_waiter *waiter)
{
	list_del(&waiter->link);
}
