/* SPDX-License-Identifier: Apache-2.0 */
/* test_lane - a client's connection at the server: which wire, what it is asked, how it ends */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"
#include "util/log.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/lane.h"

#define FDS 400

struct bed {
	struct tunnel_bed under;
	struct lane_house house;
	struct list waiting; /* lanes */
	struct lane *last;   /* the one that has begun to wait last */
	unsigned news, refused, dead, over, messages;
	int opened; /* the descriptor of one; -1: none */
	bool wants_none;
};

static struct bed *bed_of(const struct lane *lane)
{
	return lane->house->owner;
}

static bool on_new(struct lane *lane)
{
	struct bed *bed = bed_of(lane);

	bed->news++;
	bed->last = lane;
	if (bed->wants_none)
		return false;
	list_add_last(&bed->waiting, &lane->at);
	return true;
}

static void on_opened(struct lane *lane)
{
	bed_of(lane)->opened = lane_take(lane);
}

static void on_refused(struct lane *lane)
{
	bed_of(lane)->refused++;
	list_add_last(&bed_of(lane)->waiting, &lane->at);
}

static int on_message(struct lane *lane, const struct hail *hail)
{
	bed_of(lane)->messages++;
	return hail->type == HAIL_LEAVE ? 0 : -EPROTO;
}

static void on_dead(struct lane *lane)
{
	bed_of(lane)->dead++;
}

static void on_over(struct lane *lane)
{
	bed_of(lane)->over++;
}

static const struct lane_ops ops = {on_new, on_opened, on_refused, on_message, on_dead, on_over};

static void bed_open(struct bed *bed)
{
	clock_stop();
	*bed = (struct bed){.opened = -1};
	tunnel_bed_open(&bed->under, FDS);
	list_init(&bed->waiting);
	bed->house = (struct lane_house){
		.ops = &ops, .owner = bed, .context = &bed->under.context, .beat_ms = 1000};
	lane_house_init(&bed->house);
}

static void bed_close(struct bed *bed)
{
	lane_house_fini(&bed->house);
	assert_int_equal(bed->house.count, 0);
	if (bed->opened >= 0)
		close(bed->opened);
	tunnel_bed_close(&bed->under);
	clock_go_on();
}

/* Some time without a word. */
static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	tunnel_bed_settle(&bed->under);
}

/* Returns the client's end. */
static int add(struct bed *bed, uint32_t number)
{
	struct addr peer = addr_of4((struct in_addr){htonl(0x0a000000 + number)}, 1);
	int fds[2];

	tunnel_pair(fds);
	lane_add(&bed->house, fds[0], &peer, false);
	tunnel_bed_settle(&bed->under);
	return fds[1];
}

/* One that waits. */
static int add_own(struct bed *bed, enum hail_kind kind)
{
	const unsigned char id[HAIL_ID_BYTES] = "client1";
	struct hail_reader reader = {.have = 0};
	int fd = add(bed, 1);

	assert_int_equal(hail_send_hello(fd, id, kind), 0);
	struct hail hail = tunnel_hail(&bed->under, &reader, fd);
	assert_int_equal(hail.type, HAIL_WELCOME);
	assert_int_equal(hail_number(&hail), 1000);
	assert_true(bed->last->is_own && bed->last->kind == kind);
	assert_memory_equal(bed->last->id, id, sizeof(id));
	return fd;
}

static void assert_said(int fd, const char *text)
{
	char bytes[64];

	assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
}

static void assert_silent(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void it_is_asked_and_opened(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = add_own(&bed, HAIL_NAMED);
	list_del(&bed.last->at);
	assert_int_equal(lane_ask(bed.last, "who", 3, 5), 0);
	struct hail hail = tunnel_hail(&bed.under, &reader, fd);
	assert_true(hail.type == HAIL_MORE && hail_number(&hail) == 5);
	hail = tunnel_hail(&bed.under, &reader, fd);
	assert_true(hail.type == HAIL_OPEN && hail.len == 3 && memcmp(hail.text, "who", 3) == 0);
	assert_int_equal(hail_send(fd, HAIL_TAKEN, NULL, 0), 0);
	pass(&bed, 5 * LANE_TAKEN_MS); /* how long it takes is its owner's to say */
	assert_int_equal(bed.dead, 0);
	assert_int_equal(hail_send(fd, HAIL_REFUSED, NULL, 0), 0);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.refused, 1);
	list_del(&bed.last->at);
	assert_int_equal(lane_ask(bed.last, "who", 3, 0), 0);
	assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_OPEN);
	/* and not a byte behind it is read */
	assert_int_equal(send(fd, "T\0\0\0A\0\0\0bytes", 13, 0), 13);
	tunnel_bed_settle(&bed.under);
	assert_true(bed.opened >= 0 && bed.house.count == 0);
	assert_said(bed.opened, "bytes");
	close(fd);
	bed_close(&bed);
}

