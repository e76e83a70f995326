/* SPDX-License-Identifier: Apache-2.0 */
/* test_mouth - a tunnel's server: who comes in is led on, refused, held, or given up, and counted
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/lane.h"
#include "tunnel/mouth.h"

struct bed {
	struct tunnel_bed under;
	struct permits listen, reach;
	struct mouth_start start;
	struct mouth *mouth;
};

/* A client's end of a lane. */
struct client_lane {
	int fd; /* -1: closed */
	struct hail_reader reader;
};

static void bed_prepare(struct bed *bed)
{
	clock_stop();
	*bed = (struct bed){.mouth = NULL};
	tunnel_bed_open(&bed->under, 1000);
	bed->start = (struct mouth_start){.context = &bed->under.context,
		.passage = &bed->under.passage,
		.proxies = {addr_loopback4(0)},
		.nproxies = 1,
		.dead_ms = MOUTH_DEAD_MS,
		.listen = &bed->listen,
		.reach = &bed->reach};
}

static void bed_start(struct bed *bed)
{
	struct err err;

	bed->mouth = mouth_new(&bed->start, &err);
	assert_non_null(bed->mouth);
	assert_true(addr_port(&bed->start.proxies[0]) > 0);
}

static void bed_open(struct bed *bed)
{
	bed_prepare(bed);
	bed_start(bed);
}

static void bed_close(struct bed *bed)
{
	mouth_free(bed->mouth);
	tunnel_bed_close(&bed->under);
	clock_go_on();
}

static struct mouth_counts counts(struct bed *bed)
{
	tunnel_bed_settle(&bed->under);
	return mouth_counts(bed->mouth);
}

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	tunnel_bed_settle(&bed->under);
}

/* A lane of client @number; it waits. */
static struct client_lane add_lane(struct bed *bed, int number, enum hail_kind kind)
{
	const unsigned char id[HAIL_ID_BYTES] = {'c', (unsigned char)number};
	struct client_lane lane = {.fd = -1};
	int fds[2];

	tunnel_pair(fds);
	mouth_add_lane(bed->mouth, fds[0]);
	lane.fd = fds[1];
	assert_int_equal(hail_send_hello(lane.fd, id, kind), 0);
	struct hail hail = tunnel_hail(&bed->under, &lane.reader, lane.fd);
	assert_int_equal(hail.type, HAIL_WELCOME);
	assert_int_equal(hail_number(&hail), MOUTH_DEAD_MS / 4);
	return lane;
}

static void say(struct bed *bed, const struct client_lane *lane, enum hail_type type)
{
	assert_int_equal(hail_send(lane->fd, type, NULL, 0), 0);
	tunnel_bed_settle(&bed->under);
}

static void leave(struct bed *bed, struct client_lane *lane)
{
	fd_close(&lane->fd);
	tunnel_bed_settle(&bed->under);
}

/* Does @lane hear something just now? Signs of life do not count. */
static bool hears(struct client_lane *lane, struct hail *hail)
{
	int result;

	do
		result = hail_read(&lane->reader, lane->fd, hail);
	while (result == 1 && hail->type == HAIL_PING);
	return result == 1;
}

/* It is asked to be used, for @inbound. */
static void assert_asked(struct bed *bed, struct client_lane *lane, int inbound, const char *name)
{
	struct hail hail = tunnel_hail(&bed->under, &lane->reader, lane->fd);
	char label[ORDER_NAME_MAX + 1], peer[ADDR_TEXT_BYTES], dialled[ADDR_TEXT_BYTES];
	char text[ADDR_TEXT_BYTES];
	struct addr own, other;
	socklen_t len = sizeof(int);
	int type;

	assert_int_equal(hail.type, HAIL_OPEN);
	assert_true(order_decode_open(&hail, label, peer, dialled));
	assert_string_equal(label, name);
	assert_int_equal(addr_get_own(inbound, &own), 0);
	assert_string_equal(peer, addr_format(&own, text, sizeof(text)));
	assert_int_equal(addr_get_peer(inbound, &other), 0);
	assert_return_code(getsockopt(inbound, SOL_SOCKET, SO_TYPE, &type, &len), errno);
	/* of datagrams nobody asks */
	assert_string_equal(
		dialled, type == SOCK_STREAM ? addr_format(&other, text, sizeof(text)) : "");
}

static bool is_left(struct bed *bed, struct client_lane *lane)
{
	struct hail hail;
	int result;

	tunnel_bed_settle(&bed->under);
	while ((result = hail_read(&lane->reader, lane->fd, &hail)) == 1)
		;
	return result < 0;
}

static int come_in(struct bed *bed)
{
	int fd = tunnel_connect(&bed->start.proxies[0]);

	tunnel_bed_settle(&bed->under);
	return fd;
}

static void assert_carries(struct bed *bed, int from, int to, const char *text)
{
	const size_t len = strlen(text);
	char got[16];

	assert_int_equal(send(from, text, len, MSG_NOSIGNAL), len);
	tunnel_bed_settle(&bed->under);
	assert_int_equal(recv(to, got, sizeof(got), MSG_DONTWAIT), len);
	assert_memory_equal(got, text, len);
}

