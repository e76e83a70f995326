/* SPDX-License-Identifier: Apache-2.0 */
/* test_accept - clients of every kind of socket, and rest while descriptors are short */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>

#include "conn/accept.h"
#include "mesh_bed.h"

#define PORT 4100
#define MANY 200

struct world {
	struct mesh_bed bed;
	struct acceptor acceptor;
	int listener;
	int fds[MANY];
	struct addr peers[MANY];
	size_t count;
};

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct world *world = container_of(acceptor, struct world, acceptor);

	assert_in_range(world->count, 0, MANY - 1);
	world->peers[world->count] = *peer;
	world->fds[world->count++] = fd;
	budget_take(&world->bed.budget, 1);
}

static struct world *world_open(const struct addr *addr, size_t fds_each)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->listener = listen_at(addr, MANY);
	world->acceptor.on_client = on_client;
	world->acceptor.fds_each = fds_each;
	assert_int_equal(acceptor_open(&world->acceptor, world->bed.context.loop,
				 world->bed.context.budget, world->listener),
		0);
	return world;
}

static void drop_clients(struct world *world)
{
	while (world->count > 0) {
		close(world->fds[--world->count]);
		budget_give(&world->bed.budget, 1);
	}
}

static void world_close(struct world *world)
{
	drop_clients(world);
	acceptor_close(&world->acceptor);
	assert_true(fcntl(world->listener, F_GETFD) >= 0); /* the caller's */
	close(world->listener);
	bed_close(&world->bed);
	free(world);
}

static void takes_clients_of_every_family(void **state)
{
	char path[] = "/tmp/nswrap-accept-XXXXXX", file[64];
	const char *texts[] = {"127.0.0.1", "::1", file};

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(file, sizeof(file), "%s/socket", path);
	for (size_t i = 0; i < 3; i++) {
		struct addr addr = addr_at(texts[i], PORT), own;
		struct world *world = world_open(&addr, 1);
		int client = connect_to(&addr);

		run_until(&world->bed, world->count == 1);
		int fd = world->fds[0];
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(addr_get_own(client, &own), 0);
		assert_true(addr_equal(&world->peers[0], &own));
		assert_int_equal(world->peers[0].family, addr.family);
		assert_int_equal(send(client, "ping", 4, 0), 4);
		expect_bytes(&world->bed, fd, "ping");
		close(client);
		world_close(world);
	}
	/* a unix client that has a name */
	struct addr addr = addr_at(file, 0), own = addr;
	unlink(file);
	struct world *world = world_open(&addr, 1);
	strcat(own.local.sun_path, "-client");
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(client, &own.any, addr_len(&own)), 0);
	assert_int_equal(connect(client, &addr.any, addr_len(&addr)), 0);
	run_until(&world->bed, world->count == 1);
	assert_true(addr_equal(&world->peers[0], &own));
	close(client);
	world_close(world);
	unlink(own.local.sun_path);
	unlink(file);
	assert_int_equal(rmdir(path), 0);
}

/* Others have their turn between two bursts. */
static void a_crowd_does_not_keep_the_loop(void **state)
{
	const struct addr addr = addr_at("127.0.0.1", PORT);
	struct world *world = world_open(&addr, 1);
	int clients[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++)
		clients[i] = connect_to(&addr);
	size_t before = 0;
	for (int rounds = 0; world->count < MANY; rounds++) {
		assert_in_range(rounds, 0, 1000);
		bed_round(&world->bed);
		assert_in_range(world->count - before, 0, MANY / 4);
		before = world->count;
	}
	for (int i = 0; i < MANY; i++)
		close(clients[i]);
	world_close(world);
}

/* Returns how often the loop woke in a fifth of a second. */
static int count_rounds(struct world *world)
{
	struct loop *loop = world->bed.context.loop;
	int rounds = 0;

	for (uint64_t end_ns = loop_now_ns(loop) + NS_PER_S / 5; loop_now_ns(loop) < end_ns;
		rounds++)
		assert_int_equal(loop_run_once(loop, 50), 0);
	return rounds;
}

/* As who is root in its network namespace can do. */
static void what_others_end_is_left_alone(void **state)
{
	char path[] = "/tmp/nswrap-accept-XXXXXX", file[64];
	const char *texts[] = {"127.0.0.1", "::1", file};

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(file, sizeof(file), "%s/socket", path);
	for (size_t i = 0; i < 6; i++) {
		struct addr addr = addr_at(texts[i % 3], PORT);
		struct world *world = world_open(&addr, 1);

		if (i % 2)
			acceptor_mute(&world->acceptor, true);
		assert_int_equal(shutdown(world->listener, SHUT_RDWR), 0);
		/* once, and then the 50 ms of each round */
		assert_in_range(count_rounds(world), 1, 10);
		acceptor_mute(&world->acceptor, false);
		assert_in_range(count_rounds(world), 1, 10);
		world_close(world);
		unlink(file);
	}
	assert_int_equal(rmdir(path), 0);
}