static void signs_of_life(void **state)
{
	struct hail_reader reader = {.have = 0};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = add_own(&bed, HAIL_ANY);
	for (int i = 0; i < 10; i++) {
		pass(&bed, 1001);
		assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_PING);
		assert_int_equal(hail_send(fd, HAIL_PONG, NULL, 0), 0);
		tunnel_bed_settle(&bed.under);
	}
	assert_int_equal(bed.dead + bed.over, 0);
	for (int i = 0; i < 4; i++)
		pass(&bed, 1001);
	assert_int_equal(bed.dead, 1);
	assert_int_equal(bed.over, 1);
	tunnel_ends(&bed.under, fd);
	close(fd);
	bed_close(&bed);
}

static void who_does_not_hear_is_dead(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = add_own(&bed, HAIL_ANY);
	list_del(&bed.last->at);
	assert_int_equal(lane_ask(bed.last, "x", 1, 0), 0);
	pass(&bed, LANE_TAKEN_MS + 1);
	assert_true(bed.dead == 1 && bed.over == 1 && bed.house.count == 0);
	close(fd);
	bed_close(&bed);
}

/* Until it is known, and again when it was not. */
static void lennuts_are_known(void **state)
{
	struct bed bed;
	int fd;

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < 2; i++) {
		fd = add(&bed, 7);
		assert_silent(fd);
		pass(&bed, LANE_SILENT_MS + 1);
		assert_said(fd, HAIL_OWN);
		close(fd);
		tunnel_bed_settle(&bed.under);
		pass(&bed, 1000);
	}
	assert_true(bed.news == 0 && bed.house.count == 0);
	fd = add(&bed, 7);
	pass(&bed, LANE_KNOWN_MS + 1);
	assert_int_equal(bed.news, 1);
	assert_false(bed.last->is_own);
	pass(&bed, 60 * LANE_DEAD_MS);
	assert_silent(fd);
	assert_int_equal(lane_use(bed.last), 0);
	assert_said(fd, HAIL_LENNUT);
	close(fd);
	bed_close(&bed);
}

static void what_is_taken_for_lennuts_may_be_ours(void **state)
{
	const unsigned char id[HAIL_ID_BYTES] = "client2";
	struct hail_reader reader = {.have = 0};
	struct bed bed;

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < 2; i++) {
		struct addr peer = addr_of4((struct in_addr){htonl(0x0a000000 + 7)}, 1);
		lennuts_suspect(&bed.house.lennuts, &peer, clock_now_ns());
	}
	int fd = add(&bed, 7);
	pass(&bed, LANE_KNOWN_MS + 1);
	assert_true(bed.news == 1 && !bed.last->is_own);
	assert_int_equal(hail_send_hello(fd, id, HAIL_CONTROL), 0);
	assert_int_equal(tunnel_hail(&bed.under, &reader, fd).type, HAIL_WELCOME);
	assert_true(bed.news == 2 && bed.last->is_own && bed.last->kind == HAIL_CONTROL);
	close(fd);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.over, 1);
	/* and the address is no lennut's any more */
	fd = add(&bed, 7);
	pass(&bed, LANE_SILENT_MS + 1);
	assert_said(fd, HAIL_OWN);
	close(fd);
	bed_close(&bed);
}

static void who_ends_is_no_lennuts(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < 4; i++) {
		int fd = add(&bed, 7);
		pass(&bed, LANE_SILENT_MS + 1);
		assert_said(fd, HAIL_OWN);
		if (i % 2) {
			assert_int_equal(send(fd, "nsw", 3, 0), 3);
			tunnel_bed_settle(&bed.under);
		} else {
			clock_ahead_ns += (LANE_LEAVES_MS + 1) * NS_PER_MS; /* for another reason */
		}
		close(fd);
		tunnel_bed_settle(&bed.under);
	}
	assert_true(bed.news == 0 && bed.house.count == 0);
	bed_close(&bed);
}

static void who_says_something_else_waits(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed);
	int fd = add(&bed, 1);
	assert_int_equal(send(fd, "GET / HT", 8, 0), 8);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.news, 1);
	assert_false(bed.last->is_own);
	bed.opened = lane_take(bed.last);
	assert_said(bed.opened, "GET / HT"); /* it goes to who connects */
	close(fd);
	bed_close(&bed);
}

static void what_is_no_message_ends_it(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {{"A\0\0\0", 4}, {"T\0\0\0", 4}, {"R\0\0\0", 4},
		{"H\0\0\x09"
		 "87654321a",
			13},
		{"X\0\xff\xff", 4}, {"X\x01\0\0", 4}, {"O\0\0\0", 4}};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bed_open(&bed);
		int fd = add_own(&bed, HAIL_ANY);
		assert_int_equal(send(fd, bad[i].text, bad[i].len, 0), bad[i].len);
		tunnel_ends(&bed.under, fd);
		assert_true(bed.over == 1 && bed.dead == 0);
		close(fd);
		bed_close(&bed);
	}
	bed_open(&bed);
	int fd = add_own(&bed, HAIL_CONTROL);
	for (int i = 0; i < 3 * HAIL_ROUND; i++)
		assert_int_equal(hail_send(fd, HAIL_LEAVE, NULL, 0), 0);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.messages, 3 * HAIL_ROUND);
	bed.wants_none = true;
	close(fd);
	fd = add(&bed, 2);
	assert_int_equal(hail_send_hello(fd, (const unsigned char *)"12345678", HAIL_ANY), 0);
	tunnel_ends(&bed.under, fd);
	close(fd);
	bed_close(&bed);
}