static bool is_reset(int fd)
{
	return recv(fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

static void assert_reset(struct bed *bed, int fd)
{
	tunnel_bed_settle(&bed->under);
	assert_true(is_reset(fd));
	close(fd);
}

static void assert_held(struct bed *bed, int fd)
{
	tunnel_bed_settle(&bed->under);
	assert_int_equal(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- one inbound ----------------------------------------------------------------------------- */

static void it_is_led_on(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane lane = add_lane(&bed, 1, HAIL_ANY);
	assert_int_equal(counts(&bed).waiting, 1);
	int fd = come_in(&bed);
	assert_int_equal(send(fd, "early", 5, 0), 5);
	assert_asked(&bed, &lane, fd, "");
	assert_int_equal(counts(&bed).waiting, 0);
	say(&bed, &lane, HAIL_TAKEN);
	assert_int_equal(counts(&bed).served, 0);
	say(&bed, &lane, HAIL_OPENED);
	char text[8];
	assert_int_equal(recv(lane.fd, text, sizeof(text), MSG_DONTWAIT), 5);
	assert_carries(&bed, lane.fd, fd, "back");
	struct mouth_counts now = counts(&bed);
	assert_int_equal(now.served, 1);
	assert_int_equal(now.held + now.waiting + now.refused + now.unserved + now.lost_lanes, 0);
	/* the passage has it now */
	mouth_free(bed.mouth);
	bed.mouth = NULL;
	assert_carries(&bed, lane.fd, fd, "on");
	close(fd);
	tunnel_ends(&bed.under, lane.fd);
	leave(&bed, &lane);
	bed_close(&bed);
}

static void it_is_refused(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane lane = add_lane(&bed, 1, HAIL_ANY);
	for (unsigned i = 1; i <= 3; i++) { /* the lane waits again */
		int fd = come_in(&bed);
		assert_asked(&bed, &lane, fd, "");
		say(&bed, &lane, HAIL_TAKEN);
		say(&bed, &lane, HAIL_REFUSED);
		assert_reset(&bed, fd);
		struct mouth_counts now = counts(&bed);
		assert_int_equal(now.refused, i);
		assert_int_equal(now.waiting, 1);
		assert_int_equal(now.served + now.unserved + now.lost_lanes, 0);
	}
	leave(&bed, &lane);
	bed_close(&bed);
}

static void it_is_held(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fds[2] = {come_in(&bed), come_in(&bed)};
	assert_int_equal(counts(&bed).held, 2);
	pass(&bed, MOUTH_HOLD_MS - 1000);
	assert_held(&bed, fds[0]);
	struct client_lane lane = add_lane(&bed, 1, HAIL_ANY);
	struct hail hail = tunnel_hail(&bed.under, &lane.reader, lane.fd);
	assert_int_equal(hail.type, HAIL_MORE);
	assert_int_equal(hail_number(&hail), 1);
	assert_asked(&bed, &lane, fds[0], "");
	say(&bed, &lane, HAIL_TAKEN);
	say(&bed, &lane, HAIL_OPENED);
	pass(&bed, 1001);
	assert_reset(&bed, fds[1]);
	struct mouth_counts now = counts(&bed);
	assert_true(now.unserved == 1 && now.served == 1 && now.held == 0);
	assert_carries(&bed, fds[0], lane.fd, "bytes");
	close(fds[0]);
	leave(&bed, &lane);
	bed_close(&bed);
}

/* It takes too long, or goes, while a client connects for it: the client is told. */
static void it_goes_while_it_is_connected_for(void **state)
{
	struct bed bed;

	(void)state;
	for (int is_late = 0; is_late < 2; is_late++) {
		bed_open(&bed);
		struct client_lane lane = add_lane(&bed, 1, HAIL_ANY);
		int fd = come_in(&bed);
		assert_asked(&bed, &lane, fd, "");
		say(&bed, &lane, HAIL_TAKEN);
		if (is_late) {
			pass(&bed, MOUTH_HOLD_MS + 1);
			assert_reset(&bed, fd);
		} else {
			fd_reset(&fd);
		}
		assert_true(is_left(&bed, &lane));
		struct mouth_counts now = counts(&bed);
		assert_int_equal(now.unserved, is_late);
		assert_int_equal(now.lost_lanes, 1);
		assert_int_equal(now.held + now.waiting, 0);
		leave(&bed, &lane);
		bed_close(&bed);
	}
}

static void assert_asked_for_more(struct bed *bed, struct client_lane *lane, uint32_t number)
{
	struct hail hail = tunnel_hail(&bed->under, &lane->reader, lane->fd);

	assert_int_equal(hail.type, HAIL_MORE);
	assert_int_equal(hail_number(&hail), number);
}

static void as_many_more_as_are_held(void **state)
{
	struct client_lane lanes[6];
	struct bed bed;
	int fds[8];

	(void)state;
	bed_open(&bed);
	for (size_t i = 0; i < 8; i++)
		fds[i] = come_in(&bed);
	for (size_t i = 0; i < 2; i++) {
		lanes[i] = add_lane(&bed, 1, HAIL_ANY);
		if (i == 0) /* once: the others are on their way */
			assert_asked_for_more(&bed, &lanes[i], 7);
		assert_asked(&bed, &lanes[i], fds[i], "");
	}
	/* of another client it is not known */
	lanes[2] = add_lane(&bed, 2, HAIL_ANY);
	assert_asked_for_more(&bed, &lanes[2], 5);
	assert_asked(&bed, &lanes[2], fds[2], "");
	/* when nobody is held any more, what was asked for does not matter */
	for (size_t i = 3; i < 8; i++)
		fd_reset(&fds[i]);
	assert_int_equal(counts(&bed).held, 0);
	lanes[3] = add_lane(&bed, 1, HAIL_ANY);
	for (size_t i = 3; i < 6; i++)
		fds[i] = come_in(&bed);
	assert_asked(&bed, &lanes[3], fds[3], "");
	lanes[4] = add_lane(&bed, 1, HAIL_ANY);
	assert_asked_for_more(&bed, &lanes[4], 1);
	assert_asked(&bed, &lanes[4], fds[4], "");
	lanes[5] = add_lane(&bed, 1, HAIL_ANY);
	assert_asked(&bed, &lanes[5], fds[5], "");
	for (size_t i = 0; i < 6; i++) { /* who is not joined is held again */
		leave(&bed, &lanes[i]);
		assert_int_equal(counts(&bed).held, i + 1);
	}
	for (size_t i = 0; i < 6; i++)
		close(fds[i]);
	bed_close(&bed);
}

/* Lanes in vain would leave no room for those who come in. */
static void and_not_more_than_there_is_room_for(void **state)
{
	struct bed bed;
	int fds[5];

	(void)state;
	bed_open(&bed);
	for (size_t i = 0; i < 5; i++)
		fds[i] = come_in(&bed);
	struct budget *budget = &bed.under.budget;
	budget->max = budget->used + 1 + budget_reserve(budget) + 2 * LANES_SHARE;
	struct client_lane lane = add_lane(&bed, 1, HAIL_ANY);
	assert_asked_for_more(&bed, &lane, 2);
	leave(&bed, &lane);
	for (size_t i = 0; i < 5; i++)
		close(fds[i]);
	bed_close(&bed);
}

/* --- clients that die ------------------------------------------------------------------------ */

static void who_dies_before_loses_nobody(void **state)
{
	struct bed bed;

	(void)state;
	for (int moment = 0; moment < 3; moment++) {
		bed_open(&bed);
		struct client_lane one = add_lane(&bed, 1, HAIL_ANY), two;
		int fd = come_in(&bed);
		assert_asked(&bed, &one, fd, "");
		if (moment > 0)
			say(&bed, &one, HAIL_TAKEN);
		if (moment > 1) /* what it says in the end is no message */
			assert_int_equal(send(one.fd, "X\0\xff\xff", 4, 0), 4);
		leave(&bed, &one);
		assert_held(&bed, fd);
		two = add_lane(&bed, 2, HAIL_ANY);
		assert_asked(&bed, &two, fd, "");
		say(&bed, &two, HAIL_OPENED);
		assert_carries(&bed, fd, two.fd, "bytes");
		struct mouth_counts now = counts(&bed);
		assert_true(now.lost_lanes == 1 && now.served == 1 && now.refused == 0);
		close(fd);
		leave(&bed, &two);
		bed_close(&bed);
	}
}

/* With all its lanes: those that wait, those that are for messages, and those that connect. */
static void who_does_not_answer_is_dead(void **state)
{
	struct client_lane dead[4], alive[2];
	struct bed bed;

	(void)state;
	bed_open(&bed);
	dead[0] = add_lane(&bed, 1, HAIL_ANY);
	int fds[2] = {come_in(&bed), -1};
	assert_asked(&bed, &dead[0], fds[0], "");
	say(&bed, &dead[0], HAIL_TAKEN); /* and that was the last of it */
	dead[1] = add_lane(&bed, 1, HAIL_ANY);
	dead[2] = add_lane(&bed, 1, HAIL_CONTROL);
	dead[3] = add_lane(&bed, 1, HAIL_NAMED);
	fds[1] = come_in(&bed);
	assert_asked(&bed, &dead[1], fds[1], "");
	alive[0] = add_lane(&bed, 2, HAIL_ANY);
	alive[1] = add_lane(&bed, 2, HAIL_ANY);
	pass(&bed, LANE_TAKEN_MS + 1);
	for (size_t i = 0; i < 4; i++)
		assert_true(is_left(&bed, &dead[i]));
	for (size_t i = 0; i < 2; i++) {
		struct hail hail;
		while (hears(&alive[i], &hail) && hail.type == HAIL_MORE)
			;
		assert_int_equal(hail.type, HAIL_OPEN);
		say(&bed, &alive[i], HAIL_OPENED);
	}
	struct mouth_counts now = counts(&bed);
	assert_int_equal(now.served, 2);
	assert_int_equal(now.lost_lanes, 4);
	assert_int_equal(now.waiting + now.held + now.unserved, 0);
	for (size_t i = 0; i < 4; i++)
		leave(&bed, &dead[i]);
	for (size_t i = 0; i < 2; i++) {
		leave(&bed, &alive[i]);
		close(fds[i]);
	}
	bed_close(&bed);
}

/* Not its client, which has been heard at another one since. */
static void a_lane_that_does_not_answer(void **state)
{
	struct client_lane lanes[3];
	struct bed bed;
	int fds[2];

	(void)state;
	bed_open(&bed);
	for (size_t i = 0; i < 2; i++) {
		lanes[i] = add_lane(&bed, 1, HAIL_ANY);
		fds[i] = come_in(&bed);
		assert_asked(&bed, &lanes[i], fds[i], "");
	}
	lanes[2] = add_lane(&bed, 1, HAIL_CONTROL);
	pass(&bed, LANE_TAKEN_MS / 2);
	say(&bed, &lanes[1], HAIL_TAKEN);
	pass(&bed, LANE_TAKEN_MS / 2 + 1);
	assert_true(is_left(&bed, &lanes[0]));
	assert_false(is_left(&bed, &lanes[2]));
	say(&bed, &lanes[1], HAIL_OPENED);
	assert_carries(&bed, fds[1], lanes[1].fd, "led");
	/* who came in over the other one waits for the next */
	leave(&bed, &lanes[0]);
	lanes[0] = add_lane(&bed, 1, HAIL_ANY);
	assert_asked(&bed, &lanes[0], fds[0], "");
	for (size_t i = 0; i < 3; i++)
		leave(&bed, &lanes[i]);
	close(fds[0]);
	close(fds[1]);
	bed_close(&bed);
}

static void signs_of_life(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane one = add_lane(&bed, 1, HAIL_ANY), two = add_lane(&bed, 2, HAIL_ANY);
	for (int i = 0; i < 8; i++) { /* one answers */
		pass(&bed, MOUTH_DEAD_MS / 4 + 1);
		assert_int_equal(tunnel_hail(&bed.under, &one.reader, one.fd).type, HAIL_PING);
		say(&bed, &one, HAIL_PONG);
	}
	assert_true(is_left(&bed, &two));
	assert_int_equal(counts(&bed).waiting, 1);
	leave(&bed, &one);
	leave(&bed, &two);
	bed_close(&bed);
}

/* --- by name --------------------------------------------------------------------------------- */

/* Client 1's orders go over @lane. Returns where is listened. */
static struct addr order(struct bed *bed, struct client_lane *lane, const char *text)
{
	unsigned char bytes[HAIL_TEXT_MAX];
	char name[ORDER_NAME_MAX + 1], at[HAIL_TEXT_MAX + 1];
	const struct order wanted = tunnel_order(text);
	struct addr addr;
	struct err err;

	assert_int_equal(hail_send(lane->fd, HAIL_ORDER, bytes, order_encode(&wanted, bytes)), 0);
	struct hail hail;
	do
		hail = tunnel_hail(&bed->under, &lane->reader, lane->fd);
	while (hail.type == HAIL_PING);
	assert_int_equal(hail.type, HAIL_GRANTED);
	assert_true(order_read_label(&hail, name, at));
	assert_int_equal(endpoint_parse_own(at, &addr, &err), 0);
	return addr;
}

static size_t count_forwards(struct bed *bed)
{
	tunnel_bed_settle(&bed->under);
	json_t *all = mouth_tell_forwards(bed->mouth);
	size_t count = json_array_size(all);
	json_decref(all);
	return count;
}

static void what_is_asked_for_by_name(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane control = add_lane(&bed, 1, HAIL_CONTROL);
	struct client_lane named = add_lane(&bed, 1, HAIL_NAMED);
	struct addr at = order(&bed, &control, "web=127.0.0.1:0:here:80");
	json_t *all = mouth_tell_forwards(bed.mouth);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(all, 0), "name")), "web");
	json_decref(all);
	int fds[2] = {-1, come_in(&bed)};
	assert_held(&bed, fds[1]); /* the named one is not for those */
	fds[0] = tunnel_connect(&at);
	assert_asked(&bed, &named, fds[0], "web");
	struct client_lane other = add_lane(&bed, 2, HAIL_ANY);
	assert_asked(&bed, &other, fds[1], "");
	say(&bed, &named, HAIL_OPENED);
	assert_carries(&bed, fds[0], named.fd, "bytes");
	close(fds[0]);
	/* held at a name counts as well */
	fds[0] = tunnel_connect(&at);
	assert_int_equal(counts(&bed).held, 1);
	pass(&bed, MOUTH_HOLD_MS + 1);
	assert_reset(&bed, fds[0]);
	assert_reset(&bed, fds[1]);
	assert_int_equal(counts(&bed).unserved, 2);
	leave(&bed, &named);
	leave(&bed, &other);
	leave(&bed, &control);
	bed_close(&bed);
}

/* One visitor's connections leave no room for anything else: another one's datagrams get some. */
static void who_has_most_leaves_room_for_datagrams(void **state)
{
	enum { MANY = 12 };
	struct addr most = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK + 1)}, 0);
	struct client_lane lanes[MANY];
	struct bed bed;
	int fds[MANY];

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < MANY; i++) {
		lanes[i] = add_lane(&bed, 1, HAIL_ANY);
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_return_code(bind(fds[i], &most.any, addr_len(&most)), errno);
		const struct addr *to = &bed.start.proxies[0];
		assert_return_code(connect(fds[i], &to->any, addr_len(to)), errno);
		assert_asked(&bed, &lanes[i], fds[i], "");
		say(&bed, &lanes[i], HAIL_OPENED);
	}
	assert_int_equal(passage_count(&bed.under.passage), MANY);
	struct client_lane control = add_lane(&bed, 1, HAIL_CONTROL);
	struct client_lane named = add_lane(&bed, 1, HAIL_NAMED);
	const struct addr at = order(&bed, &control, "dns=127.0.0.1:0:here:53/udp");
	struct budget *budget = &bed.under.budget;
	budget->max = budget->used + budget_reserve(budget) + 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(fd, &at.any, addr_len(&at)), errno);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_asked(&bed, &named, fd, "dns");
	assert_true(is_reset(fds[0]));
	assert_in_range(passage_count(&bed.under.passage), MANY / 2, MANY - 1);
	close(fd);
	leave(&bed, &named);
	leave(&bed, &control);
	for (int i = 0; i < MANY; i++) {
		close(fds[i]);
		leave(&bed, &lanes[i]);
	}
	bed_close(&bed);
}

