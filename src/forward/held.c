/* SPDX-License-Identifier: Apache-2.0 */
/* forward/held - clients of a stream that wait to be served, each for a limited time */
#include "forward/held.h"

#include <stdlib.h>

#include "util/clock.h"
#include "util/fd.h"

struct client {
	struct held *held;
	struct list link;
	struct loop_io io; /* waits for nothing but its end */
	uint64_t deadline_ns;
};

static struct client *first_client(const struct held *held)
{
	return list_first(&held->clients, struct client, link);
}

static void arm_timer(struct held *held)
{
	if (held->count == 0)
		loop_timer_cancel(held->loop, &held->timer);
	else
		loop_timer_set(held->loop, &held->timer,
			clock_ms_until(first_client(held)->deadline_ns, loop_now_ns(held->loop)));
}

/* Forget @client. Returns its descriptor. */
static int release(struct client *client)
{
	int fd = client->io.fd;

	loop_io_del(client->held->loop, &client->io);
	list_del(&client->link);
	client->held->count--;
	budget_give(client->held->budget, 1);
	free(client);
	return fd;
}

static void refuse(struct client *client)
{
	int fd = release(client);

	fd_reset(&fd);
}

static void on_client_gone(struct loop_io *io, uint32_t events)
{
	(void)events;
	refuse(container_of(io, struct client, io));
}

static void on_time(struct loop_timer *timer)
{
	struct held *held = container_of(timer, struct held, timer);

	while (held->count > 0 && first_client(held)->deadline_ns <= loop_now_ns(held->loop)) {
		refuse(first_client(held));
		held->on_late(held->owner);
	}
	arm_timer(held);
}

void held_init(struct held *held, struct loop *loop, struct budget *budget,
	void (*on_late)(void *owner), void *owner)
{
	*held = (struct held){.loop = loop,
		.budget = budget,
		.timer.on_expired = on_time,
		.on_late = on_late,
		.owner = owner};
	list_init(&held->clients);
}

void held_fini(struct held *held)
{
	while (held->count > 0)
		refuse(first_client(held));
	arm_timer(held);
}

void held_add(struct held *held, int fd, uint64_t wait_ms)
{
	struct client *client = calloc(1, sizeof(*client));
	struct list *at = &held->clients;

	if (client)
		client->io = (struct loop_io){fd, on_client_gone};
	if (!client || loop_io_add(held->loop, &client->io, 0) < 0) {
		free(client);
		fd_reset(&fd);
		return;
	}
	client->held = held;
	client->deadline_ns = loop_now_ns(held->loop) + wait_ms * NS_PER_MS;
	while (at->prev != &held->clients &&
		container_of(at->prev, struct client, link)->deadline_ns > client->deadline_ns)
		at = at->prev;
	list_add_before(at, &client->link);
	held->count++;
	budget_take(held->budget, 1);
	if (first_client(held) == client)
		arm_timer(held);
}

int held_take(struct held *held)
{
	return held->count > 0 ? release(first_client(held)) : -1;
}
