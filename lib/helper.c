/* SPDX-License-Identifier: Apache-2.0 */
/* lib/helper - start the program nswrap beside the caller, who notices nothing of it */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "proc/clone.h"

#define BORN_MS   30000         /* until we have its pidfd */
#define HEARD_MS  2000          /* from then to its execve(2) */
#define KILLED_MS 1000          /* from SIGKILL to the end */
#define BY_PIDFD  ((idtype_t)3) /* P_PIDFD: Linux 5.4, glibc 2.36 */

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* --- time --------------------------------------------------------------------------------- */

int64_t nsw_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t nsw_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : nsw_now_ms() + timeout_ms;
}

int nsw_left_ms(int64_t deadline_ms)
{
	int64_t left = deadline_ms - nsw_now_ms();

	if (deadline_ms < 0)
		return -1;
	return left > INT_MAX ? INT_MAX : left > 0 ? (int)left : 0;
}

/* --- where the program is ----------------------------------------------------------------- */

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

int nsw_helper_find(char out[PATH_MAX], struct nswrap_error *error)
{
	const char *given = getenv("NSWRAP"), *path = getenv("PATH");

	if (given && *given) {
		if (snprintf(out, PATH_MAX, "%s", given) >= PATH_MAX)
			return nsw_fault(error, ENAMETOOLONG, "NSWRAP is too long a path");
		/* inside a sandbox, and with -C, it must be the same */
		char *whole = realpath(given, NULL);
		if (!whole || !is_program(whole)) {
			int code = errno;
			free(whole);
			return nsw_fault(error, code,
				"NSWRAP is %.300s: expected the program nswrap", given);
		}
		snprintf(out, PATH_MAX, "%s", whole);
		free(whole);
		return 0;
	}
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
		size_t len = strcspn(path, ":");
		/* an empty word is the current directory, which is nobody's wish today */
		if (len > 0 && *path == '/' &&
			snprintf(out, PATH_MAX, "%.*s/nswrap", (int)len, path) < PATH_MAX &&
			is_program(out))
			return 0;
		path += len + (path[len] == ':');
	}
	return nsw_fault(error, ENOENT,
		"there is no program nswrap in PATH: expected it there, or its path in NSWRAP");
}

/* --- in the children: only what is async-signal-safe --------------------------------------- */

struct report {
	int code; /* errno of what failed; 0: the helper's pidfd comes along */
	pid_t pid;
};

static void report(int fd, int code, pid_t pid, int pidfd)
{
	struct report words = {code, pid};
	struct iovec iov = {&words, sizeof(words)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {{0}};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (pidfd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &pidfd, sizeof(pidfd));
	}
	while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void close_from(int first)
{
	struct rlimit limit;

	if (syscall(SYS_close_range, first, ~0U, 0) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	/* kernels before 5.9 */
	int end = limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
	for (int fd = first; fd < end; fd++)
		close(fd);
}

/* Put the descriptors to their places; @report_fd to the place behind them, close-on-exec. */
static int place(const struct nsw_start *start, int words, int *report_fd)
{
	int high[NSW_FDS_MAX + 1];

	for (int i = 0; i <= start->nfds; i++) {
		int fd = i == start->nfds       ? *report_fd
			 : i == start->words_at ? words
						: start->fds[i];
		int opened = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : fd;
		high[i] = opened < 0 ? -1 : fcntl(opened, F_DUPFD_CLOEXEC, 2 * NSW_FDS_MAX);
		if (high[i] < 0)
			return errno;
	}
	for (int i = 0; i <= start->nfds; i++)
		if (dup2(high[i], i) < 0)
			return errno;
	*report_fd = start->nfds;
	fcntl(*report_fd, F_SETFD, FD_CLOEXEC);
	close_from(start->nfds + 1);
	return 0;
}

static void default_signals(void)
{
	struct sigaction none = {.sa_handler = SIG_DFL};
	sigset_t empty;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &none, NULL);
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
}

__attribute__((noreturn)) static void become_helper(
	const struct nsw_start *start, char *const *argv, int words, int report_fd)
{
	int code = place(start, words, &report_fd);

	if (code == 0) {
		if (start->is_apart)
			setsid();
		default_signals();
		execv(argv[0], argv);
		code = errno;
	}
	report(report_fd, code, 0, -1);
	_exit(127);
}

__attribute__((noreturn)) static void be_between(
	const struct nsw_start *start, char *const *argv, int words, int report_fd)
{
	int pidfd = -1;
	pid_t pid = clone_fork(CLONE_PIDFD | SIGCHLD, &pidfd);

	if (pid == 0)
		become_helper(start, argv, words, report_fd);
	report(report_fd, pid < 0 ? errno : 0, pid, pid < 0 ? -1 : pidfd);
	_exit(0);
}

/* --- in the caller ------------------------------------------------------------------------ */

ssize_t nsw_receive(int sock, void *out, size_t len, int *fd)
{
	struct iovec iov = {out, len};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return got;
}

/* Returns the code of one report, or -1 at the end of them; who was started into @helper. */
static int take_report(int sock, struct nsw_helper *helper)
{
	struct report words = {.code = 0};
	int pidfd;

	if (nsw_receive(sock, &words, sizeof(words), &pidfd) != sizeof(words))
		return -1;
	if (pidfd >= 0) {
		helper->pidfd = pidfd;
		helper->pid = words.pid;
	} else if (words.code == 0) {
		return EMFILE; /* the pidfd found no room here */
	}
	return words.code;
}

/* Can a report be read, or is this their end? False: the helper's, or that of the time. */
static bool await_report(int sock, const struct nsw_helper *helper, int64_t deadline)
{
	struct pollfd fds[] = {{sock, POLLIN, 0}, {helper->pidfd, POLLIN, 0}};
	int ready;

	do
		ready = poll(fds, 2, nsw_left_ms(deadline));
	while (ready < 0 && errno == EINTR);
	/* its last one comes before its end */
	return ready > 0 && (fds[0].revents || poll(fds, 1, 0) > 0);
}

static int start_both(
	const struct nsw_start *start, char *const *argv, int words, struct nsw_helper *helper)
{
	int reports[2], code = 0, more;
	int64_t deadline = nsw_deadline(BORN_MS);
	sigset_t all, before;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, reports) < 0)
		return errno;
	/* no handler of the caller's runs in a child */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = clone_fork(0, NULL); /* nobody hears of its end who does not ask by __WCLONE */
	if (pid == 0)
		be_between(start, argv, words, reports[1]);
	if (pid < 0)
		code = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(reports[1]);
	/*
	 * Until execve(2) has closed the last one of them. Whom another thread of the caller has
	 * forked meanwhile may have one, too, for as long as it lives.
	 */
	while (pid > 0 && await_report(reports[0], helper, deadline) &&
		(more = take_report(reports[0], helper)) >= 0) {
		code = more > 0 ? more : code;
		deadline = nsw_deadline(HEARD_MS);
	}
	close(reports[0]);
	if (pid > 0)
		kill(pid, SIGKILL); /* it has no more to do, and may be stopped */
	while (pid > 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	return code == 0 && helper->pidfd < 0 ? ECHILD : code;
}

