/* SPDX-License-Identifier: Apache-2.0 */
/* test_socks_udp - datagrams of clients of a SOCKS proxy */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "proxy/socks.h"
#include "proxy/socks_udp.h"
#include "proxy_bed.h"

#define TO_TARGET "\0\0\0\3\6target\x10\xd7" /* TARGET_PORT */

struct world {
	struct proxy_bed *proxy;
	struct mesh_bed *bed;
	int client, mine, target; /* its connection and its socket; a server */
	struct addr at;           /* of the relay */
};

static int udp_at(const char *ip, uint16_t port)
{
	const struct addr at = addr_at(ip, port);
	int fd = socket(at.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &at.any, addr_len(&at)), 0);
	return fd;
}

/* Ask for it; @port: what the request says of the client. */
static void associate(struct world *world, uint16_t port)
{
	char ask[] = "\5\1\0\5\3\0\1\0\0\0\0\0\0";
	unsigned char reply[12];
	ssize_t len = 0;
	size_t have = 0;

	world->client = proxy_client(world->proxy);
	ask[11] = (char)(port >> 8);
	ask[12] = (char)port;
	say(world->client, ask, 13);
	while (have < sizeof(reply)) {
		run_until(world->bed,
			(len = recv(world->client, reply + have, sizeof(reply) - have, 0)) > 0);
		have += (size_t)len;
	}
	assert_memory_equal(reply, "\5\0\5\0\0\1\x7f\0\0\1", 10);
	world->at = addr_loopback4((uint16_t)(reply[10] << 8 | reply[11]));
}

static struct world *world_open(void)
{
	struct world *world = calloc(1, sizeof(*world));

	world->proxy = proxy_open(&socks_protocol);
	world->bed = &world->proxy->bed;
	world->target = udp_at("127.0.0.1", TARGET_PORT);
	world->mine = udp_at("127.0.0.1", 0);
	return world;
}

static void world_close(struct world *world)
{
	close(world->client);
	close(world->mine);
	close(world->target);
	run_until(world->bed, front_guests(world->proxy->front) == 0);
	proxy_close(world->proxy);
	free(world);
}

static void send_from(struct world *world, int fd, const void *bytes, size_t len)
{
	assert_int_equal(sendto(fd, bytes, len, 0, &world->at.any, addr_len(&world->at)), len);
}

#define SEND(world, text) send_from(world, (world)->mine, text, sizeof(text) - 1)

/* The next datagram at @fd is that; *@from is who sent it. */
static void expect_datagram(
	struct world *world, int fd, const void *bytes, size_t len, struct addr *from)
{
	static char got[70000];
	socklen_t from_len = sizeof(*from);
	ssize_t count = 0;

	run_until(world->bed,
		(count = recvfrom(fd, got, sizeof(got), 0, &from->any, &from_len)) >= 0);
	assert_int_equal(count, len);
	assert_memory_equal(got, bytes, len);
}

static bool has_datagram(struct world *world, int fd)
{
	char byte;

	settle(world->bed);
	return recv(fd, &byte, 1, 0) >= 0;
}

static void datagrams_go_there_and_back(void **state)
{
	struct world *world = world_open();
	static char big[60000], whole[10 + sizeof(big)] = "\0\0\0\1\x7f\0\0\1\x10\xd7";
	struct addr from, again;

	(void)state;
	associate(world, 0);
	SEND(world, TO_TARGET "one"); /* both wait for the name */
	SEND(world, TO_TARGET "two");
	expect_datagram(world, world->target, "one", 3, &from);
	expect_datagram(world, world->target, "two", 3, &again);
	assert_true(addr_equal(&from, &again));
	sendto(world->target, "answer", 6, 0, &from.any, addr_len(&from));
	expect_datagram(world, world->mine,
		"\0\0\0\1\x7f\0\0\1\x10\xd7"
		"answer",
		16, &again);
	assert_true(addr_equal(&again, &world->at));
	/* by address it is another flow; empty ones count, and large ones */
	SEND(world, "\0\0\0\1\x7f\0\0\1\x10\xd7");
	expect_datagram(world, world->target, "", 0, &again);
	memset(big, 'x', sizeof(big));
	memcpy(whole + 10, big, sizeof(big));
	send_from(world, world->mine, whole, sizeof(whole));
	expect_datagram(world, world->target, big, sizeof(big), &from);
	sendto(world->target, big, sizeof(big), 0, &from.any, addr_len(&from));
	expect_datagram(world, world->mine, whole, sizeof(whole), &again);
	world_close(world);
}

