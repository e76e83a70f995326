/* SPDX-License-Identifier: Apache-2.0 */
/* test_trips - proxies are led by the ways of an agent */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "mesh/agent/trips.h"
#include "mesh_bed.h"

#define SELF "127.0.42.1"
#define LAB  "127.0.42.2"
#define PORT 4330

struct world {
	struct mesh_bed bed;
	struct ways *ways;
	struct trips trips;
	struct guide_trip trip;
	int result;
	unsigned answers;
	struct addr found;
	enum dial_where where;
	char host[32];
};

static void on_dialled(struct guide_trip *trip, int result)
{
	struct world *world = container_of(trip, struct world, trip);

	assert_null(trip->own); /* it may be used again from here */
	world->answers++;
	world->result = result;
}

static void on_found(struct guide_trip *trip, int result, const struct dial_target *target)
{
	struct world *world = container_of(trip, struct world, trip);

	assert_null(trip->own);
	world->answers++;
	world->result = result;
	world->where = target->where;
	world->found = target->addr;
	snprintf(world->host, sizeof(world->host), "%s", target->host ? target->host : "");
}

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));
	char lab[] = "lab";
	struct mesh_name names[] = {{lab, address(LAB, 0).sin_addr}};
	const struct mesh_config config = {
		.me = address(SELF, 0).sin_addr, .names = names, .nnames = 1};

	bed_open(&world->bed);
	world->ways = ways_new(
		&(struct ways_start){.context = &world->bed.context, .stack = &world->bed.stack});
	assert_int_equal(ways_configure(world->ways, &config), 0);
	trips_init(&world->trips, world->ways);
	world->trip.on_dialled = on_dialled;
	world->trip.on_found = on_found;
	return world;
}

static void world_close(struct world *world)
{
	ways_free(world->ways);
	bed_close(&world->bed);
	free(world);
}

static int dial(struct world *world, const char *host)
{
	return guide_dial(&world->trips.guide, &world->trip, host, PORT);
}

static void a_name_of_the_mesh_is_dialled(void **state)
{
	struct world *world = world_open();
	int listener = tcp_listen(LAB, PORT, 1);

	(void)state;
	int result = dial(world, "LAB.");
	if (result == -EINPROGRESS) {
		run_until(&world->bed, world->answers == 1);
		result = world->result;
	}
	assert_true(result >= 0);
	close(result);
	close(listener);
	world_close(world);
}

static void refusals_come_through(void **state)
{
	struct world *world = world_open();

	(void)state;
	int result = dial(world, "127.0.0.9");
	if (result == -EINPROGRESS) {
		run_until(&world->bed, world->answers == 1);
		result = world->result;
	}
	assert_int_equal(result, -ECONNREFUSED);
	assert_null(world->trip.own);
	assert_int_equal(dial(world, "gone"), -EINPROGRESS);
	run_until(&world->bed, world->result == -ENOENT);
	world_close(world);
}

static void a_trip_can_be_cancelled(void **state)
{
	struct world *world = world_open();

	(void)state;
	guide_cancel(&world->trips.guide, &world->trip); /* nothing happens */
	assert_int_equal(dial(world, "hang"), -EINPROGRESS);
	assert_non_null(world->trip.own);
	guide_cancel(&world->trips.guide, &world->trip);
	assert_null(world->trip.own);
	settle(&world->bed);
	assert_int_equal(world->answers, 0);
	world_close(world);
}

static void datagrams_are_told_where(void **state)
{
	struct world *world = world_open();

	(void)state;
	assert_int_equal(guide_find(&world->trips.guide, &world->trip, "lab", PORT), 0);
	assert_int_equal(world->answers, 1);
	assert_int_equal(world->where, DIAL_INSIDE);
	assert_int_equal(addr_port(&world->found), PORT);
	assert_int_equal(guide_find(&world->trips.guide, &world->trip, "else", PORT), 0);
	assert_int_equal(world->where, DIAL_OUTSIDE);
	assert_string_equal(world->host, "else");
	assert_true(guide_find(&world->trips.guide, &world->trip, "", PORT) < 0);
	assert_int_equal(world->answers, 2);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_of_the_mesh_is_dialled),
		cmocka_unit_test(refusals_come_through),
		cmocka_unit_test(a_trip_can_be_cancelled),
		cmocka_unit_test(datagrams_are_told_where),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