/* How long what was ordered lasts: while its client is there, and then as long as one is held. */
static void how_long_an_order_lasts(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane control = add_lane(&bed, 1, HAIL_CONTROL);
	order(&bed, &control, "web=127.0.0.1:0:here:80");
	leave(&bed, &control);
	pass(&bed, MOUTH_HOLD_MS - 1000);
	assert_int_equal(count_forwards(&bed), 1);
	/* it comes again, and asks for it anew */
	control = add_lane(&bed, 1, HAIL_CONTROL);
	order(&bed, &control, "web=127.0.0.1:0:here:80");
	pass(&bed, 2000);
	assert_int_equal(count_forwards(&bed), 1);
	/* a new connection for messages is in the place of the old one, and asks anew, too */
	struct client_lane next = add_lane(&bed, 1, HAIL_CONTROL);
	assert_true(is_left(&bed, &control));
	leave(&bed, &control);
	order(&bed, &next, "dns=127.0.0.1:0:here:53");
	assert_int_equal(count_forwards(&bed), 2);
	for (int i = 0; i < 4; i++) {
		pass(&bed, MOUTH_HOLD_MS / 3);
		say(&bed, &next, HAIL_PONG);
	}
	assert_int_equal(count_forwards(&bed), 1);
	say(&bed, &next, HAIL_LEAVE); /* nobody need be held */
	pass(&bed, 1);
	assert_int_equal(count_forwards(&bed), 0);
	/* what goes with a connection for messages goes whatever else its client has */
	struct client_lane any = add_lane(&bed, 1, HAIL_ANY);
	order(&bed, &next, "dns=127.0.0.1:0:here:53");
	leave(&bed, &next);
	pass(&bed, MOUTH_HOLD_MS - 100);
	assert_int_equal(count_forwards(&bed), 1);
	pass(&bed, 101);
	assert_int_equal(count_forwards(&bed), 0);
	assert_int_equal(counts(&bed).waiting, 1);
	leave(&bed, &any);
	bed_close(&bed);
}

