/* SPDX-License-Identifier: Apache-2.0 */
/* test_procfs - processes and their sockets are found, and nothing else */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/procfs.h"

static void processes(void **state)
{
	DIR *proc = opendir("/proc");
	bool has_seen_us = false;
	pid_t pid;

	(void)state;
	assert_non_null(proc);
	while ((pid = procfs_next_pid(proc)) != 0) {
		assert_true(pid > 0);
		has_seen_us |= pid == getpid();
	}
	closedir(proc);
	assert_true(has_seen_us);
	assert_int_equal(procfs_next_pid(NULL), 0);
}

static bool is_ours(void *owner, unsigned long inode)
{
	return inode == *(const unsigned long *)owner;
}

static bool count(void *owner, unsigned long inode)
{
	++*(int *)owner;
	(void)inode;
	return false;
}

static void sockets(void **state)
{
	int ends[2], pipe_ends[2], before = 0, after = 0;
	struct stat info;

	(void)state;
	assert_false(procfs_has_socket(getpid(), count, &before));
	assert_int_equal(pipe(pipe_ends), 0); /* a pipe is none */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(fstat(ends[1], &info), 0);
	unsigned long wanted = info.st_ino;
	assert_false(procfs_has_socket(getpid(), count, &after));
	assert_int_equal(after, before + 2);
	assert_true(procfs_has_socket(getpid(), is_ours, &wanted));
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	close(ends[1]);
	assert_false(procfs_has_socket(getpid(), is_ours, &wanted));
	assert_true(procfs_has_socket(pid, is_ours, &wanted));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_false(procfs_has_socket(pid, is_ours, &wanted));
	close(ends[0]);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void ignored(void **state)
{
	static const int signals[] = {SIGHUP, SIGTERM, SIGURG, SIGSYS};

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		assert_false(procfs_ignores(getpid(), signals[i]));
		void (*before)(int) = signal(signals[i], SIG_IGN);
		for (size_t j = 0; j < sizeof(signals) / sizeof(signals[0]); j++)
			assert_int_equal(procfs_ignores(getpid(), signals[j]), i == j);
		signal(signals[i], before);
	}
	assert_false(procfs_ignores(-1, SIGHUP));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processes), cmocka_unit_test(sockets), cmocka_unit_test(ignored)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
