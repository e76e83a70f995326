/* SPDX-License-Identifier: Apache-2.0 */
/* test_author - who is there, and who has ended */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/agent/author.h"

static const struct in_addr here = {0x0100007f}, there = {0x0200007f};

static void who_has_ended(void **state)
{
	struct marked_author self = author_self(here), other = self;
	int ends[2];

	(void)state;
	assert_int_equal(self.pid, getpid());
	assert_int_not_equal(self.started, 0);
	assert_int_not_equal(self.pidns, 0);
	assert_false(author_is_over(&self, &self));
	/* another process, which has a socket's end of ours until it ends */
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		char byte;

		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0);
	}
	assert_true(child > 0);
	other.pid = (uint32_t)child;
	other.started = 0;
	assert_false(author_is_over(&other, &self));
	other.started = 1; /* of a former one */
	assert_true(author_is_over(&other, &self));
	other.started = 0;
	close(ends[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(author_is_over(&other, &self));
	close(ends[0]);
	other.pid = UINT32_MAX;
	assert_true(author_is_over(&other, &self));
}

static void one_of_another_namespace(void **state)
{
	struct marked_author self = author_self(here), other = self;

	(void)state;
	other.pidns++;
	assert_true(author_is_over(&other, &self));
	other.vip = there;
	assert_false(author_is_over(&other, &self));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_ended),
		cmocka_unit_test(one_of_another_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
