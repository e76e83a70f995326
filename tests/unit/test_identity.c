/* SPDX-License-Identifier: Apache-2.0 */
/* test_identity - who listens is asked only if it is where we are, and who it was */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/identity.h"
#include "util/unixsock.h"

#define NAME "who.sock"

/* A child that listens, and ends when our end of its pipe does. */
struct bed {
	char dir[64];
	int dir_fd, end_fd;
	pid_t child;
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	strcpy(bed->dir, "/tmp/test_identity.XXXXXX");
	assert_non_null(mkdtemp(bed->dir));
	bed->dir_fd = open(bed->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bed->end_fd = -1;
	assert_true(bed->dir_fd >= 0);
	*state = bed;
	return 0;
}

static void end(struct bed *bed)
{
	close(bed->end_fd);
	waitpid(bed->child, NULL, 0);
	unlinkat(bed->dir_fd, NAME, 0);
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	close(bed->dir_fd);
	int result = rmdir(bed->dir);
	free(bed);
	return result;
}

struct listener {
	int flags; /* namespaces of its own, for unshare(2) */
	const char *comm;
	bool is_hidden, is_left_to_a_child;
	int family_fd; /* it has one, and says so there; 0: none */
};

static void a_family(int pids_fd);

static void listen_and_wait(struct bed *bed, const struct listener *listener, int end_fd, int go_fd)
{
	struct unixsock_id id;
	char byte = 'n';

	if (listener->flags == 0 || unshare(listener->flags) == 0)
		byte = unixsock_listen(bed->dir_fd, NAME, SOCK_SEQPACKET, &id) >= 0 ? 'y' : 'e';
	if (listener->comm)
		prctl(PR_SET_NAME, listener->comm);
	if (listener->is_hidden)
		prctl(PR_SET_DUMPABLE, 0);
	if (listener->family_fd > 0)
		a_family(listener->family_fd);
	pid_t self = getpid();
	if (listener->is_left_to_a_child && fork() != 0)
		_exit(0);
	while (listener->is_left_to_a_child && getppid() == self)
		usleep(1000);
	if (write(go_fd, &byte, 1) != 1 || read(end_fd, &byte, 1) != 0)
		_exit(1);
	_exit(0);
}

/* Returns false if its namespaces cannot be had. */
static bool start(struct bed *bed, const struct listener *listener)
{
	int wait_for_end[2], go[2];
	char byte = 0;

	assert_true(pipe2(wait_for_end, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	bed->child = fork();
	if (bed->child == 0) {
		close(wait_for_end[1]);
		listen_and_wait(bed, listener, wait_for_end[0], go[1]);
	}
	close(wait_for_end[0]);
	close(go[1]);
	bed->end_fd = wait_for_end[1];
	assert_int_equal(read(go[0], &byte, 1), 1);
	close(go[0]);
	assert_int_not_equal(byte, 'e');
	if (byte == 'n')
		end(bed);
	return byte == 'y';
}

static int check(struct bed *bed, struct err *err)
{
	int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);

	assert_true(sock >= 0);
	*err = (struct err){0};
	int result = identity_check(sock, err);
	close(sock);
	return result;
}

static void refused(void **state, const struct listener *listener, const char *reason)
{
	struct bed *bed = *state;
	struct err err;
	char pid[16];

	if (!start(bed, listener))
		skip();
	snprintf(pid, sizeof(pid), "PID %d ", bed->child);
	int result = check(bed, &err);
	end(bed);
	assert_int_equal(result, -EPERM);
	assert_non_null(strstr(err.text, reason));
	assert_non_null(strstr(err.text, pid));
}

static void one_of_ours(void **state)
{
	static const struct listener good[] = {
		{.flags = 0}, {.is_hidden = true}, {.comm = "nswrap: mesh", .is_hidden = true}};
	struct bed *bed = *state;
	struct err err;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(start(bed, &good[i]));
		int result = check(bed, &err);
		end(bed);
		assert_string_equal(err.text, "");
		assert_int_equal(result, 0);
	}
}

static void inside_a_sandbox(void **state)
{
	refused(state, &(struct listener){.flags = CLONE_NEWUSER | CLONE_NEWNET, .comm = "nswrap"},
		"(nswrap) is inside a sandbox");
}

static void in_a_user_namespace_alone(void **state)
{
	refused(state, &(struct listener){.flags = CLONE_NEWUSER}, "is inside a sandbox");
}

/* As one who hides from us: by its network namespace alone. */
static void in_another_network(void **state)
{
	if (geteuid() != 0)
		skip();
	refused(state,
		&(struct listener){.flags = CLONE_NEWNET, .is_hidden = true, .comm = "nswrap"},
		"is in another network namespace");
}

static void another_program(void **state)
{
	refused(state, &(struct listener){.comm = "e\033vil"}, "(e\\x1bvil) is no nswrap");
}

static void killed_if_it_is_ours(void **state)
{
	struct bed *bed = *state;
	struct err err = {0};
	siginfo_t info;

	for (int is_ours = 0; is_ours < 2; is_ours++) {
		assert_true(start(bed, &(struct listener){.comm = is_ours ? NULL : "other"}));
		kill(bed->child, SIGSTOP); /* one that hangs */
		int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
		assert_true(sock >= 0);
		assert_int_equal(identity_kill(sock, 5000, &err), is_ours ? 0 : -EPERM);
		close(sock);
		info.si_pid = 0;
		waitid(P_PID, (id_t)bed->child, &info, WEXITED | WNOHANG | WNOWAIT);
		assert_int_equal(info.si_pid, is_ours ? bed->child : 0);
		kill(bed->child, SIGCONT);
		end(bed);
	}
}

/* Somebody else has ended it, between our connection and our look. */
static void ended_meanwhile(void **state)
{
	struct bed *bed = *state;
	struct err err = {0};

	for (int is_supervisor = 0; is_supervisor < 2; is_supervisor++) {
		assert_true(start(bed, &(struct listener){.flags = 0}));
		int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
		assert_true(sock >= 0);
		kill(bed->child, SIGKILL);
		end(bed);
		assert_int_equal(is_supervisor ? identity_end(sock, 5000, 5000, &err)
					       : identity_kill(sock, 5000, &err),
			0);
		close(sock);
	}
}

/* Below it one that is stopped, and has a child itself; it does not listen to SIGTERM. */
static void a_family(int pids_fd)
{
	pid_t pids[2];

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGTERM, SIG_IGN);
	pids[0] = fork();
	if (pids[0] > 0)
		return;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pids[0] = getpid();
	pids[1] = fork();
	if (pids[1] == 0)
		for (;;)
			pause();
	if (write(pids_fd, pids, sizeof(pids)) == sizeof(pids))
		raise(SIGSTOP);
	_exit(1);
}