static void rests_while_the_budget_has_no_room(void **state)
{
	const struct addr addr = addr_at("127.0.0.1", PORT);

	(void)state;
	for (size_t fds_each = 0; fds_each <= 2; fds_each++) {
		struct world *world = world_open(&addr, fds_each);
		int clients[8];

		/* three are taken: each is one, and wants room for fds_each before */
		world->bed.budget.max = BUDGET_RESERVED + 2 + fds_each;
		for (int i = 0; i < 8; i++)
			clients[i] = connect_to(&addr);
		run_until(&world->bed, world->count == 3);
		assert_in_range(count_rounds(world), 1, 40);
		assert_int_equal(world->count, 3);
		drop_clients(world);
		run_until(&world->bed, world->count == 3);
		world->bed.budget.max = 1000;
		run_until(&world->bed, world->count == 5);
		for (int i = 0; i < 8; i++)
			close(clients[i]);
		world_close(world);
	}
}

/* One that ends one of @loser's whenever it is asked to. */
struct keeper {
	struct shares_part part;
	struct world *world;
	unsigned loser, lost;
};

static bool yield(struct shares_part *part, unsigned source)
{
	struct keeper *keeper = container_of(part, struct keeper, part);

	assert_int_equal(source, keeper->loser);
	shares_give(&keeper->world->bed.budget.shares, part->kind, source);
	budget_give(&keeper->world->bed.budget, 1);
	keeper->lost++;
	return true;
}

/* Who has most loses one for each client, and none for one that is not there; 127.0.0.1 never. */
static void makes_room_for_who_comes(void **state)
{
	const struct addr addr = addr_at("127.0.0.1", PORT), greedy = addr_at("127.0.0.2", 0);
	struct world *world = world_open(&addr, 1);
	struct budget *budget = &world->bed.budget;
	struct keeper keeper = {
		.part = {.kind = SHARES_CONNECTIONS, .yield = yield}, .world = world};
	int clients[8];

	(void)state;
	world->acceptor.make_room = acceptor_make_room;
	shares_join(&budget->shares, &keeper.part);
	for (int local = 0; local < 2; local++) {
		keeper.loser = shares_source(&budget->shares, local ? &addr : &greedy);
		keeper.lost = 0;
		for (int i = 0; i < 20; i++)
			shares_take(&budget->shares, SHARES_CONNECTIONS, keeper.loser);
		budget_take(budget, 20);
		budget->max = BUDGET_RESERVED + budget->used;
		for (int i = 0; i < 8; i++)
			clients[i] = connect_to(&addr);
		if (local)
			count_rounds(world);
		else
			run_until(&world->bed, world->count == 8);
		settle(&world->bed);
		assert_int_equal(world->count, local ? 0 : 8);
		assert_int_equal(keeper.lost, world->count);
		drop_clients(world);
		for (int i = 0; i < 8; i++)
			close(clients[i]);
		while (budget->shares.counts[SHARES_CONNECTIONS][keeper.loser] > 0)
			yield(&keeper.part, keeper.loser);
	}
	shares_leave(&budget->shares, &keeper.part);
	budget->max = 1000;
	world_close(world);
}

/* The kernel has the last word. */
static void rests_while_descriptors_are_short(void **state)
{
	const struct addr addr = addr_at("127.0.0.1", PORT);
	struct world *world = world_open(&addr, 1);

	(void)state;
	int client = connect_to(&addr);
	const struct rlimit limit = shortage(&world->bed);
	assert_in_range(count_rounds(world), 1, 40);
	assert_int_equal(world->count, 0);
	no_shortage(&world->bed, &limit);
	run_until(&world->bed, world->count == 1);
	close(client);
	world_close(world);
	/* and may be closed while it rests */
	world = world_open(&addr, 1);
	world->bed.budget.max = 0;
	client = connect_to(&addr);
	settle(&world->bed);
	acceptor_close(&world->acceptor);
	assert_false(loop_timer_is_armed(&world->acceptor.pause_timer));
	world->bed.budget.max = 1000;
	jump(&world->bed, 1000);
	assert_int_equal(world->count, 0);
	close(client);
	world_close(world);
}

/* The owner has the last word: what muted it does not end with the rest that it had. */
static void a_rest_does_not_end_what_mutes_it(void **state)
{
	const struct addr addr = addr_at("127.0.0.1", PORT);
	struct world *world = world_open(&addr, 1);

	(void)state;
	world->bed.budget.max = 0;
	int client = connect_to(&addr);
	/* a rest may be over when a slow machine has done its rounds, and another one not begun */
	run_until(&world->bed, loop_timer_is_armed(&world->acceptor.pause_timer));
	acceptor_mute(&world->acceptor, true);
	world->bed.budget.max = 1000;
	jump(&world->bed, 1000);
	assert_int_equal(world->count, 0);
	acceptor_mute(&world->acceptor, false);
	run_until(&world->bed, world->count == 1);
	close(client);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_clients_of_every_family),
		cmocka_unit_test(a_crowd_does_not_keep_the_loop),
		cmocka_unit_test(what_others_end_is_left_alone),
		cmocka_unit_test(rests_while_the_budget_has_no_room),
		cmocka_unit_test(makes_room_for_who_comes),
		cmocka_unit_test(rests_while_descriptors_are_short),
		cmocka_unit_test(a_rest_does_not_end_what_mutes_it),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