/* One who is being connected for goes with what it came in by. */
static void a_name_that_ends(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	struct client_lane control = add_lane(&bed, 1, HAIL_CONTROL);
	struct client_lane named = add_lane(&bed, 1, HAIL_NAMED);
	struct addr at = order(&bed, &control, "web=127.0.0.1:0:here:80");
	int fd = tunnel_connect(&at);
	assert_asked(&bed, &named, fd, "web");
	say(&bed, &named, HAIL_TAKEN);
	say(&bed, &control, HAIL_LEAVE); /* and what it connects goes on */
	pass(&bed, 100);
	assert_held(&bed, fd);
	say(&bed, &named, HAIL_OPENED);
	assert_carries(&bed, fd, named.fd, "bytes");
	pass(&bed, 100);
	assert_int_equal(count_forwards(&bed), 0);
	close(fd);
	leave(&bed, &named);
	leave(&bed, &control);
	bed_close(&bed);
}

/* Its place is another one's before the target was there. */
static void a_name_whose_place_is_taken(void **state)
{
	struct addr at = addr_loopback4(0);
	char text[64];
	struct bed bed;

	(void)state;
	int free_one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(free_one, &at.any, addr_len(&at)), errno);
	assert_int_equal(addr_get_own(free_one, &at), 0);
	close(free_one);
	bed_open(&bed);
	struct client_lane control = add_lane(&bed, 1, HAIL_CONTROL);
	struct client_lane named = add_lane(&bed, 1, HAIL_NAMED);
	snprintf(text, sizeof(text), "web=127.0.0.1:%d:here:80", addr_port(&at));
	order(&bed, &control, text);
	int fd = tunnel_connect(&at);
	assert_asked(&bed, &named, fd, "web");
	say(&bed, &named, HAIL_TAKEN);
	say(&bed, &control, HAIL_LEAVE);
	struct client_lane next = add_lane(&bed, 2, HAIL_CONTROL);
	memcpy(text, "two", 3);
	order(&bed, &next, text);
	assert_reset(&bed, fd);
	assert_true(is_left(&bed, &named));
	assert_int_equal(counts(&bed).held, 0);
	assert_int_equal(count_forwards(&bed), 1);
	leave(&bed, &named);
	leave(&bed, &control);
	leave(&bed, &next);
	bed_close(&bed);
}

