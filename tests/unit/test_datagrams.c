/* SPDX-License-Identifier: Apache-2.0 */
/* test_datagrams - clients of a UDP port while their target is resolved and sockets come */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "conn/datagrams.h"
#include "conn/names.h"
#include "mesh_bed.h"

#define PORT    4500
#define AT      4501
#define HOLD_MS 3000 /* as in conn/datagrams */

struct world {
	struct mesh_bed bed;
	struct dial_target target;
	struct datagrams *datagrams;
	int port, server4, server6;
	int failures, failure; /* told */
};

static void on_failed(void *owner, const struct udp_flow *flow, int result)
{
	struct world *world = owner;

	assert_int_equal(flow->key.peer.sin6_family, AF_INET);
	world->failures++;
	world->failure = result;
}

static int udp_at(const char *text, uint16_t port)
{
	const struct addr addr = addr_at(text, port);
	int fd = socket(addr.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	return fd;
}

static struct world *world_open(struct dial_target target)
{
	struct world *world = calloc(1, sizeof(*world));

	bed_open(&world->bed);
	world->target = target;
	world->port = udp_at("127.0.0.1", PORT);
	world->server4 = udp_at("127.0.0.1", AT);
	world->server6 = udp_at("::1", AT);
	world->datagrams =
		datagrams_new(&world->bed.context, world->port, &world->target, on_failed, world);
	assert_non_null(world->datagrams);
	return world;
}

static void world_close(struct world *world)
{
	datagrams_free(world->datagrams);
	assert_int_equal(world->bed.budget.used, 0);
	close(world->port); /* stayed ours */
	close(world->server4);
	close(world->server6);
	bed_close(&world->bed);
	free(world);
}

static int new_client(void)
{
	const struct addr addr = addr_at("127.0.0.1", PORT);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &addr.any, addr_len(&addr)), 0);
	return fd;
}

static void say(int client, char what)
{
	assert_int_equal(send(client, &what, 1, 0), 1);
}

/* @what comes to @server, and its answer to @client. */
static void expect(struct world *world, int client, int server, char what)
{
	struct addr from = {0};
	socklen_t len = sizeof(from);
	char byte = 0;

	run_until(&world->bed, recvfrom(server, &byte, 1, 0, &from.any, &len) == 1);
	assert_int_equal(byte, what);
	assert_int_equal(sendto(server, &byte, 1, 0, &from.any, len), 1);
	run_until(&world->bed, recv(client, &byte, 1, 0) == 1);
	assert_int_equal(byte, what);
}

static void expect_nothing(struct world *world)
{
	settle(&world->bed);
	assert_int_equal(recv(world->server4, &(char){0}, 1, 0), -1);
	assert_int_equal(recv(world->server6, &(char){0}, 1, 0), -1);
}

static void a_new_client_goes_where_the_target_is_now(void **state)
{
	struct world *world = world_open((struct dial_target){.addr = addr_at("127.0.0.1", AT)});
	int first = new_client(), second = new_client();

	(void)state;
	say(first, 1);
	expect(world, first, world->server4, 1);
	assert_int_equal(world->bed.budget.used, 1);
	world->target.addr = addr_at("::1", AT);
	say(second, 2);
	expect(world, second, world->server6, 2);
	say(first, 3);
	expect(world, first, world->server4, 3);
	assert_int_equal(world->bed.budget.used, 2);
	close(first);
	close(second);
	world_close(world);
}

/* What comes while a name is looked up waits for it, of all clients, and in order. */
static void waits_for_a_name(void **state)
{
	struct world *world = world_open((struct dial_target){.host = "slow", .port = AT});
	int clients[] = {new_client(), new_client()}, asked = names_asked;

	(void)state;
	for (char i = 0; i < 4; i++)
		say(clients[i % 2], i);
	for (int i = 0; i < 2; i++)
		for (char what = (char)i; what < 4; what = (char)(what + 2))
			expect(world, clients[i], world->server4, what);
	assert_int_equal(names_asked, asked + 1); /* one look-up for both */
	/* who is known asks for no name, and the next one for a fresh answer */
	say(clients[0], 5);
	expect(world, clients[0], world->server4, 5);
	assert_int_equal(names_asked, asked + 1);
	const struct addr v6 = addr_at("::1", 0);
	assert_int_equal(names_add(world->bed.context.names, "slow", &v6), 0);
	int third = new_client();
	say(third, 6);
	expect(world, third, world->server6, 6);
	for (int i = 0; i < 2; i++)
		close(clients[i]);
	close(third);
	world_close(world);
}

