/* SPDX-License-Identifier: Apache-2.0 */
/* test_slirp - libslirp as a guest of the loop, with the test as the sandbox behind the TAP */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "fake_tap.h"
#include "net/netdev.h"
#include "net/pcap.h"
#include "net/slirp.h"
#include "net/slirplib.h"
#include "netns.h"
#include "util/fd.h"

#define WAIT_MS 5000
#define GUEST   "10.0.2.100"
#define HOST    "10.0.2.2"

struct world {
	struct loop *loop;
	struct budget budget;
	struct net_plan plan;
	int tap[2];
	struct slirp_stack *stack;
};

static void open_world(struct world *world)
{
	*world = (struct world){.loop = loop_new(), .budget.max = 1000};
	plan_init(&world->plan);
	world->plan.allows_host_loopback = true;
	world->plan.outbound4 = addr_of4(frame_v4("127.0.0.2"), 0);
	world->plan.outbound6 = (struct addr){0};
	fake_tap_open(world->tap);
	assert_int_equal(slirplib_load(NULL, NULL), 0);
	world->stack = slirp_stack_new(
		world->loop, &world->plan, world->tap[0], &PCAP_NONE, &world->budget);
	assert_non_null(world->stack);
}

static void close_world(struct world *world)
{
	slirp_stack_free(world->stack);
	assert_int_equal(world->budget.used, 0);
	assert_int_equal(loop_run_once(world->loop, 0), 0); /* no hook is left */
	close(world->tap[0]);
	close(world->tap[1]);
	loop_free(world->loop);
}

static int bound(int type, struct addr *addr)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*addr = addr_loopback4(0);
	assert_int_equal(bind(fd, &addr->any, addr_len(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 10), 0);
	assert_int_equal(addr_get_own(fd, addr), 0);
	return fd;
}

/* The loop runs until the guest has a frame of @protocol with @flags, if that is TCP. */
static void wait_for_frame(
	struct world *world, uint8_t protocol, uint8_t flags, struct frame *frame)
{
	for (int i = 0; i < WAIT_MS; i++) {
		while (fake_tap_receive(world->tap[1], frame))
			if (frame_get16(frame->bytes + 12) == 0x0800 &&
				frame->bytes[FRAME_L3 + 9] == protocol &&
				(protocol != IPPROTO_TCP || frame->bytes[FRAME_L4 + 13] == flags))
				return;
		assert_int_equal(loop_run_once(world->loop, 1), 0);
	}
	fail_msg("no frame came");
}

/* To the outside, from the address that the plan names, which libslirp keeps a pointer to. */
static void leaves_from_the_outbound_address(void **state)
{
	struct world world;
	struct addr server, from;
	socklen_t len = sizeof(from);
	char got[16];
	struct frame frame, answer;

	(void)state;
	open_world(&world);
	int fd = bound(SOCK_DGRAM, &server);
	frame = frame_udp(GUEST, HOST, addr_port(&server));
	fake_tap_send(world.tap[1], &frame);
	ssize_t count = -1;
	for (int i = 0; i < WAIT_MS && count < 0; i++) {
		assert_int_equal(loop_run_once(world.loop, 1), 0);
		count = recvfrom(fd, got, sizeof(got), 0, &from.any, &len);
	}
	assert_int_equal(count, 5);
	assert_memory_equal(got, "query", 5);
	assert_true(addr_is_same_ip(&from, &world.plan.outbound4));
	assert_true(world.budget.used > 0);
	assert_int_equal(sendto(fd, "answer", 6, 0, &from.any, len), 6);
	wait_for_frame(&world, IPPROTO_UDP, 0, &answer);
	assert_memory_equal(answer.bytes + FRAME_L4 + 8, "answer", 6);
	close(fd);
	close_world(&world);
}

static void waiting(void *owner)
{
	(*(int *)owner)++;
}

static int client_to(const struct addr *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, &addr->any, addr_len(addr)) < 0)
		fd_close(&fd);
	return fd;
}

static void run(struct world *world, int rounds)
{
	for (int i = 0; i < rounds; i++)
		assert_int_equal(loop_run_once(world->loop, 1), 0);
}

/* The first packet of a connection that libslirp leads to the guest's port 80. */
static void expect_syn(struct world *world)
{
	struct frame frame;

	wait_for_frame(world, IPPROTO_TCP, 0x02, &frame);
	assert_int_equal(frame_get16(frame.bytes + FRAME_L4 + 2), 80);
	assert_int_equal(frame.bytes[FRAME_L3 + 16], 127);
}

static void expect_no_frame(struct world *world)
{
	struct frame frame;

	for (int i = 0; i < 20; i++) { /* questions of ARP are answered between */
		run(world, 1);
		assert_false(fake_tap_receive(world->tap[1], &frame));
	}
}

