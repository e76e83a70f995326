/* SPDX-License-Identifier: Apache-2.0 */
/* test_budget - unit tests for util/budget, and for who makes do with it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/random.h>

#include "conn/pipes.h"
#include "util/budget.h"

static void keeps_the_reserve(void **state)
{
	struct budget budget = {.max = BUDGET_RESERVED + 3};

	(void)state;
	assert_int_equal(budget_left(&budget), 3);
	assert_true(budget_has_room(&budget, 3));
	assert_false(budget_has_room(&budget, 4));
	budget_take(&budget, 3);
	assert_int_equal(budget_left(&budget), 0);
	assert_true(budget_has_room(&budget, 0));
	assert_false(budget_has_room(&budget, 1));
	/* who must go on goes on; and the limit may be lowered below what is used */
	budget_take(&budget, 2);
	assert_int_equal(budget_left(&budget), 0);
	assert_false(budget_has_room(&budget, 0));
	budget_give(&budget, 4);
	assert_int_equal(budget_left(&budget), 2);
	budget.max = BUDGET_RESERVED - 1;
	assert_int_equal(budget_left(&budget), 0);
	assert_false(budget_has_room(&budget, 0));
}

/* Datagrams leave connections a quarter, as long as there is anything to share. */
static void flows_leave_a_quarter(void **state)
{
	struct budget budget = {.max = BUDGET_RESERVED + 100};

	(void)state;
	while (budget_has_room_for_flow(&budget))
		budget_take(&budget, 1);
	assert_int_equal(budget.used, 75);
	assert_true(budget_has_room(&budget, 25));
	budget.max = BUDGET_RESERVED + 1;
	budget.used = 0;
	assert_true(budget_has_room_for_flow(&budget));
	budget.max = BUDGET_RESERVED;
	assert_false(budget_has_room_for_flow(&budget));
	budget.max = 0;
	assert_false(budget_has_room_for_flow(&budget));
}

/* Who has no sockets of a namespace needs less, and can serve with 64. */
static void less_without_a_pool(void **state)
{
	struct budget budget = {.max = 64, .has_no_pool = true};
	struct err err;

	(void)state;
	assert_true(budget_check(64, 0, &err) < 0);
	assert_int_equal(budget_check_bare(64, &err), 0);
	assert_true(budget_check_bare(BUDGET_MIN - BUDGET_POOL - 1, &err) < 0);
	assert_int_equal(budget_left(&budget), 64 - (BUDGET_RESERVED - BUDGET_POOL));
	assert_true(budget_has_room(&budget, budget_left(&budget)));
	assert_false(budget_has_room(&budget, budget_left(&budget) + 1));
}

/* Two ways to ask the same thing, at random. */
static void room_is_what_is_left(void **state)
{
	unsigned seed;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	for (int i = 0; i < 100000; i++) {
		struct budget budget = {
			.max = (size_t)rand_r(&seed) % 400, .used = (size_t)rand_r(&seed) % 300};
		size_t count = 1 + (size_t)rand_r(&seed) % 200;

		assert_int_equal(budget_has_room(&budget, count), count <= budget_left(&budget));
	}
}

/* Pipes are counted, leave the reserve alone, and three quarters to others. */
static void pipes_know_their_place(void **state)
{
	struct budget budget = {.max = BUDGET_RESERVED + 5};
	struct pipe lent[40];
	struct pipes pipes;
	size_t count = 0;

	(void)state;
	assert_int_equal(pipes_init(&pipes, &budget), 0);
	while (pipes_take(&pipes, &lent[count]) == 0)
		count++;
	assert_int_equal(count, 2);
	assert_int_equal(budget.used, 4);
	budget.max = 200; /* a quarter: 25 pipes */
	while (pipes_take(&pipes, &lent[count]) == 0)
		count++;
	assert_int_equal(count, 25);
	assert_int_equal(budget.used, 50);
	while (count > 0)
		pipes_give(&pipes, &lent[--count], true);
	assert_int_equal(budget.used, 2 * PIPES_IDLE_MAX);
	budget.max = 0; /* those that are there can be lent all the same */
	assert_int_equal(pipes_take(&pipes, &lent[0]), 0);
	pipes_give(&pipes, &lent[0], false);
	assert_int_equal(budget.used, 2 * (PIPES_IDLE_MAX - 1));
	pipes_fini(&pipes);
	assert_int_equal(budget.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_reserve),
		cmocka_unit_test(flows_leave_a_quarter),
		cmocka_unit_test(less_without_a_pool),
		cmocka_unit_test(room_is_what_is_left),
		cmocka_unit_test(pipes_know_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
