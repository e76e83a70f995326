/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/detach - a sandbox in the background, which its starter's terminal and pipes forget */
#include "sandbox/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/job.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define CHUNK_BYTES 65536

/* --- the writer --------------------------------------------------------------------------- */

static void copy(struct logfile *log, int in_fd)
{
	char data[CHUNK_BYTES];
	ssize_t got;

	while ((got = read(in_fd, data, sizeof(data))) > 0)
		logfile_write(log, data, (size_t)got);
}

/* Until the supervisor has ended, whoever else may hold the pipe. */
static void serve(struct logfile *log, int in_fd, int hand_fd)
{
	struct pollfd fds[] = {{hand_fd, POLLIN, 0}, {in_fd, POLLIN, 0}};
	int files[2];
	char byte;

	for (;;) {
		poll(fds, 2, -1);
		if (fds[0].revents) {
			if (fd_recv(hand_fd, &byte, 1, files, 2, NULL) <= 0)
				break;
			log->dir_fd = files[0];
			log->fd = files[1];
		}
		copy(log, in_fd);
	}
}

static void note_status(struct logfile *log, int status)
{
	logfile_note(log, "ended with status %d", status);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t await(pid_t pid, int *status)
{
	pid_t result;

	do
		result = waitpid(pid, status, 0);
	while (result < 0 && errno == EINTR);
	return result;
}

__attribute__((noreturn)) static void write_log(
	pid_t supervisor, int in_fd, int hand_fd, bool is_kept)
{
	struct logfile log = {.dir_fd = -1, .fd = -1};
	int status = 125 << 8;
	sigset_t all;

	prctl(PR_SET_NAME, is_kept ? "nswrap: keeper" : "nswrap: log");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	job_leave_streams();
	dup2(STDIN_FILENO, STDERR_FILENO);
	log_look();
	rights_keep_fds((int[]){in_fd, hand_fd}, 2);
	rights_hide(); /* from COMMAND, which is the same user */
	fd_set_nonblock(in_fd, 1);
	serve(&log, in_fd, hand_fd);
	await(supervisor, &status);
	copy(&log, in_fd);
	if (WIFSIGNALED(status))
		logfile_note(&log, "ended by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		note_status(&log, status_of(status));
	_exit(status_of(status));
}

/* --- start -------------------------------------------------------------------------------- */

static int become_supervisor(struct detach *detach, const int *keep, size_t nkeep)
{
	const int own[] = {detach->told_fd, detach->out_fd, detach->hand_fd, detach->in_fd};
	int *all = malloc(sizeof(own) + nkeep * sizeof(*keep));
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int result = !all || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
				     dup2(detach->out_fd, STDOUT_FILENO) < 0
			     ? -errno
			     : 0;

	fd_close(&null);
	if (result == 0) {
		memcpy(all, own, sizeof(own));
		memcpy(all + 4, keep, nkeep * sizeof(*keep));
		result = rights_keep_fds(all, 4 + nkeep);
	}
	free(all);
	return result;
}

/* In the child, which becomes the writer, and its child, where it returns. */
static int part(struct detach *detach, const int *keep, size_t nkeep, int told_fd, struct err *err)
{
	int out[2], hand[2];

	close(told_fd);
	setsid();
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe for the log");
	if (fd_pair(hand, 0, err) < 0)
		return -err->code;
	pid_t pid = fork();
	if (pid > 0)
		write_log(pid, out[0], hand[0], detach->is_kept);
	detach->out_fd = out[1];
	detach->hand_fd = hand[1];
	detach->in_fd = out[0];
	close(hand[0]);
	int result = pid < 0 ? -errno : become_supervisor(detach, keep, nkeep);
	return result < 0 ? err_sys(err, -result, "cannot go to the background")
			  : (int)DETACH_SUPERVISOR;
}

/* The name comes in one piece, with its NUL. */
static int await_ready(struct detach *detach, int told_fd, pid_t child, int *status)
{
	ssize_t got;

	do
		got = read(told_fd, detach->name, sizeof(detach->name));
	while (got < 0 && errno == EINTR);
	*status = 0;
	if (got <= 0 && await(child, status) == child)
		*status = status_of(*status);
	if (got <= 0)
		detach->name[0] = '\0';
	return DETACH_CALLER;
}

int detach_start(struct detach *detach, const int *keep, size_t nkeep, int *status, struct err *err)
{
	int told[2];

	*detach = (struct detach){.is_kept = detach->is_kept,
		.told_fd = -1,
		.out_fd = -1,
		.hand_fd = -1,
		.in_fd = -1,
		.log = {.dir_fd = -1, .fd = -1}};
	if (pipe2(told, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot go to the background");
	pid_t child = fork();
	if (child == 0) {
		detach->told_fd = told[1];
		return part(detach, keep, nkeep, told[0], err);
	}
	int result = child < 0 ? -errno : 0;
	close(told[1]);
	if (result == 0)
		result = await_ready(detach, told[0], child, status);
	close(told[0]);
	return result < 0 ? err_sys(err, -result, "cannot go to the background") : result;
}

int detach_open_log(struct detach *detach, const char *name, struct err *err)
{
	char place[PATH_MAX];
	struct logfile log;

	if (logfile_place(place, err) < 0 ||
		logfile_create(place, name, &log, detach->path, err) < 0) {
		detach->path[0] = '\0';
		return -err->code;
	}
	ssize_t sent = fd_send(detach->hand_fd, "", 1, (int[]){log.dir_fd, log.fd}, 2);
	detach->log = (struct logfile){.dir_fd = fd_take(&log.dir_fd), .fd = -1};
	logfile_close(&log);
	return sent < 0 ? err_sys(err, (int)-sent, "cannot hand the log over") : 0;
}

int detach_ready(struct detach *detach, const char *name)
{
	size_t len = strlen(name) + 1;

	/* first: who is told may look for what still has its pipes */
	dup2(detach->out_fd, STDERR_FILENO);
	log_look();
	int result = write(detach->told_fd, name, len) == (ssize_t)len ? 0 : -errno;
	fd_close(&detach->told_fd);
	return result;
}

/* --- without a writer ----------------------------------------------------------------------- */

static void on_said(struct loop_io *io, uint32_t events)
{
	struct detach *detach = container_of(io, struct detach, in_io);
	char data[CHUNK_BYTES];
	ssize_t got = read(io->fd, data, sizeof(data));

	(void)events;
	if (got > 0)
		logfile_write(&detach->log, data, (size_t)got);
}

static void begin_alone(struct detach *detach)
{
	detach->is_alone = true;
	logfile_resume(&detach->log);
	/* it may have been killed before that */
	fd_set_nonblock(detach->in_fd, 1);
	detach->in_io = (struct loop_io){detach->in_fd, on_said};
	logfile_note(&detach->log, "what wrote this log was ended; it goes on");
}

static void on_writer(struct loop_io *io, uint32_t events)
{
	struct detach *detach = container_of(io, struct detach, hand_io);

	(void)events;
	loop_io_del(detach->loop, &detach->hand_io);
	begin_alone(detach);
	loop_io_add(detach->loop, &detach->in_io, EPOLLIN);
}

int detach_watch(struct detach *detach, struct loop *loop)
{
	detach->hand_io = (struct loop_io){detach->hand_fd, on_writer};
	int result = loop_io_add(loop, &detach->hand_io, EPOLLIN);
	if (result == 0)
		detach->loop = loop;
	return result;
}

void detach_unwatch(struct detach *detach)
{
	if (!detach->loop)
		return;
	loop_io_del(detach->loop, &detach->hand_io);
	if (detach->is_alone)
		loop_io_del(detach->loop, &detach->in_io);
	detach->loop = NULL;
}

void detach_finish(struct detach *detach, int status)
{
	if (!detach->is_alone)
		return;
	copy(&detach->log, detach->in_fd);
	note_status(&detach->log, status);
}
