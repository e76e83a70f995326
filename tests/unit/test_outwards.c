/* SPDX-License-Identifier: Apache-2.0 */
/* test_outwards - sockets of the inside, and who makes them: stopped, or not let in */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "count_fds.h"
#include "sandbox/enter.h"
#include "sandbox/outwards.h"

#define POLL_MS    200
#define TOO_LONG_S 60

static bool is_stopped; /* who is forked stops itself */

static void on_child(void)
{
	if (is_stopped)
		raise(SIGSTOP);
}

/* Stands before the one of the C library: nothing is waited for that long. */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	const int ms = timeout_ms < 0 || timeout_ms > POLL_MS ? POLL_MS : timeout_ms;

	return ppoll(fds, count, &(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* Add one rule. Returns what outwards_add does: nothing is left behind of it. */
static int add(struct err *err)
{
	static const char *const names[] = {"user", "net", "mnt", "pid", "ipc"};
	const int before = count_fds();
	int namespaces[ENTER_NAMESPACES];
	struct outwards outwards = {.namespaces = namespaces};
	struct outward_spec spec;
	char path[64];

	for (size_t i = 0; i < ENTER_NAMESPACES; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		namespaces[i] = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(namespaces[i] >= 0);
	}
	assert_int_equal(outward_parse("6000:127.0.0.1:1", &spec, err), 0);
	alarm(TOO_LONG_S);
	int result = outwards_add(&outwards, &spec, 1, err);
	alarm(0);
	assert_int_equal(outwards.count, 0);
	for (size_t i = 0; i < ENTER_NAMESPACES; i++)
		close(namespaces[i]);
	assert_int_equal(count_fds(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return result;
}

/* It is in reach of those inside: they cannot have the supervisor wait for ever. */
static void a_maker_that_is_stopped(void **state)
{
	struct err err;

	(void)state;
	is_stopped = true;
	assert_int_equal(add(&err), -ETIMEDOUT);
	is_stopped = false;
	assert_non_null(strstr(err.text, "cannot listen at 127.0.0.1:6000 in the sandbox"));
}

/* Nobody enters the user namespace that he is in. */
static void a_maker_that_is_not_let_in(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(add(&err), -EINVAL);
	assert_non_null(strstr(err.text, "cannot listen at 127.0.0.1:6000 in the sandbox"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_maker_that_is_stopped),
		cmocka_unit_test(a_maker_that_is_not_let_in),
	};

	pthread_atfork(NULL, NULL, on_child);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
