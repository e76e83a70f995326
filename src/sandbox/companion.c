/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/companion - the function that serves beside COMMAND, in a process of its own */
#include "sandbox/companion.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "net/diag.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "sandbox/enter.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

#define SENT_MS       1000 /* without any of it being acknowledged */
#define SENT_WHOLE_MS 10000
#define KILL_MS       5000

static void close_fds(struct companion *companion)
{
	fd_close(&companion->fds[0]);
	fd_close(&companion->fds[1]);
}

int companion_take_streams(struct companion *companion, struct loop *loop, struct err *err)
{
	int *fds = companion->fds;

	if (!companion->config->name)
		return 0;
	_cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fds[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	fds[1] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (null < 0 || fds[0] < 0 || fds[1] < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return err_sys(err, errno, "cannot keep stdin and stdout for the %s",
			companion->config->name);
	return words_open(&companion->words, companion->config->name, loop, err);
}

/* Everything between fork and the companion's own function. */
static int enter(const struct companion *companion, const int *namespaces, int names, pid_t parent)
{
	setsid(); /* signals to the job are not for us */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return -ESRCH;
	if (dup2(companion->fds[0], STDIN_FILENO) < 0 || dup2(companion->fds[1], STDOUT_FILENO) < 0)
		return -errno;
	words_speak(&companion->words);
	/* before we are in reach of those inside, who are the same user, and with all rights */
	int result = rights_hide();
	/*
	 * Not the PID namespace: only children would be in it. So those inside do not see us there,
	 * and we end with the supervisor.
	 */
	if (result == 0)
		result = enter_namespaces(namespaces, false);
	if (result == 0)
		result = rights_keep_fds(&names, 1);
	/* entering a user namespace has cleared it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return getppid() == parent ? result : -ESRCH;
}

__attribute__((noreturn)) static void companion_main(const struct companion *companion,
	const int *namespaces, const sigset_t *mask, int names, pid_t parent)
{
	const struct sandbox_companion *config = companion->config;
	int result = enter(companion, namespaces, names, parent);

	if (result < 0) {
		log_error(
			"cannot start the %s in the sandbox: %s", config->name, strerror(-result));
		_exit(125);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	_exit(config->run(config->told, names));
}

int companion_start(struct companion *companion, const int *namespaces, const sigset_t *mask,
	int names, struct err *err)
{
	pid_t self = getpid();

	if (!companion->config->name)
		return 0;
	pid_t pid = fork();
	if (pid == 0)
		companion_main(companion, namespaces, mask, names, self);
	/* who is at the other end must see it close them */
	close_fds(companion);
	if (pid < 0)
		return err_sys(err, errno, "cannot start the %s", companion->config->name);
	companion->pid = pid;
	return 0;
}

int companion_on_death(struct companion *companion, int code, int status)
{
	companion->pid = 0;
	if (code != CLD_EXITED)
		log_error("the %s was ended by signal %d (%s)", companion->config->name, status,
			strsignal(status));
	return code != CLD_EXITED || status != 0 ? 125 : 0;
}

/* What COMMAND has said last goes through the companion, however slow its way is. */
static void await_sent(int diag)
{
	uint64_t end_ns = clock_now_ns() + SENT_WHOLE_MS * NS_PER_MS;
	struct clock_wait wait = clock_wait_start(SENT_MS);
	int64_t left = diag >= 0 ? diag_unsent(diag) : 0, least = left;

	while (left > 0 && clock_now_ns() < end_ns && clock_wait_go_on(&wait)) {
		left = diag_unsent(diag);
		if (left < least) {
			wait.deadline_ns = clock_now_ns() + SENT_MS * NS_PER_MS;
			least = left;
		}
	}
}

void companion_stop(struct companion *companion, int diag)
{
	close_fds(companion);
	if (companion->pid > 0) {
		await_sent(diag);
		tree_kill_child(companion->pid, KILL_MS);
	}
	companion->pid = 0;
	words_close(&companion->words);
}
