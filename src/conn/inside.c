/* SPDX-License-Identifier: Apache-2.0 */
/* conn/inside - a small pool of sockets that belong to the sandbox's network */
#include "conn/inside.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "util/fd.h"

#define LOW_WATER      16
#define RETRY_DELAY_MS 20

struct stock {
	int fds[2 * DOOR_BATCH_MAX];
	size_t count;
	unsigned batch; /* doubles while it is used up quickly */
	bool is_requested;
	struct inside_waiter *waiters;
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
	if (stock->batch < DOOR_BATCH_MAX)
		stock->batch = stock->batch ? stock->batch * 2 : 4;
	if (door_request(inside->io.fd, kind, stock->batch) == 0)
		stock->is_requested = true;
	else
		loop_timer_set(inside->loop, &inside->retry_timer, RETRY_DELAY_MS);
}

/* Everyone who waits now, once: who finds nothing waits again at the end of the list. */
static void wake_waiters(struct stock *stock)
{
	size_t count = 0;

	for (struct inside_waiter *waiter = stock->waiters; waiter; waiter = waiter->next)
		count++;
	while (count-- > 0 && stock->waiters) {
		struct inside_waiter *waiter = stock->waiters;

		stock->waiters = waiter->next;
		waiter->is_waiting = false;
		waiter->on_sockets(waiter);
	}
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct inside *inside = (struct inside *)((char *)io - offsetof(struct inside, io));
	enum door_kind kind;
	int fds[DOOR_BATCH_MAX];

	(void)events;
	ssize_t count = door_receive(io->fd, &kind, fds);
	if (count == -EPIPE)
		loop_io_del(inside->loop, io); /* init is gone; the supervisor ends us */
	if (count == -EMSGSIZE) {
		/*
		 * Too few descriptors left here: the sockets are lost. Ask again in a moment, for
		 * a few: there may be no room for more for a long time.
		 */
		for (kind = 0; kind < DOOR_KINDS; kind++) {
			inside->stocks[kind].is_requested = false;
			inside->stocks[kind].batch = 0;
		}
		loop_timer_set(inside->loop, &inside->retry_timer, RETRY_DELAY_MS);
	}
	if (count < 0)
		return;
	struct stock *stock = &inside->stocks[kind];
	stock->is_requested = false;
	for (ssize_t i = 0; i < count; i++)
		inside_put_back(inside, kind, fds[i]);
	if (count == 0) /* init is short of descriptors */
		loop_timer_set(inside->loop, &inside->retry_timer, RETRY_DELAY_MS);
	else
		wake_waiters(stock);
}

static void on_retry(struct loop_timer *timer)
{
	struct inside *inside =
		(struct inside *)((char *)timer - offsetof(struct inside, retry_timer));

	for (enum door_kind kind = 0; kind < DOOR_KINDS; kind++)
		if (inside->stocks[kind].waiters)
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
	int result = loop_io_add(loop, &inside->io, EPOLLIN);
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

int inside_take(struct inside *inside, enum door_kind kind)
{
	struct stock *stock = &inside->stocks[kind];

	if (stock->count <= LOW_WATER)
		request(inside, kind);
	return stock->count > 0 ? stock->fds[--stock->count] : -EAGAIN;
}

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int inside_take_now(struct inside *inside, enum door_kind kind, int timeout_ms)
{
	int64_t deadline_ms = clock_ms() + timeout_ms;

	for (;;) {
		int fd = inside_take(inside, kind);
		int64_t left_ms = deadline_ms - clock_ms();
		if (fd >= 0)
			return fd;
		if (left_ms <= 0)
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
		poll(NULL, 0, 1); /* init is short of descriptors: do not press it */
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

void inside_wait(struct inside *inside, enum door_kind kind, struct inside_waiter *waiter)
{
	struct stock *stock = &inside->stocks[kind];

	struct inside_waiter **end = &stock->waiters;

	if (waiter->is_waiting)
		return;
	while (*end)
		end = &(*end)->next;
	*end = waiter;
	waiter->next = NULL;
	waiter->is_waiting = true;
	request(inside, kind);
}

void inside_wait_cancel(struct inside *inside, struct inside_waiter *waiter)
{
	if (!waiter->is_waiting)
		return;
	for (enum door_kind kind = 0; kind < DOOR_KINDS; kind++)
		for (struct inside_waiter **at = &inside->stocks[kind].waiters; *at;
			at = &(*at)->next)
			if (*at == waiter) {
				*at = waiter->next;
				waiter->is_waiting = false;
				return;
			}
}
