/* SPDX-License-Identifier: Apache-2.0 */
/* test_slirp_driver - forwards of libslirp's, held until the guest listens; a clock that can jump
 */
#include "forward_bed.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "fake_tap.h"
#include "forward/slirp_driver.h"
#include "forward/splice_tcp.h"
#include "net/netdev.h"
#include "net/pcap.h"
#include "net/slirp.h"
#include "net/slirplib.h"
#include "netns.h"

#define WAIT_MS 5000
#define HOLD_MS 3000

struct world {
	struct bed *bed;
	int tap[2];
};

static struct world open_world(bool has_listened)
{
	struct world world = {.bed = bed_new(HOLD_MS)};
	struct forward *forward = &world.bed->forward;
	struct err err;

	plan_init(&world.bed->plan);
	fake_tap_open(world.tap);
	assert_int_equal(slirplib_load(NULL, NULL), 0);
	world.bed->context.slirp = slirp_stack_new(
		world.bed->loop, &world.bed->plan, world.tap[0], &PCAP_NONE, &world.bed->budget);
	assert_non_null(world.bed->context.slirp);
	*forward = (struct forward){
		.spec = {.host = addr_loopback4(HOST_PORT), .guest_port = GUEST_PORT},
		.driver = &slirp_driver,
		.context = &world.bed->context,
		.has_listened = has_listened,
	};
	assert_int_equal(bind_open(&forward->spec.host, PROTO_TCP, &world.bed->listener, &err), 0);
	forward->listen_fd = world.bed->listener.fd;
	assert_int_equal(driver_open(forward, &err), 0);
	return world;
}

static void close_world(struct world *world)
{
	driver_close(&world->bed->forward);
	slirp_stack_free(world->bed->context.slirp);
	close(world->tap[0]);
	close(world->tap[1]);
	bind_close(&world->bed->listener);
	bed_free(world->bed);
}

static int client_of(const struct world *world)
{
	const struct addr *addr = &world->bed->forward.spec.host;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &addr->any, addr_len(addr)), 0);
	return fd;
}

/* Packets for the guest's port at @to that come within some rounds, or until there is one. */
static size_t count_packets(struct world *world, const char *to, int rounds, bool waits)
{
	struct frame frame;
	size_t count = 0;

	for (int i = 0; i < rounds && !(waits && count > 0); i++) {
		assert_int_equal(loop_run_once(world->bed->loop, 1), 0);
		while (fake_tap_receive(world->tap[1], &frame)) {
			char text[INET_ADDRSTRLEN];

			if (frame_get16(frame.bytes + 12) != 0x0800)
				continue;
			inet_ntop(AF_INET, frame.bytes + FRAME_L3 + 16, text, sizeof(text));
			count += frame_get16(frame.bytes + FRAME_L4 + 2) == GUEST_PORT &&
				 strcmp(text, to) == 0;
		}
	}
	return count;
}

static void expect_quiet(struct world *world)
{
	assert_int_equal(count_packets(world, "127.0.0.1", 20, false), 0);
}

static void guest_listens(struct world *world)
{
	driver_note_listening(&world->bed->forward);
	assert_true(count_packets(world, "127.0.0.1", WAIT_MS, true) > 0);
	assert_int_equal(world->bed->told, 1);
}

static void leads_to_the_guest(void **state)
{
	struct world world = open_world(true);
	int client = client_of(&world);

	(void)state;
	assert_true(count_packets(&world, "127.0.0.1", WAIT_MS, true) > 0);
	assert_int_equal(world.bed->told, 0); /* it was known */
	close(client);
	close_world(&world);
}

static void holds_until_the_guest_listens(void **state)
{
	struct world world = open_world(false);
	int client = client_of(&world);
	char byte;

	(void)state;
	expect_quiet(&world);
	jump(HOLD_MS / 2);
	expect_quiet(&world);
	guest_listens(&world);
	jump(2 * HOLD_MS); /* nobody's time is over now */
	assert_int_equal(loop_run_once(world.bed->loop, 0), 0);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close(client);
	close_world(&world);
}

