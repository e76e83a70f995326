/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/init - the first process inside: sets up, starts COMMAND, reaps, cleans up */
#include "sandbox/init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn/door.h"
#include "proc/command.h"
#include "proc/confine.h"
#include "proc/daemon.h"
#include "proc/job.h"
#include "proc/ns.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "sandbox/setup.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/parse.h"
#include "util/unixsock.h"

#define KILL_ROUNDS_MS 5000
#define TOLD_MS        1000
#define FILES_MS       10000 /* many TAPs that are taken down at once take their turns */

enum init_state {
	INIT_RUNNING,     /* COMMAND runs, nobody asked it to end */
	INIT_TERMINATING, /* SIGTERM was sent; SIGKILL when the timer expires */
	INIT_KILLING,     /* SIGKILL was sent to what was left */
};

/* A socket file of the supervisor. */
struct init_file {
	int dir_fd;
	char name[NAME_MAX + 1];
};

struct init {
	const struct init_start *start;
	struct door_mints mints;
	struct confine confine; /* of COMMAND */
	struct loop *loop;
	struct loop_io supervisor_io, door_io, signal_io;
	struct loop_timer kill_timer;
	struct loop_task reap_task; /* there is more to reap */
	uint64_t timeout_ms;        /* what the timer was set to */
	struct clock_wait killing;  /* from the first SIGKILL on */
	enum init_state state;
	pid_t command; /* 0: has ended */
	pid_t session; /* COMMAND's, as it was started */
	pid_t group;   /* the same */
	/* when a SIGTERM went to all of the group, and to all processes of a cgroup; 0: never */
	uint64_t group_told_ns, all_told_ns;
	uint64_t ended_ns; /* when COMMAND did */
	bool is_stopped;
	uint64_t stops; /* of COMMAND, so far */
	int status;     /* exit status of COMMAND once it has ended */
	struct init_file *files;
	size_t nfiles;
};

static void tell(const struct init_start *start, const struct init_message *message)
{
	fd_send_one(start->supervisor_fd, message, sizeof(*message), -1);
}

/* In a PID namespace COMMAND has another number than outside: the kernel tells that, even if it has
 * ended by now. */
static void tell_started(const struct init_start *start, pid_t command)
{
	const struct init_message message = {.type = INIT_STARTED, .value = command};

	if (start->config->has_pid_ns &&
		fd_send_as(start->supervisor_fd, &message, sizeof(message), command) == 0)
		return;
	tell(start, &message);
}

