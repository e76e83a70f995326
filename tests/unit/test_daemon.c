/* SPDX-License-Identifier: Apache-2.0 */
/* test_daemon - who has others at its socket, and who has not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/daemon.h"
#include "proc/tree.h"

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
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ends[2], kept[3];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (int fd = 0; fd < 3; fd++) {
		kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		dup2(null, fd);
	}
	bool is_daemon = daemon_is_one(getpid());
	dup2(ends[1], STDERR_FILENO); /* somebody waits for its words */
	bool has_pipe = daemon_is_one(getpid());
	dup2(null, STDERR_FILENO);
	prctl(PR_SET_NAME, "nswrap: init");
	bool is_ours = daemon_is_one(getpid()) || daemon_keeps(getpid());
	prctl(PR_SET_NAME, "nswrap: keeper");
	is_ours |= daemon_is_one(getpid()) || !daemon_keeps(getpid());
	prctl(PR_SET_NAME, "test");
	for (int fd = 0; fd < 3; fd++) {
		dup2(kept[fd], fd);
		close(kept[fd]);
	}
	assert_true(is_daemon);
	assert_false(has_pipe);
	assert_false(is_ours);
	close(ends[0]);
	close(ends[1]);
	close(null);
}

/* A zombie has no files: that says nothing of what it was. */
static void who_ends_is_none(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_false(tree_is_ending(getpid()));
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_true(tree_is_ending(pid));
	assert_int_equal(tree_parent(pid), getpid());
	assert_false(daemon_is_one(pid));
	waitpid(pid, NULL, 0);
	assert_false(tree_is_ending(pid));
	assert_int_equal(tree_parent(pid), -1);
}

static pid_t with_ends(int in, int out)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	int kept[] = {fcntl(in, F_DUPFD, 1000), fcntl(out, F_DUPFD, 1000)};
	close_range(3, 999, 0);
	close_range((unsigned)(kept[0] > kept[1] ? kept[0] : kept[1]) + 1, ~0U, 0);
	prctl(PR_SET_NAME, "ready");
	pause();
	_exit(0);
}

static void await_ready(pid_t pid)
{
	char path[64], name[16] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	for (int tries = 0; tries < 5000 && strcmp(name, "ready\n") != 0; tries++) {
		FILE *file = fopen(path, "re");
		assert_non_null(file);
		if (!fgets(name, sizeof(name), file))
			name[0] = '\0';
		fclose(file);
		usleep(1000);
	}
	assert_string_equal(name, "ready\n");
}

static bool is_it(const void *owner, pid_t pid)
{
	return pid == *(const pid_t *)owner;
}

/* Who has the other ends of both, and not just some, or the same. */
static void helps(void **state)
{
	int there[2], back[2];

	(void)state;
	assert_int_equal(pipe2(there, O_CLOEXEC), 0);
	assert_int_equal(pipe2(back, O_CLOEXEC), 0);
	const pid_t left = with_ends(back[0], there[1]), helper = with_ends(there[0], back[1]),
		    same = with_ends(back[0], there[1]), half = with_ends(there[0], there[0]),
		    nobody = 0;
	const pid_t all[] = {left, helper, same, half};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		await_ready(all[i]);
	bool found[] = {daemon_is_helper(helper, is_it, &left),
		daemon_is_helper(same, is_it, &left), daemon_is_helper(half, is_it, &left),
		daemon_is_helper(left, is_it, &left), daemon_is_helper(helper, is_it, &half),
		daemon_is_helper(helper, is_it, &nobody)};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		kill(all[i], SIGKILL);
		waitpid(all[i], NULL, 0);
	}
	assert_true(found[0]);
	for (size_t i = 1; i < sizeof(found) / sizeof(found[0]); i++)
		assert_false(found[i]);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
}

/* Below this process: one in its session, one in its own, and one that ignores SIGHUP. */
static void is_counted(void **state)
{
	pid_t pids[3];
	int ready[2];
	char bytes[3];

	(void)state;
	signal(SIGHUP, SIG_DFL); /* whoever has started this test */
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			if (i == 1)
				setsid();
			signal(SIGHUP, i == 2 ? SIG_IGN : SIG_DFL);
			_exit(write(ready[1], "x", 1) == 1 ? pause() : 1);
		}
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(read(ready[0], bytes, 1), 1);
	size_t found[] = {daemon_count(getsid(0), NULL, NULL),
		daemon_count(getsid(0), is_it, &pids[0]), daemon_count(getsid(0), is_it, &pids[1]),
		daemon_count(getsid(0), is_it, &pids[2])};
	for (int i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	assert_int_equal(found[0], 2);
	assert_int_equal(found[1], 2);
	assert_int_equal(found[2], 1);
	assert_int_equal(found[3], 1);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(serves), cmocka_unit_test(is_one),
		cmocka_unit_test(who_ends_is_none), cmocka_unit_test(helps),
		cmocka_unit_test(is_counted)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
