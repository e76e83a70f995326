/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_companion - the supervisor's side of the companion of COMMAND */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/diag.h"
#include "proc/rights.h"
#include "sandbox/enter.h"
#include "sandbox/supervisor_parts.h"
#include "util/fd.h"
#include "util/log.h"

#define SENT_MS       1000
#define SENT_PAUSE_MS 5

static_assert(ENTER_USER == (int)INIT_FD_USER && ENTER_NET == (int)INIT_FD_NET &&
		      ENTER_MNT == (int)INIT_FD_MNT && ENTER_PID == (int)INIT_FD_PID,
	"init hands the namespaces out in the order in which they are entered");

static void close_fds(struct supervisor *supervisor)
{
	fd_close(&supervisor->companion_fds[0]);
	fd_close(&supervisor->companion_fds[1]);
}

int companion_take_streams(struct supervisor *supervisor, struct err *err)
{
	int *fds = supervisor->companion_fds;

	if (!supervisor->config->companion.name)
		return 0;
	_cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fds[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	fds[1] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (null < 0 || fds[0] < 0 || fds[1] < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return err_sys(err, errno, "cannot keep stdin and stdout for the %s",
			supervisor->config->companion.name);
	return 0;
}

/* Everything between fork and the companion's own function. */
static int enter(const struct supervisor *supervisor, pid_t parent)
{
	const int *fds = supervisor->companion_fds;

	setsid(); /* signals to the job are not for us */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return -ESRCH;
	if (dup2(fds[0], STDIN_FILENO) < 0 || dup2(fds[1], STDOUT_FILENO) < 0)
		return -errno;
	/* before we are in reach of those inside, who are the same user, and with all rights */
	int result = rights_hide();
	/*
	 * Not the PID namespace: only children would be in it. So those inside do not see us there,
	 * and we end with the supervisor.
	 */
	if (result == 0)
		result = enter_namespaces(supervisor->init_fds, false);
	if (result == 0)
		result = rights_keep_fds(NULL, 0);
	/* entering a user namespace has cleared it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return getppid() == parent ? result : -ESRCH;
}

__attribute__((noreturn)) static void companion_main(
	const struct supervisor *supervisor, pid_t parent)
{
	const struct sandbox_companion *companion = &supervisor->config->companion;
	sigset_t mask = supervisor->original_mask;
	int result = enter(supervisor, parent);

	if (result < 0) {
		log_error("cannot start the %s in the sandbox: %s", companion->name,
			strerror(-result));
		_exit(125);
	}
	sigprocmask(SIG_SETMASK, &mask, NULL);
	_exit(companion->run(companion->told));
}

int companion_start(struct supervisor *supervisor, struct err *err)
{
	const struct sandbox_companion *companion = &supervisor->config->companion;
	pid_t self = getpid();

	if (!companion->name)
		return 0;
	pid_t pid = fork();
	if (pid == 0)
		companion_main(supervisor, self);
	/* who is at the other end must see it close them */
	close_fds(supervisor);
	if (pid < 0)
		return err_sys(err, errno, "cannot start the %s", companion->name);
	supervisor->companion = pid;
	return 0;
}

/* What COMMAND wrote and closed before it ended is still on its way through the companion. */
static void await_sent(const struct supervisor *supervisor)
{
	const struct timespec pause = {0, SENT_PAUSE_MS * 1000000};

	for (int ms = 0; ms < SENT_MS && diag_has_unsent(supervisor->init_fds[INIT_FD_DIAG]) == 1;
		ms += SENT_PAUSE_MS)
		nanosleep(&pause, NULL);
}

void companion_stop(struct supervisor *supervisor)
{
	close_fds(supervisor);
	if (supervisor->companion > 0) {
		if (supervisor->has_ended)
			await_sent(supervisor);
		kill(supervisor->companion, SIGKILL);
		waitpid(supervisor->companion, NULL, 0);
	}
	supervisor->companion = 0;
}

void companion_on_death(struct supervisor *supervisor, int code, int status)
{
	supervisor->companion = 0;
	if (supervisor->has_ended)
		return;
	supervisor->has_companion_ended = true;
	if (code != CLD_EXITED)
		log_error("the %s was ended by signal %d (%s)", supervisor->config->companion.name,
			status, strsignal(status));
	if (code != CLD_EXITED || status != 0)
		supervisor->status = 125;
	supervisor_terminate(supervisor, SIGTERM, supervisor->config->stop_timeout_ms);
}