static void there_are_not_too_many(void **state)
{
	struct bed bed;
	int fds[FDS];

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < FDS; i++) {
		fds[i] = add(&bed, 1);
		assert_true(bed.house.count <= FDS / LANES_SHARE);
	}
	assert_int_equal(bed.house.count, FDS / LANES_SHARE);
	tunnel_ends(&bed.under, fds[FDS - 1]);
	for (int i = 0; i < FDS; i++)
		close(fds[i]);
	bed_close(&bed);
}

/* A place less for the address with the most lanes: for one that says nothing first, then for one
 * that waits, and for those that are in use or ask last. */
static void who_has_most_gives_way(void **state)
{
	enum { PLACES = FDS / LANES_SHARE, NOWN = 6 };
	struct bed bed;
	int fds[PLACES], others[PLACES];

	(void)state;
	bed_open(&bed);
	fds[0] = add_own(&bed, HAIL_CONTROL);
	fds[1] = add_own(&bed, HAIL_ANY);
	list_del(&bed.last->at);
	assert_int_equal(lane_ask(bed.last, "x", 1, 0), 0);
	for (int i = 2; i < NOWN; i++)
		fds[i] = add_own(&bed, HAIL_ANY);
	for (int i = NOWN; i < PLACES; i++)
		fds[i] = add(&bed, 1);
	for (int i = NOWN; i < PLACES; i++) {
		others[i] = add(&bed, (unsigned)i);
		tunnel_ends(&bed.under, fds[i]);
		assert_int_equal(bed.house.count, PLACES);
	}
	assert_int_equal(bed.over, 0);
	for (int i = 1; i < 3; i++) {
		others[i] = add(&bed, (unsigned)(PLACES + i));
		tunnel_ends(&bed.under, fds[i + 1]);
		assert_int_equal(bed.over, i);
	}
	/* what is left is a client that is up */
	others[0] = add(&bed, PLACES + 3);
	tunnel_ends(&bed.under, others[0]);
	int late = add(&bed, 1);
	tunnel_ends(&bed.under, late);
	assert_true(bed.over == 2 && bed.house.count == PLACES);
	for (int i = 0; i < PLACES; i++) {
		close(fds[i]);
		if (i < 3 || i >= NOWN)
			close(others[i]);
	}
	close(late);
	bed_close(&bed);
}

static void ignore_proof(struct proof *proof, int result, const char *why)
{
	(void)proof;
	(void)why;
	assert_int_equal(result, 0);
}

/* Who only connects, and has no key, keeps nobody out who has. */
static void who_proves_nothing_gives_way(void **state)
{
	static const struct keyfile key = {"one key that is secret", 22};
	const unsigned char id[HAIL_ID_BYTES] = "client1";
	struct bed bed;
	int fds[FDS / LANES_SHARE], flood[FDS / 2], fd;

	(void)state;
	bed_open(&bed);
	bed.house.key = &key;
	for (unsigned i = 0; i < FDS / LANES_SHARE; i++)
		fds[i] = add(&bed, 1);
	for (unsigned i = 0; i < 2; i++) {
		fd = add(&bed, 2);
		assert_int_equal(bed.house.count, FDS / LANES_SHARE);
		assert_said(fds[i], ""); /* closed */
		assert_silent(fds[i + 1]);
		close(fds[i]);
		/* however many they are: it is their own who give way */
		for (unsigned j = 0; i == 1 && j < FDS / 2; j++)
			flood[j] = add(&bed, 1);
		struct proof proof = {.loop = bed.under.loop,
			.key = &key,
			.role = PROOF_ASKER,
			.purpose = "tunnel",
			.on_done = ignore_proof};
		assert_int_equal(fd_set_nonblock(fd, 1), 0);
		assert_int_equal(proof_start(&proof, fd, fd, LANE_PROOF_MS), 0);
		tunnel_bed_settle(&bed.under);
		assert_int_equal(hail_send_hello(fd, id, HAIL_ANY), 0);
		tunnel_bed_settle(&bed.under);
		assert_int_equal(bed.news, i + 1);
		fds[i] = fd;
	}
	for (unsigned i = 0; i < FDS / LANES_SHARE; i++)
		close(fds[i]);
	for (unsigned j = 0; j < FDS / 2; j++)
		close(flood[j]);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_asked_and_opened),
		cmocka_unit_test(signs_of_life),
		cmocka_unit_test(who_does_not_hear_is_dead),
		cmocka_unit_test(lennuts_are_known),
		cmocka_unit_test(what_is_taken_for_lennuts_may_be_ours),
		cmocka_unit_test(who_ends_is_no_lennuts),
		cmocka_unit_test(who_says_something_else_waits),
		cmocka_unit_test(what_is_no_message_ends_it),
		cmocka_unit_test(there_are_not_too_many),
		cmocka_unit_test(who_has_most_gives_way),
		cmocka_unit_test(who_proves_nothing_gives_way),
	};

	log_set_level(LOG_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