/* Is @file removed by now, or the one that is said once more, as what could not be made? */
static bool is_needless(const struct init_file *file, const char *name, int dir_fd)
{
	struct stat there, here;

	if (fstatat(file->dir_fd, file->name, &there, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return true;
	return strcmp(file->name, name) == 0 && fstat(file->dir_fd, &there) == 0 &&
	       fstat(dir_fd, &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

static void own_file(struct init *init, const char *name, int dir_fd)
{
	size_t kept = 0;

	for (size_t i = 0; i < init->nfiles; i++)
		if (is_needless(&init->files[i], name, dir_fd))
			close(init->files[i].dir_fd);
		else
			init->files[kept++] = init->files[i];
	init->nfiles = kept;
	struct init_file *grown = reallocarray(init->files, init->nfiles + 1, sizeof(*grown));
	if (!grown) {
		close(dir_fd);
		return;
	}
	init->files = grown;
	grown[init->nfiles].dir_fd = dir_fd;
	snprintf(grown[init->nfiles].name, sizeof(grown->name), "%s", name);
	init->nfiles++;
}

/* True when there is nothing (left) to remove, false while somebody holds a socket. */
static bool remove_if_stale(const struct init_file *file)
{
	struct unixsock_id id;
	int result = unixsock_check(file->dir_fd, file->name, &id);

	if (result == 0)
		unixsock_remove(file->dir_fd, &id);
	return result != 1 && unixsock_sweep(file->dir_fd) == 0;
}

/*
 * A socket that nobody holds any more is the dead supervisor's. Its descriptors are closed one by
 * one, and the net process may live a moment longer than it: this waits for both.
 */
static void remove_files(struct init *init)
{
	struct clock_wait wait = clock_wait_start(FILES_MS);

	for (size_t i = 0; i < init->nfiles; i++)
		while (!remove_if_stale(&init->files[i]) && clock_wait_go_on(&wait))
			;
}

/* A message of the supervisor, which is gone when there is no whole one; the files it says. */
static int receive(struct init *init, struct init_message *message)
{
	int fd, result = fd_recv_one(init->start->supervisor_fd, message, sizeof(*message), &fd);

	message->file[NAME_MAX] = '\0';
	if (result == 0 && message->type == INIT_OWN_FILE && fd >= 0)
		own_file(init, message->file, fd_take(&fd));
	if (result == -EMSGSIZE && message->type == INIT_OWN_FILE) {
		log_warning("too many open files: should nswrap be killed, %s stays behind",
			PARSE_SHOWN(message->file));
		result = 0;
	}
	fd_close(&fd);
	return result;
}

/*
 * The supervisor is gone: nothing of the sandbox may stay behind, nor the files that it said last.
 * Where it had not read all of ours, what it said stands behind a reset.
 */
__attribute__((noreturn)) static void end_abandoned(struct init *init)
{
	struct init_message message;
	int result;

	fd_set_nonblock(init->start->supervisor_fd, 1);
	do
		result = receive(init, &message);
	while (result == 0 || result == -ECONNRESET);
	tree_kill(KILL_ROUNDS_MS);
	remove_files(init);
	_exit(125);
}

static void set_state(struct init *init, enum init_state state)
{
	static const char *const names[] = {"running", "terminating", "killing"};

	if (state == init->state)
		return;
	log_debug("init: %s -> %s", names[init->state], names[state]);
	init->state = state;
}

/* Say it last. The supervisor ends us when it has heard it, unless it is gone, or dies now. */
__attribute__((noreturn)) static void end_with(struct init *init, struct init_message message)
{
	tell(init->start, &message);
	fd_set_nonblock(init->start->supervisor_fd, 0);
	while (receive(init, &message) == 0)
		;
	end_abandoned(init);
}

/* Nothing is left. */
__attribute__((noreturn)) static void end(struct init *init)
{
	end_with(init, (struct init_message){.type = INIT_ENDED, .value = init->status});
}

static void on_kill_time(struct loop_timer *timer)
{
	struct init *init = container_of(timer, struct init, kill_timer);

	if (tree_signal(getpid(), SIGKILL) > 0 && init->state != INIT_KILLING)
		log_info("SIGKILL to what did not end in time");
	if (init->state != INIT_KILLING)
		init->killing = clock_wait_start(KILL_ROUNDS_MS);
	set_state(init, INIT_KILLING);
	if (loop_now_ns(init->loop) >= init->killing.deadline_ns) {
		log_warning("processes that the kernel does not let end are left behind");
		init->status = init->command != 0 ? 128 + SIGKILL : init->status;
		end(init);
	}
	/* what forks faster than we look is caught in the next round */
	loop_timer_set(init->loop, &init->kill_timer, clock_wait_next_ms(&init->killing));
}

/* Nobody sends us a SIGTERM: one that comes went to all of a cgroup. */
static void read_signals(struct init *init)
{
	struct signalfd_siginfo info;

	while (read(init->signal_io.fd, &info, sizeof(info)) > 0)
		if (info.ssi_signo == SIGTERM)
			init->all_told_ns = loop_now_ns(init->loop);
}

static bool is_recent(const struct init *init, uint64_t told_ns)
{
	bool waits = init->start->config->waits_all;
	uint64_t now_ns = waits ? loop_now_ns(init->loop) : init->ended_ns;

	return told_ns != 0 && told_ns + TOLD_MS * NS_PER_MS >= now_ns;
}

/* SIGTERM to what is left, unless it has just had that with COMMAND: a second one makes many
 * programs end without finishing. */
static void ask_rest(struct init *init)
{
	read_signals(init);
	loop_task_add(init->loop, &init->reap_task); /* an end may have been read along with them */
	if (!is_recent(init, init->all_told_ns) && is_recent(init, init->group_told_ns))
		tree_signal_others(SIGTERM, init->group, NULL, NULL);
	else if (!is_recent(init, init->all_told_ns))
		tree_signal(getpid(), SIGTERM);
	tree_signal(getpid(), SIGCONT); /* a stopped process cannot act on SIGTERM */
}

static void terminate_rest(struct init *init, uint64_t timeout_ms)
{
	ask_rest(init);
	if (init->state != INIT_RUNNING)
		return;
	init->timeout_ms = timeout_ms;
	loop_timer_set(init->loop, &init->kill_timer, timeout_ms);
	set_state(init, INIT_TERMINATING);
}

static void end_if_childless(struct init *init)
{
	siginfo_t info;

	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD)
		return;
	end(init);
}

/* The supervisor may have stopped along with COMMAND; not visible from a PID namespace. */
static void wake_supervisor(const struct init *init)
{
	if (!init->start->config->has_pid_ns)
		kill(getppid(), SIGCONT);
}

static void on_command_change(struct init *init, const siginfo_t *info)
{
	const bool was_stopped = init->is_stopped;

	init->is_stopped = info->si_code == CLD_STOPPED;
	if (info->si_code == CLD_STOPPED) {
		struct init_message message = {
			.type = INIT_STOPPED, .value = info->si_status, .serial = ++init->stops};
		tell(init->start, &message);
	} else if (info->si_code == CLD_CONTINUED) {
		wake_supervisor(init);
	} else if (info->si_code != CLD_TRAPPED) {
		init->command = 0;
		init->ended_ns = loop_now_ns(init->loop);
		init->status = command_exit_status(info->si_code, info->si_status);
		if (was_stopped) /* and was killed */
			wake_supervisor(init);
	}
}

/* It may have meant to leave a server behind: that it takes along is not passed over in silence. */
static void tell_daemons(const struct init *init)
{
	size_t daemons = init->status == 0 ? daemon_count(init->session, NULL, NULL) : 0;

	if (daemons > 0)
		log_notice("COMMAND has ended and left %zu process%s in the background, which "
			   "end%s with it; --wait-all waits for them",
			daemons, daemons > 1 ? "es" : "", daemons > 1 ? "" : "s");
}

static void end_rest(struct init *init)
{
	if (init->state == INIT_RUNNING)
		tell(init->start, &(struct init_message){.type = INIT_WAITS});
	else
		terminate_rest(init, init->start->config->stop_timeout_ms);
}

static void on_change(void *owner, const siginfo_t *info)
{
	struct init *init = owner;

	if (info->si_pid == init->command)
		on_command_change(init, info);
}

static void on_reap(struct loop_task *task)
{
	struct init *init = container_of(task, struct init, reap_task);
	bool had_command = init->command != 0;

	if (tree_reap(WEXITED | WSTOPPED | WCONTINUED, on_change, init) == TREE_MORE)
		loop_task_add(init->loop, task);
	if (init->command != 0)
		return;
	end_if_childless(init);
	if (had_command)
		end_rest(init);
}

static void on_child(struct loop_io *io, uint32_t events)
{
	struct init *init = container_of(io, struct init, signal_io);

	(void)events;
	read_signals(init);
	on_reap(&init->reap_task);
}

static void start_termination(struct init *init, int sig, uint64_t timeout_ms)
{
	job_signal(init->command, sig);
	if (sig == 0)
		init->group_told_ns = loop_now_ns(init->loop);
	if (init->command == 0 && init->state == INIT_RUNNING) {
		if (sig != 0 && !init->start->config->waits_all)
			tell_daemons(init);
		terminate_rest(init, timeout_ms);
		return;
	}
	if (init->is_stopped) /* it could not act on the signal */
		job_signal(init->command, SIGCONT);
	/* who asks again may make it sooner, not later */
	if (init->state == INIT_KILLING ||
		(init->state == INIT_TERMINATING && timeout_ms >= init->timeout_ms))
		return;
	init->timeout_ms = timeout_ms;
	loop_timer_set(init->loop, &init->kill_timer, timeout_ms);
	set_state(init, INIT_TERMINATING);
}

static void resume(struct init *init, uint64_t serial)
{
	/* the shell's SIGCONT may have reached COMMAND, and the next Ctrl-Z, too: look first */
	on_child(&init->signal_io, 0);
	if (init->is_stopped && init->stops == serial)
		job_signal(init->command, SIGCONT);
}

static void on_supervisor(struct loop_io *io, uint32_t events)
{
	struct init *init = container_of(io, struct init, supervisor_io);
	struct init_message message;
	int result = receive(init, &message);

	(void)events;
	if (result == -EAGAIN)
		return;
	if (result < 0)
		end_abandoned(init);
	switch (message.type) {
	case INIT_RESUME:
		resume(init, message.serial);
		break;
	case INIT_SIGNAL:
		job_signal(init->command, message.value);
		break;
	case INIT_TERMINATE:
		start_termination(init, message.value, message.timeout_ms);
		break;
	}
}

static void on_door(struct loop_io *io, uint32_t events)
{
	struct init *init = container_of(io, struct init, door_io);

	(void)events;
	/* at the end the supervisor is gone as well, and says so itself */
	if (door_serve(io->fd, &init->mints) == -EPIPE)
		loop_io_del(init->loop, io);
}

static int run_loop(struct init *init)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	init->signal_io =
		(struct loop_io){signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), on_child};
	init->supervisor_io = (struct loop_io){init->start->supervisor_fd, on_supervisor};
	init->door_io = (struct loop_io){init->start->door_fd, on_door};
	init->kill_timer.on_expired = on_kill_time;
	init->reap_task.on_run = on_reap;
	init->loop = loop_new();
	if (!init->loop || init->signal_io.fd < 0 ||
		loop_io_add(init->loop, &init->signal_io, EPOLLIN) < 0 ||
		loop_io_add(init->loop, &init->supervisor_io, EPOLLIN) < 0 ||
		loop_io_add(init->loop, &init->door_io, EPOLLIN) < 0)
		return -errno;
	on_child(&init->signal_io, 0); /* what ended before the loop was there */
	init->all_told_ns = 0;         /* that was the group's which we have left */
	return loop_run(init->loop);
}

static pid_t start_command(struct init *init, enum command_failure *failure, struct err *err)
{
	const struct init_start *start = init->start;
	const struct sandbox_config *config = start->config;
	int listen_fds[SANDBOX_KEEP_FDS_MAX];
	struct command command = {
		.argv = start->argv,
		/* our stdout is the log then */
		.streams =
			config->detach ? (int[]){STDIN_FILENO, STDOUT_FILENO, STDOUT_FILENO} : NULL,
		.env = start->env,
		.pid_variables = start->pid_variables,
		.chdir = config->chdir,
		.rights = config->is_root ? COMMAND_KEEPS_CAPS : COMMAND_DROPS_ALL,
		.confine = &init->confine,
		.new_session = config->new_session,
		.death_signal = SIGKILL,
		.keep_fds = config->keep_fds,
		.nkeep_fds = config->nkeep_fds,
		.listen_fds = listen_fds,
		.nlisten_fds = config->service.ngiven,
		.shares_memory = true, /* hidden by rights_hide() */
		.restores_pipe = start->restores_pipe,
		.mask = start->original_mask,
		.nofile = start->original_nofile,
	};

	for (size_t i = 0; i < config->service.ngiven; i++)
		listen_fds[i] = config->service.given[i].fd;
	pid_t pid = command_spawn(&command, failure, err);
	free(init->confine.filter);
	init->confine.filter = NULL;
	return pid;
}

__attribute__((noreturn)) static void fail(struct init *init, int status, const struct err *err)
{
	end_with(init, (struct init_message){.type = INIT_FAILED, .value = status, .err = *err});
}

/* Namespaces are ready: hand them out. */
static void hand_out(struct init *init, int fds[INIT_FDS])
{
	const struct door_mints *mints = &init->mints;
	struct init_message message = {.type = INIT_READY,
		.value = (mints->mint4 < 0 ? 0 : INIT_KEEPS_CLIENTS4) |
			 (mints->mint6 < 0 ? 0 : INIT_KEEPS_CLIENTS6)};
	int there[INIT_FDS];
	size_t count = 0;
	struct err err;

	for (size_t i = 0; i < INIT_FDS; i++) {
		if (fds[i] < 0)
			continue;
		message.value |= 1 << i;
		there[count++] = fds[i];
	}
	ssize_t sent = fd_send(init->start->supervisor_fd, &message, sizeof(message), there, count);
	if (sent < 0) {
		err_sys(&err, (int)-sent, "cannot hand the namespaces over");
		fail(init, 125, &err);
	}
	for (size_t i = 0; i < INIT_FDS; i++)
		fd_close(&fds[i]);
}

/* Keep only what init needs: as long as it held the supervisor's end it would not see it go. */
static int close_inherited(const struct init_start *start)
{
	const struct sandbox_config *config = start->config;
	const struct sandbox_service *service = &config->service;
	int keep[3 + 2 * SANDBOX_KEEP_FDS_MAX] = {
		start->supervisor_fd, start->door_fd, start->words->write_fd};

	memcpy(keep + 3, config->keep_fds, config->nkeep_fds * sizeof(*keep));
	for (size_t i = 0; i < service->ngiven; i++)
		keep[3 + config->nkeep_fds + i] = service->given[i].fd;
	return rights_keep_fds(keep, 3 + config->nkeep_fds + service->ngiven);
}

/* COMMAND has what is the caller's; who reads it must see COMMAND close it. */
static void leave_inherited(const struct init_start *start)
{
	const struct sandbox_config *config = start->config;

	job_leave_streams();
	words_speak(start->words);
	close(start->words->write_fd);
	for (size_t i = 0; i < config->nkeep_fds; i++)
		if (config->keep_fds[i] > STDERR_FILENO)
			close(config->keep_fds[i]);
	for (size_t i = 0; i < config->service.ngiven; i++)
		close(config->service.given[i].fd);
}

/* Everything inside is ready; the supervisor binds what is left and says so. */
static void wait_for_go(struct init *init)
{
	struct init_message message;

	do
		if (receive(init, &message) < 0)
			end_abandoned(init);
	while (message.type != INIT_GO);
}

__attribute__((noreturn)) static void init_main(
	const struct init_start *start, uid_t uid, gid_t gid)
{
	struct init init = {.start = start,
		.confine = {.keeps_signals_inside = true,
			.has_no_network = config_is_alone(start->config)}};
	enum command_failure failure;
	int fds[INIT_FDS];
	struct err err;

	prctl(PR_SET_NAME, "nswrap: init");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (close_inherited(start) < 0)
		_exit(125);
	if (ns_map_ids(uid, gid, start->config->is_root, &err) < 0 ||
		setup_namespaces(start, fds, &init.mints, &init.confine, &err) < 0)
		fail(&init, 125, &err);
	hand_out(&init, fds);
	if (rights_hide() < 0)
		end_abandoned(&init);
	wait_for_go(&init);
	init.command = start_command(&init, &failure, &err);
	if (init.command < 0)
		fail(&init, command_failure_status(failure, err.code), &err);
	init.session = start->config->new_session ? init.command : getsid(0);
	init.group = start->config->new_session ? init.command : getpgrp();
	tell_started(start, init.command);
	leave_inherited(start);
	/*
	 * Out of the reach of signals to the job; COMMAND stays in it. A session, not just a group:
	 * as its parent in the same session we would keep the job's group from being orphaned, and
	 * when we end the kernel would send SIGHUP to all of it if anyone in it is stopped
	 * (setpgid(2)).
	 */
	setsid();
	if (rights_drop_all() < 0 || run_loop(&init) < 0)
		end_abandoned(&init);
	_exit(125);
}

pid_t init_spawn(const struct init_start *start, struct err *err)
{
	int flags = CLONE_NEWUSER | CLONE_NEWNS;
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (start->config->has_pid_ns)
		flags |= CLONE_NEWPID | CLONE_NEWIPC;
	confine_prepare();
	pid_t pid = ns_fork(flags, err);
	if (pid == 0)
		init_main(start, uid, gid);
	return pid;
}
