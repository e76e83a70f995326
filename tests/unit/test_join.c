/* SPDX-License-Identifier: Apache-2.0 */
/* test_join - accepted clients while their target is dialled, and what they hold meanwhile */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "conn/join.h"
#include "mesh_bed.h"

#define PORT 4200
#define HANG ((struct dial_target){.host = "hang", .port = PORT})

struct world {
	struct mesh_bed bed;
	struct joins joins;
	unsigned failures;
	int failure;
};

static void on_failed(void *owner, uint16_t id, int result)
{
	struct world *world = owner;

	assert_int_equal(id, 7);
	world->failures++;
	world->failure = result;
}

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	joins_init(&world->joins, &world->bed.context);
	world->joins.on_failed = on_failed;
	world->joins.owner = world;
	return world;
}

static void world_close(struct world *world)
{
	joins_fini(&world->joins);
	bed_close(&world->bed);
	free(world);
}

static struct dial_target target_at(const char *text)
{
	return (struct dial_target){.addr = addr_at(text, PORT)};
}

/* Have a fresh client joined; returns its own end. */
static int join(struct world *world, const struct dial_target *target)
{
	const struct addr addr = addr_at("127.0.0.1", PORT + 1);
	int listener = listen_at(&addr, 1), client = connect_to(&addr);

	joins_add(&world->joins, wait_accept(&world->bed, listener), target, 7);
	close(listener);
	return client;
}

static size_t used(struct world *world)
{
	return world->bed.budget.used;
}

static void joins_to_every_family(void **state)
{
	char dir[] = "/tmp/nswrap-join-XXXXXX", file[64];
	const char *texts[] = {"127.0.0.1", "::1", file};
	struct world *world = world_open();

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/socket", dir);
	for (size_t i = 0; i < 3; i++) {
		const struct dial_target target = target_at(texts[i]);
		int listener = listen_at(&target.addr, 1), client = join(world, &target);

		expect_joined(&world->bed, client, wait_accept(&world->bed, listener));
		run_until(&world->bed, used(world) == 0);
		close(listener);
	}
	unlink(file);
	assert_int_equal(rmdir(dir), 0);
	world_close(world);
}

static void a_refusal_is_a_reset(void **state)
{
	struct world *world = world_open();
	const struct dial_target nobody = target_at("127.0.0.1"), gone = {.host = "gone"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		int client = join(world, i ? &gone : &nobody);

		assert_int_equal(wait_end(&world->bed, client), ECONNRESET);
		assert_int_equal(used(world), 0);
		close(client);
		assert_int_equal(world->failures, i + 1);
		assert_int_equal(world->failure, i ? -ENOENT : -ECONNREFUSED);
	}
	world_close(world);
}

/* While it waits: who breaks is given up at once, who has said all it had to say is not. */
static void a_client_may_go_while_it_waits(void **state)
{
	struct world *world = world_open();
	const struct linger at_once = {.l_onoff = 1};

	(void)state;
	int broken = join(world, &HANG), half = join(world, &HANG), closed = join(world, &HANG);
	assert_int_equal(used(world), 3 * JOIN_FDS);
	setsockopt(broken, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(broken);
	shutdown(half, SHUT_WR);
	close(closed); /* nobody can tell that from half-closed */
	run_until(&world->bed, used(world) == 2 * JOIN_FDS);
	settle(&world->bed);
	assert_int_equal(used(world), 2 * JOIN_FDS);
	are_names_let_go = true; /* and there is no such name */
	assert_int_equal(wait_end(&world->bed, half), ECONNRESET);
	run_until(&world->bed, used(world) == 0);
	close(half);
	world_close(world);
}

/* Its bytes and its end wait for the target. */
static void what_was_sent_early_arrives(void **state)
{
	struct world *world = world_open();
	const struct dial_target target = {
		.where = DIAL_INSIDE, .addr = addr_at("127.0.0.1", PORT)};
	int listener = listen_at(&target.addr, 1);

	(void)state;
	shut_door(&world->bed, true);
	int client = join(world, &target);
	assert_int_equal(send(client, "early", 5, 0), 5);
	shutdown(client, SHUT_WR);
	settle(&world->bed);
	assert_int_equal(used(world), JOIN_FDS);
	shut_door(&world->bed, false);
	int server = wait_accept(&world->bed, listener);
	expect_bytes(&world->bed, server, "early");
	assert_int_equal(wait_end(&world->bed, server), 0);
	assert_int_equal(send(server, "late", 4, MSG_NOSIGNAL), 4);
	close(server);
	expect_bytes(&world->bed, client, "late");
	assert_int_equal(wait_end(&world->bed, client), 0);
	run_until(&world->bed, used(world) == 0);
	close(client);
	close(listener);
	world_close(world);
}

static void can_be_freed_in_every_state(void **state)
{
	struct world *world = world_open();
	const struct dial_target target = target_at("127.0.0.1"),
				 inside = {.where = DIAL_INSIDE, .addr = target.addr};
	int listener = listen_at(&target.addr, 1), clients[3];

	(void)state;
	clients[0] = join(world, &target);
	int server = wait_accept(&world->bed, listener);
	shut_door(&world->bed, true);
	clients[1] = join(world, &HANG);
	clients[2] = join(world, &inside);
	settle(&world->bed);
	assert_int_equal(used(world), 2 + 2 * JOIN_FDS);
	joins_fini(&world->joins);
	assert_int_equal(used(world), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(wait_end(&world->bed, clients[i]), ECONNRESET);
		close(clients[i]);
	}
	assert_int_equal(wait_end(&world->bed, server), ECONNRESET);
	shut_door(&world->bed, false);
	settle(&world->bed);
	close(server);
	close(listener);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(joins_to_every_family),
		cmocka_unit_test(a_refusal_is_a_reset),
		cmocka_unit_test(a_client_may_go_while_it_waits),
		cmocka_unit_test(what_was_sent_early_arrives),
		cmocka_unit_test(can_be_freed_in_every_state),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
