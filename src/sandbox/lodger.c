/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/lodger - serve in a sandbox that was there before, and will be there afterwards */
#include "sandbox/lodger.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/companion.h"
#include "sandbox/enter.h"
#include "sandbox/logfile.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/parse.h"

#define LOOK_MS     100
#define CHUNK_BYTES 65536
#define CHUNKS_MAX  16   /* of one look: what is more waits in the log */
#define SAY_MS      1000 /* for whoever reads our stderr */
#define END_MS      1000 /* the log's last line comes when all else has gone */
#define WORDS_MS    300  /* for what the companion still has to bring away */

struct lodger {
	const struct lodger_start *start;
	struct loop *loop;
	struct companion companion;
	struct enter enter;
	struct loop_io control_io, signal_io;
	struct loop_timer look;
	sigset_t original_mask;
	int dir_fd, log_fd;
	bool is_over; /* the sandbox is */
	struct lodger_end *end;
};

/* --- the log -------------------------------------------------------------------------------- */

/* Its directory, of whatever sandbox of that name was the last one; or -errno. */
static int open_log(const char *name)
{
	char place[PATH_MAX], path[PATH_MAX];
	struct err err;

	if (logfile_place(place, &err) < 0)
		return -ENOENT;
	return snprintf(path, sizeof(path), "%s/%s", place, name) < (int)sizeof(path)
		       ? logfile_open(path)
		       : -ENAMETOOLONG;
}

bool lodger_was_missed(const char *name, int *status)
{
	_cleanup_fd_ int dir_fd = open_log(name);

	return dir_fd >= 0 && !logfile_is_told(dir_fd) && logfile_is_over(dir_fd, END_MS) &&
	       logfile_end(dir_fd, status);
}

void lodger_note_told(const char *name)
{
	_cleanup_fd_ int dir_fd = open_log(name);

	if (dir_fd >= 0)
		logfile_note_told(dir_fd);
}

/* What was said since the last look, as far as there is room for it in a moment. */
static void pass_on(struct lodger *lodger)
{
	char data[CHUNK_BYTES];

	if (lodger->log_fd < 0)
		return;
	logfile_rewind(lodger->log_fd);
	for (int i = 0; i < CHUNKS_MAX; i++) {
		ssize_t got = read(lodger->log_fd, data, sizeof(data));

		if (got > 0)
			fd_tell(STDERR_FILENO, data, (size_t)got, SAY_MS);
		else if (!logfile_turn(lodger->dir_fd, &lodger->log_fd))
			break;
	}
}

static void on_look(struct loop_timer *timer)
{
	struct lodger *lodger = container_of(timer, struct lodger, look);

	if (lodger->is_over) {
		loop_stop(lodger->loop, 0);
		return;
	}
	pass_on(lodger);
	loop_timer_set(lodger->loop, timer, LOOK_MS);
}

static void open_words(struct lodger *lodger)
{
	_cleanup_fd_ int old = -1;

	lodger->dir_fd = open_log(lodger->start->name);
	if (lodger->dir_fd < 0 || logfile_open_both(lodger->dir_fd, &old, &lodger->log_fd) < 0) {
		log_warning("what the command says is not seen: it has no log");
		return;
	}
	if (!lodger->start->is_new) {
		lseek(lodger->log_fd, 0, SEEK_END);
		log_notice("is again in the sandbox that was kept, whose command went on; what it "
			   "said meanwhile: nswrap logs %s",
			lodger->start->name);
	}
}

/* --- what happens --------------------------------------------------------------------------- */

