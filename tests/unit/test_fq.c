/* SPDX-License-Identifier: Apache-2.0 */
/* test_fq - packets take turns by source and flow, keep their order, and do not wait for ever */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "wire/fq.h"

#define MS         1000000ULL
#define MAX_BYTES  (1U << 20)
#define SOURCES    5
#define FLOWS      40
#define ROUNDS     200000
#define PACKET     1000
#define HEAD_BYTES 12

/* What the test puts in front of each packet. */
struct mark {
	uint32_t source, flow, number;
};

struct bed {
	struct fq fq;
	uint64_t now_ns, seed;
	uint32_t put[SOURCES][FLOWS], taken[SOURCES][FLOWS]; /* numbers; 0: none yet */
	size_t nput, ntaken;
};

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->seed = 7;
	bed->now_ns = 1000 * MS;
	fq_init(&bed->fq, MAX_BYTES);
	return bed;
}

static void bed_free(struct bed *bed)
{
	fq_clear(&bed->fq);
	free(bed);
}

static void put(struct bed *bed, uint32_t source, uint32_t flow, size_t len)
{
	static unsigned char bytes[70000];
	struct mark mark = {source, flow, ++bed->put[source][flow]};

	memcpy(bytes, &mark, sizeof(mark));
	fq_put(&bed->fq, fq_packet_new(bytes, len), source, flow * 2654435761U, bed->now_ns);
	bed->nput++;
}

/* Takes one, whose flow's earlier ones have all been taken or dropped. False: none waits. */
static bool take(struct bed *bed, struct mark *mark)
{
	struct fq_packet *packet = fq_take(&bed->fq, bed->now_ns, NULL, 0);

	if (!packet)
		return false;
	memcpy(mark, packet->start, sizeof(*mark));
	uint32_t *last = &bed->taken[mark->source][mark->flow];
	assert_true(mark->number > *last && mark->number <= bed->put[mark->source][mark->flow]);
	*last = mark->number;
	bed->ntaken++;
	free(packet);
	return true;
}

/* Nothing is lost that is not counted, nothing comes twice, flows keep their order. */
static void test_at_random(void **state)
{
	struct bed *bed = bed_new();
	struct mark mark;
	uint32_t load = 5;
	size_t all_dropped = 0;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 1000 == 0)
			load = 1 + random_below(bed, 9);
		if (random_below(bed, 10) < load) {
			uint32_t source = random_below(bed, SOURCES);

			put(bed, source, random_below(bed, FLOWS),
				HEAD_BYTES +
					random_below(bed, random_below(bed, 9) ? 1500 : 65000));
		} else if (!take(bed, &mark)) {
			assert_int_equal(bed->fq.bytes, 0);
		}
		bed->now_ns += random_below(bed, MS);
		assert_int_equal(bed->nput, bed->ntaken + bed->fq.dropped + bed->fq.packets);
		assert_true(bed->fq.bytes <= MAX_BYTES);
		if (i % 50000 == 49999) {
			size_t dropped = bed->fq.dropped, waiting = bed->fq.packets;

			fq_clear(&bed->fq);
			assert_int_equal(bed->fq.packets + bed->fq.bytes + bed->fq.dropped, 0);
			bed->nput -= dropped + waiting;
			all_dropped += dropped;
		}
	}
	assert_true(all_dropped > 1000);
	while (take(bed, &mark))
		;
	assert_int_equal(bed->nput, bed->ntaken + bed->fq.dropped);
	assert_int_equal(bed->fq.packets + bed->fq.bytes, 0);
	bed_free(bed);
}

/* How many of @total takes each source has, while all always have something. */
static void share(struct bed *bed, const size_t lens[SOURCES], const uint32_t flows[SOURCES],
	size_t total, size_t bytes[SOURCES])
{
	struct mark mark;

	for (size_t i = 0; i < total; i++) {
		for (uint32_t s = 0; s < SOURCES; s++)
			for (uint32_t f = 0; f < flows[s]; f++)
				while (bed->put[s][f] < bed->taken[s][f] + 3)
					put(bed, s, f, lens[s]);
		assert_true(take(bed, &mark));
		bytes[mark.source] += lens[mark.source];
		bed->now_ns += 1000;
	}
}

/* Many flows, or large packets, make no larger share. */
static void test_sources_are_equal(void **state)
{
	const size_t lens[SOURCES] = {100, 1500, 9000, 64000, 1500};
	const uint32_t flows[SOURCES] = {1, 1, 1, 1, FLOWS};
	size_t bytes[SOURCES] = {0};
	struct bed *bed = bed_new();

	(void)state;
	bed->fq.max_bytes = SIZE_MAX;
	share(bed, lens, flows, 200000, bytes);
	for (size_t i = 1; i < SOURCES; i++)
		assert_true(bytes[i] > bytes[0] / 100 * 90 && bytes[i] < bytes[0] / 100 * 110);
	bed_free(bed);
}

/* Who asks now and then waits for one turn of each other at most, of its own source as of others.
 */
