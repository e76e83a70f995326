/* SPDX-License-Identifier: Apache-2.0 */
/* test_parting - last words for a client, and how long it has to hear them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "mesh_bed.h"
#include "proxy/parting.h"

struct world {
	struct mesh_bed bed;
	struct partings partings;
	int client;
};

static void part(struct world *world)
{
	const struct addr at = addr_at("127.0.0.1", 4320);

	bed_open(&world->bed);
	partings_init(&world->partings, &world->bed.context);
	int listener = listen_at(&at, 1);
	world->client = connect_to(&at);
	struct loop_io io = {.fd = wait_accept(&world->bed, listener)};
	assert_int_equal(send(world->client, "unread", 6, 0), 6);
	assert_int_equal(loop_io_add(world->bed.context.loop, &io, EPOLLIN), 0);
	partings_add(&world->partings, &io, "bye", 3);
	assert_int_equal(io.fd, -1);
	expect_bytes(&world->bed, world->client, "bye");
	assert_int_equal(world->bed.budget.used, 1);
	close(listener);
}

static void world_close(struct world *world)
{
	partings_fini(&world->partings);
	fd_close(&world->client);
	bed_close(&world->bed);
}

static void it_ends_when_the_client_does(void **state)
{
	struct world world;

	(void)state;
	part(&world);
	assert_int_equal(wait_end(&world.bed, world.client), 0);
	shutdown(world.client, SHUT_WR);
	run_until(&world.bed, world.bed.budget.used == 0);
	world_close(&world);
}

static void it_ends_after_some_time(void **state)
{
	struct world world;

	(void)state;
	part(&world);
	jump(&world.bed, PARTING_MS - 100);
	assert_int_equal(world.bed.budget.used, 1);
	jump(&world.bed, 101);
	assert_int_equal(world.bed.budget.used, 0);
	world_close(&world);
}

static void it_ends_when_there_is_too_much(void **state)
{
	struct world world;
	static char bytes[64 * 1024];
	size_t sent = 0;

	(void)state;
	part(&world);
	while (world.bed.budget.used > 0 && sent < 16 << 20) {
		ssize_t len = send(world.client, bytes, sizeof(bytes), MSG_NOSIGNAL);

		sent += len > 0 ? (size_t)len : 0;
		bed_round(&world.bed);
	}
	assert_int_equal(world.bed.budget.used, 0);
	assert_true(sent > PARTING_BYTES);
	world_close(&world);
}

static void all_end_at_the_end(void **state)
{
	struct world world;

	(void)state;
	part(&world);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_when_the_client_does),
		cmocka_unit_test(it_ends_after_some_time),
		cmocka_unit_test(it_ends_when_there_is_too_much),
		cmocka_unit_test(all_end_at_the_end),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
