/* SPDX-License-Identifier: Apache-2.0 */
/* test_carry - only the SYN of a connection leaves, and what is let in is carried; all else as ever
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "conn/mint.h"
#include "frames.h"
#include "net/netdev.h"
#include "net/tap.h"
#include "netns.h"
#include "sandbox/carry.h"
#include "util/addr.h"
#include "util/fd.h"

#define WAIT_MS  5000
#define QUIET_MS 50

struct world {
	struct net_plan plan;
	int nl, tap, index, listeners[2], mints[2];
};

static const struct {
	int family;
	const char *outside, *neighbour, *host;
} families[] = {
	{AF_INET, "198.51.100.7", "10.0.2.77", "10.0.2.2"},
	{AF_INET6, "2001:db8::7", "fd00::77", "fd00::2"},
};

static struct addr address_of(const char *text, uint16_t port)
{
	struct in6_addr six = frame_v6(text);

	return strchr(text, ':') ? addr_of6(&six, port) : addr_of4(frame_v4(text), port);
}

static void world_open(struct world *world)
{
	struct err err;

	plan_init(&world->plan);
	world->nl = netdev_open();
	assert_true(world->nl >= 0);
	assert_int_equal(netdev_set_up(world->nl, 1, 0), 0);
	world->tap = tap_open(NET_TAP_NAME, true, &err);
	assert_true(world->tap >= 0);
	world->index = netdev_index(world->nl, NET_TAP_NAME);
	netdev_set_addrgen_none(world->nl, world->index);
	assert_int_equal(netdev_set_up(world->nl, world->index, world->plan.mtu), 0);
	assert_int_equal(
		netdev_add_addr(world->nl, world->index, AF_INET, &world->plan.guest, 24), 0);
	assert_int_equal(
		netdev_add_addr(world->nl, world->index, AF_INET6, &world->plan.guest6, 64), 0);
	assert_int_equal(
		netdev_add_default_route(world->nl, world->index, AF_INET, &world->plan.host), 0);
	assert_int_equal(
		netdev_add_default_route(world->nl, world->index, AF_INET6, &world->plan.host6), 0);
	for (size_t i = 0; i < 2; i++) {
		world->mints[i] =
			carry_keep_clients(families[i].family, world->nl, world->index, &err);
		if (world->mints[i] >= 0)
			world->listeners[i] = carry_set_up(
				&world->plan, families[i].family, world->nl, world->index, &err);
		if (world->mints[i] < 0 || world->listeners[i] < 0)
			fail_msg("%s", err.text);
	}
}

/* @device: bound to it; NULL: to none */
static int begin(const char *to, uint16_t port, const char *device)
{
	struct addr at = address_of(to, port);
	int fd = socket(at.family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (device)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device,
					 (socklen_t)strlen(device)),
			0);
	assert_int_equal(connect(fd, &at.any, addr_len(&at)), -1);
	assert_int_equal(errno, EINPROGRESS);
	return fd;
}

/* The next frame with TCP, or 0 in the time of @timeout_ms. */
static size_t take_tcp(const struct world *world, uint8_t *frame, int timeout_ms)
{
	struct pollfd pollfd = {world->tap, POLLIN, 0};

	while (poll(&pollfd, 1, timeout_ms) > 0) {
		ssize_t got = tap_read(world->tap, frame, FRAME_CAP);
		bool is_six = frame_get16(frame + 12) == 0x86dd;

		if (got > FRAME_L4 && frame[FRAME_L3 + (is_six ? 6 : 9)] == IPPROTO_TCP)
			return (size_t)got;
	}
	return 0;
}

static bool is_asked(const uint8_t *frame)
{
	return memcmp(frame, plan_ask_mac, sizeof(plan_ask_mac)) == 0;
}

static void let_in(const struct world *world, uint8_t *frame, size_t len)
{
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, plan_ask_mac, 6);
	assert_int_equal(tap_write(world->tap, frame, len, TAP_ETHER_BYTES), 0);
}

static void await(int fd, short events)
{
	struct pollfd pollfd = {fd, events, 0};

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
	assert_false(pollfd.revents & (POLLERR | POLLHUP) & ~events);
}

static void carries(const struct world *world, size_t i, const char *to, const char *device)
{
	uint8_t frame[FRAME_CAP];
	int fd = begin(to, 443, device);
	char bytes[3];
	struct addr asked = address_of(to, 443), own;
	size_t len = take_tcp(world, frame, WAIT_MS);

	assert_true(len > 0 && is_asked(frame));
	let_in(world, frame, len);
	await(fd, POLLOUT);
	int accepted = accept4(world->listeners[i], NULL, NULL, SOCK_NONBLOCK);
	assert_true(accepted >= 0);
	assert_int_equal(addr_get_own(accepted, &own), 0);
	assert_true(addr_equal(&own, &asked));
	assert_int_equal(send(fd, "one", 3, 0), 3);
	await(accepted, POLLIN);
	assert_int_equal(recv(accepted, bytes, 3, 0), 3);
	assert_int_equal(send(accepted, "two", 3, 0), 3);
	await(fd, POLLIN);
	assert_int_equal(recv(fd, bytes, 3, 0), 3);
	close(fd);
	await(accepted, POLLIN);
	assert_int_equal(recv(accepted, bytes, 1, 0), 0);
	close(accepted);
	assert_int_equal(take_tcp(world, frame, QUIET_MS), 0);
}