/* libslirp accepts at our listener, which stays ours. */
static void leads_a_listener(void **state)
{
	struct world world;
	struct addr host, other, guest = addr_loopback4(80);
	int told = 0;

	(void)state;
	open_world(&world);
	int listener = bound(SOCK_STREAM, &host), second = bound(SOCK_STREAM, &other);
	assert_int_equal(slirp_stack_listen(world.stack, listener, &guest, waiting, &told), 0);
	assert_int_equal(slirp_stack_listen(world.stack, second, &guest, waiting, &told), 0);
	assert_int_equal(world.budget.used, 2);
	int client = client_to(&host);
	expect_syn(&world);
	assert_int_equal(told, 1);
	close(client);

	slirp_stack_unlisten(world.stack, listener);
	run(&world, 20);
	struct frame frame;
	while (fake_tap_receive(world.tap[1], &frame))
		;
	/* clients wait for whoever is next */
	client = client_to(&host);
	assert_true(client >= 0);
	expect_no_frame(&world);
	assert_int_equal(told, 1);
	assert_int_equal(slirp_stack_listen(world.stack, listener, &guest, waiting, &told), 0);
	expect_syn(&world);
	close(client);
	slirp_stack_unlisten(world.stack, listener);
	slirp_stack_unlisten(world.stack, second);
	assert_int_equal(slirp_stack_listen(world.stack, 1000, &guest, waiting, &told), -EBADF);
	close(listener);
	close(second);
	close_world(&world);
}

/* Descriptors are short: clients wait in the backlog. */
static void rests_without_room(void **state)
{
	struct world world;
	struct addr host, guest = addr_loopback4(80);
	int told = 0;

	(void)state;
	open_world(&world);
	int listener = bound(SOCK_STREAM, &host);
	assert_int_equal(slirp_stack_listen(world.stack, listener, &guest, waiting, &told), 0);
	world.budget.max = 0;
	int client = client_to(&host);
	expect_no_frame(&world);
	world.budget.max = 1000;
	/* libslirp's wishes are asked for again when something happens: here, a frame */
	struct frame frame = frame_arp(1, GUEST, HOST);
	fake_tap_send(world.tap[1], &frame);
	expect_syn(&world);
	close(client);
	slirp_stack_unlisten(world.stack, listener);
	close(listener);
	close_world(&world);
}

/* What the guard drops libslirp does not see. */
static void guards(void **state)
{
	struct world world;
	struct frame frame = frame_udp("10.0.2.5", HOST, 9), answer;

	(void)state;
	open_world(&world);
	fake_tap_send(world.tap[1], &frame);
	frame = frame_icmp(GUEST, HOST, 8);
	fake_tap_send(world.tap[1], &frame);
	run(&world, 20);
	assert_int_equal(world.budget.used, 0);
	while (fake_tap_receive(world.tap[1], &answer))
		assert_int_not_equal(answer.bytes[FRAME_L3 + 9], IPPROTO_UDP);
	close_world(&world);
}

/* With no socket it asks for no time, however long; what begins then is not over at once. */
static void sleeps_while_idle(void **state)
{
	struct world world;
	struct addr server, from;
	socklen_t len = sizeof(from);
	char got[16];
	struct frame answer;

	(void)state;
	open_world(&world);
	int fd = bound(SOCK_DGRAM, &server), count = -1;
	run(&world, 10);
	/* libslirp wants to be called once a second at the least */
	uint64_t before_ns = clock_now_ns();
	assert_int_equal(loop_run_once(world.loop, 1300), 0);
	assert_true(clock_now_ns() - before_ns >= 1290 * NS_PER_MS);

	clock_ahead_ns += 3600 * NS_PER_S;
	struct frame frame = frame_udp(GUEST, HOST, addr_port(&server));
	fake_tap_send(world.tap[1], &frame);
	for (int i = 0; i < WAIT_MS && count < 0; i++) {
		assert_int_equal(loop_run_once(world.loop, 1), 0);
		count = (int)recvfrom(fd, got, sizeof(got), 0, &from.any, &len);
	}
	assert_int_equal(count, 5);
	run(&world, 3);
	assert_int_equal(sendto(fd, "answer", 6, 0, &from.any, len), 6);
	wait_for_frame(&world, IPPROTO_UDP, 0, &answer);
	close(fd);
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
		cmocka_unit_test(leaves_from_the_outbound_address),
		cmocka_unit_test(leads_a_listener),
		cmocka_unit_test(rests_without_room),
		cmocka_unit_test(guards),
		cmocka_unit_test(sleeps_while_idle),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
