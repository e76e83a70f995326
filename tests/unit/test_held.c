/* SPDX-License-Identifier: Apache-2.0 */
/* test_held - held clients against a model, with a clock that only the test moves */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "forward/held.h"
#include "util/clock.h"

#define CLIENTS 60
#define STEPS   20000

static uint64_t now_ns = NS_PER_S;

/* Stands before the one of the C library */
int clock_gettime(clockid_t id, struct timespec *out)
{
	(void)id;
	out->tv_sec = (time_t)(now_ns / NS_PER_S);
	out->tv_nsec = (long)(now_ns % NS_PER_S);
	return 0;
}

struct model_client {
	bool is_held;
	int fd, peer;
	uint64_t deadline_ns;
	unsigned number; /* of those that were added */
};

struct world {
	struct loop *loop;
	struct budget budget;
	struct held held;
	struct model_client clients[CLIENTS];
	unsigned added;
	size_t count, late;
};

static void on_late(void *owner)
{
	((struct world *)owner)->late++;
}

static void run(struct world *world)
{
	for (int i = 0; i < 2; i++) /* the clock is read in one round, timers may run in the next */
		assert_int_equal(loop_run_once(world->loop, 0), 0);
}

static void add(struct world *world, uint64_t wait_ms)
{
	int pair[2];

	for (size_t i = 0; i < CLIENTS; i++) {
		struct model_client *client = &world->clients[i];

		if (client->is_held)
			continue;
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		*client = (struct model_client){
			true, pair[0], pair[1], now_ns + wait_ms * NS_PER_MS, world->added++};
		world->count++;
		held_add(&world->held, pair[0], wait_ms);
		return;
	}
}

static struct model_client *first(struct world *world)
{
	struct model_client *found = NULL;

	for (size_t i = 0; i < CLIENTS; i++) {
		struct model_client *client = &world->clients[i];

		if (client->is_held && (!found || client->deadline_ns < found->deadline_ns ||
					       (client->deadline_ns == found->deadline_ns &&
						       client->number < found->number)))
			found = client;
	}
	return found;
}

static void forget(struct world *world, struct model_client *client)
{
	client->is_held = false;
	world->count--;
}

static void take(struct world *world)
{
	struct model_client *client = first(world);
	int fd = held_take(&world->held);

	assert_int_equal(fd, client ? client->fd : -1);
	if (!client)
		return;
	assert_int_equal(send(client->peer, "x", 1, 0), 1); /* it is open */
	close(fd);
	close(client->peer);
	forget(world, client);
}

static void leave(struct world *world)
{
	struct model_client *client = &world->clients[(size_t)random() % CLIENTS];

	if (!client->is_held)
		return;
	close(client->peer);
	forget(world, client);
}

/* The peers of those whose time is over see their end, the others do not. */
static void expect_ends(struct world *world)
{
	size_t late = 0;
	char byte;

	for (size_t i = 0; i < CLIENTS; i++) {
		struct model_client *client = &world->clients[i];

		if (!client->is_held)
			continue;
		ssize_t got = recv(client->peer, &byte, 1, 0);
		assert_int_equal(got, client->deadline_ns <= now_ns ? 0 : -1);
		if (got < 0)
			continue;
		close(client->peer);
		forget(world, client);
		late++;
	}
	assert_int_equal(world->late, late);
	world->late = 0;
}

static void follows_its_model(void **state)
{
	static const uint64_t waits_ms[] = {0, 1, 7, 100, 1000, 1000, 1000, 60000};
	struct world world = {.loop = loop_new()};
	size_t most = 0;

	(void)state;
	srandom(7);
	held_init(&world.held, world.loop, &world.budget, on_late, &world);
	for (int step = 0; step < STEPS; step++) {
		long what = random() % 100;

		if (what < 45)
			add(&world, waits_ms[(size_t)random() % 8]);
		else if (what < 70)
			take(&world);
		else if (what < 80)
			leave(&world);
		else if (what < 99)
			now_ns += (uint64_t)(random() % 60) * NS_PER_MS;
		else
			now_ns += 2000 * NS_PER_MS;
		run(&world);
		expect_ends(&world);
		assert_int_equal(world.held.count, world.count);
		assert_int_equal(world.budget.used, world.count);
		most = world.count > most ? world.count : most;
	}
	assert_int_equal(most, CLIENTS);
	while (world.count < CLIENTS / 2)
		add(&world, 60000);
	held_fini(&world.held);
	assert_int_equal(world.budget.used, 0);
	now_ns += 60000 * NS_PER_MS;
	run(&world); /* no timer is left that would come back */
	assert_int_equal(world.late, 0);
	world.late = world.count;
	expect_ends(&world);
	loop_free(world.loop);
}

/* A descriptor that cannot be watched is not kept without. */
static void does_not_keep_what_it_cannot_watch(void **state)
{
	struct world world = {.loop = loop_new()};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* epoll takes no regular files */

	(void)state;
	held_init(&world.held, world.loop, &world.budget, on_late, &world);
	held_add(&world.held, fd, 1000);
	assert_int_equal(world.held.count, 0);
	assert_int_equal(world.budget.used, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	held_fini(&world.held);
	loop_free(world.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_its_model),
		cmocka_unit_test(does_not_keep_what_it_cannot_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