static void what_clients_reach(void **state)
{
	struct addr at = addr_loopback4(0);
	unsigned char bytes[HAIL_TEXT_MAX];
	struct order wanted;
	char text[64], place[ADDR_TEXT_BYTES];
	struct err err;
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	assert_int_equal(permit_add(&bed.reach, "*:*", &err), 0);
	bed_start(&bed);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(listener, &at.any, addr_len(&at)), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_int_equal(addr_get_own(listener, &at), 0);
	snprintf(text, sizeof(text), "db=127.0.0.1:0:%s", addr_format(&at, place, sizeof(place)));
	assert_int_equal(order_parse(text, true, &wanted, &err), 0);
	for (int is_there = 1; is_there >= 0; is_there--) {
		struct client_lane lane = add_lane(&bed, 1, HAIL_REVERSE);
		assert_int_equal(counts(&bed).waiting, 0); /* for nobody who comes in */
		assert_int_equal(
			hail_send(lane.fd, HAIL_REACH, bytes, order_encode(&wanted, bytes)), 0);
		assert_int_equal(tunnel_hail(&bed.under, &lane.reader, lane.fd).type,
			is_there ? HAIL_OPENED : HAIL_REFUSED);
		if (is_there) {
			int fd = accept(listener, NULL, NULL);
			assert_carries(&bed, lane.fd, fd, "bytes");
			close(fd);
			close(listener);
		}
		leave(&bed, &lane);
	}
	struct mouth_counts now = counts(&bed);
	assert_true(now.reached == 1 && now.unreached == 1 && now.lost_lanes == 0);
	bed_close(&bed);
}

