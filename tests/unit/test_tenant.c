/* SPDX-License-Identifier: Apache-2.0 */
/* test_tenant - the last one that comes is the host: those before it end, and nobody else does */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/tenant.h"
#include "util/fd.h"

#define MESH   "0123456789abcdef"
#define HOST_A MESH "00000000000000aa"
#define HOST_B MESH "00000000000000bb"
#define HOST_C MESH "00000000000000cc"
#define HOST_D MESH "00000000000000dd"
#define OTHER  "1123456789abcdef00000000000000aa"

#define ENDED_BY_ITSELF 7

/* The place of this test's sockets: nothing of the user's own is looked at first. */
static char place[] = "/tmp/test_tenant.XXXXXX";

static bool exists(const char *name)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/nswrap/%s", place, name);
	return lstat(path, &st) == 0;
}

static void on_term(int sig)
{
	(void)sig;
	_exit(ENDED_BY_ITSELF);
}

/* A process that is a host from when this returns until it is ended. */
static pid_t start(enum tenant_kind kind, const char *identity)
{
	int pipe_fds[2];
	char byte;

	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct tenant tenant = {.listen_fd = -1};
		struct err err;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, on_term);
		if (tenant_claim(&tenant, kind, identity, &err) != 0 ||
			write(pipe_fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	close(pipe_fds[0]);
	return pid;
}

static bool lives(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == 0;
}

static int wait_for_end(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void finish(pid_t pid)
{
	kill(pid, SIGKILL);
	wait_for_end(pid);
}

static void identities_end_in_the_name_of_a_file(void **state)
{
	static const char *const wrong[] = {"", "../x", "A", "0g", "a/b", "a b"};
	char longest[TENANT_IDENTITY_MAX + 2];
	struct err err;

	(void)state;
	memset(longest, 'f', sizeof(longest));
	longest[TENANT_IDENTITY_MAX + 1] = '\0';
	assert_int_equal(tenant_check_identity(longest, &err), -EINVAL);
	longest[TENANT_IDENTITY_MAX] = '\0';
	assert_int_equal(tenant_check_identity(longest, &err), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct tenant tenant = {.listen_fd = -1};

		assert_int_equal(tenant_check_identity(wrong[i], &err), -EINVAL);
		assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, wrong[i], &err), -EINVAL);
		assert_int_equal(tenant.listen_fd, -1);
	}
}

static void who_is_it_stays_it(void **state)
{
	struct tenant tenant = {.listen_fd = -1};
	struct err err;

	(void)state;
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), 0);
	assert_true(exists("agent-" HOST_A));
	const int fd = tenant.listen_fd;
	/* or it would end itself */
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), 0);
	assert_int_equal(tenant.listen_fd, fd);
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_B, &err), 0);
	assert_false(exists("agent-" HOST_A));
	assert_true(exists("agent-" HOST_B));
	tenant_end(&tenant);
	assert_false(exists("agent-" HOST_B));
	assert_int_equal(tenant.listen_fd, -1);
	tenant_end(&tenant);
}

/* An agent has nothing that wants an end of its own, also if it is stopped; a sandbox has. */
static void the_one_before_ends(void **state)
{
	struct tenant tenant = {.listen_fd = -1};
	struct err err;

	(void)state;
	pid_t other = start(TENANT_AGENT, HOST_B), agent = start(TENANT_AGENT, HOST_A),
	      sandbox = start(TENANT_SANDBOX, HOST_C);
	kill(agent, SIGSTOP);
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), 1);
	int status = wait_for_end(agent);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(exists("agent-" HOST_A));
	assert_true(lives(other) && lives(sandbox));
	/* whatever its kind */
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_C, &err), 1);
	status = wait_for_end(sandbox);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == ENDED_BY_ITSELF);
	assert_true(lives(other));
	tenant_end(&tenant);
	finish(other);
}

static void a_killed_one_is_in_nobodys_way(void **state)
{
	struct tenant tenant = {.listen_fd = -1};
	struct err err;

	(void)state;
	finish(start(TENANT_AGENT, HOST_A));
	assert_true(exists("agent-" HOST_A));
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), 0);
	tenant_end(&tenant);
	assert_false(exists("agent-" HOST_A));
}

static void kin_are_hosts_of_the_same_mesh(void **state)
{
	struct tenant tenant = {.listen_fd = -1};
	pid_t found[4];
	struct err err;

	(void)state;
	pid_t other = start(TENANT_AGENT, OTHER), b = start(TENANT_AGENT, HOST_B);
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), 0);
	assert_int_equal(tenant_kin(HOST_A, found, 4), 1);
	assert_int_equal(found[0], b);
	pid_t c = start(TENANT_AGENT, HOST_C), sandbox = start(TENANT_SANDBOX, HOST_D);
	assert_int_equal(tenant_kin(HOST_A, found, 4), 2);
	assert_true((found[0] == b && found[1] == c) || (found[0] == c && found[1] == b));
	assert_int_equal(tenant_kin(HOST_A, found, 1), 1);
	finish(b);
	assert_int_equal(tenant_kin(HOST_A, found, 4), 1);
	assert_int_equal(found[0], c);
	/* who looks leaves nothing behind, so that there is always room for who takes over */
	struct pollfd looked = {.fd = tenant.listen_fd, .events = POLLIN};
	assert_int_equal(tenant_kin(HOST_B, found, 4), 2);
	assert_int_equal(poll(&looked, 1, 0), 1);
	tenant_shed(&tenant);
	assert_int_equal(poll(&looked, 1, 0), 0);
	tenant_end(&tenant);
	finish(c);
	finish(sandbox);
	finish(other);
}

/* A socket in our place proves nothing: it may be a program of a sandbox that has it. */
static void an_impostor_is_left_alone(void **state)
{
	struct tenant tenant = {.listen_fd = -1};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int ready[2];
	char byte;
	pid_t found[4];
	struct err err;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nswrap/agent-%s", place, HOST_A);
	pid_t pid = fork();
	if (pid == 0) {
		int sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int comm = open("/proc/self/comm", O_WRONLY);

		if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(sock, 8) < 0 ||
			write(comm, "python3", 7) != 7 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(tenant_claim(&tenant, TENANT_AGENT, HOST_A, &err), -EPERM);
	assert_int_equal(tenant_kin(HOST_B, found, 4), 0);
	assert_true(lives(pid));
	finish(pid);
	unlink(addr.sun_path);
	close(ready[0]);
	close(ready[1]);
	tenant_end(&tenant);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(place) && setenv("XDG_RUNTIME_DIR", place, 1) == 0 ? 0 : -1;
}

/* Files of those that were killed. */
static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", place);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identities_end_in_the_name_of_a_file),
		cmocka_unit_test(who_is_it_stays_it),
		cmocka_unit_test(the_one_before_ends),
		cmocka_unit_test(a_killed_one_is_in_nobodys_way),
		cmocka_unit_test(kin_are_hosts_of_the_same_mesh),
		cmocka_unit_test(an_impostor_is_left_alone),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
