/* SPDX-License-Identifier: Apache-2.0 */
/* test_pace - soon at first, few in the end, and fewer where others need the processors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "forward/pace.h"

#define START_NS (1000 * NS_PER_S)

/* Wait @for_ns for @count things, woken @late_ns late each time. Returns the looks. */
static unsigned looks(uint64_t for_ns, unsigned count, uint64_t late_ns, uint64_t *last_ns)
{
	struct pace pace;
	uint64_t now_ns = START_NS;
	unsigned looks = 0;

	pace_start(&pace, now_ns);
	for (; now_ns < START_NS + for_ns; looks++) {
		*last_ns = pace_next_ns(&pace, now_ns, count);
		now_ns += *last_ns + late_ns;
	}
	return looks;
}

static void test_soon_at_first(void **state)
{
	struct pace pace;

	(void)state;
	pace_start(&pace, START_NS);
	for (uint64_t now_ns = START_NS; now_ns < START_NS + 4 * NS_PER_S;) {
		uint64_t pause_ns = pace_next_ns(&pace, now_ns, 1);

		assert_in_range(pause_ns, 1, NS_PER_MS);
		now_ns += pause_ns;
	}
}

static void test_few_in_the_end(void **state)
{
	uint64_t last_ns;

	(void)state;
	/* every 4 ms would be 15000 */
	assert_in_range(looks(60 * NS_PER_S, 1, 0, &last_ns), 5000, 17000);
	assert_in_range(last_ns, 10 * NS_PER_MS, PACE_MAX_NS);
	looks(3600 * NS_PER_S, 1, 0, &last_ns);
	assert_int_equal(last_ns, PACE_MAX_NS);
}

static void test_fewer_while_busy(void **state)
{
	uint64_t last_ns;
	unsigned quiet = looks(NS_PER_S, 1, NS_PER_MS / 20, &last_ns);

	(void)state;
	assert_true(looks(NS_PER_S, 1, 3 * NS_PER_MS, &last_ns) < quiet / 4);
	assert_in_range(last_ns, PACE_MIN_NS + 1, PACE_BUSY_NS);
	/* one that was very late is no reason to sleep for long */
	looks(10 * NS_PER_MS, 1, NS_PER_S, &last_ns);
	assert_in_range(last_ns, PACE_MIN_NS, PACE_BUSY_NS);
}

static void test_many_share_the_looks(void **state)
{
	uint64_t last_ns;

	(void)state;
	assert_true(looks(NS_PER_S, 1000, 0, &last_ns) * 16 < looks(NS_PER_S, 1, 0, &last_ns));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_soon_at_first),
		cmocka_unit_test(test_few_in_the_end),
		cmocka_unit_test(test_fewer_while_busy),
		cmocka_unit_test(test_many_share_the_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