static void what_is_not_for_that_lane_ends_it(void **state)
{
	static const struct {
		enum hail_kind kind;
		enum hail_type type;
	} bad[] = {{HAIL_ANY, HAIL_ORDER}, {HAIL_ANY, HAIL_REACH}, {HAIL_NAMED, HAIL_LEAVE},
		{HAIL_REVERSE, HAIL_ORDER}, {HAIL_REVERSE, HAIL_LEAVE}, {HAIL_CONTROL, HAIL_REACH},
		{HAIL_CONTROL, HAIL_OPENED}, {HAIL_ANY, HAIL_REFUSED}, {HAIL_CONTROL, HAIL_MORE}};
	struct bed bed;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bed_prepare(&bed);
		assert_int_equal(permit_add(&bed.reach, "*:*", &err), 0);
		assert_int_equal(permit_add(&bed.listen, "*:*", &err), 0);
		bed_start(&bed);
		struct client_lane lane = add_lane(&bed, 1, bad[i].kind);
		const char text[] = "ftweb\000127.0.0.1:0";
		assert_int_equal(hail_send(lane.fd, bad[i].type, text, sizeof(text) - 1), 0);
		assert_true(is_left(&bed, &lane));
		assert_int_equal(counts(&bed).lost_lanes, 1);
		assert_int_equal(count_forwards(&bed), 0);
		leave(&bed, &lane);
		bed_close(&bed);
	}
}

/* --- where clients come to ------------------------------------------------------------------- */

static void lennuts_are_used_as_they_are(void **state)
{
	char text[32];
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	bed.start.clients = addr_loopback4(0);
	bed_start(&bed);
	assert_true(addr_port(&bed.start.clients) > 0);
	int lane = tunnel_connect(&bed.start.clients);
	assert_int_equal(send(lane, "welcome", 7, 0), 7); /* its target speaks first */
	tunnel_bed_settle(&bed.under);
	struct mouth_counts now = counts(&bed);
	assert_true(now.waiting == 1 && now.lennut_waiting == 1);
	int fd = come_in(&bed);
	assert_int_equal(recv(lane, text, sizeof(text), MSG_DONTWAIT), HAIL_BYTES);
	assert_memory_equal(text, HAIL_LENNUT, HAIL_BYTES);
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 7);
	assert_carries(&bed, fd, lane, "bytes");
	now = counts(&bed);
	assert_true(now.served == 1 && now.lennut_waiting == 0);
	close(fd);
	close(lane);
	bed_close(&bed);
}