/* And while they are held the loop sleeps. */
static void does_not_hold_for_ever(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		struct world world = open_world(false);
		char byte;

		for (int i = 0; i <= turn; i++) { /* also the second time */
			int client = client_of(&world);

			expect_quiet(&world);
			uint64_t start_ns = clock_now_ns();
			assert_int_equal(loop_run_once(world.bed->loop, 20), 0);
			assert_true(clock_now_ns() - start_ns >= 15 * NS_PER_MS);
			jump(HOLD_MS + 1);
			expect_quiet(&world);
			assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
			assert_int_equal(errno, ECONNRESET);
			close(client);
		}
		int client = client_of(&world);
		expect_quiet(&world);
		guest_listens(&world);
		close(client);
		close_world(&world);
	}
}

/* A guest that listens, from now on, at @host. */
static int serve(const char *host)
{
	struct addr addr;
	int on = 1;

	assert_int_equal(addr_parse(host, &addr, NULL), 0);
	addr_set_port(&addr, GUEST_PORT);
	int fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	assert_int_equal(listen(fd, 10), 0);
	return fd;
}

/* Wherever the guest listens later on: by libslirp as far as that leads there, else by splice. */
static void goes_where_the_guest_listens(void **state)
{
	struct world world = open_world(false);
	struct forward *forward = &world.bed->forward;

	(void)state;
	inet_pton(AF_INET, "127.0.0.7", &world.bed->plan.guest);
	int server = serve("127.0.0.7"), client = client_of(&world);
	assert_true(driver_find_target(forward));
	assert_true(count_packets(&world, "127.0.0.7", WAIT_MS, true) > 0);
	close(client);
	close(server);
	server = serve("127.0.0.1");
	client = client_of(&world);
	assert_true(count_packets(&world, "127.0.0.1", WAIT_MS, true) > 0);
	assert_ptr_equal(forward->driver, &slirp_driver);
	close(client);
	close(server);

	server = serve("::1");
	client = client_of(&world);
	for (int i = 0; i < WAIT_MS && forward->driver == &slirp_driver; i++)
		assert_int_equal(loop_run_once(world.bed->loop, 1), 0);
	assert_ptr_equal(forward->driver, &splice_tcp_driver);
	assert_int_equal(send(client, "x", 1, 0), 1);
	int inside = -1;
	char byte;
	assert_int_equal(fcntl(server, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < WAIT_MS && inside < 0; i++) {
		assert_int_equal(loop_run_once(world.bed->loop, 1), 0);
		inside = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	}
	assert_true(inside >= 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(world.bed->loop, 1), 0);
	assert_int_equal(recv(inside, &byte, 1, 0), 1);
	close(inside);
	close(client);
	close(server);
	close_world(&world);
}

static struct {
	int count;
	char text[512];
} lost;

static void on_lost(void *owner, uint32_t id, const struct err *err)
{
	(void)owner;
	(void)id;
	lost.count++;
	snprintf(lost.text, sizeof(lost.text), "%s", err->text);
}

/* No descriptor is left for libslirp's listener, when the forward opens and later on. */
static void says_that_it_is_lost(void **state)
{
	struct rlimit before;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		struct world world = open_world(turn == 0);
		struct forward *forward = &world.bed->forward;
		struct err err;

		world.bed->context.on_lost = on_lost;
		getrlimit(RLIMIT_NOFILE, &before);
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, before.rlim_max});
		if (turn == 0) {
			driver_close(forward);
			assert_int_equal(driver_open(forward, &err), -EMFILE);
			assert_non_null(strstr(
				err.text, "libslirp cannot listen for 127.0.0.1:5300:53/tcp"));
		} else {
			driver_note_listening(forward);
			assert_int_equal(loop_run_once(world.bed->loop, 0), 0);
			assert_int_equal(lost.count, 1);
			assert_non_null(strstr(lost.text, "libslirp cannot listen for"));
		}
		setrlimit(RLIMIT_NOFILE, &before);
		if (turn == 0)
			assert_int_equal(driver_open(forward, &err), 0);
		close_world(&world);
	}
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
		cmocka_unit_test(goes_where_the_guest_listens),
		cmocka_unit_test(says_that_it_is_lost),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
