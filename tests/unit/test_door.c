/* SPDX-License-Identifier: Apache-2.0 */
/* test_door - who comes in at a tunnel's end: held, taken out and back, given up, reset */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/door.h"
#include "tunnel/inlet.h"

#define HOLD_MS 5000

struct bed {
	struct tunnel_bed under;
	struct door door;
	struct addr at;
	unsigned held, given_up;
};

static void on_held(struct door *door)
{
	((struct bed *)door->owner)->held++;
}

static void on_given_up(struct inbound *inbound)
{
	((struct bed *)inbound->door->owner)->given_up++;
}

static void bed_open(struct bed *bed, enum proto proto)
{
	struct err err;

	*bed = (struct bed){.at = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 0)};
	tunnel_bed_open(&bed->under, 1000);
	bed->door = (struct door){.context = &bed->under.context,
		.proto = proto,
		.hold_ms = HOLD_MS,
		.on_held = on_held,
		.on_given_up = on_given_up,
		.owner = bed};
	door_init(&bed->door);
	assert_int_equal(door_listen(&bed->door, &bed->at, &err), 0);
	assert_true(addr_port(&bed->at) > 0);
}

static void bed_close(struct bed *bed)
{
	assert_int_equal(bed->door.nout, 0);
	door_fini(&bed->door);
	tunnel_bed_close(&bed->under);
}

static bool is_held(void *owner)
{
	return ((struct bed *)owner)->door.nheld > 0;
}

/* Returns the descriptor of who comes in. */
static int come_in(struct bed *bed)
{
	int fd = tunnel_connect(&bed->at);

	tunnel_bed_until(&bed->under, is_held, bed);
	return fd;
}

static struct inbound *first(struct bed *bed)
{
	return list_first(&bed->door.held, struct inbound, at);
}

static void assert_reset(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
}

static void what_it_says_waits(void **state)
{
	struct bed bed;
	char text[8];

	(void)state;
	bed_open(&bed, PROTO_TCP);
	int fd = come_in(&bed);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	shutdown(fd, SHUT_WR);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.given_up, 0);
	struct inbound *inbound = first(&bed);
	assert_int_equal(inbound->peer.family, AF_INET);
	door_take_out(inbound);
	assert_true(bed.door.nheld == 0 && bed.door.nout == 1);
	door_put_back(inbound);
	assert_true(bed.door.nheld == 1 && bed.door.nout == 0 && bed.held == 2);
	int taken = door_release(inbound);
	assert_int_equal(recv(taken, text, sizeof(text), 0), 5);
	/* should we die now, nobody takes it for a whole answer */
	struct linger linger = {0};
	socklen_t len = sizeof(linger);
	assert_int_equal(getsockopt(taken, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
	assert_true(linger.l_onoff && linger.l_linger == 0);
	close(taken);
	assert_reset(fd);
	bed_close(&bed);
}

static void nobody_waits_for_ever(void **state)
{
	struct bed bed;

	(void)state;
	clock_stop();
	bed_open(&bed, PROTO_TCP);
	int fd = come_in(&bed);
	clock_ahead_ns += (HOLD_MS - 100) * NS_PER_MS;
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.door.nheld, 1);
	door_take_out(first(&bed)); /* that is no reason, either */
	clock_ahead_ns += 200 * NS_PER_MS;
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.given_up, 1);
	assert_int_equal(bed.door.counts.unserved, 1);
	assert_reset(fd);
	bed_close(&bed);
	clock_go_on();
}

static bool has_given_up(void *owner)
{
	return ((struct bed *)owner)->given_up > 0;
}

static void who_goes_is_given_up(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, PROTO_TCP);
	int fd = come_in(&bed);
	fd_reset(&fd);
	tunnel_bed_until(&bed.under, has_given_up, &bed);
	assert_int_equal(bed.door.nheld, 0);
	bed_close(&bed);
}

static void a_refusal_is_a_reset(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, PROTO_TCP);
	int refused = come_in(&bed);
	door_refuse(first(&bed));
	assert_reset(refused);
	assert_int_equal(bed.door.counts.refused, 1);
	int held = come_in(&bed);
	door_fini(&bed.door); /* and who is held at the end */
	assert_reset(held);
	bed_close(&bed);
}

