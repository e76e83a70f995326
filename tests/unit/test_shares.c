/* SPDX-License-Identifier: Apache-2.0 */
/* test_shares - who is counted together, and who loses what to whom */
#include "util/shares.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#include <cmocka.h>

#include "util/list.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One that keeps some of them. */
struct keeper {
	struct shares_part part;
	struct shares *shares;
	size_t has[SHARES_SOURCES], to_learn;
	unsigned learns; /* whose they are */
	bool is_busy;
};

static void add(struct keeper *keeper, unsigned source, size_t count)
{
	keeper->has[source] += count;
	keeper->shares->counts[keeper->part.kind][source] += (unsigned)count;
	keeper->shares->totals[keeper->part.kind] += (unsigned)count;
}

static void learn(struct shares_part *part)
{
	struct keeper *keeper = container_of(part, struct keeper, part);

	add(keeper, keeper->learns, keeper->to_learn);
	keeper->to_learn = 0;
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct keeper *keeper = container_of(part, struct keeper, part);

	if (keeper->has[source] == 0 || keeper->is_busy)
		return false;
	keeper->has[source]--;
	shares_give(keeper->shares, part->kind, source);
	return true;
}

static void join(struct keeper *keeper, struct shares *shares, enum shares_kind kind)
{
	*keeper = (struct keeper){.part = {kind, learn, yield, NULL}, .shares = shares};
	shares_join(shares, &keeper->part);
}

static struct addr ip(const char *text)
{
	struct addr addr;
	struct err err;

	assert_int_equal(addr_parse(text, &addr, &err), 0);
	return addr;
}

static unsigned source(struct shares *shares, const char *text)
{
	const struct addr addr = ip(text);

	return shares_source(shares, &addr);
}

static void who_is_counted_together(void **state)
{
	struct shares shares = {0};
	struct addr there = addr_loopback4(80), mapped = ip("::ffff:127.0.0.1");

	(void)state;
	assert_int_equal(shares_source(&shares, &there), source(&shares, "127.0.0.1"));
	assert_int_equal(shares_source(&shares, &mapped), source(&shares, "127.0.0.1"));
	assert_int_equal(source(&shares, "fd00::1"), source(&shares, "fd00::ffff:ffff:ffff:ffff"));
	assert_int_not_equal(source(&shares, "fd00:0:0:1::1"), source(&shares, "fd00:0:0:2::1"));
	/* neighbours are told apart, all of them */
	for (uint32_t i = 1; i < 1 << SHARES_BITS; i++) {
		const struct addr first = addr_of4((struct in_addr){htonl(0x7f002800)}, 0),
				  other = addr_of4((struct in_addr){htonl(0x7f002800 + i)}, 0);

		assert_int_not_equal(
			shares_source(&shares, &first), shares_source(&shares, &other));
	}
	/* and nobody has a count in common with 127.0.0.1 */
	for (uint32_t i = 0; i < 10000; i++) {
		const struct addr other =
			addr_of4((struct in_addr){htonl(0x0a000000 + i * 1031)}, 0);

		assert_int_not_equal(shares_source(&shares, &other), source(&shares, "127.0.0.1"));
	}
	/* all that is local and has no address of its own is one */
	assert_int_equal(shares_source(&shares, &(struct addr){0}), source(&shares, "127.0.0.1"));
	assert_int_equal(source(&shares, "::1"), source(&shares, "127.0.0.1"));
}

/* Whoever chooses addresses does not know whose count they have: they meet one of 1024 times. */
static void nobody_chooses_a_count(void **state)
{
	static const char *const pairs[][2] = {{"192.168.1.7", "192.168.5.7"},
		{"10.0.0.1", "11.0.0.1"}, {"192.168.1.7", "192.168.5.8"},
		{"127.0.0.1", "128.0.0.1"}, {"fd00:1::1", "fd00:2::1"},
		{"fd00:0:0:1::1", "fd00:0:0:401::1"}, {"fd00:0:0:1f::1", "fd00:0:1:0::1"},
		{"2001:db8::1", "a001:db8::1"}};

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		int together = 0;

		for (int process = 0; process < 200; process++) {
			struct shares shares = {0};

			together += source(&shares, pairs[i][0]) == source(&shares, pairs[i][1]);
			assert_true(shares.seed != 0);
		}
		assert_in_range(together, 0, 12);
	}
}