/* Nobody but the client may send, and what is no whole datagram goes nowhere. */
static void strangers_and_fragments_are_dropped(void **state)
{
	struct world *world = world_open();
	int other = udp_at("127.0.0.1", 0), far = udp_at("127.0.0.9", 0);
	struct addr from;

	(void)state;
	associate(world, 0);
	send_from(world, far, TO_TARGET "far", sizeof(TO_TARGET "far") - 1);
	assert_false(has_datagram(world, world->target));
	SEND(world, TO_TARGET "mine");
	expect_datagram(world, world->target, "mine", 4, &from);
	send_from(world, other, TO_TARGET "other", sizeof(TO_TARGET "other") - 1);
	SEND(world, "\0\0\1\1\x7f\0\0\1\x10\xd7"
		    "a fragment");
	SEND(world, "\0\0\0\1\x7f\0\0");
	SEND(world, "");
	assert_false(has_datagram(world, world->target));
	/* nor does anybody but the target answer */
	sendto(far, "false", 5, 0, &from.any, addr_len(&from));
	assert_false(has_datagram(world, world->mine));
	close(other);
	close(far);
	world_close(world);
}

static void the_port_of_the_request_is_the_clients(void **state)
{
	struct world *world = world_open();
	struct addr own, from;
	int other = udp_at("127.0.0.1", 0);

	(void)state;
	assert_int_equal(addr_get_own(world->mine, &own), 0);
	associate(world, addr_port(&own));
	send_from(world, other, TO_TARGET "other", sizeof(TO_TARGET "other") - 1);
	assert_false(has_datagram(world, world->target));
	SEND(world, TO_TARGET "mine");
	expect_datagram(world, world->target, "mine", 4, &from);
	close(other);
	world_close(world);
}

static void all_ends_with_the_connection(void **state)
{
	struct world *world = world_open();
	struct addr from;

	(void)state;
	associate(world, 0);
	SEND(world, TO_TARGET "one");
	expect_datagram(world, world->target, "one", 3, &from);
	assert_int_equal(world->bed->budget.used, 3);
	jump(world->bed, 10 * FRONT_WAIT_MS / 3); /* it may be silent */
	assert_int_equal(front_guests(world->proxy->front), 1);
	SAY(world->client, "what is said there is not looked at");
	settle(world->bed);
	assert_int_equal(front_guests(world->proxy->front), 1);
	shutdown(world->client, SHUT_WR);
	assert_int_equal(wait_end(world->bed, world->client), 0);
	assert_int_equal(front_guests(world->proxy->front), 0);
	/* the port of the relay is nobody's any more */
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, &world->at.any, addr_len(&world->at)), 0);
	close(fd);
	world_close(world);
}

static void idle_flows_go_and_many_make_room(void **state)
{
	struct world *world = world_open();
	char to[] = "\0\0\0\1\x7f\0\0\1\x40\0x";
	struct addr from;

	(void)state;
	associate(world, 0);
	SEND(world, TO_TARGET "one");
	expect_datagram(world, world->target, "one", 3, &from);
	jump(world->bed, SOCKS_UDP_IDLE_MS / 2);
	assert_int_equal(world->bed->budget.used, 3);
	for (int i = 0; i < 5; i++)
		jump(world->bed, SOCKS_UDP_IDLE_MS / 4);
	assert_int_equal(world->bed->budget.used, 2);
	for (int i = 0; i < SOCKS_UDP_FLOWS_MAX + 20; i++) {
		to[9] = (char)i;
		send_from(world, world->mine, to, sizeof(to) - 1);
		settle(world->bed);
	}
	assert_int_equal(world->bed->budget.used, 2 + SOCKS_UDP_FLOWS_MAX);
	/* there are no descriptors: nothing of it is done */
	world->bed->budget.max = 0;
	SEND(world, TO_TARGET "two");
	assert_false(has_datagram(world, world->target));
	world->bed->budget.max = 10000;
	SEND(world, TO_TARGET "three");
	expect_datagram(world, world->target, "three", 5, &from);
	world_close(world);
}

/* Another address's flows, of which one ends whenever it is to. */
struct others {
	struct shares_part part;
	struct budget *budget;
	unsigned source;
};