static void who_has_no_key(void **state)
{
	static const struct keyfile key = {"one key that is secret", 22};
	const unsigned char id[HAIL_ID_BYTES] = "client1";
	struct bed bed;

	(void)state;
	bed_prepare(&bed);
	bed.start.clients = addr_loopback4(0);
	bed.start.key = &key;
	bed_start(&bed);
	int fd = come_in(&bed);
	int lane = tunnel_connect(&bed.start.clients);
	assert_int_equal(hail_send_hello(lane, id, HAIL_ANY), 0);
	struct mouth_counts now = counts(&bed);
	assert_true(now.held == 1 && now.waiting == 0 && now.lost_lanes == 0);
	tunnel_ends(&bed.under, lane);
	assert_held(&bed, fd);
	close(lane);
	/* what came over a link has proven it there */
	struct client_lane proven = add_lane(&bed, 1, HAIL_ANY);
	assert_asked(&bed, &proven, fd, "");
	leave(&bed, &proven);
	close(fd);
	bed_close(&bed);
}

static void where_it_cannot_listen(void **state)
{
	struct addr at = addr_loopback4(0);
	struct bed bed;

	(void)state;
	int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(taken, &at.any, addr_len(&at)), errno);
	assert_return_code(listen(taken, 1), errno);
	assert_int_equal(addr_get_own(taken, &at), 0);
	for (int is_clients = 0; is_clients < 2; is_clients++) {
		struct err err = {0};

		bed_prepare(&bed);
		if (is_clients) {
			bed.start.clients = at;
		} else {
			bed.start.proxies[1] = at;
			bed.start.nproxies = 2;
		}
		assert_null(mouth_new(&bed.start, &err));
		assert_int_equal(err.code, EADDRINUSE);
		assert_true(strlen(err.text) > 0);
		bed_close(&bed);
	}
	close(taken);
}

/* --- its end, and all at once ---------------------------------------------------------------- */

/* Whoever is not joined yet is reset, at each moment of the way. */
static void it_ends_at_any_moment(void **state)
{
	struct bed bed;

	(void)state;
	for (int moment = 0; moment < 5; moment++) {
		bed_open(&bed);
		int fd = come_in(&bed);
		struct client_lane lane = {.fd = -1};
		if (moment > 0) {
			lane = add_lane(&bed, 1, HAIL_ANY);
			assert_asked(&bed, &lane, fd, "");
		}
		if (moment > 1)
			say(&bed, &lane, HAIL_TAKEN);
		if (moment == 3) /* and the mouth has not looked yet */
			assert_int_equal(hail_send(lane.fd, HAIL_OPENED, NULL, 0), 0);
		if (moment == 4)
			leave(&bed, &lane);
		mouth_free(bed.mouth);
		bed.mouth = NULL;
		assert_reset(&bed, fd);
		if (lane.fd >= 0)
			assert_true(is_left(&bed, &lane));
		leave(&bed, &lane);
		bed_close(&bed);
	}
}

enum { STEPS = 3000, LANES = 12, CLIENTS = 3, INBOUNDS = 16 };

/* What may be known from outside: each inbound is joined once, or reset, or waits. */
struct walk {
	struct bed bed;
	struct client_lane lanes[LANES];
	int lane_of[LANES]; /* the inbound that it is asked for; -1: none */
	int inbounds[INBOUNDS];
	bool is_joined[INBOUNDS];
	uint64_t came, left, served, refused;
};

/* Whose is it? Ports of the inbounds say so. */
static int find_inbound(const struct walk *walk, const struct hail *hail)
{
	for (int i = 0; i < INBOUNDS; i++) {
		char text[ADDR_TEXT_BYTES], name[ORDER_NAME_MAX + 1];
		char peer[ADDR_TEXT_BYTES], dialled[ADDR_TEXT_BYTES];
		struct addr own;

		if (walk->inbounds[i] < 0 || addr_get_own(walk->inbounds[i], &own) < 0)
			continue;
		addr_format(&own, text, sizeof(text));
		assert_true(order_decode_open(hail, name, peer, dialled));
		if (strcmp(text, peer) == 0)
			return i;
	}
	return -1;
}

static void answer(struct walk *walk, int at, int how)
{
	struct client_lane *lane = &walk->lanes[at];
	const int inbound = walk->lane_of[at];

	walk->lane_of[at] = -1;
	if (how == 0) {
		fd_close(&lane->fd); /* it is held again */
		return;
	}
	if (how % 2)
		say(&walk->bed, lane, HAIL_TAKEN);
	if (how < 3) {
		say(&walk->bed, lane, HAIL_REFUSED);
		walk->refused++;
		assert_true(is_reset(walk->inbounds[inbound]));
		fd_close(&walk->inbounds[inbound]);
		return;
	}
	say(&walk->bed, lane, HAIL_OPENED);
	walk->served++;
	assert_carries(&walk->bed, lane->fd, walk->inbounds[inbound], "bytes");
	fd_close(&lane->fd);
	fd_close(&walk->inbounds[inbound]);
}

