/* SPDX-License-Identifier: Apache-2.0 */
/* test_repeats - of one kind a few pass, and a flood hides no other kind */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>

#include "util/repeats.h"

#define FLOOD 1000
#define MOST  20

static void test_one_kind(void **state)
{
	struct repeats repeats = {.nkinds = 0};
	size_t passed = 0;
	char line[64];

	(void)state;
	for (int i = 0; i < FLOOD; i++) {
		snprintf(line, sizeof(line), "192.0.2.%d:%d is refused", i % 256, i);
		passed += repeats_take(&repeats, line, MOST);
		snprintf(line, sizeof(line), "[2001:db8::%x]:%d is refused", i, i);
		passed += repeats_take(&repeats, line, MOST);
	}
	assert_in_range(passed, MOST, 2 * MOST);
	for (int i = 0; i < FLOOD; i++) {
		snprintf(line, sizeof(line), "found \"%c%c\" there", 'g' + i % 20, 'g' + i / 50);
		passed += repeats_take(&repeats, line, MOST);
	}
	assert_in_range(passed, 2 * MOST, 3 * MOST);
	assert_true(repeats_take(&repeats, "the link broke", MOST));
	assert_int_equal(repeats_end(&repeats), 3 * FLOOD - passed);
	assert_true(repeats_take(&repeats, line, MOST));
	assert_int_equal(repeats_end(&repeats), 0);
}

static void test_many_kinds(void **state)
{
	struct repeats repeats = {.nkinds = 0};
	size_t passed = 0;
	char line[3] = "gg";

	(void)state;
	for (int i = 0; i < FLOOD; i++) {
		line[0] = (char)('g' + i % 20);
		line[1] = (char)('g' + i / 20 % 20);
		passed += repeats_take(&repeats, line, MOST);
	}
	assert_int_equal(passed, REPEATS_KINDS * (FLOOD / 400 + 1));
	assert_int_equal(repeats_end(&repeats), FLOOD - passed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_kind),
		cmocka_unit_test(test_many_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
