/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_inherited - who was there before, until it is reaped */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/inherited.h"

static pid_t start(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(1);
	}
	assert_true(pid > 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_those_of_before(void **state)
{
	struct inherited inherited = {.count = 0};
	pid_t before[3], after;

	(void)state;
	for (int i = 0; i < 3; i++)
		before[i] = start();
	inherited_find(&inherited);
	after = start();
	assert_int_equal(inherited.count, 3);
	assert_false(inherited_has(&inherited, after));
	inherited_forget(&inherited, after);
	/* in the middle, at the end, the last one */
	for (int i = 1; i <= 3; i++) {
		assert_true(inherited_has(&inherited, before[i % 3]));
		inherited_forget(&inherited, before[i % 3]);
		assert_false(inherited_has(&inherited, before[i % 3]));
		for (int later = i + 1; later <= 3; later++)
			assert_true(inherited_has(&inherited, before[later % 3]));
		end(before[i % 3]);
	}
	assert_int_equal(inherited.count, 0);
	end(after);
	/* of none, and of more than there is room for */
	inherited_find(&inherited);
	assert_int_equal(inherited.count, 0);
	pid_t many[INHERITED_MAX + 1];
	for (int i = 0; i <= INHERITED_MAX; i++)
		many[i] = start();
	inherited_find(&inherited);
	assert_int_equal(inherited.count, INHERITED_MAX);
	assert_in_range(inherited.count, 200, SIZE_MAX); /* more than any script leaves */
	for (int i = 0; i <= INHERITED_MAX; i++)
		end(many[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_those_of_before)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
