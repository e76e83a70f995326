/* SPDX-License-Identifier: Apache-2.0 */
/* test_estate - a keeper that the kernel does not let end; the rest: e2e/test_mesh_kept.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/agent/estate.h"
#include "util/clock.h"

#define HELD_S   30
#define ENOUGH_S 15

/* What is traced has not ended before its tracer has seen it, which does not look. */
static void a_held_keeper_does_not_hold_the_agent(void **state)
{
	struct addr addr = addr_loopback4(80);
	int pair[2], ready[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid_t keeper = fork();
	if (keeper == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	pid_t tracer = fork();
	if (tracer == 0) {
		alarm(HELD_S);
		if (ptrace(PTRACE_SEIZE, keeper, NULL, NULL) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	struct estate estate = {
		.loop = loop_new(), .io.fd = pair[0], .dir_fd = -1, .stay_s = 1, .pid = keeper};
	close(pair[1]);
	uint64_t began_ns = clock_now_ns();
	estate_add(&estate, PROTO_TCP, &addr, STDIN_FILENO);
	assert_true(clock_now_ns() - began_ns < ENOUGH_S * NS_PER_S);
	assert_int_equal(estate.pid, 0);
	assert_int_equal(kill(tracer, SIGKILL), 0);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	assert_int_equal(waitpid(keeper, NULL, 0), keeper);
	estate_let_go(&estate);
	loop_free(estate.loop);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_held_keeper_does_not_hold_the_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
