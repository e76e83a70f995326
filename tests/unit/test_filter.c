/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_filter - what the net process may still ask of the kernel, each call in a child */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/filter.h"

#define SIGSYS_STATUS (128 + SIGSYS)

struct call {
	const char *name;
	void (*make)(void);
};

/* The status of a child that loads the filter and makes the call, as a shell shows it. */
static int try(void (*make)(void))
{
	struct rlimit no_core = {0, 0};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || filter_net_process() < 0)
			_exit(99);
		make();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void check(int ok)
{
	if (!ok)
		_exit(1);
}

/* --- not fatal ----------------------------------------------------------------------------- */

static void socket_inet(void)
{
	check(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}

static void socket_inet6(void)
{
	/* a host without IPv6 refuses it by itself */
	check(socket(AF_INET6, SOCK_DGRAM, 0) >= 0 || errno == EAFNOSUPPORT);
}

static void read_file(void)
{
	char byte;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	check(fd >= 0 && read(fd, &byte, 1) == 1 && close(fd) == 0);
}

static void plain_memory(void)
{
	char *text = malloc(1 << 20);

	check(text != NULL);
	text[12345] = 1;
	free(text);
}

static void pipe_size(void)
{
	int ends[2];

	check(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 && fcntl(ends[0], F_GETPIPE_SZ) > 0);
}

static void socket_unix(void)
{
	check(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT);
}

/* --- fatal --------------------------------------------------------------------------------- */

static void socket_netlink(void)
{
	socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static void socket_packet(void)
{
	socket(AF_PACKET, SOCK_RAW, 0);
}

static void open_write_only(void)
{
	open("/dev/null", O_WRONLY);
}

static void open_read_write(void)
{
	open("/dev/null", O_RDWR);
}

static void open_create(void)
{
	open("/nonexistent/file", O_RDONLY | O_CREAT, 0600);
}

static void open_truncate(void)
{
	open("/nonexistent/file", O_RDONLY | O_TRUNC);
}

static void open_by_number(void)
{
	/* the old call, which the filter must not forget */
#ifdef SYS_open
	syscall(SYS_open, "/dev/null", O_RDWR);
#else
	open_read_write();
#endif
}

static void execute(void)
{
	char *argv[] = {(char *)"true", NULL};

	execve("/bin/true", argv, NULL);
}

static void fork_process(void)
{
	if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0)
		_exit(0);
}

static void map_executable(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void trace(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
}

static void signal_parent(void)
{
	kill(getppid(), 0);
}

static void make_namespace(void)
{
	syscall(SYS_unshare, 0);
}

static void mount_something(void)
{
	mount("tmpfs", "/nonexistent", "tmpfs", 0, NULL);
}

static void remove_file(void)
{
	unlink("/nonexistent/file");
}

static void change_mode(void)
{
	chmod("/nonexistent/file", 0600);
}

static void push_input(void)
{
	ioctl(0, TIOCSTI, "x");
}

static void set_owner(void)
{
	fcntl(0, F_SETOWN, 1);
}

static void become_traceable(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void use_ring(void)
{
	syscall(SYS_io_uring_setup, 1, NULL);
}

static const struct call not_fatal[] = {
	{"socket(AF_INET)", socket_inet},
	{"socket(AF_INET6)", socket_inet6},
	{"socket(AF_UNIX), refused", socket_unix},
	{"open and read a file", read_file},
	{"malloc", plain_memory},
	{"pipe2 and F_GETPIPE_SZ", pipe_size},
};

static const struct call fatal[] = {
	{"socket(AF_NETLINK)", socket_netlink},
	{"socket(AF_PACKET)", socket_packet},
	{"open for writing", open_write_only},
	{"open for both", open_read_write},
	{"open with O_CREAT", open_create},
	{"open with O_TRUNC", open_truncate},
	{"open(2)", open_by_number},
	{"execve", execute},
	{"fork", fork_process},
	{"mmap(PROT_EXEC)", map_executable},
#ifndef __SANITIZE_ADDRESS__ /* its run-time needs these */
	{"mprotect(PROT_EXEC)", make_executable},
	{"prctl(PR_SET_DUMPABLE)", become_traceable},
#endif
	{"ptrace", trace},
	{"kill", signal_parent},
	{"unshare", make_namespace},
	{"mount", mount_something},
	{"unlink", remove_file},
	{"chmod", change_mode},
	{"ioctl(TIOCSTI)", push_input},
	{"fcntl(F_SETOWN)", set_owner},
	{"io_uring_setup", use_ring},
};

static void test_not_fatal(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(not_fatal) / sizeof(not_fatal[0]); i++) {
		int status = try(not_fatal[i].make);

		if (status == 0)
			continue;
		print_error("%s: status %d, not %d\n", not_fatal[i].name, status, 0);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void test_fatal(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		int status = try(fatal[i].make);

		if (status == SIGSYS_STATUS)
			continue;
		print_error("%s: status %d, not %d\n", fatal[i].name, status, SIGSYS_STATUS);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_fatal),
		cmocka_unit_test(test_fatal),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
