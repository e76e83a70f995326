/* SPDX-License-Identifier: Apache-2.0 */
/* test_context - all of it is made, and nothing is left when a part cannot be made */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "conn/context.h"
#include "mesh_bed.h"

static void has_all_parts(void **state)
{
	struct mesh_bed bed;

	(void)state;
	bed_open(&bed);
	assert_ptr_equal(bed.context.budget, &bed.budget);
	assert_non_null(bed.context.loop);
	assert_non_null(bed.context.relays);
	assert_non_null(bed.context.inside);
	assert_non_null(bed.context.names);
	bed_close(&bed);
}

/* Relays end with it, and are no longer counted. */
static void stops_relays(void **state)
{
	struct mesh_bed bed;
	int pairs[2][2];

	(void)state;
	bed_open(&bed);
	for (int i = 0; i < 2; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[i]), 0);
	assert_non_null(relay_start(bed.context.relays, pairs[0][0], pairs[1][0], NULL, NULL));
	assert_int_equal(bed.budget.used, 2);
	struct loop *loop = bed.context.loop;
	context_close(&bed.context);
	assert_int_equal(bed.budget.used, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(recv(pairs[i][1], &(char){0}, 1, 0), 0);
		close(pairs[i][1]);
	}
	context_close(&bed.context); /* all zero now */
	assert_int_equal(context_open(&bed.context, loop, &bed.budget, bed.door[0]), 0);
	bed_close(&bed);
}

static void leaves_nothing_half_made(void **state)
{
	struct budget budget = {.max = 1000};
	struct loop *loop = loop_new();
	struct conn_context context;
	int fds = count_fds();

	(void)state;
	assert_int_equal(context_open(&context, loop, &budget, 9999), -EBADF);
	context_close(&context);
	assert_int_equal(count_fds(), fds);
	loop_free(loop);
}

static void there_may_be_no_inside(void **state)
{
	struct budget budget = {.max = 1000};
	struct loop *loop = loop_new();
	struct conn_context context;
	int fds = count_fds();

	(void)state;
	assert_int_equal(context_open(&context, loop, &budget, -1), 0);
	assert_int_equal(loop_run_once(loop, 0), 0);
	context_close(&context);
	assert_int_equal(count_fds(), fds);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_all_parts),
		cmocka_unit_test(stops_relays),
		cmocka_unit_test(leaves_nothing_half_made),
		cmocka_unit_test(there_may_be_no_inside),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