/* Connections and flows of all parts are one count, and what there is more of goes first. */
static void who_has_most_loses_one(void **state)
{
	struct shares shares = {0};
	struct keeper keepers[3];
	const struct addr few = ip("127.0.0.3"), most = ip("127.0.0.2");
	const unsigned greedy = shares_source(&shares, &most);

	(void)state;
	assert_false(shares_yield(&shares, &few, 0, false));
	join(&keepers[0], &shares, SHARES_CONNECTIONS);
	join(&keepers[1], &shares, SHARES_FLOWS);
	join(&keepers[2], &shares, SHARES_FLOWS);
	add(&keepers[0], greedy, 2);
	add(&keepers[1], greedy, 1);
	add(&keepers[0], shares_source(&shares, &few), 2);
	assert_false(
		shares_yield(&shares, &few, 0, false)); /* three against three, with this one */
	/* what becomes known counts at once */
	keepers[0].to_learn = 3;
	keepers[0].learns = greedy;
	assert_false(shares_yield(&shares, &most, 0, false));
	assert_false(shares_yield(&shares, &few, 3, false));
	assert_true(shares_yield(&shares, &few, 2, false));
	assert_int_equal(keepers[0].has[greedy], 4);
	assert_int_equal(keepers[1].has[greedy], 1);
	/* flows outnumber connections; whoever keeps some will do, and at last the other kind */
	add(&keepers[1], greedy, 4);
	assert_true(shares_yield(&shares, &few, 0, false));
	assert_int_equal(keepers[1].has[greedy], 4);
	add(&keepers[1], greedy, 1);
	keepers[1].is_busy = true;
	assert_true(shares_yield(&shares, &few, 0, false));
	assert_int_equal(keepers[0].has[greedy], 3);
	keepers[0].is_busy = true;
	assert_false(shares_yield(&shares, &few, 0, false));
	assert_int_equal(keepers[0].has[shares_source(&shares, &few)], 2);
	/* who has left is asked no more */
	keepers[1].is_busy = false;
	shares_leave(&shares, &keepers[1].part);
	assert_false(shares_yield(&shares, &few, 0, false));
	shares_leave(&shares, &keepers[2].part);
	shares_leave(&shares, &keepers[0].part);
	assert_null(shares.parts);
}

/* However it begins, who comes last gets as much as the others in the end. */
static void all_get_a_share(void **state)
{
	unsigned seed;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	for (int round = 0; round < 100; round++) {
		struct shares shares = {0};
		struct keeper keepers[2];
		size_t all = 0, hosts = 1 + (size_t)rand_r(&seed) % 8, own = 0;
		struct addr late = ip("127.0.0.200");
		const unsigned its = shares_source(&shares, &late);

		for (size_t i = 0; i < COUNT(keepers); i++)
			join(&keepers[i], &shares, i ? SHARES_FLOWS : SHARES_CONNECTIONS);
		for (size_t i = 0; i < 10 * hosts; i++) {
			size_t count = (size_t)rand_r(&seed) % 20;

			add(&keepers[i % 2],
				(its + 1 + (unsigned)rand_r(&seed) % (unsigned)hosts) %
					SHARES_SOURCES,
				count);
			all += count;
		}
		for (; shares_yield(&shares, &late, 0, false); own++)
			add(&keepers[rand_r(&seed) % 2], its, 1);
		assert_true(own + 1 >= all / (hosts + 1));
	}
}

static void fill(struct shares *shares, const char *address, size_t max, size_t expected)
{
	const struct addr addr = ip(address);
	size_t count = 0;

	for (; shares_total(shares) < max &&
		shares_has_place(shares, &addr, max - shares_total(shares));
		count++)
		shares_take(shares, count % SHARES_KINDS, shares_source(shares, &addr));
	assert_int_equal(count, expected);
}

/* Half of what the others leave, each; and all of it for who is here. */
static void there_is_a_place_for_the_next_one(void **state)
{
	/* by chance two of them have a count in common; by this seed none have */
	const uint64_t seed = 0x9e3779b97f4a7c15;
	const struct addr here = ip("::1"), beside = ip("127.0.4.1");
	struct shares shares = {.seed = seed};
	struct keeper keeper;

	(void)state;
	fill(&shares, "192.0.2.1", 16, 8);
	fill(&shares, "192.0.2.2", 16, 4);
	fill(&shares, "fd00::1", 16, 2);
	fill(&shares, "fd00::2", 16, 0); /* its neighbour */
	shares_take(&shares, SHARES_CONNECTIONS, SHARES_HERE);
	fill(&shares, "192.0.2.3", 16, 1);
	fill(&shares, "192.0.2.4", 16, 0);
	assert_true(shares_has_place(&shares, &here, 0));
	assert_false(shares_has_place(&shares, &beside, 0));
	shares_give(&shares, SHARES_CONNECTIONS, source(&shares, "192.0.2.1"));
	fill(&shares, "192.0.2.4", 16, 1);
	/* one that is learnt of late counts */
	shares = (struct shares){.seed = seed};
	join(&keeper, &shares, SHARES_CONNECTIONS);
	keeper.learns = source(&shares, "192.0.2.1");
	keeper.to_learn = 2;
	fill(&shares, "192.0.2.1", 4, 0);
	shares_leave(&shares, &keeper.part);
}

/* What nobody can end is nobody's reason to end what can be. */
static void who_is_led_loses_nothing(void **state)
{
	struct shares shares = {0};
	const struct addr few = ip("127.0.0.3"), most = ip("127.0.0.2");
	const unsigned greedy = shares_source(&shares, &most);
	struct keeper keeper;

	(void)state;
	join(&keeper, &shares, SHARES_FLOWS);
	add(&keeper, greedy, 1);
	for (int i = 0; i < 10; i++)
		shares_take(&shares, SHARES_LED, greedy);
	assert_false(shares_yield(&shares, &few, 0, false));
	assert_false(shares_end_own_flow(&shares, &few));
	assert_true(shares_end_own_flow(&shares, &most));
	assert_int_equal(keeper.has[greedy], 0);
	assert_false(shares_end_own_flow(&shares, &most));
	shares_leave(&shares, &keeper.part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_counted_together),
		cmocka_unit_test(nobody_chooses_a_count),
		cmocka_unit_test(who_has_most_loses_one),
		cmocka_unit_test(all_get_a_share),
		cmocka_unit_test(there_is_a_place_for_the_next_one),
		cmocka_unit_test(who_is_led_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