static void a_name_that_fails_drops_what_waits(void **state)
{
	struct world *world = world_open((struct dial_target){.host = "gone", .port = AT});
	int client = new_client(), asked = names_asked;

	(void)state;
	say(client, 1);
	run_until(&world->bed, names_asked == asked + 1);
	expect_nothing(world);
	assert_int_equal(world->failures, 1);
	assert_int_equal(world->failure, -ENOENT);
	/* asked for again with the next datagram, which is not forgotten with the first */
	world->target.host = "here";
	say(client, 2);
	expect(world, client, world->server4, 2);
	close(client);
	/* too late: what waits for a name that hangs is forgotten */
	world->target.host = "hang";
	client = new_client();
	say(client, 3);
	settle(&world->bed);
	jump(&world->bed, HOLD_MS + 100);
	world->target = (struct dial_target){.addr = addr_at("127.0.0.1", AT)};
	are_names_let_go = true;
	expect_nothing(world);
	say(client, 4);
	expect(world, client, world->server4, 4);
	close(client);
	world_close(world);
}

/* Of either kind, and the wish may change. */
static void waits_for_sockets_of_the_inside(void **state)
{
	struct world *world = world_open(
		(struct dial_target){.where = DIAL_INSIDE, .addr = addr_at("127.0.0.1", AT)});
	int first = new_client(), second = new_client();

	(void)state;
	shut_door(&world->bed, true);
	say(first, 1);
	expect_nothing(world);
	world->target.addr = addr_at("::1", AT);
	say(second, 2);
	expect_nothing(world);
	shut_door(&world->bed, false);
	expect(world, first, world->server6, 1); /* it had no target before */
	expect(world, second, world->server6, 2);
	close(first);
	close(second);
	world_close(world);
}

static void without_room_nothing_waits(void **state)
{
	struct world *world = world_open((struct dial_target){.addr = addr_at("127.0.0.1", AT)});
	int first = new_client(), second = new_client();

	(void)state;
	world->bed.budget.max = BUDGET_RESERVED + 1;
	say(first, 1);
	expect(world, first, world->server4, 1);
	say(second, 2);
	expect_nothing(world);
	say(first, 3);
	expect(world, first, world->server4, 3);
	world->bed.budget.max = 1000;
	expect_nothing(world);
	say(second, 4);
	expect(world, second, world->server4, 4);
	close(first);
	close(second);
	world_close(world);
}

static void can_be_freed_while_it_waits(void **state)
{
	const struct dial_target targets[] = {{.host = "hang", .port = AT},
		{.where = DIAL_INSIDE, .addr = addr_at("127.0.0.1", AT)}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct world *world = world_open(targets[i]);
		int client = new_client();

		shut_door(&world->bed, true);
		say(client, 1);
		expect_nothing(world);
		datagrams_free(world->datagrams);
		world->datagrams = NULL;
		shut_door(&world->bed, false);
		are_names_let_go = true;
		expect_nothing(world);
		close(client);
		world_close(world);
	}
}

/* The address that has a socket is found at once; when that goes and another comes, too. */
static void every_address_is_tried(void **state)
{
	struct world *world = world_open((struct dial_target){.host = "localhost", .port = AT});
	int client = new_client();

	(void)state;
	close(world->server4);
	say(client, 1);
	expect(world, client, world->server6, 1); /* the first datagram */
	close(world->server6);
	world->server4 = udp_at("127.0.0.1", AT);
	for (char i = 2; i < 4; i++) {
		say(client, i); /* the first one is refused */
		settle(&world->bed);
	}
	expect(world, client, world->server4, 3);
	assert_int_equal(world->failures, 0);
	world->server6 = udp_at("::1", AT);
	close(client);
	world_close(world);
}

/* Each refusal is told, also where there are more addresses of this host; of others when all have
 * refused. */
static void refusals_are_told(void **state)
{
	const struct dial_target targets[] = {{.addr = addr_at("127.0.0.9", AT)},
		{.host = "127.0.0.9", .port = AT}, {.host = "localhost", .port = AT + 1},
		{.host = "far", .port = AT}};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct world *world = world_open(targets[i]);
		int client = new_client();

		for (char what = 1; what < 5; what++) {
			say(client, what);
			settle(&world->bed);
			assert_int_equal(world->failures, i < 3 ? what : what / 2);
			assert_int_equal(world->failure, world->failures ? -ECONNREFUSED : 0);
		}
		close(client);
		world_close(world);
	}
}

/* For the name "far": addresses that are no loopback's, at which nobody is. */
static void add_far_addresses(void)
{
	const struct addr far = addr_at("192.0.2.1", 0);
	_cleanup_fd_ int nl = netdev_open();

	if (netdev_add_addr(nl, netdev_index(nl, "lo"), AF_INET, &far.v4.sin_addr, 30) < 0)
		exit(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_client_goes_where_the_target_is_now),
		cmocka_unit_test(waits_for_a_name),
		cmocka_unit_test(a_name_that_fails_drops_what_waits),
		cmocka_unit_test(waits_for_sockets_of_the_inside),
		cmocka_unit_test(without_room_nothing_waits),
		cmocka_unit_test(can_be_freed_while_it_waits),
		cmocka_unit_test(every_address_is_tried),
		cmocka_unit_test(refusals_are_told),
	};

	bed_enter_namespace();
	add_far_addresses();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