static bool is_there(pid_t pid)
{
	char path[64], stat[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return false;
	bool is_zombie = fgets(stat, sizeof(stat), file) && strstr(stat, ") Z ");
	fclose(file);
	return !is_zombie;
}

/* @hangs: it does not end when it is asked to. */
static void ended_with_its_family(struct bed *bed, bool hangs)
{
	struct err err = {0};
	pid_t family[2];
	int pids[2];

	assert_int_equal(pipe(pids), 0);
	assert_true(start(bed, &(struct listener){.family_fd = hangs ? pids[1] : 0}));
	if (hangs)
		assert_int_equal(read(pids[0], family, sizeof(family)), sizeof(family));
	int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
	assert_true(sock >= 0);
	assert_int_equal(identity_end(sock, hangs ? 50 : 5000, 5000, &err), 0);
	close(sock);
	int status;
	assert_int_equal(waitpid(bed->child, &status, 0), bed->child);
	assert_int_equal(WTERMSIG(status), hangs ? SIGKILL : SIGTERM);
	for (int i = 0; hangs && i < 2; i++)
		assert_false(is_there(family[i]));
	close(pids[0]);
	close(pids[1]);
	end(bed);
}

static void ended_if_it_is_ours(void **state)
{
	struct bed *bed = *state;
	struct err err = {0};

	ended_with_its_family(bed, false);
	ended_with_its_family(bed, true);
	assert_true(start(bed, &(struct listener){.comm = "other"}));
	int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
	assert_int_equal(identity_end(sock, 50, 50, &err), -EPERM);
	close(sock);
	assert_int_equal(waitpid(bed->child, NULL, WNOHANG), 0);
	end(bed);
}

/* The process that listened has gone: its number may be anybody's. */
static void left_to_a_child(void **state)
{
	int probe[2], pidfd;
	socklen_t len = sizeof(pidfd);

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, probe), 0);
	bool is_known = getsockopt(probe[0], SOL_SOCKET, 77 /* SO_PEERPIDFD */, &pidfd, &len) == 0;
	close(probe[0]);
	close(probe[1]);
	if (!is_known)
		skip();
	close(pidfd);
	refused(state, &(struct listener){.is_left_to_a_child = true}, "has ended");

	struct bed *bed = *state;
	struct err err = {0};
	assert_true(start(bed, &(struct listener){.is_left_to_a_child = true}));
	int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
	assert_true(sock >= 0);
	assert_int_equal(identity_kill(sock, 50, &err), -EPERM);
	close(sock);
	end(bed);
}

static void another_user(void **state)
{
	struct bed *bed = *state;
	struct err err;
	pid_t child;
	int status;

	if (geteuid() != 0)
		skip();
	assert_true(start(bed, &(struct listener){.flags = 0}));
	int sock = unixsock_connect(bed->dir_fd, NAME, SOCK_SEQPACKET);
	assert_true(sock >= 0);
	child = fork();
	if (child == 0)
		_exit(seteuid(4321) == 0 && identity_check(sock, &err) == -EPERM &&
					strstr(err.text, "another user (uid 0)")
				? 0
				: 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(sock);
	end(bed);
	assert_int_equal(status, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(one_of_ours),
		TEST(inside_a_sandbox),
		TEST(in_a_user_namespace_alone),
		TEST(in_another_network),
		TEST(another_program),
		TEST(killed_if_it_is_ours),
		TEST(ended_if_it_is_ours),
		TEST(ended_meanwhile),
		TEST(left_to_a_child),
		TEST(another_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