/* What lanes are told: never one inbound for two of them. */
static void hear(struct walk *walk)
{
	struct hail hail;

	tunnel_bed_settle(&walk->bed.under);
	for (int i = 0; i < LANES; i++) {
		while (walk->lanes[i].fd >= 0 && hears(&walk->lanes[i], &hail)) {
			if (hail.type == HAIL_MORE)
				continue;
			assert_int_equal(hail.type, HAIL_OPEN);
			assert_int_equal(walk->lane_of[i], -1);
			walk->lane_of[i] = find_inbound(walk, &hail);
			assert_true(walk->lane_of[i] >= 0);
			for (int j = 0; j < LANES; j++)
				assert_true(j == i || walk->lane_of[j] != walk->lane_of[i]);
		}
	}
}

static void step(struct walk *walk)
{
	const int lane = rand() % LANES, inbound = rand() % INBOUNDS;
	const bool is_asked = walk->lane_of[lane] >= 0;

	if (rand() % 2) {
		if (walk->lanes[lane].fd < 0)
			walk->lanes[lane] = add_lane(&walk->bed, rand() % CLIENTS, HAIL_ANY);
		else if (is_asked)
			answer(walk, lane, rand() % 6);
		else if (rand() % 8 == 0)
			fd_close(&walk->lanes[lane].fd);
	} else if (walk->inbounds[inbound] < 0) {
		walk->inbounds[inbound] = tunnel_connect(&walk->bed.start.proxies[0]);
		walk->came++;
	} else if (rand() % 4 == 0) {
		fd_reset(&walk->inbounds[inbound]);
		walk->left++;
		for (int i = 0; i < LANES; i++)
			if (walk->lane_of[i] == inbound) {
				tunnel_bed_settle(&walk->bed.under);
				assert_true(is_left(&walk->bed, &walk->lanes[i]));
				fd_close(&walk->lanes[i].fd);
				walk->lane_of[i] = -1;
			}
	}
}

static void a_random_walk(void **state)
{
	struct walk walk = {.came = 0};

	(void)state;
	srand(4711);
	bed_open(&walk.bed);
	for (int i = 0; i < LANES; i++)
		walk.lanes[i].fd = walk.lane_of[i] = -1;
	for (int i = 0; i < INBOUNDS; i++)
		walk.inbounds[i] = -1;
	for (int i = 0; i < STEPS; i++) {
		size_t waiting = 0, asked = 0, open = 0;

		step(&walk);
		hear(&walk);
		for (int j = 0; j < LANES; j++) {
			waiting += walk.lanes[j].fd >= 0 && walk.lane_of[j] < 0;
			asked += walk.lanes[j].fd >= 0 && walk.lane_of[j] >= 0;
		}
		for (int j = 0; j < INBOUNDS; j++)
			open += walk.inbounds[j] >= 0;
		struct mouth_counts now = counts(&walk.bed);
		assert_int_equal(now.served, walk.served);
		assert_int_equal(now.refused, walk.refused);
		assert_int_equal(now.unserved, 0);
		assert_int_equal(now.waiting, waiting);
		assert_int_equal(now.held, open - asked);
		assert_true(now.held == 0 || now.waiting == 0); /* or they would be together */
		assert_int_equal(walk.came, walk.left + walk.served + walk.refused + open);
	}
	assert_true(walk.served > 100 && walk.refused > 100 && walk.left > 100);
	for (int i = 0; i < LANES; i++)
		fd_close(&walk.lanes[i].fd);
	for (int i = 0; i < INBOUNDS; i++)
		fd_close(&walk.inbounds[i]);
	bed_close(&walk.bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_led_on),
		cmocka_unit_test(it_is_refused),
		cmocka_unit_test(it_is_held),
		cmocka_unit_test(it_goes_while_it_is_connected_for),
		cmocka_unit_test(as_many_more_as_are_held),
		cmocka_unit_test(and_not_more_than_there_is_room_for),
		cmocka_unit_test(who_dies_before_loses_nobody),
		cmocka_unit_test(who_does_not_answer_is_dead),
		cmocka_unit_test(a_lane_that_does_not_answer),
		cmocka_unit_test(signs_of_life),
		cmocka_unit_test(what_is_asked_for_by_name),
		cmocka_unit_test(who_has_most_leaves_room_for_datagrams),
		cmocka_unit_test(how_long_an_order_lasts),
		cmocka_unit_test(a_name_that_ends),
		cmocka_unit_test(a_name_whose_place_is_taken),
		cmocka_unit_test(what_clients_reach),
		cmocka_unit_test(what_is_not_for_that_lane_ends_it),
		cmocka_unit_test(lennuts_are_used_as_they_are),
		cmocka_unit_test(who_has_no_key),
		cmocka_unit_test(where_it_cannot_listen),
		cmocka_unit_test(it_ends_at_any_moment),
		cmocka_unit_test(a_random_walk),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
