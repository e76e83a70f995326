/* SPDX-License-Identifier: Apache-2.0 */
/* test_streams - a command's streams: sockets for nswrap, pipes for others */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/streams.h"

static mode_t kind_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return st.st_mode & S_IFMT;
}

static void expect(const char *program, mode_t kind)
{
	struct streams streams;
	char byte = 0;

	assert_int_equal(streams_open(&streams, program, NULL), 0);
	for (int i = 0; i < STREAMS_COUNT; i++) {
		const int *pair = streams.pairs[i];

		assert_int_equal(kind_of(pair[0]), i == STREAMS_STDERR ? S_IFIFO : kind);
		assert_int_equal(write(pair[1], "x", 1), 1);
		assert_int_equal(read(pair[0], &byte, 1), 1);
		assert_int_equal(byte, 'x');
	}
	int first = streams.pairs[0][0];
	streams_close(&streams);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	assert_int_equal(streams.pairs[0][0], -1);
}

static void nswrap_has_sockets_others_pipes(void **state)
{
	(void)state;
	expect("nswrap", S_IFSOCK);
	expect("/usr/bin/nswrap", S_IFSOCK);
	expect("ssh", S_IFIFO);
	expect("/nswrap/sh", S_IFIFO);
}

static void nothing_is_left_of_a_failure(void **state)
{
	struct rlimit limit, few;
	struct streams streams;
	struct err err;
	(void)state;

	int next = dup(0);
	close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	few = (struct rlimit){(rlim_t)next + 3, limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &few);
	int result = streams_open(&streams, "sh", &err);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(result, -EMFILE);
	assert_int_equal(streams.pairs[0][0], -1);
	int again = dup(0);
	assert_int_equal(again, next);
	close(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nswrap_has_sockets_others_pipes),
		cmocka_unit_test(nothing_is_left_of_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