/* The sandbox has ended, or says what nobody asked for, which is the same to us. */
static void on_control(struct loop_io *io, uint32_t events)
{
	struct lodger *lodger = container_of(io, struct lodger, control_io);

	(void)events;
	loop_io_del(lodger->loop, io);
	lodger->is_over = true;
	loop_timer_set(lodger->loop, &lodger->look, WORDS_MS);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct lodger *lodger = container_of(io, struct lodger, signal_io);
	struct signalfd_siginfo info;
	siginfo_t death = {0};

	(void)events;
	while (read(io->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD) {
			lodger->end->has_left = true;
			loop_stop(lodger->loop, 0);
			continue;
		}
		/* others are of the sandbox, if we are a subreaper */
		while (lodger->companion.pid > 0 &&
			waitid(P_PID, (id_t)lodger->companion.pid, &death, WEXITED | WNOHANG) ==
				0 &&
			death.si_pid == lodger->companion.pid) {
			lodger->companion.pid = 0;
			lodger->end->has_left = !lodger->is_over;
			lodger->end->code = death.si_code == CLD_EXITED ? death.si_status : 125;
			loop_stop(lodger->loop, 0);
		}
	}
}

/* --- start and end -------------------------------------------------------------------------- */

static int open_signals(struct lodger *lodger, struct err *err)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGHUP);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &ours, &lodger->original_mask);
	lodger->signal_io =
		(struct loop_io){signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	if (lodger->signal_io.fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	int result = loop_io_add(lodger->loop, &lodger->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot watch signals") : 0;
}

static int move_in(struct lodger *lodger, struct err *err)
{
	int result = enter_ask(lodger->start->control, true, &lodger->enter, err);

	if (result < 0)
		return result;
	lodger->loop = loop_new();
	if (!lodger->loop)
		return err_sys(err, errno, "cannot make an event loop");
	lodger->control_io = (struct loop_io){lodger->enter.control, on_control};
	lodger->look.on_expired = on_look;
	result = open_signals(lodger, err);
	if (result == 0)
		result = loop_io_add(lodger->loop, &lodger->control_io, EPOLLIN);
	if (result == 0)
		result = companion_take_streams(&lodger->companion, lodger->loop, err);
	if (result == 0)
		result = companion_start(&lodger->companion, lodger->enter.ns,
			&lodger->original_mask, lodger->enter.names, err);
	if (result < 0)
		return result;
	open_words(lodger);
	loop_timer_set(lodger->loop, &lodger->look, 0);
	return 0;
}

static void move_out(struct lodger *lodger)
{
	companion_stop(&lodger->companion, -1);
	if (lodger->loop) {
		loop_timer_cancel(lodger->loop, &lodger->look);
		loop_io_del(lodger->loop, &lodger->control_io);
		loop_io_del(lodger->loop, &lodger->signal_io);
	}
	enter_fini(&lodger->enter);
	fd_close(&lodger->signal_io.fd);
	fd_close(&lodger->log_fd);
	fd_close(&lodger->dir_fd);
	if (lodger->loop)
		loop_free(lodger->loop);
}

/* How the sandbox has ended, which its log says last. */
static void find_status(struct lodger *lodger)
{
	struct lodger_end *end = lodger->end;

	end->status = 125;
	if (lodger->dir_fd < 0 || !logfile_is_over(lodger->dir_fd, END_MS))
		return;
	pass_on(lodger);
	logfile_end(lodger->dir_fd, &end->status);
}

int lodger_run(const struct lodger_start *start, struct lodger_end *end, struct err *err)
{
	struct lodger lodger = {
		.start = start,
		.companion = {.config = &start->companion, .fds = {-1, -1}, .words.write_fd = -1},
		.enter = {.control = -1, .ns = {-1, -1, -1, -1, -1}, .names = -1},
		.control_io.fd = -1,
		.signal_io.fd = -1,
		.dir_fd = -1,
		.log_fd = -1,
		.end = end,
	};

	*end = (struct lodger_end){0};
	int result = move_in(&lodger, err);
	if (result == 0)
		result = loop_run(lodger.loop);
	if (result == 0 && !end->has_left)
		find_status(&lodger);
	else if (result == 0)
		pass_on(&lodger);
	move_out(&lodger);
	return result;
}
