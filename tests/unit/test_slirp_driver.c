/* SPDX-License-Identifier: Apache-2.0 */
/* test_slirp_driver - forwards of libslirp's, held until the guest listens; a clock that can jump
 */
#include "forward_bed.h"

#include "fake_tap.h"
#include "forward/slirp_driver.h"
#include "net/netdev.h"
#include "net/slirp.h"
#include "netns.h"

#define WAIT_MS 5000
#define HOLD_MS 3000

struct world {
	struct bed *bed;
	int tap[2];
};

static struct world open_world(enum proto proto, bool has_listened)
{
	struct world world = {.bed = bed_new(HOLD_MS)};
	struct forward *forward = &world.bed->forward;
	struct err err;

	plan_init(&world.bed->plan);
	fake_tap_open(world.tap);
	world.bed->context.slirp = slirp_stack_new(
		world.bed->loop, &world.bed->plan, world.tap[0], -1, &world.bed->budget);
	assert_non_null(world.bed->context.slirp);
	*forward = (struct forward){
		.spec = {.host = addr_loopback4(HOST_PORT),
			.guest_port = GUEST_PORT,
			.proto = proto},
		.driver = &slirp_driver,
		.context = &world.bed->context,
		.listen_fd = -1,
		.has_listened = has_listened,
	};
	assert_int_equal(driver_open(forward, &err), 0);
	return world;
}

static void close_world(struct world *world)
{
	driver_close(&world->bed->forward);
	slirp_stack_free(world->bed->context.slirp);
	close(world->tap[0]);
	close(world->tap[1]);
	bed_free(world->bed);
}

static int socket_to(const struct addr *addr, enum proto proto)
{
	int fd = socket(AF_INET, addr_proto_type(proto) | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &addr->any, addr_len(addr)), 0);
	return fd;
}

static int client_of(const struct world *world)
{
	int fd = socket_to(&world->bed->forward.spec.host, world->bed->forward.spec.proto);

	if (world->bed->forward.spec.proto == PROTO_UDP)
		assert_int_equal(send(fd, "x", 1, 0), 1);
	return fd;
}

/* Packets for the guest's port that come within some rounds, or until there is one. */
static size_t count_packets(struct world *world, int rounds, bool waits)
{
	struct frame frame;
	size_t count = 0;

	for (int i = 0; i < rounds && !(waits && count > 0); i++) {
		assert_int_equal(loop_run_once(world->bed->loop, 1), 0);
		while (fake_tap_receive(world->tap[1], &frame))
			count += frame_get16(frame.bytes + 12) == 0x0800 &&
				 frame_get16(frame.bytes + FRAME_L4 + 2) == GUEST_PORT;
	}
	return count;
}

static void guest_listens(struct world *world)
{
	driver_note_listening(&world->bed->forward);
	assert_true(count_packets(world, WAIT_MS, true) > 0);
	assert_int_equal(world->bed->told, 1);
}

static void leads_to_the_guest(void **state)
{
	(void)state;
	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		struct world world = open_world(proto, true);
		int client = client_of(&world);

		assert_true(count_packets(&world, WAIT_MS, true) > 0);
		assert_int_equal(world.bed->told, 0); /* it was known */
		close(client);
		close_world(&world);
	}
}

static void holds_until_the_guest_listens(void **state)
{
	(void)state;
	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		struct world world = open_world(proto, false);
		int client = client_of(&world);

		assert_int_equal(count_packets(&world, 20, false), 0);
		jump(HOLD_MS / 2);
		assert_int_equal(count_packets(&world, 20, false), 0);
		guest_listens(&world);
		jump(2 * HOLD_MS); /* nobody's time is over now */
		assert_int_equal(loop_run_once(world.bed->loop, 0), 0);
		char byte;
		assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
		close(client);
		close_world(&world);
	}
}

static void does_not_hold_for_ever(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		struct world world = open_world(PROTO_TCP, false);
		char byte;

		for (int i = 0; i <= turn; i++) { /* also the second time */
			int client = client_of(&world);

			assert_int_equal(count_packets(&world, 20, false), 0);
			jump(HOLD_MS + 1);
			assert_int_equal(count_packets(&world, 20, false), 0);
			assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
			assert_int_equal(errno, ECONNRESET);
			close(client);
		}
		int client = client_of(&world);
		assert_int_equal(count_packets(&world, 20, false), 0);
		guest_listens(&world);
		close(client);
		close_world(&world);
	}
	/* datagrams are dropped */
	struct world world = open_world(PROTO_UDP, false);
	int client = client_of(&world);
	assert_int_equal(count_packets(&world, 20, false), 0);
	jump(HOLD_MS + 1);
	assert_int_equal(count_packets(&world, 20, false), 0);
	driver_note_listening(&world.bed->forward);
	assert_int_equal(count_packets(&world, 20, false), 0);
	close(client);
	close_world(&world);
}

static void says_why_it_cannot_listen(void **state)
{
	struct world world = open_world(PROTO_TCP, true);
	struct forward second = world.bed->forward;
	struct err err;

	(void)state;
	assert_true(driver_open(&second, &err) < 0);
	assert_non_null(strstr(err.text, "libslirp cannot listen for 127.0.0.1:5300:53/tcp"));
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
		cmocka_unit_test(leads_to_the_guest),
		cmocka_unit_test(holds_until_the_guest_listens),
		cmocka_unit_test(does_not_hold_for_ever),
		cmocka_unit_test(says_why_it_cannot_listen),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