static bool yield(struct shares_part *part, unsigned source)
{
	struct others *others = container_of(part, struct others, part);

	if (source != others->source)
		return false;
	shares_give(&others->budget->shares, SHARES_FLOWS, source);
	budget_give(others->budget, 1);
	return true;
}

static void a_new_flow_has_the_place_of_anothers(void **state)
{
	struct world *world = world_open();
	struct budget *budget = &world->bed->budget;
	const struct addr most = addr_of4((struct in_addr){htonl(0x7f000003)}, 0);
	struct others others = {{.kind = SHARES_FLOWS, .yield = yield}, budget,
		shares_source(&budget->shares, &most)};
	struct addr from;

	(void)state;
	shares_join(&budget->shares, &others.part);
	for (int i = 0; i < 20; i++)
		shares_take(&budget->shares, SHARES_FLOWS, others.source);
	budget_take(budget, 20);
	associate(world, 0);
	budget->max = budget->used + budget_reserve(budget);
	SEND(world, TO_TARGET "one");
	expect_datagram(world, world->target, "one", 3, &from);
	assert_int_equal(budget->shares.totals[SHARES_FLOWS], 20);
	while (budget->shares.counts[SHARES_FLOWS][others.source] > 0)
		yield(&others.part, others.source);
	shares_leave(&budget->shares, &others.part);
	budget->max = 10000;
	world_close(world);
}

/* An address that has most of them loses flows to others, and associations: what is used last. */
static void idle_ones_keep_nobody_out(void **state)
{
	struct world *world = world_open();
	struct budget *budget = &world->bed->budget;
	const struct addr few = addr_of4((struct in_addr){htonl(0x7f000003)}, 0);
	char to[] = "\0\0\0\1\x7f\0\0\1\x40\0x";
	int clients[3];
	struct addr from, second;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		associate(world, 0);
		clients[i] = world->client;
		if (i == 1)
			second = world->at;
	}
	world->at = second;
	for (int i = 0; i < 10; i++) {
		to[9] = (char)i;
		send_from(world, world->mine, to, sizeof(to) - 1);
	}
	run_until(world->bed, budget->shares.totals[SHARES_FLOWS] == 10);
	/* without room its own address gets nothing, and another one a flow's place */
	budget->max = 0;
	SEND(world, TO_TARGET "one");
	assert_false(has_datagram(world, world->target));
	assert_true(shares_yield(&budget->shares, &few, 0, true));
	assert_int_equal(budget->shares.totals[SHARES_FLOWS], 9);
	budget->max = 10000;
	while (shares_yield(&budget->shares, &few, 0, true))
		continue;
	assert_int_equal(budget->shares.totals[SHARES_FLOWS], 1);
	/* they are looked at for the first time */
	assert_true(shares_yield(&budget->shares, &few, 0, false));
	assert_int_equal(wait_end(world->bed, clients[0]), ECONNRESET);
	SEND(world, TO_TARGET "two");
	expect_datagram(world, world->target, "two", 3, &from);
	assert_true(shares_yield(&budget->shares, &few, 0, false));
	assert_int_equal(wait_end(world->bed, clients[2]), ECONNRESET);
	close(clients[0]);
	close(clients[2]);
	world->client = clients[1];
	world_close(world);
}

static void targets_that_are_not_there_cost_nothing(void **state)
{
	struct world *world = world_open();
	struct addr from;

	(void)state;
	world->proxy->error = -EHOSTUNREACH;
	associate(world, 0);
	SEND(world, "\0\0\0\3\5error\0\1x");
	SEND(world, "\0\0\0\3\4gone\0\1x");
	SEND(world, "\0\0\0\3\4hang\0\1x");
	for (int i = 0; i < 20; i++)
		SEND(world, "\0\0\0\1\x7f\0\0\1\0\7x"); /* refused */
	SEND(world, TO_TARGET "one");
	expect_datagram(world, world->target, "one", 3, &from);
	run_until(world->bed, world->bed->budget.used == 2 + 3); /* hang, refused, target */
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_go_there_and_back),
		cmocka_unit_test(strangers_and_fragments_are_dropped),
		cmocka_unit_test(the_port_of_the_request_is_the_clients),
		cmocka_unit_test(all_ends_with_the_connection),
		cmocka_unit_test(idle_flows_go_and_many_make_room),
		cmocka_unit_test(a_new_flow_has_the_place_of_anothers),
		cmocka_unit_test(idle_ones_keep_nobody_out),
		cmocka_unit_test(targets_that_are_not_there_cost_nothing),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
