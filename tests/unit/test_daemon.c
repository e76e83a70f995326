/* SPDX-License-Identifier: Apache-2.0 */
/* test_daemon - who has others at its socket, and who has not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/daemon.h"

static void serves(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[] = "/tmp/nsdXXXXXX";
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	assert_false(daemon_serves(getpid()));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_false(daemon_serves(getpid())); /* nobody is connected */
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	int accepted = accept(listener, NULL, NULL);
	assert_true(daemon_serves(getpid()));
	assert_true(daemon_serves_below(getpid()));
	/* an nswrap is asked about itself */
	prctl(PR_SET_NAME, "nswrap: x");
	assert_false(daemon_serves(getpid()));
	prctl(PR_SET_NAME, "test");
	/* what is below, and a process that is gone */
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	close(accepted);
	close(listener);
	assert_false(daemon_serves(getpid()));
	assert_true(daemon_serves_below(getpid()));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(daemon_serves(pid));
	assert_false(daemon_serves_below(getpid()));
	close(client);
	unlink(address.sun_path);
	rmdir(directory);
}

static void is_one(void **state)
{
	(void)state;
	assert_true(daemon_is_one(getpid()));
	prctl(PR_SET_NAME, "nswrap: init");
	assert_false(daemon_is_one(getpid()));
	prctl(PR_SET_NAME, "test");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(serves), cmocka_unit_test(is_one)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