static void test_who_is_alone_waits_for_nobody(void **state)
{
	struct bed *bed = bed_new();
	struct mark mark;

	(void)state;
	for (uint32_t flow = 0; flow < 8; flow++)
		for (int i = 0; i < 50; i++) {
			put(bed, 0, flow, PACKET);
			put(bed, 1, flow, PACKET);
		}
	for (int i = 0; i < 50; i++) {
		size_t waited = 0, source = (size_t)i % 3;

		/* its former one has left, as have the turns that it had */
		for (int j = 0; j < 40; j++)
			assert_true(take(bed, &mark));
		for (uint32_t flow = 0; flow < 8; flow++)
			for (int j = 0; j < 3; j++) {
				put(bed, 0, flow, PACKET);
				put(bed, 1, flow, PACKET);
			}
		put(bed, (uint32_t)source, 30, 100);
		do {
			assert_true(take(bed, &mark));
			waited++;
		} while (mark.flow != 30);
		assert_true(waited <= 8); /* of 800 and more */
	}
	bed_free(bed);
}

/* The flood loses, not the others. */
static void test_the_fattest_is_dropped(void **state)
{
	struct bed *bed = bed_new();
	struct mark mark;

	(void)state;
	for (int i = 0; i < 100; i++)
		put(bed, 1, (uint32_t)(i % 10), PACKET);
	for (int i = 0; i < 5000; i++) {
		put(bed, 0, 0, PACKET);
		put(bed, 0, 1 + (uint32_t)(i % 30), 20);
	}
	/* many flows are no excuse */
	for (int i = 0; i < 5000; i++)
		put(bed, 2, (uint32_t)(i % FLOWS), PACKET);
	assert_true(bed->fq.dropped > 5000);
	while (take(bed, &mark))
		;
	for (uint32_t flow = 0; flow < 10; flow++)
		assert_int_equal(bed->taken[1][flow], 10);
	/* the newest ones are kept, not the oldest */
	assert_int_equal(bed->taken[0][0], 5000);
	bed_free(bed);
}

/* A queue that stands is made shorter, more and more of it; one that is short is left alone. */
static void test_codel(void **state)
{
	struct bed *bed = bed_new();
	struct mark mark;
	uint64_t halves[2] = {0};

	(void)state;
	/* a burst that is over within an interval: nothing is dropped */
	for (int i = 0; i < 90; i++)
		put(bed, 0, 0, PACKET);
	for (int i = 0; i < 90; i++, bed->now_ns += MS)
		assert_true(take(bed, &mark));
	assert_int_equal(bed->fq.dropped, 0);
	/* 1 comes and 1 goes each millisecond, behind 50 ms of what came first */
	for (int i = 0; i < 50; i++)
		put(bed, 0, 0, PACKET);
	for (int i = 0; i < 1000 && bed->fq.packets > 0; i++, bed->now_ns += MS) {
		put(bed, 0, 0, PACKET);
		assert_true(take(bed, &mark));
		halves[i >= 500] = bed->fq.dropped;
	}
	assert_true(halves[0] >= 5 && halves[1] - halves[0] >= halves[0]);
	assert_true(halves[1] < 60);
	/* it waits less by now */
	assert_true(bed->fq.packets < 25);
	bed_free(bed);
}

/* Nobody is starved for being slow: two packets of each flow stay, however long it takes. */
static void test_old_ones_are_dropped(void **state)
{
	struct bed *bed = bed_new();
	struct mark mark;

	(void)state;
	for (int i = 0; i < 10; i++) {
		put(bed, 0, 0, PACKET);
		put(bed, 0, 1 + (uint32_t)i % 2, PACKET);
	}
	bed->now_ns += FQ_OLD_NS;
	put(bed, 0, 0, PACKET);
	for (int i = 0; i < 6; i++)
		assert_true(take(bed, &mark));
	assert_false(take(bed, &mark));
	assert_int_equal(bed->taken[0][0], 11);
	assert_int_equal(bed->taken[0][1], 5);
	bed_free(bed);
}

/* Half of what is asked for, which leaves the rest where it is. */
static struct fq_packet *halve(struct fq_packet *packet, size_t max_bytes)
{
	struct fq_packet *part = fq_packet_new(packet->start, max_bytes);

	packet->start += max_bytes;
	packet->len -= max_bytes;
	packet->is_begun = true;
	return part;
}

/* Large packets are cut late, and two that are cut take turns. */
static void test_cut(void **state)
{
	struct bed *bed = bed_new();
	unsigned seen[2] = {0}, ahead = 0;

	(void)state;
	put(bed, 0, 0, 64000);
	put(bed, 0, 1, 64000);
	for (int i = 0; i < 32; i++) {
		struct fq_packet *packet = fq_take(&bed->fq, bed->now_ns, halve, 4000);
		struct mark mark;

		assert_non_null(packet);
		assert_int_equal(packet->len, 4000);
		if (i < 2) {
			memcpy(&mark, packet->start, sizeof(mark));
			seen[mark.flow]++;
		}
		free(packet);
		ahead += bed->fq.bytes ==
			 128000 - 4000 * (unsigned)(i + 1) + bed->fq.packets * FQ_OVERHEAD_BYTES;
	}
	assert_int_equal(ahead, 32);
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 1);
	assert_null(fq_take(&bed->fq, bed->now_ns, halve, 4000));
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_sources_are_equal),
		cmocka_unit_test(test_who_is_alone_waits_for_nobody),
		cmocka_unit_test(test_the_fattest_is_dropped),
		cmocka_unit_test(test_codel),
		cmocka_unit_test(test_old_ones_are_dropped),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
