/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/child - the command that leads to a host: started, its end explained */
#include "mesh/manager/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/rights.h"
#include "util/fd.h"
#include "util/parse.h"

#define CHILDREN_MAX   4096
#define CHILDREN_BYTES 65536
#define NOT_EXECUTED   127

/* What the child says when it cannot be executed. */
struct report {
	int code;
	char program[256];
};

/* @cmd and the words of an agent; free the list, not its texts. */
static char **make_argv(char *const *cmd)
{
	static char own_name[] = "nswrap", agent[] = "agent", automated[] = "--automated";
	static char *const own[] = {own_name, NULL};
	size_t count = 0;

	if (!cmd)
		cmd = own;
	while (cmd[count])
		count++;
	char **argv = calloc(count + 3, sizeof(*argv));
	if (!argv)
		return NULL;
	memcpy(argv, cmd, count * sizeof(*argv));
	argv[count] = agent;
	argv[count + 1] = automated;
	return argv;
}

/* Between fork and exec; returns only when it cannot be executed. */
static int become(const char *program, char **argv, const int streams[3], int report_fd,
	const struct rlimit *nofile, pid_t parent)
{
	sigset_t none;

	for (int i = 0; i < 3; i++)
		if (dup2(streams[i], i) < 0)
			return errno;
	rights_keep_fds(&report_fd, 1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	setrlimit(RLIMIT_NOFILE, nofile);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(program, argv);
	return errno;
}

enum { CHILD_STDIN, CHILD_STDOUT, CHILD_STDERR, CHILD_REPORT, CHILD_PAIRS };

/* In each pair the first is for reading. */
struct pairs {
	int ends[CHILD_PAIRS][2];
};

static void close_pairs(struct pairs *made)
{
	for (size_t i = 0; i < CHILD_PAIRS; i++) {
		fd_close(&made->ends[i][0]);
		fd_close(&made->ends[i][1]);
	}
}

/*
 * Sockets move more bytes in less time than pipes do (docs/design.md). But a shell takes a socket
 * for rshd's and reads ~/.bashrc, which may print, and nobody can open /dev/stdin then.
 */
static bool may_have_sockets(char *const *cmd)
{
	const char *slash = cmd ? strrchr(cmd[0], '/') : NULL;

	return !cmd || strcmp(slash ? slash + 1 : cmd[0], "nswrap") == 0;
}

static int make_pairs(struct pairs *made, bool has_sockets)
{
	int result = 0;

	memset(made, -1, sizeof(*made));
	for (size_t i = 0; result == 0 && i < CHILD_PAIRS; i++) {
		if (has_sockets && (i == CHILD_STDIN || i == CHILD_STDOUT))
			result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made->ends[i]);
		else
			result = pipe2(made->ends[i], O_CLOEXEC);
	}
	if (result == 0)
		return 0;
	int code = errno;

	close_pairs(made);
	return -code;
}

int child_start(char *const *cmd, const struct rlimit *nofile, struct child *child,
	struct child_streams *streams, struct err *err)
{
	const char *program = cmd ? cmd[0] : "/proc/self/exe";
	struct pairs made;
	pid_t parent = getpid(), pid = -1;
	char **argv = make_argv(cmd);
	int result = argv ? make_pairs(&made, may_have_sockets(cmd)) : -ENOMEM;

	if (result < 0) {
		free(argv);
		return err_sys(err, -result, "cannot make pipes for a command");
	}
	pid = fork();
	if (pid == 0) {
		int theirs[3] = {made.ends[CHILD_STDIN][0], made.ends[CHILD_STDOUT][1],
			made.ends[CHILD_STDERR][1]};
		struct report report = {0};

		report.code =
			become(program, argv, theirs, made.ends[CHILD_REPORT][1], nofile, parent);
		snprintf(report.program, sizeof(report.program), "%s", program);
		fd_write_all(made.ends[CHILD_REPORT][1], &report, sizeof(report));
		_exit(NOT_EXECUTED);
	}
	result = pid < 0 ? -errno : 0;
	free(argv);
	if (result == 0) {
		*child = (struct child){pid, fd_take(&made.ends[CHILD_REPORT][0])};
		fd_set_nonblock(child->report, 1);
		streams->in = fd_take(&made.ends[CHILD_STDIN][1]);
		streams->out = fd_take(&made.ends[CHILD_STDOUT][0]);
		streams->err = fd_take(&made.ends[CHILD_STDERR][0]);
	}
	close_pairs(&made);
	return result < 0 ? err_sys(err, -result, "cannot fork") : 0;
}

void child_describe_end(struct child *child, int code, int status, char *out, size_t cap_bytes)
{
	struct report report;
	char shown[PARSE_QUOTE_BYTES];

	if (code == CLD_EXITED && status == NOT_EXECUTED && child->report >= 0 &&
		read(child->report, &report, sizeof(report)) == sizeof(report)) {
		report.program[sizeof(report.program) - 1] = '\0';
		snprintf(out, cap_bytes, "cannot be started: %s: %s",
			parse_shown(report.program, shown, sizeof(shown)), strerror(report.code));
	} else if (code == CLD_EXITED) {
		snprintf(out, cap_bytes, "ended with status %d", status);
	} else {
		snprintf(out, cap_bytes, "was ended by signal %d (%s)", status, strsignal(status));
	}
	fd_close(&child->report);
	child->pid = 0;
}

ssize_t children_list(pid_t *pids, size_t cap)
{
	char *text = malloc(CHILDREN_BYTES), *next = text, *end;
	unsigned long pid;
	size_t count = 0;

	if (!text)
		return -ENOMEM;
	ssize_t got = fd_read_file("/proc/thread-self/children", text, CHILDREN_BYTES);
	for (; got > 0 && count < cap && (end = strchr(next, ' ')); next = end + 1) {
		*end = '\0';
		if (parse_uint(next, 1UL << 30, &pid) == 0)
			pids[count++] = (pid_t)pid;
	}
	free(text);
	return got < 0 ? got : (ssize_t)count;
}

static bool is_among(pid_t pid, const pid_t *pids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

size_t children_kill_others(const pid_t *spared, size_t nspared)
{
	pid_t pids[CHILDREN_MAX];
	ssize_t count = children_list(pids, CHILDREN_MAX);
	size_t others = 0;

	for (ssize_t i = 0; i < count; i++) {
		if (is_among(pids[i], spared, nspared))
			continue;
		kill(pids[i], SIGKILL);
		others++;
	}
	return others;
}