/* Each sender is an inbound, which reads and writes its datagrams. */
static void senders_of_datagrams(void **state)
{
	struct bed bed;
	char text[8];
	int fds[2], taken[2];

	(void)state;
	bed_open(&bed, PROTO_UDP);
	for (int i = 0; i < 2; i++) {
		fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], &bed.at.any, addr_len(&bed.at)), 0);
		assert_int_equal(send(fds[i], i ? "two" : "one", 3, 0), 3);
		tunnel_bed_until(&bed.under, is_held, &bed);
		assert_int_equal(send(fds[i], "more", 4, 0), 4);
		tunnel_bed_settle(&bed.under);
		assert_int_equal(bed.door.nheld, 1);
		taken[i] = door_release(first(&bed));
		assert_int_equal(recv(taken[i], text, sizeof(text), 0), 3);
		assert_memory_equal(text, i ? "two" : "one", 3);
		assert_int_equal(recv(taken[i], text, sizeof(text), 0), 4);
		assert_int_equal(send(taken[i], "back", 4, 0), 4);
		tunnel_bed_settle(&bed.under);
		assert_int_equal(recv(fds[i], text, sizeof(text), 0), 4);
	}
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(taken[i]);
	}
	tunnel_bed_settle(&bed.under);
	bed_close(&bed);
}

/* A client of another address, which has said something. */
static int come_from(struct bed *bed, uint32_t host)
{
	struct addr own = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK + host)}, 0);
	const struct timeval patience = {.tv_sec = 10};
	int type = bed->door.proto == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_return_code(bind(fd, &own.any, addr_len(&own)), errno);
	assert_return_code(connect(fd, &bed->at.any, addr_len(&bed->at)), errno);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	tunnel_bed_settle(&bed->under);
	return fd;
}

/* Whatever it does: held, taken out or led on. */
static void an_address_has_half_of_what_others_leave(void **state)
{
	struct bed bed;
	int greedy[3], lane[2];

	(void)state;
	bed_open(&bed, PROTO_TCP);
	bed.under.budget.places = 4;
	greedy[0] = come_from(&bed, 1);
	tunnel_pair(lane);
	struct inbound *inbound = first(&bed);
	unsigned source = inbound->source;
	passage_begin(
		&bed.under.passage, PROTO_TCP, source, door_release(inbound), lane[0], NULL, 0);
	greedy[1] = come_from(&bed, 1);
	inbound = first(&bed);
	door_take_out(inbound);
	greedy[2] = come_from(&bed, 1);
	assert_reset(greedy[2]);
	assert_int_equal(bed.door.counts.refused, 1);
	int other = come_from(&bed, 2), local = come_from(&bed, 0), late = come_from(&bed, 3);
	assert_int_equal(bed.door.nheld, 2);
	assert_reset(late);
	close(greedy[0]); /* its place is the next one's */
	close(lane[1]);
	tunnel_bed_settle(&bed.under);
	late = come_from(&bed, 3);
	assert_int_equal(bed.door.nheld, 3);
	assert_int_equal(bed.door.counts.refused, 2);
	door_put_back(inbound);
	bed_close(&bed);
	close(greedy[1]);
	close(other);
	close(local);
	close(late);
}

/* A flow of datagrams counts twice: it has as many descriptors more. One of its own gives way. */
static void an_address_has_half_of_the_flows(void **state)
{
	struct bed bed;
	int fds[4];

	(void)state;
	bed_open(&bed, PROTO_UDP);
	bed.under.budget.places = 4;
	fds[0] = come_from(&bed, 1);
	fds[1] = come_from(&bed, 1);
	assert_int_equal(bed.given_up, 1);
	assert_int_equal(bed.door.nheld, 1);
	assert_int_equal(bed.door.counts.refused, 0);
	fds[2] = come_from(&bed, 2);
	fds[3] = come_from(&bed, 0);
	assert_int_equal(bed.door.nheld, 3);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	bed_close(&bed);
}

static void an_inlet_is_asked_for_a_place(void **state)
{
	struct bed bed;
	struct inlet inlet = {.owner = NULL};
	struct err err;

	(void)state;
	bed_open(&bed, PROTO_TCP);
	struct addr at = bed.at;
	assert_int_equal(inlet_open(&inlet, &bed.under.context, &at, PROTO_TCP, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "in use"));
	assert_int_equal(inlet_open(&inlet, &bed.under.context, &at, PROTO_TCP, NULL), -EADDRINUSE);
	inlet_close(&inlet);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_says_waits),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(who_goes_is_given_up),
		cmocka_unit_test(a_refusal_is_a_reset),
		cmocka_unit_test(senders_of_datagrams),
		cmocka_unit_test(an_address_has_half_of_what_others_leave),
		cmocka_unit_test(an_address_has_half_of_the_flows),
		cmocka_unit_test(an_inlet_is_asked_for_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
