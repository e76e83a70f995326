/* SPDX-License-Identifier: Apache-2.0 */
/* test_table - forwards come and go, and the look-out finds the guest's servers */
#include "forward_bed.h"

#include "forward/table.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/fd.h"

#define WAIT_MS  5000
#define HOLD_MS  60000
#define FORWARDS 100

#define BASE_PORT 7000

struct world {
	struct bed *bed;
	struct forward_table *table;
};

static struct world open_world(void)
{
	struct world world = {.bed = bed_new(HOLD_MS)};

	world.table = table_new(&world.bed->context);
	return world;
}

static void close_world(struct world *world)
{
	table_free(world->table);
	bed_free(world->bed);
}

static int add(struct world *world, uint32_t id, enum proto proto, bool has_listened)
{
	struct forward_spec spec = {.host = addr_loopback4(0),
		.guest_port = (uint16_t)(BASE_PORT + id),
		.proto = proto};
	struct bound bound;
	struct err err;

	addr_set_port(&spec.host, (uint16_t)(BASE_PORT + 1000 + id));
	assert_int_equal(bind_open(&spec.host, proto, &bound, &err), 0);
	return table_add(
		world->table, id, &spec, FORWARD_DRIVER_SPLICE, bound.fd, has_listened, &err);
}

static int server_of(uint32_t id, enum proto proto)
{
	struct addr addr = addr_loopback4((uint16_t)(BASE_PORT + id));
	int fd = socket(AF_INET, addr_proto_type(proto) | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	if (proto == PROTO_TCP)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int client_of(uint32_t id)
{
	struct addr addr = addr_loopback4((uint16_t)(BASE_PORT + 1000 + id));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = connect(fd, &addr.any, addr_len(&addr));

	if (result < 0)
		fd_close(&fd);
	return fd;
}

static void run(struct world *world, int rounds)
{
	for (int i = 0; i < rounds; i++)
		assert_int_equal(loop_run_once(world->bed->loop, 1), 0);
}

/* Rounds until the owner hears of @id, and nothing else. */
static void expect_told(struct world *world, uint32_t id)
{
	world->bed->told = 0;
	for (int i = 0; i < WAIT_MS && !world->bed->told; i++)
		run(world, 1);
	assert_int_equal(world->bed->told, 1);
	assert_int_equal(world->bed->told_id, id);
}

static void finds_every_server_once(void **state)
{
	struct world world = open_world();
	int servers[FORWARDS];

	(void)state;
	for (uint32_t id = 0; id < FORWARDS; id++)
		assert_int_equal(add(&world, id, id % 3 ? PROTO_TCP : PROTO_UDP, false), 0);
	run(&world, 50);
	assert_int_equal(world.bed->told, 0);
	for (uint32_t i = 0; i < FORWARDS; i++) {
		uint32_t id = (i * 37) % FORWARDS;

		servers[id] = server_of(id, id % 3 ? PROTO_TCP : PROTO_UDP);
		expect_told(&world, id);
		if (i == FORWARDS / 2)
			jump(100000); /* slower from now on */
	}
	world.bed->told = 0;
	for (uint32_t id = 0; id < FORWARDS; id++)
		close(servers[id]);
	run(&world, 50);
	assert_int_equal(world.bed->told, 0);
	close_world(&world);
}

static void expect_rest(struct world *world)
{
	uint64_t start_ns = clock_now_ns();

	assert_int_equal(loop_run_once(world->bed->loop, 30), 0);
	assert_true(clock_now_ns() - start_ns >= 29 * NS_PER_MS);
}

/* With nobody to look out for the loop sleeps. */
static void rests_when_all_have_listened(void **state)
{
	struct world world = open_world();

	(void)state;
	assert_int_equal(add(&world, 1, PROTO_TCP, true), 0);
	run(&world, 1);
	expect_rest(&world);
	assert_int_equal(add(&world, 2, PROTO_TCP, false), 0);
	uint64_t start_ns = clock_now_ns();
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(world.bed->loop, WAIT_MS), 0);
	assert_true(clock_now_ns() - start_ns < 1000 * NS_PER_MS);
	int server = server_of(2, PROTO_TCP);
	expect_told(&world, 2);
	close(server);
	run(&world, 1);
	expect_rest(&world);
	close_world(&world);
}

static void removes(void **state)
{
	struct world world = open_world();
	char byte;

	(void)state;
	for (uint32_t id = 1; id <= 3; id++)
		assert_int_equal(add(&world, id, PROTO_TCP, false), 0);
	int held = client_of(2), other = client_of(3);
	run(&world, 5);
	assert_int_equal(table_remove(world.table, 2), 0);
	assert_int_equal(recv(held, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(client_of(2), -1); /* nothing listens there any more */
	assert_int_equal(table_remove(world.table, 2), -ENOENT);
	assert_int_equal(table_remove(world.table, 9), -ENOENT);
	int server = server_of(2, PROTO_TCP);
	run(&world, 20);
	assert_int_equal(world.bed->told, 0);
	assert_int_equal(add(&world, 2, PROTO_TCP, false), 0);
	expect_told(&world, 2);
	close(server);
	/* the rest goes with the table */
	table_free(world.table);
	assert_int_equal(recv(other, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(other);
	close(held);
	bed_free(world.bed);
}

/* The descriptor is taken over in any case. */
static void fails_whole(void **state)
{
	struct world world = open_world();
	struct forward_spec spec = {.host = addr_loopback4(1), .guest_port = 2};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* epoll does not take it */
	struct err err;

	(void)state;
	assert_true(table_add(world.table, 1, &spec, FORWARD_DRIVER_SPLICE, fd, false, &err) < 0);
	assert_non_null(strstr(err.text, "cannot watch a listener"));
	assert_int_equal(table_remove(world.table, 1), -ENOENT);
	close_world(&world);
}

/* Who listens with no descriptor left for a client would be silent. */
static void listens_with_room_only(void **state)
{
	struct world world = open_world();

	(void)state;
	assert_int_equal(add(&world, 1, PROTO_TCP, false), 0);
	assert_int_equal(world.bed->budget.used, 1);
	world.bed->budget.max = BUDGET_RESERVED + 4;
	assert_int_equal(add(&world, 2, PROTO_TCP, false), -EMFILE);
	assert_int_equal(table_remove(world.table, 1), 0);
	assert_int_equal(add(&world, 2, PROTO_TCP, false), 0);
	close_world(&world);
}

static int set_lo_up(void **state)
{
	int nl = netdev_open();
	int result = netdev_set_up(nl, netdev_index(nl, "lo"), 0);

	(void)state;
	close(nl);
	return result;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_every_server_once),
		cmocka_unit_test(rests_when_all_have_listened),
		cmocka_unit_test(removes),
		cmocka_unit_test(fails_whole),
		cmocka_unit_test(listens_with_room_only),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
