/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/scribe - the process that has the caller's stderr, while another one serves strangers */
#include "cmd/scribe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/job.h"
#include "proc/rights.h"
#include "sandbox/words.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/loop.h"

#define END_MS 2000

/* What stays with who serves, and with nobody else: its other end waits for it to be closed. */
struct kept {
	int fds[3];
	size_t count;
};

static struct kept kept_of(const struct scribe_start *start)
{
	struct kept kept = {.count = 0};

	if (start->link && linkspec_is_once(start->link)) {
		kept.fds[kept.count++] = start->link->fds[0];
		kept.fds[kept.count++] = start->link->fds[1];
	}
	if (start->ready_fd >= 0)
		kept.fds[kept.count++] = start->ready_fd;
	return kept;
}

static bool has(const struct kept *kept, int fd)
{
	for (size_t i = 0; i < kept->count; i++)
		if (kept->fds[i] == fd)
			return true;
	return false;
}

/* --- who writes ---------------------------------------------------------------------------- */

/* Those that end the group's others do not end this one: they have last words. It stops with them,
 * and where a terminal wants that of who writes in the background. */
static void block_signals(sigset_t *before)
{
	sigset_t signals;

	sigfillset(&signals);
	sigdelset(&signals, SIGTSTP);
	sigdelset(&signals, SIGTTIN);
	sigdelset(&signals, SIGTTOU);
	sigprocmask(SIG_BLOCK, &signals, before);
}

__attribute__((noreturn)) static void write_down(
	struct words *words, struct loop *loop, const struct kept *kept)
{
	prctl(PR_SET_NAME, "nswrap: stderr");
	fd_close(&words->write_fd);
	for (size_t i = 0; i < kept->count; i++)
		if (kept->fds[i] > STDERR_FILENO)
			close(kept->fds[i]);
	job_leave_streams();
	if (rights_drop_all() < 0)
		_exit(125);
	prctl(PR_SET_PDEATHSIG, SIGCONT); /* stopped, it would not see the end */
	/* unlike loop_run() it may wait for who reads stderr: nobody waits for this one */
	while (lines_is_open(&words->lines) && loop_run_once(loop, -1) >= 0)
		;
	words_close(words);
	_exit(0);
}

/* --- who serves ---------------------------------------------------------------------------- */

/* Or -errno. An empty container has no /dev/null. */
static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? memfd_create("null", MFD_CLOEXEC) : fd;
}

/* Returns 0, or -errno with @err filled. */
static int give_away(const struct words *words, const struct kept *kept, struct err *err)
{
	const int in_fd = has(kept, STDIN_FILENO) ? -1 : STDIN_FILENO;
	const int out_fd = has(kept, STDOUT_FILENO) ? -1 : STDOUT_FILENO;
	_cleanup_fd_ int null = open_null();

	signal(SIGPIPE, SIG_IGN); /* the other one may be killed */
	words_speak(words);
	if (null < 0 || (in_fd >= 0 && dup2(null, in_fd) < 0) ||
		(out_fd >= 0 && dup2(null, out_fd) < 0))
		return err_sys(err, errno, "cannot give the streams away");
	int result = rights_keep_fds(kept->fds, kept->count);
	null = -1;
	return result < 0 ? err_sys(err, -result, "cannot close descriptors") : 0;
}

int scribe_begin(struct scribe *scribe, const struct scribe_start *start, struct err *err)
{
	const bool is_command = start->link && start->link->kind == LINKSPEC_EXEC;
	struct words words = {.advises = is_command, .limits = true, .write_fd = -1};
	const struct kept kept = kept_of(start);
	sigset_t mask;

	*scribe = (struct scribe){.pid = 0};
	if (has(&kept, STDERR_FILENO))
		return 0;
	struct loop *loop = loop_new();
	if (!loop)
		return err_sys(err, errno, "cannot make an event loop");
	if (words_open(&words, start->who, loop, err) < 0) {
		loop_free(loop);
		return -err->code;
	}
	block_signals(&mask);
	pid_t pid = fork();
	if (pid == 0)
		write_down(&words, loop, &kept);
	int failure = pid < 0 ? errno : 0;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	/* the pipe's other end is closed with all the rest */
	loop_free(loop);
	if (failure != 0)
		return err_sys(err, failure, "cannot start a process");
	scribe->pid = pid;
	return give_away(&words, &kept, err);
}

void scribe_end(struct scribe *scribe)
{
	_cleanup_fd_ int null = open_null();
	struct clock_wait wait = clock_wait_start(END_MS);

	if (scribe->pid <= 0)
		return;
	if (null >= 0)
		dup2(null, STDERR_FILENO);
	kill(scribe->pid, SIGCONT);
	while (waitpid(scribe->pid, NULL, WNOHANG) == 0 && clock_wait_go_on(&wait))
		;
	scribe->pid = 0;
}