static void only_the_syn_leaves(void **state)
{
	const struct world *world = *state;

	for (size_t i = 0; i < 2; i++) {
		carries(world, i, families[i].outside, NULL);
		carries(world, i, families[i].outside, NET_TAP_NAME);
		carries(world, i, families[i].host, NULL);
	}
}

/* The way by which ports of the host are led in by libslirp: in by the TAP, from an outside
 * address. */
static void answers_of_servers_leave(void **state)
{
	const struct world *world = *state;
	const struct addr at = address_of("10.0.2.100", 80);
	uint8_t frame[FRAME_CAP];
	int server = socket(AF_INET, SOCK_STREAM, 0), fd;

	assert_int_equal(bind(server, &at.any, addr_len(&at)), 0);
	assert_int_equal(listen(server, 1), 0);
	/* ours teaches us the device's address, and theirs is answered there */
	fd = begin(families[0].outside, 443, NULL);
	assert_true(take_tcp(world, frame, WAIT_MS) > 0);
	close(fd);
	for (unsigned port = 80; port <= 81; port++) {
		struct frame syn = frame_tcp("198.51.100.9", "10.0.2.100", port, 0x02, "", 0);
		static const uint8_t mac[6] = {2, 2, 2, 2, 2, 2};

		memcpy(syn.bytes, frame + 6, 6);
		memcpy(syn.bytes + 6, mac, 6);
		netdev_add_neighbour(world->nl, world->index, AF_INET, &world->plan.host, mac);
		assert_int_equal(tap_write(world->tap, syn.bytes, syn.len, TAP_ETHER_BYTES), 0);
		uint8_t answer[FRAME_CAP];
		assert_true(take_tcp(world, answer, WAIT_MS) > 0);
		assert_false(is_asked(answer));
		/* a SYN-ACK, and the RST of who does not listen */
		assert_int_equal(answer[FRAME_L4 + 13], port == 80 ? 0x12 : 0x14);
	}
	close(server);
}

/* A name server at 10.0.2.3, and who has a mark of his own: libslirp's, all of it. */
static void others_are_left_alone(void **state)
{
	static const uint8_t mac[6] = {2, 2, 2, 2, 2, 2};
	const struct world *world = *state;
	const uint32_t mark = 7;
	uint8_t frame[FRAME_CAP];

	netdev_add_neighbour(world->nl, world->index, AF_INET, &world->plan.dns, mac);
	netdev_add_neighbour(world->nl, world->index, AF_INET, &world->plan.host, mac);
	int fd = begin("10.0.2.3", 53, NULL);
	assert_true(take_tcp(world, frame, WAIT_MS) > 0);
	assert_false(is_asked(frame));
	close(fd);
	struct addr at = address_of(families[0].outside, 443);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	assert_int_equal(connect(fd, &at.any, addr_len(&at)), -1);
	assert_true(take_tcp(world, frame, WAIT_MS) > 0);
	assert_false(is_asked(frame));
	close(fd);
}

/* Whoever it is that connects: answers find the way back, also that nobody listens. */
static void clients_come_as_themselves(void **state)
{
	static const struct {
		const char *client, *server;
	} rows[] = {{"198.51.100.9", "127.0.0.1"}, {"198.51.100.9", "10.0.2.100"},
		{"2001:db8::9", "::1"}, {"2001:db8::9", "fd00::100"}};
	const struct world *world = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct addr client = address_of(rows[i].client, 4567);
		struct addr server = address_of(rows[i].server, 8888), peer;
		int listener = socket(server.family, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
		char bytes[2];

		setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		assert_int_equal(bind(listener, &server.any, addr_len(&server)), 0);
		for (int is_there = 1; is_there >= 0; is_there--) {
			int fd = -1;

			mint_take(world->mints[i / 2], &fd, 1);
			assert_true(fd >= 0);
			if (is_there)
				assert_int_equal(listen(listener, 5), 0);
			assert_int_equal(bind(fd, &client.any, addr_len(&client)), 0);
			connect(fd, &server.any, addr_len(&server));
			await(fd, is_there ? POLLOUT : POLLOUT | POLLERR | POLLHUP);
			int accepted = accept4(listener, NULL, NULL, 0);
			assert_int_equal(accepted >= 0, is_there);
			if (is_there) {
				assert_int_equal(addr_get_peer(accepted, &peer), 0);
				assert_true(addr_equal(&peer, &client));
				assert_int_equal(send(accepted, "hi", 2, 0), 2);
				await(fd, POLLIN);
				assert_int_equal(recv(fd, bytes, 2, 0), 2);
				fd_reset(&fd);
				fd_reset(&accepted);
				close(listener);
				listener = -1;
			} else {
				socklen_t len = sizeof(on);
				assert_int_equal(
					getsockopt(fd, SOL_SOCKET, SO_ERROR, &on, &len), 0);
				assert_int_equal(on, ECONNREFUSED);
				close(fd);
			}
		}
	}
}

static int open_all(void **state)
{
	static struct world world;

	world_open(&world);
	*state = &world;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_syn_leaves),
		cmocka_unit_test(answers_of_servers_leave),
		cmocka_unit_test(others_are_left_alone),
		cmocka_unit_test(clients_come_as_themselves),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, open_all, NULL);
}