int nsw_helper_start(
	struct nsw_helper *out, const struct nsw_start *start, struct nswrap_error *error)
{
	char path[PATH_MAX], what[600];
	int words[2], result = nsw_helper_find(path, error);
	size_t count = 0;

	*out = (struct nsw_helper){.pidfd = -1, .words_fd = -1};
	if (result < 0)
		return result;
	while (start->argv[count])
		count++;
	char **argv = calloc(count + 2, sizeof(*argv));
	if (!argv)
		return nsw_fault_sys(error, ENOMEM, "cannot start nswrap");
	argv[0] = path;
	memcpy(argv + 1, start->argv, count * sizeof(*argv));
	if (pipe2(words, O_CLOEXEC) < 0) {
		result = nsw_fault_sys(error, errno, "cannot make a pipe");
		free(argv);
		return result;
	}
	/* only this end: the helper's would be nonblocking for all that it starts */
	fcntl(words[0], F_SETFL, O_NONBLOCK);
	int code = start_both(start, argv, words[1], out);
	free(argv);
	close(words[1]);
	out->words_fd = words[0];
	if (code == 0)
		return 0;
	snprintf(what, sizeof(what), "cannot start %.500s", path);
	nsw_helper_stop(out, 0, 0);
	return nsw_fault_sys(error, code, what);
}

bool nsw_helper_is_gone(const struct nsw_helper *helper)
{
	struct pollfd end = {helper->pidfd, POLLIN, 0};

	return poll(&end, 1, 0) > 0;
}

int nsw_helper_signal(const struct nsw_helper *helper, int signal)
{
	if (syscall(SYS_pidfd_send_signal, helper->pidfd, signal, NULL, 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	if (nsw_helper_is_gone(helper))
		return -ESRCH;
	return kill(helper->pid, signal) < 0 ? -errno : 0;
}

static bool has_ended_in(const struct nsw_helper *helper, int timeout_ms)
{
	struct pollfd end = {helper->pidfd, POLLIN, 0};
	int64_t deadline = nsw_deadline(timeout_ms);
	int ready;

	do
		ready = poll(&end, 1, nsw_left_ms(deadline));
	while (ready < 0 && errno == EINTR);
	return ready != 0;
}

void nsw_helper_stop(struct nsw_helper *helper, int signal, int timeout_ms)
{
	siginfo_t info;

	if (helper->pidfd >= 0) {
		if (signal > 0)
			nsw_helper_signal(helper, signal);
		if (!has_ended_in(helper, timeout_ms)) {
			nsw_helper_signal(helper, SIGKILL);
			has_ended_in(helper, KILLED_MS);
		}
		/* ECHILD, unless we are the next subreaper */
		waitid(BY_PIDFD, (id_t)helper->pidfd, &info, WEXITED | WNOHANG);
		close(helper->pidfd);
	}
	if (helper->words_fd >= 0)
		close(helper->words_fd);
	*helper = (struct nsw_helper){.pidfd = -1, .words_fd = -1};
}

int nsw_helper_fault(const struct nsw_helper *helper, int code, const char *otherwise,
	struct nswrap_error *error)
{
	static const char prefix[] = "nswrap: ";
	char said[4096], *line = said;
	ssize_t got = read(helper->words_fd, said, sizeof(said) - 1);

	said[got > 0 ? got : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, prefix, sizeof(prefix) - 1) == 0)
		line += sizeof(prefix) - 1;
	return nsw_fault(error, code, "%s", *line ? line : otherwise);
}
